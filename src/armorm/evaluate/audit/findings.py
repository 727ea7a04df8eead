"""From figures to findings: sentences with what shows them and what can be done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from armorm.data.text_measures import MEASURES
from armorm.evaluate.audit.figures import (
    SCORE,
    Calibration,
    Correlation,
    EditEffect,
    Finding,
    GatingAudit,
    ParaphraseEffect,
    Shared,
    Structure,
)
from armorm.evaluate.audit.heads_findings import (
    calibration_findings,
    gating_findings,
    shared_findings,
    structure_findings,
)
from armorm.evaluate.audit.thresholds import (
    CORRELATION,
    KEPT,
    LAST_SENTENCE,
    OBJECTIVE_CORRELATION,
    PARAPHRASED,
    RAISED,
    RAISED_SHARE,
    SEVERITIES,
    severity_of,
)
from armorm.evaluate.interval import Interval
from armorm.evaluate.wording import number

_SHOWN = 3

_BY_LABEL = {measure.label: name for name, measure in MEASURES.items()}
_MEASURE_OF_EDIT = {"padding": "log_length", "markdown": "markdown_density"}


def find(
    *,
    correlations: Sequence[Correlation],
    edits: Sequence[EditEffect],
    paraphrases: Sequence[ParaphraseEffect],
    calibration: Calibration | None,
    structure: Structure,
    gating: GatingAudit | None,
    shared_prompts: Sequence[Shared],
    extremes: dict[str, tuple[str, ...]],
    measured: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Return every finding, the gravest first.

    A figure on too few prompts for an interval makes a finding of low severity at most;
    one whose interval holds 0 makes none.

    Args:
        correlations: One a target and measure.
        edits: One an edit and target.
        paraphrases: One a target.
        calibration: None without pairs.
        structure: Of the objectives.
        gating: None under fixed weights.
        shared_prompts: Files with prompts in common.
        extremes: Measure -> ids of the rows where score and measure are both far up or
            both far down (the reverse for a negative correlation).
        measured: Measures that are nuisances of the model already.

    Returns:
        The findings; within a severity in the order of the arguments.
    """
    found = [
        *_correlated(correlations, extremes, measured),
        *_raised(edits, measured),
        *_moved(paraphrases),
        *calibration_findings(calibration),
        *structure_findings(structure),
        *gating_findings(gating, len(structure.objectives)),
        *shared_findings(shared_prompts),
    ]
    return tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity)))


def _correlated(
    correlations: Sequence[Correlation],
    extremes: dict[str, tuple[str, ...]],
    measured: Sequence[str],
) -> Iterable[Finding]:
    """The score follows how a response is written."""
    for measure in dict.fromkeys(one.measure for one in correlations):
        of = [one for one in correlations if one.measure == measure]
        for one in of:
            within = one.within_after.has_interval
            figure = one.within_after if within else one.after
            steps = CORRELATION if one.target == SCORE else OBJECTIVE_CORRELATION
            severity = severity_of(figure, steps.severity(abs(figure.value)))
            if severity is None:
                continue
            where = "among responses to one prompt" if within else "over all rows"
            before = one.within_before if within else one.before
            yield Finding(
                severity=severity,
                kind="correlation",
                target=one.target,
                sentence=(
                    f"{_called(one.target)} {'rises' if figure.value > 0 else 'falls'} with "
                    f"{measure}: Spearman {number(figure.value, sign=True)}{_ends(figure)} {where} "
                    f"({number(before.value, sign=True)} before debias)."
                ),
                rows=extremes.get(measure, ()) if one.target == SCORE else (),
                advice=_correlation_advice(one, figure, measured),
            )


def _correlation_advice(one: Correlation, figure: Interval, measured: Sequence[str]) -> str:
    """What can be done about a correlation, by what the ratings say."""
    name = _BY_LABEL[one.measure]
    rated = one.within_ratings
    if rated is not None and math.isfinite(rated.value) and rated.value * figure.value > 0:
        share = f"the ratings follow it too ({number(rated.value, sign=True)})"
        if abs(rated.value) >= abs(figure.value):
            return f"Nothing, as long as the ratings are right: {share}, and no less."
        remedy = _left_over(name) if name in measured else f"{_with_recipe(name)} if it matters."
        return f"{share[0].upper()}{share[1:]}, but less. {remedy}"
    if name in measured:
        return _left_over(name)
    return f"{_with_recipe(name)}, unless it is what these ratings are about."


def _with_recipe(name: str) -> str:
    """The line of a recipe that removes a measure."""
    return f"Train with `debias.measured: [{name}]` in the recipe"


def _left_over(name: str) -> str:
    """What can be done where the measure is a nuisance already."""
    return (
        f"`{name}` is in `debias.measured` already; what is left is what its ridge head does not "
        "predict: add rated rows that differ in it, or put such rows among those of "
        "`debias.reference`."
    )


def _raised(edits: Sequence[EditEffect], measured: Sequence[str]) -> Iterable[Finding]:
    """Edits that raise the score, and cuts that do not lower it."""
    for one in edits:
        if one.target != SCORE or not one.n:
            continue
        size = one.mean_change
        if one.kind == "cut":
            yield from _cut(one)
            continue
        severity = RAISED.severity(size.value)
        if severity is None and one.share_raised.value >= RAISED_SHARE:
            severity = "low"
        severity = severity_of(size, severity)
        if severity is None:
            continue
        lifted = [
            e
            for e in edits
            if e.edit == one.edit and e.target != SCORE and e.mean_change.value >= RAISED.medium
        ]
        lifted.sort(key=lambda e: -e.mean_change.value)
        names = [f"{e.target} ({number(e.mean_change.value, sign=True)})" for e in lifted[:_SHOWN]]
        most = f" Most lifted: {', '.join(names)}." if names else ""
        yield Finding(
            severity=severity,
            kind="edit",
            target=SCORE,
            sentence=(
                f"{one.edit.capitalize()} raises the score of "
                f"{number(100 * one.share_raised.value, digits=0)} % of {one.n} rows, by "
                f"{number(size.value, sign=True)} standard deviations on average{_ends(size)}."
                f"{most}"
            ),
            rows=tuple(row.id for row in one.largest),
            advice=_edit_advice(one.edit, [e.target for e in lifted[:_SHOWN]], measured),
        )


def _edit_advice(edit: str, lifted: Sequence[str], measured: Sequence[str]) -> str:
    """What can be done about an edit that raises the score."""
    name = _MEASURE_OF_EDIT.get(edit)
    if name is not None and name not in measured:
        return (
            f"{_with_recipe(name)}; add pairs whose rejected response is the chosen one with this "
            "edit."
        )
    less = f" or give less weight to {', '.join(lifted)}" if lifted else ""
    strip = " Remove such marks from responses before they are scored." * (edit == "chat header")
    return f"Add pairs whose rejected response is the chosen one with this edit{less}.{strip}"


def _cut(one: EditEffect) -> Iterable[Finding]:
    """A cut that the score hardly minds."""
    size = one.mean_change
    if one.edit == "last sentence cut":
        severity = severity_of(size, LAST_SENTENCE.severity(size.value))
    else:
        severity = KEPT.severity(size.value)
        if severity is not None and not size.low >= KEPT.low:  # or no interval: it may well fall
            severity = "low"
    if severity is None:
        return
    yield Finding(
        severity=severity,
        kind="cut",
        target=SCORE,
        sentence=(
            f"With the {one.edit.removesuffix(' cut')} cut the score changes by "
            f"{number(size.value, sign=True)} standard deviations on average{_ends(size)}, and "
            f"rises for {number(100 * one.share_raised.value, digits=0)} % of {one.n} rows."
        ),
        rows=tuple(row.id for row in one.largest),
        advice=(
            "Add pairs whose rejected response is the chosen one cut short; look whether ratings "
            "of completeness reach the score."
        ),
    )


def _moved(paraphrases: Sequence[ParaphraseEffect]) -> Iterable[Finding]:
    """The score depends on the choice of words."""
    for one in paraphrases:
        severity = severity_of(one.mean_size, PARAPHRASED.severity(one.mean_size.value))
        if one.target != SCORE or severity is None:
            continue
        yield Finding(
            severity=severity,
            kind="paraphrase",
            target=SCORE,
            sentence=(
                f"Other words for the same move the score by {number(one.mean_size.value)} "
                f"standard deviations on average{_ends(one.mean_size)}, over {one.n} paraphrases."
            ),
            rows=tuple(row.id for row in one.largest),
            advice=(
                "Read margins below this as ties; more rated rows, or a larger backbone, make it "
                "smaller."
            ),
        )


def _called(target: str) -> str:
    """A target as the subject of a sentence."""
    return "The score" if target == SCORE else f"The objective {target}"


def _ends(figure: Interval) -> str:
    """The interval in brackets, or nothing."""
    if not figure.has_interval:
        return ""
    low, high = (number(end, sign=True) for end in (figure.low, figure.high))
    return f" ({low} to {high})"
