"""The Job that is made of a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune_operator.manifests.job import FINAL_CODES, STOPPED_CODE
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.contract import MAX_ORDER_BYTES, RUN_VARIABLE
from finetune_sdk.errors import FinetuneError
from finetune_sdk.order import parse_order
from finetune_sdk.strict_yaml import read_yaml
from tests.support.job_yaml import EXAMPLES, FOLDER, ROOT, container, job_of, job_text, variables
from tests.support.pod_security import breaches
from tests.unit.operator_plan.given import a_run

Json = dict[str, Any]
examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def job_with(tmp_path: Path, **compute: Any) -> Json:
    """Of the shortest run."""
    file = tmp_path / "run.yaml"
    document = {**a_run(compute=compute).run, "metadata": {"name": "r"}}
    file.write_text(json.dumps(document))
    return job_of(file)


@examples
def test_the_job_of_an_example_is_the_committed_one(example: Path) -> None:
    committed = ROOT / FOLDER / example.name
    assert committed.read_text(encoding="utf-8") == job_text(example), "run `make schema` and read the difference"


def test_every_committed_job_is_of_an_example() -> None:
    assert {path.name for path in (ROOT / FOLDER).iterdir()} == {path.name for path in EXAMPLES}


@examples
def test_its_pod_meets_the_restricted_standard(example: Path) -> None:
    spec = job_of(example)["spec"]["template"]["spec"]
    assert breaches(spec) == []
    assert container(job_of(example))["securityContext"]["readOnlyRootFilesystem"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


@examples
def test_its_order_is_the_whole_spec(example: Path) -> None:
    value = variables(job_of(example))[RUN_VARIABLE]["value"]
    assert len(value.encode()) < MAX_ORDER_BYTES
    ordered = parse_order(value)
    document = read_yaml(example.read_bytes()).plain()
    spec = FinetuneRun.model_validate(document).spec
    assert ordered.run.spec.model_dump(exclude={"compute"}) == spec.model_dump(exclude={"compute"})
    assert (ordered.run.metadata.name, ordered.attempt) == (document["metadata"]["name"], 1)


@examples
def test_it_holds_what_it_asks_for_and_no_more(example: Path) -> None:
    resources = container(job_of(example))["resources"]
    for bound in ("memory", "ephemeral-storage"):
        assert resources["limits"][bound] == resources["requests"][bound]
    gpus = read_yaml(example.read_bytes()).plain()["spec"].get("compute", {}).get("gpusPerNode", 1)
    assert resources["limits"].get("nvidia.com/gpu") == (str(gpus) if gpus else None)


@examples
def test_its_folders_are_bounded_and_its_keys_are_files(example: Path) -> None:
    job = job_of(example)
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount for mount in container(job)["volumeMounts"]}
    assert volumes["finetune-scratch"]["emptyDir"]["sizeLimit"] == "20Gi"
    assert volumes["finetune-shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert volumes["finetune-storage"]["secret"] == {"secretName": "finetune-storage", "defaultMode": 0o440}
    assert mounts["finetune-storage"]["readOnly"] is True
    assert mounts["finetune-shm"]["mountPath"] == "/dev/shm"  # noqa: S108 - where PyTorch's workers share tensors


@examples
def test_it_retries_failures_alone_and_lives_until_its_outcome_is_known(example: Path) -> None:
    spec = job_of(example)["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (3, "Failed")
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    fail, *ignore = spec["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["containerName"]) == ("FailJob", "trainer")
    assert [rule["action"] for rule in ignore] == ["Ignore", "Ignore"]


def test_its_policy_knows_every_code_of_the_trainers() -> None:
    """Final ones end the Job, stopped is ignored, all that may succeed when started again counts."""
    trainers = [error for error in FinetuneError.__subclasses__() if error.__module__ == FinetuneError.__module__]
    errors = [error for error in trainers if error.reason != "Usage"]
    assert {error.exit_code for error in errors if not error.retry} == set(FINAL_CODES)
    assert STOPPED_CODE not in FINAL_CODES


@examples
def test_its_owner_is_the_run(example: Path) -> None:
    job = job_of(example)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("FinetuneRun", True, True)
    assert job["spec"]["template"]["metadata"]["labels"] == job["metadata"]["labels"]
    assert job["metadata"]["labels"]["finetune.dev/run-uid"] == owner["uid"]
    assert len(job["metadata"]["name"]) <= 63


def test_dollars_of_the_spec_are_not_the_kubelets_to_expand(tmp_path: Path) -> None:
    """Kubernetes makes $ of $$ in a variable's value, and another variable's value of $(NAME)."""
    file = tmp_path / "run.yaml"
    text = EXAMPLES[0].read_text().replace("s3://models/", "s3://models/$(TOKEN)/$$HOME/")
    assert "$(TOKEN)" in text
    file.write_text(text)
    value = variables(job_of(file))[RUN_VARIABLE]["value"]
    assert "$(" not in value.replace("$$", "")
    assert "s3://models/$(TOKEN)/$$HOME/" in parse_order(value.replace("$$", "$")).run.spec.output.uri


def test_a_limit_alone_is_a_request_as_in_kubernetes(tmp_path: Path) -> None:
    job = job_with(tmp_path, resources={"limits": {"cpu": "1", "memory": "2Gi"}})
    assert container(job)["resources"]["requests"] == {
        "cpu": "1", "memory": "2Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": "1"}  # fmt: skip
    assert container(job)["resources"]["limits"]["cpu"] == "1"


def test_a_request_of_memory_is_its_limit(tmp_path: Path) -> None:
    job = job_with(tmp_path, resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "9Gi"}}, gpusPerNode=0)
    assert container(job)["resources"]["limits"] == {"memory": "2Gi", "ephemeral-storage": "20Gi"}


def test_places_for_files_are_the_users_where_they_say_so(tmp_path: Path) -> None:
    job = job_with(tmp_path, env=[{"name": "FINETUNE_CACHE", "value": "/cache"}, {"name": "X", "value": "1"}])
    found = {name: variable.get("value") for name, variable in variables(job).items()}
    assert (found["FINETUNE_CACHE"], found["X"], found["HOME"]) == ("/cache", "1", "/scratch")
    assert [variable["name"] for variable in container(job)["env"]].count("FINETUNE_CACHE") == 1
    assert "FINETUNE_CACHE_BYTES" not in found, "the scratch disk's limit says nothing of another folder"


def test_the_cache_is_told_what_the_scratch_disk_may_hold(tmp_path: Path) -> None:
    told = variables(job_with(tmp_path))["FINETUNE_CACHE_BYTES"]["valueFrom"]["resourceFieldRef"]
    assert told == {"resource": "limits.ephemeral-storage"}
    own = variables(job_with(tmp_path, env=[{"name": "FINETUNE_CACHE_BYTES", "value": "7"}]))
    assert own["FINETUNE_CACHE_BYTES"] == {"name": "FINETUNE_CACHE_BYTES", "value": "7"}


def test_all_of_compute_reaches_the_pod(tmp_path: Path) -> None:
    compute: Json = {
        "image": "mine:2",
        "imagePullSecrets": [{"name": "pull"}],
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
        "serviceAccountName": "trainer",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
        "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "c"}}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
        "securityContext": {"runAsUser": 1000},
        "sharedMemory": "4Gi",
        "terminationGracePeriodSeconds": 30,
        "gpuResourceName": "amd.com/gpu",
    }
    job = job_with(tmp_path, **compute)
    template = job["spec"]["template"]
    spec, trainer = template["spec"], container(job)
    passed = ["imagePullSecrets", "nodeSelector", "tolerations", "affinity", "priorityClassName", "runtimeClassName"]
    passed += ["serviceAccountName", "terminationGracePeriodSeconds"]
    assert {name: spec[name] for name in passed} == {name: compute[name] for name in passed}
    assert (trainer["image"], trainer["securityContext"]["runAsUser"]) == ("mine:2", 1000)
    assert trainer["resources"]["limits"]["amd.com/gpu"] == "1"
    assert compute["volumes"][0] in spec["volumes"]
    assert compute["volumeMounts"][0] in trainer["volumeMounts"]
    assert {"emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}, "name": "finetune-shm"} in spec["volumes"]
    assert template["metadata"]["annotations"] == {"note": "b"}
    assert template["metadata"]["labels"]["team"] == "a"
    assert breaches(spec) == []


def test_workload_identity_needs_no_secret() -> None:
    given = a_run(storage={"workloadIdentity": True}, compute={"serviceAccountName": "trainer"})
    made = str(given.plan().actions)
    assert "'secret_name': 'finetune-storage'" not in made
    assert "/var/run/finetune/storage" not in made
    assert "'secret_name': 'mine'" in str(a_run(storage={"secretRef": {"name": "mine"}}).plan().actions)
