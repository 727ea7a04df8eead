"""Small real things for tests: decoders and encoders with random weights, their tokenizers, rows.

Everything is built from configs and seeds, nothing is downloaded. `FAMILIES` names the chat
templates in `tests/templates/`: written for these tests, with the special tokens of the
family and in its order.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from armorm.features.interface import Backbone, FeatureOptions, Unused
from armorm.types import Conversation, Message

FAMILIES = ("llama3", "gemma2", "qwen3", "mistral", "zephyr")

TEMPLATES = Path(__file__).parent / "templates"

# family: (BOS, EOS, padding, further special tokens, does the tokenizer add BOS itself)
_SPECIAL = {
    "llama3": (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|pad|>",
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        True,
    ),
    "gemma2": ("<bos>", "<eos>", "<pad>", ["<start_of_turn>", "<end_of_turn>"], True),
    "qwen3": (None, "<|im_end|>", "<|endoftext|>", ["<|im_start|>"], False),
    "mistral": ("<s>", "</s>", "<pad>", ["[INST]", "[/INST]"], True),
    "zephyr": ("<s>", "</s>", "<pad>", [], True),
}

# What the merges of the tokenizers are learned from; any other text is spelled in bytes.
_CORPUS = [
    "What is the capital of France? The capital of France is Paris.",
    "You are a helpful assistant. Answer the question of the user in one sentence.",
    "Write a short poem about the sea. The sea is wide, the sea is blue.",
    "How do I boil an egg? Put the egg in boiling water for eight minutes.",
    "system user assistant model prompt response question answer",
]


@functools.cache
def _tokenizer_core(family: str) -> Any:
    """A byte-level BPE with a few hundred merges and the special tokens of a family."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    bos, eos, pad, others, adds_bos = _SPECIAL[family]
    special = [token for token in (bos, eos, pad, *others) if token]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        show_progress=False,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    core.train_from_iterator(_CORPUS, trainer)
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A",
            pair=f"{bos} $A {bos} $B",
            special_tokens=[(bos, core.token_to_id(bos))],
        )
    return core


def chat_tokenizer(family: str = "llama3", *, template: str | None = "") -> Any:
    """Build the fast tokenizer of a family, with its chat template.

    Args:
        family: One of `FAMILIES`.
        template: Another template; None for a tokenizer without one.

    Returns:
        A new `PreTrainedTokenizerFast`.
    """
    from transformers import PreTrainedTokenizerFast

    bos, eos, pad, others, _ = _SPECIAL[family]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=type(_tokenizer_core(family)).from_str(_tokenizer_core(family).to_str()),
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=others,
    )
    if template is not None:
        tokenizer.chat_template = template or (TEMPLATES / f"{family}.jinja").read_text()
    return tokenizer


def tiny_config(family: str = "llama3", **changes: Any) -> Any:
    """Build the config of a decoder with 2 layers and width 32.

    Args:
        family: One of `FAMILIES`; zephyr is a Mistral.
        changes: Entries of the config that differ.

    Returns:
        The config; Mistral and Gemma-2 have a sliding window of 8 tokens.
    """
    from transformers import Gemma2Config, LlamaConfig, MistralConfig, Qwen3Config

    sizes: dict[str, Any] = {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    classes = {
        "llama3": LlamaConfig,
        "gemma2": Gemma2Config,
        "qwen3": Qwen3Config,
        "mistral": MistralConfig,
        "zephyr": MistralConfig,
    }
    if family == "gemma2":
        sizes |= {"sliding_window": 8, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0}
    if family in ("mistral", "zephyr"):
        sizes |= {"sliding_window": 8}
    return classes[family](**(sizes | changes))


def save_tiny_decoder(
    folder: Path,
    family: str = "llama3",
    *,
    head: str = "causal",
    seed: int = 0,
    template: str | None = "",
    **changes: Any,
) -> Path:
    """Save a decoder with random weights and its tokenizer as a local model folder.

    Args:
        folder: Where to; made when absent.
        family: One of `FAMILIES`.
        head: `causal` (language model), `classifier` (one label) or `none`.
        seed: Of the weights.
        template: As in `chat_tokenizer`.
        changes: Entries of the config that differ.

    Returns:
        The folder.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    config = tiny_config(family, **changes)
    if head == "classifier":
        config.num_labels = 1
    kinds = {
        "causal": AutoModelForCausalLM,
        "classifier": AutoModelForSequenceClassification,
        "none": AutoModel,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kinds[head].from_config(config)
    model.save_pretrained(folder)
    chat_tokenizer(family, template=template).save_pretrained(folder)
    return folder


def save_tiny_encoder(folder: Path, *, seed: int = 0, max_tokens: int = 64) -> Path:
    """Save a BERT with random weights and a WordPiece tokenizer of single letters.

    Args:
        folder: Where to; made when absent.
        seed: Of the weights.
        max_tokens: Number of positions.

    Returns:
        The folder.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;?!'-"
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters)]
    core = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=max_tokens,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=max_tokens,
    ).save_pretrained(folder)
    return folder


def conversations(n: int, *, n_responses: int = 2, seed: int = 0) -> list[Conversation]:
    """Write n conversations of different lengths, `n_responses` of them to each prompt."""
    rows = []
    for i in range(n):
        question, answer = divmod(i, n_responses)
        words = hashlib.sha256(f"{seed} {i}".encode()).hexdigest()[: 4 + (i * 7) % 23]
        prompt = (Message("user", f"Question {question}: what is {question} plus {seed}?"),)
        rows.append(Conversation(prompt, f"Answer {answer}: {words}.", id=f"row-{i}"))
    return rows


class HashBackbone(Backbone):
    """A backbone without a model: features are pseudo-random numbers seeded by the text.

    The response feature depends on prompt and response, the prompt feature on the prompt
    alone, and both are the same in every process. For tests of what stands on features.
    """

    def __init__(self, *, width: int = 8, options: FeatureOptions | None = None) -> None:
        options = options or FeatureOptions(max_tokens=512)
        facts = {
            "name": "hash",
            "revision": None,
            "kind": "decoder",
            "digest": hashlib.sha256(f"hash {width}".encode()).hexdigest(),
            "response_width": width,
            "prompt_width": width,
            "dtype": "float32",
            "max_tokens": options.max_tokens or 512,
            "options": options.facts(),
        }
        super().__init__(facts, options=options, device="cpu")
        self.n_rows = 0
        """Rows whose features were computed since the object was made."""

    def tokenize(self, conversations: Sequence[Conversation], *, cuts: Any = None) -> list[Any]:
        """One token a word; rows longer than the limit are not used."""
        rows: list[Any] = []
        for row in conversations:
            text = " ".join([*(m.content for m in row.prompt), row.response])
            n_tokens = len(text.split())
            too_long = n_tokens > self.max_tokens
            rows.append(Unused(f"longer than {self.max_tokens:,} tokens") if too_long else row)
        return [r if isinstance(r, Unused) else HashRow(r) for r in rows]

    def features(self, rows: Sequence[Any], *, token_budget: int | None = None) -> Any:
        """Draw the numbers."""
        self.n_rows += len(rows)
        response = [self._draw(repr((r.row.prompt, r.row.response)), 0) for r in rows]
        prompt = [self._draw(repr(r.row.prompt), 1) for r in rows]
        empty = torch.zeros(0, self.response_width)
        return (
            torch.stack(response) if rows else empty,
            torch.stack(prompt) if rows else empty,
        )

    def _draw(self, text: str, salt: int) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(f"{salt}{text}".encode()).digest()[:7])
        return torch.randn(self.response_width, generator=torch.Generator().manual_seed(seed))


class HashRow:
    """A conversation as `HashBackbone` tokenises it."""

    n_truncated = 0

    def __init__(self, row: Conversation) -> None:
        self.row = row
        self.n_tokens = len(" ".join([*(m.content for m in row.prompt), row.response]).split())


def full(matrix: np.ndarray) -> np.ndarray:
    """Fill in the lower triangle of a symmetric matrix that has its upper one."""
    return np.triu(matrix) + np.triu(matrix, 1).T


def products(moments: Any) -> np.ndarray:
    """All of the centred Z'Z of moments, both triangles."""
    d = moments.d
    cross, own = moments.zy[:d], moments.zy[d:]
    return np.block([[full(moments.xx), cross], [cross.T, own]])
