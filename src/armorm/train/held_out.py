"""Predictions of every fold by the heads that it was held out of, in the order of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from armorm.features.mapped import take_rows
from armorm.train.folds import GATED, Fit, Fitter, objective_scores, scores_by_scorer


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Predictions of rows by heads that have not seen their prompts."""

    objectives: Tensor | None
    """Objective scores of the rated rows, shape (n, k); NaN where a row was never held out."""
    pair_scores: Mapping[str, Tensor]
    """Scorer -> scores (chosen, rejected), shape (p, 2); NaN where never held out."""
    gating: Tensor | None
    """Shape (p, k); NaN where a pair was never held out."""
    pair_objectives: Tensor | None = None
    """Raw objective scores (chosen, rejected) of the pairs, shape (p, 2, k)."""
    betas: Tensor | None = None
    """Shape (p,). Multiplies the margin of each pair: the beta of the fold it was held out of."""

    @property
    def judged(self) -> list[int]:
        """Pairs that were held out; there must be pairs."""
        first = next(iter(self.pair_scores.values()))
        return torch.nonzero(~first.isnan().any(1)).flatten().tolist()

    @property
    def logits(self) -> Tensor:
        """Margin times beta of each pair, shape (p,), float64; there must be pairs."""
        assert self.betas is not None
        chosen, rejected = self.pair_scores[GATED].double().unbind(1)
        return self.betas.double() * (chosen - rejected)


def held_out_predictions(fitter: Fitter, fits: list[Fit]) -> HeldOut:
    """Predict every fold with the heads that it was held out of.

    Args:
        fitter: The rows.
        fits: One fit a held-out fold.

    Returns:
        The predictions, in the order of the rows.
    """
    rated, pairs, k = fitter.rated, fitter.pairs, len(fitter.objectives)
    objectives = None if rated is None else torch.full((len(rated.folds), k), torch.nan)
    gating = None if pairs is None else torch.full((len(pairs.folds), k), torch.nan)
    betas = None if pairs is None else torch.full((len(pairs.folds),), torch.nan)
    raw = None if pairs is None else torch.full((len(pairs.folds), 2, k), torch.nan)
    scores: dict[str, Tensor] = {}
    for fit in fits:
        if rated is not None and objectives is not None:
            rows = rated.folds == fit.held_out
            objectives[rows] = objective_scores(fit, take_rows(rated.features, rows))
        if pairs is not None:
            assert gating is not None  # as there are pairs
            assert betas is not None
            assert raw is not None
            rows = pairs.folds == fit.held_out
            betas[rows] = fit.gating.facts["beta"]
            for side, features in enumerate((pairs.chosen, pairs.rejected)):
                side_rows, prompt = take_rows(features, rows), take_rows(pairs.prompt, rows)
                found, gating[rows], raw[rows, side] = scores_by_scorer(
                    fitter, fit, side_rows, prompt
                )
                for name, values in found.items():
                    empty = torch.full((len(pairs.folds), 2), torch.nan)
                    scores.setdefault(name, empty)[rows, side] = values
    return HeldOut(objectives, scores, gating, raw, betas)
