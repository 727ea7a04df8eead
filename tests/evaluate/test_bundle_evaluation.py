"""A bundle on rows of a file: every figure is what its scores say, by the slow formula."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from armorm import DataError, FeatureError, RewardModel
from armorm.evaluate.bundle import evaluate_bundle
from armorm.evaluate.report import read_report, report_json, write_report
from bundles import NUISANCE, OBJECTIVES, decoder_backbone, make_bundle
from fakes import HashBackbone, conversations

N = 36


@pytest.fixture(scope="module")
def model():
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def pairs(tmp_path):
    """36 pairs on 36 prompts; in every fourth the chosen response is the longer one."""
    rows = [
        {
            "id": f"p{i}",
            "prompt": f"What is {i} plus {i}?",
            "chosen": f"It is {2 * i}" + "." * (9 if i % 4 == 0 else 1),
            "rejected": f"It is {2 * i + 1}....",
            "source": ("general", "safety")[i % 2],
        }
        for i in range(N)
    ]
    return write_lines(tmp_path / "pairs.jsonl", rows)


@pytest.fixture
def rated(tmp_path):
    """36 rated rows on 12 prompts; honesty is not rated in every third."""
    rng = np.random.default_rng(0)
    rows = []
    for row in conversations(N, n_responses=3):
        ratings = {name: int(rng.integers(0, 5)) for name in ("helpfulness", "honesty")}
        if len(rows) % 3 == 0:
            del ratings["honesty"]
        messages = [{"role": m.role, "content": m.content} for m in row.prompt]
        rows.append(
            {"id": row.id, "prompt": messages, "response": row.response, "source": "general"}
            | {"ratings": ratings}
        )
    return write_lines(tmp_path / "rated.jsonl", rows)


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def margins(model, path):
    """Margins as `RewardModel.score` gives them."""
    rows = read_lines(path)
    sides = [
        model.score([{"prompt": r["prompt"], "response": r[side]} for r in rows]).score
        for side in ("chosen", "rejected")
    ]
    return (sides[0] - sides[1]).numpy()


def accuracy(values):
    """Share of positive margins; a tie counts one half."""
    return float(np.mean((values > 0) + 0.5 * (values == 0)))


def test_accuracy_equals_that_of_the_scores(model, pairs):
    report = evaluate_bundle(model, pairs=pairs, n_resamples=200)
    values = margins(model, pairs)
    assert report.reference().scorer == "gated"
    assert report.reference().accuracy.value == pytest.approx(accuracy(values))
    assert report.data.pairs == N
    for source, of in (("general", values[0::2]), ("safety", values[1::2])):
        rows = {row.scorer: row for row in report.by_source[source]}
        assert rows["gated"].accuracy.value == pytest.approx(accuracy(of))


def test_every_baseline_stands_beside_the_gated_model(model, pairs):
    report = evaluate_bundle(model, pairs=pairs, n_resamples=200)
    assert [row.scorer for row in report.preferences] == [
        "gated",
        "gate without debias",
        "uniform mean",
        "best fixed weights",
        "black-box head",
        "longer wins",
    ]
    # In 9 of 36 pairs the chosen response is the longer one.
    assert report.scorer("longer wins").accuracy.value == pytest.approx(0.25)
    kept = [j for j in range(len(OBJECTIVES)) if j != NUISANCE]
    weights = model.bundle.debias[:, kept].sum(1) / len(kept)
    uniform = model.with_weights(dict(zip(OBJECTIVES, weights.tolist(), strict=True)))
    found = report.scorer("uniform mean").accuracy.value
    assert found == pytest.approx(accuracy(margins(uniform, pairs)))


def test_the_differences_are_to_the_gated_model(model, pairs):
    report = evaluate_bundle(model, pairs=pairs, n_resamples=200)
    gated = report.reference().accuracy.value
    for row in report.preferences[1:]:
        # Baseline minus gated or the reverse: the size is what both accuracies say.
        difference = abs(row.difference_to_gated.value)
        assert difference == pytest.approx(abs(row.accuracy.value - gated))


def test_a_bundle_without_baselines_is_held_against_what_needs_no_fit(model, pairs):
    bare = RewardModel(make_bundle(model.backbone.facts(), baselines=False), model.backbone)
    report = evaluate_bundle(bare, pairs=pairs, n_resamples=200)
    full = evaluate_bundle(model, pairs=pairs, n_resamples=200)
    assert [row.scorer for row in report.preferences] == ["gated", "uniform mean", "longer wins"]
    assert report.scorer("uniform mean") == full.scorer("uniform mean")
    assert "no baselines fitted beside it" in report.notes[-1]
    assert not any("no baselines" in note for note in full.notes)


@pytest.mark.parametrize("method", ["with_weights", "scaled"])
def test_a_steered_model_is_measured_beside_the_gated_one(model, pairs, method):
    steered = getattr(model, method)({"honesty": 9.0, "is_safe": 0.0})
    report = evaluate_bundle(steered, pairs=pairs, n_resamples=200)
    assert report.reference().scorer == "steered"
    assert report.reference().accuracy.value == pytest.approx(accuracy(margins(steered, pairs)))
    assert report.scorer("gated").accuracy.value == pytest.approx(accuracy(margins(model, pairs)))


def test_gating_figures_are_those_of_the_prompts(model, pairs):
    report = evaluate_bundle(model, pairs=pairs, n_resamples=200)
    rows = [{"prompt": r["prompt"], "response": r["chosen"]} for r in read_lines(pairs)]
    gating = model.score(rows).gating
    assert report.gating.mean == pytest.approx(
        dict(zip(OBJECTIVES, gating.mean(0).tolist(), strict=True)), abs=1e-6
    )
    assert report.gating.beta == 4.0


def test_objective_figures_equal_scipy_on_the_rows_that_are_rated(model, rated):
    report = evaluate_bundle(model, rated=rated, n_resamples=200)
    rows = read_lines(rated)
    scores = model.score([{"prompt": r["prompt"], "response": r["response"]} for r in rows])
    assert [row.name for row in report.objectives] == ["helpfulness", "honesty"]
    for row in report.objectives:
        kept = [i for i, r in enumerate(rows) if row.name in r["ratings"]]
        found = scores.objectives[kept, OBJECTIVES.index(row.name)].numpy()
        wanted = spearmanr(found, [rows[i]["ratings"][row.name] for i in kept]).statistic
        assert row.n == len(kept)
        assert row.spearman.value == pytest.approx(wanted)
    mean = np.mean([row.spearman.value for row in report.objectives])
    assert report.mean_spearman.value == pytest.approx(mean)


def test_objective_figures_do_not_depend_on_steering(model, rated):
    plain = evaluate_bundle(model, rated=rated, n_resamples=200)
    steered = evaluate_bundle(model.with_weights({"honesty": 1.0}), rated=rated, n_resamples=200)
    assert steered.objectives == plain.objectives


def test_the_report_comes_back_from_its_file(model, pairs, rated, tmp_path):
    report = evaluate_bundle(model, pairs=pairs, rated=rated, n_resamples=200)
    assert write_report(report, tmp_path / "out") == report
    again = read_report(tmp_path / "out")
    assert report_json(again) == report_json(report)
    assert again.data.rated == again.data.pairs == N
    assert "is not checked" in again.protocol


def test_one_seed_gives_one_report(model, pairs, rated):
    first, second = (
        evaluate_bundle(model, pairs=pairs, rated=rated, n_resamples=200, seed=3) for _ in "ab"
    )
    assert report_json(first) == report_json(second)


def test_progress_is_told_by_stage(model, pairs, rated):
    calls = []
    evaluate_bundle(
        model, pairs=pairs, rated=rated, n_resamples=200, watch=lambda *call: calls.append(call)
    )
    assert calls[-1] == ("pairs", 2 * N, 2 * N)
    assert ("rated rows", N, N) in calls


def append(path, *rows):
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


def test_a_bad_row_stops_and_is_located(model, pairs):
    append(pairs, {"prompt": "a", "chosen": "same", "rejected": "same"})
    with pytest.raises(DataError, match=rf"pairs\.jsonl:{N + 1}: "):
        evaluate_bundle(model, pairs=pairs)


def test_bad_rows_are_dropped_counted_and_change_no_figure(model, pairs):
    before = evaluate_bundle(model, pairs=pairs, n_resamples=200)
    long = {"prompt": "w " * 600, "chosen": "yes", "rejected": "no", "source": "general"}
    append(pairs, {"prompt": "a", "chosen": "same", "rejected": "same"}, long)
    with pytest.raises(DataError, match=rf":{N + 1}: "):
        evaluate_bundle(model, pairs=pairs)
    report = evaluate_bundle(model, pairs=pairs, bad_rows="drop", n_resamples=200)
    assert report.preferences == before.preferences
    assert sum(report.data.dropped[pairs].values()) == 2
    assert report.notes[0].startswith(f"dropped 2 of {N + 2} rows: ")
    assert before.notes == ()


def test_a_row_that_is_too_long_stops_and_is_named(model, pairs):
    long = {"id": "long", "prompt": "w " * 600, "chosen": "yes", "rejected": "no"}
    append(pairs, long)
    with pytest.raises(FeatureError, match=rf"^{pairs}: conversation 'long' .*longer than 512"):
        evaluate_bundle(model, pairs=pairs)


def test_a_rated_row_that_is_too_long_stops_and_is_named(model, pairs, rated):
    long = {"id": "long", "prompt": "w " * 600, "response": "yes", "source": "general"}
    append(rated, long | {"ratings": {"honesty": 1}})
    with pytest.raises(FeatureError, match=rf"^{rated}: conversation 'long' .*longer than 512"):
        evaluate_bundle(model, pairs=pairs, rated=rated)


@pytest.mark.parametrize("kind", ["pairs", "rated"])
def test_a_path_that_names_nothing_is_a_data_error(model, kind):
    with pytest.raises(DataError, match="`path` must name a file, a folder or a hub data set"):
        evaluate_bundle(model, **{kind: ""})


def test_rows_of_which_none_is_left_are_an_error(model, tmp_path):
    # The section was once left out of the report without a word.
    row = {"prompt": "w " * 600, "chosen": "yes", "rejected": "no"}
    path = write_lines(tmp_path / "long.jsonl", [row])
    with pytest.raises(DataError, match=r"long\.jsonl: at least one row must be usable; all 1 w"):
        evaluate_bundle(model, pairs=path, bad_rows="drop")


def test_truncated_rows_are_counted(tmp_path):
    backbone = decoder_backbone(tmp_path / "decoder", max_tokens=100, too_long="truncate")
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    turns = [{"role": r, "content": "long " * 20} for r in ("user", "assistant", "user")]
    rows = [{"prompt": turns, "chosen": "yes", "rejected": "no"}]
    path = write_lines(tmp_path / "pairs.jsonl", rows)
    report = evaluate_bundle(model, pairs=path, n_resamples=200)
    assert report.data.dropped == {path: {"truncated from the left": 1}}
    assert "truncated 1" in report.notes[0]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"source": "generals"}, "'generals'.*did you mean 'general'"),
        ({"ratings": {"honestly": 3}}, "'honestly'.*did you mean 'honesty'"),
        ({"ratings": {"honesty": 7}}, "7"),
    ],
)
def test_ratings_are_read_on_the_scales_of_the_bundle(model, rated, change, text):
    append(rated, read_lines(rated)[0] | {"id": "new"} | change)
    with pytest.raises(DataError, match=rf"rated\.jsonl:{N + 1}: .*{text}"):
        evaluate_bundle(model, rated=rated)


def test_nothing_to_measure_is_refused(model):
    with pytest.raises(ValueError, match="`pairs` or `rated` must be given; both are None"):
        evaluate_bundle(model)


def test_the_global_random_state_is_left_alone(model, pairs):
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate_bundle(model, pairs=pairs, n_resamples=200)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
