"""What the model card calls the model, and the commands that check its number."""

from typing import Any

import pytest

from finetune_sdk.api.model import Model
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.pipeline.card import what_it_is
from finetune_trainer.pipeline.reproduce import reproduce_command
from tests.support.models import tiny_model
from tests.support.report_sample import outcome

PUBLISHED = {"name": "tiny", "weights": {"tag": "openai"}}
RANDOM: dict[str, Any] = {"name": "tiny", "weights": {"random": {}}}
TOWERS = {"towers": {"image": {"timm": "tf_lite0", "uri": "s3://b/timm/"}, "text": {"huggingface": "st/MiniLM"}}}
COMPOSED = "A model composed of timm's tf_lite0 (s3://b/timm/) and Hugging Face's st/MiniLM, with new projections, "
TRAINED = "fine-tuned on pictures with captions."
UNCHANGED = "left as it is: no fine-tuned weights were better on validation."

CASES: dict[str, tuple[dict[str, Any], str, bool, str]] = {
    "published weights": (PUBLISHED, "openai", False, f"tiny-clip with the weights openai, {TRAINED}"),
    "published weights that stayed": (PUBLISHED, "openai", True, f"tiny-clip with the weights openai, {UNCHANGED}"),
    "random weights": (RANDOM, "random", False, f"tiny-clip with random weights, {TRAINED}"),
    "two towers": (TOWERS, "composed", False, COMPOSED + TRAINED),
    "two towers that stayed": (TOWERS, "composed", True, COMPOSED + UNCHANGED),
}


@pytest.fixture(scope="module")
def model() -> ClipModel:
    return tiny_model()


@pytest.mark.parametrize(("spec", "source", "no_gain", "told"), CASES.values(), ids=CASES)
def test_a_card_says_what_the_model_is(
    model: ClipModel, spec: dict[str, Any], source: str, no_gain: bool, told: str
) -> None:
    model.source = source
    assert what_it_is(Model.model_validate(spec), model, no_gain) == told


def test_a_model_on_s3_is_copied_by_a_command_that_takes_its_uri() -> None:
    lines = reproduce_command("s3://models/scenes-b32", outcome()).splitlines()
    assert lines[0] == "finetune shards s3://models/scenes-b32 test-shards"
    assert lines[1].startswith("aws s3 cp --recursive s3://models/scenes-b32/model/ model/  # ")
    assert "--endpoint-url" in lines[1]
    assert lines[2] == "shards=$PWD/test-shards; cd model"
