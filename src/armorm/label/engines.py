"""Who computes the parts of a labelling: this process, or actors on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from armorm.features.ray_pool import RayPool, Worker, call, run_tasks
from armorm.label.facts import ModelFacts
from armorm.label.work import PartWriter, Progress, Watch, Work
from armorm.model.reward import RewardModel

Load = Callable[[], RewardModel]
"""Loads the reward model, steered or not."""


def facts_on_ray(load: Load, *, pool: RayPool) -> ModelFacts:
    """Return the facts of a model that this machine need not be able to hold.

    Args:
        load: Loads the model, on the cluster.
        pool: What the process that loads it gets.

    Returns:
        The facts.

    Raises:
        ArmormError: as `load` raises.
        MissingDependency: Ray is not installed.
    """
    return call(partial(_facts, load), pool=pool)


def compute_on_ray(work: Work, load: Load, *, pool: RayPool, watch: Watch | None = None) -> None:
    """Score the parts that are not there on a Ray cluster; the actors write them.

    Every actor loads the model, reads the input along with the parts it is given, and
    writes rows and record of each: nothing but numbers of parts goes over the network.
    All nodes see the input, the output's folder and the bundle under the same paths.

    Args:
        work: The labelling.
        load: Loads the model, in every actor.
        pool: How many actors, and what each gets.
        watch: Called with (stage, done, total, remark).

    Raises:
        ArmormError: as `compute_parts`, and as `load`.
        MissingDependency: Ray is not installed.
    """
    n_parts = work.survey.n_parts
    records = [work.record(part) for part in range(n_parts)]
    missing = [part for part, record in enumerate(records) if record is None]
    done = sum(record["n_candidates"] for record in records if record is not None)
    if not missing:
        return
    progress = Progress(watch, work.survey.n_candidates, done)
    for _, n_candidates in run_tasks(missing, partial(_worker, work, load), pool=pool):
        progress.add(n_candidates)


def _facts(load: Load) -> ModelFacts:
    """The facts of a model that is loaded for them."""
    return ModelFacts.of(load())


def _worker(work: Work, load: Load) -> Worker:
    """What an actor does with a part."""
    writer = PartWriter(work, load())

    def write(part: int) -> Any:
        # A part that an actor has finished just before it died is not computed again.
        record = work.record(part) or writer.write(part)
        return record["n_candidates"]

    return write
