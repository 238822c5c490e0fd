"""What a terminal, a log and a pipe get to see."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from rich.console import Console

from finetune_trainer.display.bars import Bars
from finetune_trainer.display.choose import choose_display, console_for
from finetune_trainer.display.lines import Lines
from finetune_trainer.display.meter import Meter, clock_time, per_second
from finetune_trainer.display.table import RunStatus, show_evaluation, show_result, show_status
from finetune_trainer.records import GateResult
from tests.support import report_sample


@dataclass
class Clock:
    """A clock that the test winds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def trained(steps: int, total: int | None = 300, done: int = 0) -> list[str]:
    """The lines of a stage train at four steps a second."""
    stream, clock = io.StringIO(), Clock()
    with Lines(stream, clock) as lines:
        lines.start("train", total, "steps", done)
        for _ in range(steps):
            clock.now += 0.25
            lines.advance(loss=2.3149, samples_per_second=812.3)
    return stream.getvalue().splitlines()


def test_a_stage_has_a_first_line_one_every_ten_seconds_and_a_last() -> None:
    assert trained(100) == [
        "train  started  300 steps",
        "train  step 40/300  13 %  loss 2.31  812 samples/s  ETA 1:05",
        "train  step 80/300  27 %  loss 2.31  812 samples/s  ETA 0:55",
        "train  stopped  100 of 300 steps in 0:25  4.0 steps/s",
    ]


def test_a_resumed_stage_counts_on_and_its_rate_is_of_this_attempt() -> None:
    lines = trained(100, done=200)
    assert lines[0] == "train  started  300 steps  200 done before"
    assert lines[1] == "train  step 240/300  80 %  loss 2.31  812 samples/s  ETA 0:15"
    assert lines[-1] == "train  done  300 steps in 0:25  4.0 steps/s"


def test_a_stage_of_unknown_length_has_no_share_and_no_eta() -> None:
    assert trained(40, total=None)[1] == "train  40 steps  loss 2.31  812 samples/s"


def test_a_new_stage_ends_the_one_before() -> None:
    stream = io.StringIO()
    with Lines(stream, Clock()) as lines:
        lines.start("prepare", 2, "images")
        lines.advance(2)
        lines.start("baseline", None, "images")
    starts = [line.split("  ")[:2] for line in stream.getvalue().splitlines()]
    assert starts == [["prepare", "started"], ["prepare", "done"], ["baseline", "started"], ["baseline", "done"]]


def test_a_note_is_one_line_and_cannot_drive_the_terminal() -> None:
    stream, screen = io.StringIO(), io.StringIO()
    Lines(stream, Clock()).note("dropped a\nb\x1b[2J [bold]")
    assert stream.getvalue() == "note  dropped a b\ufffd[2J [bold]\n"
    with Bars(Console(file=screen, force_terminal=True, width=80), Clock()) as bars:
        bars.note("dropped \x1b[2J [bold]")
    assert "\x1b[2J" not in screen.getvalue()
    assert "[bold]" in screen.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_bars_show_counts_rate_eta_and_figures_within_the_width(width: int) -> None:
    screen, clock = io.StringIO(), Clock()
    with Bars(Console(file=screen, force_terminal=True, width=width, color_system=None), clock) as bars:
        bars.start("train", 300, "steps")
        for _ in range(60):
            clock.now += 0.25
            bars.advance(loss=2.3149)
        bars._bars.refresh()
    shown = screen.getvalue()
    assert "60/300 steps  4.0 steps/s  ETA 1:00  loss 2.31" in shown
    assert "60/300 steps  4.0 steps/s  0:15  loss 2.31" in shown, "the end shows the time taken"
    assert all(len(line.rstrip()) <= width for line in shown.replace("\r", "\n").splitlines() if "\x1b" not in line)


CHOICES: Mapping[str, tuple[io.StringIO, dict[str, str], type]] = {
    "a terminal gets bars": (Terminal(), {"TERM": "xterm-256color"}, Bars),
    "a dumb terminal gets lines": (Terminal(), {"TERM": "dumb"}, Lines),
    "a pipe gets lines": (io.StringIO(), {"TERM": "xterm-256color"}, Lines),
}


@pytest.mark.parametrize(("stream", "env", "kind"), CHOICES.values(), ids=CHOICES)
def test_the_display_fits_the_stream(stream: io.StringIO, env: dict[str, str], kind: type) -> None:
    with choose_display(stream, env, Clock()) as display:
        assert isinstance(display, kind)


def printed(env: dict[str, str], stream: io.StringIO) -> str:
    show_result(report_sample.outcome(), console_for(stream, env), GateResult(passed=True, message="Gate met: enough."))
    return stream.getvalue()


def test_the_end_table_fits_80_columns_with_the_headline_first() -> None:
    lines = [line.rstrip() for line in printed({}, io.StringIO()).splitlines()]
    assert lines[0].split("  ")[0] == "metric"
    assert " ".join(lines[2].split()) == "image_retrieval_recall@5 * 42.1 % 57.3 % +15.2 +12.9 to +17.6"
    assert max(map(len, lines)) <= 80
    assert "Gate met: enough." in lines
    assert "report  s3://models/scenes-b32/report.html" in lines


COLOURS = {
    "a terminal": ({"TERM": "xterm"}, Terminal(), True),
    "NO_COLOR": ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal(), False),
    "a pipe": ({"TERM": "xterm"}, io.StringIO(), False),
}


@pytest.mark.parametrize(("env", "stream", "styled"), COLOURS.values(), ids=COLOURS)
def test_colour_only_where_it_is_wanted(env: dict[str, str], stream: io.StringIO, styled: bool) -> None:
    show_result(report_sample.outcome(), console_for(stream, env))
    assert ("\x1b[1m" in stream.getvalue()) == (styled or "NO_COLOR" in env), "bold is not a colour"
    assert "\x1b[3" not in stream.getvalue()


def test_a_long_uri_stays_on_its_line() -> None:
    uri = "s3://models/" + "long/" * 40
    stream = io.StringIO()
    show_result(report_sample.outcome().model_copy(update={"model_uri": uri}), console_for(stream, {}))
    assert f"model   {uri}\n" in stream.getvalue()


def test_an_evaluation_shows_its_ties_and_warns_of_few_images() -> None:
    stream = io.StringIO()
    evaluation = report_sample.evaluation(1).model_copy(update={"images": 150})
    show_evaluation(evaluation, console_for(stream, {}), "s3://out/result.json")
    told = " ".join(stream.getvalue().split())
    assert "image_retrieval_recall@5 57.3 % 57.2 % 57.4 %" in told
    assert "The test set has 150 images" in told
    assert told.endswith("result s3://out/result.json")


def test_status_of_a_killed_run() -> None:
    line, stream = report_sample.metrics()[119], io.StringIO()
    status = RunStatus(
        "scenes-b32", "s3://models/scenes-b32", "train", 120, 300, line, line.validation, 100, "s3://models/step-100/"
    )
    show_status(status, console_for(stream, {}))
    told = [" ".join(line.split()) for line in stream.getvalue().splitlines()]
    assert "step 120 of 300 (40 %), epoch 4.0" in told
    assert "checkpoint step 100 s3://models/step-100/" in told
    assert "validation score 42.0 %, image_retrieval_recall@5 54.2 %, text_retrieval_recall@5 56.9 %" in told


def test_status_of_a_run_that_barely_began_says_only_what_is_known() -> None:
    stream = io.StringIO()
    show_status(RunStatus("a", "file:///tmp/a", "prepare"), console_for(stream, {}))
    assert stream.getvalue() == "run         a\noutput      file:///tmp/a\nstage       prepare\n"


def test_status_of_a_finished_run_ends_with_its_result() -> None:
    stream = io.StringIO()
    show_status(RunStatus("a", "s3://a", "done", outcome=report_sample.outcome()), console_for(stream, {}))
    assert "image_retrieval_recall@5 *" in stream.getvalue()


TIMES = {
    "rounded up, so that it never says 0 too early": (clock_time(41.2), "0:42"),
    "hours": (clock_time(3_723), "1:02:03"),
    "slow units are told by the unit": (per_second(0.04, "steps"), "25 s/step"),
    "a rate that nobody knows": (per_second(None, "steps"), ""),
}


@pytest.mark.parametrize(("got", "expected"), TIMES.values(), ids=TIMES)
def test_times_and_rates(got: str, expected: str) -> None:
    assert got == expected


def test_the_rate_forgets_a_slow_start() -> None:
    meter = Meter("train", 1_000, "steps", 0, 0.0)
    meter.advance(1, {}, 60.0)
    for second in range(61, 121):
        meter.advance(4, {}, float(second))
    assert meter.rate(120.0) == pytest.approx(4.0)
    assert meter.eta(120.0) == pytest.approx((1_000 - 241) / 4)
