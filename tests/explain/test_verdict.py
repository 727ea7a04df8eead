from types import SimpleNamespace

import pytest

from armorm.explain.verdict import compare_pair, scales_for
from armorm.types import Message, PreferencePair, Scale

PAIR = PreferencePair("p1", (Message("user", "hi"),), "yes", "no")


class FixedScorer:
    """Scores by a table from response to explanation, and keeps what it was asked."""

    def __init__(self, by_response, weights=None):
        self.by_response, self.weights = by_response, weights
        self.bundle = SimpleNamespace(beta=10.0)
        self.asked = []

    def score(self, conversations):
        self.asked.append(conversations)
        return [self.by_response[c.response] for c in conversations]


def test_both_sides_are_scored_in_one_call_chosen_first(sides):
    model = FixedScorer({"yes": sides[0], "no": sides[1]})
    comparison = compare_pair(model, PAIR)
    assert comparison.margin == pytest.approx(0.21)
    assert comparison.id == "p1"
    assert comparison.probability == pytest.approx(0.891, abs=1e-3)
    assert len(model.asked) == 1


def test_fixed_weights_have_no_probability(sides):
    model = FixedScorer({"yes": sides[0], "no": sides[1]}, weights={"helpfulness": 1.0})
    assert compare_pair(model, PAIR).probability is None


def test_the_own_scale_of_a_source_wins_and_a_disputed_one_is_left_out():
    scales = {
        "one": {"helpfulness": Scale(0, 4), "honesty": Scale(1, 5)},
        "two": {"helpfulness": Scale(1, 10), "is_safe": Scale(0, 1)},
    }
    assert scales_for(scales, "one") == {
        "helpfulness": Scale(0, 4),
        "honesty": Scale(1, 5),
        "is_safe": Scale(0, 1),
    }
    assert scales_for(scales, "") == {"honesty": Scale(1, 5), "is_safe": Scale(0, 1)}
