"""Completion of `kubectl finetune`, and what starting it imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from finetune_sdk.cli.kubectl import SUBCOMMANDS, complete
from finetune_sdk.client.testing import FakeRunClient
from tests.support.client_contract import a_run
from tests.support.kubectl_command import Kubectl


@pytest.fixture
def kubectl(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Kubectl:
    fake = FakeRunClient(namespace="team-a")
    for name in ("flowers", "flora", "trees"):
        fake.create(a_run(name))
    return Kubectl(monkeypatch, capfd, fake)


def completed(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: str) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-finetune", *words])
    capfd.readouterr()
    assert complete() == 0
    return [line.partition("\t")[0] for line in capfd.readouterr().out.splitlines()]


def test_kubectl_is_told_commands_options_and_names(
    kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert completed(monkeypatch, capfd, "") == [*SUBCOMMANDS, ":4"]
    assert completed(monkeypatch, capfd, "st") == ["status", "storage", ":4"]
    assert completed(monkeypatch, capfd, "storage", "") == ["create", ":4"]
    assert completed(monkeypatch, capfd, "status", "fl") == ["flora", "flowers", ":4"]
    assert completed(monkeypatch, capfd, "delete", "flora", "t") == ["trees", ":4"]
    assert completed(monkeypatch, capfd, "status", "-n", "nobody", "") == [":4"]
    assert "--follow" in completed(monkeypatch, capfd, "logs", "--f")
    assert completed(monkeypatch, capfd, "report", "flora", "-o", "") == [":0"]


def test_without_a_cluster_nothing_is_completed_and_nothing_complained(tmp_path: Path) -> None:
    code = "import sys; from finetune_sdk.cli.kubectl import complete; sys.exit(complete())"
    env = {"KUBECONFIG": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code, "status", ""], capture_output=True, text=True, env=env, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, ":4\n", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(kubectl: Kubectl, shell: str) -> None:
    script = kubectl("completion", shell).out
    assert f"_KUBECTL_FINETUNE_COMPLETE={shell}_complete" in script
    assert "kubectl-finetune" in script
    assert kubectl("completion", "tcsh").code == 2


def test_bash_itself_completes(kubectl: Kubectl, tmp_path: Path) -> None:
    """bash reads the script, which calls the program for each word."""
    program = tmp_path / "kubectl-finetune"
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom finetune_sdk.cli.kubectl import main\nsys.exit(main())\n")
    program.chmod(0o755)
    (tmp_path / "script").write_text(kubectl("completion", "bash").out)
    lines = (
        f"source {tmp_path}/script; COMP_WORDS=(kubectl-finetune re); COMP_CWORD=1; "
        "_kubectl_finetune_completion kubectl-finetune; printf '%s ' ${COMPREPLY[@]}"
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", lines],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=False,
    )
    assert done.stdout.split() == ["report", "resume", "retry"], done.stderr


SLOW = "{'kubernetes', 'pydantic', 'ruamel', 'minio', 'torch', 'urllib3', 'yaml'}"


def test_help_and_completion_of_commands_import_nothing_slow() -> None:
    code = (
        "import sys; from finetune_sdk.cli.kubectl import main, completions; main(['--help']); completions([], '')\n"
        f"assert not {SLOW} & set(sys.modules), {SLOW} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_client_and_its_fake_need_no_kubernetes(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("{}")
    code = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from finetune_sdk.client.testing import FakeRunClient\nfrom finetune_sdk.client import RunClient\n"
        "FakeRunClient().list()\nfrom finetune_sdk.cli.kubectl import main\nsys.exit(main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "runs on a cluster need the package kubernetes: pip install 'finetune-operator[cluster]'\n"
