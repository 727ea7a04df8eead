"""Rewards for verl: `compute_score`, sync and async, and a reward manager that sees the prompt.

verl itself is not imported: it executes this file by its path, or imports the module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from armorm.errors import DataError, nearest
from armorm.integrations.rows import as_prompt, conversation_of
from armorm.integrations.settings import (
    cached_scorer,
    check_names,
    finite_number,
    scorer_from_environment,
    unscored_from_environment,
)
from armorm.integrations.shared import RowScorer
from armorm.types import Prompt

_RESERVED = {"score": "the reward", "armorm/unscored": "a count"}


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any = None,
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """Score one response; the prompt comes from `extra_info`, as verl does not pass it.

    Settings come from the environment (see `scorer_from_environment`), or from
    `reward.custom_reward_function.reward_kwargs`: `bundle`, `device`, `backbone`, `weights`
    (a mapping), `values`, `unscored`, and `prompt_key` (`prompt`), the key of `extra_info`
    that holds the prompt: text, or messages.

    Args:
        data_source: Not used.
        solution_str: The response, special tokens left out.
        ground_truth: Not used.
        extra_info: Of the row, with the prompt.
        **kwargs: The settings; `reward_router_address` and `reward_model_tokenizer`, which
            verl may add, are not used.

    Returns:
        `score` and the value of every objective, for `algorithm.gdpo_reward_keys`, and
        `armorm/unscored`, 1 where the response could not be scored; the same keys for every
        row.

    Raises:
        ValueError: no bundle is named; a setting that does not exist or cannot be read.
        DataError: `extra_info` holds no prompt; the response cannot be scored (it is empty or
            too long) and `unscored` is not given.
    """
    del data_source, ground_truth
    settings = _Settings(kwargs)
    prompt = settings.prompt(extra_info)
    return _score_one(settings.scorer(), prompt, solution_str, settings.unscored())


async def compute_score_async(
    data_source: str,
    solution_str: str,
    ground_truth: Any = None,
    extra_info: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> dict[str, float]:
    """As `compute_score`; rows that verl scores at the same time become one batch.

    Args:
        data_source: As there.
        solution_str: As there.
        ground_truth: As there.
        extra_info: As there.
        **kwargs: As there.

    Returns:
        As there.
    """
    return await asyncio.to_thread(
        compute_score, data_source, solution_str, ground_truth, extra_info, **kwargs
    )


class ArmormRewardManager:
    """A reward manager that takes prompt and response from verl's batch.

    For `reward.reward_manager.source=importlib`. It is no subclass of verl's own, which would
    need verl to be there, and takes the same arguments. Settings come from the environment.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Callable[..., Any] | None = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
    ) -> None:
        """Keep the tokenizer; the model is loaded with the first row.

        Args:
            config: Of the run; not used.
            tokenizer: Of the policy; decodes responses.
            compute_score: Not used: verl always passes one.
            reward_router_address: Not used.
            reward_model_tokenizer: Not used.
        """
        del config, compute_score, reward_router_address, reward_model_tokenizer
        self.tokenizer = tokenizer

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Score one sample; of several sequences of it, the last one.

        Args:
            data: A `DataProto`: `batch` with `responses` and `attention_mask`,
                `non_tensor_batch` with `raw_prompt`, the messages.

        Returns:
            `reward_score` and `reward_extra_info`, the latter with the keys of `compute_score`.

        Raises:
            DataError: there is no `raw_prompt`; the response cannot be scored and
                ARMORM_UNSCORED is not set.
        """
        return await asyncio.to_thread(self._score, data[-1:][0])

    def _score(self, item: Any) -> dict[str, Any]:
        """Score one item of a batch."""
        response = item.batch["responses"]
        mask = item.batch["attention_mask"][-response.shape[-1] :]
        text = self.tokenizer.decode(response[: int(mask.sum())], skip_special_tokens=True)
        if "raw_prompt" not in item.non_tensor_batch:
            raise DataError(
                "verl: `non_tensor_batch` must hold 'raw_prompt' (data.return_raw_chat=True in "
                f"older versions){nearest('raw_prompt', item.non_tensor_batch)}"
            )
        prompt = as_prompt(item.non_tensor_batch["raw_prompt"], where="verl: raw_prompt")
        found = _score_one(scorer_from_environment(), prompt, text, unscored_from_environment())
        return {"reward_score": found["score"], "reward_extra_info": found}


class _Settings:
    """What `reward_kwargs` say; no dataclass, as verl runs this file outside its package."""

    _KNOWN = ("bundle", "device", "backbone", "weights", "values", "unscored", "prompt_key")
    _FROM_VERL = ("reward_router_address", "reward_model_tokenizer")

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = {name: v for name, v in given.items() if name not in self._FROM_VERL}
        for name in self._given:
            if name not in self._KNOWN:
                raise ValueError(
                    f"`reward_kwargs`: unknown setting {name!r}{nearest(name, self._KNOWN)}"
                )

    def scorer(self) -> RowScorer:
        """The model that is named here or in the environment."""
        kept = {n: v for n, v in self._given.items() if n in self._KNOWN[:5] and v is not None}
        if "bundle" not in kept:
            if kept:
                raise ValueError(
                    f"`reward_kwargs`: {next(iter(kept))!r} needs 'bundle' beside it; without it "
                    "all settings come from the environment"
                )
            return scorer_from_environment()
        weights = kept.pop("weights", None)
        if weights is not None and not isinstance(weights, Mapping):
            raise ValueError(
                f"`reward_kwargs.weights` must be a mapping of name to number; got {weights!r}"
            )
        if weights is not None:
            kept["weights"] = tuple(
                (name, finite_number("reward_kwargs.weights", w)) for name, w in weights.items()
            )
        return cached_scorer(kept.pop("bundle"), **kept)

    def unscored(self) -> float | None:
        """Reward of a row that cannot be scored."""
        given = self._given.get("unscored")
        if given is None:
            return unscored_from_environment()
        return finite_number("reward_kwargs.unscored", given)

    def prompt(self, extra_info: Mapping[str, Any] | None) -> Prompt:
        """The prompt of a row."""
        key = self._given.get("prompt_key", "prompt")
        if extra_info is None or key not in extra_info:
            there = ", ".join(map(repr, extra_info or ())) or "nothing"
            raise DataError(
                f"verl: `extra_info` must hold the prompt under {key!r}; it holds {there}: write "
                "it there when the rows are made, or use `ArmormRewardManager`"
            )
        return as_prompt(extra_info[key], where=f"verl: extra_info[{key!r}]")


def _score_one(
    scorer: RowScorer, prompt: Prompt, response: str, unscored: float | None
) -> dict[str, float]:
    """Score one response with the keys that every row has."""
    found = scorer.score([conversation_of(prompt, response)])
    check_names(found.names, _RESERVED)
    whole = found.filled(unscored, "verl")
    score, [values] = whole.score[0], whole.values
    assert score is not None
    assert values is not None
    return {
        "score": score,
        **dict(zip(found.names, values, strict=True)),
        "armorm/unscored": float(found.reasons[0] is not None),
    }
