"""The model process: takes rows from the server, gathers them into batches, sends scores back.

`python -P -m armorm.serve.worker` speaks frames on stdin and stdout and leaves when stdin
ends. It knows no network and no clients.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from io import BufferedIOBase
from typing import Any

import torch
from torch import Tensor

from armorm.errors import ArmormError, FeatureError
from armorm.features.compute import Computation, one_a_prompt
from armorm.features.interface import Unused
from armorm.features.packing import PackableRow
from armorm.model.bundle import scales_as_json
from armorm.model.reward import RewardModel
from armorm.serve.batching import BatchQueue, QueuedRow, Turn
from armorm.serve.frames import Frame, pack_frame, read_frame
from armorm.serve.settings import ModelSettings
from armorm.types import Conversation, Message

LOGGER = logging.getLogger("armorm.serve")

_WARM_UP = ("It is 4.", "The sum of 2 and 2 is 4.")


@dataclass(eq=False)
class _Work:
    """A request while its rows are computed."""

    number: int
    model: RewardModel
    rows: list[Conversation]
    places: list[int]
    """Where its rows stand in the request; others cannot be used."""
    reasons: dict[int, str]
    tokenized: list[Any]
    features: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Response and prompt feature by position in `rows`."""
    failed: bool = False


class Worker:
    """One model and the requests that wait for it."""

    def __init__(
        self,
        model: RewardModel,
        replies: BufferedIOBase,
        *,
        token_budget: int | None,
        wait_s: float,
    ) -> None:
        """Keep a model that is ready to run.

        Args:
            model: Steered as requests without steering want it.
            replies: Where frames are written.
            token_budget: Tokens a batch; None: what suits the device.
            wait_s: How long a batch waits for more rows.
        """
        self._model = model
        self._computation = Computation(model.backbone, [], {})
        self._lenient = copy(model.backbone)  # a row that is refused is no error of the others
        self._lenient.options = replace(model.backbone.options, bad_rows="drop")
        self._budget = token_budget or model.backbone.find_budget()
        self._queue = BatchQueue(budget=self._budget, wait_s=wait_s)
        self._replies = replies
        self._writing = threading.Lock()

    def warm_up(self) -> None:
        """Let the backbone decide how it computes, and load what the first batch loads."""
        prompt = (Message("user", "What is 2 plus 2?"),)
        rows = [Conversation(prompt, response) for response in _WARM_UP]
        found = self._lenient.tokenize(rows, cuts=self._lenient.cuts(rows))
        usable = [row for row in found if not isinstance(row, Unused)]
        if usable:
            self._model.backbone.prepare(usable)
            self._computation.run_rows(usable)

    def facts(self) -> dict[str, Any]:
        """Return what the server tells of the model, as JSON."""
        bundle, backbone = self._model.bundle, self._model.backbone
        known = ("name", "revision", "kind", "digest", "dtype", "max_tokens")
        return {
            "name": bundle.name,
            "objectives": list(bundle.objectives),
            "nuisances": [bundle.objectives[i] for i in bundle.nuisances],
            "scales": scales_as_json(bundle.scales),
            "beta": bundle.beta,
            "score_scale": bundle.score_scale,
            "weights": None if self._model.weights is None else dict(self._model.weights),
            "factors": None if self._model.factors is None else dict(self._model.factors),
            "ranges": _ranges(bundle.facts, bundle.objectives),
            "backbone": {name: backbone.facts().get(name) for name in known},
            "device": backbone.device,
            "engine": backbone.engine,
            "token_budget": self._budget,
            "notes": list(backbone.notes),
        }

    def receive(self, requests: BufferedIOBase) -> None:
        """Tokenise what arrives until nothing more will; errors of a request are its own.

        Args:
            requests: Where frames are read.
        """
        while (frame := read_frame(requests)) is not None:
            if "cancel" in frame.header:
                self._queue.cancel(frame.header["cancel"])
                continue
            number = frame.header["number"]
            try:
                self._tokenize(number, frame)
            except (ArmormError, ValueError) as error:
                self._refuse(number, "request", str(error))
            except Exception:
                LOGGER.exception("a request cannot be read")
                self._refuse(number, "internal", "the model process could not read the request")
        self._queue.close()

    def run(self) -> None:
        """Compute batches until the requests have ended and all of them are answered."""
        while (batch := self._queue.take()) is not None:
            started = time.monotonic()
            self._compute(batch)
            rows = [row.row for _, row in batch]
            self._send(
                {
                    "batch": {
                        "conversations": len(rows),
                        "tokens": sum(row.n_tokens for row in rows),
                        "unique_tokens": self._model.backbone.unique_tokens(rows),
                        "seconds": time.monotonic() - started,
                    }
                }
            )

    def _tokenize(self, number: int, frame: Frame) -> None:
        """Put the rows of a request into the queue, or say why not."""
        asked = frame.header
        model = steered(self._model, asked.get("weights"), asked.get("factors"))
        prompts = [tuple(Message(*m) for m in prompt) for prompt in asked["prompts"]]
        rows = [Conversation(prompts[i], response) for i, response in asked["rows"]]
        found = self._lenient.tokenize(rows, cuts=self._lenient.cuts(rows))
        reasons = {i: row.reason for i, row in enumerate(found) if isinstance(row, Unused)}
        if reasons and not asked["drop"]:
            place = min(reasons)
            self._refuse(number, "row", self._why(rows[place], reasons[place]), place=place)
            return
        places = [i for i in range(len(rows)) if i not in reasons]
        tokenized = [row for row in found if not isinstance(row, Unused)]
        n_tokens = sum(row.n_tokens for row in tokenized)
        if n_tokens > asked["request_tokens"]:
            self._refuse(
                number,
                "too_large",
                f"a request must have at most {asked['request_tokens']:,} tokens; it has "
                f"{n_tokens:,}",
            )
            return
        work = _Work(number, model, [rows[i] for i in places], places, reasons, tokenized)
        if not places:
            self._finish(work)
            return
        self._queue.add(number, [self._queued(i, row) for i, row in enumerate(tokenized)], work)

    def _queued(self, place: int, row: Any) -> QueuedRow:
        """A row with its length and what it may share."""
        n_tokens = row.n_tokens
        if self._model.backbone.engine != "packed" or not isinstance(row, PackableRow):
            return QueuedRow(row, place, n_tokens)
        shared = tuple(row.token_ids[: row.prompt_end + 1])
        return QueuedRow(row, place, n_tokens, shared, len(shared))

    def _why(self, row: Conversation, reason: str) -> str:
        """Why a row is not used, in the words of the chat template where it speaks."""
        try:
            self._model.backbone.tokenize([row])
        except FeatureError as error:
            return str(error)
        return reason

    def _compute(self, batch: Sequence[Turn]) -> None:
        """Run the model; where a batch fails, each request by itself, so that one fails alone."""
        turns = [turn for turn in batch if not turn[0].content.failed]
        if not turns:
            return
        try:
            self._run(turns)
            return
        except Exception as error:
            numbers = {request.number for request, _ in turns}
            if len(numbers) == 1:
                self._fail(turns[0][0].content, error)
                return
        for number in numbers:
            self._compute([turn for turn in turns if turn[0].number == number])

    def _run(self, turns: Sequence[Turn]) -> None:
        """Compute features, and finish the requests that have all of theirs."""
        response, prompt = self._computation.run_rows([row.row for _, row in turns])
        works: dict[int, _Work] = {}
        for i, (request, row) in enumerate(turns):
            work = works.setdefault(request.number, request.content)
            work.features[row.place] = (response[i], prompt[i])
        for work in works.values():
            if len(work.features) == len(work.rows) and not work.failed:
                try:
                    self._finish(work)
                except Exception as error:
                    self._fail(work, error)

    def _finish(self, work: _Work) -> None:
        """Send the scores of a request."""
        model, k = work.model, len(work.model.objectives)
        header = {
            "number": work.number,
            "places": work.places,
            "reasons": [[place, reason] for place, reason in work.reasons.items()],
            "n_tokens": [row.n_tokens for row in work.tokenized],
            "n_truncated": [row.n_truncated for row in work.tokenized],
            "is_gated": model.weights is None,
        }
        if not work.rows:
            self._send(header)
            return
        parts = [work.features[i] for i in range(len(work.rows))]
        response = torch.stack([one for one, _ in parts])
        prompt = one_a_prompt(
            torch.stack([one for _, one in parts]), [row.prompt for row in work.rows]
        )
        finite = response.isfinite().all(dim=1) & prompt.isfinite().all(dim=1)
        if not bool(finite.all()):
            place = work.places[int(finite.int().argmin())]
            text = f"its features must be finite; in dtype {model.backbone.dtype!r} they are not"
            self._refuse(work.number, "row", text, place=place)
            return
        scores = model.score_features(response, prompt)
        gating = torch.zeros(len(work.rows), k) if scores.gating is None else scores.gating
        debiased = scores.objectives @ model.bundle.debias
        columns = [
            scores.score[:, None],
            scores.objectives,
            gating,
            scores.coefficients,
            scores.contributions,
            debiased,
        ]
        table = torch.cat(columns, dim=1).numpy().astype("<f4")
        self._send(header, table.tobytes())

    def _fail(self, work: _Work, error: Exception) -> None:
        """Answer a request that cannot be computed; what is no error of ours is logged."""
        work.failed = True
        self._queue.cancel(work.number)
        if isinstance(error, ArmormError):
            self._refuse(work.number, "request", str(error))
            return
        LOGGER.error("a request cannot be computed", exc_info=error)
        self._refuse(work.number, "internal", "the model could not compute this request")
        if self._model.backbone.device.startswith("cuda") and isinstance(error, RuntimeError):
            # An error of a kernel stays with the process: only another one can go on.
            os._exit(3)

    def _refuse(self, number: int, kind: str, text: str, *, place: int | None = None) -> None:
        """Answer a request with an error."""
        self._send({"number": number, "error": {"kind": kind, "text": text, "place": place}})

    def _send(self, header: dict[str, Any], block: bytes = b"") -> None:
        """Write a frame; both threads do."""
        with self._writing:
            self._replies.write(pack_frame(header, block))
            self._replies.flush()


def steered(
    model: RewardModel, weights: Mapping[str, float] | None, factors: Mapping[str, float] | None
) -> RewardModel:
    """Steer a model as a request wants it.

    Args:
        model: The model, which may be steered already.
        weights: As `RewardModel.with_weights`.
        factors: As `RewardModel.scaled`.

    Returns:
        The model.

    Raises:
        ValueError: both are given; as the two methods.
    """
    if weights is not None and factors is not None:
        raise ValueError("`weights` bypass the gating that `factors` multiply; give one of them")
    if weights is not None:
        return model.with_weights(weights)
    return model if factors is None else model.scaled(factors)


def serve_frames(
    model: RewardModel, requests: BufferedIOBase, replies: BufferedIOBase, **gathering: Any
) -> None:
    """Answer requests until they end.

    Args:
        model: The model.
        requests: Frames of the server.
        replies: Frames for it.
        **gathering: `token_budget` and `wait_s`, as `Worker` takes them.
    """
    worker = Worker(model, replies, **gathering)
    worker.warm_up()
    replies.write(pack_frame({"ready": worker.facts()}))
    replies.flush()
    # A daemon: where the model cannot go on, nobody waits for a request that never comes.
    threading.Thread(target=worker.receive, args=(requests,), daemon=True).start()
    worker.run()


def main() -> None:
    """Load the model that the first frame names, and serve it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server ends this process, by ending stdin
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the frames
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    first = read_frame(requests)
    if first is None:
        return
    settings = ModelSettings(**first.header["load"])
    with contextlib.suppress(BrokenPipeError):  # the server has gone: nobody is left to tell
        try:
            model = _load(settings)
        except (ArmormError, ValueError) as error:
            replies.write(pack_frame({"failed": str(error)}))
            replies.flush()
            return
        gathering = {"token_budget": settings.token_budget, "wait_s": settings.wait_s}
        serve_frames(model, requests, replies, **gathering)


def _load(settings: ModelSettings) -> RewardModel:
    """The model of a server."""
    model = RewardModel.load(settings.bundle, device=settings.device, backbone=settings.backbone)
    return steered(model, settings.weights, settings.factors)


def _ranges(
    facts: Mapping[str, Any], objectives: Sequence[str]
) -> dict[str, tuple[float, float]] | None:
    """Lowest and highest objective score seen in training, where the bundle knows them."""
    figures = facts.get("objectives")
    known = figures if isinstance(figures, Mapping) else {}
    found = {
        name: (float(known[name]["range"][0]), float(known[name]["range"][1]))
        for name in objectives
        if isinstance(known.get(name), Mapping) and known[name].get("range")
    }
    return found or None


if __name__ == "__main__":
    main()
