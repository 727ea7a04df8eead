"""httpx, or the error that names the extra that brings it."""

from __future__ import annotations

from armorm.errors import MissingDependency

try:
    import httpx
except ImportError as error:
    raise MissingDependency("the client", "serve") from error

__all__ = ["httpx"]
