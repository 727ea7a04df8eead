"""Preference accuracy, rank correlation and R2 of plain arrays; no intervals, no files."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

_FEWEST_ROWS = 3


def preference_wins(chosen_scores: ArrayLike, rejected_scores: ArrayLike) -> np.ndarray:
    """Return what each preference pair counts: 1 for a win, 0 for a loss, 1/2 for a tie.

    A tie is a margin of exactly 0. Counting it as a loss would punish a scorer that
    abstains, counting it as a win would let a constant scorer reach 100 %.

    Args:
        chosen_scores: Shape (p,). Scores of the preferred responses; finite.
        rejected_scores: Shape (p,). Scores of the other responses; finite.

    Returns:
        Shape (p,), float64, each 0, 0.5 or 1.

    Raises:
        ValueError: a shape is not (p,) with p of at least 1; the two lengths differ; a
            score is not finite (its index is in the text).

    Example:
        >>> preference_wins([2.0, 1.0, 0.0], [1.0, 1.0, 1.0]).tolist()
        [1.0, 0.5, 0.0]
    """
    chosen = finite_vector(chosen_scores, "chosen_scores", "p")
    rejected = finite_vector(rejected_scores, "rejected_scores", "p", length=chosen.size)
    # Compared, not subtracted: the difference of two distinct tiny numbers may round to 0.
    return 0.5 * (1.0 + (chosen > rejected) - (chosen < rejected))


def preference_accuracy(chosen_scores: ArrayLike, rejected_scores: ArrayLike) -> float:
    """Return the share of preference pairs whose chosen response scores higher.

    A tie counts one half, so that a constant scorer reaches exactly 0.5 and swapping
    the two sides gives one minus the accuracy.

    Args:
        chosen_scores: Shape (p,). Scores of the preferred responses; finite.
        rejected_scores: Shape (p,). Scores of the other responses; finite.

    Returns:
        Accuracy in [0, 1].

    Raises:
        ValueError: as in `preference_wins`.

    Example:
        >>> preference_accuracy([2.0, 1.0, 0.0, 3.0], [1.0, 1.0, 1.0, 2.0])
        0.625
    """
    return float(preference_wins(chosen_scores, rejected_scores).mean())


def spearman(predicted: ArrayLike, rated: ArrayLike) -> float:
    """Return the Spearman correlation of objective scores and ratings.

    The Pearson correlation of the ranks, with average ranks for ties; rows without a
    rating are left out before ranking.

    Args:
        predicted: Shape (n,). Objective scores; finite.
        rated: Shape (n,). Ratings on any increasing scale; NaN where not rated.

    Returns:
        Correlation in [-1, 1]; NaN when fewer than 3 rows are rated, or when the scores
        or the ratings of the rated rows are all equal.

    Raises:
        ValueError: a shape is not (n,) with n of at least 1; the two lengths differ; a
            score is not finite; a rating is infinite (the index is in the text).

    Example:
        >>> spearman([0.1, 0.4, 0.2, 0.9], [1, 3, 2, float("nan")])
        1.0
    """
    scores, ratings = rated_rows(predicted, rated)
    if not _has_variance(scores, ratings):
        return float("nan")
    a, b = rankdata(scores), rankdata(ratings)
    middle = (a.size + 1) / 2  # the mean of all ranks, ties or not
    a, b = a - middle, b - middle
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def r2(predicted: ArrayLike, rated: ArrayLike) -> float:
    """Return the share of the ratings' variance that the objective scores explain.

    1 - sum (y - f)^2 / sum (y - mean y)^2 over the rated rows. Predicting the mean of
    these very rows gives 0; worse than that is negative, without bound. Unlike a squared
    correlation it also punishes a wrong level or spread.

    Args:
        predicted: Shape (n,). Objective scores, in the unit of the ratings; finite.
        rated: Shape (n,). Ratings; NaN where not rated.

    Returns:
        R2, at most 1; NaN when fewer than 3 rows are rated or the ratings are all equal.

    Raises:
        ValueError: as in `spearman`.

    Example:
        >>> r2([1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
        0.5
    """
    scores, ratings = rated_rows(predicted, rated)
    if not _has_variance(ratings):
        return float("nan")
    total = ((ratings - ratings.mean()) ** 2).sum()
    return float(1.0 - ((ratings - scores) ** 2).sum() / total)


def rated_rows(predicted: ArrayLike, rated: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and ratings of the rated rows, checked.

    Args:
        predicted: Shape (n,). Objective scores; finite.
        rated: Shape (n,). Ratings; NaN where not rated.

    Returns:
        Both as float64, in the order given, without the rows that are not rated.

    Raises:
        ValueError: as in `spearman`.
    """
    scores = finite_vector(predicted, "predicted", "n")
    ratings = _vector(rated, "rated", "n", length=scores.size)
    infinite = np.flatnonzero(np.isinf(ratings))
    if infinite.size:
        raise ValueError(
            f"`rated` must be finite or NaN; {infinite.size} of {ratings.size} entries are "
            f"infinite, the first at index {int(infinite[0])}"
        )
    keep = ~np.isnan(ratings)
    return scores[keep], ratings[keep]


def finite_vector(
    values: ArrayLike, name: str, axis: str, *, length: int | None = None
) -> np.ndarray:
    """Return an argument as a float64 vector of finite numbers.

    Args:
        values: Anything `numpy.asarray` takes.
        name: Name of the argument, for the error.
        axis: Letter of its axis, for the error.
        length: Number of entries it must have; None for any number from 1 on.

    Returns:
        Shape (length,), float64.

    Raises:
        ValueError: the shape is another; an entry is not finite (its index is in the text).
    """
    vector = _vector(values, name, axis, length=length)
    at_fault = np.flatnonzero(~np.isfinite(vector))
    if at_fault.size:
        raise ValueError(
            f"`{name}` must be finite; {at_fault.size} of {vector.size} entries are not, "
            f"the first at index {int(at_fault[0])}"
        )
    return vector


def _vector(values: ArrayLike, name: str, axis: str, *, length: int | None) -> np.ndarray:
    """Return an argument as a float64 vector, its axis checked, its entries not."""
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be an array of numbers; {error}") from error
    if vector.ndim != 1:
        raise ValueError(f"`{name}` must have shape ({axis},); got {vector.shape}")
    if vector.size == 0:
        raise ValueError(f"`{name}` must have at least 1 entry; got shape (0,)")
    if length is not None and vector.size != length:
        raise ValueError(
            f"`{name}` must have shape ({axis},); got {vector.shape}: "
            f"axis 0 ({axis}) must be {length}"
        )
    return vector


def _has_variance(*vectors: np.ndarray) -> bool:
    """Say whether there are enough rows and no vector is constant (exactly, no rounding)."""
    return all(v.size >= _FEWEST_ROWS and v.min() < v.max() for v in vectors)
