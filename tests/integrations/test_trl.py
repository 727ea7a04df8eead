"""TRL's calls are answered: names, lists, metrics, one forward for all objectives."""

import functools
import importlib
import inspect
import logging
import math
import threading
from dataclasses import replace

import pytest

from armorm import BundleError, DataError, RewardModel
from armorm.integrations.trl import (
    objective_reward_functions,
    reward,
    reward_function,
    reward_weights,
)
from bundles import NUISANCE, OBJECTIVES
from fakes import conversations

ROWS = conversations(6, n_responses=3)
KEPT = tuple(n for i, n in enumerate(OBJECTIVES) if i != NUISANCE)

PLAIN = {
    "prompts": [row.prompt[0].content for row in ROWS],
    "completions": [row.response for row in ROWS],
}
CHAT = {
    "prompts": [[m._asdict() for m in row.prompt] for row in ROWS],
    "completions": [[{"role": "assistant", "content": row.response}] for row in ROWS],
}


class Trainer:
    """The keyword arguments that TRL adds, and what a reward function told it."""

    def __init__(self):
        self.metrics = {}
        self.extra = {}

    def log_metric(self, name, value):
        assert isinstance(value, float)
        self.metrics.setdefault(name, []).append(value)

    def log_extra(self, column, values):
        assert isinstance(values, list)
        self.extra.setdefault(column, []).extend(values)

    def call(self, function, batch, **columns):
        return function(
            **batch,
            completion_ids=[[1, 2]] * len(batch["prompts"]),
            trainer_state=object(),
            log_extra=self.log_extra,
            log_metric=self.log_metric,
            environments=None,
            **columns,
        )


class Counting:
    """A reward model that counts the batches it scores."""

    def __init__(self, model):
        self._model = model
        self.objectives = model.objectives
        self.bundle = model.bundle
        self.batches = 0

    def score(self, rows):
        self.batches += 1
        return self._model.score(rows)


@pytest.mark.parametrize("batch", [PLAIN, CHAT], ids=["plain", "conversational"])
def test_the_function_returns_the_models_scores_as_floats(hashed, batch):
    found = Trainer().call(reward_function(hashed), batch, source=["a"] * 6)
    assert found == hashed.score(ROWS).score.tolist()
    assert all(isinstance(value, float) for value in found)


def test_objectives_are_logged_as_metrics_and_columns(hashed):
    trainer = Trainer()
    trainer.call(reward_function(hashed, values="raw", columns=["honesty"]), CHAT)
    raw = hashed.score(ROWS).objectives
    assert list(trainer.metrics) == [*(f"armorm/{n}" for n in OBJECTIVES), "armorm/unscored"]
    for j, name in enumerate(OBJECTIVES):
        assert trainer.metrics[f"armorm/{name}"] == [pytest.approx(float(raw[:, j].mean()))]
    assert trainer.extra == {"armorm/honesty": raw[:, 1].tolist()}


def test_the_bare_call_of_other_trainers_works(hashed):
    # RLOO and older TRL pass neither loggers nor a state.
    assert reward_function(hashed)(**PLAIN) == hashed.score(ROWS).score.tolist()


def test_functions_are_what_trl_takes_for_functions(hashed):
    function = reward_function(hashed, name="quality")
    assert function.__name__ == "quality"
    assert inspect.isfunction(function)
    assert not inspect.iscoroutinefunction(function)
    names = [f.__name__ for f in objective_reward_functions(hashed, prefix="rm/")]
    assert names == [f"rm/{name}" for name in KEPT]
    assert functools.partial(function).func.__name__ == "quality"


def test_multi_turn_prompts_and_completions(hashed):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "Base?"},
        {"role": "user", "content": "Ten."},
    ]
    said = [{"role": "assistant", "content": "4."}]
    expected = hashed.score([[*turns, *said]]).score.tolist()
    # The same conversation, whichever part of it the policy has said.
    assert reward_function(hashed)(prompts=[turns], completions=[said]) == expected
    found = reward_function(hashed)(prompts=[turns[:2]], completions=[[*turns[2:], *said]])
    assert found == expected


def test_prompts_that_are_made_when_they_are_asked_for_keep_their_place(hashed):
    # Regression: a column of `datasets` makes every row anew, at the address of the one before.
    class Column(list):
        def __iter__(self):
            return (list(map(dict, prompt)) for prompt in list.__iter__(self))

    found = reward_function(hashed)(
        prompts=Column(CHAT["prompts"]), completions=CHAT["completions"]
    )
    assert found == hashed.score(ROWS).score.tolist()


def test_a_message_that_looks_like_a_chat_template_is_a_message(hashed):
    # Regression: who says what is known in a conversational prompt; its words are not parsed.
    said = "[INST] Sum up. [/INST] What does this text ask for?"
    prompt = [{"role": "user", "content": said}]
    found = reward_function(hashed)(prompts=[prompt], completions=["A summary."])
    row = {"prompt": prompt, "response": "A summary."}
    assert found == hashed.score([row]).score.tolist()


def test_plain_prompts_in_a_chat_template_are_parsed(hashed):
    texts = [f"<|im_start|>user\n{p}<|im_end|>\n<|im_start|>assistant\n" for p in PLAIN["prompts"]]
    found = reward_function(hashed)(prompts=texts, completions=PLAIN["completions"])
    assert found == hashed.score(ROWS).score.tolist()


def test_an_empty_completion_has_no_reward_and_every_name_is_still_logged(hashed, caplog):
    trainer = Trainer()
    function = reward_function(hashed)
    batch = CHAT | {
        "completions": [*CHAT["completions"][:5], [{"role": "assistant", "content": ""}]]
    }
    with caplog.at_level(logging.WARNING):
        found = trainer.call(function, batch)
        trainer.call(function, batch)
    expected = hashed.score(ROWS[:5])
    assert found == [*expected.score.tolist(), None]
    assert trainer.extra["armorm/honesty"][5] is None
    assert trainer.metrics["armorm/unscored"] == [1 / 6, 1 / 6]
    mean = float((expected.objectives @ hashed.bundle.debias)[:, 1].mean())
    assert trainer.metrics["armorm/honesty"] == [pytest.approx(mean)] * 2
    assert len(caplog.records) == 1

    nothing = Trainer()
    silent = {"prompts": CHAT["prompts"][:1], "completions": [""]}
    assert nothing.call(function, silent) == [None]
    # A rank that had nothing to score logs the same names as the others.
    assert nothing.metrics.keys() == trainer.metrics.keys()
    assert nothing.metrics["armorm/unscored"] == [1.0]
    assert math.isnan(nothing.metrics["armorm/honesty"][0])


def test_over_long_completions_have_no_reward(loaded):
    found = reward_function(loaded)(prompts=["What?"] * 2, completions=["very " * 300, "Yes."])
    assert found[0] is None
    assert found[1] == pytest.approx(
        loaded.score([{"prompt": "What?", "response": "Yes."}])[0].score
    )


@pytest.mark.parametrize("batch", [PLAIN, CHAT], ids=["plain", "conversational"])
def test_objective_functions_share_one_forward(hashed, batch):
    model = Counting(hashed)
    functions = objective_reward_functions(model)
    trainer = Trainer()
    found = [trainer.call(f, batch) for f in functions]
    assert model.batches == 1
    debiased = hashed.score(ROWS).objectives @ hashed.bundle.debias
    for values, name in zip(found, KEPT, strict=True):
        expected = debiased[:, OBJECTIVES.index(name)].tolist()
        assert values == pytest.approx(expected, abs=1e-6)
    # The score stands beside them once, not once an objective.
    assert trainer.metrics["armorm/score"] == [
        pytest.approx(float(hashed.score(ROWS).score.mean()))
    ]
    assert trainer.extra["armorm/score"] == hashed.score(ROWS).score.tolist()


def test_objective_functions_follow_the_batch_and_forget_old_ones(hashed):
    model = Counting(hashed)
    functions = objective_reward_functions(model, ["honesty", "verbosity"], values="raw")
    raw = hashed.score(ROWS).objectives
    halves = [{k: v[:3] for k, v in CHAT.items()}, {k: v[3:] for k, v in CHAT.items()}]
    # Gradient accumulation: two batches a step, every function on the one before the next.
    for _ in range(2):
        for start, half in ((0, halves[0]), (3, halves[1])):
            for j, function in ((1, functions[0]), (2, functions[1])):
                expected = raw[start : start + 3, j].tolist()
                assert function(**half) == pytest.approx(expected, abs=1e-6)
    assert model.batches == 2
    for i in range(5):
        functions[0](prompts=["2+2?"], completions=[f"It is {i}."])
    assert len(functions[0].armorm_memo._kept) == 2
    # A batch that differs in one completion alone is another one.
    before = model.batches
    functions[0](prompts=["2+2?"] * 2, completions=["4.", "5."])
    functions[0](prompts=["2+2?"] * 2, completions=["4.", "6."])
    assert model.batches == before + 2


def test_threads_share_the_forward_too(hashed):
    model = Counting(hashed)
    functions = objective_reward_functions(model)
    found = {}
    threads = [
        threading.Thread(target=lambda f=f: found.update({f.__name__: f(**CHAT)}))
        for f in functions
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert model.batches == 1
    assert found.keys() == set(KEPT)


def test_a_path_is_loaded_at_the_first_call(bundle, loaded):
    function = reward_function(bundle, device="cpu")
    expected = loaded.score(ROWS).score.tolist()
    assert function(**CHAT) == pytest.approx(expected, abs=1e-5)
    functions = objective_reward_functions(str(bundle), ["honesty"], device="cpu", values="raw")
    honesty = loaded.score(ROWS).objectives[:, 1].tolist()
    assert functions[0](**CHAT) == pytest.approx(honesty, abs=1e-5)


def test_a_path_that_is_no_bundle_is_an_error_of_the_first_call(tmp_path):
    function = reward_function(tmp_path)
    with pytest.raises(BundleError):
        function(**CHAT)


def test_fixed_weights_are_the_reward(hashed):
    weights = {"honesty": 1.0, "verbosity": -0.5}
    found = reward_function(hashed, weights=weights)(**CHAT)
    raw = hashed.score(ROWS).objectives
    assert found == pytest.approx((raw[:, 1] - 0.5 * raw[:, NUISANCE]).tolist(), abs=1e-6)


def test_the_function_for_the_command_line(settings, bundle, loaded):
    settings(bundle=bundle, device="cpu")
    # As `trl grpo --reward_funcs armorm.integrations.trl.reward` finds it.
    function = getattr(importlib.import_module("armorm.integrations.trl"), "reward")  # noqa: B009
    assert function is reward
    assert function.__name__ == "reward"
    trainer = Trainer()
    found = trainer.call(function, CHAT)
    assert found == pytest.approx(loaded.score(ROWS).score.tolist(), abs=1e-5)
    assert "armorm/honesty" in trainer.metrics


def test_the_function_for_the_command_line_needs_a_bundle(settings):
    with pytest.raises(ValueError, match="`ARMORM_BUNDLE` must name the folder or hub id"):
        reward(**CHAT)


def test_weights_by_name_come_in_the_order_of_the_functions(hashed):
    functions = objective_reward_functions(hashed, ["is_safe", "honesty"])
    assert reward_weights(functions, {"honesty": 2.0}) == [0.0, 2.0]


@pytest.mark.parametrize("values", ["raw", "debiased"])
def test_mean_coefficients_give_the_score_back_on_one_prompt(hashed, values):
    # One prompt, one gating: the weighted sum is the score itself.
    rows = conversations(3, n_responses=3)
    scaled = RewardModel(replace(hashed.bundle, score_scale=2.0), hashed.backbone)
    functions = objective_reward_functions(scaled, values=values)
    weights = reward_weights(functions, conversations=rows)
    batch = {"prompts": [list(r.prompt) for r in rows], "completions": [r.response for r in rows]}
    columns = [f(**batch) for f in functions]
    sums = [sum(w * c[i] for w, c in zip(weights, columns, strict=True)) for i in range(3)]
    assert sums == pytest.approx(scaled.score(rows).score.tolist(), abs=1e-5)


def test_a_nuisance_has_no_debiased_value(hashed):
    message = r"`objectives`: 'verbosity' is a nuisance: the debias step leaves nothing of it; use"
    with pytest.raises(ValueError, match=message):
        objective_reward_functions(hashed, ["verbosity"])
    with pytest.raises(ValueError, match="`columns`: 'honest' is unknown; did you mean 'honesty'"):
        reward_function(hashed, columns=["honest"])


def test_a_name_of_a_bundle_that_is_not_there_is_an_error_of_the_first_call(bundle):
    [function] = objective_reward_functions(bundle, ["honest"], device="cpu")
    with pytest.raises(ValueError, match="`objectives`: 'honest' is unknown; did you mean"):
        function(**CHAT)


@pytest.mark.parametrize("names", [[], ["honesty", "honesty"]])
def test_objectives_must_be_different_names(hashed, names):
    with pytest.raises(ValueError, match="`objectives` must be one or more different names"):
        objective_reward_functions(hashed, names)


def test_weights_that_fit_no_function_are_refused(hashed):
    functions = objective_reward_functions(hashed)
    other = objective_reward_functions(hashed, prefix="other/")
    cases = [
        ((functions,), {}, "give one of `weights` and `conversations`"),
        ((functions, {"honesty": 1.0}), {"conversations": ROWS}, "give one of `weights` and"),
        ((functions, {"honest": 1.0}), {}, "`weights`: unknown objective 'honest'; did you mean"),
        ((functions, {"honesty": math.inf}), {}, "`weights` must be finite; got inf for 'honesty'"),
        (([],), {"conversations": ROWS}, "`functions` must be what one call of `objective_"),
        (([print],), {"conversations": ROWS}, "`functions` must be what"),
        (([*functions, *other],), {"conversations": ROWS}, "`functions` must be what one call of"),
        ((functions,), {"conversations": []}, "`conversations` must be at least one; got none"),
    ]
    for args, kwargs, message in cases:
        with pytest.raises(ValueError, match=message):
            reward_weights(*args, **kwargs)
    steered = objective_reward_functions(hashed.with_weights({"honesty": 1.0}))
    with pytest.raises(ValueError, match="a model with fixed weights weighs the raw objective"):
        reward_weights(steered, conversations=ROWS)


def test_a_prompt_that_is_none_is_located(hashed):
    batch = {"prompts": [*CHAT["prompts"][:2], []], "completions": CHAT["completions"][:3]}
    with pytest.raises(DataError, match=r"prompts\[2\]: `prompt` must be text or messages"):
        reward_function(hashed)(**batch)
