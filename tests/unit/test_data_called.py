"""What a message calls a part of a source: as it stands in a run's file, or the option that was typed."""

from pathlib import Path

import pytest

from finetune_sdk.api.data import DataSource
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.formats import open_rows

FIELDS = {
    "data.test": ("data.test.where: ", "data.test.format: ", "name one in data.test.columns.caption"),
    "--data": ("--where: ", "--format: ", "rename one to caption, or name it in columns.caption of a run's file"),
    "SOURCE": ("--where: ", "--format: ", "rename one to caption, or name it in columns.caption of a run's file"),
    "WHERE": ("WHERE: ", "WHERE: ", "rename one to caption, or name it in columns.caption of a run's file"),
}


def refused(field: str, path: Path, **values: object) -> str:
    with pytest.raises(DataInvalid) as error:
        open_rows(field, DataSource.model_validate({"uri": path_to_uri(path), **values}), open_store)
    return str(error.value)


@pytest.mark.parametrize(("field", "told"), FIELDS.items(), ids=FIELDS)
def test_a_part_is_called_as_its_user_wrote_it(tmp_path: Path, field: str, told: tuple[str, str, str]) -> None:
    where, format_, caption = told
    (tmp_path / "a.csv").write_text("image,caption\n1.jpg,a\n")
    (tmp_path / "b.csv").write_text("image,words\n1.jpg,a\n")
    (tmp_path / "c.txt").write_text("nothing\n")
    assert refused(field, tmp_path / "a.csv", where={"color": "red"}).startswith(f"{where}a.csv has no column 'color'")
    assert refused(field, tmp_path / "c.txt").startswith(format_)
    assert refused(field, tmp_path / "b.csv").endswith(caption)
