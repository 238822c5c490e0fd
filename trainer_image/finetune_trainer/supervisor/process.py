"""Start, watch and end the worker."""

import os
import select
import signal
from collections import deque
from collections.abc import Callable

from finetune_sdk.contract import LINGER_SECONDS, Termination
from finetune_trainer.supervisor.board import Board
from finetune_trainer.supervisor.channel import Line
from finetune_trainer.supervisor.child import Child
from finetune_trainer.supervisor.ending import Exit, termination
from finetune_trainer.supervisor.http import Server, serve
from finetune_trainer.supervisor.limits import memory_kills
from finetune_trainer.supervisor.log import Log
from finetune_trainer.supervisor.signals import STOPPING, Signals
from finetune_trainer.supervisor.watchdog import Verdict, Watchdog

TICK_SECONDS = 0.5
LOG_EVERY_SECONDS = 10.0
DUMP_SECONDS = 3.0
"""For a worker that hangs to write its stacks before it is killed."""
KEPT_LINES = 200
"""Of what the worker prints, for its last words."""
LOGGED_BYTES = 1500
"""Of the last event: of a container that left no termination message Kubernetes reads 2048 bytes of the log's end."""


class Supervisor:
    """One worker from its start to what is said of its end."""

    def __init__(
        self,
        board: Board,
        child: Child,
        *,
        kills: int,
        signals: Signals,
        log: Log,
        port: int,
        deadline: float,
        grace: float,
        clock: Callable[[], float],
    ) -> None:
        """`deadline` without progress, and `grace` between SIGTERM and SIGKILL, in seconds of `clock`.

        `kills`: `memory_kills()` when `child` was started.
        """
        self._board = board
        self._child = child
        self._kills = kills
        self._signals = signals
        self._log = log
        self._port = port
        self._clock = clock
        self._watchdog = Watchdog(deadline, grace, clock())
        self._stopped_by: list[int] = []
        self._why_ended: Verdict | None = None
        self._kill_at = 0.0
        self._logged = clock()
        self._output: deque[str] = deque(maxlen=KEPT_LINES)
        self._told_end = False

    def run(self, write: Callable[[Termination], None], keep: Callable[[], None]) -> Termination:
        """Watch, let `write` leave the termination message, linger; what was said.

        `keep` is called where the worker was ended before it could leave its log in storage itself.
        """
        server = self._serve()
        self._log.info("worker-started", pid=self._child.pid)
        self._watch()
        said = termination(self._exit(), self._board).bounded()
        self._board.end(said)
        write(said)
        self._log_end(said)
        if self._board.said is None and not self._stopped_by:
            keep()
        if server is not None:
            self._linger()
            server.shutdown()
        return said

    def _serve(self) -> Server | None:
        def told_end() -> None:
            self._told_end = True
            self._signals.wake()

        def failed(what: str) -> None:
            self._log.error("answer-failed", error=what)

        try:
            return serve(self._port, self._board.report, told_end, failed)
        except OSError as error:  # training matters more than being watched
            told = "progress cannot be read from outside; training goes on"
            self._log.error("progress-not-served", port=self._port, error=error.strerror or str(error), message=told)
            return None

    def _watch(self) -> None:
        """Until the worker is gone and its last line is read."""
        child = self._child
        while not child.reap():
            sources = [self._signals.reader, child.channel, child.output]
            select.select([source for source in sources if source is not None], [], [], TICK_SECONDS)
            self._take_signals()
            self._hear()
            self._end_if_due()
        self._hear()
        self._tell_output(child.close())

    def _take_signals(self) -> None:
        """Pass on the first SIGTERM or SIGINT, and the second SIGINT, which ends at once."""
        for number in self._signals.take():
            if number not in STOPPING:
                continue
            self._stopped_by.append(number)
            self._watchdog.stopped(self._clock())
            interrupts = self._stopped_by.count(signal.SIGINT)
            if len(self._stopped_by) == 1 or (number == signal.SIGINT and interrupts > 1):
                self._child.send(number)

    def _hear(self) -> None:
        for line in self._child.hear():
            self._watchdog.heard(stage=line.get("kind") == "start")
            self._board.take(line)
            self._tell(line)
        if self._board.said is not None:
            self._watchdog.said(self._clock())
        self._tell_output(self._child.read())

    def _end_if_due(self) -> None:
        now, child = self._clock(), self._child
        if self._why_ended is not None:
            if now >= self._kill_at:
                child.kill()
            return
        self._why_ended = self._watchdog.look(now)
        if self._why_ended == "hung":
            self._log.error("hung", idle_seconds=self._watchdog.deadline)
            child.send(signal.SIGUSR1)
            child.send(signal.SIGCONT)  # a process that is stopped writes no stacks
            self._kill_at = now + DUMP_SECONDS
        elif self._why_ended is not None:
            self._log.error("given-up", why=self._why_ended)
            child.kill()

    def _exit(self) -> Exit:
        status, why = self._child.status, self._why_ended
        return Exit(
            code=os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            signal=os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None,
            stopped_by=signal.Signals(self._stopped_by[0]).name if self._stopped_by else "",
            hung_seconds=self._watchdog.deadline if why == "hung" else None,
            late_seconds=self._watchdog.saving_seconds if why == "late" else None,
            out_of_memory=memory_kills() > self._kills,
            output=tuple(self._output),
        )

    def _tell(self, line: Line) -> None:
        """To the log: notes and stages as they come, counts about every ten seconds."""
        kind = line.get("kind")
        if kind == "note":
            self._log.info("note", message=line["message"])
        elif kind == "start":
            self._log.info("stage", stage=line["stage"], total=line["total"], unit=line["unit"], done=line["done"])
        elif kind == "measured":
            self._log.info("measured", metric=line["metric"], before=line["before"])
        elif kind == "saved":
            self._log.info("checkpoint", step=line["step"], uri=line["uri"])
        elif kind == "finished":
            self._log.info("finished", reason=line["reason"], message=line["message"])
        elif kind == "failed":
            trace = {"trace": line["trace"]} if line["trace"] else {}
            self._log.error("failed", reason=line["reason"], message=line["message"], **trace)
        elif kind == "advance" and self._clock() - self._logged >= LOG_EVERY_SECONDS:
            self._logged = self._clock()
            progress = self._board.report().progress
            self._log.info("progress", **(progress.model_dump(mode="json", exclude_none=True) if progress else {}))

    def _tell_output(self, lines: list[str]) -> None:
        """What the worker and its libraries print: warnings, and the stacks of a crash."""
        self._output.extend(lines)
        for line in lines:
            if line.strip():
                self._log.info("output", line=line)

    def _log_end(self, said: Termination) -> None:
        """The log's last line is a termination message too, for where none could be written."""
        tell = self._log.info if said.exit_code == 0 else self._log.error
        tell("ended", **said.to_document(LOGGED_BYTES))

    def _linger(self) -> None:
        """Until the result was asked for once, or somebody ends the pod; for ten seconds at most."""
        end = self._clock() + LINGER_SECONDS
        while not self._told_end and not self._stopped_by and (left := end - self._clock()) > 0:
            select.select([self._signals.reader], [], [], left)
            self._take_signals()
