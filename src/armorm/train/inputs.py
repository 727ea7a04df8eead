"""What a run trains on: rows, and their features lined up with ratings and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from armorm.data import (
    BadRows,
    DataSource,
    Drops,
    Scales,
    check_objectives,
    folds_of,
    group_of,
    pairs_from_ratings,
    rating_matrix,
    read_pairs,
    read_rated,
)
from armorm.errors import DataError
from armorm.features.store import FeatureSet
from armorm.storage import fingerprint
from armorm.train.stages import DerivedPairs, PairSet, RatedSet
from armorm.types import Conversation, PreferencePair, RatedResponse

CHOSEN, REJECTED = "chosen", "rejected"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a run, checked."""

    rated: list[RatedResponse]
    """Rated responses, raw ratings."""
    pairs: list[PreferencePair]
    """Preference pairs as read."""
    scales: Scales
    """Source -> objective -> scale."""
    objectives: tuple[str, ...]
    """Names of axis k."""
    drops: Drops
    """Counts of the rows that are not used."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows with features; rows that the backbone could not take are gone, and counted."""

    rated_rows: list[RatedResponse]
    pair_rows: list[PreferencePair]
    rated: RatedSet | None
    pairs: PairSet | None
    derived_rows: list[PreferencePair] = field(default_factory=list)
    derived: DerivedPairs | None = None


def read_rows(
    rated: Sequence[DataSource],
    pairs: Sequence[DataSource],
    *,
    scales: Scales,
    objectives: tuple[str, ...],
    bad_rows: BadRows,
    drops: Drops,
) -> Rows:
    """Read and check all rows of a run.

    Args:
        rated: Where rated rows are; may be empty.
        pairs: Where preference pairs are; may be empty.
        scales: Source -> objective -> scale.
        objectives: Names of axis k.
        bad_rows: `stop` or `drop`.
        drops: Counts dropped rows.

    Returns:
        The rows.

    Raises:
        DataError: a bad row under `stop`; an objective with fewer than 10 ratings or
            without variance.
    """
    rated_rows = read_rated(rated, scales, bad_rows=bad_rows, drops=drops) if rated else []
    pair_rows = read_pairs(pairs, bad_rows=bad_rows, drops=drops) if pairs else []
    if rated_rows:
        check_objectives(rating_matrix(rated_rows, objectives, scales), objectives)
    return Rows(rated_rows, pair_rows, scales, objectives, drops)


def rated_conversations(rows: Rows) -> list[Conversation]:
    """Return what the backbone gets to see of the rated rows."""
    return [row.conversation for row in rows.rated]


def pair_conversations(rows: Rows) -> list[Conversation]:
    """Return both sides of every pair, chosen first, with ids that tell them apart."""
    return [
        Conversation(row.prompt, response, f"{row.id}/{side}")
        for row in rows.pairs
        for side, response in ((CHOSEN, row.chosen), (REJECTED, row.rejected))
    ]


def line_up(
    rows: Rows,
    rated: FeatureSet | None,
    pairs: FeatureSet | None,
    *,
    n_folds: int,
    salt: str,
) -> TrainingData:
    """Bring rows, features, normalised ratings and folds into one order.

    Args:
        rows: The rows.
        rated: Features of the rated rows that the backbone could take.
        pairs: Features of both sides of the pairs that the backbone could take.
        n_folds: Parts of the prompts.
        salt: Chooses another assignment of prompts to folds.

    Returns:
        The rows that have features, with them; a pair needs both sides.

    Raises:
        DataError: there are fewer prompts than folds; after too long rows were dropped, an objective has fewer than 10 ratings
            or no variance.
    """
    rated_rows, rated_set = rows.rated, None
    # Over both kinds together: a prompt that has ratings and pairs is in one fold.
    prompts = [row.prompt for row in [*rows.rated, *rows.pairs]]
    if (n_prompts := len({group_of(prompt) for prompt in prompts})) < n_folds:
        raise DataError(
            f"`evaluation.folds` must be at most the number of different prompts; got {n_folds} "
            f"folds for {n_prompts} prompts"
        )
    fold = dict(zip(prompts, folds_of(prompts, n_folds, salt), strict=True))
    if rated is not None:
        place = {id: i for i, id in enumerate(rated.ids)}
        rated_rows = [row for row in rows.rated if row.id in place]
        matrix = rating_matrix(rated_rows, rows.objectives, rows.scales)
        check_objectives(matrix, rows.objectives)
        rated_set = RatedSet(
            features=rated.response[[place[row.id] for row in rated_rows]],
            ratings=torch.from_numpy(matrix),
            folds=torch.tensor([fold[row.prompt] for row in rated_rows]),
            sources=tuple(row.source for row in rated_rows),
            objectives=rows.objectives,
        )
    pair_rows, pair_set = rows.pairs, None
    if pairs is not None:
        place = {id: i for i, id in enumerate(pairs.ids)}
        sides = {row.id: (f"{row.id}/{CHOSEN}", f"{row.id}/{REJECTED}") for row in rows.pairs}
        pair_rows = [row for row in rows.pairs if all(s in place for s in sides[row.id])]
        if not pair_rows:
            raise DataError("pairs: no pair is left whose two sides the backbone could take")
        chosen = [place[sides[row.id][0]] for row in pair_rows]
        rejected = [place[sides[row.id][1]] for row in pair_rows]
        pair_set = PairSet(
            prompt=pairs.prompt[chosen],
            chosen=pairs.response[chosen],
            rejected=pairs.response[rejected],
            folds=torch.tensor([fold[row.prompt] for row in pair_rows]),
        )
    return TrainingData(list(rated_rows), list(pair_rows), rated_set, pair_set)


def derive(
    rows: Rows,
    data: TrainingData,
    features: FeatureSet,
    *,
    weights: Mapping[str, float],
    min_gap: float,
    loss_weight: float,
) -> TrainingData:
    """Add preference pairs made from ratings.

    Args:
        rows: The rows.
        data: Their features, lined up.
        features: Features of the rated rows, for the prompt features.
        weights: Objective -> weight in the aggregate.
        min_gap: Smallest difference of the aggregates.
        loss_weight: Weight of such a pair in the loss.

    Returns:
        The same data with derived pairs.

    Raises:
        DataError: no two responses to one prompt are that far apart.
    """
    derived = pairs_from_ratings(data.rated_rows, rows.scales, weights=weights, min_gap=min_gap)
    if not derived:
        raise DataError(
            f"derived_pairs: no two responses to one prompt differ by {min_gap:g} or more"
        )
    # By text: the same response to the same prompt has the same features, whatever its id.
    number = {(row.prompt, row.response): i for i, row in enumerate(data.rated_rows)}
    place = {id: i for i, id in enumerate(features.ids)}
    pairs = DerivedPairs(
        chosen=torch.tensor([number[row.prompt, row.chosen] for row in derived]),
        rejected=torch.tensor([number[row.prompt, row.rejected] for row in derived]),
        prompt=features.prompt[[place[row.id] for row in data.rated_rows]],
        loss_weight=loss_weight,
    )
    return TrainingData(data.rated_rows, data.pair_rows, data.rated, data.pairs, derived, pairs)


def inputs_key(rows: Rows, features: Sequence[str]) -> str:
    """Return a fingerprint of ratings, sources and the features that belong to them.

    Args:
        rows: The rows.
        features: Fingerprints of the feature sets, which cover ids and texts.

    Returns:
        64 hexadecimal digits.
    """
    rated = [[row.id, row.source, sorted(row.ratings.items())] for row in rows.rated]
    scales = {
        source: {name: [s.low, s.high, s.offset, s.divisor] for name, s in of.items()}
        for source, of in rows.scales.items()
    }
    return fingerprint([list(features), rated, scales, list(rows.objectives)])
