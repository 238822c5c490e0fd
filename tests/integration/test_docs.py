"""Every command and every run.yaml of the docs is run: in a folder that looks as a reader's would."""

import itertools
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from finetune_sdk.runfile import load_run
from finetune_sdk.strict_yaml import read_yaml
from tests.support.command import Command
from tests.support.models import tiny_open_clip_dir
from tests.support.pictures import make_pictures, write_table

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[ ]?([\w./-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Z_]+=")
"""A variable before a command, for it alone."""
ELSEWHERE = ("make ", "git ", "cd ", "open ")
"""Commands that the test command itself is, or that need no test."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file name after it, its text."""

    language: str
    name: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder with pictures, captions with splits, and a model."""
    pictures = make_pictures(tmp_path / "pictures", 90)
    split = ["test" if index % 3 == 2 else "train" for index in range(90)]
    write_table(tmp_path / "captions.csv", pictures, split=split)
    tiny_open_clip_dir(tmp_path / "base")
    return tmp_path


def write_run(path: Path, text: str) -> None:
    """The page's file, but with a tiny model and two steps: published weights need a network and minutes."""
    path.write_text(text)
    load_run(path)
    document = read_yaml(path.read_bytes()).plain()
    document["spec"]["model"] = {"weights": {"uri": "base/"}}
    document["spec"]["training"] = {"steps": 2, "batchSize": 8}
    document["spec"].get("evaluation", {}).pop("gate", None)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("page", [page for page in PAGES if "decisions" not in page.parts], ids=lambda page: page.stem)
def test_a_pages_files_and_commands_work(page: Path, finetune: Command, reader: Path) -> None:
    write_run(reader / "run.yaml", (ROOT / "docs/guides/gate.md").read_text().split("```")[1].partition("\n")[2])
    for block in blocks_of(page):
        if block.language == "yaml" and block.name:
            write_run(reader / block.name, block.text)
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                run_line(line, finetune, reader)


def run_line(line: str, finetune: Command, folder: Path) -> None:
    command = line.partition("#")[0].strip()
    if not command or command.startswith(ELSEWHERE):
        return
    words = shlex.split(command.partition(">")[0])
    env = dict(word.split("=", 1) for word in itertools.takewhile(ASSIGNMENT.match, words))
    words = words[len(env) :]
    assert words[0] == "finetune", f"a command that no test runs: {line}"
    if "output/" in words and not (folder / "output/result.json").exists():
        assert finetune(folder, "run", "-f", "run.yaml").code == 0
    ended = finetune(folder, *words[1:], **env)
    assert ended.code == 0, f"{line}: {ended.err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_sound(path: Path) -> None:
    load_run(path)
