"""Counts a labelling while it is written, and says at the end what was found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from armorm.explain.compare import compare
from armorm.label.formats import LabelledPair
from armorm.label.rate import Row
from armorm.model.reward import Explanation

_SIGNIFICANT = 6


class Tally:
    """Sums over a labelling, in memory that does not depend on the number of rows."""

    def __init__(self, objectives: Sequence[str]) -> None:
        """Start at zero.

        Args:
            objectives: Names, in the order of axis k.
        """
        self._names = tuple(objectives)
        self._n = 0
        self._score = _Moments()
        self._objectives = np.zeros(len(self._names))
        self._best_of: dict[int, tuple[int, np.ndarray]] = {}
        self._pairs = _PairTally(self._names)

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Count the scores of one prompt.

        Args:
            rows: Its candidates, one or more.
        """
        scores = np.array([row["score"] for row in rows], dtype=np.float64)
        values = np.array([[row["objectives"][n] for n in self._names] for row in rows])
        self._n += len(rows)
        self._score.add(scores)
        self._objectives += values.sum(axis=0)
        n = len(scores)
        seen, total = self._best_of.get(n, (0, np.zeros(n)))
        self._best_of[n] = (seen + 1, total + best_of_n(scores))

    def add_pair(self, pair: LabelledPair, rows: Sequence[Row]) -> None:
        """Count a pair.

        Args:
            pair: The pair.
            rows: The scores of its prompt's candidates.
        """
        self._pairs.add(pair, rows[pair.chosen], rows[pair.rejected])

    def add_without(self, reason: str) -> None:
        """Count a prompt without a pair, or a pair that cannot be written.

        Args:
            reason: Why.
        """
        self._pairs.without[reason] += 1

    def add_given(self, rows: Sequence[Row]) -> None:
        """Count how a preference pair of the input was judged.

        Args:
            rows: Its two sides, chosen first; nothing is counted where one has no score.
        """
        if len(rows) == 2:
            margin = rows[0]["score"] - rows[1]["score"]
            self._pairs.given[0] += 1
            self._pairs.given[1] += 1.0 if margin > 0 else 0.5 * (margin == 0)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON.

        Returns:
            `score` (mean, sd, min, max), `objectives` (means), `best_of_n`, `pairs`.
        """
        n = max(self._n, 1)
        means = zip(self._names, self._objectives / n, strict=True)
        return {
            "score": self._score.as_dict(),
            "objectives": {name: _rounded(mean) for name, mean in means},
            "best_of_n": self._curve(),
            "pairs": self._pairs.as_dict(),
        }

    def _curve(self) -> dict[str, Any] | None:
        """Expected best score of n, of the prompts with the most frequent number of candidates."""
        if not self._best_of:
            return None
        size = max(self._best_of, key=lambda n: (self._best_of[n][0], n))
        prompts, total = self._best_of[size]
        expected = [_rounded(value) for value in total / prompts]
        return {"candidates": size, "prompts": prompts, "expected_score": expected}


def best_of_n(scores: np.ndarray) -> np.ndarray:
    """Return the expected best score among n of N candidates, n = 1 to N.

    n of the N are drawn without replacement. With the scores sorted by falling value the
    i-th (from 0) is the best of the draw with probability C(N - 1 - i, n - 1) / C(N, n), so
    that nothing is sampled.

    Args:
        scores: Shape (N,), finite.

    Returns:
        Shape (N,): from the mean to the largest score.

    Source:
        The best-of-n estimator of Stiennon et al. 2020, arXiv 2009.01325, for the score itself.

    Example:
        >>> best_of_n(np.array([0.0, 1.0, 2.0])).round(4).tolist()
        [1.0, 1.6667, 2.0]
    """
    return _pick_probabilities(len(scores)) @ np.sort(scores)[::-1]


@lru_cache(maxsize=64)
def _pick_probabilities(size: int) -> np.ndarray:
    """Probability that the i-th best of N (column) is the best of n (row n - 1)."""
    n = np.arange(1, size + 1, dtype=np.float64)[:, None]
    i = np.arange(size - 1, dtype=np.float64)[None, :]
    # From one place to the next: C(N - 2 - i, n - 1) / C(N - 1 - i, n - 1).
    steps = np.maximum(size - i - n, 0.0) / (size - 1 - i)
    return np.cumprod(np.concatenate([n / size, steps], axis=1), axis=1)


class _PairTally:
    """Sums over pairs."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.n = 0
        self.without: Counter[str] = Counter()
        self.given = [0.0, 0.0]
        self._deciding: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._margin = _Moments()
        self._characters = np.zeros(2)
        self._tokens = np.zeros(2)
        self._longer = 0.0

    def add(self, pair: LabelledPair, chosen: Row, rejected: Row) -> None:
        """Count a pair."""
        self.n += 1
        found = compare(_explanation(chosen), _explanation(rejected))
        self._deciding.update(found.deciding)
        if len(found.deciding) == 1:
            self._alone.update(found.deciding)
        self._margin.add(np.array([chosen["score"] - rejected["score"]]))
        characters = [len(pair.texts[i]) for i in (pair.chosen, pair.rejected)]
        self._characters += characters
        self._tokens += [chosen["n_tokens"], rejected["n_tokens"]]
        longer = characters[0] - characters[1]
        self._longer += 1.0 if longer > 0 else 0.5 * (longer == 0)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        n = self.n
        found: dict[str, Any] = {"n": n, "prompts_without": dict(self.without.most_common())}
        if n:
            found |= {
                "margin": self._margin.as_dict(),
                "deciding": {k: _rounded(self._deciding[k] / n) for k in self._names},
                "deciding_alone": {k: _rounded(self._alone[k] / n) for k in self._names},
                "length": {
                    "chosen_characters": _rounded(self._characters[0] / n),
                    "rejected_characters": _rounded(self._characters[1] / n),
                    "chosen_tokens": _rounded(self._tokens[0] / n),
                    "rejected_tokens": _rounded(self._tokens[1] / n),
                    "chosen_longer": _rounded(self._longer / n),
                },
            }
        if self.given[0]:
            found["given"] = {
                "n": int(self.given[0]),
                "agreement": _rounded(self.given[1] / self.given[0]),
            }
        return found


class _Moments:
    """Mean, spread and range of numbers that come some at a time."""

    def __init__(self) -> None:
        self._n = 0
        self._mean = self._squares = 0.0
        self._low, self._high = math.inf, -math.inf

    def add(self, values: np.ndarray) -> None:
        """Take some numbers in: sums of squares around the running mean, which lose no digits."""
        n, mean = len(values), float(values.mean())
        squares = float(((values - mean) ** 2).sum())
        total = self._n + n
        shift = mean - self._mean
        self._squares += squares + shift**2 * self._n * n / total
        self._mean += shift * n / total
        self._n = total
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    def as_dict(self) -> dict[str, float] | None:
        """Return the figures; None of no numbers."""
        if not self._n:
            return None
        found = {
            "mean": self._mean,
            "sd": math.sqrt(self._squares / self._n),
            "min": self._low,
            "max": self._high,
        }
        return {name: _rounded(value) for name, value in found.items()}


def _explanation(row: Mapping[str, Any]) -> Explanation:
    """The parts of a score, from a row of scores."""
    objectives, coefficients = row["objectives"], row["coefficients"]
    return Explanation(
        id=row["id"],
        score=row["score"],
        objectives=objectives,
        gating=row.get("gating"),
        coefficients=coefficients,
        contributions={name: coefficients[name] * objectives[name] for name in objectives},
        n_tokens=row["n_tokens"],
        n_truncated=row["n_truncated"],
    )


def _rounded(value: float) -> float:
    """A figure with the digits that a report needs."""
    return float(f"{value:.{_SIGNIFICANT}g}")
