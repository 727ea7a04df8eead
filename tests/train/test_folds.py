"""Nothing of a held-out fold reaches the heads that are judged on it."""

import pytest
import torch

from armorm.heads.gating import GatingSettings
from armorm.train.cache import StageCache
from armorm.train.figures import held_out_predictions
from armorm.train.folds import Fitter, Settings
from armorm.train.stages import DerivedPairs, PairSet, RatedSet

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
    assert said == [(stage, done, 2) for stage in stages for done in (1, 2)]
