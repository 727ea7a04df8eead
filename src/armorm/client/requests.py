"""The requests of both clients: paths, bodies, and how their answers become one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armorm.client.plan import PART_ROWS, Part, checked_rows, cut_parts
from armorm.client.replies import ModelInfo
from armorm.data.conversation import as_conversation
from armorm.types import Conversation

Steering = Mapping[str, float] | None


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    path: str
    """Of the route."""
    body: dict[str, Any] | None
    """None: a GET."""
    start: int = 0
    """Where its conversations stand in the caller's list."""


def steering(weights: Steering, factors: Steering) -> dict[str, Any]:
    """Return the part of a body that steers; empty where nothing does."""
    given = {"weights": weights, "factors": factors}
    return {name: dict(value) for name, value in given.items() if value is not None}


def list_requests(
    path: str,
    conversations: Sequence[Any],
    model: ModelInfo,
    extra: Mapping[str, Any],
) -> list[Request]:
    """Return the requests for a list of conversations.

    Args:
        path: Of the route.
        conversations: n conversations.
        model: Of the server, whose limits hold.
        extra: What else every body says.

    Returns:
        Requests in order.

    Raises:
        DataError: a conversation is none.
    """
    limits = model.content["limits"]
    parts: list[Part] = cut_parts(
        checked_rows(conversations),
        most_rows=min(PART_ROWS, int(limits["conversations"])),
        most_bytes=int(0.9 * limits["body_bytes"]),
    )
    return [Request(path, {"conversations": p.rows, **extra}, p.start) for p in parts]


def compare_request(
    prompt: Any, chosen: str, rejected: str, *, id: str, extra: Mapping[str, Any]
) -> Request:
    """Return the request for a comparison.

    Args:
        prompt: Text or messages.
        chosen: The preferred response.
        rejected: The other response.
        id: Of the pair.
        extra: What else the body says.

    Returns:
        The request.

    Raises:
        DataError: prompt or response is none.
    """
    sides = {"chosen": chosen, "rejected": rejected}
    rows: list[Conversation] = [
        as_conversation({"prompt": prompt, "response": text}, where=name)
        for name, text in sides.items()
    ]
    messages = rows[0].messages()[:-1]
    return Request("/v1/compare", {"prompt": messages, **sides, "id": id, **extra})


def joined(replies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of several requests in one list."""
    return [result for reply in replies for result in reply["results"]]
