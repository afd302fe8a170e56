"""``gpugrad.fft``: NumPy's and the Array API standard's Fourier transforms.

Imports manipulation, operands and tensor. ``n`` and ``s`` are the sizes that axes are cut to, or
filled up to with zeros, before; ``norm`` says which direction divides by the number of elements:
"backward" (or None), "forward", or "ortho" for both, by its root. float32 and float16 give
complex64, and the transforms of complex64 that are real float32. The derivatives, of every order,
are in ``gpugrad/ops/fft.py``; docs/derivatives.md defines gradients of complex numbers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from gpugrad.engine.messages import is_whole
from gpugrad.errors import ArgumentError, DTypeError, ShapeError
from gpugrad.functions.manipulation import concat, slices
from gpugrad.functions.operands import all_or_numbers, axis_numbers
from gpugrad.ops.fft import ADJOINT
from gpugrad.tensor import OPS, Tensor, as_tensor, creation
from gpugrad.tensor.hints import members

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift",
    "ihfft", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

Sizes: TypeAlias = Sequence[int] | None
Axes: TypeAlias = Sequence[int] | None


def _norm(name: str, norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in ADJOINT:
        raise ArgumentError(
            f"{name}: expected norm 'backward', 'ortho', 'forward' or None, got {norm!r}"
        )
    return norm


def _axes(name: str, x: Tensor, s: Sizes, axes: Axes) -> tuple[int, ...]:
    """The axes to transform, counted from the front; the last ones, for sizes alone."""
    if axes is None:
        axes = range(-(x.ndim if s is None else len(s)), 0)
    numbers = axis_numbers(name, axes, x.ndim, distinct=False)
    if s is not None and len(s) != len(numbers):
        raise ShapeError(f"{name}: expected a size for each of axes {numbers}, got s={tuple(s)}")
    return numbers


def _sizes(name: str, x: Tensor, s: Any, axes: tuple[int, ...], halved: bool) -> list[int]:
    """A size for each axis: the requested one, or for None and NumPy's -1 its own.

    Where x is the first half of a transform of real numbers, its last axis is that of the whole.
    """
    own = [x.shape[axis] for axis in axes]
    if halved:
        own[-1] = 2 * (own[-1] - 1)
    sizes = [
        n if size is None or size == -1 else int(size)
        for size, n in zip(own if s is None else s, own)
    ]
    if any(size < 1 for size in sizes):
        raise ShapeError(
            f"{name}: expected one element or more along each of axes {axes} of shape {x.shape}, "
            f"got sizes {tuple(sizes)}"
        )
    return sizes


def _fitted(x: Tensor, sizes: Sequence[int], axes: Sequence[int]) -> Tensor:
    """x cut or padded with zeros to sizes along axes."""
    widths = [(0, 0)] * x.ndim
    for size, axis in zip(sizes, axes):
        if x.shape[axis] > size:
            x = slices(x, axis, 0, size)
        widths[axis] = (0, size - x.shape[axis])
    return OPS["pad_zeros"](x, pad_width=tuple(widths)) if any(map(any, widths)) else x


def _complex(name: str, x: Any, s: Any, axes: Axes, norm: str | None, inverse: bool) -> Tensor:
    x = as_tensor(x)
    scaling, numbers = _norm(name, norm), _axes(name, x, s, axes)
    if not numbers:
        return x
    x = _fitted(x, _sizes(name, x, s, numbers, halved=False), numbers)
    return OPS["fourier"](x, axes=numbers, inverse=inverse, norm=scaling)


def _of_real(name: str, x: Any, s: Any, axes: Axes, norm: str | None) -> Tensor:
    x = as_tensor(x)
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{name}: expected real numbers, got {x.dtype}. The transform of complex ones is "
            f"gg.fft.{name.replace('ihfft', 'ifft').removeprefix('r')}"
        )
    scaling, numbers = _norm(name, norm), _nonempty(name, _axes(name, x, s, axes))
    x = _fitted(x, _sizes(name, x, s, numbers, halved=False), numbers)
    return OPS["fourier_of_real"](x, axes=numbers, norm=scaling)


def _to_real(name: str, x: Any, s: Any, axes: Axes, norm: str | None) -> Tensor:
    x = as_tensor(x)
    scaling, numbers = _norm(name, norm), _nonempty(name, _axes(name, x, s, axes))
    sizes = _sizes(name, x, s, numbers, halved=True)
    x = _fitted(x, [*sizes[:-1], sizes[-1] // 2 + 1], numbers)
    return OPS["fourier_to_real"](x, axes=numbers, size=sizes[-1], norm=scaling)


def _nonempty(name: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    if not axes:
        raise ShapeError(f"{name}: expected one axis or more, got none")
    return axes


# One axis.


def fft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The discrete Fourier transform along an axis.

    ShapeError for no elements, ArgumentError for another ``norm``.

    >>> import gpugrad as gg
    >>> gg.fft.fft(gg.tensor([1.0, 0.0, 0.0])).real
    tensor([1., 1., 1.])
    """
    return _complex("fft", x, (n,), (axis,), norm, False)


def ifft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`."""
    return _complex("ifft", x, (n,), (axis,), norm, True)


def rfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The Fourier transform of real numbers: its first ``n // 2 + 1`` elements, which determine it.

    >>> import gpugrad as gg
    >>> gg.fft.rfft(gg.tensor([1.0, 0.0, 0.0, 0.0])).shape
    (3,)
    """
    return _of_real("rfft", x, (n,), (axis,), norm)


def irfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`: ``n`` real numbers, by default an even number of them.

    The imaginary part of the first number, and of the last for even ``n``, is not read.
    """
    return _to_real("irfft", x, (n,), (axis,), norm)


def hfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The transform, which is real, of numbers of which the second half is the conjugated first."""
    x = OPS["conj"](as_tensor(x))
    return _to_real("hfft", x, (n,), (axis,), ADJOINT[_norm("hfft", norm)])


def ihfft(x: Any, /, n: int | None = None, axis: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`, of real numbers."""
    half = _of_real("ihfft", x, (n,), (axis,), ADJOINT[_norm("ihfft", norm)])
    return OPS["conj"](half)


# Several axes.


def fftn(x: Any, /, s: Sizes = None, axes: Axes = None, norm: str | None = None) -> Tensor:
    """The Fourier transform along several axes, all unless ``axes`` names them.

    >>> import gpugrad as gg
    >>> gg.fft.fftn(gg.ones((2, 3)))[0, 0].item()
    (6+0j)
    """
    return _complex("fftn", x, s, axes, norm, False)


def ifftn(x: Any, /, s: Sizes = None, axes: Axes = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    return _complex("ifftn", x, s, axes, norm, True)


def rfftn(x: Any, /, s: Sizes = None, axes: Axes = None, norm: str | None = None) -> Tensor:
    """The Fourier transform of real numbers along several axes: the first half along the last."""
    return _of_real("rfftn", x, s, axes, norm)


def irfftn(x: Any, /, s: Sizes = None, axes: Axes = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`; ``s`` are the sizes of the result, the last even by default."""
    return _to_real("irfftn", x, s, axes, norm)


def fft2(x: Any, /, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """The Fourier transform along the last two axes, or those in ``axes``."""
    return _complex("fft2", x, s, axes, norm, False)


def ifft2(x: Any, /, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `fft2`."""
    return _complex("ifft2", x, s, axes, norm, True)


def rfft2(x: Any, /, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """The Fourier transform of real numbers along two axes: the first half along the last."""
    return _of_real("rfft2", x, s, axes, norm)


def irfft2(x: Any, /, s: Sizes = None, axes: Axes = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `rfft2`; ``s`` are the sizes of the result, the last even by default."""
    return _to_real("irfft2", x, s, axes, norm)


# Frequencies, and their order.


def _frequencies(name: str, n: Any, d: Any, half: bool, dtype: Any, device: Any) -> Tensor:
    if not is_whole(n, 1):
        raise ArgumentError(f"{name}: expected a whole number of 1 or more, got {n!r}")
    n, kwargs = int(n), {"dtype": dtype or creation.get_default_dtype(), "device": device}
    counts = creation.arange(n // 2 + 1 if half else (n + 1) // 2, **kwargs)
    if not half:
        counts = concat([counts, creation.arange(-(n // 2), 0, **kwargs)])
    return counts / (n * d)


def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of `fft` for ``n`` elements that are ``d`` apart: the negative ones last.

    >>> import gpugrad as gg
    >>> gg.fft.fftfreq(4)
    tensor([ 0.  ,  0.25, -0.5 , -0.25])
    """
    return _frequencies("fftfreq", n, d, False, dtype, device)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of `rfft` for ``n`` elements that are ``d`` apart.

    >>> import gpugrad as gg
    >>> gg.fft.rfftfreq(4)
    tensor([0.  , 0.25, 0.5 ])
    """
    return _frequencies("rfftfreq", n, d, True, dtype, device)


def _shifted(name: str, x: Any, axes: int | Axes, sign: int) -> Tensor:
    x = as_tensor(x)
    numbers = all_or_numbers(name, axes, x.ndim)
    return OPS["roll"](x, shift=tuple(sign * (x.shape[i] // 2) for i in numbers), axis=numbers)


def fftshift(x: Any, /, axes: int | Axes = None) -> Tensor:
    """The element of frequency zero moved to the middle, along all axes or those in ``axes``.

    >>> import gpugrad as gg
    >>> gg.fft.fftshift(gg.fft.fftfreq(4))
    tensor([-0.5 , -0.25,  0.  ,  0.25])
    """
    return _shifted("fftshift", x, axes, 1)


def ifftshift(x: Any, /, axes: int | Axes = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, -1)


if not TYPE_CHECKING:  # a checker then reports names that are not there
    __getattr__, __dir__ = members("fft", __all__)
