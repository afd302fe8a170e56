"""The bilinear layer: `bilinear` and `Bilinear`. Imports `linear`."""

from typing import Any

from gpugrad.errors import ShapeError
from gpugrad.functions.einsum import einsum
from gpugrad.functions.operands import without_lists
from gpugrad.nn.linear import Affine, check_size
from gpugrad.random import Generator
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["Bilinear", "bilinear"]


def bilinear(a: Any, b: Any, weight: Any, bias: Any = None) -> Tensor:
    """``a @ weight[k] @ b + bias[k]`` for each output k.

    a is (..., n), b (..., m) with the same leading axes, weight (outputs, n, m), bias (outputs,)
    or None; the result is (..., outputs). ShapeError where they do not fit.

    >>> import gpugrad as gg
    >>> a, b, weight = gg.ones((5, 2)), gg.ones((5, 3)), gg.ones((4, 2, 3))
    >>> gg.nn.functional.bilinear(a, b, weight)[0].tolist()
    [6.0, 6.0, 6.0, 6.0]
    """
    a, b, weight, bias = without_lists(a, b, weight, bias)
    a, b, weight = as_tensor(a), as_tensor(b), as_tensor(weight)
    fits = (
        weight.ndim == 3
        and a.shape[-1:] == weight.shape[1:2]
        and b.shape[-1:] == weight.shape[2:]
        and a.shape[:-1] == b.shape[:-1]
        and (bias is None or bias.shape == weight.shape[:1])
    )
    if not fits:
        shapes = f"{a.shape}, {b.shape}, {weight.shape}"
        raise ShapeError(
            "bilinear: expected (..., n), (..., m), a weight (outputs, n, m), a bias (outputs,); "
            f"got {shapes if bias is None else f'{shapes}, {bias.shape}'}"
        )
    y: Tensor = einsum("...n,onm,...m->...o", a, weight, b)
    return y if bias is None else y + as_tensor(bias)


class Bilinear(Affine):
    """``a @ weight[k] @ b + bias[k]`` for each of ``out_features`` outputs k.

    ``weight`` is (out_features, in1_features, in2_features), ``bias`` (out_features,) or None; both
    start uniform on ±1/√in1_features, as PyTorch's do. ShapeError for sizes below 1.

    >>> import gpugrad as gg
    >>> gg.nn.Bilinear(2, 3, 4)(gg.ones((5, 2)), gg.ones((5, 3))).shape
    (5, 4)
    """

    _shown = ("in1_features", "in2_features", "out_features")

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *,
        dtype: Any = None, device: Any = None, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.in1_features = check_size("Bilinear", "in1_features", in1_features)
        self.in2_features = check_size("Bilinear", "in2_features", in2_features)
        self.out_features = check_size("Bilinear", "out_features", out_features)
        shape = (self.out_features, self.in1_features, self.in2_features)
        self._start(shape, self.out_features, bias, dtype, device, generator)

    def _inputs(self) -> int:
        return self.in1_features  # as in PyTorch

    def forward(self, a: Any, b: Any) -> Tensor:
        return bilinear(a, b, self.weight, self.bias)
