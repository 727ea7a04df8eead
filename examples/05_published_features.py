"""Heads from feature files of the published ArmoRM scripts: no text, no backbone, no GPU.

Without arguments it writes small files in their layout first, so that it runs anywhere.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from armorm.features.mapped import CHUNK_ROWS, chunks
from armorm.features.published import OBJECTIVES, read_published_pairs, read_published_rated
from armorm.heads.debias import fit_debias
from armorm.heads.gating import GatingSettings, fit_gating
from armorm.heads.ridge import fit_ridge, predict
from armorm.heads.ridge_path import choose_alpha
from armorm.heads.statistics import Statistics

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/published")
rated_folder, pairs_folder = folder / "rated", folder / "pairs"
if not rated_folder.exists():
    draw = torch.Generator().manual_seed(0)
    truth = torch.randn(64, 19, generator=draw) / 8
    x = torch.randn(4000, 64, generator=draw)
    labels = (0.5 + 0.1 * (x @ truth + 0.3 * torch.randn(4000, 19, generator=draw))).clamp(0, 1)
    labels[2000:, :5] = torch.nan  # HelpSteer rates the first half, others the second
    labels[:2000, 5:] = torch.nan
    both, prompt = torch.randn(2, 1500, 2, 64, generator=draw)
    prompt[:, 1] = prompt[:, 0]
    wins = ((both[:, 0] - both[:, 1]) @ truth[:, :5]).sum(1) > 0
    both[~wins] = both[~wins].flip(1)
    for path, tensors in (
        (rated_folder, {"embeddings": x.bfloat16(), "labels": labels}),
        (pairs_folder, {"embeddings": both.bfloat16(), "prompt_embeddings": prompt.bfloat16()}),
    ):
        path.mkdir(parents=True)
        save_file(tensors, path / "demo-00001-of-00001.safetensors")

rated, pairs = read_published_rated(rated_folder), read_published_pairs(pairs_folder)
print(f"{len(rated.response):,} rated responses, {len(pairs.chosen):,} pairs, on disk")

# One pass over the features; rows have no prompts here, so a fifth of the rows is held out.
folds = [Statistics(OBJECTIVES, rated.response.shape[1]) for _ in range(5)]
for number, x in enumerate(chunks(rated.response)):
    y = rated.ratings[number * CHUNK_ROWS :][: len(x)]
    for fold, sums in enumerate(folds):
        sums.update(x[fold::5], y[fold::5])
path = choose_alpha(folds, alphas=torch.logspace(-4, 4, 9), validate_on=[0])
head = fit_ridge(sum(folds[1:], folds[0]), alpha=path.chosen)

scores = [predict(head.weight, head.bias, side[:]) for side in (pairs.chosen, pairs.rejected)]
verbosity = OBJECTIVES.index("helpsteer-verbosity")
debias = fit_debias(torch.cat(scores), nuisances=[verbosity])
chosen, rejected = (side @ debias.matrix for side in scores)

held = torch.arange(len(chosen)) % 5 == 0
train, test = torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()
gate = fit_gating(
    pairs.prompt.chosen(train),
    chosen[train],
    rejected[train],
    settings=GatingSettings(hidden=(32,), max_steps=100, masked=(verbosity,)),
    validation=(pairs.prompt.chosen(test), chosen[test], rejected[test]),
)
print(f"largest noise of an objective: {head.noise_variance.sqrt().max():.3f} (scale 0 to 1)")
print(f"held-out accuracy of the gate after {gate.best_step} steps: {gate.validation_accuracy:.3f}")
