"""Functions of C: what they take, and the parts that threads share. Imports items, elementwise.

A function whose work is worth it goes over parts of its outermost axis. Their number depends on
shapes alone; each sum over that axis is one for each part, and these are added up in order.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gpugrad.compiler.schedule.items import Array

__all__ = [
    "MEMORY",
    "SHARE",
    "SIZES",
    "Function",
    "Parts",
    "Scratch",
    "function_text",
    "part_text",
    "parts_of",
    "shared_text",
]

ALIGNMENT = 64
WORTH = 1 << 20  # steps of elements that make threads worth it: some 20 µs
PART = 1 << 18  # and those of a part
MOST = 64  # parts
MANY = 64  # pointers that are no parameters
MEMORY = 8  # steps that an element of an array in memory takes
_POINTERS = re.compile(r"\b[acdpq]\d\w*")

# Bytes of C types.
SIZES = {
    "char": 1, "bool": 1, "signed char": 1, "short": 2, "int": 4, "long long": 8,
    "unsigned char": 1, "unsigned short": 2, "unsigned int": 4, "unsigned long long": 8,
    "float": 4, "double": 8,
}  # fmt: skip

SHARE = """\
typedef void (*part_t)(void *const *arrays, char *work, index_t part);
typedef void (*share_t)(part_t task, void *const *arrays, char *work, index_t size, index_t count);

static void share(share_t threads, part_t task, void *const *arrays, char *work, index_t size,
                  index_t count)
{
    if (threads) threads(task, arrays, work, size, count);
    else for (index_t part = 0; part < count; part++) task(arrays, work, part);
}
"""


class Scratch(NamedTuple):
    """Memory that a function uses while it runs: a pointer's name and type, and bytes."""

    name: str
    type: str
    bytes: int


class Function(NamedTuple):
    """A function of C: its text, the arrays it takes, and its scratch memory after these.

    ``libraries`` names the functions that it takes as its last arguments: of BLAS, and "share".
    ``offsets`` has the elements of the arrays at which it begins, if not all are 0. One that is
    ``packed`` takes an array of its pointers, but for the memory of threads, "work".
    """

    name: str
    text: str
    arrays: tuple[Array, ...]
    scratch: tuple[Scratch, ...] = ()
    libraries: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()
    packed: bool = False


class Parts(NamedTuple):
    """The parts of an axis of ``size``, each of ``length`` but the last."""

    size: int
    length: int

    @property
    def number(self) -> int:
        """How many they are."""
        return -(-self.size // self.length)


def parts_of(size: int, steps: int, at_least: int = 1) -> Parts | None:
    """Parts of an axis of a loop that does so many steps; None if one thread is as good.

    Lengths are multiples of ``at_least``.
    """
    count = min(max(steps // PART, 2), MOST)
    length = -(-size // (count * at_least)) * at_least
    parts = Parts(size, length)
    return parts if steps >= WORTH and parts.number > 1 else None


def function_text(name: str, parameters: Sequence[str], lines: Sequence[str]) -> str:
    """A function that takes pointers, or an array of them if they are many.

    Compilers take minutes for functions of some thousand parameters.
    """
    if len(parameters) <= MANY:
        head = f"static NOINLINE void {name}({', '.join(parameters)})"
        return "\n".join([head, "{", *lines, "}", ""])
    places = {_name(one): f"arrays[{i}]" for i, one in enumerate(parameters)}
    head = f"static NOINLINE void {name}(void *const *arrays)"
    return "\n".join([head, "{", *_placed(lines, parameters, places), "}", ""])


def _name(parameter: str) -> str:
    return parameter.rsplit("*restrict ", 1)[1]


def _placed(lines: Sequence[str], parameters: Sequence[str], places: dict[str, str]) -> list[str]:
    """Lines in which what a pointer is converted from stands in place of its name."""
    types = {_name(one): one.rsplit("restrict", 1)[0] for one in parameters}

    def place(match: re.Match[str]) -> str:
        name = match[0]
        return f"(({types[name]}){places[name]})" if name in types else name

    return [_POINTERS.sub(place, line) for line in lines]


def part_text(
    name: str, declared: Sequence[str], own: Sequence[Scratch], lines: Sequence[str]
) -> str:
    """The function ``{name}_part`` that `shared_text` calls."""
    parameters = [*declared, *(f"{one.type} *restrict {one.name}" for one in own)]
    if len(parameters) > MANY:
        places = {_name(one): f"arrays[{i}]" for i, one in enumerate(declared)}
        places |= dict(zip((one.name for one in own), _offsets(own)[0]))
        lines = _placed(lines, parameters, places)
        parameters = ["void *const *arrays", "char *work"]
    parameters += ["index_t part", "index_t from", "index_t stop"]
    head = f"static NOINLINE void {name}_part({', '.join(parameters)})"
    return "\n".join([head, "{", *lines, "}", ""])


def _offsets(own: Sequence[Scratch]) -> tuple[list[str], int]:
    """Where scratch memory of one thread lies in all of it, and the bytes of that."""
    offset, places = 0, []
    for scratch in own:
        places.append(f"(work + {offset})")
        offset += -(-scratch.bytes // ALIGNMENT) * ALIGNMENT
    return places, offset


def shared_text(
    name: str, declared: Sequence[str], own: Sequence[Scratch], more: Sequence[str], parts: Parts
) -> tuple[str, int]:
    """The function ``{name}`` that has threads run the parts of ``{name}_part``, and their memory.

    Lines of ``more`` come in the end. The text has parameters for what is ``declared``, the memory
    of all ``own``, and ``threads``; the number is the bytes of that memory.
    """
    names = list(map(_name, declared))
    places, offset = _offsets(own)
    given = [f"arrays[{i}]" for i in range(len(names))]
    given += [f"({one.type} *){place}" for one, place in zip(own, places)]
    arrays = [f"    void *const arrays[] = {{{', '.join(f'(void *){one}' for one in names)}}};"]
    if len(given) > MANY:
        more = _placed(more, declared, dict(zip(names, given)))
        given, declared, arrays = ["arrays", "work"], ["void *const *arrays"], []
    lines = [
        f"static void {name}_run(void *const *arrays, char *work, index_t part)",
        "{",
        f"    const index_t from = part * {parts.length}, stop = from + {parts.length};",
        f"    {name}_part({', '.join([*given, 'part', 'from'])}, "
        f"stop < {parts.size} ? stop : {parts.size});",
        "}",
        "",
        f"static NOINLINE void {name}({', '.join([*declared, 'char *work', 'share_t threads'])})",
        "{",
        *arrays,
        f"    share(threads, {name}_run, arrays, work, {offset}, {parts.number});",
        *more,
        "}",
        "",
    ]
    return "\n".join(lines), offset
