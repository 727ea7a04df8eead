"""TRL really trains a policy with our reward functions, and logs what our model gives."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from armorm.integrations.trl import objective_reward_functions, reward_function, reward_weights
from bundles import NUISANCE, OBJECTIVES
from fakes import save_tiny_decoder

pytestmark = [
    pytest.mark.slow,
    # TRL, transformers and datasets warn of their own future; none of it is about our calls.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]

STEPS = 20

# The second process has nothing to score, and must tell TRL the same names as the first.
TWO_PROCESSES = """
import json, os, sys
import datasets, torch, trl
from armorm.integrations.trl import objective_reward_functions, reward_function

bundle, policy, out = sys.argv[1:]
functions = [reward_function(bundle, device="cpu")]
functions += objective_reward_functions(bundle, ["honesty"], device="cpu")

def silenced(function):
    def of_rank(prompts, completions, **columns):
        if os.environ["RANK"] == "1":
            completions = [""] * len(completions)
        return function(prompts=prompts, completions=completions, **columns)
    of_rank.__name__ = function.__name__
    return of_rank

config = trl.GRPOConfig(
    output_dir=out, max_steps=2, per_device_train_batch_size=2, num_generations=4,
    max_completion_length=8, use_cpu=True, bf16=False, logging_steps=1, save_strategy="no",
    report_to="none", disable_tqdm=True,
)
data = datasets.Dataset.from_dict({"prompt": ["The sea is"] * 8})
trainer = trl.GRPOTrainer(
    model=policy, reward_funcs=[silenced(f) for f in functions], args=config, train_dataset=data
)
trainer.train()
if os.environ["RANK"] == "0":
    print("LOGGED", json.dumps(trainer.state.log_history), flush=True)
# Without these the first process to leave may abort the other, whose connection it closes.
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)
WORDS = ("sea", "egg", "rain", "poem")


class Recorder:
    """A reward model that keeps what it was given and what it said."""

    def __init__(self, model):
        self._model = model
        self.objectives, self.bundle, self.backbone = model.objectives, model.bundle, model.backbone
        self.batches = []

    def score(self, rows):
        found = self._model.score(rows)
        self.batches.append((list(rows), found))
        return found


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    return save_tiny_decoder(folder, seed=1, pad_token_id=None, eos_token_id=None)


def trained(policy, functions, tmp_path, **settings):
    """Train 20 steps and return the trainer."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    prompts = [[{"role": "user", "content": f"Write about the {w}."}] for w in WORDS]
    config = trl.GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=STEPS,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_generations=4,
        max_completion_length=8,
        learning_rate=1e-3,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=3,
        **settings,
    )
    trainer = trl.GRPOTrainer(
        model=str(policy),
        reward_funcs=functions,
        args=config,
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": p, "topic": "x"} for p in prompts * 8]
        ),
    )
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    trainer.train()
    moved = [n for n, p in trainer.model.named_parameters() if not p.detach().equal(before[n])]
    assert moved
    return trainer


def logged(trainer, name):
    """One value a step."""
    found = [entry[name] for entry in trainer.state.log_history if name in entry]
    assert len(found) == STEPS
    return found


def expected(model, values):
    """Values of every batch that was scored, by name."""
    names = KEPT if values == "debiased" else OBJECTIVES
    kept = [OBJECTIVES.index(n) for n in names]
    tables = []
    for _, found in model.batches:
        raw = found.objectives
        tables.append((raw @ model.bundle.debias if values == "debiased" else raw)[:, kept])
    return names, tables


def check_table(table, model, rewards, *, extra):
    """Score the completions that TRL kept again, and compare with what it kept beside them.

    `rewards`: column -> debiased objective, None for the score; `extra`: column -> objective.
    """
    said = [c[0]["content"] for c in table["completion"]]
    there = [i for i, text in enumerate(said) if text.strip()]
    assert len(there) >= 4
    rows = [{"prompt": table["prompt"][i], "response": said[i]} for i in there]
    again = model.score(rows)
    debiased = again.objectives @ model.bundle.debias
    for column, objective in rewards.items():
        values = torch.tensor(list(table["rewards"][column]))
        expected = again.score if objective is None else debiased[:, objective]
        assert_close(values[there], expected, atol=1e-5, rtol=0)
        assert values.isnan().sum() == len(said) - len(there)
    for column, objective in extra.items():
        values = list(table["extra"][column])
        found = torch.tensor([values[i] for i in there])
        assert_close(found, again.objectives[:, objective], atol=1e-5, rtol=0)


def test_a_policy_is_trained_on_the_score(policy, loaded, tmp_path):
    model = Recorder(loaded)
    trainer = trained(policy, [reward_function(model, values="raw")], tmp_path)
    assert len(model.batches) == STEPS
    names, tables = expected(model, "raw")
    # Two batches of 4 are generated together and make one step.
    rewards = [float(found.score.mean()) for _, found in model.batches]
    assert logged(trainer, "rewards/armorm/mean") == pytest.approx(rewards, abs=1e-5)
    # Now and then a random policy says nothing: 8 completions a step, fewer scored.
    empty = [(8 - len(rows)) / 8 for rows, _ in model.batches]
    assert logged(trainer, "armorm/unscored") == empty
    for j, name in enumerate(names):
        means = [float(table[:, j].mean()) for table in tables]
        assert logged(trainer, f"armorm/{name}") == pytest.approx(means, abs=1e-5)
    check_table(trainer._logs, loaded, {"armorm": None}, extra={"armorm/honesty": 1})


def test_a_policy_is_trained_on_each_objective(policy, loaded, tmp_path):
    model = Recorder(loaded)
    functions = objective_reward_functions(model)
    weights = reward_weights(functions, {"honesty": 1.0, "is_safe": 2.0})
    trainer = trained(
        policy,
        functions,
        tmp_path,
        reward_weights=weights,
        multi_objective_aggregation="normalize_then_sum",
    )
    # One forward a step, not one an objective.
    assert len(model.batches) == STEPS
    names, tables = expected(model, "debiased")
    for j, name in enumerate(names):
        means = [float(table[:, j].mean()) for table in tables]
        assert logged(trainer, f"rewards/{name}/mean") == pytest.approx(means, abs=1e-5)
    scores = [float(found.score.mean()) for _, found in model.batches]
    assert logged(trainer, "armorm/score") == pytest.approx(scores, abs=1e-5)
    columns = {name: OBJECTIVES.index(name) for name in names}
    check_table(trainer._logs, loaded, columns, extra={})


def test_rloo_takes_the_same_function(policy, loaded, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    model = Recorder(loaded)
    trainer = trl.RLOOTrainer(
        model=str(policy),
        reward_funcs=reward_function(model),
        args=trl.RLOOConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            use_cpu=True,
            bf16=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["The sea is", "The egg is"] * 4}),
    )
    trainer.train()
    found = [e["rewards/armorm/mean"] for e in trainer.state.log_history if "reward" in e]
    means = [float(scores.score.mean()) for _, scores in model.batches]
    assert found == pytest.approx(means, abs=1e-5)


def test_two_processes_log_the_same_names_where_one_has_nothing_to_score(bundle, policy, tmp_path):
    pytest.importorskip("trl")
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*launcher, "--nproc-per-node=2", script, bundle, policy, tmp_path / "out"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    [line] = [text for text in done.stdout.splitlines() if text.startswith("LOGGED ")]
    steps = [entry for entry in json.loads(line[7:]) if "reward" in entry]
    assert len(steps) == 2
    for entry in steps:
        # Two rows of four have a score: those of the first process.
        assert entry["armorm/unscored"] == 0.5
        assert entry["rewards/honesty/mean"] is not None
        assert "armorm/helpfulness" in entry
