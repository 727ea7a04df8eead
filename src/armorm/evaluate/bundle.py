"""A trained model measured on rows of any file, beside the baselines that its bundle keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from armorm.data import (
    BadRows,
    Drops,
    as_source,
    group_of,
    rating_matrix,
    read_pairs,
    read_rated,
)
from armorm.evaluate.baselines import (
    GATED,
    LONGER,
    compare_scorers,
    compare_scorers_by_source,
    length_scores,
)
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.counts import count_rows, source_of
from armorm.evaluate.figures import ComparisonFigures, Report
from armorm.evaluate.heads_figures import gating_figures
from armorm.evaluate.objectives import evaluate_objectives
from armorm.evaluate.pair_curves import calibration_figures, length_figures
from armorm.features.extract import compute_features
from armorm.features.store import FeatureSet
from armorm.model.reward import RewardModel
from armorm.model.rivals import UNIFORM, rival_scores, uniform_scores
from armorm.model.rows import (
    TRUNCATED,
    conversations_of,
    count_truncated,
    rows_of,
    usable_rows,
)
from armorm.types import PreferencePair, RatedResponse

STEERED = "steered"

_NO_BASELINES = (
    "the model has no baselines fitted beside it, so it is held against the uniform mean of its "
    "objectives and the length of the response alone"
)

Watch = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

Compare = Callable[[Sequence[PreferencePair], FeatureSet], tuple[ComparisonFigures, ...]]
"""From pairs and the features of their sides, chosen first, to comparisons."""


def evaluate_bundle(
    model: RewardModel,
    *,
    pairs: str | None = None,
    rated: str | None = None,
    bad_rows: BadRows = "stop",
    n_resamples: int = 2000,
    seed: int = 0,
    watch: Watch = lambda stage, done, total: None,
    compare: Compare | None = None,
) -> Report:
    """Measure a model on preference pairs, rated rows or both.

    Ratings are read on the scales that the bundle was trained with. A steered model is
    measured as `steered`, and the gated model is then one of those it is held against.
    Rows that were trained on give figures that are too good; the report's protocol says
    that this is not checked.

    Args:
        model: The reward model, steered or not.
        pairs: File, folder or hub id of preference pairs.
        rated: File, folder or hub id of rated rows.
        bad_rows: `stop`, or `drop` bad rows and count them.
        n_resamples: Of the bootstrap.
        seed: Of the bootstrap.
        watch: Called with (stage, done, total).
        compare: Takes pairs apart for the report, from the pairs and the features of both
            sides; see `armorm.explain.comparisons`. None for none.

    Returns:
        The report; intervals are left out below 20 prompts.

    Raises:
        DataError: a bad row under `stop`; a source or an objective that the bundle does
            not know; all rows were dropped.
        FeatureError: the backbone cannot take a row, under `stop`.
        ValueError: neither pairs nor rated rows are given.
    """
    if pairs is None and rated is None:
        raise ValueError("`pairs` or `rated` must be given; both are None")
    drops, bundle = Drops(), model.bundle
    rated_rows = (
        read_rated([as_source(rated)], bundle.scales, bad_rows=bad_rows, drops=drops)
        if rated is not None
        else []
    )
    pair_rows = (
        read_pairs([as_source(pairs)], bad_rows=bad_rows, drops=drops) if pairs is not None else []
    )
    n_read = len(rated_rows) + len(pair_rows) + drops.total
    if bad_rows == "drop":
        with rows_of(str(rated)):
            rated_rows = usable_rows(model.backbone, rated_rows, drops, path=str(rated))
        with rows_of(str(pairs)):
            pair_rows = usable_rows(model.backbone, pair_rows, drops, path=str(pairs))
    fields: dict[str, Any] = {}
    if rated_rows:
        with rows_of(str(rated)):
            features = _features(model, rated_rows, "rated rows", watch)
        drops.add_truncated(
            str(rated), TRUNCATED, count_truncated(rated_rows, features.n_truncated)
        )
        fields |= _objectives(model, rated_rows, features, n_resamples=n_resamples, seed=seed)
    if pair_rows:
        with rows_of(str(pairs)):
            features = _features(model, pair_rows, "pairs", watch)
        drops.add_truncated(str(pairs), TRUNCATED, count_truncated(pair_rows, features.n_truncated))
        fields |= _preferences(model, pair_rows, features, n_resamples=n_resamples, seed=seed)
        if compare is not None:
            fields["comparisons"] = compare(pair_rows, features)
    notes = (drops.sentence(n_read),) if drops.total or drops.total_truncated else ()
    if pair_rows and bundle.baselines is None:
        notes = (*notes, _NO_BASELINES)
    return Report(
        name=bundle.name,
        protocol="rows of the given files; whether the heads were fitted on them is not checked",
        backbone=dict(bundle.backbone),
        data=count_rows(rated_rows, pair_rows, drops),
        notes=notes,
        **fields,
    )


def _objectives(
    model: RewardModel,
    rows: Sequence[RatedResponse],
    features: FeatureSet,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Figures by objective."""
    scores = model.score_features(features.response, features.prompt)
    # A checkpoint in the released layout may know the scales of some objectives alone.
    on_scale = {name for of in model.bundle.scales.values() for name in of}
    rated = [i for i, name in enumerate(model.objectives) if name in on_scale]
    names = tuple(model.objectives[i] for i in rated)
    results = evaluate_objectives(
        scores.objectives[:, rated].numpy(),
        rating_matrix(rows, names, model.bundle.scales),
        [group_of(row.prompt) for row in rows],
        objectives=names,
        n_resamples=n_resamples,
        seed=seed,
    )
    return {
        "objectives": tuple(row for row in results.objectives if row.n),
        "mean_spearman": results.mean_spearman,
    }


def _preferences(
    model: RewardModel,
    rows: Sequence[PreferencePair],
    features: FeatureSet,
    *,
    n_resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Accuracy beside the baselines, and where the gating looks."""
    bundle = model.bundle
    scores = model.score_features(features.response, features.prompt)
    plain = RewardModel(bundle, model.backbone).score_features(features.response, features.prompt)
    table = {GATED: plain.score}
    reference = GATED
    if model.weights is not None or model.factors is not None:
        table, reference = {STEERED: scores.score, **table}, STEERED
    if bundle.baselines is None:
        table[UNIFORM] = uniform_scores(
            scores.objectives, debias=bundle.debias, nuisances=bundle.nuisances
        )
    else:
        table |= rival_scores(
            scores.objectives,
            features.response,
            features.prompt,
            debias=bundle.debias,
            nuisances=bundle.nuisances,
            baselines=bundle.baselines,
        )
    scorers = {name: (values[0::2].numpy(), values[1::2].numpy()) for name, values in table.items()}
    scorers[LONGER] = (
        length_scores([row.chosen for row in rows]),
        length_scores([row.rejected for row in rows]),
    )
    groups = [group_of(row.prompt) for row in rows]
    sources = [source_of(row) for row in rows]
    gating = plain.gating
    assert gating is not None  # a model that is not steered has one
    resampling = Resampling(n_resamples, seed=seed)
    margins = scores.score[0::2].double().numpy() - scores.score[1::2].double().numpy()
    return {
        # Weights in place of the gating give scores of another unit, which beta does not know.
        "calibration": (
            calibration_figures(
                bundle.beta * margins, groups, beta=bundle.beta, resampling=resampling
            )
            if model.weights is None
            else None
        ),
        "length": length_figures(scorers, rows, reference=reference, resampling=resampling),
        "preferences": compare_scorers(
            scorers, groups, reference=reference, n_resamples=n_resamples, seed=seed
        ),
        "by_source": compare_scorers_by_source(
            scorers, groups, sources, reference=reference, n_resamples=n_resamples, seed=seed
        ),
        "gating": gating_figures(
            gating[0::2].numpy(), sources, objectives=model.objectives, beta=bundle.beta
        ),
    }


def _features(
    model: RewardModel, rows: Sequence[RatedResponse | PreferencePair], stage: str, watch: Watch
) -> FeatureSet:
    """Features in memory, with progress; a pair has two rows of them, chosen first."""
    conversations = [c for row in rows for c in conversations_of(row)]
    return compute_features(
        model.backbone, conversations, progress=lambda done, total: watch(stage, done, total)
    )
