"""Pools over one to three axes: the largest element or the mean of windows. Imports `sliding`.

Those of a number of windows, whatever the size, are in `adaptive_pooling`.
"""

from typing import Any

from gpugrad.backend.windows import Windows
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.nn.sliding import OverAxes, batch_of, per_axis, refuse_whole, shown
from gpugrad.tensor import OPS, Tensor

__all__ = [
    "AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "avg_pool1d",
    "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d", "places_of",
]  # fmt: skip

Sizes = tuple[int, ...]


def _windows(
    who: str, shape: Sizes, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: Any,
) -> Windows:  # fmt: skip
    """The windows over the last axes of a shape; ShapeError where the arguments do not fit."""
    axes = len(shape) - 2
    kernel = per_axis(who, "kernel_size", kernel_size, axes)
    steps = kernel if stride is None else per_axis(who, "stride", stride, axes)
    padding = per_axis(who, "padding", padding, axes, 0)
    windows = Windows(
        kernel, steps, tuple([(n, n) for n in padding]), per_axis(who, "dilation", dilation, axes)
    )
    if any(2 * n > extent for n, extent in zip(padding, windows.extent)):
        raise ShapeError(
            f"{who}: padding must be at most half of the kernel, {shown(windows.extent)}, got "
            f"{padding}: a window would have padding alone"
        )
    if ceil_mode:
        windows = _up(windows, shape[2:])
    sizes = windows.padded(shape[2:])
    if any(size < extent for size, extent in zip(sizes, windows.extent)):
        raise ShapeError(
            f"{who}: a window of {shown(windows.extent)} is larger than the input, {shown(sizes)} "
            f"with its padding. The shape of the input is {shape}"
        )
    return windows


def _up(windows: Windows, sizes: Sizes) -> Windows:
    """The windows with more padding at the ends, so that the last ones are not left out.

    A window that begins behind the input and its padding in front does not count.
    """
    pairs = []
    for n, (before, after), extent, step in zip(
        sizes, windows.padding, windows.extent, windows.stride
    ):
        count = -(-(n + before + after - extent) // step) + 1
        if (count - 1) * step >= n + before:
            count -= 1
        pairs.append((before, max(after, (count - 1) * step + extent - n - before)))
    return windows._replace(padding=tuple(pairs))


# ---------------------------------------------------------------- the largest element


def max_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of windows along one axis: `max_pool2d` of (samples, channels, length).

    >>> import gpugrad as gg
    >>> gg.nn.functional.max_pool1d(gg.tensor([[1.0, 5.0, 2.0, 3.0]]), 2)
    tensor([[5., 3.]])
    """
    return _max_pool(
        "max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window of an image.

    ``input`` is (samples, channels, height, width), or one sample. Windows of ``kernel_size``
    move by ``stride``, by default their own size; their elements lie ``dilation`` apart. The
    ``padding`` at both ends is never the largest; it is at most half a window. Windows that do not
    fit are left out, or with ``ceil_mode`` cut. With ``return_indices`` a second result has where
    in its image each largest element is, as a position in the flattened image. A number may be a
    tuple with one for each axis. NaN is the largest of all; of elements that tie, the first has
    the gradient. ShapeError for numbers that do not fit.

    >>> import gpugrad as gg
    >>> image = gg.arange(16.0).reshape(1, 4, 4)
    >>> gg.nn.functional.max_pool2d(image, 2)
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    >>> gg.nn.functional.max_pool2d(image, 3, stride=1, return_indices=True)[1].tolist()
    [[[10, 11], [14, 15]]]
    """
    return _max_pool(
        "max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of windows over three axes: `max_pool2d` with a depth before the height.

    >>> import gpugrad as gg
    >>> gg.nn.functional.max_pool3d(gg.ones((2, 3, 4, 6, 8)), 2).shape
    (2, 3, 2, 3, 4)
    """
    return _max_pool(
        "max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def _max_pool(
    who: str, axes: int, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
    ceil_mode: bool, return_indices: bool,
) -> Any:  # fmt: skip
    x, single = batch_of(who, x, axes)
    windows = _windows(who, x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    keywords = windows._asdict()
    y: Tensor = OPS["max_pool"](x, **keywords)
    y = y.reshape(y.shape[1:]) if single else y
    if not return_indices:
        return y
    places = places_of(OPS["max_pool_index"](x, **keywords), windows, x.shape[2:])
    return y, places.reshape(places.shape[1:]) if single else places


def places_of(numbers: Tensor, windows: Windows, size: Sizes) -> Tensor:
    """The positions in a flattened image of elements with numbers in their windows."""
    numbers = numbers.astype("int64")
    places: Any = 0
    for axis, count in enumerate(numbers.shape[2:]):
        inner = windows.kernel[axis + 1 :]
        offset = numbers
        for k in inner:
            offset = offset // k
        offset = offset % windows.kernel[axis] * windows.dilation[axis]
        start = OPS["arange_like"](numbers, count) * windows.stride[axis] - windows.padding[axis][0]
        place = offset + start.reshape((-1, *(1,) * len(inner)))
        places = places * size[axis] + place
    return places


class _MaxPool(OverAxes):
    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        who, axes = type(self).__name__, self._axes
        per_axis(who, "kernel_size", kernel_size, axes)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Any) -> Any:
        return _max_pool(
            type(self).__name__, self._axes, input, self.kernel_size, self.stride, self.padding,
            self.dilation, self.ceil_mode, self.return_indices,
        )  # fmt: skip


class MaxPool1d(_MaxPool, axes=1):
    """The largest element of windows along one axis: see `gpugrad.nn.functional.max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.MaxPool1d(3, stride=2)(gg.ones((20, 16, 50))).shape
    (20, 16, 24)
    """


class MaxPool2d(_MaxPool, axes=2):
    """The largest element of each window of an image: see `gpugrad.nn.functional.max_pool2d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.MaxPool2d(2)
    >>> layer
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    >>> layer(gg.ones((64, 16, 28, 28))).shape
    (64, 16, 14, 14)
    """


class MaxPool3d(_MaxPool, axes=3):
    """The largest element of windows over three axes: see `gpugrad.nn.functional.max_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.MaxPool3d((1, 2, 2))(gg.ones((3, 4, 6, 8))).shape
    (3, 4, 3, 4)
    """


# ---------------------------------------------------------------- the mean


def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of windows along one axis: `avg_pool2d` for (samples, channels, length).

    >>> import gpugrad as gg
    >>> gg.nn.functional.avg_pool1d(gg.tensor([[1.0, 5.0, 2.0, 4.0]]), 2)
    tensor([[3., 3.]])
    """
    return _avg_pool(
        "avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> Tensor:  # fmt: skip
    """The mean of each window of an image.

    The arguments are those of `max_pool2d`. The zeros of the padding count as elements, unless
    ``count_include_pad`` is False; what ``ceil_mode`` adds never does. ``divisor_override`` is what
    the sums are divided by instead. float16 is added up in float32.

    >>> import gpugrad as gg
    >>> image = gg.arange(16.0).reshape(1, 4, 4)
    >>> gg.nn.functional.avg_pool2d(image, 2)
    tensor([[[ 2.5,  4.5],
             [10.5, 12.5]]])
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: Any = None,
) -> Tensor:  # fmt: skip
    """The mean of windows over three axes: `avg_pool2d` with a depth before the height.

    >>> import gpugrad as gg
    >>> gg.nn.functional.avg_pool3d(gg.ones((2, 3, 4, 6, 8)), 2).shape
    (2, 3, 2, 3, 4)
    """
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def _avg_pool(
    who: str, axes: int, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor: Any,
) -> Tensor:  # fmt: skip
    x, single = batch_of(who, x, axes)
    refuse_whole(who, x)
    windows = _windows(who, x.shape, kernel_size, stride, padding, 1, ceil_mode)
    counted = tuple([(low, low) if count_include_pad else (0, 0) for low, _ in windows.padding])
    if divisor is not None and (isinstance(divisor, bool) or not divisor):
        raise ArgumentError(
            f"{who}: divisor_override must be a number other than 0, or None, got {divisor!r}"
        )
    y: Tensor = OPS["avg_pool"](
        x, kernel=windows.kernel, stride=windows.stride, padding=windows.padding, counted=counted,
        divisor=divisor,
    )  # fmt: skip
    return y.reshape(y.shape[1:]) if single else y


class _AvgPool(OverAxes):
    _shown: tuple[str, ...] = ("kernel_size", "stride", "padding")

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: Any = None,
    ) -> None:  # fmt: skip
        per_axis(type(self).__name__, "kernel_size", kernel_size, self._axes)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Any) -> Tensor:
        return _avg_pool(
            type(self).__name__, self._axes, input, self.kernel_size, self.stride, self.padding,
            self.ceil_mode, self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class AvgPool1d(_AvgPool, axes=1):
    """The mean of windows along one axis: see `gpugrad.nn.functional.avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AvgPool1d(3, stride=2)(gg.ones((20, 16, 50))).shape
    (20, 16, 24)
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool, axes=2):
    """The mean of each window of an image: see `gpugrad.nn.functional.avg_pool2d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.AvgPool2d(2)
    >>> layer
    AvgPool2d(kernel_size=2, stride=2, padding=0)
    >>> layer(gg.ones((64, 16, 28, 28))).shape
    (64, 16, 14, 14)
    """


class AvgPool3d(_AvgPool, axes=3):
    """The mean of windows over three axes: see `gpugrad.nn.functional.avg_pool2d`.

    >>> import gpugrad as gg
    >>> gg.nn.AvgPool3d((1, 2, 2))(gg.ones((3, 4, 6, 8))).shape
    (3, 4, 3, 4)
    """
