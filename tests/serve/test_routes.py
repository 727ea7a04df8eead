"""Our own routes: what they answer is what the model says, and errors say where they are."""

import pytest
import torch

from armorm.explain import compare, explain_in_words
from bundles import NUISANCE, OBJECTIVES
from fakes import conversations

PROMPT, RESPONSES = "Is ice cold?", ["Yes, below 0 degrees.", "No.", "It depends on the ice."]
ROWS = [{"prompt": PROMPT, "response": response} for response in RESPONSES]
KEPT = [name for i, name in enumerate(OBJECTIVES) if i != NUISANCE]


def test_scores_and_parts_are_the_models_own(server, hashed):
    results = server.post("/v1/score", {"prompt": PROMPT, "responses": RESPONSES}).json()["results"]
    expected = hashed.score(ROWS)
    assert [r["score"] for r in results] == pytest.approx(expected.score.tolist(), abs=1e-6)
    debiased = expected.objectives @ hashed.bundle.debias
    for i, result in enumerate(results):
        assert result["objectives"] == pytest.approx(expected[i].objectives, abs=1e-6)
        kept = {n: float(debiased[i, OBJECTIVES.index(n)]) for n in KEPT}
        assert result["debiased"] == pytest.approx(kept, abs=1e-6)
        assert result["n_tokens"] == int(expected.n_tokens[i])


def test_both_forms_of_a_request_score_alike(server):
    by_prompt = server.post("/v1/score", {"prompt": PROMPT, "responses": RESPONSES}).json()
    by_row = server.post("/v1/score", {"conversations": ROWS}).json()
    messages = [
        [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": response}]
        for response in RESPONSES
    ]
    by_message = server.post("/v1/score", {"conversations": messages}).json()
    assert by_prompt == by_row == by_message


def test_ids_come_back_in_the_order_given(server):
    rows = [{"id": row.id, "messages": row.messages()} for row in conversations(9)]
    results = server.post("/v1/score", {"conversations": rows}).json()["results"]
    assert [r["id"] for r in results] == [row["id"] for row in rows]


def test_an_explanation_adds_up_and_is_the_models_own(server, hashed):
    body = {"conversations": [{"id": "ice", **ROWS[0]}]}
    [result] = server.post("/v1/explain", body).json()["results"]
    expected = hashed.explain(ROWS[0]).as_dict()
    assert result["id"] == "ice"
    for part in ("objectives", "gating", "coefficients", "contributions"):
        assert result[part] == pytest.approx(expected[part], abs=1e-6)
    assert sum(result["contributions"].values()) == pytest.approx(result["score"], abs=1e-5)
    # Of the scale 0 to 4; of `is_safe` 0 to 1.
    assert result["ratings"]["honesty"] == pytest.approx(4 * result["objectives"]["honesty"])
    assert result["ratings"]["is_safe"] == pytest.approx(result["objectives"]["is_safe"])


@pytest.mark.parametrize(
    ("steering", "call"),
    [
        ({"weights": {"honesty": 1.5, "verbosity": -0.5}}, "with_weights"),
        ({"factors": {"honesty": 3.0, "is_safe": 0.0}}, "scaled"),
    ],
)
def test_steering_is_that_of_the_model(server, hashed, steering, call):
    steered = getattr(hashed, call)(next(iter(steering.values())))
    results = server.post("/v1/explain", {"conversations": ROWS, **steering}).json()["results"]
    expected = steered.score(ROWS)
    torch.testing.assert_close(torch.tensor([r["score"] for r in results]), expected.score)
    assert (results[0]["gating"] is None) == (call == "with_weights")


def test_a_comparison_of_a_pair_is_that_of_the_library(server, hashed):
    body = {"prompt": PROMPT, "chosen": RESPONSES[0], "rejected": RESPONSES[1], "id": "p"}
    answer = server.post("/v1/compare", body).json()
    chosen, rejected = hashed.score(ROWS[:2])
    expected = compare(chosen, rejected, beta=hashed.bundle.beta)
    [found] = answer["comparisons"]
    assert (answer["id"], found["chosen"], found["rejected"]) == ("p", 0, 1)
    assert found["margin"] == pytest.approx(expected.margin, abs=1e-6)
    assert found["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert found["deciding"] == list(expected.deciding)
    assert found["words"].startswith(explain_in_words(expected))
    total = sum(d["contribution"] for d in found["differences"])
    assert total == pytest.approx(found["margin"], abs=1e-5)


def test_many_responses_are_ranked_and_the_best_is_compared_with_each(server):
    answer = server.post("/v1/compare", {"prompt": PROMPT, "responses": RESPONSES}).json()
    scores = [r["score"] for r in answer["results"]]
    assert answer["ranking"] == sorted(range(3), key=lambda i: -scores[i])
    best, *others = answer["ranking"]
    assert [(c["chosen"], c["rejected"]) for c in answer["comparisons"]] == [
        (best, other) for other in others
    ]
    assert all(c["margin"] >= 0 for c in answer["comparisons"])


def test_fixed_weights_have_no_preference_probability(server):
    body = {"prompt": PROMPT, "responses": RESPONSES, "weights": {"honesty": 1}}
    answer = server.post("/v1/compare", body).json()
    assert [c["probability"] for c in answer["comparisons"]] == [None, None]


def test_bad_rows_are_dropped_with_their_reason_and_others_are_scored(server, hashed):
    rows = [ROWS[0], {"prompt": PROMPT, "response": "w " * 600}, {"prompt": "", "response": "a"}]
    body = {"conversations": [*rows, ROWS[1]], "bad_rows": "drop"}
    results = server.post("/v1/score", body).json()["results"]
    expected = hashed.score(ROWS[:2]).score.tolist()
    assert [r["score"] for r in results] == [
        pytest.approx(expected[0], abs=1e-6),
        None,
        None,
        pytest.approx(expected[1], abs=1e-6),
    ]
    assert [r["reason"] for r in results] == [
        None,
        "longer than 512 tokens",
        "`prompt` must not be empty; got ''",
        None,
    ]
    assert results[1]["objectives"] is None
    explained = server.post("/v1/explain", body).json()["results"]
    assert [r["score"] is None for r in explained] == [False, True, True, False]


def test_an_empty_list_is_answered(server):
    for path in ("/v1/score", "/v1/explain"):
        assert server.post(path, {"conversations": []}).json()["results"] == []


USER = {"role": "user", "content": "a"}
REFUSED = [
    ({}, "`conversations` must be given, or both `prompt` and `responses`"),
    ({"prompt": "a"}, "`conversations` must be given, or both"),
    ({"conversations": [], "prompt": "a"}, "`conversations` stand alone"),
    ({"conversations": ROWS, "weighs": {}}, "weighs: extra inputs are not permitted"),
    ({"conversations": [ROWS[0], {"prompt": "a"}]}, "conversations[1]: missing field 'response'"),
    ({"prompt": "a", "responses": ["b", " "]}, "responses[1]: `response` must not be empty"),
    ({"prompt": "a", "responses": ["b", 3]}, "responses[1]: input should be a valid string; got 3"),
    ({"prompt": 3, "responses": []}, "prompt: input should be a valid list; got 3"),
    ({"conversations": [[USER]]}, "conversations[0]: `messages`: a conversation must end in a"),
    (
        {"conversations": [[USER | {"role": "usr"}]]},
        "conversations[0][0].role: input should be 'system', 'user' or 'assistant'; got 'usr'",
    ),
    ({"conversations": ROWS, "weights": {"x": 1}}, "`weights`: unknown objective 'x'"),
    ({"conversations": ROWS, "weights": {}}, "`weights` must name at least one objective"),
    ({"conversations": ROWS, "weights": {"honesty": "1"}}, "weights.honesty: input should be"),
    ({"conversations": ROWS, "weights": {"honesty": 1e39}}, "`weights` must be finite in float32"),
    ({"conversations": ROWS, "factors": {"honesty": -1}}, "`factors` must be at least 0"),
    ({"conversations": ROWS, "factors": {"verbosity": 2}}, "`factors` must not name the nuisance"),
    (
        {"conversations": ROWS, "weights": {"honesty": 1}, "factors": {"honesty": 1}},
        "`weights` bypass the gating that `factors` multiply",
    ),
    (
        {"conversations": [ROWS[0], {"prompt": "a", "response": "w " * 600}]},
        "conversations[1]: longer than 512 tokens",
    ),
    ({"conversations": ROWS, "bad_rows": "skip"}, "bad_rows: input should be 'stop' or 'drop'"),
]


@pytest.mark.parametrize(("body", "text"), REFUSED)
def test_a_request_that_cannot_be_scored_is_refused_with_its_place(server, body, text):
    for path in ("/v1/score", "/v1/explain"):
        answer = server.post(path, body)
        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith(text)
        assert answer.json()["error"]["code"] == 422


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"prompt": "a"}, "`chosen` and `rejected` must be given, or `responses` alone"),
        ({"prompt": "a", "chosen": "b"}, "`chosen` and `rejected` must be given"),
        ({"prompt": "a", "chosen": "b", "responses": ["c", "d"]}, "`chosen` and `rejected` must"),
        ({"prompt": "a", "responses": ["b"]}, "responses: must be two or more to compare; got 1"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "rejected: `response` must not be empty"),
    ],
)
def test_a_comparison_that_is_none_is_refused(server, body, text):
    answer = server.post("/v1/compare", body)
    assert (answer.status_code, answer.json()["error"]["type"]) in {(422, "request"), (422, "row")}
    assert answer.json()["error"]["message"].startswith(text)


def test_the_innocent_row_is_not_named(server):
    body = {"conversations": [ROWS[0], {"prompt": "a", "response": ""}]}
    error = server.post("/v1/score", body).json()["error"]
    assert [d["where"] for d in error["details"]] == ["conversations[1]"]


def test_the_model_describes_itself(server, hashed):
    content = server.get("/v1/model").json()
    assert tuple(content["objectives"]) == hashed.objectives
    assert content["nuisances"] == ["verbosity"]
    assert content["scales"]["safety"]["is_safe"]["high"] == 1
    assert content["ranges_seen"] is None
    assert content["ranges_note"].startswith("the bundle does not hold the ranges")
    assert content["limits"]["conversations"] == 1024
    assert server.get("/v1/models").json()["data"][0]["id"] == "tiny"


def test_health_and_readiness(server):
    assert server.get("/health").json() == {"status": "ok"}
    assert server.get("/ready").json() == {"ready": True}


def test_unknown_routes_and_methods_have_the_same_form_of_error(server):
    nowhere, method = server.get("/score"), server.get("/v1/score")
    assert (nowhere.status_code, method.status_code) == (404, 405)
    assert nowhere.json()["error"]["message"].startswith("there is no route '/score'")
    assert method.json()["error"]["message"] == "/v1/score takes another method; got GET"


def test_openapi_describes_every_route_with_an_example(server):
    schema = server.get("/openapi.json").json()
    posts = {path: of["post"] for path, of in schema["paths"].items() if "post" in of}
    assert {"/v1/score", "/v1/explain", "/v1/compare", "/get_reward", "/verify"} <= posts.keys()
    for path, post in posts.items():
        reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        component = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]
        assert component["examples"], path
        for example in component["examples"]:
            assert server.post(path, example).status_code == 200, path
