"""The device code of CuPy's special functions, as text for the kernels that call them.

A ufunc of ``cupyx.scipy.special`` carries what CuPy makes its kernels of: helpers in CUDA C, and a
statement for each dtype. Here they become one function that any elementwise kernel calls, in a C++
namespace of its own, since the helpers of two ufuncs may have the same names.

Imports operations, and CuPy when a kernel asks for a function.
"""

import re
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from gpugrad.codegen.operations import c_type

__all__ = ["DeviceFunction", "device_function"]

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b.*\n?", re.MULTILINE)
_DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)


class DeviceFunction(NamedTuple):
    """A function of numbers on the GPU: how a kernel calls it, and its definition."""

    name: str
    text: str


@cache
def device_function(name: str, dtype: np.dtype, count: int) -> DeviceFunction | None:
    """CuPy's special function of ``count`` numbers of a dtype; None where it has none.

    The internals of CuPy that this reads are looked at with care: a CuPy that has others has no
    function here, and formulas that call it run operation by operation.
    """
    kind = c_type(dtype)
    try:
        ufunc: Any = getattr(import_module("cupyx.scipy.special"), name)
        helpers, before = ufunc._preamble, ufunc._loop_prep
        loops = {_types(loop): loop.routine for loop in ufunc._ops.ops}
    except (ImportError, AttributeError, TypeError):
        return None
    statement = loops.get(((dtype,) * count, (dtype,)))
    if before or not isinstance(statement, str) or not isinstance(helpers, str):
        return None
    words = [f"in{index}" for index in range(count)]
    types = "".join(f"typedef {kind} {word}_type;\n" for word in (*words, "out0"))
    operands = ", ".join(f"{kind} {word}" for word in words)
    space = f"gpugrad_{name}_{kind}"
    # Headers stay outside of the namespace, and no macro lives on behind it.
    headers = "".join(f"{line.strip()}\n" for line in _INCLUDE.findall(helpers))
    macros = "".join(f"#undef {macro}\n" for macro in dict.fromkeys(_DEFINE.findall(helpers)))
    text = f"""{headers}namespace {space} {{
{_INCLUDE.sub("", helpers)}
{types}__device__ {kind} value({operands})
{{
out0_type out0;
{statement};
return out0;
}}
}}
{macros}"""
    return DeviceFunction(f"{space}::value", text)


def _types(loop: Any) -> tuple[tuple[np.dtype, ...], tuple[np.dtype, ...]]:
    return tuple(map(np.dtype, loop.in_types)), tuple(map(np.dtype, loop.out_types))
