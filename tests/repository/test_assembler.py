"""ci/kernels.py finds what it looks for: spills, local memory, narrow loads and stores."""

import sys

import pytest
from repository import ROOT

sys.path.insert(0, str(ROOT / "ci"))

import assembler
import kernels
from kernel_sources import Source

sys.path.pop(0)  # a folder there is named as the module that ci/fakecuda/run offers

pytestmark = pytest.mark.skipif(assembler.missing() is not None, reason=str(assembler.missing()))

PLAIN = """
extern "C" __global__ void copy(const float* x, float* y)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i];
}
"""
WIDE = """
extern "C" __global__ void copy(const float4* x, float4* y)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i];
}
"""
LOCAL = """
extern "C" __global__ void turned(const int* x, int* y)
{
    int kept[16];
    for (int i = 0; i < 16; ++i)
        kept[i] = x[i];
    for (int i = 0; i < 16; ++i)
        kept[x[i] & 15] += i;
    y[threadIdx.x] = kept[x[threadIdx.x] & 15];
}
"""
# More values at once than the registers of a thread of so large a block.
SPILLS = """
extern "C" __global__ void __launch_bounds__(1024, 2) sums(const double* x, double* y)
{
    double kept[64];
#pragma unroll
    for (int i = 0; i < 64; ++i)
        kept[i] = x[i * 1024 + threadIdx.x];
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 64; ++i)
        y[i * 1024 + threadIdx.x] = kept[i] * kept[63 - i];
}
"""
BIG = """
extern "C" __global__ void gathered(const float* x, float* y)
{
    __shared__ float kept[256];
    kept[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = kept[255 - threadIdx.x];
}
"""


def faults(text, moves=None):
    """What is found in the kernels of a source."""
    source = Source("family", "float32", "of a test", text, moves=moves)
    return [
        fault for kernel in kernels._assemble([source], "sm_80") for fault in kernels.faults(kernel)
    ]


def test_a_plain_kernel_has_no_fault():
    assert faults(PLAIN) == []
    assert faults(WIDE, moves=((16,), 16)) == []


def test_narrow_loads_and_stores_are_faults():
    assert [fault.partition(",")[0] for fault in faults(PLAIN, moves=((16,), 16))] == [
        "loads no 16 bytes at once for each array",
        "stores no 16 bytes at once",
    ]


def test_local_memory_is_a_fault():
    (fault,) = faults(LOCAL)
    assert fault.endswith("bytes of local memory, and is not in LOCAL with them")


def test_spilled_registers_are_a_fault():
    assert any(fault.startswith("spills ") for fault in faults(SPILLS))


def test_registers_and_shared_memory_are_told():
    made = assembler.assemble(BIG, "sm_90", ("--std=c++17",), look=False)["gathered"]
    assert made.shared == 1024
    assert 0 < made.registers < 32
    with pytest.raises(assembler.CompileError, match="undefined"):
        assembler.assemble(BIG.replace("kept[255", "kapt[255"), "sm_90", (), look=False)


def test_what_was_assembled_is_kept(tmp_path, monkeypatch):
    first = assembler.assemble(WIDE, "sm_80", (), True, tmp_path)
    monkeypatch.setattr(assembler, "_to_ptx", None)
    assert assembler.assemble(WIDE, "sm_80", (), True, tmp_path) == first


def test_several_sources_are_compiled_as_one(monkeypatch):
    named = [
        Source("f", "", str(n), f"#define N {n}\n{text}") for n, text in enumerate([PLAIN, BIG])
    ]
    found = kernels._assemble(named, "sm_80")
    assert sorted((kernel.source.label, kernel.name) for kernel in found) == [
        ("0", "copy"),
        ("1", "gathered"),
    ]


def test_a_table_of_other_compilers_is_held_to_its_kernels(monkeypatch):
    rows = "| kernels | number |\n| softmax | 3 | 20 |"
    text = f"Made by {assembler.versions()}.\n{rows}"
    assert kernels._is_current(text, text)
    assert not kernels._is_current(text.replace("20", "21"), text)
    assert kernels._is_current(f"Made by others.\n{rows}".replace("20", "21"), text)
    assert not kernels._is_current(f"Made by others.\n{rows}".replace("softmax", "sum"), text)
