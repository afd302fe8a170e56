"""A model as a function of its parameters, for `vmap` and `grad`. Imports module and traversal."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gpugrad.errors import ArgumentError, DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.module import Module
from gpugrad.nn.traversal import items
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["functional_call", "stack_parameters"]


def functional_call(
    model: Module,
    parameters: Mapping[str, Any],
    args: Any,
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """``model(*args, **kwargs)`` with other parameters, or buffers, in place of its own.

    ``parameters`` are arrays or Tensors by their dotted names, as ``model.named_parameters()`` has
    them; those that it does not name stay. ``args`` is a tuple, or the one argument. A parameter
    that the model has in several places is replaced in all of them. The model has its own again
    afterwards; meanwhile no other thread may use it. ArgumentError for a name that the model does
    not have, ShapeError for another shape.

    >>> import gpugrad as gg
    >>> model = gg.nn.Linear(2, 1, bias=False)
    >>> gg.functional_call(model, {"weight": [[3.0, 4.0]]}, gg.tensor([1.0, 10.0]))
    tensor([43.])

    Per-sample gradients of a model:

    >>> parameters = {name: p.detach() for name, p in model.named_parameters()}
    >>> loss = lambda parameters, x: gg.functional_call(model, parameters, x).sum()
    >>> gg.vmap(gg.grad(loss), in_axes=(None, 0))(parameters, gg.tensor([[1.0, 2.0], [3.0, 4.0]]))
    {'weight': tensor([[[1., 2.]],
    <BLANKLINE>
           [[3., 4.]]])}
    """
    given = args if isinstance(args, tuple) else (args,)
    with _replaced(model, parameters):
        return model(*given, **(kwargs or {}))


def stack_parameters(models: Sequence[Module]) -> dict[str, Tensor]:
    """The parameters of models that are alike, each stacked along a new first axis, by name.

    They are leaves that require a gradient. ShapeError where the models differ.

    >>> import gpugrad as gg
    >>> models = [gg.nn.Linear(3, 2) for _ in range(4)]
    >>> stacked = gg.stack_parameters(models)
    >>> {name: one.shape for name, one in stacked.items()}
    {'weight': (4, 2, 3), 'bias': (4, 2)}
    >>> f = lambda parameters, x: gg.functional_call(models[0], parameters, x)
    >>> gg.vmap(f, in_axes=(0, None))(stacked, gg.ones((5, 3))).shape
    (4, 5, 2)
    """
    if not models:
        raise ArgumentError("stack_parameters: expected at least one model, got none")
    states = [{n: p.detach() for n, p in model.named_parameters()} for model in models]
    for number, state in enumerate(states):
        if [(n, p.shape) for n, p in state.items()] != [(n, p.shape) for n, p in states[0].items()]:
            raise ShapeError(
                f"stack_parameters: expected models with the same parameters, and model {number} "
                f"has others than model 0: {_shapes(state)} and {_shapes(states[0])}"
            )
    return {
        name: FUNCTIONS["stack"]([state[name] for state in states]).requires_grad_()
        for name in states[0]
    }


def _shapes(state: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {part.shape}" for name, part in state.items()) or "none"


@contextmanager
def _replaced(model: Module, parameters: Mapping[str, Any]) -> Iterator[None]:
    """A block in which a model has other tensors in place of some of its own."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    others: dict[int, Tensor] = {}
    for name, value in parameters.items():
        if name not in own:
            raise ArgumentError(
                f"functional_call: {type(model).__name__} has no parameter {name!r}. It has "
                f"{', '.join(own) or 'none'}"
            )
        tensor = value if isinstance(value, Tensor) else as_tensor(value)
        if tensor.shape != own[name].shape:
            raise ShapeError(
                f"functional_call: {name} has the shape {own[name].shape}, got {tensor.shape}"
            )
        others[id(own[name])] = tensor
    places = list(_places(model, others))
    try:
        for put, tensor in places:
            put(others[id(tensor)])
        yield
    finally:
        for put, tensor in places:
            put(tensor)


def _places(
    model: Module, wanted: Mapping[int, Any]
) -> Iterator[tuple[Callable[[Any], None], Any]]:
    """What sets each place in a model that has one of the tensors, and the tensor."""
    seen, waiting = {id(model)}, [model]
    while waiting:
        thing: Any = waiting.pop()
        for key, value in list(items(thing, Module) or ()):
            if isinstance(value, Tensor):
                if id(value) in wanted:
                    yield _setter(thing, key), value
            elif items(value, Module) is not None and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)


def _setter(thing: Any, key: Any) -> Callable[[Any], None]:
    if isinstance(thing, Module):
        return lambda value: vars(thing).__setitem__(key, value)
    if isinstance(thing, tuple):
        raise DTypeError(
            "functional_call: a parameter is in a tuple, where it cannot be replaced. Put it in a "
            "list or an attribute"
        )
    return lambda value: thing.__setitem__(key, value)
