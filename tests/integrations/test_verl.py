"""verl's calls: one sample by keyword, sync and async, and the manager's `run_single`."""

import asyncio
import importlib.util
import inspect
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from armorm import DataError
from armorm.integrations import settings as settings_of_trainers
from armorm.integrations import verl
from armorm.integrations.verl import ArmormRewardManager, compute_score, compute_score_async
from bundles import NUISANCE, OBJECTIVES
from fakes import chat_tokenizer, conversations

ROWS = conversations(4, n_responses=2)
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)
KEYS = {"score", *KEPT, "armorm/unscored"}


class Proto:
    """What the manager uses of verl's `DataProto`: slices, items, batches."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, item):
        return Proto(self.samples[item]) if isinstance(item, slice) else self.samples[item]


def arguments(row, **extra):
    """As verl's managers call `compute_score`: by keyword."""
    return {
        "data_source": "unit",
        "solution_str": row.response,
        "ground_truth": "",
        # Parquet gives messages as an array of mappings.
        "extra_info": {"prompt": np.array([m._asdict() for m in row.prompt], dtype=object)} | extra,
    }


@pytest.fixture
def ready(settings, bundle):
    settings(bundle=bundle, device="cpu")


def test_one_sample_gives_the_score_and_every_objective(ready, loaded):
    found = compute_score(**arguments(ROWS[0], index=3))
    expected = loaded.score(ROWS[:1])
    debiased = (expected.objectives @ loaded.bundle.debias)[0]
    assert found.keys() == KEYS
    assert all(type(value) is float for value in found.values())
    assert found["score"] == pytest.approx(float(expected.score), abs=1e-5)
    for name in KEPT:
        expected_value = float(debiased[OBJECTIVES.index(name)])
        assert found[name] == pytest.approx(expected_value, abs=1e-5)
    assert found["armorm/unscored"] == 0.0


def test_the_positional_call_and_what_verl_adds_are_taken(ready):
    named = arguments(ROWS[0])
    positional = compute_score("unit", named["solution_str"], "", named["extra_info"])
    added = compute_score(**named, reward_router_address="x:1", reward_model_tokenizer=object())
    assert positional == added == compute_score(**named)


def test_the_async_form_is_a_coroutine_and_answers_the_same(ready):
    assert inspect.iscoroutinefunction(compute_score_async)
    assert not inspect.iscoroutinefunction(compute_score)

    async def all_samples():
        return await asyncio.gather(*(compute_score_async(**arguments(row)) for row in ROWS))

    for row, found in zip(ROWS, asyncio.run(all_samples()), strict=True):
        assert found == pytest.approx(compute_score(**arguments(row)), abs=1e-5)


def test_the_file_works_when_it_is_executed_by_its_path(ready):
    spec = importlib.util.spec_from_file_location("custom_module", Path(verl.__file__))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.compute_score(**arguments(ROWS[0])) == compute_score(**arguments(ROWS[0]))


def test_all_samples_have_the_same_keys_also_where_there_is_no_score(ready, settings):
    empty = arguments(ROWS[0]) | {"solution_str": ""}
    with pytest.raises(DataError, match="verl: a row cannot be scored: empty response"):
        compute_score(**empty)
    settings(unscored="-1")
    found = compute_score(**empty)
    assert found.keys() == KEYS
    assert found == dict.fromkeys(["score", *KEPT], -1.0) | {"armorm/unscored": 1.0}


def test_reward_kwargs_name_the_model_in_place_of_the_environment(settings, bundle, loaded):
    kwargs = {"bundle": str(bundle), "device": "cpu", "weights": {"honesty": 1}, "values": "raw"}
    found = compute_score(**arguments(ROWS[0]), **kwargs)
    raw = loaded.score(ROWS[:1]).objectives[0]
    assert found["score"] == pytest.approx(float(raw[1]), abs=1e-5)
    assert found["verbosity"] == pytest.approx(float(raw[NUISANCE]), abs=1e-5)
    kwargs |= {"unscored": -4, "prompt_key": "question"}
    row = arguments(ROWS[0], question="2+2?") | {"solution_str": " "}
    assert compute_score(**row, **kwargs)["score"] == -4
    # One model for all calls with the same settings.
    assert settings_of_trainers._scorer_of.cache_info().misses == 1


def proto(row, tokenizer, *, padding=2, **entries):
    """One sample as verl's reward loop hands it on: responses padded on the right."""
    ids = torch.tensor(tokenizer(row.response, add_special_tokens=False)["input_ids"])
    response = torch.cat([ids, torch.full((padding,), 7)])
    mask = torch.cat([torch.ones(5), torch.ones(len(ids)), torch.zeros(padding)]).long()
    messages = np.array([m._asdict() for m in row.prompt], dtype=object)
    return SimpleNamespace(
        batch={"responses": response, "attention_mask": mask},
        non_tensor_batch={"raw_prompt": messages, "data_source": "unit"} | entries,
    )


def test_the_manager_takes_prompt_and_response_from_the_batch(ready, loaded):
    tokenizer = chat_tokenizer("llama3")
    # As verl makes it: always with a `compute_score`.
    manager = ArmormRewardManager(
        config=SimpleNamespace(),
        tokenizer=tokenizer,
        compute_score=lambda **_: 1 / 0,
        reward_router_address=None,
        reward_model_tokenizer=None,
    )
    # Of several sequences of a sample, the last one is judged.
    data = Proto([proto(ROWS[1], tokenizer), proto(ROWS[0], tokenizer)])
    found = asyncio.run(manager.run_single(data))
    assert found.keys() == {"reward_score", "reward_extra_info"}
    expected = float(loaded.score(ROWS[:1]).score)
    assert found["reward_score"] == pytest.approx(expected, abs=1e-5)
    assert found["reward_extra_info"].keys() == KEYS
    assert found["reward_extra_info"] == pytest.approx(
        compute_score(**arguments(ROWS[0])), abs=1e-5
    )


def test_the_manager_says_that_there_is_no_prompt(ready):
    tokenizer = chat_tokenizer("llama3")
    sample = proto(ROWS[0], tokenizer)
    del sample.non_tensor_batch["raw_prompt"]
    with pytest.raises(DataError, match=r"verl: `non_tensor_batch` must hold 'raw_prompt' \(data"):
        asyncio.run(ArmormRewardManager(None, tokenizer).run_single(Proto([sample])))


@pytest.mark.parametrize(
    ("extra_info", "message"),
    [
        (
            {"index": 1, "split": "train"},
            r"verl: `extra_info` must hold the prompt under 'prompt'; it holds 'index', 'split': "
            r"write it there when the rows are made, or use `ArmormRewardManager`",
        ),
        (None, r"verl: `extra_info` must hold the prompt under 'prompt'; it holds nothing"),
        ({"prompt": []}, r"verl: extra_info\['prompt'\]: `prompt` must be text or messages"),
    ],
)
def test_a_prompt_that_is_not_there_is_an_error(ready, extra_info, message):
    with pytest.raises(DataError, match=message):
        compute_score("unit", "4.", "", extra_info)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({}, "`ARMORM_BUNDLE` must name the folder or hub id of a bundle; it is not set"),
        ({"bundlee": "b"}, "`reward_kwargs`: unknown setting 'bundlee'; did you mean 'bundle'"),
        ({"device": "cpu"}, "`reward_kwargs`: 'device' needs 'bundle' beside it"),
        (
            {"bundle": "b", "unscored": math.nan},
            "`reward_kwargs.unscored` must be a finite number; got nan",
        ),
        (
            {"bundle": "b", "weights": "honesty=1"},
            "`reward_kwargs.weights` must be a mapping of name to number; got 'honesty=1'",
        ),
        (
            {"bundle": "b", "weights": {"honesty": "much"}},
            "`reward_kwargs.weights` must be a finite number; got 'much'",
        ),
    ],
)
def test_settings_that_name_no_model_are_refused(settings, kwargs, message):
    with pytest.raises(ValueError, match=message):
        compute_score(**arguments(ROWS[0]), **kwargs)
