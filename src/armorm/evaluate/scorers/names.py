"""What the name of a model on the command line means; nothing is loaded or looked up on a hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from armorm.errors import nearest

ScorerKind = Literal["reward model", "hugging face", "judge", "length", "random"]
"""What scores."""

_HUB_ID = re.compile(r"(?P<id>[\w-][\w.-]*(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
_JUDGE = re.compile(r"(?P<model>.+?)@(?P<url>https?:.*)", re.IGNORECASE | re.DOTALL)
# An argument that begins with a dash would be an option, so each has a word as well.
_LENGTHS = {"longest": True, "shortest": False, "length": True, "-length": False}
_WORDS = (*_LENGTHS, "random")
_PREFIXES = ("hf:", "judge:")
FORMS = "a folder or hub id, hf:ID[@REVISION], judge:MODEL@URL, longest, shortest or random"
"""Every form of a name, for help texts and errors."""


@dataclass(frozen=True, slots=True)
class ScorerName:
    """A name, taken apart."""

    text: str
    """As it was given."""
    kind: ScorerKind
    """What scores."""
    target: str = ""
    """Folder or hub id, or the model of a judge; empty for the others. Of a reward model with
    its revision."""
    revision: str | None = None
    """Of a hub id after `hf:`."""
    url: str = ""
    """Of a judge."""
    longer: bool = True
    """Of a length: whether the longer response wins."""


def parse_scorer_name(text: str) -> ScorerName:
    """Say what a name means.

    A path that is here is a path, whatever it looks like. `hf:ID` is a sequence classifier of
    Hugging Face, by hub id or folder; `judge:MODEL@URL` a language model behind an
    OpenAI-compatible endpoint; `longest` and `shortest` (also `length` and
    `-length`) prefer the longer and the shorter response, `random` draws.

    Args:
        text: The name.

    Returns:
        Its parts.

    Raises:
        ValueError: it has none of these forms; `hf:` without an id; `judge:` without a model
            or an address.

    Example:
        >>> name = parse_scorer_name("judge:qwen@http://localhost:8000/v1")
        >>> name.target, name.url
        ('qwen', 'http://localhost:8000/v1')
    """
    if text.startswith("hf:"):
        return _hugging_face(text)
    if text.startswith("judge:"):
        return _judge(text)
    if not _is_here(text):
        if text in _LENGTHS:
            return ScorerName(text, "length", longer=_LENGTHS[text])
        if text == "random":
            return ScorerName(text, "random")
        _check_path(text)
    return ScorerName(text, "reward model", target=text)


def _hugging_face(text: str) -> ScorerName:
    """The parts of `hf:ID[@REVISION]`."""
    rest = text.removeprefix("hf:")
    if not rest:
        raise ValueError(f"a model must be named after `hf:`; got {text!r}")
    match = None if _is_here(rest) else _HUB_ID.fullmatch(rest)
    if match is None:
        return ScorerName(text, "hugging face", target=rest)
    return ScorerName(text, "hugging face", target=match["id"], revision=match["revision"])


def _judge(text: str) -> ScorerName:
    """The parts of `judge:MODEL@URL`."""
    match = _JUDGE.fullmatch(text.removeprefix("judge:"))
    if match is None:
        # Not shown: whoever has mixed the form up may have put a key there.
        raise ValueError(
            "a judge must be named judge:MODEL@URL, where URL begins with http:// or https://; "
            "it is not"
        )
    return ScorerName(text, "judge", target=match["model"], url=match["url"])


def _check_path(text: str) -> None:
    """Raise where a text that is no path here cannot be a hub id or a path either."""
    prefix = re.match(r"[A-Za-z-]{2,}:", text)
    if prefix:
        raise ValueError(
            f"a model must be {FORMS}; {text!r} begins with {prefix[0]!r}"
            f"{nearest(prefix[0], _PREFIXES)}"
        )
    # A bundle that is not there is the loader's to say, but a word alone is a slip.
    if not text or not any(sign in text for sign in "/\\."):
        raise ValueError(f"a model must be {FORMS}; got {text!r}{nearest(text, _WORDS)}")


def _is_here(text: str) -> bool:
    """Say whether there is a file or folder of that name."""
    try:
        return bool(text) and Path(text).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, an unknown home
        return False
