"""The C text of products with the elements under windows. Imports functions, product_calls, items.

What is under the windows of a block, some samples and some of the windows along the first axis, is
gathered into memory that stays in a processor's second cache and is used again for the next block.
The windows that slide along the first axis are matrices that overlap in it, as in
`gpugrad.backend.convolution`; padding is not copied. Blocks depend on shapes alone, and threads
share them where a product is no call of BLAS, which has threads of its own.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from gpugrad.codegen.operations import c_type
from gpugrad.compiler.c import products
from gpugrad.compiler.c.functions import ALIGNMENT, Function, Scratch
from gpugrad.compiler.c.product_calls import AS_IT_IS, IN_REGISTERS, ROW_MAJOR, SMALL, TRANSPOSED
from gpugrad.compiler.schedule.items import Convolution
from gpugrad.compiler.schedule.layout import Layout

__all__ = ["convolution_function"]

BLOCK = 1 << 18  # bytes that are gathered at a time
MANY_ROWS = 16  # with fewer rows a product of matrices is slow
WORTH = 1 << 21  # multiplications that make threads worth it


def convolution_function(name: str, item: Convolution, with_blas: bool) -> Function:
    """The function that computes a convolution, or the gradient of its weight."""
    return _Writer(name, item, with_blas).function()


class _Gathered(NamedTuple):
    """What is gathered of an array (first, samples, ..., channels): one group of the channels.

    In memory it has the axes (samples, windows along the other axes, rows, kernel of the other
    axes, channels of a group). ``step`` rows are between windows along the first axis; with
    ``joint`` ones they overlap, else each has rows of its own.
    """

    layout: Layout
    windows: Any
    groups: int
    counts: tuple[int, ...]
    joint: bool

    @property
    def channels(self) -> int:
        return self.layout.shape[-1] // self.groups

    @property
    def unit(self) -> int:
        """The elements of a row."""
        return prod(self.windows.kernel[1:]) * self.channels

    @property
    def step(self) -> int:
        return self.windows.stride[0] if self.joint else self.windows.kernel[0]

    @property
    def depth(self) -> int:
        """The elements under a window."""
        return self.windows.kernel[0] * self.unit

    def rows(self, first: int) -> int:
        """The rows of so many windows along the first axis."""
        return (first - 1) * self.step + self.windows.kernel[0]

    def size(self, samples: int, first: int) -> int:
        """The elements of a block."""
        beside = samples * prod(self.counts[1:])
        return beside * self.rows(first) * self.unit

    def text(self, name: str, scalar: str, samples: int, first: int) -> str:
        """The function that gathers a block of at most so many samples and windows."""
        w = self.windows
        strides, sizes = self.layout.strides, self.layout.shape
        row, axes = self.rows(first) * self.unit, range(1, len(w.kernel))
        inner = [prod(w.kernel[axis + 1 :]) * self.channels for axis in range(len(w.kernel))]
        beside = [prod(self.counts[axis + 1 :]) * row for axis in range(len(w.kernel))]
        has_zeros = any(
            low > 0 or (count - 1) * s + extent - low > size
            for (low, _), count, s, extent, size in zip(
                w.padding, self.counts, w.stride, w.extent, (sizes[0], *sizes[2:-1])
            )
        )
        rows = f"(first - 1) * {self.step} + {w.kernel[0]}"
        at = f"from * {w.stride[0]} + r - {w.padding[0][0]}"
        if not self.joint:
            within = f"r % {w.kernel[0]} * {w.dilation[0]} - {w.padding[0][0]}"
            at = f"(from + r / {w.kernel[0]}) * {w.stride[0]} + {within}"
        begin = f"x + i0 * {strides[0]} + (sample + n) * {strides[1]}"
        begin += f" + g * {self.channels * strides[-1]}"
        lines = [
            f"static NOINLINE void {name}(const {scalar} *restrict x, {scalar} *restrict to,",
            "    index_t g, index_t sample, index_t samples, index_t from, index_t first)",
            "{",
        ]
        if has_zeros:
            lines.append(f"    memset(to, 0, {self.size(samples, first)} * sizeof(*to));")
        lines += [
            "    for (index_t n = 0; n < samples; n++)",
            f"    for (index_t r = 0; r < {rows}; r++) {{",
            f"        const index_t i0 = {at};",
            f"        if (i0 < 0 || i0 >= {sizes[0]}) continue;",
            f"        const {scalar} *const x0 = {begin};",
            f"        {scalar} *const y0 = to + n * {beside[0]} + r * {self.unit};",
        ]
        for axis in axes:
            lines += [
                f"        for (index_t k{axis} = 0; k{axis} < {w.kernel[axis]}; k{axis}++) {{",
                f"        const index_t f{axis} = k{axis} * {w.dilation[axis]} "
                f"- {w.padding[axis][0]};",
                f"        const index_t b{axis} = f{axis} < 0 ? "
                f"({w.stride[axis] - 1} - f{axis}) / {w.stride[axis]} : 0;",
                f"        const index_t l{axis} = {sizes[axis + 1] - 1} - f{axis};",
                f"        const index_t e{axis} = l{axis} < 0 ? 0 : l{axis} / {w.stride[axis]} < "
                f"{self.counts[axis]} ? l{axis} / {w.stride[axis]} + 1 : {self.counts[axis]};",
            ]
        for axis in axes:
            lines.append(f"        for (index_t w{axis} = b{axis}; w{axis} < e{axis}; w{axis}++)")
        source = [f"(w{d} * {w.stride[d]} + f{d}) * {strides[d + 1]}" for d in axes]
        target = [f"w{d} * {beside[d]} + k{d} * {inner[d]}" for d in axes]
        own = "" if strides[-1] == 1 else f" * {strides[-1]}"
        lines += [
            "        {",
            f"            const {scalar} *const xc = {' + '.join(['x0', *source])};",
            f"            {scalar} *const yc = {' + '.join(['y0', *target])};",
            f"            for (index_t c = 0; c < {self.channels}; c++) yc[c] = xc[c{own}];",
            "        }",
            f"        {'}' * len(axes)}",
            "    }",
            "}",
            "",
        ]
        return "\n".join(lines)


class _Writer:
    def __init__(self, name: str, item: Convolution, with_blas: bool) -> None:
        self.name = name
        self.item = item
        self.scalar = c_type(item.array.dtype)
        self.itemsize = item.array.dtype.itemsize
        windows = item.windows
        x = item.x.layout
        self.samples = x.shape[1]
        self.counts = windows.counts((x.shape[0], *x.shape[2:-1]))
        self.beside = prod(self.counts[1:])
        shape = item.array.shape
        self.outputs = shape[2] if item.of_weight else shape[-1] // item.groups
        can_overlap = windows.dilation[0] == 1 and windows.stride[0] < windows.kernel[0]
        self.gathered = _Gathered(x, windows, item.groups, self.counts, can_overlap)
        self._choose_block()
        # The rows of a matrix are windows along the first axis, or those beside each other.
        self.turned = self.block[0] * self.beside < min(MANY_ROWS, self.block[1])
        self.kind = self._kind(with_blas)
        if self.turned and self.kind == "blas" and can_overlap:  # no matrices for BLAS
            self.gathered = self.gathered._replace(joint=False)
            self._choose_block()
        self.letter = "d" if self.scalar == "double" else "s"

    def _choose_block(self) -> None:
        """The samples and windows along the first axis of a block."""
        most = min(BLOCK, max(prod(self.item.x.layout.shape) * self.itemsize, BLOCK // 2))
        most, of_all = most // self.itemsize, self.gathered.size(1, self.counts[0])
        if of_all <= most:
            count = -(-self.samples // (most // of_all))
            self.block = -(-self.samples // count), self.counts[0]
        else:
            rows = most // (self.beside * self.gathered.unit)
            joint = self.gathered.windows.kernel[0] - self.gathered.step
            count = max((rows - joint) // self.gathered.step, 1)
            count = -(-self.counts[0] // -(-self.counts[0] // count))
            self.block = 1, count
        self.blocks = -(-self.samples // self.block[0]) * -(-self.counts[0] // self.block[1])
        self.blocks *= self.item.groups

    @property
    def _matrix(self) -> tuple[int, int]:
        """The rows of a matrix in a block, and how many matrices there are for a group."""
        first, second = self.block[1], self.block[0] * self.beside
        return (first, second) if self.turned else (second, first)

    def _steps(self) -> tuple[int, int]:
        """The elements between the rows of a matrix, and between two matrices."""
        one = self.gathered
        along, beside = one.step * one.unit, one.rows(self.block[1]) * one.unit
        return (along, beside) if self.turned else (beside, along)

    def _kind(self, with_blas: bool) -> str:
        """What multiplies: a function of products.c, BLAS, or loops in place."""
        (rows, count), (down, across) = self._matrix, self._steps()
        depth, outputs = self.gathered.depth, self.outputs
        if self.item.of_weight:
            return "blas" if with_blas and rows * depth * outputs > SMALL else "loops"
        a = Layout((count, rows, depth), (across, down, 1), 0)
        b = Layout((count, depth, outputs), (0, outputs, 1), 0)
        if products.are_faster(a, b, self.itemsize):
            return "own"
        return "blas" if with_blas and rows * depth * outputs > SMALL else "loops"

    # The function.

    def function(self) -> Function:
        gather = f"{self.name}_gather"
        texts = [self.gathered.text(gather, self.scalar, *self.block)]
        texts.append(self._of_weight() if self.item.of_weight else self._forward())
        size = sum(self._sizes())
        libraries = {"own": (f"{self.letter}_product", "share"), "blas": (f"{self.letter}gemm",)}
        taken = libraries.get(self.kind, () if self.item.of_weight else ("share",))
        arrays = (self.item.x.array, self.item.other.array, self.item.array)
        offsets = (self.item.x.layout.offset, self.item.other.layout.offset, 0)
        scratch = (Scratch("work", "char", size),)
        return Function(self.name, "\n".join(texts), arrays, scratch, taken, offsets)

    def _sizes(self) -> list[int]:
        """The bytes of what is gathered, and of what a product works in."""
        sizes = [self.gathered.size(*self.block) * self.itemsize]
        if self.kind == "own":
            sizes.append(products.PANEL)
        if self.item.of_weight and not self._is_even():
            sizes.append(self._gradient().size(*self.block) * self.itemsize)
        return [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]

    def _is_shared(self) -> bool:
        work = prod(self.counts) * self.samples * self.gathered.depth * self.outputs
        work *= self.item.groups
        return self.kind != "blas" and self.blocks > 1 and work >= WORTH

    def _of_block(self) -> list[str]:
        """Of which group a block is, where it begins, and how many samples and windows it has."""
        (samples, first), (all_samples, all_first) = self.block, (self.samples, self.counts[0])
        along, beside = -(-all_first // first), -(-all_samples // samples)
        return [
            f"    const index_t g = block / {self.blocks // self.item.groups};",
            f"    const index_t sample = block / {along} % {beside} * {samples};",
            f"    const index_t from = block % {along} * {first};",
            f"    const index_t left = {all_samples} - sample, below = {all_first} - from;",
            f"    const index_t samples = left < {samples} ? left : {samples};",
            f"    const index_t first = below < {first} ? below : {first};",
            f"    {self.scalar} *const rows = ({self.scalar} *)work;",
            f"    {self.name}_gather(x, rows, g, sample, samples, from, first);",
        ]

    def _forward(self) -> str:
        scalar, name, size = self.scalar, self.name, sum(self._sizes())
        function = {"own": f"{self.letter}_product_t", "blas": f"{self.letter}gemm_t"}
        kind = function.get(self.kind)
        more = [] if kind is None else [f"{kind} multiply"]
        given = [f"const {scalar} *restrict x", f"const {scalar} *restrict w"]
        given += [f"{scalar} *restrict y", "char *work", *more]
        threads = ["share_t threads"] if self.kind != "blas" else []
        passed = ["x", "w", "y", "work", *(["multiply"] if more else [])]
        of_block = [*passed, "block", *(["threads"] if self.kind == "own" else [])]
        inner = [*given, "index_t block", *(threads if self.kind == "own" else [])]
        text = [
            f"static NOINLINE void {name}_block({', '.join(inner)})",
            "{",
            *self._of_block(),
            *self._products(),
            "}",
            "",
        ]
        if self._is_shared():
            casts = [f"(const {scalar} *)arrays[0]", f"(const {scalar} *)arrays[1]"]
            casts += [f"({scalar} *)arrays[2]", "work", *([f"({kind})arrays[3]"] if more else [])]
            casts += ["part", *(["0"] if self.kind == "own" else [])]
            arrays = [
                "(void *)x",
                "(void *)w",
                "(void *)y",
                *(["(void *)multiply"] if more else []),
            ]
            text += [
                f"static void {name}_run(void *const *arrays, char *work, index_t part)",
                "{",
                f"    {name}_block({', '.join(casts)});",
                "}",
                "",
            ]
            body = [
                f"    void *const arrays[] = {{{', '.join(arrays)}}};",
                f"    share(threads, {name}_run, arrays, work, {size}, {self.blocks});",
            ]
        else:
            body = [
                f"    for (index_t block = 0; block < {self.blocks}; block++)",
                f"        {name}_block({', '.join(of_block)});",
            ]
        return "\n".join([
            *text,
            f"static NOINLINE void {name}({', '.join([*given, *threads])})",
            "{",
            *body,
            "}",
            "",
        ])  # fmt: skip

    def _products(self) -> list[str]:
        """Statements that multiply what is gathered with the weight."""
        outputs, depth = self.outputs, self.gathered.depth
        down, across = self._steps()
        channels = self.item.groups * outputs
        first = self.samples * self.beside * channels
        y_down, y_across = (first, channels) if self.turned else (channels, first)
        rows, count = self._counts()
        begin = f"y + from * {first} + sample * {self.beside * channels} + g * {outputs}"
        lines = [
            f"    {self.scalar} *const to = {begin};",
            f"    const {self.scalar} *const b = w + g * {depth * outputs};",
        ]
        if self.kind == "own":
            fields = [
                rows, depth, outputs, down, 1, outputs, 1, y_down, 0, 1, count, across, 0, y_across,
            ]  # fmt: skip
            panel = f"work + {self._sizes()[0]}"
            return [
                *lines,
                f"    const index_t fields[] = {{{', '.join(map(str, fields))}}};",
                f"    multiply(fields, rows, b, to, {panel}, threads);",
            ]
        matrix, target = f"rows + j * {across}", f"to + j * {y_across}"
        lines.append(f"    for (index_t j = 0; j < {count}; j++)")
        if self.kind == "blas":
            call = f"{ROW_MAJOR}, {AS_IT_IS}, {AS_IT_IS}, {rows}, {outputs}, {depth}, 1, {matrix}, "
            call += f"{down}, b, {outputs}, 0, {target}, {y_down}"
            return [*lines, f"        multiply({call});"]
        return [*lines, *_loops(self.scalar, rows, depth, outputs, matrix, down, target, y_down)]

    def _counts(self) -> tuple[str, str]:
        """The rows of a matrix in a block, and how many matrices there are, as `_matrix` in C."""
        counts = f"samples * {self.beside}", "first"
        return counts[::-1] if self.turned else counts

    # The gradient of the weight.

    def _gradient(self) -> _Gathered:
        """What is gathered of the gradient: an element for each window."""
        ones = (1,) * len(self.counts)
        windows = self.item.windows._replace(
            kernel=ones, stride=ones, dilation=ones, padding=((0, 0),) * len(ones)
        )
        return _Gathered(self.item.other.layout, windows, self.item.groups, self.counts, False)

    def _is_even(self) -> bool:
        """Whether BLAS takes the gradient as it lies: rows evenly apart, of channels in a run."""
        layout = self.item.other.layout
        axes = [*zip(layout.shape[:-1], layout.strides[:-1])]
        longer = [axis for axis in axes[1:] if axis[0] != 1]
        even = all(outer == n * step for (_, outer), (n, step) in pairwise(longer))
        wide = all(step >= layout.shape[-1] for n, step in axes if n != 1)
        return even and wide and layout.strides[-1] == 1

    def _even_step(self) -> int:
        """The elements between rows of the gradient, for windows beside each other."""
        layout = self.item.other.layout
        axes = zip(layout.shape[-2:0:-1], layout.strides[-2:0:-1])
        return next((step for n, step in axes if n != 1), layout.shape[-1])

    def _of_weight(self) -> str:
        """Products that are added up, block after block."""
        scalar, name = self.scalar, self.name
        outputs, depth = self.outputs, self.gathered.depth
        down, across = self._steps()
        rows, count = self._counts()
        texts, lines = [], self._of_block()
        first, *_ = strides = self.item.other.layout.strides
        if self._is_even():
            beside = self._even_step()
            begin = f"g_of_y + from * {first} + sample * {strides[1]} + g * {outputs}"
            lines.append(f"    const {scalar} *const of_y = {begin};")
            first = first if self.counts[0] != 1 else beside  # which BLAS looks at
        else:
            texts.append(self._gradient().text(f"{name}_gradient", scalar, *self.block))
            first, beside = outputs, self.block[1] * outputs
            lines += [
                f"    {scalar} *const of_y = ({scalar} *)(work + {self._sizes()[0]});",
                f"    {name}_gradient(g_of_y, of_y, g, sample, samples, from, first);",
            ]
        g_down, g_across = (first, beside) if self.turned else (beside, first)
        lines.append(f"    {scalar} *const to = y + g * {depth * outputs};")
        of_group = f"block % {self.blocks // self.item.groups}"
        if self.kind != "blas":
            lines.append(f"    if (!({of_group})) memset(to, 0, {depth * outputs} * sizeof(*to));")
        matrix, other = f"rows + j * {across}", f"of_y + j * {g_across}"
        lines.append(f"    for (index_t j = 0; j < {count}; j++)")
        more = []
        if self.kind == "blas":
            more = [f"{self.letter}gemm_t multiply"]
            turns = f"{ROW_MAJOR}, {TRANSPOSED}, {AS_IT_IS}"
            lines.append(
                f"        multiply({turns}, {depth}, {outputs}, {rows}, 1, {matrix}, {down}, "
                f"{other}, {g_down}, {of_group} || j ? 1 : 0, to, {outputs});"
            )
        else:
            lines += _sums(scalar, rows, depth, outputs, matrix, down, other, g_down)
        parameters = [f"const {scalar} *restrict {one}" for one in ("x", "g_of_y")]
        parameters += [f"{scalar} *restrict y", "char *work", *more]
        return "\n".join([
            *texts,
            f"static NOINLINE void {name}({', '.join(parameters)})",
            "{",
            f"    for (index_t block = 0; block < {self.blocks}; block++) {{",
            *(f"    {line}" for line in lines),
            "    }",
            "}",
            "",
        ])  # fmt: skip


def _loops(
    scalar: str, rows: str, depth: int, outputs: int, matrix: str, down: int, target: str,
    y_down: int,
) -> Sequence[str]:  # fmt: skip
    """A product in place: a row of the result after the other."""
    own = outputs <= IN_REGISTERS
    row = f"{scalar} row[{outputs}]" if own else f"{scalar} *restrict row = to_j + i * {y_down}"
    head = f"for (index_t o = 0; o < {outputs}; o++)"
    return [
        "    {",
        f"        const {scalar} *const a = {matrix};",
        f"        {scalar} *restrict to_j = {target};",
        f"        for (index_t i = 0; i < {rows}; i++) {{",
        f"            {row};",
        f"            {head} row[o] = 0;",
        f"            for (index_t k = 0; k < {depth}; k++) {{",
        f"                const {scalar} value = a[i * {down} + k];",
        "                #pragma omp simd",
        f"                {head} row[o] += value * b[k * {outputs} + o];",
        "            }",
        *([f"            {head} to_j[i * {y_down} + o] = row[o];"] if own else []),
        "        }",
        "    }",
    ]


def _sums(
    scalar: str, rows: str, depth: int, outputs: int, matrix: str, down: int, other: str,
    g_down: int,
) -> Sequence[str]:  # fmt: skip
    """The product of a transposed matrix with the gradient, added to what is there."""
    return [
        "    {",
        f"        const {scalar} *const a = {matrix}, *const b = {other};",
        f"        for (index_t r = 0; r < {rows}; r++)",
        f"        for (index_t k = 0; k < {depth}; k++) {{",
        f"            const {scalar} value = a[r * {down} + k];",
        "            #pragma omp simd",
        f"            for (index_t o = 0; o < {outputs}; o++)",
        f"                to[k * {outputs} + o] += value * b[r * {g_down} + o];",
        "        }",
        "    }",
    ]
