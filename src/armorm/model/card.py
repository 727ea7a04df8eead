"""The model card of a bundle, written from the facts of its run and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from armorm.data.text_measures import MEASURES
from armorm.model.bundle import Bundle


def model_card(bundle: Bundle) -> str:
    """Write the model card.

    Args:
        bundle: With the facts of its training run.

    Returns:
        Markdown with a YAML head, as model hubs read it.
    """
    facts, backbone = bundle.facts, bundle.backbone
    head: dict[str, Any] = {"library_name": "armorm", "pipeline_tag": "text-classification"}
    if backbone["revision"] is not None:  # a hub id: a folder or a package has none
        head["base_model"] = backbone["name"]
    head["tags"] = ["reward-model", "interpretability", "multi-objective"]
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).strip(),
        "---",
        f"# {bundle.name}",
        "",
        f"An interpretable reward model with {len(bundle.objectives)} named objectives on the "
        f"frozen backbone `{backbone_label(backbone)}`. Its score is a sum of contributions, one "
        "an objective; a gating network weighs the objectives by the prompt (arXiv 2406.12845).",
        "",
        "```python",
        "from armorm import RewardModel",
        "",
        'model = RewardModel.load("path/to/this/folder")',
        'model.explain({"prompt": "…", "response": "…"})',
        "```",
        "",
        *_objectives(bundle),
        *_accuracy(facts),
        *_training(bundle),
        *_changes(bundle),
        *_limits(bundle),
    ]
    return "\n".join(lines) + "\n"


def backbone_label(backbone: Mapping[str, Any]) -> str:
    """Return what others know a backbone by: its hub id, or its folder without the path.

    Args:
        backbone: Facts.

    Returns:
        The name.

    Example:
        >>> backbone_label({"name": "/home/me/models/qwen", "revision": None})
        'qwen'
    """
    name = str(backbone["name"])
    return name if backbone["revision"] is not None else Path(name).name or name


def _objectives(bundle: Bundle) -> list[str]:
    """Table of the objectives, with scales and quality."""
    known: Mapping[str, Any] = bundle.facts.get("objectives", {})
    lines = ["## Objectives", "", "| objective | rating scale | Spearman | R2 | ratings |"]
    lines += ["|---|---|---|---|---|"]
    for name in bundle.objectives:
        scales = [
            f"{of[name].low:g} to {of[name].high:g} ({source})"
            for source, of in bundle.scales.items()
            if name in of
        ]
        row = known.get(name, {})
        if name in bundle.measured:
            scales = [f"measured: {MEASURES[name].sentence}" if name in MEASURES else "measured"]
        cells = [name, ", ".join(scales) or "not stated", _figure(row.get("spearman"))]
        cells += [_figure(row.get("r2")), f"{row['n']:,}" if row else "-"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines.append("")
    if (protocol := bundle.facts.get("protocol")) is not None:
        lines += [f"Figures: {protocol}.", ""]
    if bundle.nuisances:
        names = ", ".join(f"`{bundle.objectives[i]}`" for i in bundle.nuisances)
        lines += [
            f"The debias step takes {names} out: it adds nothing to the score, and what the other "
            "objectives share with it is subtracted.",
            "",
        ]
    return lines


def _accuracy(facts: Mapping[str, Any]) -> list[str]:
    """Preference accuracy beside the baselines."""
    accuracy: Mapping[str, Any] = facts.get("accuracy", {})
    if not accuracy:
        return []
    lines = ["## Preference accuracy", "", "| scorer | accuracy |", "|---|---|"]
    lines += [f"| {name} | {_figure(value, 3)} |" for name, value in accuracy.items()]
    return [*lines, ""]


def _training(bundle: Bundle) -> list[str]:
    """What the heads were fitted on."""
    facts, data = bundle.facts, bundle.facts.get("data", {})
    if not data:
        return []
    sources = ", ".join(
        f"{name} ({of['rated']:,} rated, {of['pairs']:,} pairs)"
        for name, of in data["sources"].items()
    )
    dropped = sum(n for reasons in data["dropped"].values() for n in reasons.values())
    return [
        "## Training",
        "",
        f"- {data['rated']:,} rated responses and {data['pairs']:,} preference pairs on "
        f"{data['prompts']:,} prompts; {dropped:,} rows dropped or truncated; sources: {sources}.",
        *_decontaminated(data),
        *_temperature(bundle),
        f"- Backbone digest `{bundle.backbone['digest']}`; another backbone is refused.",
        f"- Seed {facts['seed']}, number of threads {facts['threads']}, "
        + ", ".join(f"{name} {version}" for name, version in facts["software"].items())
        + ".",
        "",
    ]


def _temperature(bundle: Bundle) -> list[str]:
    """What makes a probability of a margin."""
    temperature = bundle.facts.get("temperature")
    if temperature is None:
        return []
    return [
        f"- The preference probability is sigmoid(beta margin) with beta {bundle.beta:.3g}, the "
        f"trained one divided by the temperature {temperature:.3g}, which was fitted on margins of "
        "held-out pairs."
    ]


def _decontaminated(data: Mapping[str, Any]) -> list[str]:
    """Evaluation files whose prompts the training rows do not have."""
    files: list[Mapping[str, Any]] = data.get("decontaminated", [])
    if not files:
        return []
    said = ", ".join(f"`{of['path']}` ({sum(of['rows'].values()):,} rows)" for of in files)
    return [
        "- No training row has a prompt of these evaluation files, up to case and white space; "
        f"rows left out for them: {said}."
    ]


def _changes(bundle: Bundle) -> list[str]:
    """What was changed after the run, and whether sources can still be."""
    lines: list[str] = []
    if changes := bundle.facts.get("changes"):
        lines += ["## Changes since the run", ""]
        lines += [f"{i}. {change[0].upper()}{change[1:]}." for i, change in enumerate(changes, 1)]
        lines.append("")
    if bundle.statistics is not None:
        lines += [
            "The statistics of the rated rows travel with this bundle "
            "(`statistics.safetensors`): a source can be added or withdrawn without the features "
            "of the others.",
            "",
        ]
    return lines


def _limits(bundle: Bundle) -> list[str]:
    """What a user must not expect."""
    return [
        "## Limits",
        "",
        "- Scores compare responses to one prompt; scores of different prompts are mixed with "
        "different weights.",
        f"- The longest conversation is {bundle.backbone['max_tokens']:,} tokens; longer ones are "
        + (
            "cut from the left."
            if bundle.backbone["options"]["too_long"] == "truncate"
            else "refused."
        ),
        "- The objectives are as good as the ratings they were fitted on, and no better than the "
        "table above says.",
    ]


def _figure(value: float | None, digits: int = 2) -> str:
    """A figure with some decimals, or a dash where it is undefined."""
    return "-" if value is None else f"{value:.{digits}f}"
