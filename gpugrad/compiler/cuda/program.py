"""Programs on CUDA: fused kernels, and calls of the array library for the rest.

Imports schedule and device_kernels.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from gpugrad.codegen.operations import NotFusibleError
from gpugrad.compiler.cuda.kernels import Kernel, planned
from gpugrad.compiler.cuda.loops import THREADS
from gpugrad.compiler.cuda.steps import prepared
from gpugrad.compiler.programs.program import Program, flat, function_of
from gpugrad.compiler.recording.recorded_call import share
from gpugrad.compiler.schedule.items import Array, Call, Product, Ref, refs_in
from gpugrad.compiler.schedule.layout import Layout
from gpugrad.compiler.schedule.schedule import Schedule
from gpugrad.engine import versions

__all__ = ["DeviceProgram", "build"]


def build(program: Program, xp: Any, reuse: dict[int, int]) -> "DeviceProgram | None":
    """A program for CuPy's arrays, or None where it is left to the functions of ``xp``.

    ``reuse`` has, by output, the input whose memory the caller will have the output written to.
    """
    schedule = Schedule(prepared(program))
    for item in schedule.items:  # of a number in memory only kernels know the value
        if isinstance(item, Call) and (
            any(ref.array.weak for ref in refs_in(item.operands))
            or any(a is not None and a.weak for a in item.arrays)
        ):
            return None
    try:
        made = DeviceProgram(schedule, xp, reuse)
    except NotFusibleError:
        return None
    return made if made.plan.text else None


class DeviceProgram:
    """A program over CuPy's arrays. Numbers among its outputs are arrays of one element.

    ``counts`` has the numbers of its kernels, of its products and of the steps that the array
    library computes, and ``source`` the source of the kernels.
    """

    def __init__(self, schedule: Schedule, xp: Any, reuse: dict[int, int]) -> None:
        self.schedule = schedule
        self.plan = plan = planned(schedule, reuse)
        self.source = plan.text
        kinds = [type(turn) for turn in plan.turns]
        self.counts = {
            "kernels": kinds.count(Kernel),
            "products": kinds.count(Product),
            "calls of the array library": kinds.count(Call),
        }
        self.xp = xp
        self.cupy = cupy = xp.module
        self._sample = cupy.ndarray((0,), np.float32)
        # Each step rounds, so that results do not depend on what is fused with what.
        self._module = cupy.RawModule(code=plan.text, options=("--std=c++17", "--fmad=false"))
        self._constants = {
            array.number: cupy.asarray(constant, order="C")
            for array, constant in schedule.constants.items()
        }
        self.numbers = [array for array in schedule.inputs if array.weak]
        self._called = {
            array.number
            for item in schedule.items
            if isinstance(item, Call)
            for array in item.arrays
            if array is not None
        }

    def run(self, inputs: Sequence[Any], outs: Sequence[Any] | None = None) -> list[Any]:
        """The outputs for some inputs; those of ``outs`` that are not None are written to."""
        results, calls = self.prepare(inputs, outs)
        for call in calls:
            call()
        return results

    def prepare(
        self, inputs: Sequence[Any], outs: Sequence[Any] | None = None
    ) -> tuple[list[Any], list[Any]]:
        """As `run`, but that the outs are written by calls, which are returned."""
        self.check(inputs)
        values = self.given(inputs)
        self.compute(values)
        results = [values[array.number] for array in self.schedule.outputs]
        for number, array in enumerate(self.schedule.outputs):
            if array.number in self._called and any(share(results[number], x) for x in inputs):
                results[number] = results[number].copy()
        calls: list[Any] = []
        for number, out in enumerate(outs or ()):
            if out is not None:
                calls += versions.writing(out, results[number])
                results[number] = out
        return results, calls

    def check(self, inputs: Sequence[Any]) -> None:
        """DeviceError unless all arrays are on the current GPU."""
        if self.xp.checks is not None:
            arrays = [x for x, array in zip(inputs, self.schedule.inputs) if not array.weak]
            self.xp.checks("compile", tuple(arrays))

    def given(self, inputs: Sequence[Any]) -> dict[int, Any]:
        """The arrays of the inputs, and numbers among them as arrays, by number."""
        numbers = [x for x, array in zip(inputs, self.schedule.inputs) if array.weak]
        memory = iter(self.cupy.asarray(np.array(numbers, np.float64))[:, None] if numbers else ())
        return {
            array.number: next(memory)
            if array.weak
            else x
            if x.flags.c_contiguous
            else self.cupy.ascontiguousarray(x)
            for x, array in zip(inputs, self.schedule.inputs, strict=True)
        }

    def compute(self, values: dict[int, Any]) -> None:
        """Compute the outputs, from C-contiguous arrays of the inputs by number.

        Where ``values`` has an array for an output, it is written to. It may be that of an input,
        as the plan's ``in_place`` says.
        """
        values.update(self._constants)
        for turn, ends in zip(self.plan.turns, self.plan.ends):
            self.take_turn(turn, values)
            for number in ends:
                values.pop(number, None)

    def take_turn(self, turn: Any, values: dict[int, Any]) -> None:
        """Compute one part of the program."""
        if isinstance(turn, Kernel):
            self._launch(turn, values)
        elif isinstance(turn, Product):
            self._multiply(turn, values)
        else:
            self._call(turn, values)

    def _launch(self, kernel: Kernel, values: dict[int, Any]) -> None:
        for unit in kernel.units:
            for array in unit.writes:
                if array.number not in values:
                    values[array.number] = self._empty(array)
            for array in unit.reads:  # a call may leave a result in another order
                if not values[array.number].flags.c_contiguous:
                    values[array.number] = self.cupy.ascontiguousarray(values[array.number])
        arguments = tuple([values[array.number] for array in kernel.arrays])
        function = self._module.get_function(kernel.name)
        function((kernel.blocks,), (THREADS,), arguments)

    def _empty(self, array: Array) -> Any:
        return self.cupy.ndarray(array.seen.shape, array.dtype)

    def _multiply(self, item: Product, values: dict[int, Any]) -> None:
        a, b = (self._viewed(values[ref.array.number], ref.layout) for ref in (item.a, item.b))
        array = item.array
        made = values.get(array.number)
        if made is None:
            made = values[array.number] = self._empty(array)
        y = made.reshape((*a.shape[:-1], b.shape[-1]))
        if not self.xp.product_into(y, a, b):
            y[...] = self.xp.matmul(a, b)

    def _call(self, item: Call, values: dict[int, Any]) -> None:
        operands = self._operand(item.operands, values)
        function = function_of(self._sample, item.step.name)
        results = flat(function(*operands, **item.step.parameters))
        for array, result in zip(item.arrays, results, strict=True):
            if array is not None:
                made = values.setdefault(array.number, result)
                if made is not result:
                    made[...] = result

    def _operand(self, operand: Any, values: dict[int, Any]) -> Any:
        if isinstance(operand, Ref):
            return self._viewed(values[operand.array.number], operand.layout)
        if isinstance(operand, tuple | list):
            return type(operand)([self._operand(part, values) for part in operand])
        return operand

    def _viewed(self, array: Any, layout: Layout) -> Any:
        """An array seen in a layout."""
        if layout.is_contiguous and array.size == prod(layout.shape):
            return array if array.shape == layout.shape else array.reshape(layout.shape)
        if not array.flags.c_contiguous:
            array = self.cupy.ascontiguousarray(array)
        size = array.dtype.itemsize
        strides = tuple([stride * size for stride in layout.strides])
        memory = array.data + layout.offset * size
        return self.cupy.ndarray(layout.shape, array.dtype, memory, strides)
