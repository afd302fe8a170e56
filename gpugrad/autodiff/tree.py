"""Nested structures of arrays, flattened and rebuilt. Imports foreign and errors.

Dicts, lists, tuples, named tuples and dataclass instances are structure; Tensors, raw arrays
and numbers are leaves. Anything else (None, booleans, strings, functions) is a constant of the
structure.
"""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpugrad.autodiff.foreign import is_array, is_labelled, unlabelled
from gpugrad.errors import ShapeError

__all__ = ["LEAF", "Tree", "flatten", "matching", "unflatten"]


class Tree:
    """A structure without its leaves.

    Two are equal where containers, keys and constants are equal.
    """

    __slots__ = ("children", "keys", "model", "type")

    def __init__(
        self,
        type: Any,
        keys: tuple[Any, ...] = (),
        children: tuple["Tree", ...] = (),
        model: Any = None,
    ) -> None:
        self.type = type
        self.keys = keys
        self.children = children
        self.model = model  # a dataclass instance, dict of another class or constant to copy

    @property
    def is_leaf(self) -> bool:
        """Whether it is a leaf alone."""
        return self.type is _LEAF

    @property
    def is_constant(self) -> bool:
        """Whether it is a constant, ``model``."""
        return self.type is _CONSTANT

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        if self.type is not other.type or self.keys != other.keys:
            return False
        if self.type is _CONSTANT:
            return self.model is other.model or bool(self.model == other.model)
        return self.children == other.children

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.type is _LEAF:
            return "*"
        if self.type is _CONSTANT:
            return repr(self.model)
        if issubclass(self.type, dict):
            inside = ", ".join(f"{key!r}: {child}" for key, child in zip(self.keys, self.children))
            return f"{{{inside}}}"
        if self.type is list:
            return f"[{', '.join(map(repr, self.children))}]"
        if self.type is tuple:
            return f"({', '.join(map(repr, self.children))}{',' * (len(self.children) == 1)})"
        inside = ", ".join(f"{key}={child}" for key, child in zip(self.keys, self.children))
        return f"{self.type.__name__}({inside or ', '.join(map(repr, self.children))})"

    def paths(self, start: str = "") -> Iterator[str]:
        """The path to each leaf, as Python writes it: ``['w'][0]``, ``.bias``."""
        return (path for path, part in self._parts(start) if part.type is _LEAF)

    def constants(self, start: str = "") -> Iterator[tuple[str, Any]]:
        """The path to each constant, and the constant."""
        return ((path, part.model) for path, part in self._parts(start) if part.type is _CONSTANT)

    def _parts(self, start: str) -> Iterator[tuple[str, "Tree"]]:
        """The leaves and constants, each with its path."""
        if self.type in (_LEAF, _CONSTANT):
            yield start, self
        for index, child in enumerate(self.children):
            if not self.keys:
                step = f"[{index}]"
            elif issubclass(self.type, dict):
                step = f"[{self.keys[index]!r}]"
            else:
                step = f".{self.keys[index]}"
            yield from child._parts(start + step)


_LEAF = object()
_CONSTANT = object()
LEAF = Tree(_LEAF)


def flatten(value: Any, labelled: bool = False, flags: bool = False) -> tuple[list[Any], Tree]:
    """The leaves of a structure, in order, and the structure without them.

    With ``labelled``, labelled arrays (a pandas Series) are leaves, too, with ``flags`` booleans.

    >>> flatten({"w": [1.0, 2.0], "name": "layer"})
    ([1.0, 2.0], {'w': [*, *], 'name': 'layer'})
    """
    leaves: list[Any] = []
    return leaves, _flatten(value, leaves, labelled, flags)


def _flatten(value: Any, leaves: list[Any], labelled: bool, flags: bool) -> Tree:
    cls = type(value)
    plain = cls is tuple or cls is list or cls is dict
    is_flag = flags and cls is bool
    if not plain and (is_flag or is_array(value) or (labelled and is_labelled(value))):
        leaves.append(value)
        return LEAF
    if isinstance(value, dict):
        keys, items = tuple(value), list(value.values())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        keys, items = tuple(value._fields), list(value)
    elif cls is list or cls is tuple:
        keys, items = (), list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = tuple(field.name for field in dataclasses.fields(value))
        items = [getattr(value, key) for key in keys]
    else:
        return Tree(_CONSTANT, model=value)
    # Only a container that has to be copied is kept: it holds the leaves.
    model = None if cls in (list, dict) or isinstance(value, tuple) else value
    parts = tuple(_flatten(item, leaves, labelled, flags) for item in items)
    return Tree(cls, keys, parts, model)


def unflatten(tree: Tree, leaves: Iterable[Any]) -> Any:
    """The structure with other leaves.

    >>> leaves, tree = flatten(({"a": 1.0}, 2.0))
    >>> unflatten(tree, ["x", "y"])
    ({'a': 'x'}, 'y')
    """
    return _unflatten(tree, iter(leaves))


def _unflatten(tree: Tree, leaves: Iterator[Any]) -> Any:
    cls = tree.type
    if cls is _LEAF:
        return next(leaves)
    if cls is _CONSTANT:
        return tree.model
    items = [_unflatten(child, leaves) for child in tree.children]
    if cls is list:
        return items
    if cls is tuple:
        return tuple(items)
    if issubclass(cls, tuple):
        return cls._make(items)
    if cls is dict:
        return dict(zip(tree.keys, items))
    container = copy.copy(tree.model)
    if issubclass(cls, dict):
        container.update(zip(tree.keys, items))
    else:  # a dataclass, frozen or with fields that __init__ does not take
        for key, item in zip(tree.keys, items):
            object.__setattr__(container, key, item)
    return container


def matching(who: str, what: str, value: Any, tree: Tree, shapes: Sequence[Any]) -> list[Any]:
    """The leaves of a value; ShapeError where its structure or the leaves' shapes differ."""
    leaves, own = flatten(value, labelled=True)
    if own != tree:
        raise ShapeError(f"{who}: expected {what} of the structure {tree}, got {own}")
    for leaf, shape, path in zip(leaves, shapes, own.paths()):
        got = tuple(getattr(leaf, "shape", ()))
        if got != tuple(shape):
            raise ShapeError(
                f"{who}: expected {what}{path and ' at ' + path} of shape {tuple(shape)}, got {got}"
            )
    return [unlabelled(f"{who}: {what}", leaf) for leaf in leaves]
