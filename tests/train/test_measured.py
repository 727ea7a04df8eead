"""Nuisances measured from the text: rows of the ridge head that debias removes."""

import json
import math
import random

import numpy as np
import pytest
import torch

from armorm import Conversation, Message, RewardModel
from armorm.cli.changed import save_changed
from armorm.data import rating_matrix
from armorm.data.text_measures import LOG_LENGTH_END, MEASURES, log_length
from armorm.errors import DataError, RecipeError
from armorm.evaluate.audit.run import audit_bundle
from armorm.evaluate.report import read_report
from armorm.model.bundle import load_bundle, load_statistics
from armorm.model.card import model_card
from armorm.model.exports import export_model
from armorm.model.new_rows import add_rated_objective, add_rated_source, read_new_rows
from armorm.model.objectives import drop_objective
from armorm.model.sources import drop_source
from armorm.train.measured import measure_rows, scales_with
from armorm.train.recipe import load_recipe, parse_recipe
from armorm.types import RatedResponse, Scale
from bundles import OBJECTIVES, decoder_backbone, make_bundle
from fakes import HashBackbone, conversations

PROMPT = (Message("user", "a question"),)


def row(identity, response):
    return RatedResponse(identity, PROMPT, response, "s", {"x": 1.0})


@pytest.fixture(scope="module")
def measured(tmp_path_factory, encoder):
    """A run with one rated and one measured nuisance, and its statistics."""
    from tests.train.conftest import Project

    made = Project(tmp_path_factory.mktemp("measured"), encoder)
    for i, one in enumerate(made.rated):
        one["source"] = "s" if i % 3 else "t"
    made.recipe["scales"]["t"] = made.recipe["scales"]["s"]
    made.recipe["ridge"]["keep_statistics"] = True
    made.recipe["debias"] = {"measured": ["log_length"]}
    made.run = made.train("evaluation.rounds=2")
    made.bundle = load_bundle(made.folder / "run" / "bundle")
    return made


def test_measures_become_ratings_on_their_scale():
    """log(1 + 3) / 12 for three characters; half of two lines is a list."""
    rows = measure_rows([row("a", "abc"), row("b", "x\n- y")], ["log_length", "list_density"])
    scales = scales_with({"s": {"x": Scale(0, 2)}}, ["log_length", "list_density"])
    found = rating_matrix(rows, ("x", "log_length", "list_density"), scales)
    expected = [[0.5, math.log(4) / 12, 0.0], [0.5, math.log(6) / 12, 0.5]]
    np.testing.assert_allclose(found, expected)
    assert measure_rows([row("a", "abc")], []) == [row("a", "abc")]


def test_what_lies_beyond_the_scale_counts_as_its_end():
    longest = "x" * 200_000
    assert log_length(longest) > LOG_LENGTH_END
    assert MEASURES["log_length"].rating(longest) == LOG_LENGTH_END
    assert MEASURES["log_length"].rating("x" * 100_000) == log_length("x" * 100_000)


def test_a_measure_that_never_varies_is_refused():
    text = r"debias\.measured: 'code_share' must vary over the rated rows; it is 0 for all 2"
    with pytest.raises(DataError, match=text):
        measure_rows([row("a", "abc"), row("b", "ab")], ["log_length", "code_share"])


def test_bundle_has_a_row_that_debias_removes_and_the_gate_does_not_weigh(measured):
    bundle = measured.bundle
    assert bundle.objectives == ("good", "kind", "verbosity", "log_length")
    assert bundle.measured == ("log_length",)
    assert bundle.nuisances == (2, 3)
    assert bundle.gating.masked == (2, 3)
    assert not bundle.debias[:, 2:].any()
    assert bool((bundle.debias[2:, :2] != 0).all())
    assert bundle.scales["t"]["log_length"] == Scale(0, LOG_LENGTH_END)
    assert bundle.baselines.gating_without_debias.masked == (3,)
    card = model_card(bundle)
    assert "| log_length | measured: log of the number of characters |" in card
    assert "takes `verbosity`, `log_length` out" in card
    plain = json.loads((measured.folder / "run" / "bundle" / "bundle.json").read_text())
    assert plain["measured"] == ["log_length"]


def test_report_says_what_is_left_in_the_score_and_what_it_costs(measured):
    report = read_report(measured.folder / "run")
    rated, length = report.debias.score
    assert (rated.nuisance, rated.is_measured) == ("verbosity", False)
    assert (length.nuisance, length.is_measured) == ("log_length", True)
    n_responses = 2 * report.scorer("gated").n
    assert {one.after.n_rows for one in report.debias.score} == {n_responses}
    names = [one.scorer for one in report.preferences]
    assert names[0] == "gated"
    assert {"gate without debias", "debias without measured"} <= set(names)
    of = {one.name: one for one in report.objectives}
    assert [one.name for one in report.objectives if one.is_measured] == ["log_length"]
    rest = [of[name].spearman.value for name in ("good", "kind", "verbosity")]
    assert report.mean_spearman.value == pytest.approx(np.mean(rest))
    text = (measured.folder / "run" / "report.md").read_text()
    assert "Spearman correlation of the score with each nuisance, on held-out responses" in text
    assert "log_length (measured)" in text
    assert "accuracy changes by" in text
    assert "of which the measured nuisances make" in text


def test_steering_explaining_and_weights_go_on_working(measured):
    model = RewardModel.load(measured.folder / "run" / "bundle")
    rows = [Conversation(PROMPT, "the sea is wide"), Conversation(PROMPT, "cold")]
    for one in map(model.explain, rows):
        assert sum(one.contributions.values()) == pytest.approx(one.score, abs=1e-5)
        assert one.gating["log_length"] == 0
    model.scaled({"good": 2.0}).score(rows)
    with pytest.raises(ValueError, match="log_length"):
        model.scaled({"log_length": 2.0})
    model.with_weights({"good": 1.0, "log_length": -0.5}).score(rows)


def test_sources_and_objectives_come_and_go(measured, tmp_path):
    model = RewardModel.load(measured.folder / "run" / "bundle")
    path = tmp_path / "new.jsonl"
    rows = [one | {"source": "u", "id": f"u{i}"} for i, one in enumerate(measured.rated)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    new = read_new_rows(str(path), scales={"good": Scale(0, 4)})
    more = add_rated_source(model, new)
    # The new rows are measured too, and their head is refitted.
    assert load_statistics(more).n_rated(3) == len(measured.rated) + len(rows)
    assert not torch.equal(more.weight[3], model.bundle.weight[3])
    assert torch.equal(more.weight[1], model.bundle.weight[1])
    assert more.scales["u"].keys() == {"good", "log_length"}
    less = drop_source(more, "u")
    torch.testing.assert_close(less.weight, model.bundle.weight, atol=1e-5, rtol=1e-4)
    assert less.measured == ("log_length",)
    wide = add_rated_objective(model, "fine", replace_scale(new, "fine"), n_folds=3)
    assert wide.objectives == (*model.objectives, "fine")
    assert bool((wide.debias[2:4, 4] != 0).all())
    narrow = drop_objective(wide, "good")
    assert (narrow.nuisances, narrow.measured) == ((1, 2), ("log_length",))
    with pytest.raises(ValueError, match="dropping a nuisance is refused"):
        drop_objective(wide, "log_length")
    save_changed(narrow, tmp_path / "narrow")
    assert load_bundle(tmp_path / "narrow").measured == ("log_length",)


def replace_scale(new, name):
    """The same rows with their one objective under another name."""
    from dataclasses import replace

    rows = [replace(one, ratings={name: one.ratings["good"]}) for one in new.rows]
    return replace(new, rows=rows, scales={name: Scale(0, 4)})


@pytest.mark.parametrize("to", ["armorm", "classifier", "objectives", "head"])
def test_bundles_with_measured_nuisances_are_exported(tmp_path, to):
    backbone = decoder_backbone(tmp_path / "backbone")
    zero = torch.zeros(len(OBJECTIVES))
    bundle = make_bundle(backbone.facts(), bias=zero, baselines=None, measured=("verbosity",))
    rows = conversations(3)
    report = export_model(RewardModel(bundle, backbone), tmp_path / "out", to=to, rows=rows)
    assert report.differences
    assert (tmp_path / "out" / "config.json").exists() or to == "head"


def test_measured_names_must_be_objectives(tmp_path):
    with pytest.raises(ValueError, match="`measured` must name objectives; 'length' is none"):
        make_bundle(HashBackbone().facts(), measured=("length",))


def test_ratings_of_what_is_measured_are_refused(measured, tmp_path):
    path = tmp_path / "new.jsonl"
    one = {"id": "1", "source": "u", "prompt": "q", "response": "a", "ratings": {"log_length": 2}}
    path.write_text(json.dumps(one) + "\n")
    new = read_new_rows(str(path), scales={"log_length": Scale(0, 4)})
    model = RewardModel.load(measured.folder / "run" / "bundle")
    with pytest.raises(DataError, match="'log_length' is measured from the text of every row"):
        add_rated_source(model, new)


def test_given_ridge_must_have_the_measured_rows_and_no_others(measured, trained, project):
    project.recipe.pop("rated")
    project.recipe.pop("scales")
    project.recipe["ridge"] = str(trained.folder / "run" / "bundle")
    project.recipe["debias"] = {"measured": ["log_length"]}
    text = r"must have a row for 'log_length'; of what is measured from the text it has none"
    with pytest.raises(RecipeError, match=text):
        project.train()
    project.recipe["ridge"] = str(measured.folder / "run" / "bundle")
    run = project.train("evaluation.rounds=1")
    assert load_bundle(project.folder / "run" / "bundle").measured == ("log_length",)
    assert run.report.debias.nuisances == ("verbosity", "log_length")
    project.recipe["debias"] = {}
    text = r"debias\.measured: 'log_length' must be among them, as the ridge head of"
    with pytest.raises(RecipeError, match=text):
        project.train()
    project.recipe["debias"] = {"nuisances": ["log_length"], "measured": ["log_length"]}
    with pytest.raises(RecipeError, match=r"'log_length' is in `debias\.measured` already"):
        project.train()


@pytest.mark.parametrize(
    ("debias", "text"),
    [
        ({"measured": ["length"]}, "debias.measured: unknown measure 'length'"),
        ({"measured": ["log_length", "log_length"]}, "every nuisance must stand once"),
        (
            {"nuisances": ["log_length"]},
            "unknown objective 'log_length'; what is measured from the text belongs under",
        ),
        (
            {"measured": ["code_share"]},
            "must not have the name of a rated objective; the scales rate 'code_share'",
        ),
    ],
)
def test_mistakes_of_the_recipe_are_located(project, debias, text):
    project.recipe["debias"] = debias
    if debias == {"measured": ["code_share"]}:
        project.recipe["scales"]["s"]["code_share"] = [0, 1]
    with pytest.raises(RecipeError, match=text.replace(".", r"\.")):
        parse_recipe(project.recipe)


def listed(words, n_items):
    """Lines of which some are items of a list."""
    return "\n".join(f"{'- ' * (i < n_items)}{word}" for i, word in enumerate(words))


def plant(project, n=80):
    """Ratings and pairs that prefer lists, on prompts with three responses each."""
    draw = random.Random(5)
    words = ("sea", "wide", "blue", "cold", "old", "red")
    project.rated, project.pairs = [], []
    for i in range(n):
        texts = {k: listed(draw.choices(words, k=4), k) for k in draw.sample(range(5), 3)}
        for k, text in texts.items():
            ratings = {"good": k + draw.random(), "kind": draw.randint(1, 5)}
            one = {"id": f"r{i}-{k}", "source": "s", "prompt": f"Question {i}?"}
            project.rated.append(one | {"response": text, "ratings": ratings})
        most, *_, least = sorted(texts, reverse=True)
        one = {"id": f"p{i}", "source": "s", "prompt": f"Question {i}?"}
        project.pairs.append(one | {"chosen": texts[most], "rejected": texts[least]})
    project.recipe["scales"] = {"s": {"good": [0, 5], "kind": [1, 5]}}


def list_finding(project, folder):
    """The finding that the score follows lists, if the audit has it."""
    model = RewardModel.load(project.folder / folder / "bundle")
    audit = audit_bundle(model, pairs=str(project.folder / "pairs.jsonl"), n_edited=1)
    of_score = [f for f in audit.findings if (f.kind, f.target) == ("correlation", "score")]
    return next((f for f in of_score if "list density" in f.sentence), None)


def test_the_recipe_line_of_the_advice_makes_the_finding_go_away(project):
    plant(project)
    project.recipe["debias"] = {"nuisances": []}
    project.train("evaluation.rounds=1")
    found = list_finding(project, "run")
    assert found.severity == "high"
    assert "Train with `debias.measured: [list_density]` in the recipe" in found.advice
    assert "verbosity" not in found.advice
    run = project.train("evaluation.rounds=1", "debias.measured=[list_density]", folder="other")
    assert list_finding(project, "other") is None
    (one,) = run.report.debias.score
    assert one.before.low > 0.8
    assert one.after.low < 0 < one.after.high
    # Nothing else is removed, so that the gate without debias is the one without measures.
    assert run.report.scorer("debias without measured") is None
    assert run.report.scorer("gate without debias") is not None


def test_recipe_keeps_the_line(project):
    project.recipe["debias"] = {"nuisances": [], "measured": ["list_density", "log_length"]}
    recipe = load_recipe(project.write())
    assert recipe.debias.all_nuisances == ("list_density", "log_length")
    assert recipe.objectives == ("good", "kind", "verbosity")
