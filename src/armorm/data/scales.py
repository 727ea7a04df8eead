"""Scales of the ratings, and the matrix of normalised ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from armorm.errors import DataError, nearest
from armorm.types import RatedResponse, Scale

Scales: TypeAlias = Mapping[str, Mapping[str, Scale]]
"""Source -> objective -> scale."""

MIN_RATINGS = 10
"""Fewest ratings on which an objective can be fitted."""


def objectives_of(scales: Scales) -> tuple[str, ...]:
    """Return the objectives of all sources, in order of first appearance.

    Objectives of the same name share one place, and one head.

    Args:
        scales: Source -> objective -> scale.

    Returns:
        The k objectives.

    Example:
        >>> objectives_of({"a": {"x": Scale(0, 4)}, "b": {"y": Scale(1, 5), "x": Scale(0, 1)}})
        ('x', 'y')
    """
    return tuple(dict.fromkeys(name for objectives in scales.values() for name in objectives))


def rating_matrix(
    rows: Sequence[RatedResponse], objectives: Sequence[str], scales: Scales
) -> np.ndarray:
    """Return the normalised ratings, NaN where a row is not rated.

    Entry (i, j) is (raw + offset) / divisor by the scale of the source of row i for
    objective j. Nothing is clipped or centred. Ratings on objectives that are not asked
    for are left out.

    Args:
        rows: n rated rows.
        objectives: k names, the order of the columns.
        scales: Source -> objective -> scale.

    Returns:
        Shape (n, k), float64, on [0, 1] for scales without an offset of their own.

    Raises:
        ValueError: `objectives` names one twice or one that no source has; a row names an
            unknown source or objective, or its rating is outside the scale.

    Example:
        >>> row = RatedResponse("a", (), "yes", "s", {"x": 3})
        >>> rating_matrix([row], ["x", "y"], {"s": {"x": Scale(1, 5), "y": Scale(0, 1)}}).tolist()
        [[0.5, nan]]
    """
    known = objectives_of(scales)
    for name in objectives:
        if name not in known:
            raise ValueError(f"`objectives`: no source rates {name!r}{nearest(name, known)}")
    place = {name: j for j, name in enumerate(objectives)}
    if len(place) < len(objectives):
        raise ValueError(f"`objectives` must be distinct; got {list(objectives)!r}")
    matrix = np.full((len(rows), len(objectives)), np.nan)
    for i, row in enumerate(rows):
        for name, raw in row.ratings.items():
            value = normalised_rating(row, name, raw, scales)
            if name in place:
                matrix[i, place[name]] = value
    return matrix


def normalised_rating(row: RatedResponse, objective: str, raw: float, scales: Scales) -> float:
    """Return one rating of a row on [0, 1].

    Args:
        row: The row, for its source and for messages.
        objective: The rated objective.
        raw: The rating on its scale.
        scales: Source -> objective -> scale.

    Returns:
        The normalised rating.

    Raises:
        ValueError: the scales have no such source or objective; the rating is outside
            its scale, NaN included.
    """
    objectives = scales.get(row.source)
    if objectives is None:
        raise ValueError(
            f"row {row.id!r}: unknown source {row.source!r}{nearest(row.source, scales)}"
        )
    scale = objectives.get(objective)
    if scale is None:
        raise ValueError(
            f"row {row.id!r}: unknown objective {objective!r}{nearest(objective, objectives)}"
        )
    if not scale.contains(raw):
        raise ValueError(
            f"row {row.id!r}: rating {objective!r} must be from {scale.low:g} to {scale.high:g}; "
            f"got {raw:g}"
        )
    return scale.normalise(raw)


def check_objectives(
    matrix: np.ndarray,
    objectives: Sequence[str],
    *,
    min_ratings: int = MIN_RATINGS,
    where: str = "",
) -> None:
    """Check that every objective can be fitted.

    Args:
        matrix: Shape (n, k), normalised ratings, NaN where not rated.
        objectives: k names.
        min_ratings: Fewest ratings of one objective.
        where: Starts the message: the recipe, or the file.

    Raises:
        ValueError: `matrix` does not have k columns.
        DataError: an objective has fewer than `min_ratings` ratings, or all are equal;
            all such objectives are named in the one message.
    """
    if matrix.ndim != 2 or matrix.shape[1] != len(objectives):
        raise ValueError(
            f"`matrix` must have shape (n, k) with k = {len(objectives)}; got {matrix.shape}"
        )
    problems: list[str] = []
    for name, column in zip(objectives, matrix.T, strict=True):
        rated = column[~np.isnan(column)]
        if len(rated) < min_ratings:
            problems.append(
                f"objective {name!r} must have at least {min_ratings} ratings; got {len(rated)}"
            )
        elif rated.min() == rated.max():
            problems.append(
                f"objective {name!r} must have ratings that vary; all {len(rated)} are "
                f"{rated[0]:g} (normalised)"
            )
    if problems:
        raise DataError((f"{where}: " if where else "") + "; ".join(problems))
