"""Reliability and length of the scores of pairs, as a report holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from armorm.data import group_of
from armorm.evaluate.audit.calibration import reliability
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.calibration_figures import CalibrationFigures, LengthCurve
from armorm.evaluate.groups import Groups
from armorm.evaluate.length import PairScores, length_curve
from armorm.evaluate.metrics import finite_vector
from armorm.model.rivals import WITHOUT_DEBIAS
from armorm.types import PreferencePair


def calibration_figures(
    logits: ArrayLike,
    groups: Groups,
    *,
    beta: float | None = None,
    temperature: float | None = None,
    after: ArrayLike | None = None,
    resampling: Resampling,
) -> CalibrationFigures:
    """Return how well sigmoid(logit) serves as the probability of a preference.

    Args:
        logits: Shape (p,). beta times the margin of each pair, whatever beta it had; finite.
        groups: Prompt id of each pair.
        beta: The beta of all pairs; None where every fold has its own.
        temperature: Divides the logits for the figures after; None leaves those out.
        after: Shape (p,). The logits after temperatures that were fitted on other prompts;
            None: divided by `temperature`.
        resampling: How intervals are found.

    Returns:
        The figures.

    Raises:
        ValueError: no pair; a logit that is not finite; not one prompt id a pair.
    """
    values = finite_vector(logits, "logits", "p")
    if after is None and temperature is not None:
        after = values / temperature
    return CalibrationFigures(
        n=values.size,
        beta=beta,
        temperature=temperature,
        before=reliability(values, groups, beta=1.0, resampling=resampling),
        after=None
        if after is None
        else reliability(after, groups, beta=1.0, resampling=resampling),
    )


def length_figures(
    scorers: Mapping[str, tuple[ArrayLike, ArrayLike]],
    pairs: Sequence[PreferencePair],
    *,
    reference: str,
    resampling: Resampling,
) -> LengthCurve:
    """Return how the score of one scorer follows length, beside the one without debias.

    Args:
        scorers: By name, the scores (chosen, rejected), each of shape (p,).
        pairs: The p pairs.
        reference: Name of the scorer.
        resampling: How intervals are found.

    Returns:
        The curve; lengths are in characters.
    """

    def scores(name: str) -> PairScores | None:
        if name not in scorers:
            return None
        chosen, rejected = scorers[name]
        return PairScores(np.asarray(chosen, np.float64), np.asarray(rejected, np.float64))

    of_reference = scores(reference)
    assert of_reference is not None  # the caller names one of its own
    return length_curve(
        of_reference,
        [len(pair.chosen) for pair in pairs],
        [len(pair.rejected) for pair in pairs],
        [group_of(pair.prompt) for pair in pairs],
        before=scores(WITHOUT_DEBIAS),
        resampling=resampling,
    )
