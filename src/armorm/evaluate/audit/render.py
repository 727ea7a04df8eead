"""Renders an audit as Markdown: findings first, then the figures, then how to read them."""

from __future__ import annotations

from collections.abc import Sequence

from armorm.evaluate.audit.figures import SCORE, Audit, Reliability
from armorm.evaluate.interval import Interval
from armorm.evaluate.markdown import cell_text, table_lines
from armorm.evaluate.wording import number, share, spread


def render_audit(audit: Audit) -> str:
    """Return the audit as Markdown (GitHub's dialect, for its tables).

    Args:
        audit: The audit.

    Returns:
        The text, ending in a line break. Sections without figures are left out.
    """
    lines = [f"# Audit: {cell_text(audit.name)}", "", summary_sentence(audit), ""]
    if audit.notes:
        lines += ["Notes:", "", *(f"- {note}" for note in audit.notes), ""]
    for title, body in (
        ("Findings", _findings(audit)),
        ("What the score follows", _correlations(audit)),
        ("Edits that must not raise the score", _edits(audit, "edit")),
        ("Cuts that should lower it", _edits(audit, "cut")),
        ("The same in other words", _paraphrases(audit)),
        ("Calibration", _calibration(audit)),
        ("Objectives", _structure(audit)),
        ("Gating", _gating(audit)),
        ("Prompts in several files", _shared(audit)),
        ("How to read this", _HOW_TO_READ),
    ):
        if body:
            lines += [f"## {title}", "", *body]
    return "\n".join(line.rstrip() for line in lines).replace("\n\n\n", "\n\n").strip() + "\n"


def summary_sentence(audit: Audit) -> str:
    """Say what was audited and how many findings there are.

    Args:
        audit: The audit.

    Returns:
        Two sentences.
    """
    files = " and ".join(f"{file.n_rows:,} {_KINDS[file.kind]}" for file in audit.files)
    counts = [
        f"{n} {name}"
        for name in ("high", "medium", "low")
        if (n := sum(one.severity == name for one in audit.findings))
    ]
    found = f"Findings by severity: {', '.join(counts)}." if counts else "Nothing was found."
    return f"Audited on {files}, {audit.n_prompts:,} prompts. {found}"


def _findings(audit: Audit) -> list[str]:
    """One paragraph a finding."""
    lines: list[str] = []
    for one in audit.findings:
        rows = f" Rows: {', '.join(one.rows)}." if one.rows else ""
        lines.append(f"- **{one.severity}**: {one.sentence} *{one.advice}*{rows}")
    return [*lines, ""] if lines else ["None above the thresholds.", ""]


def _correlations(audit: Audit) -> list[str]:
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
    return table_lines([*head, "in prompt, after", "ratings, in prompt"], rows, left=(0, 1))


def _edits(audit: Audit, kind: str) -> list[str]:
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
    return table_lines(head, rows, left=(0, 6))


def _paraphrases(audit: Audit) -> list[str]:
    """Mean absolute change of every target."""
    rows = [
        [one.target, str(one.n), number(one.mean_size.value), spread(one.mean_size)]
        for one in audit.paraphrases
        if one.n
    ]
    return table_lines(["target", "paraphrases", "mean size", "interval"], rows) if rows else []


def _calibration(audit: Audit) -> list[str]:
    """Errors of the probability, and its reliability curve."""
    found = audit.calibration
    if found is None:
        return []
    named: list[tuple[str, Reliability | None]] = [
        ("all pairs", found.all_pairs),
        ("held-out half", found.held_out),
        ("held-out half, with temperature", found.held_out_after),
    ]
    rows = [
        [
            name,
            str(one.n),
            number(100 * one.confidence, digits=1),
            number(100 * one.accuracy, digits=1),
            number(one.ece, digits=3),
            number(one.ece_by_chance, digits=3),
            number(one.brier.value, digits=3),
            number(one.log_loss.value, digits=3),
        ]
        for name, one in named
        if one is not None
    ]
    head = ["pairs", "n", "claims, %", "right, %", "ECE", "by chance", "Brier", "log loss"]
    lines = [f"beta {found.beta:.3g}"]
    if found.temperature is not None:
        lines[0] += f"; temperature {number(found.temperature)}, fitted on {found.n_fit} pairs"
    curve = [
        [
            f"{100 * one.low:.0f} to {100 * one.high:.0f} %",
            str(one.n),
            number(100 * one.confidence, digits=1),
            number(100 * one.accuracy.value, digits=1),
            spread(one.accuracy, factor=100, digits=0),
        ]
        for one in found.all_pairs.bins
    ]
    lines = [lines[0] + ".", "", *table_lines(head, rows)]
    return lines + table_lines(["confidence", "pairs", "claims, %", "right, %", "interval"], curve)


def _structure(audit: Audit) -> list[str]:
    """Effective number and correlation matrix after debias."""
    found = audit.structure
    lines = [
        f"{len(found.objectives)} objectives, effectively "
        f"{number(found.effective_before, digits=1)} before debias and "
        f"{number(found.effective_after, digits=1)} after. Correlations of the objective scores "
        "after debias:",
        "",
    ]
    rows = [
        [name, *(number(value, sign=True) for value in row)]
        for name, row in zip(found.objectives, found.after, strict=True)
    ]
    return lines + table_lines(["objective", *found.objectives], rows)


def _gating(audit: Audit) -> list[str]:
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
    lines = [
        f"Mean weight in per cent over {gating.n_prompts:,} prompts. Entropy "
        f"{number(figures.entropy_mean)} of at most {number(figures.entropy_max)} nats: "
        f"{number(gating.effective, digits=1)} objectives have a say in a score.",
        "",
    ]
    return lines + table_lines(["objective", "all", *sources], rows)


def _shared(audit: Audit) -> list[str]:
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
    return table_lines(head, rows, left=(0, 1)) if rows else []


def _figure(interval: Interval) -> str:
    """A correlation with its interval in one cell."""
    ends = spread(interval, sign=True)
    value = number(interval.value, sign=True)
    return f"{value} ({ends})" if ends else value


_KINDS = {"rated": "rated rows", "pairs": "pairs"}

_HOW_TO_READ: Sequence[str] = (
    "- **Correlations** are Spearman's. *In prompt* compares responses to one prompt with each "
    "other alone: what a question asks for has no part in it. A correlation is no fault where the "
    "ratings follow the same measure.",
    "- **Edits** change how a response looks and not what it says. Changes are in standard "
    "deviations of the target over all rows, *raised* is the share of rows that gain more than "
    "rounding.",
    "- **Calibration** takes sigmoid(beta margin) for the probability that the response with the "
    "higher score is preferred. *By chance* is the expected calibration error (ECE) that 95 % of "
    "perfectly calibrated models stay below on as many pairs.",
    "- **Effectively** is the participation ratio of the correlation matrix: as many independent "
    "objectives would spread as much.",
    "- **Intervals** hold for 95 %, by drawing whole prompts again and again; fewer than 20 "
    "prompts come without one.",
    "",
)
