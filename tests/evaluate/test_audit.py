"""Audits of models whose answer is known: a length head, a head that ignores the response."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from armorm import DataError, RewardModel
from armorm.evaluate.audit import audit_bundle
from armorm.evaluate.audit.figures import (
    SCORE,
)
from armorm.evaluate.audit.files import (
    audit_json,
    check_audit_folder,
    read_audit,
    write_audit,
)
from armorm.evaluate.audit.render import render_audit
from armorm.evaluate.bootstrap import Resampling
from bundles import NUISANCE, OBJECTIVES, make_bundle
from fakes import HashBackbone

N = 24
FEW = Resampling(100)
RATES_LENGTH = "honesty"


class LengthBackbone(HashBackbone):
    """First feature of a response: its length in thousand characters; the rest as it was."""

    def features(self, rows, *, token_budget=None):
        response, prompt = super().features(rows, token_budget=token_budget)
        response[:, 0] = torch.tensor([len(r.row.response) / 1000 for r in rows])
        return response, prompt


class PromptBackbone(HashBackbone):
    """The response feature is the prompt feature: nothing that is answered matters."""

    def features(self, rows, *, token_budget=None):
        _, prompt = super().features(rows, token_budget=token_budget)
        return prompt.clone(), prompt


def lines_of(path):
    """The rows of a file."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def model_of(backbone, **changes):
    return RewardModel(make_bundle(backbone.facts(), baselines=False, **changes), backbone)


def first_feature(k=4, d=8):
    weight = torch.zeros(k, d)
    weight[:, 0] = 1.0
    return {"weight": weight, "bias": torch.zeros(k), "debias": torch.eye(k), "nuisances": ()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def pairs(folder):
    """24 pairs; the chosen response is the longer one in three of four."""
    rows = []
    for i in range(N):
        texts = [f"It is {i}. " + "Really so. " * (3 + i % 5), f"Is it {i}? No idea, none."]
        chosen, rejected = texts if i % 4 else texts[::-1]
        rows.append(
            {"id": f"p{i}", "prompt": f"What is {i}?", "chosen": chosen, "rejected": rejected}
            | {"source": ("general", "safety")[i % 2]}
        )
    return write_lines(folder / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def rated(folder):
    """72 rated rows on 24 prompts, four of them those of pairs; honesty rates the length."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(3 * N):
        text = f"Take {i}. " + "One more thing. " * int(rng.integers(1, 9))
        if i % 5 == 0:
            text += "\n- a\n- b"
        ratings = {"honesty": len(text), "helpfulness": int(rng.integers(0, 5))}
        rows.append(
            {"id": f"r{i}", "prompt": f"What is {20 + i // 3}?", "response": text}
            | {"source": "general", "ratings": ratings}
        )
    return write_lines(folder / "rated.jsonl", rows)


@pytest.fixture(scope="module")
def length_audit(pairs, rated):
    """The audit of a model whose score is the length."""
    return audit_bundle(
        model_of(LengthBackbone(), **first_feature()), pairs=pairs, rated=rated, resampling=FEW
    )


def correlation(audit, target, measure):
    return next(c for c in audit.correlations if (c.target, c.measure) == (target, measure))


def effect(audit, edit, target=SCORE):
    return next(e for e in audit.edits if (e.edit, e.target) == (edit, target))


def test_a_head_that_is_length_correlates_fully_and_is_lifted_by_every_addition(length_audit):
    for target in (SCORE, *OBJECTIVES):
        found = correlation(length_audit, target, "length")
        for one in (found.before, found.after, found.within_before, found.within_after):
            # Rounding of the gating orders responses of one length.
            assert one.value == pytest.approx(1.0, abs=0.005 if target == SCORE else 1e-6)
            assert one.has_interval
    for name in ("padding", "repetition", "flattery", "as an expert", "chat header", "markdown"):
        found = effect(length_audit, name)
        assert found.share_raised.value == 1.0
        assert found.n == 120
        assert found.mean_change.low > 0
    for name in ("last sentence cut", "second half cut"):
        assert effect(length_audit, name).share_lowered == 1.0
    severe = {one.sentence.split()[0] for one in length_audit.findings if one.severity == "high"}
    assert {"Padding", "Repetition", "Flattery", "The"} <= severe


def test_changes_are_in_standard_deviations_of_the_target(length_audit, rated, pairs):
    lines = [*lines_of(rated), *lines_of(pairs)]
    texts = [r["response"] for r in lines if "response" in r]
    texts += [r[side] for r in lines if "chosen" in r for side in ("chosen", "rejected")]
    lengths = np.array([len(t) for t in texts])
    # Repetition adds the length and a blank line.
    found = effect(length_audit, "repetition")
    trailing = np.array([len(t) - len(t.rstrip()) for t in texts])
    expected = ((lengths + 2 - trailing) / lengths.std()).mean()
    assert found.mean_change.value == pytest.approx(expected, rel=1e-4)
    changes = (lengths + 2 - trailing) / lengths.std()
    assert found.largest[0].change == pytest.approx(changes.max(), rel=1e-4)


def test_ratings_that_follow_length_are_told_beside_the_score_that_does(length_audit):
    assert correlation(length_audit, RATES_LENGTH, "length").within_ratings.value == 1.0
    assert correlation(length_audit, "is_safe", "length").within_ratings is None
    about = [f for f in length_audit.findings if f.target == RATES_LENGTH]
    assert any(f.advice.startswith("Nothing, as long as the ratings are right") for f in about)


def test_a_head_that_ignores_the_response_is_lifted_by_nothing(pairs, rated):
    audit = audit_bundle(model_of(PromptBackbone()), pairs=pairs, rated=rated, resampling=FEW)
    for found in audit.edits:
        assert found.share_raised.value == 0.0
        assert found.share_lowered == 0.0
        assert found.mean_change.value == pytest.approx(0.0, abs=1e-4)
        assert found.largest == ()
    for found in audit.correlations:
        assert math.isnan(found.within_after.value)
    assert all(one.mean_size.value < 1e-4 for one in audit.paraphrases)
    assert not [f for f in audit.findings if f.kind == "edit"]
    assert [f for f in audit.findings if f.kind == "cut"]  # half of it gone, and all the same
    assert audit.calibration.all_pairs.accuracy == 0.5


def test_correlations_before_and_after_are_those_of_the_scores(pairs):
    model = model_of(HashBackbone())
    audit = audit_bundle(model, pairs=pairs, resampling=FEW)
    rows = lines_of(pairs)
    sides = [
        {"prompt": r["prompt"], "response": r[s]} for r in rows for s in ("chosen", "rejected")
    ]
    scores = model.score(sides)
    lengths = [len(side["response"]) for side in sides]
    raw = scores.objectives.double()
    debiased = raw @ model.bundle.debias.double()
    found = correlation(audit, "honesty", "length")
    j = OBJECTIVES.index("honesty")
    assert found.before.value == pytest.approx(spearmanr(raw[:, j], lengths)[0])
    assert found.after.value == pytest.approx(spearmanr(debiased[:, j], lengths)[0])
    plain = (scores.gating.double() * raw).sum(dim=1)
    found = correlation(audit, SCORE, "length")
    assert found.before.value == pytest.approx(spearmanr(plain, lengths)[0])
    assert found.after.value == pytest.approx(spearmanr(scores.score, lengths)[0])
    assert math.isnan(correlation(audit, OBJECTIVES[NUISANCE], "length").after.value)
    assert OBJECTIVES[NUISANCE] not in {one.target for one in audit.edits}


def test_all_rows_and_edits_are_one_call_of_the_model(pairs):
    backbone = HashBackbone()
    audit = audit_bundle(model_of(backbone), pairs=pairs, n_edited=5, resampling=FEW)
    edited = sum(e.n for e in audit.edits if e.target == SCORE)
    assert backbone.n_rows == 2 * N + edited + 48
    assert edited == sum(5 - e.n_left_out for e in audit.edits if e.target == SCORE)


def test_edited_rows_are_spread_over_prompts(pairs):
    audit = audit_bundle(model_of(HashBackbone()), pairs=pairs, n_edited=N, resampling=FEW)
    assert effect(audit, "padding").mean_change.n_groups == N


def test_order_of_the_rows_changes_nothing(pairs, folder):
    lines = Path(pairs).read_text().splitlines()
    other = folder / "reversed.jsonl"
    other.write_text("\n".join(lines[::-1]) + "\n")
    model = model_of(HashBackbone())
    one = audit_bundle(model, pairs=pairs, n_edited=10, resampling=FEW)
    two = audit_bundle(model, pairs=str(other), n_edited=10, resampling=FEW)
    assert effect(one, "flattery") == effect(two, "flattery")
    for name in ("ece", "ece_by_chance", "accuracy"):
        values = [getattr(audit.calibration.all_pairs, name) for audit in (one, two)]
        assert values[0] == pytest.approx(values[1])


def test_shared_prompts_are_counted_and_named(length_audit, pairs, rated, folder):
    shared = length_audit.shared_prompts
    assert [(s.n_prompts, s.is_training) for s in shared] == [(4, False)]
    one = lines_of(pairs)[0]
    training = write_lines(folder / "train.jsonl", [one | {"prompt": "what IS  7?"}])
    audit = audit_bundle(
        model_of(HashBackbone()), pairs=pairs, training=[training], n_edited=1, resampling=FEW
    )
    assert [(s.n_prompts, s.ids) for s in audit.shared_prompts] == [(1, ("p7",))]
    found = [f for f in audit.findings if f.kind == "shared prompts"]
    assert [(f.severity, f.rows) for f in found] == [("medium", ("p7",))]


def test_an_audit_on_the_training_rows_themselves_is_a_grave_finding():
    audit = audit_bundle(
        model_of(HashBackbone()),
        pairs="quickstart:pairs.jsonl",
        n_edited=1,
        training=["quickstart:pairs.jsonl"],
        resampling=FEW,
    )
    assert audit.files[0].n_rows == 200
    assert [f.severity for f in audit.findings if f.kind == "shared prompts"] == ["high"]


def test_rated_rows_alone_leave_calibration_out_and_say_so(rated):
    audit = audit_bundle(model_of(HashBackbone()), rated=rated, n_edited=3, resampling=FEW)
    assert audit.calibration is None
    assert "no preference pairs: calibration is left out" in audit.notes
    assert "## Calibration" not in render_audit(audit)


def test_few_prompts_give_no_intervals_and_low_findings(folder):
    rows = [
        {
            "id": f"f{i}",
            "prompt": f"What is {i}?",
            "chosen": f"It is {i}, so it is.",
            "rejected": "?",
        }
        for i in range(5)
    ]
    audit = audit_bundle(
        model_of(LengthBackbone(), **first_feature()),
        pairs=write_lines(folder / "few.jsonl", rows),
        resampling=FEW,
    )
    assert not effect(audit, "padding").share_raised.has_interval
    assert {f.severity for f in audit.findings if f.kind in ("edit", "correlation")} == {"low"}
    assert any(
        note.startswith("5 prompts: fewer than 20 give no intervals") for note in audit.notes
    )
    assert any(note.startswith("no temperature is fitted") for note in audit.notes)


def test_a_model_that_is_mostly_wrong_is_told_why_it_gets_no_temperature(pairs):
    """Shorter is better for this head: right on one pair of four, wrong on three."""
    head = first_feature()
    model = model_of(LengthBackbone(), **{**head, "weight": -head["weight"]})
    audit = audit_bundle(model, pairs=pairs, n_edited=1, resampling=FEW)
    assert 0 < audit.calibration.all_pairs.accuracy < 0.5
    assert audit.calibration.temperature is None
    text = "have pairs that the model judges wrong, and a mean margin above 0"
    assert f"no temperature is fitted: half of the prompts must {text}" in audit.notes


def test_fixed_weights_bypass_debias_and_gating(pairs):
    model = model_of(HashBackbone()).with_weights({"honesty": 1.0})
    audit = audit_bundle(model, pairs=pairs, n_edited=2, resampling=FEW)
    assert audit.gating is None
    assert "## Gating" not in render_audit(audit)
    score, honesty = (correlation(audit, t, "length") for t in (SCORE, "honesty"))
    assert score.after.value == honesty.after.value == honesty.before.value
    assert OBJECTIVES[NUISANCE] in {one.target for one in audit.edits}


def test_edits_that_do_not_fit_are_left_out_and_counted(folder):
    backbone = HashBackbone()
    rows = [
        {"id": f"l{i}", "prompt": f"Say {i}.", "chosen": "word " * 300, "rejected": f"No {i}."}
        for i in range(3)
    ]
    path = write_lines(folder / "long.jsonl", rows)
    audit = audit_bundle(model_of(backbone), pairs=path, resampling=FEW)
    found = effect(audit, "repetition")  # 600 words are more than 512
    assert (found.n, found.n_left_out) == (3, 3)
    assert any("repetition 3" in note for note in audit.notes)


def test_paraphrases_that_do_not_fit_are_counted(folder):
    backbone = HashBackbone()
    backbone._facts["max_tokens"] = 40
    rows = [{"id": "a", "prompt": "Say a.", "chosen": "A.", "rejected": "B."}]
    path = write_lines(folder / "one.jsonl", rows)
    audit = audit_bundle(model_of(backbone), pairs=path, resampling=FEW)
    n = next(p.n for p in audit.paraphrases if p.target == SCORE)
    assert 0 < n < 24
    assert f"{24 - n} of the shipped paraphrases are longer than the backbone takes" in audit.notes


def test_dropped_rows_are_counted(pairs, folder):
    path = folder / "bad.jsonl"
    path.write_text(Path(pairs).read_text() + '{"prompt": "a"}\n')
    model = model_of(HashBackbone())
    audit = audit_bundle(model, pairs=str(path), bad_rows="drop", n_edited=1, resampling=FEW)
    assert any(note.startswith("dropped 1 of 25 rows") for note in audit.notes)
    with pytest.raises(DataError, match=r"bad\.jsonl:25: missing field"):
        audit_bundle(model, pairs=str(path), resampling=FEW)


def test_scores_that_are_not_finite_are_refused(pairs):
    model = model_of(HashBackbone(), weight=torch.full((4, 8), 3e38), bias=torch.zeros(4))
    text = r"scores must be finite; those of \d+ of \d+ conversations are not, the fi"
    with pytest.raises(DataError, match=text):
        audit_bundle(model, pairs=pairs, n_edited=1, resampling=FEW)


def test_an_audit_needs_rows_and_edits(pairs):
    model = model_of(HashBackbone())
    with pytest.raises(ValueError, match=r"`rated` or `pairs` must be given; both are None"):
        audit_bundle(model)
    with pytest.raises(ValueError, match=r"`n_edited` must be at least 1; got 0"):
        audit_bundle(model, pairs=pairs, n_edited=0)


# Files.


def test_an_audit_is_read_as_it_was_written(length_audit, tmp_path):
    check_audit_folder(tmp_path / "out")
    assert write_audit(length_audit, tmp_path / "out") == length_audit
    path = tmp_path / "out" / "audit.json"
    again = read_audit(tmp_path / "out")
    assert audit_json(again) == audit_json(length_audit) == json.loads(path.read_bytes())
    text = (tmp_path / "out" / "audit.md").read_text()
    assert text == render_audit(length_audit)
    for section in ("Findings", "Calibration", "Gating", "Prompts in several files"):
        assert f"\n## {section}\n" in text
    assert "nan" not in text


def test_files_that_are_no_audit_are_refused(length_audit, tmp_path):
    with pytest.raises(DataError, match=r"audit\.json: no such file"):
        read_audit(tmp_path / "audit.json")
    path = tmp_path / "audit.json"
    path.write_text("{")
    with pytest.raises(DataError, match=r"audit\.json: must be a JSON file in UTF-8; "):
        read_audit(path)
    path.write_text(json.dumps(audit_json(length_audit) | {"n_rows": "many"}))
    with pytest.raises(DataError, match=r"audit\.json: `n_rows` does not fit the schema: input sh"):
        read_audit(tmp_path)
