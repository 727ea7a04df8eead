"""`armorm demo`: train, evaluate and explain on the shipped corpus."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.train import run_and_show


@app.command()
def demo(
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            parser=terminal.output_path,
            metavar="FOLDER",
            help="The run folder.",
        ),
    ] = Path("runs/quickstart"),
) -> None:
    """Train on the shipped corpus, show how good the model is, explain one comparison."""
    from armorm.data import DataSource, Drops, read_pairs
    from armorm.data.quickstart import EXAMPLES, RECIPE, write_examples
    from armorm.explain.render import render_pair
    from armorm.explain.verdict import compare_pair
    from armorm.model.reward import RewardModel
    from armorm.train.recipe import load_recipe

    folder = run_and_show(load_recipe(RECIPE), output)
    examples = write_examples(folder)
    model = RewardModel.load(folder / "bundle")
    pair = read_pairs([DataSource(str(examples))], drops=Drops())[0]
    console = terminal.stdout()
    console.print()
    console.print(render_pair(pair, compare_pair(model, pair), scales=model.bundle.scales))
    bundle, rows = shlex.quote(str(folder / "bundle")), shlex.quote(str(examples))
    console.print("\nThree commands to try next:\n")
    console.print(
        f"  armorm score {bundle} {rows} --weights is_safe=2,verbosity=-0.5", soft_wrap=True
    )
    console.print(f"  armorm explain {bundle} {rows} --id {EXAMPLES[1]}", soft_wrap=True)
    console.print("  armorm train recipes/own-data.yaml --print-recipe", soft_wrap=True)
