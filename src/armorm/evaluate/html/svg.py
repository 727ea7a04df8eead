"""Turns a figure into SVG that stands within a page: its colours, its fonts, ids of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from armorm.evaluate.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    STYLE,
    Figure,
    mpl,
    rendered,
)

_COLORS: Mapping[str, str] = {
    INK: "ink",
    FAINT: "faint",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    GREY: "grey",
}
"""Colours of pictures by the name that the style sheet knows, which has a dark scheme too."""

_SCALE = 1.3
_FITS = 6.2  # inches that are still legible when they shrink to a phone
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_LINK = re.compile(r"url\(#([^)]+)\)")
_HREF = "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as it stands in a page."""

    svg: str
    """The element, with a title and a description for who cannot see it."""
    title: str
    """Its title, which the page shows above it."""
    is_wide: bool
    """Whether it has to scroll in a box of its own on a narrow screen."""


def draw_inline(figure: Figure, *, key: str, description: str) -> Drawn:
    """Return a figure as an SVG element.

    Colours become classes and texts take the font of the page, so that the figure follows
    its colour scheme; nothing stands in a style attribute, which the page forbids. The title
    is taken out of the picture, as the page shows it.

    Args:
        figure: The figure, with a title on its first axes.
        key: Prefix of its ids, its own within the page.
        description: What it shows, in a sentence or two.

    Returns:
        The element; one figure gives one sequence of characters.
    """
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    with mpl.rc_context(STYLE):
        for axes in figure.axes:
            axes.set_title("", loc="left")
    raw = rendered(figure, "svg", metadata={"Date": None, "Creator": None}).decode()
    root = ElementTree.fromstring(_CONTROL.sub("", raw))
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    linked = set(_LINK.findall(raw)) | {
        one.attrib[_HREF].removeprefix("#") for one in root.iter() if _HREF in one.attrib
    }
    title = next((text for text in titles if text), "")
    svg = ElementTree.Element(
        "svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            # Where the style sheet does not stretch it: points are small on a screen.
            "width": f"{_SCALE * width:.0f}",
            "height": f"{_SCALE * height:.0f}",
            "role": "img",
            "aria-labelledby": f"{key}-title {key}-desc",
        },
    )
    for name, text in (("title", title), ("desc", description)):
        ElementTree.SubElement(svg, name, {"id": f"{key}-{name}"}).text = text
    _copy(root, svg, key, linked)
    return Drawn(ElementTree.tostring(svg, encoding="unicode"), title, width > 72 * _FITS)


def _copy(
    source: ElementTree.Element, target: ElementTree.Element, key: str, ids: set[str]
) -> None:
    """Copy what is drawn, without names and groups that nothing refers to."""
    for child in source:
        tag = child.tag.rpartition("}")[2]
        if tag in ("metadata", "style") or child.attrib.get("id") == "patch_1":
            continue
        attributes = _attributes(child, key, ids)
        if tag == "g" and not attributes:
            _copy(child, target, key, ids)
            continue
        copied = ElementTree.SubElement(target, tag, attributes)
        copied.text = child.text.strip() if child.text and child.text.strip() else None
        _copy(child, copied, key, ids)


def _attributes(element: ElementTree.Element, key: str, ids: set[str]) -> dict[str, str]:
    """Attributes of an element, its style taken apart."""
    found: dict[str, str] = {}
    for name, value in element.attrib.items():
        if name == "id":
            if value in ids:
                found["id"] = f"{key}-{value}"
        elif name == _HREF:
            found["href"] = f"#{key}-{value.removeprefix('#')}"
        elif name == "style":
            found |= _styles(value)
        elif not (name == "transform" and value.startswith("rotate(-0 ")):
            linked = _LINK.sub(rf"url(#{key}-\1)", " ".join(value.split()))
            found[name] = _LONG.sub(lambda number: f"{float(number[0]):.2f}", linked)
    return found


def _styles(style: str) -> dict[str, str]:
    """Properties as attributes; colours of ours as classes, fonts left to the page."""
    found: dict[str, str] = {}
    classes: list[str] = []
    for entry in style.split(";"):
        name, _, value = (part.strip() for part in entry.partition(":"))
        color = _COLORS.get(value.upper())
        if name == "font-family" or not name:
            continue
        if name in ("fill", "stroke") and color is not None:
            classes.append(f"{name}-{color}")
        else:
            found[name] = _LONG.sub(lambda number: f"{float(number[0]):.3f}", value)
    return ({"class": " ".join(classes)} if classes else {}) | found
