"""The result of a protocol as a page: who stands where, then every figure."""

from __future__ import annotations

from armorm.evaluate.canvas import NARROW, Figure
from armorm.evaluate.drawing_sides import Block, plot_sides
from armorm.evaluate.html.page import Page, Tile, render_page
from armorm.evaluate.html.placing import Placed, extremes, page_section
from armorm.evaluate.protocols.figures import ProtocolResult
from armorm.evaluate.protocols.sections import result_sections
from armorm.evaluate.protocols.wording import figure_lines, heads_of, result_sentences
from armorm.evaluate.sections import Grid
from armorm.evaluate.wording import spread


def render_result_html(result: ProtocolResult) -> str:
    """Return the result of a protocol as a page.

    Args:
        result: What a protocol found.

    Returns:
        HTML that needs nothing else; one result gives one sequence of characters.
    """
    placed = _figures(result)
    return render_page(
        Page(
            kind="Protocol",
            name=result.title,
            lead=result_sentences(result),
            tiles=_tiles(result),
            basis=(
                f"Figures rest on {result.n_rows:,} rows on {result.n_prompts:,} prompts of "
                f"{result.data}."
            ),
            notes=result.notes,
            sections=[
                page_section(one, placed, opened=("models", "figures"))
                for one in result_sections(result)
            ],
        )
    )


def _figures(result: ProtocolResult) -> Placed:
    """The overall figures, and those of sections and parts, side by side."""
    found: dict[tuple[str, int], tuple[Figure, str, Grid | None]] = {}
    heads = heads_of(result)
    overall: Block = ("overall", [(one.scorer, one.overall.result) for one in result.scorers])
    values = {name: heads.factor * figure.value for name, figure in overall[1]}
    said = "Overall figure of every model, with intervals."
    figure = plot_sides([overall], title="Overall", is_share=heads.is_share, width=NARROW)
    found["models", 0] = figure, said + extremes(values, digits=heads.digits), None
    blocks: list[Block] = [
        (line.name, [(one.scorer, line.of(one).result) for one in result.scorers])
        for line in figure_lines(result)
        if not line.is_subset
    ]
    if blocks:
        said = f"Figures of {', '.join(name for name, _ in blocks)} of every model, with intervals."
        figure = plot_sides(blocks, title="By section", is_share=heads.is_share, width=NARROW)
        found["figures", 0] = figure, said, None
    return found


def _tiles(result: ProtocolResult) -> list[Tile]:
    """The overall figure of the first models, baselines after them."""
    heads = heads_of(result)
    tiles: list[Tile] = []
    for one in result.scorers[:5]:
        figure = one.overall.result
        ends = spread(figure, factor=heads.factor, digits=heads.digits)
        unit = " %" if ends and heads.is_share else ""
        tiles.append(Tile(one.scorer, heads.value(figure), ends + unit))
    return tiles
