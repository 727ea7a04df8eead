"""What a run trains on: rows, and their features lined up with ratings and folds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
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
from armorm.features.feature_set import FeatureSet, StoredFeatures
from armorm.features.mapped import FeatureRows, in_memory, take_rows
from armorm.storage import fingerprint
from armorm.train.decontaminate import Decontamination, read_evaluation_files
from armorm.train.measured import measure_rows, scales_with
from armorm.train.sets import DerivedPairs, PairSet, RatedSet
from armorm.types import Conversation, PreferencePair, Prompt, RatedResponse

CHOSEN, REJECTED = "chosen", "rejected"

IN_MEMORY = 2**30
"""Bytes of features, as float32, up to which a set is read whole; larger ones stay on disk."""

AnyFeatures = FeatureSet | StoredFeatures
"""Features of rows in the order of the input."""


@dataclass(frozen=True, slots=True)
class Folds:
    """Which part of the prompts each prompt is in, and which parts are held out in turn."""

    of: Mapping[Prompt, int]
    """Number of the fold by prompt."""
    n: int
    """Parts of the prompts."""
    rounds: int
    """Folds 0 to rounds - 1 take a turn as the held-out part."""

    def check(self, what: str, rows: Iterable[Prompt]) -> None:
        """Refuse rows of so few prompts that a fit would have none of them.

        With one fold held out, two more are needed: one to fit on and one to choose
        settings or stop on; and what is judged must be in a fold that takes its turn.

        Args:
            what: Names the rows, as the start of the message.
            rows: The prompt of each row.

        Raises:
            DataError: the prompts are in fewer than 3 folds, or in none that is held out.
        """
        found = {self.of[prompt] for prompt in rows}
        if len(found) < 3 or not self._judged(found):
            turns = (
                "" if self.rounds == self.n else f", and in those that are held out: {self.rounds}"
            )
            raise DataError(
                f"{what} must be on prompts in at least 3 of the {self.n} folds of "
                f"`evaluation.folds`{turns}; found in {len(found)}"
            )

    def _judged(self, found: set[int]) -> bool:
        """Say whether every fit has one of these folds to choose its settings on."""
        for held_out in (*range(self.rounds), None):
            used = [f for f in range(self.n) if f != held_out]
            if not found & {*used[: self.rounds]}:
                return False
        return True


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
    decontamination: Decontamination = field(default_factory=lambda: Decontamination(()))
    """What was left out because evaluation files have the prompt."""


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
    decontaminate: Sequence[DataSource] = (),
    measured: Sequence[str] = (),
) -> Rows:
    """Read and check all rows of a run.

    Args:
        rated: Where rated rows are; may be empty.
        pairs: Where preference pairs are; may be empty.
        scales: Source -> objective -> scale.
        objectives: Names of axis k, the measured ones left out.
        bad_rows: `stop` or `drop`.
        drops: Counts dropped rows.
        decontaminate: Evaluation files; rows with one of their prompts are left out.
        measured: Measures of the text, which become the last objectives.

    Returns:
        The rows.

    Raises:
        DataError: a bad row under `stop`; no row is left outside the evaluation files; an
            objective with fewer than 10 ratings or without variance; a measure without.
    """
    rated_in, pair_in = dict[str, str](), dict[str, str]()  # files by id
    rated_rows, pair_rows = list[RatedResponse](), list[PreferencePair]()
    if rated:
        rated_rows = read_rated(rated, scales, bad_rows=bad_rows, drops=drops, file_of=rated_in)
    if pairs:
        pair_rows = read_pairs(pairs, bad_rows=bad_rows, drops=drops, file_of=pair_in)
    found = read_evaluation_files(decontaminate, bad_rows)
    rated_rows = found.kept("rated", rated_rows, rated_in, drops)
    pair_rows = found.kept("pairs", pair_rows, pair_in, drops)
    if rated_rows:
        check_objectives(rating_matrix(rated_rows, objectives, scales), objectives)
    rated_rows = measure_rows(rated_rows, measured)
    scales, names = scales_with(scales, measured), (*objectives, *measured)
    return Rows(rated_rows, pair_rows, scales, names, drops, found)


def count_unused(features: AnyFeatures, name: str, drops: Drops, *, sides: int) -> None:
    """Count rows that the backbone could not take, and those it took in part.

    Args:
        features: Features of `sides` conversations a row, in the order of the rows.
        name: Of the rows, as the report shows it.
        drops: Where to.
        sides: 2 for pairs: one that loses a side is one dropped row, and so is one that
            loses both; the reason is that of the first.
    """
    where = f"features of {name}"
    gone = {row.row // sides: row.reason for row in reversed(features.dropped)}
    for reason in gone.values():
        drops.add(where, reason)
    cut = {int(row) // sides for row in features.rows[features.n_truncated > 0]}
    drops.add_truncated(where, "truncated from the left", len(cut - gone.keys()))


def assign_folds(rows: Rows, *, n_folds: int, rounds: int, salt: str) -> Folds:
    """Divide the prompts of rated rows and of pairs together, so that a prompt is in one fold.

    Args:
        rows: The rows.
        n_folds: Parts of the prompts.
        rounds: How many of them are held out in turn.
        salt: Chooses another assignment of prompts to folds.

    Returns:
        The folds.

    Raises:
        DataError: there are fewer prompts than folds; an objective, or the pairs, are on
            prompts of too few folds; an objective is constant once a fold is held out.
    """
    prompts = [row.prompt for row in [*rows.rated, *rows.pairs]]
    if (n_prompts := len({group_of(prompt) for prompt in prompts})) < n_folds:
        raise DataError(
            f"`evaluation.folds` must be at most the number of different prompts; got {n_folds} "
            f"folds for {n_prompts} prompts"
        )
    numbers = folds_of(prompts, n_folds, salt)
    folds = Folds(dict(zip(prompts, numbers, strict=True)), n_folds, rounds)
    check_folds(folds, rows, rows.rated or None, rows.pairs or None)
    return folds


def check_folds(
    folds: Folds,
    rows: Rows,
    rated: Sequence[RatedResponse] | None,
    pairs: Sequence[PreferencePair] | None,
) -> None:
    """Refuse rows on which some fit would have nothing to learn from or to be judged by.

    Args:
        folds: The fold of each prompt.
        rows: Names and scales of the objectives.
        rated: The rated rows; None where the ridge head is given.
        pairs: The preference pairs; None where all are derived from ratings.

    Raises:
        DataError: an objective, or the pairs, are on prompts of too few folds; an objective
            is constant once a fold is held out.
    """
    if rated is not None:
        for name in rows.objectives:
            folds.check(f"ratings of {name!r}", (r.prompt for r in rated if name in r.ratings))
        _check_variance(folds, rated, rows)
    if pairs is not None:
        folds.check("preference pairs", (row.prompt for row in pairs))


def _check_variance(folds: Folds, rated: Sequence[RatedResponse], rows: Rows) -> None:
    """Refuse an objective that has no variance outside a fold that is held out."""
    matrix = rating_matrix(rated, rows.objectives, rows.scales)
    numbers = np.array([folds.of[row.prompt] for row in rated])
    for held_out in range(folds.rounds):
        outside = matrix[numbers != held_out]
        for name, column in zip(rows.objectives, outside.T, strict=True):
            values = column[~np.isnan(column)]
            if values.min() == values.max():
                raise DataError(
                    f"ratings of {name!r} must vary outside fold {held_out} of "
                    f"`evaluation.folds`, which is held out in its turn; all {len(values)} there "
                    f"are {values[0]:g} (normalised)"
                )


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
    rated: AnyFeatures | None,
    pairs: AnyFeatures | None,
    folds: Folds,
) -> TrainingData:
    """Bring rows, features, normalised ratings and folds into one order.

    Args:
        rows: The rows.
        rated: Features of the rated rows that the backbone could take.
        pairs: Features of both sides of the pairs that the backbone could take.
        folds: The fold of each prompt.

    Returns:
        The rows that have features, with them; a pair needs both sides.

    Raises:
        DataError: after rows that the backbone could not take were dropped, an objective
            has fewer than 10 ratings or no variance, also with a fold held out, or what is
            left is in too few folds.
    """
    rated_rows, rated_set = rows.rated, None
    if rated is not None:
        place = {id: i for i, id in enumerate(rated.ids)}
        rated_rows = [row for row in rows.rated if row.id in place]
        matrix = rating_matrix(rated_rows, rows.objectives, rows.scales)
        check_objectives(matrix, rows.objectives)
        rated_set = RatedSet(
            features=_take(rated.response, [place[row.id] for row in rated_rows]),
            ratings=torch.from_numpy(matrix),
            folds=torch.tensor([folds.of[row.prompt] for row in rated_rows]),
            sources=tuple(row.source for row in rated_rows),
            objectives=rows.objectives,
        )
    pair_rows, pair_set = rows.pairs, None
    if pairs is not None:
        place = {id: i for i, id in enumerate(pairs.ids)}
        sides = {row.id: (f"{row.id}/{CHOSEN}", f"{row.id}/{REJECTED}") for row in rows.pairs}
        pair_rows = [row for row in rows.pairs if all(s in place for s in sides[row.id])]
        chosen = [place[sides[row.id][0]] for row in pair_rows]
        rejected = [place[sides[row.id][1]] for row in pair_rows]
        pair_set = PairSet(
            prompt=_take(pairs.prompt, chosen),
            chosen=_take(pairs.response, chosen),
            rejected=_take(pairs.response, rejected),
            folds=torch.tensor([folds.of[row.prompt] for row in pair_rows]),
        )
    check_folds(
        folds,
        rows,
        None if rated is None else rated_rows,
        None if pairs is None else pair_rows,
    )
    return TrainingData(list(rated_rows), list(pair_rows), rated_set, pair_set)


def _take(features: FeatureRows, rows: Sequence[int]) -> FeatureRows:
    """Choose rows, and read them where they are few enough to stay in memory."""
    found = take_rows(features, torch.tensor(rows, dtype=torch.int64))
    n, d = found.shape
    return in_memory(found) if 4 * n * d <= IN_MEMORY else found


def derive(
    rows: Rows,
    data: TrainingData,
    features: AnyFeatures,
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
        prompt=_take(features.prompt, [place[row.id] for row in data.rated_rows]),
        loss_weight=loss_weight,
    )
    return TrainingData(data.rated_rows, data.pair_rows, data.rated, data.pairs, derived, pairs)


def stage_inputs(
    rows: Rows, data: TrainingData, features: Mapping[str, str], derived: Any
) -> dict[str, Any]:
    """Return what stages depend on, kind by kind: new pairs do not make a new ridge head.

    Args:
        rows: The rows.
        data: Their features, lined up.
        features: Fingerprint of each feature set, which covers ids, texts and dropped rows.
        derived: How pairs are derived from ratings, as JSON.

    Returns:
        JSON for `rated`, `pairs` and `derived`.
    """
    rated = [[row.id, row.source, sorted(row.ratings.items())] for row in rows.rated]
    scales = {
        source: {name: [s.low, s.high, s.offset, s.divisor] for name, s in of.items()}
        for source, of in rows.scales.items()
    }
    folds = {
        name: None if rows_of is None else rows_of.folds.tolist()
        for name, rows_of in (("rated", data.rated), ("pairs", data.pairs))
    }
    return {
        "rated": fingerprint(
            [features.get("rated"), rated, scales, list(rows.objectives), folds["rated"]]
        ),
        "pairs": fingerprint([features.get("pairs"), folds["pairs"]]),
        "derived": derived,
    }
