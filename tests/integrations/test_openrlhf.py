"""OpenRLHF's call: a file, executed by path, called positionally with one sample in a thread."""

import asyncio
import importlib.util
import logging
import sys
from pathlib import Path

import pytest
import torch

from armorm import DataError
from armorm.integrations import openrlhf
from bundles import NUISANCE, OBJECTIVES
from fakes import chat_tokenizer, conversations

ROWS = conversations(4, n_responses=2)
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)


def rendered(rows, family="qwen3"):
    """Queries and prompts as a policy of a family decodes them."""
    tokenizer = chat_tokenizer(family)
    end = {"qwen3": "<|im_end|>", "llama3": "<|eot_id|>", "gemma2": "<end_of_turn>"}
    prompts = [
        tokenizer.apply_chat_template(
            [m._asdict() for m in row.prompt], tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    closing = end.get(family, "</s>")
    return [p + row.response + closing for p, row in zip(prompts, rows, strict=True)], prompts


@pytest.fixture
def reward_func(settings, bundle):
    """The function as OpenRLHF finds it: the file is executed outside its package."""
    settings(bundle=bundle, device="cpu")
    spec = importlib.util.spec_from_file_location("reward_func", Path(openrlhf.__file__))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "reward_func" not in sys.modules
    return module.reward_func


@pytest.mark.parametrize("family", ["qwen3", "llama3", "gemma2", "mistral", "zephyr"])
def test_one_sample_is_answered_with_tensors_of_one(reward_func, loaded, family):
    queries, prompts = rendered(ROWS[:1], family)
    found = reward_func(queries, prompts, [None])
    expected = loaded.score(ROWS[:1])
    assert found.keys() == {"rewards", "scores", "extra_logs"}
    assert found["rewards"].shape == found["scores"].shape == (1,)
    assert float(found["rewards"]) == pytest.approx(float(expected.score), abs=1e-5)
    debiased = (expected.objectives @ loaded.bundle.debias)[0]
    assert found["extra_logs"].keys() == {*KEPT, "armorm/unscored"}
    for name in KEPT:
        value = found["extra_logs"][name]
        assert value.shape == (1,)
        assert float(value) == pytest.approx(float(debiased[OBJECTIVES.index(name)]), abs=1e-5)


def test_scores_are_preference_probabilities_between_0_and_1(reward_func, loaded, settings):
    queries, prompts = rendered(ROWS)
    found = reward_func(queries, prompts, [None] * 4, unknown="ignored")
    by_hand = torch.sigmoid(loaded.bundle.beta * found["rewards"])
    assert found["scores"].equal(by_hand)
    assert ((found["scores"] > 0) & (found["scores"] < 1)).all()
    # Beta was learned for the gating: fixed weights give scores of another size.
    settings(weights="honesty=1")
    fixed = reward_func(queries, prompts, [None] * 4)
    assert fixed["scores"].equal(torch.sigmoid(fixed["rewards"]))
    settings(weights="", scores="raw")
    assert reward_func(queries, prompts, [None] * 4)["scores"].equal(found["rewards"])


def test_what_openrlhf_does_with_the_reply_works(reward_func):
    queries, prompts = rendered(ROWS)

    async def all_samples():
        calls = [
            asyncio.to_thread(reward_func, [q], [p], [None])
            for q, p in zip(queries, prompts, strict=True)
        ]
        return await asyncio.gather(*calls)

    replies = asyncio.run(all_samples())
    # Values become tensors of one sample each, and are joined over the batch.
    for name in replies[0]["extra_logs"]:
        joined = torch.cat([reply["extra_logs"][name].reshape(-1) for reply in replies])
        assert joined.shape == (4,)
        assert joined.isfinite().all()
    together = reward_func(queries, prompts, [None] * 4)["rewards"]
    alone = torch.cat([reply["rewards"] for reply in replies])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)


def test_no_samples_are_answered_with_empty_tensors(reward_func):
    found = reward_func([], [], [])
    assert found["rewards"].shape == found["scores"].shape == (0,)
    assert all(values.shape == (0,) for values in found["extra_logs"].values())


def test_a_response_that_cannot_be_scored_has_the_number_given(reward_func, settings, caplog):
    queries, prompts = rendered(ROWS[:2])
    queries[0] = prompts[0] + "<|im_end|>"
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(DataError, match=r"reward_func: a row cannot be scored: empty response"),
    ):
        reward_func(queries, prompts, [None] * 2)
    # OpenRLHF itself only notes it at level INFO.
    assert "no rewards: reward_func: a row cannot be scored" in caplog.text
    settings(unscored="-2")
    found = reward_func(queries, prompts, [None] * 2)
    assert float(found["rewards"][0]) == -2
    assert float(found["extra_logs"]["honesty"][0]) == -2
    assert found["extra_logs"]["armorm/unscored"].tolist() == [1.0, 0.0]
    queries[1] = prompts[1] + "very " * 300 + "<|im_end|>"
    assert reward_func(queries, prompts, [None] * 2)["rewards"].tolist() == [-2, -2]


@pytest.mark.parametrize(
    "said",
    [
        "Yes.<|im_end|>\n<|im_start|>user\nThanks!<|im_end|>",
        "<|im_start|>tool\n4<|im_end|>",
        "<|im_start|>assistant\nYes.<|im_end|>",
    ],
)
def test_a_policy_that_begins_another_message_does_not_end_the_run(reward_func, settings, said):
    # Regression: `ARMORM_UNSCORED` was there, and the error of one response was everybody's.
    queries, prompts = rendered(ROWS[:2])
    queries[0] = prompts[0] + said
    reason = "a row cannot be scored: response that begins another message"
    with pytest.raises(DataError, match=reason):
        reward_func(queries, prompts, [None] * 2)
    settings(unscored="-2")
    found = reward_func(queries, prompts, [None] * 2)
    assert found["extra_logs"]["armorm/unscored"].tolist() == [1.0, 0.0]
    assert float(found["rewards"][0]) == -2


def test_any_failure_is_said_where_openrlhf_is_silent(reward_func, monkeypatch, caplog):
    def out_of_memory(*args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("armorm.integrations.shared.RowScorer.score", out_of_memory)
    queries, prompts = rendered(ROWS[:1])
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="out of memory"):
        reward_func(queries, prompts, [None])
    assert "no rewards: out of memory" in caplog.text


def test_the_system_message_of_a_policys_template_can_be_left_out(reward_func, settings, loaded):
    queries, prompts = rendered(ROWS[:1])
    system = "<|im_start|>system\nYou are somebody.<|im_end|>\n"
    with_system = ([system + queries[0]], [system + prompts[0]], [None])
    kept = float(reward_func(*with_system)["rewards"])
    settings(system="drop")
    dropped = float(reward_func(*with_system)["rewards"])
    expected = float(loaded.score(ROWS[:1]).score)
    assert dropped == pytest.approx(expected, abs=1e-5)
    assert kept != pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("variables", "queries", "prompts", "error", "message"),
    [
        ({}, ["hello"], ["hell"], DataError, "chat text: must begin with a message marker"),
        ({}, ["a", "b"], ["a"], DataError, "`prompts` must be as many as `queries`; got 1 and 2"),
        (
            {},
            ["<|im_start|>system\nhi<|im_end|>\n"],
            [""],
            DataError,
            "reward_func: the prompt must end with a 'user' message; it has none",
        ),
        (
            {"scores": "tanh"},
            [],
            [],
            ValueError,
            "`ARMORM_SCORES` must be 'sigmoid' or 'raw'; got 'tanh'",
        ),
        (
            {"system": "no"},
            [],
            [],
            ValueError,
            "`ARMORM_SYSTEM` must be 'keep' or 'drop'; got 'no'",
        ),
        ({"bundle": ""}, [], [], ValueError, "`ARMORM_BUNDLE` must name the folder"),
    ],
)
def test_calls_that_cannot_be_answered_say_why(
    reward_func, settings, variables, queries, prompts, error, message
):
    settings(**variables)
    with pytest.raises(error, match=message):
        reward_func(queries, prompts, [None] * len(queries))
