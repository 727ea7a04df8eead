"""How many tokens a batch may have on a CUDA device, from the memory that small ones take."""

from __future__ import annotations

from collections.abc import Callable

import torch

LARGEST_BUDGET = 65_536
"""More tokens a batch make no device faster."""

# Part of the free memory that a batch may take.
_SHARE = 0.8


def fitting_budget(sizes: tuple[int, int], peaks: tuple[int, int], *, free: int) -> int:
    """Extrapolate from two batches to the largest one that fits.

    Memory is taken as a line in tokens through the two. The result is a power of two, so
    that processes on like devices, whose free memory differs a little, agree.

    Args:
        sizes: Tokens of a small and a larger batch.
        peaks: Bytes that each took at most, besides what was there before.
        free: Bytes that are free for a batch.

    Returns:
        Tokens; the smaller size at least, `LARGEST_BUDGET` at most.

    Example:
        >>> fitting_budget((1024, 4096), (1_000_000, 4_000_000), free=20_000_000)
        16384
    """
    slope = max((peaks[1] - peaks[0]) / (sizes[1] - sizes[0]), 1e-9)
    tokens = sizes[0] + (_SHARE * free - peaks[0]) / slope
    tokens = int(min(max(tokens, sizes[0], 1), LARGEST_BUDGET))
    return 1 << (tokens.bit_length() - 1)


def measure_budget(run: Callable[[int, int], object], *, device: str, longest: int) -> int:
    """Run two small batches and extrapolate; see `fitting_budget`.

    Args:
        run: Computes a batch of as many rows (first argument) of one length (second).
        device: A CUDA device.
        longest: The longest row that the model takes.

    Returns:
        Tokens; where not even a small batch fits, the length of one of its rows.
    """
    length = min(512, longest)
    sizes = (2 * length, 8 * length)
    try:
        run(1, length)  # kernels are loaded, workspaces made
        peaks = (_peak(run, 2, length, device), _peak(run, 8, length, device))
    except torch.OutOfMemoryError:
        return 1 << (length.bit_length() - 1)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return fitting_budget(sizes, peaks, free=free)


def _peak(run: Callable[[int, int], object], n_rows: int, length: int, device: str) -> int:
    """Bytes that a batch takes at most, besides what is there before."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run(n_rows, length)
    return torch.cuda.max_memory_allocated(device) - before
