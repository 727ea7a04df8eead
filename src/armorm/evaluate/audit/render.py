"""Lays an audit out as Markdown: findings first, then the figures, then how to read them."""

from __future__ import annotations

from armorm.evaluate.audit.figures import Audit
from armorm.evaluate.audit.sections import audit_sections
from armorm.evaluate.markdown import cell_text, finished, note_lines, section_lines


def render_audit(audit: Audit) -> str:
    """Return the audit as Markdown.

    Args:
        audit: The audit.

    Returns:
        The text, ending in a line break. Sections without figures are left out.
    """
    lines = [f"# Audit: {cell_text(audit.name)}", "", summary_sentence(audit), ""]
    lines += [*note_lines(audit.notes), "## Findings", "", *_findings(audit)]
    return finished([*lines, *section_lines(audit_sections(audit))])


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


_KINDS = {"rated": "rated rows", "pairs": "pairs"}
