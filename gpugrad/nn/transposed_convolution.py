"""Transposed convolutions of one to three axes, as functions and layers. Imports `convolution`.

The order of their arguments is PyTorch's, which is another one than that of convolutions.
"""

from typing import Any

from gpugrad.backend.windows import Windows
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.nn.convolution import ConvolutionLayer, check_bias, operands_of
from gpugrad.nn.linear import check_size
from gpugrad.nn.sliding import batch_of, per_axis, shown
from gpugrad.random import Generator
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d",
]  # fmt: skip

Sizes = tuple[int, ...]

_transposed = OPS["convolution_transpose"]


def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `conv1d`: `conv_transpose2d` for (samples, channels, length).

    >>> import gpugrad as gg
    >>> x, weight = gg.tensor([[[1.0, 2.0]]]), gg.tensor([[[1.0, 10.0, 100.0]]])
    >>> gg.nn.functional.conv_transpose1d(x, weight, stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _spread(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Each element times the kernel, added up where windows of `conv2d` would lie: its transpose.

    ``input`` is (samples, inputs, height, width) or one sample, ``weight`` (inputs, outputs /
    groups, *kernel), ``bias`` (outputs,) or None. The result has (size - 1) stride - 2 padding +
    dilation (kernel - 1) + output_padding + 1 elements along each axis: with the same numbers it
    undoes the size of `conv2d`, which is that of several sizes where the stride is above 1;
    ``output_padding``, less than the stride or the dilation, chooses among them. ShapeError where
    shapes, sizes or groups do not fit.

    >>> import gpugrad as gg
    >>> x, weight = gg.ones((5, 8, 7, 7)), gg.ones((8, 4, 2, 2))
    >>> gg.nn.functional.conv_transpose2d(x, weight, stride=2).shape
    (5, 4, 14, 14)
    """
    return _spread(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `conv3d`: `conv_transpose2d` with a depth before height and width.

    >>> import gpugrad as gg
    >>> x, weight = gg.ones((5, 8, 3, 3, 3)), gg.ones((8, 4, 2, 2, 2))
    >>> gg.nn.functional.conv_transpose3d(x, weight, stride=2, output_padding=1).shape
    (5, 4, 7, 7, 7)
    """
    return _spread(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def _spread(
    who: str, axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    output_padding: Any, groups: Any, dilation: Any,
) -> Tensor:  # fmt: skip
    x, weight, bias = operands_of(who, axes, x, weight, bias)
    x, single = batch_of(who, x, axes)
    groups = check_size(who, "groups", groups)
    stride = per_axis(who, "stride", stride, axes)
    dilation = per_axis(who, "dilation", dilation, axes)
    extra = per_axis(who, "output_padding", output_padding, axes, 0)
    pads = [(n, n) for n in per_axis(who, "padding", padding, axes, 0)]
    inputs, outputs, *kernel = weight.shape
    if inputs % groups:
        raise ShapeError(
            f"{who}: groups must divide the {inputs} inputs of the weight {weight.shape}, got "
            f"{groups}"
        )
    if x.shape[1] != inputs:
        raise ShapeError(
            f"{who}: the weight {weight.shape} takes {inputs} channels, the input has "
            f"{x.shape[1]}: its shape is {x.shape}"
        )
    check_bias(who, bias, outputs * groups)
    if any(n >= max(s, d) for n, s, d in zip(extra, stride, dilation)):
        raise ShapeError(
            f"{who}: output_padding must be less than the stride or the dilation, got {extra} "
            f"with the stride {stride} and the dilation {dilation}"
        )
    windows = Windows(tuple(kernel), stride, tuple(pads), dilation)
    size = _size_of(who, windows, x.shape, extra)
    keywords = {"stride": stride, "dilation": dilation, "groups": groups}
    # Beyond the stride there is room for another window, which is none: less is padding after the
    # elements, and past the padding no element of x reaches.
    beyond = [max(n - s + 1, 0) for n, s in zip(extra, stride)]
    pads = [(before, after - n) for n, (before, after) in zip(beyond, pads)]
    if min(after for _, after in pads) >= 0:
        y: Tensor = _transposed(x, weight, bias, size=size, padding=tuple(pads), **keywords)
    else:
        whole = tuple([n + before + min(after, 0) for n, (before, after) in zip(size, pads)])
        kept = tuple([(0, max(after, 0)) for _, after in pads])
        y = _transposed(x, weight, None, size=whole, padding=kept, **keywords)
        y = OPS["pad_zeros"](y, ((0, 0), (0, 0), *((0, max(-after, 0)) for _, after in pads)))
        y = y[(slice(None), slice(None), *(slice(before, None) for before, _ in pads))]
        y = y if bias is None else y + bias.reshape((-1, *(1,) * axes))
    return y.reshape(y.shape[1:]) if single else y


def _size_of(who: str, windows: Windows, shape: Sizes, extra: Sizes) -> Sizes:
    """The size of a transposed convolution of an input; ShapeError if nothing is left of it."""
    size = tuple(
        [
            (n - 1) * stride - before - after + extent + more
            for n, stride, (before, after), extent, more in zip(
                shape[2:], windows.stride, windows.padding, windows.extent, extra
            )
        ]
    )
    if 0 in shape[2:] or min(size) < 1:
        raise ShapeError(
            f"{who}: nothing is left of the input {shape} with the kernel "
            f"{shown(windows.kernel)} and the padding {shown(tuple(n for n, _ in windows.padding))}"
        )
    return size


class _Transposed(ConvolutionLayer):
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
        dilation: Any = 1, padding_mode: str = "zeros", *, dtype: Any = None, device: Any = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if isinstance(padding, str):
            raise ArgumentError(
                f"{type(self).__name__}: padding must be in whole numbers, got {padding!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
            groups, bias, padding_mode, dtype, device, generator,
        )  # fmt: skip

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """The transposed convolution, with ``output_size`` elements along its last axes."""
        extra = self.output_padding
        if output_size is not None:
            extra = self._extra(as_tensor(input), output_size)
        return _spread(
            type(self).__name__, self._axes, input, self.weight, self.bias, self.stride,
            self.padding, extra, self.groups, self.dilation,
        )  # fmt: skip

    def _extra(self, x: Tensor, output_size: Any) -> Sizes:
        """The output_padding that gives a size; ShapeError where the stride allows none."""
        who, axes = type(self).__name__, self._axes
        sizes = per_axis(who, "output_size", tuple(output_size)[-axes:], axes)
        pads = tuple([(n, n) for n in per_axis(who, "padding", self.padding, axes, 0)])
        windows = Windows(self.kernel_size, self.stride, pads, self.dilation)
        shape = batch_of(who, x, axes)[0].shape
        least = _size_of(who, windows, shape, (0,) * axes)
        extra = tuple([size - n for size, n in zip(sizes, least)])
        if any(not 0 <= n < stride for n, stride in zip(extra, self.stride)):
            most = tuple([n + stride - 1 for n, stride in zip(least, self.stride)])
            raise ShapeError(
                f"{who}: output_size must be between {least} and {most} for the input {x.shape}, "
                f"got {output_size!r}"
            )
        return extra


class ConvTranspose1d(_Transposed, axes=1):
    """The transposed convolution along one axis: see `ConvTranspose2d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.ConvTranspose1d(8, 4, 2, stride=2)
    >>> layer(gg.ones((5, 8, 7))).shape
    (5, 4, 14)
    """


class ConvTranspose2d(_Transposed, axes=2):
    """The transposed convolution of images (samples, in_channels, height, width), or of one.

    ``weight`` is (in_channels, out_channels / groups, *kernel_size), ``bias`` (out_channels,) or
    None; the other arguments are those of `gpugrad.nn.functional.conv_transpose2d`. Called with
    ``output_size`` it chooses ``output_padding`` to give that size. Weight and bias start uniform
    on ±1/√n with n = out_channels / groups times the elements of the kernel, as in PyTorch.
    ShapeError for numbers that do not fit.

    >>> import gpugrad as gg
    >>> layer = gg.nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> x = gg.ones((5, 8, 7, 7))
    >>> layer(x).shape, layer(x, output_size=(14, 14)).shape
    ((5, 4, 13, 13), (5, 4, 14, 14))
    """


class ConvTranspose3d(_Transposed, axes=3):
    """The transposed convolution with a depth before height and width: see `ConvTranspose2d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.ConvTranspose3d(8, 4, 2, stride=2, bias=False)
    >>> layer(gg.ones((5, 8, 3, 4, 4))).shape
    (5, 4, 6, 8, 8)
    """
