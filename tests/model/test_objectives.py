"""An objective comes or goes, and every other one stays bit for bit."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch.testing import assert_close

from armorm import RewardModel
from armorm.evaluate.baselines import GATED as EVALUATED
from armorm.heads.debias import fit_debias, spearman
from armorm.heads.gating import GatingNetwork
from armorm.heads.ridge import fit_ridge, predict
from armorm.model.bundle import Baselines, load_bundle, load_statistics
from armorm.model.card import model_card
from armorm.model.changes import GATED
from armorm.model.objectives import ALPHAS, add_objective, drop_objective
from armorm.model.rivals import rival_scores
from armorm.train.config import RidgeRecipe
from armorm.types import Scale
from bundles import NUISANCE, OBJECTIVES, make_bundle, saved
from changed_bundles import fitted_bundle
from fakes import HashBackbone

BACKBONE = HashBackbone().facts()
D = 8


def rows(n=30, *, seed=5, d=D):
    """Features, ratings that follow them with noise, and five folds."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, generator=draw)
    truth, noise = torch.randn(d, generator=draw), torch.randn(n, generator=draw)
    ratings = (0.5 + 0.1 * features @ truth + 0.05 * noise).double()
    return {"features": features, "ratings": ratings, "folds": torch.arange(n) % 5}


def added(bundle, name="humour", **changes):
    given = rows() | {"scale": Scale(1, 5), "source": "new"} | changes
    return add_objective(bundle, name, **given)


def assert_kept(found, bundle):
    """The first k objectives have the heads that they had, to the last bit."""
    k = len(bundle.objectives)
    assert found.objectives[:k] == bundle.objectives
    assert torch.equal(found.weight[:k], bundle.weight)
    assert torch.equal(found.bias[:k], bundle.bias)
    assert torch.equal(found.debias[:k, :k], bundle.debias)
    assert not found.debias[k, :k].any()
    assert_kept_network(found.gating, bundle.gating, k)


def assert_kept_network(found, network, k):
    mine, theirs = found.state_dict(), network.state_dict()
    assert mine.keys() == theirs.keys()
    last = f"layers.{len(network.hidden)}."
    for name, wanted in theirs.items():
        tensor = mine[name][:k] if name.startswith(last) else mine[name]
        assert torch.equal(tensor, wanted), name


def test_a_head_by_hand():
    # One feature, ratings 0.1 x: with centred x the slope is 0.1 X'X / (X'X + alpha), alpha 2.
    x = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]]).repeat(3, 1)
    backbone = HashBackbone(width=1).facts()
    found = added(
        make_bundle(backbone, nuisances=(), debias=torch.eye(4), baselines=None),
        features=x,
        ratings=0.1 * x[:, 0].double(),
        folds=torch.arange(3).repeat_interleave(4),
        alphas=[2.0],
    )
    assert_close(found.weight[4], torch.tensor([0.1 * 60 / 62]))
    assert_close(found.bias[4], torch.tensor(0.0))


@pytest.mark.parametrize("intercept", [True, False])
def test_the_head_is_that_of_sklearn_with_the_alpha_of_least_held_out_error(intercept):
    bundle, new = fitted_bundle(BACKBONE, intercept=intercept), rows()
    found = added(bundle)
    x, y, folds = (new[name].double().numpy() for name in ("features", "ratings", "folds"))
    errors = []
    for alpha in ALPHAS:
        predicted = y.copy()
        for fold in range(5):
            model = Ridge(alpha=alpha, fit_intercept=intercept)
            model.fit(x[folds != fold], y[folds != fold])
            predicted[folds == fold] = model.predict(x[folds == fold])
        errors.append(float(((predicted - y) ** 2).sum()))
    best = ALPHAS[errors.index(min(errors))]
    assert found.facts["objectives"]["humour"]["alpha"] == best
    model = Ridge(alpha=best, fit_intercept=intercept).fit(x, y)
    assert_close(found.weight[4].double(), torch.from_numpy(model.coef_), rtol=1e-4, atol=1e-6)
    assert_close(float(found.bias[4]), float(model.intercept_), rtol=1e-4, atol=1e-6)


def test_the_figures_are_of_rows_that_their_heads_have_not_seen():
    # Alpha 1 alone: then the head of a fold is ridge on the other four.
    new = rows()
    of = added(make_bundle(BACKBONE), alphas=[1.0]).facts["objectives"]["humour"]
    x, y, folds = (new[name].double().numpy() for name in ("features", "ratings", "folds"))
    predicted = y.copy()
    for fold in range(5):
        model = Ridge(alpha=1.0).fit(x[folds != fold], y[folds != fold])
        predicted[folds == fold] = model.predict(x[folds == fold])
    assert of["spearman"] == pytest.approx(
        spearman(torch.from_numpy(predicted), torch.from_numpy(y)), abs=1e-6
    )
    left = ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert of["r2"] == pytest.approx(1 - left, abs=1e-5)
    assert (of["n"], of["alpha"]) == (30, 1.0)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), baselines=st.booleans())
def test_an_added_objective_changes_nothing_else(seed, baselines):
    bundle = make_bundle(BACKBONE, seed=seed, baselines=baselines)
    found = added(bundle)
    assert_kept(found, bundle)
    prompt = torch.randn(20, D, generator=torch.Generator().manual_seed(seed))
    gating = found.gating(prompt)
    assert not gating[:, 4].any()
    assert_close(gating[:, :4], bundle.gating(prompt))
    assert found.gating.masked == (*bundle.gating.masked, 4)
    if baselines:
        plain = found.baselines.gating_without_debias
        assert_kept_network(plain, bundle.baselines.gating_without_debias, 4)
        assert plain.masked == ()
        assert not plain(prompt)[:, 4].any()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_to_add_and_to_drop_is_the_identity(seed):
    bundle = make_bundle(BACKBONE, seed=seed)
    again = drop_objective(added(bundle), "humour")
    assert again.objectives == bundle.objectives
    assert again.nuisances == bundle.nuisances
    assert again.scales == bundle.scales
    for name in ("weight", "bias", "debias"):
        assert torch.equal(getattr(again, name), getattr(bundle, name))
    assert again.gating.masked == bundle.gating.masked
    assert_kept_network(again.gating, bundle.gating, 4)
    mine, theirs = again.baselines, bundle.baselines
    assert_kept_network(mine.gating_without_debias, theirs.gating_without_debias, 4)
    assert torch.equal(mine.fixed_weights, theirs.fixed_weights)
    assert torch.equal(mine.bradley_terry, theirs.bradley_terry)


def test_scores_of_conversations_and_of_rivals_are_what_they_were():
    backbone, bundle = HashBackbone(), make_bundle(BACKBONE)
    found = added(bundle)
    conversations = [{"prompt": f"{i}?", "response": f"{i}."} for i in range(40)]
    ours = RewardModel(found, backbone).score(conversations)
    theirs = RewardModel(bundle, backbone).score(conversations)
    # Parameters are equal bit for bit; products of another shape may differ in the last one.
    assert_close(ours.score, theirs.score, rtol=1e-6, atol=1e-6)
    assert not ours.contributions[:, 4].any()
    assert ours.objectives[:, 4].std() > 0
    features, prompt = torch.randn(9, D), torch.randn(9, D)
    tables = [
        rival_scores(
            predict(b.weight, b.bias, features),
            features,
            prompt,
            debias=b.debias,
            nuisances=b.nuisances,
            baselines=b.baselines,
        )
        for b in (found, bundle)
    ]
    for name in ("gate without debias", "best fixed weights", "black-box head"):
        assert_close(tables[0][name], tables[1][name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("nuisances", [(), (NUISANCE,), (1, NUISANCE)])
def test_the_debias_leaves_no_correlation_with_the_nuisances_on_the_new_rows(nuisances):
    bundle = make_bundle(BACKBONE)
    if nuisances != (NUISANCE,):
        matrix = torch.eye(4)
        for v in nuisances:
            matrix[v, v] = 0
        gating = GatingNetwork(D, 4, hidden=(6,), temperature=0.5, masked=nuisances)
        bundle = make_bundle(BACKBONE, nuisances=nuisances, debias=matrix, gating=gating)
    found, x = added(bundle), rows()["features"]
    raw = predict(found.weight, found.bias, x)
    debiased = raw @ found.debias
    for v in nuisances:
        assert abs(spearman(debiased[:, 4], raw[:, v])) <= 0.02
    if nuisances == (NUISANCE,):  # the same as the whole fit on these rows gives
        whole = fit_debias(raw, nuisances=nuisances)
        assert torch.equal(found.debias[:, 4], whole.matrix[:, 4])
    if not nuisances:
        assert torch.equal(found.debias, torch.eye(5))


def test_statistics_follow_an_added_and_a_dropped_objective(tmp_path):
    bundle = fitted_bundle(BACKBONE)
    stored = load_bundle(saved(tmp_path / "bundle", bundle))
    found = added(stored)
    assert found.statistics.objectives == (*OBJECTIVES, "humour")
    assert set(found.statistics.sources) == {"general", "second", "safety", "new"}
    assert [found.statistics.n_rated(j) for j in range(5)] == [40, 80, 80, 40, 30]
    dropped = drop_objective(found, "is_safe")
    assert [dropped.statistics.n_rated(j) for j in range(4)] == [40, 80, 80, 30]
    assert set(dropped.statistics.sources) == {"general", "second", "new"}
    # The head can be fitted from them again.
    alone = found.statistics.with_objectives(["humour"])
    fit = fit_ridge(alone, alpha=found.facts["objectives"]["humour"]["alpha"])
    assert_close(fit.weight[0], found.weight[4], rtol=1e-5, atol=1e-7)


def test_a_source_that_is_there_gets_one_more_scale():
    found = added(make_bundle(BACKBONE), source="safety")
    assert found.scales["safety"] == {"is_safe": Scale(0, 1), "humour": Scale(1, 5)}


def test_a_changed_bundle_is_saved_and_loaded(tmp_path):
    found = added(fitted_bundle(BACKBONE))
    again = load_bundle(saved(tmp_path / "bundle", found))
    assert again.objectives == found.objectives
    assert_kept(again, fitted_bundle(BACKBONE))
    assert again.gating.masked == found.gating.masked
    assert load_statistics(again).objectives == found.objectives
    assert again.facts == found.facts


def test_a_dropped_objective_leaves_the_others_bit_for_bit():
    bundle = make_bundle(BACKBONE)
    found, kept = drop_objective(bundle, "honesty"), [0, 2, 3]
    assert found.objectives == ("helpfulness", "verbosity", "is_safe")
    assert found.nuisances == (1,)
    assert torch.equal(found.weight, bundle.weight[kept])
    assert torch.equal(found.bias, bundle.bias[kept])
    assert torch.equal(found.debias, bundle.debias[kept][:, kept])
    assert found.scales["general"].keys() == {"helpfulness", "verbosity"}
    assert found.gating.masked == (1,)
    assert found.baselines.fixed_weights.tolist() == bundle.baselines.fixed_weights[kept].tolist()
    # By hand: the softmax over the rest is the old one, divided by what is left of it.
    prompt = torch.randn(20, D, generator=torch.Generator().manual_seed(0))
    old = bundle.gating(prompt)
    assert_close(found.gating(prompt), old[:, kept] / (1 - old[:, 1:2]))


def test_a_source_that_rates_nothing_else_goes_with_its_objective():
    assert drop_objective(make_bundle(BACKBONE), "is_safe").scales.keys() == {"general"}


def test_figures_that_no_longer_hold_are_left_out():
    bundle = fitted_bundle(BACKBONE)
    bundle.facts["accuracy"]["black-box head"] = 0.6
    bundle = dataclasses.replace(bundle, facts=bundle.facts | {"gating": {"mean": {}}})
    after = added(bundle).facts
    assert after["accuracy"] == {"gated": 0.7321, "black-box head": 0.6}
    assert after["gating"] == {"mean": {}}
    humour = after["objectives"]["humour"]["spearman"]
    assert after["mean_spearman"] == pytest.approx((4 * 0.5 + humour) / 5)
    after = drop_objective(bundle, "honesty").facts
    assert after["accuracy"] == {"black-box head": 0.6}
    assert after["gating"] is None
    assert "honesty" not in after["objectives"]
    assert after["mean_spearman"] == 0.5
    del bundle.facts["accuracy"]["black-box head"]
    assert len(after["changes"]) == 1


def test_the_name_of_the_gated_model_is_that_of_the_reports():
    assert GATED == EVALUATED


def test_the_default_alphas_are_those_of_a_recipe():
    assert RidgeRecipe().alphas == ALPHAS


def test_the_card_tells_every_change_in_order():
    found = drop_objective(added(make_bundle(BACKBONE)), "honesty")
    text = model_card(found).split("## Changes since the run\n")[1]
    first, second = text.strip().split("\n")[:2]
    assert first.startswith("1. The objective `humour` was added: 30 ratings of the source `new`,")
    assert "its gating weight is 0 until the gate is refitted on pairs." in first
    assert second.startswith("2. The objective `honesty` was dropped: the gating is shared out")
    assert "## Changes" not in model_card(make_bundle(BACKBONE))


def test_fixed_weights_on_the_dropped_objective_alone_leave_no_rivals():
    plain = make_bundle(BACKBONE).baselines.gating_without_debias
    only = Baselines(plain, torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.ones(D))
    bundle = make_bundle(BACKBONE, baselines=only)
    assert drop_objective(bundle, "honesty").baselines is None
    assert drop_objective(bundle, "is_safe").baselines.fixed_weights.tolist() == [0, 1, 0]
    unpaired = make_bundle(BACKBONE, baselines=Baselines(plain))
    assert drop_objective(unpaired, "honesty").baselines.fixed_weights is None
    assert added(unpaired).baselines.bradley_terry is None
    assert added(make_bundle(BACKBONE, baselines=False)).baselines is None


@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e6])
def test_a_rival_gives_no_weight_at_any_temperature(temperature):
    # A bias of minus infinity would not be stored, one of -100 is nothing at temperature 1e6.
    sizes = {"hidden": (6,), "temperature": temperature}
    plain = GatingNetwork(D, 4, **sizes)
    gating = GatingNetwork(D, 4, masked=(NUISANCE,), **sizes)
    found = added(make_bundle(BACKBONE, gating=gating, baselines=Baselines(plain)))
    prompt = torch.randn(5, D)
    weights = found.baselines.gating_without_debias(prompt)
    assert not weights[:, 4].any()
    assert_close(weights[:, :4], plain(prompt))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("honesty", "`name` must be that of a new objective; the bundle has 'honesty'"),
        (" ", "`name` must name the new objective; got ' '"),
    ],
)
def test_a_name_that_is_taken_or_empty_is_refused(name, text):
    with pytest.raises(ValueError, match=text):
        added(make_bundle(BACKBONE), name)


def one_fold_varies():
    ratings = torch.full((30,), 0.5).double()
    ratings[0] = 1.0
    return ratings


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"features": torch.zeros(30, 9)}, r"`features` must have shape \(n, d\); got \(30, 9\)"),
        ({"ratings": torch.zeros(29).double()}, r"`ratings` must have shape \(n,\); got \(29,\)"),
        ({"folds": torch.zeros(29)}, r"`folds` must have shape \(n,\); got \(29,\)"),
        ({"features": torch.full((30, D), torch.inf)}, "`features` must be finite; 240 of 240"),
        ({"ratings": torch.full((30,), torch.nan)}, "`ratings` must be finite; 30 of 30"),
        (rows(9), "`ratings` must have at least 10 rows; got 9"),
        ({"folds": torch.arange(30) % 2}, "`folds` must be at least 3; got 2"),
        (
            {"ratings": one_fold_varies()},
            "`ratings` must vary outside fold 0; all 24 there are 0.5",
        ),
        ({"alphas": [2.0, 1.0]}, r"`alphas` must be ascending and at least 0; got \[2.0, 1.0\]"),
    ],
)
def test_rows_that_no_head_can_be_fitted_on_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        added(make_bundle(BACKBONE), **changes)


def test_an_objective_that_is_the_nuisance_again_is_refused_by_name():
    bundle = fitted_bundle(BACKBONE, debias=torch.eye(4) * torch.tensor([1, 1, 0, 1]))
    x = rows()["features"]
    ratings = predict(bundle.weight, bundle.bias, x)[:, NUISANCE].double()
    text = (
        "debias of 'humour': objective scores of 'humour' is a linear map of 'verbosity': "
        "no penalty decorrelates them"
    )
    with pytest.raises(ValueError, match=text):
        added(bundle, ratings=ratings, alphas=[1e-9])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("honestly", "must be an objective of the bundle; 'honestly' is none; did you mean 'hone"),
        ("verbosity", "dropping a nuisance is refused: the debias takes 'verbosity' out of the"),
    ],
)
def test_what_cannot_be_dropped_is_refused(name, text):
    with pytest.raises(ValueError, match=text):
        drop_objective(make_bundle(BACKBONE), name)


def test_an_objective_that_an_imported_matrix_subtracts_is_a_nuisance():
    with pytest.raises(ValueError, match="dropping a nuisance is refused"):
        drop_objective(make_bundle(BACKBONE, nuisances=()), "verbosity")


def test_the_last_objective_that_is_weighed_is_not_dropped():
    bundle = make_bundle(BACKBONE)
    for name in ("helpfulness", "is_safe"):
        bundle = drop_objective(bundle, name)
    for last in (bundle, added(bundle)):  # an added one has no weight yet
        text = "one objective must be weighed by the gating; 'honesty' is the last"
        with pytest.raises(ValueError, match=text):
            drop_objective(last, "honesty")
