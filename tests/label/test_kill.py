"""Labellings that are killed with SIGKILL at random moments, and continued."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armorm.label import LabelOptions, PairOptions, label
from label_rows import content, prompts

# A pause after each part, so that the moments of the kills are spread over the work.
CHILD = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import torch
torch.set_num_threads(1)
from armorm.label import LabelOptions, PairOptions, label
from armorm.model.reward import RewardModel
from bundles import make_bundle
from fakes import HashBackbone
backbone = HashBackbone()
model = RewardModel(make_bundle(backbone.facts()), backbone)
def run(output, pause):
    label(
        model, sys.argv[1], output, options=LabelOptions(part_rows=6, pairs=PairOptions()),
        watch=lambda *done: time.sleep(pause),
    )
run(sys.argv[3], 0)  # what is imported late is imported here
print("ready", flush=True)
run(sys.argv[2], 0.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_killed_labelling_ends_with_the_bytes_of_an_undisturbed_one(model, write, tmp_path, ending):
    path = write(prompts(80))
    options = LabelOptions(part_rows=6, pairs=PairOptions())
    label(model, path, tmp_path / f"whole/out.{ending}", options=options)
    whole, cut = content(tmp_path / "whole"), tmp_path / "cut"
    moments = random.Random(7)
    n_kept = [0]
    for n in range(5):
        warm = str(tmp_path / f"warm-{n}.{ending}")
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), str(cut / f"out.{ending}"), warm],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        left = content(cut) if cut.exists() else {}
        done = {name: text for name, text in left.items() if not Path(name).name.startswith(".")}
        assert done.items() <= whole.items()
        n_kept.append(sum("records" in name for name in done))
    assert n_kept == sorted(n_kept)
    assert n_kept[-1] > 0
    n_before = len(model.backbone.computed)
    label(model, path, cut / f"out.{ending}", options=options)
    assert content(cut) == whole
    assert len(model.backbone.computed) - n_before == 240 - 6 * n_kept[-1]
