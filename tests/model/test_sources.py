"""Sources come and go: the heads are those of a fit on the rows that are left."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from armorm import BundleError
from armorm.heads.statistics import Statistics
from armorm.model.bundle import load_bundle, load_statistics
from armorm.model.card import model_card
from armorm.model.sources import add_source, counts_of, drop_source
from armorm.types import Scale
from bundles import OBJECTIVES, make_bundle, saved
from changed_bundles import ALPHA, RATED_BY, fitted_bundle, rated_rows, statistics_of
from fakes import HashBackbone

BACKBONE = HashBackbone().facts()
D = 8
ON = {"third": {name: Scale(1, 5) for name in ("honesty", "is_safe")}}


def third(n=25, seed=9):
    """Statistics of a new source."""
    return statistics_of("third", n, D, seed=seed, names=("honesty", "is_safe"))


def by_sklearn(name, sources, *, intercept=True):
    """Weight and bias of an objective on the rows of some sources: (source, n, seed, names)."""
    j, x, y = OBJECTIVES.index(name), [], []
    for n, seed, names in sources:
        features, ratings = rated_rows(n, D, names, seed=seed)
        rated = ~ratings[:, j].isnan()
        x.append(features[rated].double())
        y.append(ratings[rated, j])
    model = Ridge(alpha=ALPHA[name], fit_intercept=intercept)
    model.fit(torch.cat(x).numpy(), torch.cat(y).numpy())
    return torch.from_numpy(model.coef_).float(), torch.tensor(model.intercept_).float()


OWN = {s: (40, i, names) for i, (s, names) in enumerate(RATED_BY.items())}


@pytest.mark.parametrize("intercept", [True, False])
def test_heads_after_an_addition_are_those_of_sklearn_on_all_rows(intercept):
    bundle = fitted_bundle(BACKBONE, intercept=intercept)
    found = add_source(bundle, third(), scales=ON)
    rows = [*OWN.values(), (25, 9, ("honesty", "is_safe"))]
    for name in ("honesty", "is_safe"):
        j = OBJECTIVES.index(name)
        weight, bias = by_sklearn(name, rows, intercept=intercept)
        assert_close(found.weight[j], weight, rtol=1e-4, atol=1e-6)
        assert_close(found.bias[j], bias, rtol=1e-4, atol=1e-6)
    for j in (0, 2):  # not rated by the new source
        assert torch.equal(found.weight[j], bundle.weight[j])
        assert torch.equal(found.bias[j], bundle.bias[j])
    assert torch.equal(found.debias, bundle.debias)
    assert found.gating is bundle.gating
    assert found.scales["third"] == ON["third"]


@pytest.mark.parametrize("n", [40, 3])
def test_heads_after_a_withdrawal_are_those_of_sklearn_on_the_rest(n):
    bundle = fitted_bundle(BACKBONE, n=n)
    found = drop_source(bundle, "second")
    rest = [(n, i, names) for i, (s, names) in enumerate(RATED_BY.items()) if s != "second"]
    for name in ("honesty", "verbosity"):
        j = OBJECTIVES.index(name)
        weight, bias = by_sklearn(name, rest)
        assert_close(found.weight[j], weight, rtol=1e-4, atol=1e-6)
        assert_close(found.bias[j], bias, rtol=1e-4, atol=1e-6)
    for j in (0, 3):
        assert torch.equal(found.weight[j], bundle.weight[j])
    assert found.statistics.sources == ("general", "safety")
    assert "second" not in found.scales


def test_one_source_by_hand():
    # One feature, an objective: x = -1, 1 (y = -1, 1) and x = -2, 2 (y = 0, 0), alpha 1:
    # both w = 2 / (2 + 8 + 1), the first alone w = 2 / (2 + 1).
    backbone = HashBackbone(width=1).facts()
    x, y = torch.tensor([[-1.0], [1.0], [-2.0], [2.0]]), torch.tensor([-1.0, 1.0, 0.0, 0.0])
    ratings = torch.full((4, 4), torch.nan).double()
    ratings[:, 0] = y
    sums = Statistics.from_features(x, ratings, objectives=OBJECTIVES, sources=["a", "a", "b", "b"])
    facts = {"objectives": {"helpfulness": {"n": 4, "alpha": 1.0}}}
    bundle = make_bundle(backbone, statistics=sums, facts=facts, baselines=None)
    found = drop_source(bundle, "b")
    assert_close(found.weight[0], torch.tensor([2 / 3]))
    again = add_source(
        found,
        Statistics.from_features(
            x[2:], ratings[2:, :1], objectives=["helpfulness"], sources=["b", "b"]
        ),
        scales={"b": {"helpfulness": Scale(0, 1)}},
    )
    assert_close(again.weight[0], torch.tensor([2 / 11]))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(3, 30))
def test_a_source_that_comes_and_goes_leaves_the_heads_of_before(seed, n):
    bundle = fitted_bundle(BACKBONE)
    again = drop_source(add_source(bundle, third(n, seed), scales=ON), "third")
    assert_close(again.weight, bundle.weight, rtol=1e-5, atol=1e-6)
    assert_close(again.bias, bundle.bias, rtol=1e-5, atol=1e-6)
    assert again.scales == bundle.scales
    assert counts_of(again.statistics) == counts_of(bundle.statistics)


def test_statistics_on_disk_are_used_and_saved_again(tmp_path):
    stored = load_bundle(saved(tmp_path / "a", fitted_bundle(BACKBONE)))
    found = load_bundle(saved(tmp_path / "a", add_source(stored, third(), scales=ON)))
    assert counts_of(load_statistics(found)) == {
        "general": {"helpfulness": 40, "honesty": 40, "verbosity": 40},
        "second": {"honesty": 40, "verbosity": 40},
        "safety": {"is_safe": 40},
        "third": {"honesty": 25, "is_safe": 25},
    }
    # The bundle loaded before is of a file that is no longer there.
    with pytest.raises(BundleError, match="the SHA-256 must be"):
        drop_source(stored, "second")


def test_facts_and_card_tell_what_was_refitted():
    found = add_source(fitted_bundle(BACKBONE), third(), scales=ON)
    honesty = found.facts["objectives"]["honesty"]
    assert (honesty["n"], honesty["alpha"]) == (105, 10.0)
    assert (honesty["spearman"], honesty["r2"]) == (None, None)
    assert honesty["noise_std"] > 0
    assert found.facts["objectives"]["helpfulness"]["spearman"] == 0.5
    assert found.facts["accuracy"] == {}
    text = model_card(found)
    assert "1. `third` added: the ridge heads of `honesty`, `is_safe` were refitted with" in text
    assert "debias and gating were fitted before" in text
    assert "| honesty | 0 to 4 (general), 0 to 4 (second), 1 to 5 (third) | - | - | 105 |" in text
    assert "1. `second` withdrawn: the" in model_card(
        drop_source(fitted_bundle(BACKBONE), "second")
    )


def test_a_bundle_without_statistics_says_how_to_get_them():
    bundle = fitted_bundle(BACKBONE, statistics=False)
    text = (
        "the bundle 'tiny' must hold the statistics of its rated rows; it has none: train it with "
        "`ridge.keep_statistics: true`"
    )
    with pytest.raises(BundleError, match=text):
        drop_source(bundle, "second")
    with pytest.raises(BundleError, match=text):
        add_source(bundle, third(), scales=ON)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("secnd", "must be one of the bundle's statistics; 'secnd' is none; did you mean 'second'"),
        ("safety", "every objective must keep a rating; 'safety' alone rates `is_safe`"),
        ("general", "every objective must keep a rating; 'general' alone rates `helpfulness`"),
    ],
)
def test_sources_that_cannot_be_withdrawn_are_refused(source, text):
    with pytest.raises(ValueError, match=text):
        drop_source(fitted_bundle(BACKBONE), source)


def test_new_rows_that_do_not_fit_the_bundle_are_refused():
    bundle = fitted_bundle(BACKBONE)

    def refuses(rows, text, scales=ON):
        with pytest.raises(ValueError, match=text):
            add_source(bundle, rows, scales=scales)

    other = Statistics(["honestly"], D)
    refuses(other, "rows must rate objectives of the bundle; 'honestly' is none; did you mean")
    refuses(Statistics(["honesty"], D), "`rows` must have at least one rated row; got none")
    again = statistics_of("second", 5, D, seed=1)
    refuses(again, "`rows` must be of new sources; 'second' is in the statistics of the bundle")
    refuses(
        third(),
        "`scales` must have that of 'is_safe' for 'third'; it is absent",
        {"third": {"honesty": Scale(0, 1)}},
    )
    wide = Statistics.from_features(
        torch.randn(3, 9), torch.rand(3, 1).double(), objectives=["honesty"], sources=["t"] * 3
    )
    refuses(wide, "must have the same `d`; got 8 and 9", {"t": {"honesty": Scale(0, 1)}})


def test_a_head_without_a_known_alpha_is_not_refitted():
    bundle = dataclasses.replace(fitted_bundle(BACKBONE), facts={})
    text = "the facts of the bundle must state the alpha of 'honesty'; they do not"
    with pytest.raises(ValueError, match=text):
        drop_source(bundle, "second")
