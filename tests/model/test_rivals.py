"""The rivals of the gated model, by hand and against the slow formulas."""

import pytest
import torch
from torch.testing import assert_close

from armorm.model.bundle import Baselines
from armorm.model.rivals import BLACK_BOX, FIXED_WEIGHTS, UNIFORM, WITHOUT_DEBIAS, rival_scores
from bundles import NUISANCE, OBJECTIVES, make_bundle
from fakes import HashBackbone

BUNDLE = make_bundle(HashBackbone().facts())
PLAIN = BUNDLE.baselines.gating_without_debias


def features(n=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 8, generator=draw), torch.randn(n, 8, generator=draw)


def scores_of(baselines=BUNDLE.baselines, n=5):
    response, prompt = features(n)
    raw = response @ BUNDLE.weight.T + BUNDLE.bias
    found = rival_scores(
        raw,
        response,
        prompt,
        debias=BUNDLE.debias,
        nuisances=BUNDLE.nuisances,
        baselines=baselines,
    )
    return found, raw, response, prompt


def test_the_uniform_mean_by_hand():
    found = rival_scores(
        torch.tensor([[0.9, 0.5, 0.4, 0.6]]),
        *features(1),
        debias=torch.eye(4),
        nuisances=(NUISANCE,),
        baselines=BUNDLE.baselines,
    )
    # Without verbosity (.4): (.9 + .5 + .6) / 3
    assert found[UNIFORM].tolist() == pytest.approx([2 / 3])


def test_every_rival_equals_the_slow_formula():
    found, raw, response, prompt = scores_of()
    clean = raw @ BUNDLE.debias
    kept = [j for j in range(len(OBJECTIVES)) if j != NUISANCE]
    assert_close(found[UNIFORM], clean[:, kept].mean(1))
    assert_close(found[FIXED_WEIGHTS], (clean * BUNDLE.baselines.fixed_weights).sum(1))
    assert_close(found[WITHOUT_DEBIAS], (PLAIN(prompt) * raw).sum(1).detach())
    assert_close(found[BLACK_BOX], (response * BUNDLE.baselines.bradley_terry).sum(1))


def test_the_black_box_sees_features_alone():
    found, _, response, prompt = scores_of()
    other = rival_scores(
        torch.zeros(5, 4),
        response,
        prompt,
        debias=BUNDLE.debias,
        nuisances=BUNDLE.nuisances,
        baselines=BUNDLE.baselines,
    )
    assert torch.equal(other[BLACK_BOX], found[BLACK_BOX])


def test_rivals_that_were_not_fitted_are_left_out():
    found, *_ = scores_of(Baselines(PLAIN))
    assert list(found) == [WITHOUT_DEBIAS, UNIFORM]


def test_no_rows_give_no_scores():
    found, *_ = scores_of(n=0)
    assert {len(values) for values in found.values()} == {0}


def test_scores_carry_no_gradient():
    found, *_ = scores_of()
    assert not any(values.requires_grad for values in found.values())


def test_objective_scores_of_one_response_without_axis_n_are_refused():
    with pytest.raises(
        ValueError, match=r"`objective_scores` must have shape \(n, k\); got \(4,\)"
    ):
        rival_scores(
            torch.zeros(4),
            *features(1),
            debias=torch.eye(4),
            nuisances=(),
            baselines=BUNDLE.baselines,
        )
