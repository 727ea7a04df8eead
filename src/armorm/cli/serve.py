"""`armorm serve`: scores over HTTP, for trainers and people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from armorm.cli import terminal
from armorm.cli.main import app
from armorm.cli.steering import BackbonePath, BundleFolder, Device, Scale, Weights, parse_values
from armorm.cli.terminal import OptionError

TokenFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with the token that requests must show."),
]
Token = Annotated[
    str | None,
    typer.Option(help="The token itself; other users of this machine can read it: use a file."),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=VALUE", help="A limit, such as timeout_s=30; may be repeated."),
]


@app.command()
def serve(
    bundle: BundleFolder,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: one that is free.")] = 8000,
    token_file: TokenFile = None,
    token: Token = None,
    weights: Weights = None,
    scale: Scale = None,
    unscored: Annotated[
        float | None, typer.Option(help="Reward of rows without a score, for trainers.")
    ] = None,
    token_budget: Annotated[
        int | None, typer.Option(help="Tokens a batch; default: what suits the device.")
    ] = None,
    wait_ms: Annotated[float, typer.Option(help="How long a batch waits for more rows.")] = 4.0,
    limit: Limit = None,
    device: Device = "auto",
    backbone: BackbonePath = None,
) -> None:
    """Serve scores over HTTP until Ctrl-C or SIGTERM; requests that were taken are answered.

    The token is read from --token-file, or from the variable ARMORM_TOKEN.
    """
    from armorm.serve.run import Address, log_to_stderr
    from armorm.serve.run import serve as serve_model
    from armorm.serve.settings import Limits, ModelSettings, check_unscored, read_token

    try:
        address = Address(host, port, read_token(token_file, token))
        settings = ModelSettings(
            bundle,
            device,
            backbone,
            weights=None if weights is None else parse_values("--weights", weights),
            factors=None if scale is None else parse_values("--scale", scale),
            token_budget=token_budget,
            wait_s=wait_ms / 1000,
        )
        limits = Limits.parse(limit or [])
        check_unscored(unscored)
    except ValueError as error:
        raise OptionError(str(error)) from None
    log_to_stderr()
    if token is not None:
        terminal.remarks(["--token shows in the list of processes; --token-file does not"])
    serve_model(
        settings,
        address,
        limits=limits,
        unscored=unscored,
        on_listen=lambda url: terminal.stderr().print(f"listening on {url}", soft_wrap=True),
    )
