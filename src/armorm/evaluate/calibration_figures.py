"""How far the score can be read as a probability, and how it follows length, as immutable values.

Shared by reports and audits.
"""

from __future__ import annotations

from armorm.evaluate.interval import Frozen, Interval, Number


class ReliabilityBin(Frozen):
    """Pairs that the model is about equally sure of."""

    low: float
    """Lowest confidence of the bin."""
    high: float
    """Highest confidence of the bin."""
    n: int
    """Pairs in it."""
    confidence: Number
    """Mean of sigmoid(beta |margin|); NaN for an empty bin."""
    accuracy: Interval
    """Share of these pairs whose chosen response scores higher; a tie counts one half."""


class Reliability(Frozen):
    """How well sigmoid(beta margin) serves as a probability."""

    n: int
    """Preference pairs."""
    accuracy: Number
    """Share whose chosen response scores higher; a tie counts one half."""
    confidence: Number
    """Mean confidence; larger than the accuracy where the model is too sure."""
    ece: Number
    """Expected calibration error: mean over bins of |accuracy - confidence|, by size."""
    ece_by_chance: Number
    """What 95 % of perfectly calibrated models of this confidence stay below."""
    brier: Interval
    """Mean of (1 - p)^2, p the probability of the chosen response."""
    log_loss: Interval
    """Mean of -log p, in nats; 0.693 for one who never knows."""
    bins: tuple[ReliabilityBin, ...]
    """Ten of equal width from 0.5 to 1."""


class CalibrationFigures(Frozen):
    """Probability of a preference against what was preferred, before and after a temperature."""

    n: int
    """Preference pairs."""
    beta: float | None = None
    """Multiplies the margin, before the temperature; None where every fold has its own."""
    temperature: float | None = None
    """Divides beta; None where none was fitted."""
    before: Reliability
    """With beta as it was trained."""
    after: Reliability | None = None
    """With a temperature: of a run one that was fitted on other prompts. None without one."""


class LengthBin(Frozen):
    """Responses, or pairs, of about the same length."""

    low: float
    """Smallest value of the bin."""
    high: float
    """Largest value of the bin."""
    n: int
    """Responses, or pairs."""
    value: Interval
    """What the curve shows, over them."""
    before: Interval | None = None
    """The same before debias; None where that is not known."""
    preferred: Interval | None = None
    """Of pairs, the share whose longer response is the preferred one: what a score that is
    always right would show. None of responses."""


class LengthCurve(Frozen):
    """How the score depends on the length of a response, in characters."""

    n_pairs: int
    """Preference pairs."""
    score: tuple[LengthBin, ...]
    """Bins of about as many responses each, by characters: mean score, minus the mean over all
    responses and in standard deviations over all responses."""
    longer_wins: tuple[LengthBin, ...]
    """Bins of about as many pairs each, by the length of the longer response over that of the
    shorter: share of pairs whose longer response scores higher, a tie one half. Pairs of equal
    length are left out."""
