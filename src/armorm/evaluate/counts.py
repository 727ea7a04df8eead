"""How many rows figures rest on, by source, and how many were not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from armorm.data import Drops, group_of
from armorm.evaluate.figures import DataFacts, DecontaminationFigures, SourceFacts
from armorm.types import PreferencePair, RatedResponse

NO_SOURCE = "(none)"
"""Shown as the source of rows that name none."""


def count_rows(
    rated: Sequence[RatedResponse],
    pairs: Sequence[PreferencePair],
    drops: Drops,
    *,
    n_derived: int = 0,
    decontaminated: tuple[DecontaminationFigures, ...] = (),
) -> DataFacts:
    """Count the rows that were used and those that were not.

    Args:
        rated: Rated rows that were used.
        pairs: Preference pairs that were used.
        drops: Rows that were not, by reason.
        n_derived: Pairs derived from ratings for training.
        decontaminated: Rows that were left out for their prompt, by evaluation file.

    Returns:
        The counts, sources in order of first appearance.
    """
    of_rated, of_pairs = Counter(map(source_of, rated)), Counter(map(source_of, pairs))
    return DataFacts(
        rated=len(rated),
        pairs=len(pairs),
        prompts=len({group_of(row.prompt) for row in [*rated, *pairs]}),
        sources={
            name: SourceFacts(rated=of_rated[name], pairs=of_pairs[name])
            for name in dict.fromkeys([*of_rated, *of_pairs])
        },
        dropped=drops.as_dict(),
        derived_pairs=n_derived,
        decontaminated=decontaminated,
    )


def source_of(row: RatedResponse | PreferencePair) -> str:
    """Return the source of a row as it is shown.

    Args:
        row: The row.

    Returns:
        Its source, or `NO_SOURCE`.
    """
    return row.source or NO_SOURCE
