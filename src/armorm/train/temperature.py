"""The temperature of the preference probability, fitted on pairs that no gate has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from armorm.evaluate.audit.calibration import fit_temperature
from armorm.evaluate.interval import FEWEST_GROUPS

_FOLDS = 5  # of the prompts, for figures that the temperature of their pairs has not seen


@dataclass(frozen=True, slots=True)
class Temperature:
    """What divides beta, or why nothing does."""

    value: float | None
    """Fitted on all held-out pairs; above 1 where the gates are too sure."""
    after: np.ndarray | None = None
    """Shape (p,). Logits of the pairs, each divided by a temperature that was fitted on other
    prompts; None without a temperature."""
    reason: str = ""
    """Why there is none."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the probabilities must know."""
        if self.value is not None:
            return ()
        return (f"beta is as it was trained, without a temperature: {self.reason}",)


def held_out_temperature(logits: np.ndarray, groups: Sequence[str]) -> Temperature:
    """Fit the temperature with the smallest log loss of sigmoid(logit / temperature).

    The margins are out of fold: the gate of each pair, and the beta that multiplies its
    margin, have not seen its prompt. Figures after the temperature are cross-fitted: those
    of a fifth of the prompts rest on the temperature of the others, or on none where the
    others determine none.

    Args:
        logits: Shape (p,). beta times margin of each pair; finite.
        groups: Prompt id of each pair.

    Returns:
        The temperature; without one where there are pairs of fewer than 20 prompts, no pair
        is judged wrong, the margins say nothing on average, or the cross-fitted temperatures
        do not lower the log loss: on few pairs a gate that is calibrated already would only
        be given their noise.
    """
    distinct = sorted(set(groups))
    if len(distinct) < FEWEST_GROUPS:
        return Temperature(
            None,
            reason=f"it needs held-out pairs on {FEWEST_GROUPS} prompts; there are {len(distinct)}",
        )
    value = fit_temperature(logits, beta=1.0)
    if value is None:
        return Temperature(
            None,
            reason="no held-out pair is judged wrong"
            if logits.mean() > 0
            else "on held-out pairs the mean margin is not positive",
        )
    fold = {group: i % _FOLDS for i, group in enumerate(distinct)}
    folds = np.array([fold[group] for group in groups])
    after = np.empty_like(logits)
    for one in range(_FOLDS):
        inside = folds == one
        after[inside] = logits[inside] / (fit_temperature(logits[~inside], beta=1.0) or 1.0)
    losses = [float(np.logaddexp(0.0, -one).mean()) for one in (logits, after)]
    if losses[1] >= losses[0]:
        return Temperature(
            None,
            reason=f"{value:.3g}, the best one, does not help on prompts that it was not fitted "
            f"on: the log loss is {losses[0]:.4g} before and {losses[1]:.4g} after",
        )
    return Temperature(value, after)
