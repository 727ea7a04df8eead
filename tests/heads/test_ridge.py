import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from armorm.heads.ridge import fit_ridge, predict
from armorm.heads.ridge_system import systems
from armorm.heads.statistics import Statistics


def names(k):
    return [f"objective {j}" for j in range(k)]


def draw(seed, n, d, k, *, missing="none", mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) + mean
    y = torch.rand(n, k, generator=generator, dtype=torch.float64) + x[:, :1] / 10
    if missing == "blocks":  # each objective lacks another tenth of the rows: k + 1 patterns
        for j in range(k):
            y[j * n // 10 : (j + 1) * n // 10, j] = torch.nan
    elif missing == "random":
        y[torch.rand(n, k, generator=generator) < 0.4] = torch.nan
    elif missing == "sources":  # two sources that rate other objectives, as published data do
        y[: n // 3, : k // 2] = torch.nan
        y[n // 3 :, k // 2 :] = torch.nan
    return x, y


SHAPES = [
    (300, 20, 4),
    (40, 200, 4),
    (1, 5, 2),
    (50, 50, 1),
    (21, 20, 3),
    (120, 1, 2),
    (3000, 40, 2),
]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("missing", ["none", "blocks", "random", "sources"])
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_fit_equals_sklearn_per_objective(n, d, k, missing, intercept):
    x, y = draw(0, n, d, k, missing=missing if n > 30 and k > 1 else "none", mean=2.0)
    alpha = torch.logspace(-2, 1, k, dtype=torch.float64)
    statistics = Statistics.from_features(x, y, objectives=names(k))
    fit = fit_ridge(statistics, alpha=alpha, intercept=intercept)
    for j in range(k):
        rated = ~y[:, j].isnan()
        reference = Ridge(alpha=float(alpha[j]), fit_intercept=intercept, solver="svd")
        reference.fit(x[rated].numpy(), y[rated, j].numpy())
        size = max(np.abs(reference.coef_).max(), 1e-12)
        # Float32 rounds to 6e-8 of each entry.
        assert np.abs(fit.weight[j].numpy() - reference.coef_).max() <= 1e-6 * size
        assert abs(fit.bias[j] - reference.intercept_) <= 1e-6 * max(1, abs(reference.intercept_))
        assert fit.n_rows[j] == rated.sum()


def test_slope_and_bias_by_hand():
    # x = 0, 1, 2 and y = 0, 1, 2: centred x'x = 2 and x'y = 2, so w = 2 / (2 + 2) = 1/2 and
    # b = 1 - 1/2 = 1/2; residuals -1/2, 0, 1/2, sum of squares 1/2; degrees of freedom
    # 2 / 4 + 1 = 3/2; noise (1/2) / (3 - 3/2) = 1/3.
    x = torch.tensor([[0.0], [1.0], [2.0]])
    fit = fit_ridge(Statistics.from_features(x, x, objectives=["a"]), alpha=2.0)
    assert fit.weight.item() == 0.5
    assert fit.bias.item() == 0.5
    assert fit.noise_variance.item() == pytest.approx(1 / 3)
    # Without an intercept: x'x = 5, x'y = 5, w = 5 / (5 + 5) = 1/2.
    fit = fit_ridge(Statistics.from_features(x, x, objectives=["a"]), alpha=5.0, intercept=False)
    assert (fit.weight.item(), fit.bias.item()) == (0.5, 0.0)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("n", "d"), [(60, 12), (12, 60), (30, 30)])
def test_noise_variance_equals_the_slow_formula(n, d, intercept):
    x, y = draw(1, n, d, 2, mean=1.0)
    fit = fit_ridge(
        Statistics.from_features(x, y, objectives=names(2)), alpha=0.5, intercept=intercept
    )
    one = torch.eye(n, dtype=torch.float64) - (1 / n if intercept else 0.0)
    centred = one @ x
    hat = centred @ torch.linalg.solve(
        centred.T @ centred + 0.5 * torch.eye(d, dtype=torch.float64), centred.T
    ) + (1 / n if intercept else 0.0)
    error = y - hat @ y
    expected = error.square().sum(0) / (n - hat.trace())
    torch.testing.assert_close(fit.noise_variance, expected, rtol=1e-6, atol=0.0)


def test_noise_variance_is_that_of_planted_noise():
    # 4,000 rows: the estimate has a relative spread of sqrt(2 / 4000) = 2.2 %; five of them.
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4000, 10, generator=generator, dtype=torch.float64)
    y = x[:, :1] + 0.3 * torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    fit = fit_ridge(Statistics.from_features(x, y, objectives=["a"]), alpha=1.0)
    assert fit.noise_variance.item() == pytest.approx(0.09, rel=0.11)


def test_rounding_takes_no_more_degrees_of_freedom_than_there_are_features():
    # It was NaN: features of size 1e4 and an alpha far below the rounding of their squares,
    # although 46 of the 50 degrees are left whatever that alpha is.
    x, y = draw(0, 50, 4, 1)
    fits = [
        fit_ridge(Statistics.from_features(1e4 * x, y, objectives=names(1)), alpha=alpha)
        for alpha in (1e-8, 1e-2)
    ]
    torch.testing.assert_close(fits[0].noise_variance, fits[1].noise_variance, rtol=1e-6, atol=0.0)


def test_noise_variance_is_nan_without_degrees_of_freedom():
    x, y = draw(3, 1, 4, 1)
    fit = fit_ridge(Statistics.from_features(x, y, objectives=["a"]), alpha=1.0)
    assert fit.noise_variance.isnan().all()


def test_ill_conditioned_features_keep_their_predictions():
    # Singular values from 1 to 1e-6. The tail below sqrt(alpha) is shrunk away; what is left
    # agrees with the SVD, which never forms the products whose condition is 1e12.
    generator = torch.Generator().manual_seed(4)
    u = torch.linalg.qr(torch.randn(200, 30, generator=generator, dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64))[0]
    x = u @ torch.diag(torch.logspace(0, -6, 30, dtype=torch.float64)) @ v.T
    y = u.sum(1, keepdim=True) + 1
    fit = fit_ridge(Statistics.from_features(x, y, objectives=["a"]), alpha=1e-10)
    reference = Ridge(alpha=1e-10, solver="svd").fit(x.numpy(), y[:, 0].numpy())
    weight, bias = fit.weight.double(), fit.bias.double()
    expected = torch.from_numpy(reference.predict(x.numpy()))
    # Float32 rounds each of the weights, which are large here, to 6e-8 of itself.
    rounding = 6e-8 * float((x.abs() @ weight.abs().T).max())
    torch.testing.assert_close((x @ weight.T + bias)[:, 0], expected, rtol=0.0, atol=rounding)


@pytest.mark.parametrize(("n", "d"), [(300, 40), (30, 60)])
@pytest.mark.parametrize("intercept", [True, False])
def test_condition_of_1e8_agrees_with_the_svd(n, d, intercept):
    # The sums hold features of condition 1e8 to 1e-16 of their largest eigenvalue, 300: an
    # alpha of 1e-4 is a million times that.
    generator = torch.Generator().manual_seed(10)
    s = min(n, d)
    u = torch.linalg.qr(torch.randn(n, s, generator=generator, dtype=torch.float64))[0]
    v = torch.linalg.qr(torch.randn(d, s, generator=generator, dtype=torch.float64))[0]
    x = n**0.5 * u @ torch.diag(torch.logspace(0, -8, s, dtype=torch.float64)) @ v.T
    y = x @ v[:, :2] + 0.1 * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    statistics = Statistics.from_features(x, y, objectives=names(2))
    for alpha in (1e-4, 1e-2, 1e4):
        fit = fit_ridge(statistics, alpha=alpha, intercept=intercept)
        reference = Ridge(alpha=alpha, fit_intercept=intercept, solver="svd")
        reference.fit(x.numpy(), y.numpy())
        error = np.abs(fit.weight.numpy() - reference.coef_).max()
        assert error <= 1e-6 * np.abs(reference.coef_).max()


def one_group(x, y, *, intercept=True):
    (found,) = systems(Statistics.from_features(x, y, objectives=names(2)), intercept=intercept)
    return found


@pytest.mark.parametrize(("n", "d"), [(60, 12), (12, 60)])
def test_cholesky_and_eigendecomposition_agree(n, d):
    x, y = draw(11, n, d, 2)
    alphas = np.logspace(-3, 3, 30)  # more than the eigendecomposition is worth
    many, few = one_group(x, y), one_group(x, y)
    weight, bias = many.solve(alphas)
    for a, alpha in enumerate(alphas):
        expected, offset = few.solve(alphas[a : a + 1])
        np.testing.assert_allclose(weight[a], expected[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(bias[a], offset[0], rtol=1e-9, atol=1e-12)
        one, other = many.fit(np.full(2, alpha)), few.fit(np.full(2, alpha))
        np.testing.assert_allclose(one.weight, other.weight, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(one.noise_variance, other.noise_variance, rtol=1e-6)


def test_alpha_hidden_by_rounding_still_gives_a_bounded_solution():
    # Two equal features of size 1e6: the sums are 1e14, rounded to 1e-2, and alpha is 1e-9.
    # A factor of what rounding left would put any weight on the direction that has none.
    x, y = draw(12, 100, 1, 2)
    twins = 1e6 * torch.cat([x, x], 1)
    fit = fit_ridge(Statistics.from_features(twins, y, objectives=names(2)), alpha=1e-9)
    slope = torch.linalg.lstsq(x - x.mean(), y - y.mean(0)).solution[0]
    torch.testing.assert_close(fit.weight.sum(1) * 1e6, slope.float(), rtol=1e-3, atol=0.0)
    predicted = predict(fit.weight.double(), fit.bias.double(), twins)
    assert float((predicted - y).square().mean()) < 1.1 * float((y - y.mean(0)).square().mean())


def test_every_objective_keeps_its_own_alpha_in_a_group():
    # 1e-2 and 1e2 are factorised once each, for objectives 0 and 2 and for objective 1.
    x, y = draw(13, 50, 6, 3)
    statistics = Statistics.from_features(x, y, objectives=names(3))
    fit = fit_ridge(statistics, alpha=torch.tensor([1e-2, 1e2, 1e-2]))
    for j, alpha in enumerate((1e-2, 1e2, 1e-2)):
        alone = fit_ridge(statistics, alpha=alpha)
        torch.testing.assert_close(fit.weight[j], alone.weight[j])
        torch.testing.assert_close(fit.noise_variance[j], alone.noise_variance[j])


def test_least_squares_without_a_penalty():
    x, y = draw(5, 50, 6, 2)
    fit = fit_ridge(Statistics.from_features(x, y, objectives=names(2)), alpha=0.0)
    design = torch.cat([x, torch.ones(50, 1, dtype=torch.float64)], 1)
    expected = torch.linalg.lstsq(design, y).solution
    torch.testing.assert_close(fit.weight, expected[:-1].T.float())
    torch.testing.assert_close(fit.bias, expected[-1].float())


@given(seed=st.integers(0, 2**31), slope=st.floats(0.1, 10), offset=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_affine_change_of_ratings_changes_the_head_alike(seed, slope, offset):
    x, y = draw(seed, 20, 8, 2)
    first = fit_ridge(Statistics.from_features(x, y, objectives=names(2)), alpha=0.3)
    other = Statistics.from_features(x, slope * y + offset, objectives=names(2))
    second = fit_ridge(other, alpha=0.3)
    torch.testing.assert_close(second.weight, slope * first.weight, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(second.bias, slope * first.bias + offset, rtol=1e-5, atol=1e-4)


@given(seed=st.integers(0, 2**31), copies=st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_repeated_rows_equal_a_smaller_alpha(seed, copies):
    x, y = draw(seed, 15, 6, 1)
    once = fit_ridge(Statistics.from_features(x, y, objectives=["a"]), alpha=1.0)
    again = Statistics.from_features(x.repeat(copies, 1), y.repeat(copies, 1), objectives=["a"])
    torch.testing.assert_close(fit_ridge(again, alpha=float(copies)).weight, once.weight)


def test_objectives_of_one_group_share_one_factorisation():
    x, y = draw(6, 40, 5, 6, missing="sources")
    found = list(systems(Statistics.from_features(x, y, objectives=names(6)), intercept=True))
    assert [system.members for system in found] == [(0, 1, 2), (3, 4, 5)]
    assert [system.n for system in found] == [27, 13]


def test_other_objectives_do_not_move_an_objective():
    x, y = draw(7, 80, 6, 3, missing="random")
    alone = fit_ridge(Statistics.from_features(x, y[:, :1], objectives=["a"]), alpha=0.2)
    together = fit_ridge(Statistics.from_features(x, y, objectives=names(3)), alpha=0.2)
    torch.testing.assert_close(together.weight[:1], alone.weight)


def test_predictions_are_features_times_weight_plus_bias():
    # 1 * 0.5 + 2 * (-1) + 0.25 = -1.25 and 1 * 0 + 2 * 1 + 0 = 2
    weight = torch.tensor([[0.5, -1.0], [0.0, 1.0]])
    bias = torch.tensor([0.25, 0.0])
    features = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16)
    assert predict(weight, bias, features).tolist() == [[-1.25, 2.0]]


def test_undetermined_least_squares_is_refused():
    x, y = draw(8, 5, 30, 1)
    text = (
        "^`alpha` = 0 leaves the solution undetermined: 5 rated rows of 'a' span fewer than 30 "
        "feature directions; use a positive alpha$"
    )
    with pytest.raises(ValueError, match=text):
        fit_ridge(Statistics.from_features(x, y, objectives=["a"]), alpha=0.0)
    twins = torch.cat([x, x], 0)[:, :4]
    twins[:, 3] = twins[:, 0] + twins[:, 1]
    with pytest.raises(ValueError, match=r"10 rated rows of 'a' span fewer than 4 feature"):
        fit_ridge(
            Statistics.from_features(twins, torch.cat([y, y]), objectives=["a"]),
            alpha=torch.tensor([0.0]),
        )


def test_bad_alpha_and_unrated_objectives_are_refused():
    x, y = draw(9, 10, 3, 2)
    found = Statistics.from_features(x, y, objectives=["a", "b"])
    with pytest.raises(ValueError, match=r"^`alpha` must have shape \(k,\); got \(3,\): axis 0"):
        fit_ridge(found, alpha=torch.ones(3))
    with pytest.raises(ValueError, match=r"^`alpha` must be at least 0; got -1 for 'b'$"):
        fit_ridge(found, alpha=torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"^`alpha` must be finite"):
        fit_ridge(found, alpha=float("nan"))
    y[:, 1] = torch.nan
    with pytest.raises(ValueError, match=r"^every objective must have a rating; 'b' has none$"):
        fit_ridge(Statistics.from_features(x, y, objectives=["a", "b"]), alpha=1.0)


def test_heads_of_other_widths_are_refused():
    with pytest.raises(ValueError, match=r"`features`.*axis 1 \(d\) must be 2"):
        predict(torch.ones(1, 2), torch.ones(1), torch.ones(4, 3))
    with pytest.raises(ValueError, match=r"`bias`.*axis 0 \(k\) must be 1"):
        predict(torch.ones(1, 2), torch.ones(2), torch.ones(4, 2))
    with pytest.raises(ValueError, match=r"`weight` must have shape \(k, d\)"):
        predict(torch.ones(2), torch.ones(2), torch.ones(4, 2))
