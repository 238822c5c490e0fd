"""Towers that lack a part, on the hub, in its cache and in storage: which field says so, and what would work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune_sdk.api.model import Model
from finetune_sdk.errors import StorageUnavailable, WeightsInvalid
from finetune_sdk.storage import open_store
from finetune_trainer.model import hub
from finetune_trainer.model.clip import ClipModel
from finetune_trainer.model.load import load_model
from tests.support.model_hub import Hub, run_hub
from tests.support.models import tiny_bert_dir, tiny_timm_dir

BERT = "tiny/bert"
TIMM = "timm/test_efficientnet.r160_in1k"
WEIGHTS = "model.safetensors"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with a text tower and with the image tower that timm names for test_efficientnet."""
    tiny_bert_dir(tmp_path / "hub" / BERT)
    tiny_timm_dir(tmp_path / "hub" / TIMM)
    with run_hub(tmp_path / "hub", monkeypatch) as running:
        yield running


def composed(cache: Path, *, image: str | None = None, text: str | None = None) -> ClipModel:
    """Both towers from the hub, or from a URI."""
    towers: dict[str, Any] = {"image": {"timm": "test_efficientnet"}, "text": {"huggingface": BERT}, "embedDim": 8}
    towers["image"] |= {"uri": image} if image else {}
    towers["text"] |= {"uri": text} if text else {}
    spec = Model.model_validate({"towers": towers})
    return load_model(spec, stores=open_store, cache_root=cache, device=torch.device("cpu"), seed=0)


def as_pickle(folder: Path) -> None:
    """A repository as many older ones are."""
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("repository", "field"), [(BERT, "model.towers.text.huggingface"), (TIMM, "model.towers.image.timm")]
)
def test_a_repository_without_safetensors_is_named(published: Hub, tmp_path: Path, repository: str, field: str) -> None:
    as_pickle(published.folder / repository)
    with pytest.raises(WeightsInvalid) as refused:
        composed(tmp_path / "cache")
    assert str(refused.value).startswith(f"{field}: '{repository}' on the hub has no {WEIGHTS}")
    assert "safetensors.torch.save_file" in str(refused.value)
    assert str(refused.value).endswith("set the tower's uri to it")


def test_a_cache_with_the_tokenizer_alone_is_completed_or_told(
    published: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fetch_folder(BERT, "", weights=False)
    hub.fetch_folder(TIMM, "", weights=True)
    with monkeypatch.context() as offline:
        offline.setattr(hub, "is_online", lambda: False)
        with pytest.raises(StorageUnavailable, match=r"towers\.text\.huggingface: 'tiny/bert' .* not whole in this"):
            composed(tmp_path / "cache")
    assert composed(tmp_path / "cache").context_length == 64
    assert any(WEIGHTS in path for path in published.asked)


def test_a_folder_without_safetensors_is_named_by_its_field(tmp_path: Path) -> None:
    image, text = tiny_timm_dir(tmp_path / "i").as_uri(), tiny_bert_dir(tmp_path / "t").as_uri()
    as_pickle(tmp_path / "t")
    with pytest.raises(WeightsInvalid, match=r"^model\.towers\.text\.uri: .*/t holds no model\.safetensors: give a"):
        composed(tmp_path / "cache", image=image, text=text)
    as_pickle(tmp_path / "i")
    with pytest.raises(WeightsInvalid, match=r"^model\.towers\.image\.uri: .*/i holds no model\.safetensors"):
        composed(tmp_path / "cache", image=image, text=text)


def test_a_text_towers_weights_alone_are_refused_by_their_field(tmp_path: Path) -> None:
    image, text = tiny_timm_dir(tmp_path / "i").as_uri(), tiny_bert_dir(tmp_path / "t").as_uri()
    with pytest.raises(WeightsInvalid) as refused:
        composed(tmp_path / "cache", image=image, text=f"{text}/{WEIGHTS}")
    assert str(refused.value) == (
        f"model.towers.text.uri: {text}/{WEIGHTS} brings no config.json: "
        "give the uri of a folder with config.json, model.safetensors and the tokenizer's files"
    )
