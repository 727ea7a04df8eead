"""Findings on probability, objectives, gating and the files, as sentences with advice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from armorm.evaluate.audit.figures import (
    SCORE,
    Calibration,
    Finding,
    GatingAudit,
    Shared,
    Structure,
)
from armorm.evaluate.audit.thresholds import (
    ALIKE,
    CALIBRATION_ERROR,
    EFFECTIVE_SHARE,
    FEW_OBJECTIVES,
    SHARED_SHARE,
    SPREAD,
)
from armorm.evaluate.wording import number


def calibration_findings(calibration: Calibration | None) -> Iterable[Finding]:
    """The probability is not one."""
    if calibration is None:
        return
    whole = calibration.all_pairs
    severity = CALIBRATION_ERROR.severity(whole.ece)
    if severity is None or whole.ece <= whole.ece_by_chance:
        return
    if not whole.log_loss.has_interval:
        severity = "low"
    too = "too sure" if whole.confidence > whole.accuracy else "not sure enough"
    helps = calibration.log_loss_change
    fitted = calibration.temperature
    advice = "Read sigmoid(beta margin) as an order, not as a probability."
    if fitted is not None and helps is not None and helps.value < 0:
        advice = (
            f"Divide beta by {number(fitted)}: on prompts it was not fitted on, the log loss "
            f"changes by {number(helps.value, digits=3, sign=True)}. --write-temperature saves it."
        )
    yield Finding(
        severity=severity,
        kind="calibration",
        target=SCORE,
        sentence=(
            f"As a probability the margin is {too}: it claims "
            f"{number(100 * whole.confidence, digits=1)} % and is right in "
            f"{number(100 * whole.accuracy, digits=1)} % of {whole.n} pairs; expected calibration "
            f"error {number(whole.ece, digits=3)}, {number(whole.ece_by_chance, digits=3)} by "
            "chance."
        ),
        rows=(),
        advice=advice,
    )


def structure_findings(structure: Structure) -> Iterable[Finding]:
    """Objectives that repeat each other."""
    same = [one for one in structure.most_alike if one[2] >= ALIKE]
    n = sum(math.isfinite(row[i]) for i, row in enumerate(structure.after))
    effective = structure.effective_after
    if n > 1 and effective < EFFECTIVE_SHARE * n:
        yield Finding(
            severity="medium",
            kind="structure",
            target="objectives",
            sentence=(
                f"{n} objectives say as much as {number(effective, digits=1)} independent ones "
                "would."
            ),
            rows=(),
            advice="Read contributions in groups, and drop objectives that say the same.",
        )
    if same:
        named = ", ".join(f"{a} and {b} ({number(r)})" for a, b, r in same)
        yield Finding(
            severity="low",
            kind="structure",
            target="objectives",
            sentence=f"Objectives that say nearly the same: {named}.",
            rows=(),
            advice="Drop one of each two, or read their contributions together.",
        )


def gating_findings(gating: GatingAudit | None, k: int) -> Iterable[Finding]:
    """A gating that does not do its work."""
    if gating is None or k < 2:
        return
    if gating.effective < FEW_OBJECTIVES:
        yield Finding(
            severity="medium",
            kind="gating",
            target="gating",
            sentence=(
                f"The gating listens to {number(gating.effective, digits=1)} objectives at a time."
            ),
            rows=(),
            advice="Refit the gating with a higher temperature or a larger entropy weight.",
        )
    if gating.n_prompts > 1 and gating.largest_spread < SPREAD:
        yield Finding(
            severity="low",
            kind="gating",
            target="gating",
            sentence=(
                "The gating hardly depends on the prompt: no weight varies by more than "
                f"{gating.largest_spread:.1g} (standard deviation)."
            ),
            rows=(),
            advice="Fixed weights would do the same; more pairs may make the gating useful.",
        )
    if gating.unused:
        yield Finding(
            severity="low",
            kind="gating",
            target="gating",
            sentence=f"Objectives that no prompt gives 1 % of the weight: {_and(gating.unused)}.",
            rows=(),
            advice="Drop them, or add pairs that they decide.",
        )


def shared_findings(shared_prompts: Sequence[Shared]) -> Iterable[Finding]:
    """Prompts that stand on two sides."""
    for one in shared_prompts:
        severity = SHARED_SHARE.severity(one.share) if one.is_training else "low"
        if severity is None:
            continue
        what = "training rows" if one.is_training else "rows"
        yield Finding(
            severity=severity,
            kind="shared prompts",
            target=one.first,
            sentence=(
                f"{one.n_prompts:,} prompts of {one.first} "
                f"({number(100 * one.share, digits=1)} %) are also in the {what} of {one.second}."
            ),
            rows=one.ids,
            advice=(
                "Leave them out of either side: figures on them are too good."
                if one.is_training
                else "Count them once; as training and test rows they must not serve together."
            ),
        )


def _and(names: Sequence[str]) -> str:
    """Names joined as in a sentence."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
