"""Comparisons as the rows of a table, and as what an open row shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from armorm.evaluate.figures import ComparisonFigures
from armorm.evaluate.html.page import ComparisonsPart
from armorm.evaluate.wording import number

_SHOWN = 110


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One line of the table."""

    prompt: str
    source: str
    deciding: str
    verdict: str
    """`right`, `wrong` or `tie`."""
    sure: str
    margin: str


def comparisons_part(comparisons: Sequence[ComparisonFigures]) -> ComparisonsPart:
    """Return comparisons as a table.

    Args:
        comparisons: At least one.

    Returns:
        Rows in the order given, with the data of what opens.
    """
    digits = _digits(comparisons)
    deciding = {name for one in comparisons for name in one.deciding}
    order = [part.name for part in comparisons[0].objectives]
    return ComparisonsPart(
        rows=[_row(one, digits) for one in comparisons],
        data={"digits": digits, "rows": [_data(one) for one in comparisons]},
        sources=sorted({one.source for one in comparisons if one.source}),
        objectives=sorted(deciding, key=lambda name: (name not in order, name)),
    )


def _row(one: ComparisonFigures, digits: int) -> ComparisonRow:
    """One line."""
    certain = None if one.probability is None else max(one.probability, 1 - one.probability)
    return ComparisonRow(
        prompt=_beginning(one.prompt) or one.id,
        source=one.source,
        deciding=_few(one.deciding),
        verdict=_verdict(one.margin),
        sure="" if certain is None else f"{number(100 * certain, digits=1)} %",
        margin=number(one.margin, digits=digits, sign=True),
    )


def _data(one: ComparisonFigures) -> dict[str, Any]:
    """What the script filters and sorts by, and what it shows."""
    certain = None if one.probability is None else max(one.probability, 1 - one.probability)
    return {
        "id": one.id,
        "source": one.source,
        "kind": one.kind,
        "prompt": one.prompt,
        "chosen": one.chosen,
        "rejected": one.rejected,
        "clipped": list(one.clipped),
        "chosen_score": one.chosen_score,
        "rejected_score": one.rejected_score,
        "margin": one.margin,
        "sure": certain,
        "right": _verdict(one.margin),
        "deciding": list(one.deciding),
        # Lists rather than objects: the names of the fields would be most of the page.
        "objectives": [
            [
                part.name,
                *(round(v, 6) for v in (part.chosen, part.rejected, part.contribution)),
                None if part.gating is None else round(part.gating, 6),
            ]
            for part in one.objectives
        ],
        "sentence": one.sentence,
        "flip": None
        if one.flip is None
        else {"sentence": one.flip.sentence, "option": one.flip.option},
        "nearest": [
            {
                "objective": row.objective,
                "side": row.side,
                "id": row.id,
                "source": row.source,
                "rating": row.rating,
                "low": row.low,
                "high": row.high,
                "similarity": round(row.similarity, 4),
                "prompt": row.prompt,
                "response": row.response,
            }
            for row in one.nearest
        ],
    }


def _verdict(margin: float) -> str:
    """Whether the model agrees with the preference."""
    return "right" if margin > 0 else "wrong" if margin < 0 else "tie"


def _few(names: Sequence[str]) -> str:
    """At most three names, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _beginning(text: str) -> str:
    """The first words, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1].rstrip() + "…"


def _digits(comparisons: Sequence[ComparisonFigures]) -> int:
    """Digits after the point that give the largest margin two of its own."""
    largest = max(abs(one.margin) for one in comparisons)
    return int(min(6, max(2, 1 - math.floor(math.log10(largest))))) if largest > 0 else 2
