"""Whatever the schema allows, and what it does not, is answered without an error of ours."""

import hypothesis
import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st

from armorm.serve.settings import Limits
from serving import served

EXAMPLES = 6


@pytest.fixture(scope="module")
def open_api(hashed):
    """The schema of a server, and the server."""
    with served(hashed, unscored=0.0, limits=Limits(conversations=64)) as server:
        yield schemathesis.openapi.from_url(server.url + "/openapi.json"), server


def operations(schema):
    return [found.ok() for found in schema.get_all_operations()]


def ask_all(operation, mode, server, statuses):
    """Send drawn requests of one route; none may be an error of the server."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def ask(case):
        answer = case.call(base_url=server.url)
        statuses.add(answer.status_code)
        assert answer.status_code < 500, (operation.path, case.body)

    ask()


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis does
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_request_of_the_schema_is_an_error_of_the_server(open_api, mode):
    schema, server = open_api
    wanted = schemathesis.GenerationMode(mode)
    statuses = {}
    for operation in operations(schema):
        if mode == "negative" and operation.method.upper() == "GET":
            continue

        ask_all(operation, wanted, server, statuses.setdefault(operation.path, set()))
    assert len(statuses) >= 15
    assert all(s <= {200, 400, 404, 405, 413, 415, 422} for s in statuses.values()), statuses
    if mode == "positive":
        assert 200 in statuses["/v1/score"] | statuses["/get_reward"]


@given(st.binary(max_size=200))
@hypothesis.settings(
    max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_no_body_at_all_is_an_error_of_the_server(server, body):
    answer = server.post(
        "/v1/score", None, content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (200, 400, 422)
    assert "error" in answer.json() or "results" in answer.json()
