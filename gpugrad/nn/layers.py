"""Layers and containers. Imports the modules beside it but `criteria`, backend and random."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from gpugrad.backend.namespace import Namespace
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.nn import init
from gpugrad.nn.activations import activation_function, activation_name
from gpugrad.nn.chains import through
from gpugrad.nn.functional import check_probability, check_shape, dropout, layer_norm, linear
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.random import Generator
from gpugrad.tensor import Tensor, as_tensor, empty, ones, zeros

__all__ = ["MLP", "Dropout", "Flatten", "LayerNorm", "Linear", "Sequential"]


def _features(who: str, what: str, number: Any) -> int:
    if isinstance(number, bool) or not hasattr(number, "__index__") or number.__index__() < 1:
        raise ShapeError(f"{who}: {what} must be a whole number of 1 or more, got {number!r}")
    return int(number)


class Linear(Module):
    """``x @ weight.T + bias``: an affine map of the last axis.

    ``weight`` is (out_features, in_features), ``bias`` (out_features,) or None; x is
    (..., in_features). Both start uniform on ±1/√in_features, as in PyTorch's nn.Linear
    (its ``reset_parameters``, a kaiming_uniform_ with a = √5), from ``generator`` or the default
    one. ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)  # 8 parameters
    >>> layer(gg.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
        device: Any = None,
        generator: Generator | None = None,
    ) -> None:
        self.in_features = _features("Linear", "in_features", in_features)
        self.out_features = _features("Linear", "out_features", out_features)
        self.weight = Parameter(
            empty((self.out_features, self.in_features), dtype=dtype, device=device)
        )
        self.bias = (
            Parameter(empty((self.out_features,), dtype=dtype, device=device)) if bias else None
        )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw weight and bias anew: uniform on ±1/√in_features."""
        bound = 1.0 / math.sqrt(self.in_features)
        init.uniform_(self.weight, -bound, bound, generator=generator)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, x: Any) -> Tensor:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Sequential(Module):
    """Modules, or functions of one argument, one after the other.

    It can be indexed, sliced (a Sequential of the same modules) and iterated, and has a length;
    ``append`` adds to its end. The list itself is ``layers``.

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
        if Namespace.fusing:  # there is a GPU at work
            return through(self.layers, x, Linear)
        for layer in self.layers:
            x = layer(x)
        return x

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        """The layers under their numbers alone: "0.weight", as in PyTorch."""
        for name, value in vars(self).items():
            if name == "layers":
                for index, layer in enumerate(value):
                    yield str(index), layer
            else:
                yield name, value

    def _shown(self) -> Iterator[tuple[str, Any]]:
        """The layers, functions among them."""
        return ((str(index), layer) for index, layer in enumerate(self.layers))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.layers)

    # A model is true, also one without layers: `if model:` asks whether there is one.
    def __bool__(self) -> bool:
        return True


class MLP(Module):
    """A multilayer perceptron: Linear layers with an activation between them.

    ``nin`` inputs, and layers of ``nouts`` outputs. ``activation`` and ``output_activation`` (for
    the last layer, which is linear unless it is given) are a name such as "tanh" or "relu", a
    callable, or a Module class, of which each layer gets its own. The rest is as for `Linear`,
    the layers being ``layers``. ShapeError for sizes below 1, ValueError for an unknown name.

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
            _features("MLP", "nin", nin),
            *(_features("MLP", "each of nouts", n) for n in nouts),
        ]
        self.layers = [
            Linear(n, m, bias, dtype=dtype, device=device, generator=generator)
            for n, m in pairwise(sizes)
        ]
        # One for each layer; None for the identity. A Module class gives each layer its own.
        self.activations = [activation_function("MLP", activation) for _ in nouts]
        self.activations[-1] = activation_function("MLP", output_activation)

    def forward(self, x: Any) -> Any:
        if Namespace.fusing:  # there is a GPU at work
            pairs = zip(self.layers, self.activations)
            layers = [part for pair in pairs for part in pair if part is not None]
            return through(layers, x, Linear)
        for layer, activation in zip(self.layers, self.activations):
            x = layer(x)
            if activation is not None:
                x = activation(x)
        return x

    def extra_repr(self) -> str:
        sizes = [layer.out_features for layer in self.layers]
        words = f"{self.layers[0].in_features}, {sizes}"
        if len(self.activations) > 1:
            words += f", activation={activation_name(self.activations[0])}"
        if self.activations[-1] is not None:
            words += f", output_activation={activation_name(self.activations[-1])}"
        return words


class Dropout(Module):
    """In training, each element set to 0 with probability ``p``, the others divided by 1 - p.

    After ``eval()`` everything passes. The mask comes from ``gg.random.bernoulli`` and
    ``generator``, or the default one: the same seed drops the same elements on every device.
    ValueError for a ``p`` that is no probability.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Dropout(0.25)
    >>> layer
    Dropout(p=0.25)
    >>> layer.eval()(gg.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, *, generator: Generator | None = None) -> None:
        self.p = check_probability("Dropout", p)
        self.generator = generator

    def forward(self, x: Any) -> Tensor:
        return dropout(x, self.p, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LayerNorm(Module):
    """Each sample with mean 0 and variance 1 over its last axes, times a weight plus a bias.

    ``normalized_shape`` is the sizes of these axes, also one number. ``weight`` begins as ones
    and ``bias`` as zeros, both of this shape; None without ``elementwise_affine``, the bias also
    without ``bias``. The formula is `gpugrad.nn.functional.layer_norm`'s (Ba et al., 2016).
    ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> layer = gg.nn.LayerNorm(2)
    >>> layer
    LayerNorm((2,), eps=1e-05)  # 4 parameters
    >>> layer(gg.tensor([[1.0, 3.0]])).round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
        device: Any = None,
    ) -> None:
        self.normalized_shape = shape = check_shape("LayerNorm", normalized_shape)
        self.eps = eps
        words = {"dtype": dtype, "device": device}
        self.weight = Parameter(ones(shape, **words)) if elementwise_affine else None
        self.bias = Parameter(zeros(shape, **words)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        words = "" if self.weight is not None else ", elementwise_affine=False"
        if self.weight is not None and self.bias is None:
            words = ", bias=False"
        return f"{self.normalized_shape}, eps={self.eps}{words}"


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` made one: all but the samples' unless given.

    >>> import gpugrad as gg
    >>> gg.nn.Flatten()(gg.ones((5, 8, 8))).shape
    (5, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Tensor:
        return as_tensor(x).flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
