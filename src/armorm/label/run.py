"""Label a file: score the candidates of many prompts, choose pairs, say what was found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from armorm.data import DataSource, as_source
from armorm.features.blocks import Shard
from armorm.features.extract import WHOLE, how_extracted
from armorm.features.ray_pool import RayPool
from armorm.label.engines import compute_on_ray, facts_on_ray
from armorm.label.facts import ModelFacts
from armorm.label.finish import finish
from armorm.label.options import LabelOptions
from armorm.label.place import Place
from armorm.label.survey import Input
from armorm.label.work import Watch, Work, compute_parts, make_plan
from armorm.model.reward import RewardModel
from armorm.storage import storage_errors


@dataclass(frozen=True, slots=True)
class Labelling:
    """What `label` hands back."""

    output: Path
    """The file that was asked for."""
    summary: dict[str, Any] | None
    """What was found; None where other shards have not finished their part."""
    missing: int = 0
    """Parts that other shards have not finished."""
    notes: list[str] = field(default_factory=list)
    """Remarks for a person."""
    is_found: bool = False
    """Whether the labelling was finished before."""


def label(
    model: RewardModel | Callable[[], RewardModel],
    source: DataSource | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    options: LabelOptions | None = None,
    shard: Shard = WHOLE,
    pool: RayPool | None = None,
    watch: Watch | None = None,
) -> Labelling:
    """Score the candidates of every prompt of a file, and write scores or preference pairs.

    The input is read three times, a prompt at a time: once to look it through, once to
    score it, once to write. Scores are written part by part into `OUTPUT.parts`, rows and
    then a record of each part, then the output, `summary.json` and, last, `manifest.json`.
    A labelling that was killed goes on with the first part that has no record, and ends
    with the bytes of an undisturbed one (same machine, thread count and token budget).

    Args:
        model: The reward model, steered or not; or what loads it, called when the input has
            been looked through.
        source: Candidates, preference pairs or single responses; see `armorm.label.shapes`.
        output: A file that ends in .jsonl or .parquet.
        options: How to label; None: all defaults.
        shard: Which of several processes this is: each computes every n-th part, and the
            last one to finish writes the output.
        pool: Compute on a Ray cluster, by so many actors, each of which loads the model;
            None: in this process.
        watch: Called with (stage, done, total, remark).

    Returns:
        What was found.

    Raises:
        DataError: the input cannot be read, holds nothing to score, or changes meanwhile.
        FeatureError: a candidate cannot be scored, under `bad_rows: stop`.
        StorageError: the output belongs to another labelling, is not one, or is in use; the
            disk is full or fails.
        MissingDependency: Parquet, hub data or Ray without the packages for them.
        ValueError: the output has another ending; a shard beside a pool.
    """
    options = options or LabelOptions()
    if pool is not None and shard.count > 1:
        raise ValueError("`shard` must be the whole where a `pool` shares out the parts")
    place = Place(Path(output))
    place.check()
    reader = Input(as_source(source), options)
    survey = reader.survey()
    load = model if not isinstance(model, RewardModel) else _Loaded(model)
    if pool is None:
        load = _Loaded(load())
        facts = ModelFacts.of(load())
    else:
        facts = facts_on_ray(load, pool=pool)
    with place.hold(shard):
        wanted = place.claim(make_plan(facts, reader, survey))
        if place.finished(wanted) is not None:
            return Labelling(place.output, place.read_summary(), is_found=True)
        with storage_errors(place.manifest):
            place.manifest.unlink(missing_ok=True)
        work = Work(facts, reader, survey, place, wanted)
        if pool is None:
            compute_parts(work, load(), shard=shard, watch=watch)
        else:
            compute_on_ray(work, load, pool=pool, watch=watch)
        return _finished(work, watch)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model that is there already, as what loads one."""

    model: RewardModel

    def __call__(self) -> RewardModel:
        """Return it."""
        return self.model


def _finished(work: Work, watch: Watch | None) -> Labelling:
    """Write the output if every part is there."""
    output = work.place.output
    records = [work.record(part) for part in range(work.survey.n_parts)]
    there = [record for record in records if record is not None]
    notes = how_extracted({"shards": there})
    if len(there) < len(records):
        return Labelling(output, None, len(records) - len(there), notes)
    return Labelling(output, finish(work, there, watch=watch), 0, notes)
