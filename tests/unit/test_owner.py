"""Who may write an output: the newest start, and nobody else."""

from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread

import pytest

from finetune_sdk.errors import OutputInUse
from finetune_sdk.storage import Store, open_store
from finetune_trainer.pipeline.layout import OWNER
from finetune_trainer.pipeline.owner import Fence, claim

NOW = datetime(2026, 3, 14, 10, 0, tzinfo=UTC)


@pytest.fixture
def output(tmp_path: Path) -> Store:
    return open_store(tmp_path.as_uri())


def claimed(output: Store, process: str) -> Fence:
    return claim(output, run="run", process=process, now=NOW)


def test_the_first_start_owns_the_output(output: Store) -> None:
    fence = claimed(output, "first")
    assert fence.owner.epoch == 1
    fence.check()


def test_a_later_start_fences_the_earlier_one_out(output: Store) -> None:
    first, second = claimed(output, "first"), claimed(output, "second")
    second.check()
    with pytest.raises(OutputInUse, match="is now written by process second since 2026-03-14 10:00:00 UTC"):
        first.check()


def test_an_output_that_was_deleted_is_nobodys(output: Store) -> None:
    fence = claimed(output, "first")
    output.delete(OWNER)
    with pytest.raises(OutputInUse, match="is now written by nobody"):
        fence.check()


def test_of_several_starts_at_once_one_is_the_owner(output: Store) -> None:
    together, fences = Barrier(4), []

    def start(name: str) -> None:
        together.wait()
        fences.append(claimed(output, name))

    threads = [Thread(target=start, args=(f"process {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fence.owner.epoch for fence in fences) == [1, 2, 3, 4]
    owners = [fence for fence in fences if not is_fenced_out(fence)]
    assert [fence.owner.epoch for fence in owners] == [4]


def is_fenced_out(fence: Fence) -> bool:
    try:
        fence.check()
    except OutputInUse:
        return True
    return False
