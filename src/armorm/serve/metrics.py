"""What a server counts, in a registry of its own, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from armorm.serve.answers import Answer, ModelFacts

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = tuple(2**i for i in range(5, 18))
_SIZES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SCORES = (*(-size for size in reversed(_SIZES)), 0.0, *_SIZES)
_NORMALISED = (-0.5, -0.2, *(round(0.1 * i, 1) for i in range(11)), 1.2, 1.5)


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        """Start at zero."""
        registry = self._registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"armorm_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: Any) -> Histogram:
            return Histogram(f"armorm_{name}", text, labels, registry=registry, buckets=buckets)

        self._requests = counter("requests", "Requests answered.", "route", "status")
        self._request_seconds = histogram(
            "request_seconds",
            "From the head of a request to its answer.",
            "route",
            buckets=_SECONDS,
        )
        self._score_seconds = histogram(
            "score_seconds",
            "Waiting and computing, of requests that were scored.",
            buckets=_SECONDS,
        )
        self._refused = counter("refused", "Requests refused for lack of room.", "limit")
        self._conversations = counter("conversations", "Conversations scored.")
        self._tokens = counter("tokens", "Tokens of the conversations scored.")
        self._truncated = counter("truncated", "Conversations truncated from the left.")
        self._unscored = counter("unscored", "Conversations without a score.", "reason")
        self._queue_rows = Gauge(
            "armorm_queue_conversations",
            "Conversations that wait or are computed.",
            registry=registry,
        )
        self._queue_bytes = Gauge(
            "armorm_queue_bytes", "Text that waits or is computed.", registry=registry
        )
        self._batch_rows = histogram("batch_conversations", "Rows of a batch.", buckets=_ROWS)
        self._batch_tokens = histogram(
            "batch_tokens", "Tokens of a batch, shared ones once.", buckets=_TOKENS
        )
        self._batch_seconds = histogram("batch_seconds", "Time of a batch.", buckets=_SECONDS)
        self._restarts = counter("model_restarts", "How often the model process was started again.")
        self._scores = histogram("score", "Scores.", buckets=_SCORES)
        self._objectives = histogram(
            "objective_score", "Objective scores, before debias.", "objective", buckets=_NORMALISED
        )
        self._outside: Counter | None = None

    def text(self) -> bytes:
        """Return everything in the format of Prometheus."""
        return generate_latest(self._registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            route: Path of the route; one word for all paths that are none.
            status: Of the answer.
            seconds: Since the head of the request.
        """
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def refused(self, limit: str) -> None:
        """Count a request that found no room, by the limit."""
        self._refused.labels(limit).inc()

    def queued(self, n_rows: int, n_bytes: int) -> None:
        """Say how much waits or is computed now."""
        self._queue_rows.set(n_rows)
        self._queue_bytes.set(n_bytes)

    def restarted(self) -> None:
        """Count a model process that died."""
        self._restarts.inc()

    def batch(self, batch: Mapping[str, Any]) -> None:
        """Take the sizes of a batch in."""
        self._batch_rows.observe(batch["conversations"])
        self._batch_tokens.observe(batch["unique_tokens"])
        self._batch_seconds.observe(batch["seconds"])

    def scored(self, answer: Answer, facts: ModelFacts, *, seconds: float) -> None:
        """Take the scores of a request in.

        Args:
            answer: Its scores.
            facts: Of the model.
            seconds: Since it was accepted.
        """
        self._score_seconds.observe(seconds)
        self._conversations.inc(len(answer.table))
        self._tokens.inc(sum(answer.n_tokens))
        self._truncated.inc(sum(n > 0 for n in answer.n_truncated))
        for reason in answer.reasons:
            if reason is not None:
                self._unscored.labels(reason).inc()
        for score in answer.table[:, 0].tolist():
            self._scores.observe(score)
        for j, name in enumerate(answer.names):
            of = self._objectives.labels(name)
            for value in answer.table[:, 1 + j].tolist():
                of.observe(value)
        self._count_outside(answer, facts.ranges)

    def _count_outside(self, answer: Answer, ranges: Mapping[str, tuple[float, float]]) -> None:
        """Count rows outside the range that was seen in training, where the bundle knows it."""
        if not ranges:
            return
        if self._outside is None:
            self._outside = Counter(
                "armorm_outside_range",
                "Conversations whose objective score lies outside the range seen in training.",
                ("objective",),
                registry=self._registry,
            )
        for name, (low, high) in ranges.items():
            values = answer.table[:, 1 + answer.names.index(name)]
            self._outside.labels(name).inc(int(((values < low) | (values > high)).sum()))
