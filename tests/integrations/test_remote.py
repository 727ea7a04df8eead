"""A server in place of a bundle gives trainers what the bundle gives them."""

import pytest

from armorm import Conversation, Message, RewardModel
from armorm.client import ServerError
from armorm.features.interface import Unused
from armorm.integrations.openrlhf import reward_func
from armorm.integrations.shared import RowScorer, Scorer
from armorm.integrations.trl import objective_reward_functions, reward_function, reward_weights
from bundles import make_bundle
from fakes import HashBackbone, conversations
from serving import served

LONG = Conversation((Message("user", "a"),), "w " * 600)
ROWS = [*conversations(5), Unused("empty response"), LONG]
TEXT = "<|user|>\nIs ice cold?</s>\n<|assistant|>\n"


@pytest.fixture(scope="module")
def model():
    backbone = HashBackbone()
    return RewardModel(make_bundle(backbone.facts()), backbone)


@pytest.fixture(scope="module")
def url(model):
    with served(model, token="secret") as server:
        yield server.url


@pytest.fixture
def token(settings):
    settings(token="secret")


def near(values):
    return [None if v is None else pytest.approx(v, abs=1e-6) for v in values]


@pytest.mark.parametrize("values", ["debiased", "raw"])
@pytest.mark.parametrize("weights", [None, {"honesty": 1.0, "verbosity": -0.5}])
def test_a_server_scores_rows_as_its_model_does(model, url, token, values, weights):
    here = RowScorer(model, values=values, weights=weights).score(ROWS)
    there = RowScorer(url, values=values, weights=weights)
    found = there.score(ROWS)
    assert found.names == here.names == there.names
    assert found.score == near(here.score)
    assert found.values == near(here.values)
    assert found.reasons == here.reasons
    assert found.reasons[-1] == "longer than 512 tokens"
    assert dict(there.unused) == {"empty response": 1, "longer than 512 tokens": 1}
    assert isinstance(there.scorer(), Scorer)


def test_rewards_of_trl_are_those_of_the_model(model, url, token):
    batch = {"prompts": ["Is ice cold?"] * 2, "completions": ["Yes.", "No."]}
    assert reward_function(url)(**batch) == near(reward_function(model)(**batch))
    ours, theirs = objective_reward_functions(url), objective_reward_functions(model)
    assert [f.__name__ for f in ours] == [f.__name__ for f in theirs]
    assert [f(**batch) for f in ours] == [near(f(**batch)) for f in theirs]
    rows = conversations(4)
    assert reward_weights(ours, conversations=rows) == near(
        reward_weights(theirs, conversations=rows)
    )


def test_rewards_of_openrlhf_are_those_of_the_model(model, url, settings):
    settings(bundle=url, token="secret")
    found = reward_func([TEXT + "Yes.</s>"], [TEXT], [None])
    expected = model.score([{"prompt": "Is ice cold?", "response": "Yes."}]).score
    assert found["rewards"].tolist() == near(expected.tolist())
    sigmoid = (model.bundle.beta * expected).sigmoid()
    assert found["scores"].tolist() == near(sigmoid.tolist())


def test_a_server_that_wants_a_token_says_so(url, settings):
    with pytest.raises(ServerError, match="`Authorization` must be `Bearer`"):
        RowScorer(url).score(ROWS)


def test_a_server_takes_no_device_and_no_backbone():
    for setting in ({"device": "cpu"}, {"backbone": "x"}):
        with pytest.raises(ValueError, match="a server has a `device` and a `backbone` of its own"):
            RowScorer("http://127.0.0.1:9", **setting)


def test_a_server_under_fixed_weights_has_no_beta(model, settings):
    with served(model.with_weights({"honesty": 1.0})) as server:
        settings(bundle=server.url)
        found = reward_func([TEXT + "Yes.</s>"], [TEXT], [None])
        assert found["scores"].tolist() == near(found["rewards"].sigmoid().tolist())
