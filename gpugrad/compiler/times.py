"""How long each part of a program takes: an item of C, a kernel, or a call of the array library.

The program runs apart, over arrays of its shapes that are full of one number. Its C, or its Python,
is compiled once more with a clock behind each part. Imports native and replay.
"""

import copy
import ctypes
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from gpugrad.backend.device import device_of
from gpugrad.compiler.c.native import Native
from gpugrad.compiler.programs.program import Program, Value
from gpugrad.compiler.replay import replay
from gpugrad.compiler.schedule.items import Call, Convolution, Loop, Product, Turns

__all__ = ["times_of"]

RUNS = 20  # of which the quickest counts, for each part
_CLOCK = """\
#include <time.h>
double gpugrad_spent[{count}];
static double gpugrad_now(void)
{{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}}
"""
_ITEM = re.compile(r"^ {4,8}(item_\d+\(.*\);)$", re.MULTILINE)
_TIMED = (
    "    {{ const double since = gpugrad_now(); {} gpugrad_spent[{}] += gpugrad_now() - since; }}"
)

Parts = dict[str, float]  # seconds, by what is computed


def times_of(program: Program, backend: Any, namespaces: Sequence[Any]) -> Iterator[str]:
    """Lines about the parts of a program, which a backend runs, in the order in which they run."""
    xp = next(iter(namespaces), None)
    inputs = [_sample(value, xp) for value in program.inputs]
    device = next((device_of(one) for one in inputs if not isinstance(one, float)), None)
    wait = (lambda: None) if device is None else device.synchronize
    if isinstance(backend, Native):
        labels, run = _in_c(backend)
    elif isinstance(backend, replay.Replay):
        labels, run = _by_calls(program, xp, wait)
    else:
        labels, run = _in_kernels(backend.program, wait)
    least = [float("inf")] * len(labels)
    for _ in range(RUNS):
        least = list(map(min, least, run(inputs)))
    whole = sum(least) or 1.0
    yield f"  {whole * 1e6:,.1f} µs, where each part takes the least of {RUNS} runs:"
    for label, seconds in zip(labels, least):
        yield f"  {seconds * 1e6:10,.1f} µs {seconds / whole:4.0%}  {label}"


def _sample(value: Value, xp: Any) -> Any:
    """An operand of the kind of an input. Whole numbers are 0, since they may be an index."""
    if value.weak:
        return 0.5
    array = np.zeros(value.shape, value.dtype)
    if array.dtype.kind in "fc":
        array[...] = 0.5
    return array if xp is None else xp.module.asarray(array)


Run = Callable[[Sequence[Any]], list[float]]


def _in_c(native: Native) -> tuple[list[str], Run]:
    items = native.schedule.items
    # Calls come in the order of the items; their functions may be those of others.
    in_order = (place for place, item in enumerate(items) if not isinstance(item, Call))
    timed_source = _ITEM.sub(lambda call: _TIMED.format(call[1], next(in_order)), native.source)
    text = _CLOCK.format(count=len(items)) + timed_source
    twin = native.with_text(text)
    in_c = (ctypes.c_double * len(items)).in_dll(twin.library, "gpugrad_spent")
    spent = np.ctypeslib.as_array(in_c)
    places = {id(item): place for place, item in enumerate(items)}
    if not twin.is_whole:
        pieces: Any = twin.runner
        compute = pieces.compute

        def timed(call: Call, values: Any) -> None:
            since = perf_counter()
            compute(call, values)
            spent[places[id(call)]] += perf_counter() - since

        pieces.compute = timed

    def run(inputs: Sequence[Any]) -> list[float]:
        spent[:] = 0
        twin.run(inputs)
        return spent.tolist()

    return [_label(item) for item in items], run


def _label(item: Any) -> str:
    """What an item computes."""
    if isinstance(item, Loop):
        names = Counter(array.step.name for array in item.arrays if array.step is not None)
        listed = [name if n == 1 else f"{n} {name}" for name, n in names.items()]
        more = ", ..." if len(listed) > 6 else ""
        stored = sum(array.nbytes for array in item.arrays if array.stored)
        return f"loop over {item.shape}, {stored:,} bytes written: {', '.join(listed[:6])}{more}"
    if isinstance(item, Product):
        return f"product of {item.a.layout.shape} and {item.b.layout.shape}"
    if isinstance(item, Convolution):
        what = "gradient of the weight" if item.of_weight else "products"
        return f"{what} of windows {item.windows.kernel} over {item.x.layout.shape}"
    if isinstance(item, Turns):
        return repr(item.loop)[1:-1]
    if isinstance(item, Call):
        return f"{item.step.name}, by the array library"
    return f"{type(item).__name__.lower()} of {item.array.shape}"


def _in_kernels(program: Any, wait: Callable[[], None]) -> tuple[list[str], Run]:
    turns = program.plan.turns
    spent = [0.0] * len(turns)
    places = {id(turn): place for place, turn in enumerate(turns)}
    twin = copy.copy(program)

    def timed(turn: Any, values: Any) -> None:
        wait()
        since = perf_counter()
        program.take_turn(turn, values)
        wait()
        spent[places[id(turn)]] = perf_counter() - since

    twin.take_turn = timed

    def run(inputs: Sequence[Any]) -> list[float]:
        twin.run(inputs)
        return list(spent)

    return [_label(t) if isinstance(t, Product | Call) else _kernel(t) for t in turns], run


def _kernel(kernel: Any) -> str:
    """What a kernel is called in the source, and what it writes."""
    written = sum(array.nbytes for unit in kernel.units for array in unit.writes)
    return f"{kernel.name}, {written:,} bytes written"


def _by_calls(program: Program, xp: Any, wait: Callable[[], None]) -> tuple[list[str], Run]:
    way = replay.Way(program, xp, ())
    labels: list[str] = []
    lines = []
    for line in way.source.splitlines():
        lines.append(line)
        if re.match(r"    (?!return|del |x0, )\S", line):
            lines.append(f"    tick({len(labels)})")
            labels.append(line.strip())
    module = compile("\n".join(lines), "<a compiled gpugrad program, timed>", "exec")
    code = next(one for one in module.co_consts if isinstance(one, CodeType))
    spent = [0.0] * len(labels)
    since = 0.0

    def tick(number: int) -> None:
        nonlocal since
        wait()
        now = perf_counter()
        spent[number], since = now - since, now

    function = FunctionType(code, {**way.made().__globals__, "tick": tick})

    def run(inputs: Sequence[Any]) -> list[float]:
        nonlocal since
        wait()
        since = perf_counter()
        with np.errstate(all="ignore"):
            function(inputs, ())
        return list(spent)

    return labels, run
