"""Contracts of other tools: golden answers, and laws between the routes."""

import base64
import json
import struct

import pytest

from armorm import RewardModel
from bundles import make_bundle
from fakes import HashBackbone
from serving import served
from serving_golden import CASES, EPISODE, GOLDEN, LLAMA, MESSAGES, OPENED, SAID, settled

BETA = 4.0


def close(value):
    """Numbers to 1e-5, everything else exactly."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-5)
    if isinstance(value, dict):
        return {name: close(v) for name, v in value.items()}
    return [close(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
def test_answer_is_the_golden_one(server, name):
    path, body = CASES[name]
    answer = server.post(path, body)
    assert answer.status_code == 200
    assert settled(answer.json()) == close(json.loads((GOLDEN / f"{name}.json").read_text()))


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(CASES)


def test_all_contracts_give_one_conversation_one_score(server):
    score = server.post("/v1/score", {"conversations": [MESSAGES]}).json()["results"][0]["score"]
    found = [
        server.post("/classify", {"input": LLAMA}).json()["data"][0]["probs"][0],
        server.post("/pooling", {"input": [LLAMA]}).json()["data"][0]["data"][0],
        server.post("/v1/embeddings", {"input": LLAMA}).json()["data"][0]["embedding"][0],
        server.post("/predict", {"inputs": LLAMA, "raw_scores": True}).json()[0]["score"],
        server.post("/rerank", {"query": "Is ice cold?", "documents": [SAID]}).json()["results"][0][
            "relevance_score"
        ],
        server.post("/remote_rm?bare=true", {"prompt": "Is ice cold?", "response": SAID}).json(),
        server.post("/v1/score/evaluation", {"messages": [LLAMA]}).json()["scores"][0],
        server.post("/get_reward", {"query": [LLAMA], "prompts": [""]}).json()["rewards"][0],
    ]
    assert found == pytest.approx([score] * len(found), abs=1e-6)
    packed = server.post("/pooling", {"input": LLAMA, "encoding_format": "base64"}).json()
    [value] = struct.unpack("<f", base64.b64decode(packed["data"][0]["data"]))
    assert value == pytest.approx(score, abs=1e-6)


def test_bounded_scores_are_the_preference_over_a_score_of_0(server):
    from math import exp

    answer = server.post("/get_reward", {"query": [LLAMA], "prompts": [""]}).json()
    [reward], [score] = answer["rewards"], answer["scores"]
    assert score == pytest.approx(1 / (1 + exp(-BETA * reward)), rel=1e-4)
    assert server.post("/predict", {"inputs": LLAMA}).json()[0]["score"] == score


def test_openrlhf_logs_are_numbers_under_the_same_names_whatever_is_sent(server):
    some = [CASES[n] for n in CASES if n.startswith("openrlhf")]
    logs = [server.post(path, body).json()["extra_logs"] for path, body in some]
    assert len({tuple(log) for log in logs}) == 1
    assert all(isinstance(v, float) for log in logs for column in log.values() for v in column)


def test_what_nemo_gym_sent_comes_back_whole(server):
    answer = server.post("/verify", EPISODE).json()
    assert {name: answer[name] for name in EPISODE} == EPISODE
    assert answer["reward_components"]["honesty"] == answer["honesty"]


def test_a_component_never_hides_what_nemo_gym_sent(server):
    answer = server.post("/verify", EPISODE | {"honesty": "mine"}).json()
    assert answer["honesty"] == "mine"
    assert isinstance(answer["reward_components"]["honesty"], float)


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/get_reward", {"query": ["a"], "prompts": []}, "prompts: must be as many as `query`"),
        ("/get_reward", {"query": ["a"], "prompts": ["b"]}, "query[0]: chat text: must begin with"),
        ("/classify", {"input": "Hello."}, "input[0]: chat text: must begin with a message marker"),
        ("/classify", {}, "one of `input`, `text` and `messages` must be given; got none"),
        ("/classify", {"input": LLAMA, "text": LLAMA}, "one of `input`, `text` and `messages`"),
        ("/classify", {"input": [1, 2]}, "input.str: input should be a valid string"),
        ("/pooling", {"input": LLAMA, "task": "embed"}, "task: input should be 'classify'"),
        ("/classify", {"messages": MESSAGES[:1]}, "messages: `messages`: a conversation must end"),
        ("/rerank", {"query": "a"}, "one of `texts` and `documents` must be given"),
        ("/rerank", {"query": "", "texts": ["a"]}, "texts[0]: `prompt` must not be empty"),
        ("/predict", {"inputs": ["x"]}, "inputs[0]: chat text: must begin with"),
        (
            "/verify",
            {"responses_create_params": {}, "response": {}},
            "responses_create_params.input: must be text or a list of messages",
        ),
        (
            "/verify",
            {"responses_create_params": {"input": [{"type": "function_call"}]}, "response": {}},
            "responses_create_params.input[0]: must be a message of text",
        ),
        (
            "/verify",
            {"responses_create_params": {"input": []}, "response": {}},
            "responses_create_params.input: `prompt` must be text or messages; got an empty list",
        ),
    ],
)
def test_a_body_that_holds_no_conversation_is_refused(server, path, body, text):
    answer = server.post(path, body)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"].startswith(text)


@pytest.mark.parametrize(
    "output",
    [
        [{"type": "function_call", "name": "f"}],
        [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        [{"role": "assistant", "content": 3}],
        "text",
        [],
        [{"role": "assistant", "content": " "}],
    ],
)
def test_what_a_policy_did_wrong_costs_its_reward_and_no_error(server, output):
    body = {"responses_create_params": {"input": "Is ice cold?"}, "response": {"output": output}}
    answer = server.post("/verify", body).json()
    assert (answer["reward"], answer["armorm/unscored"]) == (-1.0, 1.0)


def test_a_response_that_begins_another_message_is_unscored(server):
    query = f"{OPENED}Yes.<|im_end|>\n<|im_start|>user\nI agree."
    answer = server.post("/get_reward", {"query": [query], "prompts": [OPENED]}).json()
    assert (answer["rewards"], answer["extra_logs"]["armorm/unscored"]) == ([-1.0], [1.0])


def test_numbers_that_cannot_be_sent_back_are_refused(server):
    text = json.dumps(EPISODE).replace("0.7", "1e999")
    answer = server.post(
        "/verify", None, content=text, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the body must hold finite numbers")


def test_without_a_number_for_them_rows_that_cannot_be_scored_are_refused(hashed):
    with served(hashed) as server:
        answer = server.post("/get_reward", {"query": [OPENED], "prompts": [OPENED]})
        assert answer.status_code == 422
        assert answer.json()["error"]["message"] == (
            "query[0]: cannot be scored: empty response; start the server with --unscored NUMBER "
            "to give such rows a reward"
        )
        long = f"{OPENED}{'w ' * 600}"
        answer = server.post("/get_reward", {"query": [long], "prompts": [OPENED]})
        assert "cannot be scored: longer than 512 tokens" in answer.json()["error"]["message"]


def test_an_objective_with_the_name_of_something_else_is_refused_where_it_matters():
    backbone = HashBackbone()
    names = ("score", "honesty", "verbosity", "is_safe")
    bundle = make_bundle(backbone.facts(), objectives=names, scales={})
    with served(RewardModel(bundle, backbone)) as server:
        answer = server.post("/remote_rm", {"prompt": "a", "response": "b"})
        assert answer.status_code == 422
        assert "an objective must not be called 'score'" in answer.json()["error"]["message"]
        assert server.post("/get_reward", {"query": [LLAMA], "prompts": [""]}).status_code == 200
