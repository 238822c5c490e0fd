"""Every form of the model, reopened by its own library in a fresh process (T18), and what a whole run leaves."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from finetune_sdk.errors import TrainerError
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.export import check_huggingface_export, check_onnx_export
from finetune_trainer.model.huggingface import write_huggingface
from finetune_trainer.model.onnx import write_onnx
from tests.support.models import KINDS, Kind, tiny_model
from tests.support.runs import finetune, make_run, outcome

CLIP_MODELS: tuple[Kind, ...] = ("clip", "quickgelu", "custom-text")


def samples(model: ClipModel) -> tuple[Tensor, Tensor]:
    images = torch.rand(3, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(0))
    return images, model.tokenize(["a red cat", "", "the blue house " * 30])


@pytest.mark.parametrize("kind", CLIP_MODELS)
def test_transformers_alone_sees_the_same_model(tmp_path: Path, kind: Kind) -> None:
    model = tiny_model(kind)
    write_huggingface(model, tmp_path / "huggingface")
    check_huggingface_export(tmp_path / "huggingface", model, *samples(model))


def test_a_changed_hugging_face_export_is_told(tmp_path: Path) -> None:
    model, folder = tiny_model("clip"), tmp_path / "huggingface"
    write_huggingface(model, folder)
    state = load_file(folder / "model.safetensors")
    state["text_projection.weight"][0, 0] += 1e-2
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainerError, match=r"transformers' text_embeddings differ by up to \d.*; 1e-05 is allowed"):
        check_huggingface_export(folder, model, *samples(model))
    del state["text_projection.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainerError, match=r"does not fit config\.json: text_projection\.weight"):
        check_huggingface_export(folder, model, *samples(model))


@pytest.mark.parametrize("kind", KINDS)
def test_onnxruntime_alone_sees_the_same_model(tmp_path: Path, kind: Kind) -> None:
    model = tiny_model(kind, folder=tmp_path)
    write_onnx(model, tmp_path / "onnx")
    check_onnx_export(tmp_path / "onnx", model, *samples(model))


def test_an_onnx_export_of_another_model_is_told(tmp_path: Path) -> None:
    model, other = tiny_model("clip"), tiny_model("clip", seed=1)
    write_onnx(other, tmp_path / "onnx")
    with pytest.raises(TrainerError, match=r"onnxruntime's image_embeddings differ by up to \d.*; 0.0001 is allowed"):
        check_onnx_export(tmp_path / "onnx", model, *samples(model))
    (tmp_path / "onnx" / "text.onnx").unlink()
    with pytest.raises(TrainerError, match="onnx: onnxruntime cannot open the export"):
        check_onnx_export(tmp_path / "onnx", other, *samples(other))


def test_a_run_of_low_rank_adapters_leaves_whole_models_in_every_form_and_a_card(tmp_path: Path) -> None:
    output = {"uri": "output-run/", "exports": ["open_clip", "huggingface", "onnx"]}
    training = {"steps": 4, "batchSize": 16, "lora": {"rank": 2}, "optimizer": {"layerDecay": 0.9}}
    path = make_run(tmp_path, output=output, training=training)
    done = finetune(tmp_path, "run", "-f", path)
    assert done.returncode == 0, done.stderr[-2000:]
    model = tmp_path / "output-run" / "model"
    names = {str(file.relative_to(model)) for file in model.rglob("*") if file.is_file()}
    assert {"README.md", "open_clip_config.json", "open_clip_model.safetensors"} <= names
    assert {"huggingface/config.json", "huggingface/tokenizer.json", "huggingface/preprocessor_config.json"} <= names
    assert {"onnx/image.onnx", "onnx/text.onnx", "onnx/preprocess.json"} <= names
    base = load_file(tmp_path / "base" / "open_clip_model.safetensors")
    assert load_file(model / "open_clip_model.safetensors").keys() == base.keys()
    card, result = (model / "README.md").read_text(), outcome(tmp_path / "output-run")
    change = result["changes"][result["metric"]]
    assert result["sentence"] in card
    assert f"| {result['metric']} | {100 * change['before']:.1f} % | {100 * change['after']:.1f} % |" in card
    resolved = json.loads((tmp_path / "output-run" / "run.json").read_bytes())["resolved"]["training"]
    assert (resolved["layer_decay"], resolved["learning_rate"]) == (0.9, pytest.approx(1e-4 * 2**0.5, rel=1e-3))


def test_a_form_that_the_model_lacks_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    path = make_run(tmp_path, kind="resnet", output={"uri": "output-run/", "exports": ["huggingface"]})
    done = finetune(tmp_path, "run", "-f", path)
    assert done.returncode == 64
    assert "cannot be a Hugging Face CLIPModel, as its image tower is a ResNet: remove huggingface" in done.stderr
    assert not (tmp_path / "output-run" / "evaluation" / "before.json").exists()
