"""A reward model of Hugging Face as a scorer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from armorm.evaluate.score_cache import Progress
from armorm.model.sequence_classifier import SequenceClassifier
from armorm.storage import fingerprint
from armorm.types import Conversation


class HuggingFaceScorer:
    """A decoder with a classification head of one label; its logit is the score."""

    def __init__(self, classifier: SequenceClassifier, *, name: str | None = None) -> None:
        """Take a model.

        Args:
            classifier: From `load_sequence_classifier`.
            name: Shown in tables; None: `hf:` and the name of the model.
        """
        self._classifier = classifier
        self.name = f"hf:{classifier.name}" if name is None else name
        facts = classifier.facts
        # By digest: the same files give the same scores wherever they lie.
        self.identity = fingerprint(
            {
                "scorer": "sequence classifier",
                "digest": facts["digest"],
                "dtype": facts["dtype"],
                "max_tokens": facts["max_tokens"],
                "too_long": classifier.options.too_long,
            }
        )
        self.n_truncated = 0
        """Conversations that were cut from the left, of all that were scored."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what a user may not expect, each once."""
        cut = (
            f"{self.name}: {self.n_truncated:,} conversations were longer than "
            f"{self._classifier.facts['max_tokens']:,} tokens and were cut from the left"
        )
        return (*self._classifier.notes, *((cut,) if self.n_truncated else ()))

    def score(
        self, conversations: Sequence[Conversation], *, progress: Progress | None = None
    ) -> np.ndarray:
        """Score conversations; see `Scorer` and `SequenceClassifier.score`."""
        found = self._classifier.score(conversations, progress=progress)
        self.n_truncated += found.n_truncated
        return found.scores.numpy().astype(np.float64)
