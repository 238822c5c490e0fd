"""Weights files are untrusted: read as data only, and checked tensor by tensor before a model uses them."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict, resize_pos_embed, resize_text_pos_embed
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from finetune_sdk.errors import WeightsInvalid
from finetune_trainer.model.architectures import likely_architectures

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
REFUSED = (".npz", ".npy", ".pkl", ".pickle", ".onnx", ".h5", ".msgpack", ".gguf")
SHOWN = 3
"""Tensors that a message names; a wrong architecture has hundreds."""

_CONVERT = "save its state_dict with safetensors.torch.save_file and give that file"
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""
_LEFT_OVER = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's checkpoints hold beside the weights."""


def read_weights(path: Path, source: str) -> dict[str, Tensor]:
    """All tensors of a safetensors file or a torch checkpoint, on CPU, by name; nothing in the file is executed.

    Raises WeightsInvalid, naming `source` and what to do, for a broken file and for every other format.
    """
    head = _head(path, source)
    refusal = _refusal(path, head)
    if refusal is not None:
        raise WeightsInvalid(f"{source} {refusal}")
    looks_safe = head[8:9] == b"{" or path.suffix == ".safetensors"
    loaded = _read_safetensors(path, source) if looks_safe else _read_checkpoint(path, source)
    return _state_dict(loaded, source)


def load_into(module: nn.Module, state: Mapping[str, Tensor], source: str, *, resize: bool = False) -> None:
    """Load `state` into `module`, name by name; `resize` lets position embeddings be interpolated, as tags may need.

    Older layouts that open_clip reads are converted as it does. Raises WeightsInvalid, naming `source` and the
    tensors, where names or shapes differ or a value is not finite; the module is unchanged then.
    """
    fitted = _converted(module, dict(state))
    if resize:
        resize_pos_embed(fitted, module)
        resize_text_pos_embed(fitted, module)
    check_fit(module.state_dict(), fitted, source, hint=_hint(state))
    module.load_state_dict(fitted, strict=False)


def check_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], source: str, hint: str = "") -> None:
    """Raise WeightsInvalid unless `given` has the names and shapes of `expected`, and values as `check_values` wants.

    BatchNorm's counters may be missing: old checkpoints have none, and evaluation does not read them.
    """
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    shared = [name for name in expected if name in given]
    reshaped = [
        f"{name} is {tuple(given[name].shape)}, not {tuple(expected[name].shape)}"
        for name in shared
        if given[name].shape != expected[name].shape
    ]
    parts = [
        _listed(missing, "missing"),
        _listed(unexpected, "unknown to the architecture"),
        _listed(reshaped, "of another shape"),
    ]
    if any(parts):
        raise WeightsInvalid(f"{source} does not fit the model: {'; '.join(part for part in parts if part)}{hint}")
    for name in shared:
        if expected[name].is_floating_point():  # the rest are counters, which nothing computes with
            check_values(name, given[name], source)


def check_values(name: str, tensor: Tensor, source: str) -> None:
    """Raise WeightsInvalid for values that no training starts from: in no floating type, or not finite as float32."""
    if not tensor.is_floating_point():
        raise WeightsInvalid(f"{source}: tensor {name} is {tensor.dtype}; use float32, float16 or bfloat16")
    bad = int((~torch.isfinite(tensor.to(torch.float32))).sum())
    if bad:
        raise WeightsInvalid(
            f"{source}: tensor {name} holds {bad} values that are not finite in float32; "
            "the weights come from a diverged training"
        )


def _head(path: Path, source: str) -> bytes:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise WeightsInvalid(f"{source} is empty: upload it again")
    return head


def _refusal(path: Path, head: bytes) -> str | None:
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the weights themselves: fetch it with `git lfs pull`"
    if head.startswith(b"\x93NUMPY") or path.suffix in (".npz", ".npy"):
        return f"is a NumPy file, which is not read as weights: {_CONVERT}"
    if path.suffix in REFUSED:
        return f"is a {path.suffix} file, which is not read as weights: {_CONVERT}"
    if not head.startswith(b"PK"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None  # truncated: torch.load says so
    if any("/code/" in name or name.endswith("constants.pkl") for name in names):
        return f"is TorchScript, which is a program: load it with torch.jit.load where you trust it, and {_CONVERT}"
    if any(name.endswith(".npy") for name in names):
        return f"is a NumPy file, which is not read as weights: {_CONVERT}"
    return None


def _read_safetensors(path: Path, source: str) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsInvalid(
            f"{source} is no whole safetensors file ({error}): it was cut short or is another format; upload it again"
        ) from error


def _read_checkpoint(path: Path, source: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch gives one class for both: a pickle that wants more than tensors, and bytes that are no pickle.
        if "Weights only load failed" in str(error) and _is_pickle(path):
            what = "holds Python objects beside tensors, which may run code when opened, so it is refused"
            raise WeightsInvalid(f"{source} {what}: {_CONVERT}") from error
        raise WeightsInvalid(f"{source} is neither safetensors nor a torch checkpoint: {_CONVERT}") from error
    except (RuntimeError, EOFError, OSError, ValueError, IndexError, KeyError) as error:
        first = str(error).split("\n", 1)[0]
        raise WeightsInvalid(f"{source} cannot be read ({first}): it was cut short; upload it again") from error


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2)[:1] in (b"\x80", b"P")


def _state_dict(loaded: object, source: str) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, dict):
        raise WeightsInvalid(f"{source} holds a {type(loaded).__name__}, not a state_dict: {_CONVERT}")
    state = {name: value for name, value in loaded.items() if name not in _LEFT_OVER}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsInvalid(f"{source} holds {type(value).__name__} under {name!r}, not a tensor: {_CONVERT}")
        if kind := _lacks_values(value):
            raise WeightsInvalid(f"{source} holds a {kind} tensor under {name!r}, not a dense one: {_CONVERT}")
    if not state:
        raise WeightsInvalid(f"{source} holds no tensors")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _lacks_values(tensor: Tensor) -> str | None:
    """What a tensor is called that does not hold each of its values; None for one that does."""
    if tensor.is_meta:
        return "meta"
    return None if tensor.layout is torch.strided else "sparse"


def _converted(module: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The conversions of open_clip.factory.load_checkpoint, less those that would hide a wrong file."""
    converted: dict[str, Tensor] = convert_state_dict(module, state)
    if "positional_embedding" in converted and not hasattr(module, "positional_embedding"):
        converted = convert_to_custom_text_state_dict(converted)
    for name in ("logit_scale", "logit_bias"):  # a scalar in some versions, one element in others
        own = getattr(module, name, None)
        if own is not None and name in converted and converted[name].numel() == own.numel():
            converted[name] = converted[name].reshape(own.shape)
    # Until transformers 4.31 a buffer was saved that later versions do not have.
    converted.pop("text.transformer.embeddings.position_ids", None)
    return converted


def _hint(state: Mapping[str, Tensor]) -> str:
    names = likely_architectures(state)
    return f". The tensors look like {' or '.join(names[:SHOWN])}: set model.name to it" if names else ""


def _listed(names: list[str], what: str) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} tensor{'s are' if len(names) > 1 else ' is'} {what} ({', '.join(names[:SHOWN])}{more})"
