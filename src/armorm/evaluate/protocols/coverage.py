"""What of a protocol's data is there, and whether it is enough for the figures of its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from armorm.errors import DataError
from armorm.evaluate.interval import Frozen
from armorm.evaluate.protocols.protocol import Protocol, ProtocolRow, Section, Subset


class SubsetCoverage(Frozen):
    """How much of one subset is there."""

    section: str
    """Section it belongs to."""
    subset: str
    """Its name."""
    found: int
    """Rows that were found."""
    expected: int | None
    """Rows that the published data has; None where that is not known."""

    @property
    def is_whole(self) -> bool:
        """Whether all its rows are there, as far as is known."""
        return self.found == self.expected if self.expected is not None else self.found > 0


class Coverage(Frozen):
    """How much of a protocol is there."""

    subsets: tuple[SubsetCoverage, ...]
    """Every subset of the protocol, those without rows included."""
    unknown: dict[str, int]
    """Rows of subsets that the protocol does not have; they are not used."""

    @property
    def is_whole(self) -> bool:
        """Whether figures are those that the protocol publishes."""
        return not self.unknown and all(one.is_whole for one in self.subsets)

    def problems(self) -> list[str]:
        """Return what is missing, wrong or unknown, one clause each."""
        missing = [repr(one.subset) for one in self.subsets if not one.found]
        clauses = [f"missing {', '.join(missing)}"] if missing else []
        clauses += [
            f"{one.subset!r} has {one.found:,} of {one.expected:,} rows"
            for one in self.subsets
            if one.found and not one.is_whole and one.expected is not None
        ]
        clauses += [
            f"unknown subset {name!r} ({n:,} row{'' if n == 1 else 's'})"
            for name, n in self.unknown.items()
        ]
        return clauses

    def sentence(self) -> str:
        """Say what is covered, for a person."""
        whole = sum(one.is_whole for one in self.subsets)
        used = sum(one.found for one in self.subsets)
        said = f"{used:,} rows; {whole} of {len(self.subsets)} subsets whole"
        return "; ".join([said, *self.problems()])


def cover(
    protocol: Protocol, rows: Sequence[ProtocolRow], *, path: str, partial: bool
) -> tuple[Protocol, list[ProtocolRow], Coverage]:
    """Return the protocol as its data allows, the rows that it uses, and what is covered.

    Where a protocol has no subsets of its own, each subset of the data becomes a section.

    Args:
        protocol: The protocol.
        rows: Rows that were read.
        path: Where they are from, for errors.
        partial: Whether figures of a part are wanted: sections and weights of what is there.

    Returns:
        Protocol with the sections that have rows, those rows, and the coverage.

    Raises:
        DataError: subsets are missing or unknown, or have another number of rows, unless
            `partial` (all of them are in the text); no row is of the protocol; two rows of
            Ties have one id, or no prompt number has both rows.
    """
    found = Counter(row.subset for row in rows)
    if not protocol.sections:
        protocol = replace(protocol, sections=_sections_of(protocol, list(found)))
    known = {subset.name for _, subset in protocol.subsets()}
    coverage = Coverage(
        subsets=tuple(
            SubsetCoverage(
                section=section.name,
                subset=subset.name,
                found=found[subset.name],
                expected=subset.count,
            )
            for section, subset in protocol.subsets()
        ),
        unknown={name: n for name, n in found.items() if name not in known},
    )
    used = [row for row in rows if row.subset in known]
    if not used or not (partial or coverage.is_whole):
        hint = ". `partial` (--partial) gives figures of what is there" if used else ""
        raise DataError(
            f"{path}: the protocol {protocol.name!r} must have {_what(protocol)}; "
            f"{'; '.join(coverage.problems())}{hint}"
        )
    sections = tuple(_present(section, found) for section in protocol.sections)
    kept = tuple(section for section in sections if section.subsets)
    _check_ties(kept, used, path)
    return replace(protocol, sections=kept), used, coverage


def _sections_of(protocol: Protocol, subsets: Sequence[str]) -> tuple[Section, ...]:
    """One section for each subset of the data, in order of first appearance."""
    return tuple(Section(name, (Subset(name),), shape=protocol.shape) for name in subsets)


def _present(section: Section, found: Counter[str]) -> Section:
    """A section with the subsets that have rows."""
    return replace(section, subsets=tuple(s for s in section.subsets if found[s.name]))


def _what(protocol: Protocol) -> str:
    """What the data of a protocol must be."""
    subsets = [subset for _, subset in protocol.subsets()]
    rows = sum(subset.count or 0 for subset in subsets)
    exact = all(subset.count is not None for subset in subsets)
    return f"its {len(subsets)} subsets" + (f" with {rows:,} rows" if exact else "")


def _check_ties(sections: Sequence[Section], rows: Sequence[ProtocolRow], path: str) -> None:
    """Raise unless the rows of Ties pair up by their ids."""
    names = {s.name for section in sections if section.shape == "ties" for s in section.subsets}
    ids = Counter(row.id for row in rows if row.subset in names)
    if not ids:
        return
    twice = next((identity for identity, n in ids.items() if n > 1), None)
    if twice is not None:
        raise DataError(f"{path}: an id of Ties must be given once; {twice!r} stands twice")
    numbers = Counter(identity.partition(":")[2] for identity in ids)
    if max(numbers.values()) < 2:
        raise DataError(
            f"{path}: Ties must have a 'ref:' and a 'tied:' row of one prompt number; "
            f"none of its {len(ids)} rows has its partner"
        )
