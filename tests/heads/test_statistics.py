import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.moments import Moments, Rows
from armorm.heads.ridge import fit_ridge
from armorm.heads.ridge_system import systems
from armorm.heads.statistics import Statistics
from fakes import products as products_of

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
    keys = [key for key, _ in found.contents([1])]
    assert keys == [("s", (0, 1)), ("s", (1,)), ("t", (0, 1))]
    assert found.groups() == [(0,), (1,)]


def test_objectives_rated_together_are_one_group():
    x, y, _ = draw(0, 30)
    y = y.nan_to_num(0.5)
    y[:10, 2] = torch.nan
    found = Statistics.from_features(x, y, objectives=NAMES)
    assert found.groups() == [(0, 1), (2,)]
    n_rows = [sum(c.n for _, c in found.contents(members)) for members in found.groups()]
    assert n_rows == [30, 20]


def test_rows_stay_rows_below_the_feature_width_and_become_moments_from_it():
    x = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    y = x[:, :1]
    few = Statistics.from_features(x[:7], y[:7], objectives=["a"])
    ((_, content),) = few.contents([0])
    assert isinstance(content, Rows)
    assert content.n == 7
    few.update(x[7:], y[7:])
    ((_, content),) = few.contents([0])
    assert isinstance(content, Moments)
    assert content.n == 12
    z = torch.cat([x, y], 1).double()
    expected = (z - z.mean(0)).T @ (z - z.mean(0))
    np.testing.assert_allclose(products_of(content), expected.numpy(), rtol=1e-9, atol=1e-9)
    few.update(x[:3], y[:3])
    later = [content for _, content in few.contents([0])]
    assert [type(content) for content in later] == [Moments, Rows]
    assert [content.n for content in later] == [12, 3]


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
    monkeypatch.setattr("armorm.heads.statistics._WINDOW", 7)
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
    kinds = {name: t.dtype for name, t in tensors.items()}
    rows = {name for name in kinds if name.endswith("features")}
    assert all(kinds[name] == (torch.float32 if name in rows else torch.float64) for name in kinds)
    assert bool(rows)
    assert (n == 3) == all("xx" not in name for name in kinds)
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
    ((_, content),) = found.contents([0])
    assert isinstance(content, Moments)
    assert content.mean[0] == 0.5
    assert content.xx[0, 0] == pytest.approx(150.0)


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
    older = json.dumps({**json.loads(header), "schema": 1})
    with pytest.raises(ValueError, match=r"^statistics must have schema 2; got 1$"):
        Statistics.from_state(tensors, older)
    name = next(iter(tensors))
    with pytest.raises(ValueError, match=f"must have the tensor '{name}'; it is absent"):
        Statistics.from_state({n: t for n, t in tensors.items() if n != name}, header)
    for suffix, wanted in (("mean", r"\(\d+,\)"), ("features", r"\(n, 5\)")):
        name = next(name for name in tensors if name.endswith(suffix))
        text = rf"^the tensor '{name}' must have shape {wanted}; got \(3,\)$"
        with pytest.raises(ValueError, match=text):
            Statistics.from_state({**tensors, name: torch.zeros(3)}, header)


@pytest.mark.parametrize("n", [4, 80])
def test_bfloat16_equals_float32_of_the_same_values_bit_for_bit(n):
    x, y, sources = draw(7, n)
    y[0] = 0.5
    low = x.bfloat16()
    one, other = summed(low, y, sources), summed(low.float(), y, sources)
    first, second = one.state()[0], other.state()[0]
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name].double(), second[name].double())
    assert torch.equal(fitted(one).weight, fitted(other).weight)
    narrow = [name for name in first if name.endswith("features")]
    assert all(first[name].dtype == torch.bfloat16 for name in narrow)


def test_rows_of_two_precisions_keep_their_digits_together():
    # 257 is not a bfloat16: a common precision that is too low would round it to 256.
    x = torch.tensor([[257.0, 0.0, 1.0]])
    y = torch.tensor([[0.5]])
    found = Statistics(["a"], 3)
    found.update(x.bfloat16() * 0 + 1, y)
    found.update(x, y)
    ((_, content),) = found.contents([0])
    assert content.features.tolist() == [[1.0, 1.0, 1.0], [257.0, 0.0, 1.0]]


def test_what_was_handed_out_does_not_change():
    x, y, sources = draw(8, 80)
    found = summed(x, y, sources)
    given = [(key, content) for key, content in found.contents([0, 1, 2])]
    before = [products_of(c) for _, c in given if isinstance(c, Moments)]
    tensors, header = found.state()
    again = Statistics.from_state(tensors, header)
    loaded = fitted(again).weight
    found.update(x, y, sources=sources)
    after = [products_of(c) for _, c in given if isinstance(c, Moments)]
    assert len(before) > 3
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    for tensor in tensors.values():
        tensor.zero_()
    assert torch.equal(fitted(again).weight, loaded)


def test_sums_that_share_moments_can_grow_apart():
    x, y, sources = draw(9, 80)
    empty = Statistics(NAMES, 5)
    first = summed(x, y, sources)
    before = fitted(first).weight
    for second in (empty + first, first + empty, first.without("web"), first.without("books")):
        kept = fitted(second).weight
        first.update(x[:0], y[:0], sources=[])
        second.update(x, y, sources=sources)
        assert torch.equal(fitted(first).weight, before)
        assert not torch.equal(fitted(second).weight, kept)


def test_refused_rows_leave_nothing_behind():
    x, y, sources = draw(10, 40)
    found = summed(x, y, sources)
    before = fitted(found).weight
    x[39, 4] = torch.inf
    with pytest.raises(ValueError, match=r"1 of 200 entries is not, the first at index \(39, 4\)"):
        found.update(x, y, sources=sources)
    assert torch.equal(fitted(found).weight, before)


def test_features_whose_squares_overflow_are_refused():
    x, y, _ = draw(11, 6)
    x = x.double()
    x[2, 1] = -1e200
    text = r"^`features` must be at most 1e\+140 in size, so that sums .* finite; got 1e\+200$"
    with pytest.raises(ValueError, match=text):
        Statistics.from_features(x, y, objectives=NAMES)
    with pytest.raises(ValueError, match=r"^`features` must hold floating-point numbers; got int"):
        Statistics.from_features(x.clamp(-9, 9).long(), y, objectives=NAMES)


@given(seed=st.integers(0, 2**31), n=st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_other_objectives_equal_statistics_of_the_other_columns(seed, n):
    x, y, sources = draw(seed, n)
    found = summed(x, y, sources).with_objectives(["verbosity", "novelty", "honesty"])
    columns = torch.stack([y[:, 2], torch.full((n,), torch.nan), y[:, 0]], 1)
    direct = Statistics.from_features(
        x, columns, objectives=["verbosity", "novelty", "honesty"], sources=sources
    )
    assert found.objectives == direct.objectives
    assert [found.n_rated(j) for j in range(3)] == [direct.n_rated(j) for j in range(3)]
    assert found.groups() == direct.groups()
    for members in direct.groups():
        one, other = found.contents(members), direct.contents(members)
        assert {key for key, _ in one} == {key for key, _ in other}
        for system, reference in zip(
            systems(found, intercept=True), systems(direct, intercept=True), strict=True
        ):
            alphas = np.array([0.5, 2.0])
            np.testing.assert_allclose(
                system.solve(alphas)[0], reference.solve(alphas)[0], rtol=1e-8, atol=1e-8
            )


def test_objectives_that_stay_keep_their_weights_bit_for_bit():
    x, y, sources = draw(12, 90)
    y = y.nan_to_num(0.5)
    y[:20, 2] = torch.nan  # rows that rate the dropped objective, and rows that do not
    found = summed(x, y, sources)
    before = fitted(found)
    longer = found.with_objectives([*NAMES, "novelty"])
    assert longer.n_rated(3) == 0
    assert fitted(longer.with_objectives(NAMES)).weight.equal(before.weight)
    shorter = fitted(found.with_objectives(NAMES[:2]))
    torch.testing.assert_close(shorter.weight, before.weight[:2])
    assert fitted(found).weight.equal(before.weight)


def test_statistics_without_their_last_objective_are_of_no_source():
    x, y, _ = draw(13, 12)
    y[:, 1:] = torch.nan
    found = Statistics.from_features(x, y, objectives=NAMES, sources=["web"] * 12)
    assert found.sources == ("web",)
    assert found.with_objectives(["clarity"]).sources == ()


def test_statistics_of_no_rows_have_none():
    found = Statistics.from_features(torch.zeros(0, 4), torch.zeros(0, 3), objectives=NAMES)
    assert (found.sources, found.groups(), found.n_rated(0)) == ((), [], 0)
