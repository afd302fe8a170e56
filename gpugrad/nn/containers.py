"""Containers: `Sequential`, `MLP` and `Flatten`.

Imports `activations`, `linear`, `module` and random.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from gpugrad.errors import DTypeError, ShapeError
from gpugrad.nn.activations import activation_function, activation_name
from gpugrad.nn.linear import Linear, check_size, joined
from gpugrad.nn.module import Module
from gpugrad.random import Generator
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["MLP", "Flatten", "Sequential"]


class Sequential(Module):
    """Modules, or functions of one argument, applied one after the other.

    It can be indexed, sliced (to a Sequential of the same modules) and iterated, and has a
    length; ``append`` adds a module. The list is ``layers``.

    >>> import gpugrad as gg
    >>> model = gg.nn.Sequential(gg.nn.Linear(2, 3), gg.tanh, gg.nn.Linear(3, 1))
    >>> len(model), model[0].out_features, len(model[1:])
    (3, 3, 2)
    >>> model(gg.ones((4, 2))).shape
    (4, 1)
    """

    def __init__(self, *layers: Callable[..., Any]) -> None:
        if len(layers) == 1 and isinstance(layers[0], list | tuple):
            raise DTypeError(
                "Sequential: expected layers, got one list of them. Write Sequential(*layers)"
            )
        self.layers: list[Callable[..., Any]] = []
        for layer in layers:
            self.append(layer)

    def append(self, layer: Callable[..., Any]) -> "Sequential":
        """Add a module at the end; returns the Sequential itself."""
        if isinstance(layer, type) or not callable(layer):
            hint = f". Did you mean {layer.__name__}(...)?" if isinstance(layer, type) else ""
            raise DTypeError(
                f"Sequential: expected a Module or a function of one argument, got {layer!r}{hint}"
            )
        self.layers.append(layer)
        return self

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
                for index, layer in enumerate(value):
                    yield str(index), layer
            else:
                yield name, value

    def _repr_parts(self) -> Iterator[tuple[str, Any]]:
        """The layers, including functions."""
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]

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
        self,
        nin: int,
        nouts: Sequence[int],
        activation: Any = "tanh",
        output_activation: Any = None,
        bias: bool = True,
        *,
        dtype: Any = None,
        device: Any = None,
        generator: Generator | None = None,
    ) -> None:
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
