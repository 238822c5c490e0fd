"""Documents of a run that cannot be read: cut or overwritten, or written by another version."""

import pytest

from finetune_sdk.client.memory_store import MemoryStore
from finetune_sdk.errors import OutputInUse
from finetune_trainer.pipeline.documents import read_document
from finetune_trainer.pipeline.layout import RUN
from finetune_trainer.records import RunRecord

BROKEN = {
    "cut": (
        b'{"run": "x"',
        r"s3://runs/x/run\.json is no whole document \(Invalid JSON: EOF .*\): bring it back, or use",
    ),
    "another file": (b"<html>", r"s3://runs/x/run\.json is no whole document \(Invalid JSON: "),
    "no object": (b"[]", r"was not written by this version of finetune \(Input should be an object\): use another"),
    "other fields": (b"{}", r"was not written by this version of finetune \(run: Field required\): use another"),
}


@pytest.mark.parametrize(("data", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_told(data: bytes, told: str) -> None:
    store = MemoryStore("s3://runs/x")
    store.write(RUN, data)
    with pytest.raises(OutputInUse, match=told):
        read_document(store, RUN, RunRecord)
