"""What evaluation costs beside scoring: figures, intervals, comparisons, tables and files.

Pairs in the subsets and counts of RewardBench, their texts put together from the shipped corpus
(prompts of 15 words, responses of 70, in the median), are scored by a bundle with random heads of
the paper's size on the sentence encoder of the quick start, beside two variants of it and a random
scorer. Seconds inside `score` of the bundle are scoring; everything else of the run is evaluation:
reading the rows, looking up and keeping scores, the figures of 23 subsets of six models with
intervals, differences at the joint level, the terminal's table, protocol.json and protocol.md.
Then the same from kept scores, and the bundle alone.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import numpy as np
from rich.console import Console
from score import random_bundle

from armorm.cli.protocol_tables import protocol_table
from armorm.data import DataSource, Drops, read_pairs
from armorm.data.quickstart import RECIPE
from armorm.evaluate.protocols import PROTOCOLS, ProtocolResult, evaluate_protocol, write_result
from armorm.evaluate.scorers import ScorerName, Variant, bench_of
from armorm.evaluate.scoring import BundleScorer
from armorm.features.backbone import load_backbone
from armorm.features.interface import FeatureOptions
from armorm.model.reward import RewardModel
from armorm.train.recipe import load_recipe
from armorm.types import Conversation

LARGEST_SHARE = 0.05
ROUNDS = 3
VARIANTS = (
    Variant("weights", {"objective-0": 1.0, "objective-3": 1.0}),
    Variant("scale", {"objective-1": 2.0}),
)


class Timed:
    """A scorer that knows how long it has scored."""

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer
        self.name, self.identity, self.joint = scorer.name, scorer.identity, scorer.joint
        self.seconds = 0.0

    def score(self, conversations: Sequence[Conversation], *, progress: Any = None) -> np.ndarray:
        """Score, and add the time."""
        started = time.perf_counter()
        scores = self._scorer.score(conversations, progress=progress)
        self.seconds += time.perf_counter() - started
        return scores


def write_rows(path: Path, *, every: int) -> int:
    """Write rows in RewardBench's columns, one of `every` of each subset; return their number."""
    pairs = read_pairs([DataSource("quickstart:pairs.jsonl")], drops=Drops())
    texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    draw, lines = random.Random(0), []
    for _, subset in PROTOCOLS["rewardbench"].subsets():
        for i in range(-(-(subset.count or 0) // every)):
            # Numbered: no text is scored for two rows.
            chosen, rejected = (
                f"{' '.join(draw.sample(texts, draw.randint(1, 2)))} ({i})" for _ in range(2)
            )
            prompt = f"{draw.choice(pairs).prompt[-1].content} ({subset.name} {i})"
            row = {"id": i, "prompt": prompt, "chosen": chosen, "rejected": rejected}
            lines.append(json.dumps(row | {"subset": subset.name}))
    path.write_text("\n".join(lines) + "\n")
    return len(lines)


def open_model() -> RewardModel:
    """The quick start's encoder with random heads."""
    recipe = load_recipe(RECIPE)
    options = FeatureOptions(layers=(3,), blocks=("response", "context"), normalise=True)
    backbone = load_backbone(recipe.backbone.name, device="cpu", options=options)
    return RewardModel(replace(random_bundle(backbone.facts()), name="bundle"), backbone)


def main() -> None:
    arguments = harness.options(__doc__).parse_args()
    harness.start(arguments)
    model = open_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_pairs = write_rows(folder / "filtered.jsonl", every=10 if arguments.fast else 1)

        def run(scorers: Sequence[Any]) -> ProtocolResult:
            result = evaluate_protocol(
                "rewardbench",
                scorers,
                data=str(folder / "filtered.jsonl"),
                partial=arguments.fast,
                cache=folder / "scores",
            )
            write_result(result, folder / "out")
            with (folder / "table.txt").open("w") as file:
                Console(file=file, width=120).print(protocol_table(result))
            return result

        beside = bench_of(model, variants=VARIANTS, beside=[ScorerName("random", "random")])
        timed = Timed(beside[0])
        total = harness.seconds(lambda: run([timed, *beside[1:]]))
        again: dict[str, Callable[[], Any]] = {
            "alone": lambda: run([BundleScorer(model)]),
            "beside three": lambda: run(beside),
        }
        times = harness.alternate(again, rounds=ROUNDS)
        report(timed.seconds, total, times, n_pairs, run(beside), arguments)


def report(
    scoring: float,
    total: float,
    times: dict[str, list[float]],
    n_pairs: int,
    result: ProtocolResult,
    arguments: Any,
) -> None:
    """Print and store what was measured; stop where evaluation costs more than promised."""
    middle = {name: harness.median(found) for name, found in times.items()}
    first = total - scoring
    rows = [
        ("scoring", scoring, 1.0),
        ("evaluation, in the same run, beside three", first, first / scoring),
        *((f"from kept scores, {name}", t, t / scoring) for name, t in middle.items()),
    ]
    harness.table(
        f"{n_pairs:,} pairs, {2 * n_pairs / scoring:,.0f} conversations a second",
        ["", "seconds", "of scoring"],
        [[name, t, f"{100 * share:.2f} %"] for name, t, share in rows],
    )
    assert max(first, *middle.values()) / scoring < LARGEST_SHARE or arguments.fast
    found = {
        "benchmark": "evaluate",
        "percent_of_scoring": round(100 * first / scoring, 3),
        "percent_alone": round(100 * middle["alone"] / scoring, 3),
        "pairs": n_pairs,
        "models": len(result.scorers),
        "differences": len(result.differences),
        "conversations_per_s": round(2 * n_pairs / scoring, 2),
        "seconds": {"scoring": round(scoring, 2), "evaluation": round(first, 4)}
        | {name: [round(t, 4) for t in found] for name, found in times.items()},
    }
    harness.finish(found, name="evaluate", arguments=arguments)


if __name__ == "__main__":
    main()
