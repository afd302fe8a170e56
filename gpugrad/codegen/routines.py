"""The device code of CuPy's special functions, for the kernels that call them.

A ufunc of ``cupyx.scipy.special`` holds the parts of its kernels: helper functions in CUDA C++, and
a statement for each dtype. Here they become one device function that any elementwise kernel can
call. It has a C++ namespace of its own, since the helpers of two ufuncs may have the same names.

Imports operations, and CuPy at the first function.
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
    """A device function of scalars: its qualified name, and its definition."""

    name: str
    text: str


@cache
def device_function(name: str, dtype: np.dtype, count: int) -> DeviceFunction | None:
    """CuPy's special function of ``count`` scalars of a dtype; None where it has none.

    This reads private attributes of CuPy. With a CuPy in which they differ the result is None, and
    formulas that call the function run operation by operation.
    """
    scalar = c_type(dtype)
    try:
        ufunc: Any = getattr(import_module("cupyx.scipy.special"), name)
        helpers, before = ufunc._preamble, ufunc._loop_prep
        loops = {_types(loop): loop.routine for loop in ufunc._ops.ops}
    except (ImportError, AttributeError, TypeError):
        return None
    statement = loops.get(((dtype,) * count, (dtype,)))
    if before or not isinstance(statement, str) or not isinstance(helpers, str):
        return None
    names = [f"in{index}" for index in range(count)]
    types = "".join(f"typedef {scalar} {one}_type;\n" for one in (*names, "out0"))
    operands = ", ".join(f"{scalar} {one}" for one in names)
    space = f"gpugrad_{name}_{scalar}"
    # Headers are included outside the namespace; macros end with it.
    headers = "".join(f"{line.strip()}\n" for line in _INCLUDE.findall(helpers))
    macros = "".join(f"#undef {macro}\n" for macro in dict.fromkeys(_DEFINE.findall(helpers)))
    text = f"""{headers}namespace {space} {{
{_INCLUDE.sub("", helpers)}
{types}__device__ {scalar} value({operands})
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
