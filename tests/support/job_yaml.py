"""The Job that the operator makes of each example, as YAML: a change of the builder is a diff that can be read."""

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from finetune_operator.actions import CreateJob
from finetune_operator.api import Api
from finetune_operator.model import Observed, RunView
from finetune_operator.plan import plan
from finetune_operator.settings import PlanSettings
from finetune_sdk.contract import RUN_VARIABLE
from finetune_sdk.strict_yaml import read_yaml

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = tuple(sorted((ROOT / "examples").glob("*.yaml")))
FOLDER = "tests/data/jobs"
SETTINGS = PlanSettings(trainer_image="registry.example/finetune-trainer:1")


def job_of(example: Path) -> Json:
    """What is sent to the API server for a file of examples/, applied to the namespace `team`."""
    document: Json = read_yaml(example.read_bytes()).plain()
    head = {"namespace": "team", "uid": "00000000-0000-0000-0000-000000000001", "resourceVersion": "1", "generation": 1}
    document["metadata"] |= {**head, "creationTimestamp": "2026-01-01T00:00:00Z"}
    run = RunView.from_object(document)
    (action,) = plan(Observed(run), run.created_at, SETTINGS).actions
    assert isinstance(action, CreateJob), action
    return Api.serialize(action.job)


def job_text(example: Path) -> str:
    """The same as it is committed; the order stands below it as a comment that can be read."""
    yaml, out = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 120
    out.write(f"# The Job of examples/{example.name}, written by `make schema`.\n")
    job = job_of(example)
    yaml.dump(job, out)
    order = json.dumps(json.loads(variables(job)[RUN_VARIABLE]["value"].replace("$$", "$")), indent=2)
    out.write(f"# {RUN_VARIABLE}:\n" + "".join(f"#   {line}\n" for line in order.splitlines()))
    return out.getvalue()


def job_texts() -> dict[str, Callable[[], str]]:
    """By the path of the committed file."""
    return {f"{FOLDER}/{example.name}": partial(job_text, example) for example in EXAMPLES}


def container(job: Json) -> Json:
    """The trainer's."""
    (only,) = job["spec"]["template"]["spec"]["containers"]
    found: Json = only
    return found


def variables(job: Json) -> dict[str, Json]:
    """Of the trainer's environment, by name; the last one of a name counts."""
    return {variable["name"]: variable for variable in container(job)["env"]}
