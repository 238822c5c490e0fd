"""The start of an attempt: is this output ours, is the run done already, and what does run.json say."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from finetune_sdk.api import FinetuneRun
from finetune_sdk.api.digest import digested, spec_digest
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.errors import InvalidSpec, OutputInUse
from finetune_sdk.storage import Store
from finetune_sdk.uri import uri_to_path
from finetune_trainer.pipeline.documents import encode, read_document, write_document
from finetune_trainer.pipeline.hardware import describe_hardware, versions
from finetune_trainer.pipeline.layout import OWNER, RESULT, RUN
from finetune_trainer.pipeline.stored import spec_of
from finetune_trainer.pipeline.world import World
from finetune_trainer.records import Outcome, RunRecord

SHOWN_DIFFERENCES = 5
"""Fields that a message names before it says 'and N more'."""


@dataclass(frozen=True)
class Begun:
    """What stands in an output before an attempt does anything."""

    record: RunRecord
    outcome: Outcome | None
    """The result, where an earlier attempt finished."""


def open_output(uri: str, world: World) -> Store:
    """The store of `output.uri`. Raises InvalidSpec, naming the field, where no folder can be."""
    try:
        output = world.open(uri)
    except InvalidSpec as error:
        raise InvalidSpec(f"output.uri: {error}") from error
    if uri.startswith("file://") and uri_to_path(uri).is_file():
        raise InvalidSpec(f"output.uri: {uri} is a file: name a folder, which need not exist yet")
    return output


def begin(run: FinetuneRun, output: Store, world: World, device: torch.device) -> Begun:
    """Read run.json, or write it if this is the first attempt.

    Raises:
        OutputInUse: the output holds another run, or something that is no run.
    """
    record = known_record(run, output)
    if record is None:
        record = RunRecord(
            run=run.metadata.name,
            digest=spec_digest(run.spec),
            spec=without_values(run.spec),
            resolved={},
            versions=versions(),
            hardware=describe_hardware(device),
            started_at=world.clock(),
        )
        if output.write_if(RUN, encode(record), None) is None:
            raise OutputInUse(f"{output.uri} was taken by another run just now: use another output.uri")
    return Begun(record, read_document(output, RESULT, Outcome))


def known_record(run: FinetuneRun, output: Store) -> RunRecord | None:
    """What an earlier attempt of this run left as run.json; None where the output is free.

    Raises:
        OutputInUse: the output holds another run, or something that is no run.
    """
    record = read_document(output, RUN, RunRecord)
    if record is None:
        refuse_strangers(output)
    elif record.digest != spec_digest(run.spec):
        raise OutputInUse(
            f"{output.uri} holds run {record.run!r} with another spec ({_differences(record, run.spec)}): "
            "use another output.uri, or delete the old output"
        )
    return record


def refuse_strangers(output: Store) -> None:
    """Raise OutputInUse where files of something else lie, so that nothing of it is mixed up or overwritten."""
    stranger = next((entry.key for entry in output.list(most=2) if entry.key != OWNER), None)
    if stranger is not None:
        raise OutputInUse(f"{output.uri} holds {stranger!r} but no run.json: use an empty folder as output.uri")


def without_values(spec: FinetuneRunSpec) -> dict[str, Any]:
    """The spec as the user wrote it, but of compute.env the names only: values may be secrets."""
    written: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for variable in written.get("compute", {}).get("env", []):
        for key in set(variable) - {"name"}:
            del variable[key]
    return written


def resolve(output: Store, record: RunRecord, resolved: dict[str, Any]) -> RunRecord:
    """Write what the spec resolved to into run.json; what an earlier attempt resolved stays."""
    if record.resolved:
        return record
    record = record.model_copy(update={"resolved": resolved})
    write_document(output, RUN, record)
    return record


def _differences(record: RunRecord, spec: FinetuneRunSpec) -> str:
    old = dict(_leaves(digested(spec_of(record)), "spec"))
    new = dict(_leaves(digested(spec), "spec"))
    differing = [
        f"{path}: {old.get(path, 'default')} there, {new.get(path, 'default')} here"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]
    more = len(differing) - SHOWN_DIFFERENCES
    return "; ".join(differing[:SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}")
    else:
        yield path, value
