"""What is said of a change of the weights, and of ratings of similar responses."""

import pytest

from armorm.explain.compare import ObjectiveDifference
from armorm.explain.flip import Flip, SingleChange, flip_gating, flip_weights
from armorm.explain.flip_words import flip_in_words
from armorm.explain.nearest import RatedNeighbour
from armorm.explain.nearest_words import pair_in_words, rating_on_scale, response_in_words
from armorm.types import Message, RatedResponse, Scale

STARS, FOUR = Scale(1, 5), Scale(0, 4)


def near(rating, scale=FOUR, similarity=0.8):
    row = RatedResponse("r", (Message("user", "hi"),), "yes", "s", {"honesty": rating})
    return RatedNeighbour(row, "honesty", rating, scale, similarity)


def difference(chosen=0.8, rejected=0.5):
    return ObjectiveDifference("honesty", chosen, rejected, 0.2, 0.2, 0.2 * (chosen - rejected))


def factor(value, objective="is_safe", **more):
    single = SingleChange(objective, value, value, {objective: value}, "")
    return Flip(0.12, {"helpfulness": 0.1, "honesty": 0.02}, objective, single, **more)


def test_a_factor_below_one_is_a_share_of_what_counts_now():
    assert flip_in_words(factor(0.4, "helpfulness")) == (
        "The model would prefer the other response if helpfulness counted for less than 40 % of "
        "what it does now. The least shift that would do it is 12 % of the weight, from "
        "helpfulness and honesty to helpfulness."
    )


def test_a_factor_above_one_is_a_multiple():
    text = flip_in_words(factor(1.8))
    assert "if being safe counted 1.8 times as much as it does now." in text


@pytest.mark.parametrize("value", [0.05, 230.0])
def test_a_factor_that_nobody_would_choose_is_not_said(value):
    assert flip_in_words(factor(value)) == (
        "To prefer the other response, the model would have to move 12 % of the weight, from "
        "helpfulness and honesty to being safe."
    )


def test_small_shares_keep_a_digit_and_many_objectives_are_counted():
    taken = {f"o{j}": 0.001 * (5 - j) for j in range(5)}
    text = flip_in_words(Flip(0.015, taken, "x"))
    assert text.endswith("1.5 % of the weight, from o0, o1, o2 and 2 others to x.")
    assert "move less than 0.1 % of" in flip_in_words(Flip(0.0002, {"a": 0.0002}, "x"))
    assert "from o0, o1, o2 and 1 other to" in flip_in_words(
        Flip(0.01, {name: taken[name] for name in list(taken)[:4]}, "x")
    )


def test_where_no_weighting_is_enough_it_says_so():
    behind = flip_gating({"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.1}, margin=0.15)
    assert flip_in_words(behind, nuisances=["verbosity", "log_length"]) == (
        "No weighting of the objectives would prefer the other response: with verbosity and log "
        "length taken out, it is behind on all of them."
    )
    level = flip_gating({"a": 0.5, "b": 0.5}, {"a": 0.2, "b": 0.0}, margin=0.1)
    assert flip_in_words(level).endswith("other response: it is ahead on none of them.")
    assert flip_in_words(None) == ""


def test_a_fixed_weight_is_named_with_its_direction():
    up = flip_weights({"a": 1.0}, {"a": 0.3, "b": -0.5}, margin=0.3)
    assert flip_in_words(up) == (
        "The model would prefer the other response if b had a weight of 0.61 or more."
    )
    down = flip_weights({"a": 1.0}, {"a": 0.3, "b": 0.1}, margin=0.3)
    assert flip_in_words(down).endswith("if a had a weight of -0.1 or less.")


def test_raters_who_agree_are_told():
    text = pair_in_words(difference(), [near(4.0)] * 3, [near(1.0), near(2.0), near(1.0)])
    assert text == (
        "For honesty, raters gave the 3 responses most like the chosen response 4 of 4, and the 3 "
        "most like the rejected one 1.3 of 4 on average."
    )


def test_raters_who_disagree_with_the_model_are_told():
    text = pair_in_words(difference(), [near(1.0)], [near(4.0)])
    assert text.startswith("For honesty, raters gave the response most like the chosen response 1")
    assert text.endswith("against the model, which puts the chosen response higher there.")
    assert "against" not in pair_in_words(difference(), [near(4.0)], [near(4.0)])
    assert "rejected response higher" in pair_in_words(
        difference(0.2, 0.5), [near(4.0)], [near(1.0)]
    )


def test_responses_that_are_not_close_prove_nothing():
    text = pair_in_words(difference(), [near(1.0, similarity=0.2)], [near(4.0, similarity=0.3)])
    assert text.endswith("None of them is close, so that says little.")
    one = pair_in_words(difference(), [near(1.0, similarity=0.2)], [near(4.0)])
    assert one.endswith("None like the chosen one is close, so that says little.")
    assert response_in_words("honesty", [near(1.0, similarity=0.2)]).endswith("is close.")


def test_ratings_of_several_scales_are_a_share():
    assert "75 % of the scale on average" in response_in_words(
        "honesty", [near(2.0), near(5.0, STARS)]
    )
    assert rating_on_scale(near(3.5, STARS)) == "3.5 of 5"
    assert rating_on_scale(near(-1.0, Scale(-2, 2))) == "-1 on -2 to 2"


def test_without_rated_rows_nothing_is_said():
    assert pair_in_words(difference(), [], [near(1.0)]) == ""
    assert response_in_words("honesty", []) == ""
