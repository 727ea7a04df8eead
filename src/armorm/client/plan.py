"""What a client sends and when it sends it again: pure, knows no network.

Lists are cut into parts that a server takes; an answer is read, waited for, or an error.
"""

from __future__ import annotations

import email.utils
import json
import math
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from armorm.data.conversation import as_conversation
from armorm.errors import ArmormError, DataError
from armorm.types import Conversation

PART_ROWS = 256
"""Conversations of one request, where the server takes as many."""

_AGAIN = (408, 429, 502, 503, 504)
_OF_THE_ROWS = (400, 413, 422)
_PLACE = re.compile(r"conversations\[(\d+)\]")


class ServerError(ArmormError):
    """A server cannot be reached, does not take the token, or has no room for too long."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where a server is and how patiently it is asked."""

    url: str
    """Base address."""
    token: str | None = field(default=None, repr=False)
    """What the server wants to be shown; None: the variable ARMORM_TOKEN, if it is set."""
    timeout_s: float = 150.0
    """Longest time of one request."""
    n_retries: int = 6
    """How often a request is repeated where the server is busy or does not answer."""
    first_wait_s: float = 0.5
    """Before the first repetition; each further wait is twice as long."""
    longest_wait_s: float = 60.0
    """No wait is longer, whatever the server asks for."""
    n_parallel: int = 4
    """Requests at a time, of a long list."""

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            ValueError: `url` is no address; a token that no header can carry; a number
                outside its range.
        """
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            is_address, parts = False, urlsplit("")
        if not is_address or parts.query or parts.fragment:
            raise ValueError(
                f"`url` must be http:// or https:// with a host; got {shown_url(self.url)!r}"
            )
        token = self.token
        if token is not None and not (token.isascii() and token.split() == [token]):
            # Not shown: it is a secret.
            raise ValueError("`token` must be printable ASCII characters without white space")
        for name in ("timeout_s", "n_parallel"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive; got {getattr(self, name)!r}")
        for name in ("n_retries", "first_wait_s", "longest_wait_s"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must be 0 or more; got {getattr(self, name)!r}")

    @property
    def shown(self) -> str:
        """The address without user name and password."""
        return shown_url(self.url)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        token = self.token or os.environ.get("ARMORM_TOKEN", "").strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def wait_s(self, attempt: int, retry_after: float | None) -> float:
        """Return how long to wait before a repetition.

        Args:
            attempt: Requests sent so far, from 1 on.
            retry_after: Seconds that the server asks for.

        Returns:
            Seconds, spread at random so that many clients do not come back together.
        """
        wait = self.first_wait_s * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)
        return min(max(wait, retry_after or 0.0), self.longest_wait_s)


def shown_url(url: str) -> str:
    """Return an address without user name and password.

    Args:
        url: Any text.

    Returns:
        The address; a text that is none is returned as it is.

    Example:
        >>> shown_url("http://me:secret@host:8000/a")
        'http://host:8000/a'
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@dataclass(frozen=True, slots=True)
class Part:
    """Conversations of one request."""

    start: int
    """Where the first of them stands in the whole list."""
    rows: list[dict[str, Any]]
    """As the server takes them."""


def checked_rows(conversations: Sequence[Any]) -> list[Conversation]:
    """Check conversations before any is sent.

    Args:
        conversations: As `RewardModel.score` takes them.

    Returns:
        As many conversations.

    Raises:
        DataError: one is none; one conversation in place of a list.
    """
    if isinstance(conversations, Conversation | Mapping | str):
        found = type(conversations).__name__
        raise DataError(f"`conversations` must be a list of conversations; got one {found}")
    return [as_conversation(c, where=f"conversations[{i}]") for i, c in enumerate(conversations)]


def cut_parts(
    rows: Sequence[Conversation], *, most_rows: int = PART_ROWS, most_bytes: int = 1 << 20
) -> list[Part]:
    """Cut a list into requests, between prompts where that is possible.

    Responses to one prompt share its computation, and its truncation, in one request only.

    Args:
        rows: n conversations.
        most_rows: Conversations of a request.
        most_bytes: Text of a request; a longer conversation is one of its own.

    Returns:
        Parts in order, each with a row at least.
    """
    sent = [{"id": row.id, "messages": row.messages()} for row in rows]
    sizes = [len(json.dumps(one)) + 1 for one in sent]
    parts: list[Part] = []
    start = 0
    while start < len(rows):
        end, n_bytes = start, 0
        while end < len(rows) and end - start < most_rows:
            if end > start and n_bytes + sizes[end] > most_bytes:
                break
            n_bytes += sizes[end]
            end += 1
        if end < len(rows):
            end = _between_prompts(rows, start, end)
        parts.append(Part(start, sent[start:end]))
        start = end
    return parts


def _between_prompts(rows: Sequence[Conversation], start: int, end: int) -> int:
    """The last place up to an end where a prompt begins; the end where there is none."""
    place = end
    while place > start and rows[place].prompt == rows[place - 1].prompt:
        place -= 1
    return place if place > start else end


@dataclass(frozen=True, slots=True)
class Again:
    """A request that is to be sent once more."""

    why: str
    """What the server said."""
    retry_after: float | None
    """Seconds that it asks for."""


def read_reply(
    settings: ClientSettings, status: int, headers: Mapping[str, str], body: bytes, start: int = 0
) -> Any | Again:
    """Say what an answer means.

    Args:
        settings: Of the client.
        status: Of the answer.
        headers: Of the answer, by lower-case name.
        body: Of the answer.
        start: Where the conversations of the request stand in the caller's list.

    Returns:
        Its JSON; or that the request may be repeated.

    Raises:
        DataError: the request cannot be answered as it is; places are those of the caller's
            list.
        ServerError: the token is not taken; there is no such server; it has an error.
    """
    if status == 200:
        try:
            return json.loads(body)
        except ValueError:
            raise ServerError(
                f"{settings.shown}: an armorm server must answer JSON; got {body[:40]!r}"
            ) from None
    text = _message(status, body)
    if status in _AGAIN:
        return Again(text, _retry_after(headers.get("retry-after")))
    if status in _OF_THE_ROWS:
        raise DataError(_PLACE.sub(lambda m: f"conversations[{int(m[1]) + start}]", text))
    raise ServerError(f"{settings.shown}: {text}")


def give_up(settings: ClientSettings, why: str) -> ServerError:
    """Return the error after the last repetition.

    Args:
        settings: Of the client.
        why: What came of it.

    Returns:
        The error.
    """
    n = settings.n_retries + 1
    return ServerError(f"{settings.shown}: no answer in {n} request{'s' if n > 1 else ''}: {why}")


def _message(status: int, body: bytes) -> str:
    """What an answer says of an error, cut short."""
    try:
        text = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        text = ""
    return str(text)[:2000] or f"HTTP {status}"


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait, given as such or as a date."""
    if value is None:
        return None
    try:
        found = float(value)
        return found if math.isfinite(found) and found >= 0 else None
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
