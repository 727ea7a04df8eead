"""A server in place of a bundle: the model of a trainer runs elsewhere, on another machine even."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from armorm.model.scores import Scores
from armorm.types import Conversation

if TYPE_CHECKING:  # a trainer without a server needs no HTTP
    from armorm.client import Client, ScoredRow


def is_url(model: object) -> bool:
    """Say whether a model is the address of a server.

    Args:
        model: What a trainer was given.

    Returns:
        True for text that begins with `http://` or `https://`.

    Example:
        >>> is_url("http://127.0.0.1:8000"), is_url("runs/quickstart/bundle")
        (True, False)
    """
    return isinstance(model, str) and model.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class RemoteFacts:
    """What trainers ask of a bundle, as far as a server tells it."""

    beta: float
    """Steepness of the preference probability."""
    score_scale: float
    """Factor of the score."""


@dataclass(frozen=True, eq=False)
class RemoteScorer:
    """Scores conversations by asking a server; the token is that of ARMORM_TOKEN."""

    url: str
    """Base address."""
    weights: Mapping[str, float] | None = None
    """Fixed weights of every request; None: what the server does by itself."""

    @functools.cached_property
    def client(self) -> Client:
        """The client, made at the first use.

        Returns:
            The client.

        Raises:
            MissingDependency: the packages of the client are not installed.
            ValueError: the address is none.
        """
        from armorm.client import Client

        return Client(self.url)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Objective names, in the order of axis k."""
        return self.client.objectives

    @property
    def kept(self) -> tuple[str, ...]:
        """Objectives that are no nuisance."""
        nuisances = self.client.model().nuisances
        return tuple(name for name in self.objectives if name not in nuisances)

    @property
    def bundle(self) -> RemoteFacts:
        """Facts of the server's bundle; beta is 1 where the server weighs by fixed weights."""
        content: Mapping[str, Any] = self.client.model().content
        beta = 1.0 if content["weights"] is not None else content["beta"]
        return RemoteFacts(beta, content["score_scale"])

    def with_weights(self, weights: Mapping[str, float]) -> RemoteScorer:
        """Return a scorer of the same server with fixed weights."""
        return RemoteScorer(self.url, dict(weights))

    def score(self, conversations: Sequence[Any]) -> Scores:
        """Score n conversations, in the order given."""
        return self.client.score(conversations, weights=self.weights)

    def score_rows(self, conversations: Sequence[Conversation]) -> list[ScoredRow]:
        """Score n conversations of which some may have no score."""
        return self.client.score_rows(conversations, weights=self.weights)
