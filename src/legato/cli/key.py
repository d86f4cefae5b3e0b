"""`legato key FILE NAME`: make an API key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from legato.cli.arguments import expand_dataclasses
from legato.server.keys import KeyLimits, make_key

FileArgument = Annotated[Path, typer.Argument(help="File of keys, for `legato serve`.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the key in logs and metrics.")]


@expand_dataclasses
def key(limits: KeyLimits, file: FileArgument, name: NameArgument) -> None:
    """Make an API key for `legato serve --api-key-file`.

    It is printed once; FILE gets its hash and its limits.
    """
    print(make_key(file, name, limits))
