"""Our own routes: score, explain, compare."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from armorm.explain.compare import compare
from armorm.explain.sentence import decided_in_words, explain_in_words
from armorm.explain.verdict import scales_for
from armorm.model.scores import Explanation, shortest
from armorm.serve.answers import Answer
from armorm.serve.errors import Refusal
from armorm.serve.schema import (
    CompareBody,
    CompareReply,
    ExplainReply,
    ScoreBody,
    ScoreReply,
)
from armorm.serve.service import Row, Service, Unscorable, Where
from armorm.serve.strict_json import JsonRoute
from armorm.types import Scale

_MANY = 64
"""Rows from which on an answer is written in a thread."""


def make_router(service: Service) -> APIRouter:
    """Make the routes.

    Args:
        service: What they ask.

    Returns:
        `/v1/score`, `/v1/explain`, `/v1/compare`.
    """
    router = APIRouter(route_class=JsonRoute)

    @router.post("/v1/score", response_model=ScoreReply, summary="Score conversations.")
    async def score(body: ScoreBody) -> Response:
        rows, ids, answer = await _asked(service, body)
        return await _written(len(rows), lambda: _score_content(service, answer, ids))

    @router.post(
        "/v1/explain", response_model=ExplainReply, summary="Scores and what they are made of."
    )
    async def explain(body: ScoreBody) -> Response:
        rows, ids, answer = await _asked(service, body)
        return await _written(len(rows), lambda: _explain_content(service, answer, ids))

    @router.post(
        "/v1/compare", response_model=CompareReply, summary="Why a response beats another."
    )
    async def compare_(body: CompareBody) -> Response:
        responses, where, is_pair = _responses(body)
        rows: list[Row] = [
            service.conversation(_row(body.prompt, response), where(i))
            for i, response in enumerate(responses)
        ]
        answer = await service.score(rows, where=where, weights=body.weights, factors=body.factors)
        content = await asyncio.to_thread(_compare_content, service, answer, body.id, is_pair)
        return JSONResponse(content)

    return router


async def _asked(service: Service, body: ScoreBody) -> tuple[list[Row], list[str], Answer]:
    """The rows of a request, their ids and scores."""
    values, where = _values(body)
    if len(values) > service.limits.conversations:
        raise Refusal(
            413,
            "too_large",
            f"a request must have at most {service.limits.conversations:,} conversations; it has "
            f"{len(values):,}",
        )
    drop = body.bad_rows == "drop"
    rows = [_checked(service, value, where(i), drop=drop) for i, value in enumerate(values)]
    answer = await service.score(
        rows, where=where, weights=body.weights, factors=body.factors, drop=drop
    )
    ids = [value.get("id", "") if isinstance(value, dict) else "" for value in values]
    return rows, ids, answer


def _values(body: ScoreBody) -> tuple[list[Any], Where]:
    """The conversations of a request as `as_conversation` takes them, and where each is."""
    if body.conversations is not None:
        if body.prompt is not None or body.responses is not None:
            raise Refusal(
                422,
                "request",
                "`conversations` stand alone; give them, or `prompt` and `responses`",
            )
        values = [
            [m.model_dump() for m in one]
            if isinstance(one, list)
            else one.model_dump(exclude_none=True)
            for one in body.conversations
        ]
        return values, "conversations[{}]".format
    if body.prompt is None or body.responses is None:
        raise Refusal(
            422, "request", "`conversations` must be given, or both `prompt` and `responses`"
        )
    return [_row(body.prompt, response) for response in body.responses], "responses[{}]".format


def _row(prompt: Any, response: str) -> dict[str, Any]:
    """A prompt of a body and a response as a conversation."""
    messages = prompt if isinstance(prompt, str) else [m.model_dump() for m in prompt]
    return {"prompt": messages, "response": response}


def _checked(service: Service, value: Any, where: str, *, drop: bool) -> Row:
    """A conversation, or why it is none where that is not to refuse the request."""
    try:
        return service.conversation(value, where)
    except Refusal as refusal:
        if not drop or refusal.status != 422:
            raise
        return Unscorable(refusal.text.removeprefix(f"{where}: "))


async def _written(n_rows: int, write: Callable[[], Any]) -> Response:
    """The answer as JSON; a long one is written beside the event loop."""
    if n_rows < _MANY:
        return JSONResponse(write())
    return await asyncio.to_thread(lambda: JSONResponse(write()))


def _score_content(service: Service, answer: Answer, ids: Sequence[str]) -> dict[str, Any]:
    """What `/v1/score` answers."""
    results = []
    for i, id in enumerate(ids):
        one = answer.explanation(i, id)
        results.append(
            {
                "id": id,
                "score": None if one is None else shortest(one.score),
                "objectives": None if one is None else _short(one.objectives),
                "debiased": _debiased(service, answer, i),
                "n_tokens": 0 if one is None else one.n_tokens,
                "n_truncated": 0 if one is None else one.n_truncated,
                "reason": answer.reasons[i],
            }
        )
    return {"model": service.facts.name, "results": results}


def _explain_content(service: Service, answer: Answer, ids: Sequence[str]) -> dict[str, Any]:
    """What `/v1/explain` answers."""
    results = [_explained(service, answer, i, id) for i, id in enumerate(ids)]
    return {"model": service.facts.name, "results": results}


def _explained(service: Service, answer: Answer, i: int, id: str) -> dict[str, Any]:
    """One conversation of `/v1/explain`."""
    one = answer.explanation(i, id)
    if one is None:
        parts = ("score", "objectives", "gating", "coefficients", "contributions")
        empty: dict[str, Any] = {"id": id, **dict.fromkeys(parts), "n_tokens": 0, "n_truncated": 0}
        return {**empty, "debiased": None, "ratings": None, "reason": answer.reasons[i]}
    debiased = _debiased(service, answer, i)
    ratings = _ratings(service, one)
    return {**one.as_dict(), "debiased": debiased, "ratings": ratings, "reason": None}


def _debiased(service: Service, answer: Answer, i: int) -> dict[str, float] | None:
    """Objective scores after the debias step, without nuisances."""
    found = answer.debiased(i)
    return None if found is None else _short({name: found[name] for name in service.facts.kept})


def _ratings(service: Service, one: Explanation) -> dict[str, float]:
    """Objective scores as raw ratings, where all sources share a scale."""
    scales = {
        source: {name: Scale(**scale) for name, scale in of.items()}
        for source, of in service.facts.content["scales"].items()
    }
    known = scales_for(scales, "")
    return _short({n: known[n].restore(v) for n, v in one.objectives.items() if n in known})


def _short(values: dict[str, float]) -> dict[str, float]:
    """Numbers without digits that float32 does not carry."""
    return {name: shortest(value) for name, value in values.items()}


def _responses(body: CompareBody) -> tuple[list[str], Where, bool]:
    """The responses of a comparison, where each is, and whether they are a pair."""
    pair = (body.chosen, body.rejected)
    if body.responses is not None and pair == (None, None):
        if len(body.responses) < 2:
            raise Refusal(
                422,
                "request",
                f"responses: must be two or more to compare; got {len(body.responses)}",
            )
        return list(body.responses), "responses[{}]".format, False
    if body.responses is None and body.chosen is not None and body.rejected is not None:
        return [body.chosen, body.rejected], lambda i: ("chosen", "rejected")[i], True
    raise Refusal(422, "request", "`chosen` and `rejected` must be given, or `responses` alone")


def _compare_content(service: Service, answer: Answer, id: str, is_pair: bool) -> dict[str, Any]:
    """What `/v1/compare` answers."""
    ones = [one for i in range(len(answer)) if (one := answer.explanation(i)) is not None]
    ranking = sorted(range(len(ones)), key=lambda i: -ones[i].score)
    pairs = [(0, 1)] if is_pair else [(ranking[0], other) for other in ranking[1:]]
    return {
        "model": service.facts.name,
        "id": id,
        "ranking": ranking,
        "results": [_explained(service, answer, i, "") for i in range(len(ones))],
        "comparisons": [_comparison(service, answer, ones, pair) for pair in pairs],
    }


def _comparison(
    service: Service, answer: Answer, ones: Sequence[Explanation], pair: tuple[int, int]
) -> dict[str, Any]:
    """One pair of `/v1/compare`."""
    chosen, rejected = pair
    beta = service.facts.beta(is_gated=answer.is_gated)
    found = compare(ones[chosen], ones[rejected], beta=beta)
    words = " ".join(filter(None, (explain_in_words(found), decided_in_words(found))))
    content = asdict(found)
    del content["id"]
    return {**content, "chosen": chosen, "rejected": rejected, "words": words}
