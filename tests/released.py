"""Small checkpoints in the released layout, and its formulas evaluated one row at a time."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from fakes import chat_tokenizer, tiny_config

# What opens a response, after the token that closes the last user turn.
OPENINGS = {
    "llama3": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma2": "<end_of_turn>\n<start_of_turn>model\n",
    "qwen3": "<|im_end|>\n<|im_start|>assistant\n",
    "mistral": "[/INST]",
}

# As in the released config, trailing space included; sizes of the small model replace its own.
RELEASED_KEYS = {
    "_name_or_path": "RLHFlow/ArmoRM-Llama3-8B-v0.1 ",
    "architectures": ["LlamaForRewardModelWithGating"],
    "auto_map": {
        "AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"
    },
    "torch_dtype": "float32",
    "transformers_version": "4.40.0",
    "use_cache": False,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "gating_temperature": 10,
}

_VERBOSITY = 4


def head_tensors(k: int, width: int, *, hidden: tuple[int, ...], seed: int) -> dict[str, Tensor]:
    """Random heads under their released names; objective 4 is the one that debias removes."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    transform = torch.eye(k)
    if k > _VERBOSITY:
        transform[_VERBOSITY] = -0.3 * normal(k)
        transform[_VERBOSITY, _VERBOSITY] = 0
    tensors = {
        "regression_layer.weight": normal(k, width) / width**0.5,
        "reward_transform_matrix": transform,
        "gating.logit_scale": torch.tensor([1.25]),
    }
    widths = (width, *hidden, k)
    for i, (inner, outer) in enumerate(pairwise(widths)):
        tensors[f"gating.layers.{i}.weight"] = 3 * normal(outer, inner) / inner**0.5
        tensors[f"gating.layers.{i}.bias"] = normal(outer)
    return tensors


def save_released(
    folder: Path,
    family: str = "llama3",
    *,
    k: int = 19,
    hidden: tuple[int, ...] = (12, 12, 12),
    dtype: torch.dtype = torch.float32,
    change: Any = None,
    seed: int = 0,
    template: str | None = "",
    **config_changes: Any,
) -> Path:
    """Save a small checkpoint in the released layout: shards, index, config and tokenizer.

    Args:
        folder: Where to; made when absent.
        family: One of `OPENINGS`.
        k: Number of objectives.
        hidden: Widths of the gate.
        dtype: Of the backbone's tensors; heads are float32.
        change: Called with all tensors, to damage them.
        seed: Of the weights.
        template: As in `chat_tokenizer`.
        config_changes: Entries of config.json that differ; `...` leaves one out.

    Returns:
        The folder.
    """
    from transformers import AutoModel

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = chat_tokenizer(family, template=template)
    tokenizer.save_pretrained(folder)
    config = tiny_config(family, pad_token_id=tokenizer.pad_token_id)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = AutoModel.from_config(config)
    tensors = {f"model.{name}": t.to(dtype) for name, t in backbone.state_dict().items()}
    tensors |= head_tensors(k, config.hidden_size, hidden=hidden, seed=seed + 1)
    if change is not None:
        change(tensors)
    write_shards(folder, tensors)
    sizes = {
        "num_objectives": k,
        "gating_hidden_dim": hidden[0] if hidden else 0,
        "gating_n_hidden": len(hidden),
    }
    content = config.to_dict() | RELEASED_KEYS | sizes | config_changes
    content = {name: value for name, value in content.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(content, default=str))
    return folder


def write_shards(folder: Path, tensors: dict[str, Tensor], n: int = 3) -> None:
    """Write tensors in n files with an index."""
    names = sorted(tensors)
    places = {name: f"model-{i % n + 1:05d}-of-{n:05d}.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(places.values())):
        part = {m: tensors[m].clone().contiguous() for m in names if places[m] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def opening(family: str = "llama3") -> list[int]:
    """Token ids that end the prompt and open the response."""
    return chat_tokenizer(family)(OPENINGS[family], add_special_tokens=False)["input_ids"]


def read_all(folder: Path) -> dict[str, Tensor]:
    """Read every tensor of a sharded checkpoint."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors


def published_forward(
    folder: Path, token_ids: list[int], pattern: list[int], *, backbone: Any = None
) -> dict[str, Any]:
    """Score one conversation by the published formulas, step by step, in float64 heads.

    The prompt ends where the LAST occurrence of the pattern begins; the response at the last
    token; rewards are before the transform; the gate's softmax runs over the objectives.
    """
    from transformers import AutoConfig, AutoModel

    tensors = read_all(folder)
    config = AutoConfig.from_pretrained(folder)
    if backbone is None:
        backbone = AutoModel.from_config(config, attn_implementation="eager").eval()
        state = {n[6:]: t.float() for n, t in tensors.items() if n.startswith("model.")}
        backbone.load_state_dict(state)
    with torch.no_grad():
        states = backbone(input_ids=torch.tensor([token_ids]))[0][0]
    begins = None
    for j in range(len(token_ids) - len(pattern), -1, -1):
        if token_ids[j : j + len(pattern)] == pattern:
            begins = j
            break
    assert begins is not None, "the conversation has no response"
    last, prompt = states[-1].double(), states[begins].double()
    rewards = tensors["regression_layer.weight"].double() @ last
    x, i = prompt, 0
    while f"gating.layers.{i}.weight" in tensors:
        if i > 0:
            x = functional.relu(x)
        x = tensors[f"gating.layers.{i}.weight"].double() @ x
        x = x + tensors[f"gating.layers.{i}.bias"].double()
        i += 1
    gating = torch.exp(x / config.gating_temperature)
    gating = gating / gating.sum() * tensors["gating.logit_scale"].double()
    debiased = rewards @ tensors["reward_transform_matrix"].double()
    return {
        "score": float((gating * debiased).sum()),
        "rewards": rewards,
        "gating": gating,
        "begins": begins,
    }
