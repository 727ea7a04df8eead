"""Both clients give what the model gives, in parts, again where the server is busy."""

import asyncio
import contextlib
import email.utils
import http.server
import json
import socket
import sys
import threading
import time

import pytest
import torch

from armorm import DataError
from armorm.client import AsyncClient, Client, ServerError
from armorm.errors import MissingDependency
from armorm.explain import compare
from fakes import conversations
from serving import served

ROWS = conversations(50, n_responses=3)
LONG = {"prompt": "a", "response": "w " * 600}


class Awaited:
    """The client for event loops, called as the other one."""

    def __init__(self, url, **settings):
        self.url, self.settings_ = url, settings

    def __getattr__(self, name):
        def call(*args, **kwargs):
            async def run():
                async with AsyncClient(self.url, **self.settings_) as client:
                    return await getattr(client, name)(*args, **kwargs)

            return asyncio.run(run())

        return call

    def __enter__(self):
        return self

    def __exit__(self, *left):
        pass


both = pytest.mark.parametrize("kind", [Client, Awaited])


@both
def test_scores_are_the_models_own_whatever_the_number_of_requests(server, hashed, kind):
    with kind(server.url) as client:
        found = client.score(ROWS)
    expected = hashed.score(ROWS)
    assert (found.names, found.ids) == (expected.names, expected.ids)
    for part in ("score", "objectives", "gating", "coefficients", "contributions"):
        torch.testing.assert_close(
            getattr(found, part), getattr(expected, part), atol=1e-6, rtol=1e-5
        )
    assert found.n_tokens.tolist() == expected.n_tokens.tolist()


@both
def test_steering_is_that_of_the_model(server, hashed, kind):
    weights, factors = {"honesty": 2.0, "verbosity": -1.0}, {"honesty": 0.0}
    with kind(server.url) as client:
        fixed = client.score(ROWS[:4], weights=weights)
        scaled = client.score(ROWS[:4], factors=factors)
    torch.testing.assert_close(fixed.score, hashed.with_weights(weights).score(ROWS[:4]).score)
    torch.testing.assert_close(scaled.score, hashed.scaled(factors).score(ROWS[:4]).score)
    assert fixed.gating is None


@both
def test_an_empty_list_has_no_scores(server, hashed, kind):
    with kind(server.url) as client:
        assert len(client.score([])) == 0
        assert client.score([]).objectives.shape == (0, 4)
        assert client.score_rows([]) == []


@both
def test_rows_that_cannot_be_scored_say_why(server, hashed, kind):
    with kind(server.url) as client:
        found = client.score_rows([ROWS[0], LONG, ROWS[1]])
    assert [row.reason for row in found] == [None, "longer than 512 tokens", None]
    expected = hashed.score(ROWS[:2])
    assert found[2].score == pytest.approx(float(expected.score[1]), abs=1e-6)
    assert found[0].objectives == pytest.approx(expected[0].objectives, abs=1e-6)
    assert set(found[0].debiased) == {"helpfulness", "honesty", "is_safe"}
    assert (found[1].score, found[1].objectives, found[0].id) == (None, None, ROWS[0].id)


@both
def test_an_explanation_and_a_comparison_are_those_of_the_library(server, hashed, kind):
    prompt, chosen, rejected = "Is ice cold?", "Yes.", "No."
    with kind(server.url) as client:
        one = client.explain({"prompt": prompt, "response": chosen, "id": "x"})
        pair = client.compare(prompt, chosen, rejected, id="p")
    sides = hashed.score([{"prompt": prompt, "response": r} for r in (chosen, rejected)])
    expected = compare(*sides, beta=hashed.bundle.beta, id="p")
    assert (one.id, pair.id, pair.deciding) == ("x", "p", expected.deciding)
    assert one.contributions == pytest.approx(sides[0].contributions, abs=1e-6)
    assert pair.margin == pytest.approx(expected.margin, abs=1e-6)
    assert pair.probability == pytest.approx(expected.probability, abs=1e-6)
    assert [d.name for d in pair.differences] == [d.name for d in expected.differences]


@both
def test_the_model_of_the_server_is_known(server, hashed, kind):
    with kind(server.url) as client:
        model = client.model()
    assert (model.name, model.objectives) == ("tiny", hashed.objectives)
    assert model.nuisances == ("verbosity",)
    assert model.scales == {k: dict(v) for k, v in hashed.bundle.scales.items()}
    assert model.beta == hashed.bundle.beta


@both
def test_the_place_of_a_bad_row_is_that_of_the_callers_list(server, kind):
    rows = [*ROWS[:20], LONG]
    with (
        kind(server.url) as client,
        pytest.raises(DataError, match=r"^conversations\[20\]: longer than 512 tokens$"),
    ):
        client.score(rows)


@both
def test_what_is_no_conversation_is_not_sent(server, kind):
    before = server.metric('armorm_requests_total{route="/v1/explain",status="422"}')
    with kind(server.url) as client:
        with pytest.raises(DataError, match=r"conversations\[1\]: missing field 'response'"):
            client.score([ROWS[0], {"prompt": "a"}])
        with pytest.raises(DataError, match="rejected: `response` must not be empty"):
            client.compare("a", "b", "")
        with pytest.raises(DataError, match="`weights`: unknown objective 'x'"):
            client.score(ROWS[:1], weights={"x": 1.0})
    after = server.metric('armorm_requests_total{route="/v1/explain",status="422"}')
    assert after <= before + 1  # that of the weights, counted once it is sent


@both
def test_one_conversation_in_place_of_a_list_is_refused(server, kind, unchecked):
    with (
        kind(server.url) as client,
        pytest.raises(DataError, match="must be a list of conversations; got one dict"),
    ):
        client.score({"prompt": "a", "response": "b"})


@both
def test_a_token_is_shown_and_never_told(hashed, monkeypatch, kind):
    monkeypatch.delenv("ARMORM_TOKEN", raising=False)
    with served(hashed, token="secret") as locked:
        with kind(locked.url, token="secret") as client:
            assert len(client.score(ROWS[:2])) == 2
        with (
            kind(locked.url, token="another") as client,
            pytest.raises(ServerError, match="`Authorization` must be `Bearer`") as caught,
        ):
            client.score(ROWS[:2])
        assert "another" not in str(caught.value).replace("another one", "")
        monkeypatch.setenv("ARMORM_TOKEN", "secret")
        with kind(locked.url) as client:
            assert len(client.score(ROWS[:2])) == 2
        monkeypatch.delenv("ARMORM_TOKEN")
        with kind(locked.url.replace("//", "//me:secret@")) as client:
            assert len(client.score(ROWS[:2])) == 2


def test_a_settings_token_is_not_shown():
    with Client("http://a:b@c", token="secret") as client:
        assert "secret" not in repr(client.settings)
        assert client.settings.shown == "http://c"


@contextlib.contextmanager
def scripted(*answers):
    """A server that gives these answers in turn: (status, headers, body), None hangs up."""
    times = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            times.append(time.monotonic())
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = answers[min(len(times), len(answers)) - 1]
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", times
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def content(server):
    """The answer of `/v1/model`."""
    return server.get("/v1/model").content


BUSY = json.dumps({"error": {"message": "4 conversations wait already"}}).encode()


@both
def test_a_busy_server_is_asked_again_after_the_time_that_it_asks_for(content, kind):
    script = (429, {"Retry-After": "0.2"}, BUSY), None, (503, {}, b"starting"), (200, {}, content)
    with (
        scripted(*script) as (url, times),
        kind(url, first_wait_s=0.01) as client,
    ):
        assert client.model().name == "tiny"
    assert len(times) == 4
    assert times[1] - times[0] >= 0.2
    assert times[3] - times[1] < 2


@both
def test_a_server_that_stays_busy_is_given_up_with_what_it_said(kind):
    with (
        scripted((429, {"Retry-After": "60"}, BUSY)) as (url, times),
        kind(url, n_retries=2, longest_wait_s=0.02) as client,
        pytest.raises(ServerError, match=f"{url}: no answer in 3 requests: 4 conversations wait"),
    ):
        client.model()
    assert len(times) == 3


@both
def test_nobody_there_is_an_error_with_the_address(kind):
    with (
        kind("http://127.0.0.1:9", n_retries=1, first_wait_s=0.01) as client,
        pytest.raises(ServerError, match=r"http://127\.0\.0\.1:9: no answer in 2 requests: "),
    ):
        client.model()


@both
def test_a_slow_answer_is_given_up(kind):
    text = r"no answer in 1 request: no answer within 0\.2 s"
    with (
        silent() as url,
        kind(url, n_retries=0, timeout_s=0.2) as client,
        pytest.raises(ServerError, match=text),
    ):
        client.model()


@contextlib.contextmanager
def silent():
    """An address that takes connections and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@both
@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((404, {}, b"nothing"), ServerError, "HTTP 404"),
        ((500, {}, BUSY), ServerError, "4 conversations wait already"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), ServerError, "HTTP 302"),
        ((422, {}, BUSY), DataError, "^4 conversations wait already"),
        ((200, {}, b"<html>"), ServerError, "an armorm server must answer JSON; got b'<html>'"),
    ],
)
def test_an_answer_that_helps_nobody_is_not_asked_for_again(kind, answer, error, text):
    with (
        scripted(answer) as (url, times),
        kind(url) as client,
        pytest.raises(error, match=text),
    ):
        client.model()
    assert len(times) == 1


@both
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"url": "ftp://a"}, "`url` must be http:// or https:// with a host; got 'ftp://a'"),
        ({"url": "http://"}, "`url` must be http:// or https:// with a host"),
        ({"url": "http://me:secret@a?x"}, "got 'http://a\\?x'"),
        ({"url": "http://a:b"}, "`url` must be http://"),
        ({"token": "a b"}, "`token` must be printable ASCII"),
        ({"timeout_s": 0}, "`timeout_s` must be positive; got 0"),
        ({"n_parallel": 0}, "`n_parallel` must be positive; got 0"),
        ({"n_retries": -1}, "`n_retries` must be 0 or more; got -1"),
    ],
)
def test_settings_are_checked(kind, settings, text):
    made = {Client: Client, Awaited: AsyncClient}[kind]
    with pytest.raises(ValueError, match=text):
        made(**{"url": "http://a", **settings})


def test_a_date_is_a_time_to_come_back():
    from armorm.client.plan import _retry_after

    assert _retry_after(email.utils.formatdate(time.time() + 30)) == pytest.approx(30, abs=2)
    assert _retry_after(email.utils.formatdate(time.time() - 30)) == 0
    assert _retry_after("2.5") == 2.5
    assert [_retry_after(text) for text in (None, "soon", "nan", "-1", "inf")] == [None] * 5


def test_without_httpx_the_extra_is_named(monkeypatch):
    import importlib

    for name in [n for n in sys.modules if n.startswith("armorm.client")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingDependency, match=r"the client needs .* 'armorm\[serve\]'"):
        importlib.import_module("armorm.client")
