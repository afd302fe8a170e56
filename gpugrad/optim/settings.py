"""Checks of an optimizer's and a schedule's settings. Imports errors.

Each takes the name under which an error names the setting, and returns it in its plain form.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from gpugrad.engine.messages import is_whole
from gpugrad.errors import DTypeError

__all__ = [
    "choice", "count", "flag", "number", "of_group", "per_group", "setting", "settings_of",
]  # fmt: skip


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


def flag(who: str, value: Any) -> bool:
    """True or False; DTypeError for anything else."""
    if not isinstance(value, bool):
        raise DTypeError(f"{who} must be True or False, got {value!r}")
    return value


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


def several(who: str, value: Any, length: int, low: float, high: float) -> tuple[float, ...]:
    """Some numbers in [low, high) as a tuple."""
    if not isinstance(value, tuple | list) or len(value) != length:
        raise DTypeError(f"{who} must be {('two', 'three')[length - 2]} numbers, got {value!r}")
    return tuple(number(f"{who}[{i}]", x, low, high) for i, x in enumerate(value))


def setting(who: str, value: Any, kind: Any, low: float, high: float) -> Any:
    """A value in the plain form of the type that a setting is declared with.

    Numbers are in [low, high), counts from 1; other types are for the optimizer to check.
    """
    if kind is bool:
        return flag(who, value)
    if kind is int:
        return count(who, value)
    if kind is float:
        return number(who, value, low, high)
    if get_origin(kind) is tuple:
        return several(who, value, len(get_args(kind)), low, high)
    return value


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's settings among ``locals()`` of its ``__init__``."""
    others = ("self", "params", "__class__")
    return {name: value for name, value in arguments.items() if name not in others}
