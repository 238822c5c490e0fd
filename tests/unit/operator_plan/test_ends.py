"""How a run ends: the trainer's words, the last progress, the exit code, in this order; and what would help."""

import pytest

from finetune_sdk.api.reasons import TERMINAL
from finetune_sdk.contract import Termination
from finetune_sdk.errors import FinetuneError
from tests.unit.operator_plan.given import (
    DELETE,
    NOW,
    Given,
    Row,
    a_job,
    a_result,
    a_run,
    check,
    disrupted,
    ended,
    evicted,
    running,
    said,
)

AT_WORK = a_run().trained()
RESTART = "spec.lifecycle.restart"
BY_POLICY = "Container trainer for pod n/r-trainer-1 failed with exit code {} matching FailJob rule at index 0"
SHM = 'Usage of EmptyDir volume "finetune-shm" exceeds the limit "1Gi". '
DISK = "Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. "


def failed(code: int, given: Given = AT_WORK) -> Given:
    """With a Job that its policy ended."""
    return given.with_job(condition="Failed", reason="PodFailurePolicy", message=BY_POLICY.format(code))


def spent(given: Given = AT_WORK) -> Given:
    """With a Job whose retries are used up."""
    return given.with_job(
        condition="Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit"
    )


def by_code(code: int, reason: str, *words: str, retried: bool = False) -> Row:
    """A container that ended with the code and no word."""
    given = spent() if retried else failed(code)
    return Row(given.with_pod(ended(code)), [], "Failed", reason, (f"exit code {code}", *words))


NO_NUMBERS = (
    Termination(reason="Succeeded", message="0.61", exit_code=0, result=a_result(interval95=[0.05, 0.15]))
    .to_bytes()
    .decode()
    .replace("0.05,", "NaN,")
)
ENDS: dict[str, Row] = {
    "code 64": by_code(64, "InvalidSpec", "apply the mended file"),
    "code 65": by_code(65, "DataInvalid", "spec.data", RESTART),
    "code 69": by_code(69, "StorageUnavailable", "Secret finetune-storage", "spec.output.uri", RESTART, retried=True),
    "code 70": by_code(70, "TrainerError", "s3://b/out/logs/", RESTART, retried=True),
    "code 71": by_code(71, "Diverged", "spec.training.optimizer.learningRate"),
    "code 74": by_code(74, "Hung", "spec.lifecycle.progressDeadlineSeconds", RESTART, retried=True),
    "code 76": by_code(76, "GpuUnavailable", "spec.compute.gpusPerNode", RESTART),
    "code 77": by_code(77, "StorageDenied", "Secret finetune-storage", RESTART),
    "code 78": by_code(78, "OutputInUse", "spec.output.uri s3://b/out/"),
    "code 79": by_code(79, "OutOfGpuMemory", "spec.training.freeze"),
    "code 80": by_code(80, "GateNotMet", "spec.evaluation.gate", "s3://b/out/report.html"),
    "code 1": by_code(1, "RetriesExhausted", "spec.compute.image", "4 attempts", RESTART, retried=True),
    "code 137 is a kill": by_code(137, "RetriesExhausted", "killed", retried=True),
    "the trainer's own words": Row(
        failed(65).with_pod(said("DataInvalid", 65, "captions.csv, row 7: no picture")), [], "Failed", "DataInvalid",
        ("captions.csv, row 7: no picture. Once the cause is mended", RESTART)),
    "of one code with two reasons the words say which": Row(
        failed(65).with_pod(said("WeightsInvalid", 65, "model.pt is a pickle with code")), [], "Failed",
        "WeightsInvalid", ("model.pt",)),
    "words that stand at the end of a log": Row(
        failed(71).with_pod(ended(71, "Traceback\n" + Termination(
            reason="Diverged", message="step 7", exit_code=71).to_bytes().decode())),
        [], "Failed", "Diverged", ("step 7",)),
    "the end of a log that is no message": Row(
        spent().with_pod(ended(1, "ValueError: boom")), [], "Failed", "RetriesExhausted", ("ValueError: boom",)),
    "without words in the pod, the last progress": Row(
        failed(65).with_pod(ended(65)).told(
            ended=Termination(reason="WeightsInvalid", message="not ViT-B-32", exit_code=65)),
        [], "Failed", "WeightsInvalid", ("not ViT-B-32",)),
    "without a pod, the last progress": Row(
        failed(65).told(ended=Termination(reason="WeightsInvalid", message="not ViT-B-32", exit_code=65)),
        [], "Failed", "WeightsInvalid", ("not ViT-B-32",)),
    "without a pod, what the Job says": Row(failed(77), [], "Failed", "StorageDenied", ("exit code 77",)),
    "without a pod, what was known of the retry": Row(
        spent(a_run().trained("Retrying", "StorageUnavailable", message="s3://b: connection refused")),
        [], "Failed", "StorageUnavailable", ("connection refused", RESTART)),
    "nothing is left to say why": Row(spent(), [], "Failed", "RetriesExhausted", ("no pod is left", RESTART)),
    "out of memory goes before any exit code": Row(
        spent().with_pod(ended(70, reason="OOMKilled")), [], "Failed", "OutOfMemory",
        ("16Gi", "spec.compute.resources.requests.memory", "same output.uri")),
    "out of memory in any attempt": Row(
        spent().with_pod(ended(137, reason="OOMKilled")).with_pod(ended(1)), [], "Failed", "OutOfMemory"),
    "a worker was out of memory, as the supervisor saw": Row(
        spent().with_pod(said("OutOfMemory", 70)), [], "Failed", "OutOfMemory", ("16Gi",)),
    "shared memory is full": Row(
        spent().with_pod(evicted(SHM)), [], "Failed", "SharedMemoryExhausted", ("1Gi", "spec.compute.sharedMemory")),
    "shared memory is full, as the supervisor saw": Row(
        spent().with_pod(said("SharedMemoryExhausted", 70, "raise compute.sharedMemory")), [], "Failed",
        "SharedMemoryExhausted"),
    "the scratch disk is full": Row(
        spent().with_pod(evicted(DISK)), [], "Failed", "EphemeralStorageExceeded",
        ("20Gi", "spec.compute.resources.requests.ephemeral-storage")),
    "a pod that was refused by its node each time": Row(
        spent().with_pod({"spec": {"nodeName": "node1"}, "status": {
            "phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "no healthy devices"}}),
        [], "Failed", "RetriesExhausted", ("node1", "no healthy devices", RESTART)),
    "a failure counts, not the disruption after it": Row(
        spent().with_pod(said("Hung", 74)).with_pod(ended(143, "", "Error", disrupted("PreemptionByScheduler"))),
        [], "Failed", "Hung"),
    "disrupted and ended for good, it is the end that counts": Row(
        failed(77).with_pod(said("StorageDenied", 77, "key k is unknown", disrupted("DeletionByTaintManager"))),
        [], "Failed", "StorageDenied", ("key k",)),
    "a failure counts, not the saved stop after it": Row(
        spent().with_pod(said("Hung", 74)).with_pod(ended(75)), [], "Failed", "Hung"),
    "the pod with the code that ended the Job counts, not a later one": Row(
        failed(65).with_pod(said("DataInvalid", 65)).with_pod(ended(143)), [], "Failed", "DataInvalid"),
    "complete": Row(
        AT_WORK.with_job(condition="Complete").with_pod(said("Succeeded", 0, "0.5 to 0.61", result=a_result())),
        [], "Succeeded", "", ("0.5 to 0.61",)),
    "complete, and the base was the best": Row(
        AT_WORK.with_job(condition="Complete").with_pod(said("NoGain", 0, "alpha 0", result=a_result())),
        [], "Succeeded", "NoGain", ("alpha 0",)),
    "complete, told by the last progress alone": Row(
        AT_WORK.with_job(condition="Complete").told(
            ended=Termination(reason="Succeeded", message="0.61", exit_code=0, result=a_result())),
        [], "Succeeded", "", ("0.61",)),
    "complete, and unread": Row(
        AT_WORK.with_job(condition="Complete").with_pod(ended(0)), [], "Succeeded", "ResultUnread",
        ("result.json and report.html under s3://b/out/",)),
    "complete, with figures that the API server would refuse": Row(
        AT_WORK.with_job(condition="Complete").with_pod(ended(0, NO_NUMBERS)), [], "Succeeded", "ResultUnread"),
    "complete while the Job is already being deleted": Row(
        AT_WORK.with_job(condition="Complete", deleting=True).with_pod(ended(0)), [], "Succeeded", "ResultUnread"),
    "complete while suspended": Row(
        a_run(suspend=True).trained("Suspending").with_job(condition="Complete", suspended=True), [], "Succeeded",
        "ResultUnread"),
    "what is not built yet is refused by name": Row(
        a_run(compute={"nodes": 2}), [], "Failed", "InvalidSpec", ("spec.compute.nodes", "use 1")),
    "a file outside of a volume is refused": Row(
        a_run(output={"uri": "file:///tmp/x/"}), [], "Failed", "InvalidSpec",
        ("spec.output.uri: file:///tmp/x/", "spec.compute.volumeMounts")),
    "a spec that this version cannot read": Row(
        a_run(futuristic=1), [], "Failed", "InvalidSpec", ("spec.futuristic", "upgrade it", RESTART)),
    "which it leaves alone once a Job was made of it": Row(
        a_run(futuristic=1).trained().with_job().with_pod(running()), [], "Running"),
    "and whose end it tells": Row(
        failed(65, a_run(futuristic=1).trained()).with_pod(said("DataInvalid", 65)), [], "Failed", "DataInvalid"),
    "the active deadline": Row(
        a_run(lifecycle={"activeDeadlineSeconds": 20}).trained().with_job().with_pod(running()), [DELETE], "Failed",
        "DeadlineExceeded", ("20 s", "spec.lifecycle.activeDeadlineSeconds", RESTART)),
}  # fmt: skip


@pytest.mark.parametrize("row", ENDS.values(), ids=ENDS)
def test_ends(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("error", FinetuneError.__subclasses__(), ids=lambda error: error.__name__)
def test_every_exit_code_of_the_trainer_ends_a_run_by_its_reason(error: type[FinetuneError]) -> None:
    """Usage (2) and Stopped (75) are no ends of a pod's; of 65 it is the words that tell data and weights apart."""
    if error.reason in ("Usage", "Stopped"):
        return
    status = failed(error.exit_code).with_pod(said(error.reason, error.exit_code)).plan().status
    assert status is not None
    assert (status.state, status.reason) == ("Failed", error.reason)
    assert error.retry == (error.reason not in TERMINAL)


def test_a_job_that_nobody_can_read_any_more_is_left_alone() -> None:
    """Neither ended nor started again: an operator that can read it will go on."""
    unread = a_run(output=None).trained().with_job().with_pod(running())
    assert unread.plan() == a_run(output=None).metadata(deletionTimestamp="2026-01-01T00:00:00Z").plan()


def test_the_longest_message_keeps_its_head_and_what_would_help() -> None:
    given = failed(77).with_pod(ended(77))
    given = failed(77).told(ended=Termination(reason="StorageDenied", message="é" * 9000, exit_code=77))
    status = given.plan().status
    assert status is not None
    assert len(status.message) == 4096
    assert status.message.startswith("ééé")
    assert status.message.endswith("last checkpoint")
    assert all(len(condition.message) <= 4096 for condition in status.conditions)


def test_half_a_character_does_not_make_a_status_that_changes_for_ever() -> None:
    given = failed(77).told(ended=Termination(reason="StorageDenied", message="key \ud83d?", exit_code=77))
    status = given.plan().status
    assert status is not None
    assert "key ??" in status.message


def test_a_job_that_ends_while_nobody_looks_ended_when_it_says() -> None:
    job = a_job(condition="Complete", finished=-100, began=-150)
    status = Given(a_run().trained(startTime=None, activeSince=None, attempts=0, pod=None).run, job).plan().status
    assert status is not None
    assert status.completion_time is not None
    assert (NOW - status.completion_time).total_seconds() == 100
