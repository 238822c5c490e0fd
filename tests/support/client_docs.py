"""docs/reference/kubectl-finetune.md from the commands, and docs/reference/python-client.md from the client's text."""

import inspect
import re
from collections.abc import Iterator

import click

from finetune_sdk import client
from finetune_sdk.cli.kubectl import SUBCOMMANDS, kubectl_finetune
from finetune_sdk.client import RunClient, errors
from finetune_sdk.client.testing import FakeRunClient

KUBECTL_HEAD = """# Every command of kubectl finetune

Generated from `sdk/finetune_sdk/cli/cluster`; `make schema` writes it again. How it is used: [the
guide](../guides/kubectl-finetune.md). All commands but `completion` take `-n`, `--context` and `--kubeconfig`.
"""
CLIENT_HEAD = """# The Python client

Generated from `sdk/finetune_sdk/client`; `make schema` writes it again. How it is used: [the
guide](../guides/python-client.md). `FinetuneRun` and its parts: [every field](run-yaml.md).
"""
SHARED = ("namespace", "context", "kubeconfig", "help")
VALUES = (client.RunChange, client.LogLine, client.Deleted, client.StorageKeys)


def kubectl_text() -> str:
    """The page of the commands."""
    return "\n".join([KUBECTL_HEAD, *(_command(name, command) for name, command in _commands())])


def client_text() -> str:
    """The page of the client."""
    parts = [CLIENT_HEAD, *_class(RunClient, inherited=True)]
    for kind in VALUES:
        parts += _class(kind, inherited=False)
    parts += ["## Errors\n", f"```text\n{_tree()}\n```\n"]
    return "\n".join([*parts, *_class(FakeRunClient, inherited=False)])


def _commands() -> Iterator[tuple[str, click.Command]]:
    with click.Context(kubectl_finetune) as context:
        for name in SUBCOMMANDS:
            command = kubectl_finetune.get_command(context, name)
            if isinstance(command, click.Group):
                yield from ((f"{name} {inner}", below) for inner, below in command.commands.items())
            elif command is not None:
                yield name, command


def _command(name: str, command: click.Command) -> str:
    arguments = "".join(f" {one.metavar or (one.name or '').upper()}" for one in command.params if _is_argument(one))
    lines = [f"## kubectl finetune {name}{arguments}\n", _paragraphs(command.help or "")]
    options = [one for one in command.params if isinstance(one, click.Option) and one.name not in SHARED]
    if options:
        lines += ["| option | what |", "|---|---|", *(_option(one) for one in options), ""]
    return "\n".join(lines)


def _is_argument(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument)


def _option(option: click.Option) -> str:
    kind = option.type
    value = option.metavar or (
        "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name.upper()
    )
    names = ", ".join(option.opts) + ("" if option.is_flag else f" {value}")
    default = f" Default: `{option.default}`." if option.show_default else ""
    text = re.sub(r"(?:^|\s+)\[default: (.*)\]$", r" Default: \1.", option.help or "").strip()
    text = text if text.endswith((".", ")")) else f"{text}."
    return f"| `{_cell(names)}` | {_cell(text + default)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _paragraphs(text: str) -> str:
    """click's \\b paragraphs are shown as they are, others flow."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            parts.append("```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```")
        else:
            parts.append(" ".join(paragraph.split()))
    return "\n\n".join(parts) + "\n"


def _class(kind: type, *, inherited: bool) -> list[str]:
    """A class with its public methods, or a value with its fields."""
    lines = [f"## {kind.__name__}\n", inspect.cleandoc(kind.__doc__ or "") + "\n"]
    if kind in VALUES:
        found = _FIELD.findall(inspect.getsource(kind))
        rows = [f"| `{name}` | `{_cell(written)}` | {_cell(' '.join(text.split()))} |" for name, written, text in found]
        return [*lines, "\n".join(["| field | type | what |", "|---|---|---|", *rows]) + "\n"]
    members = dict(inspect.getmembers(kind) if inherited else vars(kind))
    methods = {name: one for name, one in members.items() if inspect.isfunction(one) and one.__doc__}
    for name, method in sorted(methods.items(), key=lambda one: one[1].__code__.co_firstlineno):
        if name == "__init__" or not name.startswith("_"):
            title = kind.__name__ if name == "__init__" else name
            lines += [f"### {title}\n", f"```text\n{title}{_signature(method)}\n```\n"]
            lines.append(_text(method.__doc__ or ""))
    return lines


_FIELD = re.compile(r'^    (\w+): ([^\n=]+?)(?: = [^\n]+)?(?:\n    """(.*?)""")?$', re.MULTILINE | re.DOTALL)


def _text(docstring: str) -> str:
    """`Raises:` as a list."""
    text = inspect.cleandoc(docstring)
    return re.sub(r"^    (\S)", r"- \1", text, flags=re.MULTILINE).replace("Raises:\n-", "Raises:\n\n-") + "\n"


def _signature(function: object) -> str:
    """Parameters and types as written, self left out, a line each where it gets long."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    kept = [one for one in signature.parameters.values() if one.name != "self"]
    text = str(signature.replace(parameters=kept))
    text = re.sub(r"\b(?:finetune_sdk|collections|datetime|pathlib)(?:\.\w+)*\.(\w+)", r"\1", text)
    text = text.replace(" -> None", "") if text.endswith(" -> None") else text
    if len(text) <= 100:
        return text
    inside, _, result = text[1:].rpartition(")")
    parts = re.split(r", (?![^\[(]*[\])])", inside)
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _tree() -> str:
    return inspect.cleandoc((errors.__doc__ or "").partition("\n\n")[2].split("\n\n")[0])
