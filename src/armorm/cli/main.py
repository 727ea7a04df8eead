"""The `armorm` command: one file a command, no logic of its own."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from armorm import __version__
from armorm.cli import terminal

app = typer.Typer(
    name="armorm",
    help="Interpretable multi-objective reward models: train, score, explain, steer, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Look at rows before training on them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
objectives_app = typer.Typer(help="Add and drop objectives of a bundle.", no_args_is_help=True)
app.add_typer(objectives_app, name="objectives")
sources_app = typer.Typer(
    help="Add and withdraw sources of ratings, without the features of the others.",
    no_args_is_help=True,
)
app.add_typer(sources_app, name="sources")


COMMANDS = (
    "demo",
    "train",
    "extract",
    "score",
    "explain",
    "label",
    "evaluate",
    "audit",
    "serve",
    "export",
    "import_",
    "data",
    "data_sets",
    "objectives",
    "sources",
)
"""Modules that add their command to `app`, in the order of --help."""


def _version(value: bool) -> bool:
    """Print the version and leave."""
    if value:
        terminal.stdout().print(f"armorm {__version__}")
        raise typer.Exit
    return value


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Interpretable multi-objective reward models: train, score, explain, steer, evaluate."""


def main() -> None:
    """Run the command line."""
    for command in COMMANDS:
        importlib.import_module(f"armorm.cli.{command}")
    terminal.run(app)
