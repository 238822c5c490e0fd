"""What the trainer's HTTP server does with whoever comes, over real sockets."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import urllib3

from finetune_sdk.contract import HEALTH_PATH, METRICS_PATH, PROGRESS_PATH, ProgressReport, Termination
from finetune_trainer.supervisor.http import MOST_CONNECTIONS, Server, serve
from tests.support.processes import free_ports, wait_until

REPORT = ProgressReport(run_uid="uid", at=datetime(2026, 1, 1, tzinfo=UTC))
ENDED = REPORT.model_copy(update={"ended": Termination(reason="Succeeded", message="", exit_code=0)})


class Trainer:
    """The server, and what it told."""

    def __init__(self, port: int) -> None:
        self.reports = [REPORT]
        self.told: list[str] = []
        self.port = port
        self.server: Server = serve(port, self.report, lambda: self.told.append("end"), self.told.append)

    def report(self) -> ProgressReport:
        return self.reports[0]

    def ask(self, path: str, method: str = "GET", host: str = "127.0.0.1") -> urllib3.BaseHTTPResponse:
        return urllib3.request(method, f"http://{host}:{self.port}{path}", retries=False, timeout=30)

    def connect(self, text: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        client.sendall(text)
        return client


@pytest.fixture
def trainer(capfd: pytest.CaptureFixture[str]) -> Iterator[Trainer]:
    (port,) = free_ports(1)
    trainer = Trainer(port)
    yield trainer
    trainer.server.shutdown()
    trainer.server.server_close()
    assert capfd.readouterr() == ("", ""), "the log is JSON: nothing is printed beside it"


def test_it_answers_on_every_address_family_of_the_machine(trainer: Trainer) -> None:
    hosts = ["127.0.0.1", *(["[::1]"] if socket.has_dualstack_ipv6() else [])]
    for host in hosts:
        assert ProgressReport.model_validate_json(trainer.ask(PROGRESS_PATH, host=host).data) == REPORT
        assert trainer.ask(HEALTH_PATH, host=host).data == b"ok\n"
        assert trainer.ask(METRICS_PATH, host=host).data == b"# EOF\n"


def test_what_is_not_there_is_told_in_plain_text(trainer: Trainer) -> None:
    answer = trainer.ask("/")
    assert (answer.status, answer.data) == (404, b"there are /progress, /metrics and /healthz\n")
    assert trainer.ask(f"{PROGRESS_PATH}?now").status == 200
    head = trainer.ask(PROGRESS_PATH, "HEAD")
    assert (head.status, head.data, int(head.headers["Content-Length"]) > 0) == (200, b"", True)
    refused = trainer.ask(PROGRESS_PATH, "DELETE")
    assert (refused.status, refused.headers["Content-Type"]) == (501, "text/plain; charset=utf-8")


BAD = {
    "no HTTP": b"\x16\x03\x01\x02\x00 hello\r\n\r\n",
    "an endless line": b"GET /" + b"x" * 65_532,
    "endless headers": b"GET /progress HTTP/1.1\r\n" + b"a: b\r\n" * 200,
    "a version from the future": b"GET /progress HTTP/9.9\r\n\r\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_bad_request_is_refused_and_the_next_is_answered(trainer: Trainer, text: bytes) -> None:
    with trainer.connect(text) as client:
        answer = client.recv(1000)
    assert answer.startswith((b"HTTP/1.0 4", b"HTTP/1.0 5", b"4", b"5")), answer
    assert trainer.ask(HEALTH_PATH).status == 200


def test_slow_clients_keep_nobody_out(trainer: Trainer) -> None:
    silent = [trainer.connect(b"GET /pro") for _ in range(3 * MOST_CONNECTIONS)]
    try:
        assert trainer.ask(PROGRESS_PATH).status == 200
        assert silent[0].recv(10) == b"", "the oldest had to go"
    finally:
        for client in silent:
            client.close()


def test_who_hangs_up_at_once_is_no_news(trainer: Trainer) -> None:
    for _ in range(20):
        client = trainer.connect(b"GET /progress HTTP/1.0\r\n\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert trainer.ask(HEALTH_PATH).status == 200
    assert trainer.told == []


def test_the_end_is_told_once_an_answer_has_carried_it(trainer: Trainer) -> None:
    assert trainer.ask(PROGRESS_PATH).status == 200
    trainer.reports[0] = ENDED
    assert trainer.ask(METRICS_PATH).status == trainer.ask(PROGRESS_PATH, "HEAD").status == 200
    assert trainer.told == []
    assert ProgressReport.model_validate_json(trainer.ask(PROGRESS_PATH).data) == ENDED
    wait_until(lambda: trainer.told == ["end"], "told")


def test_a_bug_in_an_answer_is_told_and_the_next_is_answered(trainer: Trainer) -> None:
    trainer.reports.clear()
    with pytest.raises(urllib3.exceptions.ProtocolError):
        trainer.ask(PROGRESS_PATH)
    assert trainer.told == ["IndexError: list index out of range"]
    assert trainer.ask(HEALTH_PATH).status == 200


def test_a_port_that_is_taken_is_an_error(trainer: Trainer) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(trainer.port, lambda: REPORT, lambda: None, trainer.told.append)
