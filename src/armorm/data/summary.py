"""What a summary of data files says: counts, coverage, lengths, duplicates; plain values."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from armorm.data.scales import MIN_RATINGS


@dataclass(frozen=True, slots=True)
class Coverage:
    """The raw ratings of one source on one objective."""

    source: str
    """The source; empty where the rows name none."""
    objective: str
    """The objective."""
    count: int
    """Number of ratings."""
    min: float
    """Lowest, on the raw scale."""
    mean: float
    """Mean, on the raw scale."""
    max: float
    """Highest, on the raw scale."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths in characters; the quantiles are lengths that occur."""

    count: int
    """Number of texts; the rest is 0 where there are none."""
    min: int
    """Shortest."""
    median: int
    """Half of the texts are at most this long."""
    p95: int
    """95 % of the texts are at most this long."""
    max: int
    """Longest."""


@dataclass(frozen=True, slots=True)
class FileSummary:
    """The rows of one file."""

    path: str
    """The file, as in error messages."""
    n_rows: int
    """All rows, bad ones included."""
    n_rated: int
    """Rated responses."""
    n_pairs: int
    """Preference pairs."""
    n_conversations: int
    """Conversations without rating."""
    n_bad: int
    """Rows that the readers refuse."""
    reasons: dict[str, int] = field(hash=False)
    """Bad rows by reason, most frequent first."""
    errors: tuple[str, ...]
    """The first located errors."""


@dataclass(frozen=True, slots=True)
class SharedPrompts:
    """Prompts that two files have in common, up to case and white space."""

    first: str
    """One file."""
    second: str
    """The other file."""
    n_prompts: int
    """Number of distinct prompts in both."""


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What `summarise` found; bad rows count in `files` only."""

    files: tuple[FileSummary, ...]
    """One entry a file, in reading order."""
    coverage: tuple[Coverage, ...]
    """One entry a source and objective, in order of first appearance."""
    prompt_lengths: Lengths
    """Characters of all messages of a prompt; one entry a row."""
    response_lengths: Lengths
    """Characters of a response; two entries for a pair."""
    n_prompts: int
    """Distinct prompts, up to case and white space."""
    n_multi_turn: int
    """Rows whose prompt has an assistant message."""
    n_system: int
    """Rows whose prompt has a system message."""
    n_not_alternating: int
    """Rows whose prompt is not user, assistant, user, ... after the system message."""
    n_duplicate_rows: int
    """Rows that repeat prompt and response (or both sides) of an earlier one exactly."""
    n_duplicate_ids: int
    """Rows that the readers refuse for the id of an earlier one."""
    shared: tuple[SharedPrompts, ...]
    """Files with prompts in common, those with none left out."""
    n_longer_chosen: int
    """Pairs whose chosen response is the longer one, in characters."""
    n_shorter_chosen: int
    """Pairs whose chosen response is the shorter one."""
    n_equal_length: int
    """Pairs with responses of one length: ties of the rule that the longer one wins."""
    n_contradictory: int
    """Pairs that prefer the opposite of an earlier pair."""

    def notes(self) -> tuple[str, ...]:
        """Say what training would refuse or a user may not expect, one sentence each."""
        notes: list[str] = []
        for cell in self.coverage:
            name = f"{cell.source}: objective {cell.objective!r}".removeprefix(": ")
            if cell.count < MIN_RATINGS:
                notes.append(f"{name} has {cell.count} ratings; a head needs {MIN_RATINGS}")
            elif cell.min == cell.max:
                notes.append(f"{name} has no variance: all {cell.count} ratings are {cell.min:g}")
        if self.n_not_alternating:
            notes.append(
                f"{self.n_not_alternating:,} prompts do not alternate user and assistant; "
                "some chat templates (Gemma, Mistral) refuse them"
            )
        if self.n_contradictory:
            notes.append(f"{self.n_contradictory:,} pairs prefer the opposite of an earlier pair")
        return tuple(notes)

    def as_dict(self) -> dict[str, Any]:
        """Return all counts and the notes as plain values for JSON."""
        return {**asdict(self), "notes": self.notes()}
