"""What `armorm data list` and `armorm data convert` say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from armorm.data import Drops
from armorm.data.sources import Converted, PublishedSet
from armorm.types import Scale


def as_dict(published: PublishedSet) -> dict[str, Any]:
    """Return what is known of a data set, for a program.

    Args:
        published: The data set.

    Returns:
        Fields in the words of the table.
    """
    return {
        "name": published.name,
        "kind": published.kind,
        "hub": published.hub,
        "split": published.split,
        "licence": published.licence,
        "rows": published.n_rows,
        "objectives": {
            name: {"low": scale.low, "high": scale.high, **_map_of(scale)}
            for name, scale in published.scales.items()
        },
        "columns": list(published.columns),
        "link": published.link,
        "note": published.note,
    }


def render_sets(sets: Sequence[PublishedSet]) -> RenderableType:
    """Return the tables of data sets, rated ones first.

    Args:
        sets: The data sets.

    Returns:
        A rich renderable.
    """
    parts: list[RenderableType] = []
    for kind, title in (("rated", "rated responses"), ("pairs", "preference pairs")):
        some = [one for one in sets if one.kind == kind]
        if some:
            parts += [_table(title, some), Text()]
    parts += [
        Text("rows: expected of the conversion; ? where no source says"),
        Text("armorm data list NAME: objectives, columns, and lines for a recipe"),
    ]
    return Group(*parts)


def _table(title: str, sets: Sequence[PublishedSet]) -> Table:
    """The data sets of one kind."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(title, no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    if any(one.scales for one in sets):
        table.add_column("objectives", no_wrap=True)
    table.add_column("hub", overflow="fold")
    for one in sets:
        rows = "?" if one.n_rows is None else f"{one.n_rows:,}"
        scales = [_scales(one)] * bool(one.scales)
        table.add_row(one.name, rows, one.licence, *scales, Text(one.hub.partition("@")[0]))
    return table


def render_set(published: PublishedSet) -> RenderableType:
    """Return everything that is known of one data set.

    Args:
        published: The data set.

    Returns:
        A rich renderable.
    """
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows = "not known" if published.n_rows is None else f"{published.n_rows:,} expected"
    cells = [
        ("name", published.name),
        ("kind", published.kind),
        ("hub", f"{published.hub}, split {published.split}"),
        ("licence", published.licence),
        ("rows", rows),
        ("columns", ", ".join(published.columns)),
        ("link", published.link),
    ]
    cells += [("note", published.note)] * bool(published.note)
    for name, cell in cells:
        table.add_row(name, Text(cell))
    lines = recipe_lines(published, Path(f"{published.name}.parquet"))
    return Group(table, Text(), Text(lines.rstrip("\n")))


def recipe_lines(published: PublishedSet, path: Path) -> str:
    """Return the lines of a recipe that use a converted file.

    Args:
        published: The data set.
        path: The file.

    Returns:
        YAML, with a final newline.
    """
    part = "rated" if published.kind == "rated" else "pairs"
    lines = [f"{part}:", f"  - {json.dumps(str(path), ensure_ascii=False)}"]
    if published.scales:
        lines += ["scales:", f"  {published.name}:"]
        lines += [f"    {name}: {_yaml(scale)}" for name, scale in published.scales.items()]
    return "\n".join(lines) + "\n"


def sentences(done: Converted, drops: Drops) -> list[str]:
    """Return what a conversion has to say.

    Args:
        done: Its counts.
        drops: Rows that were dropped.

    Returns:
        One sentence a fact.
    """
    said = [
        f"{done.path}: {done.n_rows:,} rows from {done.n_records:,} records, "
        f"{done.n_bytes / 1e6:,.1f} MB"
    ]
    if drops.total:
        said.append(drops.sentence(done.n_rows + drops.total))
    if done.n_repeated:
        said.append(f"{done.n_repeated:,} rows have the texts of an earlier row and are kept")
    return said


def licence_note(published: PublishedSet) -> str:
    """Return one sentence on what the data may be used for.

    Args:
        published: The data set.

    Returns:
        Its licence, and where to read on.
    """
    return f"licence of {published.name}: {published.licence} ({published.link})"


def _map_of(scale: Scale) -> dict[str, float]:
    """Offset and divisor where a scale has its own."""
    if scale.offset is None and scale.divisor is None:
        return {}
    offset = -scale.low if scale.offset is None else scale.offset
    divisor = scale.high - scale.low if scale.divisor is None else scale.divisor
    return {"offset": offset, "divisor": divisor}


def _yaml(scale: Scale) -> str:
    """A scale as a recipe writes it."""
    own = _map_of(scale)
    if not own:
        return f"[{scale.low:g}, {scale.high:g}]"
    parts = {"low": scale.low, "high": scale.high, **own}
    return "{" + ", ".join(f"{name}: {number:g}" for name, number in parts.items()) + "}"


def _scales(published: PublishedSet) -> str:
    """How many objectives have which scale: `4 on 1-5, 1 on 1-10`."""
    by_scale = Counter((scale.low, scale.high) for scale in published.scales.values())
    parts = (f"{count} on {low:g}-{high:g}" for (low, high), count in by_scale.most_common())
    return ", ".join(parts)
