"""Low-rank adapters: where they sit, what a step does to them, what a checkpoint holds, and how they are merged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from finetune_sdk.api.training import Freeze, Lora
from finetune_sdk.errors import InvalidSpec, WeightsInvalid
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.model.freeze import freeze
from finetune_trainer.model.lora import add_lora, has_lora, merge_lora, merged_state, training_state
from finetune_trainer.training.state import WEIGHTS, TrainState
from tests.support.models import KINDS, Kind, tiny_model
from tests.support.training import WHOLE, make_batch, make_run, parts_of, resolved_for, small_model

SPEC = Lora(rank=4, alpha=8.0)
SCALE = 2.0
HEADS = ("logit_scale", "logit_bias")
NEW: dict[Kind, set[str]] = {
    "composed": {"visual.head.proj.weight", "text.proj.weight"},
    "hf-text": {"text.proj.weight"},
}
FROZEN = {kind: Freeze.model_validate({"image": {"all": True}} if kind == "composed" else {}) for kind in KINDS}


def adapted(spec: Lora = SPEC) -> ClipModel:
    model = small_model()
    freeze(model, Freeze())
    add_lora(model, spec, seed=3)
    return model


def embeddings(model: ClipModel) -> Tensor:
    images = torch.rand(2, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(0))
    module = parts_of(model)
    with torch.no_grad():
        return torch.cat([module.encode_image(images), module.encode_text(model.tokenize(["a red cat", "a bird"]))])


ADAPTED: dict[Kind, tuple[str, ...]] = {
    "clip": (
        "visual.transformer.resblocks.0.attn.parametrizations.in_proj_weight",
        "visual.transformer.resblocks.1.attn.out_proj.parametrizations.weight",
        "transformer.resblocks.0.mlp.c_fc.parametrizations.weight",
    ),
    "resnet": ("visual.attnpool.c_proj.parametrizations.weight",),
    "siglip": (
        "visual.trunk.blocks.0.attn.qkv.parametrizations.weight",
        "visual.trunk.blocks.5.mlp.fc2.parametrizations.weight",
        "visual.trunk.attn_pool.kv.parametrizations.weight",
    ),
    "coca": ("visual.attn_pool.attn.parametrizations.in_proj_weight",),
    "hf-text": (
        "text.transformer.encoder.layer.1.attention.self.query.parametrizations.weight",
        "text.transformer.encoder.layer.0.intermediate.dense.parametrizations.weight",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_alone_move_and_merge_into_the_same_model(tmp_path: Path, kind: Kind) -> None:
    model = tiny_model(kind, folder=tmp_path)
    base = {name: value.clone() for name, value in model.module.state_dict().items()}
    freeze(model, FROZEN[kind])
    note = add_lora(model, SPEC, seed=3)
    adapters = {name for name, _ in model.module.named_parameters() if name.endswith((".0.down", ".0.up"))}
    assert {f"{name}.0.up" for name in ADAPTED.get(kind, ())} <= adapters
    new = {"composed": {"visual.head.proj.weight", "text.proj.weight"}, "hf-text": {"text.proj.weight"}}.get(
        kind, set()
    )
    trained = {name for name, value in model.module.named_parameters() if value.requires_grad}
    assert trained == adapters | new | (set(HEADS) & base.keys())
    assert note.startswith("LoRA of rank 4 adapts ")
    assert all(torch.equal(value, base[name]) for name, value in merged_state(model.module).items())
    state = TrainState(model, resolved_for(loss=model.loss, learning_rate=1e-2), WHOLE)
    state.update(make_batch(model, 0))
    model.module.eval()
    merged, through_adapters = merged_state(model.module), embeddings(model)
    merge_lora(model.module)
    assert not has_lora(model.module)
    assert weights_digest(model.module.state_dict()) == weights_digest(merged)
    assert merged.keys() == base.keys()
    changed = {name for name, value in merged.items() if not torch.equal(value, base[name])}
    assert changed == {_plain(name) for name in adapters} | new | (set(HEADS) & base.keys())
    torch.testing.assert_close(embeddings(model), through_adapters, rtol=1e-5, atol=1e-6)


def _plain(name: str) -> str:
    return name.replace(".parametrizations", "").rpartition(".0.")[0]


@pytest.mark.parametrize(
    ("name", "parts"),
    [("visual.transformer.resblocks.0.attn.in_proj_weight", 3), ("transformer.resblocks.1.mlp.c_proj.weight", 1)],
    ids=["packed", "linear"],
)
def test_a_step_against_one_computed_by_hand(name: str, parts: int) -> None:
    """d loss / d up = scale x (d loss / d W) @ down.T for each part; AdamW's first step is -rate x g / (|g| + eps)."""
    rate, resolved = 1e-2, resolved_for(learning_rate=1e-2, warmup_steps=0, clip_norm=1e9)
    full = small_model()
    reference = TrainState(full, replace(resolved, learning_rate=0.0), WHOLE)
    reference.update(make_batch(full, 0))
    gradient = full.module.get_parameter(name).grad
    assert gradient is not None
    model = adapted()
    state = TrainState(model, resolved, WHOLE)
    owner, _, attribute = name.rpartition(".")
    update = model.module.get_submodule(f"{owner}.parametrizations.{attribute}.0")
    down = update.get_parameter("down").detach().clone()
    state.update(make_batch(model, 0))
    by_part = gradient.reshape(parts, -1, gradient.shape[1])
    up_gradient = SCALE * by_part @ down.transpose(1, 2)
    up = -rate * up_gradient / (up_gradient.abs() + 1e-6)
    torch.testing.assert_close(update.get_parameter("up").detach(), up, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(update.get_parameter("down").detach(), down * (1 - rate * 0.1), rtol=1e-6, atol=1e-8)
    weight = full.module.get_parameter(name).detach() + SCALE * (up @ (down * (1 - rate * 0.1))).reshape(gradient.shape)
    torch.testing.assert_close(merged_state(model.module)[name], weight, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_holds_what_is_trained_and_no_more() -> None:
    model = adapted()
    snapshot = TrainState(model, resolved_for(), WHOLE).snapshot()
    assert snapshot.tensors[WEIGHTS].keys() == training_state(model.module).keys()
    assert {name.rpartition(".")[2] for name in snapshot.tensors[WEIGHTS]} == {"up", "down", "logit_scale"}


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    undisturbed = make_run(tmp_path / "a", make_model=adapted)
    killed = make_run(tmp_path / "b", make_model=adapted)
    _, expected = undisturbed.start()
    with pytest.raises(KeyboardInterrupt):
        killed.start(killed_at=3)
    _, found = killed.start()
    assert weights_digest(merged_state(found.module)) == weights_digest(merged_state(expected.module))


def test_a_checkpoint_of_another_rank_is_refused() -> None:
    snapshot = TrainState(adapted(Lora(rank=2)), resolved_for(), WHOLE).snapshot()
    with pytest.raises(WeightsInvalid, match="checkpoint step-0 does not fit the model"):
        TrainState(adapted(), resolved_for(), WHOLE).restore(snapshot)


def test_a_checkpoint_of_full_fine_tuning_is_refused() -> None:
    snapshot = TrainState(small_model(), resolved_for(), WHOLE).snapshot()
    with pytest.raises(WeightsInvalid, match="does not fit the model: only one of them has"):
        TrainState(adapted(), resolved_for(), WHOLE).restore(snapshot)


def test_frozen_blocks_are_not_adapted() -> None:
    model = small_model()
    freeze(model, Freeze.model_validate({"image": {"all": True}, "text": {"blocks": 1}}))
    note = add_lora(model, SPEC, seed=0)
    assert note.startswith("LoRA of rank 4 adapts 4 of the text tower's weights: ")
    trained = sum(value.numel() for value in model.module.parameters() if value.requires_grad)
    assert note.endswith(f" {trained:,} parameters are trained.")
    names = [name for name, _ in model.module.named_parameters() if name.endswith("up")]
    assert all(name.startswith("transformer.resblocks.1.") for name in names)


def test_a_tower_without_attention_and_mlp_is_refused(tmp_path: Path) -> None:
    model = tiny_model("composed", folder=tmp_path)
    freeze(model, Freeze())
    with pytest.raises(InvalidSpec, match=r"training\.lora: the image tower of .* has no .*freeze.image\.all: true"):
        add_lora(model, SPEC, seed=0)


def test_two_frozen_towers_are_refused(tmp_path: Path) -> None:
    model = tiny_model("composed", folder=tmp_path)
    freeze(model, Freeze.model_validate({"image": {"all": True}, "text": {"all": True}}))
    with pytest.raises(InvalidSpec, match="leave lora out to train the projections"):
        add_lora(model, SPEC, seed=0)
