"""Which layer of the sentence encoder to pool, chosen without looking at the reported rows.

The quick start's recipe pools the middle layer. That choice was made after looking at this
corpus, so this script asks what is left of the figures when the layer of each outer fold is
chosen by the loss on its inner folds alone. It prints the figures of every single layer
beside the nested ones, and one JSON object last.

    python benchmarks/quickstart_layers.py [--fast]

`--fast`: one assignment of folds, not three.
"""

from __future__ import annotations

import time

import harness
import numpy as np
import torch

from armorm.data import DataSource, Drops, folds_of, rating_matrix, read_pairs, read_rated
from armorm.data.quickstart import RECIPE
from armorm.evaluate.metrics import preference_accuracy, spearman
from armorm.features.backbone import load_backbone
from armorm.features.extract import compute_features
from armorm.features.interface import FeatureOptions
from armorm.heads.ridge import predict
from armorm.heads.ridge_path import fit_ridge_nested
from armorm.heads.statistics import Statistics
from armorm.train.output import scales_of
from armorm.train.recipe import load_recipe

LAYERS = tuple(range(7))
NOT_JUDGING = ("verbosity", "complexity")  # they describe a response, they do not praise it


def main() -> None:
    """Run the comparison."""
    arguments = harness.options(__doc__).parse_args()
    harness.start(arguments)
    seeds = ("0",) if arguments.fast else ("0", "1", "2")
    started = time.perf_counter()
    recipe = load_recipe(RECIPE)
    scales, objectives = scales_of(recipe), recipe.objectives
    rated = read_rated([DataSource("quickstart:rated.jsonl")], scales, drops=Drops())
    pairs = read_pairs([DataSource("quickstart:pairs.jsonl")], drops=Drops())
    sides = [c for pair in pairs for c in pair.conversations]
    options = FeatureOptions(layers=LAYERS, blocks=("response", "context"), normalise=True)
    backbone = load_backbone(recipe.backbone.name, device="cpu", options=options)
    features = compute_features(backbone, [row.conversation for row in rated]).response
    pair_features = compute_features(backbone, sides).response
    ratings = torch.from_numpy(rating_matrix(rated, objectives, scales))
    rows = []
    for seed in seeds:
        folds = folds_of([row.prompt for row in [*rated, *pairs]], 5, seed)
        rows.append(
            compare(features, ratings, pair_features, folds, [r.source for r in rated], objectives)
        )
    report(rows, objectives, seeds, time.perf_counter() - started, arguments)


def compare(features, ratings, pair_features, folds, sources, objectives):
    """Mean Spearman and uniform-mean accuracy by layer, and with the layer chosen inside."""
    fold = torch.tensor(folds[: len(ratings)])
    pair_fold = torch.tensor(folds[len(ratings) :])
    width = features.shape[1] // (2 * len(LAYERS))
    variance = np.nanvar(ratings.numpy(), axis=0)
    quality = [j for j, name in enumerate(objectives) if name not in NOT_JUDGING]
    predicted, margins, inner_loss = {}, {}, {}
    for number, layer in enumerate(LAYERS):
        # Features are blocks x layers: this layer's response, then its context.
        starts = (number * width, (len(LAYERS) + number) * width)
        columns = torch.cat([torch.arange(s, s + width) for s in starts])
        x, px = features[:, columns], pair_features[:, columns]
        parts = [
            Statistics.from_features(
                x[fold == f],
                ratings[fold == f],
                objectives=objectives,
                sources=[s for s, g in zip(sources, fold.tolist(), strict=True) if g == f],
            )
            for f in range(5)
        ]
        nested = fit_ridge_nested(parts, alphas=torch.logspace(-4, 4, 9, dtype=torch.float64))
        scores, margin = torch.zeros(len(x), len(objectives)), torch.zeros(len(pair_fold))
        for f, head in enumerate(nested.fold_fits):
            scores[fold == f] = predict(head.weight, head.bias, x[fold == f])
            q = predict(head.weight, head.bias, px)[:, quality].mean(1)
            margin[pair_fold == f] = (q[0::2] - q[1::2])[pair_fold == f]
        predicted[layer], margins[layer] = scores, margin
        inner_loss[layer] = [
            float((path.losses.min(0).values.numpy() / variance).mean())
            for path in nested.fold_paths
        ]
    chosen = [min(LAYERS, key=lambda layer: inner_loss[layer][f]) for f in range(5)]
    scores, margin = torch.zeros_like(predicted[0]), torch.zeros_like(margins[0])
    for f, layer in enumerate(chosen):
        scores[fold == f] = predicted[layer][fold == f]
        margin[pair_fold == f] = margins[layer][pair_fold == f]
    figures = {layer: figure(predicted[layer], ratings, margins[layer]) for layer in LAYERS}
    return {"layers": figures, "nested": figure(scores, ratings, margin), "chosen": chosen}


def figure(scores, ratings, margin):
    """(mean Spearman, accuracy) of held-out predictions."""
    rho = [spearman(scores[:, j], ratings[:, j]) for j in range(ratings.shape[1])]
    return float(np.mean(rho)), preference_accuracy(margin, torch.zeros_like(margin))


def report(rows, objectives, seeds, seconds, arguments):
    """Print the table and the JSON line."""
    print(f"{len(objectives)} objectives, 5 folds, {len(seeds)} assignments of folds")
    print(f"{'layer':>8} {'mean Spearman':>14} {'accuracy':>9}")
    for layer in LAYERS:
        rho, accuracy = np.mean([row["layers"][layer] for row in rows], axis=0)
        print(f"{layer:>8} {rho:>14.3f} {accuracy:>9.3f}")
    rho, accuracy = np.mean([row["nested"] for row in rows], axis=0)
    print(f"{'nested':>8} {rho:>14.3f} {accuracy:>9.3f}")
    print("layers chosen on inner folds:", *(row["chosen"] for row in rows))
    harness.finish(
        {
            "benchmark": "quickstart_layers",
            "nested_mean_spearman": round(float(rho), 4),
            "nested_accuracy_uniform_mean": round(float(accuracy), 4),
            "chosen": [row["chosen"] for row in rows],
            "seconds": round(seconds, 1),
        },
        name="quickstart_layers",
        arguments=arguments,
    )


if __name__ == "__main__":
    main()
