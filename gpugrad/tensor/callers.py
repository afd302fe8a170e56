"""Why Python asks a tensor for a number or a truth value: the instruction that its caller runs.

``float(loss)`` and ``math.sin(loss)`` both call ``__float__``, and nothing that Python passes tells
them apart; but the first only shows a value, and the second would lose a gradient. Likewise ``t in
tensors`` calls ``__eq__`` to find one object, not to compare elements. Imports nothing of gpugrad.
"""

import dis
import functools
import os
import random
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["searches", "shows_value", "shuffles"]

# What takes a value and has no derivative.
_NAMES = frozenset({"float", "isfinite", "isinf", "isnan"})
_CALLS = ("CALL", "PRECALL")
_WITHOUT_EFFECT = ("EXTENDED_ARG", "NOP", "PUSH_NULL")  # on the function of a call
_SHUFFLE = random.Random.shuffle.__code__
_CONTAINS = dis.opmap["CONTAINS_OP"]
# Code that is not the user's, which may compute with the number.
_LIBRARIES = tuple(
    str(folder) + os.sep
    for folder in (
        Path(__file__).resolve().parents[1],
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("purelib"),
    )
)


def searches(frame: FrameType) -> bool:
    """Whether a frame runs ``x in container``."""
    return frame.f_code.co_code[frame.f_lasti] == _CONTAINS


def shuffles(frame: FrameType) -> bool:
    """Whether a frame is Python's ``random.shuffle``, or calls NumPy's, which has no frame."""
    code = frame.f_code
    return code is _SHUFFLE or (
        "shuffle" in code.co_names and _called_at(code, frame.f_lasti) == "shuffle"
    )


def shows_value(frame: FrameType) -> bool:
    """Whether a frame runs ``float(t)`` in the user's code, ``math.isnan(t)``, or ``text % t``."""
    return _shows_value(frame.f_code, frame.f_lasti)


@functools.lru_cache(256)
def _shows_value(code: CodeType, offset: int) -> bool:
    instruction = next((one for one in dis.get_instructions(code) if one.offset == offset), None)
    if instruction is not None and instruction.opname == "BINARY_OP":
        return instruction.argrepr == "%"  # a tensor has a % of its own: this is of text
    return not code.co_filename.startswith(_LIBRARIES) and _called_at(code, offset) in _NAMES


@functools.lru_cache(256)
def _called_at(code: CodeType, offset: int) -> Any:
    """The name of the function that an instruction calls; None where it calls none."""
    instructions = list(dis.get_instructions(code))
    index = next((i for i, one in enumerate(instructions) if one.offset == offset), None)
    if index is None:
        return None
    if instructions[index - 1].opname == "PRECALL":  # of Python 3.11: the first half of a call
        index -= 1
    return _called(instructions, index) if instructions[index].opname in _CALLS else None


def _called(instructions: list[dis.Instruction], index: int) -> Any:
    """The name that was loaded for the function of a call; None where it cannot be told.

    Of the values on the stack, the function is the last one below the arguments.
    """
    above = instructions[index].arg or 0
    for one in reversed(instructions[:index]):
        if above <= 0 and one.opname not in _WITHOUT_EFFECT:
            return one.argval if one.opname.startswith("LOAD") else None
        above -= dis.stack_effect(one.opcode, one.arg, jump=False)
    return None
