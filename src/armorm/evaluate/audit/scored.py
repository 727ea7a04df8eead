"""Rows, their edits and the paraphrases through the backbone in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from armorm.errors import DataError
from armorm.evaluate.audit.figures import SCORE
from armorm.evaluate.audit.paraphrases import paraphrases
from armorm.evaluate.audit.rows import AuditRows, EditedRow, fitting
from armorm.model.reward import RewardModel
from armorm.model.scores import Scores


@dataclass(frozen=True, slots=True)
class Scored:
    """Score and objectives of everything that went through the backbone."""

    names: tuple[str, ...]
    """`score`, then the objectives."""
    before: np.ndarray
    """Shape (m, 1 + k). Before debias, float64."""
    after: np.ndarray
    """Shape (m, 1 + k). After debias."""
    gating: np.ndarray | None
    """Shape (n, k). Of the rows as they are; None under fixed weights."""
    n: int
    """Rows as they are; they come first."""
    planned: tuple[EditedRow, ...]
    """Edited rows, behind them."""
    paraphrases: tuple[tuple[str, int, int], ...]
    """Id and positions of original and paraphrase of each that fits."""

    @property
    def base(self) -> slice:
        """The rows as they are."""
        return slice(0, self.n)


def score_all(
    model: RewardModel,
    rows: AuditRows,
    planned: Sequence[EditedRow],
    progress: Callable[[int, int], None] | None,
) -> Scored:
    """Score rows, edits and paraphrases in one call of the model.

    Args:
        model: The reward model.
        rows: The rows as they are; each must fit.
        planned: Edited rows; one that does not fit is left out, and so is a paraphrase.
        progress: Called with (conversations done, conversations in all).

    Returns:
        The scores.

    Raises:
        DataError: a score that is not finite.
        FeatureError: the backbone cannot take a row.
    """
    n = len(rows.conversations)
    own = paraphrases()
    extra = [
        *(one.conversation for one in planned),
        *(side for one in own for side in (one.original, one.paraphrase)),
    ]
    fits = fitting(model.backbone, [*rows.conversations, *extra])[n:]
    kept = tuple(one for one, ok in zip(planned, fits, strict=False) if ok)
    pairs_fit = fits[len(planned) :]
    both = [one for i, one in enumerate(own) if pairs_fit[2 * i] and pairs_fit[2 * i + 1]]
    start = n + len(kept)
    scores = model.score(
        [
            *rows.conversations,
            *(one.conversation for one in kept),
            *(side for one in both for side in (one.original, one.paraphrase)),
        ],
        progress=progress,
    )
    before, after = _targets(model, scores)
    _check_finite(after, scores.ids)
    return Scored(
        names=(SCORE, *model.objectives),
        before=before,
        after=after,
        gating=None if scores.gating is None else scores.gating[:n].double().numpy(),
        n=n,
        planned=kept,
        paraphrases=tuple(
            (one.original.id, start + 2 * i, start + 2 * i + 1) for i, one in enumerate(both)
        ),
    )


def _targets(model: RewardModel, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Score and objectives before and after debias; the gating is the same on both sides."""
    raw = scores.objectives.double()
    final = scores.score.double()
    if scores.gating is None:  # fixed weights bypass the debias step
        table = torch.cat([final[:, None], raw], dim=1).numpy()
        return table, table
    debiased = raw @ model.bundle.debias.double()
    plain = model.bundle.score_scale * (scores.gating.double() * raw).sum(dim=1)
    return (
        torch.cat([plain[:, None], raw], dim=1).numpy(),
        torch.cat([final[:, None], debiased], dim=1).numpy(),
    )


def _check_finite(table: np.ndarray, ids: Sequence[str]) -> None:
    """Refuse scores that are not numbers: nothing that is measured on them would be one."""
    at_fault = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if at_fault.size:
        raise DataError(
            f"scores must be finite; those of {at_fault.size} of {len(table)} conversations are "
            f"not, the first is {ids[at_fault[0]]!r}"
        )
