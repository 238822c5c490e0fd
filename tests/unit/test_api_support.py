"""What is not built yet is refused by name; what only a cluster understands is accepted."""

from typing import Any

import pytest

from finetune_sdk.api import FinetuneRunSpec, unsupported
from tests.support.specs import a_spec, sample

NOT_YET = {
    "an export": (
        {"output__exports": ["open_clip", "onnx"]},
        "spec.output.exports[1]: export to onnx is not supported",
    ),
    "nodes": ({"compute__nodes": 2}, "spec.compute.nodes: several nodes are not supported yet: use 1"),
    "GPUs": ({"compute__gpusPerNode": 2}, "spec.compute.gpusPerNode: several GPUs are not supported yet"),
}


def mistakes(spec: dict[str, Any]) -> list[str]:
    return [str(mistake) for mistake in unsupported(FinetuneRunSpec.model_validate(spec))]


@pytest.mark.parametrize(("changes", "start"), NOT_YET.values(), ids=NOT_YET)
def test_not_supported_yet(changes: dict[str, Any], start: str) -> None:
    (told,) = mistakes(a_spec(**changes))
    assert told.startswith(start)


def test_the_smallest_spec_can_run() -> None:
    assert mistakes(a_spec()) == []


def test_what_only_a_cluster_understands_is_accepted() -> None:
    spec = sample("full_tag.yaml")["spec"]
    compute = {**spec["compute"], "nodes": 1, "gpusPerNode": 1}
    assert mistakes(a_spec(compute=compute, lifecycle=spec["lifecycle"], storage=spec["storage"], suspend=True)) == []


def test_everything_that_is_not_supported_is_told() -> None:
    assert len(mistakes(sample("full_tag.yaml")["spec"])) == 4
