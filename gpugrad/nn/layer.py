"""Layers and losses that are a function and its settings: `Layer`. Imports `module`."""

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

from gpugrad.nn.module import Module
from gpugrad.tensor.hints import misfit

__all__ = ["Layer", "initializer"]


class Layer(Module):
    """A function as a module, which is called with the function's first arguments, its inputs.

    The others are its settings: parameters of ``__init__``, attributes, and in ``repr`` all but the
    weights. A subclass names the function and, unless there are two, the number of inputs:

    >>> import gpugrad as gg
    >>> def scaled(x, factor=2.0):
    ...     return x * factor
    >>> class Scaled(Layer, of=scaled, inputs=1):
    ...     "``scaled``: a tensor times a number."
    >>> Scaled(factor=3.0), Scaled(3.0)(gg.ones(2)).tolist()
    (Scaled(factor=3.0), [3.0, 3.0])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # replaced in every subclass
        raise NotImplementedError

    def __init_subclass__(
        cls, *, of: Callable[..., Any] | None = None, inputs: int = 2, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if of is None:  # a subclass of a layer
            return
        whole = inspect.signature(of)
        parameters = list(whole.parameters.values())
        called, settings = parameters[:inputs], parameters[inputs:]
        names = [parameter.name for parameter in settings]

        def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            return of(*args, **kwargs, **{name: getattr(self, name) for name in names})

        signature = whole.replace(parameters=[SELF, *called])
        setattr(forward, "__signature__", signature)  # noqa: B010
        cls.forward = forward  # type: ignore[method-assign]
        cls.__init__ = initializer(settings)  # type: ignore[method-assign]
        cls._shown = tuple(name for name in names if "weight" not in name)


SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)


def initializer(parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """An ``__init__`` that sets its arguments as attributes.

    ValueError where an annotation is a Literal of other values.
    """
    signature = inspect.Signature([SELF, *parameters], return_annotation=None)
    kinds = {parameter.name: parameter.annotation for parameter in parameters}

    def init(self: Module, *args: Any, **kwargs: Any) -> None:
        who = type(self).__name__
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            raise misfit(who, signature, kwargs, error) from None
        bound.apply_defaults()
        for name, kind in kinds.items():
            value = bound.arguments[name]
            if typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
                choices = " or ".join(map(repr, typing.get_args(kind)))
                raise ValueError(f"{who}: {name} must be {choices}, got {value!r}")
            setattr(self, name, value)

    setattr(init, "__signature__", signature)  # noqa: B010
    return init
