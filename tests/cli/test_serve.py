"""`armorm serve`: what the command line refuses before a model is loaded."""

import pytest


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--device", "gpu"], "`device` must be auto, cpu, cuda, cuda:1 or mps; got 'gpu'"),
        (["--limit", "queue=3"], "a limit must be one of these; got 'queue'"),
        (["--limit", "timeout_s=-1"], "`timeout_s` must be positive; got -1.0"),
        (["--wait-ms", "5000"], "`wait_s` must be 0 to 1 second; got 5"),
        (["--token-budget", "0"], "`token_budget` must be 1 or more; got 0"),
        (["--port", "70000"], "`port` must be 0 to 65535; got 70000"),
        (["--token", "a b"], "the token must be printable ASCII characters without white space"),
        (["--token-file", "/nowhere/token"], "the file of the token must be readable"),
        (["--token", "a", "--token-file", "b"], "from a file or be given itself; both were"),
        (["--weights", "honesty"], "--weights: must read name=number"),
        (["--weights", "a=1", "--scale", "b=2"], "`weights` bypass the gating that `factors`"),
        (["--unscored", "nan"], "--unscored: must be a finite number; got nan"),
        (["--host", "256.0.0.1"], "256.0.0.1:8000: a server must be able to listen there"),
    ],
)
def test_options_are_refused_with_one_line(armorm, options, text, monkeypatch):
    monkeypatch.delenv("ARMORM_TOKEN", raising=False)
    done = armorm("serve", "no-bundle", *options)
    assert (done.code, done.out) == (2, "")
    assert text in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "a b" not in done.err


def test_the_help_names_the_variable_of_the_token(armorm):
    done = armorm("serve", "--help")
    assert done.code == 0
    assert "ARMORM_TOKEN" in done.out
