"""Places on this machine, as options and arguments take them."""

import os
from pathlib import Path
from typing import Any

import click


class LocalPath(click.Path):
    """A file or folder to be written here. A URI is refused: as a path, it would become a folder named s3: here."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True, allow_dash: bool = False) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, allow_dash=allow_dash, path_type=Path)

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. Raises click.BadParameter."""
        if "://" in os.fspath(value):
            self.fail(f"{value} is a URI, and results are written to this machine: give a path", param, ctx)
        return super().convert(value, param, ctx)
