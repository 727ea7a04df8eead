import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.explain.compare import compare

SEEDS = st.integers(0, 2**31)


def random_sides(explained, seed, k=6):
    rng = np.random.default_rng(seed)
    names = [f"objective_{j}" for j in range(k)]
    coefficients = dict(zip(names, rng.normal(size=k).tolist(), strict=True))
    return [
        explained(dict(zip(names, rng.random(k).tolist(), strict=True)), coefficients)
        for _ in range(2)
    ]


def test_differences_by_hand(sides):
    comparison = compare(*sides, beta=10.0, id="pair")
    found = {d.name: d.contribution for d in comparison.differences}
    # correctness: .4 (.9 - .6); helpfulness: .2 (.8 - .5); is_safe: .3 (.9 - .7);
    # verbosity: -.1 (.7 - .4)
    by_hand = {"correctness": 0.12, "helpfulness": 0.06, "is_safe": 0.06, "verbosity": -0.03}
    assert found == pytest.approx(by_hand)
    assert comparison.margin == pytest.approx(0.21)
    assert comparison.probability == pytest.approx(1 / (1 + math.exp(-2.1)))
    assert comparison.id == "pair"
    assert comparison.differences[0].name == "correctness"
    assert comparison.differences[-1].name == "verbosity"


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_differences_add_up_to_the_margin(explained, seed):
    chosen, rejected = random_sides(explained, seed)
    comparison = compare(chosen, rejected)
    assert sum(d.contribution for d in comparison.differences) == pytest.approx(
        chosen.score - rejected.score, abs=1e-6
    )
    for d in comparison.differences:
        assert d.contribution == pytest.approx(d.chosen_coefficient * (d.chosen - d.rejected))
    sizes = [abs(d.contribution) for d in comparison.differences]
    assert sizes == sorted(sizes, reverse=True)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_swapping_the_sides_negates_margin_and_differences(explained, seed):
    chosen, rejected = random_sides(explained, seed)
    forward, back = compare(chosen, rejected, beta=3.0), compare(rejected, chosen, beta=3.0)
    assert back.margin == -forward.margin
    assert back.probability == pytest.approx(1 - forward.probability)
    assert [(d.name, -d.contribution) for d in back.differences] == [
        (d.name, d.contribution) for d in forward.differences
    ]
    assert back.deciding == forward.deciding


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_deciding_objectives_are_the_fewest_that_turn_the_decision(explained, seed):
    comparison = compare(*random_sides(explained, seed))
    sign = math.copysign(1, comparison.margin)
    by_name = {d.name: sign * d.contribution for d in comparison.differences}
    margin = sign * comparison.margin

    def turns(names):
        return margin - sum(by_name[name] for name in names) <= 1e-9

    assert turns(comparison.deciding)
    fewer = len(comparison.deciding) - 1
    assert not any(turns(names) for names in combinations(by_name, fewer))


def test_nothing_decides_a_tie(sides):
    comparison = compare(sides[0], sides[0], beta=5.0)
    assert comparison.margin == 0
    assert comparison.deciding == ()
    assert comparison.probability == 0.5


def test_probability_survives_margins_of_any_size(explained):
    one, zero = explained({"a": 1.0}, {"a": 1e4}), explained({"a": 0.0}, {"a": 1e4})
    assert compare(one, zero, beta=1.0).probability == 1.0
    assert compare(zero, one, beta=1.0).probability == 0.0
    assert compare(one, zero).probability is None


def test_equal_contributions_keep_the_order_of_the_model(explained):
    names = ["c", "a", "b"]
    one = explained(dict.fromkeys(names, 0.5), dict.fromkeys(names, 1.0))
    other = explained(dict.fromkeys(names, 0.25), dict.fromkeys(names, 1.0))
    assert [d.name for d in compare(one, other).differences] == names


def test_rounding_of_float32_is_allowed(sides):
    chosen = replace(sides[0], score=float(np.float32(sides[0].score)))
    compare(chosen, sides[1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"score": 0.9},
            r"`chosen.contributions` must add up to the score 0.9; they add up to 0.72",
        ),
        ({"score": math.nan}, r"`chosen.contributions` must add up to the score nan"),
        ({"contributions": {}}, r"`chosen` must have at least 1 objective; got none"),
        (
            {"objectives": {"helpfulness": 0.5}},
            r"`chosen.objectives` must name the objectives of `chosen.contributions`; "
            r"'correctness' is in one of them only",
        ),
        (
            {
                "coefficients": {
                    "helpfulness": math.inf,
                    "correctness": 0.4,
                    "is_safe": 0.3,
                    "verbosity": -0.1,
                }
            },
            r"`chosen.coefficients` must be finite; 'helpfulness' is inf",
        ),
    ],
)
def test_an_explanation_that_is_none_is_refused(sides, change, text):
    with pytest.raises(ValueError, match=text):
        compare(replace(sides[0], **change), sides[1])


def test_sides_of_two_models_are_refused(sides, explained):
    with pytest.raises(ValueError, match="only one side has 'correctness', 'honesty'"):
        compare(
            sides[0],
            explained(
                {"helpfulness": 0.1, "honesty": 0.3, "is_safe": 0.2, "verbosity": 0.2},
                dict.fromkeys(["helpfulness", "honesty", "is_safe", "verbosity"], 0.25),
            ),
        )


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_beta_must_be_positive(sides, beta):
    with pytest.raises(ValueError, match=f"`beta` must be positive and finite; got {beta}"):
        compare(*sides, beta=beta)
