"""Feature extraction on a Ray cluster: every actor computes one shard and writes it itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from armorm.features.blocks import Shard
from armorm.features.ray_pool import RayPool, Worker, cluster, run_tasks
from armorm.train.config import Recipe
from armorm.train.extract import Extraction, extract
from armorm.train.folds import Watch
from armorm.train.place import check_place


def extract_on_ray(
    recipe: Recipe, folder: Path, *, pool: RayPool, watch: Watch = lambda *_: None
) -> Extraction:
    """Extract the features of a recipe on a Ray cluster, into the folder where `train` finds them.

    There is a shard for each actor; features go from the actor to the folder and nowhere
    else. A shard whose actor died goes on where it was. All nodes see the data, the
    backbone and the run folder under the same paths.

    Args:
        recipe: The checked recipe.
        folder: The run folder; made when absent.
        pool: How many actors, and what each gets.
        watch: Called with (stage, done, total, rates).

    Returns:
        What is there now.

    Raises:
        ArmormError: as `extract`.
        MissingDependency: Ray is not installed.
    """
    check_place(folder)
    with cluster() as ray:
        count, _ = pool.sized(ray.cluster_resources())
        tasks = range(1, count + 1)
        work = partial(_worker, recipe, folder, count)
        for done, _ in enumerate(run_tasks(tasks, work, pool=pool), 1):
            watch("shards", done, count, "")
    return extract(recipe, folder, watch=watch)  # finds what is there, and counts it


def _worker(recipe: Recipe, folder: Path, count: int) -> Worker:
    """What an actor does with a shard."""

    def compute(number: int) -> Any:
        extract(recipe, folder, shard=Shard(number, count))
        return None

    return compute
