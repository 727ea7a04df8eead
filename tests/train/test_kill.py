"""Runs that are killed with SIGKILL in every stage, and continued."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

# Says which file is about to be put on the disk, and waits, so that kills hit the moment.
CHILD = """
import sys, time
import armorm.storage as storage

sync = storage._sync

def told(path):
    print(path, flush=True)
    time.sleep(0.02)
    sync(path)

storage._sync = told
sys.argv[0] = "armorm"
from armorm.cli.main import main
main()
"""

MOMENTS = (
    "features/rated/.shard-00001",
    "features/pairs/.shard-00002",
    "stages/ridge/.held-out-0",
    "stages/debias/.held-out-0",
    "stages/gating/.held-out-1",
    "stages/gating-without-debias/.held-out-1",
    "stages/baselines/.held-out-2",
    "stages/ridge/.all",
    "/.bundle.",
    "/.report.json",
    "/.run.json",
)
"""What is being written when the kill comes, in the order of a run."""


def start(recipe, folder):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "train", str(recipe), "-o", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for(child, moment):
    """Read what the child says until it writes the file."""
    assert any(moment in line for line in child.stdout), child.stderr.read()


def leave(child):
    """The exit code and what stderr says, after the end of the child."""
    _, err = child.communicate()
    return child.returncode, err


@pytest.mark.slow
def test_run_killed_in_every_stage_ends_with_the_bytes_of_an_undisturbed_one(
    project, trained, content
):
    recipe, folder = project.write(), project.folder / "run"
    whole = content(trained.folder / "run")
    delays = random.Random(7)
    for moment in MOMENTS:
        child = start(recipe, folder)
        wait_for(child, moment)
        time.sleep(delays.uniform(0.0, 0.02))
        os.kill(child.pid, signal.SIGKILL)
        assert leave(child)[0] == -signal.SIGKILL
        # Whatever has its final name is whole.
        left = {n: d for n, d in content(folder).items() if n.startswith(("stages", "features"))}
        done = {name: d for name, d in left.items() if "/." not in name}
        assert done.items() <= whole.items()
    code, err = leave(start(recipe, folder))
    assert code == 0, err
    for part in ("bundle", "features", "stages"):
        assert content(folder / part) == content(trained.folder / "run" / part)
    assert not [p for p in folder.rglob("*") if p.suffix in (".part", ".old")]
    assert json.loads((folder / "run.json").read_text())["files"].keys() == {
        name for name in whole if not name.startswith(("stages", "features", "run.json", ".lock"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["features/pairs/.shard-00001", "stages/gating/.held-out-1"])
def test_ctrl_c_says_one_line_exits_130_and_the_run_goes_on(project, trained, content, moment):
    recipe, folder = project.write(), project.folder / "run"
    child = start(recipe, folder)
    wait_for(child, moment)
    child.send_signal(signal.SIGINT)
    code, err = leave(child)
    assert code == 130
    assert (
        err.count("interrupted: run the same command again; `train`, `extract` and `label` con")
        == 1
    )
    assert "Traceback" not in err
    assert not [p for p in folder.rglob("*.part")]
    project.train()
    assert content(folder / "bundle") == content(trained.folder / "run/bundle")


@pytest.mark.slow
def test_second_run_in_the_folder_of_a_running_one_is_refused(project, armorm):
    recipe, folder = project.write(), project.folder / "run"
    child = start(recipe, folder)
    wait_for(child, "stages/")
    code, _, err = armorm("train", recipe, "-o", folder)
    assert leave(child)[0] == 0
    assert code == 2
    assert any(line.endswith("run: another run is using this folder") for line in err)
