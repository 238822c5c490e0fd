"""The command line: what it prints where, and its exit codes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from finetune_sdk.cli import main as cli
from finetune_sdk.cli.main import SUBCOMMANDS, Subcommand, finetune, main
from finetune_sdk.cli.schema import json_schema, schema_text
from finetune_sdk.errors import DataInvalid
from tests.support.specs import DATA

GOOD = str(DATA / "minimal.yaml")
Put = Callable[[Callable[[], None]], None]
COMMITTED_SCHEMA = Path(__file__).parents[2] / "crds" / "finetunerun.schema.json"


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text((DATA / "minimal.yaml").read_text().replace("output", "ouput"))
    return str(path)


@pytest.fixture
def subcommand(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a function in the place of every subcommand."""

    def put(function: Callable[[], None]) -> None:
        module = ModuleType("a_subcommand")
        vars(module)["command"] = click.command()(function)
        monkeypatch.setitem(sys.modules, "a_subcommand", module)
        monkeypatch.setattr(cli, "SUBCOMMANDS", {"run": Subcommand("a_subcommand", "")})

    return put


def raises(error: BaseException) -> Callable[[], None]:
    def function() -> None:
        raise error

    return function


def test_a_good_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-f", GOOD]) == 0
    assert capsys.readouterr() == (f"{GOOD}: ok, FinetuneRun tiny\n", "")


def test_several_files_are_all_looked_at(bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-f", bad, "-f", GOOD]) == 64
    out, err = capsys.readouterr()
    assert out == f"{GOOD}: ok, FinetuneRun tiny\n"
    assert err == f"{bad}: 1 mistake\n{bad}:7  spec.ouput: unknown key; did you mean output?\n"


def test_a_missing_file_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-f", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "nowhere.yaml does not exist: give the run's file with -f\n"


def test_standard_input_is_read() -> None:
    result = CliRunner().invoke(finetune, ["validate", "-f", "-"], input="a: 1\n")
    assert result.exit_code == 64
    assert "stdin:1  a: unknown key; a run knows apiVersion, kind, metadata, spec" in result.stderr


USAGE = {
    "no file": (["validate"], "Missing option '-f'"),
    "an unknown option": (["validate", "--fiel", "a"], "No such option"),
    "an unknown command": (["valdate"], "No such command 'valdate'. Did you mean validate?"),
    "a command like no other": (["xyz"], "No such command 'xyz'."),
}


@pytest.mark.parametrize(("arguments", "message"), USAGE.values(), ids=USAGE)
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


ENDS = {
    "an error of ours": (DataInvalid("captions.csv:3: no image"), 65, "captions.csv:3: no image\n"),
    "Ctrl-C": (KeyboardInterrupt(), 130, ""),
    "a bug": (KeyError("x"), 70, "this is a bug: KeyError: 'x'. Set FINETUNE_DEBUG=1 to see where"),
}


@pytest.mark.parametrize(("error", "code", "message"), ENDS.values(), ids=ENDS)
def test_how_a_command_ends(
    subcommand: Put, error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    subcommand(raises(error))
    assert main(["run"]) == code
    err = capsys.readouterr().err
    assert err.strip().startswith(message.strip())
    assert "Traceback" not in err


def test_a_bug_shows_where_if_asked(
    subcommand: Put, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FINETUNE_DEBUG", "1")
    subcommand(raises(KeyError("x")))
    assert main(["run"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from finetune_sdk.cli.main import main; sys.exit(main(['schema']))"
    ended = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_help_names_every_command_and_imports_none() -> None:
    code = (
        "import sys; from finetune_sdk.cli.main import main; main(['--help'])\n"
        "slow = {'pydantic', 'torch', 'ruamel', 'minio', 'rich', 'structlog', 'numpy'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [name for name in SUBCOMMANDS if f"\n  {name} " not in shown] == []


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("finetune, version ")


def test_the_committed_schema_is_the_printed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed == schema_text() == COMMITTED_SCHEMA.read_text(), (
        "run: finetune schema > crds/finetunerun.schema.json"
    )


def test_the_schema_helps_an_editor() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert '"null"' not in text
    assert '"status"' not in text
    assert schema["$defs"]["Output"]["properties"]["uri"]["format"] == "uri-reference"
    assert schema["$defs"]["Training"]["properties"]["batchSize"]["minimum"] == 2
    bare = [name for part in schema["$defs"].values() for name, field in part.get("properties", {}).items()
            if "description" not in field]  # fmt: skip
    assert bare == []
