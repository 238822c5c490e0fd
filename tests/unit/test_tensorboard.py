"""Event files, read back with TensorBoard itself."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_sdk.storage import Store, open_store
from finetune_trainer.checkpoint.metrics import append_lines, drop_segments_after, read_metrics, write_segment
from finetune_trainer.records import StepMetrics
from finetune_trainer.tracking.points import Point, point_of_line, point_of_test
from finetune_trainer.tracking.tensorboard import SEGMENT, TEST, encode_events, write_events
from tests.support.tracked import scalars_in


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "output").as_uri())


def line(step: int, **changes: object) -> StepMetrics:
    values = {"epoch": step / 8, "loss": 2.0 / step, "learning_rate": 1e-4, "logit_scale": 14.0, "gradient_norm": 0.5}
    return StepMetrics.model_validate({"step": step, **values, **changes})


def test_tensorboard_shows_a_runs_figures_under_their_names(store: Store, tmp_path: Path) -> None:
    write_events(store, 0, TEST, [point_of_test(0, {"image_retrieval_recall@5": 0.25})])
    write_segment(store, 2, [line(1), line(2, validation={"image_retrieval_recall@1": 0.5, "score": 0.75})])
    write_segment(store, 3, [line(3)])
    write_events(store, 3, TEST, [point_of_test(3, {"image_retrieval_recall@5": 0.5})])
    shown = scalars_in(tmp_path / "output/tensorboard")
    assert shown.pop("train/loss") == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert shown == {
        "train/learning_rate": [(step, pytest.approx(1e-4)) for step in (1, 2, 3)],
        "train/logit_scale": [(step, 14.0) for step in (1, 2, 3)],
        "train/gradient_norm": [(step, 0.5) for step in (1, 2, 3)],
        "train/epoch": [(1, 0.125), (2, 0.25), (3, 0.375)],
        "validation/image_retrieval_recall@1": [(2, 0.5)],
        "validation/score": [(2, 0.75)],
        "test/image_retrieval_recall@5": [(0, 0.25), (3, 0.5)],
    }


def test_of_steps_that_are_made_anew_tensorboard_shows_the_new_ones_alone(store: Store, tmp_path: Path) -> None:
    write_events(store, 0, TEST, [point_of_test(0, {"recall": 0.25})])
    for step in (2, 4, 1234567890):
        write_segment(store, step, [line(step, loss=9.0)])
    drop_segments_after(store, 2)
    write_segment(store, 3, [line(3, loss=3.0)])
    append_lines(store, 3, [line(3, loss=3.0), line(4, loss=4.0)])
    shown = scalars_in(tmp_path / "output/tensorboard")
    assert shown["train/loss"] == [(2, 9.0), (3, 3.0), (4, 4.0)]
    assert [each.step for each in read_metrics(store)] == [2, 3, 4]
    assert shown["test/recall"] == [(0, 0.25)]


def test_a_file_that_another_program_put_there_stays(store: Store) -> None:
    theirs = "tensorboard/events.out.tfevents.1795664068.host"
    store.write(theirs, b"")
    drop_segments_after(store, 0)
    assert [entry.key for entry in store.list("tensorboard/")] == [theirs]


UNUSUAL: dict[str, tuple[float, Callable[[float], bool]]] = {
    "not a number": (math.nan, math.isnan),
    "infinite": (-math.inf, lambda value: value == -math.inf),
    "too large for 32 bits": (-1e300, lambda value: value == -math.inf),
    "negative": (-0.5, lambda value: value == -0.5),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_values_are_shown(store: Store, tmp_path: Path, name: str) -> None:
    value, expected = UNUSUAL[name]
    write_events(store, 1, SEGMENT, [Point(1, {"train/loss": value})])
    [(step, shown)] = scalars_in(tmp_path / "output/tensorboard")["train/loss"]
    assert step == 1
    assert expected(shown)


def test_long_names_and_large_steps_are_shown(store: Store, tmp_path: Path) -> None:
    name, steps = "test/" + "ä" * 300, (127, 128, 16_384, 2**40)
    write_events(store, 9, TEST, [Point(step, {name: 1.0}) for step in steps])
    assert scalars_in(tmp_path / "output/tensorboard") == {name: [(step, 1.0) for step in steps]}


def test_equal_lines_give_equal_files() -> None:
    points = [point_of_line(line(step)) for step in range(1, 50)]
    assert encode_events(points) == encode_events(list(points))
