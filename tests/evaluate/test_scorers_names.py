"""A name says what scores; a slip is refused before anything is loaded."""

import numpy as np
import pytest

from armorm import BundleError, RewardModel
from armorm.evaluate.scorers import (
    HuggingFaceScorer,
    JudgeSettings,
    PairJudge,
    RatingJudge,
    ScorerName,
    ScorerOptions,
    open_pair_judge,
    open_scorer,
    parse_scorer_name,
)
from armorm.evaluate.scoring import LengthScorer, RandomScorer, Scorer
from armorm.types import Conversation, Message
from bundles import decoder_backbone, make_bundle, saved
from fakes import save_tiny_decoder
from judge_server import Reply, judge_server

ROW = Conversation((Message("user", "Question?"),), "An answer.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("length", {"kind": "length"}),
        ("longest", {"kind": "length"}),
        ("shortest", {"kind": "length", "longer": False}),
        ("-length", {"kind": "length", "longer": False}),
        ("random", {"kind": "random"}),
        ("runs/a/bundle", {"kind": "reward model", "target": "runs/a/bundle"}),
        ("./bundle", {"kind": "reward model", "target": "./bundle"}),
        ("o/m@main", {"kind": "reward model", "target": "o/m@main"}),
        ("hf:o/m", {"kind": "hugging face", "target": "o/m"}),
        ("hf:o/m@v1.0", {"kind": "hugging face", "target": "o/m", "revision": "v1.0"}),
        ("hf:gpt2@main", {"kind": "hugging face", "target": "gpt2", "revision": "main"}),
        ("hf:../x@y/z", {"kind": "hugging face", "target": "../x@y/z"}),
        ("judge:m@http://h:1/v1", {"kind": "judge", "target": "m", "url": "http://h:1/v1"}),
        ("judge:o/m@2@https://h", {"kind": "judge", "target": "o/m@2", "url": "https://h"}),
    ],
)
def test_a_name_has_its_parts(text, expected):
    assert parse_scorer_name(text) == ScorerName(text, **expected)


def test_a_path_that_is_here_is_a_path_whatever_it_looks_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("length", "bundle", "o/m@main"):
        (tmp_path / name).mkdir(parents=True)
    assert parse_scorer_name("length").kind == "reward model"
    assert parse_scorer_name("bundle").target == "bundle"
    assert parse_scorer_name("hf:o/m@main") == ScorerName("hf:o/m@main", "hugging face", "o/m@main")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Length", "got 'Length'; did you mean 'length'"),
        ("randon", "got 'randon'; did you mean 'random'?"),
        ("", "got ''; known: 'longest'"),
        ("x" * 5000, "got 'xxx"),
        ("bundle\0", "got 'bundle"),
        ("jugde:m@http://h", "begins with 'jugde:'; did you mean 'judge:'?"),
        ("HF:o/m", "'HF:o/m' begins with 'HF:'; known: 'hf:', 'judge:'"),
        ("hf:", "a model must be named after `hf:`; got 'hf:'"),
    ],
)
def test_a_slip_is_refused_and_the_near_name_offered(text, said):
    with pytest.raises(ValueError, match="a model must be") as caught:
        parse_scorer_name(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["judge:m", "judge:", "judge:@http://h", "judge:m@localhost:80"])
def test_a_judge_without_model_or_address_is_refused(text):
    with pytest.raises(ValueError, match="a judge must be named judge:MODEL@URL"):
        parse_scorer_name(text)


def test_length_and_random_open_as_scorers():
    rows = [Conversation(ROW.prompt, "a" * n) for n in (3, 1)]
    assert open_scorer("length").score(rows).tolist() == [3.0, 1.0]
    assert open_scorer("-length").score(rows).tolist() == [-3.0, -1.0]
    drawn = [open_scorer("random", options=ScorerOptions(seed=s)).score(rows) for s in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert isinstance(open_scorer("random"), RandomScorer)
    assert isinstance(open_scorer("-length"), LengthScorer)


def test_a_judge_opens_without_a_request_and_keeps_its_answers_where_told(tmp_path):
    objective = "".join(f"{name}: 7\n" for name in ("helpfulness", "correctness", "honesty"))
    text = objective + "harmlessness: 10\nclarity: 1"
    options = ScorerOptions(judge=JudgeSettings(max_requests=1), judge_cache=tmp_path)
    with judge_server(lambda user, i: Reply(text)) as server:
        judge = open_scorer(f"judge:m@{server.url}", options=options)
        assert server.requests == []
        assert isinstance(judge, RatingJudge)
        # By hand: (3 * 6/9 + 1 + 0) / 5 = 0.6.
        assert judge.score([ROW]) == pytest.approx([0.6])
    assert (tmp_path / "answers.jsonl").is_file()
    assert judge.name == "judge:m"


def test_a_judge_of_pairs_is_opened_by_the_same_name():
    assert isinstance(open_pair_judge("judge:m@http://h"), PairJudge)
    with pytest.raises(ValueError, match="a judge must be named judge:MODEL@URL; got 'length'"):
        open_pair_judge("length")


def test_a_bundle_that_is_not_there_is_the_loaders_to_say(tmp_path):
    with pytest.raises(BundleError, match="nowhere"):
        open_scorer(str(tmp_path / "nowhere"))


def test_a_bundle_opens_as_a_scorer_of_its_own_scores(tmp_path):
    backbone = decoder_backbone(tmp_path / "backbone")
    bundle = make_bundle(backbone.facts())
    expected = RewardModel(bundle, backbone).score([ROW]).score
    scorer = open_scorer(str(saved(tmp_path / "bundle", bundle)))
    assert scorer.name == "tiny"
    assert scorer.score([ROW]) == pytest.approx(expected.tolist())


def test_a_model_of_hugging_face_opens_by_folder(tmp_path):
    folder = save_tiny_decoder(tmp_path / "rm", head="classifier")
    scorer = open_scorer(f"hf:{folder}")
    assert isinstance(scorer, HuggingFaceScorer)
    assert isinstance(scorer, Scorer)
    assert scorer.name == f"hf:{folder}"
    scores = scorer.score([ROW])
    assert scores.shape == (1,)
    assert scores.dtype == np.float64
