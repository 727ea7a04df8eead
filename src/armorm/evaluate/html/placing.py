"""Puts the figures of a page where the tables stand that they show, and describes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from armorm.evaluate.calibration_figures import Reliability
from armorm.evaluate.canvas import Figure
from armorm.evaluate.html.page import FigurePart, PageSection, Part, TablePart, TermsPart, Text
from armorm.evaluate.html.svg import draw_inline
from armorm.evaluate.sections import Grid, Section, Terms
from armorm.evaluate.wording import number

Placed = Mapping[tuple[str, int], tuple[Figure, str, Grid | None]]
"""Figures by section and the number of the table they show: each with its description, and its
numbers where they are not those of the table, which then stands below."""


def page_section(section: Section, placed: Placed, *, opened: Sequence[str] = ()) -> PageSection:
    """Return a section as it stands on a page: figures take the place of the tables they show.

    Args:
        section: Texts, tables and terms.
        placed: The figures.
        opened: Sections whose numbers are shown from the start.

    Returns:
        The section.
    """
    parts: list[Part] = []
    n_grids = 0
    for part in section.parts:
        if isinstance(part, str):
            parts.append(Text(part))
        elif isinstance(part, Terms):
            parts.append(TermsPart(part))
        else:
            table = TablePart(part, part.caption or section.title)
            found = placed.get((section.key, n_grids))
            if found is None:
                parts.append(table)
            else:
                figure, description, grid = found
                key = f"figure-{section.key}-{n_grids}"
                drawn = draw_inline(figure, key=key, description=description)
                is_open = section.key in opened
                parts.append(FigurePart(key, drawn, grid or part, is_open=is_open))
                if grid is not None:
                    parts.append(table)
            n_grids += 1
    return PageSection(section.key, section.title, parts)


def reliability_words(named: Sequence[tuple[str, Reliability]]) -> str:
    """Return what a reliability curve shows, for who cannot see it.

    Args:
        named: The curves by name.

    Returns:
        A sentence a curve.
    """
    return "Share of pairs judged right by how sure the model is." + "".join(
        f" {name[0].upper()}{name[1:]}: it claims {number(100 * one.confidence, digits=1)} per "
        f"cent on average and is right on {number(100 * one.accuracy, digits=1)}."
        for name, one in named
    )


def extremes(values: Mapping[str, float], *, digits: int = 2, sign: bool = False) -> str:
    """Return the highest and the lowest of some values in words.

    Args:
        values: By name; undefined ones do not count.
        digits: Digits after the point.
        sign: Whether plus signs are written.

    Returns:
        Text that begins with a blank; empty without values.

    Example:
        >>> extremes({"a": 0.25, "b": 0.5, "c": float("nan")})
        ' highest b 0.50, lowest a 0.25.'
    """
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    if not known:
        return ""
    high, low = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    ends = [f"{n} {number(known[n], digits=digits, sign=sign)}" for n in (high, low)]
    return f" highest {ends[0]}, lowest {ends[1]}." if high != low else f" {ends[0]}."
