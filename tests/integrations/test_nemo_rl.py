"""NeMo-RL's calls: `step` on a batch of message logs, metrics, registration."""

import math
import sys
import types
from typing import NamedTuple

import pytest
import torch

from armorm import DataError, MissingDependency
from armorm.integrations import nemo_rl
from armorm.integrations.nemo_rl import ObjectiveEnvironment, StepReturn, register
from bundles import NUISANCE, OBJECTIVES
from fakes import chat_tokenizer, conversations

ROWS = conversations(4, n_responses=2)
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)
META = [{"n": i} for i in range(4)]


def log(row, *, rendered=False):
    """A message log; `rendered`: as NeMo-RL's processors leave it, token ids included."""
    prompt = [m._asdict() for m in row.prompt]
    if rendered:
        text = chat_tokenizer("qwen3").apply_chat_template(
            prompt, tokenize=False, add_generation_prompt=True
        )
        prompt = [{"role": "user", "content": text, "token_ids": torch.arange(3)}]
    return [*prompt, {"role": "assistant", "content": row.response, "token_ids": torch.arange(3)}]


@pytest.mark.parametrize("rendered", [False, True], ids=["messages", "rendered"])
def test_a_step_scores_and_ends_every_conversation(hashed, rendered):
    env = ObjectiveEnvironment({"bundle": hashed, "enabled": True, "num_workers": 1})
    found = env.step([log(row, rendered=rendered) for row in ROWS], META)
    assert isinstance(found, StepReturn)
    observations, metadata, stops, rewards, terminateds, answers = found
    torch.testing.assert_close(rewards, hashed.score(ROWS).score)
    assert rewards.dtype == torch.float32
    assert terminateds.tolist() == [True] * 4
    assert terminateds.dtype == torch.bool
    assert metadata == META
    assert stops == [None] * 4
    assert answers == [row.response for row in ROWS]
    assert [o["role"] for o in observations] == ["environment"] * 4
    assert observations[0]["content"] == f"Environment: score {float(rewards[0]):.4f}"


def test_a_rendered_prompt_of_several_messages_is_one_text(hashed):
    system = {"role": "system", "content": "<|im_start|>system\nBe brief.<|im_end|>\n"}
    plain = [{"role": "system", "content": "Be brief."}, *log(ROWS[0])]
    env = ObjectiveEnvironment({"bundle": hashed})
    found = env.step([[system, *log(ROWS[0], rendered=True)], plain], META[:2])
    assert float(found.rewards[0]) == float(found.rewards[1])
    assert float(found.rewards[0]) != pytest.approx(float(hashed.score(ROWS[:1]).score))


def test_one_reward_an_objective(hashed):
    logs = [log(row) for row in ROWS]
    found = ObjectiveEnvironment({"bundle": hashed, "objectives": True}).step(logs, META)
    debiased = hashed.score(ROWS).objectives @ hashed.bundle.debias
    assert tuple(found.rewards) == KEPT
    for name in KEPT:
        torch.testing.assert_close(found.rewards[name], debiased[:, OBJECTIVES.index(name)])
    some = ObjectiveEnvironment({"bundle": hashed, "objectives": ["honesty"], "values": "raw"})
    rewards = some.step(logs, META).rewards
    assert list(rewards) == ["honesty"]
    assert rewards["honesty"].equal(hashed.score(ROWS).objectives[:, 1])


def test_a_row_without_a_score_has_the_number_given(hashed):
    logs = [log(ROWS[0]), [*log(ROWS[1])[:-1], {"role": "assistant", "content": ""}]]
    with pytest.raises(DataError, match="step: a row cannot be scored: empty response"):
        ObjectiveEnvironment({"bundle": hashed}).step(logs, META[:2])
    env = ObjectiveEnvironment({"bundle": hashed, "unscored": -1})
    found = env.step(logs, META[:2])
    assert float(found.rewards[1]) == -1
    assert found.answers == [ROWS[0].response, None]
    assert env.global_post_process_and_metrics({})[1] == {"armorm/unscored": 1.0}


def test_the_type_of_nemo_rl_is_returned_where_it_is_there(hashed, monkeypatch):
    class EnvironmentReturn(NamedTuple):
        observations: list
        metadata: list
        next_stop_strings: list
        rewards: torch.Tensor
        terminateds: torch.Tensor
        answers: list | None = None

    assert StepReturn._fields == EnvironmentReturn._fields
    stand_in(monkeypatch, "nemo_rl.environments.interfaces", EnvironmentReturn=EnvironmentReturn)
    found = ObjectiveEnvironment({"bundle": hashed}).step([log(ROWS[0])], META[:1])
    assert isinstance(found, EnvironmentReturn)


def stand_in(monkeypatch, name, **content):
    """Put a module, and those above it, where an import finds them."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = ".".join(parts[:end])
        if path not in sys.modules:
            monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
    module = sys.modules[name]
    vars(module).update(content)
    for end in range(1, len(parts)):
        parent, child = ".".join(parts[:end]), ".".join(parts[: end + 1])
        setattr(sys.modules[parent], parts[end], sys.modules[child])


def test_registration_names_the_actor_and_its_python(monkeypatch):
    registered, actors = {}, {}
    stand_in(
        monkeypatch,
        "nemo_rl.distributed.ray_actor_environment_registry",
        ACTOR_ENVIRONMENT_REGISTRY=actors,
    )
    executables = types.SimpleNamespace(SYSTEM="python")
    stand_in(monkeypatch, "nemo_rl.distributed.virtual_cluster", PY_EXECUTABLES=executables)
    stand_in(monkeypatch, "nemo_rl.environments.utils", register_env=registered.__setitem__)
    register("quality")
    path = "armorm.integrations.nemo_rl.RewardEnvironment"
    assert registered == {"quality": path}
    assert actors == {path: "python"}
    # NeMo-RL gets the class by that path and starts it as an actor.
    stand_in(monkeypatch, "ray", remote=lambda of: ("actor", of))
    assert nemo_rl.RewardEnvironment == ("actor", ObjectiveEnvironment)


def test_without_nemo_rl_the_error_says_where_it_comes_from(monkeypatch):
    for name in ("ray", "nemo_rl"):
        monkeypatch.setitem(sys.modules, name, None)
    message = "an environment of NeMo-RL needs ray and nemo_rl, which come with NeMo-RL's own"
    with pytest.raises(MissingDependency, match=message):
        register()
    with pytest.raises(MissingDependency, match=message):
        _ = nemo_rl.RewardEnvironment
    with pytest.raises(AttributeError, match=r"module .* has no attribute 'Other'"):
        _ = nemo_rl.Other


def test_metrics_by_hand(hashed):
    env = ObjectiveEnvironment({"bundle": hashed})
    batch = {"rewards": torch.tensor([1.0, 2.0, 3.0])}
    same, metrics = env.global_post_process_and_metrics(batch)
    assert same is batch
    # Mean 2; squares of deviations 1 + 0 + 1 over 2 degrees of freedom: deviation 1.
    assert metrics == {
        "armorm/unscored": 0.0,
        "armorm/reward/mean": 2.0,
        "armorm/reward/std": 1.0,
        "armorm/reward/min": 1.0,
        "armorm/reward/max": 3.0,
    }
    named = {"total_reward": {"honesty": torch.tensor([0.5])}}
    metrics = env.global_post_process_and_metrics(named)[1]
    assert metrics["armorm/honesty/mean"] == 0.5
    assert math.isnan(metrics["armorm/honesty/std"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "`env.armorm.bundle` must be the folder or hub id of a bundle"),
        ({"bundle": "b", "objective": 1}, "`env.armorm`: unknown setting 'objective'; did you"),
        ({"bundle": "b", "values": "mean"}, "`values` must be 'debiased' or 'raw'; got 'mean'"),
        (
            {"bundle": "b", "unscored": "nan"},
            "`env.armorm.unscored` must be a finite number; got 'nan'",
        ),
        (
            {"bundle": "b", "objectives": "honesty"},
            "`env.armorm.objectives` must be true, false or a list of names; got 'honesty'",
        ),
        (
            {"bundle": "b", "objectives": []},
            r"`env.armorm.objectives` must be true, false or a list of names; got \[\]",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveEnvironment(config)


def test_logs_and_names_that_cannot_be_used_are_located(hashed):
    env = ObjectiveEnvironment({"bundle": hashed, "objectives": ["honest"]})
    with pytest.raises(ValueError, match="`objectives`: 'honest' has no value; did you mean"):
        env.step([log(ROWS[0])], META[:1])
    with pytest.raises(DataError, match=r"message_log_batch\[1\]: must be a prompt and a response"):
        env.step([log(ROWS[0]), log(ROWS[1])[:1]], META[:2])
