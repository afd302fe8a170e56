"""Windows of convolutions and pools, gathered and added up: one kernel for each op.

The methods of `WindowKernels` replace the formulas of `gpugrad.ops.convolution` and `pooling` in
the namespace of CuPy. One thread computes an element of the result, from all that it depends on:
where windows overlap, the elements under them are gathered, so that no atomics are needed and
every run gives the same bits. Up to three axes; the formula runs for more, and for other dtypes.
Imports `source`.
"""

from collections.abc import Callable
from functools import cache, lru_cache, partial
from math import nan, prod
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.windows import Windows
from gpugrad.kernels.source import Kernels, prelude

__all__ = ["AXES", "GEOMETRY", "THREADS", "WindowKernels", "pools_source", "windows_source"]

THREADS = 256
AXES = 3  # at most; the axes that are missing in front have one element
SMALL = 256  # windows of fewer elements have their numbers in a byte

Sizes = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


@cache
def windows_source(dtype: Any) -> str:
    """The kernels of im2col and col2im, and of average pools."""
    return prelude(dtype) + GEOMETRY + COLUMNS + MEANS


@cache
def pools_source(dtype: Any, small: bool) -> str:
    """The kernels of max pools, with the numbers of elements in a byte or in an int."""
    number = "unsigned char" if small else "int"
    return f"{prelude(dtype)}{GEOMETRY}typedef {number} I;\n{LARGEST}"


GEOMETRY = """
// Of each axis: elements, windows, and of a window the elements, the stride, the padding in front
// and the dilation.
#define AXIS(a) long long size##a, long long count##a, long long kernel##a, long long stride##a, \\
    long long before##a, long long dilation##a
#define AXES_3 AXIS(0), AXIS(1), AXIS(2)
#define SIZE (size0 * size1 * size2)
#define COUNT (count0 * count1 * count2)
#define EACH_OF(i, total) \\
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < (total); \\
         i += (long long)gridDim.x * blockDim.x)
// The place of the thread's window, or element, along each axis, and its plane.
#define PLACE(i, n0, n1, n2) \\
    const long long at2 = i % (n2), row = i / (n2); \\
    const long long at1 = row % (n1), slab = row / (n1); \\
    const long long at0 = slab % (n0), plane = slab / (n0);
#define EACH_OFFSET(a) for (long long k##a = 0; k##a < kernel##a; ++k##a)
// For an offset in the thread's window: where the element is.
#define ELEMENT(a) \\
    const long long x##a = at##a * stride##a - before##a + k##a * dilation##a; \\
    const bool inside##a = x##a >= 0 && x##a < size##a;
#define INSIDE (inside0 && inside1 && inside2)
#define THE_ELEMENT ((x0 * size1 + x1) * size2 + x2)
// For an offset: in which window the thread's element has it, if in any.
#define WINDOW(a) \\
    const long long far##a = at##a + before##a - k##a * dilation##a; \\
    if (far##a < 0 || far##a % stride##a) continue; \\
    const long long w##a = far##a / stride##a; \\
    if (w##a >= count##a) continue;
#define THE_WINDOW ((w0 * count1 + w1) * count2 + w2)
#define NUMBER ((k0 * kernel1 + k1) * kernel2 + k2)  // of an offset
// A statement for each offset.
#define FOR_EACH(what, ...) \\
    EACH_OFFSET(0) { what(0) EACH_OFFSET(1) { what(1) EACH_OFFSET(2) { what(2) __VA_ARGS__ } } }
"""

COLUMNS = """
// The elements of a window are `step` apart; the windows of sample n and channel c begin at
// n * samples_step + c * channels_step.
extern "C" __global__ void im2col(
    const T* x, T* y, long long planes, long long channels, long long samples_step,
    long long channels_step, long long step, AXES_3)
{
    EACH_OF(i, planes * COUNT) {
        PLACE(i, count0, count1, count2)
        const T* from = x + plane * SIZE;
        T* to = y + plane / channels * samples_step + plane % channels * channels_step + i % COUNT;
        FOR_EACH(ELEMENT, *to = INSIDE ? from[THE_ELEMENT] : narrow(0); to += step;)
    }
}

extern "C" __global__ void col2im(const T* columns, T* y, long long planes, AXES_3)
{
    const long long elements = kernel0 * kernel1 * kernel2;
    EACH_OF(i, planes * SIZE) {
        PLACE(i, size0, size1, size2)
        const T* from = columns + plane * elements * COUNT;
        W sum = 0;
        FOR_EACH(WINDOW, sum += widen(from[NUMBER * COUNT + THE_WINDOW]);)
        y[i] = narrow(sum);
    }
}
"""

MEANS = """
// The number of elements of a window that count along an axis: from -low on, before size + high.
__device__ inline long long length(
    long long at, long long size, long long kernel, long long stride, long long before,
    long long low, long long high)
{
    const long long start = at * stride - before, stop = start + kernel;
    return (stop < size + high ? stop : size + high) - (start > -low ? start : -low);
}
#define LENGTH(a, at) length(at, size##a, kernel##a, stride##a, before##a, low##a, high##a)
#define COUNTED long long low0, long long high0, long long low1, long long high1, long long low2, \\
    long long high2, double divisor
// The divisor, or where it is NaN the number of elements of a window that count.
#define DIVISOR(at0, at1, at2) \\
    (divisor == divisor ? (W)divisor : (W)(LENGTH(0, at0) * LENGTH(1, at1) * LENGTH(2, at2)))

extern "C" __global__ void avg_pool(const T* x, T* y, long long planes, AXES_3, COUNTED)
{
    EACH_OF(i, planes * COUNT) {
        PLACE(i, count0, count1, count2)
        const T* from = x + plane * SIZE;
        W sum = 0;
        FOR_EACH(ELEMENT, if (INSIDE) sum += widen(from[THE_ELEMENT]);)
        y[i] = narrow(sum / DIVISOR(at0, at1, at2));
    }
}

extern "C" __global__ void avg_spread(const T* g, T* y, long long planes, AXES_3, COUNTED)
{
    EACH_OF(i, planes * SIZE) {
        PLACE(i, size0, size1, size2)
        const T* from = g + plane * COUNT;
        W sum = 0;
        FOR_EACH(WINDOW, sum += widen(from[THE_WINDOW]) / DIVISOR(w0, w1, w2);)
        y[i] = narrow(sum);
    }
}
"""

LARGEST = """
// The pointer of the numbers may be 0: they are not wanted.
extern "C" __global__ void max_pool(const T* x, T* y, I* numbers, long long planes, AXES_3)
{
    EACH_OF(i, planes * COUNT) {
        PLACE(i, count0, count1, count2)
        const T* from = x + plane * SIZE;
        W top = -1 / (W)0;
        I found = 0;
        FOR_EACH(ELEMENT,
            if (!INSIDE)
                continue;
            const W value = widen(from[THE_ELEMENT]);
            if (value > top || value != value) {
                top = value;
                found = (I)NUMBER;
            }
        )
        y[i] = narrow(top);
        if (numbers)
            numbers[i] = found;
    }
}

extern "C" __global__ void chosen_elements(
    const T* x, const I* numbers, T* y, long long planes, AXES_3)
{
    EACH_OF(i, planes * COUNT) {
        PLACE(i, count0, count1, count2)
        const long long number = numbers[i];
        const long long k2 = number % kernel2, k1 = number / kernel2 % kernel1;
        const long long k0 = number / kernel2 / kernel1;
        ELEMENT(0) ELEMENT(1) ELEMENT(2)
        y[i] = INSIDE ? x[plane * SIZE + THE_ELEMENT] : narrow(0);
    }
}

extern "C" __global__ void at_chosen_elements(
    const T* g, const I* numbers, T* y, long long planes, AXES_3)
{
    EACH_OF(i, planes * SIZE) {
        PLACE(i, size0, size1, size2)
        W sum = 0;
        FOR_EACH(WINDOW,
            const long long window = plane * COUNT + THE_WINDOW;
            if (numbers[window] == NUMBER)
                sum += widen(g[window]);
        )
        y[i] = narrow(sum);
    }
}
"""


@lru_cache(1024)
def _geometry(windows: Windows, sizes: Sizes, counts: Sizes) -> Sizes:
    """The arguments of `AXES_3`."""
    missing = AXES - len(sizes)
    numbers = list(
        zip(
            sizes, counts, windows.kernel, windows.stride, [low for low, _ in windows.padding],
            windows.dilation,
        )
    )  # fmt: skip
    return tuple(n for axis in [(1, 1, 1, 1, 0, 1)] * missing + numbers for n in axis)


def _counted(counted: Pairs, divisor: float | None) -> tuple[Any, ...]:
    """The arguments of `COUNTED`. Not cached: a divisor of -0.0 equals one of 0.0."""
    pairs = [(0, 0)] * (AXES - len(counted)) + list(counted)
    return (*[n for pair in pairs for n in pair], nan if divisor is None else float(divisor))


class WindowKernels(Kernels):
    """Windows on arrays of CuPy."""

    brain = True

    def im2col(self, x: Any, kernel: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes) -> Any:
        """The formula of this name in `gpugrad.ops.convolution`."""
        windows = Windows(kernel, stride, padding, dilation)
        if not self._fits(x, windows):
            return self._formula("im2col", x, *windows)
        counts = windows.counts(x.shape[2:])
        y = self._array((*x.shape[:2], *kernel, *counts), x.dtype)
        step = prod(counts)
        each = step * windows.elements
        self._gather(x, y, windows, counts, (each * x.shape[1], each, step))
        return y

    def columns_together(self, x: Any, windows: Windows, groups: int) -> Any:
        """The formula of this name in `gpugrad.ops.convolution`."""
        divides = groups > 0 and x.shape[1] % groups == 0  # else the formula raises
        if windows.single or not divides or not self._fits(x, windows):
            return self._formula("columns_together", x, windows, groups)
        samples, channels, *sizes = x.shape
        counts = windows.counts(tuple(sizes))
        step = prod(counts)
        under = channels // groups * windows.elements
        y = self._array((groups, under, samples * step), x.dtype)
        together = samples * step
        self._gather(x, y, windows, counts, (step, together * windows.elements, together))
        return y

    def product_in_shape(self, a: Any, b: Any, shape: Sizes) -> Any:
        """The formula of this name in `gpugrad.ops.convolution`."""
        y = namespace_of(a).matmul(a, b)
        if y.base is not None or not y.flags.c_contiguous:
            return y.reshape(shape)
        y.shape = shape  # of new memory, to which nothing else refers
        return y

    def col2im(
        self, columns: Any, size: Sizes, stride: Sizes, padding: Pairs, dilation: Sizes
    ) -> Any:
        """The formula of this name in `gpugrad.ops.convolution`."""
        axes = len(size)
        windows = Windows(columns.shape[2 : axes + 2], stride, padding, dilation)
        if not self._fits(columns, windows) or 0 in size:
            return self._formula("col2im", columns, size, stride, padding, dilation)
        counts = columns.shape[axes + 2 :]
        return self._over("col2im", windows_source, size, (columns,), windows, size, counts)

    def avg_pool(
        self, x: Any, *, kernel: Sizes, stride: Sizes, padding: Pairs, counted: Pairs,
        divisor: float | None,
    ) -> Any:  # fmt: skip
        """The formula of this name in `gpugrad.ops.pooling`."""
        windows = Windows(kernel, stride, padding, (1,) * len(kernel))
        if not self._fits(x, windows):
            words = {"counted": counted, "divisor": divisor}
            return self._with_words("avg_pool", x, windows, **words)
        size, counts = x.shape[2:], windows.counts(x.shape[2:])
        more = _counted(counted, divisor)
        return self._over("avg_pool", windows_source, counts, (x,), windows, size, counts, *more)

    def avg_spread(
        self, g: Any, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pairs, counted: Pairs,
        divisor: float | None,
    ) -> Any:  # fmt: skip
        """The formula of this name in `gpugrad.ops.pooling`."""
        windows = Windows(kernel, stride, padding, (1,) * len(kernel))
        if not self._fits(g, windows):
            words = {"size": size, "counted": counted, "divisor": divisor}
            return self._with_words("avg_spread", g, windows, **words)
        counts, more = g.shape[2:], _counted(counted, divisor)
        return self._over("avg_spread", windows_source, size, (g,), windows, size, counts, *more)

    def max_pool(self, x: Any, **words: Any) -> Any:
        """The formula of this name in `gpugrad.ops.pooling`."""
        windows = Windows(**words)
        if not self._fits(x, windows):
            return self._with_words("max_pool", x, windows)
        return self._largest(x, windows, None)

    def max_pool_and_residuals(self, x: Any, **words: Any) -> Any:
        """The same, with the numbers of the largest elements in their windows."""
        windows = Windows(**words)
        if not self._fits(x, windows):
            return self._with_words("max_pool_and_residuals", x, windows)
        shape = (*x.shape[:2], *windows.counts(x.shape[2:]))
        numbers = self._array(shape, np.uint8 if windows.elements < SMALL else np.int32)
        return self._largest(x, windows, numbers), numbers

    def chosen_elements(self, x: Any, index: Any, **words: Any) -> Any:
        """The formula of this name in `gpugrad.ops.pooling`."""
        windows = Windows(**words)
        if not self._fits(x, windows) or not _numbers(index, windows):
            return self._with_words("chosen_elements", x, windows, index)
        arrays, size, counts = (x, index), x.shape[2:], index.shape[2:]
        return self._over("chosen_elements", _pools(windows), counts, arrays, windows, size, counts)

    def at_chosen_elements(self, g: Any, index: Any, *, size: Sizes, **words: Any) -> Any:
        """The formula of this name in `gpugrad.ops.pooling`."""
        windows = Windows(**words)
        if not self._fits(g, windows) or not _numbers(index, windows) or g.shape != index.shape:
            return self._with_words("at_chosen_elements", g, windows, index, size=size)
        arrays, counts, name = (g, index), index.shape[2:], "at_chosen_elements"
        return self._over(name, _pools(windows), size, arrays, windows, size, counts)

    def _largest(self, x: Any, windows: Windows, numbers: Any) -> Any:
        counts = windows.counts(x.shape[2:])
        y = self._array((*x.shape[:2], *counts), x.dtype)
        arguments = (
            self._dense(x), y, numbers, prod(y.shape[:2]),
            *_geometry(windows, x.shape[2:], counts),
        )  # fmt: skip
        self._run(_pools(windows)(x.dtype), "max_pool", y.size, arguments)
        return y

    def _over(
        self, name: str, source: Callable[[Any], str], shape: Sizes, arrays: tuple[Any, ...],
        windows: Windows, size: Sizes, counts: Sizes, *more: Any,
    ) -> Any:  # fmt: skip
        """A new array by a kernel that takes the arrays, the new one and the geometry."""
        first = arrays[0]
        y = self._array((*first.shape[:2], *shape), first.dtype)
        numbers = (prod(y.shape[:2]), *_geometry(windows, size, counts), *more)
        arguments = (*map(self._dense, arrays), y, *numbers)
        self._run(source(y.dtype), name, y.size, arguments)
        return y

    def _gather(self, x: Any, y: Any, windows: Windows, counts: Sizes, steps: Sizes) -> None:
        planes = prod(x.shape[:2])
        arguments = (
            self._dense(x), y, planes, x.shape[1], *steps,
            *_geometry(windows, x.shape[2:], counts),
        )  # fmt: skip
        self._run(windows_source(x.dtype), "im2col", planes * prod(counts), arguments)

    def _run(self, source: str, name: str, total: int, arguments: tuple[Any, ...]) -> None:
        """Launch a kernel with a thread for each element."""
        grid = min(-(-total // THREADS), 1 << 20)
        self._get(source, name)((grid,), (THREADS,), arguments)

    def _fits(self, x: Any, windows: Windows) -> bool:
        return len(windows.kernel) <= AXES and self._fit(x)

    def _with_words(self, name: str, x: Any, windows: Windows, *arrays: Any, **words: Any) -> Any:
        """The formula, whose parameters are keywords."""
        parameters = windows._asdict()
        if name.startswith("avg"):
            del parameters["dilation"]
        return FORMULAS[name](namespace_of(x), x, *arrays, **parameters, **words)


def _pools(windows: Windows) -> Callable[[Any], str]:
    """`pools_source` for windows of their size."""
    return partial(pools_source, small=windows.elements < SMALL)


def _numbers(index: Any, windows: Windows) -> bool:
    """Whether numbers in windows are of the dtype that the kernels read."""
    return bool(index.dtype == (np.uint8 if windows.elements < SMALL else np.int32))
