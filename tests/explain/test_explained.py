"""Explanations of a real, tiny model: every change that is named is applied to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from armorm.evaluate.figures import PairFigures
from armorm.explain.comparisons import CLIPPED, choose_pairs, comparer
from armorm.explain.explained import clip, explain_conversation, explain_pair
from armorm.explain.nearest import NoRows, RatedRows
from armorm.explain.weighing import Weighing, margin_when_steered
from armorm.features.extract import compute_features
from armorm.model.reward import RewardModel
from armorm.types import Conversation, Message, PreferencePair, RatedResponse
from bundles import OBJECTIVES, SCALES, encoder_backbone, make_bundle

TEXTS = ["It is 4.", "I do not know that.", "Salt water, and a lot of it.", "Yes.", "No, never."]


def pair(i, source="general"):
    prompt = (Message("user", f"What is {i} plus {i}?"),)
    return PreferencePair(
        f"p{i}", prompt, f"{TEXTS[i % 5]} {i}", f"{TEXTS[(i + 1) % 5]} {i}", source
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    backbone = encoder_backbone(tmp_path_factory.mktemp("backbone") / "encoder")
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture(scope="module")
def rows(model):
    """Twelve rated rows, rated on helpfulness, honesty and verbosity."""
    rated = [
        RatedResponse(
            f"r{i}",
            (Message("user", f"What is {i}?"),),
            f"{TEXTS[i % 5]} {i}",
            "general",
            {"helpfulness": float(i % 5), "honesty": float(i * 3 % 5), "verbosity": float(i % 3)},
        )
        for i in range(12)
    ]
    features = compute_features(model.backbone, [row.conversation for row in rated])
    return RatedRows(rated, features.response, scales=SCALES)


def steered(model):
    return {
        "gated": model,
        "scaled": model.scaled({"honesty": 2.5, "is_safe": 0.5}),
        "without one": model.scaled({"honesty": 0}),
        "weights": model.with_weights({"helpfulness": 1.0, "verbosity": -0.3}),
    }


@pytest.mark.parametrize("how", ["gated", "scaled", "without one", "weights"])
def test_the_change_that_is_named_turns_the_model(model, how):
    steered_model = steered(model)[how]
    n_turned = 0
    for i in range(12):
        one = explain_pair(steered_model, pair(i))
        if one.flip is None or one.flip.single is None:
            continue
        plain = RewardModel(model.bundle, model.backbone)
        settings = one.flip.single.settings
        other = plain.with_weights(settings) if how == "weights" else plain.scaled(settings)
        chosen, rejected = other.score(list(pair(i).conversations)).score.tolist()
        assert (chosen - rejected) * one.comparison.margin < 0
        n_turned += 1
    assert n_turned >= 4


def test_the_weight_that_has_to_move_makes_a_tie(model):
    n_moved = 0
    for i in range(12):
        one = explain_pair(model, pair(i))
        if one.flip is None or one.flip.moved is None:
            continue
        weights = {n: g - one.flip.taken.get(n, 0.0) for n, g in one.gating.items()}
        weights[one.flip.given_to] += one.flip.moved
        gating = torch.tensor([[weights[name] for name in OBJECTIVES]], dtype=torch.float64)
        raw = torch.tensor(
            [
                [
                    next(d for d in one.comparison.differences if d.name == n).chosen
                    for n in weights
                ],
                [
                    next(d for d in one.comparison.differences if d.name == n).rejected
                    for n in weights
                ],
            ],
            dtype=torch.float64,
        )
        scores = (raw @ model.bundle.debias.double() * gating).sum(1)
        assert float(scores[0] - scores[1]) == pytest.approx(0, abs=1e-6)
        assert weights["verbosity"] == 0
        n_moved += 1
    assert n_moved >= 4


def test_without_any_weighting_the_sentence_says_what_was_taken_out(model):
    found = [explain_pair(model, pair(i)) for i in range(12)]
    hopeless = [one for one in found if one.flip is not None and one.flip.moved is None]
    assert hopeless
    assert (
        "No weighting of the objectives would prefer the other response: with verbosity taken "
        "out, it is behind on all of them." in hopeless[0].sentence
    )


def test_equal_responses_tie_and_have_nothing_to_turn(model, rows):
    same = replace(pair(1), rejected=pair(1).chosen)
    one = explain_pair(model, same, rows=rows)
    assert one.comparison.margin == 0
    assert (one.flip, one.flip_sentence) == (None, "")
    assert one.sentence.startswith("The two responses score the same: a tie.")
    assert len(one.nearest_chosen) == 3


def test_rated_rows_are_of_the_deciding_objective_and_nearest_to_each_side(model, rows):
    one = explain_pair(model, pair(2), rows=rows, n_nearest=2)
    features = compute_features(model.backbone, list(pair(2).conversations)).response
    wanted = rows.nearest(features, [one.objective] * 2, n=2)
    for found, expected in zip((one.nearest_chosen, one.nearest_rejected), wanted, strict=True):
        assert [near.row for near in found] == [near.row for near in expected]
        # Products of another shape round differently.
        assert [near.similarity for near in found] == pytest.approx(
            [near.similarity for near in expected], abs=1e-5
        )
    assert {row.objective for row in one.nearest_chosen} == {one.objective}
    assert "raters gave the 2 responses most like the chosen response" in one.sentence


def test_rows_without_the_deciding_objective_are_said_to_be(model, rows):
    safe = next(
        one
        for one in (explain_pair(model, pair(i)) for i in range(30))
        if one.comparison.deciding and one.comparison.deciding[0] == "is_safe"
    )
    one = explain_pair(model, safe.pair, rows=rows)
    assert one.note.startswith("None of the 12 rated rows is rated on is_safe; those shown are")
    only = RatedRows([replace(row, ratings={}) for row in rows.rows], rows.features, scales=SCALES)
    bare = explain_pair(model, safe.pair, rows=only)
    assert bare.note == "None of the 12 rated rows is rated on is_safe."
    assert bare.nearest_sentence == ""


def test_without_rows_the_reason_is_kept(model):
    assert explain_pair(model, pair(0)).note == ""
    one = explain_pair(model, pair(0), rows=NoRows("Nobody rated anything."))
    assert one.note == one.figures().note == "Nobody rated anything."


def test_figures_hold_everything_and_survive_json(model, rows):
    one = explain_pair(model, pair(2), rows=rows)
    figures = one.figures()
    assert PairFigures.model_validate_json(figures.model_dump_json()) == figures
    assert figures.sentence == one.sentence
    assert sum(o.contribution for o in figures.objectives) == pytest.approx(
        figures.margin, abs=1e-6
    )
    assert sum(o.gating for o in figures.objectives) == pytest.approx(1, abs=1e-6)
    assert [row.side for row in figures.nearest] == ["chosen"] * 3 + ["rejected"] * 3
    assert figures.probability == pytest.approx(1 / (1 + np.exp(-4 * figures.margin)))
    fixed = explain_pair(steered(model)["weights"], pair(2)).figures()
    assert fixed.probability is None
    assert fixed.objectives[0].gating is None
    assert (fixed.flip.factor, fixed.flip.weight is None) == (None, False)


def test_features_of_another_backbone_are_refused(model):
    narrow = RatedRows(
        [RatedResponse("r", pair(0).prompt, "x", "general", {"honesty": 1.0})],
        torch.ones(1, 3),
        scales=SCALES,
    )
    with pytest.raises(ValueError, match=r"`features` must have shape \(q, d\)"):
        explain_pair(model, pair(0), rows=narrow)


def test_a_conversation_has_rows_of_the_objective_that_contributes_most(model, rows):
    conversation = Conversation(pair(2).prompt, "Salt water.", "c")
    one = explain_conversation(model, conversation, rows=rows)
    contributions = one.explanation.contributions
    largest = max(contributions, key=lambda name: abs(contributions[name]))
    assert largest.replace("is_", "being ") in one.sentence
    content = one.as_dict()
    assert content["score"] == pytest.approx(one.explanation.score)
    assert [row["side"] for row in content["nearest"]] == ["response"] * 3
    assert explain_conversation(model, conversation).as_dict()["nearest"] == []


def test_margins_of_two_pairs_cannot_be_tried_at_once(model):
    features = compute_features(model.backbone, [*pair(0).conversations, *pair(1).conversations])
    scores = model.score_features(features.response[0::2], features.prompt[0::2])
    with pytest.raises(ValueError, match="`applied` is for 1 pair; got 2"):
        Weighing.of(model).flips(scores, scores, applied=lambda _: 1.0)
    with pytest.raises(ValueError, match="`response` must have shape"):
        margin_when_steered(model, features.response, features.prompt)


def test_sides_of_different_prompts_are_refused(model):
    features = compute_features(
        model.backbone, [pair(0).conversations[0], pair(7).conversations[1]]
    )
    one, other = (
        model.score_features(features.response[i : i + 1], features.prompt[i : i + 1] * 50 * i)
        for i in range(2)
    )
    with pytest.raises(ValueError, match="must be of the same prompts; the gating of pair 0"):
        Weighing.of(model).flips(one, other)


def test_pairs_that_are_hardly_wrong_are_not_called_certain():
    margins = np.array([-0.1, 1.0, 2.0, 3.0, -0.2])
    kinds = {choice.row: choice.kind for choice in choose_pairs(margins, 5)}
    assert "most certain and wrong" not in kinds.values()
    assert kinds[0] == "least certain"


def test_pairs_of_a_report_by_hand():
    margins = np.array([3.0, -2.0, 0.1, -0.2, 1.0, 0.5, np.nan, 2.0, 0.0, 1.5])
    found = [(choice.row, choice.kind) for choice in choose_pairs(margins, 5)]
    # One of each extreme; of the rest by margin (3, 2, 5, 4, 9, 7) the first and the last.
    assert found == [
        (1, "most certain and wrong"),
        (0, "most certain"),
        (8, "least certain"),
        (3, "spread"),
        (7, "spread"),
    ]


def test_pairs_of_a_report_stand_once_and_are_as_many_as_asked_for():
    margins = np.random.default_rng(0).normal(size=500)
    for n in (0, 1, 4, 7, 200, 500, 1000):
        rows = [choice.row for choice in choose_pairs(margins, n)]
        assert len(rows) == len(set(rows)) == min(n, 500)
    kinds = [choice.kind for choice in choose_pairs(margins, 200)]
    assert [kinds.count(kind) for kind in dict.fromkeys(kinds)] == [40, 40, 40, 80]
    assert choose_pairs(np.array([]), 5) == []
    spread = [margins[c.row] for c in choose_pairs(margins, 200) if c.kind == "spread"]
    assert spread == sorted(spread)
    right = choose_pairs(np.abs(margins), 200)
    assert "most certain and wrong" not in {choice.kind for choice in right}


def test_a_choice_of_other_shapes_is_refused():
    with pytest.raises(ValueError, match=r"`margins` must have shape \(p,\); got \(2, 2\)"):
        choose_pairs(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="`n` must be at least 0; got -1"):
        choose_pairs(np.zeros(3), -1)


def test_a_report_holds_clipped_pairs_that_agree_with_single_explanations(model, rows):
    pairs = [pair(i) for i in range(8)]
    pairs[3] = replace(pairs[3], chosen="Salt" + "y" * CLIPPED)
    features = compute_features(model.backbone, [c for one in pairs for c in one.conversations])
    found = comparer(model, n=6, rows=rows)(pairs, features)
    assert len(found) == 6
    for one in found:
        single = explain_pair(model, next(p for p in pairs if p.id == one.id), rows=rows).figures()
        assert one.margin == pytest.approx(single.margin, abs=1e-5)
        assert one.deciding == single.deciding
        assert [row.id for row in one.nearest] == [row.id for row in single.nearest]
        assert (one.flip.moved is None) == (single.flip.moved is None)
    long = [one for one in comparer(model, rows=None)(pairs, features) if one.id == "p3"]
    assert long[0].clipped == ("chosen",)
    assert len(long[0].chosen) == CLIPPED
    assert comparer(model, n=0)(pairs, features) == ()
    assert clip("abc", 3) == "abc"
