"""Stages against slow references on small random data."""

import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from torch.testing import assert_close

from armorm.errors import DataError, RecipeError
from armorm.heads.gating import GatingSettings, fit_gating
from armorm.train.cache import StageResult
from armorm.train.gating_stage import gating_stage, load_gate
from armorm.train.sets import DerivedPairs, GatePairs, PairSet, RatedSet
from armorm.train.stages import L2_GRID, baselines_stage, debias_stage, gate_pairs, ridge_stage

N_FOLDS, D, K = 4, 5, 3
NAMES = ("good", "kind", "verbosity")
SMALL = GatingSettings(hidden=(4,), max_steps=30, eval_every=2, patience=4, learning_rate=0.05)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rated_set(n=40, *, missing=True, seed=0):
    features = normal(n, D, seed=seed)
    weight = normal(D, K, seed=seed + 1).double()
    ratings = features.double() @ weight + normal(n, K, seed=seed + 2)
    if missing:
        ratings[::3, 0] = torch.nan
        ratings[1::5, 2] = torch.nan
    folds = torch.arange(n) // 2 % N_FOLDS
    return RatedSet(features, ratings, folds, tuple("ab"[i % 2] for i in range(n)), NAMES)


def pair_set(p=24, seed=5):
    chosen, rejected = normal(p, D, seed=seed) + 0.3, normal(p, D, seed=seed + 1)
    return PairSet(normal(p, D, seed=seed + 2), chosen, rejected, torch.arange(p) % N_FOLDS)


def random_gate_pairs(p=40, seed=9, derived=()):
    flags = torch.zeros(p, dtype=torch.bool)
    flags[list(derived)] = True
    return GatePairs(
        normal(p, D, seed=seed),
        normal(p, K, seed=seed + 1) + 0.2,
        normal(p, K, seed=seed + 2),
        torch.arange(p) % N_FOLDS,
        torch.where(flags, 0.5, 1.0),
        flags,
    )


def ridge(rated, used=(0, 1, 2, 3), *, alphas=(0.1, 1.0, 10.0), intercept=True, rounds=N_FOLDS):
    parts = rated.statistics(N_FOLDS)
    return ridge_stage(
        rated, parts, used=used, rounds=rounds, alphas=alphas, intercept=intercept
    ).tensors


def slow_head(rated, folds, alpha, j, intercept=True):
    """Ridge of scikit-learn on the rows of some folds where objective j is rated."""
    rows = torch.isin(rated.folds, torch.tensor(folds)) & ~rated.ratings[:, j].isnan()
    head = Ridge(alpha=float(alpha), fit_intercept=intercept)
    return head.fit(rated.features[rows].double().numpy(), rated.ratings[rows, j].numpy())


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("used", [(0, 1, 2, 3), (0, 2, 3)])
def test_head_is_that_of_sklearn_on_the_used_folds(used, intercept):
    rated = rated_set()
    found = ridge(rated, used, intercept=intercept)
    for j in range(K):
        head = slow_head(rated, used, found["alpha"][j], j, intercept)
        expected = torch.tensor(head.coef_).float()
        assert_close(found["weight"][j], expected, rtol=1e-4, atol=1e-5)
        assert_close(float(found["bias"][j]), float(head.intercept_), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("used", [(0, 1, 2, 3), (1, 3), (0, 1, 3)])
def test_cross_scores_are_those_of_heads_that_have_not_seen_the_fold(used):
    rated = rated_set()
    found = ridge(rated, used)
    for fold in range(N_FOLDS):
        rows = rated.folds == fold
        if fold not in used:
            assert bool(found["cross_scores"][rows].isnan().all())
            continue
        for j in range(K):
            others = [f for f in used if f != fold]
            head = slow_head(rated, others, found["alpha"][j], j)
            expected = torch.tensor(head.predict(rated.features[rows].double().numpy())).float()
            assert_close(found["cross_scores"][rows, j], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rounds", "validated"), [(4, (0, 1, 2, 3)), (2, (0, 1)), (1, (0,))])
def test_losses_are_the_errors_on_the_folds_that_take_a_turn(rounds, validated):
    rated, alphas = rated_set(), (0.1, 1.0, 10.0)
    found = ridge(rated, alphas=alphas, rounds=rounds)
    for j in range(K):
        for a, alpha in enumerate(alphas):
            errors = []
            for fold in validated:
                head = slow_head(rated, [f for f in range(N_FOLDS) if f != fold], alpha, j)
                rows = (rated.folds == fold) & ~rated.ratings[:, j].isnan()
                guess = torch.tensor(head.predict(rated.features[rows].double().numpy()))
                errors.append((guess - rated.ratings[rows, j]) ** 2)
            loss = torch.cat(errors).mean()
            assert_close(found["losses"][a, j].double(), loss.double(), rtol=1e-4, atol=1e-5)
        assert found["alpha"][j] == alphas[int(found["losses"][:, j].argmin())]


@settings(max_examples=10, deadline=None)
@given(fold=st.integers(0, N_FOLDS - 1), seed=st.integers(0, 99))
def test_ratings_of_a_fold_do_not_reach_its_own_cross_scores(fold, seed):
    # With one alpha: the choice among several looks at all used folds.
    rated = rated_set()
    other = rated_set()
    rows = rated.folds == fold
    other.ratings[rows] = normal(int(rows.sum()), K, seed=seed).double()
    before = ridge(rated, alphas=(1.0,))["cross_scores"]
    after = ridge(other, alphas=(1.0,))["cross_scores"]
    assert torch.equal(before[rows], after[rows])
    assert not torch.equal(before[~rows], after[~rows])


def test_folds_outside_the_used_ones_change_nothing():
    rated, other = rated_set(), rated_set()
    rows = rated.folds == 2
    other.ratings[rows] += 5
    other.features[rows] *= -3
    before, after = ridge(rated, (0, 1, 3)), ridge(other, (0, 1, 3))
    for name, value in before.items():
        assert torch.equal(value.nan_to_num(7), after[name].nan_to_num(7)), name


def head_of(weight):
    return {"weight": weight, "bias": torch.zeros(len(weight))}


def test_debias_leaves_no_rank_correlation_with_the_nuisance():
    head, reference = head_of(normal(K, D, seed=3)), normal(200, D, seed=4)
    found = debias_stage(head, reference, nuisances=[2], objectives=NAMES)
    raw = reference @ head["weight"].T
    clean = raw @ found.tensors["matrix"]
    assert found.facts == {"n_rows": 200}
    assert bool((clean[:, 2] == 0).all())
    for j in (0, 1):
        before = spearmanr(raw[:, j], raw[:, 2]).statistic
        after = spearmanr(clean[:, j], raw[:, 2]).statistic
        assert float(found.tensors["before"][j, 0]) == pytest.approx(before, abs=1e-6)
        assert float(found.tensors["after"][j, 0]) == pytest.approx(after, abs=1e-6)
        assert abs(after) <= 0.02
        assert abs(before) > 0.02


def test_without_nuisances_debias_is_the_identity():
    head = head_of(normal(K, D))
    found = debias_stage(head, normal(9, D), nuisances=[], objectives=NAMES)
    assert torch.equal(found.tensors["matrix"], torch.eye(K))
    assert {found.tensors[n].shape for n in ("penalties", "before", "after")} == {(K, 0)}


def test_objective_that_cannot_be_debiased_is_named():
    weight = normal(K, D, seed=3)
    weight[1] = 2 * weight[2]
    with pytest.raises(DataError, match=r"debias: .*column 1 \('kind'\) is a linear map") as e:
        debias_stage(head_of(weight), normal(50, D), nuisances=[2], objectives=NAMES)
    assert "'good'" not in str(e.value)
    assert "nuisance 2 ('verbosity')" in str(e.value)
    weight[1] = 0
    with pytest.raises(DataError, match=r"debias: .*column 1 \('kind'\) must vary"):
        debias_stage(head_of(weight), normal(50, D), nuisances=[2], objectives=NAMES)


def derived_pairs(rated):
    """Each even row against the odd one of the same prompt."""
    even = torch.arange(0, len(rated.folds), 2)
    return DerivedPairs(even, even + 1, normal(len(rated.folds), D, seed=8), 0.25)


def test_gate_pairs_are_real_ones_first_then_derived_ones_of_cross_fitted_rows():
    rated, pairs = rated_set(missing=False), pair_set()
    derived = derived_pairs(rated)
    head = ridge(rated, (0, 1, 3))
    found = gate_pairs(head, pairs, rated, derived)
    p, kept = len(pairs.folds), rated.folds[derived.chosen] != 2
    assert found.derived.tolist() == [False] * p + [True] * int(kept.sum())
    assert found.weight.tolist() == [1.0] * p + [0.25] * int(kept.sum())
    assert torch.equal(found.folds, torch.cat([pairs.folds, rated.folds[derived.chosen[kept]]]))
    assert_close(found.chosen[:p], pairs.chosen @ head["weight"].T + head["bias"])
    assert_close(found.rejected[:p], pairs.rejected @ head["weight"].T + head["bias"])
    assert torch.equal(found.chosen[p:], head["cross_scores"][derived.chosen[kept]])
    assert torch.equal(found.rejected[p:], head["cross_scores"][derived.rejected[kept]])
    assert torch.equal(found.prompt[p:], derived.prompt[derived.chosen[kept]])
    # The head's own scores of rows it was fitted on would be another number.
    own = rated.features[derived.chosen[kept]] @ head["weight"].T + head["bias"]
    assert not torch.allclose(found.chosen[p:], own, atol=1e-3)


def test_gate_pairs_may_be_of_one_kind_alone():
    rated, pairs = rated_set(missing=False), pair_set()
    head = ridge(rated)
    real = gate_pairs(head, pairs, None, None)
    assert not bool(real.derived.any())
    assert len(real.folds) == len(pairs.folds)
    only = gate_pairs(head, None, rated, derived_pairs(rated))
    assert bool(only.derived.all())
    assert len(only.folds) == 20


def test_transformed_pairs_keep_everything_but_the_scores():
    pairs, matrix = random_gate_pairs(derived=(3,)), normal(K, K)
    found = pairs.transformed(matrix)
    assert torch.equal(found.chosen, pairs.chosen @ matrix)
    assert torch.equal(found.rejected, pairs.rejected @ matrix)
    for name in ("prompt", "folds", "weight", "derived"):
        assert getattr(found, name) is getattr(pairs, name)


def test_kept_gate_trains_on_all_used_folds_for_the_median_best_step():
    # With this seed the three best steps differ, so that their median is neither end.
    pairs, used = random_gate_pairs(seed=13), (0, 1, 3)
    how = GatingSettings(hidden=(4,), max_steps=40, eval_every=1, patience=10, learning_rate=0.05)
    found = gating_stage(pairs, used=used, rounds=3, settings=how)
    best = []
    for fold in used:
        train = pairs.rows((pairs.folds != fold) & (pairs.folds != 2))
        held = pairs.rows(pairs.folds == fold)
        fit = fit_gating(
            train.prompt,
            train.chosen,
            train.rejected,
            settings=how,
            validation=(held.prompt, held.chosen, held.rejected),
            sample_weight=train.weight,
        )
        best.append(fit.best_step)
    assert found.facts["best_steps"] == best
    assert min(best) < found.facts["steps"] < max(best)
    assert found.facts["steps"] == statistics.median(best)
    whole = pairs.rows(pairs.folds != 2)
    kept = fit_gating(
        whole.prompt,
        whole.chosen,
        whole.rejected,
        settings=how,
        sample_weight=whole.weight,
        steps=found.facts["steps"],
    )
    network = load_gate(found, in_features=D, n_objectives=K, settings=how)
    assert torch.equal(network(pairs.prompt), kept.network(pairs.prompt))
    assert found.facts["beta"] == kept.beta


@pytest.mark.parametrize("initial", ["uniform", "fixed_weights", "random"])
def test_pairs_outside_the_used_folds_do_not_reach_the_gate(initial):
    pairs, other = random_gate_pairs(), random_gate_pairs()
    rows = pairs.folds == 2
    other.prompt[rows] *= 9
    other.chosen[rows], other.rejected[rows] = pairs.rejected[rows] - 1, pairs.chosen[rows] + 1
    how = GatingSettings(hidden=(4,), max_steps=6, eval_every=2, initial=initial)
    before = gating_stage(pairs, used=(0, 1, 3), rounds=3, settings=how)
    after = gating_stage(other, used=(0, 1, 3), rounds=3, settings=how)
    assert before.facts == after.facts
    for name, value in before.tensors.items():
        assert torch.equal(value, after.tensors[name]), name


def test_gate_stops_on_real_pairs_where_there_are_any():
    mixed = random_gate_pairs(derived=range(20, 40))
    other = random_gate_pairs(derived=range(20, 40))
    # Fold 0 trains no gate that stops on fold 0, so only what is judged there can tell.
    rows = mixed.derived & (mixed.folds == 0)
    other.chosen[rows], other.rejected[rows] = mixed.rejected[rows], mixed.chosen[rows]
    before = gating_stage(mixed, used=range(N_FOLDS), rounds=1, settings=SMALL)
    after = gating_stage(other, used=range(N_FOLDS), rounds=1, settings=SMALL)
    assert before.facts["validation_losses"] == after.facts["validation_losses"]
    only = random_gate_pairs(derived=range(40))
    assert (
        len(gating_stage(only, used=range(N_FOLDS), rounds=4, settings=SMALL).facts["best_steps"])
        == 4
    )


def test_rounds_limit_the_gates_and_ticks_count_them():
    ticks = []
    found = gating_stage(
        random_gate_pairs(),
        used=range(N_FOLDS),
        rounds=2,
        settings=SMALL,
        tick=lambda *t: ticks.append(t),
    )
    assert len(found.facts["best_steps"]) == 2
    counted = list(dict.fromkeys(tick[:2] for tick in ticks))
    assert counted == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert "held-out accuracy" in ticks[0][2]
    assert "held-out" not in ticks[-2][2]
    assert ticks[-1][2] == ""


def test_pairs_of_one_fold_cannot_train_a_gate():
    pairs = random_gate_pairs()
    one = pairs.rows(pairs.folds == 1)
    with pytest.raises(DataError, match=r"at least two prompts .*; there are 10 pairs in 1"):
        gating_stage(one, used=range(N_FOLDS), rounds=4, settings=SMALL)
    with pytest.raises(DataError, match="there are 0 pairs in 0 folds"):
        gating_stage(one, used=(0, 2, 3), rounds=3, settings=SMALL)


def test_settings_that_lead_nowhere_are_a_mistake_of_the_recipe():
    settings = GatingSettings(hidden=(4,), max_steps=3, temperature=1e-300)
    with pytest.raises(RecipeError, match=r"^gating: training must have a finite loss; it has no"):
        gating_stage(random_gate_pairs(), used=[0, 1, 2], rounds=3, settings=settings)


def test_black_box_head_is_the_logistic_regression_of_sklearn_on_used_pairs():
    pairs = pair_set()
    scores = gate_pairs(head_of(normal(K, D)), pairs, None, None)
    found = baselines_stage(pairs, scores, used=(0, 1, 3))
    rows = pairs.folds != 2
    difference = (pairs.chosen - pairs.rejected)[rows].double().numpy()
    l2, p = found.facts["l2"], len(difference)
    assert l2 in L2_GRID
    # Summed loss + l2 / 2 |w|^2; both signs of each difference, for sklearn needs two classes.
    both = [*difference, *(-difference)]
    slow = LogisticRegression(C=1 / (2 * l2), fit_intercept=False, tol=1e-10, max_iter=9999)
    slow.fit(both, [1] * p + [0] * p)
    expected = torch.tensor(slow.coef_[0])
    assert_close(found.tensors["bradley_terry"].double(), expected, rtol=1e-3, atol=1e-4)


def test_fixed_weights_are_no_worse_than_any_single_objective_on_the_used_pairs():
    pairs = pair_set()
    scores = gate_pairs(head_of(normal(K, D)), pairs, None, None)
    found = baselines_stage(pairs, scores, used=(0, 1, 3)).tensors["fixed_weights"]
    assert bool((found >= 0).all())
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    rows = pairs.folds != 2
    margins = (scores.chosen - scores.rejected)[rows]

    def loss(weights):
        scale = torch.logspace(-3, 3, 200)[:, None]
        return torch.nn.functional.softplus(-scale * (margins @ weights)).mean(1).min()

    assert all(loss(found) <= loss(torch.eye(K)[j]) + 1e-3 for j in range(K))


def test_gate_is_rebuilt_with_its_mask():
    how = GatingSettings(hidden=(), max_steps=4, eval_every=2, masked=(2,))
    found = gating_stage(random_gate_pairs(), used=range(4), rounds=4, settings=how)
    stored = StageResult(found.tensors, found.facts)
    weights = load_gate(stored, in_features=D, n_objectives=K, settings=how)(normal(6, D))
    assert bool((weights[:, 2] == 0).all())
    assert_close(weights.sum(1), torch.ones(6))
