"""What a published data set is: where it lies, what it holds, how its records become rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from armorm.data.drops import RowProblem
from armorm.types import PreferencePair, RatedResponse, Scale

Row: TypeAlias = RatedResponse | PreferencePair
"""What a converter makes; its `id` and its `source`, the name of the set, are filled in by
`armorm.data.sources.convert`, which also checks every row as the readers would."""

Convert: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], Iterable[Row | RowProblem]]
"""Records that belong together -> rows, and a problem for each row that cannot be one.

A `RowProblem` that is raised stands for all rows of these records.
"""


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """One published data set and its converter."""

    name: str
    """Name on our command line, e.g. `helpsteer2`; the `source` of its rows."""
    kind: Literal["rated", "pairs"]
    """What its rows become."""
    hub: str
    """`owner/name`, then `/config` and `@revision` where they matter."""
    split: str
    """Split on the hub that training uses."""
    licence: str
    """As its card states it; `not stated` where it does not."""
    link: str
    """Where columns and scales are documented."""
    n_rows: int | None
    """Rows that its conversion is expected to give; None where no source says."""
    columns: tuple[str, ...]
    """Columns that every record must have; dotted where they lie inside an object."""
    convert: Convert
    """Records to rows."""
    scales: Mapping[str, Scale] = field(default_factory=dict, hash=False)
    """Objective -> scale of its raw ratings; empty for pairs."""
    group_by: tuple[str, ...] = ()
    """Columns: consecutive records that agree on them are converted together; () means each
    record by itself."""
    note: str = ""
    """One sentence on what a user must know: a trap of the data, or a choice made here."""
