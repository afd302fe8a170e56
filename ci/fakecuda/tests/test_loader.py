"""The loader: what happens when CuPy is imported, and that nothing happens before. Runs under
ci/fakecuda/run; each test in a Python of its own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

fakecuda = pytest.importorskip("fakecuda")


def python(text, path=(), **environment):
    """The output of a program."""
    environment = {**os.environ, **environment}
    environment["PYTHONPATH"] = os.pathsep.join([environment["PYTHONPATH"], *map(str, path)])
    command = [sys.executable, "-c", textwrap.dedent(text)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_loaded_before_cupy_is():
    show = """
        import sys
        {}
        maps = open("/proc/self/maps").read()
        print("libcuda.so.1" in maps, "libcublas.so.12" in maps, "scipy" in sys.modules)
    """
    assert python(show.format("import numpy")) == "False False False"
    assert python(show.format("import cupy")) == "True True False"
    assert python(show.format("import cupy; cupy.cuda.cublas")) == "True True True"


def test_another_sitecustomize_still_runs(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.was_here = True")
    assert python("import sys; print(sys.was_here)", [tmp_path]) == "True"


def test_it_is_the_wheel_but_for_two_extensions():
    found = python(
        """
        import cupy
        from cupy_backends.cuda.api import driver, runtime
        print(*(module.__file__ for module in (cupy, driver, runtime, cupy.cuda.thrust)))
        """
    ).split()
    built = os.environ["FAKECUDA"]
    assert [file.startswith(built + "/ext") for file in found] == [False, False, True, True]


def test_two_devices():
    assert python("import cupy; print(cupy.cuda.runtime.getDeviceCount())") == "2"


def test_counts():
    counts = python(
        """
        import cupy, fakecuda, numpy
        a = cupy.ones(4, "f")
        with fakecuda.count() as before:
            pass
        with fakecuda.count() as counts:
            a + a
            cupy.array(numpy.ones(4, "f")).get()
        print(before)
        print(list(counts.launches.values()), counts.total_launches, counts.total_library)
        print(counts.copies, counts.total_copies, counts.total_waits > 0)
        """
    ).splitlines()
    nothing = "launches={}, library={}, copies={}, waits={}, allocations=(0, 0)"
    assert counts == [
        f"Counts({nothing})",
        "[1] 1 0",
        "{'HtoD': (1, 16), 'DtoH': (1, 16)} 2 True",
    ]


def test_idle_counts_and_does_nothing():
    text = """
        import cupy, fakecuda
        a = cupy.ones((2, 2), "f")
        b = cupy.zeros((2, 2), "f")
        a @ a
        with fakecuda.idle(), fakecuda.count() as counts:
            cupy.add(a, a, b)
            cupy.matmul(a, a, out=b)
        print(counts.total_launches, counts.total_library, b.sum(), (a + a).sum())
    """
    assert python(text) == "1 1 0.0 8.0"


@pytest.mark.parametrize("mode", ["", "lazy", "strict", "lazy,strict"])
def test_modes(mode):
    found = python(
        """
        import cupy, fakecuda
        a = cupy.ones(3)
        pool = cupy.get_default_memory_pool().used_bytes() > 0
        print(",".join(sorted(fakecuda.modes())), pool, (a + 1).sum())
        """,
        FAKECUDA_MODE=mode,
    )
    assert found == f"{mode} {'strict' not in mode} 6.0".strip()


def test_errors_say_what_the_stand_in_says():
    found = python(
        """
        import cupy
        write = cupy.RawKernel('extern "C" __global__ void write(float *p) { p[9999999] = 1; }',
                               "write")
        try:
            write((1,), (1,), (cupy.zeros(4, "f"),))
            cupy.cuda.runtime.deviceSynchronize()
        except RuntimeError as error:
            print(type(error).__name__, error, sep="\\n")
        """
    ).splitlines()
    assert found[0] in ("CUDARuntimeError", "CUDADriverError")
    assert "write" in " ".join(found[2:])


def test_precompiled_headers_change_nothing(tmp_path):
    text = """
        import cupy
        from cupy.cuda import compiler
        if {plain}:
            compiler._NVRTCProgram.compile = compiler._NVRTCProgram.compile.__wrapped__
        print(cupy.exp(cupy.arange(4.0)).sum(), cupy.arange(6).reshape(2, 3).sum(axis=0))
    """
    caches = [tmp_path / name for name in ("plain", "precompiled")]
    results = [
        python(text.format(plain=folder.name == "plain"), CUPY_CACHE_DIR=str(folder))
        for folder in caches
    ]
    assert results[0] == results[1]
    # The same files in the cache, by name and contents: hashes of the source, and PTX.
    files = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in caches]
    assert files[0]
    assert files[0] == files[1]


def test_a_program_with_errors_is_reported_as_ever():
    found = python(
        """
        import cupy, sys
        try:
            cupy.RawKernel("__global__ void f() { nonsense; }", "f").compile()
        except cupy.cuda.compiler.CompileException as error:
            import traceback
            traceback.print_exception(error, file=sys.stdout)
        """
    )
    assert 'identifier "nonsense" is undefined' in found
    assert "precompiled" not in found


@pytest.mark.parametrize(
    ("found", "requirement", "expected"),
    [
        ("65.5.0", "setuptools>=77", False),
        ("100.1", "setuptools>=77", True),
        ("14.2.1", "cupy-cuda12x==14.2.*", True),
        ("14.20.0", "cupy-cuda12x==14.2.*", False),
        ("", "gpugrad", False),
        ("0.1.0", "gpugrad", True),
    ],
)
def test_the_build_knows_what_the_environment_lacks(found, requirement, expected):
    folder = Path(__file__).resolve().parent.parent
    said = f"import make; print(make.met({found!r}, {requirement!r}))"
    assert python(said, [folder]) == str(expected)
