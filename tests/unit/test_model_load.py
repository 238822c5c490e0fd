"""spec.model to a model, through the public door and file storage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune_sdk.api.model import Model
from finetune_sdk.errors import FinetuneError, InvalidSpec, StorageUnavailable, WeightsInvalid
from finetune_sdk.storage import open_store
from finetune_trainer.model import hub
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.load import load_model
from tests.support.models import KINDS, Kind, tiny_bert_dir, tiny_model, tiny_open_clip_dir, tiny_timm_dir

CPU = torch.device("cpu")


def loaded(spec: dict[str, Any], cache: Path, seed: int = 0) -> ClipModel:
    return load_model(Model.model_validate(spec), stores=open_store, cache_root=cache, device=CPU, seed=seed)


def uri(path: Path) -> str:
    return path.absolute().as_uri()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "is_online", lambda: False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_clip_directory_needs_no_name(tmp_path: Path, kind: Kind) -> None:
    folder = tiny_open_clip_dir(tmp_path / "model", kind)
    model = loaded({"weights": {"uri": uri(folder)}}, tmp_path / "cache")
    made = tiny_model(kind, folder=tmp_path)
    assert model.digest == made.digest
    assert model.preprocess == made.preprocess
    assert model.loss == made.loss
    assert torch.equal(model.tokenize(["A red cat!"]), made.tokenize(["A red cat!"]))
    assert not model.module.training


def test_a_runs_output_is_opened_by_its_root_and_by_its_model(tmp_path: Path) -> None:
    tiny_open_clip_dir(tmp_path / "run 1" / "model", "composed")
    models = [loaded({"weights": {"uri": uri(tmp_path / "run 1" / below)}}, tmp_path / "c") for below in ("", "model")]
    assert models[0].digest == models[1].digest
    assert models[0].name == "composed"


def test_a_file_beside_its_config_brings_its_own_architecture(tmp_path: Path) -> None:
    folder = tiny_open_clip_dir(tmp_path / "model", "quickgelu")
    model = loaded({"weights": {"uri": uri(folder / "open_clip_model.safetensors")}}, tmp_path / "cache")
    assert model.config["quick_gelu"] is True


def test_the_cache_is_used_again_until_the_object_changes(tmp_path: Path) -> None:
    folder = tiny_open_clip_dir(tmp_path / "model")
    spec = {"weights": {"uri": uri(folder)}}
    first = loaded(spec, tmp_path / "cache").digest
    copies = sorted(path.name for path in (tmp_path / "cache" / "weights").iterdir())
    assert loaded(spec, tmp_path / "cache").digest == first
    assert sorted(path.name for path in (tmp_path / "cache" / "weights").iterdir()) == copies
    tiny_open_clip_dir(folder, seed=1)
    assert loaded(spec, tmp_path / "cache").digest != first


def test_a_checkpoint_takes_the_architecture_and_preprocessing_of_its_name(tmp_path: Path) -> None:
    name = "ViT-S-32-alt"
    spec = {"name": name, "weights": {"random": {}}}
    random = loaded(spec, tmp_path, seed=3)
    torch.save({"epoch": 1, "state_dict": random.module.state_dict()}, tmp_path / "epoch_1.pt")
    model = loaded({"name": name, "weights": {"uri": uri(tmp_path / "epoch_1.pt")}}, tmp_path / "cache")
    assert model.digest == random.digest
    assert model.digest != loaded(spec, tmp_path, seed=4).digest
    assert model.config == open_clip.get_model_config(name)


def test_random_weights_leave_the_ambient_generator_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    loaded({"name": "ViT-S-32-alt", "weights": {"random": {}}}, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_composed_model_holds_its_towers_weights_and_preprocessing(tmp_path: Path) -> None:
    spec = towers(tmp_path)
    model = loaded(spec, tmp_path / "cache")
    state = model.module.state_dict()
    image, text = load_file(tmp_path / "i" / "model.safetensors"), load_file(tmp_path / "t" / "model.safetensors")
    assert torch.equal(state["visual.trunk.conv_stem.weight"], image["conv_stem.weight"])
    name = "encoder.layer.1.output.dense.weight"
    assert torch.equal(state[f"text.transformer.{name}"], text[name])
    assert model.preprocess.size == (64, 64)
    assert model.preprocess.mean == (0.5, 0.5, 0.5)
    assert model.context_length == 64
    assert model.digest == loaded(spec, tmp_path / "cache").digest
    assert model.digest != loaded(spec, tmp_path / "cache", seed=1).digest


def test_an_image_tower_of_a_weights_file_alone_is_prepared_as_timm_says(tmp_path: Path) -> None:
    spec = towers(tmp_path)
    spec["towers"]["image"]["uri"] += "/model.safetensors"
    assert loaded(spec, tmp_path / "cache").preprocess.size == (160, 160)


def test_an_older_bert_with_prefix_and_heads_is_read(tmp_path: Path) -> None:
    spec = towers(tmp_path)
    file = tmp_path / "t" / "model.safetensors"
    modern = load_file(file)
    named = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in modern.items()
    }
    expected = loaded(spec, tmp_path / "cache").digest
    save_file(named | {"cls.predictions.bias": torch.zeros(3)}, file)
    assert loaded(spec, tmp_path / "cache").digest == expected


def towers(folder: Path) -> dict[str, Any]:
    tiny_timm_dir(folder / "i", seed=1)
    tiny_bert_dir(folder / "t", seed=2)
    image = {"timm": "test_efficientnet", "uri": uri(folder / "i")}
    text = {"huggingface": "tiny/bert", "uri": uri(folder / "t")}
    return {"towers": {"image": image, "text": text, "embedDim": 24}}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def model_in(folder: Path, **weights: Any) -> dict[str, Any]:
    return {"weights": {"uri": uri(tiny_open_clip_dir(folder / "m", **weights))}}


def wrong_architecture(folder: Path) -> dict[str, Any]:
    return model_in(folder) | {"name": "ViT-B-32"}


def weights_of_another(folder: Path) -> dict[str, Any]:
    tiny_open_clip_dir(folder / "m", "resnet")
    file = folder / "only.safetensors"
    (folder / "m" / "open_clip_model.safetensors").rename(file)
    return {"name": "ViT-S-32-alt", "weights": {"uri": uri(file)}}


def a_known_other(folder: Path) -> dict[str, Any]:
    state = loaded({"name": "ViT-S-32-alt", "weights": {"random": {}}}, folder).module.state_dict()
    save_file(state, folder / "w.safetensors")
    return {"name": "ViT-S-16-alt", "weights": {"uri": uri(folder / "w.safetensors")}}


def missing_tensor(folder: Path) -> dict[str, Any]:
    spec = model_in(folder)
    file = folder / "m" / "open_clip_model.safetensors"
    state = load_file(file)
    del state["visual.proj"]
    save_file(state, file)
    return spec


def without(name: str, kind: Kind) -> Callable[[Path], dict[str, Any]]:
    def build(folder: Path) -> dict[str, Any]:
        spec = model_in(folder, kind=kind)
        (folder / "m" / name).unlink()
        return spec

    return build


def with_text_config(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    def build(folder: Path) -> dict[str, Any]:
        spec = model_in(folder, kind="composed")
        edit(folder / "m" / "config.json", **changes)
        return spec

    return build


def broken_tokenizer(folder: Path) -> dict[str, Any]:
    spec = model_in(folder, kind="composed")
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / "m" / name).write_text("")
    return spec


def timm_says(**changes: Any) -> Callable[[Path], dict[str, Any]]:
    def build(folder: Path) -> dict[str, Any]:
        spec = towers(folder)
        edit(folder / "i" / "config.json", **changes)
        return spec

    return build


def broken_config(folder: Path) -> dict[str, Any]:
    spec = model_in(folder)
    (folder / "m" / "open_clip_config.json").write_text("{")
    return spec


def unknown_timm(folder: Path) -> dict[str, Any]:
    spec = towers(folder)
    spec["towers"]["image"]["timm"] = "test_efficientnot"
    return spec


def named(name: str, **weights: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda _: {"name": name, "weights": weights}


def at(path: str, name: str | None = None) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"name": name, "weights": {"uri": uri(folder / path)}}


ROWS: dict[str, tuple[Callable[[Path], dict[str, Any]], type[FinetuneError], int, str]] = {
    "unknown architecture": (named("ViT-B32", tag="openai"), InvalidSpec, 64, "did you mean ViT-B-32 or"),
    "unknown tag": (named("ViT-B-32", tag="nope"), InvalidSpec, 64, "'nope' is not a tag of ViT-B-32; it has openai,"),
    "architecture without tags": (named("ViT-M-32", tag="openai"), InvalidSpec, 64, "it has none: use weights.uri"),
    "QuickGELU weights in a GELU architecture": (
        named("ViT-B-32", tag="openai"),
        InvalidSpec,
        64,
        "which costs accuracy; set model.name to ViT-B-32-quickgelu",
    ),
    "a tag that cannot be fetched": (
        named("ViT-B-32-quickgelu", tag="openai"),
        StorageUnavailable,
        69,
        "'openai' of ViT-B-32-quickgelu cannot be fetched (there is no network here)",
    ),
    "what works without a network is said": (
        named("ViT-B-32-quickgelu", tag="openai"),
        StorageUnavailable,
        69,
        "where there is a network, `finetune weights fetch ViT-B-32-quickgelu:openai s3://BUCKET/weights` copies all",
    ),
    "a tokenizer that cannot be fetched": (
        named("ViT-B-16-SigLIP", random={}),
        StorageUnavailable,
        69,
        "model.name: ViT-B-16-SigLIP: 'timm/ViT-B-16-SigLIP' cannot be fetched (there is no network here)",
    ),
    "a tower that cannot be fetched": (
        lambda folder: towers(folder) | {"towers": towers(folder)["towers"] | {"text": {"huggingface": "a/b"}}},
        StorageUnavailable,
        69,
        "model.towers.text.huggingface: 'a/b' cannot be fetched (there is no network here)",
    ),
    "a name that its config contradicts": (
        wrong_architecture,
        InvalidSpec,
        64,
        "its embed_dim is 32, not 512; text_cfg.context_length is 24, not 77;",
    ),
    "weights of another architecture": (weights_of_another, WeightsInvalid, 65, "only.safetensors does not fit"),
    "weights of a known other architecture": (
        a_known_other,
        WeightsInvalid,
        65,
        "visual.conv1.weight is (384, 3, 32, 32), not (384, 3, 16, 16)",
    ),
    "the known other architecture is named": (a_known_other, WeightsInvalid, 65, "look like ViT-S-32-alt: set model"),
    "a missing tensor": (missing_tensor, WeightsInvalid, 65, "1 tensor is missing (visual.proj)"),
    "no name and no config": (without("open_clip_config.json", "clip"), InvalidSpec, 64, "say which architecture"),
    "a folder without weights": (
        without("open_clip_model.safetensors", "clip"),
        WeightsInvalid,
        65,
        "holds no weights",
    ),
    "a folder that is not there": (at("nowhere"), WeightsInvalid, 65, "nowhere holds no weights"),
    "a file that is not there": (at("w.safetensors", "ViT-B-32"), WeightsInvalid, 65, "there is no such file"),
    "a NumPy file by name": (at("siglip.npz", "ViT-B-32"), WeightsInvalid, 65, ".npz files are not read as weights"),
    "a broken config": (broken_config, WeightsInvalid, 65, "open_clip_config.json cannot be read as JSON"),
    "a text tower without config": (without("config.json", "composed"), WeightsInvalid, 65, "copy the whole folder"),
    "a text tower of an unknown family": (
        with_text_config(model_type="evil", auto_map={"AutoConfig": "evil.Config"}),
        WeightsInvalid,
        65,
        "model_type 'evil' is not a text tower",
    ),
    "a text tower that fetches code": (
        with_text_config(attn_implementation="someone/kernels"),
        WeightsInvalid,
        65,
        "attn_implementation may fetch code from the hub",
    ),
    "a broken tokenizer": (broken_tokenizer, WeightsInvalid, 65, "no tokenizer can be read from"),
    "an unknown timm model": (unknown_timm, InvalidSpec, 64, "'test_efficientnot' is not a model of timm's"),
    "a timm folder of another model": (timm_says(architecture="test_vit"), WeightsInvalid, 65, "make them agree"),
    "a timm model with arguments": (timm_says(model_args={"depth": 3}), WeightsInvalid, 65, "model_args ['depth']"),
}


@pytest.mark.parametrize(("build", "kind", "code", "message"), ROWS.values(), ids=ROWS)
def test_bad_input(
    tmp_path: Path, build: Callable[[Path], dict[str, Any]], kind: type[FinetuneError], code: int, message: str
) -> None:
    spec = build(tmp_path)
    with pytest.raises(kind) as refused:
        loaded(spec, tmp_path / "cache")
    assert message in str(refused.value)
    assert refused.value.exit_code == code


def test_code_that_a_folder_brings_along_is_not_run(tmp_path: Path) -> None:
    folder = tiny_open_clip_dir(tmp_path / "m", "composed")
    (folder / "evil.py").write_text("import pathlib\npathlib.Path(__file__).with_name('run').touch()\n")
    code = {"AutoTokenizer": ["evil.Tokenizer", None], "AutoModel": "evil.Model", "AutoConfig": "evil.Config"}
    edit(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=code)
    edit(folder / "config.json", auto_map=code)
    loaded({"weights": {"uri": uri(folder)}}, tmp_path / "cache")
    assert not list(tmp_path.rglob("run"))


def test_a_name_that_does_not_resolve_is_offline_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str, port: int) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.undo()
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    assert not hub.is_online(unknown)
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert hub.is_online(unknown)
