"""Storage that dies at any moment of a run: its checkpoints are whole or invisible, and the next run goes on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from finetune_sdk.errors import StorageUnavailable
from finetune_sdk.storage import Entry, Retry, Store, open_store
from finetune_trainer.checkpoint.find import find_checkpoints, load_latest
from finetune_trainer.checkpoint.metrics import read_metrics
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.records import StepMetrics
from tests.support.faults import run_proxy
from tests.support.minio import S3Server
from tests.support.training import Run, make_run, resolved_for

STEPS = 3
OBJECTS = 6
"""Of a checkpoint: weights, optimizer, state, metrics, their TensorBoard events, manifest."""
Undisturbed = tuple[str, list[StepMetrics], int]
"""Digest of the weights, metrics, and the number of calls on storage."""


class DyingStore:
    """Passes calls on until the `dies_at`-th (from 0), which fails as do all after it.

    `late`: that call does its work first, and only then fails, as when an answer is lost.
    """

    def __init__(self, inner: Store, dies_at: int, *, late: bool) -> None:
        self._inner = inner
        self._dies_at = dies_at
        self._late = late
        self.calls = 0

    @property
    def uri(self) -> str:
        return self._inner.uri

    def uri_of(self, key: str) -> str:
        return self._inner.uri_of(key)

    def read(self, key: str) -> bytes:
        with self._call():
            return self._inner.read(key)

    def open(self, key: str, start: int = 0) -> AbstractContextManager[BinaryIO]:
        with self._call():
            return self._inner.open(key, start)

    def write(self, key: str, data: bytes) -> None:
        with self._call():
            self._inner.write(key, data)

    def write_file(self, key: str, path: Path) -> None:
        with self._call():
            self._inner.write_file(key, path)

    def write_if(self, key: str, data: bytes, etag: str | None) -> str | None:
        with self._call():
            return self._inner.write_if(key, data, etag)

    def stat(self, key: str) -> Entry | None:
        with self._call():
            return self._inner.stat(key)

    def list(self, prefix: str = "", most: int | None = None) -> Iterator[Entry]:
        with self._call():
            yield from self._inner.list(prefix, most)

    def delete(self, key: str) -> None:
        with self._call():
            self._inner.delete(key)

    def _call(self) -> "_Call":
        number, self.calls = self.calls, self.calls + 1
        if number > self._dies_at or (number == self._dies_at and not self._late):
            raise StorageUnavailable("the network is gone")
        return _Call(fails=number == self._dies_at)


class _Call:
    """Fails on its way out."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        if self._fails:
            raise StorageUnavailable("the answer is lost")


def result_of(run: Run) -> tuple[str, list[StepMetrics]]:
    _, model = run.start()
    return weights_digest(model.module.state_dict()), read_metrics(run.store)


def short_run(folder: Path) -> Run:
    """Three steps, each saved and validated, so that checkpoints are also removed."""
    return make_run(folder, resolved=resolved_for(STEPS, evaluation_steps=(1, 2, 3)), keep=1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run on storage that works."""
    run = short_run(tmp_path_factory.mktemp("undisturbed"))
    working = run.store
    run.store = counting = DyingStore(working, 1 << 30, late=False)
    weights, lines = result_of(run)
    return weights, lines, counting.calls


@pytest.mark.parametrize("late", [False, True], ids=["the call does nothing", "the call's answer is lost"])
def test_a_run_goes_on_after_storage_died_at_any_call(tmp_path: Path, undisturbed: Undisturbed, late: bool) -> None:
    weights, lines, calls = undisturbed
    assert calls > 10 * STEPS
    for dies_at in range(0, calls, 2):
        run = short_run(tmp_path / str(dies_at))
        working = run.store
        run.store = DyingStore(working, dies_at, late=late)
        with suppress(StorageUnavailable):  # a failed removal is told and does not end the run
            run.start()
        run.store = working
        whole = [found.step for found in find_checkpoints(working) if found.whole]
        latest = load_latest(working, run.scratch, pytest.fail)
        assert (latest.step if latest else None) == max(whole, default=None), dies_at
        assert result_of(run) == (weights, lines), dies_at
        assert [found.step for found in find_checkpoints(working) if found.whole][-1] == STEPS


def test_an_upload_to_s3_that_is_cut_at_every_object_is_whole_or_invisible(
    minio_server: S3Server, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    impatient = Retry(0.0, 0.0, sleep=lambda _seconds: None)
    for cut in range(2 * OBJECTS + 2):
        direct = open_store(minio_server.scratch(), minio_server.credentials)
        run = short_run(tmp_path / str(cut))
        with run_proxy(minio_server) as proxy:
            run.store = open_store(direct.uri, minio_server.at(proxy.endpoint).credentials, retry=impatient)
            proxy.cut_from_write(cut)
            with pytest.raises(StorageUnavailable):
                run.start()
        run.store = direct
        latest = load_latest(direct, run.scratch, pytest.fail)
        assert latest is None or latest.step == cut // OBJECTS
        assert result_of(run) == undisturbed[:2], cut


def test_file_and_s3_hold_the_same_objects(minio_server: S3Server, tmp_path: Path, undisturbed: Undisturbed) -> None:
    on_files, on_s3 = short_run(tmp_path / "files"), short_run(tmp_path / "s3")
    on_s3.store = open_store(minio_server.scratch(), minio_server.credentials)
    assert result_of(on_files) == result_of(on_s3) == undisturbed[:2]
    left = [{entry.key: run.store.read(entry.key) for entry in run.store.list()} for run in (on_files, on_s3)]
    assert left[0] == left[1]
