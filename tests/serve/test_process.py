"""`armorm serve` as it runs: a model process of its own, killed and stopped under load."""

import asyncio
import functools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch

from armorm.errors import MissingDependency
from armorm.serve.engine import Engine
from armorm.serve.metrics import Metrics
from armorm.serve.process import start_process
from armorm.serve.settings import Limits, ModelSettings
from fakes import conversations
from serving import PATIENCE_S, command, wait_until

ROWS = conversations(48, n_responses=3)


def body_of(rows):
    return {"conversations": [{"id": row.id, "messages": row.messages()} for row in rows]}


@pytest.fixture(scope="module")
def running(bundle):
    """A server as users start it, whose model process tests may kill."""
    with command(bundle, "--device", "cpu", ARMORM_TOKEN="secret") as server:
        server.wait_ready()
        yield server


@pytest.fixture
def client(running):
    with httpx.Client(
        base_url=running.url, timeout=PATIENCE_S, headers={"Authorization": "Bearer secret"}
    ) as http:
        yield http


def test_scores_are_those_of_the_model_in_whatever_batch(client, loaded):
    expected = loaded.score(ROWS).score
    together = client.post("/v1/score", json=body_of(ROWS)).json()["results"]
    torch.testing.assert_close(
        torch.tensor([r["score"] for r in together]), expected, atol=1e-5, rtol=0
    )

    def alone(row):
        return client.post("/v1/score", json=body_of([row])).json()["results"][0]["score"]

    with ThreadPoolExecutor(16) as clients:
        found = torch.tensor(list(clients.map(alone, ROWS)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_row_that_the_backbone_does_not_take_is_refused_or_dropped(client, loaded):
    body = {"prompt": "Is ice cold?", "responses": ["Yes.", "cold " * 200]}
    refused = client.post("/v1/score", json=body)
    assert refused.status_code == 422
    assert refused.json()["error"]["message"] == "responses[1]: longer than 120 tokens"
    results = client.post("/v1/score", json=body | {"bad_rows": "drop"}).json()["results"]
    alone = loaded.score([{"prompt": "Is ice cold?", "response": "Yes."}]).score
    assert results[0]["score"] == pytest.approx(float(alone), abs=1e-5)
    assert results[1]["reason"] == "longer than 120 tokens"


def test_a_killed_model_process_is_started_again_and_requests_are_answered(client, running):
    def ask(i):
        answer = client.post("/v1/score", json=body_of(ROWS[i % 40 : i % 40 + 3]))
        return answer.status_code, answer.json()

    first = running.worker()
    with ThreadPoolExecutor(8) as clients:
        answers = [clients.submit(ask, i) for i in range(40)]
        wait_until(lambda: sum(a.done() for a in answers) >= 4)
        os.kill(first, signal.SIGKILL)
        statuses = [a.result()[0] for a in answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 36  # one batch at most was in the process both times
    assert running.worker() != first
    assert "armorm_model_restarts_total 1.0" in client.get("/metrics").text
    assert any("(signal 9); it is started again" in line for line in running.said)


def test_the_model_process_does_not_know_the_token(running):
    environment = Path(f"/proc/{running.worker()}/environ").read_bytes()
    assert b"secret" not in environment
    assert "secret" not in "".join(running.said)


def test_a_server_told_to_stop_under_load_answers_what_it_took(client, running):
    """Last of this module: the server is gone after it."""
    worker = running.worker()
    taken = []
    with ThreadPoolExecutor(6) as clients:

        def ask(i):
            try:
                answer = client.post("/v1/score", json=body_of(ROWS))
            except httpx.TransportError:
                return None  # not taken any more
            return answer.status_code, len(answer.json().get("results", ()))

        answers = [clients.submit(ask, i) for i in range(60)]
        wait_until(lambda: sum(a.done() for a in answers) >= 3)
        assert running.stop(signal.SIGTERM) == 0
        taken = [a.result() for a in answers if a.result() is not None]
    assert len(taken) >= 3
    assert set(taken) <= {(200, len(ROWS)), (503, 0)}
    assert taken.count((200, len(ROWS))) >= 3
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"))


def test_a_bundle_that_is_none_stops_the_command_with_one_line(tmp_path):
    with command(tmp_path / "nothing") as server:
        assert server.process.wait(PATIENCE_S) == 2
        server._reading.join(PATIENCE_S)
        assert server.said[0].startswith("listening on http://127.0.0.1:")
        assert server.said[1:] == [f"error: {tmp_path}/nothing: no such bundle"]


@pytest.mark.slow
def test_ctrl_c_is_no_error(bundle):
    with command(bundle, "--token", "secret", "--host", "0.0.0.0") as server:
        url = server.wait_ready()
        assert httpx.get(url + "/v1/model").status_code == 401
        assert server.stop(signal.SIGINT) == 0
        assert not any("can be reached from other machines" in line for line in server.said)
        assert any("--token shows in the list of processes" in line for line in server.said)
        assert "secret" not in "".join(server.said)


@pytest.mark.slow
def test_a_server_that_dies_takes_its_model_process_along(bundle):
    with command(bundle, "--host", "0.0.0.0") as server:
        server.wait_ready()
        assert any("can be reached from other machines and asks for no" in s for s in server.said)
        worker = server.worker()
        server.process.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"))


def test_an_address_that_is_taken_is_refused(bundle):
    import socket

    from armorm.serve.errors import StartError
    from armorm.serve.run import Address, serve

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port}: a server must be able to listen"):
            serve(ModelSettings(str(bundle)), Address(port=port))


@pytest.mark.slow
def test_steering_that_the_model_does_not_have_is_the_end_of_the_start(bundle):
    async def run():
        settings = ModelSettings(str(bundle), weights={"honsty": 1.0})
        engine = Engine(
            functools.partial(start_process, settings), limits=Limits(), metrics=Metrics()
        )
        failed = asyncio.Event()
        engine.on_failure = failed.set
        await engine.start()
        await asyncio.wait_for(failed.wait(), PATIENCE_S)
        await engine.stop()
        return engine.failure

    assert asyncio.run(run()) == "`weights`: unknown objective 'honsty'; did you mean 'honesty'?"


def test_without_the_packages_the_extra_is_named(monkeypatch):
    import importlib
    import sys

    for name in [n for n in sys.modules if n.startswith("armorm.serve.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingDependency, match=r"serving needs .* pip install 'armorm\[serve\]'"):
        importlib.import_module("armorm.serve.run")
