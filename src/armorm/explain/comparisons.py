"""The pairs of a report, chosen over the range of margins and taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from armorm.evaluate.figures import ComparisonFigures, ComparisonKind, PairFigures
from armorm.explain.explained import Rows, clip, explain_pairs
from armorm.explain.nearest import N_NEAREST
from armorm.explain.weighing import Weighing
from armorm.features.feature_set import FeatureSet
from armorm.model.reward import RewardModel, Scores
from armorm.types import PreferencePair

N_COMPARISONS = 200
"""Pairs that a report holds, at most."""

CLIPPED = 600
"""Characters of a text that a report holds, at most."""

_SHARE = 5  # one part in five for each extreme, the rest spread over the margins


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair that stands in a report."""

    row: int
    """Its number."""
    kind: ComparisonKind
    """Why it was chosen."""


def choose_pairs(margins: np.ndarray, n: int = N_COMPARISONS) -> list[Choice]:
    """Choose the pairs of a report by their margins alone.

    A fifth of them each are the pairs with the most negative margins (certain of the rejected
    side: certain and wrong; of at least the median size, or there is nothing certain about
    them), with the largest margins in size, and with the smallest in size; the others are
    taken at even steps through the rest in the order of their margins. A pair that qualifies
    twice stands under the first of these. Pairs of equal margin are taken in their order, so
    that the same margins choose the same pairs.

    Args:
        margins: Shape (p,). Score of chosen minus score of rejected; NaN leaves a pair out.
        n: Pairs at most; 0 for none.

    Returns:
        The pairs by kind, in the order in which they qualify; spread ones by margin.

    Raises:
        ValueError: margins of another shape than (p,); `n` is negative.

    Example:
        >>> [(c.row, c.kind) for c in choose_pairs(np.array([0.1, -2.0, 3.0, 0.5]), 3)]
        [(1, 'most certain and wrong'), (2, 'most certain'), (0, 'least certain')]
    """
    if margins.ndim != 1:
        raise ValueError(f"`margins` must have shape (p,); got {margins.shape}")
    if n < 0:
        raise ValueError(f"`n` must be at least 0; got {n}")
    there = np.flatnonzero(~np.isnan(margins))
    size = np.abs(margins[there])
    if not len(there):
        return []
    by_margin = there[np.argsort(margins[there], kind="stable")].tolist()
    least = float(np.median(size))
    orders: list[tuple[ComparisonKind, list[int]]] = [
        (
            "most certain and wrong",
            [row for row in by_margin if margins[row] < 0 and -margins[row] >= least],
        ),
        ("most certain", there[np.argsort(-size, kind="stable")].tolist()),
        ("least certain", there[np.argsort(size, kind="stable")].tolist()),
    ]
    chosen: dict[int, ComparisonKind] = {}
    for kind, order in orders:
        new = [row for row in order if row not in chosen]
        chosen |= dict.fromkeys(new[: min(-(-n // _SHARE), n - len(chosen))], kind)
    rest = [row for row in by_margin if row not in chosen]
    room = min(n - len(chosen), len(rest))
    for place in np.linspace(0, len(rest) - 1, room).round().astype(int) if room else ():
        chosen[rest[place]] = "spread"
    return [Choice(row, kind) for row, kind in chosen.items()]


def compare_chosen(
    choices: Sequence[Choice],
    pairs: Sequence[PreferencePair],
    chosen: Scores,
    rejected: Scores,
    weighing: Weighing,
    *,
    features: tuple[Tensor, Tensor],
    rows: Rows = None,
) -> list[ComparisonFigures]:
    """Take the chosen pairs apart, as a report holds them.

    Args:
        choices: m chosen pairs.
        pairs: The pairs themselves, in this order.
        chosen: Scores of their chosen responses.
        rejected: Scores of their rejected responses.
        weighing: How the scores were made.
        features: Response features of both sides, each (m, d).
        rows: Rated rows to find similar responses in.

    Returns:
        One comparison a choice.

    Raises:
        ValueError: numbers that disagree; as `explain_pairs`.
    """
    explained = explain_pairs(
        pairs, chosen, rejected, weighing, features=features, rows=rows, n_nearest=N_NEAREST
    )
    return [
        _clipped(one.figures(), choice.kind) for one, choice in zip(explained, choices, strict=True)
    ]


def comparer(
    model: RewardModel, *, n: int = N_COMPARISONS, rows: Rows = None
) -> Callable[[Sequence[PreferencePair], FeatureSet], tuple[ComparisonFigures, ...]]:
    """Return what an evaluation calls with its pairs, to take some of them apart.

    Args:
        model: The reward model, steered or not.
        n: Pairs at most; 0 for none.
        rows: Rated rows to find similar responses in.

    Returns:
        From p pairs and the features of their 2 p sides, chosen first, to the comparisons.
    """

    def compared(
        pairs: Sequence[PreferencePair], features: FeatureSet
    ) -> tuple[ComparisonFigures, ...]:
        scores = model.score_features(features.response, features.prompt).score.numpy()
        choices = choose_pairs(scores[0::2] - scores[1::2], n)
        if not choices:
            return ()
        at = [2 * choice.row for choice in choices]
        sides = [
            (features.response[rows_of], features.prompt[rows_of])
            for rows_of in (at, [row + 1 for row in at])
        ]
        chosen, rejected = (model.score_features(*side) for side in sides)
        found = compare_chosen(
            choices,
            [pairs[choice.row] for choice in choices],
            chosen,
            rejected,
            Weighing.of(model),
            features=(sides[0][0], sides[1][0]),
            rows=rows,
        )
        return tuple(found)

    return compared


def _clipped(figures: PairFigures, kind: ComparisonKind) -> ComparisonFigures:
    """The same with texts that do not make a report long."""
    texts = {"prompt": figures.prompt, "chosen": figures.chosen, "rejected": figures.rejected}
    return ComparisonFigures.model_validate(
        dict(figures)
        | {name: clip(text, CLIPPED) for name, text in texts.items()}
        | {"clipped": tuple(n for n, t in texts.items() if len(t) > CLIPPED), "kind": kind}
    )
