"""Training of the gating network on preference pairs whose objective scores are fixed.

Knows nothing of text, backbones or ridge: prompt features and debiased scores come in.
"""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from armorm.heads.checks import check_finite, check_rows, check_shape, check_weights
from armorm.heads.gating_network import GatingNetwork
from armorm.heads.gating_settings import GatingSettings

__all__ = ["GatingFit", "GatingNetwork", "GatingRecord", "GatingSettings", "fit_gating"]

Progress = Callable[[int, int], None]
"""Called with the step reached and the number of steps."""

_BETA_RANGE = (1e-2, 1e4)  # in which the first beta is sought


class GatingRecord(NamedTuple):
    """One look at a training."""

    step: int
    """Steps taken."""
    train_loss: float
    """Preference loss of the batch of that step, in nats, without the entropy term; of all
    training pairs at step 0."""
    validation_loss: float
    """Preference loss of the validation pairs, in nats; NaN where there are none."""


@dataclass(frozen=True, slots=True)
class GatingFit:
    """A trained gating network."""

    network: GatingNetwork
    """In the state of `best_step`, on the device of the pairs, in evaluation mode."""
    beta: float
    """sigmoid(beta * margin) is the probability that chosen is preferred; not in the score."""
    best_step: int
    """Steps after which the state was taken; 0 where training never helped."""
    history: tuple[GatingRecord, ...]
    """Step 0, every `eval_every` steps, and the last."""
    validation_loss: float
    """At `best_step`, in nats; NaN without validation pairs."""
    validation_accuracy: float
    """At `best_step`, a tie counting one half; NaN without validation pairs."""


class _Pairs(NamedTuple):
    """Preference pairs as the loss sees them."""

    prompt: Float[Tensor, "p d"]
    difference: Float[Tensor, "p k"]
    weight: Float[Tensor, " p"]


def fit_gating(
    prompt: Tensor,
    chosen_scores: Tensor,
    rejected_scores: Tensor,
    *,
    settings: GatingSettings,
    validation: tuple[Tensor, Tensor, Tensor] | None = None,
    sample_weight: Tensor | None = None,
    initial_weights: Tensor | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
) -> GatingFit:
    """Train a gating network on preference pairs.

    Minimise over the network and beta > 0 the weighted mean of
    -log sigmoid(beta * margin), margin = sum_j gating_j (chosen_j - rejected_j), minus
    entropy_weight times the mean entropy of the gating. AdamW; half-cosine learning rate. In
    float32 throughout, so that the state that was validated is the state that is stored.
    Repeatable on one machine and thread count; the global random state is left alone.

    Args:
        prompt: Shape (p, d). Prompt features.
        chosen_scores: Shape (p, k). DEBIASED objective scores of the chosen responses.
        rejected_scores: Shape (p, k). The same of the rejected ones.
        settings: Sizes, optimiser, start and seed.
        validation: Prompt features, chosen and rejected scores of pairs that share no prompt
            with these; the state of least loss on them is kept, and training ends early.
        sample_weight: Shape (p,), at least 0; None weighs all pairs alike.
        initial_weights: Shape (k,), at least 0, for `initial` = 'fixed_weights'.
        steps: Take exactly so many steps of the same schedule and keep the last state: a
            refit without validation follows the path of the fit that found the number.
        progress: Called after each step.

    Returns:
        The network, beta, and how training went.

    Raises:
        ValueError: shapes that disagree; entries that are not finite; no pair; weights that
            are negative or all 0; `steps` outside 0..max_steps or together with validation;
            initial weights missing, or given for another start; settings under which no look
            has a finite loss, or the last state of a refit is not finite.

    Source:
        arXiv 2406.12845 section 3.2. Differs in the early stopping, the entropy term, the
        start (there: random) and a beta that is positive by construction.
    """
    pairs = _pairs(prompt, chosen_scores, rejected_scores, sample_weight)
    held_out = None
    if validation is not None:
        held_out = _pairs(*validation, None, prefix="validation ")
        sizes = {"d": prompt.shape[1], "k": chosen_scores.shape[1]}
        check_shape("validation prompt", validation[0], "p d", **sizes)
        check_shape("validation chosen_scores", validation[1], "p k", **sizes)
    _check_request(settings, held_out is not None, initial_weights, steps)
    network = _start(pairs, settings, initial_weights)
    log_beta = nn.Parameter(torch.tensor(_first_beta(network, pairs, settings)).log())
    log_beta.data = log_beta.data.to(pairs.prompt.device)
    run = _Run(network, log_beta, settings, pairs, held_out)
    run.take(settings.max_steps if steps is None else steps, progress)
    return run.result()


class _Run:
    """One training: the state, the best state so far, and the history."""

    def __init__(
        self,
        network: GatingNetwork,
        log_beta: nn.Parameter,
        settings: GatingSettings,
        pairs: _Pairs,
        held_out: _Pairs | None,
    ) -> None:
        self.network, self.log_beta, self.settings = network, log_beta, settings
        self.pairs, self.held_out = pairs, held_out
        self.history: list[GatingRecord] = []
        self.best: tuple[float, int, dict[str, Tensor]] = (math.inf, 0, {})

    def take(self, n_steps: int, progress: Progress | None) -> None:
        """Step until the number is reached or patience ends."""
        optimiser = torch.optim.AdamW(
            [
                {"params": list(self.network.parameters())},
                {"params": [self.log_beta], "weight_decay": 0.0},
            ],
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
        )
        batches = _batches(self.pairs, self.settings)
        with torch.no_grad():
            self._look(0, float(self._losses(self.pairs)[0]))
        for step in range(1, n_steps + 1):
            for group in optimiser.param_groups:
                group["lr"] = self.settings.learning_rate * _cosine(step, self.settings.max_steps)
            loss, entropy = self._losses(next(batches))
            optimiser.zero_grad()
            (loss - self.settings.entropy_weight * entropy).backward()
            optimiser.step()
            if progress is not None:
                progress(step, n_steps)
            if step % self.settings.eval_every == 0 or step == n_steps:
                self._look(step, float(loss.detach()))
                waited = step - self.best[1]
                if self.held_out and waited >= self.settings.patience * self.settings.eval_every:
                    break

    def _losses(self, pairs: _Pairs) -> tuple[Tensor, Tensor]:
        """Weighted mean preference loss and gating entropy, in nats."""
        gating = self.network(pairs.prompt)
        margin = (gating * pairs.difference).sum(-1)
        share = pairs.weight / pairs.weight.sum()
        loss = functional.softplus(-self.log_beta.exp() * margin) @ share
        entropy = -(gating * gating.clamp(min=1e-12).log()).sum(-1) @ share
        return loss, entropy

    def _look(self, step: int, train_loss: float) -> None:
        """Record the losses, and keep the state if it is the best, or the last without pairs."""
        loss = math.nan
        if self.held_out is not None:
            with torch.no_grad():
                loss = float(self._losses(self.held_out)[0])
        self.history.append(GatingRecord(step, train_loss, loss))
        if self.held_out is None or loss < self.best[0]:
            state = {name: value.clone() for name, value in self.network.state_dict().items()}
            state["log_beta"] = self.log_beta.detach().clone()
            self.best = (loss, step, state)

    def result(self) -> GatingFit:
        """Put the best state back."""
        loss, step, state = self.best
        if not state or not all(bool(value.isfinite().all()) for value in state.values()):
            s, beta = self.settings, self.settings.beta_init
            raise ValueError(
                "training must have a finite loss; it has none with "
                f"`learning_rate` = {s.learning_rate:g}, `temperature` = {s.temperature:g} and "
                f"`beta_init` = {'fitted' if beta is None else format(beta, 'g')}"
            )
        beta = float(state.pop("log_beta").exp())
        self.network.load_state_dict(state)
        self.network.eval()
        accuracy = math.nan
        if self.held_out is not None:
            with torch.no_grad():
                gating = self.network(self.held_out.prompt)
            margin = (gating * self.held_out.difference).sum(-1)
            accuracy = float((margin.sign() + 1).mean()) / 2
        return GatingFit(self.network, beta, step, tuple(self.history), loss, accuracy)


def _start(pairs: _Pairs, settings: GatingSettings, initial: Tensor | None) -> GatingNetwork:
    """Build the network and set its first gating."""
    k = pairs.difference.shape[1]
    network = GatingNetwork(
        pairs.prompt.shape[1],
        k,
        hidden=settings.hidden,
        temperature=settings.temperature,
        masked=settings.masked,
        seed=settings.seed,
    )
    if settings.standardise:
        network.standardise(pairs.prompt.cpu())
    if settings.initial != "random":
        network.start_at(torch.ones(k) if initial is None else initial.detach().cpu().float())
    return network.to(pairs.prompt.device)


def _first_beta(network: GatingNetwork, pairs: _Pairs, settings: GatingSettings) -> float:
    """Beta of least loss under the initial gating; the loss is convex in it."""
    if settings.beta_init is not None:
        return settings.beta_init
    with torch.no_grad():
        margin = (network(pairs.prompt) * pairs.difference).sum(-1).cpu().double()
    share = pairs.weight.cpu().double()

    def loss(log_beta: float) -> float:
        return float(functional.softplus(-math.exp(log_beta) * margin) @ share)

    low, high = _BETA_RANGE
    return math.exp(minimize_scalar(loss, bounds=(math.log(low), math.log(high))).x)


def _batches(pairs: _Pairs, settings: GatingSettings) -> Iterator[_Pairs]:
    """Give batches without end: all pairs, or passes in an order of the seed's own."""
    p, size = len(pairs.prompt), settings.batch_size
    generator = torch.Generator().manual_seed(settings.seed + 1)
    while True:
        if p <= size:
            yield pairs
            continue
        order = torch.randperm(p, generator=generator).to(pairs.prompt.device)
        for start in range(0, p - size + 1, size):  # what is left over comes in another pass
            rows = order[start : start + size]
            if bool(pairs.weight[rows].any()):
                yield _Pairs(*(tensor[rows] for tensor in pairs))


def _cosine(step: int, max_steps: int) -> float:
    """Share of the learning rate at a step, counted from 1: from 1 down to almost 0."""
    return 0.5 * (1 + math.cos(math.pi * (step - 1) / max_steps))


def _pairs(
    prompt: Tensor, chosen: Tensor, rejected: Tensor, weight: Tensor | None, *, prefix: str = ""
) -> _Pairs:
    """Check pairs and take the differences of their scores, in float32."""
    named = (("prompt", prompt), ("chosen_scores", chosen), ("rejected_scores", rejected))
    check_shape(f"{prefix}prompt", prompt, "p d")
    check_rows(f"{prefix}prompt", prompt)
    check_shape(f"{prefix}chosen_scores", chosen, "p k", p=len(prompt))
    check_shape(f"{prefix}rejected_scores", rejected, "p k", p=len(prompt), k=chosen.shape[1])
    for name, tensor in named:
        check_finite(prefix + name, tensor)
    if weight is None:
        weight = torch.ones(len(prompt))
    check_weights("sample_weight", weight, "p", p=len(prompt))
    difference = chosen.detach().float() - rejected.detach().float()
    return _Pairs(prompt.detach().float(), difference, weight.detach().float().to(prompt.device))


def _check_request(
    settings: GatingSettings, validated: bool, initial: Tensor | None, steps: int | None
) -> None:
    """Check the arguments that exclude or need one another."""
    if steps is not None and validated:
        raise ValueError("`steps` and `validation` exclude each other; got both")
    if steps is not None and not 0 <= steps <= settings.max_steps:
        raise ValueError(f"`steps` must be from 0 to {settings.max_steps}; got {steps}")
    if (settings.initial == "fixed_weights") != (initial is not None):
        given = "none" if initial is None else "some"
        raise ValueError(
            f"`initial_weights` belong to `initial` = 'fixed_weights'; "
            f"got {given} with {settings.initial!r}"
        )
