import json
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.moments import Moments, Rows, to_moments
from armorm.heads.ridge import fit_ridge
from armorm.heads.statistics import Statistics

NAMES = ("honesty", "clarity", "verbosity")


def draw(seed, n, d=5):
    """Rows with ratings missing at random and two sources."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    y = torch.rand(n, 3, generator=generator)
    y[torch.rand(n, 3, generator=generator) < 0.3] = torch.nan
    sources = ["web" if flag else "books" for flag in torch.rand(n, generator=generator) < 0.5]
    return x, y, sources


def summed(x, y, sources):
    return Statistics.from_features(x, y, objectives=NAMES, sources=sources)


def fitted(statistics):
    return fit_ridge(statistics, alpha=0.7)


def assert_same_fit(first, second):
    one, other = fitted(first), fitted(second)
    torch.testing.assert_close(one.weight, other.weight)
    torch.testing.assert_close(one.bias, other.bias)
    torch.testing.assert_close(one.noise_variance, other.noise_variance)
    assert torch.equal(one.n_rows, other.n_rows)


def test_parts_by_hand():
    # Two sources; the second row rates only the second objective; the third rates none.
    nan = torch.nan
    x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    y = torch.tensor([[0.1, 0.2], [nan, 0.3], [nan, nan], [0.4, 0.5]])
    found = Statistics.from_features(x, y, objectives=["a", "b"], sources=["s", "s", "s", "t"])
    assert found.sources == ("s", "t")
    assert [found.n_rated(j) for j in (0, 1)] == [2, 3]
    keys = [key for key, _ in found.contents(1)]
    assert keys == [("s", (0, 1)), ("s", (1,)), ("t", (0, 1))]
    assert [members for members, _ in found.groups()] == [(0,), (1,)]


def test_objectives_rated_together_are_one_group():
    x, y, _ = draw(0, 30)
    y = y.nan_to_num(0.5)
    y[:10, 2] = torch.nan
    groups = Statistics.from_features(x, y, objectives=NAMES).groups()
    assert [members for members, _ in groups] == [(0, 1), (2,)]
    assert [sum(c.n for c in contents) for _, contents in groups] == [30, 20]


def test_rows_stay_rows_below_the_feature_width_and_become_moments_from_it():
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    y = x[:, :1]
    few = Statistics.from_features(x[:7], y[:7], objectives=["a"])
    ((_, content),) = few.contents(0)
    assert isinstance(content, Rows)
    assert content.n == 7
    few.update(x[7:], y[7:])
    ((_, content),) = few.contents(0)
    assert isinstance(content, Moments)
    assert content.n == 12
    torch.testing.assert_close(
        content.xx, to_moments(Rows(x.double(), y.double())).xx, rtol=1e-9, atol=1e-9
    )


@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(0, 60), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_portions_and_sums_equal_one_pass(seed, cuts):
    x, y, sources = draw(seed, 60)
    whole = summed(x, y, sources)
    edges = [0, *sorted(cuts), 60]
    grown = Statistics(NAMES, 5)
    total = Statistics(NAMES, 5)
    for start, stop in pairwise(edges):
        part = slice(start, stop)
        grown.update(x[part], y[part], sources=sources[part])
        total = total + summed(x[part], y[part], sources[part])
    assert_same_fit(whole, grown)
    assert_same_fit(whole, total)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_order_of_rows_does_not_matter(seed):
    x, y, sources = draw(seed, 50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed)).tolist()
    assert_same_fit(summed(x, y, sources), summed(x[order], y[order], [sources[i] for i in order]))


def test_more_rows_than_a_chunk_equal_one_sum(monkeypatch):
    x, y, sources = draw(1, 100)
    whole = summed(x, y, sources)
    monkeypatch.setattr("armorm.heads.statistics._CHUNK", 7)
    assert_same_fit(whole, summed(x, y, sources))


def test_left_out_source_equals_never_seen():
    x, y, sources = draw(2, 80)
    web = [i for i, source in enumerate(sources) if source == "web"]
    kept = summed(x, y, sources).without("books")
    assert kept.sources == ("web",)
    assert_same_fit(kept, summed(x[web], y[web], ["web"] * len(web)))


def test_addition_and_leaving_out_change_neither_operand():
    x, y, sources = draw(3, 60)
    first, second = summed(x[:30], y[:30], sources[:30]), summed(x[30:], y[30:], sources[30:])
    before = fitted(first).weight
    total = first + second
    total.update(x, y, sources=sources)
    first.without("web").update(x, y, sources=sources)
    assert torch.equal(fitted(first).weight, before)
    assert total.n_rated(0) == 2 * (first.n_rated(0) + second.n_rated(0))


def test_rows_do_not_alias_the_callers_memory():
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.rand(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = Statistics.from_features(x, y, objectives=NAMES)
    before = fitted(found).weight
    x.zero_()
    y.zero_()
    assert torch.equal(fitted(found).weight, before)


@pytest.mark.parametrize("n", [3, 60, 63])
def test_state_brings_back_the_same_statistics(n):
    x, y, sources = draw(4, n)
    y[0] = 0.5
    found = summed(x, y, sources)
    tensors, header = found.state()
    assert all(tensor.dtype == torch.float64 for tensor in tensors.values())
    again = Statistics.from_state(tensors, header)
    assert (again.objectives, again.d, again.sources) == (NAMES, 5, found.sources)
    assert torch.equal(fitted(again).weight, fitted(found).weight)
    again.update(x, y, sources=sources)
    assert_same_fit(again, found + summed(x, y, sources))


def test_lower_precisions_are_summed_in_float64():
    # Sums of ones in bfloat16 stop at 256.
    x = torch.ones(600, 1, dtype=torch.bfloat16)
    x[::2] = 0
    found = Statistics.from_features(x, x, objectives=["a"])
    ((_, content),) = found.contents(0)
    assert isinstance(content, Moments)
    assert content.mean_x.item() == 0.5
    assert content.xx.item() == pytest.approx(150.0)


def test_float64_features_keep_their_digits():
    # In float32 these four features are all 1, and the slope of 1e9 is gone.
    x = 1 + 1e-9 * torch.arange(4.0, dtype=torch.float64)[:, None]
    y = torch.arange(4.0, dtype=torch.float64)[:, None]
    fit = fit_ridge(Statistics.from_features(x, y, objectives=["a"]), alpha=0.0)
    assert fit.weight.item() == pytest.approx(1e9, rel=1e-5)


def test_bad_statistics_are_refused():
    x, y, sources = draw(5, 10)
    found = summed(x, y, sources)
    with pytest.raises(
        ValueError, match=r"^`objectives` must name at least one objective; got none"
    ):
        Statistics([], 5)
    with pytest.raises(ValueError, match=r"^`objectives` must be distinct; 'a' is named twice$"):
        Statistics(["a", "b", "a"], 5)
    with pytest.raises(ValueError, match=r"^`d` must be at least 1; got 0$"):
        Statistics(["a"], 0)
    with pytest.raises(ValueError, match=r"`features` must have shape \(n, d\); got \(10,\)"):
        Statistics.from_features(x[:, 0], y, objectives=NAMES)
    with pytest.raises(ValueError, match=r"`features`.*axis 1 \(d\) must be 5"):
        found.update(x[:, :4], y, sources=sources)
    with pytest.raises(ValueError, match=r"`ratings`.*axis 0 \(n\) must be 10"):
        found.update(x, y[:4], sources=sources)
    with pytest.raises(ValueError, match=r"`ratings`.*axis 1 \(k\) must be 3"):
        found.update(x, y[:, :2], sources=sources)
    broken = x.clone()
    broken[7, 2] = torch.nan
    with pytest.raises(ValueError, match=r"^`features` .* 1 of 50 .* at index \(7, 2\)$"):
        found.update(broken, y)
    endless = y.clone()
    endless[7, 2] = torch.inf
    with pytest.raises(ValueError, match=r"^`ratings` must be finite or NaN; 1 of 30 entries"):
        found.update(x, endless)
    with pytest.raises(
        ValueError, match=r"^`sources` must have one entry a row; got 2 for 10 rows$"
    ):
        found.update(x, y, sources=["a", "b"])
    with pytest.raises(ValueError, match=r"^`source` 'wbe' is not in the sum; did you mean 'web'"):
        found.without("wbe")


def test_statistics_of_other_columns_do_not_add_up():
    with pytest.raises(
        ValueError, match=re.escape("must have the same `objectives`; got ('a',) and ('b',)")
    ):
        Statistics(["a"], 2) + Statistics(["b"], 2)
    with pytest.raises(ValueError, match=r"must have the same `d`; got 2 and 3$"):
        Statistics(["a"], 2) + Statistics(["a"], 3)


def test_damaged_state_is_refused():
    tensors, header = summed(*draw(6, 40)).state()
    newer = json.dumps({**json.loads(header), "schema": 2})
    with pytest.raises(ValueError, match=r"^statistics must have schema 1; got 2$"):
        Statistics.from_state(tensors, newer)
    name = next(iter(tensors))
    with pytest.raises(ValueError, match=f"must have the tensor '{name}'; it is absent"):
        Statistics.from_state({n: t for n, t in tensors.items() if n != name}, header)
