"""What `armorm audit` shows: findings, then the score's own figures."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from armorm.cli.terminal import number_table
from armorm.evaluate.audit.figures import SCORE, Audit
from armorm.evaluate.audit.render import summary_sentence
from armorm.evaluate.wording import number, share, spread

_STYLES = {"high": "bold red", "medium": "yellow", "low": "dim"}


def audit_summary(audit: Audit) -> Group:
    """Return the findings and the figures of the score.

    Args:
        audit: The audit.

    Returns:
        A renderable.
    """
    parts: list[Table | Text] = [Text(summary_sentence(audit)), Text()]
    for one in audit.findings:
        rows = f" Rows: {', '.join(one.rows)}." if one.rows else ""
        parts.append(
            Text.assemble(
                (f"{one.severity:<7}", _STYLES[one.severity]),
                f"{one.sentence} {one.advice}{rows}",
            )
        )
    return Group(*parts, Text(), _correlations(audit), Text(), _edits(audit))


def _correlations(audit: Audit) -> Table:
    """Of the score with every measure."""
    table = number_table(
        "score and", "before debias", "after", "in one prompt, before", "after", ""
    )
    for one in audit.correlations:
        if one.target == SCORE:
            table.add_row(
                one.measure,
                number(one.before.value, sign=True),
                number(one.after.value, sign=True),
                number(one.within_before.value, sign=True),
                number(one.within_after.value, sign=True),
                spread(one.within_after, sign=True),
            )
    return table


def _edits(audit: Audit) -> Table:
    """Of every edit and cut on the score."""
    table = number_table("edit or cut", "rows", "raised", "", "mean change", "")
    for one in audit.edits:
        if one.target == SCORE:
            table.add_row(
                one.edit,
                str(one.n),
                share(one.share_raised),
                spread(one.share_raised, factor=100, digits=0),
                number(one.mean_change.value, sign=True),
                spread(one.mean_change, sign=True),
            )
    return table
