"""``gpugrad doctor``: reports the machine, whether CUDA works, and fixes.

``collect`` gathers the facts into one dict of plain values, ``show`` prints them. It may import
anything of gpugrad, but needs the backend only, so that it runs where the rest does not.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from typing import Any

import numpy

from gpugrad.backend import default_device, probe
from gpugrad.compiler.c.compiler import find_compiler
from gpugrad.errors import DeviceError

__all__ = ["add_to", "collect", "own_version", "show"]

# Of `gpugrad doctor --json`: it grows when a key goes or changes its meaning; keys may be added.
SCHEMA = 1
_OPTIONAL = {
    "scipy": "gpugrad.special on a CPU",
    "tqdm": "progress bars",
    "matplotlib": "plots",
    "graphviz": "drawings of graphs in other formats than SVG",
    "scikit-learn": "gg.sklearn, and the examples' data",
    "pyarrow": "Parquet files",
    "mpi4py": "gg.parallel between processes on CPUs",
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def add_to(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "doctor",
        help="report what this machine has, whether CUDA works, and what mends it",
        description="Report Python, NumPy, CuPy, the driver, each step of the CUDA probe and "
        "the commands that mend what is wrong. The exit status is 0 where the default "
        "device (GPUGRAD_DEVICE, else cpu) works, and 1 where it does not.",
    )
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Collect and print; 0 where the default device works, else 1."""
    facts = collect()
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)
    return 0 if facts["default_device"]["works"] else 1


# ---------------------------------------------------------------- facts


def collect() -> dict[str, Any]:
    """All facts of the report, as plain values that JSON can hold; docs/devices.md has the keys.

    >>> facts = collect()
    >>> facts["numpy"]["version"] == numpy.__version__
    True
    """
    cupy_probe = _cuda_facts()
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "gpugrad": own_version(),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "platform": platform.platform(),
        "numpy": {"version": numpy.__version__, "blas": _blas()},
        "threads": _threads(),
        "optional": {name: _version(name) for name in _OPTIONAL},
        "graphviz_dot": shutil.which("dot"),
        "compiler": _compiler(),
        "cuda": cupy_probe,
        "default_device": _default_device(),
    }
    facts["problems"] = _problems(facts)
    return facts


def own_version() -> str:
    """gpugrad's version: that of the installed distribution, else that of the source tree."""
    import gpugrad

    return _version("gpugrad") or str(getattr(gpugrad, "__version__", "unknown"))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _blas() -> str:
    """Name and version of the BLAS that NumPy was built with."""
    config: Any = numpy.show_config(mode="dicts")
    blas = config.get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(blas[key]) for key in ("name", "version") if blas.get(key)) or "unknown"


def _compiler() -> dict[str, str] | None:
    """The C compiler for `gpugrad.compile`: its command and its version."""
    compiler = find_compiler()
    return None if compiler is None else {"command": str(compiler), "version": compiler.version()}


def _threads() -> dict[str, Any]:
    """The CPUs that this process may use, and the variables that limit the threads of BLAS."""
    cpus = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cpus or 1
    limits = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    return {"cpus": cpus, "usable": usable, "limits": limits}


def _cuda_facts() -> dict[str, Any]:
    result = probe.probe()
    facts: dict[str, Any] = {
        "distributions": probe.distributions(),
        "works": result.ok,
        "reason": result.reason,
        "steps": [step._asdict() for step in result.steps],
        "nvidia_smi": _nvidia_smi(),
        "runtime": None,
        "driver": None,
        "devices": [],
    }
    if result.steps[0].ok:  # CuPy is imported: read what it knows without computing
        facts.update(_cupy_facts())
    return facts


def _cupy_facts() -> dict[str, Any]:
    import cupy

    runtime = cupy.cuda.runtime
    facts: dict[str, Any] = {}
    try:
        facts["runtime"] = probe.cuda_version(runtime.runtimeGetVersion())
        driver = runtime.driverGetVersion()
        facts["driver"] = probe.cuda_version(driver) if driver else None
        facts["devices"] = [_device_facts(cupy, i) for i in range(runtime.getDeviceCount())]
    except RuntimeError:
        pass  # no driver, which the steps of the probe report
    return facts


def _device_facts(cupy: Any, index: int) -> dict[str, Any]:
    properties = cupy.cuda.runtime.getDeviceProperties(index)
    facts = {
        "device": f"cuda:{index}",
        "name": properties["name"].decode(errors="replace"),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "total": int(properties["totalGlobalMem"]),
        "free": None,
    }
    try:
        with cupy.cuda.Device(index):
            facts["free"] = int(cupy.cuda.runtime.memGetInfo()[0])
    except RuntimeError:
        pass  # a device that is full or in use still has a name and a size
    return facts


def _nvidia_smi() -> list[str] | None:
    """The lines of nvidia-smi, one for each GPU; None where it is not installed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def _default_device() -> dict[str, Any]:
    """The default device, the origin of the setting, and whether it computes."""
    asked = os.environ.get("GPUGRAD_DEVICE", "").strip()
    facts: dict[str, Any] = {
        "name": asked or "cpu",
        "from": "GPUGRAD_DEVICE" if asked else "default",
        "works": False,
        "error": None,
    }
    try:
        device = default_device()
        facts["name"] = str(device)
        x = device.send(numpy.arange(4.0).reshape(2, 2))
        with device.activate():
            facts["works"] = device.fetch(x @ x + 1).tolist() == [[3.0, 4.0], [7.0, 12.0]]
        if not facts["works"]:
            facts["error"] = f"{device}: computed wrong numbers"
    except (DeviceError, ImportError, RuntimeError, MemoryError) as error:
        facts["error"] = str(error)
    return facts


def _problems(facts: dict[str, Any]) -> list[dict[str, str]]:
    """The problems, each with its fix. A missing GPU is no problem for a CPU user."""
    problems = []
    default, gpu = facts["default_device"], facts["cuda"]
    if not default["works"]:
        fix = "Set GPUGRAD_DEVICE to a device that works, such as cpu, or unset it"
        problems.append((default["error"], fix))
    if (duplicates := probe.duplicates_fix()) is not None:
        problem, _, fix = duplicates.partition(": ")
        problems.append((problem, fix))
    for name, version in gpu["distributions"].items():
        if int(version.split(".")[0]) < 14:
            problem = f"{name} {version} is older than 14, the oldest that gpugrad supports"
            problems.append((problem, f'pip install "{name}[ctk]>=14"'))
    if not gpu["works"] and gpu["nvidia_smi"]:
        last = gpu["steps"][-1]
        problem = f"there is a GPU ({gpu['nvidia_smi'][0]}), but gpugrad cannot use it: "
        problems.append((problem + last["detail"], last["fix"]))
    return [{"what": problem, "fix": fix} for problem, fix in problems]


# ---------------------------------------------------------------- the report


def show(facts: dict[str, Any]) -> None:
    """Print the facts of ``collect``."""
    python, threads, gpu = facts["python"], facts["threads"], facts["cuda"]
    _line("gpugrad", facts["gpugrad"])
    _line("Python", f"{python['version']} ({python['implementation']}), {python['executable']}")
    _line("platform", facts["platform"])
    _line("NumPy", f"{facts['numpy']['version']}, BLAS: {facts['numpy']['blas']}")
    limits = "".join(f", {name}={value}" for name, value in threads["limits"].items())
    _line("CPUs", f"{threads['usable']} usable of {threads['cpus']}{limits}")
    for name, use in _OPTIONAL.items():
        version = facts["optional"][name]
        text = version or f'not installed; for {use}: pip install "{name}"'
        if name == "graphviz" and version and not facts["graphviz_dot"]:
            text += ", but without the program dot, which renders: install Graphviz itself"
        _line(name, text)
    compiler = facts["compiler"]
    _line(
        "C compiler",
        f"{compiler['version']} ({compiler['command']})"
        if compiler
        else 'none found; for faster gg.compile: install gcc or clang, or pip install "ziglang"',
    )

    print()
    names = ", ".join(f"{name} {version}" for name, version in gpu["distributions"].items())
    _line("CuPy", names or "not installed")
    _line("CUDA runtime", f"{gpu['runtime']} (that CuPy was built with)" if gpu["runtime"] else "-")
    _line("driver", f"for CUDA {gpu['driver']}" if gpu["driver"] else "none found")
    for line in gpu["nvidia_smi"] or []:
        _line("nvidia-smi", line)
    for device in gpu["devices"]:
        free = "" if device["free"] is None else f", {_gib(device['free'])} free"
        text = f"{device['name']}, {_gib(device['total'])}{free}"
        _line(device["device"], f"{text}, compute capability {device['compute_capability']}")
    print("CUDA probe")
    for step in gpu["steps"]:
        print(f"  {'ok  ' if step['ok'] else 'FAIL'}  {step['name']}: {step['detail']}")
        if step["fix"]:
            print(f"        to mend it: {step['fix']}")
    print(f"  => {'CUDA works' if gpu['works'] else 'CUDA does not work: cuda cannot be used'}")

    print()
    default = facts["default_device"]
    origin = "by GPUGRAD_DEVICE" if default["from"] != "default" else "GPUGRAD_DEVICE is not set"
    result = "works" if default["works"] else "DOES NOT WORK"
    _line("default", f"{default['name']} ({origin}): {result}")
    for problem in facts["problems"]:
        print(f"\nproblem: {problem['what']}\n  to mend it: {problem['fix']}")


def _line(label: str, text: str) -> None:
    print(f"{label:<13} {text}")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
