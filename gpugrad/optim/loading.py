"""Checks a state of an optimizer before it is loaded. Imports tensor and below, and `apply`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.optim.apply import MASTER, working_dtype
from gpugrad.optim.settings import number
from gpugrad.tensor import Tensor

__all__ = ["loaded_array", "loaded_groups", "loaded_states", "parts"]

Group = dict[str, Any]
# A scheduler adds the first; the others came later than the first saved states.
OPTIONAL = {"initial_lr", MASTER, "maximize", "amsgrad", "decoupled_weight_decay"}


def parts(who: str, state_dict: Any) -> tuple[list[Any], dict[Any, Any]]:
    """The groups and the states, of the types of a state dict."""
    if isinstance(state_dict, Mapping):
        groups: Any = state_dict.get("param_groups")
        states = state_dict.get("state")
        valid = isinstance(groups, list | tuple) and all(map(_is_group, groups))
        if valid and isinstance(states, Mapping):
            return list(groups), dict(states)
    raise ValueError(
        f"{who}: expected a dict with 'state' and 'param_groups', as state_dict() returns"
    )


def _is_group(group: Any) -> bool:
    return isinstance(group, Mapping) and isinstance(group.get("params"), list | tuple)


def loaded_groups(
    who: str, state_dict: Any, current: Sequence[Group], check: Callable[[Group], None]
) -> list[Group]:
    """The settings of a state's groups, with the parameters of the optimizer's.

    The initial rate of a schedule is left to a group that has one: a schedule that is made later
    goes on from the loaded rate.
    """
    groups, _ = parts(who, state_dict)
    sizes = [len(group["params"]) for group in current]
    if (saved_sizes := [len(group["params"]) for group in groups]) != sizes:
        raise ValueError(
            f"{who}: this optimizer has groups of {sizes} parameters, the state is of groups "
            f"of {saved_sizes}"
        )
    loaded = []
    for own, group in zip(current, groups):
        if differ := sorted(map(str, (set(group) ^ set(own)) - OPTIONAL)):
            raise ValueError(
                f"{who}: the settings {differ} are in only one of the two. Is it the state of "
                "an optimizer of another class?"
            )
        settings = {**own, **{k: v for k, v in group.items() if k in own}, "params": own["params"]}
        check(settings)
        loaded.append(settings)
    return loaded


def loaded_states(
    who: str,
    state_dict: Any,
    groups: Sequence[Group],
    names_of: Callable[[Group], tuple[str, ...]],
    counted: Sequence[str],
) -> dict[Tensor, dict[str, Any]]:
    """The state of each parameter of the groups: numbers, and copies of arrays on its device.

    ``counted`` names the numbers that each state must have, first its number of steps.
    """
    saved_groups, saved = parts(who, state_dict)
    numbers = [number for group in saved_groups for number in group["params"]]
    if not all(type(number) is int for number in numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(f"{who}: the parameters of the groups must be different whole numbers")
    entries: dict[Tensor, dict[str, Any]] = {}
    coming = iter(numbers)
    for group in groups:
        names = names_of(group)
        for p in group["params"]:
            index = next(coming)
            if index in saved:
                what = f"{who}: %s of parameter {index}"
                entries[p] = _entry(what, saved.pop(index), p, names, counted)
    if saved:
        raise ValueError(f"{who}: the state has unknown parameters: {sorted(saved, key=str)}")
    return entries


def _entry(
    what: str, saved: Any, p: Tensor, names: tuple[str, ...], counted: Sequence[str]
) -> dict[str, Any]:
    if not isinstance(saved, Mapping) or not all(isinstance(name, str) for name in saved):
        raise ValueError(f"{what % 'the state'} is no dict of numbers and arrays by name")
    step = saved.get("step")
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or not 0 <= step < 2**63:
        raise ValueError(f"{what % 'the state'} has no number of steps, but step={step!r}")
    numbers = {name: number(what % name, saved.get(name)) for name in counted[1:]}
    missing = [name for name in names if name not in saved]
    if missing and len(missing) < len(names):
        raise ValueError(f"{what % 'the state'} has no {missing[0]}")
    arrays = (*names, MASTER)
    entry = {
        name: _value(what % name, x, p.data, name in arrays)
        for name, x in saved.items()
        if name not in counted
    }
    return {"step": int(step), **numbers, **entry}


def _value(what: str, value: Any, p: Any, is_array: bool) -> Any:
    """A number, or a copy of an array on the parameter's device."""
    if isinstance(value, int | float) and not is_array:
        return value
    expected = "an array" if is_array else "a number or an array"
    return loaded_array(what, value, p, "the parameter", expected)


def loaded_array(what: str, value: Any, like: Any, whose: str, expected: str = "an array") -> Any:
    """A copy of an array, which must be like another, on the device of that."""
    if isinstance(value, Tensor):
        value = value.data
    try:
        device_of(value)
    except DTypeError:
        raise DTypeError(f"{what} is a {type(value).__name__}; expected {expected}") from None
    if value.shape != like.shape:
        raise ShapeError(f"{what} has shape {tuple(value.shape)}, {whose} {like.shape}")
    dtype = working_dtype(like.dtype)
    if not np.can_cast(value.dtype, dtype, "same_kind"):
        raise DTypeError(f"{what} is an array of {value.dtype}, {whose} has {like.dtype}")
    where = device_of(like)
    with where.activate():
        return where.send(value).astype(dtype)
