"""A server under load: 64 clients for two minutes against the offline rate of the same rows.

A bundle with a random Llama and heads of the paper's size is saved and served by `armorm serve`;
clients in a process of their own send one prompt with 8 responses at a time, each the next as soon
as the last is answered. The offline rate is that of `RewardModel.score` on the same conversations
with the same threads, before and after. Scores are compared in the same run, and a second load,
above the queue limit, counts what is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import httpx
import torch
from models import LLAMA_SMALL, draw_rows, word_tokenizer
from score import random_bundle

from armorm.features.backbone import load_backbone
from armorm.model.bundle import save_bundle
from armorm.model.reward import RewardModel
from armorm.types import Conversation, Message

N_CLIENTS = {False: 64, True: 12}
N_RESPONSES = 8
SECONDS = {False: 120.0, True: 10.0}
LARGEST_DIFFERENCE = 1e-4
SMALL_QUEUE = {False: 128, True: 32}


def save_model(folder: Path) -> Path:
    """Save a random Llama with its tokenizer, and a bundle on it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**LLAMA_SMALL, pad_token_id=0, bos_token_id=None, eos_token_id=None)
    LlamaForCausalLM(config).save_pretrained(folder / "backbone")
    word_tokenizer().save_pretrained(folder / "backbone")
    backbone = load_backbone(str(folder / "backbone"), device="cpu")
    save_bundle(random_bundle(backbone.facts()), folder / "bundle", card="# random\n")
    return folder / "bundle"


@contextlib.contextmanager
def server(bundle: Path, *limits: str) -> Iterator[str]:
    """Run `armorm serve` and yield its address once it is ready."""
    # A busy machine is slow, and that is no error of the server.
    patient = ("timeout_s=900", *limits)
    options = [word for limit in patient for word in ("--limit", limit)]
    words = [sys.executable, "-m", "armorm", "serve", str(bundle), "--port", "0", "--device", "cpu"]
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([*words, *options], stderr=subprocess.PIPE, text=True, env=threads)
    assert process.stderr is not None
    try:
        url = process.stderr.readline().split()[-1]
        while httpx.get(url + "/ready").status_code != 200:
            time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stderr.close()


def texts(n_prompts: int) -> list[Conversation]:
    """Write conversations of a chat: medians of 100 tokens for prompts and 50 for responses."""
    drawn = draw_rows(n_prompts, n_responses=N_RESPONSES, prompt_median=100, response_median=50)

    def words(ids: tuple[int, ...]) -> str:
        return " ".join(f"w{i - 6}" for i in ids)

    return [
        Conversation(
            (Message("user", words(row.token_ids[: row.prompt_end + 1])),),
            words(row.token_ids[row.prompt_end + 1 :]),
        )
        for row in drawn
    ]


def bodies(rows: Sequence[Conversation]) -> list[bytes]:
    """One request a prompt."""
    found = []
    for start in range(0, len(rows), N_RESPONSES):
        group = rows[start : start + N_RESPONSES]
        prompt = group[0].messages()[:-1]
        body = {"prompt": prompt, "responses": [row.response for row in group]}
        found.append(json.dumps(body).encode())
    return found


def load(url: str, sent: Sequence[bytes], seconds: float, n_clients: int) -> dict[str, Any]:
    """Send requests from clients in a process of their own, which must not slow the server."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_load, (url, list(sent), seconds, n_clients))


def _load(url: str, sent: Sequence[bytes], seconds: float, n_clients: int) -> dict[str, Any]:
    """The same in this process."""
    return asyncio.run(_clients(url, sent, seconds, n_clients))


async def _clients(
    url: str, sent: Sequence[bytes], seconds: float, n_clients: int
) -> dict[str, Any]:
    """Clients that ask again as soon as they are answered."""
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    answered: dict[int, list[float]] = {}
    headers = {"content-type": "application/json"}
    limits = httpx.Limits(max_connections=None)

    async def one(http: httpx.AsyncClient, number: int) -> None:
        i = number
        while time.perf_counter() < end:
            started = time.perf_counter()
            place = i % len(sent)
            answer = await http.post("/v1/score", content=sent[place], headers=headers)
            latencies.append(time.perf_counter() - started)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            if answer.status_code == 200:
                answered[place] = [r["score"] for r in answer.json()["results"]]
            else:
                await asyncio.sleep(min(float(answer.headers.get("retry-after", 1)), 1.0))
            i += n_clients

    async with httpx.AsyncClient(base_url=url, timeout=900, limits=limits) as http:
        begun = time.perf_counter()
        end = begun + seconds
        await asyncio.gather(*(one(http, number) for number in range(n_clients)))
        took = time.perf_counter() - begun
    latencies.sort()
    return {
        "statuses": statuses,
        "rows_per_s": N_RESPONSES * statuses.get(200, 0) / took,
        "p50_s": latencies[len(latencies) // 2],
        "p99_s": latencies[int(0.99 * len(latencies))],
        "answered": answered,
    }


def offline_rate(model: RewardModel, rows: Sequence[Conversation], seconds: float) -> float:
    """Conversations a second of `RewardModel.score`, over at least so many seconds."""
    n, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        model.score(rows)
        n += len(rows)
    return n / took


def check(model: RewardModel, rows: Sequence[Conversation], answered: Any) -> float:
    """Compare what the server answered with the model; return the largest difference."""
    expected = model.score(rows).score
    found = [
        abs(score - float(expected[place * N_RESPONSES + j]))
        for place, scores in answered.items()
        for j, score in enumerate(scores)
    ]
    assert found
    assert max(found) < LARGEST_DIFFERENCE
    return max(found)


def batches(url: str) -> dict[str, float]:
    """What the server counted of batches."""
    text = httpx.get(url + "/metrics").text
    names = ("batch_conversations_sum", "batch_conversations_count")
    return {
        name: float(found[1])
        for name in names
        if (found := re.search(rf"^armorm_{name} (\S+)$", text, re.M))
    }


def main() -> None:
    arguments = harness.options(__doc__).parse_args()
    harness.start(arguments)
    seconds, n_clients = SECONDS[arguments.fast], N_CLIENTS[arguments.fast]
    small_queue = SMALL_QUEUE[arguments.fast]
    rows = texts(16)
    sent = bodies(rows)
    with tempfile.TemporaryDirectory() as folder:
        bundle = save_model(Path(folder))
        model = RewardModel.load(bundle, device="cpu")
        before = offline_rate(model, rows, seconds / 4)
        with server(bundle) as url:
            found = load(url, sent, seconds, n_clients)
            counted = batches(url)
        after = offline_rate(model, rows, seconds / 4)
        with server(bundle, f"queue_conversations={small_queue}", "conversations=16") as url:
            crowded = load(url, sent, seconds / 4, n_clients)
        difference = check(model, rows, found["answered"])
    assert set(found["statuses"]) == {200}, found["statuses"]
    assert set(crowded["statuses"]) <= {200, 429}, crowded["statuses"]
    offline = (before + after) / 2
    ratio = found["rows_per_s"] / offline
    n_batches = counted["batch_conversations_count"]
    harness.table(
        f"{n_clients} clients, {N_RESPONSES} responses a request, {seconds:g} s",
        ["", "rows/s", "of offline", "p50 s", "p99 s", "200", "429"],
        [
            ["offline, before", before, before / offline, "", "", "", ""],
            ["offline, after", after, after / offline, "", "", "", ""],
            _line("served", found, offline),
            _line(f"queue of {small_queue}", crowded, offline),
        ],
    )
    result = {
        "benchmark": "serve",
        "ratio_vs_offline": round(ratio, 3),
        "rows_per_s": round(found["rows_per_s"], 2),
        "offline_rows_per_s": [round(before, 2), round(after, 2)],
        "p50_s": round(found["p50_s"], 3),
        "p99_s": round(found["p99_s"], 3),
        "requests": sum(found["statuses"].values()),
        "errors": 0,
        "rows_per_batch": round(counted["batch_conversations_sum"] / n_batches, 2),
        "largest_difference": float(f"{difference:.1e}"),
        "small_queue": {
            "queue_conversations": small_queue,
            "answered": crowded["statuses"].get(200, 0),
            "refused": crowded["statuses"].get(429, 0),
            "p99_s": round(crowded["p99_s"], 3),
            "ratio_vs_offline": round(crowded["rows_per_s"] / offline, 3),
        },
    }
    harness.finish(result, name="serve", arguments=arguments)


def _line(name: str, found: dict[str, Any], offline: float) -> list[Any]:
    """One row of the table."""
    statuses = found["statuses"]
    rate = found["rows_per_s"]
    counts = [statuses.get(200, 0), statuses.get(429, 0)]
    return [name, rate, rate / offline, found["p50_s"], found["p99_s"], *counts]


if __name__ == "__main__":
    main()
