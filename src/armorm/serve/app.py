"""The application: all routes, and one form of errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from armorm import __version__
from armorm.serve import routes, routes_engines, routes_status, routes_trainers
from armorm.serve.engine import Engine
from armorm.serve.errors import Refusal
from armorm.serve.guard import Application, Guard
from armorm.serve.metrics import Metrics
from armorm.serve.schema import TAGS, ErrorReply
from armorm.serve.service import Service
from armorm.serve.settings import Limits

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorReply, "description": text}
    for status, text in {
        400: "The body is not JSON.",
        401: "No token, or another one.",
        413: "Too long, or too many conversations.",
        415: "A body of another type than JSON.",
        422: "A field or a row that cannot be used; the message says where.",
        429: "Too many requests or conversations wait; `Retry-After` says for how long.",
        503: "The model is not loaded, or the server is stopping.",
        504: "No scores within the time limit.",
    }.items()
}


def make_app(
    engine: Engine,
    *,
    limits: Limits,
    metrics: Metrics,
    token: str | None = None,
    unscored: float | None = None,
) -> Application:
    """Build the application of a server.

    Args:
        engine: Scores conversations; started and stopped with the application.
        limits: What is taken.
        metrics: Counts.
        token: What requests must show; None where they need not.
        unscored: Reward of rows that cannot be scored, for trainers that know no missing one.

    Returns:
        An ASGI application, guarded.
    """
    service = Service(engine, limits, metrics, unscored)
    return Guard(make_routes(service), limits=limits, metrics=metrics, token=token)


def make_routes(service: Service) -> FastAPI:
    """Build the routes, without the guard around them.

    Args:
        service: What they ask.

    Returns:
        The application, which also describes itself in OpenAPI.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        del app
        await service.engine.start()
        yield
        await service.engine.stop()

    app = FastAPI(
        title="armorm",
        version=__version__,
        description="Scores, explanations and rewards of an interpretable reward model.",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts of other hosts
        redoc_url=None,
        responses=_ERRORS,
        strict_content_type=False,
    )
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)
    for module in (routes_status, routes, routes_trainers, routes_engines):
        app.include_router(module.make_router(service))
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """The answer of a refusal."""
    del request
    assert isinstance(error, Refusal)
    return JSONResponse(error.as_dict(), error.status, error.headers())


async def _failed(request: Request, error: Exception) -> Response:
    """The answer where the error is ours; the guard logs it."""
    del error
    return await _refused(
        request, Refusal(500, "internal", "the server could not answer this request")
    )


async def _http_error(request: Request, error: Exception) -> Response:
    """The answer of an error that the framework raises."""
    assert isinstance(error, HTTPException)
    kinds = {400: "json", 404: "not_found", 405: "method"}
    texts = {
        404: f"there is no route {request.url.path!r}; /openapi.json describes those that are",
        405: f"{request.url.path} takes another method; got {request.method}",
    }
    refusal = Refusal(
        error.status_code,
        kinds.get(error.status_code, "http"),
        texts.get(error.status_code, str(error.detail)),
    )
    return JSONResponse(refusal.as_dict(), error.status_code, dict(error.headers or {}))


async def _not_understood(request: Request, error: Exception) -> Response:
    """The answer of a body that is not what its route takes."""
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):
        found = request.headers.get("content-type", "none")
        refusal = Refusal(
            415, "content_type", f"`Content-Type` must be application/json; got {found[:60]!r}"
        )
        return await _refused(request, refusal)
    details = [(_place(e["loc"]), _said(e)) for e in error.errors()[:20]]
    where, text = details[0]
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    refusal = Refusal(422, "request", f"{where}: {text}{more}", details=details)
    return await _refused(request, refusal)


def _place(loc: tuple[int | str, ...]) -> str:
    """Where in a body something is, such as `conversations[2].prompt`."""
    text = ""
    for part in loc[1:] if loc and loc[0] == "body" else loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in TAGS:
            text += f".{part}" if text else str(part)
    return text or "body"


def _said(error: dict[str, Any]) -> str:
    """What is wrong there, and what was found."""
    text = str(error["msg"])
    text = text[:1].lower() + text[1:]
    if error["type"] in ("missing", "extra_forbidden") or isinstance(error["input"], dict | list):
        return text
    return f"{text}; got {_short(error['input'])}"


def _short(value: Any) -> str:
    """A value of a request, cut to a length that an error may have."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
