"""Random models and conversations that benchmarks run on; nothing is downloaded."""

from __future__ import annotations

import math
from typing import Any

import torch

from armorm.features.backbone import register_attention
from armorm.features.chat import TokenizedConversation
from armorm.features.decoder import DecoderBackbone
from armorm.features.interface import FeatureOptions

LLAMA_SMALL = {
    "vocab_size": 4096,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
LLAMA_8B = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rope_theta": 500_000.0,
    "max_position_embeddings": 8192,
}

_TEMPLATE = "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>{% endfor %}"


def random_backbone(
    shape: dict[str, Any],
    *,
    device: str = "cpu",
    dtype: str = "float32",
    like: DecoderBackbone | None = None,
    engine: str = "packed",
    token_budget: int | None = None,
) -> DecoderBackbone:
    """Build a random Llama on its device; `like` gives its weights instead."""
    from transformers import LlamaConfig, LlamaModel

    register_attention()
    if like is None:
        config = LlamaConfig(**shape, pad_token_id=0, bos_token_id=None, eos_token_id=None)
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(0)
            before = torch.get_default_dtype()
            torch.set_default_dtype(getattr(torch, dtype))
            try:
                model = LlamaModel(config).eval().requires_grad_(False)
            finally:
                torch.set_default_dtype(before)
    else:
        model = like.model
    options = FeatureOptions(engine=engine, token_budget=token_budget)
    facts = {
        "name": "random-llama",
        "revision": None,
        "kind": "decoder",
        "digest": "0" * 64,
        "response_width": shape["hidden_size"],
        "prompt_width": shape["hidden_size"],
        "dtype": dtype,
        "max_tokens": shape["max_position_embeddings"],
        "options": {"max_tokens": shape["max_position_embeddings"], "too_long": "drop"},
    }
    return DecoderBackbone(model, word_tokenizer(), facts, options=options, device=device)


def word_tokenizer(n_words: int = 4000) -> Any:
    """Build a tokenizer of words w0, w1, ... with a chat template, one token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<s>", "</s>", "user", "assistant"]
    words = [*special, *(f"w{i}" for i in range(n_words))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<s>", "</s>"],
    )
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def draw_lengths(n: int, *, median: float, sigma: float = 0.6, seed: int = 0) -> list[int]:
    """Draw log-normal lengths between 8 and 2,048 tokens."""
    normal = torch.randn(n, generator=torch.Generator().manual_seed(seed))
    found = (normal * sigma + math.log(median)).exp().round().long()
    return found.clamp(8, 2048).tolist()


def draw_rows(
    n_prompts: int, *, n_responses: int, prompt_median: float, response_median: float
) -> list[TokenizedConversation]:
    """Draw token ids: all responses to a prompt begin with it, and share nothing else."""
    draw = torch.Generator().manual_seed(2)
    prompts = draw_lengths(n_prompts, median=prompt_median, seed=0)
    responses = iter(draw_lengths(n_prompts * n_responses, median=response_median, seed=1))

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(6, 4000, (n,), generator=draw).tolist())

    rows = []
    for n in prompts:
        prompt = tokens(n)
        for _ in range(n_responses):
            rows.append(TokenizedConversation(prompt + tokens(next(responses)), n - 1))
    return rows


def linear_parameters(model: torch.nn.Module) -> int:
    """Count the parameters of linear layers; embeddings are looked up, not multiplied."""
    return sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
