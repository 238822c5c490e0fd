"""Do the next few of many in threads, and give the results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

WORKERS = 8
"""Enough to hide a store's latency; decoding takes as many as there are cores."""


def ahead(function: Callable[[T], U], items: Iterable[T], workers: int = WORKERS, waiting: int = 4) -> Iterator[U]:
    """Yield `function(item)` in the order of `items`, at most `workers` + `waiting` begun before they are asked for.

    An exception comes out at its item's turn. Leaving the loop early drops what has not begun and waits for the rest.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="ahead") as pool:
        begun: deque[Future[U]] = deque()
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) >= workers + waiting:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
