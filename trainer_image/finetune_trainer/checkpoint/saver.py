"""Saving beside training: one upload at a time on a thread, payload first, manifest last."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from safetensors import SafetensorError
from safetensors.torch import save_file

from finetune_sdk.errors import FinetuneError, StorageUnavailable
from finetune_sdk.storage import Store
from finetune_trainer.checkpoint.find import SUFFIX, load_latest
from finetune_trainer.checkpoint.manifest import (
    MANIFEST,
    STATE,
    Manifest,
    Part,
    checkpoint_key,
    part_of_bytes,
    part_of_file,
)
from finetune_trainer.checkpoint.metrics import append_lines, drop_segments_after, write_segment
from finetune_trainer.checkpoint.retention import remove_after, retain
from finetune_trainer.checkpoint.snapshot import Snapshot
from finetune_trainer.progress import Nobody
from finetune_trainer.records import StepMetrics

_NOBODY = Nobody()


class Checkpoints:
    """The checkpoints of one run in its output. Use as a context: leaving it waits for the upload in flight."""

    def __init__(
        self,
        store: Store,
        *,
        keep: int,
        guard: Callable[[], None],
        scratch: Path,
        note: Callable[[str], None],
        saved: Callable[[int, str], None] = _NOBODY.saved,
    ) -> None:
        """`guard` is called before a manifest is written and raises where another process owns the output by now.

        `saved` is told step and folder of each checkpoint that is whole. `scratch` is a local folder for files on
        their way; `note` tells the user a sentence: from any thread, and it
        does not raise.
        """
        self._store = store
        self._keep = keep
        self._guard = guard
        self._scratch = scratch
        self._note = note
        self._saved = saved
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._upload: Future[None] | None = None
        self._asked: int | None = None

    def resume(self) -> Snapshot | None:
        """The latest whole checkpoint, None where there is none; what later steps left behind is removed.

        Raises OutputInUse by way of `guard`, before anything is removed.
        """
        snapshot = load_latest(self._store, self._scratch, self._note)
        self._guard()
        step = 0 if snapshot is None else snapshot.step
        remove_after(self._store, step)
        drop_segments_after(self._store, step)
        self._asked = None if snapshot is None else step
        return snapshot

    @property
    def busy(self) -> bool:
        """Whether an upload is in flight."""
        return self._upload is not None and not self._upload.done()

    @property
    def last_step(self) -> int | None:
        """The step of the newest checkpoint that was asked for or resumed from."""
        return self._asked

    def save(self, snapshot: Snapshot, lines: Sequence[StepMetrics], pinned: frozenset[int]) -> None:
        """Begin to upload a checkpoint with the metrics since the one before; waits for that one first.

        Steps in `pinned` stay whatever `keep` says. Raises what the upload before raised.
        """
        self.wait()
        self._asked = snapshot.step
        self._upload = self._executor.submit(self._write, snapshot, tuple(lines), pinned)

    def add_lines(self, lines: Sequence[StepMetrics]) -> None:
        """Store lines that the newest checkpoint, already whole, did not hold yet. Waits for it."""
        self.wait()
        if self._asked is not None and lines:
            append_lines(self._store, self._asked, lines)

    def wait(self) -> None:
        """Wait for the upload in flight. Raises what it raised, once."""
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except FinetuneError as upload_error:
            if error is None:
                raise
            self._note(f"the last checkpoint could not be saved: {upload_error}")
        finally:
            self._executor.shutdown()

    @contextmanager
    def _local_folder(self) -> Iterator[Path]:
        """A folder for files on their way; a full or missing disk is told as what it is."""
        try:
            with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
                yield Path(folder)
        except (OSError, SafetensorError) as error:
            where, on_way = self._scratch, "where a checkpoint's files lie on their way to"
            raise StorageUnavailable(f"{where}, {on_way} {self._store.uri}, cannot take them: {error}") from error

    def _write(self, snapshot: Snapshot, lines: Sequence[StepMetrics], pinned: frozenset[int]) -> None:
        step, store = snapshot.step, self._store
        parts: dict[str, Part] = {}
        with self._local_folder() as folder:
            for kind, tensors in snapshot.tensors.items():
                path = folder / f"{kind}{SUFFIX}"
                save_file(dict(tensors), path)
                store.write_file(checkpoint_key(step, path.name), path)
                parts[path.name] = part_of_file(path)
                path.unlink()
        store.write(checkpoint_key(step, STATE), snapshot.document)
        parts[STATE] = part_of_bytes(snapshot.document)
        write_segment(store, step, lines)
        self._guard()
        manifest = Manifest(step=step, parts=parts)
        store.write(checkpoint_key(step, MANIFEST), manifest.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
        self._saved(step, store.uri_of(checkpoint_key(step, MANIFEST)).removesuffix(MANIFEST))
        retain(store, keep=self._keep, pinned=pinned, note=self._note)
