"""Renders a report as Markdown: what was found, then tables, then how to read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from armorm.evaluate.baselines import SCORERS
from armorm.evaluate.figures import PreferenceFigures, Report
from armorm.evaluate.interval import Interval
from armorm.evaluate.wording import UNDEFINED, headline, number, share, spread, verdict


class Picture(NamedTuple):
    """A picture that belongs to a section of the report."""

    section: str
    """`objectives`, `preferences`, `debias` or `gating`."""
    path: str
    """Path relative to the report's folder, with forward slashes."""
    alt: str
    """What the picture shows, for who cannot see it."""


def render_markdown(report: Report, pictures: Sequence[Picture] = ()) -> str:
    """Return the report as Markdown (GitHub's dialect, for its tables).

    Args:
        report: The report.
        pictures: Embedded below the section they belong to.

    Returns:
        The text, ending in a line break. Sections without figures are left out.
    """
    sections: list[tuple[str, str, Callable[[Report], list[str]]]] = [
        ("objectives", "Objectives", _objectives),
        ("preferences", "Preference accuracy", _preferences),
        ("debias", "Debias", _debias),
        ("gating", "Gating", _gating),
        ("data", "Data", _data),
        ("run", "Run", _run),
    ]
    lines = [f"# Report: {cell_text(report.name)}", "", " ".join(headline(report)), ""]
    lines += [f"Protocol: {report.protocol}", ""]
    if report.notes:
        lines += ["Notes:", "", *(f"- {note}" for note in report.notes), ""]
    for key, title, render in sections:
        body = render(report)
        if body:
            lines += [f"## {title}", "", *body]
            for picture in pictures:
                if picture.section == key:
                    lines += [f"![{picture.alt}]({picture.path})", ""]
    lines += ["## How to read this", "", *_how_to_read(report)]
    return "\n".join(line.rstrip() for line in lines).replace("\n\n\n", "\n\n").strip() + "\n"


def _objectives(report: Report) -> list[str]:
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
    mean = report.mean_spearman
    if mean is not None:
        rows.append(
            ["**mean**", f"{mean.n_rows:,}", number(mean.value), spread(mean), "", "", "", ""]
        )
    level = _level(one.spearman for one in report.objectives)
    head = ["objective", "rows", "Spearman", level, "R2", level, "RMSE", "alpha"]
    return table_lines(head, rows)


def _preferences(report: Report) -> list[str]:
    """Table of the scorers, then one of the accuracies by source."""
    if not report.preferences:
        return []
    rows: list[list[str]] = []
    for one in report.preferences:
        difference = one.difference_to_gated
        rows.append(
            [
                f"**{one.scorer}**" if difference is None else one.scorer,
                share(one.accuracy),
                spread(one.accuracy, factor=100, digits=1),
                _points(difference),
                "" if difference is None else spread(difference, factor=100, digits=1, sign=True),
                "" if difference is None else verdict(difference),
                f"{one.n_ties:,}",
            ]
        )
    level = _level(one.accuracy for one in report.preferences)
    head = [
        "scorer",
        "accuracy",
        level,
        f"to {_reference(report)}, points",
        level,
        "verdict",
        "ties",
    ]
    return table_lines(head, rows, left=(0, 5)) + _sources(report)


def _sources(report: Report) -> list[str]:
    """Table of the accuracies by source, a column a scorer."""
    if len(report.by_source) < 2:
        return []
    names = [one.scorer for one in report.preferences]
    rows: list[list[str]] = []
    for source, figures in report.by_source.items():
        found = {one.scorer: one for one in figures}
        n = next(iter(found.values())).n if found else 0
        rows.append([source, f"{n:,}", *(_with_ends(found.get(name)) for name in names)])
    return ["By source, in per cent:", "", *table_lines(["source", "pairs", *names], rows)]


def _debias(report: Report) -> list[str]:
    """Table of what debias removed."""
    debias = report.debias
    if debias is None:
        return []
    on = "" if debias.n_rows is None else f" on {debias.n_rows:,} reference rows"
    intro = (
        f"Spearman correlation with {_and(debias.nuisances)}{on}; after debias the largest "
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
    return [intro, "", *table_lines(["objective", *heads, "before", "after"], rows)]


def _gating(report: Report) -> list[str]:
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
    return [intro + ".", "", *table_lines(["objective", "all", *sources], rows)]


def _data(report: Report) -> list[str]:
    """What the figures rest on and what was left out."""
    data = report.data
    lines = [
        f"{data.rated:,} rated rows and {data.pairs:,} preference pairs on {data.prompts:,} "
        f"prompts; {data.derived_pairs:,} pairs were derived from ratings for training.",
        "",
    ]
    if data.sources:
        rows = [[name, f"{s.rated:,}", f"{s.pairs:,}"] for name, s in data.sources.items()]
        lines += table_lines(["source", "rated rows", "pairs"], rows)
    dropped = [
        [file, reason, f"{count:,}"]
        for file, reasons in data.dropped.items()
        for reason, count in reasons.items()
        if count
    ]
    if dropped:
        return [
            *lines,
            "Dropped rows:",
            "",
            *table_lines(["file", "reason", "rows"], dropped, left=(0, 1)),
        ]
    return [*lines, "No row was dropped.", ""]


def _run(report: Report) -> list[str]:
    """Backbone, versions, hardware and times."""
    rows = [[f"backbone {key}", str(value)] for key, value in report.backbone.items()]
    rows += [[key, value] for key, value in report.versions.items()]
    rows += [[key, str(value)] for key, value in report.hardware.items()]
    if report.recipe_fingerprint:
        rows.append(["recipe fingerprint", report.recipe_fingerprint])
    rows += [
        [f"seconds for {key}", number(value, digits=1)] for key, value in report.timings.items()
    ]
    return table_lines(["fact", "value"], rows, left=(0, 1)) if rows else []


def _how_to_read(report: Report) -> list[str]:
    """What each figure means, for who sees the method for the first time."""
    lines = [
        "- **Spearman** compares the order of objective scores and ratings: 1 is the same "
        "order, 0 is no relation. **R2** is the share of the ratings' variance that is "
        "explained: 0 is as good as always saying the mean, and below 0 is worse.",
        "- **Preference accuracy** is the share of pairs whose chosen response scores higher; a "
        "tie counts one half, so that guessing is 50 %.",
        "- **Intervals** come from drawing whole prompts again and again (all rows of a prompt "
        "together). Figures on fewer than 20 prompts come without one.",
    ]
    if report.preferences:
        name = _reference(report)
        lines.append(
            f"- **To {name}** is a scorer's accuracy minus that of {name} on the same pairs. The "
            "verdict is *no clear difference* where its interval holds 0."
        )
    lines += [
        f"- **{one.scorer}**: {SCORERS[one.scorer]}."
        for one in report.preferences
        if one.scorer in SCORERS
    ]
    return [*lines, ""]


def table_lines(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> list[str]:
    """Lay out a Markdown table, columns of words left, of numbers right, padded to be read as text.

    Args:
        head: m titles.
        rows: n times m cells.
        left: Columns of words, by position.

    Returns:
        Lines; the last one is empty.
    """
    cells = [[cell_text(cell) for cell in row] for row in [head, *rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    rule = [("-" * w) if i in left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    lines = [
        [row[i].ljust(w) if i in left else row[i].rjust(w) for i, w in enumerate(widths)]
        for row in cells
    ]
    return [f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]]] + [""]


def cell_text(text: str) -> str:
    """Return a text that cannot end a cell or a line of a table.

    Args:
        text: Any text.

    Returns:
        One line with its bars escaped.
    """
    return " ".join(text.replace("|", "\\|").split())


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


def _level(intervals: Iterable[Interval]) -> str:
    """Head of an interval column."""
    levels = sorted({interval.level for interval in intervals if interval.has_interval})
    return f"{100 * levels[0]:g} % interval" if len(levels) == 1 else "interval"


def _and(names: Sequence[str]) -> str:
    """Names joined as in a sentence."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
