"""What stands in an audit, section by section, as texts and tables; it lays nothing out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from armorm.evaluate.audit.figures import SCORE, Audit, Calibration
from armorm.evaluate.calibration_figures import Reliability
from armorm.evaluate.interval import Interval
from armorm.evaluate.reliability_sections import reliability_parts
from armorm.evaluate.sections import Grid, Section, Terms
from armorm.evaluate.wording import number, share, spread

Parts = list[str | Grid | Terms]


def audit_sections(audit: Audit) -> list[Section]:
    """Return the sections of an audit that have figures, and how to read them last.

    Args:
        audit: The audit.

    Returns:
        The sections in the order they are read; findings stand before them and are not
        among them.
    """
    sections: list[tuple[str, str, Callable[[Audit], Parts]]] = [
        ("correlations", "What the score follows", _correlations),
        ("edits", "Edits that must not raise the score", lambda one: _edits(one, "edit")),
        ("cuts", "Cuts that should lower it", lambda one: _edits(one, "cut")),
        ("paraphrases", "The same in other words", _paraphrases),
        ("calibration", "Calibration", _calibration),
        ("structure", "Objectives", _structure),
        ("gating", "Gating", _gating),
        ("shared", "Prompts in several files", _shared),
        ("reading", "How to read this", lambda _: [Terms(_HOW_TO_READ)]),
    ]
    found = [Section(key, title, parts(audit)) for key, title, parts in sections]
    return [section for section in found if section.parts]


def reliabilities(found: Calibration) -> list[tuple[str, Reliability]]:
    """Return the reliabilities of an audit by what they are of.

    Args:
        found: The figures.

    Returns:
        All pairs first; without a temperature nothing else.
    """
    named: list[tuple[str, Reliability | None]] = [
        ("all pairs", found.all_pairs),
        ("held-out half", found.held_out),
        ("held-out half, with temperature", found.held_out_after),
    ]
    return [(name, one) for name, one in named if one is not None]


def _correlations(audit: Audit) -> Parts:
    """Spearman of every target with every measure."""
    rows = [
        [
            one.target,
            one.measure,
            number(one.before.value, sign=True),
            _figure(one.after),
            number(one.within_before.value, sign=True),
            _figure(one.within_after),
            "" if one.within_ratings is None else number(one.within_ratings.value, sign=True),
        ]
        for one in audit.correlations
    ]
    head = ["target", "measure", "before", "after debias", "in prompt, before"]
    return [Grid([*head, "in prompt, after", "ratings, in prompt"], rows, left=(0, 1))]


def _edits(audit: Audit, kind: str) -> Parts:
    """Share of rows raised and mean change of the score, and the objectives most moved."""
    rows: list[list[str]] = []
    for one in audit.edits:
        if one.kind != kind or one.target != SCORE:
            continue
        others = [e for e in audit.edits if e.edit == one.edit and e.target != SCORE]
        most = max(others, key=lambda e: e.mean_change.value, default=None)
        rows.append(
            [
                one.edit,
                str(one.n),
                share(one.share_raised),
                spread(one.share_raised, factor=100, digits=0),
                number(one.mean_change.value, sign=True),
                spread(one.mean_change, sign=True),
                f"{most.target} {number(most.mean_change.value, sign=True)}" if most else "",
            ]
        )
    head = [kind, "rows", "raised", "interval", "mean change", "interval", "most raised"]
    return [Grid(head, rows, left=(0, 6))] if rows else []


def _paraphrases(audit: Audit) -> Parts:
    """Mean absolute change of every target."""
    rows = [
        [one.target, str(one.n), number(one.mean_size.value), spread(one.mean_size)]
        for one in audit.paraphrases
        if one.n
    ]
    return [Grid(["target", "paraphrases", "mean size", "interval"], rows)] if rows else []


def _calibration(audit: Audit) -> Parts:
    """Errors of the probability, and its reliability curve."""
    found = audit.calibration
    if found is None:
        return []
    intro = f"beta {found.beta:.3g}"
    if found.temperature is not None:
        intro += f"; temperature {number(found.temperature)}, fitted on {found.n_fit} pairs"
    return [intro + ".", *reliability_parts(reliabilities(found), curves=("all pairs",))]


def _structure(audit: Audit) -> Parts:
    """Effective number and correlation matrix after debias."""
    found = audit.structure
    intro = (
        f"{len(found.objectives)} objectives, effectively "
        f"{number(found.effective_before, digits=1)} before debias and "
        f"{number(found.effective_after, digits=1)} after. Correlations of the objective scores "
        "after debias:"
    )
    rows = [
        [name, *(number(value, sign=True) for value in row)]
        for name, row in zip(found.objectives, found.after, strict=True)
    ]
    return [intro, Grid(["objective", *found.objectives], rows)]


def _gating(audit: Audit) -> Parts:
    """Mean weights by source."""
    gating = audit.gating
    if gating is None:
        return []
    figures = gating.figures
    sources = list(figures.by_source)
    rows = [
        [
            name,
            number(100 * mean, digits=1),
            *(number(100 * figures.by_source[source][name], digits=1) for source in sources),
        ]
        for name, mean in figures.mean.items()
    ]
    intro = (
        f"Mean weight in per cent over {gating.n_prompts:,} prompts. Entropy "
        f"{number(figures.entropy_mean)} of at most {number(figures.entropy_max)} nats: "
        f"{number(gating.effective, digits=1)} objectives have a say in a score."
    )
    return [intro, Grid(["objective", "all", *sources], rows)]


def _shared(audit: Audit) -> Parts:
    """Which files have prompts in common."""
    rows = [
        [
            one.first,
            one.second + (" (training)" if one.is_training else ""),
            f"{one.n_prompts:,}",
            number(100 * one.share, digits=1),
        ]
        for one in audit.shared_prompts
    ]
    head = ["file", "other file", "prompts", "% of the first"]
    return [Grid(head, rows, left=(0, 1))] if rows else []


def _figure(interval: Interval) -> str:
    """A correlation with its interval in one cell."""
    ends = spread(interval, sign=True)
    value = number(interval.value, sign=True)
    return f"{value} ({ends})" if ends else value


_HOW_TO_READ: Sequence[tuple[str, str]] = (
    (
        "Correlations",
        "Spearman's. “In prompt” compares responses to one prompt with each other alone: what a "
        "question asks for has no part in it. A correlation is no fault where the ratings follow "
        "the same measure.",
    ),
    (
        "Edits",
        "changes of how a response looks, not of what it says. Figures are in standard deviations "
        "of the target over all rows, “raised” is the share of rows that gain more than rounding.",
    ),
    (
        "Calibration",
        "sigmoid(beta margin), taken for the probability that the response with the higher score "
        "is preferred. “By chance” is the expected calibration error (ECE) that 95 % of perfectly "
        "calibrated models stay below on as many pairs.",
    ),
    (
        "Effectively",
        "the participation ratio of the correlation matrix: as many independent objectives would "
        "spread as much.",
    ),
    (
        "Intervals",
        "hold for 95 %, by drawing whole prompts again and again; fewer than 20 prompts come "
        "without one.",
    ),
)
