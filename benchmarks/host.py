#!/usr/bin/env python3
"""The host's time on the device cuda: the cost of a step without the GPU's part.

    ci/fakecuda/run python benchmarks/host.py                    # all cases, some 3 minutes
    ci/fakecuda/run python benchmarks/host.py --cases 784 --json -
    ci/fakecuda/run python benchmarks/host.py --baseline OTHER   # beside another checkout

Where kernels are short, a step takes the time that Python, CuPy and the driver need to launch
them. No GPU is needed to measure that. The real CuPy runs over a stand-in driver (ci/fakecuda) in
a mode that does nothing: a launch returns at once. So the time is that of gpugrad and of CuPy,
without that of NVIDIA's driver, some 2 µs a launch. Counted for each case are the kernels, calls
of libraries (cuBLAS), copies, and waits, of which a step should have none.

Each case is measured compiled as well (``gg.compile``), as one launch of a CUDA graph; the kernels
in it are counted too. Beside it stands PyTorch's eager step of the same case on the CPU, arithmetic
included, measured in the same run: a yardstick for the machine, not a rival, since it has no GPU
either.

Every step is timed by itself. The processes are measured in turn for several rounds; the figure of
a round is the tenth percentile of its steps, that of a case the lowest of its rounds, since other
load makes a step longer, never shorter. Before that, the first results of all must agree.
"""

import argparse
import datetime
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from cases import CASES, Case
from conductor import (
    HERE,
    NotInstalledError,
    Worker,
    WorkerError,
    disagreement,
    machine,
    markdown,
    pythons,
    write_results,
)
from gpu_cases import OPS, rows_of

COUNTED = ("launches", "library", "copies", "waits")
COUNTED_STEPS = 2  # whose counts must agree
MEASURE = "lowest of the rounds' tenth percentiles of the times of single steps, in seconds"
NETS = ((64, 128, 64, 10), (784, 256, 128, 10))
OPTIMIZERS = {"plain": "SGD", "sgd": "SGD with momentum", "adam": "Adam"}
ELEMENTS = 1000  # of an op's operand


def _steps() -> list[Case]:
    tiny = CASES["3-4-4-1"]
    cases = [replace(tiny, title=f"{tiny.title}, SGD with momentum, mse_loss")]
    for sizes in NETS:
        for optimizer, shown in OPTIMIZERS.items():
            for norm in (False, True) if optimizer == "adam" else (False,):
                net = "-".join(map(str, sizes))
                cases.append(
                    Case(
                        f"{net}-{optimizer}{'-norm' * norm}", "step",
                        f"{net}{', layer norm' * norm}, batch 64, {shown}, cross_entropy",
                        sizes, 64, optimizer=optimizer, loss="cross_entropy", norm=norm,
                    )
                )  # fmt: skip
    return [replace(case, target=None) for case in cases]


def _ops() -> list[Case]:
    cases = []
    for op in OPS:
        shape = (ELEMENTS,) if op in ("exp", "mul") else rows_of(ELEMENTS)
        shape = (32, 32) if op == "matmul" else shape
        for kind in ("forward", "backward"):
            title = f"{op}, {'×'.join(map(str, shape))}, {kind}"
            cases.append(Case(f"{op}-{kind}", kind, title, shape, op=op))
    return cases


HOST_CASES = {
    case.name: case for case in (*_steps(), replace(CASES["chain-10"], target=None), *_ops())
}


def take(case: Case, workers: dict[str, Worker], options: argparse.Namespace) -> dict[str, Any]:
    """All figures of a case, as in the JSON file."""
    result: dict[str, Any] = {"name": case.name, "kind": case.kind, "title": case.title}
    result |= {"times": {}, "rounds": {}, "failed": {}, "counted": {}}
    ready: dict[str, Worker] = {}
    for name, worker in workers.items():
        if name == "compiled" and case.kind == "backward":
            continue  # of a graph from outside of the program
        try:
            worker.open(case)
            if unequal := disagreement(worker, next(iter(workers.values()))):
                result["failed"][name] = unequal
                continue
            if worker.framework in ("gpugrad", "compiled"):
                result["counted"][name] = worker.ask(counted=COUNTED_STEPS)
            worker.ask(each=0)  # warm
            ready[name] = worker
        except WorkerError as reason:
            result["failed"][name] = str(reason)
    for _ in range(options.rounds):
        for name, worker in ready.items():
            try:
                time = worker.ask(each=options.seconds)["time"]
                result["rounds"].setdefault(name, []).append(time)
            except WorkerError as reason:
                result["failed"][name] = str(reason)
    result["times"] = {name: min(rounds) for name, rounds in result["rounds"].items()}
    return result


def table(results: list[dict[str, Any]], others: list[str]) -> str:
    """The figures as Markdown: the host's microseconds, the counts, the ratios to the others."""
    head = ["case", "host µs", *COUNTED]
    for other in others:
        head += [f"{other} µs", "ratio"]
    rows = [head]
    for result in results:
        times, counted = result["times"], result["counted"].get("gpugrad", {})
        own = times.get("gpugrad")
        row = [result["title"], _micro(own), *(str(counted.get(what, "-")) for what in COUNTED)]
        for other in others:
            theirs = times.get(other)
            row += [_micro(theirs), f"{own / theirs:.2f}" if own and theirs else "-"]
        rows.append(row)
    return markdown(rows)


def _micro(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.3g}" if seconds < 1e-4 else (
        f"{seconds * 1e6:.0f}"
    )  # fmt: skip


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=f"Cases: {', '.join(HOST_CASES)}.",
    )
    add = parser.add_argument
    # fmt: off
    add("--cases", metavar="WORD,...", help="only cases with one of these in their names")
    add("--rounds", type=int, default=20, help="turns of each process in a case (default 20)")
    add("--seconds", type=float, default=0.05, help="measuring time of a turn (default 0.05)")
    add("--no-torch", action="store_true", help="gpugrad alone")
    add("--gpus", type=int, default=1, help="that the stand-in has (default 1): with several, "
        "each op also looks where its operands are")
    add("--baseline", metavar="FOLDER", help="another checkout of gpugrad, measured in turn")
    add("--json", metavar="FILE", help="default benchmarks/results/host-standin-<date>.json; -: no")
    add("--python-for", metavar="torch=PATH", action="append", default=[],
        help="the Python that PyTorch is installed for; default .venv-bench's")
    # fmt: on
    options = parser.parse_args(arguments)
    words = [word for word in (options.cases or "").split(",") if word]
    if unknown := [word for word in words if not any(word in name for name in HOST_CASES)]:
        parser.error(f"no case has {unknown[0]!r} in its name; there are {', '.join(HOST_CASES)}")
    options.cases = [
        case
        for case in HOST_CASES.values()
        if not words or any(word in case.name for word in words)
    ]
    if options.rounds < 1 or options.seconds < 0 or options.gpus < 1:
        parser.error("--rounds, --seconds and --gpus must be positive")
    if options.baseline is not None and not (Path(options.baseline) / "gpugrad").is_dir():
        parser.error(f"--baseline: there is no package gpugrad in {options.baseline}")
    try:
        options.pythons = pythons(options.python_for, ("torch",))
    except ValueError as error:
        parser.error(str(error))
    if options.json is None:
        name = f"host-standin-{datetime.date.today().isoformat()}.json"
        options.json = str(HERE / "results" / name)
    return options


def start(options: argparse.Namespace, missing: dict[str, str]) -> dict[str, Worker]:
    """The processes by their names in the table; ``missing`` gets the reasons of missing ones."""
    workers: dict[str, Worker] = {}
    python = sys.executable
    environment = {"FAKECUDA_DEVICES": str(options.gpus), "FAKECUDA_MODE": ""}
    wanted: dict[str, tuple[str, str, str, Path | None]] = {
        "gpugrad": ("gpugrad", "cuda", python, None),
        "compiled": ("compiled", "cuda", python, None),
    }
    if options.baseline is not None:
        wanted["baseline"] = ("gpugrad", "cuda", python, Path(options.baseline))
    if not options.no_torch:
        wanted["torch"] = ("torch", "cpu", options.pythons.get("torch", python), None)
    try:
        for name, (framework, device, path, sources) in wanted.items():
            try:
                workers[name] = Worker(
                    framework, device, python=path, environment=environment, sources=sources
                )
            except NotInstalledError as reason:
                missing[name] = str(reason)
    except BaseException:
        for worker in workers.values():
            worker.close()
        raise
    return workers


def commit(folder: str) -> str | None:
    """The commit of a checkout, or None."""
    command = ["git", "-C", folder, "log", "-1", "--format=%h %s"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def measured(
    options: argparse.Namespace, missing: dict[str, str], versions: dict[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The figures of all cases, printed as they come, and the processes beside gpugrad's."""
    results: list[dict[str, Any]] = []
    workers = start(options, missing)
    for worker in workers.values():
        versions.update(worker.versions)
    try:
        for case in options.cases if "gpugrad" in workers else []:
            results.append(take(case, workers, options))
            times = results[-1]["times"]
            shown = ", ".join(f"{name} {_micro(time)} µs" for name, time in times.items())
            print(f"{case.title}: {shown or 'nothing measured'}", flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return results, [name for name in workers if name != "gpugrad"]


def main(arguments: list[str] | None = None) -> int:
    """Measure the cases, print the table, write the file; 1 where something failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    if "FAKECUDA" not in os.environ:  # set by ci/fakecuda/run
        print(
            "host.py: the stand-in driver is missing. Run it as "
            "ci/fakecuda/run python benchmarks/host.py",
            file=sys.stderr,
        )
        return 1
    about = machine("cuda over a stand-in driver", threads=1)
    print(
        f"{about['processor']}, one thread. Host time over a stand-in driver, no GPU "
        f"(it plays {options.gpus}):\n{MEASURE}",
        flush=True,
    )
    missing: dict[str, str] = {}
    versions: dict[str, str] = {}
    results, others = measured(options, missing, versions)
    versions = dict(sorted(versions.items()))
    print(f"\n{table(results, others)}\n")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    for name, reason in missing.items():
        print(f"left out: {name} ({reason})")
    failed = [f"{r['title']}: {name}: {why}" for r in results for name, why in r["failed"].items()]
    for problem in failed:
        print(f"FAILED: {problem}", file=sys.stderr)
    if options.json != "-":
        content = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["ci/fakecuda/run", "python", "benchmarks/host.py", *arguments]),
            "device": "cuda, over a stand-in driver that does nothing: host time, no GPU",
            "gpus": options.gpus,
            "machine": about,
            "versions": versions,
            "missing": missing,
            "baseline": options.baseline and commit(options.baseline),
            "measure": MEASURE,
            "cases": results,
        }
        write_results(options.json, content)
        print(f"written: {options.json}")
    return 1 if failed or "gpugrad" in missing else 0


if __name__ == "__main__":
    sys.exit(main())
