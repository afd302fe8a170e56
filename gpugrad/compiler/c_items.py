"""The C text of products, of arrays put together, and of indices. Imports items, blas."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from gpugrad.codegen.operations import c_type, literal
from gpugrad.compiler.blas import Blas
from gpugrad.compiler.c_functions import Function
from gpugrad.compiler.elementwise import memory_type
from gpugrad.compiler.items import Array, Assembly, Indexed, Product, Ref
from gpugrad.compiler.layout import Layout, contiguous, strides_in

__all__ = ["assembly_function", "blas_types", "indexed_function", "product_function", "range_check"]

SMALL = 4096  # multiplications up to which a product is a loop in place
IN_REGISTERS = 256  # elements up to which a row of a small product is not added up in memory
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112  # of CBLAS


def product_function(
    name: str, item: Product, names: Callable[[Array], str], with_blas: bool
) -> Function:
    """The function that computes a product: loops for a small one, else calls of BLAS."""
    a, b = item.a.layout, item.b.layout
    (m, k), n = a.shape[-2:], b.shape[-1]
    batch = a.shape[:-2]
    scalar = c_type(item.array.dtype)
    heads = [f"for (index_t j{d} = 0; j{d} < {size}; j{d}++)" for d, size in enumerate(batch)]
    step = contiguous((*batch, m, n)).strides
    first, second, target = names(item.a.array), names(item.b.array), names(item.array)
    if first == second and a.offset != b.offset:  # a name for each place where it begins
        second = f"{second}_{b.offset}"
    places = (
        _place(first, a.strides[:-2]),
        _place(second, b.strides[:-2]),
        _place(target, step[:-2]),
    )
    small = m * n * k <= SMALL or not with_blas
    body = (
        _loops(scalar, places, a, b)
        if small
        else [f"multiply({ROW_MAJOR}, {_matrix_arguments(scalar, places, a, b)});"]
    )
    library = "" if small else f"{'d' if scalar == 'double' else 's'}gemm"
    lines = [*heads, "{", *(f"    {line}" for line in body), "}"]
    sources = {first: item.a, second: item.b}
    parameters = [f"const {scalar} *{one}" for one in sources]
    parameters += [f"{scalar} *restrict {target}"]
    parameters += [f"{library}_t multiply"] if library else []
    arrays = (*(ref.array for ref in sources.values()), item.array)
    offsets = (*(ref.layout.offset for ref in sources.values()), 0)
    libraries = (library,) if library else ()
    return Function(name, _text(name, parameters, lines), arrays, (), libraries, offsets)


def _place(name: str, strides: Sequence[int]) -> str:
    terms = [f"j{d} * {step}" for d, step in enumerate(strides) if step]
    return " + ".join([name, *terms])


def _matrix_arguments(scalar: str, places: tuple[str, str, str], a: Layout, b: Layout) -> str:
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


def _loops(scalar: str, places: tuple[str, str, str], a: Layout, b: Layout) -> list[str]:
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
        "        #pragma omp simd reduction(+:total)",
        f"        for (index_t k = 0; k < {k}; k++)",
        f"            total += a[i * {a_down} + k * {a_along}] * b[k * {b_down} + j * {b_along}];",
        f"        y[i * {n} + j] = total;",
        "    }",
        "}",
    ]


def assembly_function(name: str, item: Assembly, names: Callable[[Array], str]) -> Function:
    """The function that puts an array together."""
    target, scalar = names(item.array), memory_type(item.array.dtype)
    sources: dict[str, Array] = {}
    lines: list[str] = []
    for layout, source in item.parts:
        if not isinstance(source, Ref):
            lines += _copy(target, literal(source, item.array.dtype), layout, None, 0)
            continue
        own = names(source.array)
        sources[own] = source.array
        strides = strides_in(source.layout, layout.shape)
        lines += _copy(target, own, layout, strides, source.layout.offset)
    parameters = [f"const {scalar} *restrict {one}" for one in sources]
    parameters.append(f"{scalar} *restrict {target}")
    return Function(name, _text(name, parameters, lines), (*sources.values(), item.array))


def indexed_function(name: str, item: Indexed, names: Callable[[Array], str]) -> Function:
    """The function that gathers elements at an index, or adds or assigns them there."""
    target, scalar, shape = names(item.array), memory_type(item.array.dtype), item.places.shape
    there = _element(strides_in(item.places, shape), item.places.offset)
    for one in item.numbers:
        layout = one.ref.layout
        number = f"{names(one.ref.array)}[{_element(strides_in(layout, shape), layout.offset)}]"
        there += f" + (index_t)({number} < 0 ? {number} + {one.size} : {number}) * {one.stride}"
    source = item.source
    if not isinstance(source, Ref):
        value = literal(source, item.array.dtype)
    elif item.gathers:
        value = f"{names(source.array)}[{there}]"
    else:
        own = _element(strides_in(source.layout, shape), source.layout.offset)
        value = f"{names(source.array)}[{own}]"
    lines = []
    if item.base is not None:
        lines.append(f"memcpy({target}, {names(item.base.array)}, {item.array.nbytes});")
    elif not item.gathers:
        lines.append(f"memset({target}, 0, {item.array.nbytes});")
    if item.gathers:
        there = _element(strides_in(item.array.seen, shape), 0)
    sizes = [size for size in shape if size != 1]
    lines += [f"for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(sizes)]
    adds = not item.gathers and item.base is None
    lines.append(f"    {target}[{there}] {'+=' if adds else '='} {value};")
    reads = {ref.array.number: ref.array for ref in item.reads()}.values()
    parameters = [f"const {memory_type(one.dtype)} *restrict {names(one)}" for one in reads]
    parameters.append(f"{scalar} *restrict {target}")
    return Function(name, _text(name, parameters, lines), (*reads, item.array))


def range_check(given: str, layout: Layout, size: int, code: int) -> list[str]:
    """Statements that return a code if a number of an index is out of range for an axis."""
    sizes = [n for n, stride in zip(layout.shape, layout.strides) if n != 1 and stride]
    strides = [stride for n, stride in zip(layout.shape, layout.strides) if n != 1 and stride]
    return [
        *(f"    for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(sizes)),
        "    {",
        f"        const long long n = (long long)({given})[{_element(strides, layout.offset)}];",
        f"        if (n < -{size} || n >= {size}) return {code};",
        "    }",
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


def _copy(target: str, source: str, layout: Layout, strides: Any, offset: int) -> list[str]:
    """Loops that copy to a layout: a number, or the elements of an array at strides."""
    sizes = [size for size in layout.shape if size != 1]
    if strides is not None and layout.is_contiguous and strides == contiguous(sizes).strides:
        shape = f"sizeof(*{target}) * {prod(sizes)}"
        return [f"memcpy({target}, {source} + {offset}, {shape});"]
    lines = [f"for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(sizes)]
    value = source if strides is None else f"{source}[{_element(strides, offset)}]"
    own = strides_in(layout, layout.shape)
    return [*lines, f"    {target}[{_element(own, layout.offset)}] = {value};"]


def _element(strides: Sequence[int], offset: int) -> str:
    terms = [f"i{d} * {step}" for d, step in enumerate(strides) if step]
    return " + ".join([*terms, str(offset)])


def _text(name: str, parameters: Sequence[str], lines: Sequence[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"static NOINLINE void {name}({', '.join(parameters)})\n{{\n{body}\n}}\n"
