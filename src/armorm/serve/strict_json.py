"""Bodies as the standard of JSON has them: finite numbers, whole characters, bounded depth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pydantic_core
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

_OFF_THE_LOOP = 1 << 16
"""Bodies from this size on are parsed in a thread."""


class JsonRequest(Request):
    """A request whose body is JSON as the standard has it: no NaN, no half surrogate pairs."""

    async def json(self) -> Any:
        """Parse the body; a long one in a thread.

        Returns:
            Its value.

        Raises:
            HTTPException: status 400 where it is not JSON.
        """
        body = await self.body()
        try:
            if len(body) < _OFF_THE_LOOP:
                return pydantic_core.from_json(body, allow_inf_nan=False)
            return await asyncio.to_thread(pydantic_core.from_json, body, allow_inf_nan=False)
        except ValueError as error:
            raise HTTPException(400, f"the body must be JSON: {error}") from None


class JsonRoute(APIRoute):
    """A route that reads bodies as `JsonRequest` does."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the handler of the route."""
        original = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await original(JsonRequest(request.scope, request.receive))

        return handler
