import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armorm.heads.gating import GatingNetwork, GatingSettings, fit_gating
from armorm.heads.preference import fit_fixed_weights

SMALL = GatingSettings(
    hidden=(32,), temperature=1.0, learning_rate=3e-3, batch_size=256, max_steps=60, patience=5
)


def planted(seed, p, *, k=8, d=16, sharpness=40.0):
    """Prompts of k hidden groups; in group j the side with more of objective j is preferred.

    The sign of the mean of k equal margins agrees with that of one of them with probability
    1/2 + arcsin(1 / sqrt(k)) / pi, which is .615 at k = 8; label noise takes a little off.
    """
    generator = torch.Generator().manual_seed(seed)
    group = torch.randint(k, (p,), generator=generator)
    prompt = 0.5 * torch.randn(p, d, generator=generator)
    prompt[:, :k] += 2 * torch.nn.functional.one_hot(group, k)
    a, b = torch.rand(2, p, k, generator=generator)
    decisive = (a - b)[torch.arange(p), group]
    swap = torch.rand(p, generator=generator) > torch.sigmoid(sharpness * decisive)
    return prompt, torch.where(swap[:, None], b, a), torch.where(swap[:, None], a, b)


def accuracy(weights, chosen, rejected):
    margin = (weights * (chosen - rejected)).sum(-1)
    return float((margin > 0).float().mean() + (margin == 0).float().mean() / 2)


def test_gate_finds_the_objective_that_matters_where_fixed_weights_cannot():
    # 4,000 test pairs: one standard error is .005 at .9 and .008 at .6.
    train, held_out, test = planted(0, 3000), planted(1, 500), planted(2, 4000)
    settings = replace(SMALL, hidden=(64,), max_steps=400)
    fit = fit_gating(*train, settings=settings, validation=held_out)
    uniform = accuracy(torch.full((8,), 1 / 8), *test[1:])
    fixed = accuracy(fit_fixed_weights(*train[1:]).weights, *test[1:])
    with torch.no_grad():  # one prompt at a time: a softmax over the prompts would be all 1
        learned = accuracy(torch.cat([fit.network(row[None]) for row in test[0]]), *test[1:])
    assert 0.58 <= uniform <= 0.65
    assert fixed <= 0.67
    assert learned >= 0.88
    assert fit.validation_accuracy == pytest.approx(learned, abs=0.04)


def test_gating_is_normalised_over_objectives_and_no_third_axis_is_taken():
    # The published script put chosen and rejected on an axis of their own and normalised over
    # it: every weight was one half, and the layers had no gradient.
    network = GatingNetwork(6, 4, hidden=(8,), temperature=0.1)
    prompt = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    gating = network(prompt)
    assert gating.shape == (9, 4)
    torch.testing.assert_close(gating.sum(-1), torch.ones(9))
    assert gating.std(-1).min() > 1e-3
    with pytest.raises(ValueError, match=r"^`prompt` must have shape \(n, d\); got \(9, 2, 6\)$"):
        network(prompt[:, None].expand(9, 2, 6))
    with pytest.raises(ValueError, match=r"^`prompt`.*axis 1 \(d\) must be 6"):
        network(prompt[:, :5])


def test_forward_by_hand():
    # x = (3 - 1) / 2 = 1; hidden relu(2 * 1 + 0, -1 * 1 + 0) = (2, 0); logits (2, 0) + (0, 1);
    # over temperature 2: (1, 0.5); softmax 1 / (1 + e^-0.5).
    network = GatingNetwork(1, 2, hidden=(2,), temperature=2.0)
    state = {
        "layers.0.weight": torch.tensor([[2.0], [-1.0]]),
        "layers.0.bias": torch.zeros(2),
        "layers.1.weight": torch.eye(2),
        "layers.1.bias": torch.tensor([0.0, 1.0]),
        "mean": torch.tensor([1.0]),
        "scale": torch.tensor([2.0]),
    }
    network.load_state_dict(state)
    first = 1 / (1 + math.exp(-0.5))
    torch.testing.assert_close(network(torch.tensor([[3.0]])), torch.tensor([[first, 1 - first]]))


@given(seed=st.integers(0, 2**31), temperature=st.floats(0.05, 50), size=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_gates_sum_to_one_for_each_prompt_alone(seed, temperature, size):
    network = GatingNetwork(
        5, 6, hidden=(7,) * size, temperature=temperature, masked=(2,), seed=seed
    )
    prompt = 3 * torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))
    gating = network(prompt)
    torch.testing.assert_close(gating.sum(-1), torch.ones(8))
    assert (gating >= 0).all()
    assert gating[:, 2].eq(0).all()
    torch.testing.assert_close(network(prompt[3:4]), gating[3:4])
    torch.testing.assert_close(network(prompt.flip(0)), gating.flip(0))


def test_network_depends_on_its_seed_alone():
    first, same, other = (GatingNetwork(4, 3, hidden=(5,), seed=s) for s in (1, 1, 2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True)
    )
    assert not torch.equal(first.layers[0].weight, other.layers[0].weight)
    assert (first.in_features, first.n_objectives, first.hidden) == (4, 3, (5,))


def test_layers_start_within_the_bound_of_their_inputs():
    network = GatingNetwork(100, 3, hidden=(400,))
    for layer, inputs in zip(network.layers, (100, 400), strict=True):
        assert 0.95 / inputs**0.5 < layer.weight.abs().max() <= 1 / inputs**0.5
        assert layer.bias.abs().max() <= 1 / inputs**0.5


def test_standardised_prompts_have_mean_zero_and_variance_one():
    prompt = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 7 + 100
    prompt[:, 1] = 0.3  # does not vary
    network = GatingNetwork(3, 2)
    network.standardise(prompt)
    x = (prompt - network.mean) / network.scale
    torch.testing.assert_close(x.mean(0), torch.zeros(3), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(x.std(0, correction=0)[[0, 2]], torch.ones(2))
    assert network.scale[1] == 1
    assert x[:, 1].abs().max() < 1e-6


def test_start_gives_every_prompt_the_weights():
    network = GatingNetwork(4, 3, hidden=(5,), temperature=3.0)
    network.start_at(torch.tensor([3.0, 1.0, 0.0]))
    gating = network(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    expected = torch.tensor([0.75, 0.25, 0.001]) / 1.001
    torch.testing.assert_close(gating, expected.expand(6, 3))


def test_refit_by_steps_follows_the_path_of_the_validated_fit():
    train, held_out = planted(3, 600), planted(4, 200)
    settings = replace(SMALL, max_steps=400, eval_every=10, patience=3, learning_rate=3e-2)
    fit = fit_gating(*train, settings=settings, validation=held_out)
    assert 0 < fit.best_step < 400
    assert fit.history[-1].step == fit.best_step + 30
    again = fit_gating(*train, settings=settings, steps=fit.best_step)
    assert (again.best_step, again.beta) == (fit.best_step, fit.beta)
    for name, value in fit.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)


def test_best_state_is_kept_and_told():
    train, held_out = planted(5, 300), planted(6, 200)
    settings = replace(SMALL, max_steps=200, eval_every=5, patience=4, learning_rate=3e-2)
    fit = fit_gating(*train, settings=settings, validation=held_out)
    losses = {record.step: record.validation_loss for record in fit.history}
    assert fit.validation_loss == min(losses.values()) == losses[fit.best_step]
    with torch.no_grad():
        margin = (fit.network(held_out[0]) * (held_out[1] - held_out[2])).sum(-1)
    found = float(torch.nn.functional.softplus(-fit.beta * margin).mean())
    assert found == pytest.approx(fit.validation_loss, rel=1e-5)
    assert fit.validation_accuracy == pytest.approx(float((margin > 0).float().mean()))
    assert max(losses) < 200


def test_training_that_never_helps_keeps_the_start():
    # Validation pairs that prefer the opposite: each step makes them worse.
    prompt, chosen, rejected = planted(7, 300)
    settings = replace(SMALL, beta_init=5.0, eval_every=1, patience=2)
    fit = fit_gating(
        prompt, chosen, rejected, settings=settings, validation=(prompt, rejected, chosen)
    )
    assert fit.best_step == 0
    torch.testing.assert_close(fit.network(prompt), torch.full((300, 8), 1 / 8))
    assert fit.beta == pytest.approx(5.0)


def test_ties_count_one_half():
    prompt, chosen, _ = planted(8, 40)
    fit = fit_gating(prompt, chosen, chosen, settings=SMALL, validation=(prompt, chosen, chosen))
    assert fit.validation_accuracy == 0.5
    assert fit.validation_loss == pytest.approx(math.log(2))


def test_same_seed_gives_the_same_bytes_and_another_does_not():
    train = planted(9, 700)
    settings = replace(SMALL, max_steps=12)
    first, same = (fit_gating(*train, settings=settings) for _ in range(2))
    other = fit_gating(*train, settings=replace(settings, seed=5))
    for name, value in first.network.state_dict().items():
        assert torch.equal(same.network.state_dict()[name], value)
    assert first.beta == same.beta != other.beta
    assert math.isnan(first.validation_loss)
    assert math.isnan(first.validation_accuracy)


def test_full_batch_does_not_depend_on_the_order_of_pairs():
    train = planted(10, 100)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    settings = replace(SMALL, max_steps=10)
    first = fit_gating(*train, settings=settings).network(train[0])
    second = fit_gating(*(t[order] for t in train), settings=settings).network(train[0])
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)


def test_weight_two_equals_a_repeated_pair_and_weight_zero_none():
    train = planted(11, 90)
    settings = replace(SMALL, max_steps=10, standardise=False)
    weight = torch.ones(90)
    weight[:30], weight[60:] = 2, 0
    weighted = fit_gating(*train, settings=settings, sample_weight=weight)
    rows = [*range(60), *range(30)]
    repeated = fit_gating(*(t[rows] for t in train), settings=settings)
    first, second = weighted.network(train[0]), repeated.network(train[0])
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)
    assert weighted.beta == pytest.approx(repeated.beta, rel=1e-3)


def test_batches_without_any_weight_are_passed_over():
    train = planted(12, 64)
    weight = torch.zeros(64)
    weight[5] = 1.0
    fit = fit_gating(
        *train, settings=replace(SMALL, batch_size=4, max_steps=8), sample_weight=weight
    )
    assert all(torch.isfinite(value).all() for value in fit.network.state_dict().values())


def test_a_pass_visits_every_pair_that_fills_a_batch():
    # One learning pair a batch: with prompts that share nothing, each moves its own weights.
    p = 8
    prompt, chosen = torch.eye(p), torch.tensor([[1.0, 0.0]] * p)
    settings = replace(
        SMALL,
        hidden=(),
        batch_size=1,
        max_steps=p,
        standardise=False,
        weight_decay=0.0,
        beta_init=1.0,
    )
    start = fit_gating(prompt, chosen, 0 * chosen, settings=settings, steps=0).network
    moved = fit_gating(prompt, chosen, 0 * chosen, settings=settings).network
    change = (moved.layers[0].weight - start.layers[0].weight).abs().sum(0)
    assert bool((change > 0).all()), change


def test_first_beta_fits_the_initial_gating():
    # Margins 1 in three of four pairs: sigmoid(beta) = 3/4, beta = log 3.
    prompt = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([[1.0, 1.0]] * 3 + [[0.0, 0.0]])
    fit = fit_gating(prompt, chosen, 1 - chosen, settings=SMALL, steps=0)
    assert fit.beta == pytest.approx(math.log(3), rel=1e-3)
    assert [record.step for record in fit.history] == [0]
    assert fit.history[0].train_loss == pytest.approx(
        -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    )


def test_beta_is_learned_towards_the_planted_one():
    # Uniform gating, one objective: only beta can move, from 1 towards 6.
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 2000, 1, generator=generator)
    swap = torch.rand(2000, 1, generator=generator) > torch.sigmoid(6 * (a - b))
    chosen, rejected = torch.where(swap, b, a), torch.where(swap, a, b)
    settings = GatingSettings(hidden=(), beta_init=1.0, learning_rate=0.05, max_steps=200)
    fit = fit_gating(torch.zeros(2000, 1), chosen, rejected, settings=settings)
    assert 5.0 < fit.beta < 7.0  # four standard errors of .25


def test_learning_rate_falls_along_a_half_cosine():
    # AdamW's first step moves each parameter by the rate: 0.1; with the whole schedule of two
    # steps the second has half of it. Beta alone: its gradient keeps its sign.
    chosen, rejected = torch.ones(4, 1), torch.zeros(4, 1)
    settings = GatingSettings(hidden=(), beta_init=1.0, learning_rate=0.1, max_steps=2)
    betas = [
        fit_gating(torch.zeros(4, 1), chosen, rejected, settings=settings, steps=s).beta
        for s in (1, 2)
    ]
    assert math.log(betas[0]) == pytest.approx(0.1, rel=1e-3)
    assert math.log(betas[1]) == pytest.approx(0.15, rel=1e-2)


def test_weight_decay_spares_beta():
    prompt, chosen, _ = planted(13, 200)
    decayed = fit_gating(
        prompt,
        chosen,
        chosen,  # no gradient at all
        settings=replace(SMALL, weight_decay=1.0, beta_init=3.0, initial="random", max_steps=10),
    )
    free = GatingNetwork(16, 8, hidden=(32,), temperature=1.0)
    assert decayed.beta == pytest.approx(3.0)
    assert decayed.network.layers[0].weight.norm() < 0.99 * free.layers[0].weight.norm()


def test_entropy_term_keeps_the_gating_broad():
    train, test = planted(14, 800), planted(15, 200)

    def entropy(weight):
        settings = replace(SMALL, max_steps=150, entropy_weight=weight)
        gating = fit_gating(*train, settings=settings).network(test[0])
        return float(-(gating * gating.log()).sum(-1).mean().detach())

    plain, rewarded = entropy(0.0), entropy(0.3)
    assert plain < rewarded < math.log(8)


def test_masked_objectives_get_no_weight_and_no_harm_to_the_gradient():
    train = planted(16, 300)
    settings = replace(SMALL, masked=(0, 3), entropy_weight=0.1, max_steps=20)
    gating = fit_gating(*train, settings=settings).network(train[0])
    assert gating[:, [0, 3]].eq(0).all()
    assert gating.isfinite().all()
    torch.testing.assert_close(gating.sum(-1), torch.ones(300))


def test_start_at_the_best_fixed_weights():
    train = planted(17, 300)
    fixed = fit_fixed_weights(*train[1:])
    settings = replace(SMALL, initial="fixed_weights")
    fit = fit_gating(*train, settings=settings, initial_weights=fixed.weights, steps=0)
    expected = fixed.weights.clamp(min=1e-3)
    torch.testing.assert_close(fit.network(train[0][:1])[0], expected / expected.sum())
    assert fit.beta == pytest.approx(fixed.beta, rel=0.05)


def test_random_start_is_not_uniform():
    train = planted(18, 50)
    fit = fit_gating(*train, settings=replace(SMALL, initial="random"), steps=0)
    assert fit.network(train[0]).std(-1).min() > 1e-3


def test_progress_counts_the_steps():
    seen = []
    fit_gating(
        *planted(19, 30),
        settings=SMALL,
        steps=3,
        progress=lambda step, total, record: seen.append((step, total, record.step)),
    )
    assert seen == [(1, 3, 0), (2, 3, 0), (3, 3, 3)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 0.0}, r"^`temperature` must be above 0; got 0$"),
        ({"learning_rate": float("nan")}, r"^`learning_rate` must be above 0; got nan$"),
        ({"weight_decay": -1.0}, r"^`weight_decay` must be at least 0; got -1$"),
        ({"entropy_weight": -0.1}, r"^`entropy_weight` must be at least 0; got -0.1$"),
        ({"beta_init": 0.0}, r"^`beta_init` must be above 0; got 0$"),
        ({"batch_size": 0}, r"^`batch_size` must be at least 1; got 0$"),
        ({"max_steps": 0}, r"^`max_steps` must be at least 1; got 0$"),
        ({"eval_every": 0}, r"^`eval_every` must be at least 1; got 0$"),
        ({"patience": 0}, r"^`patience` must be at least 1; got 0$"),
        ({"hidden": (4, 0)}, r"^`hidden` must be widths of at least 1; got \(4, 0\)$"),
        ({"initial": "best"}, r"^`initial` must be 'uniform', 'fixed_weights' or 'random'; got 'b"),
    ],
)
def test_bad_settings_are_refused_when_they_are_said(change, text):
    with pytest.raises(ValueError, match=text):
        GatingSettings(**change)


def test_bad_networks_are_refused():
    with pytest.raises(
        ValueError, match=r"^widths of the layers must be at least 1; got \(4, 0, 3\)"
    ):
        GatingNetwork(4, 3, hidden=(0,))
    with pytest.raises(ValueError, match=r"^`temperature` must be above 0; got 0$"):
        GatingNetwork(4, 3, temperature=0.0)
    with pytest.raises(ValueError, match=r"^`masked` must be indices from 0 to 2; got 3$"):
        GatingNetwork(4, 3, masked=(3,))
    with pytest.raises(ValueError, match=r"^`masked` must leave an objective; got all 2$"):
        GatingNetwork(4, 2, masked=(0, 1))
    network = GatingNetwork(4, 3)
    with pytest.raises(ValueError, match=r"^`weights`.*axis 0 \(k\) must be 3"):
        network.start_at(torch.ones(2))
    with pytest.raises(ValueError, match=r"^`prompt`.*axis 1 \(d\) must be 4"):
        network.standardise(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"^`prompt` must be finite"):
        network.standardise(torch.full((2, 4), torch.nan))


def test_bad_pairs_are_refused():
    prompt, chosen, rejected = planted(20, 10)
    with pytest.raises(ValueError, match=r"^`prompt` must have shape \(p, d\)"):
        fit_gating(prompt[0], chosen, rejected, settings=SMALL)
    with pytest.raises(ValueError, match=r"^`prompt` must have at least 1 row; got 0$"):
        fit_gating(prompt[:0], chosen[:0], rejected[:0], settings=SMALL)
    with pytest.raises(ValueError, match=r"^`chosen_scores`.*axis 0 \(p\) must be 10"):
        fit_gating(prompt, chosen[:4], rejected, settings=SMALL)
    with pytest.raises(ValueError, match=r"^`rejected_scores`.*axis 1 \(k\) must be 8"):
        fit_gating(prompt, chosen, rejected[:, :4], settings=SMALL)
    with pytest.raises(ValueError, match=r"^`chosen_scores` must be finite"):
        fit_gating(prompt, chosen * torch.nan, rejected, settings=SMALL)
    with pytest.raises(ValueError, match=r"^`sample_weight` must not be negative"):
        fit_gating(prompt, chosen, rejected, settings=SMALL, sample_weight=-torch.ones(10))
    with pytest.raises(ValueError, match=r"^`validation rejected_scores`.*axis 0 \(p\) must be 10"):
        fit_gating(
            prompt, chosen, rejected, settings=SMALL, validation=(prompt, chosen, rejected[:3])
        )
    with pytest.raises(ValueError, match=r"^`validation prompt`.*axis 1 \(d\) must be 16"):
        fit_gating(
            prompt, chosen, rejected, settings=SMALL, validation=(prompt[:, :3], chosen, rejected)
        )


@pytest.mark.parametrize("change", [{"temperature": 1e-300}, {"beta_init": 1e300}])
@pytest.mark.parametrize("validated", [True, False])
def test_settings_without_a_finite_loss_are_named(change, validated):
    # Regression: the best state was never taken, and reading it was a KeyError.
    pairs = planted(22, 20)
    with pytest.raises(ValueError, match=r"^training must have a finite loss; it has none with `l"):
        fit_gating(
            *pairs,
            settings=replace(SMALL, max_steps=2, **change),
            validation=pairs if validated else None,
        )


def test_refit_that_leaves_the_finite_numbers_is_refused():
    text = r"it has none with `learning_rate` = 1e\+30, `temperature` = 1 and `beta_init` = fitted$"
    with pytest.raises(ValueError, match=text):
        fit_gating(*planted(23, 20), settings=replace(SMALL, learning_rate=1e30), steps=5)


def test_requests_that_exclude_each_other_are_refused():
    pairs = planted(21, 10)
    with pytest.raises(
        ValueError, match=r"^`steps` and `validation` exclude each other; got both$"
    ):
        fit_gating(*pairs, settings=SMALL, steps=3, validation=pairs)
    for steps in (-1, 61):
        with pytest.raises(ValueError, match=rf"^`steps` must be from 0 to 60; got {steps}$"):
            fit_gating(*pairs, settings=SMALL, steps=steps)
    with pytest.raises(ValueError, match=r"^`initial_weights` belong.*got some with 'uniform'$"):
        fit_gating(*pairs, settings=SMALL, initial_weights=torch.ones(8))
    with pytest.raises(ValueError, match=r"^`initial_weights` belong.*got none with 'fixed_weig"):
        fit_gating(*pairs, settings=replace(SMALL, initial="fixed_weights"))
