"""What every request passes first: token, sizes, time, room; and what ends one that fails.

A layer of ASGI around the application: it reads a body whole, within its limits, before a route
sees it, and ends the work of a client that has gone.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

from armorm.serve.errors import Refusal
from armorm.serve.metrics import Metrics
from armorm.serve.settings import Limits

LOGGER = logging.getLogger("armorm.serve")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = ("/health", "/ready")
_DISCARD = 16
"""Bodies up to so many times the limit are read and thrown away, so that the client, which is
still sending, hears why it is refused."""


class _Gone(Exception):
    """The client has hung up."""


class Guard:
    """Takes requests that may be answered and refuses the others."""

    def __init__(
        self, app: Application, *, limits: Limits, metrics: Metrics, token: str | None
    ) -> None:
        """Keep what requests are held against.

        Args:
            app: The application.
            limits: Sizes and times.
            metrics: Told of every answer.
            token: What a request must show; None where it need not.
        """
        self._app, self._limits, self._metrics = app, limits, metrics
        self._token = None if token is None else token.encode()
        self._n_open = 0
        self._n_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; anything that is no HTTP request goes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 499  # the client left before there was an answer

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._n_open += 1
        try:
            await self._answer(scope, receive, watched)
        except _Gone:
            pass
        except Refusal as refusal:
            if status == 499:
                await send_refusal(refusal, watched)
        except Exception:
            LOGGER.exception("%s %s: a request failed", scope["method"], scope["path"])
            if status == 499:
                await send_refusal(
                    Refusal(500, "internal", "the server could not answer this request"), watched
                )
        finally:
            self._n_open -= 1
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(route, status, time.monotonic() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, read its body and let the application answer."""
        headers = dict(scope["headers"])
        if scope["path"] not in _OPEN:
            self._check_token(headers.get(b"authorization", b""))
            if self._n_open > self._limits.open_requests:
                self._metrics.refused("requests")
                raise Refusal(
                    429, "busy", f"{self._n_open - 1:,} requests are open already", retry_after=1
                )
        held = 0
        parts: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(self._limits.body_timeout_s):
                    async for part in self._body(headers, receive):
                        held += len(part)
                        self._n_bytes += len(part)
                        self._check_room()
                        parts.append(part)
            except TimeoutError:
                raise Refusal(
                    408,
                    "timeout",
                    f"a body must arrive within {self._limits.body_timeout_s:g} s",
                ) from None
            await self._run(scope, b"".join(parts), receive, send)
        finally:
            self._n_bytes -= held

    def _check_room(self) -> None:
        """Raise where all bodies together take too much memory."""
        if self._n_bytes > self._limits.open_bytes:
            self._metrics.refused("bytes")
            raise Refusal(
                429, "busy", f"{self._n_bytes:,} bytes of bodies are open already", retry_after=1
            )

    def _check_token(self, given: bytes) -> None:
        """Raise unless a request shows the token, in a time that does not tell how nearly."""
        if self._token is None:
            return
        kind, _, value = given.partition(b" ")
        if kind.lower() == b"basic":
            with contextlib.suppress(binascii.Error):
                # The form that addresses like http://user:token@host turn into.
                value = base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        elif kind.lower() != b"bearer":
            value = b""
        if not hmac.compare_digest(value.strip(), self._token):
            found = "another one" if given else "none"
            raise Refusal(
                401,
                "token",
                f"`Authorization` must be `Bearer` with the server's token; got {found}",
            )

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> AsyncGenerator[bytes]:
        """Yield the parts of a body; one that is too long is refused, however it is sent."""
        limit, n_bytes = self._limits.body_bytes, 0
        declared = headers.get(b"content-length", b"")
        is_long = declared.isdigit() and int(declared) > limit
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            n_bytes += len(part)
            more = message.get("more_body", False)
            is_long = is_long or n_bytes > limit
            if is_long and n_bytes > _DISCARD * limit:
                break
            if not is_long and part:
                yield part
        if is_long:
            raise Refusal(413, "too_large", f"a body must have at most {limit:,} bytes")

    async def _run(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Let the application answer; end it where the client hangs up."""
        is_sent = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal is_sent
            if not is_sent:
                is_sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await asyncio.Future()  # the guard itself listens for the client

        answering = asyncio.ensure_future(self._app(scope, replay, send))
        leaving = asyncio.ensure_future(_wait_for_leaving(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise _Gone
            await answering
        finally:
            for task in (answering, leaving):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task


async def _wait_for_leaving(receive: Receive) -> None:
    """Return when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_refusal(refusal: Refusal, send: Send) -> None:
    """Answer with an error.

    Args:
        refusal: Why.
        send: Of the request.
    """
    body = json.dumps(refusal.as_dict(), ensure_ascii=False).encode("utf-8", "replace")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in refusal.headers().items()),
    ]
    if refusal.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
