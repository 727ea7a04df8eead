"""Lays a page out: what its parts are, and the template, style and script they go through."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from armorm.errors import MissingDependency
from armorm.evaluate.html.svg import Drawn
from armorm.evaluate.sections import Grid, Terms

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise MissingDependency("writing pages", "plots") from error


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class TablePart:
    """A table that is always shown."""

    grid: Grid
    label: str
    """What it holds, for who cannot see the text around it."""
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True)
class TermsPart:
    """Words with their meanings."""

    terms: Terms
    kind: Literal["terms"] = "terms"


@dataclass(frozen=True, slots=True)
class FigurePart:
    """A picture with its numbers as a table."""

    key: str
    """Prefix of its ids."""
    drawn: Drawn
    grid: Grid
    """The numbers."""
    is_open: bool = False
    """Whether the numbers are shown from the start."""
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True, slots=True)
class FindingPart:
    """One weakness."""

    severity: str
    sentence: str
    advice: str
    rows: Sequence[str]
    kind: Literal["finding"] = "finding"


@dataclass(frozen=True, slots=True)
class ComparisonsPart:
    """A table of comparisons that filters, sorts and opens."""

    rows: Sequence[Any]
    """One a comparison, as the template shows it."""
    data: dict[str, Any]
    """What the script shows of an open row."""
    sources: Sequence[str]
    objectives: Sequence[str]
    """Those that decide one."""
    kind: Literal["comparisons"] = "comparisons"


Part = Text | TablePart | TermsPart | FigurePart | FindingPart | ComparisonsPart


@dataclass(frozen=True, slots=True)
class PageSection:
    """One part of a page."""

    key: str
    """Its id."""
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure that is seen first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that stands on a page."""

    kind: str
    """`Report`, `Audit` or `Protocol`."""
    name: str
    """What it is of."""
    lead: Sequence[str]
    """Sentences that say what was found."""
    tiles: Sequence[Tile]
    basis: str
    """What the figures rest on."""
    notes: Sequence[str]
    sections: Sequence[PageSection]


def render_page(page: Page) -> str:
    """Return a page as HTML, in one piece.

    Every text is escaped, the policy of the page allows the script and the style that are
    its own and nothing else, and no address of a network stands in it.

    Args:
        page: The page.

    Returns:
        The text; one page gives one sequence of characters.
    """
    environment = Environment(
        loader=PackageLoader("armorm.evaluate.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = _trusted
    style, script = _asset("page.css"), _asset("page.js")
    return environment.get_template("page.html.jinja").render(
        page=page,
        style=_trusted(style),
        script=_trusted(script),
        style_digest=_digest(style),
        script_digest=_digest(script),
    )


def _trusted(text: str) -> Markup:
    """Our own style, script or drawing, which has been escaped where it was made."""
    return Markup(text)


def _asset(name: str) -> str:
    """A file beside the templates."""
    return resources.files("armorm.evaluate.html").joinpath("templates", name).read_text("utf-8")


def _digest(text: str) -> str:
    """What a content security policy calls a script or style by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
