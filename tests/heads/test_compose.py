import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.compose import compose, compose_fixed, scale_gating


def draw(seed, n=7, k=5):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, k, generator=generator)
    gating = torch.randn(n, k, generator=generator).softmax(-1)
    debias = torch.eye(k) - torch.randn(k, k, generator=generator).tril(-1) * 0.3
    return scores, gating, debias


def test_composition_by_hand():
    # q = (0.8 - 0.4 * 0.5, 0) = (0.6, 0); score = 2 * 0.75 * 0.6 = 0.9
    # c = 2 * (0.75, -0.4 * 0.75) = (1.5, -0.6); contributions 1.2 and -0.3, sum 0.9
    scores, gating = torch.tensor([[0.8, 0.5]]), torch.tensor([[0.75, 0.25]])
    debias = torch.tensor([[1.0, 0.0], [-0.4, 0.0]])
    found = compose(scores, gating, debias, score_scale=2.0)
    torch.testing.assert_close(found.score, torch.tensor([0.9]))
    torch.testing.assert_close(found.coefficients, torch.tensor([[1.5, -0.6]]))
    torch.testing.assert_close(found.contributions, torch.tensor([[1.2, -0.3]]))
    assert found.gating is gating


@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_contributions_add_up_to_the_gated_debiased_score(seed, scale):
    scores, gating, debias = draw(seed)
    found = compose(scores, gating, debias, score_scale=scale)
    expected = torch.stack(
        [
            scale * sum(g[j] * (r @ debias)[j] for j in range(5))
            for g, r in zip(gating, scores, strict=True)
        ]
    )
    torch.testing.assert_close(found.score, expected, rtol=1e-5, atol=1e-5 * scale)
    torch.testing.assert_close(found.contributions.sum(-1), found.score)


def test_coefficients_are_the_derivative_of_the_score():
    scores, gating, debias = draw(0)
    scores.requires_grad_()
    found = compose(scores, gating, debias, score_scale=3.0)
    (gradient,) = torch.autograd.grad(found.score.sum(), scores)
    direct = (3.0 * (gating * (scores @ debias)).sum(-1)).sum()
    (expected,) = torch.autograd.grad(direct, scores)
    torch.testing.assert_close(found.coefficients, expected)
    torch.testing.assert_close(gradient, expected)


def test_rows_are_scored_alone():
    scores, gating, debias = draw(1)
    whole = compose(scores, gating, debias).score
    for i in range(7):
        alone = compose(scores[i : i + 1], gating[i : i + 1], debias).score
        torch.testing.assert_close(alone, whole[i : i + 1])


def test_fixed_coefficients_are_applied_to_every_row():
    # 2 * 0.5 - 1 * 0.2 = 0.8 and 2 * 0.1 - 1 * 0.4 = -0.2
    scores = torch.tensor([[0.5, 0.2], [0.1, 0.4]])
    found = compose_fixed(scores, torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(found.score, torch.tensor([0.8, -0.2]))
    assert found.coefficients.tolist() == [[2.0, -1.0], [2.0, -1.0]]
    torch.testing.assert_close(found.contributions, torch.tensor([[1.0, -0.2], [0.2, -0.4]]))
    assert found.gating is None


def test_fixed_coefficients_equal_a_constant_gating_without_debias():
    scores, _, _ = draw(2)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25])
    gated = compose(scores, weights.expand(7, 5), torch.eye(5))
    torch.testing.assert_close(compose_fixed(scores, weights).score, gated.score)


def test_scaled_gating_by_hand():
    # (0.5 * 1, 0.3 * 2, 0.2 * 0) = (0.5, 0.6, 0), sum 1.1
    gating = torch.tensor([[0.5, 0.3, 0.2]])
    found = scale_gating(gating, torch.tensor([1.0, 2.0, 0.0]), nuisances=[0])
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.6, 0.0]]) / 1.1)


@given(seed=st.integers(0, 2**31), factor=st.floats(0.01, 100))
@settings(max_examples=30, deadline=None)
def test_scaled_gating_sums_to_one_and_keeps_ratios(seed, factor):
    _, gating, _ = draw(seed)
    factors = torch.ones(5)
    factors[2] = factor
    found = scale_gating(gating, factors)
    torch.testing.assert_close(found.sum(-1), torch.ones(7))
    torch.testing.assert_close(found[:, 0] / found[:, 1], gating[:, 0] / gating[:, 1])
    ratio = (found[:, 2] / found[:, 1]) / (gating[:, 2] / gating[:, 1])
    torch.testing.assert_close(ratio, torch.full((7,), factor), rtol=1e-4, atol=0.0)
    equal = scale_gating(gating, torch.full((5,), factor))
    torch.testing.assert_close(equal, gating)


def test_tensors_of_other_shapes_are_refused():
    scores, gating, debias = draw(3)
    with pytest.raises(ValueError, match=r"^`gating`.*axis 0 \(n\) must be 7"):
        compose(scores, gating[:3], debias)
    with pytest.raises(ValueError, match=r"^`gating`.*axis 1 \(k\) must be 5"):
        compose(scores, gating[:, :3], debias)
    with pytest.raises(ValueError, match=r"^`debias` must have shape \(5, 5\); got \(4, 5\)$"):
        compose(scores, gating, debias[:4])
    with pytest.raises(ValueError, match=r"^`debias` must have shape \(k, k\); got \(5,\)$"):
        compose(scores, gating, debias[0])
    with pytest.raises(ValueError, match=r"^`objective_scores` must have shape \(n, k\)"):
        compose(scores[0], gating, debias)
    with pytest.raises(ValueError, match=r"^`coefficients`.*axis 0 \(k\) must be 5"):
        compose_fixed(scores, torch.ones(4))
    with pytest.raises(ValueError, match=r"^`objective_scores` must have shape \(n, k\)"):
        compose_fixed(scores[0], torch.ones(5))


def test_bad_factors_are_refused():
    _, gating, _ = draw(4)
    factors = torch.ones(5)
    with pytest.raises(ValueError, match=r"^`gating` must have shape \(n, k\)"):
        scale_gating(gating[0], factors)
    with pytest.raises(ValueError, match=r"^`factors`.*axis 0 \(k\) must be 5"):
        scale_gating(gating, factors[:4])
    with pytest.raises(ValueError, match=r"^`factors` must not be negative; got -2 at 1$"):
        scale_gating(gating, torch.tensor([1.0, -2.0, 1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"^`factors` must have a positive entry; all 5 are 0$"):
        scale_gating(gating, torch.zeros(5))
    with pytest.raises(ValueError, match=r"^`factors` must be finite"):
        scale_gating(gating, factors * torch.nan)
    text = r"^`factors` must be 1 for nuisance 3, whose debiased score is 0; got 0.5$"
    with pytest.raises(ValueError, match=text):
        scale_gating(gating, torch.tensor([2.0, 1.0, 1.0, 0.5, 1.0]), nuisances=[3])
    with pytest.raises(ValueError, match=r"^`nuisances` must be indices from 0 to 4; got 5$"):
        scale_gating(gating, factors, nuisances=[5])
    one_hot = torch.eye(5)
    text = r"^`factors` must leave every row of the gating some weight; row 2 keeps none$"
    with pytest.raises(ValueError, match=text):
        scale_gating(one_hot, torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0]))
