"""What the supervisor says of a worker's end, and when it ends a worker itself. Pure: values in, values out."""

import json
import signal
from datetime import UTC, datetime

import pytest

from finetune_sdk.api.status import Artifacts, CheckpointRef, RunEvaluation
from finetune_sdk.contract import TERMINATION_BYTES, Ended, Termination
from finetune_trainer.supervisor.board import Board
from finetune_trainer.supervisor.channel import Line
from finetune_trainer.supervisor.ending import Exit, termination
from finetune_trainer.supervisor.watchdog import Watchdog
from finetune_trainer.supervisor.worker import unexpected

CRASH = [
    "a warning",
    "Fatal Python error: Segmentation fault",
    "",
    '  File "step.py", line 3 in forward',
    *("Extension modules: and so on" for _ in range(20)),
]
RESULT = Ended(
    evaluation=RunEvaluation(metric="image_retrieval_recall@5", before=0.5, after=0.6),
    artifacts=Artifacts(model="s3://b/model/", report="s3://b/report.html", result="s3://b/result.json"),
)
SAVED: Line = {"kind": "saved", "step": 40, "uri": "s3://b/checkpoints/step-40/"}
BUG: Line = {"kind": "failed", "reason": "TrainerError", "message": "this is a bug", "trace": ""}


def failed(reason: str) -> Line:
    return {"kind": "failed", "reason": reason, "message": "as it said itself", "trace": ""}


def finished(reason: str) -> Line:
    result = RESULT.model_dump(mode="json", by_alias=True)
    return {"kind": "finished", "reason": reason, "message": "figures", "result": result}


def board(*lines: Line) -> Board:
    made = Board("uid", lambda: 0.0, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    for line in lines:
        made.take(line)
    return made


# how it ended; what it had said; reason, exit code, part of the message
ENDINGS: dict[str, tuple[Exit, list[Line], str, int, str]] = {
    "complete": (Exit(code=0), [finished("Succeeded")], "Succeeded", 0, "figures"),
    "complete without gain": (Exit(code=0), [finished("NoGain")], "NoGain", 0, "figures"),
    "a gate that is missed": (Exit(code=80), [finished("GateNotMet")], "GateNotMet", 80, "figures"),
    "complete, and then it crashed": (Exit(signal=signal.SIGSEGV), [finished("Succeeded")], "Succeeded", 0, ""),
    "bad data": (Exit(code=65), [failed("DataInvalid")], "DataInvalid", 65, "as it said itself"),
    "bad weights": (Exit(code=65), [failed("WeightsInvalid")], "WeightsInvalid", 65, ""),
    "a full disk": (Exit(code=70), [failed("EphemeralStorageExceeded")], "EphemeralStorageExceeded", 70, ""),
    "stopped and saved": (Exit(code=75, stopped_by="SIGTERM"), [failed("Stopped")], "Stopped", 75, ""),
    "stopped while it was imported": (
        Exit(signal=signal.SIGTERM, stopped_by="SIGTERM"),
        [],
        "Stopped",
        75,
        "stopped by SIGTERM before there was anything to save",
    ),
    "stopped, and saving took too long": (
        Exit(signal=signal.SIGKILL, stopped_by="SIGTERM", late_seconds=110),
        [SAVED],
        "Stopped",
        75,
        "more than the 110 s that the grace period leaves: the next start goes on from step 40",
    ),
    "Ctrl-C twice": (Exit(code=130, stopped_by="SIGINT"), [], "Stopped", 130, "at once by a second SIGINT"),
    "killed after a stop": (Exit(signal=signal.SIGKILL, stopped_by="SIGTERM"), [], "TrainerError", 70, "after SIGTERM"),
    "no progress": (Exit(signal=signal.SIGKILL, hung_seconds=1800), [SAVED], "Hung", 74, "no progress for 1800 s"),
    "out of memory": (Exit(signal=signal.SIGKILL, out_of_memory=True), [], "OutOfMemory", 70, "requests.memory"),
    "a part of it out of memory": (Exit(code=70, out_of_memory=True), [BUG], "OutOfMemory", 70, "requests.memory"),
    "bad data, whatever the kernel ended": (
        Exit(code=65, out_of_memory=True),
        [failed("DataInvalid")],
        "DataInvalid",
        65,
        "",
    ),
    "killed from outside": (
        Exit(signal=signal.SIGKILL),
        [],
        "TrainerError",
        70,
        "was ended by SIGKILL, not for its container's limit of memory",
    ),
    "full shared memory": (Exit(signal=signal.SIGBUS), [], "SharedMemoryExhausted", 70, "compute.sharedMemory"),
    "a crash": (
        Exit(signal=signal.SIGSEGV, output=CRASH),
        [],
        "TrainerError",
        70,
        'by SIGSEGV; its last words:\nFatal Python error: Segmentation fault\n  File "step.py", line 3 in forward',
    ),
    "without a word": (Exit(code=3), [], "TrainerError", 70, "ended with exit code 3 and did not say why"),
    "with exit code 0 and without a word": (Exit(code=0), [], "TrainerError", 70, "exit code 0 and did not say why"),
    "with words of a library": (
        Exit(code=1, output=["no such thing"]),
        [],
        "TrainerError",
        70,
        "words:\nno such thing",
    ),
    "by a real-time signal": (Exit(signal=40), [], "TrainerError", 70, "signal 40"),
}


@pytest.mark.parametrize(("ended", "lines", "reason", "code", "told"), ENDINGS.values(), ids=ENDINGS)
def test_every_end_has_a_reason_a_code_and_words(
    ended: Exit, lines: list[Line], reason: str, code: int, told: str
) -> None:
    said = termination(ended, board(*lines))
    assert (said.reason, said.exit_code) == (reason, code)
    assert told in said.message
    assert (said.result == RESULT) == any(line["kind"] == "finished" for line in lines)


UNFORESEEN: dict[str, tuple[Exception, str, str]] = {
    "a full disk": (OSError(28, "No space left", "/scratch/x"), "EphemeralStorageExceeded", "(/scratch/x)"),
    "no memory": (MemoryError("12 GiB"), "OutOfMemory", "compute.resources.requests.memory (12 GiB)"),
    "no memory for torch": (
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 TB"),
        "OutOfMemory",
        "you tried 1 TB",
    ),
    "a bug": (KeyError("x"), "TrainerError", "this is a bug: KeyError: 'x'\nlast line"),
}


@pytest.mark.parametrize(("error", "reason", "told"), UNFORESEEN.values(), ids=UNFORESEEN)
def test_what_no_part_has_foreseen_has_a_reason_too(error: Exception, reason: str, told: str) -> None:
    found, message = unexpected(error, "first line\nlast line\n")
    assert found == reason
    assert told.replace("\nlast line", "") in message


MESSAGES = {
    "a short one": "it is so",
    "an endless one": "x" * 100_000,
    "quotes and newlines": '"\\\n' * 5_000,
    "other scripts": "é漢字🙂" * 3_000,
    "no text": "caf\udce9" * 2_000,
}
RESULTS = {
    "no result": None,
    "a result": RESULT,
    "a result with endless names": RESULT.model_copy(
        update={
            "artifacts": Artifacts(model="s3://" + "漢" * 1024, report="s3://" + "漢" * 1024, result="x" * 1024),
            "checkpoint": CheckpointRef(step=1, uri="s3://" + "漢" * 1024),
        }
    ),
}


@pytest.mark.parametrize("limit", [TERMINATION_BYTES, 1000])
@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_termination_message_fits_whatever_it_says(message: str, result: Ended | None, limit: int) -> None:
    said = Termination(reason="TrainerError", message=message, exit_code=70, step=3, result=result)
    data = said.to_bytes(limit)
    assert len(data) <= limit
    read = Termination.parse(data.decode())
    assert read is not None
    assert (read.reason, read.exit_code, read.step) == ("TrainerError", 70, 3)
    assert (read.result is None) == (result is None)
    if len(message) > 1000:
        assert len(data) > limit - 12, "as much as fits is said: no room for another character is left"
        assert read.message[:9] == said.message[:9]
        assert read.message[-9:] == said.message[-9:]


def test_the_logs_last_line_is_a_termination_message_too() -> None:
    said = Termination(reason="Hung", message="y" * 9_000, exit_code=74)
    line = json.dumps({"event": "ended", "level": "error", **said.to_document(1500)})
    assert len(line) < 2048
    read = Termination.parse(f"Traceback\n{line}\n")
    assert read is not None
    assert (read.reason, read.exit_code) == ("Hung", 74)


def looked(watchdog: Watchdog, start: float, end: float) -> str | None:
    """The verdict after a look each second from `start` to `end`."""
    verdict: str | None = None
    for now in range(int(start), int(end) + 1):
        verdict = verdict or watchdog.look(float(now))
    return verdict


def test_silence_beyond_the_deadline_is_a_hang() -> None:
    watchdog = Watchdog(100, 120, 0)
    watchdog.heard(stage=True)
    assert looked(watchdog, 0, 100) is None
    watchdog.heard()
    assert looked(watchdog, 101, 200) is None
    assert looked(watchdog, 201, 201) == "hung"


@pytest.mark.parametrize(("deadline", "allowed"), [(100, 300), (1800, 1800)])
def test_before_the_first_stage_there_is_time_to_import(deadline: float, allowed: float) -> None:
    watchdog = Watchdog(deadline, 120, 0)
    watchdog.heard()
    assert looked(watchdog, 0, allowed) is None
    assert looked(watchdog, allowed + 1, allowed + 1) == "hung"


def test_a_pod_that_was_frozen_is_no_hang() -> None:
    watchdog = Watchdog(100, 120, 0)
    watchdog.heard(stage=True)
    assert looked(watchdog, 0, 90) is None
    assert watchdog.look(90_000.0) is None
    assert looked(watchdog, 90_001, 90_004) is None
    assert looked(watchdog, 90_005, 90_006) == "hung"


GRACES = {"as by default": (120, 110), "short": (10, 5), "long": (3600, 3590)}


@pytest.mark.parametrize(("grace", "saving"), GRACES.values(), ids=GRACES)
def test_after_a_stop_there_is_time_to_save_and_no_more(grace: float, saving: float) -> None:
    watchdog = Watchdog(3, grace, 0)
    watchdog.stopped(1.0)
    watchdog.stopped(2.0)
    assert looked(watchdog, 2, 1 + saving) is None, "nor does silence count then"
    assert watchdog.look(1.5 + saving) == "late"


def test_who_has_said_its_end_may_not_stay() -> None:
    watchdog = Watchdog(10_000, 120, 0)
    watchdog.said(5.0)
    assert looked(watchdog, 5, 35) is None
    assert watchdog.look(36.0) == "over"
