"""The benchmark suite: it runs, its arithmetic is right, and it notices unequal work."""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from repository import ROOT

BENCHMARKS = ROOT / "benchmarks"
STAND_IN = "FAKECUDA" in os.environ  # under ci/fakecuda/run


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """benchmarks/run.py as a module, without leaving its short module names behind."""
    names = ("run", "host", "gpu", "gpu_cases", "cases", "conductor", "worker")
    for name in names:  # the tests have a helper gpu as well
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("run")
    for name in names:
        sys.modules.pop(name, None)


def test_gpugrad_alone_runs_every_kind_of_case(tmp_path: Path) -> None:
    target = tmp_path / "times.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--peers", "", "--rounds", "2"]
    command += [
        "--seconds",
        "0.01",
        "--cases",
        "3-4-4-1,convolution-8,chain-10,op",
        "--json",
        str(target),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["machine"]["threads"] == 1
    assert "gpugrad" in content["versions"]
    names = {case["name"] for case in content["cases"]}
    assert {"3-4-4-1", "convolution-8", "chain-10", "op-add", "op-tanh", "op-matmul"} <= names
    for case in content["cases"]:
        assert not case["failed"]
        assert len(case["rounds"]["gpugrad"]) == 2
        assert 0 < case["times"]["gpugrad"] < 1
    assert "| 3-4-4-1, batch 4" in done.stdout


def test_a_peer_that_is_not_there_is_said_and_left_out(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--peers", "torch", "--rounds", "1"]
    command += ["--seconds", "0.01", "--cases", "op-add", "--json", "-"]
    command += ["--python-for", f"torch={tmp_path / 'nowhere'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: torch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "nonsense"], "unknown case 'nonsense'"),
        (["--peers", "theano"], "unknown peer 'theano'"),
        (["--python-for", "torch"], "--python-for wants PEER=PATH"),
        (["--threads", "0"], "must be positive"),
    ],
)
def test_bad_options_get_a_sentence(
    run: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.parse(arguments)
    assert message in capsys.readouterr().err


def test_the_table_names_targets_that_are_met_and_missed(run: ModuleType) -> None:
    common = {"kind": "step", "target": 0.6}
    met = {"title": "a", "times": {"gpugrad": 5e-5, "torch": 1e-4}, "ratios": {"torch": 0.5}}
    missed = {"title": "b", "times": {"gpugrad": 8e-2, "torch": 1e-1}, "ratios": {"torch": 0.8}}
    alone = {"title": "c", "times": {"gpugrad": 2.0}, "ratios": {}}
    results = [common | met, common | missed, common | alone]
    lines = run.table(results, ["torch"]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[3:] == [
        ["a", "50 µs", "100 µs", "0.50", "≤ 0.6 met"],
        ["b", "80 ms", "100 ms", "0.80", "≤ 0.6 MISSED"],
        ["c", "2 s", "-", "-", "≤ 0.6"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_table_of_compiled_cases_is_over_jax(run: ModuleType) -> None:
    first = {"gpugrad": 1e-3, "compiled": 0.5, "jax": 1.0}
    times = {"gpugrad": 1e-4, "compiled": 3e-5, "jax": 1e-4}
    results = [
        {"name": "3-3", "kind": "step", "title": "a", "times": times, "first": first},
        {"name": "lstm", "kind": "sequence", "title": "b", "times": {"gpugrad": 1.0}, "first": {}},
        {"name": "op-add", "kind": "op", "title": "c", "times": times, "first": first},
    ]
    for result in results:
        result["ratios"] = {"compiled": 10 / 3, "jax": 1.0} if result["first"] else {}

    def cells(table: str) -> list[list[str]]:
        return [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()[2:]]

    row = ["a", "30 µs", "0.30", "100 µs", "0.30", "≤ 0.4 met", "500 ms", "1 s"]
    assert cells(run.compiled_table(results)) == [row, ["c", *row[1:5], "", *row[6:]]]
    assert cells(run.readme_table(results, ["compiled", "jax"])) == [
        ["a", "100 µs", "30 µs", "1.00"],
        ["b", "1 s", "", ""],
    ]
    options = run.parse(["--compiled", "--peers", "jax,torch", "--json", "-"])
    assert options.peers == ["compiled", "jax", "torch"]


def test_a_worker_keeps_to_its_cores(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3, 4}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, c: taken.append(c), raising=False)
    monkeypatch.setenv("XLA_FLAGS", "")
    worker = importlib.import_module("worker")
    worker.take_cores(2)
    assert os.environ["XLA_FLAGS"] == ""
    worker.take_cores(1)
    assert taken == [[3, 4], [3]]
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"


def test_workers_that_compute_something_else_are_found(run: ModuleType) -> None:
    agree = sys.modules["conductor"].agree
    assert agree([1.0, 2.0], [1.0 + 1e-5, 2.0])
    assert not agree([1.0, 2.0], [1.0, 2.01])
    assert not agree([1.0], [float("nan")])
    assert agree([1.0], [1.01], "float16")


# The figures for a GPU.


def test_the_figures_for_a_gpu_are_taken_in_miniature(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--device", "sim", "--quick"]
    command += ["--rounds", "1", "--seconds", "0", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(target.read_text(encoding="utf-8"))
    assert content["bandwidth"] > 0
    assert not content["failed"] + content["unequal"]
    kinds = {case["kind"] for case in content["cases"]}
    assert kinds == {"memory", "step", "forward", "backward"}
    for case in content["cases"]:
        own = case["peaks" if case["kind"] == "memory" else "times"]
        assert own["gpugrad"] > 0
        assert ("matmuls" in own) == (case["kind"] == "step" or case["op"] == "matmul")
    assert "| 16-8-4, batch 4, adam, float32 |" in done.stdout
    assert "left out: torch (" in done.stdout
    assert "not measured  16-8-4, batch 4, sgd, float32: at most 1.00 of PyTorch's" in done.stdout


class Peer:
    """A worker that answers without a process: gpugrad, a peer that differs, one that breaks."""

    dtype = "float32"

    def __init__(self, framework: str) -> None:
        self.framework = framework
        self.check = [2.0 if framework == "torch" else 1.0]

    def open(self, case: object) -> None:
        if self.framework == "jax":
            raise sys.modules["conductor"].WorkerError("jax failed: no memory")

    def measure(self, seconds: float) -> float:
        if self.framework == "torch-graphs":
            raise sys.modules["conductor"].WorkerError("torch-graphs ended")
        return 0.5


def test_peers_that_differ_or_break_are_told_apart(run: ModuleType) -> None:
    gpu = sys.modules["gpu"]

    class Desk:
        options = gpu.parse(["--quick"])

        def worker(self, framework: str, case: object) -> Peer:
            if framework == "mygrad":
                raise sys.modules["conductor"].NotInstalledError("no mygrad")
            return Peer(framework)

    case = sys.modules["gpu_cases"].MINIATURE["steps"][0]
    names = ("gpugrad", "torch", "torch-graphs", "jax", "mygrad")
    result = gpu.time_case(case, names, Desk())
    assert result["times"] == {"gpugrad": 0.5, "torch": 0.5}
    assert result["failed"] == {
        "torch-graphs": "torch-graphs ended",
        "jax": "jax failed: no memory",
    }
    assert result["unequal"] == {
        "torch": "its first results [2.0] are not gpugrad's: [1.0]",
    }


def test_cases_that_time_is_too_short_for_are_named(tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--quick"]
    command += ["--only", "ops", "--cases", "exp", "--budget", "0", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no time was left for: exp 10 forward, exp 10 backward\n" in done.stdout


def test_targets_are_measured_first_and_compiled_steps_last(run: ModuleType) -> None:
    gpu = sys.modules["gpu"]
    order = gpu.jobs(gpu.parse([]))
    assert order[0][0].name == "memory-64x512"
    eager = [case.target is not None for case, names in order if "torch" in names]
    assert eager == sorted(eager, reverse=True)
    compiled = ["torch-graphs" in names for _, names in order]
    assert compiled == sorted(compiled)
    assert sum(compiled) == 3
    alone = gpu.jobs(gpu.parse(["--peers", ""]))
    assert {names for _, names in alone} == {("gpugrad",)}


def test_a_profile_says_where_the_time_of_a_step_goes(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--quick"]
    command += ["--profile", "8x8-b8-adam-float32"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^forward +\d+ µs +\d+ µs +\d+ µs$", done.stdout, re.MULTILINE)
    assert "backward.py" in done.stdout


def test_kernels_are_listed_by_their_time(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's profiler, played: two kernels of ten steps, and what the host did."""
    module = importlib.import_module("worker").load("gpugrad")

    def event(key: str, count: int, time: float, place: str) -> SimpleNamespace:
        return SimpleNamespace(
            key=key, count=count, self_device_time_total=time, device_type=f"DeviceType.{place}"
        )

    class Profile:
        def __init__(self, activities: list[str]) -> None:
            assert activities == ["cuda"]

        def __enter__(self) -> "Profile":
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def key_averages(self) -> list[SimpleNamespace]:
            return [
                event("cudaLaunchKernel", 30, 0.0, "CPU"),
                event("gpugrad_add", 20, 40.0, "CUDA"),
                event("sgemm", 10, 900.0, "CUDA"),
            ]

    profiler = SimpleNamespace(profile=Profile, ProfilerActivity=SimpleNamespace(CUDA="cuda"))
    cuda = SimpleNamespace(is_available=lambda: True, init=lambda: None)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, profiler=profiler))
    monkeypatch.setitem(sys.modules, "torch.profiler", profiler)
    monkeypatch.setattr(module, "synchronize", lambda device: None)
    steps: list[int] = []
    said = module._kernels({"forward": lambda: steps.append(1)}, "cuda", 10)
    assert len(steps) == 10
    assert said.splitlines() == [
        "3 kernels and copies a step, 94 µs on the device",
        "       90 µs     1.0 x  sgemm",
        "        4 µs     2.0 x  gpugrad_add",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "nonsense"], "no case has 'nonsense' in its name"),
        (["--peers", "theano"], "unknown peer 'theano'"),
        (["--profile", "nonsense"], "unknown step 'nonsense'; there are 784-256-128-10-b64"),
        (["--python-for", "torch"], "--python-for wants PEER=PATH"),
        (["--rounds", "0"], "must be positive"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_bad_options_for_a_gpu_get_a_sentence(
    run: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        sys.modules["gpu"].parse(arguments)
    assert message in capsys.readouterr().err


def test_targets_are_held_missed_or_not_measured(run: ModuleType) -> None:
    step = {"kind": "step", "op": "", "target": 1.05, "against": "matmuls", "title": "a"}
    rule = {"kind": "forward", "op": "exp", "target": 1.11, "against": "copy", "title": "exp 10"}
    most = {"kind": "memory", "op": "", "target": 1.1, "against": "torch", "title": "b"}
    results = [
        step | {"times": {"gpugrad": 1.04, "matmuls": 1.0}},
        step | {"times": {"gpugrad": 1.04}},
        rule | {"times": {"gpugrad": 4e-3}, "moved": 3e9},
        most | {"peaks": {"gpugrad": 120, "torch": 100}},
        most | {"peaks": {"gpugrad": 120, "torch": None}},
        step | {"target": None, "times": {}},
    ]
    assert sys.modules["gpu"].verdicts(results, 1e12) == [
        "held    a: at most 1.05 of the matrix products' time: 1.04",
        "not measured  a: at most 1.05 of the matrix products' time",
        "MISSED  exp 10 forward: at most 1.11 of the copy's time: 1.33",
        "MISSED  b: at most 1.10 of PyTorch's memory: 1.20",
        "not measured  b: at most 1.10 of PyTorch's memory",
    ]


def test_the_floor_counts_all_products_of_a_step(run: ModuleType) -> None:
    cases = sys.modules["gpu_cases"]
    step = replace(cases.MINIATURE["steps"][0], kind="matmuls", op="step")
    shapes = []
    for a, b, a_turned, b_turned in cases.products(step):
        (m, k), (inner, n) = (s[::-1] if t else s for s, t in ((a, a_turned), (b, b_turned)))
        assert k == inner
        shapes.append((m, n))
    # y and the gradient of w of the first layer; y, of w and of x of the second.
    assert shapes == [(4, 8), (16, 8), (4, 4), (8, 4), (4, 8)]


def test_all_of_a_gpu_s_cases_can_be_made(run: ModuleType) -> None:
    cases = sys.modules["gpu_cases"]
    for part in cases.FULL.values():
        for case in part:
            assert case.op == "matmul" or cases.moved(case) > 0
            if case.kind in ("forward", "backward"):
                assert 0.9 * prod(case.sizes) <= int(case.name.split("-")[1]) < 2 * prod(case.sizes)
    names = [case.name for case in cases.FULL["steps"]]
    assert len(names) == len(set(names)) == 20
    assert cases.COMPILED & set(names)


# The host's time over the stand-in driver.


@pytest.fixture
def host(run: ModuleType) -> ModuleType:
    """benchmarks/host.py as a module."""
    return importlib.import_module("host")


def test_the_host_s_cases_can_be_listed(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "host.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("784-256-128-10-plain", "softmax-backward", "--baseline"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cases", "nonsense"], "no case has 'nonsense' in its name"),
        (["--rounds", "0"], "must be positive"),
        (["--python-for", "jax=python3"], "--python-for wants PEER=PATH"),
        (["--baseline", "nowhere"], "there is no package gpugrad in nowhere"),
    ],
)
def test_bad_options_for_the_host_get_a_sentence(
    host: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        host.parse(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.skipif(STAND_IN, reason="this is what is said where there is no stand-in driver")
def test_the_host_s_time_takes_the_stand_in_driver(
    host: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert host.main(["--json", "-"]) == 1
    assert "Run it as ci/fakecuda/run python benchmarks/host.py" in capsys.readouterr().err


def test_the_host_s_figures_are_the_lowest_rounds_and_what_was_counted(host: ModuleType) -> None:
    counted = {"launches": 3, "library": 2, "copies": 0, "waits": 0, "kernels": {"a": 3}}

    class Asked:
        dtype = "float32"
        check = (1.0,)

        def __init__(self, framework: str, times: list[float]) -> None:
            self.framework = framework
            self.times = iter([9.0, *times])

        def open(self, case: object) -> None:
            self.case = case

        def ask(self, **question: object) -> dict[str, object]:
            return counted if "counted" in question else {"time": next(self.times)}

    workers = {
        "gpugrad": Asked("gpugrad", [3e-4, 2e-4, 4e-4]),
        "torch": Asked("torch", [1.6e-4, 1e-4, 1e-4]),
    }
    options = SimpleNamespace(rounds=3, seconds=0.1)
    case = host.HOST_CASES["784-256-128-10-plain"]
    result = host.take(case, workers, options)
    assert result["times"] == {"gpugrad": 2e-4, "torch": 1e-4}
    assert not result["failed"]
    last = host.table([result], ["torch"]).splitlines()[-1]
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    assert cells == [case.title, "200", "3", "2", "0", "0", "100", "2.00"]
    workers["torch"].check = (2.0,)
    workers["torch"].times = iter([])
    workers["gpugrad"].times = iter([9.0, 3e-4, 2e-4, 4e-4])
    result = host.take(case, workers, options)
    assert result["failed"] == {"torch": "its first results (2.0,) are not gpugrad's: (1.0,)"}
    assert result["times"] == {"gpugrad": 2e-4}


@pytest.mark.skipif(not STAND_IN, reason="it takes the stand-in driver: ci/fakecuda/run")
def test_the_host_s_time_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "host.json"
    command = [sys.executable, str(BENCHMARKS / "host.py"), "--no-torch", "--rounds", "1"]
    command += ["--seconds", "0", "--cases", "3-4-4-1,exp", "--json", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    step, forward, _ = json.loads(target.read_text(encoding="utf-8"))["cases"]
    counted = step["counted"]["gpugrad"]
    assert counted["library"] == 8
    assert 0 < counted["launches"] <= 11
    assert counted["launches"] == sum(counted["kernels"].values())
    assert counted["copies"] == counted["waits"] == 0
    assert forward["counted"]["gpugrad"]["launches"] == 1
    assert 0 < forward["times"]["gpugrad"] < step["times"]["gpugrad"] < 1
