"""`finetune models`: what the generated list says, and that it says what open_clip does."""

from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from open_clip.factory import list_models
from torch import Tensor

from finetune_sdk.cli.main import finetune
from finetune_sdk.cli.models import load_catalogue, memory_bytes
from finetune_sdk.errors import InvalidSpec, UsageError
from finetune_trainer.model.architectures import architecture_config
from finetune_trainer.model.size import AsOnGpu, kept_bytes
from tests.support.catalogue import CATALOGUE, catalogue_text, names_and_tags, sizes
from tests.support.light_start import output_of_light
from tests.support.models import CONTEXT, tiny_model


def models(*arguments: str) -> Result:
    return CliRunner().invoke(finetune, ["models", *arguments], catch_exceptions=False)


def test_every_architecture_is_listed_with_its_tags_and_exports() -> None:
    entries = load_catalogue()
    assert [entry["name"] for entry in entries] == list_models()
    for entry in entries:
        told = names_and_tags(entry["name"])
        assert {key: entry[key] for key in told} == told, "run python -m tests.support.catalogue"
    assert CATALOGUE.read_text(encoding="utf-8") == catalogue_text(entries)


@pytest.mark.parametrize("name", ["ViT-S-32", "RN50", "roberta-ViT-B-32"])
def test_sizes_are_what_building_the_model_gives(name: str) -> None:
    entry = next(entry for entry in load_catalogue() if entry["name"] == name)
    found = sizes(name)
    assert {key: entry[key] for key in found} == found, "run python -m tests.support.catalogue"


def test_the_sizes_of_openais_vit_b_32_are_the_published_ones() -> None:
    entries = {entry["name"]: entry for entry in load_catalogue()}
    openai = entries["ViT-B-32-quickgelu"]
    assert openai["imageParameters"] + openai["textParameters"] + 1 == 151_277_313
    assert memory_bytes(openai, 64) == 18 * 151_277_312 + 64 * openai["activationBytes"]
    # Korthikanti et al. 2022 (arXiv:2205.05198): 34 bytes for each token, channel and layer, without the scores.
    by_hand = 34 * 12 * (50 * 768 + 77 * 512)
    assert entries["ViT-B-32"]["activationBytes"] == pytest.approx(by_hand, rel=0.15)


def test_what_is_kept_for_a_pair_is_what_autograd_keeps_of_real_tensors() -> None:
    module: Any = tiny_model("quickgelu").module.train()

    def really_kept(pairs: int) -> int:
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
            return tensor

        alive: list[Tensor] = []  # memory that is given back would be counted as the next tensor's
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16), AsOnGpu():
            alive.append(module.encode_image(torch.zeros(pairs, 3, 32, 32)))
            alive.append(module.encode_text(torch.zeros(pairs, CONTEXT, dtype=torch.int64)))
        return sum(kept.values())

    grows = (really_kept(12) - really_kept(4)) / 8  # weights are kept too, once for all pairs
    assert kept_bytes(module, (32, 32), CONTEXT) == grows


def test_one_architecture_is_described() -> None:
    lines = models("ViT-B-32-quickgelu", "--batch", "128").output.splitlines()
    assert lines[0] == "ViT-B-32-quickgelu"
    assert lines[1] == "  parameters  88M image tower, 63M text tower; embeddings of 512"
    assert lines[2] == "  input       224x224 pixels, 77 tokens"
    assert lines[3].endswith("GB to train with 128 pairs at once, in bf16")
    assert lines[4] == "  exports     open_clip, huggingface, onnx"
    assert lines[5].startswith("  tags        openai, ")


def test_a_part_of_a_name_lists_all_that_hold_it() -> None:
    heading, *rows = models("siglip").output.splitlines()
    assert heading.split() == ["ARCHITECTURE", "IMAGE", "TEXT", "PIXELS", "TOKENS", "MEMORY", "EXPORTS", "TAGS"]
    assert {row.split()[0] for row in rows} == {name for name in list_models() if "siglip" in name.lower()}
    assert all(" open_clip,onnx " in row for row in rows)


def test_a_larger_batch_takes_more_memory() -> None:
    memory = [models("ViT-S-32-alt", "--batch", size).output.splitlines()[3].split()[1] for size in ("1", "1024")]
    entry = next(entry for entry in load_catalogue() if entry["name"] == "ViT-S-32-alt")
    assert float(memory[1]) - float(memory[0]) == pytest.approx(1023 * entry["activationBytes"] / 1e9, abs=0.11)


def test_weights_of_the_other_activation_are_no_tag() -> None:
    assert "openai" in models("ViT-B-32-quickgelu").output
    assert "openai" not in models("ViT-B-32").output


def test_what_is_only_on_the_hub_is_not_guessed() -> None:
    lines = models("roberta-ViT-B-32").output.splitlines()
    assert lines[1] == "  parameters  88M image tower, ? text tower; embeddings of 512"
    assert lines[3].startswith("  memory      ? to train")


def test_a_name_that_no_architecture_holds_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no architecture's name holds 'ViT-B-23': did you mean .*ViT-B-32"):
        models("ViT-B-23")
    with pytest.raises(UsageError, match="no architecture's name holds '@@': `finetune models` lists them"):
        models("@@")


def test_an_architecture_unlike_any_is_sent_to_the_list() -> None:
    with pytest.raises(InvalidSpec, match=r"'@@' is not .* architectures; `finetune models` lists them"):
        architecture_config("@@")


def test_the_list_needs_neither_torch_nor_open_clip() -> None:
    assert len(output_of_light("models").splitlines()) == 1 + len(list_models())
