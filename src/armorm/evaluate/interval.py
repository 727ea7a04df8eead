"""A figure with its interval, and the two closed forms for where resampling says too little."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from scipy import stats

FEWEST_GROUPS = 20
"""Prompts below which no interval is given: it would claim more than is known."""


def _null_to_nan(value: object) -> object:
    """JSON has no NaN; null is what a report holds instead."""
    return math.nan if value is None else value


def _nan_to_null(value: float) -> float | None:
    """The inverse of `_null_to_nan`; infinite values do not occur in figures."""
    return value if math.isfinite(value) else None


Number = Annotated[
    float,
    BeforeValidator(_null_to_nan),
    PlainSerializer(_nan_to_null, return_type=float | None),
]
"""A float whose NaN is null in JSON."""


class Frozen(BaseModel):
    """Base of everything a report holds: immutable, no unknown keys, strict about types."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Interval(Frozen):
    """A figure and the values it is compatible with."""

    value: Number
    """The figure on the rows as they are; NaN where it is undefined."""
    low: Number
    """Lower end; NaN without an interval."""
    high: Number
    """Upper end; NaN without an interval."""
    n_rows: int
    """Rows or pairs the figure rests on."""
    n_groups: int
    """Prompts these rows belong to; the independent draws."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Share of such intervals that contain the true figure, 0.95 for 95 %."""
    method: Literal["bootstrap", "wilson", "bonett-price", "agresti-min", "none"] = "bootstrap"
    """How low and high were found; `none` where they are NaN, `agresti-min` in older files."""

    @property
    def has_interval(self) -> bool:
        """Whether low and high are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def value_only(value: float, *, n_rows: int, n_groups: int) -> Interval:
    """Return a figure that comes without an interval.

    Args:
        value: The figure; NaN where it is undefined.
        n_rows: Rows or pairs it rests on.
        n_groups: Prompts these belong to.

    Returns:
        The figure with NaN for low and high.
    """
    return Interval(
        value=value,
        low=math.nan,
        high=math.nan,
        n_rows=n_rows,
        n_groups=n_groups,
        method="none",
    )


def wilson(sums: np.ndarray, sizes: np.ndarray, *, level: float) -> Interval:
    """Return Wilson's interval of a share whose rows come in groups.

    The rows of one prompt resemble each other, so n rows count as n_eff independent ones
    (`effective_rows`; at most n). The normal quantile is replaced by Student's with one
    degree of freedom less than there are prompts. Unlike a percentile interval it does not
    shrink to a point when every row is a win.

    Args:
        sums: Shape (g,). Sum of the rows, each in [0, 1], of each prompt.
        sizes: Shape (g,). Number of rows of each prompt.
        level: Confidence level.

    Returns:
        The share with its interval.

    Source:
        Wilson 1927; the effective number of rows as in Korn and Graubard 1998, which is
        pulled here towards prompts whose rows agree.

    Example:
        >>> whole = wilson(np.ones(50), np.ones(50), level=0.95)
        >>> whole.value, round(whole.low, 3), whole.high
        (1.0, 0.925, 1.0)
    """
    n_groups, n_rows = sums.size, float(sizes.sum())
    share = float(sums.sum() / n_rows)
    residual = sums - share * sizes
    variance = float(residual @ residual) * n_groups / (n_groups - 1) / n_rows**2
    if variance > 0:
        variance = max(variance, share * (1.0 - share) / n_rows)
    effective = effective_rows(
        share,
        variance,
        sizes / n_rows,
        n_events=int(min(np.count_nonzero(sums > 0), np.count_nonzero(sizes > sums))),
    )
    return wilson_share(share, effective, n_rows=int(n_rows), n_groups=n_groups, level=level)


def effective_rows(share: float, variance: float, mass: np.ndarray, *, n_events: int) -> float:
    """Return how many independent rows would leave a share as uncertain.

    p (1 - p) / V. But V rests on the e prompts that have the rarer outcome, and one of
    prompts that are lost in a few of their rows says nothing about those that are lost in
    all: at a share of .95 with ten rows a prompt, half of their variance between prompts,
    50 prompts covered 90 % and not 95. So V is averaged with what it is when all rows of a
    prompt agree, p (1 - p) sum m^2, with weights e and (1 - 2 p)^2, which is 0 where wins
    and losses are equally many and V is well known. Where V is 0, all rows agree.

    Args:
        share: The share p, in [0, 1].
        variance: Its variance V over prompts.
        mass: Shape (g,). Part m of the share that rests on each prompt; adds up to 1.
        n_events: Prompts e with a win, or with a loss, whichever are fewer.

    Returns:
        The number of rows, above 0.

    Example:
        >>> effective_rows(0.5, 0.01, np.full(50, 1 / 50), n_events=25)
        25.0
    """
    spread, alike = share * (1.0 - share), float(mass @ mass)
    if not (variance > 0 and spread > 0):
        return 1.0 / alike
    pull = (1.0 - 2.0 * share) ** 2
    agreeing = max(variance, spread * alike)
    return spread * (n_events + pull) / (n_events * variance + pull * agreeing)


def wilson_share(
    share: float, effective: float, *, n_rows: int, n_groups: int, level: float
) -> Interval:
    """Return Wilson's interval of a share that is as certain as some number of rows.

    Args:
        share: The share, in [0, 1].
        effective: Independent rows that would leave it as uncertain; above 0.
        n_rows: Rows it rests on, for the reader.
        n_groups: Prompts these belong to, at least 2; Student's quantile has one degree of
            freedom less.
        level: Confidence level.

    Returns:
        The share with its interval.

    Source:
        Wilson 1927.

    Example:
        >>> half = wilson_share(0.5, 100.0, n_rows=100, n_groups=100, level=0.95)
        >>> round(half.low, 3), round(half.high, 3)
        (0.403, 0.597)
    """
    spread = share * (1.0 - share)
    z = float(stats.t.ppf(0.5 + level / 2, n_groups - 1))
    stretch = 1.0 + z**2 / effective
    middle = (share + z**2 / (2 * effective)) / stretch
    half = z / stretch * math.sqrt(spread / effective + z**2 / (4 * effective**2))
    return Interval(
        value=share,
        # At a share of 0 or 1 the end equals the value; rounding must not put it beyond.
        low=max(0.0, min(share, middle - half)),
        high=min(1.0, max(share, middle + half)),
        n_rows=n_rows,
        n_groups=n_groups,
        level=level,
        method="wilson",
    )


def bonett_price(sums: np.ndarray, sizes: np.ndarray, *, level: float) -> Interval:
    """Return an interval of a mean paired difference when few prompts differ.

    One row that only the first scorer wins and one that only the second wins are added:
    with s_g the sum of the differences of prompt g and n rows, (sum s_g) / (n + 2) -+
    t sqrt(sum s_g^2 + 2 - (sum s_g)^2 / (n + 2)) / (n + 2). Two scorers that never differ
    get a narrow interval around 0 rather than a point.

    Args:
        sums: Shape (g,). Sum of the differences, each in [-1, 1], of each prompt.
        sizes: Shape (g,). Number of rows of each prompt.
        level: Confidence level.

    Returns:
        The mean difference with its interval.

    Source:
        Bonett and Price 2012. Prompts with several rows are summed first, which they do not
        treat, and their normal quantile is Student's here. (Half a row in place of one, as
        Agresti and Min 2005 have it, covers 92 % of a true difference of .02 at 100 rows.)

    Example:
        >>> same = bonett_price(np.zeros(200), np.ones(200), level=0.95)
        >>> same.value, round(same.low, 4), round(same.high, 4)
        (0.0, -0.0138, 0.0138)
    """
    n_groups, n_rows = sums.size, float(sizes.sum())
    total, padded = float(sums.sum()), n_rows + 2.0
    t = float(stats.t.ppf(0.5 + level / 2, n_groups - 1))
    half = t * math.sqrt(float(sums @ sums) + 2.0 - total**2 / padded) / padded
    value = total / n_rows
    return Interval(
        value=value,
        low=max(-1.0, min(value, total / padded - half)),
        high=min(1.0, max(value, total / padded + half)),
        n_rows=int(n_rows),
        n_groups=n_groups,
        level=level,
        method="bonett-price",
    )
