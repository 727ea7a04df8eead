"""Servers for tests: real HTTP on loopback; the model process a thread of this one, or real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn

from armorm.serve.app import make_app
from armorm.serve.engine import Engine
from armorm.serve.frames import Frame, receive_frame
from armorm.serve.metrics import Metrics
from armorm.serve.settings import Limits
from armorm.serve.worker import serve_frames

PATIENCE_S = 60.0


class ThreadProcess:
    """A model in a thread, spoken with over pipes as a model process is."""

    def __init__(self, model: Any, **gathering: Any) -> None:
        self._model, self._gathering = model, {"token_budget": None, "wait_s": 0.002} | gathering
        self.n_sent = 0

    async def start(self) -> ThreadProcess:
        read_in, write_in = os.pipe()
        read_out, write_out = os.pipe()
        self._in = os.fdopen(write_in, "wb", buffering=0)
        self._reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        self._transport, _ = await loop.connect_read_pipe(
            lambda: protocol, os.fdopen(read_out, "rb")
        )

        def run() -> None:
            with (
                os.fdopen(read_in, "rb") as requests,
                os.fdopen(write_out, "wb") as replies,
                contextlib.suppress(BrokenPipeError),
            ):
                serve_frames(self._model, requests, replies, **self._gathering)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        return self

    def send(self, content: bytes) -> None:
        self.n_sent += 1
        with contextlib.suppress(OSError, ValueError):
            self._in.write(content)

    async def receive(self) -> Frame | None:
        return await receive_frame(self._reader)

    async def end(self) -> str:
        self._in.close()
        await asyncio.to_thread(self._thread.join, PATIENCE_S)
        self._transport.close()
        return "exit code 0"


@dataclass
class Server:
    """A running server."""

    url: str
    engine: Engine
    metrics: Metrics
    launched: list[Any] = field(default_factory=list)
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=PATIENCE_S))

    def post(self, path: str, body: Any, **changes: Any) -> httpx.Response:
        return self.http.post(self.url + path, json=body, **changes)

    def get(self, path: str, **changes: Any) -> httpx.Response:
        return self.http.get(self.url + path, **changes)

    def metric(self, line: str) -> float:
        """The value of one line of the metrics; 0 where it is not there."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", self.metrics.text().decode(), re.M)
        return float(found[1]) if found else 0.0


@contextlib.contextmanager
def served(
    model: Any,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    unscored: float | None = None,
    launch: Any = None,
    **gathering: Any,
) -> Iterator[Server]:
    """Run a server for as long as the block does."""
    limits, metrics, launched = limits or Limits(), Metrics(), []

    async def in_a_thread() -> Any:
        launched.append(await ThreadProcess(model, **gathering).start())
        return launched[-1]

    engine = Engine(launch or in_a_thread, limits=limits, metrics=metrics)
    app = make_app(engine, limits=limits, metrics=metrics, token=token, unscored=unscored)
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    found = Server(f"http://127.0.0.1:{listening.getsockname()[1]}", engine, metrics, launched)
    try:
        wait_until(lambda: engine.is_ready or not thread.is_alive())
        yield found
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        found.http.close()
        listening.close()
        assert not thread.is_alive()


def wait_until(holds: Any, patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


class Command:
    """`armorm serve` as a process of its own."""

    def __init__(self, *arguments: Any, **variables: str) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ARMORM_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "armorm", "serve", *map(str, arguments), "--port", "0"],
            env=environment | variables,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    @property
    def url(self) -> str:
        """Where it listens."""
        wait_until(lambda: self._address() or self.process.poll() is not None)
        return self._address()

    def _address(self) -> str:
        found = next((s.split()[-1] for s in self.said if s.startswith("listening on ")), "")
        return found.replace("0.0.0.0", "127.0.0.1")

    def wait_ready(self) -> str:
        """Wait for the model; return the address."""
        url = self.url

        def is_ready() -> bool:
            assert self.process.poll() is None, self.said
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(url + "/ready").status_code == 200
            return False

        wait_until(is_ready)
        return url

    def worker(self) -> int:
        """Number of its model process."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return int(found.stdout.split()[0])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        return code


@contextlib.contextmanager
def command(*arguments: Any, **variables: str) -> Iterator[Command]:
    """Run `armorm serve` for as long as the block does."""
    running = Command(*arguments, **variables)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        running._reading.join(PATIENCE_S)
        assert running.process.stderr is not None
        running.process.stderr.close()


def as_text(answer: httpx.Response) -> str:
    """An answer as JSON with one line an entry."""
    return json.dumps(answer.json(), indent=1, ensure_ascii=False) + "\n"
