"""What stops a kernel, and what the message says."""

import os
import subprocess
import sys
import textwrap

import cupy
import pytest
from ptx import launch, load

# A fault sticks to the context, as on a GPU: each kernel that has one runs in a process of its own.
PRELUDE = """
import cupy, numpy as np, sys
from ptx import launch, run, load
def entry(body, parameters=".param .u64 p", outside=""):
    return outside + ".visible .entry kernel(" + parameters + ") {\\n" \\
        ".reg .b64 %x, %y; .reg .b32 %r<8>; .reg .pred %p, %q; .reg .f32 %f<4>;\\n" + body + "\\n}"
"""


def message(code, mode="", **environment):
    """What the stand-in says of the faulty kernel that `code` launches."""
    process = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=os.path.dirname(__file__),
        env={**os.environ, "FAKECUDA_MODE": mode, **environment},
        timeout=100,
    )
    assert process.returncode != 0, process.stdout + process.stderr
    return process.stderr


def passes(code, mode=""):
    environment = {**os.environ, "FAKECUDA_MODE": mode}
    command = [sys.executable, "-c", PRELUDE + textwrap.dedent(code)]
    subprocess.run(command, check=True, cwd=os.path.dirname(__file__), env=environment, timeout=100)


def test_out_of_bounds():
    text = message("""
        x = cupy.zeros(100, "f4")
        launch(entry('''ld.param.u64 %x, [p]; mov.u32 %r0, %tid.x; mul.wide.u32 %y, %r0, 4;
            add.u64 %x, %x, %y;
            st.global.f32 [%x+1000000], 0f00000000;
            ret;'''), x, block=(8, 2))
    """)
    assert "kernel kernel, block (0, 0, 0), thread (0, 0, 0): write" in text
    assert "PTX line 8: st.global.f32 [%x+1000000], 0f00000000" in text


def test_line_of_the_cuda_source():
    text = message("""
        source = '''extern "C" __global__ void scale(float *x, int n) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            x[i] *= 2;  // line 3
        }'''
        kernel = cupy.RawKernel(source, "scale", options=("-lineinfo",))
        cupy.cuda.set_allocator(None)
        kernel((2,), (128,), (cupy.ones(200, "f4"), 200))
        cupy.cuda.runtime.deviceSynchronize()
    """)
    assert "kernel scale, block (1, 0, 0), thread (72, 0, 0): read" in text
    assert "(line 3 of " in text


def test_alignment():
    text = message("""
        launch(entry('''ld.param.u64 %x, [p]; ld.global.v2.u32 {%r0, %r1}, [%x+4]; ret;'''),
               cupy.zeros(8, "u4"))
    """)
    assert "read of 8 bytes at the misaligned address" in text


def test_shared_memory_has_an_end():
    text = message("""
        launch(entry('''.shared .b32 box[4]; mov.u32 %r0, %tid.x; mov.u32 %r2, box;
            mad.lo.u32 %r1, %r0, 4, %r2; st.shared.u32 [%r1], %r0; ret;'''), 0, block=8)
    """)
    assert (
        "thread (4, 0, 0): write of 4 bytes at offset 16 of the block's shared memory, which "
        "has 16 bytes" in text
    )


def test_constant_memory_is_read_only():
    text = message("""
        launch(entry('''mov.u64 %x, table; cvta.const.u64 %x, %x; st.u32 [%x], 0; ret;''',
                     outside=".const .b32 table[4];"), 0)
    """)
    assert "write of 4 bytes in constant memory" in text


def test_assertions():
    text = message("""
        source = '''extern "C" __device__ void __assertfail(
            const char *, const char *, unsigned, const char *, size_t);
        extern "C" __global__ void positive(const int *x) {
            if (x[threadIdx.x] <= 0) __assertfail("x > 0", "file.cu", 12, "positive", 1);
        }'''
        cupy.RawKernel(source, "positive")((1,), (4,), (cupy.arange(4, 0, -1, dtype="i4") - 2,))
        cupy.cuda.runtime.deviceSynchronize()
    """)
    assert "thread (2, 0, 0): file.cu:12: positive: assertion 'x > 0' failed" in text


def test_endless_loops_end():
    text = message(
        """launch(entry('''LOOP: add.u32 %r0, %r0, 1; bra LOOP; ret;'''), 0)""",
        FAKECUDA_LIMIT="1000000",
    )
    assert "the kernel ran over the limit of 1000000 instructions" in text


def test_endless_recursion_ends():
    text = message("""
        outside = '''.func deeper() { call deeper; ret; } '''
        launch(entry("call deeper; ret;", outside=outside), 0)
    """)
    assert "the stack overflows" in text
    assert "function deeper" in text


def test_deadlocks():
    text = message("""
        launch(entry('''mov.u32 %r0, %tid.x; setp.lt.u32 %p, %r0, 32; @%p bra OTHER;
            bar.sync 1; ret;
            OTHER: bar.sync 2; ret;'''), 0, block=64)
    """)
    assert "threads wait for others, which never come" in text
    assert "lanes 0xffffffff of warp 0 at PTX line" in text
    assert "bar.sync 1" in text


def test_member_masks():
    text = message("""
        launch(entry('''mov.u32 %r0, %tid.x; bar.warp.sync 0xf; ret;'''), 0, block=32)
    """)
    assert "its member mask 0xf does not name lane 4, which runs it" in text


def test_traps():
    assert "it traps, at PTX line" in message("""launch(entry("trap;"), 0)""")


# ------------------------------------------------------------------ strict mode


def test_strict_reads_of_memory_never_written():
    code = """
        cupy.cuda.set_allocator(None)
        x = cupy.empty(4, "u4"); x[:2] = 1
        launch(entry('''ld.param.u64 %x, [p]; ld.global.u32 %r0, [%x+8];
            st.global.u32 [%x], %r0; ret;'''), x)
    """
    passes(code)
    assert "byte 0 was never written" in message(code, "strict")
    shared = """
        x = cupy.zeros(1, "u4")
        launch(entry('''.shared .b32 box[2]; ld.param.u64 %x, [p]; ld.shared.u32 %r0, [box];
            st.global.u32 [%x], %r0; ret;'''), x)
    """
    passes(shared)
    assert "it stores a register that has no value yet" in message(shared, "strict")
    # a structure's padding may be copied, and what is not chosen may be undefined
    passes(
        """
        x = cupy.zeros(1, "u4")
        launch(entry('''.shared .align 8 .b32 box[4]; ld.param.u64 %x, [p];
            st.shared.v2.u32 [box], {%r0, %r1}; ld.shared.v2.u32 {%r2, %r3}, [box];
            setp.eq.u32 %p, %r2, 3; setp.ne.and.u32 %q, %r3, 0, %p; mov.pred %p, 0;
            and.pred %q, %q, %p; @%q trap; selp.u32 %r4, %r2, 5, %q;
            st.global.u32 [%x], %r4; ret;'''), x)
        assert x.item() == 5
        """,
        "strict",
    )


def test_strict_registers():
    code = """
        x = cupy.zeros(1, "u4")
        launch(entry('''ld.param.u64 %x, [p]; add.u32 %r1, %r0, 1;
            st.global.u32 [%x], %r1; ret;'''), x)
    """
    passes(code)
    assert "it stores a register that has no value yet" in message(code, "strict")
    assert "its predicate has no value yet" in message(
        """launch(entry("@%p mov.u32 %r0, 1; ret;"), 0)""", "strict"
    )
    # what is never used may be undefined
    passes("""launch(entry("mov.u32 %r1, %r0; add.u32 %r2, %r1, 1; ret;"), 0)""", "strict")


def test_strict_barriers():
    code = """
        launch(entry('''mov.u32 %r0, %tid.x; setp.lt.u32 %p, %r0, 5; @%p exit;
            bar.sync 0; ret;'''), 0, block=64)
    """
    passes(code)
    text = message(code, "strict")
    assert "a barrier for the whole block, of which 5 threads have exited" in text
    different = """
        launch(entry('''mov.u32 %r0, %tid.x; setp.lt.u32 %p, %r0, 32; @%p bra OTHER;
            bar.sync 0; ret;
            OTHER: bar.sync 0; ret;'''), 0, block=64)
    """
    passes(different)
    assert "threads of the block wait at different barriers" in message(different, "strict")


def test_strict_member_masks():
    code = """
        launch(entry('''mov.u32 %r0, %tid.x; setp.lt.u32 %p, %r0, 5; @%p exit;
            shfl.sync.bfly.b32 %r1, %r0, 1, 31, 0xffffffff; ret;'''), 0, block=32)
    """
    passes(code)
    assert "names lanes that have exited: 0x1f" in message(code, "strict")


# ------------------------------------------------------------------ PTX that is not understood


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("wgmma.fence.sync.aligned;", "does not have the instruction 'wgmma'"),
        ("add.sideways.u32 %r0, %r0, 1;", "with the modifier '.sideways'"),
        ("add.u32 %r0, %r0, 1, 2;", "too many operands"),
        ("add.u32 %r0, %r0;", "an operand is missing"),
        ("add.u32 %r0, %r9, 1;", "'%r9' is not declared"),
        ("add.u32 %x, %r0, 1;", "where .u32 is expected"),
        ("bra NOWHERE;", "'NOWHERE' is not declared"),
        (".strange 5;", "found 'strange'"),
        ("mov.u64 %x, other; ", "'other' is not declared"),
        ("ld.global.b128 %x, [%x];", "a type is missing"),
    ],
)
def test_unknown_code_is_an_error(body, complaint, capfd):
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        load(".visible .entry kernel() {\n.reg .b32 %r<2>; .reg .b64 %x;\n" + body + "\nret;\n}")
    text = capfd.readouterr().err
    assert "PTX line 6" in text
    assert complaint in text


def test_functions_without_code(capfd):
    outside = ".extern .func (.param .b64 r) malloc (.param .b64 n);"
    body = "{ .param .b64 n; .param .b64 r; call (r), malloc, (n); }"
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        load(f"{outside} .visible .entry kernel() {{ {body} ret; }}")
    assert "'malloc' has no code in this module" in capfd.readouterr().err


def test_two_kernels_share_no_memory():
    """Each kernel of a module has the shared memory that it uses, not what others use."""
    text = """
        .visible .entry kernel() { .shared .b8 a[40000]; .reg .b32 %r; ld.shared.u32 %r, [a]; ret; }
        .visible .entry other() { .shared .b8 b[40000]; .reg .b32 %r; ld.shared.u32 %r, [b]; ret; }
    """
    launch(text)
    launch(text, name="other")
    kernel = load(text).get_function("other")
    assert cupy.cuda.driver.funcGetAttribute(1, kernel.ptr) == 40000  # ..._SHARED_SIZE_BYTES
