"""Published weights: open_clip's tags, and the folders of timm and Hugging Face. Nothing else needs the internet."""

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.pretrained import download_pretrained

from finetune_sdk.errors import StorageUnavailable, WeightsInvalid
from finetune_trainer.model.save import TEXT_FILES

WEIGHTS = "model.safetensors"
OWN_FOLDER = "put the folder into your storage and set the tower's uri to it"


def fetch_tag(name: str, tag: str, entry: dict[str, Any]) -> Path:
    """The weights file of open_clip's tag, from its cache or the internet.

    Raises StorageUnavailable, naming the tag and what works without a network.
    """
    online = is_online()
    repository, filename = os.path.split(entry.get("hf_hub") or "")
    try:
        if online or not repository:
            return Path(download_pretrained(entry))
        return _cached(repository, filename or HF_WEIGHTS_NAME)
    except Exception as error:
        why = _reason(error) if online else "there is no network here"
        raise StorageUnavailable(
            f"model.weights.tag: {tag!r} of {name} cannot be fetched ({why}) and is not in this machine's cache; "
            + mirrored(f"{name}:{tag}")
        ) from error


def mirrored(model: str) -> str:
    """What works where the hub is out of reach; `model` is ARCHITECTURE:TAG."""
    return (
        f"where there is a network, `finetune weights fetch {model} s3://BUCKET/weights` copies all of it to your "
        "storage and prints the model.weights.uri to set"
    )


def fetch_folder(repository: str, field: str, instead: str = OWN_FOLDER, *, weights: bool) -> Path:
    """Config, tokenizer and (where asked for) weights of a hub repository.

    Errors name `field` and say what works `instead`.
    Raises WeightsInvalid where the hub has no such repository, or has it without safetensors, StorageUnavailable where
    the hub is out of reach.
    """
    online = is_online()
    names = [*TEXT_FILES, WEIGHTS] if weights else list(TEXT_FILES)
    try:
        folder = Path(snapshot_download(repository, allow_patterns=names, local_files_only=not online))
        if weights and not (folder / WEIGHTS).is_file():  # nor says a snapshot of the cache what it lacks
            hf_hub_download(repository, WEIGHTS, revision=folder.name, local_files_only=not online)
        return folder
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise WeightsInvalid(
            f"{field}: the hub has no public repository {repository!r}; correct the name, or {instead}"
        ) from error
    except RemoteEntryNotFoundError as error:
        raise WeightsInvalid(
            f"{field}: {repository!r} on the hub has no {WEIGHTS}, and its weights are read in no other form: "
            f"save them so with safetensors.torch.save_file, beside the repository's other files, and {instead}"
        ) from error
    except Exception as error:
        why = _reason(error) if online else "there is no network here"
        raise StorageUnavailable(
            f"{field}: {repository!r} cannot be fetched ({why}) and is not whole in this machine's cache; {instead}"
        ) from error


def is_online(resolve: Callable[..., object] = socket.getaddrinfo) -> bool:
    """Whether the hub's name resolves, or a proxy will do that. Without this, hub clients retry for a minute."""
    if constants.HF_HUB_OFFLINE:
        return False
    if "https" in urllib.request.getproxies():
        return True
    try:
        resolve(urllib.parse.urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def _cached(repository: str, filename: str) -> Path:
    safe = HF_SAFE_WEIGHTS_NAME if filename == HF_WEIGHTS_NAME else str(Path(filename).with_suffix(".safetensors"))
    try:
        return Path(hf_hub_download(repository, safe, local_files_only=True))
    except LocalEntryNotFoundError:
        return Path(hf_hub_download(repository, filename, local_files_only=True))


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
