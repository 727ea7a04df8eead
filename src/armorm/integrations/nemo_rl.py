"""The environment of NeMo-RL: rewards of a batch of message logs, one or one an objective.

Ray and nemo_rl are imported where their objects are made, and only there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from armorm.data.chat_text import is_chat_text
from armorm.errors import ArmormError, DataError, MissingDependency, nearest
from armorm.features.interface import Unused
from armorm.integrations.rows import EMPTY, as_messages, as_prompt, conversation_of
from armorm.integrations.settings import finite_number
from armorm.integrations.shared import Row, RowScorer

NAME = "armorm.integrations.nemo_rl.RewardEnvironment"
"""What `register_env` is given: a Ray actor of `ObjectiveEnvironment`."""

_SETTINGS = ("bundle", "device", "backbone", "weights", "values", "objectives", "unscored")


class MissingNemoRL(MissingDependency):
    """Ray or nemo_rl are not there; no extra of ours brings them."""

    def __init__(self) -> None:
        """Say where they come from."""
        ArmormError.__init__(
            self,
            "an environment of NeMo-RL needs ray and nemo_rl, which come with NeMo-RL's own "
            "installation; run it there, with armorm installed beside them",
        )


class StepReturn(NamedTuple):
    """What a step returns: the fields of NeMo-RL's `EnvironmentReturn`, in its order."""

    observations: list[dict[str, str]]
    """n messages of the environment; they end the conversation."""
    metadata: list[Any]
    """n entries, as they were given."""
    next_stop_strings: list[None]
    """None for each: there is no next turn."""
    rewards: Tensor | dict[str, Tensor]
    """Shape (n,), or one of that shape an objective."""
    terminateds: Tensor
    """Shape (n,), all true."""
    answers: list[str | None] | None
    """n responses."""


class ObjectiveEnvironment:
    """Scores message logs; `register` makes it known to NeMo-RL as a Ray actor."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the settings; the model is loaded with the first step.

        Args:
            config: `bundle` (folder or hub id, or a scorer), and perhaps `device`, `backbone`,
                `weights`, `values` (`debiased` or `raw`), `objectives`: true for one reward an
                objective, a list for some of them, false (the default) for the score alone;
                `unscored`: the reward of a row that cannot be scored.

        Raises:
            ValueError: no `bundle`; a setting that does not exist or cannot be read; as
                `RowScorer`.
        """
        known = {name: v for name, v in config.items() if name in _SETTINGS}
        for name in config:
            # NeMo-RL adds its own entries (`enabled`, `num_workers`); a near miss is a mistake.
            if name not in _SETTINGS and nearest(name, _SETTINGS).startswith("; did"):
                raise ValueError(
                    f"`env.armorm`: unknown setting {name!r}{nearest(name, _SETTINGS)}"
                )
        if not known.get("bundle"):
            raise ValueError("`env.armorm.bundle` must be the folder or hub id of a bundle")
        unscored = known.get("unscored")
        self._unscored = (
            None if unscored is None else finite_number("env.armorm.unscored", unscored)
        )
        self._objectives = known.get("objectives", False)
        if isinstance(self._objectives, str) or self._objectives in ([], ()):
            raise ValueError(
                "`env.armorm.objectives` must be true, false or a list of names; got "
                f"{self._objectives!r}"
            )
        self._scorer = RowScorer(
            known["bundle"],
            device=known.get("device") or "auto",
            backbone=known.get("backbone"),
            weights=known.get("weights"),
            values=known.get("values") or "debiased",
        )

    def step(
        self, message_log_batch: Sequence[Sequence[Mapping[str, Any]]], metadata: Sequence[Any]
    ) -> Any:
        """Score n message logs; every one of them ends here.

        Args:
            message_log_batch: n lists of messages that end in the response. A first message
                that holds the rendered prompt, as NeMo-RL's processors leave it, is parsed.
            metadata: n entries; returned as they are.

        Returns:
            An `EnvironmentReturn` where nemo_rl is there, else a `StepReturn`: rewards of
            shape (n,), or a mapping from objective to such a tensor.

        Raises:
            DataError: a log has no prompt; a row cannot be scored and `unscored` is not set.
            ValueError: an objective that has no value.
        """
        rows = [_row(log, f"message_log_batch[{i}]") for i, log in enumerate(message_log_batch)]
        raw = self._scorer.score(rows)
        found = raw.filled(self._unscored, "step")
        names = self._names(found.names)
        rewards: Tensor | dict[str, Tensor]
        if names is None:
            rewards = torch.tensor(found.score, dtype=torch.float32)
        else:
            rewards = {n: torch.tensor(found.column(n), dtype=torch.float32) for n in names}
        said = [
            {"role": "environment", "content": f"Environment: score {score:.4f}"}
            for score in found.score
        ]
        answers = [row.response if not isinstance(row, Unused) else None for row in rows]
        done = torch.ones(len(rows), dtype=torch.bool)
        stops: list[None] = [None] * len(rows)
        return _return_type()(said, list(metadata), stops, rewards, done, answers)

    def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
        """Leave a batch as it is, and say how its rewards are.

        Args:
            batch: A mapping; `rewards` or `total_reward`, where it has one, is a tensor of
                shape (n,) or a mapping of such.

        Returns:
            The batch; mean, standard deviation (of the sample; NaN for one row), least and
            largest reward, by objective where there are several, and the number of rows that
            could not be scored since the start.
        """
        metrics: dict[str, float] = {"armorm/unscored": float(self._scorer.unused.total())}
        rewards = batch.get("rewards", batch.get("total_reward"))
        parts = rewards if isinstance(rewards, Mapping) else {"reward": rewards}
        for name, values in parts.items():
            if isinstance(values, Tensor) and values.numel():
                spread = float(values.float().std()) if values.numel() > 1 else math.nan
                metrics |= {
                    f"armorm/{name}/mean": float(values.float().mean()),
                    f"armorm/{name}/std": spread,
                    f"armorm/{name}/min": float(values.min()),
                    f"armorm/{name}/max": float(values.max()),
                }
        return batch, metrics

    def shutdown(self) -> None:
        """Do nothing: there is no worker group to end."""

    def _names(self, known: tuple[str, ...]) -> tuple[str, ...] | None:
        """The objectives that become rewards; None for the score alone."""
        if isinstance(self._objectives, bool) or self._objectives is None:
            return known if self._objectives else None
        for name in self._objectives:
            if name not in known:
                raise ValueError(f"`objectives`: {name!r} has no value{nearest(name, known)}")
        return tuple(self._objectives)


def register(name: str = "armorm") -> None:
    """Make the environment known to NeMo-RL, before its run is set up.

    Args:
        name: Under which the configuration (`env.<name>`) and the rows (`task_name`) refer to it.

    Raises:
        MissingDependency: Ray or nemo_rl are not installed.
    """
    try:
        from nemo_rl.distributed import (  # pyright: ignore[reportMissingImports]
            ray_actor_environment_registry as registry,
        )
        from nemo_rl.distributed.virtual_cluster import (  # pyright: ignore[reportMissingImports]
            PY_EXECUTABLES,
        )
        from nemo_rl.environments.utils import (  # pyright: ignore[reportMissingImports]
            register_env,
        )
    except ImportError as error:
        raise MissingNemoRL from error
    # armorm is not in the environments that NeMo-RL builds for its own actors.
    registry.ACTOR_ENVIRONMENT_REGISTRY.setdefault(NAME, PY_EXECUTABLES.SYSTEM)
    register_env(name, NAME)


def __getattr__(name: str) -> Any:
    """Make the Ray actor when it is asked for."""
    if name != "RewardEnvironment":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingNemoRL from error
    return ray.remote(ObjectiveEnvironment)


def _return_type() -> type[Any]:
    """NeMo-RL's own type where it is there."""
    try:
        from nemo_rl.environments.interfaces import (  # pyright: ignore[reportMissingImports]
            EnvironmentReturn,
        )
    except ImportError:
        return StepReturn
    return EnvironmentReturn


def _row(log: Sequence[Mapping[str, Any]], where: str) -> Row:
    """The conversation of a message log."""
    messages = as_messages(log, where=where)
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise DataError(f"{where}: must be a prompt and a response; got {len(messages)} messages")
    before = messages[:-1]
    rendered = is_chat_text(before[0]["content"])
    prompt = as_prompt("".join(m["content"] for m in before) if rendered else before, where=where)
    response = messages[-1]["content"]
    return conversation_of(prompt, response) if response.strip() else Unused(EMPTY)
