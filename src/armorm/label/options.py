"""How a file is labelled: every choice of a user, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from armorm.errors import nearest
from armorm.label.formats import FORMATS
from armorm.label.groups import PART_ROWS
from armorm.label.select import PairOptions
from armorm.label.shapes import check_shape


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How a file is labelled."""

    shape: str | None = None
    """Shape of the input rows; None: the first row of each file tells."""
    bad_rows: str = "drop"
    """`drop` counts what cannot be read or scored, `stop` raises at the first."""
    texts: bool = False
    """Whether rows of scores hold prompt and response."""
    pairs: PairOptions | None = None
    """How preference pairs are chosen; None writes the scores of all candidates."""
    format: str = "trl"
    """Shape of the pairs, one of `FORMATS`."""
    part_rows: int = PART_ROWS
    """Candidates a part: what a kill may lose."""

    def __post_init__(self) -> None:
        """Check every option by itself.

        Raises:
            ValueError: an option is outside its range (the value is in the text).
        """
        check_shape(self.shape)
        if self.bad_rows not in ("stop", "drop"):
            raise ValueError(f"`bad_rows` must be 'stop' or 'drop'; got {self.bad_rows!r}")
        if self.format not in FORMATS:
            raise ValueError(
                f"`format` has the unknown name {self.format!r}{nearest(self.format, FORMATS)}"
            )
        if self.part_rows < 1:
            raise ValueError(f"`part_rows` must be 1 or more; got {self.part_rows}")
