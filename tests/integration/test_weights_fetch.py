"""`finetune weights fetch`: from a hub to storage, and used from there where no hub is."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from open_clip import pretrained

from finetune_sdk.runfile import load_run
from finetune_sdk.strict_yaml import read_yaml
from finetune_trainer.model.save import write_model
from finetune_trainer.pipeline import mirror
from tests.support.command import Command, Ended
from tests.support.minio import S3Server
from tests.support.model_hub import Hub, publish, run_hub
from tests.support.models import Kind, tiny_model
from tests.support.pictures import make_pictures, write_table

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/models.md"
FIELDS = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FinetuneRun", "metadata": {"name": "closed"}}


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder with pictures and captions."""
    folder = tmp_path / "reader"
    write_table(folder / "captions.csv", make_pictures(folder / "pictures", 24))
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with run_hub(tmp_path / "hub", monkeypatch) as running:
        yield running


def measured(finetune: Command, folder: Path, *arguments: str, **env: str) -> tuple[Ended, dict[str, Any]]:
    """`finetune evaluate` and what it wrote."""
    to = folder / "figures.json"
    to.unlink(missing_ok=True)
    ended = finetune(folder, "evaluate", *arguments, "--to", to.name, **env)
    return ended, json.loads(to.read_text())["metrics"] if to.exists() else {}


def run_file(folder: Path, printed: str) -> str:
    """What was printed, as part of a whole run.yaml."""
    document = read_yaml(printed.encode()).plain()
    document["spec"] |= {"data": {"train": {"uri": "captions.csv"}, "test": {"uri": "captions.csv"}}}
    document["spec"] |= {"output": {"uri": "output/"}}
    (folder / "run.yaml").write_text(json.dumps(FIELDS | document))
    return "run.yaml"


KINDS: dict[str, tuple[Kind, bool]] = {
    "a tokenizer of open_clip's, to files": ("clip", False),
    "tokenizer and text tower of the hub's, to a bucket": ("hf-text", True),
}


@pytest.mark.parametrize(("kind", "in_bucket"), KINDS.values(), ids=KINDS)
def test_a_fetched_model_is_measured_without_the_hub_as_by_its_tag(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    reader: Path,
    finetune: Command,
    monkeypatch: pytest.MonkeyPatch,
    kind: Kind,
    in_bucket: bool,
) -> None:
    server: S3Server | None = request.getfixturevalue("minio_server") if in_bucket else None
    env = server.environment if server else {}
    place = server.scratch() if server else "mirror of weights"
    with run_hub(tmp_path / "hub", monkeypatch) as hub:
        publish(hub.folder, "tiny", "v1", kind, monkeypatch)
        by_tag, expected = measured(finetune, reader, "--model", "tiny", "--tag", "v1", "--data", "captions.csv")
        assert by_tag.code == 0, by_tag.err
        fetched = finetune(reader, "weights", "fetch", "tiny:v1", place, **env)
    assert fetched.code == 0, fetched.err
    assert "was opened again and is the published model" in fetched.err
    ended, figures = measured(finetune, reader, "-f", run_file(reader, fetched.out), **env)
    assert ended.code == 0, ended.err
    assert figures == expected
    closed, _ = measured(finetune, reader, "--model", "tiny", "--tag", "v1", "--data", "captions.csv")
    assert closed.code == 69
    assert "model.weights.tag: 'v1' of tiny cannot be fetched" in closed.err
    assert "`finetune weights fetch tiny:v1 s3://BUCKET/weights`" in closed.err


def test_fetching_again_leaves_the_same_files(
    tmp_path: Path, hub: Hub, finetune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub.folder, "tiny", "v1", "clip", monkeypatch)
    contents = []
    for _ in range(2):
        assert finetune(tmp_path, "weights", "fetch", "tiny:v1", "mirror/").code == 0
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "mirror/tiny/v1").iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"open_clip_config.json", "open_clip_model.safetensors"}
    assert not list((tmp_path / "cache").glob(".mirror-*"))


def test_the_guides_command_prints_what_its_run_holds(
    tmp_path: Path, hub: Hub, finetune: Command, monkeypatch: pytest.MonkeyPatch, minio_server: S3Server
) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (line,) = re.findall(r"^```bash\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    (closed,) = re.findall(r"^```yaml closed.yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    program, *arguments = shlex.split(line)
    name, tag = arguments[2].split(":")
    publish(hub.folder, name, tag, "clip", monkeypatch)
    if not minio_server.client().bucket_exists("models"):
        minio_server.make_bucket("models")
    ended = finetune(tmp_path, *arguments, **minio_server.environment)
    assert (program, ended.code) == ("finetune", 0), ended.err
    (tmp_path / "closed.yaml").write_text(closed)
    shown = load_run(tmp_path / "closed.yaml").spec.model
    assert read_yaml(ended.out.encode()).plain()["spec"]["model"] == shown.model_dump(exclude_none=True)


def test_a_copy_that_is_not_the_model_is_told(
    tmp_path: Path, hub: Hub, finetune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub.folder, "tiny", "v1", "clip", monkeypatch)
    monkeypatch.setattr(mirror, "write_model", lambda *given: write_model(tiny_model(seed=5), *given[1:]))
    ended = finetune(tmp_path, "weights", "fetch", "tiny:v1", "mirror")
    assert ended.code == 70
    assert "mirror/tiny/v1 does not hold what tiny:v1 is" in ended.err
    assert ended.out == ""


def nothing(_folder: Path) -> None:
    """Leave the folder as it is."""


def file_in_place(folder: Path) -> None:
    (folder / "mirror").write_text("")


BAD: dict[str, tuple[str, Callable[[Path], None], int, str]] = {
    "an unknown architecture": ("ViT-B-23:openai", nothing, 64, "'ViT-B-23' is not one of open_clip's"),
    "an unknown tag": ("tiny:v2", nothing, 64, "'v2' is not a tag of tiny; it has v1"),
    "the other activation": ("ViT-B-32:openai", nothing, 64, "set model.name to ViT-B-32-quickgelu"),
    "nothing on the hub": ("tiny:gone", nothing, 69, "'gone' of tiny cannot be fetched (FileNotFoundError: "),
    "a file where a folder is needed": ("tiny:v1", file_in_place, 77, "mirror"),
}


@pytest.mark.parametrize(("model", "spoil", "code", "told"), BAD.values(), ids=BAD)
def test_what_cannot_be_fetched_is_told_in_a_sentence(
    hub: Hub,
    finetune: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    model: str,
    spoil: Callable[[Path], None],
    code: int,
    told: str,
) -> None:
    publish(hub.folder, "tiny", "v1", "clip", monkeypatch)
    monkeypatch.setitem(pretrained._PRETRAINED["tiny"], "gone", {"hf_hub": "tiny/gone/"})
    spoil(tmp_path)
    ended = finetune(tmp_path, "weights", "fetch", model, "mirror")
    assert ended.code == code, ended.err
    assert told in ended.err
    assert "bug" not in ended.err
    assert ended.out == ""


def test_a_bucket_that_is_not_there_is_told_before_anything_is_fetched(
    tmp_path: Path, hub: Hub, finetune: Command, monkeypatch: pytest.MonkeyPatch, minio_server: S3Server
) -> None:
    publish(hub.folder, "tiny", "v1", "clip", monkeypatch)
    ended = finetune(tmp_path, "weights", "fetch", "tiny:v1", "s3://no-such-bucket/w", **minio_server.environment)
    assert ended.code == 77, ended.err
    assert "no-such-bucket" in ended.err
    assert hub.asked == []
