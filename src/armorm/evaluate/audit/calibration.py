"""Whether sigmoid(beta margin) can be read as a probability, and the temperature that helps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from armorm.evaluate.audit.estimates import mean_interval, share_interval
from armorm.evaluate.audit.figures import Calibration
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.calibration_figures import Reliability, ReliabilityBin
from armorm.evaluate.groups import Grouping, Groups, group_rows
from armorm.evaluate.metrics import finite_vector
from armorm.model.bundle import Bundle
from armorm.model.changes import CHANGES

N_BINS = 10
"""Bins of a reliability curve, of equal width from 0.5 to 1."""

_DRAWS = 400
_HALVINGS = 60  # past the last bit of a float
_CHANCE_LEVEL = 0.95


def reliability(
    margins: ArrayLike, groups: Groups, *, beta: float, resampling: Resampling
) -> Reliability:
    """Return how well sigmoid(beta margin) serves as the probability of a preference.

    Of every pair the response with the higher score is the prediction, and its probability
    c = sigmoid(beta |margin|) from 0.5 to 1 the confidence; right is 1 where that is the
    chosen response, 1/2 for a tie. The expected calibration error is
    sum_b n_b / n |mean right - mean c| over ten bins of equal width. It is positive by
    chance too: with outcomes drawn from the confidences themselves, 95 % of draws stay
    below `ece_by_chance`.

    Args:
        margins: Shape (p,). Score of chosen minus score of rejected; finite.
        groups: Prompt id of each pair.
        beta: Multiplies the margin.
        resampling: How intervals are found, and the seed of the draws.

    Returns:
        Curve, expected calibration error, Brier score and log loss.

    Raises:
        ValueError: no pair; a margin that is not finite; not one prompt id a pair.

    Source:
        Guo et al. 2017, arXiv 1706.04599, for the error and the temperature; the error by
        chance is ours.
    """
    values = finite_vector(margins, "margins", "p")
    grouping = group_rows(groups, n_rows=values.size)
    confidence = expit(beta * np.abs(values))
    right = 0.5 * (1.0 + np.sign(values))
    bins = np.minimum((2 * N_BINS * (confidence - 0.5)).astype(np.int64), N_BINS - 1)
    return Reliability(
        n=values.size,
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        ece=_calibration_error(right, confidence, bins),
        ece_by_chance=_error_by_chance(confidence, bins, resampling.seed),
        brier=mean_interval((1.0 - expit(beta * values)) ** 2, grouping, resampling),
        log_loss=mean_interval(_losses(values, beta), grouping, resampling),
        bins=tuple(
            _bin(b, confidence[bins == b], right[bins == b], grouping.take(bins == b), resampling)
            for b in range(N_BINS)
        ),
    )


def fit_temperature(margins: ArrayLike, *, beta: float) -> float | None:
    """Return the temperature with the smallest log loss of sigmoid(beta margin / temperature).

    The loss is convex in 1 / temperature, and its derivative there has one root when some
    pairs are judged wrong and the mean margin is positive.

    Args:
        margins: Shape (p,). Score of chosen minus score of rejected; finite.
        beta: Multiplies the margin.

    Returns:
        The temperature, above 1 where the model is too sure; None where no finite one is
        best: no pair is judged wrong, or the margins say nothing on average.

    Raises:
        ValueError: no pair; a margin that is not finite; `beta` is not positive and finite.

    Example:
        >>> round(fit_temperature([1.0, 1.0, 1.0, -1.0], beta=1.0), 4)  # logit(3/4) = log 3
        0.9102
    """
    if not 0 < beta < math.inf:
        raise ValueError(f"`beta` must be positive and finite; got {beta!r}")
    logits = beta * finite_vector(margins, "margins", "p")
    if not (logits < 0).any() or logits.mean() <= 0:
        return None
    unit = float(np.abs(logits).max())
    scaled = logits / unit  # so that the search knows where to begin

    def slope(factor: float) -> float:
        return float(-(scaled * expit(-factor * scaled)).mean())

    low, high = 0.0, 1.0
    while slope(high) < 0:  # ends: what is judged right fades away exponentially
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return unit / high


def calibration(
    margins: ArrayLike,
    groups: Sequence[str],
    *,
    beta: float,
    is_fit: Sequence[bool],
    resampling: Resampling,
) -> Calibration:
    """Return how calibrated a model is, and what a temperature does on prompts it has not seen.

    Args:
        margins: Shape (p,). Score of chosen minus score of rejected; finite.
        groups: Prompt id of each pair.
        beta: Multiplies the margin.
        is_fit: Of each pair, whether the temperature is fitted on it; the same for all
            pairs of a prompt.
        resampling: How intervals are found.

    Returns:
        The figures; without a temperature where one half has no pair or it is not
        determined.

    Raises:
        ValueError: as `reliability` and `fit_temperature`; not one of `is_fit` a pair.
    """
    values = finite_vector(margins, "margins", "p")
    fit = np.asarray(is_fit, dtype=bool)
    if fit.shape != values.shape:
        raise ValueError(f"`is_fit` must have shape {values.shape}; got {fit.shape}")
    whole = reliability(values, groups, beta=beta, resampling=resampling)
    halves = 0 < fit.sum() < fit.size
    temperature = fit_temperature(values[fit], beta=beta) if halves else None
    before = after = change = None
    if temperature is not None:
        held, own = values[~fit], [g for g, f in zip(groups, fit, strict=True) if not f]
        before = reliability(held, own, beta=beta, resampling=resampling)
        after = reliability(held, own, beta=beta / temperature, resampling=resampling)
        change = mean_interval(
            _losses(held, beta / temperature) - _losses(held, beta),
            group_rows(own, n_rows=held.size),
            resampling,
        )
    return Calibration(
        beta=beta,
        all_pairs=whole,
        temperature=temperature,
        n_fit=int(fit.sum()),
        held_out=before,
        held_out_after=after,
        log_loss_change=change,
    )


def calibrated(bundle: Bundle, temperature: float) -> Bundle:
    """Return a bundle whose beta is divided by a temperature; no score changes.

    Args:
        bundle: The bundle.
        temperature: Above 1 makes it less sure.

    Returns:
        The same heads; the change is told among its facts.

    Raises:
        ValueError: `temperature` is not positive and finite, or leaves no such beta.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"`temperature` must be positive and finite; got {temperature!r}")
    beta = bundle.beta / temperature
    if not 0 < beta < math.inf:
        raise ValueError(f"`temperature` must leave a positive and finite beta; got {beta!r}")
    sentence = f"beta divided by the temperature {temperature:.6g}: {bundle.beta:.6g} to {beta:.6g}"
    facts = {**bundle.facts, CHANGES: [*bundle.facts.get(CHANGES, []), sentence]}
    return replace(bundle, beta=beta, facts=facts)


def _losses(margins: np.ndarray, beta: float) -> np.ndarray:
    """-log sigmoid(beta margin), without overflow."""
    return np.logaddexp(0.0, -beta * margins)


def _calibration_error(right: np.ndarray, confidence: np.ndarray, bins: np.ndarray) -> float:
    """sum_b |sum over the bin of (right - confidence)| / n, which is the same."""
    gaps = np.bincount(bins, weights=right - confidence, minlength=N_BINS)
    return float(np.abs(gaps).sum() / right.size)


def _error_by_chance(confidence: np.ndarray, bins: np.ndarray, seed: int) -> float:
    """The 95 % quantile of the error when outcomes follow the confidences."""
    rng = np.random.default_rng(seed)
    order = np.argsort(confidence, kind="stable")  # the order of the pairs must not matter
    confidence, bins = confidence[order], bins[order]
    errors = [
        _calibration_error(rng.random(confidence.size) < confidence, confidence, bins)
        for _ in range(_DRAWS)
    ]
    return float(np.quantile(errors, _CHANCE_LEVEL))


def _bin(
    b: int, confidence: np.ndarray, right: np.ndarray, grouping: Grouping, resampling: Resampling
) -> ReliabilityBin:
    """The pairs of one bin."""
    width = 0.5 / N_BINS
    return ReliabilityBin(
        low=round(0.5 + b * width, 6),
        high=round(0.5 + (b + 1) * width, 6),
        n=confidence.size,
        confidence=float(confidence.mean()) if confidence.size else math.nan,
        accuracy=share_interval(right, grouping, resampling),
    )
