"""The reward file of OpenRLHF: `--reward.remote_url <this file>`, set up by the environment.

OpenRLHF executes the file itself, outside its package, and calls `reward_func` in threads, one
sample at a time; the rows of all threads are scored together.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from armorm.data.chat_text import ResponseProblem, split_chat_text
from armorm.errors import DataError
from armorm.features.interface import Unused
from armorm.integrations.rows import EMPTY, conversation_of
from armorm.integrations.settings import scorer_from_environment, unscored_from_environment
from armorm.integrations.shared import LOGGER, Row, RowScorer
from armorm.types import Prompt


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **kwargs: Any
) -> dict[str, Any]:
    """Score what a policy answered.

    ARMORM_BUNDLE names the model; see `scorer_from_environment` for the others.
    ARMORM_UNSCORED is the reward of an empty or over-long response: OpenRLHF has no missing
    reward, and without the variable such a row is an error. ARMORM_SYSTEM=drop leaves out the
    system message, which some policy templates write by themselves. ARMORM_SCORES=raw makes
    `scores` equal to the rewards.

    Args:
        queries: n conversations in the policy's chat template, special tokens included.
        prompts: Their n prompts, in the same template.
        labels: Not used.
        **kwargs: Not used.

    Returns:
        `rewards` of shape (n,); `scores` of shape (n,) in 0..1: sigmoid(beta * reward), beta of
        the gating where the model weighs by one, else 1; `extra_logs`: every objective and
        `armorm/unscored`, each of shape (n,), the same names in every call.

    Raises:
        ValueError: a variable is missing or cannot be read.
        DataError: another number of prompts than of queries; a text is in no template that
            `parse_chat_text` knows; a row cannot be scored and ARMORM_UNSCORED is not set.
    """
    del labels, kwargs
    try:
        return _rewards(queries, prompts)
    except Exception as error:
        # OpenRLHF notes a failing reward function at level INFO and goes on without a reward.
        LOGGER.error("no rewards: %s", error)
        raise


def _rewards(queries: Sequence[str], prompts: Sequence[str]) -> dict[str, Any]:
    """As `reward_func`."""
    if len(queries) != len(prompts):
        raise DataError(
            f"reward_func: `prompts` must be as many as `queries`; got {len(prompts)} and "
            f"{len(queries)}"
        )
    scorer, unscored = scorer_from_environment(), unscored_from_environment()
    drop_system = _choice("ARMORM_SYSTEM", ("keep", "drop")) == "drop"
    as_raw = _choice("ARMORM_SCORES", ("sigmoid", "raw")) == "raw"
    rows = [_row(q, p, drop_system=drop_system) for q, p in zip(queries, prompts, strict=True)]
    raw = scorer.score(rows)
    found = raw.filled(unscored, "reward_func")
    rewards = torch.tensor(found.score, dtype=torch.float32)
    logs: dict[str, Tensor] = {
        name: torch.tensor(found.column(name), dtype=torch.float32) for name in found.names
    }
    logs["armorm/unscored"] = torch.tensor([float(r is not None) for r in raw.reasons])
    scores = rewards.clone() if as_raw else torch.sigmoid(_beta(scorer) * rewards)
    return {"rewards": rewards, "scores": scores, "extra_logs": logs}


def _row(query: str, prompt: str, *, drop_system: bool) -> Row:
    """The conversation of a query."""
    try:
        messages, response = split_chat_text(query, prompt)
    except ResponseProblem:
        return Unused("response that begins another message")
    kept: Prompt = tuple(m for m in messages if not (drop_system and m.role == "system"))
    if not kept or kept[-1].role != "user":
        raise DataError("reward_func: the prompt must end with a 'user' message; it has none")
    return conversation_of(kept, response) if response.strip() else Unused(EMPTY)


def _beta(scorer: RowScorer) -> float:
    """Steepness of the preference probability; 1 where none was learned for these scores."""
    if scorer.weights is not None:
        return 1.0
    bundle: Any = getattr(scorer.scorer(), "bundle", None)
    return float(getattr(bundle, "beta", None) or 1.0)


def _choice(variable: str, choices: tuple[str, str]) -> str:
    """The value of a variable, the first choice where it is not set."""
    found = os.environ.get(variable, "").strip() or choices[0]
    if found not in choices:
        raise ValueError(f"`{variable}` must be {choices[0]!r} or {choices[1]!r}; got {found!r}")
    return found
