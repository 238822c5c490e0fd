"""Start, watch and end the worker."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from http.server import ThreadingHTTPServer
from types import FrameType

from finetune_sdk.contract import LINGER_SECONDS, Termination
from finetune_sdk.order import OrderedRun
from finetune_trainer.supervisor.board import Board
from finetune_trainer.supervisor.channel import CHANNEL_VARIABLE, Line, Lines
from finetune_trainer.supervisor.ending import Exit, memory_kills, termination
from finetune_trainer.supervisor.http import serve
from finetune_trainer.supervisor.log import Log

TICK_SECONDS = 0.5
LOG_EVERY_SECONDS = 10.0
DUMP_SECONDS = 3.0
"""For the worker to write its stacks before it is killed."""
READ_BYTES = 1 << 16


class Supervisor:
    """One worker from its start to what is said of its end."""

    def __init__(
        self,
        order: OrderedRun,
        *,
        env: Mapping[str, str],
        log: Log,
        port: int,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._deadline = order.run.spec.lifecycle.progress_deadline_seconds
        self._env = env
        self._log = log
        self._port = port
        self._clock = clock
        self._board = Board(order.uid, clock, now)
        self._stopped = False
        self._hung = False
        self._hung_at = 0.0
        self._logged = 0.0
        self._worker = 0
        self._status: int | None = None
        self._told_end = threading.Event()

    def run(self, write: Callable[[Termination], None]) -> Termination:
        """Work, write the termination message, linger; what was said."""
        server = self._serve()
        kills = memory_kills()
        reader = self._start()
        self._pass_signals_on()
        self._watch(reader)
        said = termination(self._exit(memory_kills() > kills), self._board)
        self._board.end(said)
        self._log.info("ended", reason=said.reason, message=said.message, code=said.exit_code, step=said.step)
        write(said)
        self._linger(server)
        return said

    def _serve(self) -> ThreadingHTTPServer | None:
        try:
            return serve(self._port, self._board.report, self._told_end)
        except OSError as error:  # training matters more than being watched
            self._log.error("progress-not-served", port=self._port, error=str(error))
            return None

    def _start(self) -> int:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        worker = subprocess.Popen(
            [sys.executable, "-m", "finetune_trainer.supervisor.worker"],
            env={**self._env, CHANNEL_VARIABLE: str(writer)},
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
        )
        os.close(writer)
        self._worker = worker.pid
        self._log.info("worker-started", pid=worker.pid)
        return reader

    def _pass_signals_on(self) -> None:
        def handle(number: int, _frame: FrameType | None) -> None:
            self._stopped = True
            self._told_end.set()  # whoever ends the pod does not want it to linger
            self._kill(signal.SIGTERM if number == signal.SIGTERM else signal.SIGINT)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def _watch(self, reader: int) -> None:
        """Until the worker is gone and its last line is read."""
        lines = Lines()
        while True:
            gone = self._reap()
            ready, _, _ = select.select([reader], [], [], 0 if gone else TICK_SECONDS)
            data = os.read(reader, READ_BYTES) if ready else b""
            for line in lines.feed(data):
                self._board.take(line)
                self._tell(line)
            if gone and not data:
                os.close(reader)
                return
            if not gone:
                self._end_if_hung()

    def _reap(self) -> bool:
        """Take in every child that has ended, orphans too, as PID 1 must; whether the worker is among them."""
        while self._status is None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            if pid == self._worker:
                self._status = status
        return True

    def _end_if_hung(self) -> None:
        if self._hung:
            if self._clock() - self._hung_at > DUMP_SECONDS:
                self._kill(signal.SIGKILL)
        elif self._board.idle_seconds() > self._deadline:
            self._hung, self._hung_at = True, self._clock()
            self._log.error("hung", idle_seconds=self._deadline, step=self._board.step)
            self._kill(signal.SIGUSR1)

    def _kill(self, number: int) -> None:
        if self._worker and self._status is None:
            os.kill(self._worker, number)

    def _exit(self, out_of_memory: bool) -> Exit:
        status = self._status if self._status is not None else 0
        return Exit(
            code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            stopped=self._stopped,
            hung_seconds=self._deadline if self._hung else None,
            out_of_memory=out_of_memory,
        )

    def _tell(self, line: Line) -> None:
        """To the log: notes and stages as they come, counts about every ten seconds."""
        kind, step = line.get("kind"), self._board.step
        if kind == "note":
            self._log.info("note", message=line["message"], step=step)
        elif kind == "start":
            self._log.info("stage", stage=line["stage"], total=line["total"], unit=line["unit"], done=line["done"])
        elif kind == "saved":
            self._log.info("checkpoint", step=line["step"], uri=line["uri"])
        elif kind == "failed" and line.get("trace"):
            self._log.error("traceback", trace=line["trace"], step=step)
        elif kind == "advance" and self._clock() - self._logged >= LOG_EVERY_SECONDS:
            self._logged = self._clock()
            progress = self._board.report().progress
            figures = progress.model_dump(mode="json", exclude_none=True) if progress is not None else {}
            self._log.info("progress", **figures)

    def _linger(self, server: ThreadingHTTPServer | None) -> None:
        """Until the result was asked for once, for ten seconds at most."""
        if server is not None:
            self._told_end.wait(LINGER_SECONDS)
            server.shutdown()
