"""How often the 95 % intervals of a report hold the true figure, by the number of prompts.

Rows are made up whose true figure is known, with several rows a prompt that resemble each other
(and one row a prompt beside it), and the intervals are those of the package: accuracies and other
shares, the paired difference of two scorers, a mean, Spearman and R2 of an objective, the
correlation among the responses to one prompt, and the mean Spearman over objectives. (An RMSE is
shown without an interval.)

    python benchmarks/intervals.py [--fast] [--repeats N]

4,000 samples a cell for what has a closed form and 2,000 for what is resampled: coverages of 95 %
then have a standard error of .34 and .49 points. Samples share neither rows nor draws.

`--fast`: 200 samples a cell and four numbers of prompts (standard error 1.5 points).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import harness
import numpy as np
from scipy.stats import norm

from armorm.evaluate import accuracy_interval, evaluate_objectives, paired_interval
from armorm.evaluate.audit.estimates import mean_interval, share_interval, within_interval
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import Grouping
from armorm.evaluate.interval import Interval

PROMPTS = (20, 30, 50, 100, 200, 500)
N_RESAMPLES = 500  # a quarter of the default, whose ends are steadier still
PROMISED_FROM, PROMISED = 100, (0.93, 0.97)
EDGES = (-1.6, -0.8, 0.2, 1.0)  # of five rating steps, most ratings in the upper half

Sample = Callable[[np.random.Generator, int, int], tuple[Interval, ...]]


@dataclass(frozen=True)
class Case:
    """One way to make rows, and figures of them whose true values are known."""

    name: str
    sample: Sample
    """From a generator, a number of prompts and a seed to one interval a figure."""
    truths: tuple[float, ...]
    figures: tuple[str, ...] = ("",)
    closed: bool = False
    """Whether nothing is resampled, so that more samples cost little."""


def prompts_of(rng: np.random.Generator, n_prompts: int, n_rows: int) -> Grouping:
    """Prompts with `n_rows` rows on average, from 1 to twice as many less one."""
    sizes = rng.integers(1, 2 * n_rows, n_prompts)
    return Grouping(np.repeat(np.arange(n_prompts), sizes), n_prompts)


def alike(rng: np.random.Generator, grouping: Grouping, shared: float = 0.4) -> np.ndarray:
    """Standard normal rows whose prompts carry a part of the variance."""
    own = rng.normal(size=grouping.n_rows)
    of_prompt = rng.normal(size=grouping.n_groups)[grouping.index]
    return math.sqrt(shared) * of_prompt + math.sqrt(1.0 - shared) * own


def wins_of(
    rng: np.random.Generator, grouping: Grouping, share: float, *, spread: float
) -> np.ndarray:
    """Wins whose prompts differ in difficulty; correlated 1 / (1 + spread) within a prompt."""
    difficulty = rng.beta(spread * share, spread * (1.0 - share), grouping.n_groups)
    return (rng.random(grouping.n_rows) < difficulty[grouping.index]).astype(np.float64)


def accuracy_case(share: float, n_rows: int, spread: float) -> Case:
    """A preference accuracy."""

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = prompts_of(rng, n_prompts, n_rows)
        wins = wins_of(rng, grouping, share, spread=spread)
        return (accuracy_interval(wins, grouping.index),)

    kind = "1 row" if n_rows == 1 else f"{n_rows} rows, correlated {1 / (1 + spread):.2g}"
    return Case(f"accuracy {share:g}, {kind}", sample, (share,), closed=True)


def paired_case(share: float, differing: float, n_rows: int) -> Case:
    """The second scorer repeats the first, but draws a part of the pairs anew at one half."""

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = prompts_of(rng, n_prompts, n_rows)
        a = wins_of(rng, grouping, share, spread=3.0)
        anew = wins_of(rng, grouping, differing, spread=3.0) > 0  # prompts differ in it as well
        b = np.where(anew, rng.random(a.size) < 0.5, a)
        found = paired_interval(a, b, grouping.index, n_resamples=N_RESAMPLES, seed=seed)
        return (found,)

    name = f"paired difference, {share:g}, {differing:g} differ, {n_rows} row{'s' * (n_rows > 1)}"
    return Case(name, sample, (differing * (share - 0.5),))


def share_case(share: float) -> Case:
    """The share of rows that an edit lifts."""

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = prompts_of(rng, n_prompts, 2)
        hits = wins_of(rng, grouping, share, spread=3.0)
        return (share_interval(hits, grouping, Resampling(N_RESAMPLES, seed=seed)),)

    return Case(f"share {share:g} (audit), 2 rows", sample, (share,), closed=True)


def mean_case() -> Case:
    """A mean of skewed values, as changes of a score are: exponential, correlated by prompt."""

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = prompts_of(rng, n_prompts, 4)
        values = -np.log(norm.sf(alike(rng, grouping)))
        return (mean_interval(values, grouping, Resampling(N_RESAMPLES, seed=seed)),)

    return Case("mean of exponential values (audit), 4 rows", sample, (1.0,))


def within_case(r: float) -> Case:
    """The correlation of ranks among the responses to one prompt, all prompts with four."""

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = Grouping(np.repeat(np.arange(n_prompts), 4), n_prompts)
        x, e = rng.normal(size=(2, grouping.n_rows))
        y = r * x + math.sqrt(1.0 - r * r) * e + rng.normal(size=n_prompts)[grouping.index]
        return (within_interval(x, y, grouping, Resampling(N_RESAMPLES, seed=seed)),)

    # The expected rank correlation of m rows of a normal pair (Moran 1948); without ties all
    # prompts have the same sum of squares, so that the pooled one has the same expectation.
    m = 4
    truth = 6.0 / math.pi / (m + 1) * (math.asin(r) + (m - 2) * math.asin(r / 2))
    return Case(f"correlation within prompts {r:g} (audit), 4 rows", sample, (truth,))


def objective_case(r: float, n_rows: int, truths: tuple[float, float]) -> Case:
    """Spearman and R2 of one objective rated in five steps."""

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = prompts_of(rng, n_prompts, n_rows)
        scores, ratings = scored_and_rated(rng, grouping, [r])
        found = evaluate_objectives(
            scores,
            ratings,
            grouping.index,
            objectives=("quality",),
            n_resamples=N_RESAMPLES,
            seed=seed,
        ).objectives[0]
        return found.spearman, found.r2

    rows = f"{n_rows} row{'s' * (n_rows > 1)}"
    return Case(f"objective, r = {r:g}, {rows}", sample, truths, ("Spearman", "R2"))


def mean_spearman_case(truths: dict[float, tuple[float, float]]) -> Case:
    """The mean Spearman over five objectives, each rated on half of the rows."""
    strengths = (0.1, 0.5, 0.5, 0.8, 0.8)

    def sample(rng: np.random.Generator, n_prompts: int, seed: int) -> tuple[Interval, ...]:
        grouping = prompts_of(rng, n_prompts, 4)
        scores, ratings = scored_and_rated(rng, grouping, strengths)
        missing = rng.random(ratings.shape) < 0.5
        missing[:, 0] &= np.diff(grouping.index, prepend=-1) == 0  # every prompt is rated
        ratings[missing] = np.nan
        found = evaluate_objectives(
            scores,
            ratings,
            grouping.index,
            objectives=[f"o{j}" for j in range(len(strengths))],
            n_resamples=N_RESAMPLES,
            seed=seed,
        )
        return (found.mean_spearman,)

    truth = float(np.mean([truths[r][0] for r in strengths]))
    return Case("mean Spearman of 5 objectives, half rated, 4 rows", sample, (truth,))


def scored_and_rated(
    rng: np.random.Generator, grouping: Grouping, strengths: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Objective scores and ratings in five steps, (n, k), correlated over objectives too."""
    common = alike(rng, grouping)
    scores, ratings = [], []
    for r in strengths:
        x = math.sqrt(0.5) * common + math.sqrt(0.5) * alike(rng, grouping)
        y = r * x + math.sqrt(1.0 - r * r) * alike(rng, grouping)
        scores.append(0.5 + 0.25 * r * x)
        ratings.append(np.digitize(y, EDGES) / 4.0)
    return np.stack(scores, axis=1), np.stack(ratings, axis=1)


def objective_truth(r: float) -> tuple[float, float]:
    """Spearman and R2 of infinitely many rows, by sums over the five rating steps.

    With u the rank of the score in [0, 1] and p the chances of the steps, Spearman is the
    correlation of u with the middle rank of the step; both by quadrature over the score.
    """
    x = np.linspace(-9.0, 9.0, 20_001)
    density = norm.pdf(x)
    density /= density.sum()
    edges = np.array([-np.inf, *EDGES, np.inf])
    noise = math.sqrt(1.0 - r * r)
    chances = np.diff(norm.cdf((edges[:, None] - r * x) / noise), axis=0)
    p = np.diff(norm.cdf(edges))
    middle = np.cumsum(p) - p / 2 - 0.5
    covariance = float(((norm.cdf(x) - 0.5) * density) @ (middle @ chances))
    spearman = covariance / math.sqrt(float(p @ middle**2) / 12.0)
    steps = np.arange(5) / 4.0
    error = float((((steps[:, None] - (0.5 + 0.25 * r * x)) ** 2) * chances).sum(axis=0) @ density)
    variance = float(p @ steps**2 - (p @ steps) ** 2)
    return spearman, 1.0 - error / variance


def cases() -> list[Case]:
    """Every kind of interval that is shown."""
    truths = {r: objective_truth(r) for r in (0.1, 0.5, 0.8)}
    accuracies = [
        accuracy_case(share, n_rows, spread)
        for n_rows, spread in ((1, 3.0), (4, 3.0), (10, 1.0))
        for share in (0.6, 0.8, 0.95)
    ]
    paired = [
        paired_case(*of) for of in ((0.8, 0.3, 4), (0.8, 0.1, 4), (0.95, 0.1, 4), (0.8, 0.3, 1))
    ]
    objectives = [objective_case(r, 4, truths[r]) for r in truths]
    objectives.append(objective_case(0.5, 1, truths[0.5]))
    rest = [mean_spearman_case(truths), mean_case(), *(within_case(r) for r in (0.2, 0.6))]
    return [*accuracies, share_case(0.05), share_case(0.3), *paired, *objectives, *rest]


def coverage(case: Case, n_prompts: int, n_samples: int) -> dict[str, tuple[float, float]]:
    """Share of samples whose interval holds the truth, and the mean width, by figure."""
    held, width = np.zeros((2, len(case.truths)))
    for trial in range(n_samples):
        rng = np.random.default_rng([trial, n_prompts, *case.name.encode()])
        for i, found in enumerate(case.sample(rng, n_prompts, trial)):
            # A sample without an interval claims nothing, and counts as not covered.
            held[i] += found.low <= case.truths[i] <= found.high
            width[i] += found.high - found.low
    names = [" ".join(filter(None, (case.name, figure))) for figure in case.figures]
    return {
        name: (float(h / n_samples), float(w / n_samples))
        for name, h, w in zip(names, held, width, strict=True)
    }


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Run every case at every number of prompts and print the table."""
    started = time.perf_counter()
    prompts = PROMPTS[::2] + PROMPTS[-1:] if arguments.fast else PROMPTS
    found: dict[str, dict[str, float]] = {}
    widths: dict[str, dict[str, float]] = {}
    for case in cases():
        repeats = arguments.repeats or (200 if arguments.fast else 4000 if case.closed else 2000)
        for n in prompts:
            for name, (held, width) in coverage(case, n, repeats).items():
                found.setdefault(name, {})[str(n)] = round(held, 4)
                widths.setdefault(name, {})[str(n)] = round(width, 4)
    harness.table(
        "Coverage of 95 % intervals, in per cent, by the number of prompts",
        ("figure", *map(str, prompts)),
        [(name, *(f"{100 * row[str(n)]:.1f}" for n in prompts)) for name, row in found.items()],
    )
    promised = [v for row in found.values() for n, v in row.items() if int(n) >= PROMISED_FROM]
    few = [v for row in found.values() for n, v in row.items() if int(n) < PROMISED_FROM]
    return {
        "benchmark": "intervals",
        "lowest_from_100_prompts": min(promised),
        "highest_from_100_prompts": max(promised),
        "lowest_below_100_prompts": min(few),
        "highest_below_100_prompts": max(few),
        "n_cells": len(promised) + len(few),
        "n_within_promise": sum(PROMISED[0] <= v <= PROMISED[1] for v in promised),
        "n_promised": len(promised),
        "coverage": found,
        "width": widths,
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Measure, and store the result."""
    parser = harness.options(__doc__)
    parser.add_argument("--repeats", type=int, default=None, help="samples a cell")
    arguments = parser.parse_args()
    harness.start(arguments)
    harness.finish(measure(arguments), name="intervals", arguments=arguments)


if __name__ == "__main__":
    main()
