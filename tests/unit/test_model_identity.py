"""Equal weights are not yet the same model: what else vectors remember, and who may search in them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from finetune_sdk.api.model import Model
from finetune_sdk.errors import DataInvalid
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.model.architectures import architecture_config, differences, meaning
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.identity import config_digest
from finetune_trainer.model.load import load_model
from finetune_trainer.model.save import CONFIG
from finetune_trainer.pipeline.search import check_made_by
from finetune_trainer.pipeline.vectors import Vectors, ids_path, origin_of, read_vectors, write_vectors
from tests.support.models import KINDS, Kind, tiny_model, tiny_open_clip_dir


def opened(folder: Path) -> ClipModel:
    spec = Model.model_validate({"weights": {"uri": folder.as_uri()}})
    cache = folder.parent / "cache"
    return load_model(spec, stores=open_store, cache_root=cache, device=torch.device("cpu"), seed=0)


def vectors_of(model: ClipModel) -> Vectors:
    return Vectors(origin_of(model, "pictures"), ["a.jpg"], np.eye(1, 32, dtype=np.float32))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_in_another_place_is_the_same_model(tmp_path: Path, kind: Kind) -> None:
    made = tiny_model(kind, folder=tmp_path)
    copy = opened(tiny_open_clip_dir(tmp_path / "copy", kind))
    assert config_digest(copy) == config_digest(made)
    check_made_by(copy, vectors_of(made), "v.npy")


def edit(**changes: Any) -> Callable[[Path], None]:
    """Sets keys of a part of open_clip_config.json, or of the file beside it."""

    def change(path: Path) -> None:
        document = json.loads(path.read_text())
        for place, value in changes.items():
            part = document
            *outer, last = place.split("__")
            for key in outer:
                part = part[key]
            part[last] = value
        path.write_text(json.dumps(document))

    return change


OTHERS: dict[str, tuple[Kind, str, Callable[[Path], None]]] = {
    "the other activation": ("clip", CONFIG, edit(model_cfg__quick_gelu=True)),
    "another interpolation": ("clip", CONFIG, edit(preprocess_cfg__interpolation="bilinear")),
    "another mean": ("clip", CONFIG, edit(preprocess_cfg__mean=[0.5, 0.5, 0.5])),
    "captions cleaned otherwise": ("clip", CONFIG, edit(model_cfg__text_cfg__tokenizer_kwargs={"clean": "whitespace"})),
    "a tokenizer that keeps capitals": ("hf-text", "tokenizer_config.json", edit(do_lower_case=False)),
    "the text tower's activation": ("hf-text", "config.json", edit(hidden_act="relu")),
}


@pytest.mark.parametrize(("kind", "file", "change"), OTHERS.values(), ids=OTHERS)
def test_equal_weights_in_another_model_are_refused(
    tmp_path: Path, kind: Kind, file: str, change: Callable[[Path], None]
) -> None:
    folder = tiny_open_clip_dir(tmp_path / "m", kind)
    first = opened(folder)
    change(folder / file)
    second = opened(folder)
    assert second.digest == first.digest
    with pytest.raises(DataInvalid) as refused:
        check_made_by(second, vectors_of(first), "v.npy")
    told = str(refused.value)
    assert told.startswith("WHERE: v.npy was made by another model, custom (")
    assert "has its weights, but another architecture, preprocessing or tokenizer: give the former" in told


SAME: dict[str, Callable[[Path], None]] = {
    "a default that is written": edit(model_cfg__quick_gelu=False, model_cfg__vision_cfg__mlp_ratio=4.0),
    "defaults of towers that it has not": edit(
        model_cfg__vision_cfg__timm_pool="avg", model_cfg__text_cfg__hf_model_pretrained=True
    ),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_a_config_that_words_the_same_otherwise_is_the_same_model(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = tiny_open_clip_dir(tmp_path / "m")
    first = config_digest(opened(folder))
    change(folder / CONFIG)
    assert config_digest(opened(folder)) == first


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_what_is_remembered_is_read_again_and_older_files_are_taken(tmp_path: Path, ending: str) -> None:
    model = tiny_model()
    made, path = vectors_of(model), tmp_path / f"v.{ending}"
    write_vectors(made, path)
    assert read_vectors("WHERE", path_to_uri(path), open_store).origin.config_digest == config_digest(model)
    older = replace(made, origin=made.origin.model_copy(update={"config_digest": None}))
    write_vectors(older, path)
    if ending == "npy":
        document = json.loads(ids_path(path).read_bytes())
        del document["configDigest"]
        ids_path(path).write_text(json.dumps(document))
    check_made_by(model, read_vectors("WHERE", path_to_uri(path), open_store), "v")


def test_equal_meanings_are_those_without_differences() -> None:
    configs = [architecture_config(name) for name in ("RN50", "ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16-SigLIP")]
    for one in configs:
        for other in configs:
            assert (meaning(one) == meaning(other)) == (not differences(one, other))
