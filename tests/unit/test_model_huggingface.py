"""Which models are a CLIPModel of transformers', and what transformers' parts of it are."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from finetune_sdk.api.exportable import HUGGINGFACE
from finetune_sdk.errors import InvalidSpec
from finetune_trainer.model.architectures import architecture_config
from finetune_trainer.model.clip import Preprocess
from finetune_trainer.model.huggingface import (
    check_huggingface,
    clip_tokenizer,
    huggingface_misfit,
    image_processor,
    write_huggingface,
)
from finetune_trainer.pipeline.exporting import check_exports
from tests.support.catalogue import EXPORTABLE, exportable_text
from tests.support.models import Kind, tiny_model

MISFITS: dict[Kind, str] = {
    "resnet": "its image tower is a ResNet",
    "siglip": "it has init_logit_bias",
    "coca": "it has multimodal_cfg",
    "hf-text": r"text_cfg.hf_model_name is \.",
    "composed": "vision_cfg.timm_model_name is test_efficientnet",
}


@pytest.mark.parametrize(("kind", "why"), MISFITS.items(), ids=MISFITS)
def test_what_is_no_clip_model_is_refused_with_the_reason(tmp_path: Path, kind: Kind, why: str) -> None:
    model = tiny_model(kind, folder=tmp_path)
    with pytest.raises(InvalidSpec, match=rf"tiny-{kind} cannot be a Hugging Face CLIPModel, as {why}: remove hugg"):
        check_exports(model, ["open_clip", "huggingface"])
    check_exports(model, ["open_clip", "onnx"])


def test_padded_pictures_are_refused() -> None:
    model = tiny_model("clip")
    model.preprocess = replace(model.preprocess, resize_mode="longest")
    with pytest.raises(InvalidSpec, match="padded to a square"):
        check_huggingface(model)


NAMES = {
    "RN50": "its image tower is a ResNet",
    "ViT-M-16-alt": "vision_cfg.ls_init_value is 0.0001",
    "ViT-B-16-SigLIP": "it has init_logit_bias",
    "ViT-H-14-worldwide": "text_cfg.hf_tokenizer_name is facebook/xlm-v-base",
    "ViT-B-32-quickgelu": None,
    "ViT-B-16-plus-240": None,
}


@pytest.mark.parametrize(("name", "why"), NAMES.items(), ids=NAMES)
def test_built_in_architectures(name: str, why: str | None) -> None:
    assert huggingface_misfit(architecture_config(name)) == why


def test_the_api_knows_the_31_architectures_that_fit() -> None:
    text = exportable_text()
    assert EXPORTABLE.read_text(encoding="utf-8") == text, "run python -m tests.support.catalogue"
    assert text.count("ViT-") == 31


def test_the_guide_lists_them() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/guides/exports.md").read_text(encoding="utf-8")
    listed = guide.partition("what stands in the way:")[2].partition("## ONNX")[0]
    assert [name.strip() for name in listed.strip().rstrip(".").split(",")] == list(HUGGINGFACE)


CAPTIONS = ["a photo of a cat", "", "don't STOP:  3 dogs", "Zwei Hunde & ein rotes Auto!", "日本 😀", "word " * 200]


def test_the_tokenizer_reads_as_open_clips() -> None:
    ours = tiny_model("clip").tokenize(CAPTIONS)
    read = clip_tokenizer(ours.shape[1])(CAPTIONS, padding="max_length", truncation=True, return_tensors="pt")
    assert torch.equal(read["input_ids"].masked_fill(read["attention_mask"] == 0, 0), ours)


MODES = {
    "cropped": Preprocess((32, 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bicubic", "shortest"),
    "squashed, bilinear": Preprocess((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear", "squash"),
}


@pytest.mark.parametrize("preprocess", MODES.values(), ids=MODES)
def test_the_processor_prepares_pictures_as_open_clip_but_for_rounding(preprocess: Preprocess) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((120, 90))
    ours = image_transform_v2(PreprocessCfg(**asdict(preprocess)), is_train=False)(picture)
    theirs = image_processor(preprocess)(picture, return_tensors="pt")["pixel_values"][0]
    one_grey_step = 1 / 255 / min(preprocess.std)
    assert float((ours - theirs).abs().max()) <= 1.01 * one_grey_step
    assert float((ours - theirs).abs().mean()) < 0.01 * one_grey_step


def both_ways(size: tuple[int, int], side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """White noise of `size` (width, height), cropped to `side` by open_clip and by the processor: in grey levels."""
    preprocess = Preprocess((side, side), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "shortest")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    ours = image_transform_v2(PreprocessCfg(**asdict(preprocess)), is_train=False)(picture)
    theirs = image_processor(preprocess)(picture, return_tensors="pt")["pixel_values"][0]
    return ours * 127.5, theirs * 127.5


def a_pixel_earlier(pair: tuple[torch.Tensor, torch.Tensor], size: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """What both crops share where the processor's lies a pixel further to the left or to the top."""
    ours, theirs = pair
    along, kept = (2 if size[0] > size[1] else 1), ours.shape[-1] - 1
    return ours.narrow(along, 0, kept), theirs.narrow(along, 1, kept)


@pytest.mark.parametrize("excess", range(12))
@pytest.mark.parametrize("wide", [True, False], ids=["wide", "tall"])
def test_the_processor_crops_a_pixel_earlier_where_the_guide_says_so(excess: int, wide: bool) -> None:
    """`excess` is by how much the longer side is above the crop once the picture is resized."""
    size = (2 * (32 + excess), 64) if wide else (64, 2 * (32 + excess))
    ours, theirs = both_ways(size, 32)
    if excess in (3, 7, 11):
        assert float((ours - theirs).abs().max()) > 50
        ours, theirs = a_pixel_earlier((ours, theirs), size)
    assert float((ours - theirs).abs().max()) < 1.01


SIZES = {"640x427": True, "427x640": True, "107x80": True, "500x375": False, "226x570": False, "225x224": False}


@pytest.mark.parametrize(("name", "earlier"), SIZES.items(), ids=SIZES)
def test_other_pixels_differ_by_what_the_guide_says(name: str, earlier: bool) -> None:
    width, height = map(int, name.split("x"))
    pair = both_ways((width, height), 224)
    ours, theirs = a_pixel_earlier(pair, (width, height)) if earlier else pair
    off = (ours - theirs).abs()
    assert float((off > 1.01).float().mean()) < 0.03
    assert float(off.max()) < 30


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_huggingface(tiny_model("clip"), tmp_path / name)
    contents = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b")]
    assert contents[0] == contents[1]
