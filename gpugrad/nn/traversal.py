"""Finds the parts of a module by traversing its attributes. Imports tensor.

Nothing is registered. The parts of a module are the tensors, modules, and lists, tuples and dicts
of these among its attributes, in the order in which they were set.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from gpugrad.nn.parameter import Parameter
from gpugrad.tensor import Tensor

__all__ = ["Part", "direct_parts", "is_buffer", "is_parameter", "items", "parts"]

# The dotted name of a tensor or a module, the object, and whether the traversal enters it (True)
# or, for a module, leaves it (False).
Part = tuple[str, Any, bool]


def is_parameter(part: Any) -> bool:
    """A Parameter, frozen or not, or any other leaf that requires a gradient."""
    return isinstance(part, Parameter) or (
        isinstance(part, Tensor) and part.requires_grad and part.is_leaf
    )


def is_buffer(part: Any) -> bool:
    """A tensor that belongs to the state and is not learned."""
    return isinstance(part, Tensor) and not part.requires_grad and not isinstance(part, Parameter)


def items(thing: Any, modules: type[Any]) -> Iterable[tuple[Any, Any]] | None:
    """The names and values inside a module or a container; None for anything else."""
    if isinstance(thing, modules):
        return thing._attributes()
    if isinstance(thing, dict):
        return thing.items()
    if isinstance(thing, list | tuple):
        return enumerate(thing)
    return None


def parts(root: Any, modules: type[Any], *, deep: bool = True) -> Iterator[Part]:
    """The tensors and modules in ``root``, and root itself, each once.

    Depth first, in the order of the attributes. A part that is reached in several ways has
    the first name. With ``deep`` false, submodules are not entered.
    """
    # By identity, not equality: modules may define equality, and lists have no hash.
    # Root keeps all of them alive, so no identity is used twice.
    seen = {id(root)}
    yield "", root, True
    stack = [("", "", root, iter(items(root, modules) or ()))]
    while stack:
        name, prefix, thing, rest = stack[-1]
        for key, value in rest:
            tensor = isinstance(value, Tensor)
            inside = None if tensor else items(value, modules)
            if (not tensor and inside is None) or id(value) in seen:
                continue
            seen.add(id(value))
            below = f"{prefix}{key}"
            module = isinstance(value, modules)
            if tensor or module:
                yield below, value, True
            if inside is not None and (deep or not module):
                stack.append((below, f"{below}.", value, iter(inside)))
                break
        else:
            stack.pop()
            if isinstance(thing, modules):
                yield name, thing, False


def direct_parts(module: Any, modules: type[Any]) -> Iterator[tuple[str, Any]]:
    """The tensors and modules directly in a module, not those inside its submodules."""
    for name, part, entering in parts(module, modules, deep=False):
        if entering and part is not module:
            yield name, part
