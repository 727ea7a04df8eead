"""Reward functions for TRL's GRPO and RLOO: one that scores, or one an objective on one forward.

TRL itself is not imported.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from armorm.errors import nearest
from armorm.integrations.rows import as_prompt, conversation_of
from armorm.integrations.settings import scorer_from_environment
from armorm.integrations.shared import Row, RowScorer, RowScores, Scorer

RewardFunction = Callable[..., list[float | None]]
"""What TRL calls, by keyword, with prompts, completions and the columns of the data set."""

_KEPT = 2  # batches: the one of this step, and the one of an evaluation between its calls


def reward_function(
    model: Scorer | str | os.PathLike[str],
    *,
    weights: Mapping[str, float] | None = None,
    values: str = "debiased",
    columns: Sequence[str] | None = None,
    device: str = "auto",
    backbone: str | None = None,
    name: str = "armorm",
) -> RewardFunction:
    """Return one reward function for `GRPOTrainer(reward_funcs=...)` and `RLOOTrainer`.

    It returns scores and logs the mean of every objective as `armorm/<objective>`, the share
    of rows without a score as `armorm/unscored`, and, in the completions table, the column
    `armorm/<objective>`. The score of an empty completion, or of one that is longer than the
    bundle takes, is None, which TRL leaves out.

    Args:
        model: A `RewardModel`, anything with its `objectives` and `score`, or the folder or
            hub id of a bundle, which is loaded at the first call.
        weights: Fixed weights on the raw objective scores; the score is then their sum.
        values: What is logged of an objective: `debiased` (nuisances left out) or `raw`.
        columns: Objectives that become columns of the completions table; None: all of them.
        device: Where a model that is loaded here runs; `auto`: the GPU of this rank.
        backbone: Where the backbone is, when not at the id that the bundle names.
        name: `__name__` of the function: TRL logs `rewards/<name>/mean`.

    Returns:
        The function.

    Raises:
        ValueError: as `RowScorer`; `columns` names something that has no value (at the first
            call, where the model is loaded then).
    """
    scorer = RowScorer(model, device=device, backbone=backbone, weights=weights, values=values)
    if not isinstance(model, str | os.PathLike):
        _check_known("columns", columns or (), scorer)
    return _scalar(scorer, columns, name)


def objective_reward_functions(
    model: Scorer | str | os.PathLike[str],
    objectives: Sequence[str] | None = None,
    *,
    values: str = "debiased",
    device: str = "auto",
    backbone: str | None = None,
    prefix: str = "",
) -> list[RewardFunction]:
    """Return one reward function an objective; a batch is scored once for all of them.

    For `GRPOConfig(multi_objective_aggregation="normalize_then_sum")` (GDPO, arXiv 2601.05242).
    TRL logs `rewards/<objective>/mean`; the first function logs the model's own score beside
    it, as `armorm/score`. A row without a score is None for every objective.

    Args:
        model: As in `reward_function`; a bundle is loaded at once where `objectives` is None.
        objectives: Names, in the order of the functions; None: all that have a value.
        values: `debiased`: after the debias step, where a nuisance has no value; `raw`: as the
            ridge head predicts, nuisances included: verbosity is then a reward like others,
            so give it a weight of 0 or below.
        device: As in `reward_function`.
        backbone: As in `reward_function`.
        prefix: Before every `__name__`, where other reward functions have the same names.

    Returns:
        The functions; `reward_weights` gives their weights.

    Raises:
        ValueError: as `RowScorer`; a name that has no value or is there twice; no name.
        BundleError: the bundle cannot be loaded.
    """
    scorer = RowScorer(model, device=device, backbone=backbone, values=values)
    names = tuple(scorer.names if objectives is None else objectives)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"`objectives` must be one or more different names; got {names}")
    if not isinstance(model, str | os.PathLike):
        _check_known("objectives", names, scorer)
    memo = _Memo(scorer)
    return [_one(memo, n, prefix + n, first=i == 0) for i, n in enumerate(names)]


def reward_weights(
    functions: Sequence[RewardFunction],
    weights: Mapping[str, float] | None = None,
    *,
    conversations: Sequence[Any] | None = None,
) -> list[float]:
    """Return `GRPOConfig(reward_weights=...)` in the order of the functions.

    Either weights by name, or the mean coefficients that the model gives to the objectives on
    conversations like those of the training: with `sum_then_normalize` the reward is then the
    score with its gating held at the mean. With `normalize_then_sum` TRL divides every
    objective by its spread within a group first, and the weights say how much each counts
    after that.

    Args:
        functions: What `objective_reward_functions` returned.
        weights: Objective -> weight; an objective that is not named has weight 0.
        conversations: As `RewardModel.score` takes them.

    Returns:
        One weight a function.

    Raises:
        ValueError: neither or both of `weights` and `conversations`; a function of another
            origin; a weight for something that is none of the objectives, or not finite; no
            conversations; debiased values of a model with fixed weights.
    """
    made = [getattr(f, "armorm_memo", None) for f in functions]
    if not functions or any(not isinstance(m, _Memo) or m is not made[0] for m in made):
        raise ValueError(
            "`functions` must be what one call of `objective_reward_functions` returned"
        )
    names = [str(getattr(f, "armorm_objective", "")) for f in functions]
    if (weights is None) == (conversations is None):
        raise ValueError("give one of `weights` and `conversations`")
    if weights is not None:
        for name, weight in weights.items():
            if name not in names:
                raise ValueError(f"`weights`: unknown objective {name!r}{nearest(name, names)}")
            if not math.isfinite(weight):
                raise ValueError(f"`weights` must be finite; got {weight!r} for {name!r}")
        return [float(weights.get(name, 0.0)) for name in names]
    memo = made[0]
    assert conversations is not None
    assert isinstance(memo, _Memo)
    means = _mean_coefficients(memo.scorer, conversations)
    return [means[name] for name in names]


def reward(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
) -> list[float | None]:
    """Score completions with the bundle that the environment names.

    For `trl grpo --reward_funcs armorm.integrations.trl.reward`; see `scorer_from_environment`
    for the variables.

    Args:
        prompts: n prompts.
        completions: n completions.
        **columns: What TRL adds.

    Returns:
        n scores, None for a completion that cannot be scored.

    Raises:
        ValueError: ARMORM_BUNDLE is not set; another variable cannot be read.
    """
    function = _scalar(scorer_from_environment(), None, "armorm")
    return function(prompts=prompts, completions=completions, **columns)


class _Memo:
    """Scores of the last batches, so that K functions run the model once; safe in threads."""

    def __init__(self, scorer: RowScorer) -> None:
        self.scorer = scorer
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Row, ...], RowScores] = OrderedDict()

    def score(self, rows: Sequence[Row]) -> RowScores:
        """Score rows, or look up what they scored: the key is their whole text."""
        key = tuple(rows)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self.scorer.score(rows)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def _scalar(scorer: RowScorer, columns: Sequence[str] | None, name: str) -> RewardFunction:
    """The function that returns scores."""

    def function(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Any = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **unused: Any,
    ) -> list[float | None]:
        """Score completions; see `reward_function`."""
        del completion_ids, trainer_state, unused
        found = scorer.score(_rows(prompts, completions))
        shown = found.names if columns is None else columns
        _check_known("columns", shown, scorer)
        if log_metric is not None:
            for objective in found.names:
                log_metric(f"armorm/{objective}", _mean(found.column(objective)))
            log_metric("armorm/unscored", _share(found.reasons))
        if log_extra is not None:
            for objective in shown:
                log_extra(f"armorm/{objective}", found.column(objective))
        return list(found.score)

    return _named(function, name)


def _one(memo: _Memo, objective: str, name: str, *, first: bool) -> RewardFunction:
    """The function of one objective."""

    def function(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Any = None,
        trainer_state: Any = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **unused: Any,
    ) -> list[float | None]:
        """Return the values of one objective; see `objective_reward_functions`."""
        del completion_ids, trainer_state, unused
        _check_known("objectives", (objective,), memo.scorer)
        found = memo.score(_rows(prompts, completions))
        if first and log_metric is not None:
            log_metric("armorm/score", _mean(found.score))
            log_metric("armorm/unscored", _share(found.reasons))
        if first and log_extra is not None:
            log_extra("armorm/score", list(found.score))
        return found.column(objective)

    function = _named(function, name)
    vars(function).update(armorm_memo=memo, armorm_objective=objective)
    return function


def _named(function: RewardFunction, name: str) -> RewardFunction:
    """Give a function the name that TRL shows."""
    function.__name__ = function.__qualname__ = name
    return function


def _rows(prompts: Sequence[Any], completions: Sequence[Any]) -> list[Row]:
    """Conversations of a batch; prompts repeat, and each is read once."""
    known: dict[int, Any] = {}
    rows: list[Row] = []
    prompts = list(prompts)  # kept, as a column that makes its rows anew gives ids out twice
    for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        if id(prompt) not in known:
            known[id(prompt)] = as_prompt(prompt, where=f"prompts[{i}]")
        rows.append(conversation_of(known[id(prompt)], completion))
    return rows


def _mean(values: Sequence[float | None]) -> float:
    """Mean of what is there; NaN of nothing, as every rank must log the same names."""
    there = [v for v in values if v is not None]
    return sum(there) / len(there) if there else math.nan


def _share(reasons: Sequence[str | None]) -> float:
    """Share of rows without a score; unlike their number it has a mean over ranks."""
    return sum(r is not None for r in reasons) / max(len(reasons), 1)


def _mean_coefficients(scorer: RowScorer, conversations: Sequence[Any]) -> dict[str, float]:
    """By how much the score moves with the value of each objective, on average."""
    found = scorer.scorer().score(list(conversations))
    if not len(found):
        raise ValueError("`conversations` must be at least one; got none")
    if scorer.values == "raw":
        return dict(zip(found.names, found.coefficients.mean(dim=0).tolist(), strict=True))
    if found.gating is None:
        raise ValueError(
            "a model with fixed weights weighs the raw objective scores; use `values` = 'raw'"
        )
    bundle: Any = getattr(scorer.scorer(), "bundle", None)
    means = found.gating.mean(dim=0) * bundle.score_scale
    return dict(zip(found.names, means.tolist(), strict=True))


def _check_known(argument: str, names: Sequence[str], scorer: RowScorer) -> None:
    """Raise for a name that has no value."""
    for name in names:
        if name not in scorer.names:
            kind = "a nuisance" if name in scorer.scorer().objectives else "unknown"
            hint = (
                ": the debias step leaves nothing of it; use `values` = 'raw'"
                if kind == "a nuisance"
                else nearest(name, scorer.names)
            )
            raise ValueError(f"`{argument}`: {name!r} is {kind}{hint}")
