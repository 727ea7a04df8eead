import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import armorm.heads.gating_pairs as gating_pairs
import armorm.heads.gating_training as gating_training
from armorm.heads.gating import GatingNetwork, GatingSettings, IndexedRows, fit_gating
from armorm.heads.gating_network import Dropout
from armorm.heads.gating_pairs import as_pairs

SMALL = GatingSettings(
    hidden=(16,), temperature=1.0, learning_rate=3e-2, batch_size=32, max_steps=30, eval_every=5
)


class OnDemand:
    """Rows that are given by number only, never as a whole."""

    def __init__(self, features):
        self.features, self.shape = features, tuple(features.shape)
        self.most = 0

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        self.most = max(self.most, len(rows))
        return self.features[rows]


def planted(seed, p, *, k=4, d=6):
    """Prompts that say which objective decides."""
    generator = torch.Generator().manual_seed(seed)
    prompt = torch.randn(p, d, generator=generator)
    group = prompt[:, :k].argmax(-1)
    a, b = torch.rand(2, p, k, generator=generator)
    swap = (a < b)[torch.arange(p), group]
    return prompt, torch.where(swap[:, None], b, a), torch.where(swap[:, None], a, b)


def assert_same(first, second):
    """Every bit of two fits."""
    ours, theirs = first.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert str(first.history) == str(second.history)  # NaN equals itself in text
    for name in ("beta", "best_step", "validation_loss", "validation_accuracy"):
        assert str(getattr(first, name)) == str(getattr(second, name))


@pytest.fixture
def few(monkeypatch):
    """Let 50 rows count as many, so that small data takes the ways of large data."""
    for module in ("gating_pairs", "gating_training", "gating_network", "gating"):
        monkeypatch.setattr(f"armorm.heads.{module}.FEW_ROWS", 50)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch_size", [32, 500])
def test_rows_on_demand_give_the_bits_of_rows_in_memory(dtype, batch_size):
    train, held_out = planted(0, 200), planted(1, 90)
    settings = replace(SMALL, batch_size=batch_size)
    fits = [
        fit_gating(
            wrap(train[0].to(dtype)),
            *train[1:],
            settings=settings,
            validation=(wrap(held_out[0].to(dtype)), *held_out[1:]),
        )
        for wrap in (torch.Tensor.contiguous, OnDemand)
    ]
    assert_same(*fits)


@pytest.mark.usefixtures("few")
def test_many_rows_are_never_read_as_a_whole():
    train, held_out = planted(2, 400), planted(3, 300)
    rows, held_rows = OnDemand(train[0]), OnDemand(held_out[0])
    settings = replace(SMALL, max_validation=40)
    streamed = fit_gating(
        rows, *train[1:], settings=settings, validation=(held_rows, *held_out[1:])
    )
    assert rows.most <= 400  # the width is so small that one chunk of the moments holds all
    assert held_rows.most <= 50
    assert_same(streamed, fit_gating(*train, settings=settings, validation=held_out))
    plain = replace(settings, standardise=False)
    rows.most = 0
    fit_gating(rows, *train[1:], settings=plain)
    assert rows.most <= 50


@pytest.mark.usefixtures("few")
def test_chunks_and_samples_find_what_all_rows_at_once_find():
    train, held_out = planted(4, 400), planted(5, 300)
    streamed = fit_gating(*train, settings=SMALL, validation=held_out)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("gating_pairs", "gating_training", "gating_network", "gating"):
            patch.setattr(f"armorm.heads.{module}.FEW_ROWS", 16_384)
        whole = fit_gating(*train, settings=SMALL, validation=held_out)
    # The first beta comes from 50 pairs in place of 400, and all else follows from it.
    assert streamed.validation_loss == pytest.approx(whole.validation_loss, abs=0.05)
    torch.testing.assert_close(streamed.network.mean, whole.network.mean)
    torch.testing.assert_close(streamed.network.scale, whole.network.scale)


def test_looks_are_at_a_sample_and_the_result_at_all_pairs():
    train, held_out = planted(6, 300), planted(7, 400)
    settings = replace(SMALL, max_validation=60)
    fit = fit_gating(*train, settings=settings, validation=held_out)
    with torch.no_grad():
        margin = (fit.network(held_out[0]) * (held_out[1] - held_out[2])).sum(-1)
    loss = float(torch.nn.functional.softplus(-fit.beta * margin).mean())
    assert fit.validation_loss == pytest.approx(loss, rel=1e-5)
    assert fit.validation_accuracy == pytest.approx(float((margin > 0).float().mean()))
    looks = {record.step: record for record in fit.history}
    assert looks[fit.best_step].validation_loss != pytest.approx(fit.validation_loss, rel=1e-3)
    assert (60 * looks[fit.best_step].validation_accuracy) % 1 == pytest.approx(0, abs=1e-4)
    every = fit_gating(*train, settings=replace(SMALL, max_validation=400), validation=held_out)
    looks = {record.step: record for record in every.history}
    assert looks[every.best_step].validation_loss == every.validation_loss
    assert looks[every.best_step].validation_accuracy == every.validation_accuracy


def test_sample_is_of_weighted_pairs_in_their_order_and_from_the_seed():
    prompt, chosen, rejected = planted(8, 100)
    weight = torch.zeros(100)
    weight[10:70] = 1
    pairs = as_pairs(OnDemand(prompt), chosen, rejected, weight)
    sample, same, other = (pairs.sample(20, seed) for seed in (0, 0, 1))
    assert torch.equal(sample.prompt, same.prompt)
    assert not torch.equal(sample.prompt, other.prompt)
    places = [int((prompt == row).all(-1).nonzero()) for row in sample.prompt]
    assert len(places) == 20
    assert places == sorted(set(places))
    assert min(places) >= 10
    assert max(places) < 70
    torch.testing.assert_close(sample.difference, (chosen - rejected)[places])
    assert pairs.sample(100, 0) is pairs


@given(seed=st.integers(0, 2**31), precision=st.sampled_from(["float32", "bfloat16"]))
def test_shared_prompts_train_as_repeated_ones(seed, precision):
    prompt, chosen, rejected = planted(seed, 60)
    prompt = prompt[:7]
    index = torch.randint(7, (60,), generator=torch.Generator().manual_seed(seed))
    settings = replace(SMALL, max_steps=4, learning_rate=1e-2, precision=precision)
    shared = fit_gating(IndexedRows(prompt, index), chosen, rejected, settings=settings)
    repeated = fit_gating(prompt[index], chosen, rejected, settings=settings)
    for first, second in zip(shared.history, repeated.history, strict=True):
        # Sums in another order, and with bfloat16 other roundings of the gradients.
        assert first.train_loss == pytest.approx(second.train_loss, rel=2e-2)
    torch.testing.assert_close(shared.network.mean, repeated.network.mean)


def test_shared_prompts_are_computed_once_a_batch():
    prompt, chosen, rejected = planted(9, 64)
    index = torch.arange(64) // 8
    batch = as_pairs(IndexedRows(prompt[:8], index), chosen, rejected, None).take(
        torch.tensor([63, 0, 1, 9])
    )
    assert torch.equal(batch.prompt, prompt[[0, 1, 7]])
    assert batch.row.tolist() == [2, 0, 0, 1]
    torch.testing.assert_close(batch.difference, (chosen - rejected)[[63, 0, 1, 9]])


def test_shared_prompts_give_the_same_bits_again():
    prompt, chosen, rejected = planted(10, 600)
    shared = IndexedRows(prompt[:40], torch.arange(600) % 40)
    settings = replace(SMALL, batch_size=512)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert_same(*(fit_gating(shared, chosen, rejected, settings=settings) for _ in range(2)))
    finally:
        torch.set_num_threads(threads)


def test_skipped_batches_are_those_that_came_before():
    pairs = as_pairs(*planted(11, 70), None)
    batches, later = pairs.batches(SMALL), pairs.batches(SMALL, skip=5)
    expected = [next(batches) for _ in range(8)][5:]
    for batch in expected:
        assert torch.equal(next(later).difference, batch.difference)


def test_bfloat16_products_learn_as_well_and_keep_float32_weights():
    train, held_out = planted(12, 2000), planted(13, 1000)
    settings = replace(SMALL, hidden=(64,), max_steps=150, batch_size=256, learning_rate=1e-2)
    exact = fit_gating(*train, settings=settings, validation=held_out)
    rounded = fit_gating(
        *train, settings=replace(settings, precision="bfloat16"), validation=held_out
    )
    start = exact.history[0].validation_loss
    assert exact.validation_loss < start - 0.1
    assert rounded.validation_loss == pytest.approx(exact.validation_loss, abs=0.02)
    assert all(value.dtype == torch.float32 for value in rounded.network.state_dict().values())
    assert rounded.history[-1].train_loss != exact.history[-1].train_loss
    with torch.no_grad():  # what is reported is of float32
        margin = (rounded.network(held_out[0]) * (held_out[1] - held_out[2])).sum(-1)
    loss = float(torch.nn.functional.softplus(-rounded.beta * margin).mean())
    assert rounded.validation_loss == pytest.approx(loss, rel=1e-5)


def test_bfloat16_products_by_hand():
    # 1 + 2^-9 has no place in 8 bits: input and weight are rounded to 1, so that hidden is 1
    # exactly; float32 has 1 + 2^-8 + 2^-18. The last layer is not rounded.
    network = GatingNetwork(1, 1, hidden=(1,), temperature=1.0)
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.fill_(1 + 2**-9)
            layer.bias.zero_()
        x = torch.tensor([[1 + 2**-9]])
        assert network.logits(x, products=torch.bfloat16).item() == 1 + 2**-9
        assert network.logits(x).item() == pytest.approx((1 + 2**-9) ** 3, rel=1e-7)


def test_bfloat16_gradients_point_where_float32_ones_do():
    prompt, chosen, rejected = planted(14, 300)
    gradients = []
    for products in (torch.float32, torch.bfloat16):
        network = GatingNetwork(6, 4, hidden=(32, 32), temperature=1.0)
        gating = network(prompt, products=products)
        torch.nn.functional.softplus(-5 * (gating * (chosen - rejected)).sum(-1)).mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999


@given(
    seed=st.integers(0, 2**31),
    share=st.floats(0.05, 0.95),
    n=st.integers(1, 20),
    hidden=st.lists(st.integers(1, 6), max_size=3),
)
def test_products_without_units_equal_units_that_are_zeroed(seed, share, n, hidden):
    network = GatingNetwork(3, 2, hidden=hidden, temperature=1.0, seed=seed % 1000).double()
    prompt = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)).double()
    gradients = []
    masks = Dropout(share, torch.Generator().manual_seed(seed))
    x = prompt
    for layer in network.layers[:-1]:
        kept = torch.zeros(layer.out_features).double()
        kept[masks.kept(layer.out_features)] = 1 / (1 - share)
        x = torch.relu(layer(x)) * kept
    expected = network.layers[-1](x)
    drawn = Dropout(share, torch.Generator().manual_seed(seed))
    found = network.logits(prompt, products=torch.float64, dropout=drawn)
    torch.testing.assert_close(found, expected)
    for logits in (found, expected):
        network.zero_grad()
        (logits * torch.arange(2)).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_layer_that_loses_every_unit_leaves_the_biases(products):
    network = GatingNetwork(3, 2, hidden=(1, 1))
    # Each unit stays with a probability of 1e-9.
    drawn = Dropout(1 - 1e-9, torch.Generator().manual_seed(0))
    found = network.logits(torch.ones(4, 3), products=products, dropout=drawn)
    assert torch.equal(found, network.layers[-1].bias.expand(4, 2))


def test_dropout_leaves_out_its_share():
    # 100,000 units: one standard error of the share is .0013; six of them.
    kept = Dropout(0.2, torch.Generator().manual_seed(0)).kept(100_000)
    assert len(kept) / 100_000 == pytest.approx(0.8, abs=0.008)
    assert torch.equal(kept, kept.unique())


def test_dropout_is_of_steps_alone_and_differs_from_step_to_step():
    train, held_out = planted(18, 100), planted(19, 50)
    settings = replace(SMALL, initial="random", batch_size=500, learning_rate=1e-9, max_steps=6)
    plain = fit_gating(*train, settings=settings, validation=held_out)
    thinned = fit_gating(*train, settings=replace(settings, dropout=0.5), validation=held_out)
    assert thinned.history[0] == plain.history[0]
    assert thinned.validation_loss == pytest.approx(plain.validation_loss, abs=1e-6)
    # The weights do not move: what differs from look to look is what is left out.
    looks = replace(settings, dropout=0.5, eval_every=1)
    losses = {record.train_loss for record in fit_gating(*train, settings=looks).history[1:]}
    assert len(losses) == 6


def test_record_has_the_accuracy_with_ties_as_one_half():
    prompt, chosen, _ = planted(15, 40)
    seen = []
    fit = fit_gating(
        prompt,
        chosen,
        chosen,
        settings=replace(SMALL, max_steps=6),
        validation=(prompt, chosen, chosen),
        progress=lambda step, total, record: seen.append((step, total, record)),
    )
    assert {record.validation_accuracy for record in fit.history} == {0.5}
    assert [(step, total, record.step) for step, total, record in seen[3:]] == [
        (4, 6, 0),
        (5, 6, 5),
        (6, 6, 6),
    ]
    assert math.isnan(fit_gating(prompt, chosen, chosen, settings=SMALL).history[0][3])


def test_first_beta_of_many_pairs_comes_from_a_sample_with_weight(few):
    # Only 30 of 400 pairs have weight, all with margin 1 in three of four cases: log 3.
    del few
    p = 400
    weight = torch.zeros(p)
    weight[:40] = 1.0
    chosen = torch.ones(p, 1)
    chosen[:40:4] = 0
    fit = fit_gating(
        torch.zeros(p, 1), chosen, 1 - chosen, settings=SMALL, sample_weight=weight, steps=0
    )
    assert fit.beta == pytest.approx(math.log(3), rel=1e-3)


def test_bad_rows_on_demand_are_located():
    prompt, chosen, rejected = planted(16, 80)
    prompt[70, 2] = torch.nan
    text = r"^`prompt` must be finite; 1 of 480 entries read is not, the first at index \(70, 2\)$"
    with pytest.raises(ValueError, match=text):
        fit_gating(OnDemand(prompt), chosen, rejected, settings=SMALL)
    text = r"^`validation prompt` must be finite;.*the first at index \(70, 2\)$"
    with pytest.raises(ValueError, match=text):
        fit_gating(
            *planted(17, 40), settings=SMALL, validation=(OnDemand(prompt), chosen, rejected)
        )
    plain = replace(SMALL, standardise=False, beta_init=1.0, max_steps=10)
    with pytest.raises(ValueError, match=r"^`prompt`.*the first at index \(70, 2\)$"):
        fit_gating(OnDemand(prompt), chosen, rejected, settings=plain)
    with pytest.raises(ValueError, match=r"^`prompt` must have shape \(p, d\); got \(80,\)$"):
        fit_gating(OnDemand(prompt[:, 0]), chosen, rejected, settings=SMALL)
    with pytest.raises(ValueError, match=r"^`chosen_scores`.*axis 0 \(p\) must be 79"):
        fit_gating(OnDemand(prompt[:79]), chosen, rejected, settings=SMALL)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"precision": "half"}, r"^`precision` must be 'float32' or 'bfloat16'; got 'half'$"),
        ({"dropout": 1.0}, r"^`dropout` must be from 0 to below 1; got 1$"),
        ({"dropout": -0.5}, r"^`dropout` must be from 0 to below 1; got -0.5$"),
        ({"max_validation": 0}, r"^`max_validation` must be at least 1; got 0$"),
    ],
)
def test_bad_settings_are_refused(change, text):
    with pytest.raises(ValueError, match=text):
        GatingSettings(**change)


def test_one_number_says_what_few_rows_are():
    assert gating_pairs.FEW_ROWS == gating_training.FEW_ROWS == SMALL.max_validation == 16_384
