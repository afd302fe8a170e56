"""Nested structures of arrays, taken apart and put together again. Imports backend and tensor.

Dicts, lists, tuples, named tuples and dataclass instances are structure; Tensors, raw arrays
and numbers are leaves. Anything else (None, booleans, strings, functions) is neither: it stays
in the structure as it is.
"""

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.tensor import Tensor

__all__ = ["LEAF", "Tree", "flatten", "is_leaf", "matching", "unflatten"]


class Tree:
    """The shape of a structure, with a place for each leaf.

    Two are equal where containers, keys and constants are, whatever the leaves are.
    """

    __slots__ = ("children", "keys", "kind", "model")

    def __init__(
        self,
        kind: Any,
        keys: tuple[Any, ...] = (),
        children: tuple["Tree", ...] = (),
        model: Any = None,
    ) -> None:
        self.kind = kind
        self.keys = keys
        self.children = children
        self.model = model  # a dataclass instance, dict of another class or constant to copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        if self.kind is not other.kind or self.keys != other.keys:
            return False
        if self.kind is _CONSTANT:
            return self.model is other.model or bool(self.model == other.model)
        return self.children == other.children

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if self.kind is _LEAF:
            return "*"
        if self.kind is _CONSTANT:
            return repr(self.model)
        if issubclass(self.kind, dict):
            inside = ", ".join(f"{key!r}: {child}" for key, child in zip(self.keys, self.children))
            return f"{{{inside}}}"
        if self.kind is list:
            return f"[{', '.join(map(repr, self.children))}]"
        if self.kind is tuple:
            return f"({', '.join(map(repr, self.children))}{',' * (len(self.children) == 1)})"
        inside = ", ".join(f"{key}={child}" for key, child in zip(self.keys, self.children))
        return f"{self.kind.__name__}({inside or ', '.join(map(repr, self.children))})"

    def paths(self, start: str = "") -> Iterator[str]:
        """Where each leaf is, as it would be written: ``['w'][0]``, ``.bias``."""
        if self.kind is _LEAF:
            yield start
        for index, child in enumerate(self.children):
            if self.keys and not issubclass(self.kind, dict):
                step = f".{self.keys[index]}"
            else:
                step = f"[{self.keys[index] if self.keys else index!r}]"
                if self.keys:
                    step = f"[{self.keys[index]!r}]"
            yield from child.paths(start + step)


_LEAF = object()
_CONSTANT = object()
LEAF = Tree(_LEAF)


def is_leaf(value: Any) -> bool:
    """Whether a value is a Tensor, a raw array or a number."""
    if isinstance(value, Tensor):
        return True
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, str | list | tuple | dict):
        return False
    try:
        namespace_of(value)
    except DTypeError:
        return False
    return True


def flatten(value: Any) -> tuple[list[Any], Tree]:
    """The leaves of a structure, in order, and the structure without them.

    >>> flatten({"w": [1.0, 2.0], "name": "layer"})
    ([1.0, 2.0], {'w': [*, *], 'name': 'layer'})
    """
    leaves: list[Any] = []
    return leaves, _taken_apart(value, leaves)


def _taken_apart(value: Any, leaves: list[Any]) -> Tree:
    kind = type(value)
    if is_leaf(value):
        leaves.append(value)
        return LEAF
    if isinstance(value, dict):
        keys, items = tuple(value), list(value.values())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        keys, items = tuple(value._fields), list(value)
    elif kind is list or kind is tuple:
        keys, items = (), list(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        keys = tuple(field.name for field in dataclasses.fields(value))
        items = [getattr(value, key) for key in keys]
    else:
        return Tree(_CONSTANT, model=value)
    # What is made anew from its kind is not kept: it holds the leaves.
    model = None if kind in (list, dict) or isinstance(value, tuple) else value
    return Tree(kind, keys, tuple(_taken_apart(item, leaves) for item in items), model)


def unflatten(tree: Tree, leaves: Iterable[Any]) -> Any:
    """A structure with other leaves in the places of the first.

    >>> leaves, tree = flatten(({"a": 1.0}, 2.0))
    >>> unflatten(tree, ["x", "y"])
    ({'a': 'x'}, 'y')
    """
    return _put_together(tree, iter(leaves))


def _put_together(tree: Tree, leaves: Iterator[Any]) -> Any:
    kind = tree.kind
    if kind is _LEAF:
        return next(leaves)
    if kind is _CONSTANT:
        return tree.model
    items = [_put_together(child, leaves) for child in tree.children]
    if kind is list:
        return items
    if kind is tuple:
        return tuple(items)
    if issubclass(kind, tuple):
        return kind._make(items)
    if kind is dict:
        return dict(zip(tree.keys, items))
    made = copy.copy(tree.model)
    if issubclass(kind, dict):
        made.update(zip(tree.keys, items))
    else:  # a dataclass, frozen or with fields that __init__ does not take
        for key, item in zip(tree.keys, items):
            object.__setattr__(made, key, item)
    return made


def matching(who: str, what: str, value: Any, tree: Tree, shapes: Sequence[Any]) -> list[Any]:
    """The leaves of a structure that must be like another; ShapeError where it is not."""
    leaves, own = flatten(value)
    if own != tree:
        raise ShapeError(f"{who}: expected {what} of the structure {tree}, got {own}")
    for leaf, shape, path in zip(leaves, shapes, own.paths()):
        given = tuple(getattr(leaf, "shape", ()))
        if given != tuple(shape):
            raise ShapeError(
                f"{who}: expected {what}{path and ' at ' + path} of shape {tuple(shape)}, got "
                f"{given}"
            )
    return leaves
