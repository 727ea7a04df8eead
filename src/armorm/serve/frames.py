"""Messages between the server and its model process: JSON and a block of float32, by length.

Knows bytes; knows neither requests nor models. Nothing is pickled.
"""

from __future__ import annotations

import json
import struct
from asyncio import IncompleteReadError, StreamReader
from io import BufferedIOBase
from typing import Any, NamedTuple

_LENGTHS = struct.Struct(">QQ")


class Frame(NamedTuple):
    """One message."""

    header: dict[str, Any]
    """What it says, as JSON."""
    block: bytes = b""
    """Numbers that are too many for JSON: float32, little endian."""


def pack_frame(header: dict[str, Any], block: bytes = b"") -> bytes:
    """Return the bytes of a message.

    Args:
        header: What it says.
        block: Its numbers.

    Returns:
        Two lengths, the header, the block.

    Example:
        >>> pack_frame({"n": 1}, b"1234")[16:]
        b'{"n":1}1234'
    """
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((_LENGTHS.pack(len(text), len(block)), text, block))


def read_frame(stream: BufferedIOBase) -> Frame | None:
    """Read a message from a file.

    Args:
        stream: A buffered file.

    Returns:
        The message; None where the other side has gone, in the middle of one as well.
    """
    start = stream.read(_LENGTHS.size)
    if len(start) < _LENGTHS.size:
        return None
    n_text, n_block = _LENGTHS.unpack(start)
    content = stream.read(n_text + n_block)
    if len(content) < n_text + n_block:
        return None
    return Frame(json.loads(content[:n_text]), content[n_text:])


async def receive_frame(reader: StreamReader) -> Frame | None:
    """Read a message from a stream of the event loop.

    Args:
        reader: The stream.

    Returns:
        The message; None where the other side has gone, in the middle of one as well.
    """
    try:
        n_text, n_block = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        content = await reader.readexactly(n_text + n_block)
    except (IncompleteReadError, ConnectionError):
        return None
    return Frame(json.loads(content[:n_text]), content[n_text:])
