"""Blocks of every kind of tower: what lies before them, in them and behind them."""

from pathlib import Path
from typing import Any, Literal

import pytest
import timm
from torch import nn

from finetune_sdk.api.training import Freeze
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.freeze import freeze
from finetune_trainer.model.layers import Layers, tower_layers
from tests.support.models import KINDS, Kind, tiny_model

PLACES: dict[str, tuple[Kind, Literal["image", "text"], int, dict[str, int]]] = {
    "a vision transformer": (
        "clip",
        "image",
        2,
        {
            "visual.conv1.weight": 0,
            "visual.class_embedding": 0,
            "visual.ln_pre.bias": 0,
            "visual.transformer.resblocks.1.attn.in_proj_weight": 2,
            "visual.ln_post.weight": 3,
            "visual.proj": 3,
        },
    ),
    "CLIP's text tower": (
        "clip",
        "text",
        2,
        {"token_embedding.weight": 0, "transformer.resblocks.0.ln_1.bias": 1, "ln_final.bias": 3, "text_projection": 3},
    ),
    "a ResNet by bottlenecks": (
        "resnet",
        "image",
        4,
        {
            "visual.bn3.weight": 0,
            "visual.layer1.0.conv1.weight": 1,
            "visual.layer4.0.downsample.0.weight": 4,
            "visual.attnpool.positional_embedding": 5,
        },
    ),
    "a text tower of its own": (
        "siglip",
        "text",
        2,
        {"text.positional_embedding": 0, "text.transformer.resblocks.1.mlp.c_fc.weight": 2, "text.ln_final.bias": 3},
    ),
    "timm's vision transformer": (
        "siglip",
        "image",
        6,
        {
            "visual.trunk.patch_embed.proj.bias": 0,
            "visual.trunk.blocks.5.attn.qkv.weight": 6,
            "visual.trunk.norm.weight": 7,
            "visual.trunk.attn_pool.latent": 7,
        },
    ),
    "timm's EfficientNet": (
        "composed",
        "image",
        5,
        {"visual.trunk.conv_stem.weight": 0, "visual.trunk.conv_head.weight": 6, "visual.head.proj.weight": 6},
    ),
    "a Hugging Face encoder": (
        "hf-text",
        "text",
        2,
        {
            "text.transformer.embeddings.LayerNorm.weight": 0,
            "text.transformer.encoder.layer.1.output.dense.bias": 2,
            "text.proj.weight": 3,
        },
    ),
    "CoCa's text tower": ("coca", "text", 2, {"text.cls_emb": 0, "text_decoder.ln_final.weight": 3}),
}


@pytest.mark.parametrize(("kind", "tower", "blocks", "places"), PLACES.values(), ids=PLACES)
def test_where_parameters_lie(
    tmp_path: Path, kind: Kind, tower: Literal["image", "text"], blocks: int, places: dict[str, int]
) -> None:
    layers = tower_layers(tiny_model(kind, folder=tmp_path).module, tower)
    assert layers.blocks == blocks
    assert {name: layers.place[name] for name in places} == places


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_every_tower_has_parameters(tmp_path: Path, kind: Kind) -> None:
    module = tiny_model(kind, folder=tmp_path).module
    for tower in ("image", "text"):
        layers = tower_layers(module, tower)
        assert set(layers.place.values()) == set(range(layers.blocks + 2))


class OfTrunk(nn.Module):
    """What open_clip makes of a timm network, as far as layers see it."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.visual = nn.Module()
        self.visual.trunk = trunk


def layers_of(name: str) -> Layers:
    network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    return tower_layers(OfTrunk(network), "image")


TIMM = {"test_convnext": (9, "head.norm.weight"), "test_resnet": (4, "layer4.0.conv1.weight")}


@pytest.mark.parametrize(("name", "blocks_and_last"), TIMM.items(), ids=TIMM)
def test_other_networks_of_timms(name: str, blocks_and_last: tuple[int, str]) -> None:
    blocks, last = blocks_and_last
    layers = layers_of(name)
    assert layers.blocks == blocks
    assert layers.place[f"visual.trunk.{last}"] == max(layers.place.values())


def test_a_network_that_does_not_tell_its_blocks_is_refused() -> None:
    with pytest.raises(
        InvalidSpec, match=r"the blocks of the image tower cannot be told apart: leave out freeze\.image"
    ):
        tower_layers(OfTrunk(nn.Linear(2, 2)), "image")


def test_more_blocks_than_there_are_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"freeze\.text\.blocks: 3, but the text tower of tiny-clip has 2: use at m"):
        freeze(tiny_model("clip"), Freeze.model_validate({"text": {"blocks": 3}}))


def test_no_block_freezes_nothing() -> None:
    model = tiny_model("clip")
    assert freeze(model, Freeze.model_validate({"image": {"blocks": 0}})) == []
    assert all(parameter.requires_grad for parameter in model.module.parameters())


def test_what_is_frozen_in_part_is_told() -> None:
    (note,) = freeze(tiny_model("clip"), Freeze.model_validate({"image": {"blocks": 1}}))
    assert note == "The image tower is frozen in part (1 of 2 blocks, with what lies before them: 17 tensors)."
