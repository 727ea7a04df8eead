"""Many questions to one judge: each asked once, several at a time, every answer kept at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from armorm.evaluate.score_cache import Progress
from armorm.evaluate.scorers.judge_cache import AnswerCache
from armorm.evaluate.scorers.judge_http import (
    Endpoint,
    JudgeError,
    JudgeSettings,
    Outcome,
    Sent,
)
from armorm.evaluate.scorers.judge_prompts import VERSION
from armorm.storage import fingerprint
from armorm.types import Message

_FAILURES_IN_A_ROW = 3


class Answer(NamedTuple):
    """What a judge gave for one question."""

    outcome: Outcome
    """Whether there is an answer, and if not what became of the question."""
    text: str
    """The answer where there is one; else why not."""
    from_cache: bool = False
    """Whether it was kept before."""


class JudgeClient:
    """A judge behind an OpenAI-compatible endpoint."""

    def __init__(
        self,
        model: str,
        url: str,
        *,
        settings: JudgeSettings | None = None,
        cache: Path | None = None,
    ) -> None:
        """Check the address and read the cache; nothing is sent.

        Args:
            model: Name of the model, as the endpoint knows it.
            url: Base address, with or without `/v1` at its end.
            settings: How it is asked; the defaults where None.
            cache: Folder of answers, made when the first one is kept; None keeps them in
                memory only.

        Raises:
            StorageError: the cache cannot be read.
            ValueError: `url` is no address of this kind; `model` is empty.
        """
        self.model = model
        self.settings = settings or JudgeSettings()
        self._endpoint = Endpoint(model, url, settings=self.settings)
        self._cache = AnswerCache(cache)
        self._failures = 0
        self._lock = threading.Lock()

    @property
    def n_requests(self) -> int:
        """Requests sent since the client was made, repeated ones included."""
        return self._endpoint.n_requests

    def sent(self) -> Sent:
        """Return the requests since the client was made, by what became of them."""
        return self._endpoint.sent()

    def facts(self) -> dict[str, object]:
        """Return what decides an answer besides the question: never the address or the key."""
        return {"version": VERSION, "model": self.model, "sampling": self.settings.sampling()}

    def ask(
        self, questions: Sequence[Sequence[Message]], *, progress: Progress | None = None
    ) -> list[Answer]:
        """Ask questions; equal ones are asked once, and those with a kept answer not at all.

        Args:
            questions: q questions, each as messages.
            progress: Called with (questions done, questions in all), kept ones included.

        Returns:
            q answers, in the order given. At the cap of requests the rest is `not asked`.

        Raises:
            JudgeError: nobody listens at the address; it refuses the key or the model; three
                questions in a row had no answer after all retries. Answers so far are kept.
            StorageError: an answer cannot be written to the cache.
        """
        keys = [self._key(messages) for messages in questions]
        answers: dict[str, Answer] = {}
        missing: dict[str, Sequence[Message]] = {}
        for key, messages in zip(keys, questions, strict=True):
            kept = self._cache.find(key)
            if kept is not None:
                answers[key] = Answer("answered", kept, from_cache=True)
            else:
                missing.setdefault(key, messages)
        if progress is not None and answers:
            progress(len(answers), len(answers) + len(missing))
        self._ask_all(missing, answers, progress)
        return [answers[key] for key in keys]

    def _ask_all(
        self,
        missing: dict[str, Sequence[Message]],
        answers: dict[str, Answer],
        progress: Progress | None,
    ) -> None:
        """Ask in a few threads and fill in the answers; stop all of them on an error."""
        n_all = len(answers) + len(missing)
        self._endpoint.resume()
        self._failures = 0
        with ThreadPoolExecutor(max_workers=self.settings.n_parallel) as pool:
            futures: dict[Future[Answer], str] = {
                pool.submit(self._ask_one, key, messages): key for key, messages in missing.items()
            }
            try:
                for future in as_completed(futures):
                    answers[futures[future]] = future.result()
                    if progress is not None:
                        progress(len(answers), n_all)
            except BaseException:
                # What is under way is paid for already: its answers are still kept.
                self._endpoint.stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _ask_one(self, key: str, messages: Sequence[Message]) -> Answer:
        """Ask one question and keep its answer."""
        try:
            found = self._endpoint.complete(messages)
            if found.outcome == "answered":
                self._cache.keep(key, found.text)
            self._count_failures(found.outcome, found.text)
        except BaseException:
            self._endpoint.stop()  # at once: the thread that collects may be late
            raise
        return Answer(found.outcome, found.text)

    def _count_failures(self, outcome: Outcome, why: str) -> None:
        """Raise where a server that was there no longer answers anything."""
        with self._lock:
            if outcome == "not asked":
                return
            self._failures = self._failures + 1 if outcome == "failed" else 0
            if self._failures >= _FAILURES_IN_A_ROW:
                raise JudgeError(
                    f"{self._endpoint.url}: a judge must answer; {self._failures} questions in a "
                    f"row had no answer after {self.settings.n_retries} retries each, the last: "
                    f"{why}. Answers so far are kept"
                )

    def _key(self, messages: Sequence[Message]) -> str:
        """Digest of a question and of all that decides its answer."""
        return fingerprint(self.facts() | {"messages": [list(message) for message in messages]})
