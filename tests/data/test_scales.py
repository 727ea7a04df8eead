import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.data import check_objectives, objectives_of, rating_matrix
from armorm.errors import DataError
from armorm.types import Message, RatedResponse, Scale

SCALES = {
    "one": {"x": Scale(1, 5), "y": Scale(0, 4, offset=0.5, divisor=5)},
    "two": {"z": Scale(0, 1), "x": Scale(0, 10)},
}


def row(source, **ratings):
    return RatedResponse("r", (Message("user", "p"),), "q", source, ratings)


def test_objectives_keep_the_order_of_first_appearance():
    assert objectives_of(SCALES) == ("x", "y", "z")
    assert objectives_of({}) == ()


def test_each_source_normalises_by_its_own_scale():
    # (2 - 1) / 4 = .25, (4 + .5) / 5 = .9; 10 points: 5 / 10 = .5
    rows = [row("one", x=2, y=4), row("two", x=5, z=1)]
    matrix = rating_matrix(rows, ("x", "y", "z"), SCALES)
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, [[0.25, 0.9, math.nan], [0.5, math.nan, 1.0]])


def test_columns_follow_the_objectives_asked_for():
    np.testing.assert_array_equal(
        rating_matrix([row("one", x=5, y=0)], ("z", "x"), SCALES), [[math.nan, 1.0]]
    )


def test_no_rows_make_an_empty_matrix():
    assert rating_matrix([], ("x", "y"), SCALES).shape == (0, 2)


@settings(max_examples=30, deadline=None)
@given(
    raw=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    low=st.integers(-10, 10),
    width=st.integers(1, 20),
)
def test_an_affine_change_of_ratings_and_scale_changes_nothing(raw, low, width):
    def matrix(low, high, values):
        rows = [row("s", x=value) for value in values]
        return rating_matrix(rows, ["x"], {"s": {"x": Scale(low, high)}})

    moved = [min(max(low + width * value, low), low + width) for value in raw]
    np.testing.assert_allclose(
        matrix(low, low + width, moved), matrix(0, 1, raw), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(
    ("rows", "objectives", "text"),
    [
        ([], ["w"], "`objectives`: no source rates 'w'; known: 'x', 'y', 'z'"),
        ([], ["x", "x"], r"`objectives` must be distinct; got \['x', 'x'\]"),
        ([row("on", x=1)], ["x"], "row 'r': unknown source 'on'; did you mean 'one'"),
        ([row("one", z=1)], ["x"], "row 'r': unknown objective 'z'; known: 'x', 'y'"),
        ([row("one", x=0)], ["x"], "row 'r': rating 'x' must be from 1 to 5; got 0"),
        ([row("one", x=math.nan)], ["x"], "row 'r': rating 'x' must be from 1 to 5; got nan"),
    ],
)
def test_rows_that_the_scales_do_not_know_are_refused(rows, objectives, text):
    with pytest.raises(ValueError, match=text):
        rating_matrix(rows, objectives, SCALES)


def test_objectives_that_vary_on_enough_rows_pass():
    matrix = np.full((20, 2), np.nan)
    matrix[:10, 0] = np.linspace(0, 1, 10)
    matrix[10:, 1] = np.arange(10) > 0
    assert check_objectives(matrix, ("a", "b")) is None


def test_an_objective_with_too_few_ratings_is_named():
    matrix = np.full((20, 2), np.nan)
    matrix[:, 0] = np.linspace(0, 1, 20)
    matrix[:9, 1] = np.linspace(0, 1, 9)
    with pytest.raises(DataError) as caught:
        check_objectives(matrix, ("good", "rare"), where="recipe.yaml")
    text = "recipe.yaml: objective 'rare' must have at least 10 ratings; got 9"
    assert str(caught.value) == text


def test_every_objective_at_fault_is_named_at_once():
    matrix = np.full((12, 3), np.nan)
    matrix[:, 0] = 0.75
    matrix[:, 1] = np.linspace(0, 1, 12)
    with pytest.raises(DataError) as caught:
        check_objectives(matrix, ("flat", "good", "never"))
    assert str(caught.value) == (
        "objective 'flat' must have ratings that vary; all 12 are 0.75 (normalised); "
        "objective 'never' must have at least 10 ratings; got 0"
    )


def test_a_matrix_of_another_width_is_refused():
    text = r"`matrix` must have shape \(n, k\) with k = 2; got \(3, 1\)"
    with pytest.raises(ValueError, match=text):
        check_objectives(np.zeros((3, 1)), ("a", "b"))
