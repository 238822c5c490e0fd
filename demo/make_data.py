"""Make the demo's shards in demo/data: run once by a maintainer, with `npm pack`'s files of the four packages.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 emojibase-data@17.0.0 openmoji@17.0.0
    pip install resvg-py
    python demo/make_data.py FOLDER

One emoji is one concept: its drawings by all three artists are on one side of the split, so neither run ever sees, in
any style, what it is tested on. Emoji that look alike (by the trainer's own rule) stay together too.
"""

import argparse
import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from finetune_trainer.data.hashing import dhash, near_pairs, tells

DRAWN = ("google", "twitter")
TARGET = "openmoji"
PIXELS = 128
TEST, VALIDATION = 330, 110
LEFT_OUT = (None, 2, 9)
"""emojibase's groups of single letters, of hair and skin, and of flags: nothing that words describe."""
GENDERED = re.compile(r"200D-264[02]|^1F46[89]-200D")
"""Codes of 'man ...' and 'woman ...', where the same without gender is there too."""
TAGS = 5
"""Tags of a caption, so that it stays within the text tower's 25 tokens."""
CROWD = 50
"""A set of look-alikes larger than this (the faces) is for training."""


@dataclass(frozen=True)
class Emoji:
    """One emoji with its drawings."""

    code: str
    captions: tuple[str, ...]
    drawings: Mapping[str, bytes]
    """By artist, WebP on white."""


def read_emoji(folder: Path) -> list[Emoji]:
    """Every emoji that all artists drew, in emojibase's order."""
    drawn = {artist: _read_png(_package(folder, f"emoji-datasource-{artist}"), artist) for artist in DRAWN}
    vectors = _members(_package(folder, TARGET), r"package/color/svg/(.*)\.svg")
    drawn[TARGET] = {_plain(code): svg for code, svg in vectors.items()}
    entries = json.loads(
        _members(_package(folder, "emojibase-data"), r"(package/en/data\.json)")["package/en/data.json"]
    )
    found = []
    for entry in entries:
        code = _plain(entry["hexcode"])
        wanted = entry.get("group") not in LEFT_OUT and not GENDERED.search(code)
        if wanted and all(code in pictures for pictures in drawn.values()):
            drawings = {artist: _encode(pictures[code]) for artist, pictures in drawn.items()}
            found.append(Emoji(code.lower(), captions_of(entry["label"], entry.get("tags", [])), drawings))
    return found


def captions_of(label: str, tags: list[str]) -> tuple[str, ...]:
    """The label alone, and with the tags that say more: ('carrot', 'carrot: food, vegetable')."""
    said = set(re.findall(r"[a-z]+", label.lower()))
    more = [tag for tag in tags if re.search(r"[A-Za-z]{2}", tag) and tag.lower() not in said][:TAGS]
    return (label, f"{label}: {', '.join(more)}") if more else (label,)


def split_emoji(emoji: list[Emoji]) -> dict[str, list[Emoji]]:
    """Test, validation, train: look-alikes together, in the order of their codes' hashes."""
    sets = sorted(look_alikes(emoji), key=lambda group: hashlib.sha256(emoji[group[0]].code.encode()).hexdigest())
    parts: dict[str, list[int]] = {"test": [], "validation": [], "train": []}
    for group in sets:
        open_parts = [name for name, size in (("test", TEST), ("validation", VALIDATION)) if len(parts[name]) < size]
        parts[(open_parts or ["train"])[0] if len(group) <= CROWD else "train"] += group
    return {name: [emoji[index] for index in sorted(indices)] for name, indices in parts.items()}


def look_alikes(emoji: list[Emoji]) -> list[list[int]]:
    """Indices in sets: whatever the trainer would call near duplicates, in any style, is in one set."""
    parent = list(range(len(emoji)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for artists in (DRAWN, (TARGET,)):  # what one run sees
        owner = np.array([index for index in range(len(emoji)) for _ in artists])
        hashes = np.array([_hash(each.drawings[artist]) for each in emoji for artist in artists], np.uint64)
        telling = np.flatnonzero(tells(hashes))
        for one, other in owner[telling[near_pairs(hashes[telling], hashes[telling])]].tolist():
            low, high = sorted((root(one), root(other)))
            parent[high] = low
    groups: dict[int, list[int]] = {}
    for index in range(len(emoji)):
        groups.setdefault(root(index), []).append(index)
    return list(groups.values())


def write_shards(parts: dict[str, list[Emoji]], folder: Path) -> None:
    """drawn/ with both artists (in test and validation by turns), openmoji/ with the style to learn."""
    for name, emoji in parts.items():
        both = [(artist, each) for each in emoji for artist in DRAWN]
        by_turns = [(DRAWN[place % 2], each) for place, each in enumerate(emoji)]
        _write_shard(folder / "drawn" / f"{name}.tar.gz", both if name == "train" else by_turns)
        _write_shard(folder / TARGET / f"{name}.tar.gz", [(TARGET, each) for each in emoji])


def _write_shard(path: Path, samples: Iterable[tuple[str, Emoji]]) -> None:
    """The same bytes each time: no dates, no owners."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for artist, each in samples:
            text = "".join(f"{caption}\n" for caption in each.captions)
            for ending, data in (("webp", each.drawings[artist]), ("txt", text.encode())):
                member = tarfile.TarInfo(f"{artist}-{each.code}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def _package(folder: Path, name: str) -> Path:
    return next(folder.glob(f"{name}-[0-9]*.tgz"))


def _members(archive: Path, pattern: str) -> dict[str, bytes]:
    """The contents of the members that match, by the pattern's group."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            match = re.fullmatch(pattern, member.name)
            file = tar.extractfile(member) if match else None
            if match and file is not None:
                found[match[1]] = file.read()
    return found


def _read_png(archive: Path, artist: str) -> dict[str, bytes]:
    pictures = _members(archive, rf"package/(emoji\.json|img/{artist}/64/.*\.png)")
    entries = json.loads(pictures["emoji.json"])
    return {
        _plain(entry["unified"]): pictures[f"img/{artist}/64/{entry['image']}"]
        for entry in entries
        if entry[f"has_img_{artist}"]
    }


def _plain(code: str) -> str:
    """Without the variation selector, which packages write or leave out."""
    return code.replace("-FE0F", "")


def _encode(data: bytes) -> bytes:
    """PNG, or SVG drawn at PIXELS, as WebP on white; what is drawn in few colours loses nothing."""
    is_png = data.startswith(b"\x89PNG")
    if not is_png:
        import resvg_py

        data = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), width=PIXELS, height=PIXELS))
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    encoded = io.BytesIO()
    white.convert("RGB").save(encoded, "WEBP", method=6, lossless=not is_png, quality=90)
    return encoded.getvalue()


def _hash(picture: bytes) -> int:
    return dhash(np.array(Image.open(io.BytesIO(picture)).convert("RGB")))


def main() -> None:
    """Read the packages, write the shards, say what there is."""
    parser = argparse.ArgumentParser(description="Make the demo's shards.")
    parser.add_argument("packages", type=Path, help="the folder with the four .tgz files")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    parts = split_emoji(read_emoji(arguments.packages))
    write_shards(parts, arguments.output)
    print({name: len(emoji) for name, emoji in parts.items()})


if __name__ == "__main__":
    main()
