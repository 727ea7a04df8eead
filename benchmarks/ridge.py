"""Ridge heads at the paper's scale, beside the published procedure and the matrix rate.

Part 1: 585,400 x 4,096 bfloat16 features, memory-mapped from safetensors shards, 19 objectives
in 8 missingness patterns of the paper's sizes, 9 alphas, validation on a fifth of the prompts,
the final fit on all rows, noise variances. Beside it the floor: X'X of the same chunks by a
float32 matrix product in torch, the conversion to float32 not counted.

Part 2: growing n at d = 1,024, features in memory: the published procedure (scikit-learn's
`Ridge` in float32 for each objective and alpha, then once more), `RidgeCV` for each group of
objectives that are rated together, and ours, all without an intercept, on the same rows.

Part 3, checked and not timed: coefficients and chosen alphas against scikit-learn in float64.

    python benchmarks/ridge.py [--fast] [--threads N] [--no-save]

`--fast`: two fifths of the rows in part 1, fewer sizes in part 2, `RidgeCV` at the smallest.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from ridge_problem import CHUNK, NAMES, Labels, draw, plant
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import mean_squared_error
from torch import Tensor

from armorm.heads.ridge import RidgeFit, fit_ridge
from armorm.heads.ridge_path import RidgePath, choose_alpha
from armorm.heads.statistics import Statistics

ALPHAS = torch.logspace(-4, 4, 9, dtype=torch.float64)
PAPER = 585_400
SHARD = 32_768


def update(train: Statistics, held: Statistics, x: Tensor, labels: Labels, rows: slice) -> None:
    """Take rows in, each on its side; a row without ratings counts for nothing."""
    ratings, out = labels.ratings[rows], labels.held[rows, None]
    for statistics, mask in ((train, out), (held, ~out)):
        hidden = ratings.masked_fill(mask, torch.nan)
        statistics.update(x, hidden, sources=labels.sources[rows])


def solve(train: Statistics, held: Statistics) -> tuple[RidgePath, RidgeFit, dict[str, float]]:
    """Choose alphas on the held-out rows, and fit on all."""
    started = time.perf_counter()
    path = choose_alpha([train, held], alphas=ALPHAS, intercept=False, validate_on=[1])
    chosen = time.perf_counter()
    fit = fit_ridge(train + held, alpha=path.chosen, intercept=False)
    done = time.perf_counter()
    return path, fit, {"alphas": chosen - started, "final fit": done - chosen}


def ours(x: Tensor, labels: Labels) -> tuple[RidgePath, RidgeFit, Statistics]:
    """Our procedure on features in memory."""
    train, held = Statistics(NAMES, x.shape[1]), Statistics(NAMES, x.shape[1])
    for start in range(0, len(x), SHARD):
        rows = slice(start, min(start + SHARD, len(x)))
        update(train, held, x[rows], labels, rows)
    path, fit, _ = solve(train, held)
    return path, fit, train


def published(x: np.ndarray, ratings: np.ndarray, held: np.ndarray) -> tuple[Any, Any]:
    """The published procedure: losses (a, k) and coefficients, fitted on the other rows.

    Source:
        RLHFlow/RLHF-Reward-Modeling armo-rm/stage-1_train.py, written anew: one `Ridge` in
        float32 for each objective and alpha on the rows rated, its error on the held-out
        rows, and the best one fitted again. Its random split of rows is one by prompt here.
    """
    x_train, x_held, y_train, y_held = x[~held], x[held], ratings[~held], ratings[held]
    losses = np.zeros((len(ALPHAS), len(NAMES)))
    weight = np.zeros((len(NAMES), x.shape[1]))
    for j in range(len(NAMES)):
        rated, seen = ~np.isnan(y_train[:, j]), ~np.isnan(y_held[:, j])
        xt, yt, xv, yv = x_train[rated], y_train[rated, j], x_held[seen], y_held[seen, j]
        for a, alpha in enumerate(ALPHAS.tolist()):
            head = Ridge(alpha=alpha, fit_intercept=False).fit(xt, yt)
            losses[a, j] = mean_squared_error(yv, head.predict(xv))
    for j in range(len(NAMES)):
        rated = ~np.isnan(y_train[:, j])
        best = float(ALPHAS[losses[:, j].argmin()])
        weight[j] = (
            Ridge(alpha=best, fit_intercept=False).fit(x_train[rated], y_train[rated, j]).coef_
        )
    return losses, weight


def ridge_cv(x: np.ndarray, ratings: np.ndarray) -> None:
    """`RidgeCV` for each group of objectives rated together, on all rows (leave-one-out)."""
    groups: dict[bytes, list[int]] = {}
    for j in range(ratings.shape[1]):
        groups.setdefault(np.isnan(ratings[:, j]).tobytes(), []).append(j)
    for members in groups.values():
        rows = ~np.isnan(ratings[:, members[0]])
        target = ratings[rows][:, members]
        RidgeCV(ALPHAS.tolist(), fit_intercept=False, alpha_per_target=True).fit(x[rows], target)


def compare(n: int, d: int, *, rounds: int, with_cv: bool) -> dict[str, float]:
    """Time the three procedures at one size, and check ours against float64."""
    labels = plant(n, d)
    x = draw(labels, 0, n)
    wide, ratings, held = x.float().numpy(), labels.ratings.numpy(), labels.held.numpy()
    ours(x[:CHUNK], plant_part(labels, CHUNK))  # warm up
    results: list[Any] = []
    own = harness.median(
        [harness.seconds(lambda: results.append(ours(x, labels))) for _ in range(rounds)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float32 sums at alpha 1e-4 are ill-conditioned
        theirs = harness.seconds(lambda: results.append(published(wide, ratings, held)))
    cv = harness.seconds(lambda: ridge_cv(wide, ratings)) if with_cv else float("nan")
    path, _, train = results[0]
    losses, weight = results[-1]
    # Float32 sums find the same alphas to rounding of the losses: theirs must be as good.
    best = np.take_along_axis(path.losses.numpy(), losses.argmin(0)[None], 0)[0]
    assert np.allclose(best, path.losses.min(0).values.numpy(), rtol=1e-4), "alphas differ"
    fit = fit_ridge(train, alpha=path.chosen, intercept=False)
    same = losses.argmin(0) == [ALPHAS.tolist().index(alpha) for alpha in path.chosen.tolist()]
    # Not ours to bound: what float32 sums do to the published coefficients.
    lost = relative(weight[same], fit.weight.numpy()[same]) if same.any() else float("nan")
    j = 10  # one objective against float64
    rows = ~held & ~np.isnan(ratings[:, j])
    alpha = float(path.chosen[j])
    exact = Ridge(alpha=alpha, fit_intercept=False).fit(
        wide[rows].astype(np.float64), ratings[rows, j].astype(np.float64)
    )
    error = relative(fit.weight[[j]].numpy(), exact.coef_[None])
    return {"n": n, "ours": own, "published": theirs, "RidgeCV": cv, "error": error, "lost": lost}


def plant_part(labels: Labels, n: int) -> Labels:
    """The first rows of a problem, all objectives rated."""
    ratings = labels.ratings[:n].nan_to_num(0.5)
    kept = (labels.weight, labels.scale, labels.mean, labels.generator)
    return Labels(ratings, labels.sources[:n], labels.held[:n], *kept)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest error of a row, relative to its largest entry."""
    size = np.abs(expected).max(1, keepdims=True)
    return float((np.abs(found - expected) / size).max())


def check_precision() -> list[tuple[str, float]]:
    """Largest error against scikit-learn in float64, by kind of features; alphas must agree."""
    rng = np.random.default_rng(0)
    found: list[tuple[str, float]] = []
    for kind, n, d, low in (
        ("well-conditioned", 3000, 300, -1.0),
        ("condition 1e8", 3000, 300, -8.0),
        ("d > n", 400, 1000, -1.5),
        ("d > n, condition 1e8", 400, 1000, -8.0),
    ):
        turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
        z = rng.standard_normal((n, d)) * np.logspace(0, low, d)
        x = z @ turn.T
        y = 0.3 * z[:, :3] + 0.1 * z[:, 3:6] + 0.1 * rng.standard_normal((n, 3))
        fold = np.arange(n) % 5 == 0
        parts = [
            Statistics.from_features(torch.tensor(x[f]), torch.tensor(y[f]), objectives=NAMES[:3])
            for f in (~fold, fold)
        ]
        path = choose_alpha(parts, alphas=ALPHAS, intercept=False, validate_on=[1])
        losses, worst = np.zeros((len(ALPHAS), 3)), 0.0
        for a, alpha in enumerate(ALPHAS.tolist()):
            head = Ridge(alpha=alpha, fit_intercept=False, solver="svd").fit(x[~fold], y[~fold])
            losses[a] = np.square(head.predict(x[fold]) - y[fold]).mean(0)
            own = fit_ridge(parts[0], alpha=alpha, intercept=False)
            worst = max(worst, relative(own.weight.numpy(), head.coef_))
        assert ALPHAS[losses.argmin(0)].equal(path.chosen), f"{kind}: other alphas are chosen"
        assert worst <= 1e-4, f"{kind}: the coefficients are off by {worst:.1e}"
        found.append((kind, worst))
    return found


def paper_scale(n: int, d: int, folder: Path) -> dict[str, Any]:
    """Time ours from mapped shards, and the floor on the same chunks, shard by shard."""
    labels = plant(n, d)
    print(f"drawing {n:,} x {d:,} features", flush=True)
    for start in range(0, n, SHARD):
        x = draw(labels, start, min(start + SHARD, n))
        save_file({"features": x}, folder / f"{start}.safetensors")
    del x
    gc.collect()
    times = {"floor": 0.0, "sums": 0.0}
    product = torch.empty(d, d)
    train, held = Statistics(NAMES, d), Statistics(NAMES, d)
    memory = harness.Memory()
    for start, x in mapped(folder, n):
        for at in range(0, len(x), CHUNK):
            part = x[at : at + CHUNK].float()
            times["floor"] += harness.seconds(lambda part=part: torch.mm(part.T, part, out=product))
        rows = slice(start, start + len(x))
        with harness.peak_memory() as here:
            times["sums"] += harness.seconds(
                lambda x=x, rows=rows: update(train, held, x, labels, rows)
            )
        memory = larger(memory, here)
    with harness.peak_memory() as here:
        path, fit, more = solve(train, held)
    memory = larger(memory, here)
    assert bool(torch.isfinite(fit.weight).all())
    assert bool((fit.noise_variance > 0).all())
    explained = predict_share(mapped(folder, n), labels, fit)
    times |= more
    times["ours"] = times["sums"] + times["alphas"] + times["final fit"]
    return {
        "times": times,
        "peak": memory.anonymous,
        "mapped": memory.mapped,
        "edge": int(path.at_edge.sum()),
        "explained": explained,
    }


def mapped(folder: Path, n: int) -> Iterator[tuple[int, Tensor]]:
    """Features of each shard, memory-mapped, with its first row."""
    for start in range(0, n, SHARD):
        with safe_open(folder / f"{start}.safetensors", framework="pt") as shard:
            yield start, shard.get_tensor("features")


def predict_share(shards: Iterator[tuple[int, Tensor]], labels: Labels, fit: RidgeFit) -> float:
    """Share of the variance of the first objective that is explained on the first shard."""
    _, x = next(shards)
    rows = ~labels.ratings[: len(x), 0].isnan()
    y = labels.ratings[: len(x), 0][rows]
    error = x[rows].float() @ fit.weight[0] - y
    share = 1 - float(error.square().mean() / y.var())
    assert share > 0.9, "the planted signal was not found"
    return share


def larger(one: harness.Memory, other: harness.Memory) -> harness.Memory:
    """The larger of two peaks."""
    both = harness.Memory()
    both.anonymous = max(one.anonymous, other.anonymous)
    both.mapped = max(one.mapped, other.mapped)
    return both


def check_disk(folder: Path, needed: int) -> None:
    """Stop with one line where the features would not fit."""
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        raise SystemExit(
            f"{folder}: {needed / 2**30:.1f} GiB of features must fit; "
            f"{free / 2**30:.1f} GiB are free"
        )


def main() -> None:
    """Run the three parts, print the tables and the result."""
    parser = harness.options(__doc__)
    parser.add_argument("--rows", type=int, default=None, help="rows of part 1")
    parser.add_argument("--width", type=int, default=4096, help="feature width of part 1")
    parser.add_argument("--sizes", type=int, nargs="*", default=None, help="sizes n of part 2")
    arguments = parser.parse_args()
    harness.start(arguments)
    n, d = arguments.rows or (2 * PAPER // 5 if arguments.fast else PAPER), arguments.width
    sizes: Sequence[int] = arguments.sizes or (
        (30_000, 120_000) if arguments.fast else (15_000, 30_000, 60_000, 120_000)
    )
    precision = check_precision()
    with tempfile.TemporaryDirectory(prefix="armorm-ridge-") as folder:
        check_disk(Path(folder), 2 * n * d)
        scale = paper_scale(n, d, Path(folder))
    times = scale["times"]
    harness.table(
        f"{n:,} x {d:,} from mapped shards, 19 objectives, 9 alphas",
        ["step", "seconds", "of the floor"],
        [[name, value, value / times["floor"]] for name, value in times.items()],
    )
    print(f"peak {scale['peak']:.2f} GiB anonymous, {scale['mapped']:.2f} GiB mapped")
    rows = [
        compare(size, 1024, rounds=3, with_cv=not (arguments.fast and i))
        for i, size in enumerate(sizes)
    ]
    harness.table(
        "d = 1,024: seconds",
        ["n", "ours", "published", "ratio", "RidgeCV", "ratio"],
        [
            [
                f"{row['n']:,.0f}",
                row["ours"],
                row["published"],
                row["published"] / row["ours"],
                row["RidgeCV"],
                row["RidgeCV"] / row["ours"],
            ]
            for row in rows
        ],
    )
    errors = [*precision, *((f"n = {row['n']:,.0f}, d = 1,024", row["error"]) for row in rows)]
    harness.table(
        "largest error of our coefficients against scikit-learn in float64",
        ["features", "relative"],
        [[kind, f"{error:.1e}"] for kind, error in errors],
    )
    print(f"the published float32 coefficients differ by {max(row['lost'] for row in rows):.1e}")
    last = rows[-1]
    compared = [row for row in rows if row["RidgeCV"] == row["RidgeCV"]][-1]
    harness.finish(
        {
            "benchmark": "ridge",
            "ratio_vs_published": round(last["published"] / last["ours"], 2),
            "ratio_vs_ridgecv": round(compared["RidgeCV"] / compared["ours"], 2),
            "n_published": last["n"],
            "n_ridgecv": compared["n"],
            "ratio_vs_floor": round(times["ours"] / times["floor"], 3),
            "n_floor": n,
            "d_floor": d,
            "peak_gib": round(scale["peak"], 2),
            "mapped_gib": round(scale["mapped"], 2),
            "max_relative_error": float(f"{max(error for _, error in errors):.2e}"),
            "float32_difference": float(f"{max(row['lost'] for row in rows):.2e}"),
            "seconds": {name: round(value, 2) for name, value in times.items()},
            "seconds_by_n": [{k: v for k, v in row.items() if v == v} for row in rows],
        },
        name="ridge",
        arguments=arguments,
    )


if __name__ == "__main__":
    main()
