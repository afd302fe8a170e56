"""Convolution over any number of axes: one trilinear form, of which each op is a derivative.

With x, the weight w and a cotangent g, the sum of g * convolution(x, w) is linear in each of the
three. `convolution` is its derivative by g, `convolution_transpose` that by x and
`convolution_weight` that by w: the rules of each are the other two, so that all orders close.

The formulas gather the elements under the windows into columns (`im2col`), multiply matrices, and
add shares up where they belong (`col2im`), in blocks: of the columns there is never more than twice
the input in memory, or `LEAST` elements. NumPy has a faster way, `gpugrad.backend.convolution`, and
CUDA has kernels that gather and scatter, `gpugrad.kernels.windows`. Imports backend, engine.op and
dtypes.

Arrays are (samples, channels, *sizes), a weight is (outputs, inputs of a group, *kernel); the
parameters are tuples with a number for each of the axes, ``padding`` with a pair of them.
"""

import math
from typing import Any

from gpugrad.backend.windows import LEAST, Windows, blocks
from gpugrad.engine.op import Checks, Sample, op, part
from gpugrad.ops.dtypes import narrowed, widened

Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]


# ---------------------------------------------------------------- columns


def padded(xp: Any, x: Any, padding: Padding) -> Any:
    """x with zeros around its last axes."""
    return xp.pad_zeros(x, ((0, 0), (0, 0), *padding)) if any(map(any, padding)) else x


def without_padding(y: Any, size: Sizes, padding: Padding) -> Any:
    """The inner part of an array with padding."""
    if y.shape[2:] == size:
        return y
    return y[(..., *[slice(low, low + n) for (low, _), n in zip(padding, size)])]


def _im2col(
    xp: Any, x: Any, /, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes
) -> Any:
    windows = Windows(kernel, stride, padding, dilation)
    counts = windows.counts(x.shape[2:])
    x = padded(xp, x, padding)
    parts = [x[(..., *where)] for _, where in windows.positions(counts)]
    return xp.stack(parts, axis=2).reshape((*x.shape[:2], *kernel, *counts))


def _col2im(
    xp: Any, columns: Any, /, size: Sizes, stride: Sizes, padding: Padding, dilation: Sizes
) -> Any:
    axes = len(size)
    kernel, counts = columns.shape[2 : axes + 2], columns.shape[axes + 2 :]
    windows = Windows(kernel, stride, padding, dilation)
    wide = widened(columns)
    y = xp.full_like(wide, 0, shape=(*columns.shape[:2], *windows.padded(size)))
    for offset, where in windows.positions(counts):
        y[(..., *where)] += wide[(slice(None), slice(None), *offset)]
    return narrowed(without_padding(y, size, padding), columns)


_COLUMNS: Any = (
    {"stride": (1,), "padding": ((0, 0),), "dilation": (1,)},
    {"stride": (2, 1), "padding": ((1, 0), (1, 2)), "dilation": (1, 2)},
)

# fmt: off
op("im2col", _im2col,
   vjp=[lambda xp, g, y, x, kernel, stride, padding, dilation: xp.col2im(
       g, size=tuple(x.shape[2:]), stride=stride, padding=padding, dilation=dilation)],
   kind="linear", moves=True, fills=True, public="",
   samples=[Sample((2, 1, 4), kernel=(2,), **_COLUMNS[0]),
            Sample((1, 2, 4, 3), kernel=(3, 2), **_COLUMNS[1])],
   doc="The elements under each window: (samples, channels, *kernel, *counts).")
op("col2im", _col2im,
   vjp=[lambda xp, g, y, columns, size, stride, padding, dilation: xp.im2col(
       g, kernel=tuple(columns.shape[2 : len(size) + 2]), stride=stride, padding=padding,
       dilation=dilation)],
   kind="linear", moves=True, public="",
   samples=[Sample((2, 1, 2, 3), size=(4,), **_COLUMNS[0]),
            Sample((1, 2, 3, 2, 2, 4), size=(4, 3), **_COLUMNS[1])],
   doc="Windows added up where they lie, the transpose of ``im2col``.")
# fmt: on


# ---------------------------------------------------------------- convolution


def _columns(xp: Any, x: Any, windows: Windows, groups: int) -> Any:
    """The elements under each window as (samples, groups, elements, windows)."""
    samples, channels, *sizes = x.shape
    elements = channels // groups * windows.elements
    columns = x if windows.single else xp.im2col(x, **windows._asdict())
    return columns.reshape((samples, groups, elements, math.prod(windows.counts(tuple(sizes)))))


def _columns_together(xp: Any, x: Any, windows: Windows, groups: int) -> Any:
    """The elements under each window as (groups, elements, samples and windows)."""
    return _together(xp, _columns(xp, x, windows, groups))


def _together(xp: Any, x: Any) -> Any:
    """(samples, groups, elements, windows) as (groups, elements, samples and windows)."""
    samples, groups, elements, windows = x.shape
    return xp.transpose(x, (1, 2, 0, 3)).reshape((groups, elements, samples * windows))


part("columns_together", _columns_together)
# A product of stacks of matrices in another shape: on CUDA no view, which a leaf would copy.
part("product_in_shape", lambda xp, a, b, shape: xp.matmul(a, b).reshape(shape))


def _matrix(weight: Any, groups: int) -> Any:
    """A weight as (groups, outputs of a group, elements under a window)."""
    outputs, *under = weight.shape
    return weight.reshape((groups, outputs // groups, math.prod(under)))


def _blocks(x: Any, windows: Windows, channels: int, sizes: Sizes) -> list[tuple[Any, Windows]]:
    """The blocks of samples of certain sizes, and the windows in each of them."""
    windows_of_sample = math.prod(windows.counts(sizes))
    each = 0 if windows.single else channels * windows.elements * windows_of_sample
    parts = blocks(windows, x.shape[0], sizes, each, max(2 * x.size, LEAST))
    return [(p, windows._replace(padding=(p.padding, *windows.padding[1:]))) for p in parts]


def _plus(y: Any, bias: Any) -> Any:
    """y, which is new memory, plus the bias of each channel."""
    if bias is None:
        return y
    bias = bias.reshape((bias.shape[0], *(1,) * (len(y.shape) - 2)))
    if y.dtype != bias.dtype:
        return y + bias
    y += bias
    return y


def _convolution(
    xp: Any, x: Any, weight: Any, bias: Any = None, /, *, stride: Sizes, padding: Padding,
    dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    windows = Windows(tuple(weight.shape[2:]), stride, padding, dilation)
    sizes = tuple(x.shape[2:])
    counts = windows.counts(sizes)
    matrix, y = _matrix(weight, groups), None
    parts = _blocks(x, windows, x.shape[1], sizes)
    for block, own in parts:
        piece = x[block.samples, :, block.inside] if len(parts) > 1 else x
        rows = block.rows.stop - block.rows.start
        shape = (piece.shape[0], weight.shape[0], rows, *counts[1:])
        product = xp.product_in_shape(matrix, _columns(xp, piece, own, groups), shape)
        if len(parts) == 1:
            return _plus(product, bias)
        if y is None:
            y = xp.full_like(product, 0, shape=(x.shape[0], weight.shape[0], *counts))
        y[block.samples, :, block.rows] = product
    return _plus(y, bias)


def _convolution_transpose(
    xp: Any, x: Any, weight: Any, bias: Any = None, /, *, size: Sizes, stride: Sizes,
    padding: Padding, dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    windows = Windows(tuple(weight.shape[2:]), stride, padding, dilation)
    matrix, y = xp.swapaxes(_matrix(weight, groups), 1, 2), None
    channels = weight.shape[1] * groups
    parts = _blocks(x, windows, channels, size)
    for block, own in parts:
        piece = x[block.samples, :, block.rows] if len(parts) > 1 else x
        samples, _, *counts = piece.shape
        flat = piece.reshape((samples, groups, x.shape[1] // groups, math.prod(counts)))
        columns = xp.matmul(matrix, flat)
        inside = (block.inside.stop - block.inside.start, *size[1:])
        if windows.single:
            shares = columns.reshape((samples, channels, *inside))
        else:
            columns = columns.reshape((samples, channels, *windows.kernel, *counts))
            arguments = own._asdict()
            del arguments["kernel"]
            shares = xp.col2im(columns, size=inside, **arguments)
        if len(parts) == 1:
            return _plus(shares, bias)
        if y is None:
            y = xp.full_like(shares, 0, shape=(x.shape[0], channels, *size))
        y[block.samples, :, block.inside] += shares
    return _plus(y, bias)


def _convolution_weight(
    xp: Any, x: Any, d: Any, /, *, kernel: Sizes, stride: Sizes, padding: Padding,
    dilation: Sizes, groups: int,
) -> Any:  # fmt: skip
    windows = Windows(kernel, stride, padding, dilation)
    parts = _blocks(x, windows, x.shape[1], tuple(x.shape[2:]))
    outputs = d.shape[1]
    total: Any = None
    for block, own in parts:
        piece, of_d = x, d
        if len(parts) > 1:
            piece = x[block.samples, :, block.inside]
            of_d = d[block.samples, :, block.rows]
        columns = xp.columns_together(piece, own, groups)
        shape = (of_d.shape[0], groups, outputs // groups, math.prod(of_d.shape[2:]))
        product = xp.product_in_shape(
            _together(xp, of_d.reshape(shape)),
            xp.swapaxes(columns, 1, 2),
            (outputs, x.shape[1] // groups, *kernel),
        )
        if len(parts) > 1:
            product = widened(product)
        total = product if total is None else total + product
    return narrowed(total, d)


# The rules. The parameters of all three ops are the same, but for ``size`` and ``kernel``.


def _sizes(x: Any) -> Sizes:
    return tuple(x.shape[2:])


def _bias_gradient(xp: Any, g: Any) -> Any:
    return xp.sum(g, axis=(0, *range(2, len(g.shape))))


def _convolution_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, parameters: dict[str, Any]
) -> tuple[Any, Any, Any]:
    d_x = d_weight = None
    if needs[0]:
        d_x = xp.convolution_transpose(g, weight, size=_sizes(x), **parameters)
    if needs[1]:
        d_weight = xp.convolution_weight(x, g, kernel=_sizes(weight), **parameters)
    return d_x, d_weight, _bias_gradient(xp, g) if needs[2] else None


def _transpose_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], x: Any, weight: Any, parameters: dict[str, Any]
) -> tuple[Any, Any, Any]:
    d_x = d_weight = None
    if needs[0]:
        d_x = xp.convolution(g, weight, **parameters)
    if needs[1]:
        d_weight = xp.convolution_weight(g, x, kernel=_sizes(weight), **parameters)
    return d_x, d_weight, _bias_gradient(xp, g) if needs[2] else None


def _jvp(xp: Any, name: str, tangents: Any, y: Any, x: Any, weight: Any, parameters: Any) -> Any:
    of_x, of_weight, of_bias = tangents
    function = getattr(xp, name)
    terms = [] if of_x is None else [function(of_x, weight, **parameters)]
    if of_weight is not None:
        terms.append(function(x, of_weight, **parameters))
    if of_bias is not None:
        bias = of_bias.reshape((of_bias.shape[0], *(1,) * (len(y.shape) - 2)))
        terms.append(xp.broadcast_to(bias, y.shape))
    return sum(terms[1:], terms[0])


_ONE: Any = {"stride": (1,), "padding": ((1, 1),), "dilation": (1,), "groups": 1}
_TWO: Any = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2}

# fmt: off
op("convolution", _convolution,
   vjp_all=lambda xp, g, y, needs, x, weight, bias, **parameters: _convolution_vjp(
       xp, g, needs, x, weight, parameters),
   jvp=lambda xp, tangents, y, x, weight, bias, **parameters: _jvp(
       xp, "convolution", tangents, y, x, weight, parameters),
   saves=("weight", "x", ""), complex="conjugate", public="", checks=Checks(fixed="groups"),
   samples=[Sample((2, 1, 4), (2, 1, 3), (2,), **_ONE),
            Sample((2, 2, 4, 5), (4, 1, 3, 2), (4,), **_TWO)], autocast="half",
   doc="The sums of the elements under each window, weighted for each output, plus a bias.")
op("convolution_transpose", _convolution_transpose,
   vjp_all=lambda xp, g, y, needs, x, weight, bias, size, **parameters: _transpose_vjp(
       xp, g, needs, x, weight, parameters),
   jvp=lambda xp, tangents, y, x, weight, bias, **parameters: _jvp(
       xp, "convolution_transpose", tangents, y, x, weight, parameters),
   saves=("weight", "x", ""), complex="conjugate", public="", checks=Checks(fixed="groups"),
   samples=[Sample((2, 2, 4), (2, 1, 3), (1,), size=(4,), **_ONE),
            Sample((2, 4, 2, 5), (4, 1, 3, 2), (2,), size=(4, 5), **_TWO)], autocast="half",
   doc="The transpose of ``convolution`` with the same parameters, by x, of which it has the size.")
op("convolution_weight", _convolution_weight,
   vjp=[lambda xp, g, y, x, d, kernel, **parameters: xp.convolution_transpose(
            d, g, size=_sizes(x), **parameters),
        lambda xp, g, y, x, d, kernel, **parameters: xp.convolution(x, g, **parameters)],
   saves=("d", "x"), kind="multilinear", public="", checks=Checks(fixed="groups"),
   samples=[Sample((2, 1, 4), (2, 2, 4), kernel=(3,), **_ONE),
            Sample((2, 2, 4, 5), (2, 4, 2, 5), kernel=(3, 2), **_TWO)], autocast="half",
   doc="The transpose of ``convolution`` with the same parameters, by its weight.")
# fmt: on
