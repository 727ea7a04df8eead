"""Training of the gating network against the published loop, and its memory at a million pairs.

Three trainings take turns, twenty steps each, on a planted task in which the prompt decides
which objectives matter: the published loop as it is (softmax along the axis of chosen and
rejected, both copies of a prompt computed, responses projected in each step), the same loop with
the axis mended, and `fit_gating` with bfloat16 products. Hidden widths, batch, steps and
learning rate are the same. The published loop is written from its description; it gets its
tensors in float32 and in memory, and what it does before the first step is not timed.

Then one million pairs of 4,096 wide prompt features are read from a memory-mapped bfloat16 file,
and the anonymous memory of the process is watched.

    python benchmarks/gating.py [--fast] [--steps N]

The published loop as it is runs for 200 steps, as its gate gets no gradient; its time for all
steps is their mean. The million pairs share 262,144 rows on the disk in turn.

`--fast`: 60 steps of each in place of 2,000, and 131,072 rows on the disk.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import harness
import torch
from torch import Tensor, nn
from torch.nn import functional

from armorm.heads.gating import GatingFit, GatingRecord, GatingSettings, fit_gating

N_PAIRS, N_VALIDATION, WIDTH, N_OBJECTIVES = 100_000, 10_000, 1024, 19
N_TOPICS = 32  # directions of a prompt feature that decide
BETA = 1.5  # planted; near the 1 that the published loop starts at, which its steps can reach
MILLION, WIDE = 1_000_000, 4096
TURN = 20  # steps before another training has its turn
# The gate of the published loop as it is gets no gradient: more steps would show nothing.
LITERAL_STEPS = 200
DROPOUT = 0.2  # of the published loop, drawn for chosen and rejected apart
# The start is that of the published loop: equal weights, the default, learn more slowly here. Its
# two draws of dropout in a margin hold back more than our one; so that ours has more of it.
SETTINGS = GatingSettings(
    precision="bfloat16", dropout=0.3, initial="random", eval_every=50, max_validation=4096
)


@dataclass(frozen=True)
class Task:
    """Pairs in the two forms in which the rivals want them."""

    prompt: Tensor
    """Prompt features, shape (p, d), bfloat16."""
    responses: Tensor
    """Response features of chosen and rejected, shape (p, 2, d), float32."""
    weight: Tensor
    """Ridge head, shape (k, d)."""

    def scores(self) -> tuple[Tensor, Tensor]:
        """Objective scores of chosen and rejected, each of shape (p, k)."""
        chosen, rejected = (self.responses @ self.weight.T).unbind(1)
        return chosen, rejected


def make_task(n_pairs: int, seed: int) -> Task:
    """Prompts that weigh the objectives, and preferences that follow the weighted margin.

    weights = softmax(3 topics @ taste), P(chosen) = sigmoid(BETA * weights . difference); topics
    are 32 directions of the prompt feature, under noise in all 1,024.
    """
    fixed = torch.Generator().manual_seed(12345)  # one world for training and validation
    place = torch.randn(N_TOPICS, WIDTH, generator=fixed) / math.sqrt(N_TOPICS)
    taste = torch.randn(N_TOPICS, N_OBJECTIVES, generator=fixed) / math.sqrt(N_TOPICS)
    head = 2 * torch.randn(N_OBJECTIVES, WIDTH, generator=fixed) / math.sqrt(WIDTH)
    drawn = torch.Generator().manual_seed(seed)
    topics = torch.randn(n_pairs, N_TOPICS, generator=drawn)
    prompt = topics @ place + 0.5 * torch.randn(n_pairs, WIDTH, generator=drawn)
    responses = torch.randn(n_pairs, 2, WIDTH, generator=drawn)
    first, second = (responses @ head.T).unbind(1)
    margin = BETA * (functional.softmax(3 * topics @ taste, -1) * (first - second)).sum(-1)
    swap = torch.rand(n_pairs, generator=drawn) > margin.sigmoid()
    responses[swap] = responses[swap].flip(1)
    return Task(prompt.bfloat16(), responses, head)


class Published:
    """The published training loop, its axis as it is (1) or mended (-1)."""

    def __init__(self, task: Task, *, axis: int, n_steps: int) -> None:
        self.axis, self.weight, self.n_pairs = axis, task.weight, len(task.prompt)
        self.responses = task.responses
        self.prompts = task.prompt.float()[:, None].repeat(1, 2, 1)  # one copy a response
        widths = (WIDTH, *SETTINGS.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(DROPOUT)]
        self.gate = nn.Sequential(*layers, nn.Linear(widths[-1], N_OBJECTIVES))
        self.logit_scale = nn.Parameter(torch.ones(()))
        parameters = [*self.gate.parameters(), self.logit_scale]
        self.optimiser = torch.optim.AdamW(
            parameters, lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, n_steps)
        self.until = n_steps
        self.times: list[float] = []

    def rewards(self, prompts: Tensor, responses: Tensor) -> Tensor:
        """Scores of chosen and rejected, shape (b, 2)."""
        logits = self.gate(prompts) / SETTINGS.temperature
        gating = functional.softmax(logits, dim=self.axis) * self.logit_scale
        return (gating * (responses @ self.weight.T)).sum(-1)

    def take(self, n_steps: int) -> None:
        """Take some steps and note the time of each."""
        for _ in range(n_steps):
            started = time.perf_counter()
            rows = torch.randint(self.n_pairs, (SETTINGS.batch_size,))
            rewards = self.rewards(self.prompts[rows], self.responses[rows])
            loss = -functional.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
            self.times.append(time.perf_counter() - started)

    @torch.no_grad()
    def validation(self, task: Task) -> tuple[float, float]:
        """Loss and accuracy on other pairs, dropout off, in the way it was trained."""
        self.gate.eval()
        parts = [
            self.rewards(part[:, None].repeat(1, 2, 1), responses)
            for part, responses in zip(
                task.prompt.float().split(4096), task.responses.split(4096), strict=True
            )
        ]
        self.gate.train()
        chosen, rejected = torch.cat(parts).unbind(1)
        return figures(chosen - rejected)


def figures(margin: Tensor) -> tuple[float, float]:
    """Preference loss in nats, and accuracy with ties as one half."""
    loss = float(functional.softplus(-margin).mean())
    return loss, float((margin.sign() + 1).mean()) / 2


class Turns:
    """The progress of our training, which lets the others have their turns outside its clock."""

    def __init__(self, rivals: list[Published]) -> None:
        self.rivals = rivals
        self.times: list[float] = []
        self.away = 0.0
        self.last = time.perf_counter()

    def __call__(self, step: int, n_steps: int, record: GatingRecord) -> None:
        """Note the time of a step; after every so many, let the others take as many."""
        paused = time.perf_counter()
        self.times.append(paused - self.last)
        if step % TURN == 0 or step == n_steps:
            for rival in self.rivals:
                rival.take(min(step, rival.until) - len(rival.times))
        self.last = time.perf_counter()
        self.away += self.last - paused


@dataclass(frozen=True)
class Outcome:
    """One training of ours."""

    fit: GatingFit
    times: list[float]
    """Seconds of each step, looks included; the first holds all that comes before it too."""
    wall: float
    """Seconds of the whole call, with the scores of all responses and the last figures."""


def train_ours(
    task: Task, held_out: Task, settings: GatingSettings, rivals: list[Published]
) -> Outcome:
    """Train with `fit_gating` while the rivals take their turns."""
    started = time.perf_counter()
    turns = Turns(rivals)
    fit = fit_gating(
        task.prompt,
        *task.scores(),
        settings=settings,
        validation=(held_out.prompt, *held_out.scores()),
        progress=turns,
    )
    return Outcome(fit, turns.times, time.perf_counter() - started - turns.away)


def check_validation(fit: GatingFit, held_out: Task) -> None:
    """The loss that a fit reports is that of its network, computed here another way."""
    chosen, rejected = held_out.scores()
    with torch.no_grad():
        gating = fit.network(held_out.prompt.float())
    loss, accuracy = figures(fit.beta * ((gating * chosen).sum(-1) - (gating * rejected).sum(-1)))
    assert abs(loss - fit.validation_loss) < 1e-4, (loss, fit.validation_loss)
    assert abs(accuracy - fit.validation_accuracy) < 1e-3, (accuracy, fit.validation_accuracy)


def uniform_figures(task: Task, held_out: Task) -> tuple[float, float]:
    """Equal weights with the best beta: what there is to gain from a gate."""
    start = fit_gating(
        task.prompt,
        *task.scores(),
        settings=replace(SETTINGS, standardise=False, initial="uniform"),
        steps=0,
    )
    chosen, rejected = held_out.scores()
    return figures(start.beta * (chosen - rejected).mean(-1))


class MappedRows:
    """Rows of a bfloat16 file; a file with fewer rows than pairs is gone through in turn."""

    def __init__(self, path: Path, n_rows: int, *, stored: int) -> None:
        self.shape = (n_rows, WIDE)
        self.stored = stored
        self.mapped = torch.from_file(
            str(path), shared=True, size=stored * WIDE, dtype=torch.bfloat16
        ).view(stored, WIDE)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.mapped[rows % self.stored]


def write_rows(path: Path, n_rows: int) -> None:
    """Write rows of noise that differ from block to block."""
    block = torch.randn(8192, WIDE, generator=torch.Generator().manual_seed(1))
    with path.open("wb") as file:
        for start in range(0, n_rows, len(block)):
            part = (block[: n_rows - start] + start / n_rows).bfloat16()
            file.write(part.view(torch.int16).numpy().data)


def check_streaming(rows: MappedRows) -> None:
    """Rows read on demand give the bits that the same rows in memory give."""
    whole = rows[torch.arange(20_000)]
    part = MappedRows.__new__(MappedRows)
    part.shape, part.stored, part.mapped = (20_000, WIDE), 20_000, rows.mapped
    scores = torch.rand(2, 20_000, N_OBJECTIVES, generator=torch.Generator().manual_seed(2))
    settings = replace(SETTINGS, hidden=(64,), precision="float32", max_steps=3)
    first, second = (
        fit_gating(prompt, *scores, settings=settings).network.state_dict()
        for prompt in (whole, part)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def million_pairs(*, stored: int, n_steps: int) -> dict[str, float]:
    """Train on a million pairs from a file, and say what memory that took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.bin"
        write_rows(path, stored)
        rows = MappedRows(path, MILLION, stored=stored)
        check_streaming(rows)
        drawn = torch.Generator().manual_seed(3)
        chosen = torch.rand(MILLION, N_OBJECTIVES, generator=drawn)
        rejected = torch.rand(MILLION, N_OBJECTIVES, generator=drawn)
        held_out = MappedRows(path, 50_000, stored=min(stored, 50_000))
        validation = (held_out, chosen[:50_000], rejected[:50_000])
        stamps = [time.perf_counter()]
        with harness.peak_memory() as memory:
            fit = fit_gating(
                rows,
                chosen,
                rejected,
                settings=replace(SETTINGS, max_steps=n_steps, max_validation=16_384),
                validation=validation,
                progress=lambda step, n, record: stamps.append(time.perf_counter()),
            )
        assert math.isfinite(fit.validation_loss)
        steps = [b - a for a, b in itertools.pairwise(stamps[1:])]
        return {
            "peak_gib_million_pairs": memory.anonymous,
            "mapped_gib_million_pairs": memory.mapped,
            "rows_on_disk": stored,
            "seconds_before_first_step": stamps[1] - stamps[0],
            "seconds_a_step_million_pairs": harness.median(steps),
        }


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Run all of it and print the tables."""
    n_steps = arguments.steps or (60 if arguments.fast else SETTINGS.max_steps)
    memory = million_pairs(
        stored=131_072 if arguments.fast else 262_144, n_steps=10 if arguments.fast else 100
    )
    task, held_out = make_task(N_PAIRS, 0), make_task(N_VALIDATION, 1)
    torch.manual_seed(0)
    literal, mended = (Published(task, axis=axis, n_steps=n_steps) for axis in (1, -1))
    literal.until = min(n_steps, LITERAL_STEPS)
    whole = replace(SETTINGS, max_steps=n_steps, patience=n_steps)
    ours = train_ours(task, held_out, whole, [literal, mended])
    check_validation(ours.fit, held_out)
    early = stopped_early(ours, task, held_out, replace(whole, patience=SETTINGS.patience))
    named = {"published loop": literal, "published loop, axis mended": mended}
    found = {name: rival.validation(held_out) for name, rival in named.items()}
    found["equal weights"] = uniform_figures(task, held_out)
    show(found, named, ours, early)
    step = harness.median(literal.times)
    published = sum(literal.times) / len(literal.times) * n_steps
    result = {
        "benchmark": "gating",
        "ratio_vs_published": published / ours.wall,
        "ratio_per_step": step / harness.median(ours.times),
        "ratio_vs_published_early_stopping": published / early.wall,
        "validation_loss": ours.fit.validation_loss,
        "validation_loss_early_stopping": early.fit.validation_loss,
        "validation_loss_published": found["published loop"][0],
        "validation_loss_published_axis_mended": found["published loop, axis mended"][0],
        "validation_loss_equal_weights": found["equal weights"][0],
        "n_steps": n_steps,
        "n_steps_published_timed": len(literal.times),
        "steps_early_stopping": len(early.times),
        "seconds_a_step": harness.median(ours.times),
        "seconds_a_step_published": step,
        "seconds": ours.wall,
        "seconds_published": published,
        **memory,
        "n_pairs": N_PAIRS,
        "d": WIDTH,
        "batch_size": SETTINGS.batch_size,
    }
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in result.items()}


def stopped_early(ours: Outcome, task: Task, held_out: Task, settings: GatingSettings) -> Outcome:
    """The training with the default patience; the same one where patience never ended."""
    best, at = math.inf, 0
    for record in ours.fit.history:
        if record.validation_loss < best:
            best, at = record.validation_loss, record.step
        elif record.step - at >= settings.patience * settings.eval_every:
            return train_ours(task, held_out, settings, [])
    return ours


def rows_of(
    found: dict[str, tuple[float, float]],
    named: dict[str, Published],
    ours: Outcome,
    early: Outcome,
) -> Iterator[tuple[object, ...]]:
    """Lines of the table."""
    yield ("equal weights", "", "", "", *map(_four, found["equal weights"]))
    for name, rival in named.items():
        seconds = (len(rival.times), 1e3 * harness.median(rival.times), sum(rival.times))
        yield (name, *seconds, *map(_four, found[name]))
    for name, one in {"armorm": ours, "armorm, default patience": early}.items():
        seconds = (len(one.times), 1e3 * harness.median(one.times), one.wall)
        loss = (one.fit.validation_loss, one.fit.validation_accuracy)
        yield (name, *seconds, *map(_four, loss))


def show(
    found: dict[str, tuple[float, float]],
    named: dict[str, Published],
    ours: Outcome,
    early: Outcome,
) -> None:
    """Print the comparison."""
    harness.table(
        f"{N_PAIRS:,} pairs x {WIDTH:,}, {N_OBJECTIVES} objectives, hidden {SETTINGS.hidden}",
        ("training", "steps", "ms a step", "seconds", "validation loss", "accuracy"),
        list(rows_of(found, named, ours, early)),
    )


def _four(value: float) -> str:
    return f"{value:.4f}"


def main() -> None:
    """Measure, and store the result."""
    parser = harness.options(__doc__)
    parser.add_argument("--steps", type=int, default=None, help="steps of each training")
    arguments = parser.parse_args()
    harness.start(arguments)
    result = measure(arguments)
    names = ("peak_gib_million_pairs", "mapped_gib_million_pairs", "seconds_before_first_step")
    harness.table(
        f"{MILLION:,} pairs x {WIDE:,} from {result['rows_on_disk']:,} bfloat16 rows on the disk",
        ("anonymous GiB", "mapped GiB", "seconds before the first step", "seconds a step"),
        [[result[name] for name in (*names, "seconds_a_step_million_pairs")]],
    )
    harness.finish(result, name="gating", arguments=arguments)


if __name__ == "__main__":
    main()
