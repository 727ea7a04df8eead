"""Requests on their way to the model process and back: bounded, timed, repeated where it dies.

Knows conversations and answers; knows neither HTTP nor models.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armorm.serve.answers import Answer, ModelFacts, read_answer
from armorm.serve.errors import Refusal, StartError, bad_row
from armorm.serve.frames import Frame, pack_frame
from armorm.serve.metrics import Metrics
from armorm.serve.process import ModelProcess
from armorm.serve.settings import Limits
from armorm.types import Conversation, Prompt

LOGGER = logging.getLogger("armorm.serve")

_TRIES = 2
_LONGEST_PAUSE_S = 30.0
_STATUS = {"request": 422, "too_large": 413, "internal": 500}


@dataclass(eq=False)
class _Call:
    """A request that was accepted."""

    number: int
    content: bytes
    n_rows: int
    n_bytes: int
    answer: asyncio.Future[Frame]
    started: float
    tries: int = 0
    """How often it was sent to a model process."""


class Engine:
    """One model process and the requests that wait for it."""

    def __init__(
        self,
        launch: Callable[[], Awaitable[ModelProcess]],
        *,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        """Keep what is needed to start.

        Args:
            launch: Starts a model process; called again where it dies.
            limits: How much is accepted.
            metrics: Told what happens.
        """
        self._launch, self._limits, self._metrics = launch, limits, metrics
        self._calls: dict[int, _Call] = {}
        self._numbers = itertools.count(1)
        self._process: ModelProcess | None = None
        self._is_ready = False
        self._facts: ModelFacts | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._rate = 0.0
        self._n_rows = 0
        self._n_bytes = 0
        self.failure: str | None = None
        """Why the model could not be loaded; the server stops then."""
        self.on_failure: Callable[[], None] = lambda: None
        """Called once where the model cannot be loaded."""

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded and requests are taken."""
        return self._is_ready and not self._stopping

    @property
    def facts(self) -> ModelFacts:
        """What is known of the model.

        Raises:
            Refusal: it is not loaded yet.
        """
        if self._facts is None:
            raise self._unavailable("the model is still being loaded", retry_after=5)
        return self._facts

    @property
    def process(self) -> ModelProcess | None:
        """The model process of this moment."""
        return self._process

    async def start(self) -> None:
        """Start the model process, without waiting for it."""
        self._task = asyncio.create_task(self._supervise(), name="armorm model process")

    async def stop(self) -> None:
        """Take nothing more, wait for what was accepted, and end the model process."""
        self._stopping = True
        end = time.monotonic() + self._limits.timeout_s
        while self._calls and time.monotonic() < end and self._task and not self._task.done():
            await asyncio.sleep(0.02)
        task, process = self._task, self._process
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if process is not None:
            await process.end()
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_exception(self._unavailable("the server is stopping"))

    async def score(
        self,
        rows: Sequence[Conversation],
        *,
        weights: Mapping[str, float] | None = None,
        factors: Mapping[str, float] | None = None,
        drop: bool = False,
        where: Callable[[int], str] = "conversations[{}]".format,
    ) -> Answer:
        """Score the conversations of one request.

        Args:
            rows: n conversations.
            weights: Fixed weights in place of the server's own steering.
            factors: Factors of the gating.
            drop: Leave rows out that the backbone cannot take; else they refuse the request.
            where: Place of a row in the request, for errors.

        Returns:
            The answer, in the order given.

        Raises:
            Refusal: too many rows or too much text wait already; the model is not there; it
                took too long; a row cannot be scored; steering by a name that is no objective.
        """
        call = self._accept(rows, {"weights": weights, "factors": factors, "drop": drop})
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                self._submit(call)
                frame = await call.answer
        except TimeoutError:
            raise Refusal(
                504, "timeout", f"no scores within {self._limits.timeout_s:g} s of the request"
            ) from None
        finally:
            self._forget(call)
        answer = self._read(frame, len(rows), where)
        self._metrics.scored(answer, self.facts, seconds=time.monotonic() - call.started)
        return answer

    def _accept(self, rows: Sequence[Conversation], asked: Mapping[str, Any]) -> _Call:
        """Count a request in, or refuse it."""
        if self._stopping:
            raise self._unavailable("the server is stopping")
        if self._facts is None:
            raise self._unavailable("the model is still being loaded", retry_after=5)
        if len(rows) > self._limits.conversations:
            raise Refusal(
                413,
                "too_large",
                f"a request must have at most {self._limits.conversations:,} conversations; it "
                f"has {len(rows):,}",
            )
        number = next(self._numbers)
        prompts: dict[Prompt, int] = {}
        numbered = [(prompts.setdefault(row.prompt, len(prompts)), row.response) for row in rows]
        content = pack_frame(
            {
                "number": number,
                "prompts": list(prompts),
                "rows": numbered,
                "request_tokens": self._limits.request_tokens,
                **asked,
            }
        )
        if (
            self._n_rows + len(rows) > self._limits.queue_conversations
            or self._n_bytes + len(content) > self._limits.queue_bytes
        ):
            self._metrics.refused("queue")
            raise Refusal(
                429,
                "queue_full",
                f"{self._n_rows:,} conversations wait already; try again later",
                retry_after=self._retry_after(),
            )
        future = asyncio.get_running_loop().create_future()
        call = _Call(number, content, len(rows), len(content), future, time.monotonic())
        self._calls[number] = call
        self._count(call, 1)
        return call

    def _count(self, call: _Call, sign: int) -> None:
        """Count a request in or out."""
        self._n_rows += sign * call.n_rows
        self._n_bytes += sign * call.n_bytes
        self._metrics.queued(self._n_rows, self._n_bytes)

    def _submit(self, call: _Call) -> None:
        """Send a request to the model process; where there is none now, to the next one."""
        if self._is_ready and self._process is not None:
            call.tries += 1
            self._process.send(call.content)

    def _forget(self, call: _Call) -> None:
        """Count a request out; rows that nobody waits for any more need not be computed."""
        del self._calls[call.number]
        self._count(call, -1)
        if (not call.answer.done() or call.answer.cancelled()) and self._process is not None:
            self._process.send(pack_frame({"cancel": call.number}))

    def _read(self, frame: Frame, n_rows: int, where: Callable[[int], str]) -> Answer:
        """The answer in a frame, or the refusal."""
        error = frame.header.get("error")
        if error is None:
            return read_answer(frame, self.facts.objectives, n_rows)
        if error["place"] is not None:
            raise bad_row(where(error["place"]), error["text"])
        raise Refusal(_STATUS[error["kind"]], error["kind"], error["text"])

    async def _supervise(self) -> None:
        """Keep a model process running; its death is nobody's but that of the rows in it."""
        for pause in itertools.chain((0.0,), (min(2.0**i, _LONGEST_PAUSE_S) for i in range(64))):
            ready_at = await self._run_once()
            if self.failure is not None or self._stopping:
                return
            self._metrics.restarted()
            lived = 0.0 if ready_at is None else time.monotonic() - ready_at
            await asyncio.sleep(pause if lived < _LONGEST_PAUSE_S else 0.0)
        self._fail("it died 64 times")

    async def _run_once(self) -> float | None:
        """Start a model process and read what it sends until it has gone."""
        process = self._process = await self._launch()
        ready_at: float | None = None
        while (frame := await process.receive()) is not None:
            if "ready" in frame.header:
                ready_at = time.monotonic()
                self._begin(frame.header["ready"])
            elif "failed" in frame.header and self._facts is None:
                self._fail(frame.header["failed"])
            elif "failed" in frame.header:
                LOGGER.error("the model cannot be loaded again: %s", frame.header["failed"])
            elif "batch" in frame.header:
                self._note_batch(frame.header["batch"])
            else:
                self._settle(frame)
        self._is_ready = False
        self._process = None
        try:
            left = await process.end()
        except asyncio.CancelledError:  # stopped meanwhile: the process is waited for all the same
            await process.end()
            raise
        if self.failure is None and not self._stopping:
            if self._facts is None:
                self._fail(f"the model process ended ({left}) before the model was loaded")
            LOGGER.error("the model process ended (%s); it is started again", left)
            self._give_up_on_repeated()
        return ready_at

    def _begin(self, facts: dict[str, Any]) -> None:
        """Take a loaded model, and send it what waited or was lost with the last one."""
        self._facts = ModelFacts(facts)
        self._is_ready = True
        for note in facts["notes"]:
            LOGGER.warning("%s", note)
        for call in list(self._calls.values()):
            if not call.answer.done():
                self._submit(call)

    def _give_up_on_repeated(self) -> None:
        """Refuse requests that were in the model process each time that it died."""
        for call in self._calls.values():
            if call.tries >= _TRIES and not call.answer.done():
                call.answer.set_exception(
                    self._unavailable(
                        f"the model process ended {call.tries} times while it had this request"
                    )
                )

    def _settle(self, frame: Frame) -> None:
        """Hand an answer to the request that waits for it."""
        call = self._calls.get(frame.header["number"])
        if call is not None and not call.answer.done():
            call.answer.set_result(frame)

    def _note_batch(self, batch: Mapping[str, Any]) -> None:
        """Learn from a batch how fast rows go."""
        self._metrics.batch(batch)
        rate = batch["conversations"] / max(batch["seconds"], 1e-6)
        self._rate = rate if not self._rate else 0.9 * self._rate + 0.1 * rate

    def _retry_after(self) -> int:
        """Seconds after which the rows that wait now will be done."""
        if not self._rate:
            return 1
        return min(max(math.ceil(self._n_rows / self._rate), 1), 60)

    def _fail(self, why: str) -> None:
        """Say that there will be no model."""
        self.failure = why
        for call in self._calls.values():
            if not call.answer.done():
                call.answer.set_exception(self._unavailable("the model cannot be loaded"))
        self.on_failure()

    @staticmethod
    def _unavailable(text: str, *, retry_after: int | None = None) -> Refusal:
        """Status 503."""
        return Refusal(503, "unavailable", text, retry_after=retry_after)

    def check_started(self) -> None:
        """Raise where the model could not be loaded.

        Raises:
            StartError: it could not; the text is that of the model process.
        """
        if self.failure is not None:
            raise StartError(self.failure)
