"""What a server refuses a request with: a status, a kind, one located sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from armorm.errors import ArmormError


class StartError(ArmormError):
    """A server cannot start: its model cannot be loaded, or its address is taken."""


class Refusal(Exception):
    """Why a request gets no scores; becomes the JSON error of the answer."""

    def __init__(
        self,
        status: int,
        kind: str,
        text: str,
        *,
        details: Sequence[tuple[str, str]] = (),
        retry_after: int | None = None,
    ) -> None:
        """Keep what is said.

        Args:
            status: Of the answer.
            kind: One word for programs.
            text: One sentence for people.
            details: Places in the request and what is wrong there, where there are several.
            retry_after: Seconds after which the same request may be taken.
        """
        super().__init__(text)
        self.status = status
        self.kind = kind
        self.text = text
        self.details = tuple(details)
        self.retry_after = retry_after

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the answer."""
        error: dict[str, Any] = {"type": self.kind, "message": self.text, "code": self.status}
        if self.details:
            error["details"] = [{"where": w, "message": text} for w, text in self.details]
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        if self.status == 401:
            return {"WWW-Authenticate": 'Bearer realm="armorm"'}
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def bad_row(where: str, text: str) -> Refusal:
    """Return the refusal of a request for one of its rows.

    Args:
        where: Place of the row in the request.
        text: What is wrong with it.

    Returns:
        Status 422.
    """
    said = text.removeprefix(f"{where}: ")
    return Refusal(422, "row", f"{where}: {said}", details=[(where, said)])
