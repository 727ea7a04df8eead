"""Starts the model process and speaks with it over its stdin and stdout."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Protocol, runtime_checkable

from armorm.serve.frames import Frame, pack_frame, receive_frame
from armorm.serve.settings import ModelSettings

_LEAVES_IN_S = 10.0


@runtime_checkable
class ModelProcess(Protocol):
    """The other side of an engine."""

    def send(self, content: bytes) -> None:
        """Send the bytes of a frame; to one that has gone, they are lost."""
        ...

    async def receive(self) -> Frame | None:
        """Wait for a frame; None where the process has gone."""
        ...

    async def end(self) -> str:
        """Let the process answer what it has and leave; say how it left."""
        ...


class ChildProcess:
    """A process of this machine that runs `armorm.serve.worker`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Keep a process that was started.

        Args:
            process: With pipes for stdin and stdout.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def send(self, content: bytes) -> None:
        """Send the bytes of a frame; to one that has gone, they are lost."""
        if not self._in.is_closing():
            self._in.write(content)

    async def receive(self) -> Frame | None:
        """Wait for a frame; None where the process has gone."""
        return await receive_frame(self._out)

    async def end(self) -> str:
        """Let the process answer what it has and leave; say how it left."""
        with contextlib.suppress(OSError):
            self._in.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), _LEAVES_IN_S)
        except TimeoutError:
            self._process.kill()
            code = await self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


async def start_process(settings: ModelSettings) -> ChildProcess:
    """Start a model process.

    Args:
        settings: What it loads.

    Returns:
        The process; its first frame says `ready` or `failed`.
    """
    # -P: a folder called armorm beside the caller must not take the place of the package.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "armorm.serve.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # Ctrl-C is the server's, which then ends this process
    )
    child = ChildProcess(process)
    child.send(pack_frame({"load": settings.as_dict()}))
    return child


def _environment() -> dict[str, str]:
    """The environment of the model process, which needs no secret of the server."""
    kept = {name: value for name, value in os.environ.items() if name != "ARMORM_TOKEN"}
    # Rows are tokenised in one thread beside the model's; more of them would slow it down.
    return {"TOKENIZERS_PARALLELISM": "false", **kept}
