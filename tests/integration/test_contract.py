"""What a trainer's pod tells the operator, of the real trainer and of the tests' stand-in alike."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from finetune_sdk import errors
from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.contract import HEALTH_PATH, METRICS_PATH, PROGRESS_PATH, RUN_VARIABLE, ProgressReport, Termination
from finetune_sdk.order import order_text
from tests.cluster.stand_in import stand_in
from tests.support.processes import free_ports
from tests.support.runs import PATIENCE_S, environment, make_run

UID = "0000-1111"
WHOLE_RUN_S = 4 * PATIENCE_S
"""A run with its export, on a machine that does much else."""
COMMANDS = {
    "the trainer": [sys.executable, "-m", "finetune_trainer.supervisor.main"],
    "the stand-in": [sys.executable, stand_in.__file__],
}
LONG = {"training": {"steps": 2000, "batchSize": 16}}
both = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


@dataclass
class Trainer:
    """A trainer's process as a pod starts it."""

    process: "subprocess.Popen[bytes]"
    port: int
    message: Path

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request("GET", f"http://127.0.0.1:{self.port}{path}", retries=False, timeout=5)

    def report_when(self, reached: Any) -> ProgressReport:
        """The first report that is so."""
        deadline = time.monotonic() + WHOLE_RUN_S
        while True:
            assert self.process.poll() is None, "ended before"
            assert time.monotonic() < deadline, f"not within {WHOLE_RUN_S:g} s"
            try:
                report = ProgressReport.model_validate_json(self.get(PROGRESS_PATH).data, extra="forbid")
            except urllib3.exceptions.HTTPError:
                report = None
            if report is not None and reached(report):
                return report
            time.sleep(0.05)

    def end(self) -> tuple[int, Termination]:
        """Exit code and termination message."""
        code = self.process.wait(PATIENCE_S)
        return code, Termination.model_validate_json(self.message.read_bytes(), extra="forbid")


@contextmanager
def start(command: list[str], folder: Path, script: dict[str, Any], **spec: Any) -> Iterator[Trainer]:
    (port,) = free_ports(1)
    run = FinetuneRun.model_validate(absolute(json.loads(make_run(folder, **spec).read_text()), folder))
    variables = {
        RUN_VARIABLE: order_text(name="run", namespace="here", uid=UID, attempt=1, spec=run.spec),
        "FINETUNE_PORT": str(port),
        "FINETUNE_TERMINATION_LOG": str(folder / "message"),
        "FINETUNE_DEVICE": "cpu",
        "HOME": str(folder),
        "STAND_IN": json.dumps(script),
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment(folder, **variables), stderr=log, cwd=folder)
    try:
        yield Trainer(process, port, folder / "message")
    finally:
        process.kill()
        process.wait()


def absolute(document: Any, folder: Path) -> Any:
    """The run with its relative paths as URIs."""
    if isinstance(document, dict):
        return {
            key: f"file://{folder}/{value}" if key == "uri" else absolute(value, folder)
            for key, value in document.items()
        }
    return document


@both
def test_while_it_works_it_answers_and_a_stop_ends_it_with_75(command: list[str], tmp_path: Path) -> None:
    with start(command, tmp_path, {}, **LONG) as trainer:
        report = trainer.report_when(lambda report: report.progress is not None and (report.progress.step or 0) > 2)
        assert (report.run_uid, report.ended) == (UID, None)
        assert report.progress is not None
        assert report.progress.stage == "train"
        assert 0 < (report.progress.percent or 0) < 100
        health, metrics = trainer.get(HEALTH_PATH), trainer.get(METRICS_PATH)
        assert (health.status, trainer.get("/else").status) == (200, 404)
        assert metrics.headers["Content-Type"].startswith("application/openmetrics-text")
        assert metrics.data.endswith(b"# EOF\n")
        assert b"\nfinetune_step " in metrics.data
        trainer.process.send_signal(signal.SIGTERM)
        code, said = trainer.end()
    assert (code, said.exit_code, said.reason) == (75, 75, "Stopped")
    assert said.result is None


@both
def test_a_complete_run_says_its_figures_twice(command: list[str], tmp_path: Path) -> None:
    with start(command, tmp_path, {"run_s": 0.5}) as trainer:
        report = trainer.report_when(lambda report: report.ended is not None)
        code, said = trainer.end()
    assert (code, said.exit_code) == (0, 0)
    assert said.reason in ("Succeeded", "NoGain")
    assert said.message
    assert report.ended == said
    assert said.result is not None
    figures, places = said.result.evaluation, said.result.artifacts
    assert figures.after is not None
    assert figures.gain == pytest.approx(figures.after - figures.before)
    output = f"file://{tmp_path}/output-run"
    assert all(str(place).startswith(output) for place in (places.model, places.report, places.result))


@both
def test_what_cannot_help_to_start_again_ends_with_its_own_code(command: list[str], tmp_path: Path) -> None:
    data = {"train": {"uri": "nowhere.csv"}, "test": {"uri": "captions.csv"}}
    with start(command, tmp_path, {"run_s": 0.5, "exit": 65}, data=data) as trainer:
        trainer.report_when(lambda report: report.ended is not None)
        code, said = trainer.end()
    assert (code, said.exit_code, said.reason) == (65, 65, "DataInvalid")
    assert said.result is None


def test_the_stand_ins_codes_are_the_trainers() -> None:
    found = {error.exit_code: error.reason for error in vars(errors).values() if has_code(error)}
    known = {code: reason for code, reason in stand_in.REASONS.items() if code}
    assert {code: found[code] for code in known} == known | {65: found[65]}


def has_code(error: object) -> bool:
    return isinstance(error, type) and issubclass(error, errors.FinetuneError) and hasattr(error, "exit_code")


def test_the_stand_in_ends_as_it_is_told_and_may_crash_like_any_program(tmp_path: Path) -> None:
    with start(COMMANDS["the stand-in"], tmp_path, {}) as trainer:
        trainer.report_when(lambda report: report.progress is not None)
        assert trainer.get(f"/end?script={quote(json.dumps({'crash': 'on fire'}))}").status == 200
        assert trainer.process.wait(PATIENCE_S) == 1
    assert (tmp_path / "log").read_text().rstrip().endswith("RuntimeError: on fire")
    assert not trainer.message.exists()
