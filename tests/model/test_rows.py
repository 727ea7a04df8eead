"""Rows become the JSON objects that the command line writes, in order, none lost silently."""

import json

import pytest
import torch

from armorm import Conversation, DataError, FeatureError, Message, PreferencePair, RewardModel
from armorm.data import Drops
from armorm.model.rows import count_truncated, score_rows, usable_rows
from bundles import decoder_backbone, encoder_backbone, make_bundle
from fakes import conversations

PROMPT = (Message("user", "What is the capital of France?"),)
PAIR = PreferencePair("p1", PROMPT, "Paris.", "It is London.")
LONG = Conversation((Message("user", "w " * 300),), "yes", id="long")
LONG_PAIR = PreferencePair("p2", PROMPT, "Paris.", "no " * 300)


@pytest.fixture(scope="module")
def strict(decoder):
    """A model that takes 120 tokens."""
    return RewardModel(make_bundle(decoder.facts()), decoder)


def test_a_pair_has_both_sides_and_the_margin(hashed):
    (row,) = score_rows(hashed, [PAIR])
    chosen, rejected = hashed.score(PAIR.conversations)
    assert row["chosen"] == chosen.as_dict()
    assert row["rejected"] == rejected.as_dict()
    assert row["margin"] == pytest.approx(chosen.score - rejected.score, abs=1e-6)
    assert list(row) == ["id", "chosen", "rejected", "margin"]


def test_swapping_the_sides_negates_the_margin(hashed):
    swapped = PreferencePair("p1", PROMPT, PAIR.rejected, PAIR.chosen)
    (first,), (second,) = score_rows(hashed, [PAIR]), score_rows(hashed, [swapped])
    assert first["margin"] == -second["margin"] != 0


def test_rows_come_back_in_the_order_given(hashed):
    rows = [*conversations(3), PAIR, *conversations(2, seed=4)]
    written = score_rows(hashed, rows)
    assert [row["id"] for row in written] == [row.id for row in rows]
    assert written[4]["score"] == pytest.approx(hashed.explain(rows[4]).score, abs=1e-6)


def test_the_objects_are_json_without_nan(hashed):
    written = score_rows(hashed, [PAIR, *conversations(2)])
    assert json.loads(json.dumps(written, allow_nan=False)) == written


def test_no_rows_give_no_objects(hashed):
    assert score_rows(hashed, []) == []
    assert score_rows(hashed, [], bad_rows="drop") == []


def test_a_row_that_is_too_long_stops_by_default(strict):
    text = r"^x\.jsonl: conversation 'long' .*longer than 120 tokens"
    with pytest.raises(FeatureError, match=text):
        score_rows(strict, [*conversations(2), LONG], path="x.jsonl")


def test_rows_that_are_too_long_are_dropped_and_counted(strict):
    drops = Drops()
    rows = [LONG, *conversations(2), LONG_PAIR, PAIR]
    written = score_rows(strict, rows, bad_rows="drop", drops=drops, path="x.jsonl")
    assert [row["id"] for row in written] == ["row-0", "row-1", "p1"]
    assert drops.as_dict() == {"x.jsonl": {"longer than 120 tokens": 2}}


def test_a_file_of_which_nothing_is_left_is_an_error(strict):
    text = "x.jsonl: at least one row must be usable; all 2 were dropped, the first as longer than"
    with pytest.raises(DataError, match=text):
        score_rows(strict, [LONG, LONG_PAIR], bad_rows="drop", path="x.jsonl")


def test_another_treatment_of_bad_rows_is_refused(hashed):
    with pytest.raises(ValueError, match="`bad_rows` must be 'stop' or 'drop'; got 'skip'"):
        score_rows(hashed, [PAIR], bad_rows="skip")


@pytest.mark.parametrize("bad_rows", ["stop", "drop"])
def test_truncated_rows_are_counted_once_a_row(tmp_path, bad_rows):
    # They were once scored without a word.
    backbone = decoder_backbone(tmp_path / "decoder", max_tokens=100, too_long="truncate")
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    many = (*(Message(r, "long " * 20) for r in ("user", "assistant", "user")),)
    drops = Drops()
    rows = [PreferencePair("p", many, "yes", "no"), PAIR, Conversation(many, "yes", id="c")]
    assert len(score_rows(model, rows, drops=drops, path="x", bad_rows=bad_rows)) == 3
    assert drops.as_dict() == {"x": {"truncated from the left": 2}}
    assert drops.total == 0


def test_count_truncated_by_hand():
    rows = [PAIR, LONG, PAIR]
    assert count_truncated(rows, torch.tensor([0, 3, 0, 5, 5])) == 2
    with pytest.raises(ValueError, match=r"`n_truncated` must have shape \(n,\); got \(4,\)"):
        count_truncated(rows, torch.zeros(4))


def test_usable_rows_keeps_the_rows_themselves(tmp_path):
    backbone = encoder_backbone(tmp_path / "encoder")
    rows = conversations(4)
    drops = Drops()
    assert usable_rows(backbone, rows, drops, path="x") == rows
    assert drops.total == 0


def test_rows_that_the_chat_template_refuses_are_dropped_and_counted(tmp_path):
    # Gemma's template has no system role.
    backbone = decoder_backbone(tmp_path / "gemma2", family="gemma2")
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    refused = Conversation((Message("system", "Be brief."), *PROMPT), "Paris.", id="sys")
    with pytest.raises(FeatureError, match=r"^x\.jsonl: conversation 'sys': the chat template"):
        score_rows(model, [refused, PAIR], path="x.jsonl")
    drops = Drops()
    (row,) = score_rows(model, [refused, PAIR], bad_rows="drop", drops=drops, path="x.jsonl")
    assert row["id"] == "p1"
    assert drops.as_dict() == {"x.jsonl": {"refused by the chat template": 1}}
    assert backbone.options.bad_rows == "stop"
