"""Lists and dicts of parts: `ModuleList`, `ModuleDict`, `ParameterList`, `ParameterDict`.

Plain lists and dicts of modules and parameters are found as well; these have PyTorch's names and
methods, and name their parts as its do: "0.weight", "first.weight". Imports `module`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, Self

from gpugrad.errors import DTypeError
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.nn.settings import forget_settings

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList"]


class _Parts(Module):
    """What the four share: they hold parts of one kind, and are not called."""

    def _checked(self, part: Any) -> Any:
        """The part to hold; DTypeError for another kind."""
        if not isinstance(part, Module):
            made = f". Did you mean {part.__name__}(...)?" if isinstance(part, type) else ""
            raise DTypeError(
                f"{type(self).__name__}: expected a Module, got {type(part).__name__}{made}"
            )
        return part

    def forward(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"{type(self).__name__} is not called: it holds parts. Call them, or take "
            "gg.nn.Sequential"
        )

    @staticmethod
    def _as_parameter(part: Any) -> Parameter:
        return part if isinstance(part, Parameter) else Parameter(part)


class _List(_Parts):
    """A list of parts."""

    def __init__(self, parts: Any = ()) -> None:
        if isinstance(parts, Module) and not isinstance(parts, _List):
            raise DTypeError(
                f"{type(self).__name__}: expected a list, got one {type(parts).__name__}. Write "
                f"{type(self).__name__}([...])"
            )
        self._held: list[Any] = []
        self.extend(parts)

    def append(self, part: Any) -> Self:
        """Add one at the end; returns the list itself."""
        forget_settings(self)
        self._held.append(self._checked(part))
        return self

    def extend(self, parts: Iterable[Any]) -> Self:
        """Add several at the end; returns the list itself."""
        forget_settings(self)
        self._held.extend([self._checked(part) for part in parts])
        return self

    def insert(self, index: int, part: Any) -> None:
        """Add one before the index."""
        forget_settings(self)
        self._held.insert(index, self._checked(part))

    def pop(self, index: int = -1) -> Any:
        """Take one out, by default the last."""
        forget_settings(self)
        return self._held.pop(index)

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        return ((str(index), part) for index, part in enumerate(self._held))

    def __getitem__(self, index: Any) -> Any:
        found = self._held[index]
        return type(self)(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, part: Any) -> None:
        forget_settings(self)
        self._held[index] = self._checked(part)

    def __delitem__(self, index: Any) -> None:
        forget_settings(self)
        del self._held[index]

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._held)

    def __add__(self, other: Iterable[Any]) -> Self:
        return type(self)([*self._held, *other])

    def __iadd__(self, other: Iterable[Any]) -> Self:
        return self.extend(other)


class ModuleList(_List):
    """A list of modules, whose parts are named "0.weight" and so on.

    It has the methods of a list: ``append``, ``extend``, ``insert``, ``pop``, indices, slices, +.
    DTypeError for anything that is no Module.

    >>> import gpugrad as gg
    >>> layers = gg.nn.ModuleList([gg.nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers), [name for name, _ in layers[1:].named_parameters()]
    (3, ['0.weight', '0.bias', '1.weight', '1.bias'])
    """


class ParameterList(_List):
    """A list of parameters, named "0" and so on; other tensors and arrays become Parameters.

    >>> import gpugrad as gg
    >>> weights = gg.nn.ParameterList([gg.ones(2), gg.zeros(3)])
    >>> [(name, p.shape) for name, p in weights.named_parameters()]
    [('0', (2,)), ('1', (3,))]
    """

    def _checked(self, part: Any) -> Any:
        return self._as_parameter(part)


class _Dict(_Parts):
    """A dict of parts with texts as keys."""

    def __init__(self, parts: Any = ()) -> None:
        self._held: dict[str, Any] = {}
        self.update(parts)

    def update(self, parts: Any) -> None:
        """Add those of a dict, or of pairs of a key and a part."""
        for key, part in parts.items() if isinstance(parts, Mapping | _Dict) else parts:
            self[key] = part

    def pop(self, key: str) -> Any:
        """Take one out; KeyError where there is none."""
        forget_settings(self)
        return self._held.pop(key)

    def clear(self) -> None:
        """Take all out."""
        forget_settings(self)
        self._held.clear()

    def keys(self) -> Iterable[str]:
        """The keys, in the order in which they were set."""
        return self._held.keys()

    def values(self) -> Iterable[Any]:
        """The parts, in the order in which they were set."""
        return self._held.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Keys and parts, in the order in which they were set."""
        return self._held.items()

    def get(self, key: str, default: Any = None) -> Any:
        """The part of a key, or the default where there is none."""
        return self._held.get(key, default)

    def _attributes(self) -> Iterable[tuple[str, Any]]:
        return self._held.items()

    def __getitem__(self, key: str) -> Any:
        return self._held[key]

    def __setitem__(self, key: str, part: Any) -> None:
        if not isinstance(key, str) or not key or "." in key:
            raise ValueError(
                f"{type(self).__name__}: a key is a text without dots, since names of parts are "
                f"joined by them; got {key!r}"
            )
        forget_settings(self)
        self._held[key] = self._checked(part)

    def __delitem__(self, key: str) -> None:
        forget_settings(self)
        del self._held[key]

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __contains__(self, key: Any) -> bool:
        return key in self._held


class ModuleDict(_Dict):
    """A dict of modules, whose parts are named "key.weight".

    ``ModuleDict({"a": layer})`` or pairs; it has the methods of a dict. DTypeError for anything
    that is no Module, ValueError for a key that is no text or has a dot.

    >>> import gpugrad as gg
    >>> heads = gg.nn.ModuleDict({"mean": gg.nn.Linear(2, 1)})
    >>> [name for name, _ in heads.named_parameters()], "mean" in heads
    (['mean.weight', 'mean.bias'], True)
    """


class ParameterDict(_Dict):
    """A dict of parameters, named by their keys; other tensors and arrays become Parameters.

    >>> import gpugrad as gg
    >>> weights = gg.nn.ParameterDict({"slope": gg.ones(2)})
    >>> [(name, p.shape) for name, p in weights.named_parameters()]
    [('slope', (2,))]
    """

    def _checked(self, part: Any) -> Any:
        return self._as_parameter(part)
