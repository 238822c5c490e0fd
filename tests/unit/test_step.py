"""The step: the same gradients however the batch is cut, dropout that replays, frozen parts that stay."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from finetune_trainer.data.batches import normalise
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.training.loss import false_negatives, loss_by_name
from finetune_trainer.training.step import Pairs, StepSettings, contrastive_gradients
from finetune_trainer.training.towers import embed, set_training_mode
from tests.support.models import CONTEXT, KINDS, Kind, tiny_model
from tests.support.training import assert_same_gradients, make_batch, parts_of


def settings_for(model: ClipModel, micro_batch: int) -> StepSettings:
    return StepSettings(
        loss=loss_by_name(model.loss),
        micro_batch=micro_batch,
        seed=3,
        pixels=lambda images: normalise(images, model.preprocess),
        autocast=nullcontext,
    )


def pairs_of(model: ClipModel, batch_size: int = 8) -> Pairs:
    batch = make_batch(model, 0, batch_size, duplicates=True)
    return Pairs(batch.images, batch.tokens, batch.image_ids, batch.caption_ids)


def gradients(model: ClipModel, micro_batch: int, step: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    model.module.zero_grad(set_to_none=True)
    loss = contrastive_gradients(model.module, pairs_of(model), settings_for(model, micro_batch), step=step)
    return loss, {n: p.grad.clone() for n, p in model.module.named_parameters() if p.grad is not None}


def plain_gradients(model: ClipModel) -> dict[str, Tensor]:
    """The full batch through open_clip's own interface and autograd, nothing of ours but the loss."""
    module, pairs = parts_of(model), pairs_of(model)
    module.zero_grad(set_to_none=True)
    images = module.encode_image(normalise(pairs.images, model.preprocess), normalize=True)
    texts = module.encode_text(pairs.tokens, normalize=True)
    masked = false_negatives(pairs.image_ids, pairs.caption_ids)
    bias = getattr(module, "logit_bias", None)
    torch.autograd.backward(loss_by_name(model.loss)(images, texts, module.logit_scale.exp(), bias, masked))
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("count", [1, 2, 8], ids="{} micro-batches".format)
@pytest.mark.parametrize("kind", ["clip", "siglip", "resnet"])
def test_every_gradient_is_that_of_the_full_batch(kind: Kind, count: int, tmp_path: Path) -> None:
    model = tiny_model(kind, folder=tmp_path)
    want = plain_gradients(model)
    _, got = gradients(model, 8 // count)
    assert "logit_scale" in got
    assert_same_gradients(got, want)


def test_a_last_micro_batch_may_be_smaller() -> None:
    model = tiny_model()
    assert_same_gradients(gradients(model, 3)[1], gradients(model, 8)[1])


def test_the_loss_is_that_of_the_whole_batch() -> None:
    model = tiny_model()
    torch.testing.assert_close(gradients(model, 2)[0], gradients(model, 8)[0], rtol=1e-6, atol=0)


class Dropout(nn.Module):
    """A module with dropout in both towers."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 16), nn.Dropout(0.5), nn.Linear(16, 8))
        self.text = nn.Sequential(nn.Linear(CONTEXT, 16), nn.Dropout(0.5), nn.Linear(16, 8))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def encode_image(self, images: Tensor, **_options: bool) -> Tensor:
        embeddings: Tensor = self.visual(images)
        return embeddings

    def encode_text(self, tokens: Tensor, **_options: bool) -> Tensor:
        embeddings: Tensor = self.text(tokens / 50_000)
        return embeddings


@pytest.fixture
def dropped() -> ClipModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return replace(tiny_model(), module=Dropout().train())


class Recorder(nn.Module):
    """Keeps what a module returned."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.outputs: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        output: Tensor = self.inner(inputs)
        self.outputs.append(output.detach())
        return output


@pytest.mark.parametrize("tower", ["visual", "text"])
def test_the_replay_draws_the_same_dropout(dropped: ClipModel, tower: str) -> None:
    recorder = Recorder(getattr(dropped.module, tower))
    setattr(dropped.module, tower, recorder)
    gradients(dropped, 2)
    cached, replayed = recorder.outputs[:4], recorder.outputs[4:]
    assert all(torch.equal(first, second) for first, second in zip(cached, replayed, strict=True))
    assert not any(torch.equal(cached[0], other) for other in cached[1:])


def test_dropout_depends_on_the_step_and_on_nothing_before(dropped: ClipModel) -> None:
    first, _ = gradients(dropped, 4, step=5)
    torch.rand(17)
    assert torch.equal(gradients(dropped, 4, step=5)[0], first)
    assert not torch.equal(gradients(dropped, 4, step=6)[0], first)


@pytest.mark.parametrize("micro_batch", [8, 2])
@pytest.mark.parametrize(("frozen", "trained"), [("visual.", "transformer."), ("transformer.", "visual.")])
def test_a_frozen_tower_gets_no_gradient(frozen: str, trained: str, micro_batch: int) -> None:
    model = tiny_model()
    want = gradients(model, 8)[1]
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(name == "logit_scale" or name.startswith("visual.") != frozen.startswith("visual."))
    got = gradients(model, micro_batch)[1]
    assert any(name.startswith(trained) for name in got)
    assert not any(name.startswith(frozen) for name in got)
    assert_same_gradients(got, {name: want[name] for name in got})


def test_a_frozen_tower_is_embedded_once() -> None:
    model = tiny_model()
    model.module.visual.requires_grad_(False)
    calls: list[int] = []
    parts_of(model).visual.register_forward_pre_hook(lambda _module, inputs: calls.append(len(inputs[0])))
    gradients(model, 2)
    assert calls == [2, 2, 2, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_training_mode_leaves_running_statistics_and_frozen_parts_alone(kind: Kind, tmp_path: Path) -> None:
    model = tiny_model(kind, folder=tmp_path)
    first = next(module for module in parts_of(model).visual.children() if list(module.parameters()))
    first.requires_grad_(False)
    set_training_mode(model.module)
    before = {name: buffer.clone() for name, buffer in model.module.named_buffers()}
    gradients(model, 4)
    assert model.module.training
    assert not any(part.training for part in first.modules())
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.module.named_buffers())


def test_embeddings_are_float32_and_of_length_one_under_autocast() -> None:
    model = tiny_model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = embed(model.module, "text", pairs_of(model).tokens)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(8), rtol=1e-6, atol=0)


def test_micro_batches_match_under_autocast_too() -> None:
    model = tiny_model()
    module, results = model.module, []
    for micro_batch in (8, 2):
        module.zero_grad(set_to_none=True)
        bf16 = replace(settings_for(model, micro_batch), autocast=lambda: torch.autocast("cpu", dtype=torch.bfloat16))
        contrastive_gradients(module, pairs_of(model), bf16, step=0)
        results.append(torch.cat([value.grad.flatten() for value in module.parameters() if value.grad is not None]))
    assert float((results[0] - results[1]).norm() / results[0].norm()) < 0.02
