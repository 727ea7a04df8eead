"""The steps of one training of a gate: losses, looks, the best state, and checkpoints."""
# ruff: noqa: F722  (jaxtyping writes axes as strings)

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from armorm.heads.gating_checkpoint import GatingCheckpoint, GatingCheckpoints, GatingRecord
from armorm.heads.gating_network import Dropout, GatingNetwork
from armorm.heads.gating_pairs import Batch, Pairs
from armorm.heads.gating_settings import GatingSettings
from armorm.heads.rows_on_demand import FEW_ROWS

Progress = Callable[[int, int, GatingRecord], None]
"""Called with the step reached, the number of steps, and the latest look."""

_STRIDE = 1_000_000_007  # between the seeds of two trainings: more than either has steps
_MOMENTS = ("exp_avg", "exp_avg_sq")


class Training:
    """One training: the state, the best state so far, and the history."""

    def __init__(
        self,
        network: GatingNetwork,
        log_beta: nn.Parameter,
        settings: GatingSettings,
        *,
        pairs: Pairs,
        held_out: Pairs | None,
        fingerprint: str,
    ) -> None:
        """Start at step 0.

        Args:
            network: In its first state, on the device of the pairs.
            log_beta: Logarithm of the first beta, on the same device.
            settings: Optimiser and looks.
            pairs: What is learned from.
            held_out: What it is looked at with; None: not at all.
            fingerprint: Of this training, for its checkpoints.
        """
        self.network, self.log_beta, self.settings = network, log_beta, settings
        self.pairs, self.held_out, self.fingerprint = pairs, held_out, fingerprint
        self.products = getattr(torch, settings.precision)
        self.step = 0
        self.history: list[GatingRecord] = []
        self.best: tuple[float, int, dict[str, Tensor]] = (math.inf, 0, {})
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(network.parameters())},
                {"params": [log_beta], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            # One kernel for all parameters; it rounds otherwise than the plain form, in which
            # float32 trainings have always run.
            fused=settings.precision != "float32",
        )

    def take(
        self, n_steps: int, progress: Progress | None, checkpoints: GatingCheckpoints | None
    ) -> None:
        """Step until the number is reached or patience ends.

        Args:
            n_steps: Number to reach, steps of a checkpoint included.
            progress: Called after each step.
            checkpoints: Where states are left.
        """
        seen = self.held_out and self.held_out.sample(
            self.settings.max_validation, self.settings.seed + 3
        )
        if not self.history:
            start = self.pairs.sample(FEW_ROWS, self.settings.seed + 2).whole()
            with torch.no_grad():
                self._look(float(self._losses(start)[0]), seen)
        batches = self.pairs.batches(self.settings, skip=self.step)
        while self.step < n_steps and not self._has_waited_enough():
            train_loss = self._advance(next(batches))
            if self.step % self.settings.eval_every == 0 or self.step == n_steps:
                self._look(float(train_loss), seen)
            ended = self.step == n_steps or self._has_waited_enough()
            if checkpoints is not None and (ended or self.step % checkpoints.every == 0):
                checkpoints.save(self.checkpoint())
            if progress is not None:
                progress(self.step, n_steps, self.history[-1])

    @torch.no_grad()
    def figures(self, pairs: Pairs, products: torch.dtype) -> tuple[float, float]:
        """Loss and accuracy of the present state.

        Args:
            pairs: All of them are looked at, in parts.
            products: Format of the products of the hidden layers.

        Returns:
            Preference loss in nats, and the share of positive margins, a tie counting one half.
        """
        margin = torch.cat([self._margin(batch, products)[0] for batch in pairs.parts()])
        accuracy = float((margin.sign() + 1).mean()) / 2
        return float(self._loss(margin, pairs.weight)), accuracy

    def _loss(self, margin: Float[Tensor, " p"], weight: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """Weighted mean preference loss of margins, in nats."""
        share = weight / weight.sum()
        return functional.softplus(-self.log_beta.exp() * margin) @ share

    def _advance(self, batch: Batch) -> Tensor:
        """Take one step and return the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * _cosine(
                self.step + 1, self.settings.max_steps
            )
        loss, entropy = self._losses(batch, self._dropout())
        self.optimiser.zero_grad()
        (loss - self.settings.entropy_weight * entropy).backward()
        self.optimiser.step()
        self.step += 1
        return loss.detach()

    def _dropout(self) -> Dropout | None:
        """What the coming step leaves out; from seed and step alone, so that it can be resumed."""
        if self.settings.dropout == 0:
            return None
        seed = (self.settings.seed * _STRIDE + self.step) % 2**63
        return Dropout(self.settings.dropout, torch.Generator().manual_seed(seed))

    def _margin(
        self, batch: Batch, products: torch.dtype, dropout: Dropout | None = None
    ) -> tuple[Tensor, Tensor]:
        """Margin and gating of each pair."""
        gating = self.network(batch.prompt, products=products, dropout=dropout)
        if batch.row is not None:
            # The backward pass of `gating[row]` adds in the order in which threads arrive.
            gating = gating.index_select(0, batch.row)
        return (gating * batch.difference).sum(-1), gating

    def _losses(self, batch: Batch, dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """Weighted mean preference loss and gating entropy, in nats."""
        margin, gating = self._margin(batch, self.products, dropout)
        entropy = -(gating * gating.clamp(min=1e-12).log()).sum(-1)
        return self._loss(margin, batch.weight), entropy @ (batch.weight / batch.weight.sum())

    def _look(self, train_loss: float, seen: Pairs | None) -> None:
        """Record the losses, and keep the state if it is the best, or the last without pairs."""
        loss, accuracy = math.nan, math.nan
        if seen is not None:
            loss, accuracy = self.figures(seen, self.products)
        self.history.append(GatingRecord(self.step, train_loss, loss, accuracy))
        if seen is None or loss < self.best[0]:
            self.best = (loss, self.step, self._state())

    def _has_waited_enough(self) -> bool:
        """Whether so many looks have brought nothing that training ends."""
        waited = self.step - self.best[1]
        return (
            self.held_out is not None
            and waited >= self.settings.patience * self.settings.eval_every
        )

    def _state(self) -> dict[str, Tensor]:
        """Copy of the network and `log_beta`."""
        state = {name: value.clone() for name, value in self.network.state_dict().items()}
        state["log_beta"] = self.log_beta.detach().clone()
        return state

    def put(self, state: dict[str, Tensor]) -> None:
        """Put a state back.

        Args:
            state: Tensors of the network, and `log_beta`.
        """
        rest = dict(state)
        self.log_beta.data = rest.pop("log_beta").to(self.log_beta)
        self.network.load_state_dict(rest)

    def _parameters(self) -> dict[str, nn.Parameter]:
        """What AdamW moves, by name and in its order."""
        return dict(self.network.named_parameters()) | {"log_beta": self.log_beta}

    def checkpoint(self) -> GatingCheckpoint:
        """Copy of everything, from which `resume` goes on."""
        moments = {
            f"{moment}.{name}": self.optimiser.state[parameter][moment].clone()
            for name, parameter in self._parameters().items()
            for moment in _MOMENTS
            if self.optimiser.state[parameter]
        }
        loss, step, best = self.best
        return GatingCheckpoint(
            fingerprint=self.fingerprint,
            step=self.step,
            network=self._state(),
            moments=moments,
            best={name: value.clone() for name, value in best.items()},
            best_loss=loss,
            best_step=step,
            history=tuple(self.history),
        )

    def resume(self, checkpoint: GatingCheckpoint) -> None:
        """Take the state of a checkpoint.

        Args:
            checkpoint: Of a training with the same fingerprint.
        """
        self.put(checkpoint.network)
        self.step, self.history = checkpoint.step, list(checkpoint.history)
        device = self.log_beta.device
        best = {name: value.to(device) for name, value in checkpoint.best.items()}
        self.best = (checkpoint.best_loss, checkpoint.best_step, best)
        state = self.optimiser.state_dict()
        state["state"] = {
            i: {
                "step": torch.tensor(float(checkpoint.step)),
                **{m: checkpoint.moments[f"{m}.{name}"].clone() for m in _MOMENTS},
            }
            for i, name in enumerate(self._parameters())
            if checkpoint.moments
        }
        self.optimiser.load_state_dict(state)


def fingerprint(
    settings: GatingSettings,
    n_steps: int,
    *,
    pairs: Pairs,
    held_out: Pairs | None,
    initial: Tensor | None,
) -> str:
    """Digest of what a training is made of: settings, scores, weights and a few prompt features.

    Args:
        settings: All of them count.
        n_steps: Steps that are asked for.
        pairs: What is learned from.
        held_out: What it is looked at with.
        initial: First weights of the objectives, where given.

    Returns:
        64 hexadecimal digits.
    """
    facts = {
        "settings": asdict(settings),
        "n_steps": n_steps,
        "pairs": pairs.digest(),
        "held_out": held_out and held_out.digest(),
        "initial": None if initial is None else initial.double().tolist(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _cosine(step: int, max_steps: int) -> float:
    """Share of the learning rate at a step, counted from 1: from 1 down to almost 0."""
    return 0.5 * (1 + math.cos(math.pi * (step - 1) / max_steps))
