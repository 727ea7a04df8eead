"""`armorm evaluate`: how good models are, on rows of one's own or by a published protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import bench_options as bench
from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.protocol_run import BenchRun, First
from armorm.cli.score import BadRows
from armorm.cli.steering import BackbonePath, Device, Scale, Weights
from armorm.cli.terminal import OptionError

_CACHE = Path("runs/scores")


@app.command()
def evaluate(
    model: bench.Model,
    pairs: Annotated[str | None, typer.Option(help="Preference pairs.")] = None,
    rated: Annotated[str | None, typer.Option(help="Rated rows, of a bundle alone.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    protocol: bench.ProtocolName = None,
    data: bench.Data = None,
    beside: bench.Beside = None,
    variants: bench.Variants = None,
    partial: bench.Partial = False,
    cache: bench.Cache = _CACHE,
    judge: bench.JudgeMode = None,
    judge_requests: bench.JudgeRequests = None,
    judge_timeout: bench.JudgeTimeout = None,
    judge_retries: bench.JudgeRetries = None,
    judge_cache: bench.JudgeCache = None,
    comparisons: Annotated[
        int,
        typer.Option(min=0, max=10_000, help="Pairs that a report takes apart; 0 for none."),
    ] = 200,
    output: Annotated[
        Path | None,
        terminal.output_option("FOLDER", "Folder for report.json and .md, or protocol.json."),
    ] = None,
    weights: Weights = None,
    scale: Scale = None,
    bad_rows: BadRows = "stop",
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Measure a bundle on pairs or rated rows, or models side by side on pairs or a protocol.

    The key of a judge is read from the environment variable ARMORM_JUDGE_KEY alone.
    """
    first = First(model, weights, scale, device, backbone)
    asked = bench.JudgeOptions(judge, judge_requests, judge_timeout, judge_retries, judge_cache)
    run = BenchRun(first, tuple(beside or ()), tuple(variants or ()), asked, cache, bad_rows)
    if protocol is not None:
        if pairs is not None or rated is not None:
            raise OptionError("--protocol has rows of its own; give --data, not --pairs or --rated")
        run.show(protocol, data, partial=partial, output=output, as_json=json)
        return
    if data is not None or partial:
        raise OptionError("--data and --partial go with --protocol")
    if pairs is None and rated is None:
        raise OptionError("evaluate needs rows: give --pairs, --rated or both, or --protocol")
    if run.is_one_bundle:
        shown = comparisons if output is not None or json else 0
        _report(
            first,
            pairs,
            rated,
            bad_rows=bad_rows,
            output=output,
            as_json=json,
            comparisons=shown,
        )
    elif rated is not None:
        raise OptionError("--rated: rated rows measure one bundle alone, without other models")
    else:
        run.show("pairs", pairs, partial=False, output=output, as_json=json)


def _report(
    first: First,
    pairs: str | None,
    rated: str | None,
    *,
    bad_rows: BadRows,
    output: Path | None,
    as_json: bool,
    comparisons: int,
) -> None:
    """Measure one bundle with all that it keeps beside it."""
    from armorm.evaluate.bundle import evaluate_bundle
    from armorm.evaluate.report import check_report_folder, report_json, write_report
    from armorm.evaluate.tables import summary
    from armorm.explain.comparisons import comparer
    from armorm.train.rated_rows import rows_of_run

    if output is not None:
        check_report_folder(output)
    bench.model_name("MODEL", first.text)
    model = first.load()
    rows = rows_of_run(Path(first.text), model.bundle, lenient=True) if comparisons else None
    compare = comparer(model, n=comparisons, rows=rows)
    with terminal.progress_bars() as watch:
        report = evaluate_bundle(
            model, pairs=pairs, rated=rated, bad_rows=bad_rows, watch=watch, compare=compare
        )
    terminal.remarks([*report.notes, *model.backbone.notes])
    if output is not None:
        written = write_report(report, output)
        terminal.remarks(written.notes[len(report.notes) :])
    if as_json:
        terminal.print_json(report_json(report))
    else:
        terminal.stdout().print(summary(report))
