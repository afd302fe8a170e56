"""Runs PTX written by hand on the stand-in: one instruction, or the body of a kernel."""

import cupy
import numpy as np
from cupy.cuda import function

HEADER = ".version 8.0\n.target sm_80\n.address_size 64\n"
REGISTERS = {1: "b16", 2: "b16", 4: "b32", 8: "b64"}


def load(text: str) -> function.Module:
    module = function.Module()
    module.load((HEADER + text).encode())
    return module


def launch(text: str, *arguments, grid=1, block=1, shared=0, name="kernel"):
    """Launches a kernel of a whole module and waits, so that its faults are raised here."""
    module = load(text)
    dims = [size if isinstance(size, tuple) else (size,) for size in (grid, block)]
    module.get_function(name)(*dims, arguments, shared_mem=shared)
    cupy.cuda.runtime.deviceSynchronize()


def run(body: str, *inputs, to, grid=1, block=None, declare="", outside="", shared=0):
    """Runs `body` in as many threads as the inputs have elements, and gives what it leaves in %d.

    The elements are in %a, %b, %c and %e, registers as wide as they are; %p, %q, %s32 and so on
    can be used freely, and %i is the number of the thread.
    """
    inputs = [np.ascontiguousarray(x) for x in inputs]
    count = inputs[0].size if inputs else block
    result = cupy.zeros(count * (grid if block else 1), to)
    names = "abce"[: len(inputs)]
    parameters = ", ".join(f".param .u64 p{i}" for i in range(len(inputs) + 1))
    lines = [
        ".reg .pred %p, %q, %go; .reg .b64 %x, %y, %o; .reg .b32 %i, %n, %g;",
        ".reg .b16 %h<8>; .reg .b32 %r<16>; .reg .b64 %l<16>;",
        f".reg .{REGISTERS[result.itemsize]} %d;",
        "mov.u32 %i, %tid.x; mov.u32 %n, %ntid.x; mov.u32 %g, %ctaid.x;",
        "mad.lo.u32 %i, %g, %n, %i;",
        declare,
    ]
    for i, (name, x) in enumerate(zip(names, inputs, strict=True)):
        lines += [
            f".reg .{REGISTERS[x.itemsize]} %{name};",
            f"ld.param.u64 %x, [p{i}]; mul.wide.u32 %y, %i, {x.itemsize}; add.u64 %x, %x, %y;",
            f"ld.global.u{8 * x.itemsize} %{name}, [%x];",
        ]
    lines += [
        body,
        f"ld.param.u64 %x, [p{len(inputs)}]; mul.wide.u32 %y, %i, {result.itemsize};",
        f"add.u64 %x, %x, %y; st.global.b{8 * result.itemsize} [%x], %d;",
        "ret;",
    ]
    text = f"{outside}\n.visible .entry kernel({parameters})\n{{\n" + "\n".join(lines) + "\n}\n"
    arrays = [cupy.asarray(x) for x in inputs]
    launch(text, *arrays, result, grid=grid, block=block or count, shared=shared)
    return result.get()
