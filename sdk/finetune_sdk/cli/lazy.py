"""A group of commands that are known by name and imported when they are called, so that `--help` is quick."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class Subcommand:
    """Where a subcommand is, and what `--help` says of it."""

    module: str
    help: str
    attribute: str = "command"


class LazyGroup(click.Group):
    """A click group over `entries`."""

    @property
    def entries(self) -> Mapping[str, Subcommand]:
        """Names in the order in which a newcomer meets them."""
        raise NotImplementedError

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The names of `entries`."""
        return list(self.entries)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is no command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, and names the nearest command for a misspelt one."""
        if args and args[0] not in self.entries and not args[0].startswith("-"):
            ctx.fail(self._no_such_command(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with their help, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click, without importing every command for its help."""
        names = [CompletionItem(name, help=entry.help) for name, entry in self.entries.items()]
        begun = [item for item in names if item.value.startswith(incomplete)]
        return [*begun, *click.Command.shell_complete(self, ctx, incomplete)]

    def _no_such_command(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, self.entries, n=1)
        return f"No such command {name!r}." + (f" Did you mean {near[0]}?" if near else "")
