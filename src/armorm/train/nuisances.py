"""What debias does to the score itself: its correlation with each nuisance on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from armorm.data import group_of
from armorm.evaluate.audit.estimates import spearman_interval, within_interval
from armorm.evaluate.baselines import GATED
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.figures import ScoreCorrelation
from armorm.evaluate.groups import group_rows
from armorm.model.rivals import WITHOUT_DEBIAS
from armorm.train.measured import measured_scores
from armorm.types import PreferencePair


def score_correlations(
    scores: Mapping[str, Tensor],
    objective_scores: Tensor,
    pairs: Sequence[PreferencePair],
    *,
    nuisances: Mapping[str, int],
    measured: Sequence[str],
    resampling: Resampling,
) -> tuple[ScoreCorrelation, ...]:
    """Measure how the score follows each nuisance, with debias and without.

    Both responses of every pair count. A measured nuisance is what the text says; a rated one,
    which these responses have no rating of, is its objective score. Before is the gate that
    was trained without debias.

    Args:
        scores: Scorer -> scores (chosen, rejected) by heads that have not seen the pair,
            shape (p, 2).
        objective_scores: Raw, by the same heads, shape (p, 2, k).
        pairs: The p pairs.
        nuisances: Name -> position on axis k.
        measured: Names of those that are measured from the text.
        resampling: How intervals are found.

    Returns:
        One entry a nuisance.
    """
    groups = [group_of(pair.prompt) for pair in pairs for _ in range(2)]
    grouping = group_rows(groups, n_rows=len(groups))
    texts = [text for pair in pairs for text in (pair.chosen, pair.rejected)]
    values: dict[str, np.ndarray] = {
        name: objective_scores[..., j].double().numpy().ravel()
        for name, j in nuisances.items()
        if name not in measured
    }
    values |= measured_scores(texts, [name for name in nuisances if name in measured])
    before, after = (scores[n].double().numpy().ravel() for n in (WITHOUT_DEBIAS, GATED))
    return tuple(
        ScoreCorrelation(
            nuisance=name,
            is_measured=name in measured,
            before=spearman_interval(before, values[name], grouping, resampling),
            after=spearman_interval(after, values[name], grouping, resampling),
            within_before=within_interval(before, values[name], grouping, resampling),
            within_after=within_interval(after, values[name], grouping, resampling),
        )
        for name in nuisances
    )
