"""The reward function of slime: `--custom-rm-path armorm.integrations.slime.reward`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from armorm.features.interface import Unused
from armorm.integrations.rows import EMPTY, as_prompt, conversation_of
from armorm.integrations.settings import (
    check_names,
    scorer_from_environment,
    unscored_from_environment,
)
from armorm.integrations.shared import Row

_RESERVED = {"score": "the reward"}


async def reward(args: Any, sample: Any, **kwargs: Any) -> Any:
    """Score one sample, or the samples of a group under `--group-rm`.

    ARMORM_BUNDLE names the model; see `scorer_from_environment` for the other variables, and
    ARMORM_UNSCORED for responses that cannot be scored.

    Args:
        args: Of the run. `reward_key` makes the reward a mapping.
        sample: With `prompt` (text, rendered or plain, or messages) and `response`; or a list
            of samples.
        **kwargs: Not used.

    Returns:
        The score; with `--reward-key`, a mapping of `score` and every objective. A list of
        them for a list.

    Raises:
        ValueError: a variable is missing or cannot be read.
        DataError: a prompt cannot be read; a row cannot be scored and ARMORM_UNSCORED is not
            set.
    """
    del kwargs
    many = isinstance(sample, list | tuple)
    samples = list(sample) if many else [sample]
    found = await asyncio.to_thread(_score, samples, bool(getattr(args, "reward_key", None)))
    return found if many else found[0]


def _score(samples: Sequence[Any], named: bool) -> list[Any]:
    """Score samples in one batch."""
    raw = scorer_from_environment().score([_row(s) for s in samples])
    found = raw.filled(unscored_from_environment(), "slime")
    if not named:
        return list(found.score)
    check_names(found.names, _RESERVED)
    return [
        {"score": score, **dict(zip(found.names, values or (), strict=True))}
        for score, values in zip(found.score, found.values, strict=True)
    ]


def _row(sample: Any) -> Row:
    """The conversation of a sample."""
    prompt = as_prompt(sample.prompt, where="slime: sample.prompt")
    response = str(sample.response or "")
    return conversation_of(prompt, response) if response.strip() else Unused(EMPTY)
