"""An audit as a page: findings first, then the figures with their numbers."""

from __future__ import annotations

from armorm.evaluate import drawing, drawing_audit, drawing_curves
from armorm.evaluate.audit.figures import SCORE, Audit
from armorm.evaluate.audit.render import summary_sentence
from armorm.evaluate.audit.sections import audit_sections
from armorm.evaluate.canvas import NARROW, Figure
from armorm.evaluate.html.page import FindingPart, Page, PageSection, Text, Tile, render_page
from armorm.evaluate.html.placing import Placed, extremes, page_section, reliability_words
from armorm.evaluate.sections import Grid
from armorm.evaluate.wording import number, share, spread


def render_audit_html(audit: Audit) -> str:
    """Return an audit as a page.

    Args:
        audit: The audit.

    Returns:
        HTML that needs nothing else; one audit gives one sequence of characters.
    """
    placed = _figures(audit)
    findings = PageSection(
        "findings",
        "Findings",
        [FindingPart(one.severity, one.sentence, one.advice, one.rows) for one in audit.findings]
        or [Text("None above the thresholds.")],
    )
    files = ", ".join(f"{file.path} ({file.n_rows:,} {file.kind})" for file in audit.files)
    return render_page(
        Page(
            kind="Audit",
            name=audit.name,
            lead=[summary_sentence(audit)],
            tiles=_tiles(audit),
            basis=f"Figures rest on {files}: {audit.n_rows:,} conversations.",
            notes=audit.notes,
            sections=[findings, *(page_section(one, placed) for one in audit_sections(audit))],
        )
    )


def _figures(audit: Audit) -> Placed:
    """Every figure that the audit has numbers for."""
    found: dict[tuple[str, int], tuple[Figure, str, Grid | None]] = {}
    of_score = [one for one in audit.correlations if one.target == SCORE]
    if of_score:
        before = {one.measure: one.within_before.value for one in of_score}
        after = {one.measure: one.within_after.value for one in of_score}
        figure = drawing_audit.plot_correlations(before, after, target=SCORE, width=NARROW)
        said = "Spearman correlation of the score with measures of the response, within prompts."
        found["correlations", 0] = figure, f"{said} After debias:{extremes(after, sign=True)}", None
    for kind, key in (("edit", "edits"), ("cut", "cuts")):
        effects = [one for one in audit.edits if one.kind == kind and one.n]
        if effects:
            values = {one.edit: one.mean_change.value for one in effects if one.target == SCORE}
            said = f"Mean change of score and objectives by each {kind}. Of the score:"
            figure = drawing_audit.plot_edits(effects, width=NARROW)
            found[key, 0] = figure, said + extremes(values, sign=True), effects_grid(audit, kind)
    sizes = {one.target: one.mean_size.value for one in audit.paraphrases if one.n}
    if sizes:
        said = "Mean size of the change of each target when the same is said in other words:"
        figure = drawing_audit.plot_sizes(sizes, width=NARROW)
        found["paraphrases", 0] = figure, said + extremes(sizes), None
    if audit.calibration is not None:
        named = [("the model", audit.calibration.all_pairs)]
        figure = drawing_curves.plot_reliability(named, width=NARROW)
        found["calibration", 1] = figure, reliability_words(named), None
    alike = audit.structure.most_alike
    said = "Correlations of the objective scores after debias."
    if alike:
        said += f" The most alike are {alike[0][0]} and {alike[0][1]}, {number(alike[0][2])}."
    found["structure", 0] = drawing_audit.plot_structure(audit.structure, width=NARROW), said, None
    if audit.gating is not None:
        weights = audit.gating.figures
        values = {name: 100 * weight for name, weight in weights.mean.items()}
        said = "Mean gating weight of each objective by source, in per cent. Over all sources:"
        width = max(NARROW, 1.7 + 0.62 * (len(weights.by_source) + 1))
        figure = drawing.plot_gating(weights, width=width)
        found["gating", 0] = figure, said + extremes(values, digits=1), None
    return found


def effects_grid(audit: Audit, kind: str) -> Grid:
    """Return what edits do to every target, as the heat map shows it.

    Args:
        audit: The audit.
        kind: `edit` or `cut`.

    Returns:
        A line an edit and target.
    """
    rows = [
        [
            one.edit,
            one.target,
            f"{one.n:,}",
            share(one.share_raised),
            spread(one.share_raised, factor=100, digits=0),
            number(one.mean_change.value, sign=True),
            spread(one.mean_change, sign=True),
        ]
        for one in audit.edits
        if one.kind == kind
    ]
    head = [kind, "target", "rows", "raised", "interval", "mean change", "interval"]
    return Grid(head, rows, left=(0, 1))


def _tiles(audit: Audit) -> list[Tile]:
    """The figures that are looked for first."""
    tiles = [
        Tile(f"Findings, {name}", str(sum(one.severity == name for one in audit.findings)))
        for name in ("high", "medium", "low")
    ]
    edits = [one for one in audit.edits if one.target == SCORE and one.kind == "edit" and one.n]
    if edits:
        worst = max(edits, key=lambda one: one.mean_change.value)
        value = number(worst.mean_change.value, sign=True)
        tiles.append(Tile("Edit that lifts most", value, worst.edit))
    if audit.calibration is not None:
        one = audit.calibration.all_pairs
        within = "within chance" if one.ece <= one.ece_by_chance else "more than chance"
        tiles.append(Tile("Calibration error", f"{number(100 * one.ece, digits=1)} %", within))
    return tiles
