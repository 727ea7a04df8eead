"""Best of n: what the pick of a scorer is worth by reference values, against random and oracle."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from armorm.evaluate.metrics import finite_vector
from armorm.evaluate.protocols.protocol import Protocol


def expected_reference(
    scores: ArrayLike, references: ArrayLike, starts: ArrayLike, *, k: int | None = None
) -> np.ndarray:
    """Return the expected reference value of the best-scored of k responses, by prompt.

    k of the n responses are drawn without replacement and the one with the highest score is
    picked. With the responses sorted by falling score, the i-th (from 0) is picked with
    probability C(n - 1 - i, k - 1) / C(n, k); equal scores share their places, so that each
    is as likely. k = 1 is a random response, k = n the pick among all. Exact: nothing is
    sampled.

    Args:
        scores: Shape (m,). Scores of all responses, prompt after prompt; finite.
        references: Shape (m,). Rating or win rate of each, the larger the better; finite.
        starts: Shape (n,). Where each prompt begins; increasing from 0.
        k: Responses drawn; None takes all of each prompt.

    Returns:
        Shape (n,), in the unit of the references.

    Raises:
        ValueError: lengths that differ; a value that is not finite; `k` below 1 or above
            the responses of a prompt.

    Source:
        The unbiased best-of-k estimator of Stiennon et al. 2020, arXiv 2009.01325; ties are
        shared here.

    Example:
        >>> expected_reference([3, 2, 1], [1.0, 0.4, 0.1], [0], k=2).round(3).tolist()
        [0.8]
    """
    values = finite_vector(scores, "scores", "m")
    known = finite_vector(references, "references", "m", length=values.size)
    begin = np.asarray(starts, dtype=np.int64)
    sizes = np.diff(np.append(begin, values.size))
    if k is not None and not 1 <= k <= int(sizes.min()):
        raise ValueError(
            f"`k` must be from 1 to {int(sizes.min())}, the fewest responses of a prompt; got {k}"
        )
    prompt = np.repeat(np.arange(begin.size), sizes)
    order = np.lexsort((-values, prompt))
    values, known = values[order], known[order]
    # Mean reference of every block of equal scores, at each of its places.
    new = np.append(True, (np.diff(values) != 0) | (np.diff(prompt) != 0))
    block = np.cumsum(new) - 1
    shared = (np.bincount(block, weights=known) / np.bincount(block))[block]
    place = np.arange(values.size) - np.repeat(begin, sizes)
    n = np.repeat(sizes, sizes).astype(np.float64)
    return np.add.reduceat(shared * _pick_probability(place, n, k), begin)


def _pick_probability(place: np.ndarray, n: np.ndarray, k: int | None) -> np.ndarray:
    """C(n - 1 - i, k - 1) / C(n, k) of the response at place i."""
    if k is None:
        return (place == 0).astype(np.float64)
    left = n - 1 - place
    fits = left >= k - 1
    log = _log_choose(np.where(fits, left, k - 1.0), k - 1.0) - _log_choose(n, float(k))
    return np.where(fits, np.exp(log), 0.0)


def _log_choose(n: np.ndarray, k: float) -> np.ndarray:
    """Logarithm of the binomial coefficient."""
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


BEST_OF_N = Protocol(
    name="best-of-n",
    title="Best of n",
    sections=(),
    layout="references",
    tie="shared",
    rule="mean reference value of the pick over all prompts",
    reference="expected reference value as in Stiennon et al. 2020, arXiv 2009.01325",
    shape="references",
    overall="rows",
)
"""Rows with `prompt`, `responses` (texts) and `references` (one number each: a rating, or a
win rate in [0, 1] against a fixed opponent), and perhaps `id` and `subset`."""
