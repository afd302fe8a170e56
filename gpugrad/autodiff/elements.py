"""A function of NumPy's arrays under `vmap`: called for one element after the other.

So a `gpugrad.custom_op` with ``host=True``, which knows nothing of a hidden axis, is computed.
Imports batching, backend and rules.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gpugrad.autodiff.rules import map_values
from gpugrad.backend.namespace import namespace_of
from gpugrad.batching import Batched, level_of, wrapped

__all__ = ["are_batched", "for_each_element"]

Group = Sequence[Any] | dict[str, Any]


def are_batched(*groups: Group) -> bool:
    """Whether there is a raw array with a hidden axis in some lists and dicts."""
    return any(isinstance(value, Batched) for value in _values(groups))


def for_each_element(compute: Callable[..., Sequence[Any]], *groups: Group) -> list[Any]:
    """The results of ``compute(*groups)``, of which some arrays have a hidden axis.

    It is called with the arrays of each element of the highest level, and returns arrays or None.
    Of a batch of no elements it gets zeros, for the shapes of its results.
    """
    values = list(_values(groups))
    level = max(map(level_of, values))
    size = next(value.array.shape[0] for value in values if level_of(value) == level)

    def part(number: int, value: Any) -> Any:
        if level_of(value) != level:
            return value
        array = value.array
        if size:
            return array[number, ...]
        return namespace_of(array).zeros_like(array, shape=array.shape[1:])

    results = [
        compute(*[map_values(group, partial(part, number)) for group in groups])
        for number in range(max(size, 1))
    ]
    return [
        None if parts[0] is None else wrapped(namespace_of(parts[0]).stack(parts)[:size], level)
        for parts in zip(*results, strict=True)
    ]


def _values(groups: Sequence[Group]) -> Iterator[Any]:
    for group in groups:
        yield from group.values() if isinstance(group, dict) else group
