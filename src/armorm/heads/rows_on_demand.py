"""Feature rows that are read when they are needed, and what can be said of all of them in one pass.

Knows neither files nor what a row stands for: anything with a shape and rows by number will do.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from armorm.heads.checks import check_rows, check_shape

FEW_ROWS = 16_384
"""So many rows are taken as one where figures of all of them are made; more are read in parts."""

CHUNK_ENTRIES = 2**20
"""Entries of rows that one pass over all of them holds at a time: 8 MiB in float64, which stays
in the cache; chunks 16 times as large took 5 times as long."""


@runtime_checkable
class FeatureRows(Protocol):
    """Rows of features that may lie anywhere, such as in memory-mapped shards.

    A `Tensor` is one. Other classes are asked for ascending, distinct row numbers only, so that
    a read goes through a file once from front to back.
    """

    @property
    def shape(self) -> Sequence[int]:
        """Number of rows and width: (n, d)."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Rows by number.

        Args:
            rows: Shape (m,), int64.

        Returns:
            Shape (m, d), of any floating-point dtype.
        """
        ...


class IndexedRows:
    """Rows that several places share: row i is `features[index[i]]`.

    Prompts that occur in many pairs are stored, read and computed once this way.

    Example:
        >>> rows = IndexedRows(torch.tensor([[1.0], [2.0]]), torch.tensor([1, 0, 1]))
        >>> rows[torch.tensor([0, 2])].tolist()
        [[2.0], [2.0]]
    """

    def __init__(self, features: FeatureRows, index: Tensor) -> None:
        """Check the index.

        Args:
            features: Shape (m, d). Each row once.
            index: Shape (p,), int64. Row of `features` for each place.

        Raises:
            ValueError: another shape or dtype of the index; a number that is no row.
        """
        check_shape("index", index, "p")
        if index.dtype != torch.int64:
            kind = str(index.dtype).removeprefix("torch.")
            raise ValueError(f"`index` must hold int64 row numbers; got {kind}")
        outside = ((index < 0) | (index >= len(features))).nonzero()
        if len(outside):
            first = int(outside[0])
            raise ValueError(
                f"`index` must hold row numbers from 0 to {len(features) - 1}; "
                f"got {int(index[first])} at {first}"
            )
        self.features, self.index = features, index.cpu()

    @property
    def shape(self) -> tuple[int, int]:
        """Number of places and width."""
        return len(self.index), self.features.shape[1]

    def __len__(self) -> int:
        """Number of places."""
        return len(self.index)

    def __getitem__(self, rows: Tensor, /) -> Tensor:
        """Rows of places, by number of the place."""
        return _in_order(self.features, self.index[rows.cpu()])


class RowMoments(NamedTuple):
    """What standardising asks of a set of rows, in float64."""

    mean: Float64[Tensor, " d"]
    """Mean of each feature."""
    spread: Float64[Tensor, " d"]
    """Standard deviation of each feature, of the population."""
    largest: Float64[Tensor, " d"]
    """Largest magnitude of each feature."""


def check_feature_rows(name: str, rows: FeatureRows, axes: str, **sizes: int) -> None:
    """Raise unless there is a row, with the axes and sizes named; none is read.

    Args:
        name: Name of the argument, for the error.
        rows: The rows.
        axes: Axis letters separated by spaces, as in `check_shape`.
        **sizes: Size that an axis must have, by its letter.

    Raises:
        ValueError: another number of axes; an axis of another size; no row.
    """
    # A tensor without storage has the shape and nothing else.
    shape = torch.empty(tuple(rows.shape), device="meta")
    check_shape(name, shape, axes, **sizes)
    check_rows(name, shape)


def read_rows(name: str, source: FeatureRows, rows: Int64[Tensor, " m"]) -> Float[Tensor, "m d"]:
    """Read rows by number, in float32 and in the order asked for, and check them.

    Args:
        name: Name of the argument that they come from, for errors.
        source: The rows.
        rows: Shape (m,), int64.

    Returns:
        Shape (m, d), float32, on the device that the source keeps them on.

    Raises:
        ValueError: the source gives something other than floating-point rows of its width; an
            entry that is not finite (the first is located in the source).
    """
    found = _in_order(source, rows)
    wanted = (len(rows), source.shape[1])
    if (
        not isinstance(found, Tensor)
        or tuple(found.shape) != wanted
        or not found.is_floating_point()
    ):
        raise ValueError(
            f"`{name}` must give a floating-point tensor of shape {wanted} for {len(rows)} rows; "
            f"got {_description(found)}"
        )
    found = found.float()
    # One sum tells that all is well; only where it does not is each entry looked at.
    if not math.isfinite(float(found.sum())):
        _check_read(name, found, rows)
    return found


def row_moments(name: str, source: FeatureRows) -> RowMoments:
    """Mean, spread and largest magnitude of each feature, in one pass and bounded memory.

    Chunks are taken in float64 and joined by the parallel form of Welford's update, so that a
    large mean does not cost digits. Rows that an `IndexedRows` shares are read once and count
    as often as they occur.

    Args:
        name: Name of the argument, for errors.
        source: Shape (n, d), n at least 1.

    Returns:
        The three, each of shape (d,).

    Raises:
        ValueError: as `read_rows`.
    """
    d = source.shape[1]
    total, mean, square, largest = 0.0, *(torch.zeros(3, d, dtype=torch.float64))
    for x, count in _chunks(name, source):
        n = float(count.sum())
        share = (count / n).double()
        largest = torch.maximum(largest, x.abs().amax(0).double())
        x = x.double()
        chunk_mean = share @ x
        x -= chunk_mean
        step = chunk_mean - mean
        square += n * (share @ x.square_()) + step.square() * (total * n / (total + n))
        mean += step * (n / (total + n))
        total += n
    return RowMoments(mean, (square / total).sqrt(), largest)


def distinct_rows(
    source: IndexedRows, places: Int64[Tensor, " m"]
) -> tuple[Int64[Tensor, " u"], Int64[Tensor, " m"]]:
    """Rows of the features that some places share, each once and ascending, and which is whose."""
    rows, inverse = source.index[places.cpu()].unique(return_inverse=True)
    return rows, inverse


def _chunks(name: str, source: FeatureRows) -> Iterator[tuple[Tensor, Tensor]]:
    """All rows in float32 on the CPU, a chunk at a time, with how often each counts."""
    if isinstance(source, IndexedRows):
        rows, counts = source.index.unique(return_counts=True)
        source = source.features
    else:
        rows = torch.arange(len(source))
        counts = torch.ones(len(source), dtype=torch.int64)
    size = max(1, CHUNK_ENTRIES // source.shape[1])
    for part, count in zip(rows.split(size), counts.split(size), strict=True):
        yield read_rows(name, source, part).cpu(), count.double()


def _in_order(source: FeatureRows, rows: Tensor) -> Any:
    """Rows in any order and number, from one ascending read without repeats; not yet checked."""
    if isinstance(source, Tensor):
        return source[rows.to(source.device)]
    if isinstance(source, IndexedRows) or bool((rows[1:] > rows[:-1]).all()):
        return source[rows]
    ascending, inverse = rows.unique(return_inverse=True)
    found = source[ascending]
    return found[inverse.to(found.device)] if isinstance(found, Tensor) else found


def _description(found: object) -> str:
    """What a source gave, for an error."""
    if not isinstance(found, Tensor):
        return type(found).__name__
    return f"{str(found.dtype).removeprefix('torch.')} of shape {tuple(found.shape)}"


def _check_read(name: str, found: Float[Tensor, "m d"], rows: Int64[Tensor, " m"]) -> None:
    """Name the first entry that is not finite, by its place in the source."""
    bad = ~found.isfinite()
    places = bad.nonzero()
    if not len(places):  # finite numbers whose sum is not
        return
    first = (int(rows[places[0, 0]]), int(places[0, 1]))
    verb = "is" if len(places) == 1 else "are"
    raise ValueError(
        f"`{name}` must be finite; {len(places)} of {found.numel()} entries read {verb} not, "
        f"the first at index {first}"
    )
