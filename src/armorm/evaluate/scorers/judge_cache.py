"""Answers of a judge on disk: one line each, only ever added, so that a kill loses at most one."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from armorm.storage import storage_errors

_FILE = "answers.jsonl"


class AnswerCache:
    """Answers by the digest of the question, in memory and, with a folder, on disk."""

    def __init__(self, folder: Path | None) -> None:
        """Read what is kept; a line that a killed run left unfinished is not there.

        Args:
            folder: Folder of the cache, made when the first answer is kept; None keeps
                answers in memory only.

        Raises:
            StorageError: the file cannot be read.
        """
        self._path = None if folder is None else folder / _FILE
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._unfinished = False
        if self._path is not None and self._path.is_file():
            with storage_errors(self._path):
                content = self._path.read_bytes()
            self._unfinished = bool(content) and not content.endswith(b"\n")
            for line in content.splitlines():
                self._known |= _entry(line)

    def __len__(self) -> int:
        """Number of answers."""
        return len(self._known)

    def find(self, key: str) -> str | None:
        """Return the answer to a question; None where there is none."""
        return self._known.get(key)

    def keep(self, key: str, answer: str) -> None:
        """Add an answer.

        Args:
            key: Digest of the question.
            answer: What the judge wrote.

        Raises:
            StorageError: the disk is full or cannot be written.
        """
        line = json.dumps({"key": key, "answer": answer}).encode() + b"\n"
        with self._lock:
            self._known[key] = answer
            if self._path is None:
                return
            if self._unfinished:
                line, self._unfinished = b"\n" + line, False
            with storage_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # One write to the end of the file: lines of two processes do not mix.
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                descriptor = os.open(self._path, flags, 0o666)
                try:
                    self._unfinished = os.write(descriptor, line) < len(line)
                finally:
                    os.close(descriptor)


def _entry(line: bytes) -> dict[str, str]:
    """The answer of a line; nothing where the line was not finished."""
    try:
        entry: Any = json.loads(line)
        key, answer = entry["key"], entry["answer"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return {key: answer} if isinstance(key, str) and isinstance(answer, str) else {}
