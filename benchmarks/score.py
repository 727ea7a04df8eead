"""Scores of 8 candidates a prompt: packed against padded batches, and what the heads cost.

A `RewardModel` on a random Llama with heads of the paper's size (19 objectives, a gating of
three layers of 1,024) scores the same texts with both engines; log-normal lengths, medians of
300 tokens for prompts and 150 for responses. The scores are compared in the same run.
"""

from __future__ import annotations

from typing import Any

import harness
import torch
from models import LLAMA_SMALL, draw_rows, random_backbone

from armorm.features.interface import Backbone
from armorm.heads.gating import GatingNetwork
from armorm.model.bundle import Bundle
from armorm.model.reward import RewardModel
from armorm.types import Conversation, Message, Scale

N_OBJECTIVES = 19
LARGEST_DIFFERENCE = 1e-4
PADDED_BUDGETS = (2048, 8192)


def random_bundle(facts: dict[str, Any]) -> Bundle:
    """Build random heads of the paper's size for a backbone."""
    draw = torch.Generator().manual_seed(0)
    names = tuple(f"objective-{j}" for j in range(N_OBJECTIVES))
    width, nuisance = facts["response_width"], N_OBJECTIVES - 1
    debias = torch.eye(N_OBJECTIVES)
    debias[nuisance] = -torch.rand(N_OBJECTIVES, generator=draw)
    debias[nuisance, nuisance] = 0.0
    gating = GatingNetwork(
        facts["prompt_width"], N_OBJECTIVES, hidden=(1024,) * 3, masked=(nuisance,), seed=0
    )
    return Bundle(
        name="random",
        objectives=names,
        nuisances=(nuisance,),
        scales={"random": dict.fromkeys(names, Scale(0, 1))},
        weight=torch.randn(N_OBJECTIVES, width, generator=draw) / width**0.5,
        bias=torch.zeros(N_OBJECTIVES),
        debias=debias,
        gating=gating.eval(),
        beta=1.0,
        backbone=facts,
    )


def texts(n_prompts: int) -> list[Conversation]:
    """Write conversations whose lengths are drawn; one word of the tokenizer is a token."""
    rows = draw_rows(n_prompts, n_responses=8, prompt_median=300, response_median=150)

    def words(ids: tuple[int, ...]) -> str:
        return " ".join(f"w{i - 6}" for i in ids)

    return [
        Conversation(
            (Message("user", words(row.token_ids[: row.prompt_end + 1])),),
            words(row.token_ids[row.prompt_end + 1 :]),
            id=str(i),
        )
        for i, row in enumerate(rows)
    ]


def check(packed: RewardModel, padded: RewardModel, rows: list[Conversation]) -> None:
    """Compare the scores of both engines; stop where they differ or packing was given up."""
    ours, theirs = packed.score(rows).score, padded.score(rows).score
    difference = float((ours - theirs).abs().max())
    print(
        f"scores differ by {difference:.1e} at most; their standard deviation is {ours.std():.2f}"
    )
    assert difference < LARGEST_DIFFERENCE
    assert packed.backbone.engine == "packed", packed.backbone.notes


def best_padded(model: RewardModel, like: Any, rows: list[Conversation]) -> RewardModel:
    """Return the padded model with the token budget that it is fastest with."""
    rivals = {
        budget: RewardModel(model.bundle, padded_backbone(like, budget))
        for budget in PADDED_BUDGETS
    }
    runs = {budget: lambda m=m: m.score(rows) for budget, m in rivals.items()}
    times = harness.alternate(runs, rounds=1)
    return rivals[min(times, key=lambda budget: times[budget][0])]


def padded_backbone(like: Any, budget: int) -> Backbone:
    """The same weights with the padded engine."""
    return random_backbone(LLAMA_SMALL, like=like, engine="padded", token_budget=budget)


def main() -> None:
    arguments = harness.options(__doc__).parse_args()
    harness.start(arguments)
    rows = texts(4 if arguments.fast else 12)
    backbone = random_backbone(LLAMA_SMALL)
    packed = RewardModel(random_bundle(backbone.facts()), backbone)
    padded = best_padded(packed, backbone, rows)
    check(packed, padded, rows)
    features = torch.randn(len(rows), backbone.response_width)
    times = harness.alternate(
        {
            "padded": lambda: padded.score(rows),
            "packed": lambda: packed.score(rows),
            "heads alone": lambda: packed.score_features(features, features),
        },
        rounds=3,
    )
    middle = {name: harness.median(found) for name, found in times.items()}
    tokenized = backbone.tokenize(rows)
    tokens = sum(row.n_tokens for row in tokenized)
    harness.table(
        f"{len(rows)} candidates, {tokens:,} tokens, {backbone.unique_tokens(tokenized):,} unique",
        ["", "seconds", "rows/s", "times padded"],
        [[name, t, len(rows) / t, middle["padded"] / t] for name, t in middle.items()],
    )
    result = {
        "benchmark": "score",
        "ratio_vs_padded": round(middle["padded"] / middle["packed"], 3),
        "heads_share": round(middle["heads alone"] / (middle["packed"] - middle["heads alone"]), 5),
        "rows_per_s": round(len(rows) / middle["packed"], 2),
        "padded_budget": padded.backbone.find_budget(),
        "packed_budget": backbone.find_budget(),
        "seconds": {name: [round(t, 4) for t in found] for name, found in times.items()},
    }
    harness.finish(result, name="score", arguments=arguments)


if __name__ == "__main__":
    main()
