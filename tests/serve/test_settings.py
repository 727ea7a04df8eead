"""Settings and limits are checked when they are made; a token is read from one place."""

import pytest

from armorm.serve.run import Address
from armorm.serve.settings import Limits, ModelSettings, read_token


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"device": "gpu"}, "`device` must be auto, cpu, cuda, cuda:1 or mps; got 'gpu'"),
        ({"token_budget": 0}, "`token_budget` must be 1 or more; got 0"),
        ({"wait_s": 2.0}, "`wait_s` must be 0 to 1 second; got 2"),
        ({"wait_s": float("nan")}, "`wait_s` must be 0 to 1 second; got nan"),
        ({"weights": {"a": 1.0}, "factors": {"a": 1.0}}, "`weights` bypass the gating"),
    ],
)
def test_settings_of_the_model_are_checked(changes, text):
    with pytest.raises(ValueError, match=text):
        ModelSettings("bundle", **changes)


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["timeout_s=0"], "`timeout_s` must be positive; got 0.0"),
        (["timeout_s=inf"], "`timeout_s` must be positive; got inf"),
        (["conversation=5"], "a limit must be one of these; got 'conversation'; did you mean"),
        (["conversations=1.5"], "`conversations` must be a whole number; got '1.5'"),
        (["timeout_s=soon"], "`timeout_s` must be a number; got 'soon'"),
        (["queue_conversations=8"], "`conversations` must be at most `queue_conversations`"),
        (["open_bytes=8"], "`body_bytes` must be at most `open_bytes`"),
    ],
)
def test_limits_are_checked(texts, text):
    with pytest.raises(ValueError, match=text):
        Limits.parse(texts)


def test_limits_that_are_not_named_keep_their_defaults():
    assert Limits.parse(["messages=7", "body_timeout_s=1.5"]) == Limits(
        messages=7, body_timeout_s=1.5
    )


def test_the_token_is_that_of_the_file_or_the_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("ARMORM_TOKEN", raising=False)
    assert read_token(None, None) is None
    monkeypatch.setenv("ARMORM_TOKEN", " from-variable ")
    assert read_token(None, None) == "from-variable"
    (tmp_path / "token").write_text("from-file\n")
    assert read_token(tmp_path / "token", None) == "from-file"
    assert read_token(None, "given") == "given"


def test_a_token_from_two_places_or_from_nowhere_is_refused(tmp_path):
    with pytest.raises(ValueError, match="from a file or be given itself; both were"):
        read_token(tmp_path / "token", "given")
    with pytest.raises(ValueError, match="the file of the token must be readable; No such file"):
        read_token(tmp_path / "token", None)
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="it is not UTF-8 text"):
        read_token(tmp_path / "token", None)


@pytest.mark.parametrize("token", ["", "a b", "a\n", "ü", " a"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(token):
    with pytest.raises(ValueError, match="the token must be printable ASCII") as caught:
        Address(token=token)
    assert token not in ("", "a b", " a") or repr(token) not in str(caught.value)


def test_a_port_that_is_none_is_refused():
    with pytest.raises(ValueError, match="`port` must be 0 to 65535; got 70000"):
        Address(port=70000)


def test_a_token_is_not_in_what_an_address_shows():
    assert "secret" not in repr(Address(token="secret"))


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("localhost", False),
        ("::1", False),
        ("127.9.9.9", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
        ("server.example", True),
    ],
)
def test_only_loopback_needs_no_token(host, is_open):
    assert Address(host=host).is_open is is_open
    assert not Address(host=host, token="secret").is_open
