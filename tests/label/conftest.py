"""Candidates of many prompts, and a reward model on features without a language model."""

import json

import pytest

from armorm.model.reward import RewardModel
from bundles import make_bundle
from label_rows import CountingBackbone, prompts


@pytest.fixture
def model():
    """A reward model on a backbone that counts the rows it has computed."""
    backbone = CountingBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture
def write(tmp_path):
    """Write rows as JSON Lines and return the path."""

    def written(content, name="in.jsonl"):
        path = tmp_path / name
        lines = (row if isinstance(row, str) else json.dumps(row) for row in content)
        path.write_text("".join(line + "\n" for line in lines))
        return path

    return written


@pytest.fixture
def candidates(write):
    """A file of 10 prompts with 3 candidates each."""
    return write(prompts(10))
