"""Containers: `Sequential`, `MLP`, `Flatten` and `Unflatten`.

Imports `activations`, `linear`, `module` and random.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from gpugrad.engine.messages import is_whole
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.nn.activations import activation_function, activation_name
from gpugrad.nn.linear import Linear, check_size, joined
from gpugrad.nn.module import Module
from gpugrad.nn.settings import forget_settings
from gpugrad.random import Generator
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["MLP", "Flatten", "Sequential", "Unflatten"]


class Sequential(Module):
    """Modules, or functions of one argument, applied one after the other.

    It can be indexed, sliced (to a Sequential of the same modules) and iterated, and has a
    length; ``append``, ``extend`` and ``insert`` add modules. The list is ``layers``. A dict gives
    the layers names, which are attributes and stand in the names of parameters: "first.weight".

    >>> import gpugrad as gg
    >>> model = gg.nn.Sequential(gg.nn.Linear(2, 3), gg.tanh, gg.nn.Linear(3, 1))
    >>> len(model), model[0].out_features, len(model[1:])
    (3, 3, 2)
    >>> model(gg.ones((4, 2))).shape
    (4, 1)
    """

    _names: Sequence[str] = ()

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            raise DTypeError(
                "Sequential: expected layers, got one list of them. Write Sequential(*layers)"
            )
        self.layers: list[Callable[..., Any]] = []
        if len(layers) == 1 and isinstance(layers[0], dict):
            self._names = self._checked_names(layers[0])
            layers = tuple(layers[0].values())
        for layer in layers:
            self.append(layer)

    @staticmethod
    def _checked_names(layers: dict[Any, Any]) -> list[str]:
        for name in layers:
            if not isinstance(name, str) or not name or "." in name or hasattr(Sequential, name):
                raise ValueError(
                    "Sequential: a name of a layer is a text without dots, and no method of "
                    f"Sequential; got {name!r}"
                )
        return list(layers)

    def _named_layers(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """The layers with their names, which are their numbers where they have none."""
        for index, layer in enumerate(self.layers):
            yield self._names[index] if index < len(self._names) else str(index), layer

    def append(self, layer: Callable[..., Any]) -> "Sequential":
        """Add a module at the end; returns the Sequential itself."""
        forget_settings(self)
        self.layers.append(self._checked(layer))
        return self

    def extend(self, layers: Iterable[Callable[..., Any]]) -> "Sequential":
        """Add several modules at the end; returns the Sequential itself."""
        forget_settings(self)
        self.layers.extend([self._checked(layer) for layer in layers])
        return self

    def insert(self, index: int, layer: Callable[..., Any]) -> "Sequential":
        """Add a module before the one of this number; returns the Sequential itself."""
        self._without_names("insert")
        forget_settings(self)
        self.layers.insert(index, self._checked(layer))
        return self

    def pop(self, index: int = -1) -> Callable[..., Any]:
        """Take a module out, by default the last."""
        self._without_names("pop")
        forget_settings(self)
        return self.layers.pop(index)

    def _without_names(self, method: str) -> None:
        if self._names:
            raise ValueError(
                f"Sequential: {method} would move the names of the layers. Make a new Sequential "
                "of a dict"
            )

    @staticmethod
    def _checked(layer: Any) -> Callable[..., Any]:
        if isinstance(layer, type) or not callable(layer):
            hint = f". Did you mean {layer.__name__}(...)?" if isinstance(layer, type) else ""
            raise DTypeError(
                f"Sequential: expected a Module or a function of one argument, got {layer!r}{hint}"
            )
        function: Callable[..., Any] = layer
        return function

    def forward(self, x: Any) -> Any:
        layers = self.layers
        index, last = 0, len(layers) - 1
        while index <= last:
            y = joined(layers[index], layers[index + 1], x) if index < last else None
            x = layers[index](x) if y is None else y
            index += 1 if y is None else 2
        return x

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        """The layers named by their numbers: "0.weight", as in PyTorch."""
        for name, value in vars(self).items():
            if name == "layers":
                yield from self._named_layers()
            else:
                yield name, value

    def _repr_parts(self) -> Iterator[tuple[str, Any]]:
        """The layers, including functions."""
        return self._named_layers()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return (
                Sequential(dict(list(self._named_layers())[index]))
                if self._names
                else (Sequential(*self.layers[index]))
            )
        return self.layers[index]

    def __setitem__(self, index: int, layer: Callable[..., Any]) -> None:
        forget_settings(self)
        self.layers[index] = self._checked(layer)

    def __delitem__(self, index: Any) -> None:
        self._without_names("del")
        forget_settings(self)
        del self.layers[index]

    def __getattr__(self, name: str) -> Any:
        """A layer by its name; called for what is no attribute alone."""
        names = vars(self).get("_names", ())
        if name in names:
            return self.layers[names.index(name)]
        return object.__getattribute__(self, name)  # which raises the usual error

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.layers)

    # A model without layers is true as well: `if model:` tests for None.
    def __bool__(self) -> bool:
        return True


class MLP(Module):
    """A multilayer perceptron: Linear layers with an activation between them.

    It has ``nin`` inputs and layers of ``nouts`` outputs, listed in ``layers``. ``activation`` and
    ``output_activation`` (of the last layer, which is linear by default) are a name such as
    "tanh" or "relu", a callable, or a Module class, of which each layer gets an instance. The
    other arguments are those of `Linear`. ShapeError for sizes below 1, ValueError for an unknown
    name.

    >>> import gpugrad as gg
    >>> model = gg.nn.MLP(3, [4, 4, 1])
    >>> model(gg.ones((5, 3))).shape
    (5, 1)
    >>> print(model)
    MLP(3, [4, 4, 1], activation=tanh,  # 41 parameters
      (layers.0): Linear(in_features=3, out_features=4, bias=True)  # 16 parameters
      (layers.1): Linear(in_features=4, out_features=4, bias=True)  # 20 parameters
      (layers.2): Linear(in_features=4, out_features=1, bias=True)  # 5 parameters
    )
    """

    def __init__(
        self, nin: int, nouts: Sequence[int], activation: Any = "tanh",
        output_activation: Any = None, bias: bool = True, *, dtype: Any = None, device: Any = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(nouts, list | tuple) or not nouts:
            raise ShapeError(
                f"MLP: nouts must list the outputs of each layer, as in [4, 4, 1], got {nouts!r}"
            )
        sizes = [
            check_size("MLP", "nin", nin),
            *(check_size("MLP", "each of nouts", n) for n in nouts),
        ]
        self.layers = [
            Linear(n, m, bias, dtype=dtype, device=device, generator=generator)
            for n, m in pairwise(sizes)
        ]
        # One for each layer; None for the identity. Of a Module class each gets an instance.
        self.activations = [activation_function("MLP", activation) for _ in nouts]
        self.activations[-1] = activation_function("MLP", output_activation)

    def forward(self, x: Any) -> Any:
        for layer, activation in zip(self.layers, self.activations):
            y = joined(layer, activation, x)
            if y is None:
                y = layer(x) if activation is None else activation(layer(x))
            x = y
        return x

    def extra_repr(self) -> str:
        sizes = [layer.out_features for layer in self.layers]
        fields = f"{self.layers[0].in_features}, {sizes}"
        if len(self.activations) > 1:
            fields += f", activation={activation_name(self.activations[0])}"
        if self.activations[-1] is not None:
            fields += f", output_activation={activation_name(self.activations[-1])}"
        return fields


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` merged into one; by default all but the first.

    >>> import gpugrad as gg
    >>> gg.nn.Flatten()(gg.ones((5, 8, 8))).shape
    (5, 64)
    """

    _shown = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        return as_tensor(x).flatten(self.start_dim, self.end_dim)


class Unflatten(Module):
    """One axis cut into several: the inverse of `Flatten`.

    ``unflattened_size`` is the sizes that the axis ``dim`` becomes, of which one may be -1: what is
    left. ShapeError where they do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.Unflatten(1, (3, 4, 4))(gg.ones((5, 48))).shape
    (5, 3, 4, 4)
    """

    _shown = ("dim", "unflattened_size")

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        sizes = unflattened_size if isinstance(unflattened_size, list | tuple) else ()
        if not sizes or not all(isinstance(n, int) and n >= -1 for n in sizes):
            raise ShapeError(
                "Unflatten: unflattened_size must be the sizes that the axis becomes, such as "
                f"(3, 8, 8), got {unflattened_size!r}"
            )
        if not is_whole(dim):
            raise ShapeError(f"Unflatten: dim must be the number of an axis, got {dim!r}")
        self.dim = dim
        self.unflattened_size = tuple(sizes)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(f"Unflatten: there is no axis {self.dim}, the shape is {x.shape}")
        axis = self.dim % x.ndim
        return x.reshape((*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1 :]))
