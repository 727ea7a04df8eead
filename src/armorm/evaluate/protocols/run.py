"""A protocol run on scorers: read, covered, scored once, judged, with baselines and intervals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol as Interface
from typing import runtime_checkable

import numpy as np

from armorm.data import BadRows, Drops
from armorm.errors import DataError
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows
from armorm.evaluate.interval import FEWEST_GROUPS
from armorm.evaluate.protocols.coverage import Coverage, cover
from armorm.evaluate.protocols.figures import FigureResult, ProtocolResult, ScorerResult
from armorm.evaluate.protocols.intervals import FigureIntervals, figure_intervals
from armorm.evaluate.protocols.plan import (
    Figure,
    Kind,
    Measured,
    figures_of,
    keys_of,
    measure,
    reference_components,
)
from armorm.evaluate.protocols.protocol import TIES_IN_WORDS, Protocol, ProtocolRow
from armorm.evaluate.protocols.read import default_data, read_protocol
from armorm.evaluate.protocols.registry import find_protocol
from armorm.evaluate.scoring import LengthScorer, Scorer, cached_scores
from armorm.model.rows import rows_of
from armorm.types import Conversation

Watch = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

BASELINES: tuple[Scorer, ...] = (LengthScorer(), LengthScorer(longer=False))
"""Shown beside every scorer: a figure that they reach says nothing about quality."""

_RESAMPLING = Resampling()


@runtime_checkable
class Refusing(Interface):
    """A scorer that can say beforehand which conversations it cannot take."""

    def refusals(self, conversations: Sequence[Conversation]) -> list[str]:
        """Return a short reason for each conversation; empty where it can be scored."""
        ...


def evaluate_protocol(
    protocol: Protocol | str,
    scorers: Sequence[Scorer] | Callable[[], Sequence[Scorer]],
    *,
    data: str | None = None,
    partial: bool = False,
    bad_rows: BadRows = "stop",
    cache: Path | None = None,
    resampling: Resampling = _RESAMPLING,
    watch: Watch = lambda stage, done, total: None,
) -> ProtocolResult:
    """Run a protocol on scorers and return its figures with intervals over prompts.

    Every text is scored once, whatever its rows, and scores are kept under `cache`, so that
    a second protocol on the same texts, or the same one after a crash, scores what is new.
    The longer and the shorter response are scorers beside those given.

    Args:
        protocol: A protocol, or the name of one.
        scorers: At least one, or a function that opens them once the rows have been read and
            found whole; differences are taken to the first.
        data: File, folder or hub id of the rows; None: where the protocol is published.
        partial: Whether figures of a part of the protocol are wanted.
        bad_rows: `stop`, or `drop` rows that cannot be read, or that a scorer cannot take,
            and count them; a whole protocol is then a part.
        cache: Folder of the kept scores; None keeps none.
        resampling: How intervals are found.
        watch: Called with (stage, done, total).

    Returns:
        The result; intervals are left out below 20 prompts.

    Raises:
        DataError: rows without the columns of the protocol; a bad row under `stop`; subsets
            missing, unknown or of another size, unless `partial`; a score that is not
            finite; a damaged file of the cache.
        FeatureError: the backbone of a scorer cannot take a row, under `stop`.
        ValueError: an unknown protocol; no scorer, or two of one name.
    """
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    drops, path = Drops(), data or default_data(protocol)
    rows = read_protocol(protocol, data, bad_rows=bad_rows, drops=drops)
    n_read = len(rows) + drops.total
    cover(protocol, rows, path=path, partial=partial)
    everyone = _with_baselines(scorers() if callable(scorers) else scorers)
    if bad_rows == "drop":
        rows = _usable(everyone, rows, drops, path)
    protocol, rows, coverage = cover(protocol, rows, path=path, partial=partial)
    with rows_of(path):
        scores = _scores(everyone, rows, cache=cache, watch=watch)
    figures = figures_of(protocol, reference_components(rows))
    keys = keys_of(figures)
    measured = [measure(protocol, rows, one, keys) for one in scores]
    grouping = group_rows([row.group for row in rows], n_rows=len(rows))
    found = figure_intervals(figures, keys, measured, grouping, resampling=resampling)
    notes = [drops.sentence(n_read)] if drops.total else []
    if grouping.n_groups < FEWEST_GROUPS:
        notes.append(
            f"{grouping.n_groups} prompts are too few for intervals: {FEWEST_GROUPS} are needed"
        )
    return ProtocolResult(
        protocol=protocol.name,
        title=protocol.title,
        rule=_rule(protocol, coverage),
        reference=protocol.reference,
        data=path,
        unit="reference" if rows[0].references else "share",
        is_whole=coverage.is_whole,
        coverage=coverage,
        n_rows=len(rows),
        n_prompts=grouping.n_groups,
        scorers=_results(everyone, figures, measured, found),
        dropped=drops.as_dict(),
        notes=tuple(notes),
    )


def _with_baselines(scorers: Sequence[Scorer]) -> list[Scorer]:
    """The scorers given and the baselines that are not among them, names distinct."""
    if not scorers:
        raise ValueError("`scorers` must hold at least one scorer; got none")
    given = {scorer.identity for scorer in scorers}
    everyone = [*scorers, *(b for b in BASELINES if b.identity not in given)]
    names = [scorer.name for scorer in everyone]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`scorers` must have distinct names; {twice!r} stands twice")
    return everyone


def _usable(
    scorers: Sequence[Scorer], rows: Sequence[ProtocolRow], drops: Drops, path: str
) -> list[ProtocolRow]:
    """The rows all of whose responses every scorer can take; the others are counted."""
    conversations = [one for row in rows for one in row.conversations()]
    reasons = [""] * len(conversations)
    for scorer in scorers:
        if isinstance(scorer, Refusing):
            own = scorer.refusals(conversations)
            reasons = [old or new for old, new in zip(reasons, own, strict=True)]
    rest = iter(reasons)
    kept: list[ProtocolRow] = []
    for row in rows:
        reason = next((r for r in [next(rest) for _ in row.responses] if r), "")
        if reason:
            drops.add(path, reason)
        else:
            kept.append(row)
    if not kept:
        said = drops.sentence(drops.total)
        raise DataError(f"{path}: at least one row must be usable; {said}")
    return kept


def _scores(
    scorers: Sequence[Scorer], rows: Sequence[ProtocolRow], *, cache: Path | None, watch: Watch
) -> list[np.ndarray]:
    """Scores of all responses by each scorer, row after row."""
    conversations = [one for row in rows for one in row.conversations()]
    scores: list[np.ndarray] = []
    for scorer in scorers:
        if scorer in BASELINES:  # cheaper than looking them up
            scores.append(scorer.score(conversations))
            continue
        progress = functools.partial(watch, scorer.name)
        scores.append(cached_scores(scorer, conversations, cache=cache, progress=progress))
    return scores


def _rule(protocol: Protocol, coverage: Coverage) -> str:
    """How the overall figure is made, so that it is not taken for another one."""
    said = f"{protocol.rule}; {TIES_IN_WORDS[protocol.tie]}"
    return said if coverage.is_whole else f"PARTIAL, of what is there alone: {said}"


def _results(
    scorers: Sequence[Scorer],
    figures: Sequence[Figure],
    measured: Sequence[Measured],
    found: FigureIntervals,
) -> tuple[ScorerResult, ...]:
    """Figures by scorer, in the order of the protocol."""

    def of_kind(scorer: int, kind: Kind) -> dict[str, FigureResult]:
        return {
            figure.name: FigureResult(
                result=found.values[scorer][f],
                difference=found.differences[scorer - 1][f] if scorer else None,
            )
            for f, figure in enumerate(figures)
            if figure.kind == kind
        }

    return tuple(
        ScorerResult(
            scorer=scorer.name,
            identity=scorer.identity,
            is_baseline=scorer in BASELINES,
            n_ties=measured[s].n_ties,
            overall=next(iter(of_kind(s, "overall").values())),
            sections=of_kind(s, "section"),
            parts=of_kind(s, "part"),
            subsets=of_kind(s, "subset"),
        )
        for s, scorer in enumerate(scorers)
    )
