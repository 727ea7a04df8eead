"""What a protocol is: sections, subsets, counts, weights and rules as data; it measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from armorm.types import Conversation, Prompt

Shape = Literal["pairs", "labelled", "best of n", "ties", "grid", "references"]
"""How the rows of a section are judged; `armorm.evaluate.protocols.shapes` has one rule each."""

Layout = Literal["pair", "lists", "labelled", "references", "own"]
"""Which columns a row has; `armorm.evaluate.protocols.read` has one parser each."""

Tie = Literal["loss", "half", "shared", "B"]
"""What an exact tie counts: nothing, one half, one over the number at the top, or a vote for B."""

TIES_IN_WORDS: Mapping[Tie, str] = {
    "loss": "an exact tie is a loss",
    "half": "an exact tie counts one half",
    "shared": "responses that share the first place share the credit",
    "B": "an exact tie is a decision for B",
}


@dataclass(frozen=True, slots=True)
class Subset:
    """One subset of a protocol."""

    name: str
    """As the column of the data names it."""
    count: int | None = None
    """Rows that the published data has; None where that is not known and not checked."""
    weight: float = 1.0
    """Weight in its section, relative to the others there."""


@dataclass(frozen=True, slots=True)
class Section:
    """Subsets that are reported as one figure."""

    name: str
    """As the protocol calls it."""
    subsets: tuple[Subset, ...]
    """At least one."""
    weight: float = 1.0
    """Weight in the overall figure, relative to the other sections."""
    shape: Shape = "pairs"
    """How its rows are judged."""
    pooled: bool = False
    """Whether the rows of all its subsets are one pool, whatever their weights."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where the data of a protocol, or of some of its subsets, is published."""

    hub: str
    """`owner/name`."""
    split: str
    """Split of the data set."""
    subset: str | None = None
    """Subset of all its rows; None where a column names it."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A published evaluation, complete: what is read, how rows count, how figures are made."""

    name: str
    """As it is asked for."""
    title: str
    """As it is shown."""
    sections: tuple[Section, ...]
    """In the order shown; empty where the subsets of the data are the sections."""
    layout: Layout
    """Which columns a row has."""
    tie: Tie
    """What an exact tie counts."""
    rule: str
    """How the overall figure is made, as one clause; says which of several published rules."""
    reference: str
    """Where it was published."""
    published: tuple[Published, ...] = ()
    """Where its data is; empty where the user brings the data."""
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Our field -> column of the data, where they differ."""
    files: tuple[str, ...] = ()
    """Patterns of file names that are the data, where a folder holds others too."""
    shape: Shape = "pairs"
    """How rows are judged where `sections` is empty."""
    by_prefix: bool = False
    """Whether the subset column only begins with the name of a subset."""
    overall: Literal["sections", "rows"] = "sections"
    """The weighted mean of the sections, or the mean over all rows."""

    def subsets(self) -> Iterator[tuple[Section, Subset]]:
        """Yield every subset with its section."""
        for section in self.sections:
            for subset in section.subsets:
                yield section, subset


@dataclass(frozen=True, slots=True)
class ProtocolRow:
    """One row of a protocol's data: a prompt, its responses, and what is known of them."""

    id: str
    """Identifier in the data; `<file>:<number>` where it has none."""
    subset: str
    """Name of its subset, as the protocol spells it."""
    prompt: Prompt
    """The messages before the responses."""
    responses: tuple[str, ...]
    """Correct ones first, or in the order of `references`; A and B of a labelled row."""
    n_correct: int = 1
    """How many of the responses are correct; they come first."""
    label: str = ""
    """`A>B` or `B>A` of a labelled row."""
    references: tuple[float, ...] = ()
    """What is known of each response (a rating, a win rate); the larger the better."""
    group: str = ""
    """Rows of one group are drawn together for intervals."""

    def conversations(self) -> tuple[Conversation, ...]:
        """Return one conversation a response, in their order."""
        return tuple(Conversation(self.prompt, text, self.id) for text in self.responses)
