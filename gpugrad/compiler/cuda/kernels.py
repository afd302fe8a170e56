"""Which units of a schedule share a kernel, and the text of the kernels. Imports loops.

Units that do not depend on each other become one kernel, in which each has blocks of its own: so
the steps of an optimizer over all parameters are one launch, or part of an earlier one.
"""

import re
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from gpugrad.codegen.operations import c_type
from gpugrad.compiler.cuda.loops import PRELUDE, THREADS, Unit, part_of, units_of
from gpugrad.compiler.programs.program import Value, gives_view
from gpugrad.compiler.schedule.items import Array, Assembly, Call, Loop, Turns, refs_in
from gpugrad.compiler.schedule.schedule import Schedule

__all__ = ["Kernel", "Plan", "planned"]

MOST = 32  # units of a kernel
ARRAYS = 400  # of a kernel: its arguments have 4 KB


class Kernel(NamedTuple):
    """A kernel: the units in it, and the arrays it takes, in the order of its arguments."""

    name: str
    units: list[Unit]

    @property
    def arrays(self) -> list[Array]:
        """The arrays that it takes, those that it writes among them."""
        found = {number: array for unit in self.units for number, array in unit.arrays.items()}
        return [found[number] for number in sorted(found)]

    @property
    def blocks(self) -> int:
        """The number of its blocks."""
        return sum(unit.blocks for unit in self.units)

    def text(self) -> str:
        """The functions of its units, and the kernel, which gives each of them its blocks.

        Arrays are named by their order, so that kernels that do the same have the same text; the
        place of the kernel's name is NAME.
        """
        body = "".join(unit.text for unit in self.units)
        numbers = {int(number) for _, number in _NAMES.findall(body)}
        numbers.update(array.number for array in self.arrays)
        order = {number: place for place, number in enumerate(sorted(numbers))}

        def renamed(match: re.Match[str]) -> str:
            return f"{match[1]}{order[int(match[2])]}"

        lines, calls, start = [], [], 0
        for place, unit in enumerate(self.units):
            head = f"__device__ inline void NAME_{place}(const int block, {self._taken(unit)})"
            lines += [head, "{", unit.text, "}"]
            given = ", ".join(f"a{number}" for number in sorted(unit.arrays))
            guard = f"if (block < {start + unit.blocks}) " if unit is not self.units[-1] else ""
            calls.append(f"    {guard}return NAME_{place}(block - {start}, {given});")
            start += unit.blocks
        bounds = f"__launch_bounds__({THREADS})"
        lines.append(f'extern "C" __global__ void {bounds} NAME({self._taken(*self.units)})')
        lines += ["{", "    const int block = blockIdx.x;", *calls, "}", ""]
        return _NAMES.sub(renamed, "\n".join(lines))

    def _taken(self, *units: Unit) -> str:
        """The parameters for the arrays of units."""
        arrays = {number: array for unit in units for number, array in unit.arrays.items()}
        written = {array.number for unit in units for array in unit.writes}
        # So that loads need not wait for stores. What is written in place is another name of what
        # is read.
        alone = "" if any(unit.same_place for unit in units) else "__restrict__ "
        return ", ".join(
            f"{'' if n in written else 'const '}{c_type(arrays[n].dtype)}* {alone}a{n}"
            for n in sorted(arrays)
        )


_NAMES = re.compile(r"\b([arw])(\d+)\b")  # of arrays, and of what a unit has of them


class Plan(NamedTuple):
    """What runs, in order: kernels, and items that are no loops, with the arrays that end there.

    ``text`` is the source of all kernels. ``in_place`` has, by the number of an output, the input
    over which a kernel may write it.
    """

    turns: list[Any]
    ends: list[list[int]]
    text: str
    in_place: dict[int, Array]


class _Planner:
    def __init__(self, schedule: Schedule, reuse: dict[int, Array]) -> None:
        self.schedule = schedule
        self.reuse = reuse
        self.turns: list[Any] = []
        self.made: dict[int, int] = {}  # by the number of an array, the turn that makes it
        self.reads: dict[int, int] = {}  # and the last that reads it
        self.in_place: dict[int, Array] = {}
        self.count = len(schedule.arrays)

    def new(self, value: Value) -> Array:
        """An array for results of blocks."""
        array = Array(value, self.count)
        array.stored = True
        self.count += 1
        return array

    def plan(self) -> Plan:
        for index, item in enumerate(self.schedule.items):
            if isinstance(item, Loop):
                units = units_of(item, index, self.new)
                for number, unit in enumerate(units):
                    later = {array.number for one in units[number + 1 :] for array in one.reads}
                    self.place(unit, index, later)
            elif isinstance(item, Assembly):
                behind = -1
                for layout, source in item.parts:
                    self.place(part_of(item.array, layout, source), index, set(), behind)
                    if prod(layout.shape) == item.array.size:  # over which the others come
                        behind = self.made[item.array.number]
            else:
                arrays = item.arrays if isinstance(item, Call | Turns) else (item.array,)
                self.note(len(self.turns), [r.array for r in refs_in(tuple(item))], arrays)
                self.turns.append(item)
        names: dict[str, str] = {}
        for number, turn in enumerate(self.turns):
            if isinstance(turn, Kernel):
                name = names.setdefault(turn.text(), f"kernel{len(names)}")
                self.turns[number] = turn._replace(name=name)
        texts = [text.replace("NAME", name) for text, name in names.items()]
        source = "\n".join([PRELUDE, *texts]) if texts else ""
        return Plan(self.turns, self.ends(), source, self.in_place)

    def place(self, unit: Unit, index: int, later: set[int], behind: int = -1) -> None:
        """Add a unit of an item to the first kernel behind all that it needs.

        ``later`` has what the other units of the item read, ``behind`` is a turn that comes before.
        """
        start = max([behind, *(self.made.get(array.number, -1) for array in unit.reads)]) + 1
        own = {array.number for array in unit.reads}
        over = []
        for array in unit.writes:
            given = self.reuse.get(array.number)
            if given is None or given.read > index or given.number in later:
                continue
            if given.number not in own or given.number in unit.same_place:
                over.append((array, given))
                start = max(start, self.reads.get(given.number, -1) + 1)
        for number in range(start, len(self.turns)):
            turn = self.turns[number]
            if isinstance(turn, Kernel) and self.has_room(turn, unit):
                break
        else:
            number = len(self.turns)
            self.turns.append(Kernel("", []))
        self.turns[number].units.append(unit)
        self.in_place.update((array.number, given) for array, given in over)
        self.note(number, unit.reads, unit.writes)

    @staticmethod
    def has_room(kernel: Kernel, unit: Unit) -> bool:
        count = len(kernel.arrays) + len(unit.reads) + len(unit.writes)
        return len(kernel.units) < MOST and count <= ARRAYS

    def note(self, number: int, reads: Sequence[Array], writes: Sequence[Array | None]) -> None:
        for array in reads:
            self.reads[array.number] = max(self.reads.get(array.number, -1), number)
        for made in writes:
            if made is not None:
                self.made[made.number] = max(self.made.get(made.number, -1), number)

    def ends(self) -> list[list[int]]:
        """By turn, the arrays that nobody reads later, and that are no outputs."""
        kept = {array.number for array in self.schedule.outputs}
        ends: list[list[int]] = [[] for _ in self.turns]
        for number, turn in self.made.items():
            if number not in kept:
                ends[max(turn, self.reads.get(number, -1))].append(number)
        return ends


def planned(schedule: Schedule, reuse: dict[int, int]) -> Plan:
    """The turns of a schedule; ``reuse`` has, by output, the input that it replaces in place."""
    # What a library may give back as a view is read later under another number.
    viewed = {
        ref.array.number
        for item in schedule.items
        if isinstance(item, Call) and gives_view(item.step)
        for ref in refs_in(item.operands)
    }
    pairs = [(schedule.outputs[o], schedule.inputs[i]) for o, i in reuse.items()]
    replaced = {
        array.number: given
        for array, given in pairs
        if given.number not in viewed
        and (array.seen.shape, array.dtype) == (given.shape, given.dtype)
    }
    return _Planner(schedule, replaced).plan()
