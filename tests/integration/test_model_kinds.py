"""Each kind of model through five steps, an export and a fresh process (T15, T16)."""

import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from finetune_sdk.api.model import Model
from finetune_sdk.api.training import Freeze
from finetune_sdk.errors import TrainerError
from finetune_sdk.storage import open_store
from finetune_trainer.model import export
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.digest import weights_digest
from finetune_trainer.model.export import check_export
from finetune_trainer.model.freeze import freeze
from finetune_trainer.model.layers import tower_layers
from finetune_trainer.model.load import load_model
from finetune_trainer.model.save import CONFIG, WEIGHTS, write_model
from finetune_trainer.training.towers import set_training_mode
from tests.support.models import KINDS, Kind, tiny_model

CAPTIONS = ["a red cat", "the blue house", "dog on tree", "a bird"]
FROZEN: dict[Kind, dict[str, Any]] = {"composed": {"image": {"all": True}}, "resnet": {"text": {"all": True}}}


def images(model: ClipModel) -> Tensor:
    return torch.rand(4, 3, *model.preprocess.size, generator=torch.Generator().manual_seed(0))


def steps(model: ClipModel, count: int, rate: float) -> None:
    module: Any = model.module
    set_training_mode(module)
    trained = [value for value in module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.1)
    torch.manual_seed(0)
    for _ in range(count):
        image = F.normalize(module.encode_image(images(model), normalize=False), dim=-1)
        text = F.normalize(module.encode_text(model.tokenize(CAPTIONS), normalize=False), dim=-1)
        logits = module.logit_scale.exp() * image @ text.T
        if model.loss == "siglip":
            loss = -F.logsigmoid((2 * torch.eye(4) - 1) * (logits + module.logit_bias)).sum() / 4
        else:
            loss = F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    module.eval()


def exported(model: ClipModel, folder: Path) -> Path:
    write_model(model, None, folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_five_steps_then_a_fresh_process(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which answers with the same bits, on machines where equal work gives equal bits."""
    monkeypatch.setattr(export, "FLOAT32_TOLERANCE", 0.0)
    model = tiny_model(kind, folder=tmp_path)
    freeze(model, Freeze.model_validate(FROZEN.get(kind, {})))
    trained = {name for name, value in model.module.named_parameters() if value.requires_grad}
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    steps(model, 5, 1e-3)
    after = model.module.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == trained
    folder = exported(model, tmp_path / "model")
    check_export(folder, model, images(model), model.tokenize(CAPTIONS))
    spec = Model.model_validate({"weights": {"uri": folder.as_uri()}})
    again = load_model(spec, stores=open_store, cache_root=tmp_path / "c", device=torch.device("cpu"), seed=9)
    assert again.digest == weights_digest(after)


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_blocks_and_statistics_stay_through_five_steps(tmp_path: Path, kind: Kind) -> None:
    model = tiny_model(kind, folder=tmp_path)
    freeze(model, Freeze.model_validate({"image": {"blocks": 1}, "text": {"blocks": 2}}))
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    steps(model, 5, 1e-3)
    changed = {name for name, value in model.module.state_dict().items() if not torch.equal(value, before[name])}
    layers = [(tower_layers(model.module, "image"), 1), (tower_layers(model.module, "text"), 2)]
    behind = {name for each, count in layers for name, place in each.place.items() if place > count}
    assert changed == {name for name in behind if not name.startswith("text_decoder.")} | {
        name for name in before if name in ("logit_scale", "logit_bias")
    }


def test_siglips_logit_scale_is_not_clamped_at_rate_zero(tmp_path: Path) -> None:
    model = tiny_model("siglip", folder=tmp_path)
    scale = model.module.get_parameter("logit_scale")
    scale.data.fill_(4.72)
    steps(model, 1, 0.0)
    assert torch.equal(scale, torch.tensor(4.72))  # which is above ln 100


def test_a_model_is_written_to_the_same_bytes(tmp_path: Path) -> None:
    model = tiny_model("composed", folder=tmp_path)
    folders = [exported(model, tmp_path / name) for name in ("a", "b")]
    assert len({tuple((path.name, path.read_bytes()) for path in sorted(each.iterdir())) for each in folders}) == 1


def test_a_states_weights_are_written_in_place_of_the_modules(tmp_path: Path) -> None:
    model = tiny_model("clip")
    state = {name: value + 1 for name, value in model.module.state_dict().items()}
    write_model(model, state, tmp_path / "m")
    assert weights_digest(load_file(tmp_path / "m" / WEIGHTS)) == weights_digest(state)


def test_an_export_that_differs_in_one_weight_is_told(tmp_path: Path) -> None:
    model = tiny_model("clip")
    folder = exported(model, tmp_path / "m")
    state = load_file(folder / WEIGHTS)
    state["visual.proj"][0, 0] += 1e-3
    save_file(state, folder / WEIGHTS)
    with pytest.raises(TrainerError, match="open_clip reads other weights than the model's"):
        check_export(folder, model, images(model), model.tokenize(CAPTIONS))


def test_an_export_with_another_activation_is_told(tmp_path: Path) -> None:
    model = tiny_model("quickgelu")
    folder = exported(model, tmp_path / "m")
    document = json.loads((folder / CONFIG).read_text())
    document["model_cfg"]["quick_gelu"] = False
    (folder / CONFIG).write_text(json.dumps(document))
    with pytest.raises(TrainerError, match=r"image_embeddings differ by up to \d"):
        check_export(folder, model, images(model), model.tokenize(CAPTIONS))


def test_an_export_with_other_preprocessing_is_told(tmp_path: Path) -> None:
    model = tiny_model("clip")
    folder = exported(model, tmp_path / "m")
    document = json.loads((folder / CONFIG).read_text())
    document["preprocess_cfg"]["interpolation"] = "bilinear"
    (folder / CONFIG).write_text(json.dumps(document))
    with pytest.raises(TrainerError, match="open_clip reads preprocessing"):
        check_export(folder, model, images(model), model.tokenize(CAPTIONS))


def test_an_export_that_does_not_open_is_told(tmp_path: Path) -> None:
    model = tiny_model("clip")
    folder = exported(model, tmp_path / "m")
    (folder / CONFIG).unlink()
    with pytest.raises(TrainerError, match="open_clip cannot open the export"):
        check_export(folder, model, images(model), model.tokenize(CAPTIONS))


def shards(folder: Path) -> Path:
    """A test set of four pictures in CLIP Benchmark's webdataset layout."""
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("1")
    (folder / "dataset_type.txt").write_text("retrieval")
    with tarfile.open(folder / "test" / "0.tar", "w") as archive:
        for number, caption in enumerate(CAPTIONS):
            picture = BytesIO()
            Image.new("RGB", (40, 40), (60 * number, 90, 200 - 40 * number)).save(picture, "PNG")
            for suffix, data in (("png", picture.getvalue()), ("txt", caption.encode())):
                member = tarfile.TarInfo(f"{number}.{suffix}")
                member.size = len(data)
                archive.addfile(member, BytesIO(data))
    return folder


@pytest.mark.parametrize("kind", ["clip", "composed"])
def test_clip_benchmarks_own_command_opens_an_export(tmp_path: Path, kind: Kind) -> None:
    folder = exported(tiny_model(kind, folder=tmp_path), tmp_path / "model")
    command = [sys.executable, "-m", "clip_benchmark.cli", "eval", "--model", "local-dir:.", "--pretrained", "none"]
    command += ["--dataset", "wds/flickr8k", "--dataset_root", str(shards(tmp_path / "data")), "--split", "test"]
    command += ["--task", "zeroshot_retrieval", "--recall_k", "1", "--no_amp", "--num_workers", "0"]
    command += ["--output", str(tmp_path / "out.json")]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = json.loads((tmp_path / "out.json").read_text())["metrics"]
    assert set(metrics) == {"image_retrieval_recall@1", "text_retrieval_recall@1"}
