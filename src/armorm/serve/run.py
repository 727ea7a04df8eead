"""Starts a server and keeps it until it is told to stop."""

from __future__ import annotations

import functools
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from armorm.errors import MissingDependency

try:
    import uvicorn

    from armorm.serve.app import make_app
    from armorm.serve.engine import Engine
    from armorm.serve.metrics import Metrics
except ImportError as error:
    if (error.name or "").startswith("armorm"):
        raise
    raise MissingDependency("serving", "serve") from error
from armorm.serve.errors import StartError
from armorm.serve.process import start_process
from armorm.serve.settings import Limits, ModelSettings

LOGGER = logging.getLogger("armorm.serve")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens and who may ask."""

    host: str = "127.0.0.1"
    """Name or number of the interface."""
    port: int = 8000
    """0: one that is free."""
    token: str | None = field(default=None, repr=False)
    """What requests must show; None where they need not."""

    def __post_init__(self) -> None:
        """Check the port and the token.

        Raises:
            ValueError: a port that is none; a token that no header can carry.
        """
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"`port` must be 0 to 65535; got {self.port}")
        text = self.token
        if text is not None and not (
            text.isascii() and text.isprintable() and text.split() == [text]
        ):
            # Not shown: it is a secret.
            raise ValueError(
                "the token must be printable ASCII characters without white space, at least one"
            )

    @property
    def is_open(self) -> bool:
        """Whether others than this machine can ask without a token."""
        if self.token is not None or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True


def serve(
    settings: ModelSettings,
    address: Address,
    *,
    limits: Limits | None = None,
    unscored: float | None = None,
    on_listen: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve a model until SIGTERM or Ctrl-C; what was accepted by then is answered.

    Args:
        settings: The model.
        address: Where to listen.
        limits: What is taken; the defaults where None.
        unscored: Reward of rows that cannot be scored, for trainers that know no missing one.
        on_listen: Called with the address once it is taken; the model loads meanwhile.

    Raises:
        StartError: the address is taken; the model cannot be loaded.
    """
    limits, metrics = limits or Limits(), Metrics()
    engine = Engine(functools.partial(start_process, settings), limits=limits, metrics=metrics)
    app = make_app(engine, limits=limits, metrics=metrics, token=address.token, unscored=unscored)
    with _listen(address) as listening:
        port = listening.getsockname()[1]
        shown = f"[{address.host}]" if ":" in address.host else address.host
        on_listen(f"http://{shown}:{port}")
        if address.is_open:
            LOGGER.warning(
                "%s can be reached from other machines and asks for no token: whoever reaches it "
                "can use the model; give --token-file or ARMORM_TOKEN, or --host 127.0.0.1",
                address.host,
            )
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                timeout_graceful_shutdown=round(limits.timeout_s + 5),
                timeout_keep_alive=30,
                ws="none",
                server_header=False,
            )
        )

        def stop() -> None:
            server.should_exit = True

        engine.on_failure = stop
        _run(server, listening)
    engine.check_started()


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Run until a signal; the server answers what it has and this function returns."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    # The server repeats a signal once it has stopped, which is to end nothing else.
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(address: Address) -> socket.socket:
    """Take an address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise StartError(
            f"{address.host}:{address.port}: a server must be able to listen there; {why}"
        ) from None


def log_to_stderr() -> None:
    """Write what a server has to say, one line each, on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
