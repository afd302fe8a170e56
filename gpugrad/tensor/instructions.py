"""What the user's code does when Python asks a tensor for a number: the instruction that it runs.

``float(loss)`` and ``math.sin(loss)`` both call ``__float__``, and nothing that Python passes tells
them apart; but the first only shows a value, and the second would lose a gradient. Likewise ``t in
tensors`` calls ``__eq__`` to find one object, not to compare elements. Imports nothing of gpugrad.
"""

import dis
import functools
import os
import sys
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["searches", "shows_value", "shuffles"]

# What takes a value and has no derivative.
_NAMES = frozenset(
    "float isfinite isinf isnan float16 float32 float64 longdouble half single double".split()
)
_TAKE_OTHERS = frozenset({"dist", "sumprod"})  # of math: more numbers behind the first ones
_SEARCHES = frozenset({"index", "count", "remove"})
_CALLS = ("CALL", "PRECALL", "CALL_KW")
_WITHOUT_EFFECT = ("EXTENDED_ARG", "NOP", "PUSH_NULL")  # on the function of a call
_BETWEEN = (*_WITHOUT_EFFECT, "CACHE", "PRECALL", "GET_ITER", "COPY_FREE_VARS")
# What Python 3.12 sets up in front of the loop of a comprehension.
_COMPREHENSION = (
    *_BETWEEN, "LOAD_FAST_AND_CLEAR", "SWAP", "BUILD_LIST", "BUILD_SET", "BUILD_MAP",
)  # fmt: skip
_CONTAINS = dis.opmap["CONTAINS_OP"]


@functools.cache
def _libraries() -> tuple[str, ...]:
    """Where code is that is not the user's, which may compute with the number."""
    import sysconfig

    own = str(Path(__file__).resolve().parents[1])
    folders = (own, sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    return tuple(folder + os.sep for folder in folders)


def searches(frame: FrameType) -> bool:
    """Whether a frame runs ``x in tensors``, or ``tensors.index(x)``, ``count`` or ``remove``."""
    code, offset = frame.f_code, frame.f_lasti
    if code.co_code[offset] == _CONTAINS:
        return True
    return not _SEARCHES.isdisjoint(code.co_names) and _called_at(code, offset) in _SEARCHES


def shuffles(frame: FrameType) -> bool:
    """Whether a frame is Python's ``random.shuffle``, or calls NumPy's, which has no frame."""
    code = frame.f_code
    if code.co_qualname == "Random.shuffle":
        return code is sys.modules["random"].Random.shuffle.__code__
    return "shuffle" in code.co_names and _called_at(code, frame.f_lasti) == "shuffle"


def shows_value(frame: FrameType, who: str = "float") -> bool:
    """Whether a frame of the user's runs ``float(t)``, ``math.isnan(t)``, or ``text % t``.

    ``map(float, tensors)`` runs where something takes its numbers; it is found if it stands there,
    as in ``list(map(float, tensors))`` or ``for value in map(float, tensors)``. ``who`` asks: an
    "int" is shown by ``"%d" % t`` alone.
    """
    code, offset = frame.f_code, frame.f_lasti
    if who != "float":
        return _operator_at(code, offset) == "%"
    if _shows_value(code, offset):
        return True
    while code.co_name.startswith("<") and _has_own_iterator(code) and frame.f_back is not None:
        frame = frame.f_back  # a comprehension: its iterator was made outside
        code, offset = frame.f_code, frame.f_lasti
        if _maps_float(code, offset):
            return True
    return False


def _has_own_iterator(code: CodeType) -> bool:
    return code.co_argcount == 1 and code.co_varnames[0] == ".0"


@functools.lru_cache(256)
def _shows_value(code: CodeType, offset: int) -> bool:
    if _operator_at(code, offset) == "%":
        return True  # a tensor has a % of its own: this is of text
    if code.co_filename.startswith(_libraries()):
        return False
    return _called_at(code, offset) in _NAMES or _maps_float(code, offset)


@functools.lru_cache(256)
def _operator_at(code: CodeType, offset: int) -> str | None:
    instruction = next((one for one in dis.get_instructions(code) if one.offset == offset), None)
    if instruction is None or instruction.opname != "BINARY_OP":
        return None
    return instruction.argrepr


@functools.lru_cache(256)
def _called_at(code: CodeType, offset: int) -> Any:
    """The name of the function that an instruction calls; None where it calls none."""
    instructions, index = _instruction_at(code, offset)
    start = _function_of_call(instructions, index)
    return None if start is None else _name(instructions[start])


@functools.lru_cache(256)
def _maps_float(code: CodeType, offset: int) -> bool:
    """Whether an instruction takes the numbers of a ``map(float, ...)`` that stands before it."""
    if "map" not in code.co_names:
        return False
    instructions, index = _instruction_at(code, offset)
    end = before = index
    between = _COMPREHENSION if instructions[index].opname == "FOR_ITER" else _BETWEEN
    while before and instructions[before - 1].opname in between:
        before -= 1
    iterates = any(one.opname == "GET_ITER" for one in instructions[before:index])
    if instructions[index].opname in _CALLS and not iterates:
        end = next(i for i in range(index, len(instructions)) if _is_call(instructions[i]))
        start = _function_of_call(instructions, end)  # list, of list(map(float, tensors))
    else:  # a loop, or the star of [*map(float, tensors)]
        start = _function_of_call(instructions, before - 1)
        start = None if start is None else start - 1  # map itself
    if start is None or _name(instructions[start]) in _TAKE_OTHERS:
        return False
    names = [
        _name(one)
        for one in instructions[start + 1 : end]
        if one.opname not in (*_BETWEEN, "MAKE_FUNCTION") and not _is_code(one)
    ]
    return names[:2] == ["map", "float"] and names.count("map") == 1


def _is_call(instruction: dis.Instruction) -> bool:
    return instruction.opname in ("CALL", "CALL_KW")


def _is_code(instruction: dis.Instruction) -> bool:
    """Of Python 3.11 to 3.14: a generator expression, which takes its iterator behind it."""
    return isinstance(instruction.argval, CodeType) or instruction.argval == "<genexpr>"


def _instruction_at(code: CodeType, offset: int) -> tuple[list[dis.Instruction], int]:
    """All instructions, and the place of the one at an offset, which may be behind its beginning.

    Python 3.11 leaves a frame that called another one at the end of the call.
    """
    instructions = list(dis.get_instructions(code))
    return instructions, sum(one.offset <= offset for one in instructions) - 1


def _name(instruction: dis.Instruction) -> Any:
    return instruction.argval if instruction.opname.startswith("LOAD") else None


def _function_of_call(instructions: list[dis.Instruction], index: int) -> int | None:
    """Where the function of a call was loaded; None where it cannot be told.

    Of the values on the stack, the function is the last one below the arguments.
    """
    if instructions[index - 1].opname == "PRECALL":  # of Python 3.11: the first half of a call
        index -= 1
    if instructions[index].opname not in _CALLS:
        return None
    above = instructions[index].arg or 0
    if instructions[index].opname == "CALL_KW":
        above += 1  # the names of the keywords
    for place in range(index - 1, -1, -1):
        one = instructions[place]
        if above <= 0 and one.opname not in _WITHOUT_EFFECT:
            return place
        above -= dis.stack_effect(one.opcode, one.arg, jump=False)
    return None
