"""Compute what is missing of a labelling: parts of the input, scored and written one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from armorm.features.blocks import Shard
from armorm.features.compute import Budget
from armorm.label.facts import ModelFacts
from armorm.label.groups import Group
from armorm.label.options import LabelOptions
from armorm.label.place import Place, read_record
from armorm.label.rate import Rater, score_schema
from armorm.label.survey import Input, Survey
from armorm.label.tables import write_rows
from armorm.model.reward import RewardModel
from armorm.storage import digest_file, write_json

Watch = Callable[[str, int, int, str], None]
"""Called with (stage, done, total, remark)."""


def make_plan(facts: ModelFacts, rows: Input, survey: Survey) -> dict[str, Any]:
    """Name everything that the bytes of the output depend on.

    Args:
        facts: Of the reward model.
        rows: The input.
        survey: Of the input.

    Returns:
        The plan, for `Place.claim`.
    """
    options, pairs = rows.options, rows.options.pairs
    return {
        "rows": survey.digests,
        "model": facts.identity,
        "options": [options.texts, options.part_rows, *facts.options],
        "pairs": None if pairs is None else [options.format, *pairs.facts()],
        "about": {"bundle": facts.name, "source": rows.source.path},
    }


@dataclass(frozen=True, slots=True)
class Work:
    """A labelling: its model's facts, its input and output, and what belongs to it."""

    facts: ModelFacts
    """Of the reward model."""
    rows: Input
    """The input."""
    survey: Survey
    """What the input holds."""
    place: Place
    """The output."""
    wanted: str
    """Fingerprint of the plan."""

    @property
    def options(self) -> LabelOptions:
        """How to label."""
        return self.rows.options

    @property
    def schema(self) -> dict[str, Any]:
        """What a row of scores holds, by plain types."""
        return score_schema(
            self.facts.objectives,
            gating=self.facts.gated,
            texts=self.options.texts,
            given=self.survey.given,
        )

    def record(self, part: int) -> dict[str, Any] | None:
        """Return the record of a part that is there and whole; else None."""
        entries = {"fingerprint": self.wanted, "part": part}
        return read_record(self.place, part, self.survey.n_parts, entries)


class PartWriter:
    """Computes parts with one model, in rising order; the input is read along once."""

    def __init__(self, work: Work, model: RewardModel) -> None:
        """Start before the first part.

        Args:
            work: The labelling.
            model: The reward model that it names.
        """
        self._work = work
        self._rater = Rater(model, bad_rows=work.options.bad_rows, texts=work.options.texts)
        self._prepared = False
        self._parts: Iterator[list[Group]] = iter(())
        self._next = work.survey.n_parts

    def take_over(self, record: dict[str, Any]) -> None:
        """Take over the token budget of a part that is there, as an undisturbed run would."""
        self._rater.budget = Budget(record["token_budget"], record["halved"])

    def write(self, part: int) -> dict[str, Any]:
        """Score one part and write its rows, then its record.

        Args:
            part: Number of the part. After a higher one the input is read from its beginning.

        Returns:
            The record.

        Raises:
            DataError: the input is not what it was.
            FeatureError: a candidate cannot be scored, under `bad_rows: stop`.
            StorageError: the disk is full or fails.
        """
        work, groups = self._work, self._groups(part)
        rated = self._rater.rate(groups)
        path = work.place.rows(part, work.survey.n_parts)
        write_rows(path, [rated.rows], work.schema)
        record = {
            "fingerprint": work.wanted,
            "part": part,
            "n_candidates": sum(len(group.candidates) for group in groups),
            "n_scored": len(rated.rows),
            "n_truncated": rated.n_truncated,
            "dropped": rated.dropped,
            "first_dropped": rated.first_dropped,
            **rated.how,
            "sha256": digest_file(path),
        }
        write_json(work.place.record(part, work.survey.n_parts), record)
        return record

    def _groups(self, part: int) -> list[Group]:
        """Read on to a part; every process asks the first part how to compute."""
        if part < self._next:
            self._parts, self._next = self._work.rows.same_parts(self._work.survey), 0
        groups: list[Group] = []
        while self._next <= part:
            groups = next(self._parts)
            if not self._prepared:
                self._rater.prepare(groups)
                self._prepared = True
            self._next += 1
        return groups


class Progress:
    """Tells a watcher how many candidates are scored, and how fast."""

    def __init__(self, watch: Watch | None, total: int, done: int = 0) -> None:
        """Start the clock.

        Args:
            watch: Called with (stage, done, total, remark).
            total: Candidates of the input.
            done: Those that are scored already.
        """
        self._watch, self._total, self._done = watch, total, done
        self._computed, self._started = 0, time.monotonic()

    def add(self, n: int, *, computed: bool = True) -> None:
        """Count a part.

        Args:
            n: Its candidates.
            computed: Whether it was scored now; else it was found.
        """
        self._done += n
        self._computed += n if computed else 0
        rate = self._computed / max(time.monotonic() - self._started, 1e-9)
        if self._watch is not None:
            said = f"{rate:,.1f} candidates/s" if self._computed else ""
            self._watch("score", self._done, self._total, said)


def compute_parts(
    work: Work, model: RewardModel, *, shard: Shard, watch: Watch | None = None
) -> None:
    """Score the parts of a shard that are not there, and write them.

    The rows of a part are written before its record, each whole or not at all; a part
    without a record is computed again.

    Args:
        work: The labelling.
        model: The reward model, steered or not.
        shard: Which of several processes this is: it computes every n-th part.
        watch: Called with (stage, done, total, remark).

    Raises:
        DataError: the input is not what it was a moment ago.
        FeatureError: a candidate cannot be scored, under `bad_rows: stop`.
        StorageError: the disk is full or fails.
    """
    writer = PartWriter(work, model)
    progress = Progress(watch, work.survey.n_candidates)
    for part in range(shard.number - 1, work.survey.n_parts, shard.count):
        record = work.record(part)
        if record is not None:
            writer.take_over(record)
            progress.add(record["n_candidates"], computed=False)
        else:
            progress.add(writer.write(part)["n_candidates"])
