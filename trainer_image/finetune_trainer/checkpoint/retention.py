"""Which checkpoints stay. Only whole ones count, so that broken ones never push out good ones."""

from collections.abc import Callable, Collection, Sequence

from finetune_sdk.errors import FinetuneError
from finetune_sdk.storage import Store
from finetune_trainer.checkpoint.find import Found, find_checkpoints
from finetune_trainer.checkpoint.manifest import MANIFEST


def to_remove(found: Sequence[Found], *, keep: int, pinned: Collection[int]) -> list[Found]:
    """All but the `keep` latest whole checkpoints and the pinned ones; what was never finished goes too."""
    whole = sorted(checkpoint.step for checkpoint in found if checkpoint.whole)
    kept = {*whole[-keep:], *(step for step in whole if step in pinned)}
    return [checkpoint for checkpoint in found if checkpoint.step not in kept]


def retain(store: Store, *, keep: int, pinned: Collection[int], note: Callable[[str], None]) -> None:
    """Remove what need not stay. A failure is told and no more: the next checkpoint tries again."""
    try:
        for checkpoint in to_remove(find_checkpoints(store), keep=keep, pinned=pinned):
            remove(store, checkpoint)
    except FinetuneError as error:
        note(f"an old checkpoint could not be removed, training goes on: {error}")


def remove_after(store: Store, step: int) -> None:
    """Remove the checkpoints of later steps, whole or not: training goes on from `step` and makes them anew."""
    for checkpoint in find_checkpoints(store):
        if checkpoint.step > step:
            remove(store, checkpoint)


def remove(store: Store, checkpoint: Found) -> None:
    """Remove a checkpoint, its manifest first: from then on it is invisible, however far this comes."""
    for key in sorted(checkpoint.keys, key=lambda key: not key.endswith(f"/{MANIFEST}")):
        store.delete(key)
