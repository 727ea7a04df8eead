"""Which rows are computed together: responses to one prompt side by side, in blocks of fixed size.

A batch never crosses a block, and a shard is whole blocks, so the bytes of a feature set
do not depend on who computed which of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from armorm.types import Conversation, Prompt


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several processes that share the blocks of a feature set."""

    number: int = 1
    """From 1 to `count`."""
    count: int = 1
    """How many processes there are."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: the number is not from 1 to the count.
        """
        if not 1 <= self.number <= self.count:
            raise ValueError(
                f"a shard must be `i/n` with i from 1 to n; got '{self.number}/{self.count}'"
            )

    def __str__(self) -> str:
        """Return the shard as it is written on the command line."""
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`.

        Args:
            text: Such as `2/8`, the second of eight.

        Returns:
            The shard.

        Raises:
            ValueError: another form; i is not from 1 to n.

        Example:
            >>> Shard.parse("2/8")
            Shard(number=2, count=8)
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise ValueError(f"a shard must be `i/n` with i from 1 to n; got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def blocks(self, n_blocks: int) -> range:
        """Return the blocks of this shard: consecutive, and as many as others have, or one less.

        Args:
            n_blocks: Blocks in all.

        Returns:
            Their numbers; none where there are more shards than blocks.

        Example:
            >>> [list(Shard(i, 3).blocks(4)) for i in (1, 2, 3)]
            [[0], [1], [2, 3]]
        """
        first, last = self.number - 1, self.number
        return range(first * n_blocks // self.count, last * n_blocks // self.count)


def group_rows(conversations: Sequence[Conversation]) -> list[int]:
    """Order rows so that all responses to one prompt stand side by side.

    Prompts come in the order of their first row, and the rows of a prompt in the order given.

    Args:
        conversations: n rows.

    Returns:
        The numbers 0 to n - 1 in the new order.
    """
    place: dict[Prompt, int] = {}
    rank = [place.setdefault(row.prompt, len(place)) for row in conversations]
    return sorted(range(len(rank)), key=rank.__getitem__)


def cut_blocks(order: Sequence[int], rows: int) -> list[list[int]]:
    """Cut an order of rows into blocks.

    Args:
        order: Numbers of rows.
        rows: Rows of a block; the last one may have fewer.

    Returns:
        The blocks.

    Example:
        >>> cut_blocks([0, 2, 1], 2)
        [[0, 2], [1]]
    """
    return [list(order[start : start + rows]) for start in range(0, len(order), rows)]
