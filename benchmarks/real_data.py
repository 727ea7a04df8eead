"""One bundle on published ratings and pairs, measured on five other published sets of pairs.

Runs `recipes/real-data.yaml` (ridge heads on twelve rated files, the gate on four files of pairs,
every training row whose prompt is in an evaluation file left out and counted), then measures the
bundle on each evaluation file beside what it has to beat. The table is Markdown, and
`docs/real-data.md` holds it.

    python benchmarks/real_data.py --data FOLDER [--out FOLDER] [--fast]

FOLDER holds the files that the recipe names, as gzip JSON Lines. Nothing about the model was
chosen on them: layer and blocks of the encoder are those of the quick start, alphas and the end
of the gate's training come from folds of the training rows. A run that was stopped goes on.

`--fast`: a third of the folds take a turn, and the two smallest evaluation files alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
import yaml

from armorm.evaluate.baselines import SCORERS
from armorm.evaluate.bundle import evaluate_bundle
from armorm.evaluate.figures import PreferenceFigures, Report
from armorm.evaluate.interval import Interval
from armorm.model.reward import RewardModel
from armorm.train.config import Recipe
from armorm.train.place import BUNDLE
from armorm.train.recipe import parse_recipe
from armorm.train.run import train

RECIPE = Path(__file__).parent.parent / "recipes" / "real-data.yaml"
SMALLEST = ("pandalm", "hhh_alignment")
EVALUATION = (*SMALLEST, "llmbar_processed", "ultrafeedback_small", "hh_harmless_test")


def recipe_of(data: Path, arguments: argparse.Namespace) -> Recipe:
    """The recipe with the files of a folder."""
    content = yaml.safe_load(RECIPE.read_text())
    if arguments.threads is not None:
        content["threads"] = arguments.threads
    if arguments.fast:
        content["evaluation"] = {"folds": 3, "rounds": 1, "resamples": 200}
    return parse_recipe(content, where=RECIPE.name, folder=data)


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Train, evaluate, and print the table."""
    started = time.perf_counter()
    run = train(recipe_of(arguments.data, arguments), arguments.out, watch=Progress())
    print("\n".join(run.notes), flush=True)
    model = RewardModel.load(arguments.out / BUNDLE, device="cpu")
    found: dict[str, dict[str, Any]] = {}
    for name in SMALLEST if arguments.fast else EVALUATION:
        path = arguments.data / f"{name}.jsonl.gz"
        report = evaluate_bundle(model, pairs=str(path), bad_rows="drop")
        found[name] = evaluated(report)
        print(f"{name}: {found[name]['n_pairs']:,} pairs", flush=True)
    result = {
        "benchmark": "real_data",
        "evaluation": found,
        **trained(run.report),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print("", *table_of(result), "", *objectives_of(result), "", *left_out_of(result), sep="\n")
    return result


def evaluated(report: Report) -> dict[str, Any]:
    """What the table needs of one evaluation file."""
    first = report.preferences[0]
    reasons: dict[str, int] = {}
    for of_file in report.data.dropped.values():
        for reason, n in of_file.items():
            reasons[reason] = reasons.get(reason, 0) + n
    return {
        "n_pairs": first.n,
        "n_prompts": first.accuracy.n_groups,
        "not_used": reasons,
        "scorers": {row.scorer: _scorer(row) for row in report.preferences},
    }


def trained(report: Report) -> dict[str, Any]:
    """What is told of the training: held-out figures by objective, and the rows left out."""
    assert report.mean_spearman is not None
    files = {
        Path(one.path).name.removesuffix(".jsonl.gz"): one for one in report.data.decontaminated
    }
    return {
        "n_rated": report.data.rated,
        "n_training_pairs": report.data.pairs,
        "mean_spearman": _ends(report.mean_spearman),
        "objectives": {row.name: {"n": row.n, **_ends(row.spearman)} for row in report.objectives},
        "training_pairs": {row.scorer: _scorer(row) for row in report.preferences},
        "left_out": {
            name: {
                "shared_prompts": one.shared_prompts,
                "rows": {Path(p).name.removesuffix(".jsonl.gz"): n for p, n in one.rows.items()},
            }
            for name, one in files.items()
        },
        "not_used": {
            Path(path).name.removesuffix(".jsonl.gz"): dict(reasons)
            for path, reasons in report.data.dropped.items()
        },
    }


def table_of(result: Mapping[str, Any]) -> list[str]:
    """Accuracies in per cent as lines of a Markdown table.

    `>` and `<` mark what is above or below the gated model by more than noise: the paired
    interval leaves 0 out.
    """
    files = result["evaluation"]
    scorers = [name for name in SCORERS if all(name in f["scorers"] for f in files.values())]
    rows = [
        (
            f"{name}, {f['n_pairs']:,} ({f['n_prompts']:,})",
            *(_cell(f["scorers"][s]) for s in scorers),
        )
        for name, f in files.items()
    ]
    return _markdown(("pairs (prompts)", *scorers), rows)


def objectives_of(result: Mapping[str, Any]) -> list[str]:
    """Held-out rank correlations as lines of a Markdown table, best first."""
    ordered = sorted(
        result["objectives"].items(),
        key=lambda item: 2.0 if item[1]["value"] is None else -item[1]["value"],
    )
    rows = [(name, f"{row['n']:,}", _rho(row)) for name, row in ordered]
    mean = ("mean", "", _rho(result["mean_spearman"]))
    return _markdown(("objective", "ratings", "Spearman"), [mean, *rows])


def left_out_of(result: Mapping[str, Any]) -> list[str]:
    """Training rows that were left out, by evaluation file, as lines of a Markdown table."""
    rows = [
        (
            name,
            str(one["shared_prompts"]),
            ", ".join(f"{file} {n:,}" for file, n in one["rows"].items()) or "none",
        )
        for name, one in result["left_out"].items()
    ]
    return _markdown(("evaluation file", "shared prompts", "training rows left out"), rows)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _scorer(row: PreferenceFigures) -> dict[str, Any]:
    """Accuracy, and the difference to the gated model for all others."""
    difference = row.difference_to_gated
    return {
        **_ends(row.accuracy),
        "difference": None if difference is None else _ends(difference),
    }


def _ends(interval: Interval) -> dict[str, float | None]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: round(v, 4) if v == v else None for name, v in values.items()}


def _cell(row: Mapping[str, Any]) -> str:
    """`57.3 [54.2, 60.4]`, with the mark of a difference beyond noise."""
    ends = row["difference"]
    mark = ""
    if ends is not None and ends["low"] is not None:
        mark = " >" if ends["low"] > 0 else " <" if ends["high"] < 0 else ""
    value, low, high = (f"{100 * row[name]:.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{mark}"


def _rho(row: Mapping[str, Any]) -> str:
    value, low, high = (row[name] for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.2f}" if low is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


class Progress:
    """Prints a line whenever another tenth of a stage is done."""

    def __init__(self) -> None:
        self.said: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int, remark: str) -> None:
        """Take a report in; a stage reports many times what it has done."""
        tenth = 10 * done // max(total, 1)
        if tenth > self.said.get(stage, 0):
            self.said[stage] = tenth
            print(f"{stage} {done:,}/{total:,}", flush=True)


def main() -> None:
    """Measure, and store the result."""
    parser = harness.options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--out", type=Path, default=Path("runs/real-data"), help="run folder")
    arguments = parser.parse_args()
    harness.start(arguments)
    harness.finish(measure(arguments), name="real-data", arguments=arguments)


if __name__ == "__main__":
    main()
