"""kopf's watches in namespaces of which one refuses: those of others stay open, and it is followed again later."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from finetune_operator import watches
from finetune_operator.caches import Caches
from finetune_operator.handlers import Handlers
from finetune_operator.model import RunKey
from finetune_operator.namespaces import Namespaces
from tests.unit.operator_edge.documents import run
from tests.unit.operator_edge.watched import Watched

A, B = RunKey("team-a", "r"), RunKey("team-b", "r")
BACKOFFS = (3.0, 3.0)
"""After these kopf ends all watches for one that is refused: long enough for two looks on a busy machine."""
ENDED_SECONDS = sum(BACKOFFS) + 1.5
"""By then it would have."""
PATIENCE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = watches.settings()
    chosen.networking.error_backoffs = BACKOFFS
    monkeypatch.setattr(watches, "settings", lambda: chosen)
    monkeypatch.setattr(watches, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(watches, "AGAIN_SECONDS", 0.1)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not done():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def watching(server: Watched) -> AsyncIterator[Caches]:
    """What is heard of the two namespaces."""
    caches, serving = Caches(), await server.start()
    handlers = Handlers(caches, lambda _: None, lambda: None)
    chosen = watches.Watches(server.api, handlers, Namespaces(server.api, ("team-a", "team-b")), "test")
    living = asyncio.create_task(chosen.run())
    try:
        yield caches
    finally:
        chosen.stop()
        for namespace in ("team-a", "team-b"):
            server.end(namespace)
        await asyncio.wait_for(living, PATIENCE_SECONDS)
        await serving.cleanup()


@pytest.fixture
def server() -> Watched:
    server = Watched()
    server.runs = {"team-a": run(A, "a", 1), "team-b": run(B, "b", 2)}
    return server


def test_one_that_refuses_is_left_out_and_followed_again_while_the_others_go_on(server: Watched) -> None:
    async def live() -> None:
        async with watching(server) as caches:
            await until(lambda: len(caches.known_runs()) == 2)
            server.refuse_from_now_on("team-b")
            await until(lambda: server.refusals["team-b"] > 0)
            await asyncio.sleep(ENDED_SECONDS)
            assert caches.uid(B) == "b", "nothing is known of its end"
            server.runs["team-b"] = run(B, "made anew", 3)
            server.refused.clear()
            await until(lambda: caches.uid(B) == "made anew")

    with capture_logs() as logs:
        asyncio.run(live())
    assert [entry["event"] for entry in logs] == ["namespace-refused", "namespace-answers"]
    assert server.lists["team-a"] == 1


def test_one_that_refuses_from_the_start_is_opened_later(server: Watched) -> None:
    server.refused.add("team-b")

    async def live() -> None:
        async with watching(server) as caches:
            await until(lambda: list(caches.known_runs()) == [A])
            await asyncio.sleep(ENDED_SECONDS)
            server.refused.clear()
            await until(lambda: caches.uid(B) == "b")

    asyncio.run(live())
    assert server.lists["team-a"] == 1


def test_where_all_refuse_they_are_opened_once_one_answers(server: Watched) -> None:
    server.refused = {"team-a", "team-b"}

    async def live() -> None:
        async with watching(server) as caches:
            await asyncio.sleep(ENDED_SECONDS)
            server.refused.remove("team-a")
            await until(lambda: list(caches.known_runs()) == [A])

    asyncio.run(live())
