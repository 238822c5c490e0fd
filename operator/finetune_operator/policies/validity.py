"""Is this spec one that can be carried out here? What the API server cannot see is refused before a Job is made."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from finetune_operator.model import RunView
from finetune_sdk.api.run import FinetuneRunSpec
from finetune_sdk.api.support import unsupported
from finetune_sdk.contract import POD_UID_VARIABLE, RUN_VARIABLE


def mistakes_of(run: RunView) -> list[str]:
    """Every mistake of the spec as a sentence that names its field; empty where a Job can be made."""
    if run.spec is None:
        return list(run.mistakes)
    return [*run.mistakes, *map(str, unsupported(run.spec)), *_unmounted(run.spec), *_ours(run.spec)]


def _unmounted(spec: FinetuneRunSpec) -> Iterator[str]:
    """A file:// URI must lie on a volume: anything else in a pod is gone with it."""
    mounts = [PurePosixPath(mount.mount_path) for mount in spec.compute.volume_mounts]
    for path, uri in _uris(spec):
        if uri.startswith("file://"):
            place = PurePosixPath(unquote(urlsplit(uri).path))
            if not any(place.is_relative_to(mount) for mount in mounts):
                yield (
                    f"{path}: {uri} lies on no volume of the pod: use an s3:// URI, or mount a volume there with "
                    "spec.compute.volumes and spec.compute.volumeMounts"
                )


def _ours(spec: FinetuneRunSpec) -> Iterator[str]:
    """Variables by which operator and trainer talk."""
    for index, variable in enumerate(spec.compute.env):
        if variable.name in (RUN_VARIABLE, POD_UID_VARIABLE):
            yield f"spec.compute.env[{index}].name: {variable.name} is set by the operator: remove it"


def _uris(spec: FinetuneRunSpec) -> Iterator[tuple[str, str]]:
    yield "spec.output.uri", spec.output.uri
    for name in ("source", "train", "validation", "test"):
        source = getattr(spec.data, name)
        if source is not None:
            yield f"spec.data.{name}.uri", source.uri
            if source.images is not None:
                yield f"spec.data.{name}.images", source.images
    model = spec.model
    if model.weights is not None and model.weights.uri is not None:
        yield "spec.model.weights.uri", model.weights.uri
    if model.towers is not None:
        for name in ("image", "text"):
            uri = getattr(model.towers, name).uri
            if uri is not None:
                yield f"spec.model.towers.{name}.uri", uri
