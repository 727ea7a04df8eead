import re

import pytest
import torch

from armorm.heads.checks import (
    check_finite,
    check_indices,
    check_rows,
    check_shape,
    check_weights,
)


def test_fitting_tensors_pass_every_check():
    check_shape("ratings", torch.zeros(5, 2), "n k", n=5, k=2)
    check_finite("ratings", torch.tensor([0.0, torch.nan]), nan_allowed=True)
    check_rows("ratings", torch.zeros(1, 2))
    check_weights("weights", torch.tensor([0.0, 1.0]), "k", k=2)
    check_indices("nuisances", [0, 2], 3)


def test_wrong_number_of_axes_names_the_axes():
    with pytest.raises(ValueError, match=r"^`x` must have shape \(n, k\); got \(3,\)$"):
        check_shape("x", torch.zeros(3), "n k")
    with pytest.raises(ValueError, match=r"^`x` must have shape \(k,\); got \(3, 1\)$"):
        check_shape("x", torch.zeros(3, 1), "k")


@pytest.mark.parametrize(("sizes", "axis"), [({"n": 5}, "0 (n) must be 5"), ({"k": 9}, "1 (k)")])
def test_wrong_size_names_the_axis(sizes, axis):
    with pytest.raises(ValueError, match=re.escape(f"got (4, 2): axis {axis}")):
        check_shape("x", torch.zeros(4, 2), "n k", **sizes)


def test_first_entry_that_is_not_finite_is_located():
    x = torch.zeros(80, 3)
    x[7, 2], x[9, 0] = torch.inf, torch.nan
    text = "`x` must be finite; 2 of 240 entries are not, the first at index (7, 2)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        check_finite("x", x)
    text = "`x` must be finite or NaN; 1 of 240 entries is not, the first at index (7, 2)"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        check_finite("x", x, nan_allowed=True)


def test_whole_numbers_are_refused_where_floats_belong():
    with pytest.raises(ValueError, match=r"^`x` must hold floating-point numbers; got int64$"):
        check_finite("x", torch.tensor([1]))


def test_too_few_rows_are_counted():
    with pytest.raises(ValueError, match=r"^`x` must have at least 1 row; got 0$"):
        check_rows("x", torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"^`x` must have at least 3 rows; got 2$"):
        check_rows("x", torch.zeros(2, 3), least=3)


def test_weights_are_refused_by_value():
    with pytest.raises(ValueError, match=r"^`w` must not be negative; got -0.5 at 1$"):
        check_weights("w", torch.tensor([1.0, -0.5]), "k")
    with pytest.raises(ValueError, match=r"^`w` must have a positive entry; all 2 are 0$"):
        check_weights("w", torch.zeros(2), "k")


def test_indices_are_refused_by_value():
    with pytest.raises(ValueError, match=r"^`v` must be indices from 0 to 2; got -1$"):
        check_indices("v", [0, -1], 3)
    with pytest.raises(ValueError, match=r"^`v` must be distinct indices; got \(1, 1\)$"):
        check_indices("v", [1, 1], 3)
