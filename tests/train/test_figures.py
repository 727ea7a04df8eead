"""What a run says of itself."""

import json

import pytest
import torch
from safetensors.torch import load_file

from armorm.data import Drops
from armorm.evaluate.figures import Report
from armorm.model.bundle import load_bundle
from armorm.train.figures import notes_of, preference_results, training_facts
from armorm.train.held_out import HeldOut
from armorm.train.inputs import TrainingData
from armorm.train.temperature import Temperature
from armorm.types import Message, PreferencePair

NONE = Temperature(None, reason="not asked for")


def pairs(n):
    prompt = [(Message("user", f"question {i}"),) for i in range(n)]
    return [PreferencePair(f"p{i}", prompt[i], "yes", "no", "s") for i in range(n)]


def results(scores, gating=None):
    data = TrainingData([], pairs(len(scores)), None, None)
    betas = torch.ones(len(scores))
    held_out = HeldOut(None, {"gated": scores, "other": -scores}, gating, betas=betas)
    return preference_results(held_out, data, NONE, n_resamples=100, seed=0)


def test_accuracy_counts_held_out_pairs_alone_and_a_tie_one_half():
    nan = torch.nan
    # 2 right, 1 tie, 1 wrong of 4 pairs: 2.5 / 4; the fifth was never held out.
    scores = torch.tensor([[1.0, 0], [2, 1], [3, 3], [0, 1], [nan, nan]])
    found = {row.scorer: row for row in results(scores)["preferences"]}
    assert found["gated"].n == 4
    assert found["gated"].n_ties == 1
    assert found["gated"].accuracy.value == pytest.approx(2.5 / 4)
    assert found["other"].accuracy.value == pytest.approx(1.5 / 4)
    # "yes" is longer than "no" in every pair.
    assert found["longer wins"].accuracy.value == 1


def test_no_pairs_give_no_figures():
    data = TrainingData([], [], None, None)
    nothing = HeldOut(None, {}, None)
    assert preference_results(nothing, data, NONE, n_resamples=100, seed=0) == {}


def moved(report, *, steps):
    """The report of a gate that took so many steps."""
    return report.model_copy(update={"gating": report.gating.model_copy(update={"steps": steps})})


def test_notes_say_what_was_dropped_and_which_alpha_is_at_the_edge(trained):
    report = moved(trained.run.report, steps=5)
    rows = [row.model_copy(update={"at_edge": row.name == "kind"}) for row in report.objectives]
    drops = Drops()
    drops.add("a.jsonl", "empty response", 2)
    notes = notes_of(report.model_copy(update={"objectives": tuple(rows)}), drops, 90)
    assert notes == (
        "dropped 2 of 90 rows: 2 empty response",
        "alpha is at the edge of the grid for kind; widen `ridge.alphas`",
    )
    assert notes_of(Report(name="n", protocol="p"), Drops(), 90) == ()


def test_gate_that_took_no_step_is_said_to_weigh_every_prompt_alike(trained):
    report = trained.run.report.model_copy(update={"objectives": ()})
    assert notes_of(moved(report, steps=5), Drops(), 90) == ()
    (note,) = notes_of(moved(report, steps=0), Drops(), 90)
    assert note.startswith("the gating that ships took no step")


def test_bundle_holds_the_facts_of_its_run_but_no_time_and_no_place(trained):
    bundle = load_bundle(trained.folder / "run/bundle")
    facts, report = bundle.facts, trained.run.report
    assert facts == json.loads(json.dumps(training_facts(report, 0)))
    assert facts["mean_spearman"] == report.mean_spearman.value
    assert facts["accuracy"]["gated"] == report.preferences[0].accuracy.value
    assert facts["objectives"]["good"]["n"] == 60
    text = json.dumps(facts)
    assert str(trained.folder) not in text
    assert "timings" not in facts


def test_figures_of_the_shipped_heads_stand_beside_those_of_held_out_rows(trained):
    stages = trained.folder / "run/stages"
    head = load_file(stages / "ridge/all.safetensors")
    debias = load_file(stages / "debias/all.safetensors")
    for j, row in enumerate(trained.run.report.objectives):
        assert row.alpha == float(head["alpha"][j])
        assert row.std == pytest.approx(float(head["noise_variance"][j]) ** 0.5)
        assert row.at_edge == bool(head["at_edge"][j])
        if row.name == "verbosity":  # of itself there is nothing to say
            assert row.spearman_with_nuisance_before is None
            continue
        before, after = float(debias["before"][j, 0]), float(debias["after"][j, 0])
        assert row.spearman_with_nuisance_before == pytest.approx(before, abs=1e-6)
        assert row.spearman_with_nuisance_after == pytest.approx(after, abs=1e-6)
