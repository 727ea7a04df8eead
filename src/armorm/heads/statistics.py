"""All that ridge regression needs of the rated rows, by source and by set of rated objectives.

Knows nothing of alphas, folds or files: it adds up, and it can be written as plain tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from armorm.errors import nearest
from armorm.heads.checks import check_finite, check_shape
from armorm.heads.moments import Content, Moments, Rows, concatenate, merge, to_moments

_CHUNK = 8192  # rows converted to float64 at a time
_SCHEMA = 1
_MOMENTS = ("mean_x", "mean_y", "xx", "xy", "yy")

Key = tuple[str, tuple[int, ...]]
"""Source, and the indices of the objectives that are rated together."""


class _Part:
    """Rows of one key: moments of those already summed, and fewer than d rows as they are.

    Below d rows the rows themselves are the smaller exact statistic, and they allow the
    n x n dual; folding them only when d have come keeps the cost of a fold in proportion.
    """

    def __init__(self) -> None:
        self.moments: Moments | None = None
        self.rows: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Take rows in, and fold when there are d of them."""
        self.rows.append(rows)
        if sum(r.n for r in self.rows) >= rows.features.shape[1]:
            self._fold(to_moments(concatenate(self.rows)))
            self.rows = []

    def _fold(self, more: Moments) -> None:
        """Add moments to the moments."""
        self.moments = more if self.moments is None else merge(self.moments, more)

    @property
    def content(self) -> Content:
        """Everything in one form: rows while there are fewer than d, moments from then on."""
        if self.moments is None:
            return concatenate(self.rows)
        if not self.rows:
            return self.moments
        return merge(self.moments, to_moments(concatenate(self.rows)))

    @property
    def n(self) -> int:
        """Number of rows."""
        folded = 0 if self.moments is None else self.moments.n
        return folded + sum(r.n for r in self.rows)

    def copy(self) -> _Part:
        """Copy the lists; tensors are never written to and stay shared."""
        copy = _Part()
        copy.moments, copy.rows = self.moments, list(self.rows)
        return copy

    def extend(self, other: _Part) -> None:
        """Take in all that another part holds."""
        if other.moments is not None:
            self._fold(other.moments)
        for rows in other.rows:
            self.add(rows)


class Statistics:
    """Sufficient statistics of rated rows for ridge regression.

    Per source and set of rated objectives: the number of rows, the means, and X'X, X'Y and
    Y'Y about the means, in float64 on the CPU. A set seen in fewer than d rows keeps the
    rows. Statistics of disjoint rows add up; a source can be left out of the sum, and is
    never subtracted. The numbers depend on the order and the portions in which rows come
    (to rounding), and on nothing else. Memory: at most d^2 + d^2 numbers a source and set.
    """

    def __init__(self, objectives: Sequence[str], d: int) -> None:
        """Start with no rows.

        Args:
            objectives: Names of the k objectives, in the order of the rating columns.
            d: Feature width.

        Raises:
            ValueError: no objective; a name given twice; a width below 1.
        """
        self.objectives: tuple[str, ...] = tuple(objectives)
        if not self.objectives:
            raise ValueError("`objectives` must name at least one objective; got none")
        for name in self.objectives:
            if self.objectives.count(name) > 1:
                raise ValueError(f"`objectives` must be distinct; {name!r} is named twice")
        if d < 1:
            raise ValueError(f"`d` must be at least 1; got {d}")
        self.d = d
        self._parts: dict[Key, _Part] = {}

    @classmethod
    def from_features(
        cls,
        features: Tensor,
        ratings: Tensor,
        *,
        objectives: Sequence[str],
        sources: Sequence[str] | None = None,
    ) -> Statistics:
        """Sum up rated rows.

        Args:
            features: Shape (n, d). Response features, any floating dtype and device.
            ratings: Shape (n, k). Normalised ratings; NaN where an objective is not rated.
            objectives: Names of the k objectives.
            sources: Source of each row; None means that all are of the source ''.

        Returns:
            The statistics of these rows.

        Raises:
            ValueError: shapes that disagree; features that are not finite; infinite ratings.
        """
        check_shape("features", features, "n d")
        statistics = cls(objectives, features.shape[1])
        statistics.update(features, ratings, sources=sources)
        return statistics

    def update(
        self, features: Tensor, ratings: Tensor, *, sources: Sequence[str] | None = None
    ) -> None:
        """Take more rows in, in place; a row without any rating counts for nothing.

        Args:
            features: Shape (n, d). Response features, any floating dtype and device.
            ratings: Shape (n, k). Normalised ratings; NaN where an objective is not rated.
            sources: Source of each row; None means that all are of the source ''.

        Raises:
            ValueError: shapes that disagree; features that are not finite; infinite ratings.
        """
        check_shape("features", features, "n d", d=self.d)
        check_shape("ratings", ratings, "n k", n=len(features), k=len(self.objectives))
        check_finite("features", features)
        check_finite("ratings", ratings, nan_allowed=True)
        if sources is not None and len(sources) != len(features):
            raise ValueError(
                f"`sources` must have one entry a row; got {len(sources)} for {len(features)} rows"
            )
        for start in range(0, len(features), _CHUNK):
            stop = min(start + _CHUNK, len(features))
            names = [""] * (stop - start) if sources is None else sources[start:stop]
            self._add(features[start:stop], ratings[start:stop], names)

    def _add(self, features: Tensor, ratings: Tensor, sources: Sequence[str]) -> None:
        """Sort one chunk into parts by source and set of rated objectives."""
        x = features.detach().to("cpu", torch.float64)
        y = ratings.detach().to("cpu", torch.float64)
        members: dict[Key, list[int]] = {}
        for row, (source, rated) in enumerate(zip(sources, (~y.isnan()).tolist(), strict=True)):
            pattern = tuple(j for j, is_rated in enumerate(rated) if is_rated)
            if pattern:
                members.setdefault((source, pattern), []).append(row)
        for key, rows in members.items():
            part = self._parts.setdefault(key, _Part())
            part.add(Rows(x[rows], y[rows][:, list(key[1])]))

    def __add__(self, other: Statistics) -> Statistics:
        """Sum of two statistics of disjoint rows; neither changes.

        Args:
            other: Statistics with the same objectives and feature width.

        Returns:
            New statistics.

        Raises:
            ValueError: other objectives; another feature width.
        """
        for name in ("objectives", "d"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(
                    f"statistics that are added must have the same `{name}`; "
                    f"got {mine!r} and {theirs!r}"
                )
        total = self._keep(self._parts)
        for key, part in other._parts.items():
            total._parts.setdefault(key, _Part()).extend(part)
        return total

    def _keep(self, keys: Iterable[Key]) -> Statistics:
        """Copy some of the parts."""
        kept = Statistics(self.objectives, self.d)
        kept._parts = {key: self._parts[key].copy() for key in keys}
        return kept

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in the order first seen."""
        return tuple(dict.fromkeys(source for source, _ in self._parts))

    def without(self, source: str) -> Statistics:
        """Statistics of all other sources, summed without this one (never subtracted).

        Args:
            source: Name of the source to leave out.

        Returns:
            New statistics; these do not change.

        Raises:
            ValueError: no row of this source was seen.
        """
        if source not in self.sources:
            raise ValueError(
                f"`source` {source!r} is not in the sum{nearest(source, self.sources)}"
            )
        return self._keep(key for key in self._parts if key[0] != source)

    def n_rated(self, objective: int) -> int:
        """Number of rows in which an objective, given by its index, is rated."""
        return sum(part.n for (_, rated), part in self._parts.items() if objective in rated)

    def contents(self, objective: int) -> list[tuple[Key, Content]]:
        """Parts in which an objective is rated, sorted by key; rating columns are `key[1]`."""
        rated = sorted(key for key in self._parts if objective in key[1])
        return [(key, self._parts[key].content) for key in rated]

    def groups(self) -> list[tuple[tuple[int, ...], list[Content]]]:
        """Objectives that are rated in exactly the same rows, with those rows.

        Returns:
            Each group of objective indices once, with contents whose rating columns are the
            objectives of the group in this order; objectives without ratings are in none.
        """
        members: dict[tuple[Key, ...], list[int]] = {}
        for j in range(len(self.objectives)):
            keys = tuple(sorted(key for key in self._parts if j in key[1]))
            if keys:
                members.setdefault(keys, []).append(j)
        return [
            (
                tuple(group),
                [self._parts[key].content.select([key[1].index(j) for j in group]) for key in keys],
            )
            for keys, group in members.items()
        ]

    def state(self) -> tuple[dict[str, Tensor], str]:
        """Give everything as named float64 tensors and a header in JSON, for a file.

        Returns:
            Tensors by name, and the header; `from_state` makes the same statistics of them.
        """
        tensors: dict[str, Tensor] = {}
        parts: list[dict[str, Any]] = []
        for i, ((source, rated), part) in enumerate(self._parts.items()):
            n = 0 if part.moments is None else part.moments.n
            parts.append({"source": source, "rated": list(rated), "n": n})
            if part.moments is not None:
                for field in _MOMENTS:
                    tensors[f"{i}.{field}"] = getattr(part.moments, field)
            if part.rows:
                rows = concatenate(part.rows)
                tensors[f"{i}.features"], tensors[f"{i}.ratings"] = rows.features, rows.ratings
        header = {"schema": _SCHEMA, "objectives": self.objectives, "d": self.d, "parts": parts}
        return tensors, json.dumps(header)

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], header: str) -> Statistics:
        """Make statistics of what `state` gave.

        Args:
            tensors: Tensors by name.
            header: The header in JSON.

        Returns:
            The same statistics.

        Raises:
            ValueError: a header of another schema; a tensor that is absent.
        """
        facts = json.loads(header)
        if facts["schema"] != _SCHEMA:
            raise ValueError(f"statistics must have schema {_SCHEMA}; got {facts['schema']!r}")
        statistics = cls(facts["objectives"], facts["d"])
        for i, entry in enumerate(facts["parts"]):
            names = [f"{i}.{field}" for field in (_MOMENTS if entry["n"] else ("features",))]
            absent = [name for name in names if name not in tensors]
            if absent:
                raise ValueError(f"statistics must have the tensor {absent[0]!r}; it is absent")
            part = statistics._parts.setdefault((entry["source"], tuple(entry["rated"])), _Part())
            if entry["n"]:
                part.moments = Moments(entry["n"], *(tensors[name] for name in names))
            if f"{i}.features" in tensors:
                part.rows = [Rows(tensors[f"{i}.features"], tensors[f"{i}.ratings"])]
        return statistics
