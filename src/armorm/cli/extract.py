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
    remarks = terminal.stderr()
    for note in done.notes:
        remarks.print(f"note: {note}", markup=False)
    remarks.print(done.work, markup=False)
    remarks.print(f"run folder: {folder}", markup=False)


def _part(text: str | None) -> tuple[Shard, list[str]]:
    """The shard that is asked for or that torchrun says, and settings that go with it."""
    from armorm.features.blocks import Shard

    if text is not None:
        try:
            return Shard.parse(text), []
        except ValueError as error:
            raise OptionError(f"--shard: {error}") from error
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Shard(), []
    import torch

    local = os.environ.get("LOCAL_RANK", "0")
    device = [f"backbone.device=cuda:{local}"] if torch.cuda.is_available() else []
    return Shard(int(os.environ.get("RANK", "0")) + 1, count), device
