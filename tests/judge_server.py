"""A judge on this machine: a server that speaks chat completions and does what a test tells it.

The standard library alone, loopback alone, stopped by the block that starts it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server sends back."""

    text: str = ""
    """Content of the completion."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent as it is, in place of a completion."""
    delay_s: float = 0.0
    """Before anything is sent; ended early when the server stops."""
    drip_s: float = 0.0
    """Between two bytes of the body."""
    hangs_up: bool = False
    """Whether the connection is closed without an answer."""


Script = Callable[[str, int], Reply]
"""From the text of the user message and the number of the request, from 0, to the reply."""


@dataclass
class Request:
    """What the server was sent."""

    path: str
    headers: dict[str, str]
    content: dict[str, Any]

    @property
    def user(self) -> str:
        """Text of the user message."""
        return self.content["messages"][-1]["content"]


class JudgeServer:
    """A running server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.n_at_once = 0
        """Most requests that were open at the same time."""
        self._open = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.answer(self)

            def do_GET(self) -> None:
                server.requests.append(Request("GET " + self.path, dict(self.headers), {}))
                self.send_error(404)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        request = Request(handler.path, dict(handler.headers), content)
        with self._lock:
            i = len(self.requests)
            self.requests.append(request)
            self._open += 1
            self.n_at_once = max(self.n_at_once, self._open)
        try:
            reply = self.script(request.user, i)
            if reply.delay_s:
                self._stop.wait(reply.delay_s)
        finally:
            with self._lock:  # before the client knows, who may then send the next one
                self._open -= 1
        with contextlib.suppress(OSError):  # a client that has gone
            self._send(handler, reply)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.hangs_up:
            handler.close_connection = True
            return
        message = {"role": "assistant", "content": reply.text}
        body = reply.body or json.dumps({"choices": [{"index": 0, "message": message}]}).encode()
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if not reply.drip_s:
            handler.wfile.write(body)
            return
        for i in range(len(body)):
            handler.wfile.write(body[i : i + 1])
            handler.wfile.flush()
            if self._stop.wait(reply.drip_s):
                return

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextlib.contextmanager
def judge_server(script: Script) -> Iterator[JudgeServer]:
    """Run a server for as long as the block does."""
    server = JudgeServer(script)
    server.start()
    try:
        yield server
    finally:
        server.stop()
