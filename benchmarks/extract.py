"""Features of 48 prompts x 4 responses: one at a time, in padded batches, and packed.

The rivals run in turn in one process on the same random Llama, and their features are compared.
The published way runs every conversation by itself, keeps all hidden states, and copies two of
them to the CPU (github.com/RLHFlow/RLHF-Reward-Modeling, `stage-1_prepare.py` and
`stage-2_prepare.py`). Lengths are log-normal with a median of 150 tokens for prompts and
responses alike. `--device cuda` times an 8B-shaped Llama in bfloat16 instead.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import harness
import torch
from models import LLAMA_8B, LLAMA_SMALL, draw_rows, linear_parameters, random_backbone
from torch import Tensor

from armorm.features.chat import TokenizedConversation
from armorm.features.interface import Backbone

LARGEST_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.05}
PADDED_BUDGETS = {"cpu": (2048, 8192), "cuda": (16_384, 32_768)}


def published(backbone: Any, rows: Sequence[TokenizedConversation]) -> tuple[Tensor, Tensor]:
    """One conversation at a time, both states from the same pass."""
    response, prompt = [], []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row.token_ids], device=backbone.device)
            states = backbone.model(ids, output_hidden_states=True).hidden_states[-1][0]
            response.append(states[-1].float().cpu())
            prompt.append(states[row.prompt_end].float().cpu())
    return torch.stack(response), torch.stack(prompt)


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest difference of a feature in units of its length."""
    return max(
        float(((a - b).norm(dim=1) / b.norm(dim=1)).max())
        for a, b in zip(found, expected, strict=True)
    )


def check(
    backbones: dict[str, Backbone], rows: Sequence[TokenizedConversation], dtype: str
) -> None:
    """Compare the features of all rivals; stop where they differ or packing was given up."""
    expected = published(backbones["packed"], rows)
    for name, backbone in backbones.items():
        difference = largest_difference(backbone.features(rows), expected)
        print(f"{name}: features differ from the published way by {difference:.1e} at most")
        assert difference < LARGEST_DIFFERENCE[dtype], name
    assert backbones["packed"].engine == "packed", backbones["packed"].notes


def best_padded_budget(backbone: Backbone, rows: Any, device: str) -> int:
    """Return the token budget that padded batches are fastest with."""
    runs = {
        budget: functools.partial(backbone.features, rows, token_budget=budget)
        for budget in PADDED_BUDGETS[device]
    }
    times = harness.alternate(runs, rounds=1, device=device)
    return min(times, key=lambda budget: times[budget][0])


def race(arguments: argparse.Namespace, *, n_prompts: int, rounds: int) -> dict[str, Any]:
    """Time the three rivals on one device."""
    device, dtype, shape = arguments.device, "float32", LLAMA_SMALL
    if device == "cuda":
        dtype, shape = "bfloat16", LLAMA_8B
    rows = draw_rows(n_prompts, n_responses=4, prompt_median=150, response_median=150)
    packed = random_backbone(shape, device=device, dtype=dtype)
    padded = random_backbone(shape, device=device, dtype=dtype, like=packed, engine="padded")
    check({"packed": packed, "padded": padded}, rows[:32], dtype)  # eight prompts
    budget = best_padded_budget(padded, rows, device)
    times = harness.alternate(
        {
            "published": lambda: published(packed, rows),
            "padded": lambda: padded.features(rows, token_budget=budget),
            "packed": lambda: packed.features(rows),
        },
        rounds=rounds,
        device=device,
    )
    middle = {name: harness.median(found) for name, found in times.items()}
    budgets = {"published": "-", "padded": budget, "packed": packed.find_budget()}
    tokens, unique = sum(row.n_tokens for row in rows), packed.unique_tokens(rows)
    harness.table(
        f"{len(rows)} conversations, {tokens:,} tokens, {unique:,} of them unique ({device})",
        ["", "budget", "seconds", "rows/s", "unique tokens/s", "times published"],
        [
            [n, budgets[n], t, len(rows) / t, unique / t, middle["published"] / t]
            for n, t in middle.items()
        ],
    )
    result = {
        "ratio_vs_published": round(middle["published"] / middle["packed"], 3),
        "ratio_vs_padded": round(middle["padded"] / middle["packed"], 3),
        "rows_per_s": round(len(rows) / middle["packed"], 2),
        "unique_tokens_per_s": round(unique / middle["packed"], 1),
        "budgets": budgets,
        "seconds": {name: [round(t, 4) for t in found] for name, found in times.items()},
    }
    if device == "cuda":
        result |= matrix_share(packed, rows, middle["packed"])
    return result


def matrix_share(backbone: Any, rows: Any, seconds: float) -> dict[str, Any]:
    """Share of the measured bfloat16 matrix rate that the packed run reaches.

    Counted are 2 operations a parameter of the linear layers and unique token, and 4 a
    head channel and visible (query, key) pair of each layer; norms, rotations and the
    activation are not.
    """
    config = backbone.model.config
    unique = backbone.unique_tokens(rows)
    pairs = visible_pairs(rows)
    width = config.num_attention_heads * config.head_dim
    operations = 2 * linear_parameters(backbone.model) * unique
    operations += 4 * width * config.num_hidden_layers * pairs
    rate = matrix_rate()
    share = operations / seconds / rate
    print(f"matrix rate {rate / 1e12:,.0f} TFLOP/s; the packed run reaches {share:.1%} of it")
    return {"matrix_tflops": round(rate / 1e12, 1), "share_of_matrix_rate": round(share, 3)}


def visible_pairs(rows: Sequence[TokenizedConversation]) -> int:
    """Count the (query, key) pairs of packed rows: every token and what it sees."""
    from armorm.features.packing import group_rows

    pairs = 0
    for group in group_rows(rows):
        shared = group.n_shared
        pairs += shared * (shared + 1) // 2
        for i in group.rows:
            n = rows[i].n_tokens
            pairs += (n * (n + 1) - shared * (shared + 1)) // 2
    return pairs


def matrix_rate(size: int = 8192, repeats: int = 30) -> float:
    """Measure operations a second of one large bfloat16 product."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        a @ b
    seconds = harness.seconds(lambda: [a @ b for _ in range(repeats)], device="cuda")
    return 2 * size**3 * repeats / seconds


def main() -> None:
    parser = harness.options(__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments = parser.parse_args()
    harness.start(arguments)
    result: dict[str, Any] = {"benchmark": "extract"}
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device here: this part has not been measured")
        print('{"benchmark": "extract", "cuda": null}')
        return
    if arguments.device == "cuda":
        found = race(arguments, n_prompts=96 if arguments.fast else 480, rounds=3)
        result |= {"ratio_vs_published": None, "ratio_vs_padded": None, "rows_per_s": None}
        result |= {"unique_tokens_per_s": None, "cuda": found}
    else:
        fast = arguments.fast
        result |= race(arguments, n_prompts=8 if fast else 48, rounds=3)
        result["cuda"] = None
        print("CUDA has not been measured in this run; it is with --device cuda")
    harness.finish(result, name=f"extract-{arguments.device}", arguments=arguments)


if __name__ == "__main__":
    main()
