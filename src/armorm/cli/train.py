"""`armorm train`: a recipe in, a run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import app

RunFolder = Annotated[
    Path | None,
    terminal.output_option("FOLDER", "Run folder; default runs/NAME."),
]
RecipeFile = Annotated[Path, typer.Argument(help="A YAML file; see recipes/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. gating.temperature=5."),
]


@app.command()
def train(
    recipe: RecipeFile,
    output: RunFolder = None,
    set_: Overrides = None,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Check the recipe, print it whole and stop.")
    ] = False,
) -> None:
    """Train a reward model: features, ridge, debias, gating, report, bundle.

    Stages that are up to date are not run again; after Ctrl-C or a kill the same command
    continues where it stopped.
    """
    from armorm.train.output import recipe_yaml
    from armorm.train.recipe import load_recipe

    parsed = load_recipe(recipe, set_ or [])
    if print_recipe:
        typer.echo(recipe_yaml(parsed), nl=False)
        return
    run_and_show(parsed, output)


def run_and_show(recipe: object, output: Path | None) -> Path:
    """Train with progress bars on stderr and the summary tables on stdout.

    Args:
        recipe: The parsed recipe.
        output: The run folder; None means `runs/NAME`.

    Returns:
        The run folder.
    """
    from armorm.evaluate.tables import summary
    from armorm.train.config import Recipe
    from armorm.train.run import train as train_run

    assert isinstance(recipe, Recipe)
    folder = output if output is not None else Path("runs") / recipe.name
    with terminal.progress_bars() as watch:
        done = train_run(recipe, folder, watch=watch)
    terminal.remarks(done.notes)
    remarks = terminal.stderr()
    remarks.print(done.work, markup=False)
    terminal.stdout().print(summary(done.report))
    remarks.print(f"run folder: {folder}", markup=False)
    return folder
