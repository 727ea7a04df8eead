"""One-line damages of the package, and the run that shows whether the tests notice one.

To add one: the file below src/armorm, a text that occurs in it once, the text that takes its
place, and the test file (or test) that must fail. `python tests/mutants.py` runs them all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_WITNESS = "armorm_witness"  # a pytest plugin written beside the copy
_ELSEWHERE = 98  # its exit code where the tests imported another armorm


@dataclass(frozen=True)
class Mutant:
    """A damage that the tests must notice."""

    name: str
    file: str
    """Below src/armorm."""
    old: str
    """Occurs exactly once in the file."""
    new: str
    tests: str
    """Below tests: a file, or a file and `::` a test."""


MUTANTS = (
    # Rating scales
    Mutant(
        "a rating scale that starts at 0",
        "types.py",
        "offset = -self.low if self.offset is None",
        "offset = 0.0 if self.offset is None",
        "data/test_scales.py",
    ),
    # Statistics and moments
    Mutant(
        "source kept that was to be left out",
        "heads/statistics.py",
        "if key[0] != source)",
        "if key[0])",
        "heads/test_statistics.py",
    ),
    Mutant(
        "rows of portions added without the step between their means",
        "heads/moments.py",
        "self._add_outer(step, self.n * m / n + more)",
        "self._add_outer(step, more)",
        "heads/test_moments.py",
    ),
    Mutant(
        "rows left about the running mean",
        "heads/moments.py",
        "self._step(m, step, -float(m))",
        "self._step(m, step, 0.0)",
        "heads/test_moments.py",
    ),
    Mutant(
        "rating columns of a sum left in their order",
        "heads/moments.py",
        "zy = self.zy[np.ix_(place, list(columns))]",
        "zy = self.zy[np.ix_(place, sorted(columns))]",
        "heads/test_moments.py",
    ),
    Mutant(
        "lower triangle read in place of the upper",
        "heads/blas.py",
        "dsymm(1.0, matrix, np.asfortranarray(columns))",
        "dsymm(1.0, matrix, np.asfortranarray(columns), lower=1)",
        "heads/test_blas.py",
    ),
    Mutant(
        "held-out loss without the bias",
        "heads/moments.py",
        "- content.mean[d + places] + bias.reshape(-1)",
        "- content.mean[d + places]",
        "heads/test_moments.py",
    ),
    Mutant(
        "missing rating taken as 0",
        "heads/statistics.py",
        'x, y = features.detach(), ratings.detach().to("cpu", torch.float64)',
        'x, y = features.detach(), ratings.detach().to("cpu", torch.float64).nan_to_num(0.0)',
        "heads/test_statistics.py",
    ),
    Mutant(
        "rows summed in float32",
        "heads/moments.py",
        "memory.copy_(features if index is None else features[torch.from_numpy(index)])",
        "memory.copy_((features if index is None else features[torch.from_numpy(index)]).float())",
        "heads/test_statistics.py",
    ),
    Mutant(
        "statistics share the caller's memory",
        "heads/part.py",
        "kept = features.clone() if index is None else features[index]",
        "kept = features",
        "heads/test_statistics.py",
    ),
    Mutant(
        "sum that writes to its first operand",
        "heads/part.py",
        "self._shared = moments is not None",
        "self._shared = False",
        "heads/test_statistics.py",
    ),
    Mutant(
        "content handed out and then written to",
        "heads/part.py",
        "        self._shared = True\n        summed",
        "        summed",
        "heads/test_statistics.py",
    ),
    Mutant(
        "rows sorted without their source",
        "heads/rated_rows.py",
        "code = np.fromiter(map(numbers.__getitem__, sources), dtype=np.int64, count=n)",
        "np.fromiter(map(numbers.__getitem__, sources), dtype=np.int64, count=n)",
        "heads/test_rated_rows.py",
    ),
    Mutant(
        "objectives after the 32nd ignored",
        "heads/rated_rows.py",
        "for start in range(0, k, _BITS):",
        "for start in range(0, min(k, _BITS), _BITS):",
        "heads/test_rated_rows.py",
    ),
    Mutant(
        "new list of objectives in the old order",
        "heads/statistics.py",
        "place = {name: j for j, name in enumerate(changed.objectives)}",
        "place = {n: self.objectives.index(n) for n in changed.objectives if n in self.objectives}",
        "heads/test_statistics.py",
    ),
    Mutant(
        "bias fitted as the mean rating",
        "heads/ridge_system.py",
        "return Solution(weight, self.mean_y - weight @ self.mean_x, noise)",
        "return Solution(weight, self.mean_y - 0 * weight @ self.mean_x, noise)",
        "heads/test_ridge.py",
    ),
    Mutant(
        "alpha averaged over objectives in the fit",
        "heads/ridge.py",
        "    weight = np.zeros((k, statistics.d))",
        "    alphas = alphas.mean().expand(k)\n    weight = np.zeros((k, statistics.d))",
        "heads/test_ridge.py",
    ),
    Mutant(
        "alpha halved",
        "heads/ridge_system.py",
        'np.einsum("ii->i", self._work)[:] += alpha',
        'np.einsum("ii->i", self._work)[:] += alpha / 2',
        "heads/test_ridge.py",
    ),
    Mutant(
        "alpha halved in the eigendecomposition",
        "heads/ridge_system.py",
        "np.where(known, values + alpha, 1.0)",
        "np.where(known, values + alpha / 2, 1.0)",
        "heads/test_ridge.py",
    ),
    Mutant(
        "rounding taken for a direction",
        "heads/ridge_system.py",
        "known = (values > least) | (alpha > least)",
        "known = values + alpha > 0",
        "heads/test_ridge.py",
    ),
    Mutant(
        "pivots not looked at",
        "heads/blas.py",
        "return info == 0 and bool((pivots * pivots).min() >= least / 2)",
        "return info == 0",
        "heads/test_blas.py",
    ),
    Mutant(
        "dual rows not centred",
        "heads/ridge_system.py",
        "self._x = x - self.mean_x",
        "self._x = x",
        "heads/test_ridge.py",
    ),
    Mutant(
        "no intercept, but about the mean",
        "heads/moments.py",
        "self._add_outer(self.mean, float(self.n))",
        "pass",
        "heads/test_ridge.py",
    ),
    Mutant(
        "noise variance divided by n",
        "heads/ridge_system.py",
        "noise[columns] = residual / left if",
        "noise[columns] = residual / self.n if",
        "heads/test_ridge.py",
    ),
    Mutant(
        "degrees of freedom without the intercept",
        "heads/ridge_system.py",
        "left = self.n - self._freedom(alpha) - self.intercept",
        "left = self.n - self._freedom(alpha)",
        "heads/test_ridge.py",
    ),
    Mutant(
        "penalty forgotten in the residual",
        "heads/ridge_system.py",
        "+ alpha * np.square(weight).sum(1)",
        "+ 0 * np.square(weight).sum(1)",
        "heads/test_ridge.py",
    ),
    Mutant(
        "undetermined solution let through",
        "heads/ridge_system.py",
        "return bool(values[-1] > 0 and values[0] > limit)",
        "return True",
        "heads/test_ridge.py",
    ),
    # Ridge
    Mutant(
        "bias dropped from predictions",
        "heads/ridge.py",
        "features.to(weight.dtype) @ weight.T + bias",
        "features.to(weight.dtype) @ weight.T",
        "heads/test_ridge.py",
    ),
    # Choice of alpha
    Mutant(
        "validation on the training folds",
        "heads/ridge_path.py",
        "errors += _errors(train, [folds[f]], grid, intercept=intercept)\n    return",
        "errors += _errors(train, [train], grid, intercept=intercept)\n    return",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "validation fold kept among the training folds",
        "heads/ridge_path.py",
        "for f, fold in enumerate(folds) if f not in without)",
        "for f, fold in enumerate(folds))",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "alpha chosen by the mean loss of all objectives",
        "heads/ridge_path.py",
        "best = last - losses.flip(0).argmin(0)",
        "best = last - losses.mean(1, keepdim=True).expand_as(losses).flip(0).argmin(0)",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "fold errors averaged without their counts",
        "heads/ridge_path.py",
        "torch.stack([e.total for e in errors]).sum(0) / count",
        "torch.stack([e.total / e.count.clamp(min=1) for e in errors]).mean(0)",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "smallest of equal alphas",
        "heads/ridge_path.py",
        "best = last - losses.flip(0).argmin(0)",
        "best = losses.argmin(0)",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "first of the alphas not told as an edge",
        "heads/ridge_path.py",
        "(best == 0) | (best == last)",
        "best == last",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "last of the alphas not told as an edge",
        "heads/ridge_path.py",
        "(best == 0) | (best == last)",
        "best == 0",
        "heads/test_ridge_path.py",
    ),
    Mutant(
        "nested alpha chosen on the outer fold",
        "heads/ridge_path.py",
        "inner[f].append(on_g)",
        "inner[f].append(on_f)",
        "heads/test_ridge_path.py",
    ),
    # Debias
    Mutant(
        "one-sided debias",
        "heads/debias.py",
        "while at_low < -tolerance:",
        "while False:",
        "heads/test_debias.py",
    ),
    Mutant(
        "penalty added in place of subtracted",
        "heads/debias.py",
        "matrix[list(chosen)] -= penalties.T",
        "matrix[list(chosen)] += penalties.T",
        "heads/test_debias.py",
    ),
    Mutant(
        "debias matrix transposed",
        "heads/debias.py",
        "return Debias(matrix, penalties",
        "return Debias(matrix.T.contiguous(), penalties",
        "heads/test_debias.py",
    ),
    Mutant(
        "nuisance that keeps its own score",
        "heads/debias.py",
        "penalties[j, nuisances.index(j)] = 1.0",
        "penalties[j, nuisances.index(j)] = 0.0",
        "heads/test_debias.py",
    ),
    Mutant(
        "Pearson in place of Spearman",
        "heads/debias.py",
        "return (last - (count - 1) / 2)[place] - (len(values) + 1) / 2",
        "return values - values.mean()",
        "heads/test_debias.py",
    ),
    Mutant(
        "ties ranked by their last place",
        "heads/debias.py",
        "return (last - (count - 1) / 2)[place] - (len(values) + 1) / 2",
        "return last[place] - last[place].mean()",
        "heads/test_debias.py",
    ),
    Mutant(
        "only the first of several nuisances solved for",
        "heads/debias.py",
        "penalties[m] = _root(rho, float(penalties[m]), width, tolerance / 2)",
        "penalties[m] = penalties[m] if m else _root(rho, float(penalties[m]), width, tolerance)",
        "heads/test_debias.py",
    ),
    Mutant(
        "least squares in place of the root",
        "heads/debias.py",
        "penalties[j] = _solve(scores[:, j], biased, start, tolerance)",
        "penalties[j] = start",
        "heads/test_debias.py",
    ),
    Mutant(
        "linear map of the nuisance let through",
        "heads/debias.py",
        "if spread <= _LINEAR",
        "if False and spread <= _LINEAR",
        "heads/test_debias.py",
    ),
    Mutant(
        "residual beyond the promise let through",
        "heads/debias.py",
        "if j not in nuisances and not abs(float(residual[j, m])) <= _LIMIT:",
        "if j not in nuisances and False:",
        "heads/test_debias.py",
    ),
    # Gating
    Mutant(
        "softmax over the prompts",
        "heads/gating_network.py",
        "self.temperature, dim=-1)",
        "self.temperature, dim=0)",
        "heads/test_gating.py",
    ),
    Mutant(
        "softmax over the prompts, seen by the planted task",
        "heads/gating_network.py",
        "self.temperature, dim=-1)",
        "self.temperature, dim=0)",
        "heads/test_gating.py::test_gate_finds_the_objective_that_matters_where_fixed_weights_cannot",
    ),
    Mutant(
        "temperature that multiplies",
        "heads/gating_network.py",
        "functional.softmax(logits / self.temperature",
        "functional.softmax(logits * self.temperature",
        "heads/test_gating.py",
    ),
    Mutant(
        "third axis taken",
        "heads/gating_network.py",
        'check_shape("prompt", prompt, "n d", d=self.in_features)\n        logits =',
        "logits =",
        "heads/test_gating.py",
    ),
    Mutant(
        "prompt feature not standardised",
        "heads/gating_network.py",
        "(prompt.to(last.weight.dtype) - self.mean) / self.scale",
        "prompt.to(last.weight.dtype) - self.mean",
        "heads/test_gating.py",
    ),
    Mutant(
        "layers drawn from the global random state",
        "heads/gating_network.py",
        "-bound, bound, generator=generator)",
        "-bound, bound)",
        "heads/test_gating.py",
    ),
    Mutant(
        "start without the temperature",
        "heads/gating_network.py",
        "last.bias.copy_(self.temperature * share.log())",
        "last.bias.copy_(share.log())",
        "heads/test_gating.py",
    ),
    Mutant(
        "chosen and rejected swapped in the loss",
        "heads/gating_pairs.py",
        "chosen.detach().float() - rejected.detach().float()",
        "rejected.detach().float() - chosen.detach().float()",
        "heads/test_gating.py",
    ),
    Mutant(
        "gate that never gets a gradient",
        "heads/gating_training.py",
        "gating = self.network(batch.prompt, products=products, dropout=dropout)",
        "gating = self.network(batch.prompt, products=products, dropout=dropout).detach()",
        "heads/test_gating.py",
    ),
    Mutant(
        "beta fixed",
        "heads/gating_training.py",
        "functional.softplus(-self.log_beta.exp() * margin)",
        "functional.softplus(-self.log_beta.detach().exp() * margin)",
        "heads/test_gating.py",
    ),
    Mutant(
        "weight decay on beta",
        "heads/gating_training.py",
        '{"params": [log_beta], "weight_decay": 0.0}',
        '{"params": [log_beta]}',
        "heads/test_gating.py",
    ),
    Mutant(
        "constant learning rate",
        "heads/gating_training.py",
        "0.5 * (1 + math.cos(math.pi * (step - 1) / max_steps))",
        "1.0",
        "heads/test_gating.py",
    ),
    Mutant(
        "entropy punished",
        "heads/gating_training.py",
        "(loss - self.settings.entropy_weight * entropy).backward()",
        "(loss + self.settings.entropy_weight * entropy).backward()",
        "heads/test_gating.py",
    ),
    Mutant(
        "last state kept in place of the best",
        "heads/gating_training.py",
        "if seen is None or loss < self.best[0]:",
        "if True:",
        "heads/test_gating.py",
    ),
    Mutant(
        "validation on the training pairs",
        "heads/gating_training.py",
        "loss, accuracy = self.figures(seen, self.products)",
        "loss, accuracy = self.figures(self.pairs, self.products)",
        "heads/test_gating.py",
    ),
    Mutant(
        "tie as loss in the validation accuracy",
        "heads/gating_training.py",
        "float((margin.sign() + 1).mean()) / 2",
        "float((margin > 0).float().mean())",
        "heads/test_gating.py",
    ),
    Mutant(
        "weights of pairs ignored",
        "heads/gating_training.py",
        "share = weight / weight.sum()",
        "share = torch.ones_like(weight) / len(weight)",
        "heads/test_gating.py",
    ),
    Mutant(
        "order of pairs from the global random state",
        "heads/gating_pairs.py",
        "torch.randperm(len(self), generator=generator)",
        "torch.randperm(len(self))",
        "heads/test_gating.py",
    ),
    Mutant(
        "schedule a step late",
        "heads/gating_training.py",
        "self.step + 1, self.settings.max_steps",
        "self.step, self.settings.max_steps",
        "heads/test_gating.py",
    ),
    Mutant(
        "chunks joined without the step between their means",
        "heads/rows_on_demand.py",
        "step.square() * (total * n / (total + n))",
        "0.0",
        "heads/test_rows_on_demand.py",
    ),
    Mutant(
        "shared rows counted once in the moments",
        "heads/rows_on_demand.py",
        "source.index.unique(return_counts=True)\n",
        "source.index.unique(return_counts=True)\n        counts = counts.clamp(max=1)\n",
        "heads/test_rows_on_demand.py",
    ),
    Mutant(
        "rows left in the order of the read",
        "heads/rows_on_demand.py",
        "return found[inverse.to(found.device)] if isinstance(found, Tensor) else found",
        "return found[: len(rows)]",
        "heads/test_rows_on_demand.py",
    ),
    Mutant(
        "row that is not finite located in the batch",
        "heads/rows_on_demand.py",
        "first = (int(rows[places[0, 0]]), int(places[0, 1]))",
        "first = (int(places[0, 0]), int(places[0, 1]))",
        "heads/test_rows_on_demand.py",
    ),
    Mutant(
        "gating of shared prompts not given to their pairs",
        "heads/gating_training.py",
        "gating = gating.index_select(0, batch.row)",
        "gating = gating[torch.arange(len(batch.row)) % len(gating)]",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "sample with pairs of no weight",
        "heads/gating_pairs.py",
        "weighted = self.weight.cpu().nonzero().flatten()",
        "weighted = torch.arange(len(self))",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "result of the sample alone",
        "heads/gating.py",
        "loss, accuracy = training.figures(training.held_out, torch.float32)",
        "loss, accuracy = training.history[-1][2:]",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "looks at all validation pairs",
        "heads/gating_training.py",
        "self.settings.max_validation, self.settings.seed + 3",
        "10**9, self.settings.seed + 3",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "products never rounded",
        "heads/gating_network.py",
        "x, below = x.to(products), None\n",
        "products, below = torch.float32, None\n",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "result of rounded products",
        "heads/gating.py",
        "training.figures(training.held_out, torch.float32)",
        "training.figures(training.held_out, training.products)",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "dropout that lowers the mean",
        "heads/gating_network.py",
        "weight.index_select(1, inputs) / (1 - dropout.share)",
        "weight.index_select(1, inputs)",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "dropout in the looks",
        "heads/gating_training.py",
        "self._margin(batch, products)[0] for",
        "self._margin(batch, products, self._dropout())[0] for",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "the same units left out in each step",
        "heads/gating_training.py",
        "self.settings.seed * _STRIDE + self.step",
        "self.settings.seed * _STRIDE",
        "heads/test_gating_streaming.py",
    ),
    Mutant(
        "resumed from the first batch",
        "heads/gating_training.py",
        "skip=self.step)",
        "skip=0)",
        "heads/test_gating_checkpoint.py",
    ),
    Mutant(
        "second moment lost",
        "heads/gating_training.py",
        '_MOMENTS = ("exp_avg", "exp_avg_sq")',
        '_MOMENTS = ("exp_avg", "exp_avg")',
        "heads/test_gating_checkpoint.py",
    ),
    Mutant(
        "step of AdamW lost",
        "heads/gating_training.py",
        "torch.tensor(float(checkpoint.step))",
        "torch.tensor(1.0)",
        "heads/test_gating_checkpoint.py",
    ),
    Mutant(
        "best state lost",
        "heads/gating_training.py",
        "self.best = (checkpoint.best_loss, checkpoint.best_step, best)",
        "self.best = (math.inf, 0, {})",
        "heads/test_gating_checkpoint.py",
    ),
    Mutant(
        "checkpoint of another training taken",
        "heads/gating.py",
        "if found is not None and found.fingerprint == mark:",
        "if found is not None:",
        "heads/test_gating_checkpoint.py",
    ),
    Mutant(
        "fingerprint without the prompts",
        "heads/gating_pairs.py",
        "(self.difference, self.weight, self.take(places).prompt)",
        "(self.difference, self.weight)",
        "heads/test_gating_checkpoint.py",
    ),
    # Fixed weights and the black-box head
    Mutant(
        "fixed weights of either sign",
        "heads/preference.py",
        "bounds=[(0, None)] * k,",
        "bounds=[(None, None)] * k,",
        "heads/test_preference.py",
    ),
    Mutant(
        "gradient of the fixed weights without the share",
        "heads/preference.py",
        "_RIDGE * v - difference.T @ (share * expit(-margin))",
        "_RIDGE * v - difference.T @ (expit(-margin) / len(margin))",
        "heads/test_preference.py",
    ),
    Mutant(
        "l2 without its half",
        "heads/preference.py",
        "value = float(weight @ np.logaddexp(0, -margin)) + 0.5 * l2 * float(b @ b)\n"
        "        return value, l2 * b -",
        "value = float(weight @ np.logaddexp(0, -margin)) + 1.0 * l2 * float(b @ b)\n"
        "        return value, 2 * l2 * b -",
        "heads/test_preference.py",
    ),
    Mutant(
        "l2 chosen on the training pairs",
        "heads/preference.py",
        "projected = test @ basis",
        "test, share = train, weight / len(weight)\n    projected = test @ basis",
        "heads/test_preference.py",
    ),
    # Composition
    Mutant(
        "debias transposed in the coefficients",
        "heads/compose.py",
        "gating @ debias.T)",
        "gating @ debias)",
        "heads/test_compose.py",
    ),
    Mutant(
        "score scale forgotten",
        "heads/compose.py",
        "coefficients = score_scale * (gating",
        "coefficients = 1.0 * (gating",
        "heads/test_compose.py",
    ),
    Mutant(
        "contributions of debiased scores",
        "heads/compose.py",
        "contributions = coefficients * objective_scores\n"
        "    return Composition(contributions.sum(-1), coefficients, contributions, gating)",
        "contributions = coefficients * (objective_scores @ debias)\n"
        "    return Composition(contributions.sum(-1), coefficients, contributions, gating)",
        "heads/test_compose.py",
    ),
    Mutant(
        "scaled gating not normalised",
        "heads/compose.py",
        "return scaled / torch.where(total > 0, total, 1.0)",
        "return scaled",
        "heads/test_compose.py",
    ),
    Mutant(
        "factor on a nuisance let through",
        "heads/compose.py",
        "if factors[v] != 1:",
        "if False:",
        "heads/test_compose.py",
    ),
    # Figures
    Mutant(
        "tie as loss",
        "evaluate/metrics.py",
        "0.5 * (1.0 + (chosen > rejected) - (chosen < rejected))",
        "1.0 * (chosen > rejected)",
        "evaluate/test_metrics.py",
    ),
    Mutant(
        "R2 by the variance of the predictions",
        "evaluate/metrics.py",
        "total = ((ratings - ratings.mean()) ** 2).sum()",
        "total = ((scores - scores.mean()) ** 2).sum()",
        "evaluate/test_metrics.py",
    ),
    Mutant(
        "bootstrap that draws rows in place of prompts",
        "evaluate/groups.py",
        "index = np.unique(ids, return_inverse=True)[1]",
        "index = np.arange(n_rows)",
        "evaluate/test_bootstrap.py",
    ),
    Mutant(
        "Spearman by order of appearance in ties",
        "evaluate/metrics.py",
        "a, b = rankdata(scores), rankdata(ratings)",
        "a, b = scores.argsort().argsort() + 1.0, rankdata(ratings)",
        "evaluate/test_metrics.py",
    ),
    Mutant(
        "percentile levels that are not widened",
        "evaluate/bootstrap.py",
        "math.sqrt(n_groups / (n_groups - 1))",
        "0.8",
        "evaluate/test_bootstrap.py",
    ),
    Mutant(
        "paired difference the wrong way round",
        "evaluate/bootstrap.py",
        "difference = a - b",
        "difference = b - a",
        "evaluate/test_bootstrap.py",
    ),
    Mutant(
        "mid-ranks of resampled ties",
        "evaluate/rank_counts.py",
        "ends - sizes / 2 - ends",
        "ends - sizes - ends",
        "evaluate/test_bootstrap.py",
    ),
    Mutant(
        "resampled R2 against zero",
        "evaluate/rank_counts.py",
        "total = square - first**2 / n",
        "total = square",
        "evaluate/test_bootstrap.py",
    ),
    Mutant(
        "Wilson that ignores clusters",
        "evaluate/interval.py",
        "return spread * (n_events + pull) / (n_events * variance + pull * agreeing)",
        "return spread * n_events",
        "evaluate/test_bootstrap.py",
    ),
    Mutant(
        "mean Spearman resampled objective by objective",
        "evaluate/objectives.py",
        "own = Grouping(kept.index[keep], kept.n_groups)",
        "own = kept.take(keep)",
        "evaluate/test_objectives.py",
    ),
    Mutant(
        "difference to the gated model with the wrong sign",
        "evaluate/baselines.py",
        "interval(wins[name], wins[reference])",
        "interval(wins[reference], wins[name])",
        "evaluate/test_baselines.py",
    ),
    Mutant(
        "difference of contributions with the wrong sign",
        "explain/compare.py",
        "contribution=float(chosen.contributions[name]) - float(rejected.contributions[name])",
        "contribution=float(rejected.contributions[name]) - float(chosen.contributions[name])",
        "explain/test_compare.py",
    ),
    Mutant(
        "preference probability without beta",
        "explain/compare.py",
        "_sigmoid(beta * margin)",
        "_sigmoid(margin)",
        "explain/test_compare.py",
    ),
    Mutant(
        "absolute difference forgotten",
        "features/pooling.py",
        "(u - v).abs()",
        "(u - v)",
        "features/test_pooling.py",
    ),
    Mutant(
        "context pooled over the prompt",
        "features/encoder.py",
        "s == 1",
        "s == 0",
        "features/test_encoder.py",
    ),
    Mutant(
        "heads that see the held-out fold",
        "train/folds.py",
        "[f for f in range(self.settings.n_folds) if f != held_out]",
        "[f for f in range(self.settings.n_folds)]",
        "train/test_folds.py",
    ),
    Mutant(
        "derived pairs scored by their own head",
        "train/stages.py",
        'cross = head["cross_scores"]',
        'cross = predict(head["weight"], head["bias"], rated.features)',
        "train/test_stages.py",
    ),
    Mutant(
        "debias that looks at the held-out fold",
        "train/folds.py",
        "rows = torch.isin(self.pairs.folds, used)",
        "rows = self.pairs.folds >= 0",
        "train/test_folds.py",
    ),
    Mutant(
        "a facts file that may be changed",
        "model/bundle.py",
        'json_bytes(facts | {"digest": claimed}) == content',
        "True",
        "model/test_bundle.py",
    ),
    Mutant(
        "uniform mean with the nuisance",
        "model/rivals.py",
        "uniform[list(nuisances)] = 0",
        "pass",
        "model/test_rivals.py",
    ),
    # Stages
    Mutant(
        "cross-fit that sees its own fold",
        "train/stages.py",
        "for f in used if f != part]",
        "for f in used]",
        "train/test_stages.py",
    ),
    Mutant(
        "largest best step in place of the median",
        "train/gating_stage.py",
        "stats.median(fit.best_step for fit in fits)",
        "max(fit.best_step for fit in fits)",
        "train/test_stages.py",
    ),
    Mutant(
        "baselines that see the held-out fold",
        "train/stages.py",
        "rows = torch.nonzero(torch.isin(pairs.folds, allowed)).flatten()",
        "rows = torch.nonzero(pairs.folds >= 0).flatten()",
        "train/test_folds.py",
    ),
    # Objectives and sources that come and go
    Mutant(
        "added objective that the gate weighs",
        "model/gate_outputs.py",
        "masks = (*network.masked, network.n_objectives) if masked else network.masked",
        "masks = network.masked",
        "model/test_objectives.py::test_an_added_objective_changes_nothing_else",
    ),
    Mutant(
        "masks that do not move with a dropped output",
        "model/gate_outputs.py",
        "tuple(m - (m > index) for m",
        "tuple(m for m",
        "model/test_objectives.py::test_statistics_follow_an_added_and_a_dropped_objective",
    ),
    Mutant(
        "penalty of an added objective with the wrong sign",
        "model/objectives.py",
        "= -fit.penalties[0]",
        "= fit.penalties[0]",
        "model/test_objectives.py::test_the_debias_leaves_no_correlation_with_the_nuisances_on_the_new_rows",
    ),
    Mutant(
        "debias of the objectives left transposed",
        "model/objectives.py",
        "bundle.debias[kept][:, kept]",
        "bundle.debias[kept][:, kept].T",
        "model/test_objectives.py::test_a_dropped_objective_leaves_the_others_bit_for_bit",
    ),
    Mutant(
        "nuisance of an imported matrix dropped",
        "model/objectives.py",
        "bool(bundle.debias[index, others].any())",
        "False",
        "model/test_objectives.py::test_an_objective_that_an_imported_matrix_subtracts_is_a_nuisance",
    ),
    Mutant(
        "figures of rows that their head has seen",
        "model/objectives.py",
        "zip(rows, found.fold_fits, strict=True)",
        "zip(rows, [found.fit] * len(rows), strict=True)",
        "model/test_objectives.py::test_the_figures_are_of_rows_that_their_heads_have_not_seen",
    ),
    Mutant(
        "new rows not added to the statistics",
        "model/sources.py",
        "total = sums + rows.with_objectives(bundle.objectives)",
        "total = sums",
        "model/test_sources.py::test_heads_after_an_addition_are_those_of_sklearn_on_all_rows",
    ),
    Mutant(
        "withdrawn source left in the statistics",
        "model/sources.py",
        "left = sums.without(source)",
        "left = sums",
        "model/test_sources.py::test_heads_after_a_withdrawal_are_those_of_sklearn_on_the_rest",
    ),
    Mutant(
        "statistics of one part in the bundle",
        "train/output.py",
        "return reduce(add, fitted.fitter.parts)",
        "return fitted.fitter.parts[0]",
        "train/test_statistics.py::test_the_heads_of_a_run_are_those_of_its_statistics",
    ),
    # Packed sequences
    Mutant(
        "row of no token of its own",
        "features/packing.py",
        "limit = min(len(text) for text in texts) - 1",
        "limit = min(len(text) for text in texts)",
        "features/test_packing.py",
    ),
    Mutant(
        "positions of a response from 0",
        "features/packing.py",
        "positions.extend(range(n_prefix, n_prefix + len(tokens)))",
        "positions.extend(range(len(tokens)))",
        "features/test_packing.py",
    ),
    Mutant(
        "prefix not counted in the budget",
        "features/packing.py",
        "room = budget - group.n_shared",
        "room = budget",
        "features/test_packing.py",
    ),
    Mutant(
        "end of the prompt always in the prefix",
        "features/packing.py",
        "end = base + row.prompt_end if row.prompt_end < n else start + row.prompt_end - n",
        "end = base + row.prompt_end",
        "features/test_packing.py",
    ),
    Mutant(
        "window a token too wide",
        "features/attention.py",
        "seen & (distance < window)",
        "seen & (distance <= window)",
        "features/test_attention.py",
    ),
    Mutant(
        "products not scaled under a soft cap",
        "features/attention.py",
        "query @ key.transpose(2, 3) * settings.scaling",
        "query @ key.transpose(2, 3)",
        "features/test_attention.py",
    ),
    Mutant(
        "neighbour taken for the prefix",
        "features/attention.py",
        "if span.prefix_stop == span.start:",
        "if span.prefix_stop <= span.start:",
        "features/test_attention.py",
    ),
    Mutant(
        "window of the kernel a token too wide",
        "features/varlen.py",
        "-1 if window is None else window - 1",
        "-1 if window is None else window",
        "features/test_attention.py",
    ),
    Mutant(
        "state of the wrong token in the last layer",
        "features/forward.py",
        "torch.cat([last, end]).unique()",
        "last",
        "features/test_decoder.py",
    ),
    Mutant(
        "state before the last token",
        "features/forward.py",
        "len(row.token_ids) - 1",
        "len(row.token_ids) - 2",
        "features/test_decoder.py",
    ),
    Mutant(
        "packing compared once for all",
        "features/decoder.py",
        "if depth <= self._checked else self._compare(rows, batch, found)",
        "if depth else None",
        "features/test_decoder.py",
    ),
    Mutant(
        "difference that is not a number let through",
        "features/agreement.py",
        "if difference <= LARGEST_DIFFERENCE:",
        "if not difference > LARGEST_DIFFERENCE:",
        "features/test_agreement.py",
    ),
    Mutant(
        "token budget rounded up",
        "features/budget.py",
        "return 1 << (tokens.bit_length() - 1)",
        "return 1 << tokens.bit_length()",
        "features/test_budget.py",
    ),
    # Feature sets
    Mutant(
        "shards that overlap",
        "features/blocks.py",
        "return range(first * n_blocks // self.count, last * n_blocks // self.count)",
        "return range(first * n_blocks // self.count, last * n_blocks // self.count + 1)",
        "features/test_blocks.py",
    ),
    Mutant(
        "rows on disk in the order of the disk",
        "features/mapped.py",
        "found[order[start:stop]] = self._parts[part][inside]",
        "found[start:stop] = self._parts[part][inside]",
        "features/test_mapped.py",
    ),
    Mutant(
        "features in the order of the blocks",
        "features/store.py",
        'order = by_row["rows"].argsort(stable=True)',
        'order = torch.arange(len(by_row["rows"]))',
        "features/test_shards.py",
    ),
    Mutant(
        "token budget forgotten after a kill",
        "features/extract.py",
        'work.budget = Budget(before["token_budget"], before["halved"])',
        "pass",
        "features/test_extract.py",
    ),
    # Public data sets
    Mutant(
        "preference strength read the other way",
        "data/sources/pairing.py",
        "(first, second) if read < 0 else (second, first)",
        "(second, first) if read < 0 else (first, second)",
        "data/test_pair_sets_ratings.py",
    ),
    Mutant(
        "rounding that makes a pair of a tie",
        "data/sources/pairing.py",
        "if abs(gap) <= _ROUNDING:",
        "if gap == 0:",
        "data/test_pairing.py",
    ),
    Mutant(
        "the weakest comparisons of a post kept",
        "data/sources/shp.py",
        "key=lambda place: -ratios[place])",
        "key=lambda place: ratios[place])",
        "data/test_pair_sets_labels.py",
    ),
    Mutant(
        "a step without the steps before it",
        "data/sources/prm800k.py",
        '_JOIN.join([*before, text(completion, "text")])',
        '_JOIN.join([text(completion, "text")])',
        "data/test_pair_sets_labels.py",
    ),
    Mutant(
        "transcripts that do not share their history",
        "data/sources/hh_rlhf.py",
        '    check_same_history(prompt, other, "chosen", "rejected")\n',
        "",
        "data/test_pair_sets_labels.py",
    ),
    Mutant(
        "the unsafe response chosen",
        "data/sources/pku_saferlhf.py",
        "return safe.index(True) if any(safe)",
        "return safe.index(False) if any(safe)",
        "data/test_pair_sets_labels.py",
    ),
    Mutant(
        "ratings joined to the other response",
        "data/sources/openorca.py",
        "zip(responses, scores, strict=True)",
        "zip(responses, scores[::-1], strict=True)",
        "data/test_sources_rated.py",
    ),
    Mutant(
        "a short marker found in a long one",
        "data/sources/fields.py",
        "sorted(markers, key=len, reverse=True)",
        "sorted(markers, key=len)",
        "data/test_sources_fields.py",
    ),
    Mutant(
        "HelpSteer on the scale of the others",
        "data/sources/helpsteer.py",
        "Scale(0, 4, offset=0.5, divisor=5)",
        "Scale(0, 4)",
        "data/test_sources_rated.py",
    ),
    Mutant(
        "the rating of another model",
        "data/sources/code_ultrafeedback.py",
        "rated.get(model)",
        "next(iter(rated.values()))",
        "data/test_sources_rated.py",
    ),
    Mutant(
        "records of two prompts in one group",
        "data/sources/convert.py",
        "(own is None or own != key)",
        "own != key",
        "data/test_sources_convert.py",
    ),
    Mutant(
        "another text as the system message",
        "data/sources/ultrafeedback.py",
        'optional_text(completion, "custom_system_prompt")',
        'optional_text(completion, "principle")',
        "data/test_sources_rated.py",
    ),
    # Heads of the published scripts
    Mutant(
        "a pickle that may run code",
        "model/published_heads.py",
        "weights_only=True",
        "weights_only=False",
        "model/test_published_heads.py",
    ),
    Mutant(
        "a new gate without the debias of the model",
        "model/imported.py",
        "transform=old.debias",
        "transform=None",
        "model/test_imported.py",
    ),
    # Trainers
    Mutant(
        "a response without its beginning",
        "data/chat_text.py",
        "prefix + known.without_end(rest, last=True)",
        "known.without_end(rest, last=True)",
        "data/test_chat_text.py",
    ),
    Mutant(
        "a response that opens another turn",
        "data/chat_text.py",
        "if opened := known.opener.search(response):",
        "if opened := None:",
        "data/test_chat_text.py",
    ),
    Mutant(
        "debias transposed in the rewards",
        "integrations/shared.py",
        "return (raw @ bundle.debias)[:, kept]",
        "return (raw @ bundle.debias.T)[:, kept]",
        "integrations/test_shared.py",
    ),
    Mutant(
        "scores put at the wrong rows",
        "integrations/shared.py",
        "places = [i for i, reason in enumerate(reasons) if reason is None]",
        "places = list(range(len(usable)))",
        "integrations/test_shared.py",
    ),
    Mutant(
        "a batch known by its first row",
        "integrations/trl.py",
        "key = tuple(rows)",
        "key = tuple(rows[:1])",
        "integrations/test_trl.py",
    ),
    Mutant(
        "padding scored as part of a response",
        "integrations/verl.py",
        "response[: int(mask.sum())]",
        "response",
        "integrations/test_verl.py",
    ),
    # The released layout
    Mutant(
        "the first pad of a run taken for padding",
        "model/modeling_armorm.py",
        'if pad in _token_ids(config, "eos_token_id"):',
        'if pad in _token_ids(config, "bos_token_id"):',
        "model/test_modeling.py",
    ),
    Mutant(
        "positions that count padding",
        "model/modeling_armorm.py",
        "position_ids = (real.long().cumsum(-1) - 1).clamp(min=0)",
        "position_ids = torch.arange(ids.shape[1])[None].expand_as(ids)",
        "model/test_modeling.py",
    ),
    Mutant(
        "reward transform transposed",
        "model/modeling_armorm.py",
        "score = (gating * (rewards @ matrix)).sum(-1)",
        "score = (gating * (rewards @ matrix.T)).sum(-1)",
        "model/test_modeling.py",
    ),
    Mutant(
        "heads cast with the backbone",
        "model/modeling_armorm.py",
        "return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)",
        "return moved",
        "model/test_modeling.py",
    ),
    Mutant(
        "a released score without its scale",
        "model/released/heads.py",
        "score_scale=shortest(float(scale[0])),",
        "score_scale=1.0,",
        "model/test_released.py",
    ),
    Mutant(
        "a float32 backbone run in bfloat16",
        "model/released/checkpoint.py",
        'if len(kinds) == 1 else "float32"',
        'if len(kinds) == 1 else "bfloat16"',
        "model/test_released.py",
    ),
    # Exports
    Mutant(
        "a mean folded without its scale",
        "model/exports/gate.py",
        "biases[0] - weights[0] @ (mean / scale)",
        "biases[0] - weights[0] @ mean",
        "model/test_exports_parts.py",
    ),
    Mutant(
        "factors folded without the temperature",
        "model/exports/gate.py",
        "network.temperature * log)",
        "log)",
        "model/test_exports_parts.py",
    ),
    Mutant(
        "debiased labels by the transposed matrix",
        "model/exports/layouts.py",
        "bundle.debias.T.double() @",
        "bundle.debias.double() @",
        "model/test_exports.py",
    ),
    Mutant(
        "the first occurrence of the pattern",
        "model/exports/pattern.py",
        "range(len(ids) - len(wanted), -1, -1)",
        "range(len(ids) - len(wanted) + 1)",
        "model/test_exports_parts.py",
    ),
    Mutant(
        "an export that gives no number kept",
        "model/exports/parity.py",
        "if not largest <= wanted.tolerance:",
        "if largest > wanted.tolerance:",
        "model/test_exports_parts.py",
    ),
    Mutant(
        "a padding token that conversations hold",
        "model/exports/tokenizer_files.py",
        "own is not None and own not in used and",
        "own is not None and",
        "model/test_exports_parts.py",
    ),
    # Protocols and cached scores
    Mutant(
        "a tie counted as a win of a protocol",
        "evaluate/protocols/rewardbench.py",
        "else np.floor(wins)",
        "else np.ceil(wins)",
        "evaluate/test_protocols.py",
    ),
    Mutant(
        "a shared first place counted whole",
        "evaluate/protocols/rewardbench2.py",
        "return np.where(values[begin] == top, 1.0 / n_at_top, 0.0)",
        "return np.where(values[begin] == top, 1.0, 0.0)",
        "evaluate/test_protocols.py",
    ),
    Mutant(
        "hard and easy swapped",
        "evaluate/protocols/rm_bench.py",
        "_HARD, _EASY = np.triu_indices(3, 1), np.tril_indices(3, -1)",
        "_HARD, _EASY = np.tril_indices(3, -1), np.triu_indices(3, 1)",
        "evaluate/test_protocols.py",
    ),
    Mutant(
        "a tie that goes to the first response",
        "evaluate/protocols/judgebench.py",
        "return ((a > b) ==",
        "return ((a >= b) ==",
        "evaluate/test_protocols.py",
    ),
    Mutant(
        "the number of weights for their effective number",
        "evaluate/protocols/intervals.py",
        "return float(mass.sum() ** 2 / (mass @ mass))",
        "return float(len(mass))",
        "evaluate/test_protocols_run.py",
    ),
    Mutant(
        "a damaged score trusted",
        "evaluate/score_cache.py",
        "if digest != file.stem:",
        "if not digest:",
        "evaluate/test_scoring.py",
    ),
    # Other scorers
    Mutant(
        "both orders read alike",
        "evaluate/scorers/judge.py",
        "signs = _SIGN[chosen_first], -_SIGN[rejected_first]",
        "signs = _SIGN[chosen_first], _SIGN[rejected_first]",
        "evaluate/test_scorers_judge.py::test_a_judge_that_knows_wins_every_pair_in_both_orders",
    ),
    Mutant(
        "one request beyond the cap",
        "evaluate/scorers/judge_http.py",
        "self._n_requests >= self.settings.max_requests",
        "self._n_requests > self.settings.max_requests",
        "evaluate/test_scorers_judge.py::test_no_request_is_sent_beyond_the_cap_and_what_was_answered_stays",
    ),
    Mutant(
        "a key carried to another host",
        "evaluate/scorers/judge_http.py",
        "build_opener(_NoRedirect)",
        "build_opener()",
        "evaluate/test_scorers_judge.py::test_a_redirect_is_not_followed_so_the_key_stays",
    ),
    Mutant(
        "marks without a joint level",
        "evaluate/scorers/side_by_side.py",
        "_finding(interval(settings.joint_level))",
        "_finding(interval(settings.level))",
        "evaluate/test_scorers_side_by_side.py",
    ),
    Mutant(
        "truncation on the right",
        "model/classifier.py",
        "ids[:n_bos] + ids[n_bos + excess :]",
        "ids[: len(ids) - excess]",
        "model/test_sequence_classifier.py",
    ),
    # Audit
    Mutant(
        "reliability without the confidence",
        "evaluate/audit/calibration.py",
        "weights=right - confidence",
        "weights=right",
        "evaluate/test_audit_parts.py",
    ),
    Mutant(
        "a temperature measured where it was fitted",
        "evaluate/audit/calibration.py",
        "fit_temperature(values[fit], beta=beta)",
        "fit_temperature(values[~fit], beta=beta)",
        "evaluate/test_audit_parts.py",
    ),
    Mutant(
        "ranks centred over all prompts",
        "evaluate/audit/estimates.py",
        "    return ranks - (grouping.sums(ranks) / grouping.sizes)[grouping.index]",
        "    return ranks - ranks.mean()",
        "evaluate/test_audit_parts.py",
    ),
    Mutant(
        "a participation ratio of the trace",
        "evaluate/audit/structure.py",
        "float(np.trace(kept) ** 2 / (kept**2).sum())",
        "float(np.trace(kept) / (kept**2).sum())",
        "evaluate/test_audit_parts.py",
    ),
    Mutant(
        "rounding counted as a rise",
        "evaluate/audit/effects.py",
        "raised = (moved > least)",
        "raised = (moved >= 0)",
        "evaluate/test_audit.py",
    ),
    # Anyone on the same bench
    Mutant(
        "a tie that gains a verdict",
        "evaluate/protocols/shapes.py",
        "n_equal = 1.0 + (wins == 0.5)",
        "n_equal = 0.0 + (wins == 0.5)",
        "evaluate/test_protocols_judge.py",
    ),
    Mutant(
        "differences judged one by one",
        "evaluate/protocols/compared.py",
        "1.0 - (1.0 - resampling.level) / max(len(compared), 1)",
        "resampling.level",
        "evaluate/test_protocols_compared.py",
    ),
    Mutant(
        "pairs that only one has a verdict on",
        "evaluate/protocols/compared.py",
        "measured[one[0]].known & measured[one[1]].known",
        "measured[one[0]].known",
        "evaluate/test_protocols_compared.py",
    ),
    Mutant(
        "the second order read as the first",
        "evaluate/protocols/verdicts.py",
        "right, wrong = wrong, right",
        "right, wrong = right, wrong",
        "evaluate/test_protocols_judge.py",
    ),
    Mutant(
        "figures of what is missing",
        "evaluate/protocols/intervals.py",
        "& exists).astype(np.float64)",
        "& ~exists).astype(np.float64)",
        "evaluate/test_protocols_compared.py",
    ),
    Mutant(
        "every request counted as a repeated one",
        "evaluate/scorers/judge_http.py",
        "self._n_retried += is_repeated",
        "self._n_retried += 1",
        "evaluate/test_scorers_judge.py",
    ),
    # Reports
    Mutant(
        "the chosen response is the longer one",
        "evaluate/length.py",
        "np.where(is_longer, wins, 1.0 - wins)",
        "wins",
        "evaluate/test_length.py",
    ),
    # Explanations
    Mutant(
        "weight taken from the smallest first",
        "explain/flip.py",
        "for name in sorted(free, key=lambda name: -ahead[name]):",
        "for name in sorted(free, key=lambda name: ahead[name]):",
        "explain/test_flip.py",
    ),
    Mutant(
        "a factor rounded so that nothing turns",
        "explain/flip.py",
        "ROUND_CEILING if up else ROUND_FLOOR",
        "ROUND_FLOOR if up else ROUND_CEILING",
        "explain/test_flip.py",
    ),
    Mutant(
        "features that are not centred",
        "explain/nearest.py",
        "_directions(features.float() - self._mean)",
        "_directions(features.float())",
        "explain/test_nearest.py",
    ),
    Mutant(
        "rated rows of the first block",
        "explain/nearest.py",
        "not_rated = ~rated[:, start : start + len(block)]",
        "not_rated = ~rated[:, : len(block)]",
        "explain/test_nearest.py",
    ),
    # Labelling
    Mutant(
        "best against best",
        "label/select.py",
        "places[np.argmin(group.scores[places])]",
        "places[np.argmax(group.scores[places])]",
        "label/test_select.py",
    ),
    Mutant(
        "the length rule turned round",
        "label/select.py",
        "group.lengths[:, None] - group.lengths[None, :] <=",
        "group.lengths[None, :] - group.lengths[:, None] <=",
        "label/test_select.py",
    ),
    Mutant(
        "a pair of one text",
        "label/select.py",
        "able = text[:, None] != text[None, :]",
        "able = text[:, None] >= 0 * text[None, :]",
        "label/test_select.py",
    ),
    Mutant(
        "best of n with replacement",
        "label/summary.py",
        "steps = np.maximum(size - i - n, 0.0) / (size - 1 - i)",
        "steps = np.maximum(size - n, 0.0) / size + 0 * i",
        "label/test_summary.py",
    ),
    # Serving
    Mutant(
        "the same client first again",
        "serve/batching.py",
        "queue.rotate(-1)",
        "pass",
        "serve/test_batching.py",
    ),
    Mutant(
        "a shared prompt counted for each",
        "serve/batching.py",
        "n_own = row.n_tokens - (row.n_shared if is_known else 0)",
        "n_own = row.n_tokens",
        "serve/test_batching.py",
    ),
)


def damaged(mutant: Mutant) -> str:
    """The text of the file with the damage.

    Raises:
        ValueError: the text to replace does not occur exactly once.
    """
    text = (ROOT / "src/armorm" / mutant.file).read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.file}: {mutant.old!r} must occur once; found {text.count(mutant.old)}"
        )
    return text.replace(mutant.old, mutant.new)


def run(tests: str, mutant: Mutant | None = None) -> subprocess.CompletedProcess[str]:
    """Run tests against a copy of the package, damaged or not.

    The copy comes before the installed package on the path, and a plugin ends the run with
    a code of its own if any other armorm was imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src", copy, ignore=ignore)
        if mutant is not None:
            (copy / "armorm" / mutant.file).write_text(damaged(mutant))
        (copy / f"{_WITNESS}.py").write_text(
            "import pathlib\n"
            "from hypothesis import Phase, settings\n"
            # A damage is to be seen, not reduced: shrinking would take most of the time.
            "settings.register_profile('mutants', derandomize=True, database=None, deadline=None,\n"
            "                          phases=[Phase.explicit, Phase.generate])\n"
            "settings.load_profile('mutants')\n"
            "def pytest_sessionfinish(session, exitstatus):\n"
            "    import armorm\n"
            f"    if not pathlib.Path(armorm.__file__).is_relative_to({str(copy)!r}):\n"
            f"        session.exitstatus = {_ELSEWHERE}\n"
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy),
            # Bytecode of a file of the same size and second would hide a damage.
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(Path(folder) / "hypothesis"),
            "OMP_NUM_THREADS": "1",
            "ARMORM_MUTANT": "1",  # conftest leaves our hypothesis profile alone
        }
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-p", "no:xdist", "-p", _WITNESS, f"tests/{tests}"]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
        )


def verdict(done: subprocess.CompletedProcess[str]) -> str:
    """`passed` or `failed`, for a run that reached the tests of the copy.

    Raises:
        RuntimeError: the run ended in another way (nothing collected, another armorm).
    """
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the run ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return "passed" if done.returncode == 0 else "failed"


def main() -> int:
    """Run every mutant and name those that survive."""
    survivors = 0
    for tests in sorted({mutant.tests for mutant in MUTANTS}):
        if verdict(run(tests)) != "passed":
            sys.stdout.write(f"{tests} fails on the undamaged package\n")
            return 1
    for mutant in MUTANTS:
        caught = verdict(run(mutant.tests, mutant)) == "failed"
        survivors += not caught
        outcome = "caught  " if caught else "SURVIVED"
        sys.stdout.write(f"{outcome} {mutant.file}: {mutant.name}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} caught\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
