import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from armorm.heads.preference import choose_l2, fit_bradley_terry, fit_fixed_weights


def draw(seed, p=400, width=6, beta=6.0, truth=None):
    """Pairs whose chosen side is drawn from a Bradley-Terry model with these weights."""
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, p, width, generator=generator, dtype=torch.float64)
    truth = torch.linspace(-1, 2, width, dtype=torch.float64) if truth is None else truth
    swap = torch.rand(p, generator=generator) > torch.sigmoid(beta * (a - b) @ truth)
    return torch.where(swap[:, None], b, a), torch.where(swap[:, None], a, b)


def loss(difference, v, weight=None):
    """Weighted mean preference loss."""
    weight = torch.ones(len(difference), dtype=torch.float64) if weight is None else weight
    return float(torch.nn.functional.softplus(-difference @ v) @ weight / weight.sum())


def test_fixed_weights_by_hand():
    # One objective: margins 1 (3 of 4 pairs) and -1 (1 of 4); sigmoid(beta) = 3/4, beta = log 3.
    chosen = torch.tensor([[1.0], [1.0], [1.0], [0.0]])
    fit = fit_fixed_weights(chosen, 1 - chosen)
    assert fit.weights.tolist() == [1.0]
    assert fit.beta == pytest.approx(np.log(3), abs=1e-5)


def test_fixed_weights_find_the_planted_ones():
    # 20,000 pairs: the spread of a weight is about 0.01.
    truth = torch.tensor([0.1, 0.6, 0.0, 0.3], dtype=torch.float64)
    fit = fit_fixed_weights(*draw(0, 20_000, 4, beta=10.0, truth=truth))
    torch.testing.assert_close(fit.weights, truth.float(), atol=0.05, rtol=0.0)
    assert fit.beta == pytest.approx(10.0, rel=0.1)


@given(seed=st.integers(0, 2**31), p=st.integers(1, 200), k=st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_fixed_weights_satisfy_the_conditions_of_a_minimum(seed, p, k):
    chosen, rejected = draw(seed, p, k)
    fit = fit_fixed_weights(chosen, rejected)
    assert (fit.weights >= 0).all()
    assert float(fit.weights.sum()) == pytest.approx(1.0, abs=1e-6)
    v = (fit.weights.double() * fit.beta).requires_grad_()
    margin = (chosen - rejected) @ v
    value = torch.nn.functional.softplus(-margin).mean() + 0.5e-6 * v @ v
    (gradient,) = torch.autograd.grad(value, v)
    # No direction that the bounds leave open goes down: slack 0 inside, at most 0 at the bound.
    assert gradient.min() >= -1e-4
    assert (gradient[v > 1e-3 * (1 + fit.beta)].abs() <= 1e-4).all()


def test_fixed_weights_beat_every_single_objective_and_the_uniform_mean():
    chosen, rejected = draw(1)
    difference = chosen - rejected
    fit = fit_fixed_weights(chosen, rejected)
    found = loss(difference, fit.weights.double() * fit.beta)
    for direction in [*torch.eye(6, dtype=torch.float64), torch.full((6,), 1 / 6).double()]:
        for beta in (0.5, 1, 2, 5, 10, 20):
            assert found <= loss(difference, beta * direction) + 1e-6


def test_order_of_pairs_and_scale_of_scores_do_not_move_the_weights():
    chosen, rejected = draw(2)
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))
    one, other = (
        fit_fixed_weights(chosen, rejected),
        fit_fixed_weights(2 * chosen[order] + 3, 2 * rejected[order] + 3),
    )
    torch.testing.assert_close(one.weights, other.weights, atol=1e-3, rtol=0.0)
    assert other.beta == pytest.approx(one.beta / 2, rel=1e-3)


def test_weight_two_equals_a_repeated_pair():
    chosen, rejected = draw(3, 60)
    weight = torch.ones(60)
    weight[:20] = 2
    weighted = fit_fixed_weights(chosen, rejected, sample_weight=weight)
    repeated = fit_fixed_weights(
        torch.cat([chosen, chosen[:20]]), torch.cat([rejected, rejected[:20]])
    )
    torch.testing.assert_close(weighted.weights, repeated.weights, atol=1e-4, rtol=0.0)
    head = fit_bradley_terry(chosen, rejected, l2=1.0, sample_weight=weight)
    # Weights are scaled to mean 1 (80 / 60 here), so that l2 scales along.
    other = fit_bradley_terry(
        torch.cat([chosen, chosen[:20]]), torch.cat([rejected, rejected[:20]]), l2=80 / 60
    )
    torch.testing.assert_close(head, other, rtol=1e-4, atol=1e-5)


def test_objectives_that_only_speak_against_leave_uniform_weights_and_no_beta():
    chosen, rejected = torch.zeros(5, 4), torch.ones(5, 4)
    fit = fit_fixed_weights(chosen, rejected)
    assert fit.weights.tolist() == [0.25] * 4
    assert fit.beta == 0.0


def test_separable_pairs_have_finite_weights():
    fit = fit_fixed_weights(torch.ones(5, 2), torch.zeros(5, 2))
    torch.testing.assert_close(fit.weights, torch.tensor([0.5, 0.5]))
    assert 5 < fit.beta < 100


@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(("p", "d"), [(300, 8), (40, 200), (1, 5), (30, 30), (25, 1)])
def test_bradley_terry_equals_sklearn_without_a_bias(p, d, l2):
    chosen, rejected = draw(4, p, d, beta=1.0)
    head = fit_bradley_terry(chosen, rejected, l2=l2)
    difference = (chosen - rejected).numpy()
    # Both signs of each pair at half weight: scikit-learn wants two classes.
    x, y = np.concatenate([difference, -difference]), np.repeat([1, 0], p)
    reference = LogisticRegression(C=1 / l2, fit_intercept=False, tol=1e-12, max_iter=10_000)
    reference.fit(x, y, sample_weight=np.full(2 * p, 0.5))
    expected = torch.from_numpy(reference.coef_[0]).float()
    torch.testing.assert_close(head, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@given(seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_swapping_chosen_and_rejected_negates_the_head(seed):
    chosen, rejected = draw(seed, 40, 10)
    head = fit_bradley_terry(chosen, rejected, l2=0.5)
    torch.testing.assert_close(fit_bradley_terry(rejected, chosen, l2=0.5), -head)


def test_equal_sides_teach_nothing():
    assert fit_bradley_terry(torch.ones(4, 3), torch.ones(4, 3), l2=1.0).tolist() == [0.0] * 3


def test_losses_of_l2_equal_fits_on_the_other_folds():
    chosen, rejected = draw(5, 60, 90, beta=0.5)
    folds = torch.arange(60) % 3
    l2s = torch.tensor([0.01, 1.0, 100.0])
    path = choose_l2(chosen, rejected, folds=folds, l2s=l2s)
    for a, l2 in enumerate(l2s.tolist()):
        total = 0.0
        for f in range(3):
            train = folds != f
            head = fit_bradley_terry(chosen[train], rejected[train], l2=l2).double()
            total += loss((chosen - rejected)[~train], head) * 20
        assert float(path.losses[a]) == pytest.approx(total / 60, rel=1e-5)
    assert path.chosen == pytest.approx(float(l2s[path.losses.argmin()]))
    assert choose_l2(chosen, rejected, folds=folds.tolist(), l2s=l2s).chosen == path.chosen


def test_edge_of_the_l2s_is_told_and_ties_take_the_largest():
    chosen, rejected = draw(6, 60, 4)
    folds = torch.arange(60) % 2
    assert choose_l2(chosen, rejected, folds=folds, l2s=torch.tensor([1e5, 1e6])).at_edge
    assert not choose_l2(chosen, rejected, folds=folds, l2s=torch.tensor([1.0])).at_edge
    wide = choose_l2(chosen, rejected, folds=folds, l2s=torch.logspace(-4, 6, 11))
    assert not wide.at_edge
    same = torch.ones(60, 4)
    assert choose_l2(same, same, folds=folds, l2s=torch.tensor([1.0, 2.0, 3.0])).chosen == 3.0


def test_fold_that_holds_all_the_weight_trains_nothing():
    chosen, rejected = draw(7, 20, 3)
    weight = (torch.arange(20) < 10).double()
    path = choose_l2(
        chosen,
        rejected,
        folds=(torch.arange(20) >= 10).long(),
        l2s=torch.tensor([1.0]),
        sample_weight=weight,
    )
    assert float(path.losses[0]) == pytest.approx(np.log(2))


def test_bad_pairs_are_refused():
    chosen, rejected = draw(8, 10, 3)
    with pytest.raises(ValueError, match=r"^`chosen_scores` must have shape \(p, k\)"):
        fit_fixed_weights(chosen[0], rejected)
    with pytest.raises(ValueError, match=r"^`chosen_scores` must have at least 1 row; got 0$"):
        fit_fixed_weights(chosen[:0], rejected[:0])
    with pytest.raises(ValueError, match=r"^`rejected_scores`.*axis 0 \(p\) must be 10"):
        fit_fixed_weights(chosen, rejected[:4])
    with pytest.raises(ValueError, match=r"^`rejected_features`.*axis 1 \(d\) must be 3"):
        fit_bradley_terry(chosen, rejected[:, :2], l2=1.0)
    with pytest.raises(ValueError, match=r"^`chosen_features` must be finite"):
        fit_bradley_terry(chosen * torch.nan, rejected, l2=1.0)
    with pytest.raises(ValueError, match=r"^`rejected_scores` must be finite"):
        fit_fixed_weights(chosen, rejected * torch.inf)
    with pytest.raises(ValueError, match=r"^`sample_weight`.*axis 0 \(p\) must be 10"):
        fit_fixed_weights(chosen, rejected, sample_weight=torch.ones(4))
    with pytest.raises(ValueError, match=r"^`sample_weight` must have a positive entry"):
        fit_bradley_terry(chosen, rejected, l2=1.0, sample_weight=torch.zeros(10))


def test_bad_l2s_and_folds_are_refused():
    chosen, rejected = draw(9, 10, 3)
    folds = torch.arange(10) % 2
    with pytest.raises(ValueError, match=r"^`l2` must be above 0; got 0$"):
        fit_bradley_terry(chosen, rejected, l2=0.0)
    with pytest.raises(ValueError, match=r"^`l2` must be finite"):
        fit_bradley_terry(chosen, rejected, l2=float("inf"))
    with pytest.raises(ValueError, match=r"^`l2s` must be above 0 and ascending; got 2, 1$"):
        choose_l2(chosen, rejected, folds=folds, l2s=torch.tensor([2.0, 1.0]))
    with pytest.raises(ValueError, match=r"^`folds`.*axis 0 \(p\) must be 10"):
        choose_l2(chosen, rejected, folds=folds[:4], l2s=torch.tensor([1.0]))
    with pytest.raises(ValueError, match=r"^`folds` must be at least 2; got 1$"):
        choose_l2(chosen, rejected, folds=folds * 0, l2s=torch.tensor([1.0]))
