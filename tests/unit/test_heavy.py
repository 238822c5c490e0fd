"""Garbage is collected again after imports, whatever became of them; and a command ends with all that it said."""

import gc
import os
import subprocess
import sys
from contextlib import suppress

import pytest

from finetune_sdk.heavy import importing


@pytest.mark.parametrize("error", [None, ImportError])
def test_collection_is_off_during_imports_only(error: type[Exception] | None) -> None:
    with suppress(ImportError), importing():
        during = gc.isenabled()
        if error:
            raise error
    assert (during, gc.isenabled()) == (False, True)


def test_where_it_was_off_it_stays_off() -> None:
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_command_leaves_nothing_unsaid_and_keeps_its_code() -> None:
    program = "import sys; from finetune_sdk.heavy import end_process; print('said'); end_process(75)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("said\n", "", 75)


def test_where_nobody_reads_any_more_it_ends_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "finetune_sdk", "schema"]
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.stderr, ended.returncode) == ("", 1)
