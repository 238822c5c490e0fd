"""AdamW, what it decays, the logit scale's limit, gradient clipping."""

import math
from pathlib import Path

import pytest
import torch

from finetune_trainer.model.layers import tower_layers
from finetune_trainer.training.optimizer import clip_gradients, make_optimizer, set_rate, trained_parameters
from finetune_trainer.training.state import TrainState
from finetune_trainer.training.towers import TOWERS
from tests.support.models import Kind, tiny_model
from tests.support.training import WHOLE, make_batch, parts_of, resolved_for, small_model


def optimizer_of(kind: Kind, folder: Path) -> tuple[torch.optim.AdamW, dict[int, str]]:
    model = tiny_model(kind, folder=folder)
    names = {id(parameter): name for name, parameter in trained_parameters(model.module).items()}
    return make_optimizer(model.module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6), names


@pytest.mark.parametrize("kind", ["clip", "resnet", "siglip", "composed"])
def test_biases_norms_and_positions_are_not_decayed(kind: Kind, tmp_path: Path) -> None:
    optimizer, names = optimizer_of(kind, tmp_path)
    decayed = {names[id(p)] for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    spared = {names[id(p)] for group in optimizer.param_groups if not group["weight_decay"] for p in group["params"]}
    assert decayed | spared == set(names.values())
    wrong = ("bias", "logit", "norm", "ln_", "bn1.", "pos_embed", "positional", "position_embeddings")
    assert not {name for name in decayed if any(part in name for part in wrong)}
    assert all(
        name.endswith(("bias", "weight")) or "embed" in name or "logit" in name or "." in name for name in spared
    )


def test_the_state_is_there_from_the_start_and_changes_no_weight() -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    optimizer = make_optimizer(model.module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert len(optimizer.state) == len(trained_parameters(model.module))
    assert all(not tensor.any() for state in optimizer.state.values() for tensor in state.values())


def test_the_first_step_is_adamws_own() -> None:
    """Against torch's optimizer without our state: a rate, a decay, a step."""
    results = []
    for ours in (True, False):
        model = small_model()
        parameters = list(model.module.parameters())
        optimizer = (
            make_optimizer(model.module, weight_decay=0.0, betas=(0.9, 0.98), epsilon=1e-6)
            if ours
            else torch.optim.AdamW(parameters, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0, fused=True)
        )
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        for number, parameter in enumerate(parameters):
            parameter.grad = torch.full_like(parameter, 0.1 * (number + 1))
        optimizer.step()
        results.append(torch.cat([parameter.detach().flatten() for parameter in parameters]))
    assert torch.equal(*results)


def test_gradients_are_clipped_together_to_norm_one() -> None:
    model = small_model()
    optimizer = make_optimizer(model.module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6)
    for parameter in model.module.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for parameter in model.module.parameters())
    assert float(clip_gradients(optimizer, 1.0)) == pytest.approx(math.sqrt(count), rel=1e-4)
    clipped = math.sqrt(sum(float(p.grad.square().sum()) for p in model.module.parameters() if p.grad is not None))
    assert clipped == pytest.approx(1.0, rel=1e-4)


SCALES = {
    "a CLIP scale above 100 is brought back": ("clip", 2.0, 9.0, math.log(100)),
    "a CLIP scale that began above 100 may stay there": ("clip", 4.72, 4.72, 4.72),
    "a CLIP scale below 100 is left alone": ("clip", 2.0, 4.0, 4.0),
    "SigLIP's scale has no limit": ("siglip", 4.72, 6.0, 6.0),
}


@pytest.mark.parametrize(("loss", "initial", "reached", "after"), SCALES.values(), ids=SCALES)
def test_the_logit_scale_is_limited_for_the_clip_loss_only(
    loss: str, initial: float, reached: float, after: float
) -> None:
    model = small_model()
    parts_of(model).logit_scale.data.fill_(initial)
    state = TrainState(model, resolved_for(loss=loss, learning_rate=0.0), WHOLE)
    parts_of(model).logit_scale.data.fill_(reached)
    state.update(make_batch(model, 0))
    assert float(parts_of(model).logit_scale.detach()) == pytest.approx(after, rel=1e-6)


def test_siglips_logit_scale_is_unchanged_by_a_step_at_rate_0(tmp_path: Path) -> None:
    model = tiny_model("siglip", folder=tmp_path)
    parts_of(model).logit_scale.data.fill_(4.72)
    state = TrainState(model, resolved_for(loss="siglip", learning_rate=0.0), WHOLE)
    state.update(make_batch(model, 0))
    assert torch.equal(parts_of(model).logit_scale.detach(), torch.tensor(4.72).expand_as(parts_of(model).logit_scale))
    assert state.pending is not None
    assert state.pending.gradient_norm > 0


def test_frozen_parameters_have_no_state_and_do_not_move() -> None:
    model = small_model()
    model.module.visual.requires_grad_(False)
    before = {name: value.clone() for name, value in model.module.named_parameters()}
    state = TrainState(model, resolved_for(learning_rate=1e-2), WHOLE)
    state.update(make_batch(model, 0))
    after = dict(model.module.named_parameters())
    assert all(torch.equal(after[name], before[name]) == name.startswith("visual.") for name in before)


def test_layer_decay_against_a_step_computed_by_hand() -> None:
    """AdamW's first step is the sign of the gradient, and decay: both times the layer's own rate."""
    model, rate, decay = small_model(), 1e-2, 0.5
    module = model.module
    depth = 3  # two blocks, and what lies behind them
    factors = {
        "token_embedding.weight": decay**depth,
        "visual.conv1.weight": decay**depth,
        "visual.transformer.resblocks.0.mlp.c_fc.weight": decay**2,
        "transformer.resblocks.1.attn.in_proj_weight": decay,
        "visual.proj": 1.0,
        "text_projection": 1.0,
    }
    before = {name: module.get_parameter(name).detach().clone() for name in factors}
    optimizer = make_optimizer(module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6, layer_decay=decay)
    for parameter in module.parameters():
        parameter.grad = torch.where(parameter > 0, 0.5, -0.25)
    set_rate(optimizer, rate)
    optimizer.step()
    for name, factor in factors.items():
        old, own = before[name], rate * factor
        gradient = torch.where(old > 0, 0.5, -0.25)
        by_hand = old - own * 0.1 * old - own * gradient / (gradient.abs() + 1e-6)
        torch.testing.assert_close(module.get_parameter(name).detach(), by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["resnet", "siglip", "coca", "composed"])
def test_layer_decay_slows_every_parameter_before_the_heads_and_none_behind(kind: Kind, tmp_path: Path) -> None:
    model = tiny_model(kind, folder=tmp_path)
    optimizer = make_optimizer(model.module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6, layer_decay=0.9)
    set_rate(optimizer, 1e-3)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    layers = [tower_layers(model.module, tower) for tower in TOWERS]
    for each in layers:
        for name, place in each.place.items():
            assert rates[id(model.module.get_parameter(name))] == pytest.approx(1e-3 * 0.9 ** (each.blocks + 1 - place))
    assert rates[id(parts_of(model).logit_scale)] == 1e-3


def test_layer_decay_asks_nothing_of_a_frozen_tower() -> None:
    model = small_model()
    model.module.visual = torch.nn.Linear(2, 2).requires_grad_(False)
    optimizer = make_optimizer(model.module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6, layer_decay=0.9)
    assert len({group["rate_factor"] for group in optimizer.param_groups}) == 4


def test_without_layer_decay_there_are_two_groups_of_parameters() -> None:
    optimizer = make_optimizer(small_model().module, weight_decay=0.1, betas=(0.9, 0.98), epsilon=1e-6)
    assert [group["rate_factor"] for group in optimizer.param_groups] == [1.0, 1.0]
