"""The guides' recipes: each YAML of docs/guides/data finds its pictures in a folder that looks as the page says."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_sdk.runfile import load_run
from tests.integration.test_docs import blocks_of
from tests.support import picture_formats as more
from tests.support.pictures import Picture, make_pictures, write_table
from tests.support.preparing import prepared

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides" / "data"
RECIPES = {block.name: block for page in sorted(GUIDES.glob("*.md")) for block in blocks_of(page) if block.name}
SPLITS = ["train"] * 20 + ["restval"] * 2 + ["val"] * 4 + ["test"] * 4
Lay = Callable[[Path], object]


def pictures_in(folder: Path, count: int = 30, seed: int = 0) -> list[Picture]:
    return make_pictures(folder, count, seed=seed)


def karpathy(folder: Path, name: str, images: str) -> None:
    """dataset_*.json, whose filenames count from `images`."""
    pictures = pictures_in(folder / images)
    flat = [{"filename": p.name, "sentences": [{"raw": c} for c in p.captions]} for p in pictures]
    entries = [{**one, "split": split} for one, split in zip(flat, SPLITS, strict=True)]
    (folder / name).write_text(json.dumps({"images": entries, "dataset": "made"}))


def coco_2014(folder: Path) -> None:
    pictures = pictures_in(folder / "coco" / "train2014")
    path = more.write_karpathy(folder / "coco" / "dataset_coco.json", pictures, SPLITS, coco=True)
    path.rename(folder / "dataset_coco.json")


def coco_2017(folder: Path) -> None:
    (folder / "annotations").mkdir()
    for seed, name in enumerate(("train", "val")):
        pictures = pictures_in(folder / f"{name}2017", 12, seed)
        made = more.write_coco(folder / f"{name}2017" / "a.json", pictures)
        made.rename(folder / "annotations" / f"captions_{name}2017.json")


def token(folder: Path) -> None:
    pictures = pictures_in(folder / "Flicker8k_Dataset")
    (folder / "Flickr8k_text").mkdir()
    more.write_token(folder / "Flicker8k_Dataset" / "a", pictures).rename(folder / "Flickr8k_text/Flickr8k.token.txt")
    for name, first, last in (("train", 0, 22), ("dev", 22, 26), ("test", 26, 30)):
        lines = "".join(f"{picture.name}\n" for picture in pictures[first:last])
        (folder / f"Flickr8k_text/Flickr_8k.{name}Images.txt").write_text(lines)


def hub(folder: Path) -> None:
    pictures = pictures_in(folder / "pictures")
    (folder / "hub" / "data").mkdir(parents=True)
    for name, chosen in (("train", pictures[:22]), ("test", pictures[22:])):
        made = more.write_parquet(folder / name, chosen, files=1) / "part-00000-of-00001.parquet"
        shutil.copyfile(made, folder / "hub" / "data" / f"{name}-00000-of-00001.parquet")


def catalogue(folder: Path) -> None:
    lines = [
        json.dumps({"photo": picture.name, "words": picture.captions[0], "product": index // 2}) + "\n"
        for index, picture in enumerate(pictures_in(folder / "photos"))
    ]
    (folder / "catalogue.jsonl").write_text("".join(lines))


LAYOUTS: dict[str, Lay] = {
    "flickr8k.yaml": lambda folder: karpathy(folder, "dataset_flickr8k.json", "Flicker8k_Dataset"),
    "flickr8k-token.yaml": token,
    "flickr30k.yaml": lambda folder: karpathy(folder, "dataset_flickr30k.json", "flickr30k-images"),
    "coco.yaml": coco_2014,
    "coco-2017.yaml": coco_2017,
    "huggingface.yaml": hub,
    "columns.yaml": catalogue,
    "check.yaml": lambda folder: write_table(folder / "captions.csv", pictures_in(folder / "pictures")),
    "docarray.yaml": lambda folder: more.write_docarray(
        folder / "pairs.protobuf", pictures_in(folder / "pictures"), more.lz4
    ),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_finds_its_pictures(tmp_path: Path, name: str) -> None:
    LAYOUTS[name](tmp_path)
    (tmp_path / name).write_text(RECIPES[name].text)
    data = load_run(tmp_path / name).spec.data
    dataset = prepared(data, tmp_path)
    assert dataset.report.rows_bad == 0
    sizes = [len(split.images) for split in (dataset.train, dataset.validation, dataset.test)]
    if data.validation is not None:
        assert sizes == [22, 4, 4]
    else:
        assert min(sizes) >= 2
        assert sum(sizes) == 24 if name == "coco-2017.yaml" else sum(sizes) == 30
