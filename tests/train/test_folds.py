"""Nothing of a held-out fold reaches the heads that are judged on it; baselines are themselves."""

import re
from dataclasses import replace

import pytest
import torch

from armorm.heads.debias import fit_debias
from armorm.heads.gating import GatingSettings
from armorm.heads.preference import choose_l2, fit_bradley_terry, fit_fixed_weights
from armorm.train.cache import StageCache, StageResult
from armorm.train.figures import debias_result
from armorm.train.folds import Fit, Fitter, Settings
from armorm.train.gating_stage import gating_stage, load_gate
from armorm.train.held_out import HeldOut, held_out_predictions
from armorm.train.inputs import TrainingData
from armorm.train.sets import DerivedPairs, GatePairs, PairSet, RatedSet, scores_of
from armorm.train.stages import L2_GRID, baselines_stage, gate_pairs

N_FOLDS, D, K = 4, 5, 3
NAMES = ("good", "kind", "verbosity")


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sets():
    """Rated rows and pairs; each two rated rows share a prompt."""
    n, p = 48, 28
    features = normal(n, D, seed=1)
    ratings = features.double() @ normal(D, K, seed=2).double() + normal(n, K, seed=3)
    ratings[::4, 1] = torch.nan
    folds = torch.arange(n) // 2 % N_FOLDS
    rated = RatedSet(features, ratings, folds, ("s",) * n, NAMES)
    better = normal(D, K, seed=2)[:, 0]  # what the first objective rates
    rejected = normal(p, D, seed=5)
    chosen = rejected + 0.5 * better + 0.5 * normal(p, D, seed=4)
    pairs = PairSet(normal(p, D, seed=6), chosen, rejected, torch.arange(p) % N_FOLDS)
    even = torch.arange(0, n, 2)
    return rated, pairs, DerivedPairs(even, even + 1, normal(n, D, seed=7), 0.5)


def fitter(folder, rated, pairs, derived, **changes):
    how = {
        "n_folds": N_FOLDS,
        "rounds": N_FOLDS,
        "alphas": (0.1, 1.0, 10.0),
        "intercept": True,
        "nuisances": (2,),
        "reference": "all",
        "gating": GatingSettings(
            hidden=(4,), max_steps=8, eval_every=2, initial="fixed_weights", learning_rate=0.05
        ),
    }
    inputs = {"rated": "r", "pairs": "p", "derived": "d"}
    cache, settings = StageCache(folder), Settings(**how | changes)
    return Fitter(cache, rated, pairs, derived, settings, inputs, objectives=NAMES)


def tensors_of(fit):
    stages = {"ridge": fit.ridge, "debias": fit.debias, "gating": fit.gating}
    stages |= {"plain": fit.plain_gating, "baselines": fit.baselines}
    return {
        f"{stage}.{name}": tensor.nan_to_num(7)
        for stage, result in stages.items()
        for name, tensor in result.tensors.items()
        if name != "cross_scores"
    }


def spoil(rated, pairs, derived, fold):
    """Change everything that is known of the rows of one fold, in place."""
    rows, theirs = rated.folds == fold, pairs.folds == fold
    rated.features[rows] = 9 - rated.features[rows]
    rated.ratings[rows] *= -4
    derived.prompt[rows] += 20
    pairs.prompt[theirs] *= -8
    pairs.chosen[theirs], pairs.rejected[theirs] = (
        pairs.rejected[theirs] * 3,
        pairs.chosen[theirs] - 5,
    )
    swapped = rows[derived.chosen]
    derived.chosen[swapped], derived.rejected[swapped] = (
        derived.rejected[swapped].clone(),
        derived.chosen[swapped].clone(),
    )


@pytest.mark.parametrize("held_out", [0, 2])
def test_no_head_depends_on_the_fold_that_is_held_out(tmp_path, held_out):
    before = tensors_of(fitter(tmp_path / "a", *sets()).fit(held_out))
    spoiled = sets()
    spoil(*spoiled, held_out)
    after = tensors_of(fitter(tmp_path / "b", *spoiled).fit(held_out))
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name


def test_every_stage_depends_on_the_folds_that_are_used(tmp_path):
    before = tensors_of(fitter(tmp_path / "a", *sets()).fit(0))
    spoiled = sets()
    spoil(*spoiled, 1)
    after = tensors_of(fitter(tmp_path / "b", *spoiled).fit(0))
    changed = {
        name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])
    }
    assert changed == {"ridge", "debias", "gating", "plain", "baselines"}


def test_final_fit_uses_every_fold(tmp_path):
    before = tensors_of(fitter(tmp_path / "a", *sets()).fit(None))
    for fold in (0, N_FOLDS - 1):
        spoiled = sets()
        spoil(*spoiled, fold)
        after = tensors_of(fitter(tmp_path / str(fold), *spoiled).fit(None))
        assert not torch.equal(before["ridge.weight"], after["ridge.weight"])
        assert not torch.equal(before["baselines.bradley_terry"], after["baselines.bradley_terry"])


def test_predictions_of_a_fold_come_from_the_heads_it_was_held_out_of(tmp_path):
    rated, pairs, derived = sets()
    made = fitter(tmp_path, rated, pairs, derived)
    fits = [made.fit(f) for f in range(N_FOLDS)]
    found = held_out_predictions(made, fits)
    for fit in fits:
        ridge, matrix = fit.ridge.tensors, fit.debias.tensors["matrix"]
        rows, theirs = rated.folds == fit.held_out, pairs.folds == fit.held_out
        scores = rated.features[rows] @ ridge["weight"].T + ridge["bias"]
        torch.testing.assert_close(found.objectives[rows], scores)
        gating = made.gate(fit)(pairs.prompt[theirs])
        torch.testing.assert_close(found.gating[theirs], gating)
        for side, features in enumerate((pairs.chosen, pairs.rejected)):
            clean = (features[theirs] @ ridge["weight"].T + ridge["bias"]) @ matrix
            expected = (gating * clean).sum(1)
            torch.testing.assert_close(found.pair_scores["gated"][theirs, side], expected)
            black_box = features[theirs] @ fit.baselines.tensors["bradley_terry"]
            torch.testing.assert_close(found.pair_scores["black-box head"][theirs, side], black_box)


def test_folds_without_a_turn_have_no_predictions(tmp_path):
    rated, pairs, derived = sets()
    made = fitter(tmp_path, rated, pairs, derived, rounds=2)
    found = held_out_predictions(made, [made.fit(0), made.fit(1)])
    assert found.objectives.isnan().any(1).tolist() == (rated.folds > 1).tolist()
    assert found.gating.isnan().any(1).tolist() == (pairs.folds > 1).tolist()
    assert found.pair_scores["gated"].isnan().any(1).tolist() == (pairs.folds > 1).tolist()


@pytest.mark.parametrize(("reference", "n"), [("rated", 36), ("pairs", 42), ("all", 78)])
def test_reference_rows_are_those_the_recipe_names(tmp_path, reference, n):
    made = fitter(tmp_path, *sets(), reference=reference)
    assert made.reference(1).shape == (n, D)


def test_nuisance_has_no_weight_in_the_gate_but_in_the_one_without_debias(tmp_path):
    made = fitter(tmp_path, *sets())
    fit = made.fit(None)
    prompts = normal(6, D, seed=9)
    assert bool((made.gate(fit)(prompts)[:, 2] == 0).all())
    assert bool((made.baselines(fit).gating_without_debias(prompts)[:, 2] > 0).all())


def test_ticks_name_the_stage(tmp_path):
    made, said = fitter(tmp_path, *sets(), rounds=1), []
    made.watch = lambda *what: said.append(what)
    made.fit(0)
    stages = ("gating/held-out-0", "gating-without-debias/held-out-0")
    counted = list(dict.fromkeys(what[:3] for what in said))
    assert counted == [(stage, done, 2) for stage in stages for done in (0, 1, 2)]
    remark = r"step \d/\d, loss \d\.\d{3}(, held-out accuracy [01]\.\d{3})?"
    assert all(re.fullmatch(remark, what[3]) for what in said if what[3])


def two_kinds_of_pairs(n=40):
    """Real pairs that favour the first objective, derived ones the second."""
    derived = torch.arange(n) >= n // 2
    favoured = derived.long()
    chosen = normal(n, 2, seed=1)  # noise enough that no weights separate all pairs
    chosen[torch.arange(n), favoured] += 1.0
    weight = torch.where(derived, 9.0, 1.0)
    folds = torch.arange(n) % N_FOLDS
    return GatePairs(normal(n, 3, seed=2), chosen, 0 * chosen, folds, weight, derived)


def test_gate_that_ships_starts_from_derived_pairs_too_with_their_weight():
    pairs = two_kinds_of_pairs()
    settings = GatingSettings(
        hidden=(), max_steps=1, learning_rate=1e-12, temperature=1.0, initial="fixed_weights"
    )
    result = gating_stage(pairs, used=range(N_FOLDS), rounds=N_FOLDS, settings=settings)
    gate = load_gate(result, in_features=3, n_objectives=2, settings=settings)
    start = fit_fixed_weights(pairs.chosen, pairs.rejected, sample_weight=pairs.weight).weights
    torch.testing.assert_close(gate(pairs.prompt), start.expand(40, 2), atol=1e-4, rtol=0)
    # Without the weights, or without the derived pairs, it would start elsewhere.
    even = fit_fixed_weights(pairs.chosen, pairs.rejected).weights
    real = fit_fixed_weights(*(t[~pairs.derived] for t in (pairs.chosen, pairs.rejected))).weights
    assert min(abs(float(start[0] - other[0])) for other in (even, real)) > 0.05


def test_penalty_of_the_black_box_head_is_chosen_on_the_used_folds():
    chosen, rejected = normal(60, 8, seed=3), normal(60, 8, seed=4)
    chosen[:, 0] += 0.5
    folds = torch.arange(60) % N_FOLDS
    pairs = PairSet(normal(60, 3, seed=5), chosen, rejected, folds)
    ones = torch.ones(60)
    scores = GatePairs(pairs.prompt, chosen[:, :2], rejected[:, :2], folds, ones, ones < 0)
    used = [0, 2, 3]
    rows = folds != 1
    result = baselines_stage(pairs, scores, used=used)
    path = choose_l2(chosen[rows], rejected[rows], folds=folds[rows], l2s=torch.tensor(L2_GRID))
    assert result.facts["l2"] == path.chosen
    assert path.chosen not in (L2_GRID[0], L2_GRID[-1])
    expected = fit_bradley_terry(chosen[rows], rejected[rows], l2=path.chosen)
    torch.testing.assert_close(result.tensors["bradley_terry"], expected)


def test_gate_without_debias_is_trained_on_raw_scores_and_may_weigh_the_nuisance(tmp_path):
    rated, pairs, derived = sets()
    made = fitter(tmp_path, rated, pairs, derived)
    fit = made.fit(0)
    raw = gate_pairs(fit.ridge.tensors, pairs, rated, derived)
    how = {"used": made.used(0), "rounds": N_FOLDS, "settings": made.settings.gating}
    expected = gating_stage(raw, **how)
    for name, tensor in expected.tensors.items():
        assert torch.equal(fit.plain_gating.tensors[name], tensor), name
    how["settings"] = replace(made.settings.gating, masked=(2,))
    clean = gating_stage(raw.transformed(fit.debias.tensors["matrix"]), **how)
    for name, tensor in clean.tensors.items():
        assert torch.equal(fit.gating.tensors[name], tensor), name
    assert fit.plain_gating.facts["beta"] != fit.gating.facts["beta"]


def test_of_several_nuisances_the_largest_correlation_is_reported(tmp_path):
    nothing = StageResult({}, {})
    before = torch.tensor([[0.1, -0.6], [0.3, 0.2], [torch.nan, 0.1], [0.4, torch.nan]])
    tensors = {"penalties": torch.zeros(4, 2), "before": before, "after": before / 100}
    debias = StageResult(tensors, {"n_rows": 9})
    final = Fit(None, nothing, debias, nothing, nothing, None)
    made = replace(fitter(tmp_path, None, None, None, nuisances=(2, 3)), objectives=tuple("abvw"))
    rows = TrainingData([], [], None, None)
    nobody = HeldOut(None, {}, None)
    figures = debias_result(nobody, rows, final, made, n_resamples=100, seed=0)
    assert {name: round(value, 6) for name, value in figures.before.items()} == {
        "a": -0.6,
        "b": 0.3,
    }
    assert round(figures.largest_after, 6) == 0.006


def test_part_of_the_debias_leaves_the_measured_nuisance_in_and_unweighed(tmp_path):
    """Objective 1 counts as measured: the second matrix removes objective 2 alone."""
    rated, pairs, derived = sets()
    made = fitter(tmp_path, rated, pairs, derived, nuisances=(2, 1), measured=(1,))
    fit = made.fit(0)
    matrix = fit.unmeasured_debias.tensors["matrix"]
    assert matrix[1].tolist() == matrix[:, 1].tolist() == [0.0, 1.0, 0.0]
    assert not matrix[:, 2].any()
    scores = scores_of(fit.ridge.tensors["weight"], fit.ridge.tensors["bias"], made.reference(0))
    alone = fit_debias(scores[:, [0, 2]], nuisances=[1]).matrix
    assert torch.equal(matrix[[0, 2]][:, [0, 2]], alone)
    prompts = normal(6, D, seed=9)
    assert not made.unmeasured_gate(fit)(prompts)[:, 1:].any()
    # The gate without debias weighs the rated nuisance, and nothing that nobody rated.
    plain = made.baselines(fit).gating_without_debias(prompts)
    assert (plain > 0).all(0).tolist() == [True, False, True]
    names = list(held_out_predictions(made, [fit]).pair_scores)
    assert names[:3] == ["gated", "gate without debias", "debias without measured"]
    assert len(made.gates(0)) == 3
    assert len(made.gates(None)) == 2
    assert made.fit(None).unmeasured_gating is None


def test_measured_nuisances_alone_need_no_part(tmp_path):
    made = fitter(tmp_path, *sets(), nuisances=(2,), measured=(2,))
    assert made.fit(0).unmeasured_debias is None
    assert len(made.gates(0)) == 2
