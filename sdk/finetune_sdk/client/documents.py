"""Runs as models and as the documents that the API server takes and gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune_sdk.api.run import FinetuneRun
from finetune_sdk.client.cluster import Json
from finetune_sdk.client.errors import ClientError, InvalidRun
from finetune_sdk.mistakes import in_words
from finetune_sdk.runfile import load_run
from finetune_sdk.spec_paths import dotted

RunLike = FinetuneRun | Mapping[str, Any] | str | Path
"""A model, a document with camelCase keys, or the path of a YAML file."""
_OF_THE_USER = ("name", "namespace", "labels", "annotations")
"""Of metadata; the rest is the API server's."""


def run_from(given: RunLike) -> FinetuneRun:
    """The run that a user means.

    Raises:
        InvalidSpec: every mistake, with its line where it stands in a file.
        UsageError: the file cannot be read.
    """
    if isinstance(given, FinetuneRun):
        return given
    if isinstance(given, str | Path):
        return load_run(Path(given))
    document = {key: value for key, value in given.items() if key != "status"}
    try:
        return FinetuneRun.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as invalid:
        told = [
            f"{dotted(error['loc'])}: {in_words(error, error['loc'])}" for error in invalid.errors(include_url=False)
        ]
        count = "1 mistake" if len(told) == 1 else f"{len(told)} mistakes"
        raise InvalidRun("\n".join((f"the run has {count}:", *told))) from None


def document_of(run: FinetuneRun) -> Json:
    """What to send: what the user has said, without status and what the API server sets."""
    document: Json = run.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document.pop("status", None)
    document["metadata"] = {key: document["metadata"][key] for key in _OF_THE_USER if document["metadata"].get(key)}
    return {"apiVersion": run.api_version, "kind": run.kind, **document}


def run_of(document: Json) -> FinetuneRun:
    """The run in an answer of the API server; what a newer version has added to it is left out.

    Raises:
        ClientError: another version of the operator wrote what this one cannot read.
    """
    try:
        return FinetuneRun.model_validate(document, extra="ignore", by_alias=True, by_name=False)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        name = document.get("metadata", {}).get("name")
        raise ClientError(
            f"run {name!r} holds what this version of finetune-operator does not know ({dotted(first['loc'])}: "
            f"{first['msg']}): pip install -U finetune-operator"
        ) from None


def selector(labels: Mapping[str, str] | str | None) -> str:
    """A label selector as Kubernetes writes it."""
    if labels is None or isinstance(labels, str):
        return labels or ""
    return ",".join(f"{key}={value}" for key, value in labels.items())
