"""The gpugrad command and its doctor."""

import json
import os
import re
import subprocess
import sys

import numpy
import pytest
from cuda_errors import CUDARuntimeError, DynamicLibNotFoundError
from gpu import needs_gpu
from repository import ROOT

from gpugrad.backend import cuda, probe
from gpugrad.backend import device as devices
from gpugrad.cli import doctor, main
from gpugrad.compiler.c.compiler import Compiler


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No default device chosen and nothing probed, before and after each test."""
    monkeypatch.setattr(devices, "_process_default", None)
    monkeypatch.delenv("GPUGRAD_DEVICE", raising=False)
    cuda.reset()
    yield
    cuda.reset()


@pytest.fixture
def machine(monkeypatch, break_at):
    """A function that sets the scene: where the probe fails, what is installed, nvidia-smi's words.

    Without ``cupy`` it is not installed; else it says that there is a driver for CUDA 12.8.
    """

    def scene(step=None, error=None, driver=12080, names=("cupy-cuda12x",), version="14.2.0",
              smi=None, cupy=True):  # fmt: skip
        if cupy:
            break_at(step, error, driver)
            text = probe.cuda_version(driver) if driver else None
            monkeypatch.setattr(doctor, "_cupy_facts", lambda: {"driver": text})
        else:
            monkeypatch.setitem(sys.modules, "cupy", None)
            cuda.reset()
        found = dict.fromkeys(names, version) if cupy else {}
        monkeypatch.setattr(probe, "distributions", lambda: found)
        monkeypatch.setattr(doctor, "_nvidia_smi", lambda: smi)

    return scene


def problems():
    return [(each["what"], each["fix"]) for each in doctor.collect()["problems"]]


def test_the_command_alone_prints_help(capsys):
    assert main([]) == 0
    assert "doctor" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"gpugrad {doctor.own_version()}\n"


def test_an_unknown_command_gets_a_sentence(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["doctr"])
    assert exit.value.code == 2
    assert "invalid choice: 'doctr'" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "status"), [(None, 0), ("cpu", 0), ("nonsense", 1)])
def test_as_a_module_in_a_fresh_process(name, status):
    environment = dict(os.environ) | ({"GPUGRAD_DEVICE": name} if name else {})
    command = [sys.executable, "-m", "gpugrad", "doctor"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert f"NumPy         {numpy.__version__}, BLAS: " in done.stdout
    assert "import cupy: " in done.stdout
    if name == "nonsense":
        assert "problem: GPUGRAD_DEVICE: 'nonsense' is not a device: expected" in done.stdout


@needs_gpu
def test_a_machine_where_all_works(capsys, monkeypatch):
    monkeypatch.setenv("GPUGRAD_DEVICE", "cuda:0")
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for line in (
        r"CuPy          cupy(-cuda\d+x)? \d+\.\d+\.\d+.*",
        r"CUDA runtime  \d+\.\d \(that CuPy was built with\)",
        r"driver        for CUDA \d+\.\d",
        r"cuda:0        .+, .+ GiB, .+ GiB free, compute capability \d+\.\d",
        r"  ok    matmul: a 2x2 product ran",
        r"  => CUDA works",
        r"default       cuda:0 \(by GPUGRAD_DEVICE\): works",
    ):
        assert re.search(f"^{line}$", printed, re.MULTILINE), line
    assert "FAIL" not in printed
    assert "problem" not in printed


def test_a_failed_step_is_printed_with_what_mends_it(machine, capsys, monkeypatch):
    machine("elementwise kernel", DynamicLibNotFoundError('Failure finding "libnvrtc.so.12"'))
    monkeypatch.setenv("GPUGRAD_DEVICE", "cuda")
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "  ok    allocation: " in printed
    assert "  FAIL  elementwise kernel: the driver works, but NVRTC" in printed
    assert 'to mend it: Install CuPy with its CUDA libraries: pip install "cupy-' in printed
    assert "default       cuda (by GPUGRAD_DEVICE): DOES NOT WORK" in printed
    assert "problem: GPUGRAD_DEVICE: cuda: CUDA does not work here" in printed
    assert "matmul:" not in printed


def test_a_machine_with_no_gpu_has_no_problem(machine, capsys):
    machine("driver", CUDARuntimeError("cudaErrorInsufficientDriver: too low"), driver=0)
    assert problems() == []
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "driver        none found" in printed.splitlines()
    assert "  => CUDA does not work: cuda cannot be used" in printed.splitlines()
    assert "default       cpu (GPUGRAD_DEVICE is not set): works" in printed.splitlines()


def test_a_gpu_without_cupy_is_a_problem_with_its_mending(machine, capsys):
    machine(cupy=False, smi=["NVIDIA H100, 570.1, 81559 MiB"])
    ((what, fix),) = problems()
    assert what == (
        "there is a GPU (NVIDIA H100, 570.1, 81559 MiB), but gpugrad cannot use it: "
        "CuPy is not installed"
    )
    assert 'pip install "cupy-cuda12x[ctk]>=14" "ml_dtypes>=0.5"' in fix
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "nvidia-smi    NVIDIA H100, 570.1, 81559 MiB" in printed.splitlines()
    assert f"problem: {what}\n  to mend it: {fix}" in printed


def test_two_cupys_are_a_problem_even_where_they_work(machine):
    machine(names=["cupy-cuda12x", "cupy-cuda13x"])
    ((what, fix),) = problems()
    assert "overwrite each other's files (cupy-cuda12x, cupy-cuda13x)" in what
    assert fix.startswith("pip uninstall -y cupy-cuda12x cupy-cuda13x, then pip install")


def test_an_old_cupy_is_a_problem(machine):
    machine(version="13.6.0")
    what, fix = "cupy-cuda12x 13.6.0 is older than 14", 'pip install "cupy-cuda12x[ctk]>=14"'
    ((found, mending),) = problems()
    assert found.startswith(what)
    assert mending == fix


def test_what_is_not_installed_is_said_with_its_use(machine, monkeypatch, capsys):
    machine(cupy=False)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    main(["doctor"])
    printed = capsys.readouterr().out
    assert 'tqdm          not installed; for progress bars: pip install "tqdm"' in printed
    assert "CuPy          not installed" in printed


@needs_gpu
def test_json_holds_the_same_facts(capsys):
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == doctor.collect()
    assert len(facts["cuda"]["devices"]) == cuda.device_count()
    first = facts["cuda"]["devices"][0]
    assert first.keys() == {"device", "name", "compute_capability", "total", "free"}
    assert first["device"] == "cuda:0"
    assert 0 < first["free"] <= first["total"]
    assert facts["default_device"] == {
        "name": "cpu",
        "from": "default",
        "works": True,
        "error": None,
    }


def test_json_has_the_keys_that_the_documentation_promises(machine, capsys):
    machine(cupy=False)
    assert main(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    page = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
    table = page.partition("| key | value |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()]
    names = {
        key: re.findall(r"`(\w+)`", values) for keys, values in rows for key in keys.split(", ")
    }
    assert {key.strip("`") for key in names if "." not in key} == set(facts)
    assert facts["schema"] == doctor.SCHEMA == 1
    for key in ("python", "numpy", "threads", "default_device"):
        assert names[f"`{key}`"] == list(facts[key])
    assert set(names["`cuda`"]) == set(facts["cuda"])
    assert names["`cuda.steps`"] == list(facts["cuda"]["steps"][0])


def test_help_has_an_example_of_each_command(capsys):
    main([])
    printed = capsys.readouterr().out
    commands = re.search(r"\{(.*)\}", printed)[1].split(",")
    assert all(f"\n  gpugrad {command} " in printed for command in commands)


def test_json_of_a_bad_device(monkeypatch, capsys):
    monkeypatch.setenv("GPUGRAD_DEVICE", "nonsense")
    assert main(["doctor", "--json"]) == 1
    default = json.loads(capsys.readouterr().out)["default_device"]
    assert (default["works"], default["from"]) == (False, "GPUGRAD_DEVICE")
    assert "'nonsense' is not a device" in default["error"]


def test_a_device_that_computes_wrong_numbers_does_not_work(monkeypatch, capsys):
    monkeypatch.setattr(devices.Device, "fetch", lambda self, array: numpy.zeros((2, 2)))
    assert main(["doctor"]) == 1
    assert "problem: cpu: computed wrong numbers" in capsys.readouterr().out


def test_nvidia_smi_is_read_and_its_failure_survived(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 570.1, 81559 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert doctor._nvidia_smi() == ["NVIDIA H100, 570.1, 81559 MiB"]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert doctor._nvidia_smi() == []
    tool.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._nvidia_smi() is None


def test_the_compiler_is_named(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "find_compiler", lambda: None)
    facts = doctor.collect()
    assert facts["compiler"] is None
    doctor.show(facts)
    assert "none found; for faster gg.compile: install gcc or clang" in capsys.readouterr().out
    command = [sys.executable]  # which knows --version
    monkeypatch.setattr(doctor, "find_compiler", lambda: Compiler(command, command[0]))
    doctor.show(doctor.collect())
    assert re.search(rf"^C compiler +Python 3.* \({re.escape(sys.executable)}\)$",
                     capsys.readouterr().out, re.MULTILINE)  # fmt: skip
