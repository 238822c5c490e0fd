"""Importing torch and open_clip sooner."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
