"""The errors a user can cause or meet: where, what must hold, what was found, in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArmormError(Exception):
    """Base of every error that the command line shows as one line and exit code 2."""


class DataError(ArmormError):
    """The content of a data file is not what it must be."""


class RecipeError(ArmormError):
    """A recipe has mistakes; `mistakes` holds all of them, one line each."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        """Collect the mistakes.

        Args:
            mistakes: One sentence a mistake, each starting with its key path.
        """
        self.mistakes: tuple[str, ...] = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class FeatureError(ArmormError):
    """A backbone, a chat template or a feature set cannot be used."""


class BundleError(ArmormError):
    """A bundle is incomplete, damaged, of another schema or of another backbone."""


class StorageError(ArmormError):
    """A disk is full or fails; nothing half-written is left behind."""


class MissingDependency(ArmormError):
    """An optional package is not installed; the text names the extra that brings it."""

    def __init__(self, purpose: str, extra: str) -> None:
        """Name what cannot be done and the extra that makes it possible.

        Args:
            purpose: What needs the packages, as the start of a sentence.
            extra: Name of the extra of this package.
        """
        super().__init__(f"{purpose} needs the optional packages: pip install 'armorm[{extra}]'")


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is meant, as the tail of an error message.

    Args:
        name: What was found.
        known: The names that would have been right.

    Returns:
        `; did you mean 'honesty'?`, or the list of known names when none is near.

    Example:
        >>> nearest("honestly", ["honesty", "verbosity"])
        "; did you mean 'honesty'?"
        >>> nearest("x", ["honesty", "verbosity"])
        "; known: 'honesty', 'verbosity'"
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    return "; known: " + ", ".join(repr(n) for n in names)
