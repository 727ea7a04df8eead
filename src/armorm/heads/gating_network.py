"""The gating network: from a prompt feature to one weight an objective.

Knows nothing of training; `gating` does that.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from armorm.heads.checks import check_indices, check_shape, check_weights
from armorm.heads.rows_on_demand import (
    FEW_ROWS,
    FeatureRows,
    check_feature_rows,
    read_rows,
    row_moments,
)

_FLOOR = 1e-3  # of a starting weight: an objective at 0 would never get a gradient


class Dropout(NamedTuple):
    """Hidden units that one step of training leaves out, from a generator of its own.

    All rows of the batch leave out the same ones, so that products are made without them.
    """

    share: float
    """Of the units, from 0 to below 1."""
    generator: torch.Generator
    """On the CPU."""

    def kept(self, width: int) -> Int64[Tensor, " kept"]:
        """Draw which units of a layer a step keeps: each with probability 1 - share."""
        drawn = torch.empty(width).bernoulli_(1 - self.share, generator=self.generator)
        return drawn.nonzero()[:, 0]


class GatingNetwork(nn.Module):
    """Multi-layer perceptron whose output is a softmax over the objectives.

    gating = softmax(MLP((prompt - mean) / scale) / temperature) along the objective axis, so
    that each row sums to 1. ReLU between the layers. Built from a seed of its own; the
    global random state is neither read nor changed. The state dict holds layers, mean and
    scale; widths, temperature and masked objectives are facts that a bundle keeps beside it.

    Source:
        arXiv 2406.12845 section 3.2. The published training script takes the softmax along
        the axis of chosen and rejected, where every weight is one half; here the input has
        two axes and no other is taken.
    """

    def __init__(
        self,
        in_features: int,
        n_objectives: int,
        *,
        hidden: Sequence[int] = (1024, 1024, 1024),
        temperature: float = 10.0,
        masked: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        """Build the layers.

        Args:
            in_features: Width d of the prompt feature.
            n_objectives: Number k of objectives.
            hidden: Width of each hidden layer; none makes the gating linear before softmax.
            temperature: Divisor of the logits, above 0; a larger one is closer to uniform.
            masked: Indices of objectives whose weight is 0 for every prompt, such as a
                nuisance: its debiased score is 0, so that weight on it only dilutes the rest.
            seed: Of the initial weights.

        Raises:
            ValueError: a width below 1; a temperature that is not above 0; an index of no
                objective; every objective masked.
        """
        super().__init__()
        widths = (in_features, *hidden, n_objectives)
        if min(widths) < 1:
            raise ValueError(f"widths of the layers must be at least 1; got {widths}")
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"`temperature` must be above 0; got {temperature:g}")
        check_indices("masked", masked, n_objectives)
        if len(masked) == n_objectives:
            raise ValueError(f"`masked` must leave an objective; got all {n_objectives}")
        self.temperature = temperature
        self.masked = tuple(masked)
        # Made without values: nn.Linear would draw them from the global random state.
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, i, o) for i, o in itertools.pairwise(widths)
        )
        self._draw(torch.Generator().manual_seed(seed))
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("scale", torch.ones(in_features))

    def _draw(self, generator: torch.Generator) -> None:
        """Draw weights and biases uniformly within 1 / sqrt(inputs), as PyTorch does."""
        for layer in self._linear():
            bound = 1 / math.sqrt(layer.in_features)
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def _linear(self) -> list[nn.Linear]:
        """The layers, with their type."""
        return [cast(nn.Linear, layer) for layer in self.layers]

    @property
    def in_features(self) -> int:
        """Width of the prompt feature."""
        return self._linear()[0].in_features

    @property
    def hidden(self) -> tuple[int, ...]:
        """Width of each hidden layer."""
        return tuple(layer.out_features for layer in self._linear()[:-1])

    @property
    def n_objectives(self) -> int:
        """Number of objectives, masked ones included."""
        return self._linear()[-1].out_features

    def forward(
        self,
        prompt: Tensor,
        *,
        products: torch.dtype = torch.float32,
        dropout: Dropout | None = None,
    ) -> Tensor:
        """Weigh the objectives for each prompt.

        Args:
            prompt: Shape (n, d). Prompt features; converted to the dtype of the weights.
            products: Format that the factors of the hidden layers are rounded to, as
                `precision` has it in training; all that is stored or reported is made in
                float32.
            dropout: Which hidden units are left out, in a step of training alone.

        Returns:
            Gating, shape (n, k); rows sum to 1.

        Raises:
            ValueError: another number of axes (pairs are two calls, never a third axis);
                another width.
        """
        check_shape("prompt", prompt, "n d", d=self.in_features)
        logits = self.logits(prompt, products=products, dropout=dropout)
        return functional.softmax(logits / self.temperature, dim=-1)

    def logits(
        self,
        prompt: Float[Tensor, "n d"],
        *,
        products: torch.dtype = torch.float32,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "n k"]:
        """Output of the last layer; minus infinity where masked.

        Args:
            prompt: Shape (n, d).
            products: Format that the factors of the hidden layers are rounded to; the input is
                standardised before, and the last layer, which is small, is left as it is.
            dropout: Which hidden units are left out.

        Returns:
            Shape (n, k), in the dtype of the weights.
        """
        *inner, last = self._linear()
        x = (prompt.to(last.weight.dtype) - self.mean) / self.scale
        x, below = x.to(products), None
        for layer in inner:
            here = None
            if dropout is not None:
                here = dropout.kept(layer.out_features).to(x.device)
            weight, bias = _thinned(layer, here, below, dropout)
            x = functional.relu(functional.linear(x, weight.to(products), bias.to(products)))
            below = here
        logits = functional.linear(x.to(last.weight.dtype), *_thinned(last, None, below, dropout))
        if self.masked:
            logits = logits.index_fill(-1, torch.tensor(self.masked, device=x.device), -math.inf)
        return logits

    def standardise(self, prompt: Tensor | FeatureRows) -> None:
        """Set mean and scale so that these prompt features get mean 0 and variance 1.

        Sums are in float64; many rows are read in chunks, once, and never held as a whole.

        Args:
            prompt: Shape (n, d). A feature that does not vary keeps the scale 1.

        Raises:
            ValueError: another shape; no row; entries that are not finite.
        """
        check_feature_rows("prompt", prompt, "n d", d=self.in_features)
        if len(prompt) <= FEW_ROWS:
            x = read_rows("prompt", prompt, torch.arange(len(prompt))).cpu().double()
            mean, spread, largest = x.mean(0), x.std(0, correction=0), x.abs().amax(0)
        else:
            mean, spread, largest = row_moments("prompt", prompt)
        scale = torch.where(spread > 1e-6 * largest, spread, 1.0)
        device = self.mean.device
        self.mean = mean.float().to(device)
        self.scale = torch.where(scale > 0, scale, 1.0).float().to(device)

    @torch.no_grad()
    def start_at(self, weights: Tensor) -> None:
        """Give every prompt the same gating: last layer weight 0, bias = temperature log w.

        Args:
            weights: Shape (k,), at least 0. They are normalised, and raised to at least
                0.001 of their sum where not masked, so that each objective can still learn.

        Raises:
            ValueError: another shape; a negative or infinite weight; all 0.
        """
        check_weights("weights", weights, "k", k=self.n_objectives)
        share = (weights / weights.sum()).clamp(min=_FLOOR)
        last = self._linear()[-1]
        last.weight.zero_()
        last.bias.copy_(self.temperature * share.log())


def _thinned(
    layer: nn.Linear,
    outputs: Int64[Tensor, " o"] | None,
    inputs: Int64[Tensor, " i"] | None,
    dropout: Dropout | None,
) -> tuple[Float[Tensor, "o i"], Float[Tensor, " o"]]:
    """Weight and bias between the units that are kept; inputs are raised so that the mean stays."""
    weight, bias = layer.weight, layer.bias
    if outputs is not None:
        weight, bias = weight.index_select(0, outputs), bias.index_select(0, outputs)
    if inputs is not None and dropout is not None:
        weight = weight.index_select(1, inputs) / (1 - dropout.share)
    return weight, bias
