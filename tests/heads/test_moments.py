import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.moments import Rows, concatenate, gram, merge, squared_error, to_moments


def draw(seed, m, d=4, q=2, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, d, generator=generator, dtype=torch.float64) + mean
    return Rows(x, torch.rand(m, q, generator=generator, dtype=torch.float64))


def test_moments_by_hand():
    # x = 1, 3: mean 2, deviations -1, 1. y = 0, 1: mean 1/2, deviations -1/2, 1/2.
    x = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    found = to_moments(Rows(x, y))
    assert (found.n, found.mean_x.item(), found.mean_y.item()) == (2, 2.0, 0.5)
    assert (found.xx.item(), found.xy.item(), found.yy.item()) == (2.0, 1.0, 0.5)


@pytest.mark.parametrize("m", [1, 3, 40])
def test_gram_equals_the_product(m):
    x = draw(0, m).features
    torch.testing.assert_close(gram(x), x.T @ x)
    assert torch.equal(gram(x), gram(x).T)


@given(seed=st.integers(0, 2**31), m=st.integers(1, 30), split=st.integers(1, 29))
@settings(max_examples=30, deadline=None)
def test_moments_of_parts_add_up_to_those_of_the_whole(seed, m, split):
    rows = draw(seed, m + 1, mean=100.0)
    at = min(split, m)
    first = Rows(rows.features[:at], rows.ratings[:at])
    second = Rows(rows.features[at:], rows.ratings[at:])
    found, whole = merge(to_moments(first), to_moments(second)), to_moments(rows)
    assert found.n == whole.n
    for field in ("mean_x", "mean_y", "xx", "xy", "yy"):
        torch.testing.assert_close(
            getattr(found, field), getattr(whole, field), rtol=1e-9, atol=1e-9
        )
    together = to_moments(concatenate([first, second]))
    assert torch.equal(together.xx, whole.xx)


def test_squared_error_of_moments_equals_that_of_rows():
    rows = draw(3, 25, mean=5.0)
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    bias = torch.randn(6, generator=generator, dtype=torch.float64)
    for column in (0, 1):
        slow = torch.stack(
            [
                ((rows.features @ w + b - rows.ratings[:, column]) ** 2).sum()
                for w, b in zip(weight, bias, strict=True)
            ]
        )
        torch.testing.assert_close(squared_error(rows, column, weight, bias), slow)
        torch.testing.assert_close(squared_error(to_moments(rows), column, weight, bias), slow)


def test_large_means_cost_no_digits():
    # Products about zero lose them all: the mean is 1e8 times the spread, its square 1e16.
    rows = draw(5, 200, mean=0.0)
    shifted = Rows(rows.features + 1e8, rows.ratings)
    exact = Rows(shifted.features - 1e8, rows.ratings)  # what the shift itself leaves
    torch.testing.assert_close(to_moments(shifted).xx, to_moments(exact).xx, rtol=1e-6, atol=1e-6)


def test_selected_columns_keep_their_numbers():
    rows = draw(6, 10, q=3)
    found, direct = to_moments(rows).select([2, 0]), to_moments(rows.select([2, 0]))
    torch.testing.assert_close(found.xy, direct.xy)
    torch.testing.assert_close(found.yy, direct.yy)
    torch.testing.assert_close(found.mean_y, direct.mean_y)
