"""Texts without their padding (docs/decisions/0017). N texts, T tokens of the context, t of them kept.

A caption takes 10 to 20 of CLIP's 77 positions. Where a position sees only those before it, or padding is masked, what
follows its end decides nothing: the embedding is the same without, and takes a share of the time.
"""

from typing import Any, NamedTuple

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP
from open_clip.transformer import TextTransformer, text_global_pool
from torch import Tensor, nn

STRIDE = 8
"""Positions are kept in eights: attention over so many, if they are 16 at least, has the bits of the whole context's
(torch 2.15, AMD EPYC; over any other number it has not), and few shapes occur."""
FEWEST = 16


def without_padding(module: nn.Module, tokens: Tensor) -> Tensor:
    """(N, t) of token ids (N, T): less the last positions that no embedding depends on; all where that is not known."""
    needed = max(FEWEST, _needed(module, tokens))
    return tokens[:, : -(-needed // STRIDE) * STRIDE]


def encode_text(module: nn.Module, tokens: Tensor) -> Tensor:
    """(N, D): `module.encode_text`, which open_clip's CLIP has for whole contexts alone, of `without_padding` too."""
    tower = _causal(module)
    if tower is None or tokens.shape[1] == len(tower.module.positional_embedding):
        whole: Any = module
        embeddings: Tensor = whole.encode_text(tokens)
        return embeddings
    return tower.embed(tokens)


class SameBits:
    """`encode_text` without padding where that gives the bits of the whole context, which is tried.

    Call it with one batch after another. Products of other shapes may be added up in another order: whether they are is
    the machine's affair, so the first batch of each width is computed both ways, and each that has fewer texts than any
    that was tried. A width that once differs is computed whole from then on.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module: Any = module
        self._fewest: dict[int, int] = {}
        """Texts that had the same bits, by width."""
        self._differ: set[int] = set()

    def __call__(self, tokens: Tensor) -> Tensor:
        """(N, D) of token ids (N, T): bit by bit what `module.encode_text` gives."""
        short = without_padding(self._module, tokens)
        count, width = short.shape
        if width in self._fewest and count >= self._fewest[width]:
            return encode_text(self._module, short)
        whole: Tensor = self._module.encode_text(tokens)
        if width < tokens.shape[1] and width not in self._differ:
            if torch.equal(encode_text(self._module, short), whole):
                self._fewest[width] = count
            else:
                self._fewest.pop(width, None)
                self._differ.add(width)
        return whole


class _Causal(NamedTuple):
    """A text tower whose positions see only those before them, and which embeds the end of the text."""

    module: Any
    pool: str
    end: int
    """The id of a text's end, where `pool` looks for one."""

    def embed(self, tokens: Tensor) -> Tensor:
        """(N, D) of token ids (N, t): what CLIP.encode_text and TextTransformer.forward do with T."""
        tower, width = self.module, tokens.shape[1]
        kind = tower.transformer.get_cast_dtype()
        hidden = tower.token_embedding(tokens).to(kind) + tower.positional_embedding[:width].to(kind)
        hidden = tower.transformer(hidden, attn_mask=tower.attn_mask[:width, :width].contiguous())
        pooled: Tensor = text_global_pool(tower.ln_final(hidden), tokens, pool_type=self.pool, eos_token_id=self.end)
        projection = tower.text_projection
        if projection is None:
            return pooled
        projected: Tensor = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
        return projected


def _causal(module: nn.Module) -> _Causal | None:
    tower: Any = module if isinstance(module, CLIP) else getattr(module, "text", None)
    if isinstance(tower, CLIP):
        found = _Causal(tower, tower.text_pool_type, tower.text_eos_id)
    elif isinstance(tower, TextTransformer) and tower.cls_emb is None and not tower.use_pad_mask:
        found = _Causal(tower, tower.pool_type, tower.eos_id)
    else:
        return None
    return found if found.pool in ("argmax", "eos") and tower.attn_mask is not None else None


def _needed(module: nn.Module, tokens: Tensor) -> int:
    """Positions up to the last one that decides an embedding."""
    text = getattr(module, "text", None)
    if isinstance(text, HFTextEncoder):
        return _last(tokens != text.config.pad_token_id)
    tower = _causal(module)
    if tower is None:
        return tokens.shape[1]
    return int((tokens if tower.pool == "argmax" else (tokens == tower.end).int()).argmax(dim=-1).max()) + 1


def _last(marked: Tensor) -> int:
    """Columns of (N, T) up to the last with a mark; 1 at least."""
    columns = marked.any(dim=0).nonzero()
    return int(columns[-1]) + 1 if len(columns) else 1
