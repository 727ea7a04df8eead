"""What stands in a report, section by section, as texts and tables; it lays nothing out."""

from __future__ import annotations

import math
from collections.abc import Callable

from armorm.evaluate.baselines import SCORERS
from armorm.evaluate.figures import DebiasFigures, PreferenceFigures, Report
from armorm.evaluate.interval import Interval
from armorm.evaluate.length_sections import length_parts
from armorm.evaluate.reliability_sections import reliability_parts
from armorm.evaluate.sections import Grid, Section, Terms, joined, level_head
from armorm.evaluate.wording import UNDEFINED, number, share, spread, verdict

Parts = list[str | Grid | Terms]


def report_sections(report: Report) -> list[Section]:
    """Return the sections of a report that have figures, and how to read them last.

    Args:
        report: The report.

    Returns:
        The sections in the order they are read; headline, protocol and notes stand before
        them and are not among them. Comparisons are left to who can show them.
    """
    sections: list[tuple[str, str, Callable[[Report], Parts]]] = [
        ("objectives", "Objectives", _objectives),
        ("preferences", "Preference accuracy", _preferences),
        ("calibration", "Calibration", _calibration),
        ("length", "Length", _length),
        ("debias", "Debias", _debias),
        ("gating", "Gating", _gating),
        ("data", "Data", _data),
        ("run", "Run", _run),
        ("reading", "How to read this", _how_to_read),
    ]
    found = [Section(key, title, parts(report)) for key, title, parts in sections]
    return [section for section in found if section.parts]


def _objectives(report: Report) -> Parts:
    """Table of the objectives."""
    if not report.objectives:
        return []
    rows: list[list[str]] = []
    for one in report.objectives:
        edge = " (edge)" if one.at_edge else ""
        alpha = UNDEFINED if one.alpha is None else f"{one.alpha:,.4g}{edge}"
        rows.append(
            [
                one.name,
                f"{one.n:,}",
                number(one.spearman.value),
                spread(one.spearman),
                number(one.r2.value),
                spread(one.r2),
                number(one.rmse),
                alpha,
            ]
        )
    mean, strong = report.mean_spearman, ()
    if mean is not None:
        strong = (len(rows),)
        rows.append(["mean", f"{mean.n_rows:,}", number(mean.value), spread(mean), "", "", "", ""])
    level = level_head(one.spearman for one in report.objectives)
    head = ["objective", "rows", "Spearman", level, "R2", level, "RMSE", "alpha"]
    return [Grid(head, rows, strong=strong)]


def _preferences(report: Report) -> Parts:
    """Table of the scorers, then one of the accuracies by source."""
    if not report.preferences:
        return []
    rows: list[list[str]] = []
    for one in report.preferences:
        difference = one.difference_to_gated
        rows.append(
            [
                one.scorer,
                share(one.accuracy),
                spread(one.accuracy, factor=100, digits=1),
                _points(difference),
                "" if difference is None else spread(difference, factor=100, digits=1, sign=True),
                "" if difference is None else verdict(difference),
                f"{one.n_ties:,}",
            ]
        )
    level = level_head(one.accuracy for one in report.preferences)
    to = f"to {_reference(report)}, points"
    head = ["scorer", "accuracy", level, to, level, "verdict", "ties"]
    strong = [i for i, one in enumerate(report.preferences) if one.difference_to_gated is None]
    return [Grid(head, rows, left=(0, 5), strong=strong), *_sources(report)]


def _sources(report: Report) -> Parts:
    """Table of the accuracies by source, a column a scorer."""
    if len(report.by_source) < 2:
        return []
    names = [one.scorer for one in report.preferences]
    rows: list[list[str]] = []
    for source, figures in report.by_source.items():
        found = {one.scorer: one for one in figures}
        n = next(iter(found.values())).n if found else 0
        rows.append([source, f"{n:,}", *(_with_ends(found.get(name)) for name in names)])
    return [Grid(["source", "pairs", *names], rows, caption="By source, in per cent")]


def _calibration(report: Report) -> Parts:
    """How far the score can be read as a probability."""
    found = report.calibration
    if found is None:
        return []
    intro = "Probability of a preference: sigmoid(beta margin)"
    if found.beta is not None:
        intro += f", beta {found.beta:.3g}"
    if found.temperature is not None:
        intro += f"; divided by the temperature {number(found.temperature)}"
    named = [("as trained" if found.after is not None else "all pairs", found.before)]
    if found.after is not None:
        named.append(("with temperature", found.after))
    parts: Parts = [intro + "."]
    return parts + reliability_parts(named)


def _length(report: Report) -> Parts:
    """How the score follows the length of a response."""
    return [] if report.length is None else [*length_parts(report.length)]


def _debias(report: Report) -> Parts:
    """Table of what debias removed."""
    debias = report.debias
    if debias is None:
        return []
    on = "" if debias.n_rows is None else f" on {debias.n_rows:,} reference rows"
    intro = (
        f"Spearman correlation with {joined(debias.nuisances)}{on}; after debias the largest "
        f"in size is {number(debias.largest_after, digits=4)}."
    )
    rows = [
        [
            name,
            *(number(penalties.get(n, math.nan), digits=3, sign=True) for n in debias.nuisances),
            number(debias.before.get(name, math.nan), digits=3, sign=True),
            number(debias.after.get(name, math.nan), digits=3, sign=True),
        ]
        for name, penalties in debias.penalties.items()
    ]
    heads = [f"penalty ({name})" for name in debias.nuisances]
    return [intro, Grid(["objective", *heads, "before", "after"], rows), *_score_debias(debias)]


def _score_debias(debias: DebiasFigures) -> Parts:
    """Table of what debias leaves in the score."""
    if not debias.score:
        return []
    level = level_head(one.after for one in debias.score)
    rows = [
        [
            f"{one.nuisance} ({'measured' if one.is_measured else 'its objective score'})",
            number(one.before.value, sign=True),
            spread(one.before, sign=True),
            number(one.after.value, sign=True),
            spread(one.after, sign=True),
            number(one.within_before.value, sign=True),
            number(one.within_after.value, sign=True),
        ]
        for one in debias.score
    ]
    head = ["nuisance", "without debias", level, "with debias", level]
    head += ["same prompt, without", "same prompt, with"]
    caption = "Spearman correlation of the score with each nuisance, on held-out responses"
    return [Grid(head, rows, caption=caption)]


def _gating(report: Report) -> Parts:
    """Table of the mean weights, a column a source."""
    gating = report.gating
    if gating is None:
        return []
    intro = (
        f"Mean weight of each objective in per cent. Entropy {number(gating.entropy_mean)} of at "
        f"most {number(gating.entropy_max)} nats"
    )
    if gating.beta is not None:
        intro += f"; beta {gating.beta:.3g}"
    if gating.steps is not None:
        intro += f"; trained for {gating.steps:,} steps"
    sources = list(gating.by_source)
    rows = [
        [
            name,
            number(100 * mean, digits=1),
            *(number(100 * gating.by_source[s].get(name, math.nan), digits=1) for s in sources),
        ]
        for name, mean in gating.mean.items()
    ]
    return [intro + ".", Grid(["objective", "all", *sources], rows)]


def _data(report: Report) -> Parts:
    """What the figures rest on and what was left out."""
    data = report.data
    parts: Parts = [
        f"{data.rated:,} rated rows and {data.pairs:,} preference pairs on {data.prompts:,} "
        f"prompts; {data.derived_pairs:,} pairs were derived from ratings for training."
    ]
    if data.sources:
        rows = [[name, f"{s.rated:,}", f"{s.pairs:,}"] for name, s in data.sources.items()]
        parts.append(Grid(["source", "rated rows", "pairs"], rows))
    parts += _decontaminated(report)
    dropped = [
        [file, reason, f"{count:,}"]
        for file, reasons in data.dropped.items()
        for reason, count in reasons.items()
        if count
    ]
    if dropped:
        head = ["file", "reason", "rows"]
        return [*parts, Grid(head, dropped, left=(0, 1), caption="Dropped rows")]
    return [*parts, "No row was dropped."]


def _decontaminated(report: Report) -> Parts:
    """Evaluation files, and the training rows that have their prompts."""
    rows: list[list[str]] = []
    for one in report.data.decontaminated:
        facts = [one.path, f"{one.prompts:,}", f"{one.shared_prompts:,}"]
        rows += [[*facts, file, f"{n:,}"] for file, n in (one.rows or {"": 0}).items()]
    if not rows:
        return []
    head = ["evaluation file", "prompts", "shared", "training file", "rows left out"]
    caption = "Training rows left out because an evaluation file has their prompt"
    return [Grid(head, rows, left=(0, 3), caption=caption)]


def _run(report: Report) -> Parts:
    """Backbone, versions, hardware and times."""
    rows = [[f"backbone {key}", str(value)] for key, value in report.backbone.items()]
    rows += [[key, value] for key, value in report.versions.items()]
    rows += [[key, str(value)] for key, value in report.hardware.items()]
    if report.recipe_fingerprint:
        rows.append(["recipe fingerprint", report.recipe_fingerprint])
    rows += [
        [f"seconds for {key}", number(value, digits=1)] for key, value in report.timings.items()
    ]
    return [Grid(["fact", "value"], rows, left=(0, 1))] if rows else []


def _how_to_read(report: Report) -> Parts:
    """What each figure means, for who sees the method for the first time."""
    items = [
        (
            "Spearman",
            "how alike objective scores and ratings order the responses: 1 is the same order, 0 is "
            "no relation.",
        ),
        (
            "R2",
            "share of the ratings' variance that is explained: 0 is as good as always saying the "
            "mean, and below 0 is worse.",
        ),
        (
            "Preference accuracy",
            "share of pairs whose chosen response scores higher; a tie counts one half, so that "
            "guessing is 50 %.",
        ),
        (
            "Intervals",
            "found by drawing whole prompts again and again (all rows of a prompt together); "
            "figures on fewer than 20 prompts come without one.",
        ),
    ]
    if report.preferences:
        name = _reference(report)
        items.append(
            (
                f"To {name}",
                f"a scorer's accuracy minus that of {name} on the same pairs. The verdict is "
                "“no clear difference” where its interval holds 0.",
            )
        )
    if report.calibration is not None:
        items.append(
            (
                "Calibration error",
                "ECE: how far the claimed probability lies from the share that is right, on "
                "average; 95 % of perfectly calibrated models stay below “by chance” on as many "
                "pairs.",
            )
        )
    items += [
        (one.scorer, SCORERS[one.scorer] + ".")
        for one in report.preferences
        if one.scorer in SCORERS
    ]
    return [Terms(items)]


def _reference(report: Report) -> str:
    """Name of the scorer that the differences are taken to."""
    reference = report.reference()
    return "reference" if reference is None else reference.scorer


def _points(difference: Interval | None) -> str:
    """A difference of accuracies in points."""
    return "" if difference is None else number(100 * difference.value, digits=1, sign=True)


def _with_ends(figures: PreferenceFigures | None) -> str:
    """An accuracy with its interval in one cell."""
    if figures is None:
        return UNDEFINED
    ends = spread(figures.accuracy, factor=100, digits=0)
    value = number(100 * figures.accuracy.value, digits=1)
    return f"{value} ({ends})" if ends else value
