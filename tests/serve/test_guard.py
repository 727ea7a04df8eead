"""What a request passes before a route: token, sizes, time, room; and bodies that are none."""

import base64
import contextlib
import http.client
import json
import logging
import socket
import threading

import httpx
import pytest

from armorm.serve.settings import Limits
from serving import PATIENCE_S, served, wait_until

JSON = {"content-type": "application/json"}
BODY = {"prompt": "Is ice cold?", "responses": ["Yes.", "No."]}
TOKEN = "Zq7-secret"


@pytest.fixture(scope="module")
def locked(hashed):
    """A server with a token."""
    with served(hashed, token=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def small(hashed):
    """A server that takes little."""
    limits = Limits(
        body_bytes=20_000,
        conversations=8,
        messages=4,
        request_tokens=100,
        queue_conversations=16,
        open_requests=3,
        open_bytes=50_000,
    )
    with served(hashed, limits=limits) as running:
        yield running


def error(answer):
    content = answer.json()
    assert set(content) == {"error"}
    assert content["error"]["code"] == answer.status_code
    return content["error"]


BASIC = base64.b64encode(f"me:{TOKEN}".encode()).decode()


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {BASIC}"])
def test_a_request_with_the_token_is_answered(locked, shown):
    answer = locked.post("/v1/score", BODY, headers={"Authorization": shown})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "shown",
    ["", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Token {TOKEN}", TOKEN, "Basic x", "Basic !"],
)
@pytest.mark.parametrize("path", ["/v1/score", "/metrics", "/openapi.json", "/nowhere"])
def test_a_request_without_the_token_is_refused(locked, shown, path):
    answer = locked.get(path, headers={"Authorization": shown})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="armorm"'
    found = "another one" if shown else "none"
    assert error(answer)["message"].endswith(f"the server's token; got {found}")


def test_probes_need_no_token(locked):
    assert [locked.get(path).status_code for path in ("/health", "/ready")] == [200, 200]


def test_a_token_in_the_address_is_one_in_a_header(locked):
    url = locked.url.replace("http://", f"http://anybody:{TOKEN}@")
    assert httpx.post(url + "/get_reward", json={"query": [], "prompts": []}).status_code == 200


def test_the_token_is_never_logged(locked, caplog):
    with caplog.at_level(logging.DEBUG):
        locked.post("/v1/score", {"x": 1}, headers={"Authorization": f"Bearer {TOKEN}"})
        locked.post("/v1/score", BODY, headers={"Authorization": f"Bearer {TOKEN}x"})
    own = [r for r in caplog.records if not r.name.startswith(("httpcore", "httpx"))]
    assert TOKEN not in "".join(r.getMessage() for r in own)


def test_a_long_body_is_refused_before_it_is_parsed(small):
    answer = small.post("/v1/score", BODY | {"prompt": "a" * 20_001})
    assert answer.status_code == 413
    assert error(answer)["message"] == "a body must have at most 20,000 bytes"


def test_a_long_body_without_a_length_is_refused_as_well(small):
    parts = (b"a" * 1000 for _ in range(50))
    answer = httpx.post(small.url + "/v1/score", content=parts, headers=JSON)
    assert "transfer-encoding" in answer.request.headers
    assert answer.status_code == 413


def test_a_body_without_a_length_that_is_short_enough_is_answered(small):
    text = json.dumps(BODY).encode()
    parts = (text[i : i + 7] for i in range(0, len(text), 7))
    assert httpx.post(small.url + "/v1/score", content=parts, headers=JSON).status_code == 200


def test_a_body_of_ten_mebibytes_is_refused(server):
    body = {"prompt": "a", "responses": ["b" * (10 << 20)]}
    answer = server.post("/v1/score", body)
    assert answer.status_code == 413
    assert server.get("/health").status_code == 200


def test_an_endless_body_is_cut_off(small):
    def parts():
        while True:
            yield b"a" * 65_536

    with contextlib.suppress(httpx.TransportError):  # refused while it was still sending
        answer = httpx.post(small.url + "/v1/score", content=parts(), headers=JSON)
        assert answer.status_code in (408, 413)
    assert small.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (BODY | {"responses": ["a"] * 9}, "a request must have at most 8 conversations; it has 9"),
        (BODY | {"responses": ["w " * 99]}, "a request must have at most 100 tokens; it has 102"),
        (
            {
                "conversations": [
                    [{"role": "user", "content": "a"}] * 5 + [{"role": "assistant", "content": "b"}]
                ]
            },
            "conversations[0]: a prompt must have at most 4 messages; it has 5",
        ),
    ],
)
def test_a_request_of_too_many_is_refused(small, body, text):
    answer = small.post("/v1/score", body)
    assert answer.status_code == 413
    assert error(answer)["message"] == text


def test_ten_thousand_messages_are_refused_and_the_server_lives(server):
    messages = [{"role": "user", "content": "a"}] * 10_000
    body = {"conversations": [[*messages, {"role": "assistant", "content": "b"}]]}
    answer = server.post("/v1/score", body)
    assert answer.status_code == 413
    assert "at most 1,024 messages; it has 10,000" in error(answer)["message"]
    assert server.post("/v1/score", BODY).status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "text"),
    [
        (b"", 422, "body: field required"),
        (b"{", 400, "the body must be JSON: EOF while parsing an object"),
        (b"[" * 5000, 400, "the body must be JSON: recursion limit exceeded"),
        (b'{"a":' * 5000, 400, "the body must be JSON: recursion limit exceeded"),
        (b'{"prompt": "\xff\xfe", "responses": []}', 400, "the body must be JSON: invalid unicode"),
        (b'{"prompt": "\\ud800", "responses": []}', 400, "the body must be JSON: "),
        (b'{"prompt": "a", "responses": ["b"], "weights": {"honesty": NaN}}', 400, "the body must"),
        (b'{"prompt": "a", "responses": ["b"], "weights": {"honesty": 1e999}}', 422, "weights.hon"),
        (b'{"prompt": "a", "responses": ["b"], "weights": {"honesty": -Infinity}}', 400, "the b"),
        (b"1" * 5000, 400, "the body must be JSON: number out of range"),
        (b"null", 422, "body: "),
        (b"[]", 422, "body: "),
        (b'"' + b"a" * 100_000 + b'"', 422, "body: "),
    ],
)
def test_a_body_that_is_no_request_is_refused(server, content, status, text):
    answer = server.post("/v1/score", None, content=content, headers=JSON)
    assert answer.status_code == status
    assert error(answer)["message"].startswith(text)
    assert len(answer.content) < 1000


def test_another_type_than_json_is_refused(server):
    answer = httpx.post(
        server.url + "/v1/score", content=json.dumps(BODY), headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 415
    assert error(answer)["message"] == "`Content-Type` must be application/json; got 'text/plain'"


def test_a_body_that_does_not_arrive_is_not_waited_for(hashed):
    with (
        served(hashed, limits=Limits(body_timeout_s=0.4)) as hasty,
        socket.create_connection(hasty.url.removeprefix("http://").split(":")) as slow,
    ):
        slow.sendall(b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{")
        slow.settimeout(PATIENCE_S)
        said = b""
        while part := slow.recv(4096):
            said += part
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"a body must arrive within 0.4 s" in said


def test_too_many_open_requests_are_refused_with_a_time_to_come_back(small):
    address = small.url.removeprefix("http://").split(":")
    slow, answers = [], []

    def is_busy():
        # One more each time: one may itself be refused while an answer before is being ended.
        slow.append(socket.create_connection(address))
        slow[-1].sendall(b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{")
        answers.append(small.post("/v1/score", BODY))
        return answers[-1].status_code == 429

    try:
        wait_until(is_busy)
        assert answers[-1].headers["retry-after"] == "1"
        assert error(answers[-1])["type"] == "busy"
        assert small.get("/health").status_code == 200  # a probe is answered in any case
    finally:
        for one in slow:
            one.close()
    wait_until(lambda: small.post("/v1/score", BODY).status_code == 200)


def test_bodies_together_take_bounded_memory(small):
    address = small.url.removeprefix("http://").split(":")
    slow = [socket.create_connection(address) for _ in range(2)]
    try:
        for one in slow:
            head = b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 19999\r\n\r\n"
            one.sendall(head + b" " * 19_990)
        answers = []

        def is_full():
            answers.append(small.post("/v1/score", None, content=b" " * 19_000, headers=JSON))
            return answers[-1].status_code == 429

        wait_until(is_full)
        answer = answers[-1]
        assert "bytes of bodies are open already" in error(answer)["message"]
    finally:
        for one in slow:
            one.close()
    assert small.metric('armorm_refused_total{limit="bytes"}') == 1
    wait_until(lambda: small.post("/v1/score", BODY).status_code == 200)


def test_a_client_that_hangs_up_costs_no_more_than_a_batch(hashed):
    from armorm import RewardModel

    gate, started = threading.Event(), threading.Event()

    class Slow(type(hashed.backbone)):
        def features(self, rows, *, token_budget=None):
            if any("slow" in row.row.response for row in rows):
                started.set()
                assert gate.wait(PATIENCE_S)
            return super().features(rows, token_budget=token_budget)

    model = RewardModel(hashed.bundle, Slow())
    with served(model, token_budget=8) as server:
        host = server.url.removeprefix("http://")
        leaving = http.client.HTTPConnection(host)
        body = json.dumps({"prompt": "a", "responses": [f"slow {i} b c d e" for i in range(50)]})
        leaving.request("POST", "/v1/score", body, JSON)
        assert started.wait(PATIENCE_S)
        leaving.close()
        wait_until(lambda: server.metric("armorm_queue_conversations") == 0)
        gate.set()
        assert server.post("/v1/score", BODY).status_code == 200
        wait_until(lambda: server.metric("armorm_batch_conversations_count") >= 2)
        # And not the 50 of the client that left.
        assert server.metric("armorm_batch_conversations_count") < 10
        left = 'armorm_requests_total{route="/v1/score",status="499"}'
        wait_until(lambda: server.metric(left) == 1)


def test_an_error_of_ours_is_told_in_the_same_form_and_logged(hashed, caplog):
    with served(hashed) as server:
        server.engine.score = None
        answer = server.post("/v1/score", BODY)
    assert answer.status_code == 500
    assert error(answer)["message"] == "the server could not answer this request"
    assert "/v1/score: a request failed" in caplog.text
