import numpy as np
import pytest

from armorm.evaluate.baselines import (
    GATED,
    SCORERS,
    compare_scorers,
    compare_scorers_by_source,
    length_scores,
)
from armorm.evaluate.bootstrap import paired_interval
from armorm.evaluate.metrics import preference_accuracy, preference_wins


def scorers(p=120, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "uniform mean": (rng.normal(0.4, 1, p), np.zeros(p)),
        GATED: (rng.normal(0.8, 1, p), np.zeros(p)),
        "longer wins": tuple(rng.integers(1, 9, (2, p)).astype(float)),
    }


def test_the_gated_model_comes_first_and_every_row_is_measured_on_the_same_pairs():
    given = scorers()
    figures = compare_scorers(given, np.arange(120), n_resamples=200)
    assert [one.scorer for one in figures] == [GATED, "uniform mean", "longer wins"]
    for one in figures:
        assert one.accuracy.value == pytest.approx(preference_accuracy(*given[one.scorer]))
        assert one.n == 120
    assert figures[2].n_ties == int((given["longer wins"][0] == given["longer wins"][1]).sum()) > 0


def test_difference_is_negative_where_the_gated_model_is_better():
    given = scorers()
    gated, uniform, _ = compare_scorers(given, np.arange(120), n_resamples=200)
    assert gated.difference_to_gated is None
    difference = uniform.difference_to_gated
    assert gated.accuracy.value > uniform.accuracy.value
    assert difference.value == pytest.approx(uniform.accuracy.value - gated.accuracy.value)
    wins = [preference_wins(*given[name]) for name in ("uniform mean", GATED)]
    assert difference == paired_interval(*wins, np.arange(120), n_resamples=200)


def test_longer_wins_reads_lengths_and_ties_when_they_are_equal():
    chosen = length_scores(["four", "a longer one", "same"])
    rejected = length_scores(["fiver", "short", "size"])
    assert preference_wins(chosen, rejected).tolist() == [0.0, 1.0, 0.5]


def test_few_prompts_give_values_without_intervals():
    figures = compare_scorers(scorers(), np.arange(120) // 10, n_resamples=200)
    assert figures[0].accuracy.n_groups == 12
    assert not figures[0].accuracy.has_interval
    assert np.isfinite(figures[1].difference_to_gated.value)
    assert not figures[1].difference_to_gated.has_interval


def test_by_source_equals_the_figures_of_that_source_alone():
    given = scorers()
    sources = ["b", "a", "a"] * 40
    by_source = compare_scorers_by_source(given, np.arange(120), sources, n_resamples=200)
    assert list(by_source) == ["a", "b"]
    rows = np.array(sources) == "b"
    alone = compare_scorers(
        {name: (c[rows], r[rows]) for name, (c, r) in given.items()},
        np.arange(120)[rows],
        n_resamples=200,
    )
    assert by_source["b"] == alone


def test_every_named_scorer_is_described():
    assert list(SCORERS) == [
        "gated",
        "gate without debias",
        "debias without measured",
        "uniform mean",
        "best fixed weights",
        "black-box head",
        "longer wins",
    ]
    assert all(text and not text.endswith(".") for text in SCORERS.values())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: compare_scorers({"uniform mean": ([1.0], [0.0])}, ["a"]),
            r"`scorers` must hold the reference 'gated'; got 'uniform mean'",
        ),
        (
            lambda: compare_scorers({GATED: ([1.0, 2], [0.0, 0]), "b": ([1.0], [0.0])}, [1, 2]),
            r"scorer 'b' must have 2 pairs, as 'gated' has; got 1",
        ),
        (
            lambda: compare_scorers({GATED: ([1.0], [np.nan])}, ["a"]),
            r"scorer 'gated': `rejected_scores` must be finite; 1 of 1 entries are not",
        ),
        (
            lambda: compare_scorers({GATED: ([1.0], [0.0])}, ["a", "b"]),
            r"`groups` must name one prompt a row; got shape \(2,\) for 1 rows",
        ),
        (
            lambda: compare_scorers_by_source({GATED: ([1.0], [0.0])}, ["a"], ["x", "y"]),
            r"`sources` must name one source a pair; got shape \(2,\) for the 1 pairs of 'gated'",
        ),
    ],
)
def test_arguments_are_refused_with_the_value_at_fault(call, text):
    with pytest.raises(ValueError, match=text):
        call()
