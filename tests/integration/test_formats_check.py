"""`finetune run --check`: tells what is wrong with the data and what a run will take, and leaves nothing behind."""

import shutil
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.runs import make_run

IMAGES = 60


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures for training, 20 for the test, one more that leaks, a broken one, and a caption that is too long."""
    folder = tmp_path_factory.mktemp("sound")
    make_run(folder, images=IMAGES)
    pictures = folder / "pictures"
    shutil.copyfile(pictures / "picture-00002.jpg", pictures / "leak.jpg")
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff no jpeg")
    with (folder / "captions.csv").open("a") as table:
        table.write("pictures/leak.jpg,a copy of a test picture,train\n")
        table.write("pictures/broken.jpg,nothing,train\n")
        table.write(f"pictures/picture-00000.jpg,{'word ' * 200}end,train\n")
    text = (folder / "run.yaml").read_text().replace('"data": {', '"data": {"maxBadFraction": 0.05,')
    (folder / "run.yaml").write_text(text)
    return folder


def test_what_is_wrong_and_what_it_takes_is_told_and_nothing_is_left(
    finetune: Command, tmp_path: Path, sound: Path
) -> None:
    shutil.copytree(sound, tmp_path / "run")
    ended = finetune(tmp_path / "run", "run", "--check", "-f", "run.yaml")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert "bad rows: 1 of 62 are left out" in lines
    assert any(line.startswith("  captions.csv:123: ") for line in lines)
    assert "leakage: 1 picture also in validation or test, or nearly alike: dropped from train" in lines
    assert "  captions.csv:122 is captions.csv:6 of test (bytes)" in lines
    assert any(line.startswith("captions cut: 1 of ") for line in lines)
    told = {line.split("  ")[0]: line for line in lines}
    assert "12 steps of 16 pairs" in told["time"]
    assert "at 16 pairs at once" in told["memory"]
    assert "under output.uri" in told["disk"]
    assert not (tmp_path / "run" / "output-run").exists()


def test_a_run_after_it_reads_no_picture_again(finetune: Command, tmp_path: Path, sound: Path) -> None:
    shutil.copytree(sound, tmp_path / "run")
    assert finetune(tmp_path / "run", "run", "--check", "-f", "run.yaml").code == 0
    ended = finetune(tmp_path / "run", "run", "-f", "run.yaml")
    assert ended.code == 0, ended.err
    again = finetune(tmp_path / "run", "run", "--check", "-f", "run.yaml")
    assert again.code == 0
    assert "output.uri holds an attempt of this run: finetune run goes on with it" in again.out


REFUSED = {
    "bad data": ('"maxBadFraction": 0.05', '"maxBadFraction": 0.001', 65, "captions.csv:123: "),
    "a batch above the data": ('"batchSize": 16', '"batchSize": 160', 64, "training.batchSize: 160 pairs, but only"),
    "a split that is not there": ('"split": "test"', '"split": "tset"', 65, "no row has split = tset (met: "),
    "an output that is a file": ('"output-run', '"captions.csv', 64, "/captions.csv is a file: name a folder"),
    "an output in no bucket": ('"output-run', '"s3://a..b/run', 64, "output.uri: 'a..b' is no bucket's name"),
    "another run's output": ('"name": "run"', '"name": "run"', 78, "thesis.docx"),
}


@pytest.mark.parametrize(("old", "new", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_what_would_end_the_run_ends_the_check(
    finetune: Command, tmp_path: Path, sound: Path, old: str, new: str, code: int, message: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(sound, folder)
    text = (folder / "run.yaml").read_text()
    assert old in text
    (folder / "run.yaml").write_text(text.replace(old, new))
    if code == 78:
        (folder / "output-run").mkdir()
        (folder / "output-run" / "thesis.docx").write_bytes(b"")
    ended = finetune(folder, "run", "--check", "-f", "run.yaml")
    assert ended.code == code, ended.err
    assert message in ended.err
    assert ended.out == ""
