"""Figures of a labelling: best of n against enumeration, moments, who decided, lengths."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armorm.evaluate.protocols.best_of_n import expected_reference
from armorm.label.formats import LabelledPair
from armorm.label.groups import Candidate, Group
from armorm.label.summary import Tally, best_of_n
from armorm.types import Message

NAMES = ("honesty", "verbosity")


def row(score, honesty, verbosity, n_tokens=10):
    """Coefficients 1 and -1, so that the score is honesty less verbosity."""
    assert score == pytest.approx(honesty - verbosity)
    return {
        "id": "a",
        "score": score,
        "objectives": {"honesty": honesty, "verbosity": verbosity},
        "coefficients": {"honesty": 1.0, "verbosity": -1.0},
        "n_tokens": n_tokens,
        "n_truncated": 0,
    }


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7))
def test_best_of_n_is_the_mean_over_all_draws(scores):
    wanted = [
        np.mean([max(draw) for draw in itertools.combinations(scores, n)])
        for n in range(1, len(scores) + 1)
    ]
    np.testing.assert_allclose(best_of_n(np.array(scores)), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 64, 300])
def test_best_of_n_equals_the_protocol_with_the_scores_as_references(size):
    scores = np.random.default_rng(size).normal(size=size)
    found = best_of_n(scores)
    for n in {1, 2, size // 2, size} - {0}:
        if n <= size:
            wanted = expected_reference(scores, scores, [0], k=n)
            np.testing.assert_allclose(found[n - 1], wanted[0], rtol=1e-9)
    assert found[0] == pytest.approx(scores.mean())
    assert found[-1] == scores.max()


def pair_of(chosen, rejected):
    texts = ["x" * 8, "y" * 4]
    candidates = tuple(Candidate("a", i, text) for i, text in enumerate(texts))
    group = Group(0, "a.jsonl", (Message("user", "Hi?"),), candidates)
    objectives = (chosen["objectives"], rejected["objectives"])
    return LabelledPair("a", group, texts, [chosen["score"], rejected["score"]], 0, 1, objectives)


def test_figures_of_two_prompts_by_hand():
    tally = Tally(NAMES)
    first = [row(0.5, 0.75, 0.25, 12), row(0.25, 0.25, 0.0, 8)]
    second = [row(1.0, 1.0, 0.0), row(0.0, 0.5, 0.5)]
    for rows in (first, second):
        tally.add_rows(rows)
        tally.add_pair(pair_of(*rows), rows)
    tally.add_rows([row(0.0, 0.0, 0.0)])
    tally.add_without("equal scores")
    found = tally.as_dict()
    # Five scores .5 .25 1 0 0: mean .35, squares around it .0225 + .01 + .4225 + 2 * .1225 = .7.
    assert found["score"] == {"mean": 0.35, "sd": 0.374166, "min": 0.0, "max": 1.0}
    assert found["objectives"] == {"honesty": 0.5, "verbosity": 0.15}
    # Two prompts have two candidates: means .375 and .5, best .5 and 1.
    assert found["best_of_n"] == {
        "candidates": 2,
        "prompts": 2,
        "expected_score": [0.4375, 0.75],
    }
    pairs = found["pairs"]
    assert pairs["n"] == 2
    assert pairs["prompts_without"] == {"equal scores": 1}
    assert pairs["margin"] == {"mean": 0.625, "sd": 0.375, "min": 0.25, "max": 1.0}
    # First pair: honesty adds .5, verbosity takes .25, honesty decides alone. Second: both
    # add .5 to a margin of 1, and neither could be left out.
    assert pairs["deciding"] == {"honesty": 1.0, "verbosity": 0.5}
    assert pairs["deciding_alone"] == {"honesty": 0.5, "verbosity": 0.0}
    assert pairs["length"] == {
        "chosen_characters": 8.0,
        "rejected_characters": 4.0,
        "chosen_tokens": 11.0,
        "rejected_tokens": 9.0,
        "chosen_longer": 1.0,
    }


def test_given_preferences_are_counted_a_tie_as_one_half():
    tally = Tally(NAMES)
    tally.add_given([row(0.5, 0.5, 0.0), row(0.0, 0.0, 0.0)])
    tally.add_given([row(0.0, 0.0, 0.0), row(0.0, 0.5, 0.5)])
    tally.add_given([row(0.0, 0.0, 0.0), row(0.5, 0.5, 0.0)])
    tally.add_given([row(0.0, 0.0, 0.0)])
    assert tally.as_dict()["pairs"]["given"] == {"n": 3, "agreement": 0.5}


def test_without_pairs_there_are_no_figures_of_pairs():
    tally = Tally(NAMES)
    tally.add_rows([row(0.0, 0.0, 0.0)])
    assert tally.as_dict()["pairs"] == {"n": 0, "prompts_without": {}}


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=5), min_size=1, max_size=6))
def test_moments_do_not_depend_on_how_the_scores_come(groups):
    tally, flat = Tally(NAMES), Tally(NAMES)
    for scores in groups:
        tally.add_rows([row(s, s, 0.0) for s in scores])
    flat.add_rows([row(s, s, 0.0) for scores in groups for s in scores])
    one, other = tally.as_dict()["score"], flat.as_dict()["score"]
    for name, value in one.items():
        assert value == pytest.approx(other[name], abs=1e-5)
    whole = np.array([s for scores in groups for s in scores])
    assert one["sd"] == pytest.approx(whole.std(), abs=1e-5)
