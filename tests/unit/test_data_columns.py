"""Columns of one name: all but one of them would be dropped."""

from pathlib import Path

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.bare import read_texts
from finetune_trainer.data.formats import open_rows


@pytest.mark.parametrize("values", [{}, {"where": {"kind": "x"}}, {"columns": {"group": "kind"}}], ids=str)
def test_a_column_that_is_there_twice_is_refused_where_it_is_used(tmp_path: Path, values: dict[str, object]) -> None:
    name = "kind" if values else "caption"
    (tmp_path / "a.csv").write_text(f"image,caption,{name},{name}\n1.jpg,a,x,y\n")
    count = 2 if values else 3
    spec = DataSource.model_validate({"uri": path_to_uri(tmp_path / "a.csv"), **values})
    with pytest.raises(DataInvalid) as refused:
        open_rows("data.train", spec, open_store)
    assert str(refused.value) == (
        f"data.train: a.csv has {count} columns named {name!r}: give each a name of its own, and each of several "
        "captions a row"
    )


def test_a_column_that_is_there_twice_and_not_used_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,caption,,\n1.jpg,a,x,y\n")
    rows = open_rows("data.train", DataSource(uri=path_to_uri(tmp_path / "a.csv")), open_store)
    assert [row.captions for row in rows.read()] == [("a",)]


def test_texts_of_a_column_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("caption,caption\na,b\n")
    with pytest.raises(DataInvalid, match=r"^SOURCE: a\.csv has 2 columns named 'caption': "):
        read_texts("SOURCE", path_to_uri(tmp_path / "a.csv"), None, open_store)
