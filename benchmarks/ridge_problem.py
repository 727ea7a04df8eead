"""The planted problem of the ridge benchmark: rows of the paper's sources, and who rates what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Thousands of rows of each source, and the objectives that it rates (arXiv 2406.12845).
SOURCES = {
    "helpsteer": (35.0, (0, 1, 2, 3, 4)),
    "ultrafeedback": (240.0, (5, 6, 7, 8, 9)),
    "beavertails": (30.0, (10,)),
    "code": (50.0, (14, 15, 16, 17, 18)),
    "prometheus": (200.0, (11,)),
    "capybara": (15.0, (12,)),
    "openorca": (13.0, (13,)),
    "math": (2.4, (6,)),
}
NAMES = [f"objective-{j}" for j in range(19)]
RATED = {
    name: torch.tensor([j in rated for j in range(len(NAMES))])
    for name, (_, rated) in SOURCES.items()
}
CHUNK = 4_096
RESPONSES = 4  # rows of one prompt, which are held out together


@dataclass(frozen=True)
class Labels:
    """Everything but the features of a planted problem of n rows."""

    ratings: Tensor
    """Shape (n, 19); NaN where not rated; filled in as features are drawn."""
    sources: list[str]
    held: Tensor
    """Shape (n,). True in validation rows."""
    weight: Tensor
    """Shape (d, 19)."""
    scale: Tensor
    """Shape (d,). Spread of each feature."""
    mean: Tensor
    """Shape (d,)."""
    generator: torch.Generator


def plant(n: int, d: int) -> Labels:
    """Lay out sources, validation rows and the signal."""
    generator = torch.Generator().manual_seed(n + d)
    shares = np.array([size for size, _ in SOURCES.values()])
    counts = np.floor(shares / shares.sum() * n).astype(int)
    counts[1] += n - counts.sum()
    sources = [name for name, count in zip(SOURCES, counts, strict=True) for _ in range(count)]
    prompts = torch.rand(-(-n // RESPONSES), generator=generator) < 0.2
    held = prompts.repeat_interleave(RESPONSES)[:n]
    scale = torch.logspace(0, -1.5, d)[torch.randperm(d, generator=generator)]
    weight = torch.randn(d, len(NAMES), generator=generator) * (0.15 / d**0.5)
    mean = 0.5 * torch.randn(d, generator=generator)
    ratings = torch.full((n, len(NAMES)), torch.nan)
    return Labels(ratings, sources, held, weight, scale, mean, generator)


def draw(labels: Labels, start: int, stop: int) -> Tensor:
    """Draw features of some rows in bfloat16, and fill in their ratings."""
    shape = (stop - start, len(labels.scale))
    x = torch.empty(shape, dtype=torch.bfloat16)
    for at in range(0, shape[0], CHUNK):
        block = torch.randn(min(CHUNK, shape[0] - at), shape[1], generator=labels.generator)
        block.mul_(labels.scale).add_(labels.mean)
        x[at : at + CHUNK] = block
        signal = 0.6 + (block - labels.mean) @ labels.weight
        spread = torch.linspace(0.02, 0.4, len(NAMES))  # from clear to noisy objectives
        noise = torch.randn(signal.shape, generator=labels.generator) * spread
        rows = slice(start + at, start + at + len(block))
        missing = torch.stack([RATED[name] for name in labels.sources[rows]]).logical_not()
        labels.ratings[rows] = (signal + noise).masked_fill(missing, torch.nan)
    return x
