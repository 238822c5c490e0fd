"""What is not built yet is refused by name; what only a cluster understands is accepted."""

from typing import Any

import pytest

from finetune_sdk.api import FinetuneRunSpec, unsupported
from tests.support.specs import a_spec, sample

TOWERS = {"towers": {"image": {"timm": "resnet18"}, "text": {"huggingface": "bert-base-uncased"}}}
NOT_YET = {
    "an export that the architecture lacks": (
        {"model": {"name": "RN50", "weights": {"tag": "openai"}}, "output__exports": ["open_clip", "huggingface"]},
        "spec.output.exports[1]: RN50 is not one of the 31 architectures that can be a Hugging Face CLIPModel: remove",
    ),
    "an export that composed models lack": (
        {"model": TOWERS, "output__exports": ["huggingface"]},
        "spec.output.exports[0]: a composed model is not one of the 31 architectures",
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


EXPORTED = {
    "an architecture that fits": {"name": "ViT-B-32-quickgelu", "weights": {"tag": "openai"}},
    "weights that tell their own": {"weights": {"uri": "s3://models/base"}},
}


@pytest.mark.parametrize("model", EXPORTED.values(), ids=EXPORTED)
def test_every_export_of_a_model_that_may_have_it_is_accepted(model: dict[str, Any]) -> None:
    assert mistakes(a_spec(model=model, output__exports=["open_clip", "huggingface", "onnx"])) == []


def test_what_only_a_cluster_understands_is_accepted() -> None:
    spec = sample("full_tag.yaml")["spec"]
    compute = {**spec["compute"], "nodes": 1, "gpusPerNode": 1}
    assert mistakes(a_spec(compute=compute, lifecycle=spec["lifecycle"], storage=spec["storage"], suspend=True)) == []


def test_everything_that_is_not_supported_is_told() -> None:
    assert len(mistakes(sample("full_tag.yaml")["spec"])) == 2
