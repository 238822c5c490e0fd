"""Texts without their padding: the same embeddings, the same bits where it is promised, and less work."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.padding import FEWEST, SameBits, encode_text, without_padding
from finetune_trainer.training.state import TrainState
from tests.support.models import CONTEXT, KINDS, Kind, tiny_model
from tests.support.training import WHOLE, assert_same_gradients, make_batch, resolved_for

SHORT = ["a red cat", "the blue house", "a bird", ""]
LONG = [*SHORT, " ".join(["red"] * CONTEXT)]
CUT: set[Kind] = {"clip", "quickgelu", "resnet", "custom-text", "hf-text", "composed"}
"""Kinds whose padding decides nothing: SigLIP's positions see it, and CoCa embeds a last one of its own."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def model(kind: Kind, tmp_path: Path) -> ClipModel:
    return tiny_model(kind, folder=tmp_path)


def whole(model: ClipModel, tokens: Tensor) -> Tensor:
    module: Any = model.module
    embeddings: Tensor = module.encode_text(tokens)
    return embeddings


@torch.no_grad()
def test_short_texts_are_embedded_as_with_their_padding(kind: Kind, model: ClipModel) -> None:
    tokens = model.tokenize(SHORT)
    short = without_padding(model.module, tokens)
    assert short.shape[1] == (FEWEST if kind in CUT else tokens.shape[1])
    torch.testing.assert_close(encode_text(model.module, short), whole(model, tokens), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_the_longest_text_decides(model: ClipModel) -> None:
    tokens = model.tokenize(LONG)
    assert torch.equal(without_padding(model.module, tokens), tokens)
    assert torch.equal(encode_text(model.module, tokens), whole(model, tokens))


@torch.no_grad()
def test_the_bits_are_those_of_the_whole_context(model: ClipModel) -> None:
    encode = SameBits(model.module)
    for texts in (SHORT, SHORT[:1], LONG, SHORT[1:3], LONG[1:], SHORT):
        tokens = model.tokenize(texts)
        assert torch.equal(encode(tokens), whole(model, tokens))


@torch.no_grad()
def test_where_the_end_of_a_text_is_an_id_it_is_found() -> None:
    model = tiny_model("custom-text")
    module: Any = model.module
    tokens = model.tokenize(SHORT)
    before = whole(model, tokens)
    module.text.pool_type, module.text.eos_id = "eos", 49407
    assert without_padding(module, tokens).shape[1] == FEWEST
    torch.testing.assert_close(encode_text(module, tokens[:, :FEWEST]), before, rtol=1e-4, atol=1e-6)


class Rounding(nn.Module):
    """Adds what depends on the number of positions, as another order of a sum does."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + hidden.shape[1] * 1e-6


@torch.no_grad()
def test_where_the_bits_differ_the_whole_context_is_used() -> None:
    model = tiny_model()
    module: Any = model.module
    module.ln_final = nn.Sequential(module.ln_final, Rounding())
    encode, tokens = SameBits(module), model.tokenize(SHORT)
    assert not torch.equal(encode_text(module, without_padding(module, tokens)), whole(model, tokens))
    for _ in range(2):
        assert torch.equal(encode(tokens), whole(model, tokens))


class Positions(nn.Module):
    """Counts the positions that are computed."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[int] = []

    def forward(self, hidden: Tensor) -> Tensor:
        self.seen.append(hidden.shape[1])
        normed: Tensor = self.inner(hidden)
        return normed


@torch.no_grad()
def test_a_width_is_tried_once_and_again_for_fewer_texts() -> None:
    model = tiny_model()
    module: Any = model.module
    module.ln_final = Positions(module.ln_final)
    encode = SameBits(module)
    for texts in (SHORT, SHORT, SHORT[:2], SHORT[:3], SHORT):
        encode(model.tokenize(texts))
    tried = [CONTEXT, FEWEST]
    assert module.ln_final.seen == [*tried, FEWEST, *tried, FEWEST, FEWEST]


class RoundingOfFew(nn.Module):
    """As Rounding, where there are few texts."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + hidden.shape[1] * 1e-6 if len(hidden) < 3 else hidden


@torch.no_grad()
def test_a_width_that_once_differs_is_not_trusted_again() -> None:
    model = tiny_model()
    module: Any = model.module
    module.ln_final = nn.Sequential(module.ln_final, RoundingOfFew(), Positions(nn.Identity()))
    encode = SameBits(module)
    for texts in (SHORT, SHORT[:2], SHORT, SHORT[:2]):
        tokens = model.tokenize(texts)
        assert torch.equal(encode(tokens), whole(model, tokens))
    assert module.ln_final[2].seen.count(FEWEST) == 2


def test_gradients_are_those_of_the_whole_context(kind: Kind, model: ClipModel) -> None:
    tokens = model.tokenize(SHORT)

    def gradients(embeddings: Tensor) -> dict[str, Tensor]:
        model.module.zero_grad(set_to_none=True)
        torch.autograd.backward(embeddings.square().sum())
        return {name: value.grad.clone() for name, value in model.module.named_parameters() if value.grad is not None}

    want = gradients(whole(model, tokens))
    got = gradients(encode_text(model.module, without_padding(model.module, tokens)))
    assert_same_gradients(got, want)


def test_a_step_leaves_padding_out_and_the_trial_of_what_fits_does_not() -> None:
    """The first batch, which is tried, may hold shorter captions than a later one."""
    model = tiny_model()
    module: Any = model.module
    module.ln_final = Positions(module.ln_final)
    state, batch = TrainState(model, resolved_for(), WHOLE), make_batch(model, 0)
    state.try_step(batch, WHOLE)
    state.update(batch)
    assert module.ln_final.seen == [CONTEXT, FEWEST]
