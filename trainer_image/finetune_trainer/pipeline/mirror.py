"""A published model copied into storage, for clusters that reach no model hub."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from finetune_sdk.api.model import Model
from finetune_sdk.errors import TrainerError
from finetune_sdk.storage import Store
from finetune_trainer.cache_error import cache_error
from finetune_trainer.model.architectures import tag_config
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.fresh import CAPTIONS
from finetune_trainer.model.load import load_model
from finetune_trainer.model.save import CONFIG, WEIGHTS, write_model
from finetune_trainer.pipeline.hardware import CPU
from finetune_trainer.pipeline.world import World

SCRATCH = ".mirror-"


class _Seen(NamedTuple):
    """What two openings of one model have in common."""

    weights: str
    """Their digest."""
    preprocess: object
    loss: str
    tokens: list[list[int]]


def mirror(name: str, tag: str, uri: str, world: World) -> None:
    """Copy the weights that open_clip publishes as `tag` of `name` to `uri`, with all that opens them, and open them.

    What lies at `uri` under the same names is replaced. The copy is what model.weights.uri reads: an open_clip
    directory in float32, with tokenizer and text tower's config where the model has them.

    Raises:
        InvalidSpec: open_clip has no such architecture or tag, or the tag was trained with the other activation.
        StorageUnavailable, StorageDenied: the hub or the storage.
        WeightsInvalid: what the hub gave is broken.
        TrainerError: the copy is not the model.
    """
    tag_config(name, tag)
    store = world.open(uri)
    store.stat(CONFIG)  # a wrong key or bucket is told before gigabytes are fetched
    try:
        world.cache_root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cache_error(error, world.cache_root) from error
    world.progress.start("fetch", 3, "parts")
    published = _copy(Model.model_validate({"name": name, "weights": {"tag": tag}}), store, world)
    spec = Model.model_validate({"name": name, "weights": {"uri": uri}})
    # A cache of its own: what is compared comes from the storage.
    with tempfile.TemporaryDirectory(dir=world.cache_root, prefix=SCRATCH) as scratch:
        found = _seen(load_model(spec, stores=world.open, cache_root=Path(scratch), device=CPU, seed=0))
    world.progress.advance()
    if found != published:
        raise TrainerError(f"{store.uri} does not hold what {name}:{tag} is, though all of it was written")
    world.progress.note(f"{store.uri} was opened again and is the published model")


def _copy(spec: Model, store: Store, world: World) -> _Seen:
    """Write the published model to `store`; nothing of it is left in memory or on the disk."""
    model = load_model(spec, stores=world.open, cache_root=world.cache_root, device=CPU, seed=0)
    world.progress.advance()
    with tempfile.TemporaryDirectory(dir=world.cache_root, prefix=SCRATCH) as scratch:
        folder = Path(scratch)
        write_model(model, None, folder)
        # The weights come last: a model without them is seen to be incomplete.
        for path in sorted(folder.iterdir(), key=lambda path: (path.name == WEIGHTS, path.name)):
            store.write_file(path.name, path)
    world.progress.advance()
    return _seen(model)


def _seen(model: ClipModel) -> _Seen:
    tokens: torch.Tensor = model.tokenize(list(CAPTIONS))
    return _Seen(model.digest, model.preprocess, model.loss, tokens.tolist())
