"""The gating of a run: one gate a turn to find the number of steps, then the gate that is kept."""

from __future__ import annotations

import shutil
import statistics as stats
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from armorm import __version__
from armorm.errors import DataError, RecipeError
from armorm.features.mapped import FeatureRows, MappedRows
from armorm.heads.gating import (
    GatingCheckpoint,
    GatingFit,
    GatingNetwork,
    GatingRecord,
    GatingSettings,
    IndexedRows,
    fit_gating,
)
from armorm.heads.preference import fit_fixed_weights
from armorm.storage import fingerprint
from armorm.train.cache import StageResult, read_result, write_result
from armorm.train.sets import GatePairs

CHECKPOINT_STEPS = 200
"""Steps between two checkpoints of a gate."""

Tick = Callable[[int, int, str], None]
"""Called with (gates trained, gates in all, how far the present one is)."""


@dataclass(slots=True)
class GateFile:
    """The checkpoint of the gate that is being trained, in one file that is replaced."""

    path: Path
    """The file; need not exist."""
    every: int = CHECKPOINT_STEPS
    """Steps between two checkpoints."""

    def load(self) -> GatingCheckpoint | None:
        """Read the checkpoint; None where there is none, it is damaged, or of other software."""
        kept = read_result(self.path, fingerprint(_made()))
        if kept is None:
            return None
        return GatingCheckpoint.from_state(dict(kept.tensors), kept.facts["checkpoint"])

    def save(self, checkpoint: GatingCheckpoint, /) -> None:
        """Replace the checkpoint, whole or not at all."""
        tensors, header = checkpoint.state()
        result = StageResult(tensors, {"checkpoint": header})
        write_result(self.path, result, fingerprint(_made()))


def _made() -> list[str]:
    """What the last bits of a training depend on besides its settings."""
    return [__version__, torch.__version__, str(torch.get_num_threads())]


def gating_stage(
    pairs: GatePairs,
    *,
    used: Sequence[int],
    rounds: int,
    settings: GatingSettings,
    tick: Tick | None = None,
    checkpoints: Path | None = None,
) -> StageResult:
    """Train the gating on some folds.

    For each of `rounds` used folds a gate is trained on the others with early stopping
    on that fold; the gate that is kept trains on all used folds for the median of the
    best steps.

    Args:
        pairs: Debiased objective scores of all pairs.
        used: Numbers of the folds that may be used.
        rounds: How many of them take a turn as validation.
        settings: Sizes and optimiser.
        tick: Called with (gates trained, gates in all, how far the present one is).
        checkpoints: Folder in which each gate is kept while it trains, so that a kill does not
            lose it; removed at the end.

    Returns:
        The network's tensors, and facts `in_features`, `beta`, `steps`, `best_steps`,
        `validation_losses`, `validation_accuracies`.

    Raises:
        DataError: no used fold has both pairs to train on and pairs to stop on.
        RecipeError: the settings lead to no finite loss.
    """
    inside = torch.isin(pairs.folds, torch.tensor(list(used)))
    judged = ~pairs.derived if bool((~pairs.derived & inside).any()) else pairs.derived
    turns = [f for f in used if bool(((pairs.folds == f) & judged).any())][:rounds]
    fits: list[GatingFit] = []
    for number, fold in enumerate(turns):
        train = pairs.rows(inside & (pairs.folds != fold))
        held_out = pairs.rows((pairs.folds == fold) & judged)
        say = _saying(tick, number, len(turns) + 1)
        if len(train.folds):
            kept = _file(checkpoints, number)
            fits.append(_fit(train, settings, held_out=held_out, checkpoint=kept, say=say))
        say(None)
    if not fits:
        raise DataError(
            "pairs: the gating needs preference pairs of at least two prompts in different "
            f"folds, to train on and to stop on; there are {int(inside.sum())} pairs in "
            f"{len(turns)} folds"
        )
    steps = round(stats.median(fit.best_step for fit in fits))
    say = _saying(tick, len(turns), len(turns) + 1)
    kept = _file(checkpoints, len(turns))
    final = _fit(pairs.rows(inside), settings, steps=steps, checkpoint=kept, say=say)
    say(None)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return StageResult(
        dict(final.network.state_dict()),
        {
            "in_features": pairs.prompt.shape[1],
            "beta": final.beta,
            "steps": steps,
            "best_steps": [fit.best_step for fit in fits],
            "validation_losses": [fit.validation_loss for fit in fits],
            "validation_accuracies": [fit.validation_accuracy for fit in fits],
        },
    )


def _fit(
    pairs: GatePairs,
    settings: GatingSettings,
    *,
    held_out: GatePairs | None = None,
    steps: int | None = None,
    checkpoint: GateFile | None,
    say: Callable[[str | None], None],
) -> GatingFit:
    """Train one gate, from the best fixed weights where the settings say so."""
    initial = None
    if settings.initial == "fixed_weights":
        fixed = fit_fixed_weights(pairs.chosen, pairs.rejected, sample_weight=pairs.weight)
        initial = fixed.weights
    validation = held_out and (_shared(held_out.prompt), held_out.chosen, held_out.rejected)
    try:
        return fit_gating(
            _shared(pairs.prompt),
            pairs.chosen,
            pairs.rejected,
            settings=settings,
            validation=validation,
            sample_weight=pairs.weight,
            initial_weights=initial,
            steps=steps,
            checkpoints=checkpoint,
            progress=lambda step, n, look: say(_said(step, n, look)),
        )
    except ValueError as error:  # of the settings: shapes are ours
        raise RecipeError([f"gating: {error}"]) from error


def _shared(prompt: FeatureRows) -> Tensor | IndexedRows:
    """Prompt features on disk, in the form that computes a prompt of several pairs once."""
    return IndexedRows(*prompt.shared()) if isinstance(prompt, MappedRows) else prompt


def _file(folder: Path | None, number: int) -> GateFile | None:
    """Where a gate of the stage is kept while it trains."""
    return None if folder is None else GateFile(folder / f"{number}.safetensors", CHECKPOINT_STEPS)


def _saying(tick: Tick | None, done: int, total: int) -> Callable[[str | None], None]:
    """A function that says how far a gate is, and with None that it is done."""

    def say(how_far: str | None) -> None:
        if tick is not None:
            tick(done + (how_far is None), total, how_far or "")

    return say


def _said(step: int, n_steps: int, look: GatingRecord) -> str:
    """Say how far a gate is."""
    loss = look.train_loss if look.validation_loss != look.validation_loss else look.validation_loss
    said = f"step {step:,}/{n_steps:,}, loss {loss:.3f}"
    if look.validation_accuracy == look.validation_accuracy:
        said += f", held-out accuracy {look.validation_accuracy:.3f}"
    return said


def load_gate(
    result: StageResult, *, in_features: int, n_objectives: int, settings: GatingSettings
) -> GatingNetwork:
    """Rebuild the network of a gating stage.

    Args:
        result: What `gating_stage` returned.
        in_features: Width of the prompt feature.
        n_objectives: Number of objectives.
        settings: The settings that it was trained with.

    Returns:
        The network, ready to be applied.
    """
    network = GatingNetwork(
        in_features,
        n_objectives,
        hidden=settings.hidden,
        temperature=settings.temperature,
        masked=settings.masked,
    )
    network.load_state_dict(dict(result.tensors))
    return network.eval().requires_grad_(False)
