"""The tables of `armorm objectives list` and `armorm sources list`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from armorm.heads.statistics import Statistics
from armorm.model.bundle import Bundle
from armorm.model.sources import counts_of


def objectives_table(bundle: Bundle) -> Table:
    """Return the objectives of a bundle as a table.

    Args:
        bundle: The bundle.

    Returns:
        One row an objective, in order; a dash where a figure is not known.
    """
    table = _table("objective", "gating", numbers=("ratings", "alpha", "Spearman"), last="sources")
    known: Mapping[str, Any] = bundle.facts.get("objectives", {})
    for i, name in enumerate(bundle.objectives):
        of = known.get(name, {})
        role = "nuisance" if i in bundle.nuisances else "weighed"
        if role == "weighed" and i in bundle.gating.masked:
            role = "0 until refitted"
        sources = [
            f"{source} ({by[name].low:g} to {by[name].high:g})"
            for source, by in bundle.scales.items()
            if name in by
        ]
        figures = [_figure(of.get("n"), ","), _figure(of.get("alpha"), "g")]
        figures.append(_figure(of.get("spearman"), ".2f"))
        table.add_row(Text(name), role, *figures, Text(", ".join(sources) or "-"))
    return table


def sources_table(bundle: Bundle, statistics: Statistics | None) -> Table:
    """Return the sources of a bundle as a table.

    Args:
        bundle: The bundle.
        statistics: Its statistics, for the counts.

    Returns:
        One row a source and objective; without statistics the counts are dashes.
    """
    table = _table("source", "objective", numbers=("ratings",), last="scale")
    counts = {} if statistics is None else counts_of(statistics)
    for source in dict.fromkeys([*bundle.scales, *counts]):
        scales, own = bundle.scales.get(source, {}), counts.get(source, {})
        shown = source
        for name in dict.fromkeys([*scales, *own]):
            scale = scales.get(name)
            on = "-" if scale is None else f"{scale.low:g} to {scale.high:g}"
            table.add_row(Text(shown), Text(name), _figure(own.get(name), ","), on)
            shown = ""
    return table


def _table(*texts: str, numbers: tuple[str, ...], last: str) -> Table:
    """An empty table."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in texts:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_column(last, overflow="fold")
    return table


def _figure(value: float | None, form: str) -> str:
    """A figure, or a dash where it is not known."""
    return "-" if value is None else format(value, form)
