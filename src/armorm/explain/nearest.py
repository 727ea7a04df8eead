"""Rated rows whose responses are nearest to some others, by cosine of their features.

It knows neither files nor backbones: it gets rows and their features.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from armorm.features.mapped import FeatureRows
from armorm.heads.checks import check_shape
from armorm.types import RatedResponse, Scale

N_NEAREST = 3
"""Rated rows that an explanation shows for each response."""

_MEAN_ROWS = 4096  # rows that the mean is taken of: it only has to be near the middle
_BLOCK_ENTRIES = 2**22  # entries of features that are read at a time: 16 MiB as float32


@dataclass(frozen=True, slots=True)
class RatedNeighbour:
    """A rated row that is near to a response."""

    row: RatedResponse
    """The row."""
    objective: str
    """The objective that it was rated on."""
    rating: float
    """Its raw rating."""
    scale: Scale
    """The scale of the rating."""
    similarity: float
    """Cosine of the centred response features, from -1 to 1."""


@dataclass(frozen=True, slots=True)
class NoRows:
    """There are no rated rows at hand."""

    reason: str
    """Why, and how to give some; one sentence."""


class RatedRows:
    """Rated rows with their response features, in memory or on disk."""

    def __init__(
        self,
        rows: Sequence[RatedResponse],
        features: FeatureRows,
        *,
        scales: Mapping[str, Mapping[str, Scale]],
        measured: Collection[str] = (),
    ) -> None:
        """Keep the rows, and the middle of their features.

        Args:
            rows: n rated rows.
            features: Their response features, shape (n, d), by the backbone of the model.
            scales: Source -> objective -> scale of the ratings.
            measured: Objectives that nobody rated: measured from the text, and left out.

        Raises:
            ValueError: no rows; another number of features than of rows; a rating of a
                source or objective that has no scale.
        """
        if not rows:
            raise ValueError("`rows` must have at least one rated row; it has none")
        if len(features.shape) != 2 or len(features) != len(rows):
            raise ValueError(
                f"`features` must have shape (n, d) with n = {len(rows)} rows; got "
                f"{tuple(features.shape)}"
            )
        for row in rows:
            for name in row.ratings:
                if name not in measured and name not in scales.get(row.source, {}):
                    raise ValueError(
                        f"`scales` must have a scale of every rating; row {row.id!r} of source "
                        f"{row.source!r} is rated on {name!r}, which has none"
                    )
        self.rows, self.features, self.scales = list(rows), features, scales
        self.measured = frozenset(measured)
        self._mean = _middle(features)
        self._n_rated = Counter(
            name for row in self.rows for name in row.ratings if name not in self.measured
        )

    def __len__(self) -> int:
        """Return n."""
        return len(self.rows)

    def n_rated(self, objective: str) -> int:
        """Return how many rows are rated on an objective."""
        return self._n_rated[objective]

    def nearest(
        self, features: Tensor, objectives: Sequence[str], *, n: int = N_NEAREST
    ) -> list[list[RatedNeighbour]]:
        """Find for each response the most similar rows that were rated on its objective.

        Similarity is the cosine of response features from which the mean of the rated rows
        was taken: hidden states of language models share a large common part, next to which
        every two of them look alike. The mean is that of at most 4,096 rows spread evenly.
        A row or response without a direction of its own (it is the mean) has no neighbour.

        The rows are read once for all responses, some at a time: O(n q d) for q responses.

        Args:
            features: Features of q responses, shape (q, d).
            objectives: One name a response.
            n: Neighbours of each.

        Returns:
            One list a response, the most similar first, rows of equal similarity in their
            order; shorter where fewer rows are rated on its objective.

        Raises:
            ValueError: shapes that disagree; features that are not finite, of a response or
                of a row; another number of objectives than of responses; `n` below 1.
        """
        d = self.features.shape[1]
        check_shape("features", features, "q d", d=d)
        if len(objectives) != len(features):
            raise ValueError(
                f"`objectives` must name one a response; got {len(objectives)} for "
                f"{len(features)} responses"
            )
        if n < 1:
            raise ValueError(f"`n` must be at least 1; got {n}")
        _check_finite("features", features)
        kinds = sorted(set(objectives))
        kind_of = torch.tensor([kinds.index(name) for name in objectives], dtype=torch.int64)
        rated = torch.tensor(
            [
                [name in row.ratings and name not in self.measured for row in self.rows]
                for name in kinds
            ]
        )
        queries = _directions(features.float() - self._mean)
        best, index = _search(self.features, self._mean, queries, rated, kind_of, n)
        return [
            [
                self._neighbour(int(i), objectives[q], float(s))
                for s, i in zip(best[q], index[q], strict=True)
                if s > -torch.inf
            ]
            for q in range(len(features))
        ]

    def _neighbour(self, i: int, objective: str, similarity: float) -> RatedNeighbour:
        """A row as a neighbour."""
        row = self.rows[i]
        return RatedNeighbour(
            row=row,
            objective=objective,
            rating=float(row.ratings[objective]),
            scale=self.scales[row.source][objective],
            similarity=max(-1.0, min(1.0, similarity)),
        )


def _search(
    features: FeatureRows,
    mean: Float[Tensor, " d"],
    queries: Float[Tensor, "q d"],
    rated: Bool[Tensor, "kinds n"],
    kind_of: Int64[Tensor, " q"],
    n: int,
) -> tuple[Float[Tensor, "q best"], Int64[Tensor, "q best"]]:
    """The n best similarities of each query and the rows they are of; -inf where there is none."""
    best = torch.full((len(queries), n), -torch.inf)
    index = torch.zeros((len(queries), n), dtype=torch.int64)
    for start, block in _blocks(features):
        similarity = queries @ _directions(block - mean).T
        similarity = similarity.nan_to_num(-torch.inf)  # no direction, no neighbour
        not_rated = ~rated[:, start : start + len(block)]
        similarity.masked_fill_(not_rated[kind_of], -torch.inf)
        found, rows = similarity.topk(min(n, len(block)), dim=1)
        both, at = torch.cat([best, found], 1), torch.cat([index, rows + start], 1)
        # By row first, so that the stable sort by similarity keeps their order in a tie.
        order = at.argsort(dim=1, stable=True)
        both, at = both.gather(1, order), at.gather(1, order)
        order = both.argsort(dim=1, descending=True, stable=True)[:, :n]
        best, index = both.gather(1, order), at.gather(1, order)
    return best, index


def _blocks(features: FeatureRows) -> Iterator[tuple[int, Float[Tensor, "m d"]]]:
    """The rows, some at a time, as float32, with the number of the first."""
    size = max(_BLOCK_ENTRIES // features.shape[1], 1)
    for start in range(0, len(features), size):
        block = features[start : start + size].float()
        _check_finite("features of rated rows", block, start)
        yield start, block


def _middle(features: FeatureRows) -> Float[Tensor, " d"]:
    """The mean of rows that are spread evenly, at most `_MEAN_ROWS` of them."""
    n = len(features)
    some = torch.linspace(0, n - 1, min(n, _MEAN_ROWS), dtype=torch.float64).round().long()
    return features[some].double().mean(0).float()


def _directions(rows: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
    """Rows of length 1; NaN where a row is 0."""
    return rows / rows.norm(dim=1, keepdim=True)


def _check_finite(name: str, rows: Tensor, start: int = 0) -> None:
    """Refuse a row with an entry that is not finite."""
    bad = (~rows.isfinite().all(1)).nonzero().flatten()
    if len(bad):
        raise ValueError(f"`{name}` must be finite; row {int(bad[0]) + start} is not")
