"""The C text of arrays put together, and of indices. Imports items."""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.codegen.operations import literal
from gpugrad.compiler.c.functions import Function
from gpugrad.compiler.schedule.elementwise import memory_type
from gpugrad.compiler.schedule.items import Array, Assembly, Indexed, Ref, Running
from gpugrad.compiler.schedule.layout import Layout, contiguous, strides_in

__all__ = [
    "assembly_function",
    "function_of_lines",
    "indexed_function",
    "range_check",
    "running_function",
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
    return Function(
        name, function_of_lines(name, parameters, lines), (*sources.values(), item.array)
    )


def running_function(name: str, item: Running, names: Callable[[Array], str]) -> Function:
    """The function that computes running sums or products, each from the one before it."""
    array, (source, layout), axis, sign = item
    shape, own = layout.shape, contiguous(layout.shape).strides
    at = _element(layout.strides, layout.offset)
    there, before = _element(own, 0), _element(own, -own[axis])
    scalar, x, y = memory_type(array.dtype), names(source), names(array)
    outer = [f"for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(shape[:axis])]
    inner = [f"for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(shape) if d > axis]
    lines = [
        *outer,
        "{",
        f"    index_t i{axis} = 0;",
        *(f"    {line}" for line in inner),
        f"    {y}[{there}] = ({scalar}){x}[{at}];",
        f"    for (i{axis} = 1; i{axis} < {shape[axis]}; i{axis}++)",
        *(f"    {line}" for line in inner),
        f"    {y}[{there}] = {y}[{before}] {sign} ({scalar}){x}[{at}];",
        "}",
    ]
    parameters = [f"const {memory_type(source.dtype)} *restrict {x}", f"{scalar} *restrict {y}"]
    return Function(name, function_of_lines(name, parameters, lines), (source, array))


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
    elif item.gathered is not None:
        value = f"{names(source.array)}[{there}]"
    else:
        own = _element(strides_in(source.layout, shape), source.layout.offset)
        value = f"{names(source.array)}[{own}]"
    lines = []
    if item.base is not None:
        lines.append(f"memcpy({target}, {names(item.base.array)}, {item.array.nbytes});")
    elif item.gathered is None:
        lines.append(f"memset({target}, 0, {item.array.nbytes});")
    if item.gathered is not None:
        there = _element(strides_in(item.gathered, shape), 0)
    sizes = [size for size in shape if size != 1]
    lines += [f"for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(sizes)]
    adds = item.gathered is None and item.base is None
    lines.append(f"    {target}[{there}] {'+=' if adds else '='} {value};")
    reads = {ref.array.number: ref.array for ref in item.reads()}.values()
    parameters = [f"const {memory_type(one.dtype)} *restrict {names(one)}" for one in reads]
    parameters.append(f"{scalar} *restrict {target}")
    return Function(name, function_of_lines(name, parameters, lines), (*reads, item.array))


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


def _copy(target: str, source: str, layout: Layout, strides: Any, offset: int) -> list[str]:
    """What copies to a layout: a number, or the elements of an array at strides."""
    shape = [size for size in layout.shape if size != 1]
    rows = [strides_in(layout, layout.shape), *([] if strides is None else [strides])]
    sizes, *rows = _merged(shape, rows)
    if strides is not None and len(sizes) == 1 and rows[0] == rows[1] == [1]:
        count = f"sizeof(*{target}) * {sizes[0]}"
        return [f"memcpy({target} + {layout.offset}, {source} + {offset}, {count});"]
    lines = [f"for (index_t i{d} = 0; i{d} < {n}; i{d}++)" for d, n in enumerate(sizes)]
    value = source if strides is None else f"{source}[{_element(rows[1], offset)}]"
    return [*lines, f"    {target}[{_element(rows[0], layout.offset)}] = {value};"]


def _merged(sizes: Sequence[int], rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """The lengths of axes and rows of their strides, where those are one that are as one in all.

    >>> _merged([2, 3, 4], [[12, 4, 1], [100, 4, 1]])
    [[2, 12], [12, 1], [100, 1]]
    """
    merged: list[tuple[int, ...]] = []
    for size, *steps in zip(sizes, *rows):
        if merged and all(before == step * size for before, step in zip(merged[-1][1:], steps)):
            size *= merged.pop()[0]
        merged.append((size, *steps))
    return [list(column) for column in zip(*merged)] or [[] for _ in range(len(rows) + 1)]


def _element(strides: Sequence[int], offset: int) -> str:
    terms = [f"i{d} * {step}" for d, step in enumerate(strides) if step]
    return " + ".join([*terms, str(offset)])


def function_of_lines(name: str, parameters: Sequence[str], lines: Sequence[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"static NOINLINE void {name}({', '.join(parameters)})\n{{\n{body}\n}}\n"
