"""Extractions that are killed with SIGKILL at random moments, and continued."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armorm.features.extract import extract_features
from armorm.features.store import load_features
from fakes import HashBackbone, conversations

N_ROWS, SHARD_ROWS = 300, 5

# A pause after each shard, so that the moments of the kills are spread over the work.
CHILD = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import torch
torch.set_num_threads(1)
from fakes import HashBackbone, conversations
from armorm.features.extract import extract_features
print("ready", flush=True)
extract_features(
    HashBackbone(), conversations({N_ROWS}), folder=Path(sys.argv[1]), shard_rows={SHARD_ROWS},
    progress=lambda *done: time.sleep(0.01),
)
"""


def content(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.mark.slow
def test_killed_extraction_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    rows = conversations(N_ROWS)
    extract_features(HashBackbone(), rows, folder=tmp_path / "whole", shard_rows=SHARD_ROWS)
    whole, cut = content(tmp_path / "whole"), tmp_path / "cut"
    moments = random.Random(5)
    n_kept = [0]
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(cut)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.25))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert child.returncode == -signal.SIGKILL
        assert load_features(cut) is None
        left = content(cut) if cut.exists() else {}
        done = {name: digest for name, digest in left.items() if not name.startswith(".")}
        assert done.items() <= whole.items()
        n_kept.append(len(done))
    # Every run goes on where the one before was stopped.
    assert n_kept == sorted(n_kept)
    assert 0 < n_kept[-1] < len(whole) - 1
    last = HashBackbone()
    extract_features(last, rows, folder=cut, shard_rows=SHARD_ROWS)
    assert content(cut) == whole
    assert last.n_rows == N_ROWS - SHARD_ROWS * n_kept[-1]
