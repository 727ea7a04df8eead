"""A client that waits for its answers; takes the place of a `RewardModel`."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from armorm.client.http import httpx
from armorm.client.plan import Again, ClientSettings, give_up, read_reply
from armorm.client.replies import (
    ModelInfo,
    ScoredRow,
    read_comparison,
    read_explanation,
    read_model,
    read_rows,
    read_scores,
)
from armorm.client.requests import (
    Request,
    Steering,
    compare_request,
    joined,
    list_requests,
    steering,
)
from armorm.explain.compare import Comparison
from armorm.model.scores import Explanation, Scores


class Client:
    """The model of a server; safe to use from several threads.

    Example:
        >>> from armorm.client import Client
        >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     client.score([{"prompt": "2+2?", "response": "4."}]).score
        tensor([0.7031])
    """

    def __init__(self, url: str, *, token: str | None = None, **settings: Any) -> None:
        """Keep the address; nothing is sent.

        Args:
            url: Base address of the server.
            token: What it wants to be shown; None: the variable ARMORM_TOKEN, if it is set.
            **settings: Of `ClientSettings`: time-out, repetitions, requests at a time.

        Raises:
            ValueError: as `ClientSettings`.
        """
        self.settings = ClientSettings(url, token, **settings)
        self._http = httpx.Client(
            base_url=url,
            headers=self.settings.headers(),
            timeout=self.settings.timeout_s,
            limits=httpx.Limits(max_connections=None),
        )
        # One that nobody closes closes its connections when it is forgotten.
        weakref.finalize(self, self._http.close)

    def __enter__(self) -> Client:
        """Return the client."""
        return self

    def __exit__(self, *left: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def model(self) -> ModelInfo:
        """Return what the server says of its model; asked once.

        Returns:
            Objectives, scales, limits.

        Raises:
            ServerError: as `score`.
        """
        return self._model

    @functools.cached_property
    def _model(self) -> ModelInfo:
        """The model of the server."""
        return read_model(self._send(Request("/v1/model", None)))

    @property
    def objectives(self) -> tuple[str, ...]:
        """Objective names, in the order of axis k."""
        return self.model().objectives

    def score(
        self,
        conversations: Sequence[Any],
        *,
        weights: Steering = None,
        factors: Steering = None,
    ) -> Scores:
        """Score conversations, as `RewardModel.score` does.

        A long list is sent in parts, several at a time; a part that the server has no room
        for is sent again after the time that it asks for.

        Args:
            conversations: n conversations, in any form that `RewardModel.score` takes.
            weights: Fixed weights on the objective scores.
            factors: Factors of the gating.

        Returns:
            Scores in the order given.

        Raises:
            DataError: a conversation is none, or cannot be scored; its place is in the text.
            ServerError: the server cannot be reached, does not take the token, or has no
                room after all repetitions.
        """
        extra = steering(weights, factors)
        results = self._list("/v1/explain", conversations, extra)
        return read_scores(results, self.objectives)

    def score_rows(
        self,
        conversations: Sequence[Any],
        *,
        weights: Steering = None,
        factors: Steering = None,
    ) -> list[ScoredRow]:
        """Score conversations of which some may have no score.

        Args:
            conversations: As `score`.
            weights: As `score`.
            factors: As `score`.

        Returns:
            A score for each conversation, or why it has none: too long, or refused by the
            chat template.

        Raises:
            DataError: a conversation is none.
            ServerError: as `score`.
        """
        extra = {"bad_rows": "drop", **steering(weights, factors)}
        return read_rows(self._list("/v1/score", conversations, extra))

    def explain(self, conversation: Any) -> Explanation:
        """Score one conversation and return everything that its score is made of.

        Args:
            conversation: As one of `score`.

        Returns:
            What `RewardModel.explain` returns.

        Raises:
            DataError: as `score`.
            ServerError: as `score`.
        """
        [result] = self._list("/v1/explain", [conversation], {})
        return read_explanation(result)

    def compare(
        self,
        prompt: Any,
        chosen: str,
        rejected: str,
        *,
        id: str = "",
        weights: Steering = None,
        factors: Steering = None,
    ) -> Comparison:
        """Take the margin of two responses to one prompt apart by objective.

        Args:
            prompt: Text or messages.
            chosen: The preferred response.
            rejected: The other response.
            id: Identifier of the pair.
            weights: As `score`.
            factors: As `score`.

        Returns:
            What `armorm.explain.compare` returns.

        Raises:
            DataError: as `score`.
            ServerError: as `score`.
        """
        extra = steering(weights, factors)
        request = compare_request(prompt, chosen, rejected, id=id, extra=extra)
        return read_comparison(self._send(request))

    def _list(self, path: str, conversations: Sequence[Any], extra: Any) -> list[dict[str, Any]]:
        """The results for a list, some of its requests at a time."""
        requests = list_requests(path, conversations, self.model(), extra)
        if len(requests) < 2:
            return joined([self._send(request) for request in requests])
        with ThreadPoolExecutor(min(self.settings.n_parallel, len(requests))) as pool:
            waiting = [pool.submit(self._send, request) for request in requests]
            try:
                return joined([one.result() for one in waiting])
            finally:
                for one in waiting:
                    one.cancel()

    def _send(self, request: Request) -> Any:
        """Send a request until it is answered."""
        for attempt in range(1, self.settings.n_retries + 2):
            found = self._attempt(request)
            if not isinstance(found, Again):
                return found
            if attempt > self.settings.n_retries:
                raise give_up(self.settings, found.why)
            time.sleep(self.settings.wait_s(attempt, found.retry_after))
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, request: Request) -> Any | Again:
        """Send a request once."""
        method = "GET" if request.body is None else "POST"
        try:
            answer = self._http.request(method, request.path, json=request.body)
        except httpx.TimeoutException:
            return Again(f"no answer within {self.settings.timeout_s:g} s", None)
        except httpx.TransportError as error:
            return Again(str(error) or type(error).__name__, None)
        return read_reply(
            self.settings, answer.status_code, answer.headers, answer.content, request.start
        )
