"""Quotes in tables: a caption may go over lines, and a quote that nobody closed takes no rows with it."""

import pytest

from finetune_sdk.errors import DataInvalid
from finetune_trainer.data.table import parse


def sixty(begin: str = "{image}\t", end: str = "") -> list[str]:
    return [f"{begin}cap {number}{end}".format(image=f"{number:04}.png") for number in range(2, 62)]


def changed(lines: list[str], captions: dict[int, str]) -> list[str]:
    """A table below its header, where line n has another caption."""
    return [
        line.replace(f"cap {number}", captions.get(number, f"cap {number}"))
        for number, line in enumerate(lines, start=2)
    ]


STOP, GO = '"Stop, a sign', '"Go" said another'
SWALLOWED: dict[str, tuple[str, list[str], int, int]] = {
    "a quote closed twenty lines later": ("image\tcaption", changed(sixty(), {10: STOP, 30: GO}), 10, 30),
    "by a caption that begins with one": ("image\tcaption", changed(sixty(), {10: STOP, 30: STOP}), 10, 30),
    "in the next line": ("image\tcaption", changed(sixty(), {10: STOP, 11: GO}), 10, 11),
    "by the sign of inches": ("image\tcaption", changed(sixty(), {10: STOP, 11: '5" pipe'}), 10, 11),
    "the caption first": ("caption\timage", changed(sixty("", "\t{image}"), {10: STOP, 30: GO}), 10, 30),
    "commas": ("image,caption", changed(sixty("{image},"), {10: '"Stop', 20: '"a, b"', 30: '"Go", he said'}), 10, 20),
    "a header with a quote": ('image,"caption', changed(sixty("{image},"), {30: GO}), 1, 30),
}


@pytest.mark.parametrize(("header", "lines", "first", "last"), SWALLOWED.values(), ids=SWALLOWED)
def test_a_quote_that_takes_other_rows_is_refused(header: str, lines: list[str], first: int, last: int) -> None:
    with pytest.raises(DataInvalid) as caught:
        parse("\n".join([header, *lines]).encode(), "a.tsv", tab="\t" in header)
    message = str(caught.value)
    assert message.startswith(f"a.tsv:{first} cannot be read (a quoted cell goes on to line {last}, over lines that")
    assert 'as """Stop"", a sign", or leave them out' in message


@pytest.mark.parametrize("end", ["", "\n", "\nb\n"])
def test_a_quote_that_is_never_closed_is_refused(end: str) -> None:
    with pytest.raises(DataInvalid, match=r"a.csv:3 cannot be read \(the file ends within a quoted cell\)"):
        parse(b'image,caption\na.jpg,x\nb.jpg,"Stop' + end.encode(), "a.csv", tab=False)


WHOLE: dict[str, tuple[str, list[tuple[int, list[str]]]]] = {
    "a caption of two lines": ('image,caption\na.jpg,"x\ny"\nb.jpg,z', [(2, ["a.jpg", "x\ny"]), (4, ["b.jpg", "z"])]),
    "the caption first": ('caption,image\n"x\ny",a.jpg\nz,b.jpg\n', [(2, ["x\ny", "a.jpg"]), (4, ["z", "b.jpg"])]),
    "an end of line last": ('caption,image\n"x\n",a.jpg\n', [(2, ["x\n", "a.jpg"])]),
    "commas in its lines": ('image,caption\na.jpg,"x, y\nz, w\n""v"", u"\n', [(2, ["a.jpg", 'x, y\nz, w\n"v", u'])]),
    "three columns": ('image,caption,small\na.jpg,"x\ny, z",b.jpg\n', [(2, ["a.jpg", "x\ny, z", "b.jpg"])]),
    "CRLF": ('image,caption\r\na.jpg,"x\r\ny"\r\n', [(2, ["a.jpg", "x\r\ny"])]),
    "quotes within a line": (
        'image,caption\na.jpg,5" pipe\nb.jpg,"a ""b"""\n',
        [(2, ["a.jpg", '5" pipe']), (3, ["b.jpg", 'a "b"'])],
    ),
}


@pytest.mark.parametrize(("text", "rows"), WHOLE.values(), ids=WHOLE)
def test_captions_with_quotes_and_lines_are_read(text: str, rows: list[tuple[int, list[str]]]) -> None:
    assert parse(text.encode(), "a.csv", tab=False)[1] == rows
