"""`--shard i/n`, torchrun and `--engine ray`, for every command that many processes can share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from armorm.cli.terminal import OptionError

if TYPE_CHECKING:  # --help must not wait for torch
    from armorm.features.blocks import Shard
    from armorm.features.ray_pool import RayPool

ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="i/n", help="Only the i-th of n parts; torchrun sets it by itself."
    ),
]

Engine = Annotated[
    Literal["local", "ray"], typer.Option(help="ray: actors on a Ray cluster (RAY_ADDRESS).")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Actors of --engine ray; default one a GPU, or one a CPU."),
]


def pool_of(engine: str, workers: int | None, shard: str | None) -> RayPool | None:
    """Return the pool of `--engine ray`.

    Args:
        engine: Value of `--engine`.
        workers: Value of `--workers`.
        shard: Value of `--shard`, which Ray makes needless.

    Returns:
        The pool; None for the local engine.

    Raises:
        OptionError: `--workers` without Ray, `--shard` with it.
    """
    from armorm.features.ray_pool import RayPool

    if engine == "local":
        if workers is not None:
            raise OptionError("--workers: needs --engine ray")
        return None
    if shard is not None:
        raise OptionError("--shard: --engine ray shares out the parts by itself")
    return RayPool(workers)


def part_of_run(text: str | None) -> tuple[Shard, str | None]:
    """Return the shard that is asked for or that torchrun says, and the device that goes with it.

    Args:
        text: Value of `--shard`.

    Returns:
        The shard; the GPU of this process under torchrun, else None.

    Raises:
        OptionError: no `i/n`; `--shard` under torchrun; a variable of torchrun that is no
            number from its range.
    """
    from armorm.features.blocks import Shard

    count = _variable("WORLD_SIZE", least=1, otherwise=1)
    if text is not None:
        if count > 1:
            raise OptionError(f"--shard: torchrun gives each of its {count} processes a part")
        try:
            return Shard.parse(text), None
        except ValueError as error:
            raise OptionError(f"--shard: {error}") from error
    if count == 1:
        return Shard(), None
    import torch

    rank = _variable("RANK", least=0, most=count - 1)
    if not torch.cuda.is_available():
        return Shard(rank + 1, count), None
    local = _variable("LOCAL_RANK", least=0, most=torch.cuda.device_count() - 1)
    return Shard(rank + 1, count), f"cuda:{local}"


def _variable(name: str, *, least: int, most: int = 10**9, otherwise: int | None = None) -> int:
    """A number that torchrun puts into the environment."""
    text = os.environ.get(name)
    if text is None and otherwise is not None:
        return otherwise
    if text is None or not text.isdecimal() or not least <= int(text) <= most:
        raise OptionError(
            f"{name} must be a whole number from {least} to {most:,}, as torchrun sets it; got "
            f"{text!r}"
        )
    return int(text)
