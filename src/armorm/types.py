"""The rows that flow through armorm, as frozen values; they know nothing of files or tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Message(NamedTuple):
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str
    """The text, never empty."""


Prompt = tuple[Message, ...]
"""The messages before the response; at least one."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and the response to be judged."""

    prompt: Prompt
    """The messages before the response."""
    response: str
    """Text of the assistant message being judged."""
    id: str = ""
    """Identifier of the row; empty where the caller has none."""

    def messages(self) -> list[dict[str, str]]:
        """Return prompt and response as a list of role / content mappings."""
        turns = [{"role": m.role, "content": m.content} for m in self.prompt]
        return [*turns, {"role": "assistant", "content": self.response}]


@dataclass(frozen=True, slots=True)
class RatedResponse:
    """A response with absolute ratings on some objectives."""

    id: str
    """Unique among all rated rows of a run."""
    prompt: Prompt
    """The messages before the response."""
    response: str
    """Text of the assistant message being judged."""
    source: str
    """The data set the row comes from; fixes its rating scales."""
    ratings: Mapping[str, float] = field(hash=False)
    """Raw rating by objective; an objective that is not rated is absent."""

    @property
    def conversation(self) -> Conversation:
        """Prompt and response alone."""
        return Conversation(self.prompt, self.response, self.id)


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two responses to one prompt, one preferred."""

    id: str
    """Unique among all pairs of a run."""
    prompt: Prompt
    """The messages before the responses."""
    chosen: str
    """The preferred response."""
    rejected: str
    """The other response."""
    source: str = ""
    """The data set the pair comes from; empty where unknown."""

    @property
    def conversations(self) -> tuple[Conversation, Conversation]:
        """The chosen and the rejected conversation, in this order."""
        return (
            Conversation(self.prompt, self.chosen, self.id),
            Conversation(self.prompt, self.rejected, self.id),
        )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Any number of responses to one prompt, not rated."""

    id: str
    """Identifier of the prompt."""
    prompt: Prompt
    """The messages before the responses."""
    responses: tuple[str, ...]
    """The responses, in the order given."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How raw ratings of one (source, objective) map to [0, 1].

    normalised = (raw + offset) / divisor. By default offset = -low and divisor =
    high - low, so that low becomes 0 and high becomes 1. The released ArmoRM maps
    HelpSteer's 0..4 with offset 0.5 and divisor 5 (arXiv 2406.12845, model card).

    Example:
        >>> Scale(1, 5).normalise(2)
        0.25
        >>> Scale(0, 4, offset=0.5, divisor=5).normalise(4)
        0.9
    """

    low: float
    """Lowest raw rating that may occur."""
    high: float
    """Highest raw rating that may occur."""
    offset: float | None = None
    """Added to the raw rating; None means -low."""
    divisor: float | None = None
    """Divides the sum; None means high - low."""

    def __post_init__(self) -> None:
        """Check that the map exists and increases.

        Raises:
            ValueError: `low` is not below `high`, both finite; a divisor that is not
                positive and finite; an offset that is not finite.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"`low` must be below `high`; got ({self.low:g}, {self.high:g})")
        if self.divisor is not None and not 0 < self.divisor < math.inf:
            raise ValueError(f"`divisor` must be positive and finite; got {self.divisor:g}")
        if self.offset is not None and not math.isfinite(self.offset):
            raise ValueError(f"`offset` must be finite; got {self.offset:g}")

    def contains(self, raw: float) -> bool:
        """Say whether a raw rating lies on the scale (NaN and infinity do not)."""
        return self.low <= raw <= self.high

    def normalise(self, raw: float) -> float:
        """Map a raw rating to [0, 1]."""
        offset, divisor = self._map()
        return (raw + offset) / divisor

    def restore(self, normalised: float) -> float:
        """Map a normalised rating back to the raw scale."""
        offset, divisor = self._map()
        return normalised * divisor - offset

    def _map(self) -> tuple[float, float]:
        """Offset and divisor with the defaults filled in."""
        offset = -self.low if self.offset is None else self.offset
        divisor = self.high - self.low if self.divisor is None else self.divisor
        return offset, divisor


@dataclass(frozen=True, slots=True)
class Objective:
    """One named quality that is rated, with the scale of each source that rates it."""

    name: str
    """Name, as in rows and in every output."""
    scales: Mapping[str, Scale] = field(hash=False)
    """Scale by source."""
