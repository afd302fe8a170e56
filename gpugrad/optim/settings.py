"""Checks of an optimizer's and a schedule's settings. Imports errors.

Each takes the name under which an error names the setting, and returns it in its plain form.
"""

import math
import numbers
from collections.abc import Sequence
from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import DTypeError

__all__ = [
    "check_betas", "check_flags", "check_numbers", "check_pair", "choice", "count", "number",
    "of_group", "per_group",
]  # fmt: skip

Group = dict[str, Any]


def number(who: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high) as a float; DTypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise DTypeError(f"{who} must be a number, got {value!r}")
    try:
        result = float(value)
    except OverflowError:  # a whole number of over 308 digits
        result = math.inf if value > 0 else -math.inf  # type: ignore[operator]
    if not (low <= result < high and math.isfinite(result)):
        end = "" if high == math.inf else f" and below {high:g}"
        raise ValueError(f"{who} must be at least {low:g}{end}, got {result!r}")
    return result


def count(who: str, value: Any, least: int = 1) -> int:
    """A whole number from ``least``; DTypeError or ValueError for anything else."""
    if not is_whole(value):
        raise DTypeError(f"{who} must be a whole number, got {value!r}")
    if not least <= value < 2**63:
        raise ValueError(f"{who} must be at least {least} and below 2**63, got {value}")
    return int(value)


def choice(who: str, value: Any, *choices: str) -> str:
    """One of some words; ValueError for anything else."""
    if not isinstance(value, str) or value not in choices:
        known = " or ".join(map(repr, choices))
        raise ValueError(f"{who} must be {known}, got {value!r}")
    return value


def per_group(
    who: str, value: Any, groups: int, high: float = math.inf
) -> float | tuple[float, ...]:
    """A number from 0 for all groups of an optimizer, or one for each."""
    if not isinstance(value, list | tuple):
        return number(who, value, 0.0, high)
    if len(value) != groups:
        raise ValueError(f"{who} has {len(value)} numbers for {groups} groups")
    return tuple(number(who, x, 0.0, high) for x in value)


def of_group(who: str, value: float | Sequence[float], group: int) -> float:
    """What `per_group` has for a group, which may have been added since."""
    if isinstance(value, float):
        return value
    if group >= len(value):
        raise ValueError(f"{who} has no number for group {group}, which was added since")
    return value[group]


def check_numbers(
    who: str, group: Group, *keys: str, low: float = 0.0, high: float = math.inf
) -> None:
    """Make floats of the settings ``keys`` of a group, which lie in [low, high)."""
    for key in keys:
        group[key] = number(f"{who}: {key}", group[key], low, high)


def check_flags(who: str, group: Group, *keys: str) -> None:
    """Raise where one of the settings ``keys`` of a group is neither True nor False."""
    for key in keys:
        if not isinstance(group[key], bool):
            raise DTypeError(f"{who}: {key} must be True or False, got {group[key]!r}")


def check_pair(who: str, group: Group, key: str) -> tuple[Any, Any]:
    """The two values of a setting that is a pair."""
    pair = group[key]
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DTypeError(f"{who}: {key} must be two numbers, got {pair!r}")
    return pair[0], pair[1]


def check_betas(who: str, group: Group) -> None:
    """Make a tuple of floats of a group's ``betas``, which lie in [0, 1)."""
    pair = check_pair(who, group, "betas")
    group["betas"] = tuple(
        number(f"{who}: betas[{i}]", beta, 0.0, 1.0) for i, beta in enumerate(pair)
    )
