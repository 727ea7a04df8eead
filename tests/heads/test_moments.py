from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.moments import Moments, Rows, Scratch, concatenate, fill, squared_error, total
from fakes import products as products_of


def draw(seed, m, d=4, q=2, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(m, d, generator=generator, dtype=torch.float64) + mean
    return Rows(x, torch.rand(m, q, generator=generator, dtype=torch.float64))


def summed(rows):
    return total([rows], [range(rows.ratings.shape[1])])


def cut(rows, *edges):
    """Rows in portions."""
    bounds = [0, *sorted(min(edge, rows.n) for edge in edges), rows.n]
    return [Rows(rows.features[a:b], rows.ratings[a:b]) for a, b in pairwise(bounds) if b > a]


def slow(rows):
    """Mean and centred products of z = (x, y) by the formula."""
    z = np.concatenate([rows.features.double().numpy(), rows.ratings.numpy()], 1)
    centred = z - z.mean(0)
    return z.mean(0), centred.T @ centred


def assert_moments(found, rows, **tolerance):
    mean, products = slow(rows)
    assert found.n == rows.n
    np.testing.assert_allclose(found.mean, mean, **{"rtol": 1e-12, "atol": 1e-12} | tolerance)
    np.testing.assert_allclose(
        products_of(found), products, **{"rtol": 1e-9, "atol": 1e-9} | tolerance
    )


def test_moments_by_hand():
    # x = 1, 3: mean 2, deviations -1, 1. y = 0, 1: mean 1/2, deviations -1/2, 1/2.
    x = torch.tensor([[1.0], [3.0]], dtype=torch.bfloat16)
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    found = summed(Rows(x, y))
    assert (found.n, found.mean.tolist()) == (2, [2.0, 0.5])
    assert products_of(found).tolist() == [[2.0, 1.0], [1.0, 0.5]]


def test_sum_of_two_moments_by_hand():
    # One row each at 1 and 3: no spread within, mean 2, products 2 * (1/2) * 2^2 / 2 = 2.
    x = torch.tensor([[1.0], [3.0]])
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    found = summed(Rows(x[:1], y[:1]))
    found.add(summed(Rows(x[1:], y[1:])))
    assert (found.n, found.mean.tolist()) == (2, [2.0, 0.5])
    assert products_of(found).tolist() == [[2.0, 1.0], [1.0, 0.5]]


@given(
    seed=st.integers(0, 2**31),
    m=st.integers(1, 40),
    edges=st.lists(st.integers(0, 40), min_size=1, max_size=3),
    mean=st.sampled_from([0.0, 100.0]),
)
@settings(max_examples=30, deadline=None)
def test_moments_of_parts_add_up_to_those_of_the_whole(seed, m, edges, mean):
    rows = draw(seed, m, mean=mean)
    found, chunked = Moments.zero(4, 2), Moments.zero(4, 2)
    for part in cut(rows, *edges):
        found.add(summed(part))
        chunked.add_rows(part.features, part.ratings, Scratch())
    assert_moments(found, rows)
    assert_moments(chunked, rows)
    assert torch.equal(concatenate(cut(rows, *edges)).features, rows.features)


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
def test_chunks_change_nothing_but_rounding(monkeypatch, limit):
    rows = draw(1, 50, mean=3.0)
    monkeypatch.setattr(Scratch, "limit", staticmethod(lambda width: limit))
    assert_moments(summed(rows), rows)


def test_chunk_is_bounded_in_rows_and_bytes():
    assert Scratch.limit(5) == Scratch.limit(4096) == 8192
    assert Scratch.limit(100_000) * 100_000 * 8 <= 2**28
    assert Scratch.limit(2**40) == 1


def test_rows_of_an_index_are_added_in_its_order():
    rows = draw(2, 30)
    index = np.random.default_rng(0).permutation(30)[:17]
    found = Moments.zero(4, 2)
    found.add_rows(rows.features, rows.ratings[index], Scratch(), index=index)
    assert_moments(found, Rows(rows.features[index], rows.ratings[index]))
    target = np.empty((17, 4))
    fill(target, rows.features, index=index, about=np.full(4, 2.0))
    assert np.array_equal(target, rows.features[index].numpy() - 2)


@pytest.mark.parametrize("order", ["first", "last"])
def test_drift_between_chunks_costs_no_digits(order):
    # 30 rows at 0 and 600 at 1e6: products about a point that is off by the drift would
    # lose 12 digits of the spread within.
    near, far = draw(3, 30), draw(4, 600, mean=1e6)
    parts = [near, far] if order == "first" else [far, near]
    found = Moments.zero(4, 2)
    for part in parts:
        found.add_rows(part.features, part.ratings, Scratch())
    whole = concatenate(parts)
    _, products = slow(whole)
    # Relative to the products themselves, which hold the drift: 1e-13 of 3e13.
    np.testing.assert_allclose(products_of(found), products, rtol=1e-12, atol=10.0)
    # The difference of two features is blind to the drift; its spread keeps its digits.
    contrast = np.array([1.0, -1.0, 0.0, 0.0, 0.0, 0.0])
    difference = (whole.features[:, 0] - whole.features[:, 1]).numpy()
    spread = ((difference - difference.mean()) ** 2).sum()
    assert contrast @ products_of(found) @ contrast == pytest.approx(spread, rel=1e-4)


def test_squared_error_of_moments_equals_that_of_rows():
    rows = draw(3, 25, q=3, mean=5.0)
    rng = np.random.default_rng(4)
    weight, bias = rng.standard_normal((6, 2, 4)), rng.standard_normal((6, 2))
    columns = [2, 0]
    x, y = rows.features.numpy(), rows.ratings.numpy()
    expected = np.array(
        [
            [((x @ weight[a, c] + bias[a, c] - y[:, j]) ** 2).sum() for c, j in enumerate(columns)]
            for a in range(6)
        ]
    )
    np.testing.assert_allclose(squared_error(rows, columns, weight, bias), expected, rtol=1e-10)
    found = squared_error(summed(rows), columns, weight, bias)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_large_means_cost_no_digits():
    # Products about zero lose them all: the mean is 1e8 times the spread, its square 1e16.
    rows = draw(5, 200, mean=0.0)
    shifted = Rows(rows.features + 1e8, rows.ratings)
    exact = Rows(shifted.features - 1e8, rows.ratings)  # what the shift itself leaves
    found = Moments.zero(4, 2)
    for part in cut(shifted, 60, 120):
        found.add_rows(part.features, part.ratings, Scratch())
    for moments_of_shifted in (found, summed(shifted)):
        np.testing.assert_allclose(
            products_of(moments_of_shifted), slow(exact)[1], rtol=1e-6, atol=1e-6
        )


def test_products_about_zero_are_those_of_the_rows():
    rows = draw(6, 20, mean=3.0)
    found = summed(rows)
    found.about_zero()
    z = np.concatenate([rows.features.numpy(), rows.ratings.numpy()], 1)
    np.testing.assert_allclose(products_of(found), z.T @ z, rtol=1e-12)
    assert not found.mean.any()


def test_selected_columns_keep_their_numbers():
    rows = draw(6, 10, q=3)
    assert_moments(summed(rows).select([2, 0]), rows.select([2, 0]))
    assert_moments(total([rows], [[1]]), rows.select([1]))


def test_only_the_upper_triangle_is_ever_written():
    found = Moments.zero(4, 2)
    for seed in (7, 8):
        rows = draw(seed, 9, mean=2.0)
        found.add_rows(rows.features, rows.ratings, Scratch())
        found.add(summed(rows), [1, 0])
    found.about_zero()
    assert not np.tril(found.xx, -1).any()
