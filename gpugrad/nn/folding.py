"""Windows of images as columns and back, and pixels exchanged for channels. Imports `sliding`."""

import math
from typing import Any

from gpugrad.backend.windows import Windows
from gpugrad.errors import ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.layer import Layer
from gpugrad.nn.linear import check_size
from gpugrad.nn.module import Module
from gpugrad.nn.sliding import batch_of, per_axis, shown
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "Fold", "PixelShuffle", "PixelUnshuffle", "Unfold", "fold", "pixel_shuffle",
    "pixel_unshuffle", "unfold",
]  # fmt: skip

Sizes = tuple[int, ...]


def _windows(
    who: str, size: Sizes, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Windows:
    pads = per_axis(who, "padding", padding, 2, 0)
    windows = Windows(
        per_axis(who, "kernel_size", kernel_size, 2), per_axis(who, "stride", stride, 2),
        tuple([(n, n) for n in pads]), per_axis(who, "dilation", dilation, 2),
    )  # fmt: skip
    sizes = windows.padded(size)
    if any(n < extent for n, extent in zip(sizes, windows.extent)):
        raise ShapeError(
            f"{who}: a window of {shown(windows.extent)} is larger than the image, {shown(sizes)} "
            "with its padding"
        )
    return windows


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The elements under each window of images as columns.

    ``input`` is (samples, channels, height, width), or one sample; the result is (samples,
    channels times the elements of a window, windows). The arguments are those of `conv2d`.
    ShapeError where they do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.unfold(gg.arange(6.0).reshape(1, 2, 3), 2)
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    x, single = batch_of("unfold", input, 2)
    windows = _windows("unfold", x.shape[2:], kernel_size, dilation, padding, stride)
    columns = OPS["im2col"](x, **windows._asdict())
    count = math.prod(windows.counts(x.shape[2:]))
    shape = (x.shape[0], x.shape[1] * windows.elements, count)
    return columns.reshape(shape[1:] if single else shape)


def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Tensor:  # fmt: skip
    """Columns added up where their windows lie in images of a size: the transpose of `unfold`.

    ``input`` is (samples, channels times the elements of a window, windows), or one sample.
    ShapeError where the arguments do not fit.

    >>> import gpugrad as gg
    >>> gg.nn.functional.fold(gg.ones((4, 2)), (2, 3), 2)
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    x = as_tensor(input)
    size = per_axis("fold", "output_size", output_size, 2)
    windows = _windows("fold", size, kernel_size, dilation, padding, stride)
    counts = windows.counts(size)
    single = x.ndim == 2
    if x.ndim not in (2, 3) or x.shape[-2] % windows.elements or x.shape[-1] != math.prod(counts):
        raise ShapeError(
            f"fold: expected columns (samples, channels · {windows.elements}, {math.prod(counts)}) "
            f"for {shown(counts)} windows of {shown(windows.kernel)}, or one sample of them, got "
            f"shape {x.shape}"
        )
    samples = 1 if single else x.shape[0]
    channels = x.shape[-2] // windows.elements
    columns = x.reshape((samples, channels, *windows.kernel, *counts))
    y: Tensor = OPS["col2im"](
        columns, size=size, stride=windows.stride, padding=windows.padding,
        dilation=windows.dilation,
    )  # fmt: skip
    return y.reshape(y.shape[1:]) if single else y


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """(..., channels · r², height, width) as (..., channels, height · r, width · r).

    The channels become the pixels of r × r squares (Shi et al., 2016). ShapeError where r² does
    not divide the channels.

    >>> import gpugrad as gg
    >>> gg.nn.functional.pixel_shuffle(gg.arange(4.0).reshape(4, 1, 1), 2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    x, r = as_tensor(input), check_size("pixel_shuffle", "upscale_factor", upscale_factor)
    if x.ndim < 3 or x.shape[-3] % r**2:
        raise ShapeError(
            f"pixel_shuffle: expected (..., channels · {r**2}, height, width), got shape {x.shape}"
        )
    *lead, channels, height, width = x.shape
    x = x.reshape((*lead, channels // r**2, r, r, height, width))
    n = len(lead)
    x = FUNCTIONS["transpose"](x, (*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return x.reshape((*lead, channels // r**2, height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """(..., channels, height · r, width · r) as (..., channels · r², height, width).

    The inverse of `pixel_shuffle`. ShapeError where r does not divide the sizes.

    >>> import gpugrad as gg
    >>> gg.nn.functional.pixel_unshuffle(gg.ones((3, 8, 6)), 2).shape
    (12, 4, 3)
    """
    x, r = as_tensor(input), check_size("pixel_unshuffle", "downscale_factor", downscale_factor)
    if x.ndim < 3 or x.shape[-1] % r or x.shape[-2] % r:
        raise ShapeError(
            f"pixel_unshuffle: expected (..., channels, height · {r}, width · {r}), got shape "
            f"{x.shape}"
        )
    *lead, channels, height, width = x.shape
    x = x.reshape((*lead, channels, height // r, r, width // r, r))
    n = len(lead)
    x = FUNCTIONS["transpose"](x, (*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return x.reshape((*lead, channels * r**2, height // r, width // r))


class Unfold(Layer, of=unfold, inputs=1):
    """The elements under each window as columns: see `gpugrad.nn.functional.unfold`.

    >>> import gpugrad as gg
    >>> gg.nn.Unfold((2, 3))(gg.ones((2, 5, 3, 4))).shape
    (2, 30, 4)
    """


class Fold(Layer, of=fold, inputs=1):
    """Columns added up where their windows lie: see `gpugrad.nn.functional.fold`.

    >>> import gpugrad as gg
    >>> gg.nn.Fold((3, 4), (2, 3))(gg.ones((2, 30, 4))).shape
    (2, 5, 3, 4)
    """


class PixelShuffle(Module):
    """Channels exchanged for pixels: see `gpugrad.nn.functional.pixel_shuffle`.

    >>> import gpugrad as gg
    >>> gg.nn.PixelShuffle(3)(gg.ones((1, 9, 4, 4))).shape
    (1, 1, 12, 12)
    """

    _shown = ("upscale_factor",)

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = check_size("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, input: Any) -> Tensor:
        return pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(Module):
    """Pixels exchanged for channels: see `gpugrad.nn.functional.pixel_unshuffle`.

    >>> import gpugrad as gg
    >>> gg.nn.PixelUnshuffle(3)(gg.ones((1, 1, 12, 12))).shape
    (1, 9, 4, 4)
    """

    _shown = ("downscale_factor",)

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = check_size("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, input: Any) -> Tensor:
        return pixel_unshuffle(input, self.downscale_factor)
