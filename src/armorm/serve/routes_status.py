"""What a server says of itself: its model, whether it lives, what it counted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from armorm import __version__
from armorm.serve.service import Service

_NO_RANGES = "the bundle does not hold the ranges of objective scores seen in training"


def make_router(service: Service) -> APIRouter:
    """Make the routes.

    Args:
        service: What they ask.

    Returns:
        `/v1/model`, `/v1/models`, `/health`, `/ready`, `/metrics`.
    """
    router = APIRouter()

    @router.get("/v1/model", summary="The model: objectives, scales, ranges, limits.")
    async def model() -> dict[str, Any]:
        return model_content(service)

    @router.get("/v1/models", summary="The model in the form of OpenAI's list of models.")
    async def models() -> dict[str, Any]:
        name = service.facts.name
        one = {"id": name, "object": "model", "created": 0, "owned_by": "armorm"}
        return {"object": "list", "data": [one]}

    @router.get("/health", summary="Whether the server lives.")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready", summary="Whether the model is loaded and requests are taken.")
    async def ready() -> Response:
        is_ready = service.engine.is_ready
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    @router.get("/metrics", summary="Counters in the format of Prometheus.")
    async def metrics() -> Response:
        return Response(
            service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    return router


def model_content(service: Service) -> dict[str, Any]:
    """Return what `/v1/model` answers.

    Args:
        service: Knows the model.

    Returns:
        JSON.
    """
    facts = service.facts.content
    ranges = facts["ranges"]
    return {
        "name": facts["name"],
        "armorm": __version__,
        "objectives": facts["objectives"],
        "nuisances": facts["nuisances"],
        "scales": facts["scales"],
        "ranges_seen": ranges,
        "ranges_note": None if ranges else f"{_NO_RANGES}; rows outside them are not counted",
        "beta": facts["beta"],
        "score_scale": facts["score_scale"],
        "weights": facts["weights"],
        "factors": facts["factors"],
        "backbone": facts["backbone"],
        "device": facts["device"],
        "token_budget": facts["token_budget"],
        "notes": facts["notes"],
        "unscored": service.unscored,
        "limits": service.limits.as_dict(),
    }
