"""A run's model on a run's data, measured by itself: the figures of the run's own baseline."""

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_sdk.api.data import Data
from finetune_sdk.api.model import Model
from finetune_sdk.errors import DataInvalid, InvalidSpec
from finetune_sdk.storage import open_store
from finetune_sdk.uri import path_to_uri
from finetune_trainer.data.prepare import prepare_data
from finetune_trainer.evaluation.measure import measure
from finetune_trainer.model.load import load_model
from finetune_trainer.pipeline.compare import compare_models
from finetune_trainer.pipeline.evaluate import evaluate_by_itself
from finetune_trainer.progress import Silent
from finetune_trainer.records import Evaluation
from tests.support.models import tiny_bert_dir, tiny_open_clip_dir, tiny_timm_dir
from tests.support.pictures import make_pictures, write_table
from tests.support.preparing import source
from tests.support.worlds import a_world, model_in

SEED = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two towers, a model, and 40 pictures, every fourth of them for testing."""
    made = tmp_path_factory.mktemp("evaluated")
    tiny_timm_dir(made / "timm")
    tiny_bert_dir(made / "bert")
    tiny_open_clip_dir(made / "model")
    split = ["test" if index % 4 == 0 else "train" for index in range(40)]
    write_table(made / "captions.csv", make_pictures(made / "pictures", 40), split=split)
    return made


def composed(folder: Path) -> Model:
    image = {"timm": "test_efficientnet", "uri": path_to_uri(folder / "timm")}
    text = {"huggingface": "tiny/bert", "uri": path_to_uri(folder / "bert")}
    return Model.model_validate({"towers": {"image": image, "text": text, "embedDim": 32}})


def data_of(folder: Path, **parts: dict[str, Any]) -> Data:
    """A run's data; each part is a source in captions.csv."""
    uri = path_to_uri(folder / "captions.csv")
    return Data.model_validate({name: {"uri": uri, **values} for name, values in parts.items()})


def baseline(folder: Path, model: Model, data: Data) -> Evaluation:
    """What the stages of a run measure, with a cache of its own."""
    cache, cpu = folder / "run-cache", torch.device("cpu")
    loaded = load_model(model, stores=open_store, cache_root=cache, device=cpu, seed=SEED)
    dataset = prepare_data(data, loaded.preprocess, seed=SEED, cache_root=cache, stores=open_store, progress=Silent())
    return measure(loaded, dataset.test, (1, 5), device=cpu, progress=Silent(), stage="baseline").evaluation


GIVEN: dict[str, dict[str, Any]] = {
    "train and test": {"train": {"where": {"split": "train"}}, "test": {"where": {"split": "test"}}},
    "a source, split by hash": {"source": {}},
    "a source, split by its column": {"source": {"columns": {"split": "split"}}},
}


@pytest.mark.parametrize("parts", GIVEN.values(), ids=GIVEN)
def test_a_runs_model_on_its_data_has_the_figures_of_its_baseline(folder: Path, parts: dict[str, Any]) -> None:
    model, data = composed(folder), data_of(folder, **parts)
    found = evaluate_by_itself(model, data, (1, 5), a_world(folder / "cache"), SEED)
    assert found == baseline(folder, model, data)
    assert found.images < 40


def test_bad_rows_are_allowed_as_far_as_the_run_allows_them(folder: Path, tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "pictures", 20)
    write_table(tmp_path / "captions.csv", pictures, split=["test"] * 20)
    pictures[3].path.write_bytes(b"no picture")
    parts = {name: {"uri": path_to_uri(tmp_path / "captions.csv")} for name in ("train", "test")}
    world = a_world(tmp_path / "cache")
    allowed = Data.model_validate({**parts, "maxBadFraction": 0.1})
    assert evaluate_by_itself(model_in(folder / "model"), allowed, None, world).images == 19
    with pytest.raises(DataInvalid, match=r"^data\.test: "):
        evaluate_by_itself(model_in(folder / "model"), Data.model_validate(parts), None, world)
    with pytest.raises(DataInvalid, match=r"^--data: 1 of 20 rows .* more than the 1% that is left out:") as typed:
        evaluate_by_itself(model_in(folder / "model"), source(tmp_path / "captions.csv"), None, world)
    assert "maxBadFraction" not in str(typed.value), "there is no file that could say so"


def test_a_k_above_the_candidates_is_told_by_the_options_name(folder: Path) -> None:
    model, data, world = model_in(folder / "model"), source(folder / "captions.csv"), a_world(folder / "cache")
    told = r"^--recall-at: 500 is above the number of candidates, 40 test pictures: write at most 40"
    with pytest.raises(InvalidSpec, match=told):
        evaluate_by_itself(model, data, (1, 500), world)
    with pytest.raises(InvalidSpec, match=told):
        compare_models((model, model), data, (1, 500), world)
