"""slime's calls: one sample, a group of samples, a number or a mapping."""

import asyncio
import inspect
from types import SimpleNamespace

import pytest

from armorm import DataError
from armorm.integrations.slime import reward
from bundles import NUISANCE, OBJECTIVES
from fakes import chat_tokenizer, conversations

ROWS = conversations(3, n_responses=3)
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)
PLAIN = SimpleNamespace(reward_key=None)
NAMED = SimpleNamespace(reward_key="score")


def sample(row, *, rendered=True):
    messages = [m._asdict() for m in row.prompt]
    text = chat_tokenizer("qwen3").apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    return SimpleNamespace(
        prompt=text if rendered else messages, response=row.response, label=None, metadata={}
    )


@pytest.fixture
def ready(settings, bundle):
    settings(bundle=bundle, device="cpu")


@pytest.mark.parametrize("rendered", [True, False])
def test_one_sample_is_a_number(ready, loaded, rendered):
    assert inspect.iscoroutinefunction(reward)
    found = asyncio.run(reward(PLAIN, sample(ROWS[0], rendered=rendered)))
    assert type(found) is float
    assert found == pytest.approx(float(loaded.score(ROWS[:1]).score), abs=1e-5)


def test_a_group_is_a_list_with_every_objective(ready, loaded):
    found = asyncio.run(reward(NAMED, [sample(row) for row in ROWS], evaluation=False))
    expected = loaded.score(ROWS)
    assert [f["score"] for f in found] == pytest.approx(expected.score.tolist(), abs=1e-5)
    assert all(tuple(f) == ("score", *KEPT) for f in found)


def test_an_empty_response_needs_a_number(ready, settings):
    empty = SimpleNamespace(prompt="2+2?", response=None)
    with pytest.raises(DataError, match="slime: a row cannot be scored: empty response"):
        asyncio.run(reward(PLAIN, empty))
    settings(unscored=-1)
    assert asyncio.run(reward(PLAIN, empty)) == -1
