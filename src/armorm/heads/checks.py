"""What every public function of the heads asks of its tensors; each failure names the axis."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def check_shape(name: str, value: Tensor, axes: str, **sizes: int) -> None:
    """Raise unless a tensor has the axes named and the sizes given.

    Args:
        name: Name of the argument, for the error.
        value: The tensor.
        axes: Axis letters separated by spaces, such as `n k`.
        **sizes: Size that an axis must have, by its letter; other axes are free.

    Raises:
        ValueError: another number of axes; an axis of another size.

    Example:
        >>> import torch
        >>> check_shape("ratings", torch.zeros(4, 2), "n k", n=5)
        Traceback (most recent call last):
        ValueError: `ratings` must have shape (n, k); got (4, 2): axis 0 (n) must be 5
    """
    letters = axes.split()
    found = tuple(value.shape)
    must = f"`{name}` must have shape ({', '.join(letters)}{',' * (len(letters) == 1)})"
    if len(found) != len(letters):
        raise ValueError(f"{must}; got {found}")
    for axis, letter in enumerate(letters):
        if letter in sizes and found[axis] != sizes[letter]:
            raise ValueError(f"{must}; got {found}: axis {axis} ({letter}) must be {sizes[letter]}")


def check_finite(name: str, value: Tensor, *, nan_allowed: bool = False) -> None:
    """Raise unless a tensor holds floating-point numbers and all of them are finite.

    Args:
        name: Name of the argument, for the error.
        value: The tensor, of any shape.
        nan_allowed: True where NaN means missing; infinity is refused all the same.

    Raises:
        ValueError: another dtype; an entry that is not finite (the first is located).

    Example:
        >>> import torch
        >>> check_finite("features", torch.tensor([1.0, torch.nan]))
        Traceback (most recent call last):
        ValueError: `features` must be finite; 1 of 2 entries is not, the first at index (1,)
    """
    if not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        raise ValueError(f"`{name}` must hold floating-point numbers; got {kind}")
    bad = value.isinf() if nan_allowed else ~value.isfinite()
    if not bool(bad.any()):
        return
    places = bad.nonzero()
    count, first = len(places), tuple(int(i) for i in places[0])
    must = "finite or NaN" if nan_allowed else "finite"
    verb = "is" if count == 1 else "are"
    raise ValueError(
        f"`{name}` must be {must}; {count} of {value.numel()} entries {verb} not, "
        f"the first at index {first}"
    )


def check_rows(name: str, value: Tensor, *, least: int = 1) -> None:
    """Raise unless a tensor has at least so many rows.

    Args:
        name: Name of the argument, for the error.
        value: The tensor; its first axis counts the rows.
        least: Smallest number of rows that will do.

    Raises:
        ValueError: fewer rows.
    """
    if len(value) < least:
        rows = "row" if least == 1 else "rows"
        raise ValueError(f"`{name}` must have at least {least} {rows}; got {len(value)}")


def check_weights(name: str, value: Tensor, axes: str, **sizes: int) -> None:
    """Raise unless a tensor holds weights: finite, none below 0, not all of them 0.

    Args:
        name: Name of the argument, for the error.
        value: The tensor.
        axes: Its axis letters, as in `check_shape`.
        **sizes: Size that an axis must have, by its letter.

    Raises:
        ValueError: another shape; an entry that is not finite; a negative one; all 0.
    """
    check_shape(name, value, axes, **sizes)
    check_finite(name, value)
    low = float(value.min())
    if low < 0:
        raise ValueError(f"`{name}` must not be negative; got {low:g} at {int(value.argmin())}")
    if not bool((value > 0).any()):
        raise ValueError(f"`{name}` must have a positive entry; all {value.numel()} are 0")


def check_indices(name: str, value: Sequence[int], size: int) -> None:
    """Raise unless the numbers are distinct indices of an axis of this size.

    Args:
        name: Name of the argument, for the error.
        value: The indices.
        size: Size of the axis; negative indices are not taken.

    Raises:
        ValueError: an index outside the axis; one given twice.
    """
    for index in value:
        if not 0 <= index < size:
            raise ValueError(f"`{name}` must be indices from 0 to {size - 1}; got {index}")
    if len(set(value)) < len(value):
        raise ValueError(f"`{name}` must be distinct indices; got {tuple(value)}")
