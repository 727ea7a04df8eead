"""One chat completion from an OpenAI-compatible endpoint, by the standard library alone.

It knows requests, waits and the cap; it does not know what is asked or how answers are read.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from armorm.errors import ArmormError
from armorm.types import Message

Outcome = Literal["answered", "refused", "failed", "not asked"]
"""What became of a question: `refused` by the endpoint as it is, `failed` after all retries,
`not asked` because of the cap."""

_REFUSES_ONE = (400, 413, 422)
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LARGEST_BODY = 4 << 20
_SHOWN = 200


class JudgeError(ArmormError):
    """A judge cannot be asked, or did not rate all that a score is needed for."""


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How an endpoint is asked; checked when it is made."""

    max_requests: int = 1000
    """Requests that may be sent, repeated ones included; none is sent beyond."""
    timeout_s: float = 120.0
    """Seconds that one request may take."""
    n_retries: int = 4
    """How often a request is repeated after a time-out, a broken connection or a busy server."""
    first_wait_s: float = 1.0
    """Seconds before the first repetition; each further wait is twice as long."""
    longest_wait_s: float = 60.0
    """No wait is longer, whatever the server asks for."""
    n_parallel: int = 4
    """Requests at a time."""
    temperature: float | None = 0.0
    """Of the judge's sampling; None sends none, for models that take none."""
    max_answer_tokens: int | None = 1024
    """Longest answer in tokens, sent as `max_tokens`; None sends none."""
    key_variable: str = "ARMORM_JUDGE_KEY"
    """Environment variable that holds the API key; without it none is sent."""

    def __post_init__(self) -> None:
        """Check every setting.

        Raises:
            ValueError: a setting is outside its range (the value is in the text).
        """
        for name in ("max_requests", "n_parallel", "max_answer_tokens"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1; got {value!r}")
        for name in ("n_retries", "first_wait_s", "longest_wait_s", "temperature"):
            if (value := getattr(self, name)) is not None and not value >= 0:
                raise ValueError(f"`{name}` must be 0 or more; got {value!r}")
        if not self.timeout_s > 0:
            raise ValueError(f"`timeout_s` must be positive; got {self.timeout_s!r}")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.key_variable):
            # Not shown: somebody may have put the key itself here.
            raise ValueError("`key_variable` must be the name of an environment variable")

    def sampling(self) -> dict[str, float]:
        """Return what decides an answer besides the question, as it is sent."""
        sent = {"temperature": self.temperature, "max_tokens": self.max_answer_tokens}
        return {name: value for name, value in sent.items() if value is not None}


class Completion(NamedTuple):
    """What became of one question."""

    outcome: Outcome
    """See `Outcome`."""
    text: str
    """The answer where there is one; else why not."""


class Sent(NamedTuple):
    """Requests so far."""

    n_requests: int
    """All, repeated ones included."""
    n_retried: int
    """Those that repeat an earlier one."""
    n_timed_out: int
    """Those that had no answer in time."""

    def since(self, earlier: Sent) -> Sent:
        """Return the requests after an earlier moment."""
        return Sent(*(now - then for now, then in zip(self, earlier, strict=True)))


class Endpoint:
    """An address that answers chat completions; counts its requests and stops at the cap."""

    def __init__(self, model: str, url: str, *, settings: JudgeSettings) -> None:
        """Check the address; nothing is sent.

        Args:
            model: Name of the model, as the endpoint knows it.
            url: `http://` or `https://`, with or without `/v1` at its end.
            settings: How it is asked.

        Raises:
            ValueError: `url` has no host, another scheme, a user name, a query or a
                fragment; `model` is empty; the key in the environment has characters that no
                header can carry.
        """
        if not model.strip():
            raise ValueError("`model` must be a name; got an empty one")
        self.url = _checked_url(url)
        self.settings = settings
        self._model = model
        self._key = _read_key(settings.key_variable)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._n_requests = self._n_retried = self._n_timed_out = 0
        self._opener = urllib.request.build_opener(_NoRedirect)

    @property
    def n_requests(self) -> int:
        """Requests sent so far, repeated ones included."""
        return self._n_requests

    def sent(self) -> Sent:
        """Return the requests so far, by what became of them."""
        with self._lock:
            return Sent(self._n_requests, self._n_retried, self._n_timed_out)

    def stop(self) -> None:
        """Send nothing more and end every wait."""
        self._stopped.set()

    def resume(self) -> None:
        """Allow requests after `stop`."""
        self._stopped.clear()

    def complete(self, messages: Sequence[Message]) -> Completion:
        """Ask one question, and again where that may help.

        Args:
            messages: System and user messages.

        Returns:
            The answer, or why there is none.

        Raises:
            JudgeError: nobody listens at the address; it wants another key, does not know
                the model, or sends the request elsewhere.
        """
        content = {"model": self._model, "messages": [m._asdict() for m in messages]}
        body = json.dumps(content | self.settings.sampling()).encode()
        last: _Attempt | None = None
        for i in range(self.settings.n_retries + 1):
            if last is not None and self._stopped.wait(self._wait(i, last.retry_after)):
                return Completion("not asked", "the run was stopped")
            if not self._take(is_repeated=last is not None):
                return Completion("not asked", "the cap of requests was reached")
            last = self._attempt(body)
            if last.is_late:
                with self._lock:
                    self._n_timed_out += 1
            if last.outcome != "failed":
                return Completion(last.outcome, last.why)
        assert last is not None  # there is a first attempt whatever the retries
        if last.is_absent:
            raise JudgeError(f"{self.url}: a judge must answer there; got {last.why}")
        return Completion("failed", last.why)

    def _take(self, *, is_repeated: bool) -> bool:
        """Count a request before it is sent; False where the cap leaves none."""
        with self._lock:
            if self._stopped.is_set() or self._n_requests >= self.settings.max_requests:
                return False
            self._n_requests += 1
            self._n_retried += is_repeated
            return True

    def _wait(self, i: int, retry_after: float | None) -> float:
        """Seconds before repetition i, from 1 on."""
        wait = self.settings.first_wait_s * 2.0 ** (i - 1)
        return min(max(wait, retry_after or 0.0), self.settings.longest_wait_s)

    def _attempt(self, body: bytes) -> _Attempt:
        """Send one request and say what came of it."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.settings.timeout_s) as response:
                return _read_answer(_read_body(response, self.settings.timeout_s))
        except urllib.error.HTTPError as error:
            with error:
                return self._refusal(error)
        except TimeoutError:
            return self._late()
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                return self._late()
            # A connection that breaks while the request is sent may hold the next time.
            is_absent = not isinstance(error.reason, ConnectionResetError | BrokenPipeError)
            return _Attempt("failed", self._hide(str(error.reason)), is_absent=is_absent)
        except (OSError, http.client.HTTPException) as error:
            return _Attempt("failed", f"a broken connection ({type(error).__name__})")

    def _late(self) -> _Attempt:
        """A request that had no answer in time."""
        return _Attempt("failed", f"no answer within {self.settings.timeout_s:g} s", is_late=True)

    def _refusal(self, error: urllib.error.HTTPError) -> _Attempt:
        """What an answer with an error status means."""
        said = f"HTTP {error.code}{self._reason(error)}"
        if error.code in _REFUSES_ONE:
            return _Attempt("refused", said)
        if error.code in _TRANSIENT:
            return _Attempt("failed", said, retry_after=_retry_after(error.headers))
        raise JudgeError(
            f"{self.url}: the endpoint must answer chat completions for the model "
            f"{self._model!r}; got {said}"
        )

    def _reason(self, error: urllib.error.HTTPError) -> str:
        """What the endpoint says of an error, cut short and without the key."""
        try:
            content: Any = json.loads(_read_body(error, self.settings.timeout_s))
            reason = content["error"]
            reason = reason["message"] if isinstance(reason, dict) else reason
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            http.client.HTTPException,
        ):
            return ""
        return ": " + self._hide(" ".join(str(reason).split()))[:_SHOWN]

    def _hide(self, text: str) -> str:
        """A text without the key, which endpoints like to repeat."""
        return text.replace(self._key, "…") if self._key else text


class _Attempt(NamedTuple):
    """What came of one request."""

    outcome: Literal["answered", "refused", "failed"]
    why: str
    """The answer where there is one."""
    retry_after: float | None = None
    """Seconds that the server asks to wait."""
    is_absent: bool = False
    """Whether nobody listens there."""
    is_late: bool = False
    """Whether there was no answer in time."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirected POST becomes a GET, and takes the key elsewhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Return no request, so that the status is an error."""
        del args, kwargs


def _read_key(variable: str) -> str:
    """The key of the environment; empty where there is none."""
    key = os.environ.get(variable, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        # Not shown, and never left to the HTTP client, whose error would show it.
        raise ValueError(
            f"the key in `{variable}` must be of printable ASCII characters without white space; "
            "it has others"
        )
    return key


def _checked_url(url: str) -> str:
    """The address of chat completions below a base address."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises where it is no number
    except ValueError:
        is_address, parts = False, urllib.parse.urlsplit("")
    if "@" in parts.netloc or parts.query:
        # Not shown: it may hold a password or a key.
        raise ValueError("`url` must hold no user name, password or query; it holds one")
    if not is_address or parts.fragment or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise ValueError(f"`url` must be http:// or https:// with a host; got {url!r}")
    base = url.rstrip("/")
    return f"{base}/chat/completions" if base.endswith("/v1") else f"{base}/v1/chat/completions"


def _read_body(response: Any, timeout_s: float) -> bytes:
    """The body of an answer, within the time for all of it and not without bound."""
    end, parts, size = time.monotonic() + timeout_s, [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > end:
            raise TimeoutError
        if size > _LARGEST_BODY:
            break
    return b"".join(parts)


def _read_answer(body: bytes) -> _Attempt:
    """The text of a chat completion."""
    try:
        content: Any = json.loads(body)
        text = content["choices"][0]["message"]["content"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return _Attempt("failed", "an answer that is no chat completion")
    if text is None:  # a judge that declined
        return _Attempt("answered", "")
    if not isinstance(text, str):
        return _Attempt("failed", "an answer that is no chat completion")
    return _Attempt("answered", text)


def _retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait, given as such or as a date."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
