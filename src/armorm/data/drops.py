"""Why rows are not used: the problem of one row, and the count of all of them by file."""

from __future__ import annotations

from collections import Counter


class RowProblem(Exception):
    """What is wrong with one row; the reader adds where, and stops or counts.

    `reason` is a short stable name for counting, `text` the sentence for a person.
    """

    def __init__(self, reason: str, text: str) -> None:
        """Keep both forms.

        Args:
            reason: Short, without values, the same for all rows with this problem.
            text: What must hold and what was found, without the place.
        """
        super().__init__(text)
        self.reason = reason
        self.text = text


class Drops:
    """Counts of dropped and of truncated rows, by file and reason.

    One object goes through a whole run, so that its end can account for every row
    that was not used as it was written.

    Example:
        >>> drops = Drops()
        >>> drops.add("a.jsonl", "empty response", 2)
        >>> drops.sentence(1000)
        'dropped 2 of 1,000 rows: 2 empty response'
    """

    def __init__(self) -> None:
        """Start at zero."""
        self._dropped: dict[str, Counter[str]] = {}
        self._truncated: dict[str, Counter[str]] = {}

    def add(self, path: str, reason: str, n: int = 1) -> None:
        """Count dropped rows.

        Args:
            path: File the rows come from, as in error messages.
            reason: Short and without values of the row.
            n: Number of rows; 0 changes nothing.
        """
        _count(self._dropped, path, reason, n)

    def add_truncated(self, path: str, reason: str, n: int = 1) -> None:
        """Count rows that are used after a part was cut away.

        Args:
            path: File the rows come from, as in error messages.
            reason: What was cut, e.g. `truncated to 4,096 tokens`.
            n: Number of rows; 0 changes nothing.
        """
        _count(self._truncated, path, reason, n)

    def merge(self, other: Drops) -> None:
        """Add the counts of another object.

        Args:
            other: Counts of a part of the run.
        """
        for mine, theirs in (
            (self._dropped, other._dropped),
            (self._truncated, other._truncated),
        ):
            for path, counts in theirs.items():
                mine.setdefault(path, Counter()).update(counts)

    @property
    def total(self) -> int:
        """Number of dropped rows, truncated ones not included."""
        return sum(counts.total() for counts in self._dropped.values())

    @property
    def total_truncated(self) -> int:
        """Number of truncated rows."""
        return sum(counts.total() for counts in self._truncated.values())

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return `{path: {reason: n}}` with dropped and truncated rows, for a report."""
        merged: dict[str, dict[str, int]] = {}
        for table in (self._dropped, self._truncated):
            for path, counts in table.items():
                for reason, n in counts.items():
                    row = merged.setdefault(path, {})
                    row[reason] = row.get(reason, 0) + n
        return merged

    def reasons(self, path: str | None = None) -> dict[str, int]:
        """Return the dropped rows by reason, most frequent first.

        Args:
            path: Only this file; None means all files.

        Returns:
            Number of rows by reason.
        """
        total: Counter[str] = Counter()
        for name, counts in self._dropped.items():
            if path is None or name == path:
                total.update(counts)
        return dict(total.most_common())

    def sentence(self, n_rows: int, what: str = "rows") -> str:
        """Return one sentence for a person.

        Args:
            n_rows: Number of rows that were read, dropped ones included.
            what: Plural name of the rows.

        Returns:
            For example `dropped 31 of 7,680 pairs: 29 empty response, 2 equal sides`,
            with `; truncated 4` and its reasons when there are any.
        """
        said = f"dropped {self.total:,}" if self.total else "dropped none"
        said += f" of {n_rows:,} {what}"
        if self.total:
            said += ": " + _listing(self.reasons())
        if self.total_truncated:
            cut: Counter[str] = Counter()
            for counts in self._truncated.values():
                cut.update(counts)
            said += f"; truncated {self.total_truncated:,}: " + _listing(dict(cut.most_common()))
        return said


def _count(table: dict[str, Counter[str]], path: str, reason: str, n: int) -> None:
    """Add to one cell, making neither row nor cell for zero."""
    if n < 0:
        raise ValueError(f"`n` must be 0 or more; got {n}")
    if n:
        table.setdefault(path, Counter())[reason] += n


def _listing(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.items())
