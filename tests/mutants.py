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
        "parts added without the step between their means",
        "heads/moments.py",
        "(first.xx + second.xx).addr_(step_x, step_x, alpha=share)",
        "first.xx + second.xx",
        "heads/test_moments.py",
    ),
    Mutant(
        "cross products added without the step",
        "heads/moments.py",
        "addr_(step_x, step_y, alpha=share)",
        "addr_(step_x, step_y, alpha=0.0)",
        "heads/test_moments.py",
    ),
    Mutant(
        "lower triangle forgotten",
        "heads/moments.py",
        "np.triu(upper) + np.triu(upper, 1).T",
        "np.triu(upper)",
        "heads/test_moments.py",
    ),
    Mutant(
        "held-out loss without the bias",
        "heads/moments.py",
        "offset = weight @ content.mean_x + bias - content.mean_y[column]",
        "offset = weight @ content.mean_x - content.mean_y[column]",
        "heads/test_moments.py",
    ),
    Mutant(
        "missing rating taken as 0",
        "heads/statistics.py",
        'y = ratings.detach().to("cpu", torch.float64)',
        'y = ratings.detach().to("cpu", torch.float64).nan_to_num(0.0)',
        "heads/test_statistics.py",
    ),
    Mutant(
        "source kept that was to be left out",
        "heads/statistics.py",
        "if key[0] != source)",
        "if key[0])",
        "heads/test_statistics.py",
    ),
    Mutant(
        "rows summed in float32",
        "heads/statistics.py",
        'x = features.detach().to("cpu", torch.float64)',
        'x = features.detach().to("cpu", torch.float32).double()',
        "heads/test_statistics.py",
    ),
    Mutant(
        "statistics share the caller's memory",
        "heads/statistics.py",
        "part.add(Rows(x[rows], y[rows][:, list(key[1])]))",
        "part.add(Rows(x[: len(rows)] if len(rows) == len(x) else x[rows], "
        "y[rows][:, list(key[1])]))",
        "heads/test_statistics.py",
    ),
    Mutant(
        "sum that writes to its first operand",
        "heads/statistics.py",
        "kept._parts = {key: self._parts[key].copy() for key in keys}",
        "kept._parts = {key: self._parts[key] for key in keys}",
        "heads/test_statistics.py",
    ),
    # Ridge
    Mutant(
        "bias dropped from predictions",
        "heads/ridge.py",
        "features.to(weight.dtype) @ weight.T + bias",
        "features.to(weight.dtype) @ weight.T",
        "heads/test_ridge.py",
    ),
    Mutant(
        "bias fitted as the mean rating",
        "heads/ridge_system.py",
        "return weight, self.mean_y[self.members.index(objective)] - weight @ self.mean_x",
        "return weight, self.mean_y[self.members.index(objective)] - 0 * weight @ self.mean_x",
        "heads/test_ridge.py",
    ),
    Mutant(
        "alpha averaged over objectives in the fit",
        "heads/ridge.py",
        "    weight = torch.zeros(k, statistics.d",
        "    alphas = alphas.mean().expand(k)\n    weight = torch.zeros(k, statistics.d",
        "heads/test_ridge.py",
    ),
    Mutant(
        "alpha halved",
        "heads/ridge_system.py",
        "scaled = _divide(target[:, None], self.values[:, None] + alphas)",
        "scaled = _divide(target[:, None], self.values[:, None] + alphas / 2)",
        "heads/test_ridge.py",
    ),
    Mutant(
        "dual rows not centred",
        "heads/ridge_system.py",
        "x, y = rows.features - self.mean_x, rows.ratings - self.mean_y",
        "x, y = rows.features, rows.ratings - self.mean_y",
        "heads/test_ridge.py",
    ),
    Mutant(
        "no intercept, but about the mean",
        "heads/ridge_system.py",
        "xx = xx.addr(moments.mean_x, moments.mean_x, alpha=self.n)",
        "xx = xx.addr(moments.mean_x, moments.mean_x, alpha=0.0)",
        "heads/test_ridge.py",
    ),
    Mutant(
        "noise variance divided by n",
        "heads/ridge_system.py",
        "return residual / left",
        "return residual / self.n",
        "heads/test_ridge.py",
    ),
    Mutant(
        "degrees of freedom without the intercept",
        "heads/ridge_system.py",
        "left = self.n - float(share.sum()) - self.intercept",
        "left = self.n - float(share.sum())",
        "heads/test_ridge.py",
    ),
    Mutant(
        "undetermined solution let through",
        "heads/ridge_system.py",
        "return not self.dual and largest > 0 and float(self.values[0]) > limit",
        "return True",
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
        "heads/test_gating.py"
        "::test_gate_finds_the_objective_that_matters_where_fixed_weights_cannot",
    ),
    Mutant(
        "temperature that multiplies",
        "heads/gating_network.py",
        "self.logits(prompt) / self.temperature",
        "self.logits(prompt) * self.temperature",
        "heads/test_gating.py",
    ),
    Mutant(
        "third axis taken",
        "heads/gating_network.py",
        '        check_shape("prompt", prompt, "n d", d=self.in_features)\n        return',
        "        return",
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
        "heads/gating.py",
        "chosen.detach().float() - rejected.detach().float()",
        "rejected.detach().float() - chosen.detach().float()",
        "heads/test_gating.py",
    ),
    Mutant(
        "gate that never gets a gradient",
        "heads/gating.py",
        "gating = self.network(pairs.prompt)\n        margin = (gating *",
        "gating = self.network(pairs.prompt).detach()\n        margin = (gating *",
        "heads/test_gating.py",
    ),
    Mutant(
        "beta fixed",
        "heads/gating.py",
        "functional.softplus(-self.log_beta.exp() * margin)",
        "functional.softplus(-self.log_beta.detach().exp() * margin)",
        "heads/test_gating.py",
    ),
    Mutant(
        "weight decay on beta",
        "heads/gating.py",
        '{"params": [self.log_beta], "weight_decay": 0.0}',
        '{"params": [self.log_beta]}',
        "heads/test_gating.py",
    ),
    Mutant(
        "constant learning rate",
        "heads/gating.py",
        "0.5 * (1 + math.cos(math.pi * (step - 1) / max_steps))",
        "1.0",
        "heads/test_gating.py",
    ),
    Mutant(
        "schedule that depends on the number of steps asked for",
        "heads/gating.py",
        "_cosine(step, self.settings.max_steps)",
        "_cosine(step, n_steps)",
        "heads/test_gating.py",
    ),
    Mutant(
        "entropy punished",
        "heads/gating.py",
        "(loss - self.settings.entropy_weight * entropy).backward()",
        "(loss + self.settings.entropy_weight * entropy).backward()",
        "heads/test_gating.py",
    ),
    Mutant(
        "last state kept in place of the best",
        "heads/gating.py",
        "if self.held_out is None or loss < self.best[0]:",
        "if True:",
        "heads/test_gating.py",
    ),
    Mutant(
        "validation on the training pairs",
        "heads/gating.py",
        "loss = float(self._losses(self.held_out)[0])",
        "loss = float(self._losses(self.pairs)[0])",
        "heads/test_gating.py",
    ),
    Mutant(
        "tie as loss in the validation accuracy",
        "heads/gating.py",
        "float((margin.sign() + 1).mean()) / 2",
        "float((margin > 0).float().mean())",
        "heads/test_gating.py",
    ),
    Mutant(
        "weights of pairs ignored",
        "heads/gating.py",
        "share = pairs.weight / pairs.weight.sum()",
        "share = torch.ones_like(pairs.weight) / len(pairs.weight)",
        "heads/test_gating.py",
    ),
    Mutant(
        "order of pairs from the global random state",
        "heads/gating.py",
        "torch.randperm(p, generator=generator)",
        "torch.randperm(p)",
        "heads/test_gating.py",
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
        "contributions = coefficients * objective_scores\n    return Composition("
        "contributions.sum(-1), coefficients, contributions, gating)",
        "contributions = coefficients * (objective_scores @ debias)\n    return Composition("
        "contributions.sum(-1), coefficients, contributions, gating)",
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
        "effective = min(spread / variance, n_rows)",
        "effective = n_rows",
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
        "response feature one token early",
        "features/decoder.py",
        "row.n_tokens - 1",
        "row.n_tokens - 2",
        "features/test_decoder.py",
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
        "cross-fit that sees its own fold",
        "train/stages.py",
        "for f in used if f != fold]",
        "for f in used]",
        "train/test_stages.py",
    ),
    Mutant(
        "largest best step in place of the median",
        "train/stages.py",
        "stats.median(fit.best_step for fit in fits)",
        "max(fit.best_step for fit in fits)",
        "train/test_stages.py",
    ),
    Mutant(
        "baselines that see the held-out fold",
        "train/stages.py",
        "rows = torch.isin(pairs.folds, allowed)",
        "rows = pairs.folds >= 0",
        "train/test_folds.py",
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
            "settings.register_profile('mutants', derandomize=True, database=None,\n"
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
