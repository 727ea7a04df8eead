"""The temperature of the preference probability, on pairs that no gate has seen."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit

from armorm.evaluate.report import read_report
from armorm.model.bundle import load_bundle
from armorm.train.cache import read_result
from armorm.train.temperature import held_out_temperature

PROMPTS = [f"{i:03d}" for i in range(300)]


def logits(sureness, n=300, seed=0):
    """Margins whose outcomes follow sigmoid(margin / sureness)."""
    draw = np.random.default_rng(seed)
    sizes = draw.exponential(2.0, n)
    return sureness * sizes * np.where(draw.random(n) < expit(sizes), 1, -1)


def log_loss(values):
    return np.logaddexp(0, -values).mean()


def test_temperature_is_the_minimum_that_scipy_finds():
    values = logits(3.0)
    found = held_out_temperature(values, PROMPTS)
    best = minimize_scalar(lambda t: log_loss(values / t), bounds=(0.1, 50), method="bounded")
    assert found.value == pytest.approx(best.x, rel=1e-4)
    assert found.value == pytest.approx(3.0, rel=0.35)  # 300 outcomes: an error near 10 %
    assert found.notes == ()


def test_figures_after_rest_on_the_temperature_of_other_prompts():
    """Changing the pairs of one prompt changes its own logits by their factor alone."""
    values = logits(2.0)
    before = held_out_temperature(values, PROMPTS).after
    changed = values.copy()
    changed[7] *= -5
    after = held_out_temperature(changed, PROMPTS).after
    assert after[7] / changed[7] == pytest.approx(before[7] / values[7])
    others = np.arange(300) % 5 != 7 % 5
    assert not np.isclose(after[others], before[others]).any()


@settings(max_examples=20, deadline=None)
@given(st.floats(1, 100), st.integers(0, 99))
def test_sureness_of_the_gate_does_not_reach_the_probability(factor, seed):
    values = logits(3.0, seed=seed)  # too sure, and more so under the factor
    one, other = (held_out_temperature(v, PROMPTS) for v in (values, factor * values))
    assert other.value == pytest.approx(factor * one.value, rel=1e-6)
    np.testing.assert_allclose(other.after, one.after, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        (logits(1.0, 19), PROMPTS[:19], "it needs held-out pairs on 20 prompts; there are 19"),
        (np.ones(300), PROMPTS, "no held-out pair is judged wrong"),
        # A score that does not depend on the response: all are ties, and none is right.
        (np.zeros(300), PROMPTS, "on held-out pairs the mean margin is not positive"),
        (-logits(1.0), PROMPTS, "on held-out pairs the mean margin is not positive"),
    ],
)
def test_what_cannot_be_fitted_says_why(values, groups, reason):
    found = held_out_temperature(values, groups)
    assert (found.value, found.after) == (None, None)
    assert found.notes == (f"beta is as it was trained, without a temperature: {reason}",)


def test_a_gate_that_is_calibrated_keeps_its_beta():
    """Of many such gates, about half are no better by a temperature; none gets a worse loss."""
    helped = 0
    for seed in range(20):
        values = logits(1.0, seed=seed)
        found = held_out_temperature(values, PROMPTS)
        if found.value is None:
            assert "does not help on prompts that it was not fitted on: the log" in found.notes[0]
        else:
            helped += 1
            assert log_loss(found.after) < log_loss(values)
    assert 0 < helped < 15


def test_beta_of_the_bundle_is_the_trained_one_divided_by_the_temperature(project):
    """The chosen responses are recognised by their letters, so that most pairs are won."""
    for i, pair in enumerate(project.pairs):
        sides = ["zzz zz zzzz zz", "the sea is blue"]
        pair["chosen"], pair["rejected"] = sides if i % 5 else sides[::-1]
    for i, row in enumerate(project.rated):
        row["ratings"]["good"] = 4 if i % 2 else 0
        row["response"] = f"{'zz zz zzz' if i % 2 else 'the sea'} {i}"
    # A gate that is much too sure, as it is stopped before it can learn its beta.
    run = project.train("debias.nuisances=[]", "gating.beta_init=500", "gating.max_steps=1")
    folder = project.folder / "run"
    found = read_report(folder).calibration
    assert found.beta is None
    assert found.temperature is not None
    assert found.after.n == found.before.n == 30
    stage = folder / "stages" / "gating" / "all.safetensors"
    trained_beta = facts_of(stage)["beta"]
    bundle = load_bundle(folder / "bundle")
    assert bundle.beta == trained_beta / found.temperature
    assert run.report.gating.beta == bundle.beta
    assert bundle.facts["temperature"] == found.temperature
    card = (folder / "bundle" / "README.md").read_text()
    assert "trained one divided by the temperature" in card


def facts_of(path):
    """Facts of a stage."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["armorm.stage"])
    assert read_result(path, header["key"]) is not None
    return header["facts"]


def test_run_without_a_temperature_keeps_its_beta_and_says_why(project):
    project.recipe["pairs"] = None
    del project.recipe["pairs"]
    project.recipe["derived_pairs"] = {"weights": {"good": 1.0}, "min_gap": 0.1}
    run = project.train("evaluation.rounds=1")
    note = "beta is as it was trained, without a temperature: all pairs are derived from ratings"
    assert note in run.notes
    beta = facts_of(project.folder / "run" / "stages" / "gating" / "all.safetensors")["beta"]
    bundle = load_bundle(project.folder / "run" / "bundle")
    assert (bundle.beta, bundle.facts["temperature"]) == (beta, None)
