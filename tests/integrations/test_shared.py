"""Rows of a trainer are scored together, unusable ones left out, and the model loaded once."""

import logging
import os
import threading
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from armorm import Conversation, DataError, FeatureError, Message, RewardModel
from armorm.features.backbone import load_backbone
from armorm.features.interface import FeatureOptions, Unused
from armorm.integrations.shared import RowScorer, Scorer, device_of_rank
from bundles import NUISANCE, OBJECTIVES
from fakes import conversations

ROWS = conversations(6, n_responses=3)
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)


class Client:
    """What has the methods of a scorer, as a client of a server would, and counts its calls."""

    def __init__(self, model):
        self._model = model
        self.objectives = model.objectives
        self.batches = []

    def score(self, conversations):
        self.batches.append(len(conversations))
        return self._model.score(conversations)


def test_a_reward_model_is_a_scorer(hashed):
    assert isinstance(hashed, Scorer)


def test_scores_and_values_are_the_models_own(hashed):
    found = RowScorer(hashed, values="raw").score(ROWS)
    expected = hashed.score(ROWS)
    assert found.score == expected.score.tolist()
    assert found.names == OBJECTIVES
    assert [list(v) for v in found.values] == expected.objectives.tolist()
    assert found.column("honesty") == expected.objectives[:, 1].tolist()


def test_debiased_values_by_the_slow_formula(hashed):
    found = RowScorer(hashed).score(ROWS)
    raw = hashed.score(ROWS).objectives
    assert found.names == KEPT
    penalties = hashed.bundle.debias[NUISANCE]
    for place, name in enumerate(KEPT):
        j = OBJECTIVES.index(name)
        slow = raw[:, j] + penalties[j] * raw[:, NUISANCE]
        assert [v[place] for v in found.values] == pytest.approx(slow.tolist(), abs=1e-6)


@given(unusable=st.sets(st.integers(0, 5)))
def test_innocent_rows_keep_their_scores_whatever_is_left_out(hashed, unusable):
    rows = [Unused("empty response") if i in unusable else row for i, row in enumerate(ROWS)]
    found = RowScorer(hashed).score(rows)
    whole = RowScorer(hashed).score(ROWS)
    for i in range(len(ROWS)):
        left_out = i in unusable
        assert found.reasons[i] == ("empty response" if left_out else None)
        assert found.score[i] == (None if left_out else pytest.approx(whole.score[i], abs=1e-6))
        assert (found.values[i] is None) is left_out


def test_over_long_rows_have_no_score_and_are_counted(loaded, caplog):
    long = Conversation((Message("user", "What is long?"),), "very " * 300)
    scorer = RowScorer(loaded)
    with caplog.at_level(logging.WARNING):
        found = scorer.score([ROWS[0], long, ROWS[1], long])
        scorer.score([long])
    assert found.reasons == [None, "longer than 120 tokens", None, "longer than 120 tokens"]
    assert found.score[0] == pytest.approx(float(loaded.score([ROWS[0]]).score), abs=1e-5)
    assert scorer.unused == {"longer than 120 tokens": 3}
    said = [r.getMessage() for r in caplog.records]
    assert said == [
        "2 of 4 rows cannot be scored: longer than 120 tokens; said once, then only counted"
    ]


def test_rows_that_a_bundle_truncates_are_scored_and_counted(bundle, loaded, caplog):
    options = replace(FeatureOptions.from_facts(loaded.bundle.backbone), too_long="truncate")
    name = loaded.bundle.backbone["name"]
    cutting = RewardModel(loaded.bundle, load_backbone(name, device="cpu", options=options))
    long = Conversation((Message("user", "What is long? " * 60),), "This.")
    scorer = RowScorer(cutting)
    with caplog.at_level(logging.WARNING):
        assert scorer.score([long, ROWS[0]]).reasons == [None, None]
        scorer.score([long])
    assert scorer.truncated == 2
    said = [r.getMessage() for r in caplog.records]
    assert said == ["1 of 2 rows are truncated from the left; said once, then only counted"]


def test_a_row_that_the_template_refuses_has_no_score(tmp_path):
    from bundles import decoder_backbone, make_bundle

    backbone = decoder_backbone(tmp_path / "gemma", "gemma2", max_tokens=120)
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    system = Conversation((Message("system", "Be brief."), *ROWS[0].prompt), "Yes.")
    found = RowScorer(model).score([ROWS[0], system])
    assert found.reasons == [None, "refused by the chat template"]


def test_nothing_to_score_runs_no_model(hashed):
    client = Client(hashed)
    found = RowScorer(client, values="raw").score([Unused("empty response")])
    assert (found.score, client.batches, found.names) == ([None], [], OBJECTIVES)
    assert len(RowScorer(client, values="raw").score([])) == 0


def test_callers_that_wait_are_scored_in_one_batch(hashed):
    entered, release = threading.Event(), threading.Event()

    class Slow(Client):
        def score(self, conversations):
            found = super().score(conversations)
            entered.set()
            release.wait(10)
            return found

    client = Slow(hashed)
    scorer = RowScorer(client, values="raw")
    found = {}

    def call(number):
        found[number] = scorer.score([ROWS[number]]).score

    first = threading.Thread(target=call, args=(0,))
    first.start()
    assert entered.wait(10)
    others = [threading.Thread(target=call, args=(i,)) for i in range(1, 6)]
    for thread in others:
        thread.start()
    while len(scorer._waiting) < 5:
        threading.Event().wait(0.001)
    release.set()
    for thread in [first, *others]:
        thread.join(10)
    assert client.batches == [1, 5]
    expected = hashed.score(ROWS).score.tolist()
    assert [found[i][0] for i in range(6)] == pytest.approx(expected, abs=1e-6)


def test_an_error_of_the_model_reaches_every_caller_and_the_next_call_works(hashed):
    class Failing(Client):
        def score(self, conversations):
            if not self.batches:
                self.batches.append(0)
                raise FeatureError("features are not finite")
            return super().score(conversations)

    scorer = RowScorer(Failing(hashed), values="raw")
    with pytest.raises(FeatureError, match="features are not finite"):
        scorer.score(ROWS)
    assert scorer.score(ROWS).score == hashed.score(ROWS).score.tolist()


def test_a_bundle_is_loaded_once_and_not_before_it_is_needed(bundle, loaded):
    scorer = RowScorer(bundle, device="cpu")
    assert scorer._loaded is None
    found = scorer.score(ROWS)
    assert found.score == pytest.approx(loaded.score(ROWS).score.tolist(), abs=1e-5)
    assert scorer.scorer() is scorer.scorer()


def test_weights_bypass_gating_and_debias(hashed):
    weights = {"honesty": 2.0, "verbosity": -0.5}
    found = RowScorer(hashed, weights=weights).score(ROWS)
    assert found.score == hashed.with_weights(weights).score(ROWS).score.tolist()


def test_filled_rows_have_the_number_given(hashed):
    found = RowScorer(hashed).score([ROWS[0], Unused("empty response")])
    filled = found.filled(-3.0, "here")
    assert filled.score == [found.score[0], -3.0]
    assert filled.values[1] == (-3.0,) * 3
    assert filled.reasons == [None, "empty response"]
    with pytest.raises(
        DataError,
        match=r"here: a row cannot be scored: empty response; give the reward of such rows as "
        r"`unscored` \(ARMORM_UNSCORED\)",
    ):
        found.filled(None, "here")
    assert found.part(0, 1).filled(None, "here").score == [found.score[0]]


@pytest.mark.parametrize(
    ("device", "rank", "n_devices", "found"),
    [
        ("auto", "1", 2, "cuda:1"),
        ("auto", "3", 2, "cuda:1"),
        ("auto", "1", 0, "auto"),
        ("auto", None, 2, "auto"),
        ("cpu", "1", 2, "cpu"),
    ],
)
def test_every_rank_takes_its_own_device(monkeypatch, device, rank, n_devices, found):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert device_of_rank(device, n_devices=n_devices) == found
    assert device_of_rank("cpu") == "cpu"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": "mean"}, "`values` must be 'debiased' or 'raw'; got 'mean'"),
        ({"model": 3}, "`model` must be a RewardModel, the path or hub id of a bundle, or have"),
        ({"weights": {"honest": 1.0}}, "`weights`: unknown objective 'honest'; did you mean"),
    ],
)
def test_what_cannot_score_is_refused_when_it_is_made(hashed, unchecked, change, message):
    with pytest.raises(ValueError, match=message):
        RowScorer(**({"model": hashed} | change))


def test_a_client_cannot_debias_or_be_weighed(hashed):
    client = Client(hashed)
    with pytest.raises(ValueError, match="`values` = 'debiased' needs a model with its bundle; "):
        RowScorer(client)
    with pytest.raises(ValueError, match="`weights` need a model that has `with_weights`; Client"):
        RowScorer(client, values="raw", weights={"honesty": 1.0})
    found = RowScorer(client, values="raw").score(ROWS)
    assert torch.tensor(found.score).equal(hashed.score(ROWS).score)


def test_the_environment_of_the_tests_names_no_rank():
    assert "LOCAL_RANK" not in os.environ
