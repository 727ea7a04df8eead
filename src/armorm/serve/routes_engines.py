"""Shapes of serving engines: vLLM, SGLang, text-embeddings-inference."""

from __future__ import annotations

import base64
import struct
import time
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from armorm.model.scores import shortest
from armorm.serve.errors import Refusal
from armorm.serve.foreign import (
    PoolingBody,
    PredictBody,
    RerankBody,
    row_of_response,
    row_of_text,
)
from armorm.serve.service import Rewards, Row, Service, Where
from armorm.serve.strict_json import JsonRoute

_LABEL = "score"


def make_router(service: Service) -> APIRouter:
    """Make the routes.

    Args:
        service: What they ask.

    Returns:
        `/classify`, `/v1/classify`, `/pooling`, `/v1/embeddings`, `/predict`, `/rerank`,
        `/v1/rerank`, `/v2/rerank`.
    """
    router = APIRouter(route_class=JsonRoute)

    @router.post("/classify", summary="vLLM's classify; SGLang's where `text` is given.")
    @router.post("/v1/classify", summary="vLLM's classify; SGLang's where `text` is given.")
    async def classify(body: PoolingBody) -> Response:
        found, scores = await _pooled(service, body)
        if body.text is not None:
            return JSONResponse(
                [
                    {"embedding": [score], "meta_info": {"prompt_tokens": n}}
                    for score, n in zip(scores, found.n_tokens, strict=True)
                ]
            )
        data = [
            {"index": i, "label": _LABEL, "probs": [score], "num_classes": 1}
            for i, score in enumerate(scores)
        ]
        return JSONResponse(_listed(service, found, "classify", data))

    @router.post("/pooling", summary="vLLM's pooling.")
    async def pooling(body: PoolingBody) -> Response:
        found, scores = await _pooled(service, body)
        data = [
            {"index": i, "object": "pooling", "data": _encoded(score, body.encoding_format)}
            for i, score in enumerate(scores)
        ]
        return JSONResponse(_listed(service, found, "pool", data))

    @router.post("/v1/embeddings", summary="The score as an embedding, as verl asks SGLang.")
    async def embeddings(body: PoolingBody) -> Response:
        found, scores = await _pooled(service, body)
        data = [
            {"index": i, "object": "embedding", "embedding": _encoded(score, body.encoding_format)}
            for i, score in enumerate(scores)
        ]
        return JSONResponse(_listed(service, found, "embd", data))

    @router.post("/predict", summary="text-embeddings-inference's predict.")
    async def predict(body: PredictBody) -> Response:
        texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
        where: Where = "inputs[{}]".format if isinstance(body.inputs, list) else lambda _: "inputs"
        rows = [row_of_text(service, text, where(i)) for i, text in enumerate(texts)]
        found = await service.rewards(rows, where=where)
        scores = _scaled(service, found, raw=body.raw_scores)
        labelled = [[{"score": score, "label": _LABEL}] for score in scores]
        return JSONResponse(labelled[0] if isinstance(body.inputs, str) else labelled)

    @router.post("/rerank", summary="Responses to a prompt, best first: `texts` or `documents`.")
    @router.post("/v1/rerank", summary="Responses to a prompt, best first.")
    @router.post("/v2/rerank", summary="Responses to a prompt, best first.")
    async def rerank(body: RerankBody) -> Response:
        return JSONResponse(await _reranked(service, body))

    return router


async def _pooled(service: Service, body: PoolingBody) -> tuple[Rewards, list[float]]:
    """The scores of a request of vLLM's or SGLang's clients."""
    given = {"input": body.input, "text": body.text, "messages": body.messages}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise Refusal(
            422,
            "request",
            "one of `input`, `text` and `messages` must be given; got "
            + (" and ".join(f"`{name}`" for name in names) or "none"),
        )
    rows: list[Row]
    if body.messages is not None:
        where: Where = lambda _: "messages"  # noqa: E731
        rows = [service.conversation(body.messages, "messages")]
    else:
        value = body.text if body.input is None else body.input
        texts = [value] if isinstance(value, str) else value or []
        where = f"{names[0]}[{{}}]".format
        rows = [row_of_text(service, text, where(i)) for i, text in enumerate(texts)]
    found = await service.rewards(rows, where=where)
    return found, _scaled(service, found, raw=not body.use_activation)


def _scaled(service: Service, found: Rewards, *, raw: bool) -> list[float]:
    """Scores as they are, or between 0 and 1."""
    is_gated = found.is_gated
    values = (
        found.score if raw else [service.facts.bounded(s, is_gated=is_gated) for s in found.score]
    )
    return [shortest(value) for value in values]


async def _reranked(service: Service, body: RerankBody) -> Any:
    """The best responses first, in the form of the field that holds them."""
    if (body.texts is None) == (body.documents is None):
        raise Refusal(422, "request", "one of `texts` and `documents` must be given")
    name = "texts" if body.texts is not None else "documents"
    texts = body.texts if body.texts is not None else body.documents or []
    rows: list[Row] = [
        row_of_response(service, body.query, text, f"{name}[{i}]") for i, text in enumerate(texts)
    ]
    found = await service.rewards(rows, where=f"{name}[{{}}]".format)
    # Of vLLM's form the score is a relevance, which its clients order by and do not bound.
    scores = _scaled(service, found, raw=body.raw_scores or body.texts is None)
    order = sorted(range(len(texts)), key=lambda i: -found.score[i])
    if body.texts is not None:
        return [
            {"index": i, "score": scores[i], **({"text": texts[i]} if body.return_text else {})}
            for i in order
        ]
    kept = order[: body.top_n] if body.top_n else order
    results = [
        {"index": i, "document": {"text": texts[i]}, "relevance_score": scores[i]} for i in kept
    ]
    return {
        "id": f"rerank-{uuid.uuid4().hex}",
        "model": service.facts.name,
        "usage": {"total_tokens": sum(found.n_tokens)},
        "results": results,
    }


def _listed(service: Service, found: Rewards, kind: str, data: Sequence[Any]) -> dict[str, Any]:
    """A list in the form of OpenAI's API."""
    n_tokens = sum(found.n_tokens)
    return {
        "id": f"{kind}-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": service.facts.name,
        "data": list(data),
        "usage": {
            "prompt_tokens": n_tokens,
            "total_tokens": n_tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


def _encoded(score: float, form: str) -> list[float] | str:
    """A vector of one number, as such or as the bytes of float32."""
    if form == "float":
        return [score]
    return base64.b64encode(struct.pack("<f", score)).decode()
