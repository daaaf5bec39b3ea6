"""Options that every command has."""

from pathlib import Path
from typing import Annotated

import typer

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings", metavar="FILE", help="Settings file; conf/local.yaml where there is one.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]
# Acted on where errors are shown, in main.
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]
