"""Losses, weight decay, freezing: by kind of model."""

from pathlib import Path

import pytest
import torch

from finetune_sdk.api.training import Freeze
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.adapters import added_projections, decays, unreached
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.freeze import freeze
from tests.support.models import KINDS, Kind, tiny_model

WHOLE = {"all": True}


def trained(model: ClipModel) -> set[str]:
    return {name for name, value in model.module.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("kind", KINDS)
def test_only_siglip_has_siglips_loss(tmp_path: Path, kind: Kind) -> None:
    assert tiny_model(kind, folder=tmp_path).loss == ("siglip" if kind == "siglip" else "clip")


@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_spares_biases_norms_positions_and_tokens(tmp_path: Path, kind: Kind) -> None:
    spared = (
        "bias",
        "ln_",
        "norm",
        "position",
        "class_embedding",
        "cls_",
        "logit",
        "bn",
        "LayerNorm",
        "latent",
        "query",
    )
    for name, value in tiny_model(kind, folder=tmp_path).module.named_parameters():
        if decays(name, value):
            assert not any(part in name for part in spared if part != "query" or name.endswith("query")), name
        else:
            assert value.ndim < 2 or any(part in name for part in (*spared, "pos_embed")), name


def test_weight_decay_reaches_a_hugging_face_query(tmp_path: Path) -> None:
    name = "text.transformer.encoder.layer.0.attention.self.query.weight"
    assert decays(name, tiny_model("hf-text", folder=tmp_path).module.get_parameter(name))


@pytest.mark.parametrize("kind", KINDS)
def test_only_cocas_decoder_is_out_of_the_loss_reach(tmp_path: Path, kind: Kind) -> None:
    names = unreached(tiny_model(kind, folder=tmp_path))
    if kind != "coca":
        assert names == []
    assert all(name.startswith("text_decoder.") for name in names)
    assert ("text_decoder.text_projection" in names) == (kind == "coca")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_frozen_trains_every_reached_parameter(tmp_path: Path, kind: Kind) -> None:
    model = tiny_model(kind, folder=tmp_path)
    notes = freeze(model, Freeze())
    assert {name for name, _ in model.module.named_parameters()} - trained(model) == {
        name for name, _ in model.module.named_parameters() if name.startswith("text_decoder.")
    }
    assert len(notes) == (1 if kind == "coca" else 0)


def test_a_frozen_native_tower_is_frozen_whole() -> None:
    model = tiny_model("clip")
    notes = freeze(model, Freeze.model_validate({"text": WHOLE}))
    names = trained(model)
    assert names == {"logit_scale"} | {
        name for name, _ in model.module.named_parameters() if name.startswith("visual.")
    }
    assert notes == ["The text tower is frozen (29 of 29 tensors)."]


def test_frozen_composed_towers_leave_their_projections(tmp_path: Path) -> None:
    model = tiny_model("composed", folder=tmp_path)
    notes = freeze(model, Freeze.model_validate({"image": WHOLE, "text": WHOLE}))
    assert trained(model) == {"visual.head.proj.weight", "text.proj.weight", "logit_scale"}
    assert notes[1] == "The text tower is frozen (37 of 38 tensors); its projection is trained."


def test_a_frozen_trunk_records_no_graph(tmp_path: Path) -> None:
    model = tiny_model("composed", folder=tmp_path)
    freeze(model, Freeze.model_validate({"image": WHOLE, "text": WHOLE}))
    trunk = model.module.get_submodule("visual.trunk")
    assert not trunk(torch.rand(1, 3, 64, 64)).requires_grad
    assert model.module.get_submodule("visual")(torch.rand(1, 3, 64, 64)).requires_grad


def test_freezing_again_follows_the_last_spec() -> None:
    model = tiny_model("clip")
    freeze(model, Freeze.model_validate({"text": WHOLE}))
    freeze(model, Freeze.model_validate({"image": WHOLE}))
    assert "ln_final.weight" in trained(model)
    assert "visual.proj" not in trained(model)


def test_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(InvalidSpec, match=r"training\.freeze: .* freeze one tower only"):
        freeze(tiny_model("clip"), Freeze.model_validate({"image": WHOLE, "text": WHOLE}))


def test_siglip_has_no_added_projection(tmp_path: Path) -> None:
    assert added_projections(tiny_model("siglip", folder=tmp_path)) == []
