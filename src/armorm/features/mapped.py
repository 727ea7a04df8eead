"""Rows of features that lie in memory-mapped parts on disk and are read when they are asked for.

Knows nothing of files: it gets the parts as tensors, whose pages the system loads and drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

CHUNK_ROWS = 8192
"""Rows that are read at a time where all are needed one after the other."""


class MappedRows:
    """Rows of width d in parts, some of them chosen, in any order and any number of times.

    Stands where a tensor of shape (n, d) would, for those who read it by rows: `len`,
    `shape`, and `rows[index]`, which copies the rows of an index out of the parts in the
    dtype that they are stored in. Choosing (`take_rows`) and joining (`join_rows`) copy
    nothing.
    """

    def __init__(self, parts: Sequence[Tensor], index: Tensor | None = None) -> None:
        """Keep parts and the choice.

        Args:
            parts: Each of shape (m_i, d), one dtype; one or more.
            index: Numbers of the chosen rows, counted through all parts, shape (n,), int64;
                None chooses all, in order.

        Raises:
            ValueError: no part; parts of different widths or dtypes.
        """
        kinds = {(part.shape[1], part.dtype) for part in parts}
        if len(kinds) != 1:
            raise ValueError(
                "`parts` must be one or more, of one width and dtype; got "
                f"{sorted(map(str, kinds))}"
            )
        self._parts = list(parts)
        ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends])
        self._index = torch.arange(int(ends[-1])) if index is None else index

    def __len__(self) -> int:
        """Return n."""
        return len(self._index)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width, (n, d)."""
        return len(self), self._parts[0].shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Precision that the rows are stored in."""
        return self._parts[0].dtype

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Copy rows into memory.

        Args:
            rows: Numbers of rows, shape (m,), int64; or a mask of shape (n,), bool; or a
                slice.

        Returns:
            Shape (m, d), in the stored dtype.
        """
        wanted = self._index[rows]
        found = torch.empty((len(wanted), self.shape[1]), dtype=self.dtype)
        # In the order of the disk, so that a page is read once.
        order = wanted.argsort(stable=True)
        ordered = wanted[order]
        owners = torch.searchsorted(self._starts, ordered, right=True) - 1
        parts, counts = torch.unique_consecutive(owners, return_counts=True)
        start = 0
        for part, count in zip(parts.tolist(), counts.tolist(), strict=True):
            stop = start + count
            inside = ordered[start:stop] - self._starts[part]
            found[order[start:stop]] = self._parts[part][inside]
            start = stop
        return found

    def chosen(self, rows: Tensor) -> MappedRows:
        """Choose among the chosen rows, without reading one.

        Args:
            rows: Numbers, shape (m,), int64; or a mask of shape (n,), bool.

        Returns:
            The same parts with m rows chosen.
        """
        return MappedRows(self._parts, self._index[rows])

    def shared(self) -> tuple[MappedRows, Tensor]:
        """Return all rows of the parts, and which of them are the chosen ones, shape (n,)."""
        return MappedRows(self._parts), self._index

    def joined(self, more: MappedRows) -> MappedRows:
        """Put the chosen rows of another behind these, without reading one.

        Args:
            more: Rows of the same width and dtype.

        Returns:
            Rows of both.
        """
        index = torch.cat([self._index, more._index + self._starts[-1]])
        return MappedRows([*self._parts, *more._parts], index)


FeatureRows = Tensor | MappedRows
"""Features as rows: in memory, or on disk."""


def take_rows(features: FeatureRows, rows: Tensor) -> FeatureRows:
    """Choose rows; those in memory are copied, those on disk stay there.

    Args:
        features: Shape (n, d).
        rows: Numbers, shape (m,), int64; or a mask of shape (n,), bool.

    Returns:
        Shape (m, d).
    """
    return features.chosen(rows) if isinstance(features, MappedRows) else features[rows]


def join_rows(parts: Sequence[FeatureRows]) -> FeatureRows:
    """Put features one after the other.

    Args:
        parts: One or more of the same width; all on disk, or those on disk are read.

    Returns:
        All rows: on disk where all are, else in memory as float32.
    """
    first, *rest = parts
    if isinstance(first, MappedRows) and all(isinstance(part, MappedRows) for part in rest):
        for part in rest:
            assert isinstance(part, MappedRows)
            first = first.joined(part)
        return first
    return torch.cat([in_memory(part) for part in parts])


def in_memory(features: FeatureRows) -> Tensor:
    """Read all rows.

    Args:
        features: Shape (n, d).

    Returns:
        Shape (n, d); float32 where they were on disk.
    """
    return features[:].float() if isinstance(features, MappedRows) else features


def chunks(features: FeatureRows, size: int = CHUNK_ROWS) -> Iterator[Tensor]:
    """Read all rows, some at a time.

    Args:
        features: Shape (n, d).
        size: Most rows at a time.

    Yields:
        Shape (m, d) in the stored dtype, in order; once with no row where there is none.
    """
    for start in range(0, max(len(features), 1), size):
        yield features[start : start + size]
