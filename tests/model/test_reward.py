"""A score is its conversation's own, comes apart into contributions, is steered by name."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from armorm import Conversation, DataError, FeatureError, Message, RewardModel
from armorm.heads.gating import GatingNetwork
from armorm.model.reward import shortest
from bundles import NUISANCE, OBJECTIVES, encoder_backbone, make_bundle
from fakes import HashBackbone, conversations

ROWS = conversations(9, n_responses=3)


def hand_model():
    """Two objectives and a nuisance on features of width 2, every number chosen."""
    backbone = HashBackbone(width=2)
    gating = GatingNetwork(2, 3, hidden=(), temperature=1.0, masked=(2,))
    # Logits (log 3, 0, -inf) for every prompt: gating (.75, .25, 0).
    with torch.no_grad():
        gating.layers[0].weight.zero_()
        gating.layers[0].bias.copy_(torch.tensor([3.0, 1.0, 1.0]).log())
    bundle = make_bundle(
        backbone.facts(),
        objectives=("honesty", "is_safe", "verbosity"),
        nuisances=(2,),
        scales={},
        weight=torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]),
        bias=torch.tensor([0.1, 0.0, -0.2]),
        debias=torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-0.4, 0.2, 0.0]]),
        gating=gating,
        baselines=None,
    )
    return RewardModel(bundle, backbone)


FEATURES = torch.tensor([[0.4, 0.8]])
# r = (.4 + .1, .8, .6 - .2) = (.5, .8, .4)


def test_a_score_by_hand():
    found = hand_model().score_features(FEATURES, torch.zeros(1, 2))[0]
    # c = g @ debias.T = (.75, .25, .75 * -.4 + .25 * .2) = (.75, .25, -.25)
    # contributions (.375, .2, -.1), score .475
    assert found.objectives == pytest.approx({"honesty": 0.5, "is_safe": 0.8, "verbosity": 0.4})
    assert found.gating == pytest.approx({"honesty": 0.75, "is_safe": 0.25, "verbosity": 0})
    assert found.coefficients == pytest.approx(
        {"honesty": 0.75, "is_safe": 0.25, "verbosity": -0.25}
    )
    assert found.contributions == pytest.approx(
        {"honesty": 0.375, "is_safe": 0.2, "verbosity": -0.1}
    )
    assert found.score == pytest.approx(0.475)


def test_fixed_weights_by_hand():
    steered = hand_model().with_weights({"is_safe": 2.0, "verbosity": -0.5})
    found = steered.score_features(FEATURES, torch.zeros(1, 2))[0]
    # 2 * .8 - .5 * .4 = 1.4: raw objective scores, no debias
    assert found.score == pytest.approx(1.4)
    assert found.gating is None
    assert found.coefficients == pytest.approx({"honesty": 0, "is_safe": 2, "verbosity": -0.5})


def test_scaled_gating_by_hand():
    steered = hand_model().scaled({"is_safe": 3.0})
    found = steered.score_features(FEATURES, torch.zeros(1, 2))[0]
    # (.75, .25 * 3) / 1.5 = (.5, .5); q = (.5 - .16, .8 + .08) = (.34, .88); mean .61
    assert found.gating == pytest.approx({"honesty": 0.5, "is_safe": 0.5, "verbosity": 0})
    assert found.score == pytest.approx(0.61)


def test_the_score_scale_multiplies_score_coefficients_and_contributions():
    model = hand_model()
    doubled = RewardModel(replace(model.bundle, score_scale=2.0), model.backbone)
    found = doubled.score_features(FEATURES, torch.zeros(1, 2))[0]
    assert found.score == pytest.approx(0.95)
    assert found.gating == pytest.approx({"honesty": 0.75, "is_safe": 0.25, "verbosity": 0})
    assert sum(found.contributions.values()) == pytest.approx(0.95)


def test_the_score_equals_the_slow_formula(hashed):
    found = hashed.score(ROWS)
    bundle = hashed.bundle
    for i, row in enumerate(ROWS):
        response, prompt = hashed.backbone.features(hashed.backbone.tokenize([row]))
        raw = [float(w @ response[0] + b) for w, b in zip(bundle.weight, bundle.bias, strict=True)]
        k = len(OBJECTIVES)
        clean = [sum(raw[i] * float(bundle.debias[i, j]) for i in range(k)) for j in range(k)]
        gates = bundle.gating(prompt)[0].tolist()
        assert float(found.score[i]) == pytest.approx(
            sum(g * q for g, q in zip(gates, clean, strict=True)), abs=1e-5
        )


def test_beta_is_not_part_of_the_score(hashed):
    other = RewardModel(replace(hashed.bundle, beta=9.0), hashed.backbone)
    assert torch.equal(other.score(ROWS).score, hashed.score(ROWS).score)


def test_a_conversation_scores_the_same_alone_in_a_batch_and_in_another_order(model):
    together = model.score(ROWS)
    alone = [model.score([row])[0].score for row in ROWS]
    backwards = model.score(ROWS[::-1])
    assert_close(together.score, torch.tensor(alone), atol=1e-5, rtol=0)
    assert_close(together.score, backwards.score.flip(0), atol=1e-5, rtol=0)
    assert together.ids == tuple(row.id for row in ROWS) == backwards.ids[::-1]
    assert together.score.std() > 0.01  # the rows do differ


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), kind=st.sampled_from(["", "w", "s"]))
def test_contributions_add_up_to_the_score(seed, n, kind):
    backbone = HashBackbone()
    model = RewardModel(make_bundle(backbone.facts(), seed=seed), backbone)
    if kind == "w":
        model = model.with_weights({"honesty": -3.0, "verbosity": 0.5})
    if kind == "s":
        model = model.scaled({"honesty": 0.0, "is_safe": 7.0})
    found = model.score(conversations(n, seed=seed))
    assert_close(found.contributions.sum(1), found.score)
    assert_close(found.coefficients * found.objectives, found.contributions)
    for one in found:
        assert sum(one.contributions.values()) == pytest.approx(one.score, abs=1e-5)
        if one.gating is not None:
            assert sum(one.gating.values()) == pytest.approx(1)
            assert one.gating["verbosity"] == 0


def test_explain_is_the_row_of_score_by_name(model):
    assert model.explain(ROWS[2]).score == pytest.approx(model.score(ROWS)[2].score, abs=1e-5)
    assert model.explain(ROWS[2]).id == "row-2"
    assert tuple(model.explain(ROWS[2]).contributions) == OBJECTIVES


def test_the_json_object_of_an_explanation_is_exact_in_float32(hashed):
    one = hashed.explain(ROWS[0])
    written = one.as_dict()
    assert torch.tensor(written["score"]).item() == one.score
    for part in ("objectives", "gating", "coefficients", "contributions"):
        found = torch.tensor(list(written[part].values()))
        assert torch.equal(found, torch.tensor(list(getattr(one, part).values())))
    # Seven digits, as they were once written, do not tell neighbours in float32 apart.
    assert shortest(0.10000000894069672) == 0.10000001 != shortest(0.10000000149011612) == 0.1


PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2+2?"}]
RESPONSE = {"role": "assistant", "content": "It is 4."}
AS_MESSAGES = tuple(Message(**m) for m in PROMPT)

FORMS = {
    "Conversation": Conversation(AS_MESSAGES, "It is 4."),
    "prompt and response": {"prompt": PROMPT, "response": "It is 4."},
    "prompt of Message": {"prompt": AS_MESSAGES, "response": "It is 4."},
    "response as a message": {"prompt": PROMPT, "response": [RESPONSE]},
    "messages": {"messages": [*PROMPT, RESPONSE]},
    "messages of Message": {"messages": (*AS_MESSAGES, Message(**RESPONSE))},
    "list of messages": [*PROMPT, RESPONSE],
    "list of Message": [*AS_MESSAGES, Message(**RESPONSE)],
    "tuple of Message": (*AS_MESSAGES, Message(**RESPONSE)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_conversation_scores_the_same(hashed, form):
    wanted = hashed.score([FORMS["Conversation"]]).score
    assert torch.equal(hashed.score([FORMS[form]]).score, wanted)


def test_a_prompt_as_text_is_one_user_message(hashed):
    first = hashed.explain({"prompt": "2+2?", "response": "4."})
    second = hashed.explain([Message("user", "2+2?"), Message("assistant", "4.")])
    assert first == second


def test_ids_are_kept(hashed):
    rows = [{"prompt": "a", "response": "b", "id": "x7"}, {"prompt": "a", "response": "b"}]
    assert hashed.score(rows).ids == ("x7", "")


def test_no_conversations_give_no_scores(model):
    found = model.score([])
    assert len(found) == 0
    assert found.score.shape == (0,)
    assert found.contributions.shape == found.objectives.shape == (0, len(OBJECTIVES))
    assert list(found) == []


def test_progress_ends_with_all_rows(hashed):
    calls = []
    hashed.score(ROWS, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (9, 9)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"prompt": "a"}, "missing field 'response'"),
        ({"response": "a"}, "missing field 'prompt'"),
        ({"prompt": "", "response": "a"}, "`prompt` must not be empty"),
        ({"prompt": "a", "response": " "}, "`response` must not be empty"),
        ({"messages": PROMPT}, "a conversation must end in a response"),
        (PROMPT, "a conversation must end in a response"),
        ([RESPONSE], "`messages` must hold a prompt before the response"),
        ([{"role": "judge", "content": "x"}], "must be 'system', 'user' or 'assistant'"),
    ],
)
def test_a_bad_conversation_is_located_and_its_neighbours_are_not(hashed, bad, text):
    good = {"prompt": "a", "response": "b"}
    with pytest.raises(DataError, match=rf"^conversations\[3\]: .*{text}") as caught:
        hashed.score([good, good, good, bad, good])
    assert "[0]: " not in str(caught.value).replace("messages[0]", "")


@pytest.mark.parametrize("one", [FORMS["messages"], FORMS["Conversation"], "text"])
def test_one_conversation_in_place_of_a_list_is_told(hashed, one, unchecked):
    with pytest.raises(DataError, match="`conversations` must be a list of conversations; got one"):
        hashed.score(one)


def test_what_is_no_list_is_told(hashed, unchecked):
    with pytest.raises(DataError, match=r"`conversations` must be a list .*; got NoneType$"):
        hashed.score(None)


def test_a_conversation_that_is_too_long_is_refused_by_its_id(decoder):
    model = RewardModel(make_bundle(decoder.facts()), decoder)
    rows = [ROWS[0], Conversation((Message("user", "w " * 300),), "long", id="the-long-one")]
    text = r"'the-long-one' \(row 1\) gets no features: longer than 120 tokens"
    with pytest.raises(FeatureError, match=text) as caught:
        model.score(rows)
    assert "row-0" not in str(caught.value)


def test_truncation_is_counted_in_tokens(tmp_path):
    backbone = encoder_backbone(tmp_path, max_tokens=32, too_long="truncate")
    model = RewardModel(make_bundle(backbone.facts()), backbone)
    short, long = model.score([ROWS[0], {"prompt": "word " * 60, "response": "yes"}])
    assert long.n_truncated > 0
    assert short.n_tokens > 0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ({"response": torch.zeros(2, 9)}, r"`response` must have shape \(n, d\); got \(2, 9\)"),
        (
            {"prompt": torch.zeros(3, 8)},
            r"`prompt` must have shape \(n, dp\); got \(3, 8\): axis 0",
        ),
        ({"prompt": torch.zeros(2, 7)}, r"axis 1 \(dp\) must be 8"),
        ({"ids": ("a",)}, "`ids` must have 2 entries; got 1"),
    ],
)
def test_features_that_do_not_fit_are_refused(hashed, call, text):
    fits = {"response": torch.zeros(2, 8), "prompt": torch.zeros(2, 8)}
    with pytest.raises(ValueError, match=text):
        hashed.score_features(**(fits | call))


@pytest.mark.parametrize("method", ["with_weights", "scaled"])
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"honestly": 1.0}, "unknown objective 'honestly'; did you mean 'honesty'"),
        ({"zzz": 1.0}, "unknown objective 'zzz'; known: 'helpfulness', 'honesty'"),
        ({}, "must name at least one objective; it is empty"),
        ({"honesty": float("nan")}, "must be finite in float32; got nan for 'honesty'"),
        ({"honesty": 1e300}, r"must be finite in float32; got 1e\+300 for 'honesty'"),
    ],
)
def test_values_that_cannot_steer_are_refused(hashed, method, values, text):
    with pytest.raises(ValueError, match=text):
        getattr(hashed, method)(values)


@pytest.mark.parametrize("call", ["with_weights", "scaled"])
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"honesty": "2"}, "must be numbers; got '2' for 'honesty'"),
        ({"honesty": None}, "must be numbers; got None for 'honesty'"),
        ({"honesty": True}, "must be numbers; got True for 'honesty'"),
        ([1], "must map objective names to numbers; got list"),
        (None, "must map objective names to numbers; got NoneType"),
    ],
)
def test_values_of_another_type_are_named(hashed, call, values, text, unchecked):
    argument = {"with_weights": "weights", "scaled": "factors"}[call]
    with pytest.raises(ValueError, match=f"^`{argument}` {text}$"):
        getattr(hashed, call)(values)


def test_numbers_of_numpy_steer(hashed, unchecked):
    wanted = hashed.with_weights({"honesty": 0.5}).score(ROWS).score
    for value in (np.float32(0.5), np.float64(0.5)):
        assert_close(hashed.with_weights({"honesty": value}).score(ROWS).score, wanted)


def test_a_nuisance_cannot_be_scaled(hashed):
    text = "must not name the nuisance 'verbosity': the debias step removes it.*`with_weights`"
    with pytest.raises(ValueError, match=text):
        hashed.scaled({"verbosity": 2.0})


def test_a_negative_factor_is_refused(hashed):
    with pytest.raises(ValueError, match="`factors` must be at least 0; got -1 for 'honesty'"):
        hashed.scaled({"honesty": -1.0})


def test_factors_that_leave_no_objective_are_refused_when_they_are_given(hashed):
    # They were once accepted here and failed in the first score.
    rest = {name: 0.0 for i, name in enumerate(OBJECTIVES) if i != NUISANCE}
    with pytest.raises(ValueError, match="`factors` must leave one objective a factor above 0"):
        hashed.scaled(rest)
    kept = dict(rest, honesty=2.0)
    assert_close(hashed.scaled(kept).score(ROWS).gating[:, 1], torch.ones(9))


def test_scaling_twice_multiplies_the_factors(hashed):
    once = hashed.scaled({"honesty": 6.0, "is_safe": 0.5}).score(ROWS)
    twice = hashed.scaled({"honesty": 2.0}).scaled({"honesty": 3.0, "is_safe": 0.5}).score(ROWS)
    assert_close(once.score, twice.score)


def test_factors_of_one_change_nothing(hashed):
    assert_close(hashed.scaled({"honesty": 1.0}).score(ROWS).score, hashed.score(ROWS).score)


def test_weights_replace_earlier_steering(hashed):
    fixed = {"is_safe": 1.0}
    wanted = hashed.with_weights(fixed).score(ROWS).score
    for steered in (hashed.scaled({"honesty": 3.0}), hashed.with_weights({"honesty": 3.0})):
        assert torch.equal(steered.with_weights(fixed).score(ROWS).score, wanted)


def test_factors_on_fixed_weights_are_refused(hashed):
    # They once threw the weights away without a word.
    with pytest.raises(ValueError, match="which the fixed weights of this model bypass; call"):
        hashed.with_weights({"honesty": 1.0}).scaled({"honesty": 2.0})


def test_steering_leaves_the_model_as_it_was(hashed):
    before = hashed.score(ROWS).score
    hashed.with_weights({"honesty": 1.0})
    hashed.scaled({"honesty": 5.0})
    assert torch.equal(hashed.score(ROWS).score, before)


def test_a_larger_factor_never_lowers_the_gating_of_its_objective(hashed):
    j = OBJECTIVES.index("honesty")
    gates = [hashed.scaled({"honesty": f}).score(ROWS).gating[:, j] for f in (0.0, 0.5, 1.0, 4.0)]
    assert torch.equal(gates[0], torch.zeros(9))
    for lower, higher in itertools.pairwise(gates):
        assert (higher > lower).all()
