import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from armorm.heads.ridge import fit_ridge
from armorm.heads.ridge_path import choose_alpha, fit_ridge_nested
from armorm.heads.statistics import Statistics

NAMES = ["a", "b", "c"]
ALPHAS = torch.logspace(-3, 3, 7, dtype=torch.float64)


def draw(seed, n=120, d=15, folds=4):
    """Rows with a hole in each objective, and the fold of each row."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    y = x[:, :3] * 0.2 + noise * torch.tensor([0.05, 0.5, 2.0], dtype=torch.float64)
    y[: n // 4, 0] = torch.nan
    y[n // 2 :, 1] = torch.nan
    return x, y, torch.arange(n) % folds


def by_fold(x, y, fold):
    return [
        Statistics.from_features(x[fold == f], y[fold == f], objectives=NAMES)
        for f in fold.unique().tolist()
    ]


def slow_losses(x, y, fold, held_out):
    """Mean squared error of scikit-learn's ridge on each held-out fold, row by row."""
    losses = torch.zeros(len(ALPHAS), 3, dtype=torch.float64)
    for j in range(3):
        rated = ~y[:, j].isnan()
        for a, alpha in enumerate(ALPHAS.tolist()):
            errors = []
            for f in held_out:
                train, test = rated & (fold != f), rated & (fold == f)
                if train.any() and test.any():
                    head = Ridge(alpha=alpha).fit(x[train].numpy(), y[train, j].numpy())
                    errors += ((head.predict(x[test].numpy()) - y[test, j].numpy()) ** 2).tolist()
            losses[a, j] = sum(errors) / len(errors)
    return losses


@pytest.mark.parametrize("d", [4, 15, 300])
def test_losses_equal_sklearn_on_held_out_rows(d):
    x, y, fold = draw(0, d=d)
    path = choose_alpha(by_fold(x, y, fold), alphas=ALPHAS)
    expected = slow_losses(x, y, fold, range(4))
    torch.testing.assert_close(path.losses, expected, rtol=1e-7, atol=0.0)
    assert torch.equal(path.chosen, ALPHAS[expected.argmin(0)])


def test_one_held_out_set_is_the_only_one_that_counts():
    x, y, fold = draw(1)
    fold = (fold == 3).long()
    path = choose_alpha(by_fold(x, y, fold), alphas=ALPHAS, validate_on=[1])
    torch.testing.assert_close(path.losses, slow_losses(x, y, fold, [1]), rtol=1e-7, atol=0.0)


def test_alpha_is_chosen_for_each_objective_by_itself():
    # The noise of a, b, c is 1/4, 2.5 and 10 of the signal: each wants another penalty.
    x, y, fold = draw(2)
    chosen = choose_alpha(by_fold(x, y, fold), alphas=ALPHAS).chosen
    assert chosen[0] < chosen[1] < chosen[2]


def test_loss_by_hand():
    # Fold 0: x = 0, 2, y = 0, 2; fold 1: x = 1, y = 3. Alpha 0 fits y = x on fold 0: error 2^2.
    # On fold 1 alone the centred x is 0, so w = 0 and b = 3: errors 3^2 and 1^2.
    first = torch.tensor([[0.0], [2.0]])
    second = torch.tensor([[1.0]])
    folds = [
        Statistics.from_features(first, first, objectives=["a"]),
        Statistics.from_features(second, second + 2, objectives=["a"]),
    ]
    path = choose_alpha(folds, alphas=torch.tensor([1e-12]), validate_on=[1])
    assert path.losses.item() == pytest.approx(4.0)
    path = choose_alpha(folds, alphas=torch.tensor([1e-12]))
    assert path.losses.item() == pytest.approx((4 + 9 + 1) / 3)


def test_choice_at_an_edge_is_told():
    x, y, fold = draw(3)
    folds = by_fold(x, y, fold)
    first = choose_alpha(folds, alphas=torch.tensor([1e4, 1e5, 1e6], dtype=torch.float64))
    assert first.chosen[0] == 1e4
    assert first.at_edge[0]
    last = choose_alpha(folds, alphas=torch.tensor([1e-9, 1e-8, 1e-7], dtype=torch.float64))
    assert last.chosen[2] == 1e-7
    assert last.at_edge[2]
    wide = choose_alpha(folds, alphas=torch.logspace(-6, 9, 16, dtype=torch.float64))
    assert not wide.at_edge[:2].any()
    single = choose_alpha(folds, alphas=torch.tensor([1.0]))
    assert not single.at_edge.any()


def test_of_equal_losses_the_largest_alpha_is_taken():
    x = torch.zeros(4, 2)  # no feature varies: every alpha predicts the mean
    y = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    folds = [Statistics.from_features(x[i::2], y[i::2] * 0 + 0.5, objectives=["a"]) for i in (0, 1)]
    assert choose_alpha(folds, alphas=ALPHAS).chosen.item() == 1000.0


def test_fold_without_the_objective_is_skipped():
    x, y, fold = draw(4)
    y[fold == 2, 1] = torch.nan
    path = choose_alpha(by_fold(x, y, fold), alphas=ALPHAS)
    torch.testing.assert_close(path.losses, slow_losses(x, y, fold, range(4)), rtol=1e-7, atol=0.0)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_order_of_folds_does_not_matter(seed):
    x, y, fold = draw(seed, n=60)
    folds = by_fold(x, y, fold)
    one = choose_alpha(folds, alphas=ALPHAS)
    other = choose_alpha(folds[::-1], alphas=ALPHAS)
    torch.testing.assert_close(one.losses, other.losses)
    assert torch.equal(one.chosen, other.chosen)


@pytest.mark.parametrize("d", [15, 200])
def test_nested_fits_equal_choosing_and_fitting_on_the_subsets(d):
    x, y, fold = draw(5, d=d)
    folds = by_fold(x, y, fold)
    nested = fit_ridge_nested(folds, alphas=ALPHAS)
    for f in range(4):
        rest = [part for g, part in enumerate(folds) if g != f]
        path = choose_alpha(rest, alphas=ALPHAS)
        fit = fit_ridge(rest[0] + rest[1] + rest[2], alpha=path.chosen)
        torch.testing.assert_close(nested.fold_paths[f].losses, path.losses)
        assert torch.equal(nested.fold_paths[f].chosen, path.chosen)
        torch.testing.assert_close(nested.fold_fits[f].weight, fit.weight)
    path = choose_alpha(folds, alphas=ALPHAS)
    torch.testing.assert_close(nested.path.losses, path.losses)
    whole = Statistics.from_features(x, y, objectives=NAMES)
    torch.testing.assert_close(nested.fit.weight, fit_ridge(whole, alpha=path.chosen).weight)


def test_nested_fits_are_blind_to_their_fold():
    x, y, fold = draw(6)
    before = fit_ridge_nested(by_fold(x, y, fold), alphas=ALPHAS)
    y[fold == 1] += 100 * x[fold == 1, 5:6]
    after = fit_ridge_nested(by_fold(x, y, fold), alphas=ALPHAS)
    assert torch.equal(before.fold_fits[1].weight, after.fold_fits[1].weight)
    assert torch.equal(before.fold_paths[1].losses, after.fold_paths[1].losses)
    assert not torch.equal(before.fold_fits[0].weight, after.fold_fits[0].weight)


def test_bad_folds_and_alphas_are_refused():
    x, y, fold = draw(7)
    folds = by_fold(x, y, fold)
    with pytest.raises(ValueError, match=r"^`folds` must be at least 2; got 1$"):
        choose_alpha(folds[:1], alphas=ALPHAS)
    with pytest.raises(ValueError, match=r"^`folds` must be at least 3; got 2$"):
        fit_ridge_nested(folds[:2], alphas=ALPHAS)
    with pytest.raises(ValueError, match=r"^`validate_on` must be indices from 0 to 3; got 4$"):
        choose_alpha(folds, alphas=ALPHAS, validate_on=[4])
    with pytest.raises(ValueError, match=r"must be ascending and at least 0; got \[2.0, 1.0\]"):
        choose_alpha(folds, alphas=torch.tensor([2.0, 1.0]))
    with pytest.raises(ValueError, match=r"must be ascending and at least 0; got \[-1.0\]"):
        choose_alpha(folds, alphas=torch.tensor([-1.0]))
    with pytest.raises(ValueError, match=r"^`alphas` must be finite"):
        choose_alpha(folds, alphas=torch.tensor([1.0, torch.inf]))
    with pytest.raises(ValueError, match=r"^`alphas` must have at least 1 row; got 0$"):
        choose_alpha(folds, alphas=torch.tensor([]))
    wide = by_fold(*draw(8, d=200))
    with pytest.raises(
        ValueError, match=r"^`alpha` = 0 leaves the solution undetermined: .* of 'a'"
    ):
        choose_alpha(wide, alphas=torch.tensor([0.0, 1.0]))


def test_objective_of_one_fold_is_refused_by_name():
    x, y, fold = draw(9)
    y[fold != 2, 1] = torch.nan
    text = (
        "^'b' must be rated in at least 2 folds, a validated one among them; it is rated in 1 of 4$"
    )
    with pytest.raises(ValueError, match=text):
        choose_alpha(by_fold(x, y, fold), alphas=ALPHAS)
    with pytest.raises(ValueError, match=r"^'b' must be rated in at least 2 folds"):
        fit_ridge_nested(by_fold(x, y, fold), alphas=ALPHAS)
