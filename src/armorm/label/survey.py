"""The input of a labelling: looked through before the work, and read again as often as need be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from armorm.data import DataSource
from armorm.errors import DataError
from armorm.label.groups import Group, cut_parts, part_digest
from armorm.label.options import LabelOptions
from armorm.label.read import Reading, read_groups


@dataclass(slots=True)
class Survey:
    """What the input holds, before anything is scored."""

    reading: Reading
    """Counts of what was left out."""
    digests: list[str] = field(default_factory=list)
    """SHA-256 of every part."""
    n_groups: int = 0
    """Prompts with a candidate."""
    n_candidates: int = 0
    """Candidates that can be read."""
    given: bool = False
    """Whether the input is preference pairs."""

    @property
    def n_parts(self) -> int:
        """Parts of the input."""
        return len(self.digests)


class Input:
    """The rows to be labelled, read as often as need be."""

    def __init__(self, source: DataSource, options: LabelOptions) -> None:
        """Keep where they are.

        Args:
            source: The input.
            options: How to label.
        """
        self.source, self.options = source, options

    def parts(self, reading: Reading | None = None) -> Iterator[list[Group]]:
        """Read the input once more, part by part.

        Args:
            reading: Receives the counts.

        Returns:
            Its parts, the same at every reading.
        """
        options = self.options
        groups = read_groups(
            self.source,
            shape=options.shape,
            bad_rows=options.bad_rows,
            largest=options.part_rows,
            reading=reading,
        )
        return cut_parts(groups, options.part_rows)

    def same_parts(self, survey: Survey) -> Iterator[list[Group]]:
        """Read the input once more, and check that every part is what it was.

        Args:
            survey: Of an earlier reading.

        Yields:
            Its parts.

        Raises:
            DataError: the input has changed.
        """
        n = 0
        for n, part in enumerate(self.parts(), 1):
            if n > survey.n_parts or part_digest(part) != survey.digests[n - 1]:
                raise self._changed()
            yield part
        if n < survey.n_parts:
            raise self._changed()

    def _changed(self) -> DataError:
        """The error of an input that is another one than at its first reading."""
        return DataError(
            f"{self.source.path}: the rows must stay as they are while they are labelled; they "
            "have changed since the labelling began"
        )

    def survey(self) -> Survey:
        """Read the whole input, so that what is wrong with it is told before the work.

        Returns:
            Counts and digests.

        Raises:
            DataError: as `read_groups`; some files hold preference pairs and others do not.
            MissingDependency: as `read_groups`.
        """
        found = Survey(Reading())
        given: set[bool] = set()
        for part in self.parts(found.reading):
            found.digests.append(part_digest(part))
            found.n_groups += len(part)
            found.n_candidates += sum(len(group.candidates) for group in part)
            given |= {group.candidates[0].given is not None for group in part}
        found.given = given == {True}
        if len(given) > 1:
            raise DataError(
                f"{self.source.path}: all files must hold preference pairs or none of them; "
                "label them apart"
            )
        return found
