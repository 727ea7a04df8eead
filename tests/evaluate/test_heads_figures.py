import math

import numpy as np
import pytest
from scipy.stats import entropy

from armorm.evaluate.heads_figures import debias_figures, gating_figures


def test_gating_is_averaged_over_prompts_and_by_source():
    gating = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]
    figures = gating_figures(
        gating, ["y", "x", "x"], objectives=["a", "b", "masked"], beta=2.0, steps=7
    )
    assert figures.mean == pytest.approx({"a": 1.75 / 3, "b": 1.25 / 3, "masked": 0.0})
    assert list(figures.by_source) == ["x", "y"]
    assert figures.by_source["x"] == pytest.approx({"a": 0.375, "b": 0.625, "masked": 0.0})
    assert figures.entropy_mean == pytest.approx(np.mean([entropy(row) for row in gating]))
    # The masked objective cannot get any weight: two are left to spread over.
    assert figures.entropy_max == pytest.approx(math.log(2))
    assert (figures.beta, figures.steps) == (2.0, 7)


def test_equal_weights_reach_the_largest_entropy():
    figures = gating_figures(np.full((5, 4), 0.25), ["x"] * 5, objectives=list("abcd"))
    assert figures.entropy_mean == pytest.approx(figures.entropy_max)


def test_debias_leaves_the_nuisance_out_and_names_the_rest():
    figures = debias_figures(
        [[0.4, -0.1], [0.0, 0.0], [-0.2, 0.3]],
        [0.5, 1.0, -0.3],
        [0.001, math.nan, -0.004],
        objectives=["a", "verbosity", "b"],
        nuisances=["verbosity", "log_length"],
        n_rows=96,
    )
    assert figures.penalties == {
        "a": {"verbosity": 0.4, "log_length": -0.1},
        "b": {"verbosity": -0.2, "log_length": 0.3},
    }
    assert figures.before == {"a": 0.5, "b": -0.3}
    assert figures.largest_after == 0.004
    assert figures.n_rows == 96


def test_debias_of_nothing_but_the_nuisance_has_no_largest():
    figures = debias_figures(
        [[0.0]], [1.0], [math.nan], objectives=["verbosity"], nuisances=["verbosity"]
    )
    assert math.isnan(figures.largest_after)


@pytest.mark.parametrize(
    ("gating", "sources", "text"),
    [
        ([0.5, 0.5], ["x"], r"`gating` must have shape \(n, k\) with k = 2 objectives; got \(2,\)"),
        ([[0.5, 0.5]], ["x", "y"], r"`sources` must name one source a row of `gating`; got shape"),
        ([[0.5, 0.5], [0.5, 0.4]], ["x", "x"], r"row 1 adds up to 0.9, its smallest weight is 0.4"),
        ([[1.5, -0.5]], ["x"], r"row 0 adds up to 1, its smallest weight is -0.5"),
        ([[math.nan, 1.0]], ["x"], r"row 0 adds up to nan"),
    ],
)
def test_gating_is_refused_with_the_row_at_fault(gating, sources, text):
    with pytest.raises(ValueError, match=text):
        gating_figures(gating, sources, objectives=["a", "b"])


def test_debias_tables_must_follow_from_the_names():
    with pytest.raises(ValueError, match=r"`penalties` must have shape \(2, 1\); got \(2,\)"):
        debias_figures([0, 0], [0, 0], [0, 0], objectives=["a", "b"], nuisances=["b"])
    with pytest.raises(ValueError, match=r"`after` must have shape \(2,\); got \(3,\)"):
        debias_figures([[0], [0]], [0, 0], [0, 0, 0], objectives=["a", "b"], nuisances=["b"])
