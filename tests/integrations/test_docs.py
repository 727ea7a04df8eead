"""What docs/trainers.md shows is run as it is shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fakes import save_tiny_decoder

TEXT = (Path(__file__).resolve().parents[2] / "docs/trainers.md").read_text()


@pytest.fixture
def folder(tmp_path, monkeypatch, settings, bundle):
    """A working folder with a bundle at the path that the text names."""
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    (tmp_path / "runs/quickstart/bundle").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_python_block_runs(folder):
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 4
    left = {}
    for block in blocks:
        exec(compile(block, "trainers.md", "exec"), left)
    assert left["weights"] == [1.0, 0.5]
    assert left["found"].rewards["helpfulness"].shape == (1,)


def test_every_variable_of_the_table_is_read():
    named = set(re.findall(r"^\| `(ARMORM_\w+)`", TEXT, re.MULTILINE))
    source = Path(__file__).resolve().parents[2] / "src/armorm/integrations"
    read = set(re.findall(r'"(ARMORM_\w+)"', "".join(p.read_text() for p in source.glob("*.py"))))
    assert named == read


@pytest.mark.slow
def test_the_command_of_trl_runs(folder):
    pytest.importorskip("trl")
    command = next(line for line in TEXT.splitlines() if line.startswith("trl grpo "))
    save_tiny_decoder(folder / "POLICY", seed=1, pad_token_id=None)
    (folder / "PROMPTS").mkdir()
    rows = [f'{{"prompt": [{{"role": "user", "content": "Is {i} odd?"}}]}}\n' for i in range(8)]
    (folder / "PROMPTS/train.jsonl").write_text("".join(rows))
    quick = (
        "--max_steps 2 --per_device_train_batch_size 4 --num_generations 4 --logging_steps 1 "
        "--max_completion_length 8 --use_cpu true --bf16 false --report_to none --save_strategy no"
    )
    done = subprocess.run(
        [str(Path(sys.executable).parent / "trl"), *command.split()[1:], *quick.split()],
        env=os.environ | {"ARMORM_BUNDLE": "runs/quickstart/bundle", "ARMORM_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("rewards/reward/mean", "armorm/honesty", "armorm/unscored"):
        assert name in done.stdout
