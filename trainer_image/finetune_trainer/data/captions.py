"""Captions as every stage sees them: one line, stripped, none empty, none twice for one picture."""

from collections import Counter
from collections.abc import Sequence

from torch import Tensor

from finetune_trainer.data.types import BadRow, check_text
from finetune_trainer.model.clip import Tokenizer

SPECIAL_TOKENS = 2
"""Begin and end: what a tokenizer adds to a caption's own tokens, each of which takes a byte or more."""
AT_ONCE = 512


def clean_captions(raw: Sequence[str]) -> tuple[tuple[str, ...], Counter[str]]:
    """The usable captions in the order met, and how many were empty or said twice.

    What `str.splitlines` takes for the end of a line becomes a space: CLIP Benchmark splits shards so, and a caption
    must stay one caption there. To open_clip's tokenizer both are the same white space.
    Raises BadRow where none is left, and for one that holds a part of a character.
    """
    counts: Counter[str] = Counter()
    kept: dict[str, None] = {}
    for caption in raw:
        check_text(caption, "caption")
        text = " ".join(part for line in caption.splitlines() if (part := line.strip()))
        if not text:
            counts["empty-caption"] += 1
        elif text in kept:
            counts["duplicate-caption"] += 1
        kept.update({text: None} if text else {})
    if not kept:
        detail = "its captions are empty" if raw else "it has no caption"
        raise BadRow("empty-caption" if raw else "no-caption", detail)
    return tuple(kept), counts


def count_truncated(captions: Sequence[str], tokenize: Tokenizer, context_length: int) -> int:
    """How many captions lose at least their last word to the tokenizer's limit of `context_length` tokens."""
    long = [text for text in captions if _may_be_cut(text, context_length)]
    parts = (long[start : start + AT_ONCE] for start in range(0, len(long), AT_ONCE))
    return sum(count_cut(part, tokenize(part), tokenize, context_length) for part in parts)


def count_cut(captions: Sequence[str], tokens: Tensor, tokenize: Tokenizer, context_length: int) -> int:
    """The same of a few captions whose `tokens` (N, context_length) are known.

    Told without knowing the tokenizer: leaving the last word out changes nothing. Of a text without spaces, as
    Chinese or Thai, its last character is left out.
    """
    long = [index for index, text in enumerate(captions) if _may_be_cut(text, context_length)]
    if not long:
        return 0
    shorter = tokenize([_without_end(captions[index]) for index in long])
    return int((tokens[long] == shorter).all(dim=1).sum())


def _may_be_cut(text: str, context_length: int) -> bool:
    return len(text.encode()) + SPECIAL_TOKENS > context_length and len(text) > 1


def _without_end(text: str) -> str:
    return text.rsplit(" ", 1)[0] if " " in text else text[:-1]
