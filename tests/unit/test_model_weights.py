"""Weights files: what is read, what is refused, and the sentence that the user gets."""

import argparse
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from finetune_sdk.errors import WeightsInvalid
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.model.weights import load_into, read_weights
from tests.support.models import tiny_model

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def layer() -> torch.nn.Linear:
    return torch.nn.Linear(3, 2)


def saved(path: Path, content: object) -> None:
    torch.save(content, path)


READABLE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "safetensors": ("w.safetensors", lambda path: save_file(STATE, path)),
    "safetensors under a torch name": ("w.bin", lambda path: save_file(STATE, path)),
    "a plain state_dict": ("w.pt", lambda path: saved(path, STATE)),
    "open_clip's training checkpoint": ("w.pt", lambda path: saved(path, {"epoch": 3, "state_dict": STATE})),
    "saved by DistributedDataParallel": (
        "w.pt",
        lambda path: saved(path, {f"module.{name}": value for name, value in STATE.items()}),
    ),
    "the old format, before zip": (
        "w.pth",
        lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False),
    ),
}


@pytest.mark.parametrize(("name", "write"), READABLE.values(), ids=READABLE)
def test_read(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    state = read_weights(tmp_path / name, "s3://b/w")
    assert weights_digest(state) == weights_digest(STATE)


def truncated(path: Path) -> None:
    big = {"weight": torch.zeros(1000)}
    save_file(big, path) if path.suffix == ".safetensors" else torch.save(big, path)
    path.write_bytes(path.read_bytes()[:-2000])


def script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # as torch.jit.save lays it out
        archive.writestr("w/code/__torch__.py", "")
        archive.writestr("w/constants.pkl", b"")


def archive_of_numpy(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", b"x")


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a truncated safetensors file": ("w.safetensors", truncated, "no whole safetensors file"),
    "a truncated checkpoint": ("w.pt", truncated, "cut short; upload it again"),
    "an empty file": ("w.pt", lambda path: path.write_bytes(b""), "is empty"),
    "a pickle with code": ("w.pt", lambda path: saved(path, argparse.Namespace(lr=1)), "may run code"),
    "an object beside the weights": (
        "w.pt",
        lambda path: saved(path, {"state_dict": STATE, "args": argparse.Namespace()}),
        "save its state_dict with safetensors.torch.save_file",
    ),
    "TorchScript": ("w.pt", script, "is TorchScript, which is a program"),
    "npz": ("w.npz", lambda path: np.savez(path, w=np.zeros(2)), "is a NumPy file"),
    "npy under a torch name": ("w.pt", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "is a NumPy file"),
    "npz under a torch name": ("w.pt", archive_of_numpy, "is a NumPy file"),
    "a pointer of Git LFS": (
        "w.safetensors",
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "git lfs pull",
    ),
    "HTML": ("w.bin", lambda path: path.write_text("<html>Not Found</html>"), "neither safetensors nor"),
    "a list": ("w.pt", lambda path: saved(path, [1, 2]), "holds a list, not a state_dict"),
    "a number among tensors": ("w.pt", lambda path: saved(path, {"a": 1.5}), "holds float under 'a'"),
    "no tensors": ("w.pt", lambda path: saved(path, {}), "holds no tensors"),
    "a sparse tensor": (
        "w.pt",
        lambda path: saved(path, STATE | {"weight": STATE["weight"].to_sparse()}),
        "holds a sparse tensor under 'weight', not a dense one: save its state_dict with",
    ),
    "a tensor without values": (
        "w.pt",
        lambda path: saved(path, STATE | {"bias": STATE["bias"].to("meta")}),
        "holds a meta tensor under 'bias'",
    ),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(("name", "write", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, name: str, write: Callable[[Path], object], message: str) -> None:
    write(tmp_path / name)
    with pytest.raises(WeightsInvalid) as refused:
        read_weights(tmp_path / name, "s3://b/w")
    assert message in str(refused.value)
    assert str(refused.value).startswith("s3://b/w ")


MISFITS: dict[str, tuple[dict[str, Tensor], str]] = {
    "a missing tensor": ({"weight": STATE["weight"]}, "1 tensor is missing (bias)"),
    "an unknown tensor": (STATE | {"x": torch.ones(1)}, "1 tensor is unknown to the architecture (x)"),
    "another shape": (STATE | {"bias": torch.zeros(3)}, "bias is (3,), not (2,)"),
    "not finite": (STATE | {"bias": torch.tensor([0.0, float("nan")])}, "tensor bias holds 1 values that are not"),
    "beyond float32": (
        STATE | {"bias": torch.full((2,), 1e300, dtype=torch.float64)},
        "tensor bias holds 2 values that are not finite in float32",
    ),
    "whole numbers": (STATE | {"bias": torch.ones(2, dtype=torch.int8)}, "tensor bias is torch.int8; use float32"),
    "truth values": (STATE | {"bias": torch.ones(2, dtype=torch.bool)}, "tensor bias is torch.bool; use float32"),
    "complex": (STATE | {"bias": torch.zeros(2, dtype=torch.complex64)}, "tensor bias is torch.complex64"),
}


@pytest.mark.parametrize(("state", "message"), MISFITS.values(), ids=MISFITS)
def test_misfit_leaves_the_module_alone(state: dict[str, Tensor], message: str) -> None:
    module = layer()
    before = weights_digest(module.state_dict())
    with pytest.raises(WeightsInvalid) as refused:
        load_into(module, state, "w.pt")
    assert message in str(refused.value)
    assert weights_digest(module.state_dict()) == before


def test_many_misfits_are_counted_and_three_named() -> None:
    with pytest.raises(WeightsInvalid, match=r"5 tensors are unknown .*\(x0, x1, x2 and 2 more\)"):
        load_into(layer(), STATE | {f"x{number}": torch.ones(1) for number in range(5)}, "w.pt")


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_other_precisions_are_loaded_as_float32(kind: torch.dtype) -> None:
    module = layer()
    load_into(module, {name: value.to(kind) for name, value in STATE.items()}, "w.pt")
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, STATE["weight"])


def test_counters_are_whole_numbers() -> None:
    norm = torch.nn.BatchNorm1d(2)
    load_into(norm, norm.state_dict() | {"num_batches_tracked": torch.tensor(7)}, "w.pt")
    assert int(norm.state_dict()["num_batches_tracked"]) == 7


def test_a_custom_text_model_takes_the_older_layout() -> None:
    older, newer = tiny_model("clip", seed=1), tiny_model("custom-text", seed=2)
    load_into(newer.module, older.module.state_dict(), "w.pt")
    assert torch.equal(newer.module.state_dict()["text.ln_final.weight"], older.module.state_dict()["ln_final.weight"])
    tokens = older.tokenize(["a red cat"])
    with torch.no_grad():
        assert torch.equal(newer.module.encode_text(tokens), older.module.encode_text(tokens))  # type: ignore[operator]


def test_digest_depends_on_names_shapes_types_and_values() -> None:
    state = {"a": torch.zeros(4), "b": torch.ones(2)}
    others = [
        {"a": torch.zeros(4), "c": torch.ones(2)},
        {"a": torch.zeros(2, 2), "b": torch.ones(2)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.ones(2)},
        {"a": torch.zeros(4), "b": torch.tensor([1.0, 1.0000001])},
    ]
    assert len({weights_digest(each) for each in [state, *others]}) == 5
    assert weights_digest(dict(reversed(state.items()))) == weights_digest(state)
