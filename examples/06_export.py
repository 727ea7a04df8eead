"""Export a reward model to the layouts that other tools load, and load one as they do.

Takes the folder of a bundle on a decoder, trained with `ridge: {intercept: false}`. Without
one it makes a random model of two layers first, so that it runs anywhere.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from armorm import RewardModel
from armorm.features.backbone import load_backbone
from armorm.heads.gating import GatingNetwork
from armorm.model.bundle import Bundle
from armorm.model.exports import export_model

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def random_model(folder: Path) -> RewardModel:
    """A decoder and heads with random weights: three objectives, the last one a nuisance."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    special = ["<|pad|>", "<|start|>", "<|end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    options = {"special_tokens": special, "initial_alphabet": alphabet, "show_progress": False}
    core.train_from_iterator(["What is ice? Frozen water."], trainers.BpeTrainer(**options))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), num_attention_heads=4, **sizes)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    backbone = load_backbone(str(folder), device="cpu")
    debias = torch.eye(3)
    debias[2] = torch.tensor([-0.4, 0.1, 0.0])
    parts = {"weight": torch.randn(3, 32), "bias": torch.zeros(3), "debias": debias, "beta": 1.0}
    gating = GatingNetwork(32, 3, hidden=(8,), masked=(2,)).eval()
    names = ("helpfulness", "honesty", "verbosity")
    facts = {"scales": {}, "backbone": backbone.facts(), "nuisances": (2,)}
    return RewardModel(Bundle("random", names, gating=gating, **facts, **parts), backbone)


folder = Path("runs/exports")
model = RewardModel.load(sys.argv[1]) if len(sys.argv) > 1 else random_model(folder / "backbone")
row = {"prompt": "What is ice?", "response": "Frozen water."}
for to in ("armorm", "classifier", "objectives", "head"):
    # A classifier has the same weights for every prompt: here the mean gating over these rows.
    report = export_model(model, folder / to, to=to, rows=[row])
    off = max(difference.largest for difference in report.differences)
    print(f"{to}: compared on {report.n_conversations} conversations, largest difference {off:.0e}")

# As any library would: no armorm, no code of the folder.
tokenizer = AutoTokenizer.from_pretrained(folder / "objectives")
labelled = AutoModelForSequenceClassification.from_pretrained(folder / "objectives")
turns = [("user", row["prompt"]), ("assistant", row["response"])]
messages = [{"role": role, "content": content} for role, content in turns]
text = tokenizer.apply_chat_template(messages, tokenize=False)
batch = tokenizer([text], add_special_tokens=False, return_tensors="pt")
scores = labelled(input_ids=batch["input_ids"]).logits[0].tolist()
print({labelled.config.id2label[i]: round(score, 3) for i, score in enumerate(scores)})
print({name: round(score, 3) for name, score in model.explain(row).objectives.items()})
