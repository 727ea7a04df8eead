"""Training of the gating network on preference pairs whose objective scores are fixed.

Knows nothing of text, backbones or ridge: prompt features and debiased scores come in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional

from armorm.heads.checks import check_shape
from armorm.heads.gating_checkpoint import GatingCheckpoint, GatingCheckpoints, GatingRecord
from armorm.heads.gating_network import GatingNetwork
from armorm.heads.gating_pairs import Pairs, as_pairs
from armorm.heads.gating_settings import GatingSettings
from armorm.heads.gating_training import Progress, Training, fingerprint
from armorm.heads.rows_on_demand import FEW_ROWS, FeatureRows, IndexedRows, check_feature_rows

__all__ = [
    "FeatureRows",
    "GatingCheckpoint",
    "GatingCheckpoints",
    "GatingFit",
    "GatingNetwork",
    "GatingRecord",
    "GatingSettings",
    "IndexedRows",
    "Progress",
    "fit_gating",
]

_BETA_RANGE = (1e-2, 1e4)  # in which the first beta is sought


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
    """At `best_step`, of all validation pairs and in float32, in nats; NaN without any."""
    validation_accuracy: float
    """Of the same pairs, a tie counting one half; NaN without any."""


def fit_gating(
    prompt: Tensor | FeatureRows,
    chosen_scores: Tensor,
    rejected_scores: Tensor,
    *,
    settings: GatingSettings,
    validation: tuple[Tensor | FeatureRows, Tensor, Tensor] | None = None,
    sample_weight: Tensor | None = None,
    initial_weights: Tensor | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
    checkpoints: GatingCheckpoints | None = None,
) -> GatingFit:
    """Train a gating network on preference pairs.

    Minimise over the network and beta > 0 the weighted mean of
    -log sigmoid(beta * margin), margin = sum_j gating_j (chosen_j - rejected_j), minus
    entropy_weight times the mean entropy of the gating. AdamW; half-cosine learning rate. In
    float32, so that the state that was validated is the state that is stored; with `precision`
    'bfloat16' the hidden layers are multiplied in that while training, and the figures of the
    result are of float32 all the same. Repeatable on one machine and thread count; the global
    random state is left alone.

    Prompt features may lie on a disk: they are read batch by batch, once more to standardise
    them, and at no time as a whole. The first beta and the loss at step 0 are of all pairs, or
    of 16,384 drawn by the seed where there are more.

    Args:
        prompt: Shape (p, d). Prompt features, or rows that are read when they are needed;
            `IndexedRows` where pairs share prompts, which are then computed once a batch.
        chosen_scores: Shape (p, k). DEBIASED objective scores of the chosen responses.
        rejected_scores: Shape (p, k). The same of the rejected ones.
        settings: Sizes, optimiser, start and seed.
        validation: Prompt features, chosen and rejected scores of pairs that share no prompt
            with these; the state of least loss on them is kept, and training ends early.
        sample_weight: Shape (p,), at least 0; None weighs all pairs alike.
        initial_weights: Shape (k,), at least 0, for `initial` = 'fixed_weights'.
        steps: Take exactly so many steps of the same schedule and keep the last state: a
            refit without validation follows the path of the fit that found the number.
        progress: Called after each step, with the latest look.
        checkpoints: Where to leave a checkpoint every so many steps, and where to find the
            last: a training that was stopped goes on from it and ends with the same bits. A
            checkpoint of another training (settings, sizes, scores, prompts) is passed over.

    Returns:
        The network, beta, and how training went.

    Raises:
        ValueError: shapes that disagree; entries that are not finite; no pair; weights that
            are negative or all 0; `steps` outside 0..max_steps or together with validation;
            initial weights missing, or given for another start; checkpoints less than a step
            apart; settings under which no look has a finite loss, or the last state of a refit
            is not finite; rows that are not what their shape says.

    Source:
        arXiv 2406.12845 section 3.2. Differs in the early stopping, the entropy term, the
        start (there: random) and a beta that is positive by construction.
    """
    pairs = as_pairs(prompt, chosen_scores, rejected_scores, sample_weight)
    held_out = None
    if validation is not None:
        held_out = as_pairs(*validation, None, prefix="validation ")
        sizes = {"d": prompt.shape[1], "k": chosen_scores.shape[1]}
        check_feature_rows("validation prompt", validation[0], "p d", **sizes)
        check_shape("validation chosen_scores", validation[1], "p k", **sizes)
    _check_request(settings, held_out is not None, initial_weights, steps)
    n_steps = settings.max_steps if steps is None else steps
    found, mark = None, ""
    if checkpoints is not None:
        if checkpoints.every < 1:
            raise ValueError(f"`checkpoints.every` must be at least 1; got {checkpoints.every}")
        mark = fingerprint(
            settings, n_steps, pairs=pairs, held_out=held_out, initial=initial_weights
        )
        found = checkpoints.load()
    network = _network(pairs, settings)
    log_beta = nn.Parameter(torch.zeros((), device=pairs.device))
    training = Training(
        network, log_beta, settings, pairs=pairs, held_out=held_out, fingerprint=mark
    )
    if found is not None and found.fingerprint == mark:
        training.resume(found)
    else:
        _start(network, pairs, settings, initial_weights)
        log_beta.data.copy_(torch.tensor(_first_beta(network, pairs, settings)).log())
    training.take(n_steps, progress, checkpoints)
    return _result(training)


def _result(training: Training) -> GatingFit:
    """Put the best state back, and look at all validation pairs with it."""
    _, step, state = training.best
    if not state or not all(bool(value.isfinite().all()) for value in state.values()):
        s, beta = training.settings, training.settings.beta_init
        raise ValueError(
            "training must have a finite loss; it has none with "
            f"`learning_rate` = {s.learning_rate:g}, `temperature` = {s.temperature:g} and "
            f"`beta_init` = {'fitted' if beta is None else format(beta, 'g')}"
        )
    training.put(state)
    network = training.network.eval()
    loss = accuracy = math.nan
    if training.held_out is not None:
        loss, accuracy = training.figures(training.held_out, torch.float32)
    beta = float(training.log_beta.detach().exp())
    return GatingFit(network, beta, step, tuple(training.history), loss, accuracy)


def _network(pairs: Pairs, settings: GatingSettings) -> GatingNetwork:
    """Build the network, on the device of the pairs."""
    return GatingNetwork(
        pairs.prompt.shape[1],
        pairs.difference.shape[1],
        hidden=settings.hidden,
        temperature=settings.temperature,
        masked=settings.masked,
        seed=settings.seed,
    ).to(pairs.device)


def _start(
    network: GatingNetwork, pairs: Pairs, settings: GatingSettings, initial: Tensor | None
) -> None:
    """Set the first gating."""
    if settings.standardise:
        network.standardise(pairs.prompt)
    if settings.initial != "random":
        weights = torch.ones(network.n_objectives) if initial is None else initial
        network.start_at(weights.detach().cpu().float())


def _first_beta(network: GatingNetwork, pairs: Pairs, settings: GatingSettings) -> float:
    """Beta of least loss under the initial gating; the loss is convex in it."""
    if settings.beta_init is not None:
        return settings.beta_init
    batch = pairs.sample(FEW_ROWS, settings.seed + 2).whole()
    with torch.no_grad():
        gating = network(batch.prompt)
    gating = gating if batch.row is None else gating[batch.row]
    margin = (gating * batch.difference).sum(-1).cpu().double()
    share = batch.weight.cpu().double()

    def loss(log_beta: float) -> float:
        return float(functional.softplus(-math.exp(log_beta) * margin) @ share)

    low, high = _BETA_RANGE
    return math.exp(minimize_scalar(loss, bounds=(math.log(low), math.log(high))).x)


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
