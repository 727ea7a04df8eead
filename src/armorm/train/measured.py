"""Nuisances that are measured from the text, as ratings of every rated row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from armorm.data import Scales
from armorm.data.text_measures import MEASURES, measure_texts, measured_ratings
from armorm.errors import DataError
from armorm.types import RatedResponse


def measure_rows(rows: Sequence[RatedResponse], names: Sequence[str]) -> list[RatedResponse]:
    """Add what is measured from the response to the ratings of every row.

    Args:
        rows: Rated rows.
        names: Keys of `MEASURES`; none leaves the rows as they are.

    Returns:
        The rows in their order.

    Raises:
        DataError: a measure has one value for all rows, so that no head can learn it.
    """
    if not names or not rows:
        return list(rows)
    for name, values in zip(
        names, measure_texts([row.response for row in rows], names=names).T, strict=True
    ):
        if (values == values[0]).all():
            raise DataError(
                f"debias.measured: {name!r} must vary over the rated rows; it is "
                f"{values[0]:g} for all {len(rows):,}"
            )
    return [
        replace(row, ratings={**row.ratings, **measured_ratings(row.response, names)})
        for row in rows
    ]


def scales_with(scales: Scales, names: Sequence[str]) -> Scales:
    """Add the scales of measures to those of every source.

    Args:
        scales: Source -> objective -> scale.
        names: Keys of `MEASURES`.

    Returns:
        The scales of the rows that `measure_rows` returns.
    """
    own = {name: MEASURES[name].scale for name in names}
    return {source: {**of, **own} for source, of in scales.items()}


def measured_scores(texts: Sequence[str], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Measure texts, column by column.

    Args:
        texts: n texts.
        names: Keys of `MEASURES`.

    Returns:
        Name -> values of shape (n,).
    """
    return dict(zip(names, measure_texts(texts, names=names).T, strict=True))
