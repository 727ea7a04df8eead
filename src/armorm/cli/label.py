"""`armorm label`: candidates in, scores or preference pairs out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from armorm.cli import terminal
from armorm.cli.label_tables import as_options, check_output, input_of, label_summary
from armorm.cli.main import app
from armorm.cli.score import BadRows
from armorm.cli.sharding import Engine, ShardOption, Workers, part_of_run, pool_of
from armorm.cli.steering import BackbonePath, BundleFolder, Device, Scale, Weights, load_steered


@app.command()
def label(
    bundle: BundleFolder,
    rows: Annotated[
        str, typer.Argument(metavar="IN", help="Candidates: file, folder or hub:owner/name.")
    ],
    output: Annotated[
        Path, terminal.output_option("OUT", "A .jsonl or .parquet file; parts go into OUT.parts.")
    ],
    pairs: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Write pairs: best-worst, best-random, top-K, margin>=M or pareto.",
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Of pairs: trl, trl-implicit, trl-text, simpo, openrlhf or verl.",
        ),
    ] = None,
    min_margin: Annotated[
        float | None, typer.Option(help="Smallest margin of a pair, in score units.")
    ] = None,
    ties: Annotated[bool, typer.Option("--ties", help="Let equal scores make a pair.")] = False,
    max_shorter: Annotated[
        int | None,
        typer.Option(help="By how much the rejected response may be shorter than the chosen."),
    ] = None,
    unit: Annotated[
        Literal["characters", "tokens"] | None, typer.Option(help="Unit of --max-shorter.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of best-random.")] = None,
    texts: Annotated[
        bool, typer.Option("--texts", help="Write prompt and response beside the scores.")
    ] = False,
    shape: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Shape of the rows, where it must not be found."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of a hub data set; default train.")] = None,
    part_rows: Annotated[int, typer.Option(min=1, help="Candidates a part.")] = 1024,
    shard: ShardOption = None,
    engine: Engine = "local",
    workers: Workers = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    weights: Weights = None,
    scale: Scale = None,
    bad_rows: BadRows = "drop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Score the candidates of many prompts; write every score, or preference pairs.

    Rows hold `prompt` and `responses` (or `all_generated_responses`, or `instruction` and
    `generations`), `chosen` and `rejected`, `messages`, or `prompt` and `response`. A kill
    loses one part at most: the same command goes on. Give every process of many another
    --shard, or start them with `torchrun --no-python armorm label ...`.
    """
    from armorm.label import label as run

    given = {"min_margin": min_margin, "max_shorter": max_shorter, "unit": unit, "seed": seed}
    options = as_options(
        pairs,
        format_,
        {**given, "ties": ties or None},
        {"shape": shape, "texts": texts, "part_rows": part_rows, "bad_rows": bad_rows},
    )
    check_output(output)
    part, own_device = part_of_run(shard)
    pool = pool_of(engine, workers, shard)
    model = partial(
        load_steered,
        bundle,
        device=own_device or device,
        backbone=backbone,
        weights=weights,
        scale=scale,
    )
    with terminal.progress_bars() as watch:
        source = input_of(rows, split)
        done = run(model, source, output, options=options, shard=part, pool=pool, watch=watch)
    terminal.remarks(done.notes)
    if json and done.summary is not None:
        terminal.print_json(done.summary)
    else:
        terminal.stdout().print(label_summary(done))
