"""A training of a gate in the middle, as tensors and facts that a caller can store."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

_SCHEMA = "armorm.gating-checkpoint/1"
_GROUPS = ("network", "moments", "best")


class GatingRecord(NamedTuple):
    """One look at a training."""

    step: int
    """Steps taken."""
    train_loss: float
    """Preference loss of the batch of that step, in nats, without the entropy term; at step 0
    of all training pairs, or of 16,384 drawn by the seed where there are more."""
    validation_loss: float
    """Preference loss of the validation pairs, at most `max_validation` of them, in nats; NaN
    where there are none."""
    validation_accuracy: float = math.nan
    """Share of the same pairs with a positive margin, a tie counting one half; NaN where there
    are none."""


@dataclass(frozen=True, slots=True)
class GatingCheckpoint:
    """All that a training needs to go on as if it had not stopped."""

    fingerprint: str
    """Digest of settings, sizes, scores and a few prompt features; a training goes on only from
    a checkpoint of its own."""
    step: int
    """Steps taken."""
    network: dict[str, Tensor]
    """State of the network after them, and `log_beta`."""
    moments: dict[str, Tensor]
    """Moments of AdamW: `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`; empty at step 0."""
    best: dict[str, Tensor]
    """State of the least validation loss so far, as `network`; empty before there is one."""
    best_loss: float
    """Its validation loss, in nats; infinite before there is one, NaN without pairs."""
    best_step: int
    """Steps after which it was taken."""
    history: tuple[GatingRecord, ...]
    """Looks so far."""

    def state(self) -> tuple[dict[str, Tensor], str]:
        """Give everything as named tensors and a header in JSON, for a file.

        Returns:
            Tensors by name, and the header; `from_state` makes the same checkpoint of them.
        """
        tensors = {
            f"{group}.{name}": value
            for group in _GROUPS
            for name, value in getattr(self, group).items()
        }
        header = {
            "schema": _SCHEMA,
            "fingerprint": self.fingerprint,
            "step": self.step,
            "best_loss": _written(self.best_loss),
            "best_step": self.best_step,
            "tensors": sorted(tensors),
            "history": [[record.step, *map(_written, record[1:])] for record in self.history],
        }
        return tensors, json.dumps(header)

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], header: str) -> GatingCheckpoint:
        """Make a checkpoint of what `state` gave.

        Args:
            tensors: Tensors by name.
            header: The header in JSON.

        Returns:
            The same checkpoint.

        Raises:
            ValueError: a header of another schema; a tensor that is absent.
        """
        facts = json.loads(header)
        if facts["schema"] != _SCHEMA:
            raise ValueError(f"a checkpoint must have schema {_SCHEMA}; got {facts['schema']!r}")
        absent = [name for name in facts["tensors"] if name not in tensors]
        if absent:
            raise ValueError(f"a checkpoint must have the tensor {absent[0]!r}; it is absent")
        groups: dict[str, dict[str, Tensor]] = {group: {} for group in _GROUPS}
        for full in facts["tensors"]:
            group, name = full.split(".", 1)
            groups[group][name] = tensors[full]
        return cls(
            fingerprint=facts["fingerprint"],
            step=facts["step"],
            best_loss=float(facts["best_loss"]),
            best_step=facts["best_step"],
            history=tuple(
                GatingRecord(step, *map(float, rest)) for step, *rest in facts["history"]
            ),
            **groups,
        )


@runtime_checkable
class GatingCheckpoints(Protocol):
    """Where a training leaves its checkpoints; it is the caller's, and so are its files."""

    @property
    def every(self) -> int:
        """Steps between two checkpoints; there is one at the end as well."""
        ...

    def load(self) -> GatingCheckpoint | None:
        """The last checkpoint, or None."""
        ...

    def save(self, checkpoint: GatingCheckpoint, /) -> None:
        """Keep a checkpoint in place of the one before; its tensors are copies."""
        ...


def _written(value: float) -> float | str:
    """A number as JSON has it: NaN and infinity are none of its numbers and become text."""
    return value if math.isfinite(value) else str(value)
