"""Lays the result of a protocol out as Markdown: what it is, who stands where, every figure."""

from __future__ import annotations

from armorm.evaluate.markdown import cell_text, finished, note_lines, section_lines
from armorm.evaluate.protocols.figures import ProtocolResult
from armorm.evaluate.protocols.sections import result_sections
from armorm.evaluate.protocols.wording import result_sentences


def render_result(result: ProtocolResult) -> str:
    """Return a result as Markdown.

    Args:
        result: What a protocol found.

    Returns:
        The text, ending in a line break. Sections without figures are left out.
    """
    rows = f"{result.n_rows:,} rows on {result.n_prompts:,} prompts of {cell_text(result.data)}."
    said = [line for sentence in result_sentences(result) for line in (sentence, "")]
    lines = [f"# {cell_text(result.title)}", "", *said, rows, "", *note_lines(result.notes)]
    return finished([*lines, *section_lines(result_sections(result))])
