"""From the scored parts to the output: pairs or scores in one file, the summary, the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from armorm.data import Drops
from armorm.errors import DataError
from armorm.label.formats import NOT_ONE_MESSAGE, LabelledPair, pair_row, pair_schema
from armorm.label.groups import CHOSEN, Group
from armorm.label.place import write_manifest
from armorm.label.rate import Row
from armorm.label.select import PairOptions, Scored, choose_pairs
from armorm.label.summary import Tally
from armorm.label.tables import join_files, read_rows, write_rows
from armorm.label.work import Watch, Work
from armorm.storage import write_json

Records = Sequence[Mapping[str, Any]]


def finish(work: Work, records: Records, *, watch: Watch | None = None) -> dict[str, Any]:
    """Write the output, the summary and, last, the manifest.

    Args:
        work: The labelling.
        records: Of all parts.
        watch: Called with (stage, done, total, remark).

    Returns:
        The summary.

    Raises:
        DataError: no candidate was scored; the input has changed.
        StorageError: the disk is full or fails.
    """
    place, n_parts = work.place, work.survey.n_parts
    _check_scored(work, records)
    tally = Tally(work.facts.objectives)
    pairs = _pairs(work, tally, watch)
    if work.options.pairs is None:
        for _ in pairs:
            pass
        files = [place.rows(part, n_parts) for part in range(n_parts)]
        join_files(place.output, files, work.schema)
    else:
        schema = pair_schema(work.options.format, work.facts.objectives)
        write_rows(place.output, pairs, schema)
    summary = _summary(work, records, tally)
    write_json(place.summary, summary)
    parts = [{"part": record["part"], "sha256": record["sha256"]} for record in records]
    write_manifest(place, work.wanted, parts)
    return summary


def _pairs(work: Work, tally: Tally, watch: Watch | None) -> Iterator[list[Row]]:
    """Yield the pairs of each part as a trainer reads them; count everything on the way.

    Without rules for pairs the best and the worst are compared, for the summary.
    """
    options = work.options.pairs or PairOptions()
    values = work.facts.dominance
    for part, groups in enumerate(work.rows.same_parts(work.survey)):
        by_prompt: dict[int, list[Row]] = {}
        for row in read_rows(work.place.rows(part, work.survey.n_parts)):
            by_prompt.setdefault(row["prompt_number"], []).append(row)
        written: list[Row] = []
        for group in groups:
            if rows := by_prompt.get(group.number):
                written += _of_group(work, group, rows, options, values, tally)
        yield written
        if watch is not None:
            watch("write", part + 1, work.survey.n_parts, "")


def _of_group(
    work: Work,
    group: Group,
    rows: list[Row],
    options: PairOptions,
    values: np.ndarray,
    tally: Tally,
) -> list[Row]:
    """Choose and count the pairs of one prompt."""
    tally.add_rows(rows)
    if rows[0].get("given") == CHOSEN:
        tally.add_given(rows)
    texts_of = {candidate.number: candidate.response for candidate in group.candidates}
    texts = [texts_of[row["candidate"]] for row in rows]
    names = work.facts.objectives
    objectives = np.array([[row["objectives"][name] for name in names] for row in rows])
    by_token = options.unit == "tokens"
    lengths = [row["n_tokens"] if by_token else len(t) for row, t in zip(rows, texts, strict=True)]
    scores = [row["score"] for row in rows]
    scored = Scored(group.number, texts, np.array(scores), np.array(lengths), objectives @ values)
    choice = choose_pairs(scored, options)
    if choice.reason:
        tally.add_without(choice.reason)
    written: list[Row] = []
    for place, (chosen, rejected) in enumerate(choice.pairs, 1):
        pair = LabelledPair(
            id=group.id if place == 1 else f"{group.id}#{place}",
            group=group,
            texts=texts,
            scores=scores,
            chosen=chosen,
            rejected=rejected,
            objectives=(rows[chosen]["objectives"], rows[rejected]["objectives"]),
        )
        row = pair_row(pair, work.options.format)
        if row is None and work.options.pairs is not None:
            tally.add_without(NOT_ONE_MESSAGE)
            continue
        tally.add_pair(pair, rows)
        written += [row] if row is not None else []
    return written


def _check_scored(work: Work, records: Records) -> None:
    """Raise where every candidate was left out."""
    if not any(record["n_scored"] for record in records):
        first = next(record["dropped"] for record in records if record["dropped"])
        raise DataError(
            f"{work.rows.source.path}: at least one candidate must be scored; all "
            f"{work.survey.n_candidates:,} were dropped, the first as {first[0][1]}"
        )


def _summary(work: Work, records: Records, tally: Tally) -> dict[str, Any]:
    """What the labelling found, as JSON."""
    survey, options = work.survey, work.options
    reading = survey.reading
    candidates = Drops()
    candidates.merge(reading.candidates)
    for record in records:
        for where, reason in record["dropped"]:
            candidates.add(where, reason)
    first = [*reading.first, *(said for record in records for said in record["first_dropped"])]
    figures = tally.as_dict()
    rule = options.pairs.rule if options.pairs is not None else PairOptions().rule
    figures["pairs"] = {
        "rule": str(rule),
        "format": options.format if options.pairs is not None else None,
        **figures["pairs"],
    }
    return {
        "bundle": work.facts.name,
        "source": work.rows.source.path,
        "shapes": reading.shapes,
        "rows": {"read": reading.n_rows, "dropped": reading.rows.as_dict()},
        "prompts": survey.n_groups,
        "candidates": {
            "read": reading.n_candidates,
            "scored": sum(record["n_scored"] for record in records),
            "dropped": candidates.as_dict(),
            "truncated": sum(record["n_truncated"] for record in records),
        },
        "first_dropped": first[:5],
        **figures,
    }
