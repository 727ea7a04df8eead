"""Every command that takes a bundle, on a checkpoint in the released layout."""

import json

import pytest

from armorm import RewardModel
from armorm.model.bundle import load_bundle
from armorm.model.released import RELEASED_OBJECTIVES
from fakes import conversations
from released import save_released

HELPFULNESS = "helpsteer-helpfulness"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_released(tmp_path_factory.mktemp("models") / "ArmoRM-tiny")


def rows(path, key="response"):
    """Rated rows, or pairs, of twelve prompts."""
    with path.open("w") as file:
        for i, row in enumerate(conversations(24, seed=1)):
            content = {"id": f"r{i}", "prompt": row.prompt[0].content, "source": "helpsteer"}
            if key == "chosen":
                content |= {"chosen": row.response, "rejected": f"No {i}."}
            else:
                content |= {"response": row.response, "ratings": {HELPFULNESS: i % 5}}
            file.write(json.dumps(content) + "\n")
    return path


def test_score_equals_the_library(armorm, checkpoint, tmp_path):
    done = armorm("score", checkpoint, rows(tmp_path / "rated.jsonl"), "--device", "cpu")
    assert done.code == 0
    want = RewardModel.load(checkpoint, device="cpu").score(conversations(24, seed=1))
    assert [line["score"] for line in done.lines] == pytest.approx(want.score.tolist(), abs=1e-5)
    assert list(done.lines[0]["objectives"]) == list(RELEASED_OBJECTIVES)


def test_weights_and_factors_steer_it(armorm, checkpoint, tmp_path):
    path = rows(tmp_path / "rated.jsonl")
    done = armorm("score", checkpoint, path, "--weights", f"{HELPFULNESS}=2")
    line = done.lines[0]
    assert line["score"] == pytest.approx(2 * line["objectives"][HELPFULNESS], abs=1e-6)
    done = armorm("score", checkpoint, path, "--scale", "helpsteer-verbosity=2")
    assert done.code == 2
    assert "must not name the nuisance 'helpsteer-verbosity'" in done.err


def test_explain_shows_ratings_on_the_published_scale(armorm, checkpoint, tmp_path):
    done = armorm("explain", checkpoint, rows(tmp_path / "rated.jsonl"))
    assert (done.code, done.err) == (0, "")
    assert "code-readability" in done.out
    pair = armorm("explain", checkpoint, rows(tmp_path / "pairs.jsonl", "chosen"))
    assert pair.code == 0


def test_evaluate_holds_it_against_what_needs_no_fit(armorm, checkpoint, tmp_path):
    pairs = rows(tmp_path / "pairs.jsonl", "chosen")
    rated = rows(tmp_path / "rated.jsonl")
    done = armorm("evaluate", checkpoint, "--pairs", pairs, "--rated", rated, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    scorers = [row["scorer"] for row in report["preferences"]]
    assert scorers == ["gated", "uniform mean", "longer wins"]
    assert "no baselines fitted beside it" in " ".join(done.err.split())
    assert [row["name"] for row in report["objectives"]] == [HELPFULNESS]


def test_lists_of_objectives_and_sources(armorm, checkpoint):
    done = armorm("objectives", "list", checkpoint)
    assert done.code == 0
    assert all(name in done.out for name in RELEASED_OBJECTIVES)
    done = armorm("sources", "list", checkpoint)
    assert done.code == 0
    assert "helpsteer" in done.out


def test_an_objective_dropped_from_it_leaves_a_bundle_on_the_checkpoint(
    armorm, checkpoint, tmp_path
):
    out = tmp_path / "smaller"
    done = armorm("objectives", "drop", checkpoint, "code-style", "-o", out)
    assert (done.code, done.err) == (0, "")
    bundle = load_bundle(out)
    assert bundle.backbone["name"] == str(checkpoint)
    assert "code-style" not in bundle.objectives
    assert armorm("score", out, rows(tmp_path / "rated.jsonl")).code == 0
    done = armorm("objectives", "drop", checkpoint, "helpsteer-verbosity", "-o", out)
    assert done.code == 2
    assert "dropping a nuisance is refused" in done.err


def test_an_objective_added_to_it_has_no_intercept_as_the_others(armorm, checkpoint, tmp_path):
    path, out = tmp_path / "rated.jsonl", tmp_path / "larger"
    text = rows(path).read_text().replace(HELPFULNESS, "humour")
    path.write_text(text)
    done = armorm(
        *("objectives", "add", checkpoint, "humour", "--rated", path, "--scale", 0, 4),
        *("-o", out, "--folds", 3),
    )
    assert done.code == 0, done.err
    bundle = load_bundle(out)
    assert bundle.objectives == (*RELEASED_OBJECTIVES, "humour")
    assert not bundle.bias.any()
    assert float(bundle.debias[4, 19]) != 0  # the verbosity is taken out of the new one too


@pytest.mark.parametrize("command", [("drop", "helpsteer"), ("list",)])
def test_sources_of_it_cannot_be_changed_without_their_statistics(
    armorm, checkpoint, tmp_path, command
):
    verb, *rest = command
    output = ("-o", tmp_path / "out") if verb == "drop" else ()
    done = armorm("sources", verb, checkpoint, *rest, *output)
    assert done.code == (2 if verb == "drop" else 0)
    assert "statistics" in done.err


def test_a_checkpoint_that_is_damaged_is_one_line(armorm, tmp_path):
    def change(tensors):
        del tensors["reward_transform_matrix"]

    folder = save_released(tmp_path / "damaged", change=change)
    done = armorm("objectives", "list", folder)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "'reward_transform_matrix' must have shape (19, 19), it is missing" in done.err
