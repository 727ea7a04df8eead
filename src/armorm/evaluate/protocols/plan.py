"""Which components a protocol has and how its figures are made of them: one matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from armorm.evaluate.protocols.protocol import Protocol, ProtocolRow, Section
from armorm.evaluate.protocols.rewardbench2 import TIES_WEIGHTS
from armorm.evaluate.protocols.rm_bench import LEVELS
from armorm.evaluate.protocols.shapes import (
    MAIN,
    Judged,
    ScoredRows,
    best_of,
    judge,
    judge_comparisons,
)
from armorm.evaluate.protocols.verdicts import Verdicts, all_known

Kind = Literal["overall", "section", "part", "subset"]

OVERALL = "overall"
"""Name of the figure of the whole protocol."""

_ALL = "(all)"

Key = tuple[str, str, str]
"""Section, subset (or `_ALL`) and component."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure as a weighted sum of components."""

    kind: Kind
    """Where it is shown."""
    name: str
    """Its name among those of its kind."""
    weights: Mapping[Key, float]
    """Weight of each component."""
    is_share: bool
    """Whether it is a weighted share of rows, for which closed intervals exist."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The components of one scorer, row by row."""

    values: np.ndarray
    """Shape (n, c). What each row counts; 0 where it is not part of the component."""
    counted: np.ndarray
    """Shape (n, c). 1 where a row is part of the component, else 0; the same of every scorer."""
    known: np.ndarray
    """Shape (n,), bool. Rows that the scorer has a verdict on; no figure counts the others."""
    n_ties: int
    """Rows whose decision rests on equal scores."""


def figures_of(protocol: Protocol, components: Sequence[str]) -> list[Figure]:
    """Return the figures of a protocol whose every section has rows.

    Args:
        protocol: What `cover` returned.
        components: What `reference_components` returned.

    Returns:
        The overall figure first, then sections, parts and subsets.
    """
    sections = {section.name: _section(section) for section in protocol.sections}
    total = sum(section.weight for section in protocol.sections)
    overall: dict[Key, float] = {}
    for section in protocol.sections:
        for key, weight in sections[section.name].items():
            overall[key] = weight * section.weight / total
    is_share = all(_is_share(section) for section in protocol.sections)
    if protocol.overall == "rows":
        overall = {(_ALL, _ALL, MAIN): 1.0}
    return [
        Figure("overall", OVERALL, overall, is_share),
        *(
            Figure("section", section.name, sections[section.name], _is_share(section))
            for section in protocol.sections
        ),
        *_parts(protocol, components),
        *(
            Figure("subset", subset.name, {(section.name, subset.name, MAIN): 1.0}, True)
            for section, subset in protocol.subsets()
            if section.shape not in ("references", "ties") and len(section.subsets) > 1
        ),
    ]


def measure(
    protocol: Protocol,
    rows: Sequence[ProtocolRow],
    scores: np.ndarray | Verdicts,
    keys: Sequence[Key],
) -> Measured:
    """Judge all rows for one scorer.

    Args:
        protocol: What `cover` returned.
        rows: n rows.
        scores: Verdicts, or, of a scorer, the scores alone, shape (m,): of the responses,
            row after row; finite.
        keys: The c components, as `keys_of` returns them.

    Returns:
        The components by row.

    Raises:
        ValueError: a score is not finite.
    """
    verdicts = all_known(scores, len(rows)) if isinstance(scores, np.ndarray) else scores
    owner = np.repeat(np.arange(len(rows)), [len(row.responses) for row in rows])
    subsets = np.array([row.subset for row in rows])
    values, known = np.full((len(rows), len(keys)), np.nan), verdicts.known.copy()
    n_ties = 0
    for section in protocol.sections:
        at = np.flatnonzero(np.isin(subsets, [subset.name for subset in section.subsets]))
        compared = verdicts.comparisons.get(section.name)
        if compared is None:
            mine = ScoredRows([rows[i] for i in at.tolist()], verdicts.scores[np.isin(owner, at)])
            judged = judge(section.shape, mine, tie=protocol.tie)
        else:
            judged = judge_comparisons(section.shape, compared, tie=protocol.tie)
        if section.shape == "ties":  # both rows of a number are judged together
            known[at] = _whole_groups([rows[i].group for i in at.tolist()], known[at])
        n_ties += int((judged.tied & known[at]).sum())
        for column, key in enumerate(keys):
            if key[0] in (section.name, _ALL):
                _fill(values[:, column], at, subsets[at], key, judged)
    counted = np.isfinite(values)
    return Measured(np.where(counted, values, 0.0), counted.astype(np.float64), known, n_ties)


def reference_components(rows: Sequence[ProtocolRow]) -> list[str]:
    """Return the components that reference values allow beside the pick.

    Args:
        rows: At least one row; all have reference values, or none has.

    Returns:
        `random`, the best of 2, 4, 8 … responses, `oracle`; none without reference values.
    """
    if not rows[0].references:
        return []
    fewest, k = min(len(row.responses) for row in rows), 2
    curve: list[str] = []
    while k < fewest:
        curve.append(best_of(k))
        k *= 2
    return ["random", *curve, "oracle"]


def keys_of(figures: Sequence[Figure]) -> list[Key]:
    """Return every component that a figure needs, once."""
    return list(dict.fromkeys(key for figure in figures for key in figure.weights))


def weight_matrix(figures: Sequence[Figure], keys: Sequence[Key]) -> np.ndarray:
    """Return the weights of all figures, shape (f, c)."""
    return np.array([[figure.weights.get(key, 0.0) for key in keys] for figure in figures])


def _section(section: Section) -> dict[Key, float]:
    """The components of a section and their weights."""
    if section.shape == "ties":
        return {(section.name, _ALL, part): weight for part, weight in TIES_WEIGHTS.items()}
    if section.pooled or section.shape == "references":
        return {(section.name, _ALL, MAIN): 1.0}
    total = sum(subset.weight for subset in section.subsets)
    return {(section.name, s.name, MAIN): s.weight / total for s in section.subsets}


def _is_share(section: Section) -> bool:
    """Whether a section is a weighted share of rows."""
    return section.shape not in ("ties", "references")


def _parts(protocol: Protocol, components: Sequence[str]) -> list[Figure]:
    """Figures that cut across sections."""
    grids = [section for section in protocol.sections if section.shape == "grid"]
    levels = [
        Figure("part", level, {(s.name, _ALL, level): 1 / len(grids) for s in grids}, True)
        for level in LEVELS
        if grids
    ]
    ties = [
        Figure("part", part, {(section.name, _ALL, part): 1.0}, part != "margin")
        for section in protocol.sections
        if section.shape == "ties"
        for part in TIES_WEIGHTS
    ]
    known = [Figure("part", name, {(_ALL, _ALL, name): 1.0}, False) for name in components]
    return [*levels, *ties, *known]


def _whole_groups(groups: Sequence[str], known: np.ndarray) -> np.ndarray:
    """Which rows are known together with all rows of their group."""
    unknown = {group for group, is_known in zip(groups, known, strict=True) if not is_known}
    return np.array([group not in unknown for group in groups], dtype=bool)


def _fill(
    column: np.ndarray, at: np.ndarray, subsets: np.ndarray, key: Key, judged: Judged
) -> None:
    """Write one component of one section into its column."""
    _, subset, component = key
    values = judged.components[component]
    column[at] = values if subset == _ALL else np.where(subsets == subset, values, np.nan)
