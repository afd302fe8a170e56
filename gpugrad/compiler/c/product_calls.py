"""The C text of products: loops in place, a call of BLAS, or of products.c. Imports products."""

from collections.abc import Callable, Sequence
from math import prod

from gpugrad.backend.blas import Blas
from gpugrad.codegen.operations import c_type
from gpugrad.compiler.c import products
from gpugrad.compiler.c.assemblies import function_of_lines
from gpugrad.compiler.c.functions import Function, Scratch, part_text, parts_of, shared_text
from gpugrad.compiler.schedule.items import Array, Product
from gpugrad.compiler.schedule.layout import Layout, contiguous

__all__ = ["blas_types", "product_function", "product_types"]

SMALL = 4096  # multiplications up to which a product is a loop in place
SHORT = 24  # elements up to which a dot product is no vector loop
IN_REGISTERS = 256  # elements up to which a row of a small product is not added up in memory
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112  # of CBLAS


def product_function(
    name: str, item: Product, names: Callable[[Array], str], with_blas: bool
) -> Function:
    """The function that computes a product, or a stack of them."""
    a, b = item.a.layout, item.b.layout
    (m, k), n = a.shape[-2:], b.shape[-1]
    y = contiguous((*a.shape[:-2], m, n))
    first, second, target = names(item.a.array), names(item.b.array), names(item.array)
    if first == second and a.offset != b.offset:  # a name for each place where it begins
        second = f"{second}_{b.offset}"
    scalar = c_type(item.array.dtype)
    sources = {first: item.a, second: item.b}
    declared = [f"const {scalar} *restrict {one}" for one in sources]
    declared.append(f"{scalar} *restrict {target}")
    letter = "d" if scalar == "double" else "s"
    places = first, second, target
    scratch: tuple[Scratch, ...] = ()
    libraries: tuple[str, ...] = ()
    if m * n * k <= SMALL or not with_blas:
        text, size = _in_place(name, scalar, declared, places, (a, b, y))
        if size is not None:
            scratch, libraries = (Scratch("work", "char", size),), ("share",)
    elif products.are_faster(a, b, item.array.dtype.itemsize):
        order = products.order_of(a, b, y, item.array.dtype.itemsize)
        scratch = (Scratch("work", "char", order.work),)
        libraries = f"{letter}_product", "share"
        operands = (second, first) if order.turned else (first, second)
        lines = [
            f"static const index_t fields[] = {{{', '.join(map(str, order.fields))}}};",
            f"multiply(fields, {', '.join(operands)}, {target}, work, threads);",
        ]
        more = ["char *work", f"{libraries[0]}_t multiply", "share_t threads"]
        text = function_of_lines(name, [*declared, *more], lines)
    else:
        libraries = (f"{letter}gemm",)
        moved = _moved(places, (a, b, y))
        call = f"multiply({ROW_MAJOR}, {_arguments(moved, a, b)});"
        text = function_of_lines(
            name, [*declared, f"{libraries[0]}_t multiply"], [*_heads(y.shape[:-2]), f"    {call}"]
        )
    arrays = (*(ref.array for ref in sources.values()), item.array)
    offsets = (*(ref.layout.offset for ref in sources.values()), 0)
    return Function(name, text, arrays, scratch, libraries, offsets)


def _heads(stack: Sequence[int]) -> list[str]:
    return [f"for (index_t j{d} = 0; j{d} < {size}; j{d}++)" for d, size in enumerate(stack)]


def _moved(names: Sequence[str], layouts: Sequence[Layout]) -> list[str]:
    """Where the matrices of a product of a stack begin."""
    return [
        " + ".join([name, *(f"j{d} * {n}" for d, n in enumerate(layout.strides[:-2]) if n)])
        for name, layout in zip(names, layouts)
    ]


def _in_place(
    name: str, scalar: str, declared: Sequence[str], names: Sequence[str],
    layouts: Sequence[Layout],
) -> tuple[str, int | None]:  # fmt: skip
    """Loops, and the memory of the threads that share those over a stack, if it is worth it."""
    a, b, y = layouts
    stack = y.shape[:-2]
    lines = ["{", *(f"    {one}" for one in _loops(scalar, _moved(names, layouts), a, b)), "}"]
    parts = parts_of(stack[0], prod(a.shape) * b.shape[-1]) if stack else None
    if parts is None:
        return function_of_lines(name, declared, [*_heads(stack), *lines]), None
    heads = ["for (index_t j0 = from; j0 < stop; j0++)", *_heads(stack)[1:]]
    part = part_text(name, declared, (), [f"    {line}" for line in (*heads, *lines)])
    text, size = shared_text(name, declared, (), (), parts)
    return f"{part}{text}", size


def _arguments(places: Sequence[str], a: Layout, b: Layout) -> str:
    (m, k), n = a.shape[-2:], b.shape[-1]
    (turn_a, leading_a), (turn_b, leading_b) = _as_blas(a), _as_blas(b)
    return (
        f"{turn_a}, {turn_b}, {m}, {n}, {k}, 1, {places[0]}, {leading_a}, {places[1]}, "
        f"{leading_b}, 0, {places[2]}, {n}"
    )


def _as_blas(layout: Layout) -> tuple[int, int]:
    """Whether BLAS takes a matrix as it is or transposed, and its leading dimension."""
    (rows, columns), (down, along) = layout.shape[-2:], layout.strides[-2:]
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        return AS_IT_IS, max(down, columns) if rows > 1 else columns
    return TRANSPOSED, max(along, rows) if columns > 1 else rows


def _loops(scalar: str, places: Sequence[str], a: Layout, b: Layout) -> list[str]:
    """A small product in place: along the rows of the second matrix, or as dot products."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    (a_down, a_along), (b_down, b_along) = a.strides[-2:], b.strides[-2:]
    lines = [
        f"const {scalar} *a = {places[0]}, *b = {places[1]};",
        f"{scalar} *restrict y = {places[2]};",
        f"for (index_t i = 0; i < {m}; i++) {{",
    ]
    if n > 1 and b_along == 1:
        own = n <= IN_REGISTERS
        first = f"{scalar} row[{n}]" if own else f"{scalar} *restrict row = y + i * {n}"
        return [
            *lines,
            f"    {first};",
            f"    for (index_t j = 0; j < {n}; j++) row[j] = 0;",
            f"    for (index_t k = 0; k < {k}; k++) {{",
            f"        const {scalar} x = a[i * {a_down} + k * {a_along}];",
            "        #pragma omp simd",
            f"        for (index_t j = 0; j < {n}; j++) row[j] += x * b[k * {b_down} + j];",
            "    }",
            *([f"    for (index_t j = 0; j < {n}; j++) y[i * {n} + j] = row[j];"] if own else []),
            "}",
        ]
    return [
        *lines,
        f"    for (index_t j = 0; j < {n}; j++) {{",
        f"        {scalar} total = 0;",
        *(["        #pragma omp simd reduction(+:total)"] if k > SHORT else []),
        f"        for (index_t k = 0; k < {k}; k++)",
        f"            total += a[i * {a_down} + k * {a_along}] * b[k * {b_down} + j * {b_along}];",
        f"        y[i * {n} + j] = total;",
        "    }",
        "}",
    ]


def blas_types(blas: Blas) -> str:
    """The types of the functions of BLAS."""
    integer = blas.integer
    return "".join(
        f"typedef void (*{name}_t)(int, int, int, {integer}, {integer}, {integer}, {scalar}, "
        f"const {scalar} *, {integer}, const {scalar} *, {integer}, {scalar}, {scalar} *, "
        f"{integer});\n"
        for name, scalar in (("sgemm", "float"), ("dgemm", "double"))
    )


def product_types() -> str:
    """The types of the functions of products.c, which take threads."""
    return "".join(
        f"typedef void (*{name}_t)(const index_t *fields, const {scalar} *, const {scalar} *, "
        f"{scalar} *, char *work, share_t threads);\n"
        for name, scalar in products.NAMES.items()
    )
