"""What a model says of the rows of a protocol: scores, or a judge's comparisons and ratings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from armorm.errors import DataError
from armorm.evaluate.protocols.figures import JudgeFigures
from armorm.evaluate.protocols.protocol import Protocol, ProtocolRow, Section
from armorm.evaluate.protocols.shapes import COMPARED
from armorm.evaluate.scorers.bench import Contestant
from armorm.evaluate.scorers.bench_judge import BenchJudge, JudgeMode
from armorm.evaluate.scorers.judge import JudgeCounts
from armorm.evaluate.scoring import cached_scores
from armorm.types import PreferencePair

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

_SHUFFLE = 0
"""Seed of the order of the questions: a run that the cap ends has asked about rows of all kinds."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What one model says of n rows with m responses in all."""

    scores: np.ndarray
    """Shape (m,), finite, row after row; 0 where there is no verdict, or comparisons decide."""
    known: np.ndarray
    """Shape (n,), bool. Rows with a verdict."""
    comparisons: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    """By section that comparisons decide, shape (n of it, i, j): what every correct response
    counts against every wrong one; 0 where there is no verdict."""
    judge: JudgeFigures | None = None
    """What became of the questions, of a judge."""


def all_known(scores: np.ndarray, n_rows: int) -> Verdicts:
    """Return the verdicts of a scorer, which has one on every row."""
    return Verdicts(scores, np.ones(n_rows, dtype=bool))


def check_judge_mode(protocol: Protocol, mode: JudgeMode | None) -> None:
    """Raise where comparisons are asked for and cannot decide.

    Args:
        protocol: The protocol.
        mode: How a judge is to decide; None leaves it to the shape of the rows.

    Raises:
        ValueError: `pairwise`, and a section needs a number for each response.
    """
    sections = protocol.sections or (Section(protocol.title, (), shape=protocol.shape),)
    needing = [section.name for section in sections if section.shape not in COMPARED]
    if mode == "pairwise" and needing:
        raise ValueError(
            f"the protocol {protocol.name!r} must have ratings in {', '.join(map(repr, needing))}, "
            "which comparisons cannot decide; got 'pairwise'"
        )


def verdicts_of(
    protocol: Protocol,
    rows: Sequence[ProtocolRow],
    scorer: Contestant,
    *,
    cache: Path | None,
    progress: Progress,
) -> Verdicts:
    """Ask a model about all rows, each text once.

    Args:
        protocol: What `cover` returned.
        rows: n rows.
        scorer: A scorer, or a judge.
        cache: Folder of kept scores; a judge keeps its answers itself.
        progress: Called with (done, total).

    Returns:
        The verdicts.

    Raises:
        DataError: a score is not finite; a judge has no verdict on any row.
        JudgeError: as `JudgeClient.ask`.
    """
    if not isinstance(scorer, BenchJudge):
        conversations = [one for row in rows for one in row.conversations()]
        scores = cached_scores(scorer, conversations, cache=cache, progress=progress)
        return all_known(scores, len(rows))
    found = _Judging(protocol, rows, scorer).verdicts(progress)
    if not found.known.any():
        raise DataError(
            f"{scorer.name}: a judge must have a verdict on one row or more; it has none on "
            f"{len(rows):,} rows ({'; '.join(scorer.reasons())})"
        )
    return found


class _Judging:
    """One judge on one protocol."""

    def __init__(self, protocol: Protocol, rows: Sequence[ProtocolRow], judge: BenchJudge) -> None:
        """Say how each section is decided."""
        self._rows, self._judge = rows, judge
        self._sections = {
            section.name: [i for i, row in enumerate(rows) if row.subset in _names(section)]
            for section in protocol.sections
        }
        self._modes: dict[str, JudgeMode] = {
            section.name: judge.mode or ("pairwise" if section.shape in COMPARED else "ratings")
            for section in protocol.sections
        }

    def verdicts(self, progress: Progress) -> Verdicts:
        """Compare, then rate, and count what became of the questions."""
        before = self._judge.counts
        n_compared = 2 * sum(len(self._pairs(i)) for i in self._of("pairwise"))
        n_rated = sum(len(self._rows[i].responses) for i in self._of("ratings"))
        total = n_compared + n_rated
        wins = self._compare(functools.partial(_shifted, progress, 0, n_compared, total))
        ratings = self._rate(functools.partial(_shifted, progress, n_compared, n_rated, total))
        known = np.zeros(len(self._rows), dtype=bool)
        for i in self._of("pairwise"):
            known[i] = bool(np.isfinite(wins[i]).all())
        for i in self._of("ratings"):
            known[i] = bool(np.isfinite(ratings[i]).all())
        zeros = [np.zeros(len(row.responses)) for row in self._rows]
        scores = [ratings.get(i, zero) for i, zero in enumerate(zeros)]
        comparisons = {
            name: np.nan_to_num(np.stack([wins[i] for i in at]))
            for name, at in self._sections.items()
            if self._modes[name] == "pairwise"
        }
        return Verdicts(
            np.nan_to_num(np.concatenate(scores)),
            known,
            comparisons,
            _judge_figures(self._judge.counts.since(before), self._modes),
        )

    def _of(self, mode: JudgeMode) -> list[int]:
        """Rows that are decided in a way, shuffled."""
        rows = [i for name, at in self._sections.items() if self._modes[name] == mode for i in at]
        return [rows[i] for i in np.random.default_rng(_SHUFFLE).permutation(len(rows))]

    def _pairs(self, i: int) -> list[PreferencePair]:
        """Every correct response of a row against every wrong one."""
        row = self._rows[i]
        right, wrong = row.responses[: row.n_correct], row.responses[row.n_correct :]
        if row.label == "B>A":
            right, wrong = wrong, right
        return [PreferencePair(row.id, row.prompt, a, b) for a in right for b in wrong]

    def _compare(self, progress: Progress) -> dict[int, np.ndarray]:
        """By row, shape (i, j): what each comparison counts; NaN without a verdict."""
        order = self._of("pairwise")
        pairs = [pair for i in order for pair in self._pairs(i)]
        if not pairs:
            return {}
        wins = iter(self._judge.compare(pairs, progress=progress).wins.tolist())
        table: dict[int, np.ndarray] = {}
        for i in order:
            n = len(self._pairs(i))
            of_row = np.array([next(wins) for _ in range(n)])
            table[i] = of_row.reshape(self._rows[i].n_correct, -1)
        return table

    def _rate(self, progress: Progress) -> dict[int, np.ndarray]:
        """By row, shape (responses,): the mean rating of each; NaN where any is missing."""
        order = self._of("ratings")
        conversations = [one for i in order for one in self._rows[i].conversations()]
        if not conversations:
            return {}
        scores = iter(self._judge.rate(conversations, progress=progress).tolist())
        table: dict[int, np.ndarray] = {}
        for i in order:
            of_row = np.array([next(scores) for _ in self._rows[i].responses])
            table[i] = of_row if np.isfinite(of_row).all() else np.full(of_row.size, np.nan)
        return table


def _names(section: Section) -> set[str]:
    """The subsets of a section."""
    return {subset.name for subset in section.subsets}


def _shifted(progress: Progress, before: int, own: int, total: int, done: int, of: int) -> None:
    """Progress of one part; equal questions are asked once, so a part may count fewer."""
    progress(before + (own * done // of if of else own), total)


def _judge_figures(counts: JudgeCounts, modes: Mapping[str, JudgeMode]) -> JudgeFigures:
    """Counts as they stand in protocol.json."""
    return JudgeFigures(
        mode=dict(modes),
        n_questions=counts.n_questions,
        n_used=counts.n_used,
        n_unreadable=counts.n_nonsense,
        n_refused=counts.n_refused,
        n_failed=counts.n_failed,
        n_not_asked=counts.n_not_asked,
        n_from_cache=counts.n_from_cache,
        n_requests=counts.n_requests,
        n_retried=counts.n_retried,
        n_timed_out=counts.n_timed_out,
        n_comparisons=counts.n_comparisons,
        n_contradictions=counts.n_contradictions,
        first_share=counts.first_share,
        examples=counts.examples,
    )
