"""`armorm extract`: the features of a recipe, alone or shared out to many processes."""

from __future__ import annotations

from pathlib import Path

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.sharding import Engine, ShardOption, Workers, part_of_run, pool_of
from armorm.cli.train import Overrides, RecipeFile, RunFolder


@app.command()
def extract(
    recipe: RecipeFile,
    output: RunFolder = None,
    set_: Overrides = None,
    shard: ShardOption = None,
    engine: Engine = "local",
    workers: Workers = None,
) -> None:
    """Extract the features of a recipe into its run folder, where `train` finds them.

    Give every process the same recipe and folder and another --shard, or start them with
    `torchrun --no-python armorm extract RECIPE`, which also gives each its own GPU. All of
    them leave the bytes that one process would have left; after a kill the same command
    continues. On a Ray cluster, --engine ray does the sharing.
    """
    from armorm.train.extract import extract as run
    from armorm.train.recipe import load_recipe

    part, device = part_of_run(shard)
    pool = pool_of(engine, workers, shard)
    settings = [] if device is None else [f"backbone.device={device}"]
    parsed = load_recipe(recipe, [*(set_ or []), *settings])
    folder = output if output is not None else Path("runs") / parsed.name
    with terminal.progress_bars() as watch:
        if pool is None:
            done = run(parsed, folder, shard=part, watch=watch)
        else:
            from armorm.train.extract_ray import extract_on_ray

            done = extract_on_ray(parsed, folder, pool=pool, watch=watch)
    terminal.remarks(done.notes)
    remarks = terminal.stderr()
    remarks.print(done.work, markup=False)
    remarks.print(f"run folder: {folder}", markup=False)
