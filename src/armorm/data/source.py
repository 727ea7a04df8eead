"""Where rows come from and how their columns are called; it opens nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from armorm.errors import DataError, nearest

FIELDS = ("id", "prompt", "response", "messages", "chosen", "rejected", "source", "ratings")
"""The fields of a row that `DataSource.columns` can map."""

HUB = "hub:"
QUICKSTART = "quickstart:"


@dataclass(frozen=True, slots=True)
class DataSource:
    """A file, a folder, a hub data set or a part of the shipped corpus.

    Example:
        >>> DataSource("hub:nvidia/HelpSteer2", columns={"ratings": {"helpful": "helpfulness"}}).hub
        HubName(name='nvidia/HelpSteer2', config=None, revision=None)
    """

    path: str
    """File, folder, `hub:owner/name`, `hub:owner/name/config@revision`, `quickstart:rated.jsonl`.

    `hub:` takes one or two parts as the name, a third as the configuration.
    """
    split: str | None = None
    """Split of a hub data set, slices included (`train[:1000]`); None means `train`."""
    source: str | None = None
    """Source of every row; None means that rows name theirs. It wins over a `source` field."""
    columns: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict, hash=False)
    """Our field -> their column; for `ratings` also a mapping objective -> column.

    A dotted column walks into objects, a number into lists: `completions.0.rating`.
    """
    ignore: tuple[str, ...] = ()
    """Objectives of the file that are left out."""
    values: Mapping[str, float | None] = field(default_factory=dict, hash=False)
    """Ratings written as text -> number, e.g. `{"yes": 1, "no": 0, "N/A": None}`; None = not rated.

    Without it a text where a number belongs is an error.
    """

    def __post_init__(self) -> None:
        """Check everything that can be known without opening the data."""
        if not self.path:
            raise ValueError("`path` must name a file, a folder or a hub data set; got ''")
        if self.split is not None and not self.path.startswith(HUB):
            raise ValueError(f"`split` is for hub data only; got {self.split!r} for {self.path!r}")
        if self.source is not None and not self.source.strip():
            raise ValueError("`source` must be a name or None; got an empty text")
        if self.source is not None and "source" in self.columns:
            raise ValueError(
                f"`source` and `columns` must not both name a source; got {self.source!r} "
                f"and {self.columns['source']!r}"
            )
        _check_columns(self.columns)
        if self.path.startswith(HUB):
            _parse_hub(self.path)

    @property
    def hub(self) -> HubName | None:
        """Name, configuration and revision on the hub; None for files."""
        return _parse_hub(self.path) if self.path.startswith(HUB) else None


@dataclass(frozen=True, slots=True)
class HubName:
    """What identifies a data set on the hub."""

    name: str
    """`owner/name`."""
    config: str | None
    """Configuration (subset); None means the default one."""
    revision: str | None
    """Branch, tag or commit; None means the newest."""


def as_source(source: DataSource | str | os.PathLike[str]) -> DataSource:
    """Return a `DataSource`, made with default columns from a bare path.

    Args:
        source: A data source, or what its `path` would be.

    Returns:
        The data source.

    Raises:
        DataError: the path is empty, or no name on the hub.
    """
    if isinstance(source, DataSource):
        return source
    try:
        return DataSource(os.fspath(source))
    except ValueError as error:
        raise DataError(str(error)) from error


def _check_columns(columns: Mapping[str, str | Mapping[str, str]]) -> None:
    """Check that every mapped field is ours and every column is a name."""
    for ours, theirs in columns.items():
        if ours not in FIELDS:
            raise ValueError(f"`columns` maps no field {ours!r}{nearest(ours, FIELDS)}")
        if isinstance(theirs, Mapping):
            if ours != "ratings":
                raise ValueError(f"`columns` must map {ours!r} to one column; got a mapping")
            if not theirs:
                raise ValueError("`columns` must map 'ratings' to at least one objective; got {}")
        for column in theirs.values() if isinstance(theirs, Mapping) else (theirs,):
            if not isinstance(column, str) or not column:
                raise ValueError(f"`columns` must map {ours!r} to a column name; got {column!r}")


def _parse_hub(path: str) -> HubName:
    """Split `hub:owner/name/config@revision`."""
    rest, at, revision = path.removeprefix(HUB).partition("@")
    parts = rest.split("/")
    if not all(parts) or len(parts) > 3 or (at and not revision):
        raise ValueError(
            f"`path` on the hub must be hub:owner/name, then /config and @revision; got {path!r}"
        )
    config = parts[2] if len(parts) == 3 else None
    return HubName("/".join(parts[:2]), config, revision or None)
