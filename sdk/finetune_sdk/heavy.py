"""torch and open_clip in a process: imported sooner, and never taken down."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def importing() -> Iterator[None]:
    """Do imports in it: a million objects are made that stay, and Python need not look for garbage among them, not now
    and not later."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
            atexit.register(gc.unfreeze)  # a library that counts its objects at the end would call them leaked
        if was_on:
            gc.enable()


def end_process(code: int) -> NoReturn:
    """End at once: all is said and stored, and taking torch down in order takes seconds, and may crash."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
