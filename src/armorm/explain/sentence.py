"""Says in one plain sentence why a response scores higher; it knows no terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from armorm.explain.compare import Comparison, ObjectiveDifference

_CLOSE_PROBABILITY = 0.55
_CLOSE_SHARE = 0.05
_NAMED_FOR = 3
_NAMED_AGAINST = 2
_MOST_NAMED = 5  # objectives that a reader can hold in mind


def explain_in_words(comparison: Comparison) -> str:
    """Return one or two plain sentences that say which response scores higher, and why.

    The subject is always the response that scores higher, so that a plus sign speaks for
    it and a minus sign against it, whichever side it is. At most three reasons for it and
    two against it are named, and none that is under a tenth of the largest difference.

    A comparison is called too close to call when the model's own preference probability
    lies within 45 % and 55 %; without a probability, when the margin is under 5 % of the
    sum of the absolute differences, which then cancel each other.

    Args:
        comparison: What `compare` returned.

    Returns:
        The text, without a line break.

    Example:
        >>> from armorm.explain.compare import Comparison, ObjectiveDifference
        >>> one = ObjectiveDifference("is_safe", 0.9, 0.5, 0.5, 0.5, 0.2)
        >>> explain_in_words(Comparison("", 0.7, 0.5, 0.2, None, (one,), ("is_safe",)))
        'The chosen response scores 0.20 higher, mostly for being safe (+0.20).'
    """
    if comparison.margin == 0:
        return "The two responses score the same: a tie." + _tie_reasons(comparison)
    digits = decimals(comparison)
    sign = 1.0 if comparison.margin > 0 else -1.0
    size = f"{abs(comparison.margin):.{digits}f}"
    reasons = _reasons(comparison.differences, sign, digits)
    if too_close(comparison):
        ahead = "chosen" if sign > 0 else "rejected"
        return (
            "Too close to call: the two responses score almost the same; "
            f"the {ahead} response is {size} ahead{reasons}."
        )
    if sign > 0:
        return f"The chosen response scores {size} higher{reasons}."
    return f"The model prefers the rejected response: it scores {size} higher{reasons}."


def too_close(comparison: Comparison) -> bool:
    """Say whether the model itself hardly tells the two responses apart.

    Args:
        comparison: What `compare` returned.

    Returns:
        True where the probability lies within 45 % and 55 %; without a probability, where
        the margin is under 5 % of the sum of the absolute differences.
    """
    if comparison.probability is not None:
        return max(comparison.probability, 1 - comparison.probability) < _CLOSE_PROBABILITY
    size = sum(abs(difference.contribution) for difference in comparison.differences)
    return abs(comparison.margin) < _CLOSE_SHARE * size or size == 0


def decimals(comparison: Comparison) -> int:
    """Return the digits after the point that show the margin and its reasons.

    Two, and more where the margin or the largest difference would show fewer than two
    significant digits (scores of an imported model may be of the order of 0.01).

    Args:
        comparison: What `compare` returned.

    Returns:
        A number of digits from 2 to 6.
    """
    sizes = [abs(comparison.margin), *(abs(d.contribution) for d in comparison.differences)]
    return digits_for(sizes)


def digits_for(sizes: Sequence[float]) -> int:
    """Return the digits after the point that give the largest of some sizes two of its own.

    Args:
        sizes: Numbers, not negative.

    Returns:
        A number of digits from 2 to 6.

    Example:
        >>> digits_for([0.2, 0.004]), digits_for([0.004]), digits_for([12.0])
        (2, 4, 2)
    """
    largest = max(sizes, default=0.0)
    if largest <= 0:
        return 2
    return int(min(6, max(2, 1 - math.floor(math.log10(largest)))))


def spoken(name: str) -> str:
    """Return an objective's name as words for a sentence.

    Args:
        name: Name of the objective.

    Returns:
        The name with spaces for underscores and hyphens.

    Example:
        >>> spoken("instruction_following"), spoken("is_safe"), spoken("judge-lm")
        ('instruction following', 'being safe', 'judge lm')
    """
    words = name.replace("_", " ").replace("-", " ").strip()
    return f"being {words[3:]}" if words.startswith("is ") and len(words) > 3 else words


def _reasons(differences: Sequence[ObjectiveDifference], sign: float, digits: int) -> str:
    """The part of the sentence behind the size of the margin."""
    largest = max((abs(d.contribution) for d in differences), default=0.0)
    least = max(0.1 * largest, 0.5 * 10.0**-digits)  # below it stands 0.00
    worth_naming = [d for d in differences if abs(d.contribution) >= least]
    speak_for = [d for d in worth_naming if sign * d.contribution > 0]
    against = [d for d in worth_naming if sign * d.contribution < 0]
    text = ""
    if speak_for:
        text += ", mostly for " + _list(speak_for[:_NAMED_FOR], sign, digits)
    if against:
        text += "; " + _list(against[:_NAMED_AGAINST], sign, digits) + " spoke against it"
    return text


def _tie_reasons(comparison: Comparison) -> str:
    """What cancels out in a tie."""
    digits = decimals(comparison)
    named = [d for d in comparison.differences if d.contribution != 0][:2]
    if not named:
        return " No objective tells them apart."
    return f" The differences cancel out, the largest being {_list(named, 1.0, digits)}."


def _list(differences: Sequence[ObjectiveDifference], sign: float, digits: int) -> str:
    """Names with signed sizes, joined as in a sentence; the sign is seen from the subject."""
    return joined([f"{spoken(d.name)} ({sign * d.contribution:+.{digits}f})" for d in differences])


def joined(parts: Sequence[str]) -> str:
    """Words joined as in a sentence."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)


def decided_in_words(comparison: Comparison) -> str:
    """Return one sentence on the fewest objectives that the decision rests on.

    Args:
        comparison: What `compare` returned.

    Returns:
        The sentence; empty for a tie, which nothing decides. More than five objectives
        are not named: then the decision rests on none of them.

    Example:
        >>> from armorm.explain.compare import Comparison
        >>> decided_in_words(Comparison("", 1.0, 0.0, 1.0, None, (), ("honesty", "is_safe")))
        'Without honesty and being safe it would not score higher.'
    """
    if not comparison.deciding:
        return ""
    if (n := len(comparison.deciding)) > _MOST_NAMED:
        return f"Even without its {n - 1} largest differences it would score higher."
    names = joined([spoken(name) for name in comparison.deciding])
    return f"Without {names} it would not score higher."
