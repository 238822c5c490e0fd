"""What commands take: options that would be dropped, files that would be lost, and names that are half said."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from finetune_sdk.cli.choices import check_target, model_of, source_of
from finetune_sdk.cli.main import finetune
from finetune_sdk.errors import UsageError
from finetune_sdk.storage import open_store
from finetune_trainer.data.bare import open_pictures
from finetune_trainer.pipeline import layout
from finetune_trainer.pipeline.documents import write_document
from finetune_trainer.pipeline.layout import RUN
from tests.support.command import Command
from tests.support.report_sample import run

REFUSED = {
    "a filter without data": (
        "evaluate -f run.yaml --where split=test",
        "--where split=test: it goes with --data, which is not given: add --data, or leave it out",
    ),
    "a format without data": ("evaluate -f run.yaml --format coco", "--format coco: it goes with --data"),
    "a folder of pictures without data": ("evaluate -f run.yaml --images X", "--images X: it goes with --data"),
    "a tag without a model": ("evaluate -f run.yaml --tag openai", "--tag openai: it goes with --model"),
    "neither model nor file": ("evaluate -d a.csv", "give --model and --data, or a run's file with -f"),
    "a filter given twice": (
        "evaluate -m base -d a.csv --where split=train --where split=test",
        "--where split=: it is given with train and test, and a row holds one value",
    ),
    "a tag forgotten": (
        "evaluate -m ViT-B-32-quickgelu -d a.csv",
        "no such file or folder, and for the architecture write ARCHITECTURE:TAG, as ViT-B-32-quickgelu:openai, ",
    ),
    "a tag forgotten of two models": ("compare base coca_ViT-B-32 -d a.csv", "as coca_ViT-B-32:laion2b_s13b_b90k"),
    "an architecture without tags": ("evaluate -m ViT-M-32 -d a.csv", "no weights of it are published"),
    "figures over the data": ("evaluate -m base -d a.csv -o ./a.csv", "reads a.csv, and would overwrite it"),
    "figures over the run's file": ("evaluate -f run.yaml -o run.yaml", "reads run.yaml, and would overwrite it"),
    "a filter without a column": (
        "evaluate -m base -d a.csv --where =x",
        "--where =x: write COLUMN=VALUE, such as split=test",
    ),
    "data on the web": (
        "evaluate -m base -d http://x/y.csv",
        '--data: must be a path, or a URI such as s3://bucket/folder; found "http://x/y.csv"',
    ),
    "data on the web, to begin": ("init -o new.yaml -d http://x/y.csv", '; found "http://x/y.csv"'),
    "half a URI, to begin": (
        "init -o new.yaml -d s3://",
        '--data: must be a path, or a URI such as s3://bucket/folder; found "s3://"',
    ),
    "pictures on the web": (
        "init -o new.yaml -d a.csv --images http://x/y",
        "--images: must be a path, or a URI such as",
    ),
    "a model whose tag is missing": ("compare base ViT-B-32: -d a.csv", "SECOND: weights.tag: must not be empty"),
    "a model on the web": ("compare base http://x/y -d a.csv", "SECOND: must be a path, or a URI such as"),
    "an unknown format": ("encode -m base a.csv --format cvs -o v.npy", "--format: must be one of auto, csv, "),
    "no data": ("evaluate -m base -d ''", "--data is empty, as of a variable that is not set: give a path or a URI"),
    "no data, to begin": ("init -o new.yaml -d ''", "--data is empty, as of"),
    "no model": ("evaluate -m '' -d a.csv", "--model is empty, as of"),
    "no second model": ("compare base '' -d a.csv", "SECOND is empty, as of"),
    "no folder of pictures": ("evaluate -m base -d a.csv --images ''", "--images is empty, as of"),
    "no folder of pictures, to begin": ("init -o new.yaml -d a.csv --images ''", "--images is empty, as of"),
    "no pictures": ("encode -m base '' -o v.npy", "SOURCE is empty, as of"),
    "no texts": ("encode -m base --texts '' -o v.npy", "SOURCE is empty, as of"),
    "nowhere": ("search -m base '' cat", "WHERE is empty, as of"),
    "no run": ("status ''", "URI is empty, as of"),
    "no run to report": ("report ''", "URI is empty, as of"),
    "no place for weights": ("weights fetch ViT-B-32-quickgelu:openai ''", "URI is empty, as of"),
    "figures over a model": ("compare base m.pt -d a.csv -o m.pt", "reads m.pt, and would overwrite it"),
    "vectors over the texts": (
        "encode -m base --texts mine.parquet --column caption -o mine.parquet",
        "--to mine.parquet: the command reads mine.parquet, and would overwrite it: name another file",
    ),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to type in, with files that nobody looks into."""
    for name in ("a.csv", "m.pt", "mine.parquet"):
        (tmp_path / name).write_text("as it was")
    (tmp_path / "run.yaml").write_text(
        "{apiVersion: finetune.dev/v1alpha1, kind: FinetuneRun, metadata: {name: r}, spec: {model: {weights: {uri: b}},"
        " data: {source: {uri: a.csv}}, output: {uri: out}}}"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("line", "told"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_dropped_or_lost_is_refused(here: Path, line: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        CliRunner().invoke(finetune, shlex.split(line), catch_exceptions=False)
    assert told in str(refused.value)


@pytest.mark.parametrize("uri", ["s3://bucket/v.npy", "file:///tmp/v.npy"])
@pytest.mark.parametrize(
    "line", ["evaluate -m b -d a.csv", "compare b c -d a.csv", "encode -m b pictures/", "report out/", "init -d a.csv"]
)
def test_a_uri_is_no_place_for_results(here: Path, line: str, uri: str) -> None:
    ended = CliRunner().invoke(finetune, [*shlex.split(line), "-o", uri])
    assert ended.exit_code == 2
    told = " ".join(ended.output.replace("│", " ").split())
    assert f": {uri} is a URI, and results are written to this machine: give a path" in told
    assert not [*here.glob("*:")]


def test_a_link_to_the_data_is_the_data(here: Path) -> None:
    (here / "link.csv").symlink_to("a.csv")
    with pytest.raises(UsageError, match=r"reads a\.csv, and would overwrite it"):
        check_target(Path("link.csv"), "--to", ("a.csv",))
    with pytest.raises(UsageError, match="would overwrite it"):
        check_target(Path("a.csv"), "--to", (None, f"file://{here}/a.csv"))
    check_target(Path("b.csv"), "--to", ("a.csv", "s3://bucket/b.csv", "gone.csv", "a.csv/b"))


KEPT = [value for name, value in vars(layout).items() if name.isupper() and value not in (layout.REPORT, layout.MODEL)]


@pytest.mark.parametrize("name", [*KEPT, "model/README.md", "checkpoints/step-1/a.json", "metrics/step-1.jsonl"])
def test_what_a_run_has_written_is_not_written_over(here: Path, name: str) -> None:
    """A run whose run.json is lost cannot go on; one with a result.json counts as complete."""
    (here / "out/deep").mkdir(parents=True)
    (here / "out/run.json").touch()
    path = Path("out") / name / ("a.json" if name.endswith("/") else "")
    with pytest.raises(UsageError) as refused:
        check_target(path, "--to")
    assert str(refused.value) == f"--to {path}: the run in {here}/out keeps its own there: name another file"
    for free in ("out/report.html", "out/figures.json", "out/deep/run.json", "run.json", "model/a.json"):
        check_target(Path(free), "--to")


def test_filters_of_two_columns_are_one_filter() -> None:
    assert source_of("a.csv", "auto", None, ("split=test", "kind=a=b")).where == {"split": "test", "kind": "a=b"}


@pytest.mark.parametrize("typed", ["pictures", "pictures/cat.jpg"])
def test_pictures_that_no_table_names_take_no_folder_of_images(here: Path, typed: str) -> None:
    (here / "pictures").mkdir()
    (here / "pictures/cat.jpg").touch()
    given = source_of(typed, "auto", "elsewhere", (), "SOURCE")
    with pytest.raises(UsageError, match=rf"^--images file://{here}/elsewhere: .* {typed} is no table but pictures"):
        open_pictures("SOURCE", given, typed, open_store)


def test_a_folder_may_be_called_as_an_architecture(here: Path) -> None:
    (here / "ViT-B-32").mkdir()
    weights = model_of("ViT-B-32", "--model").weights
    assert weights is not None
    assert weights.uri == (here / "ViT-B-32").as_uri()


def test_a_report_makes_its_folder(finetune: Command, tmp_path: Path) -> None:
    write_document(open_store((tmp_path / "out").as_uri()), RUN, run())
    ended = finetune(tmp_path, "report", "out/", "-o", "reports/today/report.html")
    assert (ended.code, ended.out) == (0, "reports/today/report.html\n"), ended.err
    assert (tmp_path / "reports/today/report.html").read_bytes().startswith(b"<!DOCTYPE html>")
    ended = finetune(tmp_path, "report", "out/", "-o", "out/run.json/report.html")
    assert ended.code == 2
    assert "is no folder that may be written" in ended.err
