"""Requests on their way: answered together, bounded, timed, repeated once where the model dies."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from armorm import RewardModel
from armorm.serve.engine import Engine
from armorm.serve.errors import Refusal, StartError
from armorm.serve.frames import Frame, pack_frame
from armorm.serve.metrics import Metrics
from armorm.serve.settings import Limits
from armorm.serve.worker import steered
from bundles import make_bundle
from fakes import HashBackbone, conversations
from serving import PATIENCE_S, ThreadProcess, served, wait_until

ROWS = conversations(96, n_responses=3)
BODY = {"prompt": "Is ice cold?", "responses": ["Yes.", "No."]}


class Gated(HashBackbone):
    """Waits before rows that say so, and fails on others."""

    def __init__(self):
        super().__init__()
        self.gate, self.started = threading.Event(), threading.Event()

    def features(self, rows, *, token_budget=None):
        texts = [row.row.response for row in rows]
        if any("wait" in text for text in texts):
            self.started.set()
            assert self.gate.wait(PATIENCE_S)
        if any("crash" in text for text in texts):
            raise RuntimeError("a kernel failed")
        response, prompt = super().features(rows, token_budget=token_budget)
        for i, text in enumerate(texts):
            if "endless" in text:
                response[i, 0] = torch.inf
        return response, prompt


@pytest.fixture
def gated():
    """A model whose batches can be held."""
    backbone = Gated()
    yield RewardModel(make_bundle(backbone.facts()), backbone)
    backbone.gate.set()


def rows_of(number):
    return [{"id": r.id, "messages": r.messages()} for r in ROWS[number :: len(ROWS) // 4]]


def test_64_clients_at_once_get_the_scores_that_the_model_gives_alone(server, hashed):
    expected = {row.id: float(hashed.score([row]).score) for row in ROWS}

    def ask(i):
        row = ROWS[i % len(ROWS)]
        body = {"conversations": [{"id": row.id, "messages": row.messages()}]}
        return [(r["id"], r["score"]) for r in server.post("/v1/score", body).json()["results"]]

    before = server.metric("armorm_batch_conversations_count")
    with ThreadPoolExecutor(64) as clients:
        found = [pair for pairs in clients.map(ask, range(256)) for pair in pairs]
    assert len(found) == 256
    for id_, score in found:
        assert score == pytest.approx(expected[id_], abs=1e-5)
    assert server.metric("armorm_batch_conversations_count") - before < 256


def test_requests_that_arrive_meanwhile_make_one_batch(gated):
    with served(gated) as server, ThreadPoolExecutor(8) as clients:
        slow = clients.submit(server.post, "/v1/score", BODY | {"responses": ["wait"]})
        assert gated.backbone.started.wait(PATIENCE_S)
        others = [clients.submit(server.post, "/v1/score", BODY) for _ in range(6)]
        wait_until(lambda: server.metric("armorm_queue_conversations") == 13)
        gated.backbone.gate.set()
        assert {f.result().status_code for f in (slow, *others)} == {200}
        assert server.metric('armorm_batch_conversations_bucket{le="1.0"}') == 1
        assert server.metric("armorm_batch_conversations_count") == 2


def test_over_the_queue_limit_is_refused_with_a_time_to_come_back(gated):
    limits = Limits(conversations=4, queue_conversations=4)
    with served(gated, limits=limits) as server, ThreadPoolExecutor(2) as clients:
        body = BODY | {"responses": ["wait", "b", "c"]}
        slow = clients.submit(server.post, "/v1/score", body)
        assert gated.backbone.started.wait(PATIENCE_S)
        answer = server.post("/v1/score", BODY)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["message"] == "3 conversations wait already; try again later"
        # One more still fits.
        fits = clients.submit(server.post, "/v1/score", BODY | {"responses": ["d"]})
        wait_until(lambda: server.metric("armorm_queue_conversations") == 4)
        gated.backbone.gate.set()
        assert (slow.result().status_code, fits.result().status_code) == (200, 200)
        assert server.metric('armorm_refused_total{limit="queue"}') == 1
        assert server.metric("armorm_queue_conversations") == 0
        assert server.metric("armorm_queue_bytes") == 0


def test_what_takes_too_long_is_given_up_and_the_next_is_answered(gated):
    with served(gated, limits=Limits(timeout_s=0.3)) as server:
        answer = server.post("/v1/score", BODY | {"responses": ["wait"]})
        assert answer.status_code == 504
        assert answer.json()["error"]["message"] == "no scores within 0.3 s of the request"
        gated.backbone.gate.set()
        assert server.post("/v1/score", BODY).status_code == 200


def test_a_row_that_fails_fails_alone(gated, caplog):
    with served(gated) as server, ThreadPoolExecutor(8) as clients:
        slow = clients.submit(server.post, "/v1/score", BODY | {"responses": ["wait"]})
        assert gated.backbone.started.wait(PATIENCE_S)
        bodies = [BODY, BODY | {"responses": ["ok", "crash"]}, BODY | {"responses": ["endless"]}]
        found = [clients.submit(server.post, "/v1/score", body) for body in bodies]
        wait_until(lambda: server.metric("armorm_queue_conversations") == 6)
        gated.backbone.gate.set()
        answers = [f.result() for f in found]
        assert [a.status_code for a in answers] == [200, 500, 422]
        assert slow.result().status_code == 200
    assert answers[1].json()["error"]["message"] == "the model could not compute this request"
    assert answers[2].json()["error"]["message"] == (
        "responses[0]: its features must be finite; in dtype 'float32' they are not"
    )
    assert "a request cannot be computed" in caplog.text


def test_a_server_that_stops_answers_what_it_took(gated):
    answers = []
    with ThreadPoolExecutor(4) as clients:
        with served(gated) as server:
            slow = clients.submit(server.post, "/v1/score", BODY | {"responses": ["wait"]})
            assert gated.backbone.started.wait(PATIENCE_S)
            others = [clients.submit(server.post, "/v1/score", BODY) for _ in range(3)]
            wait_until(lambda: server.metric("armorm_queue_conversations") == 7)
            threading.Timer(0.2, gated.backbone.gate.set).start()
        answers = [f.result().status_code for f in (slow, *others)]
    assert answers == [200] * 4


class Mortal:
    """A model process that ends when it is sent a response that says so."""

    def __init__(self, inner, deaths):
        self.inner, self.deaths, self.dead = inner, deaths, asyncio.Event()

    def send(self, content):
        if b"die" in content:
            self.deaths.append(content)
            self.dead.set()
        elif not self.dead.is_set():
            self.inner.send(content)

    async def receive(self):
        inner = asyncio.ensure_future(self.inner.receive())
        dying = asyncio.ensure_future(self.dead.wait())
        await asyncio.wait((inner, dying), return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if self.dead.is_set():
            inner.cancel()
            return None
        return inner.result()

    async def end(self):
        await self.inner.end()
        return "signal 9" if self.dead.is_set() else "exit code 0"


def test_requests_of_a_model_that_died_are_asked_again_once(gated, caplog):
    deaths = []

    async def launch():
        return Mortal(await ThreadProcess(gated).start(), deaths)

    with served(gated, launch=launch) as server, ThreadPoolExecutor(4) as clients:
        slow = clients.submit(server.post, "/v1/score", BODY | {"responses": ["wait"]})
        assert gated.backbone.started.wait(PATIENCE_S)
        threading.Timer(0.1, gated.backbone.gate.set).start()
        deadly = server.post("/v1/score", BODY | {"responses": ["die"]})
        assert deadly.status_code == 503
        assert deadly.json()["error"]["message"] == (
            "the model process ended 2 times while it had this request"
        )
        assert len(deaths) == 2
        # In the process both times, through no fault of its own: refused clearly or answered.
        assert slow.result().status_code in (200, 503)
        assert server.post("/v1/score", BODY).status_code == 200
        assert server.metric("armorm_model_restarts_total") == 2
    assert "the model process ended (signal 9); it is started again" in caplog.text


class Scripted:
    """A model process that sends some frames and ends."""

    def __init__(self, *frames):
        self.frames = list(frames)

    def send(self, content):
        pass

    async def receive(self):
        return self.frames.pop(0) if self.frames else None

    async def end(self):
        return "exit code 1"


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([Frame({"failed": "x: no such bundle"})], "x: no such bundle"),
        ([], r"the model process ended \(exit code 1\) before the model was loaded"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_the_end(frames, text):
    async def run():
        async def launch():
            return Scripted(*frames)

        failed = asyncio.Event()
        engine = Engine(launch, limits=Limits(), metrics=Metrics())
        engine.on_failure = failed.set
        await engine.start()
        await asyncio.wait_for(failed.wait(), PATIENCE_S)
        with pytest.raises(Refusal, match="the model is still being loaded"):
            await engine.score(ROWS[:1])
        await engine.stop()
        with pytest.raises(Refusal, match="the server is stopping"):
            await engine.score(ROWS[:1])
        engine.check_started()

    with pytest.raises(StartError, match=text):
        asyncio.run(run())


def test_while_the_model_is_loaded_requests_are_told_to_come_back(hashed):
    loading = asyncio.Event()

    async def launch():
        process = await ThreadProcess(hashed).start()
        await loading.wait()
        return process

    async def run():
        engine = Engine(launch, limits=Limits(), metrics=Metrics())
        await engine.start()
        assert not engine.is_ready
        with pytest.raises(Refusal, match="still being loaded") as caught:
            await engine.score(ROWS[:1])
        assert (caught.value.status, caught.value.headers()) == (503, {"Retry-After": "5"})
        loading.set()
        while not engine.is_ready:
            await asyncio.sleep(0.01)
        assert len(await engine.score(ROWS[:5])) == 5
        await engine.stop()

    asyncio.run(run())


def test_one_request_has_at_most_so_many_conversations(server):
    async def run():
        await server.engine.score(ROWS * 11)

    with pytest.raises(Refusal, match="at most 1,024 conversations; it has 1,056"):
        asyncio.run(run())


def test_steering_twice_is_refused(hashed):
    with pytest.raises(ValueError, match="`weights` bypass the gating that `factors` multiply"):
        steered(hashed, {"honesty": 1.0}, {"honesty": 1.0})


def test_a_server_can_be_steered_as_a_whole(hashed):
    with served(hashed.with_weights({"honesty": 1.0})) as server:
        result = server.post("/v1/explain", BODY).json()["results"][0]
        assert result["gating"] is None
        assert result["score"] == pytest.approx(result["objectives"]["honesty"])
        assert server.get("/v1/model").json()["weights"] == {"honesty": 1.0}
        refused = server.post("/v1/score", BODY | {"factors": {"honesty": 2.0}})
        assert "which the fixed weights of this model bypass" in refused.text


def test_a_request_that_is_no_request_costs_nothing(server):
    before = server.metric("armorm_conversations_total")
    [process] = server.launched
    process.send(pack_frame({"number": 0}))  # a frame that the worker cannot read
    assert server.post("/v1/score", BODY).status_code == 200
    assert server.metric("armorm_conversations_total") == before + 2
    assert json.loads(server.get("/ready").text) == {"ready": True}
