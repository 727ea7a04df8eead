"""A report as a page: what was found, figures with their numbers, comparisons to look through."""

from __future__ import annotations

from armorm.evaluate import drawing, drawing_curves
from armorm.evaluate.calibration_figures import CalibrationFigures, Reliability
from armorm.evaluate.canvas import NARROW, Figure
from armorm.evaluate.figures import ComparisonFigures, Report
from armorm.evaluate.html.comparisons import comparisons_part
from armorm.evaluate.html.page import (
    FigurePart,
    Page,
    PageSection,
    Part,
    Text,
    Tile,
    render_page,
)
from armorm.evaluate.html.placing import Placed, extremes, page_section, reliability_words
from armorm.evaluate.html.svg import draw_inline
from armorm.evaluate.report_sections import report_sections
from armorm.evaluate.sections import Grid
from armorm.evaluate.wording import headline, number, share, spread, verdict


def render_report_html(report: Report) -> str:
    """Return a report as a page.

    Args:
        report: The report.

    Returns:
        HTML that needs nothing else; one report gives one sequence of characters.
    """
    placed = _figures(report)
    sections = [
        page_section(one, placed, opened=("preferences",)) for one in report_sections(report)
    ]
    if report.comparisons:
        before = {"data", "run", "reading"}
        at = next((i for i, one in enumerate(sections) if one.key in before), len(sections))
        sections.insert(at, _comparisons(report))
    return render_page(
        Page(
            kind="Report",
            name=report.name,
            lead=headline(report),
            tiles=_tiles(report),
            basis=f"Figures rest on {_lowered(report.protocol)}",
            notes=report.notes,
            sections=sections,
        )
    )


def _figures(report: Report) -> Placed:
    """Every figure that the report has numbers for."""
    found: dict[tuple[str, int], tuple[Figure, str, Grid | None]] = {}
    if report.objectives:
        values = {one.name: one.spearman.value for one in report.objectives}
        said = "Spearman correlation of each objective score with its ratings, with intervals."
        figure = drawing.plot_objectives(report, width=NARROW)
        found["objectives", 0] = figure, said + extremes(values), None
    if report.preferences:
        values = {one.scorer: 100 * one.accuracy.value for one in report.preferences}
        said = "Preference accuracy of each scorer in per cent, with intervals; guessing is 50."
        figure = drawing.plot_preferences(report.preferences, width=NARROW)
        found["preferences", 0] = figure, said + extremes(values, digits=1), None
    if report.calibration is not None:
        named = reliabilities(report.calibration)
        found["calibration", 1] = (
            drawing_curves.plot_reliability(named, width=NARROW),
            reliability_words(named),
            None,
        )
    if report.length is not None:
        found["length", 0] = (
            drawing_curves.plot_scores_by_length(report.length, width=NARROW),
            "Mean score of the responses of each length, in standard deviations.",
            None,
        )
        if report.length.longer_wins:
            found["length", 1] = (
                drawing_curves.plot_longer_wins(report.length, width=NARROW),
                "Share of pairs whose longer response scores higher, and of those whose longer "
                "response is the preferred one, by how much longer it is.",
                None,
            )
    if report.debias is not None and report.debias.before:
        said = "Spearman correlation of each objective with the nuisance, before and after debias."
        figure = drawing.plot_debias(report.debias, width=NARROW)
        said = f"{said} Before:{extremes(report.debias.before, sign=True)}"
        found["debias", 0] = figure, said, None
    if report.gating is not None:
        values = {name: 100 * weight for name, weight in report.gating.mean.items()}
        said = "Mean gating weight of each objective by source, in per cent. Over all sources:"
        width = max(NARROW, 1.7 + 0.62 * (len(report.gating.by_source) + 1))
        figure = drawing.plot_gating(report.gating, width=width)
        found["gating", 0] = figure, said + extremes(values, digits=1), None
    return found


def reliabilities(calibration: CalibrationFigures) -> list[tuple[str, Reliability]]:
    """Return the curves of a report by name.

    Args:
        calibration: The figures.

    Returns:
        One, or two: before and after the temperature.
    """
    if calibration.after is None:
        return [("the model", calibration.before)]
    return [("as trained", calibration.before), ("with temperature", calibration.after)]


def _tiles(report: Report) -> list[Tile]:
    """The figures that are looked for first."""
    tiles: list[Tile] = []
    ours, rival = report.reference(), report.best_baseline()
    if ours is not None:
        ends = spread(ours.accuracy, factor=100, digits=1)
        tiles.append(Tile("Preference accuracy", share(ours.accuracy), ends and f"{ends} %"))
    if rival is not None and rival.difference_to_gated is not None:
        ahead = -100 * rival.difference_to_gated.value
        judged = {"worse": "clearly ahead", "better": "clearly behind"}
        said = judged.get(verdict(rival.difference_to_gated), verdict(rival.difference_to_gated))
        value = f"{number(ahead, digits=1, sign=True)} points"
        tiles.append(Tile(f"Against {rival.scorer}", value, said))
    mean = report.mean_spearman
    if mean is not None:
        tiles.append(Tile("Mean Spearman", number(mean.value), spread(mean)))
    if report.calibration is not None:
        last = report.calibration.after or report.calibration.before
        within = "within chance" if last.ece <= last.ece_by_chance else "more than chance"
        tiles.append(Tile("Calibration error", f"{number(100 * last.ece, digits=1)} %", within))
    return tiles


def _comparisons(report: Report) -> PageSection:
    """The most and the least certain comparison as pictures, then the table of all."""
    parts: list[Part] = [
        Text(
            "Pairs with the reasons of the model. The margin is the score of the chosen response "
            "minus that of the rejected one: below 0 the model prefers the rejected response. "
            "Open a row to read both and to see what decided."
        ),
        comparisons_part(report.comparisons),
    ]
    by_size = sorted(report.comparisons, key=lambda one: abs(one.margin))
    for place, (one, title) in enumerate(
        ((by_size[-1], "The most certain comparison"), (by_size[0], "The least certain comparison"))
    ):
        if one.objectives and (place == 0 or len(by_size) > 1):
            parts.append(_contributions(one, title, place))
    return PageSection("comparisons", "Comparisons", parts)


def _contributions(one: ComparisonFigures, title: str, place: int) -> FigurePart:
    """What adds up to the margin of one pair."""
    key = f"figure-comparisons-{place}"
    values = {part.name: part.contribution for part in one.objectives}
    figure = drawing.plot_contributions(values, title=title, total="margin", width=NARROW)
    rows = [
        [
            part.name,
            number(part.chosen),
            number(part.rejected),
            number(part.contribution, digits=3, sign=True),
        ]
        for part in one.objectives
    ]
    rows.append(["margin", "", "", number(one.margin, digits=3, sign=True)])
    grid = Grid(["objective", "chosen", "rejected", "contribution"], rows, strong=(len(rows) - 1,))
    described = f"Contributions to the margin of pair {one.id}. {one.sentence}"
    return FigurePart(key, draw_inline(figure, key=key, description=described), grid)


def _lowered(sentence: str) -> str:
    """A sentence as the end of another, with a full stop."""
    return sentence[:1].lower() + sentence[1:].rstrip(".") + "."
