"""What a server is started with: the model, and the limits that keep it alive."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from armorm.errors import nearest
from armorm.features.interface import DEVICES

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model the model process loads, and how it gathers rows."""

    bundle: str
    """Folder or hub id of a bundle, or of a checkpoint in the released layout."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1` or `mps`."""
    backbone: str | None = None
    """Where the backbone is, when not at the id that the bundle names."""
    weights: Mapping[str, float] | None = None
    """Fixed weights of every request that brings none of its own."""
    factors: Mapping[str, float] | None = None
    """Factors of the gating of every request that brings no steering of its own."""
    token_budget: int | None = None
    """Tokens a batch; None: what suits the device."""
    wait_s: float = 0.004
    """How long the first request of a batch waits for others, in seconds."""

    def __post_init__(self) -> None:
        """Check what can be checked without the model.

        Raises:
            ValueError: a setting is outside its range (the value is in the text).
        """
        if not re.fullmatch(DEVICES, self.device):
            raise ValueError(
                f"`device` must be auto, cpu, cuda, cuda:1 or mps; got {self.device!r}"
            )
        if self.weights is not None and self.factors is not None:
            raise ValueError(
                "`weights` bypass the gating that `factors` multiply; give one of them"
            )
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"`token_budget` must be 1 or more; got {self.token_budget}")
        if not 0 <= self.wait_s <= 1:
            raise ValueError(f"`wait_s` must be 0 to 1 second; got {self.wait_s:g}")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server takes, of one request and of all."""

    body_bytes: int = 4 * MIB
    """Longest body of a request."""
    conversations: int = 1024
    """Conversations of one request."""
    messages: int = 1024
    """Messages of one prompt."""
    request_tokens: int = 1 << 20
    """Tokens of all conversations of one request."""
    queue_conversations: int = 4096
    """Conversations that wait or are computed; more are refused with status 429."""
    queue_bytes: int = 64 * MIB
    """Text that waits or is computed."""
    open_requests: int = 1024
    """Requests that are being read or answered."""
    open_bytes: int = 256 * MIB
    """Bodies that are being read or answered."""
    timeout_s: float = 120.0
    """Longest time from the end of a request to its answer."""
    body_timeout_s: float = 30.0
    """Longest time that a body may take to arrive."""

    def __post_init__(self) -> None:
        """Check every limit.

        Raises:
            ValueError: a limit is not positive; one request could never be taken.
        """
        for name, value in asdict(self).items():
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"`{name}` must be positive; got {value!r}")
        pairs = (
            ("conversations", "queue_conversations"),
            ("body_bytes", "queue_bytes"),
            ("body_bytes", "open_bytes"),
        )
        for one, all_ in pairs:
            if getattr(self, one) > getattr(self, all_):
                raise ValueError(
                    f"`{one}` must be at most `{all_}`, or a request of that size could never be "
                    f"taken; got {getattr(self, one):,} and {getattr(self, all_):,}"
                )

    def as_dict(self) -> dict[str, float]:
        """Return the limits as JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Limits:
        """Read limits as the command line gives them.

        Args:
            texts: `name=number` each; what is not named keeps its default.

        Returns:
            The limits.

        Raises:
            ValueError: not of this form; an unknown name; a number outside its range.

        Example:
            >>> Limits.parse(["timeout_s=5", "conversations=64"]).conversations
            64
        """
        kinds = {f.name: int if f.type == "int" else float for f in fields(cls)}
        found: dict[str, Any] = {}
        for text in texts:
            name, _, value = (part.strip() for part in text.partition("="))
            if name not in kinds:
                raise ValueError(
                    f"a limit must be one of these; got {name!r}{nearest(name, kinds)}"
                )
            try:
                found[name] = kinds[name](value)
            except ValueError:
                number = "a whole number" if kinds[name] is int else "a number"
                raise ValueError(f"`{name}` must be {number}; got {value!r}") from None
        return cls(**found)


def check_unscored(unscored: float | None) -> None:
    """Check the reward of rows without a score.

    Args:
        unscored: None where there is none.

    Raises:
        ValueError: it is not finite.
    """
    if unscored is not None and not math.isfinite(unscored):
        raise ValueError(f"--unscored: must be a finite number; got {unscored!r}")


def read_token(path: Path | None, given: str | None) -> str | None:
    """Return the token that requests must show.

    Args:
        path: File that holds it, white space around it left out.
        given: The token itself.

    Returns:
        The token: of the file, else the one given, else of the variable ARMORM_TOKEN; None
        where there is none.

    Raises:
        ValueError: both are given; the file cannot be read.
    """
    if path is not None and given is not None:
        raise ValueError("the token must come from a file or be given itself; both were")
    if path is not None:
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ValueError(f"{path}: the file of the token must be readable; {why}") from None
    if given is not None:
        return given
    return os.environ.get("ARMORM_TOKEN", "").strip() or None
