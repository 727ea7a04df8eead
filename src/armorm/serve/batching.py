"""Rows of many requests in turn, gathered into batches of so many tokens.

Knows lengths and shared prompts; knows no model and no network.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class QueuedRow:
    """One row that waits for the model."""

    row: Any
    """As the backbone takes it."""
    place: int
    """Its position in the request."""
    n_tokens: int
    """Its length."""
    shared: Hashable | None = None
    """What it begins with, where that is computed once for all rows of a batch."""
    n_shared: int = 0
    """Tokens of that."""


@dataclass(eq=False)
class QueuedRequest:
    """Rows of one request that wait for the model."""

    number: int
    """Given by the server; unique."""
    rows: deque[QueuedRow]
    """Those that are in no batch yet."""
    arrived: float
    """When, by the clock of the queue."""
    content: Any = None
    """What else is to be known of it once its rows are computed."""


Turn = tuple[QueuedRequest, QueuedRow]


def fill_batch(queue: deque[QueuedRequest], *, budget: int) -> list[Turn]:
    """Take rows out of a queue until a budget is used up, requests in turn.

    A request gives rows in their order until the batch is full. One that has some left goes
    behind all others, so that a long request cannot keep a short one waiting for more than a
    batch. What several rows begin with counts once.

    Args:
        queue: Requests with at least one row each; those that are used up are taken out.
        budget: Tokens a batch; a longer row is a batch of its own.

    Returns:
        Requests and their rows; at least one where the queue is not empty.

    Example:
        >>> row = QueuedRow(None, 0, n_tokens=3)
        >>> queue = deque([QueuedRequest(i, deque([row] * (4 - i)), 0.0) for i in (1, 3)])
        >>> [request.number for request, _ in fill_batch(queue, budget=7)]
        [1, 1]
        >>> [request.number for request, _ in fill_batch(queue, budget=7)]
        [3, 1]
    """
    batch: list[Turn] = []
    seen: set[Hashable] = set()
    n_tokens = 0
    while queue:
        request = queue[0]
        while request.rows:
            row = request.rows[0]
            is_known = row.shared is not None and row.shared in seen
            n_own = row.n_tokens - (row.n_shared if is_known else 0)
            if batch and n_tokens + n_own > budget:
                queue.rotate(-1)
                return batch
            n_tokens += n_own
            seen.add(row.shared)
            batch.append((request, request.rows.popleft()))
        queue.popleft()
    return batch


class BatchQueue:
    """What is between the thread that tokenises and the one that runs the model."""

    def __init__(
        self, *, budget: int, wait_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start empty.

        Args:
            budget: Tokens a batch.
            wait_s: How long the first request of a batch waits for others, in seconds, while
                there are not enough rows for a whole batch.
            clock: Seconds from any beginning.
        """
        self._budget, self._wait_s, self._clock = budget, wait_s, clock
        self._queue: deque[QueuedRequest] = deque()
        self._n_tokens = 0
        self._changed = threading.Condition()
        self._closed = False

    def add(self, number: int, rows: Sequence[QueuedRow], content: Any = None) -> None:
        """Put the rows of a request in.

        Args:
            number: Of the request.
            rows: At least one.
            content: Handed back with every row.
        """
        request = QueuedRequest(number, deque(rows), self._clock(), content)
        with self._changed:
            self._queue.append(request)
            self._n_tokens += sum(row.n_tokens for row in rows)
            self._changed.notify()

    def cancel(self, number: int) -> None:
        """Take the rows of a request out that are in no batch yet.

        Args:
            number: Of the request; one that is not there changes nothing.
        """
        with self._changed:
            for request in [r for r in self._queue if r.number == number]:
                self._queue.remove(request)
                self._n_tokens -= sum(row.n_tokens for row in request.rows)

    def close(self) -> None:
        """Take no more: `take` gives what is there and then None."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> list[Turn] | None:
        """Wait for a batch.

        Returns:
            Requests and rows; None where the queue is closed and empty.
        """
        with self._changed:
            while True:
                left = self._left()
                if left is None:
                    return None
                if left <= 0:
                    break
                self._changed.wait(None if left == float("inf") else left)
            batch = fill_batch(self._queue, budget=self._budget)
            self._n_tokens -= sum(row.n_tokens for _, row in batch)
            return batch

    def _left(self) -> float | None:
        """Seconds until a batch is due; None where there will be none."""
        if not self._queue:
            return None if self._closed else float("inf")
        if self._closed or self._n_tokens >= self._budget:
            return 0.0
        first = min(request.arrived for request in self._queue)
        return first + self._wait_s - self._clock()
