"""Contracts of trainers: OpenRLHF, slime, LLaMA-Factory, NeMo Gym."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from armorm.model.scores import shortest
from armorm.serve.errors import Refusal
from armorm.serve.foreign import (
    LlamaFactoryBody,
    NemoGymBody,
    OpenRLHFBody,
    SlimeBody,
    row_of_episode,
    row_of_query,
    row_of_response,
    row_of_text,
)
from armorm.serve.service import Rewards, Row, Service
from armorm.serve.strict_json import JsonRoute

UNSCORED = "armorm/unscored"
"""Name under which trainers log rows without a score, as `armorm.integrations` does."""


def make_router(service: Service) -> APIRouter:
    """Make the routes.

    Args:
        service: What they ask.

    Returns:
        `/get_reward`, `/remote_rm`, `/v1/score/evaluation`, `/verify`.
    """
    router = APIRouter(route_class=JsonRoute)

    @router.post("/get_reward", summary="OpenRLHF: --reward.remote_url.")
    async def get_reward(body: OpenRLHFBody) -> Response:
        if len(body.query) != len(body.prompts):
            raise Refusal(
                422,
                "request",
                f"prompts: must be as many as `query`; got {len(body.prompts)} and "
                f"{len(body.query)}",
            )
        pairs = zip(body.query, body.prompts, strict=True)
        rows = [row_of_query(service, q, p, f"query[{i}]") for i, (q, p) in enumerate(pairs)]
        found = await service.rewards(rows, where="query[{}]".format)
        return JSONResponse(_openrlhf(service, found))

    @router.post("/remote_rm", summary="slime: --rm-type remote_rm --rm-url.")
    async def remote_rm(body: SlimeBody, bare: bool = False) -> Response:
        rows: list[Row] = [row_of_response(service, body.prompt, body.response, "prompt")]
        found = await service.rewards(rows, where=lambda _: "response")
        score = shortest(found.score[0])
        _check_names(service, ("score",))
        return JSONResponse(score if bare else {"score": score, **_short(found.values[0])})

    @router.post("/v1/score/evaluation", summary="LLaMA-Factory: reward_model_type: api.")
    async def evaluation(body: LlamaFactoryBody) -> Response:
        rows = [row_of_text(service, t, f"messages[{i}]") for i, t in enumerate(body.messages)]
        found = await service.rewards(rows, where="messages[{}]".format)
        return JSONResponse(
            {
                "id": f"scoreeval-{uuid.uuid4().hex}",
                "object": "score.evaluation",
                "model": service.facts.name,
                "scores": _numbers(found.score),
            }
        )

    @router.post("/verify", summary="NeMo Gym: a resources server.")
    async def verify(body: NemoGymBody) -> Response:
        content = body.model_dump()
        rows = [row_of_episode(service, content)]
        found = await service.rewards(rows, where=lambda _: "response.output")
        return _verified(content, found)

    return router


def _openrlhf(service: Service, found: Rewards) -> dict[str, Any]:
    """What OpenRLHF reads; `extra_logs` has the same names whatever was sent, all numeric."""
    _check_names(service, (UNSCORED,))
    bounded = [service.facts.bounded(s, is_gated=found.is_gated) for s in found.score]
    logs = {name: _numbers([of[name] for of in found.values]) for name in service.facts.kept}
    logs[UNSCORED] = [float(flag) for flag in found.unscored]
    return {"rewards": _numbers(found.score), "scores": _numbers(bounded), "extra_logs": logs}


def _verified(content: dict[str, Any], found: Rewards) -> Response:
    """What NeMo Gym reads: all that it sent, the reward and its components.

    Components are also fields of their own, as its metrics do not look into a mapping; one
    that has the name of a field that is there already stays in the mapping alone.
    """
    components = {**_short(found.values[0]), UNSCORED: float(found.unscored[0])}
    own = {"reward": shortest(found.score[0]), "reward_components": components}
    try:
        return JSONResponse({**components, **content, **own})
    except ValueError:  # a number of the body that no JSON can hold, such as 1e999
        raise Refusal(
            400, "json", "the body must hold finite numbers, as it is sent back"
        ) from None


def _check_names(service: Service, reserved: Sequence[str]) -> None:
    """Raise where an objective is called as something else in an answer."""
    for name in reserved:
        if name in service.facts.objectives:
            raise Refusal(
                422, "request", f"an objective must not be called {name!r} for this contract"
            )


def _short(values: dict[str, float]) -> dict[str, float]:
    """Numbers without digits that float32 does not carry."""
    return {name: shortest(value) for name, value in values.items()}


def _numbers(values: Sequence[float]) -> list[float]:
    """The same for a list."""
    return [shortest(value) for value in values]
