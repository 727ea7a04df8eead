"""`armorm extract`: the features of a recipe, alone or shared out to many processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.terminal import OptionError
from armorm.cli.train import Overrides, RecipeFile, RunFolder

if TYPE_CHECKING:
    from armorm.features.blocks import Shard


@app.command()
def extract(
    recipe: RecipeFile,
    output: RunFolder = None,
    set_: Overrides = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="i/n", help="Only the i-th of n parts; torchrun sets it by itself."),
    ] = None,
) -> None:
    """Extract the features of a recipe into its run folder, where `train` finds them.

    Give every process the same recipe and folder and another --shard, or start them with
    `torchrun --no-python armorm extract RECIPE`, which also gives each its own GPU. All of
    them leave the bytes that one process would have left; after a kill the same command
    continues.
    """
    from armorm.train.extract import extract as run
    from armorm.train.recipe import load_recipe

    part, device = _part(shard)
    parsed = load_recipe(recipe, [*(set_ or []), *device])
    folder = output if output is not None else Path("runs") / parsed.name
    with terminal.progress_bars() as watch:
        done = run(parsed, folder, shard=part, watch=watch)
    terminal.remarks(done.notes)
    remarks = terminal.stderr()
    remarks.print(done.work, markup=False)
    remarks.print(f"run folder: {folder}", markup=False)


def _part(text: str | None) -> tuple[Shard, list[str]]:
    """The shard that is asked for or that torchrun says, and settings that go with it."""
    from armorm.features.blocks import Shard

    count = _variable("WORLD_SIZE", least=1, otherwise=1)
    if text is not None:
        if count > 1:
            raise OptionError(f"--shard: torchrun gives each of its {count} processes a part")
        try:
            return Shard.parse(text), []
        except ValueError as error:
            raise OptionError(f"--shard: {error}") from error
    if count == 1:
        return Shard(), []
    import torch

    rank = _variable("RANK", least=0, most=count - 1)
    if not torch.cuda.is_available():
        return Shard(rank + 1, count), []
    local = _variable("LOCAL_RANK", least=0, most=torch.cuda.device_count() - 1)
    return Shard(rank + 1, count), [f"backbone.device=cuda:{local}"]


def _variable(name: str, *, least: int, most: int = 10**9, otherwise: int | None = None) -> int:
    """A number that torchrun puts into the environment."""
    text = os.environ.get(name)
    if text is None and otherwise is not None:
        return otherwise
    if text is None or not text.isdecimal() or not least <= int(text) <= most:
        raise OptionError(
            f"{name} must be a whole number from {least} to {most:,}, as torchrun sets it; got "
            f"{text!r}"
        )
    return int(text)
