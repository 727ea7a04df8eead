"""Headless Chromium for the tests of pages; where it is not installed they skip, saying so."""

import contextlib
import shutil
from collections.abc import Generator
from typing import Any

import pytest

# Without the sandbox, as tests may run as root; the rest keeps it from looking for a network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def chromium() -> Generator[Any, None, None]:
    """A Playwright browser, closed at the end."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
