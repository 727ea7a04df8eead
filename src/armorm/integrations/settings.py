"""A model configured by environment variables, for trainers that take the name of a function."""

from __future__ import annotations

import functools
import json
import math
import os
import threading
from collections.abc import Mapping

from armorm.integrations.shared import RowScorer


def scorer_from_environment() -> RowScorer:
    """Return the model that the environment names; the same one for the same settings.

    ARMORM_BUNDLE: folder or hub id, or the address of an `armorm serve`, which is shown
    ARMORM_TOKEN. ARMORM_DEVICE (auto), ARMORM_BACKBONE (where the backbone
    is), ARMORM_WEIGHTS (`honesty=1,verbosity=-0.5`, or a JSON object), ARMORM_VALUES (`debiased`
    or `raw`) are optional.

    Returns:
        The scorer, loaded at its first call.

    Raises:
        ValueError: ARMORM_BUNDLE is not set; another one cannot be read.
    """
    bundle = os.environ.get("ARMORM_BUNDLE", "").strip()
    if not bundle:
        raise ValueError(
            "`ARMORM_BUNDLE` must name the folder or hub id of a bundle; it is not set"
        )
    text = os.environ.get("ARMORM_WEIGHTS", "").strip()
    return cached_scorer(
        bundle,
        device=os.environ.get("ARMORM_DEVICE", "").strip() or "auto",
        backbone=os.environ.get("ARMORM_BACKBONE", "").strip() or None,
        weights=tuple(parse_weights(text).items()) if text else None,
        values=os.environ.get("ARMORM_VALUES", "").strip() or "debiased",
    )


def cached_scorer(
    bundle: str,
    *,
    device: str = "auto",
    backbone: str | None = None,
    weights: tuple[tuple[str, float], ...] | None = None,
    values: str = "debiased",
) -> RowScorer:
    """Return a scorer; the same one for the same settings, so that a model is loaded once.

    Args:
        bundle: Folder or hub id.
        device: As `RowScorer.device`.
        backbone: As `RowScorer.backbone`.
        weights: Name and weight of every weighed objective.
        values: As `RowScorer.values`.

    Returns:
        The scorer, loaded at its first call.

    Raises:
        ValueError: `values` is neither 'debiased' nor 'raw'.
    """
    with _MAKING:  # the cache alone would let two threads that come first make one each
        return _scorer_of(bundle, device, backbone, weights, values)


_MAKING = threading.Lock()


@functools.lru_cache(maxsize=8)
def _scorer_of(
    bundle: str,
    device: str,
    backbone: str | None,
    weights: tuple[tuple[str, float], ...] | None,
    values: str,
) -> RowScorer:
    """As `cached_scorer`."""
    named = None if weights is None else dict(weights)
    return RowScorer(bundle, device=device, backbone=backbone, weights=named, values=values)


def unscored_from_environment() -> float | None:
    """Return the reward of rows that cannot be scored: ARMORM_UNSCORED, or None.

    Returns:
        The number; None where the variable is not set.

    Raises:
        ValueError: it is set and no finite number.
    """
    text = os.environ.get("ARMORM_UNSCORED", "").strip()
    return finite_number("ARMORM_UNSCORED", text) if text else None


def parse_weights(text: str) -> dict[str, float]:
    """Read weights from `name=number,name=number` or a JSON object.

    Args:
        text: What was given.

    Returns:
        Objective name -> weight.

    Raises:
        ValueError: neither form; a name twice; a weight that is no finite number.

    Example:
        >>> parse_weights("honesty=1, verbosity=-0.5")
        {'honesty': 1.0, 'verbosity': -0.5}
    """
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ValueError(f"`ARMORM_WEIGHTS` must be a JSON object; {error}") from None
        return {str(name): finite_number("ARMORM_WEIGHTS", value) for name, value in found.items()}
    weights: dict[str, float] = {}
    for pair in text.split(","):
        name, equals, value = pair.rpartition("=")
        if not equals or not name.strip() or name.strip() in weights:
            raise ValueError(
                "`ARMORM_WEIGHTS` must be name=number,name=number, every name once; "
                f"got {pair.strip()!r}"
            )
        weights[name.strip()] = finite_number("ARMORM_WEIGHTS", value)
    return weights


def check_names(names: tuple[str, ...], reserved: Mapping[str, str]) -> None:
    """Raise where an objective is called as something else that a trainer is told.

    Args:
        names: Of the objectives.
        reserved: Name -> what it means.

    Raises:
        ValueError: an objective has such a name.
    """
    for name in names:
        if name in reserved:
            raise ValueError(
                f"an objective must not be called {name!r}, which is {reserved[name]} here"
            )


def finite_number(setting: str, value: object) -> float:
    """Return a setting as a number.

    Args:
        setting: Its name, for the error.
        value: What was given.

    Returns:
        The number.

    Raises:
        ValueError: it is none, or not finite.
    """
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"`{setting}` must be a finite number; got {value!r}")
    return number
