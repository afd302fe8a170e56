"""The tensors that a model learns. Imports tensor and errors."""

from typing import Any

from gpugrad.backend.precision import kind_of
from gpugrad.errors import DTypeError
from gpugrad.tensor import Tensor, tensor
from gpugrad.tensor.lost import check_kept

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A tensor that a module learns: a leaf that requires a gradient, and may be frozen.

    ``data`` is a Tensor, an array, a number or lists of numbers, in a floating-point dtype, and
    goes where `tensor` puts it. There memory is shared, and a Tensor is detached. ``name`` appears
    in drawings and errors. DTypeError for other data, GradientError in a function that is being
    differentiated for a Tensor of its graph, whose gradient would be lost.

    Operations on parameters return plain Tensors; copies, deep copies and unpickled parameters
    are Parameters.

    >>> import gpugrad as gg
    >>> w = gg.nn.Parameter([1.0, 2.0])
    >>> w
    Parameter([1., 2.])
    >>> w.requires_grad, type(w * 2).__name__
    (True, 'Tensor')
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, name: str | None = None) -> None:
        check_kept("Parameter", data, "Use the tensor itself, or write Parameter(t.detach())")
        array = tensor(data).data
        if kind_of(array.dtype) != "f":
            raise DTypeError(
                f"Parameter: expected floating-point numbers, got dtype {array.dtype}. Cast them "
                "first, as in .astype(gg.float32); a tensor that is not learned is an ordinary "
                "Tensor"
            )
        super().__init__(array)
        if requires_grad:
            self.requires_grad_()
        if name is not None:
            self.name = name

    def __copy__(self) -> "Parameter":
        return Parameter(self.detach(), self.requires_grad, self.name)

    def __repr__(self) -> str:
        text = super().__repr__()
        return text if self.requires_grad else f"{text[:-1]}, requires_grad=False)"
