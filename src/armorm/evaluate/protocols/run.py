"""A protocol run on scorers: read, covered, scored once, judged, with baselines and intervals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Protocol as Interface
from typing import runtime_checkable

from armorm.data import BadRows, Drops
from armorm.errors import DataError
from armorm.evaluate.bootstrap import Resampling
from armorm.evaluate.groups import group_rows
from armorm.evaluate.interval import FEWEST_GROUPS
from armorm.evaluate.protocols.compared import FigureIntervals, figure_intervals
from armorm.evaluate.protocols.coverage import Coverage, cover
from armorm.evaluate.protocols.figures import FigureResult, ProtocolResult, ScorerResult
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
from armorm.evaluate.protocols.verdicts import (
    Verdicts,
    all_known,
    check_judge_mode,
    verdicts_of,
)
from armorm.evaluate.scorers.bench import Contestant
from armorm.evaluate.scorers.bench_judge import BenchJudge
from armorm.evaluate.scorers.side_by_side import PairedDifference
from armorm.evaluate.scoring import LengthScorer, Scorer
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
    scorers: Sequence[Contestant] | Callable[[], Sequence[Contestant]],
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
    The longer and the shorter response are scorers beside those given. Overall figures of
    every two scorers, but of two baselines, are compared at a level that holds for all of
    these differences together.

    Args:
        protocol: A protocol, or the name of one.
        scorers: At least one, judges included, or a function that opens them once the rows
            have been read and found whole; the differences of single figures are taken to
            the first.
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
            finite; a judge without any verdict; a damaged file of the cache.
        FeatureError: the backbone of a scorer cannot take a row, under `stop`.
        JudgeError: as `JudgeClient.ask`.
        ValueError: an unknown protocol; no scorer, or two of one name; a judge that is to
            compare where only ratings can decide.
    """
    protocol = find_protocol(protocol) if isinstance(protocol, str) else protocol
    drops, path = Drops(), data or default_data(protocol)
    rows = read_protocol(protocol, data, bad_rows=bad_rows, drops=drops)
    n_read = len(rows) + drops.total
    cover(protocol, rows, path=path, partial=partial)
    everyone = _with_baselines(scorers() if callable(scorers) else scorers)
    for judge in (one for one in everyone if isinstance(one, BenchJudge)):
        check_judge_mode(protocol, judge.mode)
    if bad_rows == "drop":
        rows = _usable(everyone, rows, drops, path)
    protocol, rows, coverage = cover(protocol, rows, path=path, partial=partial)
    with rows_of(path):
        verdicts = _verdicts(protocol, everyone, rows, cache=cache, watch=watch)
    figures = figures_of(protocol, reference_components(rows))
    keys = keys_of(figures)
    measured = [measure(protocol, rows, one, keys) for one in verdicts]
    grouping = group_rows([row.group for row in rows], n_rows=len(rows))
    pairs = [(a, b) for a, b in combinations(range(len(everyone)), 2) if not _trivial(everyone, a)]
    found = figure_intervals(
        figures, keys, measured, grouping, resampling=resampling, compared=pairs
    )
    notes = [drops.sentence(n_read)] if drops.total else []
    notes += _notes(everyone, measured)
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
        scorers=_results(everyone, figures, verdicts, measured, found),
        differences=tuple(
            PairedDifference(
                first=everyone[a].name, second=everyone[b].name, difference=one, finding=finding
            )
            for a, b, one, finding in found.compared
        ),
        level=resampling.level,
        joint_level=found.joint_level,
        dropped=drops.as_dict(),
        notes=tuple(notes),
    )


def _with_baselines(scorers: Sequence[Contestant]) -> list[Contestant]:
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
    scorers: Sequence[Contestant], rows: Sequence[ProtocolRow], drops: Drops, path: str
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


def _verdicts(
    protocol: Protocol,
    scorers: Sequence[Contestant],
    rows: Sequence[ProtocolRow],
    *,
    cache: Path | None,
    watch: Watch,
) -> list[Verdicts]:
    """What each scorer says of all rows."""
    conversations = [one for row in rows for one in row.conversations()]
    verdicts: list[Verdicts] = []
    for scorer in scorers:
        if scorer in BASELINES and isinstance(scorer, LengthScorer):  # cheaper than looking up
            verdicts.append(all_known(scorer.score(conversations), len(rows)))
            continue
        progress = functools.partial(watch, scorer.name)
        verdicts.append(verdicts_of(protocol, rows, scorer, cache=cache, progress=progress))
    return verdicts


def _notes(scorers: Sequence[Contestant], measured: Sequence[Measured]) -> list[str]:
    """What the scorers have to say, each sentence once, and whose verdicts are missing."""
    said = [str(note) for one in scorers for note in getattr(one, "notes", ())]
    for scorer, one in zip(scorers, measured, strict=True):
        if n := int((~one.known).sum()):
            said.append(
                f"{scorer.name}: {n:,} of {len(one.known):,} rows have no verdict; its figures, "
                "and differences to it, rest on the others"
            )
    return list(dict.fromkeys(said))


def _trivial(scorers: Sequence[Contestant], first: int) -> bool:
    """Whether a scorer, and so all behind it, was added as a baseline."""
    return scorers[first] in BASELINES


def _rule(protocol: Protocol, coverage: Coverage) -> str:
    """How the overall figure is made, so that it is not taken for another one."""
    said = f"{protocol.rule}; {TIES_IN_WORDS[protocol.tie]}"
    return said if coverage.is_whole else f"PARTIAL, of what is there alone: {said}"


def _results(
    scorers: Sequence[Contestant],
    figures: Sequence[Figure],
    verdicts: Sequence[Verdicts],
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
            n_without=int((~measured[s].known).sum()),
            judge=verdicts[s].judge,
            overall=next(iter(of_kind(s, "overall").values())),
            sections=of_kind(s, "section"),
            parts=of_kind(s, "part"),
            subsets=of_kind(s, "subset"),
        )
        for s, scorer in enumerate(scorers)
    )
