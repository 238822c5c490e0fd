"""Checkpoints in a store: whole or passed over, the right ones kept, metrics that continue."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from finetune_sdk.errors import OutputInUse, StorageUnavailable, WeightsInvalid
from finetune_sdk.storage import Store, open_store
from finetune_trainer.checkpoint.find import Found, find_checkpoints, load_latest, load_weights
from finetune_trainer.checkpoint.manifest import Manifest
from finetune_trainer.checkpoint.metrics import append_lines, drop_segments_after, join_metrics, read_metrics
from finetune_trainer.checkpoint.retention import to_remove
from finetune_trainer.checkpoint.saver import Checkpoints
from finetune_trainer.checkpoint.snapshot import Snapshot, copy_to_host
from finetune_trainer.records import StepMetrics


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "output").as_uri())


@pytest.fixture
def notes() -> list[str]:
    return []


def snapshot(step: int) -> Snapshot:
    tensors = {"weights": {"a": torch.full((3,), float(step))}, "optimizer": {"m.a": torch.zeros(3)}}
    return Snapshot(step, tensors, b"{}\n")


def line(step: int) -> StepMetrics:
    return StepMetrics(step=step, epoch=0.5, loss=1.0, learning_rate=1e-4, logit_scale=14.0, gradient_norm=0.5)


def saver(store: Store, folder: Path, notes: list[str], **changes: object) -> Checkpoints:
    settings = {"keep": 2, "guard": lambda: None, "scratch": folder, "note": notes.append, **changes}
    return Checkpoints(store, **settings)  # type: ignore[arg-type]


def save_steps(store: Store, folder: Path, *steps: int, pinned: int = 0, keep: int = 2) -> None:
    with saver(store, folder, [], keep=keep) as checkpoints:
        for step in steps:
            checkpoints.save(snapshot(step), [line(step)], frozenset({pinned}))


def steps_in(store: Store) -> list[int]:
    return [found.step for found in find_checkpoints(store)]


def test_a_saved_checkpoint_is_loaded_again(store: Store, tmp_path: Path) -> None:
    save_steps(store, tmp_path, 3)
    loaded = load_latest(store, tmp_path, pytest.fail)
    assert loaded is not None
    assert (loaded.step, loaded.document) == (3, b"{}\n")
    assert torch.equal(loaded.tensors["weights"]["a"], torch.full((3,), 3.0))
    assert torch.equal(load_weights(store, 3, tmp_path)["a"], torch.full((3,), 3.0))


def test_the_objects_are_those_of_the_design(store: Store, tmp_path: Path) -> None:
    save_steps(store, tmp_path, 3)
    names = ["manifest.json", "optimizer.safetensors", "state.json", "weights.safetensors"]
    keys = [entry.key for entry in store.list()]
    events = "tensorboard/events.out.tfevents.0000000003.segment"
    assert keys == [*(f"checkpoints/step-3/{name}" for name in names), "metrics/step-3.jsonl", events]
    manifest = Manifest.model_validate_json(store.read(keys[0]))
    assert sorted(manifest.parts) == names[1:]
    assert not [path for path in tmp_path.iterdir() if path.name != "output"]


def damage_nothing_but_the_manifest(store: Store) -> None:
    store.write("checkpoints/step-9/manifest.json", b"{}")


def remove_the_manifest(store: Store) -> None:
    store.delete("checkpoints/step-9/manifest.json")


def remove_a_part(store: Store) -> None:
    store.delete("checkpoints/step-9/optimizer.safetensors")


def cut_a_part(store: Store) -> None:
    key = "checkpoints/step-9/weights.safetensors"
    store.write(key, store.read(key)[:-4])


def flip_a_byte(store: Store) -> None:
    key = "checkpoints/step-9/weights.safetensors"
    data = bytearray(store.read(key))
    data[-1] ^= 1
    store.write(key, bytes(data))


DAMAGE = {
    "no manifest: a kill, nothing to tell": (remove_the_manifest, None),
    "a manifest of something else": (damage_nothing_but_the_manifest, "manifest.json cannot be read"),
    "an object is gone": (remove_a_part, "optimizer.safetensors is missing or has another size"),
    "an object is cut": (cut_a_part, "weights.safetensors is missing or has another size"),
    "a byte is flipped": (flip_a_byte, "weights.safetensors has another SHA-256"),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_passed_over(
    store: Store, tmp_path: Path, notes: list[str], damage: Callable[[Store], None], told: str | None
) -> None:
    save_steps(store, tmp_path, 6, 9)
    damage(store)
    loaded = load_latest(store, tmp_path, notes.append)
    assert loaded is not None
    assert loaded.step == 6
    assert len(notes) == (told is not None)
    assert told is None or (told in notes[0] and "checkpoints/step-9" in notes[0])


def test_an_empty_output_has_no_checkpoint(store: Store, tmp_path: Path) -> None:
    assert load_latest(store, tmp_path, pytest.fail) is None
    with pytest.raises(WeightsInvalid, match="step-4 holds no whole checkpoint"):
        load_weights(store, 4, tmp_path)


def test_damaged_weights_are_refused(store: Store, tmp_path: Path) -> None:
    save_steps(store, tmp_path, 9)
    flip_a_byte(store)
    with pytest.raises(WeightsInvalid, match=r"step-9 is damaged \(weights.safetensors has another SHA-256"):
        load_weights(store, 9, tmp_path)


def found(step: int, problem: str | None = None) -> Found:
    return Found(step, (), None, problem)


RETENTION = {
    "fewer than keep": ([found(1)], 2, set(), []),
    "the oldest goes": ([found(1), found(2), found(3)], 2, set(), [1]),
    "a pinned one stays besides": ([found(1), found(2), found(3), found(4)], 2, {1}, [2]),
    "a pinned one among the latest is counted once": ([found(1), found(2), found(3)], 2, {3}, [1]),
    "broken ones go and push no good one out": ([found(1), found(2, "cut"), found(3, "cut")], 1, set(), [2, 3]),
    "a pinned one that is broken goes too": ([found(1, "cut"), found(2)], 1, {1}, [1]),
}


@pytest.mark.parametrize(("present", "keep", "pinned", "expected"), RETENTION.values(), ids=RETENTION)
def test_what_is_removed(present: list[Found], keep: int, pinned: set[int], expected: list[int]) -> None:
    assert [checkpoint.step for checkpoint in to_remove(present, keep=keep, pinned=pinned)] == expected


def test_the_latest_and_the_best_stay_and_leftovers_go(store: Store, tmp_path: Path) -> None:
    store.write("checkpoints/step-2/weights.safetensors", b"half")
    save_steps(store, tmp_path, 1, 3, 4, 5, pinned=1)
    assert steps_in(store) == [1, 4, 5]
    assert [line.step for line in read_metrics(store)] == [1, 3, 4, 5]


class FailingDelete:
    """A store that refuses to delete."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def delete(self, key: str) -> None:
        raise StorageUnavailable(f"{key} cannot be deleted")


def test_a_failed_delete_is_told_and_does_not_end_the_run(store: Store, tmp_path: Path, notes: list[str]) -> None:
    with saver(FailingDelete(store), tmp_path, notes, keep=1) as checkpoints:  # type: ignore[arg-type]
        checkpoints.save(snapshot(1), [], frozenset())
        checkpoints.save(snapshot(2), [], frozenset())
    assert steps_in(store) == [1, 2]
    assert notes == [
        "an old checkpoint could not be removed, training goes on: checkpoints/step-1/manifest.json cannot be deleted"
    ]


def test_a_second_writer_is_fenced_out_before_the_manifest(store: Store, tmp_path: Path) -> None:
    def guard() -> None:
        raise OutputInUse("another process")

    with pytest.raises(OutputInUse), saver(store, tmp_path, [], guard=guard) as checkpoints:
        checkpoints.save(snapshot(1), [], frozenset())
    assert [found.whole for found in find_checkpoints(store)] == [False]


def test_resuming_removes_what_later_steps_left(store: Store, tmp_path: Path) -> None:
    save_steps(store, tmp_path, 1, 2, 3, keep=3)
    store.write("checkpoints/step-3/weights.safetensors", b"cut")
    with saver(store, tmp_path, []) as checkpoints:
        resumed = checkpoints.resume()
        assert resumed is not None
        assert (resumed.step, checkpoints.last_step) == (2, 2)
    assert steps_in(store) == [1, 2]
    assert [line.step for line in read_metrics(store)] == [1, 2]


def test_one_upload_is_in_flight_beside_training(store: Store, tmp_path: Path) -> None:
    may_finish = threading.Event()
    with saver(store, tmp_path, [], guard=lambda: may_finish.wait(60)) as checkpoints:
        checkpoints.save(snapshot(1), [], frozenset())
        busy = [checkpoints.busy]
        assert load_latest(store, tmp_path, pytest.fail) is None
        may_finish.set()
        checkpoints.wait()
        busy.append(checkpoints.busy)
    assert busy == [True, False]
    assert steps_in(store) == [1]


def test_an_uploads_error_comes_with_the_next_save(store: Store, tmp_path: Path) -> None:
    failing = iter([StorageUnavailable("full")])

    def guard() -> None:
        for error in failing:
            raise error

    with saver(store, tmp_path, [], guard=guard) as checkpoints:
        checkpoints.save(snapshot(1), [], frozenset())
        with pytest.raises(StorageUnavailable, match="full"):
            checkpoints.save(snapshot(2), [], frozenset())
        checkpoints.save(snapshot(3), [], frozenset())
    assert steps_in(store) == [3]


def test_no_room_for_files_on_their_way_is_told(store: Store, tmp_path: Path) -> None:
    checkpoints = saver(store, tmp_path / "no-such-folder", [])
    checkpoints.save(snapshot(1), [], frozenset())
    with pytest.raises(StorageUnavailable, match=r"no-such-folder, where .* cannot take them: .*No such file"):
        checkpoints.wait()


def test_copies_share_no_memory_and_do_not_change() -> None:
    tensor = torch.zeros(4)
    copied = copy_to_host({"a": tensor, "b": tensor, "t": torch.ones(2, 3).T})
    tensor.fill_(1)
    assert not copied["a"].any()
    assert copied["a"].data_ptr() != copied["b"].data_ptr()
    assert copied["t"].is_contiguous()


def test_segments_join_into_metrics_jsonl_in_the_order_of_steps(store: Store) -> None:
    append_lines(store, 10, [line(9), line(10)])
    append_lines(store, 8, [line(7), line(8)])
    append_lines(store, 10, [line(10), line(11)])
    joined = join_metrics(store)
    assert [each.step for each in joined] == [7, 8, 9, 10, 11]
    assert store.read("metrics.jsonl").count(b"\n") == 5
    assert b'"validation"' not in store.read("metrics.jsonl")
    drop_segments_after(store, 8)
    assert [each.step for each in read_metrics(store)] == [7, 8]
