"""Intervals hold the true figure as often as they say, on the made-up rows of the benchmark."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

from armorm.evaluate.groups import Grouping
from armorm.evaluate.metrics import r2, spearman

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def intervals():
    """The benchmark, whose folder is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("intervals")


# Samples are seeded, so that a test fails only when the code changes. Of 1,000 samples an interval
# that truly covers 95 % is seen to cover less than 92.5 % once in 2,500 times.
@pytest.mark.parametrize(
    ("share", "n_rows", "spread", "n_prompts"),
    [(0.6, 1, 3.0, 30), (0.8, 4, 3.0, 20), (0.95, 4, 3.0, 100), (0.95, 10, 1.0, 50)],
)
def test_accuracy_intervals_cover_whatever_rows_of_a_prompt_share(
    intervals, share, n_rows, spread, n_prompts
):
    case = intervals.accuracy_case(share, n_rows, spread)
    ((held, width),) = intervals.coverage(case, n_prompts, 1000).values()
    assert 0.925 <= held <= 0.985
    assert 0 < width < 0.5


# Of 300: less than 91 % once in 600, were it 95 %.
@pytest.mark.parametrize("differing", [0.1, 0.3])
def test_paired_intervals_cover_on_both_sides_of_their_switch(intervals, differing):
    case = intervals.paired_case(0.8, differing, 4)
    ((held, _),) = intervals.coverage(case, 60, 300).values()
    assert 0.91 <= held <= 0.99


@pytest.mark.slow
def test_every_shown_interval_covers_at_100_prompts(intervals):
    # Of 500: more than 3.5 standard errors below 93 %, the promise, or above 97 %.
    for case in intervals.cases():
        for name, (held, _) in intervals.coverage(case, 100, 500).items():
            assert 0.89 <= held <= 0.997, name


@pytest.mark.parametrize("r", [0.1, 0.5, 0.8])
def test_true_figures_of_an_objective_are_those_of_many_rows(intervals, r):
    rng = np.random.default_rng(4)
    grouping = Grouping(np.arange(200_000), 200_000)
    scores, ratings = intervals.scored_and_rated(rng, grouping, [r])
    rho, explained = intervals.objective_truth(r)
    # Standard errors below .0025.
    assert spearman(scores[:, 0], ratings[:, 0]) == pytest.approx(rho, abs=0.01)
    assert r2(scores[:, 0], ratings[:, 0]) == pytest.approx(explained, abs=0.01)


def test_rows_of_a_prompt_resemble_each_other_as_said(intervals):
    rng = np.random.default_rng(5)
    grouping = Grouping(np.repeat(np.arange(50_000), 2), 50_000)
    first, second = intervals.alike(rng, grouping, 0.4).reshape(-1, 2).T
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.4, abs=0.02)
    wins = intervals.wins_of(rng, grouping, 0.8, spread=3.0).reshape(-1, 2)
    assert wins.mean() == pytest.approx(0.8, abs=0.01)
    assert np.corrcoef(wins.T)[0, 1] == pytest.approx(0.25, abs=0.03)


def test_a_sample_without_an_interval_does_not_count_as_covered(intervals):
    case = intervals.mean_case()
    found = intervals.coverage(case, 19, 3)
    ((held, width),) = found.values()
    assert held == 0
    assert math.isnan(width)
