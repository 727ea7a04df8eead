"""Splits and folds by a hash of the prompt, so that no prompt is on two sides."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence

from armorm.types import Prompt


def group_of(prompt: Prompt) -> str:
    """Return the group of a prompt, equal for copies that differ in case or white space.

    Such copies are one prompt for splits, for resampling and for duplicates: a head that
    has seen one of them has seen the other. Roles and all messages count, the system
    message included. The same on every machine and in every version of Python.

    Args:
        prompt: The messages before the response.

    Returns:
        32 hexadecimal digits.

    Example:
        >>> from armorm.types import Message
        >>> group_of((Message("user", "Hello you "),)) == group_of((Message("user", "hello  you"),))
        True
    """
    plain = [[message.role, " ".join(message.content.split()).casefold()] for message in prompt]
    return hashlib.blake2b(json.dumps(plain).encode(), digest_size=16).hexdigest()


def fold_of(prompt: Prompt, n_folds: int, salt: str = "") -> int:
    """Return the fold of a prompt.

    Folds have equal size in expectation, not exactly; rows that are added later change
    no fold of the others.

    Args:
        prompt: The messages before the response.
        n_folds: Number of folds, at least 2.
        salt: Another text gives another, independent division.

    Returns:
        A number from 0 to n_folds - 1.

    Raises:
        ValueError: fewer than 2 folds.
    """
    if n_folds < 2:
        raise ValueError(f"`n_folds` must be at least 2; got {n_folds}")
    return _draw(group_of(prompt), "fold", salt) % n_folds


def folds_of(prompts: Sequence[Prompt], n_folds: int, salt: str = "") -> list[int]:
    """Return balanced folds: their numbers of distinct prompts differ by at most one.

    Distinct prompts, up to case and white space, are dealt out in the order of their
    hash. The order of `prompts` and copies among them do not matter; other prompts do,
    unlike in `fold_of`.

    Args:
        prompts: One prompt a row; copies come into the fold of the first.
        n_folds: Number of folds, from 2 to the number of distinct prompts.
        salt: Another text gives another, independent division.

    Returns:
        A number from 0 to n_folds - 1 for each row.

    Raises:
        ValueError: fewer than 2 folds, or more than there are distinct prompts.
    """
    groups = [group_of(prompt) for prompt in prompts]
    order = sorted({*groups}, key=lambda group: (_draw(group, "deal", salt), group))
    if not 2 <= n_folds <= len(order):
        raise ValueError(
            f"`n_folds` must be from 2 to the number of distinct prompts, {len(order)}; "
            f"got {n_folds}"
        )
    fold = {group: rank % n_folds for rank, group in enumerate(order)}
    return [fold[group] for group in groups]


def split_of(prompt: Prompt, shares: Mapping[str, float], salt: str = "") -> str:
    """Return the split of a prompt.

    Args:
        prompt: The messages before the response.
        shares: Share of the prompts by split; they sum to 1. Their order matters: with
            equal shares it decides which prompts go where.
        salt: Another text gives another, independent division.

    Returns:
        A key of `shares`.

    Raises:
        ValueError: no shares; a share is negative or not finite; they do not sum to 1.

    Example:
        >>> from armorm.types import Message
        >>> split_of((Message("user", "hello"),), {"train": 1.0, "test": 0.0})
        'train'
    """
    total = math.fsum(shares.values())
    if not shares or not all(share >= 0 for share in shares.values()) or abs(total - 1) > 1e-6:
        raise ValueError(f"`shares` must be 0 or more and sum to 1; got {dict(shares)!r}")
    point = _draw(group_of(prompt), "split", salt) / 2**64 * total
    *names, last = [name for name, share in shares.items() if share > 0]
    below = 0.0
    for name in names:
        below += shares[name]
        if point < below:
            return name
    return last


def _draw(group: str, purpose: str, salt: str) -> int:
    """Return 64 bits that depend on the group, the purpose and the salt."""
    text = json.dumps([purpose, salt, group])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
