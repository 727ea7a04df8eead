"""Edits, calibration, structure and rank correlation of an audit, against slow formulas."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import rankdata

from armorm.evaluate.audit.calibration import (
    calibrated,
    calibration,
    fit_temperature,
    reliability,
)
from armorm.evaluate.audit.edits import (
    dress,
    edits_with,
    first_half,
    pad,
    repeat,
    without_last_sentence,
)
from armorm.evaluate.audit.estimates import (
    mean_interval,
    ranks_within,
    share_interval,
    spearman_interval,
    within_interval,
)
from armorm.evaluate.audit.header import PRAISE, REPLY, template_header
from armorm.evaluate.audit.paraphrases import paraphrases
from armorm.evaluate.audit.structure import (
    correlations,
    effective_number,
    gating_audit,
    structure,
)
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows
from bundles import decoder_backbone, encoder_backbone, make_bundle
from fakes import HashBackbone

FEW = Resampling(100)


# Edits.


@given(st.text(min_size=1, max_size=60))
def test_edits_keep_the_response_and_are_the_same_every_time(text):
    for edit in edits_with("<end>"):
        changed = edit.apply(text)
        assert changed == edit.apply(text)
        if changed is not None and edit.kind == "edit" and edit.name != "markdown":
            assert text.rstrip() in changed


@given(st.text(alphabet="ab. !?\n", max_size=60))
def test_cuts_are_proper_beginnings(text):
    for cut in (without_last_sentence, first_half):
        rest = cut(text)
        if rest is not None:
            assert text.strip().startswith(rest)
            assert len(rest) < len(text.strip())


def test_padding_adds_half_of_the_length_and_two_sentences_at_least():
    assert len(pad("Yes.")) > 100
    long = "word " * 400
    assert 0.5 * len(long) < len(pad(long)) - len(long) < 0.5 * len(long) + 200


def test_repetition_says_it_twice():
    assert repeat("Yes. No.").count("Yes. No.") == 2


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_dressing_keeps_words_lists_and_code(fence):
    code = f"{fence}\ncode. here\n{fence}"
    text = f"First do this now. Then that.\n- kept\n{code}\nEnd."
    dressed = dress(text)
    assert f"- **First do** this now.\n- **Then that.**\n- kept\n{code}\n- **End.**" in dressed
    words = "".join(c for c in dressed.replace("## Answer", "") if c.isalnum())
    assert words == "".join(c for c in text if c.isalnum())


def test_one_sentence_cannot_lose_its_last_one():
    assert without_last_sentence("Only one.") is None
    assert first_half("Word") is None


def test_header_is_what_the_template_writes_between_turns(tmp_path):
    header, note = template_header(decoder_backbone(tmp_path, "llama3"))
    assert note == ""
    assert header.startswith("<|eot_id|><|start_header_id|>user<|end_header_id|>")
    assert header.endswith(f"<|start_header_id|>assistant<|end_header_id|>\n\n{REPLY}")
    assert PRAISE in header


def test_header_of_a_template_that_takes_one_turn_is_plain_and_said(tmp_path):
    backbone = decoder_backbone(tmp_path, "llama3")
    backbone.tokenizer.chat_template = (
        "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    header, note = template_header(backbone)
    assert header == f"\nuser: {PRAISE}\nassistant: {REPLY}"
    assert "takes no second turn of the user" in note


def test_header_of_an_encoder_is_the_lines_it_reads(tmp_path):
    header, note = template_header(encoder_backbone(tmp_path))
    assert (header, note) == (f"\nuser: {PRAISE}\nassistant: {REPLY}", "")
    assert "shows no chat template" in template_header(HashBackbone())[1]


def test_paraphrases_are_of_their_own_prompt_and_about_one_length():
    rows = paraphrases()
    assert len(rows) == 24
    assert len({one.original.prompt for one in rows}) == 24
    for one in rows:
        assert one.original.prompt == one.paraphrase.prompt
        assert one.original.id == one.paraphrase.id
        assert one.original.response != one.paraphrase.response
        assert 0.66 < len(one.paraphrase.response) / len(one.original.response) < 1.5


# Calibration.


def slow_error(margins, beta):
    """The expected calibration error, a loop over bins of the definition."""
    total = 0.0
    confidences = [max(expit(beta * m), expit(-beta * m)) for m in margins]
    rights = [1.0 if m > 0 else 0.5 if m == 0 else 0.0 for m in margins]
    for b in range(10):
        low, high = 0.5 + b / 20, 0.5 + (b + 1) / 20
        own = [
            i for i, c in enumerate(confidences) if low <= c and (c < high or (b == 9 and c <= 1))
        ]
        if own:
            gap = np.mean([rights[i] for i in own]) - np.mean([confidences[i] for i in own])
            total += len(own) / len(margins) * abs(gap)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_reliability_equals_the_slow_formulas(seed):
    rng = np.random.default_rng(seed)
    margins = rng.normal(0.3, 1, 90)
    margins[:5] = 0.0
    found = reliability(margins, [str(i) for i in range(90)], beta=1.7, resampling=FEW)
    p = 1 / (1 + np.exp(-1.7 * margins))
    assert found.ece == pytest.approx(slow_error(margins, 1.7), abs=1e-12)
    assert found.brier.value == pytest.approx(np.mean((1 - p) ** 2), abs=1e-12)
    assert found.log_loss.value == pytest.approx(-np.mean(np.log(p)), abs=1e-12)
    assert found.accuracy == pytest.approx(np.mean((margins > 0) + 0.5 * (margins == 0)))
    assert sum(one.n for one in found.bins) == 90
    for one in found.bins:
        if one.n:
            assert one.low <= one.confidence <= one.high


def test_reliability_by_hand():
    # c = 3/4 for all (log 3), right in 2 of 4: error 1/4; Brier (2 (1/4)^2 + 2 (3/4)^2) / 4.
    margins = np.log(3) * np.array([1.0, 1.0, -1.0, -1.0])
    found = reliability(margins, list("abcd"), beta=1.0, resampling=FEW)
    assert found.ece == pytest.approx(0.25)
    assert found.brier.value == pytest.approx(0.3125)
    assert not found.brier.has_interval  # 4 prompts


def test_a_calibrated_model_stays_below_its_error_by_chance_and_a_bold_one_does_not():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 600)
    margins = np.where(rng.random(600) < expit(np.abs(logits)), 1, -1) * np.abs(logits)
    groups = [str(i) for i in range(600)]
    good = reliability(margins, groups, beta=1.0, resampling=FEW)
    bold = reliability(margins, groups, beta=4.0, resampling=FEW)
    assert good.ece < good.ece_by_chance
    assert bold.ece > bold.ece_by_chance
    assert bold.confidence > bold.accuracy


def test_extreme_margins_do_not_overflow():
    found = reliability([1e6, -1e6, 1e-300], list("abc"), beta=100.0, resampling=FEW)
    assert np.isfinite(found.log_loss.value)
    assert found.bins[-1].n == 2


@pytest.mark.parametrize("seed", range(4))
def test_temperature_equals_a_numerical_minimum(seed):
    rng = np.random.default_rng(seed)
    margins, beta = rng.normal(0.4, 1, 80), 10.0 ** rng.uniform(-2, 2)

    def loss(log_t):
        return np.logaddexp(0, -beta * margins / np.exp(log_t)).mean()

    best = minimize_scalar(loss, bounds=(-12, 12), method="bounded", options={"xatol": 1e-10})
    assert np.log(fit_temperature(margins, beta=beta)) == pytest.approx(best.x, abs=1e-4)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=20), st.floats(0.1, 10))
def test_temperature_scales_with_beta(margins, beta):
    one, other = fit_temperature(margins, beta=1.0), fit_temperature(margins, beta=beta)
    assert (one is None) == (other is None)
    if one is not None:
        assert other == pytest.approx(beta * one, rel=1e-9)


def test_no_temperature_where_none_is_best():
    assert fit_temperature([1.0, 2.0], beta=1.0) is None  # never wrong: 0 would be best
    assert fit_temperature([1.0, -2.0], beta=1.0) is None  # worse than chance: infinity
    assert 0 < fit_temperature([1.0, -1e-300], beta=1.0) < 0.01  # wrong by next to nothing


def test_temperature_is_fitted_on_one_half_and_judged_on_the_other():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 400)
    margins = 3 * np.where(rng.random(400) < expit(np.abs(logits)), 1, -1) * np.abs(logits)
    fit = [i % 2 == 0 for i in range(400)]
    groups = [str(i) for i in range(400)]
    found = calibration(margins, groups, beta=1.0, is_fit=fit, resampling=FEW)
    assert found.temperature == fit_temperature(margins[::2], beta=1.0)
    assert found.temperature == pytest.approx(3, rel=0.3)
    assert found.held_out == reliability(margins[1::2], groups[1::2], beta=1.0, resampling=FEW)
    assert found.held_out_after.ece < found.held_out.ece
    assert found.log_loss_change.high < 0
    difference = found.held_out_after.log_loss.value - found.held_out.log_loss.value
    assert found.log_loss_change.value == pytest.approx(difference)
    whole = calibration(margins, groups, beta=1.0, is_fit=[True] * 400, resampling=FEW)
    assert (whole.temperature, whole.held_out) == (None, None)


def test_calibrated_bundle_changes_beta_alone():
    bundle = make_bundle(HashBackbone().facts())
    changed = calibrated(bundle, 2.0)
    assert changed.beta == bundle.beta / 2
    assert changed.facts["changes"] == ["beta divided by the temperature 2: 4 to 2"]
    for field in dataclasses.fields(bundle):
        if field.name not in ("beta", "facts"):
            assert getattr(changed, field.name) is getattr(bundle, field.name)


def test_calibration_refuses_what_is_no_temperature():
    bundle = make_bundle(HashBackbone().facts())
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"`temperature` must be positive and finite; got"):
            calibrated(bundle, bad)
    with pytest.raises(ValueError, match=r"`temperature` must leave a positive and finite beta"):
        calibrated(bundle, 1e-320)
    with pytest.raises(ValueError, match=r"`beta` must be positive and finite; got 0"):
        fit_temperature([1.0], beta=0.0)
    with pytest.raises(ValueError, match=r"`margins` must be finite; 1 of 2 entries are not"):
        reliability([1.0, float("nan")], ["a", "b"], beta=1.0, resampling=FEW)
    with pytest.raises(ValueError, match=r"`is_fit` must have shape \(2,\); got \(1,\)"):
        calibration([1.0, 2.0], ["a", "b"], beta=1.0, is_fit=[True], resampling=FEW)


# Structure and gating.


@pytest.mark.parametrize("shape", [(50, 4), (8, 6), (30, 1), (3, 5)])
def test_effective_number_equals_the_ratio_of_eigenvalues(shape):
    scores = np.random.default_rng(0).normal(size=shape) @ np.diag(np.arange(1.0, shape[1] + 1))
    matrix = correlations(scores)
    reference = np.atleast_2d(np.corrcoef(scores.T))
    np.testing.assert_allclose(matrix, reference, atol=1e-12)
    values = np.linalg.eigvalsh(reference)
    assert effective_number(matrix) == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_effective_number_by_hand():
    assert effective_number(np.eye(3)) == 3.0
    assert effective_number(np.ones((4, 4))) == 1.0
    left_out = np.array([[1.0, np.nan], [np.nan, np.nan]])
    assert effective_number(left_out) == 1.0
    assert np.isnan(effective_number([[np.nan]]))
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(k, k\); got \(2, 3\)"):
        effective_number(np.ones((2, 3)))


def test_constant_and_removed_objectives_are_left_out():
    rng = np.random.default_rng(0)
    a = rng.normal(size=40)
    before = np.stack([a, -a, np.full(40, 0.3), rng.normal(size=40)], axis=1)
    after = before.copy()
    after[:, 3] = rng.normal(size=40) * 1e-9
    found = structure(before, after, objectives=list("abcd"), nuisances=[3])
    assert found.effective_before == pytest.approx(1 + 1, abs=0.6)
    assert found.effective_after == pytest.approx(1.0)
    assert found.most_alike == (("a", "b", pytest.approx(-1.0)),)
    assert np.isnan(found.before[2]).all()
    assert np.isnan(found.after[3]).all()


def test_gating_counts_a_prompt_once_a_source():
    gating = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [1.0, 0, 0], [0.992, 0.008, 0]])
    found = gating_audit(
        gating, ["x", "x", "y", "y"], ["p", "p", "q", "r"], objectives=list("abc"), nuisances=[2],
        beta=2.0,
    )  # fmt: skip
    assert found.n_prompts == 3
    assert found.figures.by_source["x"] == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert found.figures.mean["a"] == pytest.approx((0.5 + 1 + 0.992) / 3)
    assert found.unused == ()
    entropies = [np.log(2), 0.0, -(0.992 * np.log(0.992) + 0.008 * np.log(0.008))]
    assert found.effective == pytest.approx(np.exp(entropies).mean())
    seldom = gating_audit(
        gating[2:], ["y", "y"], ["q", "r"], objectives=list("abc"), nuisances=[2], beta=2.0
    )
    assert seldom.unused == ("b",)


# Rank correlation within prompts.


@pytest.mark.parametrize("seed", range(3))
def test_within_correlation_equals_a_loop_over_prompts(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 30, 90)
    x, y = rng.integers(0, 4, 90).astype(float), rng.normal(size=90)
    a, b = np.zeros(90), np.zeros(90)
    for g in set(groups):
        own = groups == g
        a[own] = rankdata(x[own]) - rankdata(x[own]).mean()
        b[own] = rankdata(y[own]) - rankdata(y[own]).mean()
    grouping = group_rows(groups, n_rows=90)
    np.testing.assert_allclose(ranks_within(x, grouping), a, atol=1e-12)
    found = within_interval(x, y, grouping, FEW)
    assert found.value == pytest.approx((a @ b) / np.sqrt((a @ a) * (b @ b)), abs=1e-12)
    assert found.low < found.value < found.high


def test_within_correlation_does_not_see_differences_between_prompts():
    # Simpson: up from prompt to prompt, down within each.
    groups = np.repeat(np.arange(25), 2)
    x = groups * 10.0 + np.tile([0, 1], 25)
    y = groups * 10.0 - np.tile([0, 1], 25)
    grouping = group_rows(groups, n_rows=50)
    assert within_interval(x, y, grouping, FEW).value == -1.0
    assert spearman_interval(x, y, grouping, FEW).value > 0.9


def test_rounding_within_a_prompt_is_a_tie():
    groups = np.repeat(np.arange(25), 2)
    x = 5.0 + groups + np.tile([0.0, 1e-6], 25)
    grouping = group_rows(groups, n_rows=50)
    assert np.isnan(within_interval(x, np.tile([1.0, 2.0], 25), grouping, FEW).value)


def test_few_prompts_give_figures_without_intervals():
    grouping = group_rows(["a", "a", "b", "b"], n_rows=4)
    x = np.array([1.0, 2.0, 3.0, 4.0])
    for found in (
        mean_interval(x, grouping, FEW),
        share_interval(x / 4, grouping, FEW),
        spearman_interval(x, x, grouping, FEW),
        within_interval(x, x, grouping, FEW),
    ):
        assert not found.has_interval
        assert np.isfinite(found.value)
    none = group_rows([], n_rows=0)
    assert np.isnan(mean_interval(np.zeros(0), none, FEW).value)
    single = group_rows(["a", "b"], n_rows=2)
    assert np.isnan(within_interval(x[:2], x[:2], single, FEW).value)
