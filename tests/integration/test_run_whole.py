"""A whole run through its public door: what it leaves, what it prints, and what it does when it is asked again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.minio import S3Server
from tests.support.pictures import make_pictures, write_folder, write_table, write_webdataset
from tests.support.runs import digests, environment, make_run, outcome

LEFT_BY_A_RUN = {
    "evaluation/after.json",
    "evaluation/after.safetensors",
    "evaluation/before.json",
    "evaluation/before.safetensors",
    "evaluation/examples.json",
    "logs/attempt-1.jsonl",
    "metrics.jsonl",
    "model/README.md",
    "model/open_clip_config.json",
    "model/open_clip_model.safetensors",
    "owner.json",
    "prepare.json",
    "progress.json",
    "report.html",
    "result.json",
    "run.json",
    "select.json",
}


def left_in(output: Path) -> set[str]:
    """What lies there beside checkpoints, metrics and events, whose steps depend on the course of validation."""
    names = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("checkpoints/", "metrics/", "tensorboard/"))}


def test_a_run_leaves_model_report_and_figures_and_says_so(finetune: Command, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    ended = finetune(tmp_path, "run", "-f", run)
    output = tmp_path / "output-run"
    assert ended.code == 0, ended.err
    assert left_in(output) == LEFT_BY_A_RUN
    assert "image_retrieval_recall@5 *" in ended.out
    assert f"{(output / 'report.html').as_uri()}" in ended.out
    assert "train" not in ended.out, "progress goes to stderr"
    before, after = (json.loads((output / f"evaluation/{name}.json").read_bytes()) for name in ("before", "after"))
    assert before["queriesDigest"] == after["queriesDigest"]
    assert before["metrics"].keys() == after["metrics"].keys() == outcome(output)["changes"].keys()


def test_a_complete_run_is_told_again_at_once_and_nothing_changes(finetune: Command, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    first = finetune(tmp_path, "run", "-f", run)
    was = {path: path.stat().st_mtime_ns for path in (tmp_path / "output-run").rglob("*")}
    again = finetune(tmp_path, "run", "-f", run)
    assert (again.code, again.out) == (0, first.out)
    assert "this run is complete" in again.err
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "output-run").rglob("*")} == was


def test_one_picture_set_in_every_format_gives_the_same_figures(finetune: Command, tmp_path: Path) -> None:
    make_run(tmp_path)
    pictures = make_pictures(tmp_path / "set", 60)
    write_table(tmp_path / "set.csv", pictures)
    write_table(tmp_path / "set.tsv", pictures, delimiter="\t", newline="\r\n", bom=True)
    write_folder(tmp_path / "folder", pictures)
    write_webdataset(tmp_path / "shards", pictures)
    documents = {}
    for source in ("set.csv", "set.tsv", "folder", "shards"):
        ended = finetune(tmp_path, "evaluate", "-m", "base", "-d", source, "-o", "figures.json")
        assert ended.code == 0, ended.err
        documents[source] = json.loads((tmp_path / "figures.json").read_bytes())
    assert all(document == documents["set.csv"] for document in documents.values()), documents


def test_a_run_on_minio_leaves_the_same_objects_as_on_files(
    finetune: Command, tmp_path: Path, minio_server: S3Server
) -> None:
    here = finetune(tmp_path, "run", "-f", make_run(tmp_path))
    prefix = minio_server.scratch()
    on_s3 = make_run(tmp_path, name="remote", output={"uri": prefix})
    there = finetune(tmp_path, "run", "-f", on_s3, **minio_server.environment)
    assert (here.code, there.code) == (0, 0), there.err
    bucket, _, folder = prefix.removeprefix("s3://").partition("/")
    copied = tmp_path / "copied"
    client = minio_server.client()
    for entry in client.list_objects(bucket, folder + "/", recursive=True):
        assert entry.object_name is not None
        client.fget_object(bucket, entry.object_name, str(copied / entry.object_name.removeprefix(folder + "/")))
    assert left_in(copied) == LEFT_BY_A_RUN
    assert digests(copied) == digests(tmp_path / "output-run")


def test_the_reports_command_reproduces_the_number_with_clip_benchmark(finetune: Command, tmp_path: Path) -> None:
    run = make_run(tmp_path, images=150)
    assert finetune(tmp_path, "run", "-f", run).code == 0
    output = tmp_path / "output-run"
    commands = json.loads((output / "result.json").read_bytes())
    script = reproduce_script(output)
    tools = Path(sys.executable).parent
    env = environment(tmp_path, PATH=f"{tools}:/usr/bin:/bin", FINETUNE_DEVICE="cpu", CUDA_VISIBLE_DEVICES="")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=env, check=True, capture_output=True, timeout=300)
    theirs = json.loads((tmp_path / "test-shards/clip_benchmark.json").read_bytes())["metrics"]
    assert theirs == {metric: change["after"] for metric, change in commands["changes"].items()}


def reproduce_script(output: Path) -> str:
    """The commands as report.html shows them."""
    from html import unescape

    page = (output / "report.html").read_text(encoding="utf-8")
    section = page.partition('id="reproduce"')[2]
    return unescape(section.partition("<code>")[2].partition("</code>")[0])


@pytest.mark.parametrize("folder", ["plain", "with space", "ünïcode #1 100%"])
def test_any_folder_name_works(finetune: Command, tmp_path: Path, folder: str) -> None:
    run = make_run(tmp_path / folder, images=24, training={"steps": 2, "batchSize": 8})
    ended = finetune(tmp_path, "run", "-f", run)
    assert ended.code == 0, ended.err
    status = finetune(tmp_path, "status", tmp_path / folder / "output-run")
    assert status.code == 0, status.err
    assert "done" in status.out
