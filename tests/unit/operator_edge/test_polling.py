"""Trainers that answer, lie, babble, hang, and are not there."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from finetune_operator import polling
from finetune_operator.caches import Caches
from finetune_operator.metrics import Metrics
from finetune_operator.model import JobView, PodView, RunKey
from finetune_sdk.api.status import RunProgress
from finetune_sdk.contract import ProgressReport
from tests.unit.operator_edge.documents import run

KEY = RunKey("team", "r")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = PodView(
    name="r-trainer-x",
    uid="pod",
    run="r",
    run_uid="run",
    job_uid="job",
    created_at=NOW,
    phase="Running",
    node="n",
    ip="127.0.0.1",
    deletion_at=None,
    reason="",
    message="",
    conditions={},
    waiting=("", ""),
    started_at=NOW,
    ended=None,
    counted=False,
)
JOB = JobView("r-trainer", "job", "run", NOW, False, 1, 0, 0, 0, False, {}, 3, None, "i")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def report(run_uid: str = "run", **more: Any) -> str:
    return ProgressReport(run_uid=run_uid, at=NOW, **more).model_dump_json(by_alias=True)


async def good(_: web.Request) -> web.Response:
    return web.Response(text=report(before=0.5))


async def of_another_run(_: web.Request) -> web.Response:
    return web.Response(text=report("another"))


async def no_json(_: web.Request) -> web.Response:
    return web.Response(text="<html>")


async def without_end(_: web.Request) -> web.Response:
    said = '{"stage": "train", "step": 7, "etaSeconds": Infinity, "loss": NaN}'
    return web.Response(text=report().replace('"progress":null', f'"progress":{said}'))


async def broken(_: web.Request) -> web.Response:
    return web.Response(status=500, text=report())


async def elsewhere(request: web.Request) -> web.Response:
    if request.path == "/else":
        return web.Response(text=report())
    raise web.HTTPFound("/else")


async def endless(_: web.Request) -> web.Response:
    return web.Response(text=report() + " " * polling.MAX_BYTES)


async def silent(_: web.Request) -> web.Response:
    await asyncio.sleep(1)  # longer than the poller's patience here
    return web.Response(text=report())


def ask(answer: Answer, monkeypatch: pytest.MonkeyPatch, caches: Caches, times: int = 1) -> list[RunKey]:
    """Poll a server that answers so, and return the nudges."""
    nudged: list[RunKey] = []

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setattr(polling, "PORT", runner.addresses[0][1])
        poller = polling.Poller(caches, nudged.append, Metrics(), lambda: 0.0)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
            for _ in range(times):
                await poller.poll(session, KEY, POD)
        await runner.cleanup()

    asyncio.run(serve())
    return nudged


def knowing() -> Caches:
    """Caches that know the pod's run."""
    caches = Caches()
    caches.put_run(run(KEY, "run", 1))
    return caches


def test_an_answer_is_kept_and_its_run_nudged(monkeypatch: pytest.MonkeyPatch) -> None:
    caches = knowing()
    assert ask(good, monkeypatch, caches) == [KEY]
    polled = caches.polled[KEY]
    assert polled.report is not None
    assert (polled.pod_uid, polled.misses, polled.report.before) == ("pod", 0, 0.5)


def test_figures_that_json_does_not_know_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server refuses them, and would with them all else of the status."""
    caches = knowing()
    ask(without_end, monkeypatch, caches)
    polled = caches.polled[KEY].report
    assert polled is not None
    assert polled.progress == RunProgress(stage="train", step=7)


@pytest.mark.parametrize("answer", [of_another_run, no_json, broken, elsewhere, endless, silent])
def test_what_is_no_answer_is_a_miss(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    caches = knowing()
    ask(answer, monkeypatch, caches, times=2)
    assert (caches.polled[KEY].report, caches.polled[KEY].misses) == (None, 2)


def test_the_last_answer_outlives_misses_and_is_forgotten_with_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    caches = knowing()
    ask(good, monkeypatch, caches)
    ask(broken, monkeypatch, caches)
    assert caches.polled[KEY].report is not None
    assert caches.polled[KEY].misses == 1
    caches.polled[KEY] = replace(caches.polled[KEY], pod_uid="an older pod")
    ask(broken, monkeypatch, caches)
    assert caches.polled[KEY].report is None


def test_nothing_is_kept_of_a_run_that_went_while_its_trainer_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    gone, followed = knowing(), knowing()
    gone.drop_run(KEY, "run")
    followed.put_run(run(KEY, "its namesake", 2))
    for caches in (gone, followed):
        assert ask(good, monkeypatch, caches) == []
        assert caches.polled == {}


def test_only_pods_of_the_runs_own_job_are_asked() -> None:
    caches = Caches()
    caches.put_job(KEY, JOB)
    caches.put_pod(KEY, POD)
    caches.put_pod(KEY, replace(POD, uid="forged", job_uid="", name="labels alone"))
    caches.put_pod(KEY, replace(POD, uid="waits", started_at=None))
    caches.put_pod(KEY, replace(POD, uid="nowhere", ip=""))
    assert [pod.uid for _, pod in caches.running_pods()] == ["pod"]


def test_each_is_asked_every_ten_seconds() -> None:
    caches, now = Caches(), [0.0]
    caches.put_job(KEY, JOB)
    caches.put_pod(KEY, POD)
    poller = polling.Poller(caches, lambda _: None, Metrics(), lambda: now[0])
    asked = []
    for second in range(61):
        now[0] = float(second)
        asked += [second for _ in poller._take_due()]
    assert 5 <= len(asked) <= 7


def test_a_trainer_that_waits_to_be_asked_is_not_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more unreachable trainers than can be asked in ten seconds, each would wait ever more often."""
    caches, now, asked = knowing(), [0.0], list[str]()
    caches.put_job(KEY, JOB)
    caches.put_pod(KEY, POD)

    async def run_for_a_minute() -> None:
        answered = asyncio.Event()

        async def unreachable(_: aiohttp.ClientSession, pod: PodView) -> None:
            asked.append(pod.uid)
            await answered.wait()

        async def tick(_: float) -> None:
            now[0] += polling.TICK_SECONDS
            if now[0] == 60:
                answered.set()
            if now[0] > 75:
                raise asyncio.CancelledError
            await pause(0)

        pause = asyncio.sleep
        monkeypatch.setattr(polling, "fetch", unreachable)
        monkeypatch.setattr(asyncio, "sleep", tick)
        with contextlib.suppress(asyncio.CancelledError):
            await polling.Poller(caches, lambda _: None, Metrics(), lambda: now[0]).run()

    asyncio.run(run_for_a_minute())
    assert len(asked) == 3, "at first, after the answer, and ten seconds later"
