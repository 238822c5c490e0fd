"""Captions: cleaned without losing one, and counted where a tokenizer cuts them."""

from typing import Any

import open_clip
import pytest

from finetune_trainer.data.captions import clean_captions, count_truncated
from finetune_trainer.data.types import BadRow

CASES = {
    "one": (("a cat",), ("a cat",), {}),
    "spaces around": ((" a cat\t",), ("a cat",), {}),
    "order is kept": (("b", "a"), ("b", "a"), {}),
    "line breaks join": (("a\r\ncat\u2028sat\x85there",), ("a cat sat there",), {}),
    "an empty one is counted": (("a cat", "  "), ("a cat",), {"empty-caption": 1}),
    "one said twice is counted": (("a cat", "a cat ", "a dog"), ("a cat", "a dog"), {"duplicate-caption": 1}),
    "commas and quotes stay": (('say "cat.jpg, dog"',), ('say "cat.jpg, dog"',), {}),
}


@pytest.mark.parametrize(("raw", "kept", "counts"), CASES.values(), ids=CASES)
def test_cleaning(raw: Any, kept: Any, counts: Any) -> None:
    assert clean_captions(raw) == (kept, counts)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ((), "no-caption"),
        (("", " \u2028"), "empty-caption"),
        (("a cat", "a cut one \ud83d"), r"wrong-encoding: its caption holds a part of a character .* \\ud83d"),
    ],
)
def test_a_picture_without_a_caption_is_a_bad_row(raw: Any, kind: str) -> None:
    with pytest.raises(BadRow, match=kind):
        clean_captions(raw)


def test_a_line_separator_is_the_same_to_the_tokenizer_as_the_space_it_becomes() -> None:
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    odd, plain = "a cat\u2028sat there", clean_captions(("a cat\u2028sat there",))[0][0]
    assert tokenize([odd]).equal(tokenize([plain]))


def test_captions_that_the_tokenizer_cuts_are_counted() -> None:
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    fits = " ".join(["cat"] * 75)
    assert count_truncated(["short", fits, fits + " sat", fits + " sat down there", ""], tokenize, 77) == 2


def test_texts_without_spaces_are_counted_too() -> None:
    tokenize = open_clip.get_tokenizer("ViT-B-32")
    assert count_truncated(["\u732b" * 100, "\u732b" * 20], tokenize, 77) == 1
