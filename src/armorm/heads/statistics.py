"""All that ridge regression needs of the rated rows, by source and by set of rated objectives.

Knows nothing of alphas, folds or files: it adds up, and it can be written as plain tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from armorm.errors import nearest
from armorm.heads import blas
from armorm.heads.checks import check_finite, check_shape
from armorm.heads.moments import Content, Moments, Rows, Scratch
from armorm.heads.part import Part
from armorm.heads.rated_rows import Key, check_features, sort_rows

_WINDOW = 65_536  # rows that are sorted by key at a time: mapped pages are then read once
_SCHEMA = 2


class Statistics:
    """Sufficient statistics of rated rows for ridge regression.

    Per source and set of rated objectives: the number of rows, the means, and X'X, X'Y and
    Y'Y about the means, in float64 on the CPU. A set seen in fewer than d rows keeps the
    rows. Statistics of disjoint rows add up; a source can be left out of the sum, and is
    never subtracted. The numbers depend on the order and the portions in which rows come
    (to rounding), and on nothing else; not on the precision in which the same values come.
    Memory: d^2 float64 numbers and fewer than d rows a source and set, however many rows
    there were, and one scratch chunk of at most 256 MiB.
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
        self._parts: dict[Key, Part] = {}
        self._scratch = Scratch()

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
            ValueError: shapes that disagree; features that are not finite, or above 1e140 in
                size; infinite ratings. Nothing is taken in then.
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
            ValueError: shapes that disagree; features that are not finite, or above 1e140 in
                size; infinite ratings. Nothing is taken in then.
        """
        check_shape("features", features, "n d", d=self.d)
        check_shape("ratings", ratings, "n k", n=len(features), k=len(self.objectives))
        check_features(features)
        check_finite("ratings", ratings, nan_allowed=True)
        if sources is not None and len(sources) != len(features):
            raise ValueError(
                f"`sources` must have one entry a row; got {len(sources)} for {len(features)} rows"
            )
        x, y = features.detach(), ratings.detach().to("cpu", torch.float64)
        for start in range(0, len(x), _WINDOW):
            part = slice(start, start + _WINDOW)
            self._add(x[part].to("cpu"), y[part], None if sources is None else sources[part])

    def _add(self, features: Tensor, ratings: Tensor, sources: Sequence[str] | None) -> None:
        """Sort rows into parts by source and set of rated objectives."""
        for key, rows in sort_rows((~ratings.isnan()).numpy(), sources):
            part = self._parts.setdefault(key, Part())
            rated = ratings[torch.from_numpy(rows)][:, list(key[1])]
            part.add(features, rated, self._scratch, index=rows)

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
            total._parts.setdefault(key, Part()).extend(part, total._scratch)
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

    def contents(self, objectives: Sequence[int]) -> list[tuple[Key, Content]]:
        """Contents in which any of some objectives is rated, sorted by key.

        Rating columns are `key[1]`. A key comes twice where both moments and rows are kept.
        """
        wanted = set(objectives)
        keys = sorted(key for key in self._parts if wanted.intersection(key[1]))
        return [(key, content) for key in keys for content in self._parts[key].contents()]

    def groups(self) -> list[tuple[int, ...]]:
        """Objectives that are rated in exactly the same rows; those without rows in none."""
        members: dict[tuple[Key, ...], list[int]] = {}
        for j in range(len(self.objectives)):
            keys = tuple(sorted(key for key in self._parts if j in key[1]))
            if keys:
                members.setdefault(keys, []).append(j)
        return [tuple(group) for group in members.values()]

    def with_objectives(self, objectives: Sequence[str]) -> Statistics:
        """Statistics of the same rows for another list of objectives.

        An objective that is in both lists keeps its ratings, a new one has none yet, and
        that of one that is not named is left out: rows in which others were rated stay with
        those, and parts that then have the same objectives are added.

        Args:
            objectives: Names of the objectives wanted, in any order.

        Returns:
            New statistics; these do not change.

        Raises:
            ValueError: no objective; a name given twice.
        """
        changed = Statistics(objectives, self.d)
        place = {name: j for j, name in enumerate(changed.objectives)}
        for (source, rated), part in self._parts.items():
            names = [self.objectives[j] for j in rated]
            kept = sorted((place[name], c) for c, name in enumerate(names) if name in place)
            key = source, tuple(j for j, _ in kept)
            columns = [c for _, c in kept]
            whole = columns == list(range(len(rated)))
            own = part.copy() if whole else part.select(columns)
            if key in changed._parts:
                changed._parts[key].extend(own, changed._scratch)
            elif columns:
                changed._parts[key] = own
        return changed

    def state(self) -> tuple[dict[str, Tensor], str]:
        """Give everything as named tensors and a header in JSON, for a file.

        Sums are float64, the triangle of X'X column after column (LAPACK's packed form,
        half the size); rows are in the precision in which they came.

        Returns:
            Tensors by name, and the header; `from_state` makes the same statistics of them.
        """
        tensors: dict[str, Tensor] = {}
        parts: list[dict[str, Any]] = []
        for i, ((source, rated), part) in enumerate(self._parts.items()):
            n = 0
            for content in part.contents():
                if isinstance(content, Rows):
                    tensors[f"{i}.features"] = content.features.clone()
                    tensors[f"{i}.ratings"] = content.ratings.clone()
                else:
                    n = content.n
                    tensors[f"{i}.mean"] = torch.from_numpy(content.mean.copy())
                    tensors[f"{i}.xx"] = torch.from_numpy(blas.pack(content.xx))
                    tensors[f"{i}.zy"] = torch.from_numpy(content.zy.copy())
            parts.append({"source": source, "rated": list(rated), "n": n})
        header = {"schema": _SCHEMA, "objectives": self.objectives, "d": self.d, "parts": parts}
        return tensors, json.dumps(header)

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], header: str) -> Statistics:
        """Make statistics of what `state` gave.

        Args:
            tensors: Tensors by name.
            header: The header in JSON.

        Returns:
            The same statistics.

        Raises:
            ValueError: a header of another schema; a tensor that is absent or has another shape.
        """
        facts = json.loads(header)
        if facts["schema"] != _SCHEMA:
            raise ValueError(f"statistics must have schema {_SCHEMA}; got {facts['schema']!r}")
        statistics = cls(facts["objectives"], facts["d"])
        for i, entry in enumerate(facts["parts"]):
            key = entry["source"], tuple(entry["rated"])
            statistics._parts[key] = _part(tensors, i, facts["d"], len(key[1]), entry["n"])
        return statistics


def _part(tensors: Mapping[str, Tensor], i: int, d: int, q: int, n: int) -> Part:
    """Make the i-th part of what `state` gave, with n summed rows and q rating columns."""
    moments: Moments | None = None
    rows: list[Rows] = []
    if n:
        mean = _tensor(tensors, f"{i}.mean", (d + q,)).numpy().copy()
        packed = _tensor(tensors, f"{i}.xx", (d * (d + 1) // 2,))
        zy = _tensor(tensors, f"{i}.zy", (d + q, q)).numpy().copy()
        moments = Moments(n, mean, blas.unpack(packed.numpy(), d), zy)
    if not n or f"{i}.features" in tensors:
        features = _tensor(tensors, f"{i}.features", (-1, d))
        ratings = _tensor(tensors, f"{i}.ratings", (len(features), q))
        rows = [Rows(features.clone(), ratings.clone())]
    return Part(moments, rows)


def _tensor(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """Find a tensor of a state, of which one axis may have any size (-1)."""
    if name not in tensors:
        raise ValueError(f"statistics must have the tensor {name!r}; it is absent")
    found = tuple(tensors[name].shape)
    if len(found) != len(shape) or any(s not in (-1, f) for s, f in zip(shape, found, strict=True)):
        wanted = str(shape).replace("-1", "n")
        raise ValueError(f"the tensor {name!r} must have shape {wanted}; got {found}")
    return tensors[name]
