"""How a gating network is built and trained, checked when it is said."""

from __future__ import annotations

import math
from dataclasses import dataclass

INITIAL = ("uniform", "fixed_weights", "random")
"""The gatings that training can start at."""

PRECISIONS = ("float32", "bfloat16")
"""The number formats that the hidden layers can be multiplied in."""


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
    dropout: float = 0.0
    """Share of the hidden units that a step leaves out, from 0 to below 1, the same ones for all of
    its pairs; against fitting the pairs of many passes by heart (the published script: 0.2, drawn
    anew for every response)."""
    beta_init: float | None = None
    """First beta, above 0; None fits it to the initial gating."""
    initial: str = "uniform"
    """Gating before the first step: equal weights, given weights, or whatever random
    layers give, as published."""
    standardise: bool = True
    """True gives each prompt feature mean 0 and variance 1 over the training pairs."""
    masked: tuple[int, ...] = ()
    """Indices of objectives that get no weight, such as nuisances."""
    precision: str = "float32"
    """Of the products of the hidden layers while training. 'bfloat16' rounds their factors to 8
    bits and adds in float32; weights, AdamW, the last layer, softmax and loss stay in float32.
    About twice as fast where the processor multiplies bfloat16, and slower where it does not."""
    max_validation: int = 16_384
    """Most validation pairs at one look, drawn once by the seed; the figures of the state that
    is kept are of all of them."""
    seed: int = 0
    """Of the layers, the order of the pairs and what is drawn from them."""

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("temperature", "learning_rate"):
            _check_setting(name, getattr(self, name), above=True)
        for name in ("weight_decay", "entropy_weight"):
            _check_setting(name, getattr(self, name), above=False)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be from 0 to below 1; got {self.dropout:g}")
        if self.beta_init is not None:
            _check_setting("beta_init", self.beta_init, above=True)
        for name in ("batch_size", "max_steps", "eval_every", "patience", "max_validation"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if self.hidden and min(self.hidden) < 1:
            raise ValueError(f"`hidden` must be widths of at least 1; got {self.hidden}")
        if self.initial not in INITIAL:
            raise ValueError(
                f"`initial` must be 'uniform', 'fixed_weights' or 'random'; got {self.initial!r}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"`precision` must be 'float32' or 'bfloat16'; got {self.precision!r}")


def _check_setting(name: str, value: float, *, above: bool) -> None:
    """Check that a number is finite and above 0, or at least 0."""
    if not math.isfinite(value) or value < 0 or (above and value == 0):
        bound = "above 0" if above else "at least 0"
        raise ValueError(f"`{name}` must be {bound}; got {value:g}")
