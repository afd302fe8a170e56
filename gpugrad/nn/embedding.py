"""Tables of vectors: `embedding`, `Embedding` and `one_hot`. Imports `linear`, `init`, `module`.

The numbers of rows are checked as indices are everywhere: those from the host always, those on a
GPU in `gg.debug_mode` only, since the host would have to wait for them.
"""

from typing import Any, Self

import numpy as np

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.messages import is_whole
from gpugrad.engine.modes import is_debugging, no_grad, running_again
from gpugrad.errors import DTypeError, GradientError, IndexingError, ShapeError
from gpugrad.functions.linalg.norms import norm
from gpugrad.functions.manipulation import expand_dims
from gpugrad.functions.operands import host_array
from gpugrad.nn import init
from gpugrad.nn.linear import check_size
from gpugrad.nn.module import Module
from gpugrad.nn.parameter import Parameter
from gpugrad.random import Generator
from gpugrad.tensor import OPS, Tensor, arange, as_tensor, asarray, empty

__all__ = ["Embedding", "check_range", "embedding", "one_hot", "whole_numbers"]


def whole_numbers(who: str, numbers: Any) -> Tensor:
    """Whole numbers as a Tensor, lists on the host; DTypeError for others."""
    if not hasattr(numbers, "shape"):
        array = host_array(who, numbers)
        numbers = array if array.size else array.astype(np.int64)
    numbers = as_tensor(numbers)
    if numbers.dtype.kind not in "iu":
        raise DTypeError(
            f"{who}: expected whole numbers in an integer dtype, got {numbers.dtype}. Cast them, "
            "as in numbers.astype(gg.int64)"
        )
    return numbers


def check_range(who: str, numbers: Tensor, count: int, what: str) -> None:
    """IndexingError for a number that is not from 0 to count - 1, where that takes no waiting."""
    if not numbers.size or (namespace_of(numbers._array).waits and not is_debugging()):
        return
    for number in (numbers.min().item(), numbers.max().item()):
        if not 0 <= number < count:
            raise IndexingError(
                f"{who}: {what} must be from 0 to {count - 1}, as there are {count}; got {number}"
            )


def embedding(
    numbers: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of ``weight`` that ``numbers`` count: (..., width) for numbers of shape (...).

    ``weight`` is (count, width). The row ``padding_idx`` gets no gradient from here. With
    ``max_norm``, rows that are looked up and whose norm of order ``norm_type`` is larger are
    scaled down to it, in place, before they are read. The gradient of a row that is read several
    times adds up. IndexingError for a number that is out of range, DTypeError for numbers that are
    not whole, ValueError for ``scale_grad_by_freq`` and ``sparse``, which gpugrad does not have.

    >>> import gpugrad as gg
    >>> weight = gg.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> gg.nn.functional.embedding([[2, 0]], weight).tolist()
    [[[4.0, 5.0], [0.0, 1.0]]]
    """
    who = "embedding"
    weight = as_tensor(weight)
    _check_options(who, scale_grad_by_freq, sparse)
    if weight.ndim != 2:
        raise ShapeError(f"{who}: weight must be (count, width), got shape {weight.shape}")
    numbers = whole_numbers(who, numbers)
    check_range(who, numbers, weight.shape[0], "numbers of rows")
    if numbers.device.kind == "cpu":
        numbers = numbers.to(weight.device)
    padding_idx = check_padding(who, padding_idx, weight.shape[0])
    if max_norm is not None:
        _scale_down(weight, numbers, max_norm, norm_type)
    rows = weight[numbers]
    if padding_idx is None or not rows.requires_grad:
        return rows
    padded = expand_dims(numbers == padding_idx, -1)
    where: Tensor = OPS["where"](padded, rows.detach(), rows)
    return where


def _check_options(who: str, scale_grad_by_freq: Any, sparse: Any) -> None:
    if scale_grad_by_freq:
        raise ValueError(
            f"{who}: gpugrad has no scale_grad_by_freq. Divide the gradient by the counts of the "
            "numbers before the optimizer's step"
        )
    if sparse:
        raise ValueError(f"{who}: gradients are dense arrays; leave out sparse")


def check_padding(who: str, padding_idx: Any, count: int) -> int | None:
    """The number of the padding row from 0 on; ValueError for one that is out of range."""
    if padding_idx is None:
        return None
    if not is_whole(padding_idx):
        raise DTypeError(f"{who}: padding_idx must be a whole number, got {padding_idx!r}")
    if not -count <= padding_idx < count:
        raise ValueError(
            f"{who}: padding_idx must be the number of one of {count} rows, got {padding_idx}"
        )
    return int(padding_idx) % count


def _scale_down(weight: Tensor, numbers: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are too long down to ``max_norm``, in place and outside any graph."""
    if not max_norm > 0:
        raise ValueError(f"embedding: max_norm must be positive, got {max_norm!r}")
    if not weight.is_leaf:
        raise GradientError(
            "embedding: max_norm changes the weight in place, which has to be a parameter and is a "
            "computed tensor. Leave max_norm out, or scale its rows before"
        )
    if running_again.get():
        return
    with no_grad():
        rows = weight.detach()[numbers]
        sizes = norm(rows, ord=norm_type, axis=-1, keepdims=True)
        rows = OPS["where"](sizes > max_norm, rows * (max_norm / (sizes + 1e-7)), rows)
        # A row that is looked up twice is written twice, with the same numbers.
        weight._write(numbers._array, rows)


class Embedding(Module):
    """A table of ``num_embeddings`` vectors of ``embedding_dim`` numbers, looked up by number.

    ``weight``, of shape (num_embeddings, embedding_dim), starts normal with mean 0 and variance 1,
    from ``generator`` or the default one. The row ``padding_idx`` starts at 0 and gets no gradient.
    ``max_norm`` and ``norm_type`` are those of `gpugrad.nn.functional.embedding`, whose errors are
    raised here too. Called with whole numbers of shape (...), it gives (..., embedding_dim).

    >>> import gpugrad as gg
    >>> layer = gg.nn.Embedding(10, 3, padding_idx=0)
    >>> layer
    Embedding(10, 3, padding_idx=0)  # 30 parameters
    >>> layer([[1, 2], [4, 0]]).shape
    (2, 2, 3)
    >>> layer([0]).tolist()
    [[0.0, 0.0, 0.0]]
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False, *, dtype: Any = None, device: Any = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self._set(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type)
        _check_options("Embedding", scale_grad_by_freq, sparse)
        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = Parameter(empty(shape, dtype=dtype, device=device))
        self.reset_parameters(generator)

    def _set(self, count: Any, width: Any, padding_idx: Any, max_norm: Any, norm_type: Any) -> None:
        self.num_embeddings = check_size("Embedding", "num_embeddings", count)
        self.embedding_dim = check_size("Embedding", "embedding_dim", width)
        self.padding_idx = check_padding("Embedding", padding_idx, self.num_embeddings)
        self.max_norm = max_norm
        self.norm_type = norm_type

    @classmethod
    def from_pretrained(
        cls, embeddings: Any, freeze: bool = True, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:  # fmt: skip
        """A layer over vectors that are there, (count, width), which share its memory.

        With ``freeze`` they are not learned. ShapeError for other numbers of axes.

        >>> import gpugrad as gg
        >>> layer = gg.nn.Embedding.from_pretrained(gg.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> layer([1]).tolist(), layer.weight.requires_grad
        ([[3.0, 4.0]], False)
        """
        weight = Parameter(embeddings, requires_grad=not freeze)
        if weight.ndim != 2:
            raise ShapeError(
                f"Embedding.from_pretrained: expected (count, width), got shape {weight.shape}"
            )
        _check_options("Embedding.from_pretrained", scale_grad_by_freq, sparse)
        layer = cls.__new__(cls)
        count, width = weight.shape
        layer._set(count, width, padding_idx, max_norm, norm_type)
        layer.weight = weight
        return layer

    def reset_parameters(self, generator: Generator | None = None) -> None:
        """Draw new vectors, normal with mean 0 and variance 1; that of the padding is 0."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            self.weight._write(self.padding_idx, 0)

    def forward(self, numbers: Any) -> Tensor:
        return embedding(numbers, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        return text if self.max_norm is None else f"{text}, max_norm={self.max_norm}"


def one_hot(numbers: Any, num_classes: int = -1) -> Tensor:
    """Whole numbers as rows with a 1 at the place of the number: (..., num_classes) of int64.

    ``num_classes`` is by default the largest number plus 1, which waits for the device.
    IndexingError for a number that is out of range, as of an index.

    >>> import gpugrad as gg
    >>> gg.nn.functional.one_hot([0, 2], 3).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    listed = not hasattr(numbers, "shape")
    numbers = whole_numbers("one_hot", numbers)
    if num_classes == -1:
        if not numbers.size:
            raise ValueError("one_hot: no numbers, so no largest one; pass num_classes")
        num_classes = int(numbers.max().item()) + 1
    num_classes = check_size("one_hot", "num_classes", num_classes)
    check_range("one_hot", numbers, num_classes, "numbers of classes")
    numbers = asarray(numbers.data) if listed else numbers  # to the default device
    places = arange(num_classes, dtype="int64", device=numbers.device)
    chosen: Tensor = (expand_dims(numbers, -1) == places).astype("int64")
    return chosen
