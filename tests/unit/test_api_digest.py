"""The digest: equal for specs that must end with the same weights and figures, different for all others."""

from typing import Any

import pytest
from hypothesis import given, settings

from finetune_sdk.api import FinetuneRunSpec, spec_digest
from tests.support.specs import a_spec, sample, specs


def digest(document: dict[str, Any]) -> str:
    return spec_digest(FinetuneRunSpec.model_validate(document))


def test_the_digest_of_the_smallest_spec_never_changes() -> None:
    """A new field with a default, or another order of fields, must not make old outputs belong to another run."""
    assert digest(a_spec()) == "v1:ca86934dae372f03ed034916cbff6da296d875046ba61c74cd27795d0ca95427"


@given(spec=specs)
@settings(max_examples=100, deadline=None)
def test_defaults_written_out_change_nothing(spec: dict[str, Any]) -> None:
    read = FinetuneRunSpec.model_validate(spec)
    written = read.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert digest(written) == spec_digest(read)


SAME = {
    "more memory": {"compute": {"resources": {"requests": {"memory": "64Gi"}}}},
    "another image": {"compute": {"image": "registry/trainer:2"}},
    "another gate": {"evaluation": {"gate": {"minGain": 0.5}}},
    "a smaller micro-batch": {"training": {"microBatchSize": 4}},
    "other exports": {"output": {"uri": "file:///out", "exports": ["onnx"]}},
    "another output": {"output": {"uri": "s3://elsewhere/out"}},
    "other checkpoints": {"checkpoints": {"everySteps": 5}},
    "another Secret": {"storage": {"secretRef": {"name": "keys"}}},
    "retries": {"lifecycle": {"maxRetries": 9}},
    "suspended": {"suspend": True},
    "more bad rows allowed": {"data__maxBadFraction": 0.5},
    "the default k": {"evaluation": {"recallAt": [10, 5, 1]}},
    "the default headline": {"evaluation": {"metric": "image_retrieval_recall@5"}},
}
OTHER = {
    "another seed": {"training": {"seed": 1}},
    "another rate": {"training": {"optimizer": {"learningRate": 1e-4}}},
    "other weights": {"model": {"name": "ViT-B-32", "weights": {"tag": "openai"}}},
    "other data": {"data": {"source": {"uri": "file:///other"}}},
    "other k": {"evaluation": {"recallAt": [1]}},
    "another headline": {"evaluation": {"metric": "text_retrieval_recall@5"}},
    "leaks kept": {"data__leakage": "report"},
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
def test_same(changes: dict[str, Any]) -> None:
    assert digest(a_spec(**changes)) == digest(a_spec())


@pytest.mark.parametrize("changes", OTHER.values(), ids=OTHER)
def test_other(changes: dict[str, Any]) -> None:
    assert digest(a_spec(**changes)) != digest(a_spec())


def test_the_full_samples_differ() -> None:
    assert len({digest(sample(name)["spec"]) for name in ("full_tag.yaml", "full_towers.yaml")}) == 2
