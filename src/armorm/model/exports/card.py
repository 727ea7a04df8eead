"""The model card of an export: what its numbers are, and how the tools that take it load it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from armorm.model.bundle import Bundle
from armorm.model.card import backbone_label
from armorm.model.exports.parity import Difference
from armorm.model.exports.plan import ExportPlan

_WHAT = {
    "armorm": "the layout of the released ArmoRM: backbone, ridge head, debias matrix and gate in "
    "one checkpoint, with a class of its own (`modeling_armorm.py`, which needs torch and "
    "transformers alone)",
    "classifier": "one score, as a plain sequence classifier with one label: no code of its own, "
    "the same weights of the objectives for every prompt",
    "objectives": "the objective scores, as a plain sequence classifier with one label an "
    "objective: no code of its own",
    "head": "the heads alone, as an armorm bundle; the backbone is named, not included",
}

_USES = {
    "armorm": (
        (
            "Transformers 4.57 and 5",
            "`AutoModelForSequenceClassification.from_pretrained(path, trust_remote_code=True)`; "
            "`logits` (B, 1), `score`, `rewards`, `gating_output`, `prompt_embedding`, "
            "`hidden_state`. Without `trust_remote_code` Transformers takes its own classifier and "
            "a random head",
        ),
        ("armorm", '`RewardModel.load("path")`: no code of the folder is run'),
        (
            "TRL",
            "`GRPOTrainer(reward_funcs=...)` with the loaded model, or with the path and "
            "`trust_remote_code=True`; it reads `logits[:, 0]`",
        ),
        (
            "vLLM, SGLang, OpenRLHF, verl",
            "not this layout: they have no place for a gate, and OpenRLHF would put a random head "
            "in its place; export as `classifier`, or ask an armorm server",
        ),
    ),
    "classifier": (
        (
            "Transformers",
            "`AutoModelForSequenceClassification.from_pretrained(path, num_labels=1)`",
        ),
        ("TRL", "`reward_funcs=path` or `--reward_model_name_or_path path`"),
        (
            "vLLM",
            "`vllm serve path --runner pooling`, then `POST /classify`: `data[i].probs[0]` is the "
            "score itself, because the config says `problem_type: regression`; without that line "
            "vLLM puts a sigmoid on it",
        ),
        ("SGLang", "`POST /v1/embeddings`: `data[i].embedding[-1]`"),
        ("verl", "`reward.reward_model.enable=True reward.reward_model.model_path=path`"),
        ("OpenRLHF", "as the reward model; the head is `score` (`value_head_prefix`)"),
        ("ms-swift", "`--reward_model path`"),
        ("NeMo-RL", "as `RewardModelEnvironment`, `reward_model_type: bradley_terry`"),
    ),
    "objectives": (
        (
            "Transformers",
            "`AutoModelForSequenceClassification.from_pretrained(path)`; `config.id2label` names "
            "the columns of `logits`",
        ),
        (
            "vLLM",
            "`vllm serve path --runner pooling`, then `POST /classify`: `data[i].probs` are the "
            "objective scores themselves, because the config says `problem_type: regression`; "
            "without that line vLLM puts a softmax on them",
        ),
        (
            "TRL, OpenRLHF, verl",
            "not this layout: TRL asks for one label and refuses, verl reads the last number "
            "alone; export as `classifier`",
        ),
    ),
    "head": (("armorm", '`RewardModel.load("path")`, or `armorm score path rows.jsonl`'),),
}


def export_card(plan: ExportPlan, differences: Sequence[Difference], notes: Sequence[str]) -> str:
    """Write the model card of an export.

    Args:
        plan: What it holds.
        differences: How far it is off.
        notes: Sentences that a user should know.

    Returns:
        Markdown with a YAML head, as model hubs read it.
    """
    bundle, to = plan.bundle, plan.settings.to
    head: dict[str, Any] = {
        "library_name": "armorm" if to == "head" else "transformers",
        "pipeline_tag": "text-classification",
    }
    if bundle.backbone["revision"] is not None:  # a hub id: a folder has none
        head["base_model"] = bundle.backbone["name"]
    head["tags"] = ["reward-model", "interpretability", "multi-objective", "armorm"]
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        "---",
        f"# {bundle.name}: {to}",
        "",
        f"A reward model with {len(bundle.objectives)} named objectives on the frozen backbone "
        f"`{backbone_label(bundle.backbone)}` (arXiv 2406.12845). This export is {_WHAT[to]}.",
        "",
        *_code(plan),
        *_uses(to),
        *_objectives(plan),
        *_check(plan, differences),
        *_limits(plan, notes),
    ]
    return "\n".join(lines) + "\n"


def _code(plan: ExportPlan) -> list[str]:
    """How it is loaded in Python."""
    if plan.settings.to == "head":
        return [
            "```python",
            "from armorm import RewardModel",
            "",
            'model = RewardModel.load("path")',
            'model.explain({"prompt": "…", "response": "…"})',
            "```",
            "",
        ]
    trusted = ", trust_remote_code=True" if plan.settings.to == "armorm" else ""
    shown = {
        "armorm": "model(**batch).score",
        "classifier": "model(**batch).logits[:, 0]",
        "objectives": "dict(zip(model.config.id2label.values(), model(**batch).logits[0]))",
    }[plan.settings.to]
    return [
        "```python",
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained("path")',
        f'model = AutoModelForSequenceClassification.from_pretrained("path"{trusted})',
        'messages = [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]',
        "text = tokenizer.apply_chat_template(messages, tokenize=False)",
        'batch = tokenizer([text], add_special_tokens=False, padding=True, return_tensors="pt")',
        shown,
        "```",
        "",
    ]


def _uses(to: str) -> list[str]:
    """Which tools take it."""
    rows = [f"| {tool} | {how} |" for tool, how in _USES[to]]
    return ["## Tools", "", "| tool | how |", "|---|---|", *rows, ""]


def _objectives(plan: ExportPlan) -> list[str]:
    """Table of the objectives with their scales, and the weights of a classifier."""
    bundle, weights = plan.bundle, plan.coefficients
    title = "| objective | rating scale |" + " coefficient |" * (weights is not None)
    lines = ["## Objectives", "", title, "|---|---|" + "---|" * (weights is not None)]
    for j, name in enumerate(bundle.objectives):
        cells = [name, _scales(bundle, name)]
        if weights is not None:
            cells.append(f"{float(weights[j]):.6g}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines.append("")
    if weights is None:
        lines += ["Objective scores are ratings mapped to 0 (low) and 1 (high) of their scale.", ""]
    else:
        lines += ["The score is the sum of coefficient times objective score.", ""]
    if plan.settings.debiased and bundle.nuisances:
        names = ", ".join(f"`{bundle.objectives[i]}`" for i in bundle.nuisances)
        lines += [
            f"The outputs are debiased: what they share with {names} is out, and it is 0.",
            "",
        ]
    return lines


def _scales(bundle: Bundle, name: str) -> str:
    """The rating scales of an objective, with the map where it is not the plain one."""
    parts: list[str] = []
    for source, of in bundle.scales.items():
        if (scale := of.get(name)) is None:
            continue
        plain = scale.offset is None and scale.divisor is None
        low, high = scale.normalise(scale.low), scale.normalise(scale.high)
        mapped = "" if plain else f" as {low:g} to {high:g}"
        parts.append(f"{scale.low:g} to {scale.high:g}{mapped} ({source})")
    return ", ".join(parts) or "not stated"


def _check(plan: ExportPlan, differences: Sequence[Difference]) -> list[str]:
    """What was compared before the export was kept."""
    if not differences:
        return []
    found = ", ".join(f"{d.output} {d.largest:.1e}" for d in differences)
    checkpoint = plan.checkpoint
    dtype = "" if checkpoint is None else f" in {str(checkpoint.dtype).removeprefix('torch.')}"
    return [
        "## Check",
        "",
        f"Loaded again{dtype} and compared with armorm on {len(plan.features[0]):,} conversations; "
        f"largest differences: {found}.",
        "",
    ]


def _limits(plan: ExportPlan, notes: Sequence[str]) -> list[str]:
    """What a user must not expect."""
    bundle = plan.bundle
    lines = ["## Limits", ""]
    if plan.checkpoint is not None:
        lines += [
            "- Conversations go through the chat template of this tokenizer, response included, "
            "without generation prompt; its text is tokenised without special tokens.",
            "- Rows end at the last token that is not the padding token "
            f"`{plan.checkpoint.pad.token}`: another padding token, such as the one that closes a "
            "conversation, changes scores.",
            "- Cut long conversations at the beginning: a response that is cut at its end is "
            "another response.",
        ]
    if plan.settings.to == "armorm":
        lines.append(
            "- The gate reads the state at the last place where the tokens "
            f"{list(plan.pattern or ())} begin; a response that spells them out moves it."
        )
    if plan.checkpoint is not None and plan.settings.to != "armorm":
        lines.append(
            "- The head is stored in float32; transformers casts it with the backbone, and in "
            "bfloat16 a score has three significant digits, so that close responses tie."
        )
    if plan.settings.to == "head":
        lines.append(
            f"- Backbone digest `{bundle.backbone['digest']}`; another backbone is refused."
        )
    if plan.settings.to == "head" and plan.template_digest is not None:
        lines.append(
            f"- SHA-256 of its chat template: `{plan.template_digest}`; token ids that begin where "
            f"a prompt ends: {list(plan.pattern) if plan.pattern else 'none found'}."
        )
    lines += [f"- {note[0].upper()}{note[1:]}." for note in notes]
    lines.append("- The licence of the backbone holds for what is made of it.")
    return lines
