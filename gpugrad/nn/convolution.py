"""Convolutions of one to three axes, as functions and layers. Imports `padding`, `sliding`, others.

The transposed ones, which share the base class and the checks, are in `transposed_convolution`.
"""

from typing import Any

from gpugrad.backend.windows import Windows
from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.functions.operands import without_lists
from gpugrad.nn.linear import Affine, check_size
from gpugrad.nn.padding import MODES, pad
from gpugrad.nn.sliding import AXES, OverAxes, batch_of, per_axis, shown
from gpugrad.random import Generator
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvolutionLayer", "check_bias", "conv1d", "conv2d", "conv3d",
    "operands_of",
]  # fmt: skip

Sizes = tuple[int, ...]

_convolution = OPS["convolution"]


def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution along one axis: `conv2d` for (samples, channels, length).

    >>> import gpugrad as gg
    >>> x, weight = gg.tensor([[[1.0, 2.0, 4.0, 7.0]]]), gg.tensor([[[-1.0, 1.0]]])
    >>> gg.nn.functional.conv1d(x, weight)
    tensor([[[1., 2., 3.]]])
    """
    return _convolved("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """The sums of the elements under windows of an image, weighted for each output channel.

    ``input`` is (samples, inputs, height, width) or one sample without the first axis, ``weight``
    (outputs, inputs / groups, *kernel), ``bias`` (outputs,) or None. Windows move by ``stride``;
    their elements lie ``dilation`` apart. ``padding`` is the number of zeros at both ends of each
    axis, "valid" for none, or "same" for as many as keep the size, which wants a stride of 1. Of
    ``groups`` each sees its share of the inputs and gives its share of the outputs. A number may
    be a tuple with one for each axis. float16 is added up in float32.

    The result has (size + 2 padding - dilation (kernel - 1) - 1) // stride + 1 elements along each
    axis. As in every such library the kernel is not turned around: it is a cross-correlation.
    ShapeError where shapes, sizes or groups do not fit.

    >>> import gpugrad as gg
    >>> image = gg.arange(9.0).reshape(1, 3, 3)
    >>> gg.nn.functional.conv2d(image, gg.ones((1, 1, 2, 2)))
    tensor([[[ 8., 12.],
             [20., 24.]]])
    >>> gg.nn.functional.conv2d(image, gg.ones((4, 1, 3, 3)), padding="same").shape
    (4, 3, 3)
    """
    return _convolved("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """The convolution over three axes: `conv2d` for (samples, channels, depth, height, width).

    >>> import gpugrad as gg
    >>> x, weight = gg.ones((5, 2, 4, 4, 4)), gg.ones((3, 2, 2, 2, 2))
    >>> gg.nn.functional.conv3d(x, weight, stride=2).shape
    (5, 3, 2, 2, 2)
    """
    return _convolved("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _convolved(
    who: str, axes: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: Any,
) -> Tensor:  # fmt: skip
    x, weight, bias = operands_of(who, axes, x, weight, bias)
    x, single = batch_of(who, x, axes)
    groups = check_size(who, "groups", groups)
    stride = per_axis(who, "stride", stride, axes)
    dilation = per_axis(who, "dilation", dilation, axes)
    outputs, inputs, *kernel = weight.shape
    if outputs % groups:
        raise ShapeError(
            f"{who}: groups must divide the {outputs} outputs of the weight {weight.shape}, got "
            f"{groups}"
        )
    if x.shape[1] != inputs * groups:
        of_groups = "" if groups == 1 else f" for each of {groups} groups"
        raise ShapeError(
            f"{who}: the weight {weight.shape} takes {inputs} channels{of_groups}, the input has "
            f"{x.shape[1]}: its shape is {x.shape}"
        )
    check_bias(who, bias, outputs)
    pads = padding_of(who, padding, tuple(kernel), stride, dilation)
    windows = Windows(tuple(kernel), stride, pads, dilation)
    _check_fit(who, windows, x.shape)
    y: Tensor = _convolution(
        x, weight, bias, stride=stride, padding=pads, dilation=dilation, groups=groups
    )
    return y.reshape(y.shape[1:]) if single else y


def operands_of(who: str, axes: int, x: Any, weight: Any, bias: Any) -> tuple[Any, Any, Any]:
    x, weight, bias = without_lists(x, weight, bias)
    x, weight = as_tensor(x), as_tensor(weight)
    if weight.ndim != axes + 2 or 0 in weight.shape[2:]:
        order = "(inputs, outputs / groups" if "transpose" in who else "(outputs, inputs / groups"
        raise ShapeError(
            f"{who}: expected a weight {order}, {AXES[axes]}) with a kernel of one element or "
            f"more, got shape {weight.shape}"
        )
    return x, weight, None if bias is None else as_tensor(bias)


def check_bias(who: str, bias: Any, outputs: int) -> None:
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(
            f"{who}: bias must have shape {(outputs,)}, one number for each output, got "
            f"{bias.shape}"
        )


def padding_of(
    who: str, padding: Any, kernel: Sizes, stride: Sizes, dilation: Sizes
) -> tuple[tuple[int, int], ...]:
    """The padding before and after each axis."""
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(step != 1 for step in stride):
            raise ArgumentError(
                f"{who}: padding='same' keeps the size only with a stride of 1, got {stride}. "
                "Give the padding in numbers"
            )
        whole_of = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple([(total // 2, total - total // 2) for total in whole_of])
    if isinstance(padding, str):
        raise ArgumentError(
            f"{who}: padding must be 'same', 'valid' or whole numbers, got {padding!r}"
        )
    return tuple([(n, n) for n in per_axis(who, "padding", padding, len(kernel), 0)])


def _check_fit(who: str, windows: Windows, shape: Sizes) -> None:
    """ShapeError where no window fits into the last axes of a shape."""
    sizes = windows.padded(shape[2:])
    if any(size < extent for size, extent in zip(sizes, windows.extent)):
        padded = " with its padding" if any(map(any, windows.padding)) else ""
        dilated = (
            f", {shown(windows.extent)} with its dilation" if max(windows.dilation) > 1 else ""
        )
        raise ShapeError(
            f"{who}: the kernel, {shown(windows.kernel)}{dilated}, is larger than the input, "
            f"{shown(sizes)}{padded}. The shape of the input is {shape}"
        )


# ---------------------------------------------------------------- modules


class ConvolutionLayer(OverAxes, Affine):
    """What `Conv2d`, `ConvTranspose2d` and the others share."""

    transposed = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, output_padding: Any, groups: int, bias: bool, padding_mode: str, dtype: Any,
        device: Any, generator: Generator | None,
    ) -> None:  # fmt: skip
        who, axes = type(self).__name__, self._axes
        self.in_channels = check_size(who, "in_channels", in_channels)
        self.out_channels = check_size(who, "out_channels", out_channels)
        self.kernel_size = per_axis(who, "kernel_size", kernel_size, axes)
        self.stride = per_axis(who, "stride", stride, axes)
        self.dilation = per_axis(who, "dilation", dilation, axes)
        pads = padding_of(who, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding if isinstance(padding, str) else tuple([low for low, _ in pads])
        self.output_padding = per_axis(who, "output_padding", output_padding, axes, 0)
        self.groups = check_size(who, "groups", groups)
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ShapeError(
                    f"{who}: groups must divide {name}, got {self.groups} groups of "
                    f"{getattr(self, name)} channels"
                )
        self.padding_mode = self._mode_of(padding_mode)
        first, second = self.in_channels, self.out_channels
        if not self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        self._start(shape, self.out_channels, bias, dtype, device, generator)

    def _mode_of(self, mode: Any) -> str:
        modes = ("zeros",) if self.transposed else ("zeros", *MODES[1:])
        if mode not in modes:
            listed = " or ".join(map(repr, modes))
            raise ArgumentError(
                f"{type(self).__name__}: padding_mode must be {listed}, got {mode!r}"
            )
        return str(mode)

    def extra_repr(self) -> str:
        fields = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}"]
        fields.append(f"stride={self.stride}")
        defaults = {"padding": (0,), "dilation": (1,), "output_padding": (0,)}
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default * self._axes:
                fields.append(f"{name}={value!r}")
        if self.groups != 1:
            fields.append(f"groups={self.groups}")
        if self.bias is None:
            fields.append("bias=False")
        if self.padding_mode != "zeros":
            fields.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(fields)


class _Convolution(ConvolutionLayer):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
        padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", *, dtype: Any = None, device: Any = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode, dtype, device, generator,
        )  # fmt: skip

    def forward(self, input: Any) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            who = type(self).__name__
            pads = padding_of(who, padding, self.kernel_size, self.stride, self.dilation)
            input = pad(input, [n for pair in pads[::-1] for n in pair], self.padding_mode)
            padding = 0
        return _convolved(
            type(self).__name__, self._axes, input, self.weight, self.bias, self.stride, padding,
            self.dilation, self.groups,
        )  # fmt: skip


class Conv1d(_Convolution, axes=1):
    """The convolution along one axis, of (samples, in_channels, length): see `Conv2d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Conv1d(16, 33, 3, stride=2)
    >>> layer(gg.ones((20, 16, 50))).shape
    (20, 33, 24)
    """


class Conv2d(_Convolution, axes=2):
    """The convolution of images (samples, in_channels, height, width), or of one of them.

    ``weight`` is (out_channels, in_channels / groups, *kernel_size), ``bias`` (out_channels,) or
    None. ``kernel_size``, ``stride``, ``padding``, ``dilation`` and ``groups`` are those of
    `gpugrad.nn.functional.conv2d`. ``padding_mode`` says what stands around the input: "zeros",
    "reflect", "replicate" or "circular", as in `gpugrad.nn.functional.pad`.

    Both start uniform on ±1/√n, with n the elements under a window, in_channels / groups times
    those of the kernel: a kaiming_uniform_ with a = √5, as PyTorch's ``reset_parameters``; they
    are drawn from ``generator`` or the default one. ShapeError and ArgumentError for numbers and
    modes that there are not.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Conv2d(1, 16, 3, padding=1)
    >>> layer
    Conv2d(1, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))  # 160 parameters
    >>> layer(gg.ones((64, 1, 28, 28))).shape
    (64, 16, 28, 28)
    """


class Conv3d(_Convolution, axes=3):
    """The convolution of (samples, in_channels, depth, height, width): see `Conv2d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Conv3d(2, 4, (3, 5, 5), padding="same")
    >>> layer(gg.ones((2, 6, 8, 8))).shape
    (4, 6, 8, 8)
    """
