"""Share numbered tasks out over a Ray cluster: a pool of actors, each with a worker of its own.

Knows neither models nor files. A task that was running on an actor that died is given to
another one, so that tasks must be fit to be done twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from armorm import errors
from armorm.errors import ArmormError, MissingDependency

Worker = Callable[[int], Any]
"""Does one task and returns what `json` can write."""

_SHARE = 0.5  # of a CPU an actor reserves: a pool that takes every CPU starves Ray's own tasks


@dataclass(frozen=True, slots=True)
class RayPool:
    """How many actors there are, and what each of them gets."""

    workers: int | None = None
    """Actors; None: one a GPU of the cluster, or one a CPU where it has none."""
    gpus: float | None = None
    """GPUs of each; None: 1 where the cluster has one."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: a number out of its range.
        """
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"`workers` must be 1 or more; got {self.workers}")
        if self.gpus is not None and self.gpus < 0:
            raise ValueError(f"`gpus` must be 0 or more; got {self.gpus:g}")

    def sized(self, resources: dict[str, float]) -> tuple[int, float]:
        """Return the number of actors and the GPUs of each on a cluster.

        Args:
            resources: Of the cluster, as Ray names them.

        Returns:
            Both.

        Example:
            >>> RayPool().sized({"CPU": 8.0, "GPU": 2.0})
            (2, 1)
        """
        there = resources.get("GPU", 0.0)
        gpus = min(1, int(there)) if self.gpus is None else self.gpus
        many = there / gpus if gpus else resources.get("CPU", 1.0)
        return self.workers or max(int(many), 1), gpus


def run_tasks(
    tasks: Sequence[int], make_worker: Callable[[], Worker], *, pool: RayPool
) -> Iterator[tuple[int, Any]]:
    """Do tasks on the actors of a pool.

    Args:
        tasks: Numbers of the tasks, handed out in this order.
        make_worker: Called once in each actor, in the working folder of this process; what
            it makes does the tasks of the actor.
        pool: How many actors, and what each gets.

    Yields:
        Task and result, as they are done: in no order.

    Raises:
        ArmormError: a task, or making a worker, raised one; of the same class.
        MissingDependency: Ray is not installed.
    """
    with cluster() as ray:
        size, gpus = pool.sized(ray.cluster_resources())
        items = [{"task": task} for task in tasks]
        data = ray.data.from_items(items, override_num_blocks=len(items))
        done = data.map_batches(
            _Actor,
            fn_constructor_args=(make_worker, os.getcwd()),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(size, len(items))),
            num_cpus=_SHARE,
            num_gpus=gpus or None,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise _error(row["error"], row["text"])
            yield int(row["task"]), json.loads(row["text"])


def call(function: Callable[[], Any], *, pool: RayPool) -> Any:
    """Call a function once on the cluster, where an actor of the pool could run.

    Args:
        function: What to call, in the working folder of this process.
        pool: What it gets.

    Returns:
        What it returns.

    Raises:
        ArmormError: the function raised one; of the same class.
        MissingDependency: Ray is not installed.
    """
    with cluster() as ray:
        _, gpus = pool.sized(ray.cluster_resources())
        remote = ray.remote(num_cpus=_SHARE, num_gpus=gpus, max_retries=-1)(_called)
        found, error, text = ray.get(remote.remote(function, os.getcwd()))
        if error:
            raise _error(error, text)
        return found


class _Actor:
    """One actor: makes its worker once and does tasks with it."""

    def __init__(self, make_worker: Callable[[], Worker], folder: str) -> None:
        os.chdir(folder)
        self._failure: ArmormError | None = None
        self._worker: Worker | None = None
        try:
            self._worker = make_worker()
        except ArmormError as error:  # an actor that cannot be made would be made again for ever
            self._failure = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the one task of a batch."""
        (task,) = batch["task"].tolist()
        error, text = "", ""
        try:
            if self._failure is not None:
                raise self._failure
            assert self._worker is not None
            text = json.dumps(self._worker(task))
        except ArmormError as failure:
            error, text = type(failure).__name__, str(failure)
        return {"task": [task], "error": [error], "text": [text]}


def _called(function: Callable[[], Any], folder: str) -> tuple[Any, str, str]:
    """Call a function; its error by name and text."""
    os.chdir(folder)
    try:
        return function(), "", ""
    except ArmormError as error:
        return None, type(error).__name__, str(error)


def _error(name: str, text: str) -> ArmormError:
    """The error of another process, of its class where a text is all that the class needs."""
    plain = {"DataError", "FeatureError", "BundleError", "StorageError"}
    return getattr(errors, name)(text) if name in plain else ArmormError(text)


@contextlib.contextmanager
def cluster() -> Generator[Any]:
    """Connect to the cluster that there is, else to one that lives as long as the block.

    Within one block all that is run on Ray uses the same.

    Yields:
        The package `ray`, with `ray.data`.

    Raises:
        MissingDependency: Ray is not installed.
    """
    try:
        with _quiet():
            import ray
            import ray.data
    except ImportError as error:
        raise MissingDependency("the engine `ray`", "ray") from error
    own = not ray.is_initialized()
    with _quiet():
        if own:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
    try:
        with _quiet():
            yield ray
    finally:
        if own:
            ray.shutdown()


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Without the deprecations that Ray meets in its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
