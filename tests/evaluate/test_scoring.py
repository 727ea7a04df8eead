"""Scores kept by content: what is paid once, what a crash loses, what is not trusted."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from armorm.errors import DataError, StorageError
from armorm.evaluate.scoring import (
    BundleScorer,
    LengthScorer,
    RandomScorer,
    Scorer,
    cached_scores,
    content_key,
)
from armorm.features.interface import FeatureOptions
from armorm.model.reward import RewardModel
from armorm.types import Conversation, Message
from bundles import make_bundle
from fakes import HashBackbone

TESTS = Path(__file__).parent.parent


class Counting:
    """Scores a text by its length and remembers what it was asked."""

    name = "counting"
    identity = "c0" * 32

    def __init__(self, *, joint=False, fail_at=None, wrong=None):
        self.joint, self.fail_at, self.wrong = joint, fail_at, wrong
        self.calls = []

    def score(self, conversations, *, progress=None):
        self.calls.append([c.response for c in conversations])
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        if progress is not None:
            progress(len(conversations), len(conversations))
        scores = np.array([float(len(c.response)) for c in conversations])
        return scores if self.wrong is None else self.wrong(scores)

    @property
    def n_scored(self):
        return sum(map(len, self.calls))


def talk(prompt, response, identity=""):
    return Conversation((Message("user", prompt),), response, identity)


def talks(n):
    return [talk(f"prompt {i // 2}", "x" * (i + 1), f"id-{i}") for i in range(n)]


def test_each_text_is_scored_once_in_the_order_given(tmp_path):
    scorer, rows = Counting(), talks(5)
    found = cached_scores(scorer, [*rows, *reversed(rows)], cache=tmp_path)
    assert found.tolist() == [1, 2, 3, 4, 5, 5, 4, 3, 2, 1]
    assert found.dtype == np.float64
    assert scorer.n_scored == 5


def test_a_second_call_scores_only_what_is_new(tmp_path):
    cached_scores(Counting(), talks(6), cache=tmp_path)
    again = Counting()
    found = cached_scores(again, talks(8), cache=tmp_path)
    assert found.tolist() == list(range(1, 9))
    assert again.calls == [["x" * 7, "x" * 8]]
    assert not (tmp_path / "other").exists()


def test_ids_are_not_part_of_the_key_and_roles_are():
    assert content_key(talk("a", "b", "one")) == content_key(talk("a", "b", "two"))
    assert content_key(talk("a", "b")) != content_key(talk("b", "a"))
    system = Conversation((Message("system", "a"),), "b")
    assert content_key(system) != content_key(talk("a", "b"))


def test_another_identity_shares_nothing(tmp_path):
    cached_scores(Counting(), talks(4), cache=tmp_path)
    other = Counting()
    other.identity = "d1" * 32
    cached_scores(other, talks(4), cache=tmp_path)
    assert other.n_scored == 4


def test_without_a_cache_nothing_is_written(tmp_path):
    assert cached_scores(Counting(), talks(3), cache=None).tolist() == [1, 2, 3]
    assert list(tmp_path.iterdir()) == []


def test_responses_to_a_prompt_are_scored_in_one_call():
    scorer = Counting()
    rows = [talk("a", "1"), talk("b", "22"), talk("a", "333"), talk("b", "4444"), talk("c", "5")]
    cached_scores(scorer, rows, cache=None, chunk=3)
    assert scorer.calls == [["1", "333"], ["22", "4444", "5"]]


def test_a_joint_scorer_is_asked_again_when_a_sibling_is_new(tmp_path):
    """A decoder that truncates cuts a prompt for its longest response: siblings decide."""
    cached_scores(Counting(joint=True), [talk("a", "1"), talk("b", "1")], cache=tmp_path)
    again = Counting(joint=True)
    cached_scores(again, [talk("a", "1"), talk("a", "22"), talk("b", "1")], cache=tmp_path)
    assert again.calls == [["1", "22"]]


def test_progress_counts_kept_scores_and_never_falls(tmp_path):
    cached_scores(Counting(), talks(4), cache=tmp_path)
    seen = []
    cached_scores(
        Counting(),
        talks(10),
        cache=tmp_path,
        chunk=2,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(4, 10), (6, 10), (8, 10), (10, 10)]


def test_an_exception_loses_at_most_its_chunk(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cached_scores(Counting(fail_at=3), talks(10), cache=tmp_path, chunk=2)
    again = Counting()
    assert cached_scores(again, talks(10), cache=tmp_path, chunk=2).tolist() == list(range(1, 11))
    assert again.n_scored == 6


_KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
sys.path.insert(0, {here!r})
from pathlib import Path
from test_scoring import Counting, cached_scores, talks

class Killed(Counting):
    def score(self, conversations, *, progress=None):
        if len(self.calls) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(conversations, progress=progress)

cached_scores(Killed(), talks(10), cache=Path({cache!r}), chunk=2)
"""


def test_a_killed_process_loses_at_most_its_chunk(tmp_path):
    here = str(Path(__file__).parent)
    code = _KILLED.format(tests=str(TESTS), here=here, cache=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = Counting()
    assert cached_scores(again, talks(10), cache=tmp_path).tolist() == list(range(1, 11))
    assert again.n_scored == 6


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-20], lambda b: b.replace(b": 1.0", b": 9.0"), lambda b: b""]
)
def test_a_damaged_file_is_named_and_not_trusted(tmp_path, damage):
    cached_scores(Counting(), talks(3), cache=tmp_path)
    (file,) = (tmp_path / Counting.identity).iterdir()
    file.write_bytes(damage(file.read_bytes()))
    again = Counting()
    with pytest.raises(DataError, match=rf"{file.name}: the digest of the file must be its name"):
        cached_scores(again, talks(3), cache=tmp_path)
    assert again.calls == []
    file.unlink()  # what the text says to do
    assert cached_scores(again, talks(3), cache=tmp_path).tolist() == [1, 2, 3]


def test_a_file_of_another_version_is_refused(tmp_path):
    content = json.dumps({"schema": 2, "scores": {}}).encode()
    folder = tmp_path / Counting.identity
    folder.mkdir()
    (folder / f"{hashlib.sha256(content).hexdigest()}.json").write_bytes(content)
    with pytest.raises(DataError, match="the schema must be 1; got 2: another version"):
        cached_scores(Counting(), talks(1), cache=tmp_path)


def test_a_cache_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        cached_scores(Counting(), talks(1), cache=tmp_path / "file")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_must_be_finite_and_are_not_kept(tmp_path, bad):
    def spoil(scores):
        scores[1] = bad
        return scores

    said = rf"scorer 'counting': scores must be finite; 1 of 3 are not, the first is {bad}.*'id-1'"
    with pytest.raises(DataError, match=said):
        cached_scores(Counting(wrong=spoil), talks(3), cache=tmp_path)
    assert cached_scores(Counting(), talks(3), cache=tmp_path).tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="without an id"):
        cached_scores(Counting(wrong=lambda s: s * bad), [talk("a", "b")], cache=None)


def test_a_score_too_few_is_refused():
    with pytest.raises(ValueError, match=r"must return 3 scores; got shape \(2,\)"):
        cached_scores(Counting(wrong=lambda s: s[1:]), talks(3), cache=None)
    with pytest.raises(ValueError, match="`chunk` must be at least 1; got 0"):
        cached_scores(Counting(), talks(3), cache=None, chunk=0)


def test_length_scorers_are_opposite_and_random_scores_are_of_the_text():
    rows = talks(200)
    longer, shorter = LengthScorer(), LengthScorer(longer=False)
    assert (longer.score(rows) == -shorter.score(rows)).all()
    assert longer.identity != shorter.identity
    draws = RandomScorer().score(rows)
    assert (draws == RandomScorer().score(rows[::-1])[::-1]).all()
    assert not (draws == RandomScorer(seed=1).score(rows)).any()
    assert ((draws >= 0) & (draws < 1)).all()
    # Mean 0.5, standard error 0.0204: six of them fail by chance once in 5e8 draws.
    assert abs(draws.mean() - 0.5) < 6 * 0.0204
    assert isinstance(longer, Scorer)


def model(**changes):
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts(), **changes), backbone)


def test_bundle_scorer_gives_the_scores_of_the_model():
    rows = talks(6)
    found = BundleScorer(model()).score(rows)
    assert found.dtype == np.float64
    assert found == pytest.approx(model().score(rows).score.numpy())


def test_identity_of_a_bundle_is_of_everything_that_decides_a_score():
    base = BundleScorer(model())
    assert BundleScorer(model()).identity == base.identity
    assert BundleScorer(model(name="renamed", beta=9.0, baselines=False)).identity == base.identity
    others = [
        BundleScorer(model(seed=1)),
        BundleScorer(model(score_scale=2.0)),
        BundleScorer(model().with_weights({"honesty": 1.0})),
        BundleScorer(model().with_weights({"honesty": 2.0})),
        BundleScorer(model().scaled({"honesty": 2.0})),
    ]
    wide = HashBackbone(options=FeatureOptions(max_tokens=100))
    others.append(BundleScorer(RewardModel(make_bundle(wide.facts()), wide)))
    assert len({base.identity, *(one.identity for one in others)}) == 7
    assert [one.name for one in others[2:5]] == [
        "tiny (weights honesty=1)",
        "tiny (weights honesty=2)",
        "tiny (scale honesty=2)",
    ]


def test_only_a_truncating_decoder_is_joint():
    assert not BundleScorer(model()).joint
    backbone = HashBackbone(options=FeatureOptions(max_tokens=100, too_long="truncate"))
    assert BundleScorer(RewardModel(make_bundle(backbone.facts()), backbone)).joint


def test_refusals_name_the_rows_that_do_not_fit():
    backbone = HashBackbone(options=FeatureOptions(max_tokens=5))
    scorer = BundleScorer(RewardModel(make_bundle(backbone.facts()), backbone))
    rows = [talk("one two", "three"), talk("one two three", "four five six")]
    first, second = scorer.refusals(rows)
    assert first == ""
    assert "5" in second
