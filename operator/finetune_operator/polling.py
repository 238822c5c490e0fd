"""Asking trainers how far they are: so their pods need no right in Kubernetes, and the operator none in storage."""

import asyncio
import random
from collections.abc import Callable
from typing import NoReturn

import aiohttp

from finetune_operator.caches import Caches
from finetune_operator.metrics import Metrics
from finetune_operator.model import PodView, Polled, RunKey
from finetune_sdk.contract import PORT, PROGRESS_PATH, ProgressReport

EVERY_SECONDS = 10.0
JITTER = 0.2
"""Of EVERY_SECONDS, so that a thousand trainers are not asked at once."""
AT_ONCE = 64
TIMEOUT_SECONDS = 2.0
MAX_BYTES = 16 * 1024
TICK_SECONDS = 1.0


class Poller:
    """Asks each running trainer every ten seconds; the state of a run never depends on its answer."""

    def __init__(
        self, caches: Caches, nudge: Callable[[RunKey], None], metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._caches = caches
        self._nudge = nudge
        self._metrics = metrics
        self._clock = clock
        self._due: dict[str, float] = {}
        self._asking: set[str] = set()
        """Pods that are asked or wait for it: of more than can be asked in time, each would wait ever more often."""
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> NoReturn:
        """Until it is cancelled."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        # Proxies of the environment lead out of the cluster: trust_env stays False.
        session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        async with session, asyncio.TaskGroup() as group:
            while True:
                for key, pod in self._take_due():
                    group.create_task(self.poll(session, key, pod))
                await asyncio.sleep(TICK_SECONDS)

    def _take_due(self) -> list[tuple[RunKey, PodView]]:
        now, pods = self._clock(), self._caches.running_pods()
        self._due = {pod.uid: self._due.get(pod.uid, now) for _, pod in pods}
        due = [(key, pod) for key, pod in pods if self._due[pod.uid] <= now and pod.uid not in self._asking]
        for _, pod in due:
            self._due[pod.uid] = now + EVERY_SECONDS * (1 + JITTER * (random.random() - 0.5))  # noqa: S311 - jitter
        return due

    async def poll(self, session: aiohttp.ClientSession, key: RunKey, pod: PodView) -> None:
        """Ask one trainer and keep what it said."""
        self._asking.add(pod.uid)
        try:
            async with self._slots:
                report = await fetch(session, pod)
        finally:
            self._asking.discard(pod.uid)
        self._metrics.polls.labels("answered" if report is not None else "missed").inc()
        if self._caches.uid(key) != pod.run_uid:  # the run went: nobody would forget what is kept of it from now on
            return
        before = self._caches.polled.get(key)
        known = before if before is not None and before.pod_uid == pod.uid else None
        if report is not None:
            self._caches.polled[key] = Polled(pod.uid, report, 0)
        else:
            misses = 1 + (known.misses if known else 0)
            self._caches.polled[key] = Polled(pod.uid, known.report if known else None, misses)
        self._nudge(key)


async def fetch(session: aiohttp.ClientSession, pod: PodView) -> ProgressReport | None:
    """The report of the trainer in `pod`; None where there is no answer, or one that is not of this pod's run."""
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    try:
        async with session.get(f"http://{host}:{PORT}{PROGRESS_PATH}", allow_redirects=False) as response:
            if response.status != 200:
                return None
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                body += more
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
    if len(body) > MAX_BYTES:
        return None
    try:
        report = ProgressReport.read(body)
    except ValueError:
        return None
    return report if report.run_uid == pod.run_uid else None
