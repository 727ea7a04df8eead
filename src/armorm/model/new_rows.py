"""New rated rows for a bundle that is already there: read, held against it, and given features."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from armorm.data import (
    BadRows,
    DataSource,
    Drops,
    Scales,
    check_objectives,
    folds_of,
    group_of,
    rating_matrix,
    read_rated,
    summarise,
)
from armorm.data.text_measures import MEASURES, measured_ratings
from armorm.errors import DataError, nearest
from armorm.features.extract import compute_features
from armorm.heads.statistics import Statistics
from armorm.model.bundle import Bundle
from armorm.model.objectives import add_objective
from armorm.model.reward import RewardModel
from armorm.model.rows import TRUNCATED, count_truncated, rows_of, usable_rows
from armorm.model.sources import add_source
from armorm.types import RatedResponse, Scale

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


@dataclass(frozen=True, slots=True)
class NewRows:
    """Rated rows of one source, read on the scales of some objectives."""

    path: str
    """The file, as the user gave it."""
    source: str
    """The one source of all rows."""
    scales: dict[str, Scale]
    """Objective -> scale; other ratings of the file were not read."""
    rows: list[RatedResponse]
    """At least one."""
    ignored: tuple[str, ...]
    """Objectives that the file rates and that were not asked for."""
    drops: Drops
    """Counts of the rows that are not used."""
    n_rows: int
    """Rows that were read, dropped ones included."""

    def matrix(self) -> Tensor:
        """Normalised ratings, shape (n, number of scales), float64; NaN where not rated."""
        by_source: Scales = {self.source: self.scales}
        return torch.from_numpy(rating_matrix(self.rows, tuple(self.scales), by_source))


def read_new_rows(
    path: str,
    *,
    scales: dict[str, Scale],
    source: str | None = None,
    bad_rows: BadRows = "stop",
) -> NewRows:
    """Read the rows of a file that are rated on some objectives.

    Args:
        path: File, folder or hub id.
        scales: Objective -> scale of the ratings that are wanted.
        source: Source of every row; None: rows name theirs, and it is one.
        bad_rows: `stop` or `drop`.

    Returns:
        The rows.

    Raises:
        DataError: a bad row under `stop`; no row rates a wanted objective; rows of several
            sources do; a file that cannot be read.
        MissingDependency: Parquet or hub data without the packages for them.
    """
    try:
        data = DataSource(path, source=source)
    except ValueError as error:
        raise DataError(f"{path or 'rated rows'}: {error}") from error
    found = summarise(data)
    rated = dict.fromkeys(cell.objective for cell in found.coverage)
    for name in scales:
        if rated and name not in rated:
            raise DataError(f"{path}: no row rates {name!r}{nearest(name, rated)}")
    ignored = tuple(name for name in rated if name not in scales)
    sources = dict.fromkeys(cell.source for cell in found.coverage if cell.objective in scales)
    if len(sources) > 1:
        raise DataError(
            f"{path}: the ratings must be of one source; found {_listed(sources)}: give one file a "
            "source, or one name for all"
        )
    # Without a rating that can be read there are no sources either; what is wrong is said then.
    every: Scales | None = {cell.source: scales for cell in found.coverage} or None
    drops = Drops()
    rows = read_rated([replace(data, ignore=ignored)], every, bad_rows=bad_rows, drops=drops)
    return NewRows(
        path, rows[0].source, dict(scales), rows, ignored, drops, len(rows) + drops.total
    )


def add_rated_objective(
    model: RewardModel,
    name: str,
    new: NewRows,
    *,
    n_folds: int = 5,
    bad_rows: BadRows = "stop",
    progress: Progress | None = None,
) -> Bundle:
    """Add an objective to the bundle of a model from rated rows.

    Args:
        model: With the backbone that makes the features.
        name: Of the objective; `new` has its scale.
        new: The rows.
        n_folds: Parts of the prompts; alpha and figures rest on what is held out.
        bad_rows: `drop` counts rows that the backbone cannot take.
        progress: Called as features are made.

    Returns:
        The bundle with the objective.

    Raises:
        DataError: fewer than 10 ratings, or on fewer prompts than folds, or of one value;
            the rows and the bundle do not go together.
        FeatureError: the backbone cannot take a row, under `stop`.
    """
    new, features = _features(model, new, bad_rows=bad_rows, progress=progress)
    check_enough(new, n_folds)  # again: the backbone may not have taken all
    folds = folds_of([row.prompt for row in new.rows], n_folds)
    with _located(new.path):
        return add_objective(
            model.bundle,
            name,
            features=features,
            ratings=new.matrix()[:, 0],
            folds=torch.tensor(folds),
            scale=new.scales[name],
            source=new.source,
        )


def add_rated_source(
    model: RewardModel,
    new: NewRows,
    *,
    bad_rows: BadRows = "stop",
    progress: Progress | None = None,
) -> Bundle:
    """Add a source to the bundle of a model from rated rows.

    Args:
        model: With the backbone that makes the features, and statistics in its bundle.
        new: The rows.
        bad_rows: `drop` counts rows that the backbone cannot take.
        progress: Called as features are made.

    Returns:
        The bundle with the source.

    Raises:
        BundleError: the bundle has no statistics, or they are damaged.
        DataError: the rows and the bundle do not go together; they rate what is measured.
        FeatureError: the backbone cannot take a row, under `stop`.
    """
    measured = model.bundle.measured
    for name in new.scales:
        if name in measured:
            raise DataError(
                f"{new.path}: {name!r} is measured from the text of every row; its ratings cannot "
                "be given"
            )
    new, features = _features(model, new, bad_rows=bad_rows, progress=progress)
    new = replace(
        new,
        rows=[
            replace(r, ratings={**r.ratings, **measured_ratings(r.response, measured)})
            for r in new.rows
        ],
        scales={**new.scales, **{name: MEASURES[name].scale for name in measured}},
    )
    sums = Statistics.from_features(
        features, new.matrix(), objectives=tuple(new.scales), sources=[new.source] * len(new.rows)
    )
    with _located(new.path):
        return add_source(model.bundle, sums, scales={new.source: new.scales})


def _features(
    model: RewardModel,
    new: NewRows,
    *,
    bad_rows: BadRows,
    progress: Progress | None,
) -> tuple[NewRows, Tensor]:
    """The rows that the backbone can take, and their response features."""
    rows = new.rows
    with rows_of(new.path):
        if bad_rows == "drop":
            rows = usable_rows(model.backbone, rows, new.drops, path=new.path)
        found = compute_features(
            model.backbone, [row.conversation for row in rows], progress=progress
        )
    n_cut = count_truncated(rows, found.n_truncated)
    new.drops.add_truncated(new.path, TRUNCATED, n_cut)
    return replace(new, rows=rows), found.response


def check_enough(new: NewRows, n_folds: int) -> None:
    """Raise unless a new objective has the ratings and the prompts that a head needs.

    Args:
        new: The rows.
        n_folds: Parts that the prompts are divided into.

    Raises:
        DataError: fewer than 10 ratings, or of one value; fewer prompts than folds.
    """
    check_objectives(new.matrix().numpy(), tuple(new.scales), where=new.path)
    n_prompts = len({group_of(row.prompt) for row in new.rows})
    if n_prompts < n_folds:
        raise DataError(
            f"{new.path}: the ratings must be on at least as many prompts as there are folds, "
            f"{n_folds}; got {n_prompts}"
        )


@contextlib.contextmanager
def _located(path: str) -> Generator[None]:
    """Say in an error of the heads, which know no files, whose rows are meant."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _listed(names: Iterable[str]) -> str:
    """Names in a message."""
    return ", ".join(repr(name) for name in names)
