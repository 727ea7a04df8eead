"""Training rows whose prompt evaluation files hold too: left out before anything is fitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from armorm.data import BadRows, DataSource, Drops, group_of, read_prompts
from armorm.errors import DataError
from armorm.evaluate.figures import DecontaminationFigures
from armorm.storage import fingerprint
from armorm.types import PreferencePair, RatedResponse

CONTAMINATED = "prompt of an evaluation file"
"""Reason under which a row that is left out is counted."""

_Row = TypeVar("_Row", RatedResponse, PreferencePair)


@dataclass(frozen=True, slots=True)
class EvaluationFile:
    """The prompts of one evaluation file."""

    path: str
    """As the recipe names it."""
    groups: frozenset[str]
    """Its prompts, up to case and white space."""
    unread: str = ""
    """Which of its rows could not be read, and why; empty where all could."""


class Decontamination:
    """Leaves rows out by their prompt, and counts them by training file and evaluation file."""

    def __init__(self, files: Sequence[EvaluationFile]) -> None:
        """Start at zero.

        Args:
            files: The evaluation files.
        """
        self._files = files
        self._rows: list[Counter[str]] = [Counter() for _ in files]
        self._shared: list[set[str]] = [set() for _ in files]
        self._n_left_out: dict[str, int] = {}

    @property
    def key(self) -> str:
        """Fingerprint of all prompts, whatever the files are called."""
        return fingerprint([sorted(file.groups) for file in self._files])

    @property
    def figures(self) -> tuple[DecontaminationFigures, ...]:
        """What was left out, one entry an evaluation file, in the order of the recipe."""
        return tuple(
            DecontaminationFigures(
                path=file.path,
                prompts=len(file.groups),
                shared_prompts=len(shared),
                rows=dict(sorted(rows.items())),
            )
            for file, shared, rows in zip(self._files, self._shared, self._rows, strict=True)
        )

    def kept(
        self, what: str, rows: Sequence[_Row], file_of: Mapping[str, str], drops: Drops
    ) -> list[_Row]:
        """Return the rows whose prompt is in no evaluation file.

        Args:
            what: Key of the recipe that names the rows.
            rows: Training rows.
            file_of: File of each by its id.
            drops: Counts each row that is left out once, however many files hold its prompt.

        Returns:
            The others, in their order.

        Raises:
            DataError: there are rows, and none is left.
        """
        left: list[_Row] = []
        gone, holding = 0, set[int]()
        for row in rows:
            group = group_of(row.prompt)
            holders = [i for i, file in enumerate(self._files) if group in file.groups]
            holding.update(holders)
            for i in holders:
                self._rows[i][file_of[row.id]] += 1
                self._shared[i].add(group)
            if holders:
                gone += 1
                drops.add(file_of[row.id], CONTAMINATED)
            else:
                left.append(row)
        if gone:
            self._n_left_out[what] = gone
        if rows and not left:
            names = ", ".join(repr(self._files[i].path) for i in sorted(holding))
            raise DataError(
                f"{what}: a row must be left after `decontaminate`; the prompts of all "
                f"{len(rows):,} are in {names}"
            )
        return left

    def notes(self) -> tuple[str, ...]:
        """Return what a reader of the figures must know, one sentence each."""
        if not self._files:
            return ()
        said = [
            f"{file.path}: {file.unread}: their prompts were not compared"
            for file in self._files
            if file.unread
        ]
        if not self._n_left_out:
            names = ", ".join(file.path for file in self._files)
            return (*said, f"no training row has a prompt of {names}")
        prompts = len(set().union(*self._shared))
        rows = " and ".join(f"{n:,} of `{what}`" for what, n in self._n_left_out.items())
        by_file = ", ".join(
            f"{rows.total():,} for {file.path}"
            for file, rows in zip(self._files, self._rows, strict=True)
            if rows
        )
        return (
            *said,
            f"left out for {prompts:,} prompts that are in evaluation files too: {rows} "
            f"({by_file}); prompts that differ by more than case and white space are not found",
        )


def read_evaluation_files(sources: Sequence[DataSource], bad_rows: BadRows) -> Decontamination:
    """Read the prompts that no training row may have.

    Args:
        sources: Files, folders or hub ids of rows of any shape; may be none.
        bad_rows: `stop` raises at a row without a prompt, `drop` notes it.

    Returns:
        What leaves rows out.

    Raises:
        DataError: a file is missing, empty or damaged; a row without a prompt under `stop`.
        MissingDependency: Parquet or hub data without the packages for them.
    """
    files: list[EvaluationFile] = []
    for source in sources:
        drops = Drops()
        prompts = read_prompts(source, bad_rows=bad_rows, drops=drops)
        n_rows = len(prompts) + drops.total
        unread = drops.sentence(n_rows) if drops.total else ""
        files.append(EvaluationFile(source.path, frozenset(map(group_of, prompts)), unread))
    return Decontamination(files)
