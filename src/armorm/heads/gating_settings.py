"""How a gating network is built and trained, checked when it is said."""

from __future__ import annotations

import math
from dataclasses import dataclass

INITIAL = ("uniform", "fixed_weights", "random")
"""The gatings that training can start at."""


@dataclass(frozen=True, slots=True)
class GatingSettings:
    """How a gating network is built and trained; the defaults are the paper's sizes."""

    hidden: tuple[int, ...] = (1024, 1024, 1024)
    """Width of each hidden layer; empty for a linear one."""
    temperature: float = 10.0
    """Divisor of the logits, above 0."""
    learning_rate: float = 1e-3
    """Of AdamW at the first step; it falls to 0 along a half cosine over `max_steps`."""
    weight_decay: float = 0.0
    """Of AdamW, on the layers and not on beta."""
    batch_size: int = 1024
    """Pairs a step; all of them, in order, when there are no more than this."""
    max_steps: int = 2000
    """Steps of the whole schedule (the paper: 10,000)."""
    eval_every: int = 20
    """Steps between two looks at the validation pairs."""
    patience: int = 20
    """Looks without a better validation loss after which training ends."""
    entropy_weight: float = 0.0
    """Reward, in nats of loss, for each nat of mean gating entropy; against collapse."""
    beta_init: float | None = None
    """First beta, above 0; None fits it to the initial gating."""
    initial: str = "uniform"
    """Gating before the first step: equal weights, given weights, or whatever random
    layers give, as published."""
    standardise: bool = True
    """True gives each prompt feature mean 0 and variance 1 over the training pairs."""
    masked: tuple[int, ...] = ()
    """Indices of objectives that get no weight, such as nuisances."""
    seed: int = 0
    """Of the layers and the order of the pairs."""

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("temperature", "learning_rate"):
            _check_setting(name, getattr(self, name), above=True)
        for name in ("weight_decay", "entropy_weight"):
            _check_setting(name, getattr(self, name), above=False)
        if self.beta_init is not None:
            _check_setting("beta_init", self.beta_init, above=True)
        for name in ("batch_size", "max_steps", "eval_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if self.hidden and min(self.hidden) < 1:
            raise ValueError(f"`hidden` must be widths of at least 1; got {self.hidden}")
        if self.initial not in INITIAL:
            raise ValueError(
                f"`initial` must be 'uniform', 'fixed_weights' or 'random'; got {self.initial!r}"
            )


def _check_setting(name: str, value: float, *, above: bool) -> None:
    """Check that a number is finite and above 0, or at least 0."""
    if not math.isfinite(value) or value < 0 or (above and value == 0):
        bound = "above 0" if above else "at least 0"
        raise ValueError(f"`{name}` must be {bound}; got {value:g}")
