#!/usr/bin/env python3
"""Time gpugrad beside PyTorch eager, HIPS autograd and MyGrad.

Each framework runs each case in a process of its own, and the processes are asked in turn
(gpugrad, torch, autograd, mygrad, gpugrad, ...) for several rounds, so that what else the machine
does falls on all of them. All get the same float32 data and initial weights (cases.py), the same
number of threads, and must give the same first numbers. A figure is the median of the rounds'
medians; a ratio is gpugrad's figure over the peer's, below 1 where gpugrad is faster.

    .venv/bin/python benchmarks/run.py                    # all cases on the CPU
    .venv/bin/python benchmarks/run.py --quick            # a few, shortly
    python benchmarks/run.py --device cuda                # against PyTorch and JAX

The peers live in an environment of their own, looked for in .venv-bench; without it they are
looked for in the Python that runs this file, and what is missing is said and left out::

    python3 -m venv .venv-bench
    .venv-bench/bin/pip install torch==2.13.0 numpy autograd mygrad
    # PyTorch for the CPU alone, some 200 MB in place of several GB:
    # .venv-bench/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

One thread is the default: with more, a small step measures the scheduler. On two cores with
something else running, PyTorch's step of `3-3` took 16 ms with two threads and 0.4 ms with one.
``--threads 8`` for the large cases on a machine that is otherwise idle.

MyGrad 2.5 takes NumPy 2. Where one peer needs another Python: --python-for mygrad=PATH.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from cases import CASES, QUICK, Case

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = {"cpu": ("torch", "autograd", "mygrad"), "cuda": ("torch", "jax")}
KNOWN = ("torch", "autograd", "mygrad", "jax")
PAUSE = 0.15  # seconds between turns: the last one's threads stop spinning
SAME = 1e-3  # relative difference of the first results that float32 explains


class WorkerError(Exception):
    """A worker that ended or said something else than it was asked for."""


class NotInstalledError(Exception):
    """A framework that is not installed or does not know the device."""


class Worker:
    """The process of one framework and one case."""

    def __init__(self, framework: str, case: Case, options: argparse.Namespace) -> None:
        self.framework = framework
        python = options.pythons.get(framework, sys.executable)
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
            str(options.threads),
        )
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        if framework == "gpugrad":
            # The sources beside this file, whatever else is installed.
            path = environment.get("PYTHONPATH")
            environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{path}" if path else str(ROOT)
        command = [python, str(HERE / "worker.py"), framework, case.name]
        command += ["--device", options.device, "--threads", str(options.threads)]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        except OSError as error:
            raise NotInstalledError(f"{python}: {error.strerror}") from error
        try:
            greeting = self._read()
            if "missing" in greeting:
                raise NotInstalledError(greeting["missing"])
        except BaseException:
            self.close()
            raise
        self.check: list[float] = greeting["check"]
        self.dtype: str = greeting["dtype"]
        self.versions: dict[str, str] = greeting["versions"]

    def _read(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise WorkerError(
                f"{self.framework} ended with status {self.process.wait()}; see above"
            )
        return json.loads(line)

    def measure(self, seconds: float) -> float:
        """Seconds for one step, from about ``seconds`` of measuring."""
        if self.process.stdin is None:
            raise WorkerError(f"{self.framework} has no input")
        try:
            self.process.stdin.write(json.dumps({"seconds": seconds}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"{self.framework} ended while it was measured") from error
        return self._read()["time"]

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def agree(mine: list[float], theirs: list[float]) -> bool:
    """Whether two workers computed the same, as far as float32 goes."""
    return all(abs(a - b) <= SAME * max(abs(a), abs(b)) for a, b in zip(mine, theirs))


def time_case(case: Case, frameworks: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All frameworks' times for one case, as it goes into the JSON file."""
    result: dict[str, Any] = {
        "name": case.name,
        "kind": case.kind,
        "title": case.title,
        "target": case.target if options.device == "cpu" else None,
        "times": {},
        "rounds": {},
        "ratios": {},
        "missing": {},
        "failed": {},
    }
    workers: list[Worker] = []
    try:
        for framework in frameworks:
            try:
                workers.append(Worker(framework, case, options))
            except NotInstalledError as reason:
                result["missing"][framework] = str(reason)
            except WorkerError as reason:
                result["failed"][framework] = str(reason)
        if not workers or workers[0].framework != "gpugrad":
            return result  # the peers' times alone say nothing
        for worker in workers:
            options.versions.update(worker.versions)
            first = workers[0]
            if not agree(worker.check, first.check):
                result["failed"][worker.framework] = (
                    f"its first results {worker.check} are not {first.framework}'s: {first.check}"
                )
            if worker.dtype != first.dtype:
                result["failed"][worker.framework] = (
                    f"its result is {worker.dtype}, {first.framework}'s is {first.dtype}"
                )
        rounds: dict[str, list[float]] = {worker.framework: [] for worker in workers}
        for _ in range(options.rounds):
            for worker in workers:
                time.sleep(PAUSE)
                rounds[worker.framework].append(worker.measure(options.seconds))
        result["rounds"] = rounds
        result["times"] = {framework: median(times) for framework, times in rounds.items()}
    except WorkerError as reason:
        result["failed"][str(reason).split()[0]] = str(reason)
    finally:
        for worker in workers:
            worker.close()
    own = result["times"].get("gpugrad")
    for peer, theirs in result["times"].items():
        if own is not None and peer != "gpugrad":
            result["ratios"][peer] = own / theirs
    return result


def shown(seconds: float) -> str:
    """A time with three digits and the unit that suits it."""
    unit, size = next(
        (unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 0.0)) if seconds >= size
    )
    value = seconds / (size or 1e-6)
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


KINDS = {
    "step": "training step",
    "chain": "elementwise chain",
    "op": "one op",
}


def table(results: list[dict[str, Any]], peers: list[str]) -> str:
    """A Markdown table of times and ratios."""
    with_target = any(result["target"] is not None for result in results)
    head = ["case", "gpugrad"]
    for peer in peers:
        head += [peer, "ratio"]
    if with_target:
        head.append("target")
    rows = [head, [""] * len(head)]  # the second becomes the rule under the head
    kind = ""
    for result in results:
        if result["kind"] != kind:
            kind = result["kind"]
            rows.append([f"**{KINDS[kind]}**", *[""] * (len(head) - 1)])
        times, ratios = result["times"], result["ratios"]
        row = [result["title"], shown(times["gpugrad"]) if "gpugrad" in times else "-"]
        for peer in peers:
            row.append(shown(times[peer]) if peer in times else "-")
            row.append(f"{ratios[peer]:.2f}" if peer in ratios else "-")
        if with_target:
            target, ratio = result["target"], ratios.get("torch")
            if target is None:
                row.append("")
            elif ratio is None:
                row.append(f"≤ {target:g}")
            else:
                row.append(f"≤ {target:g} {'met' if round(ratio, 2) <= target else 'MISSED'}")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    rows[1] = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        f"| {row[0].ljust(widths[0])} | "
        + " | ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        + " |"
        for row in rows
    )


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu() -> str | None:
    """The GPU's name and driver, where nvidia-smi tells them."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures were taken on."""
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "threads": options.threads,
    }
    if options.device == "cuda":
        found["gpu"] = gpu()
    if hasattr(os, "getloadavg"):
        found["load_before"] = os.getloadavg()[0]
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(
        description="Time gpugrad beside PyTorch, autograd and MyGrad.",
        epilog=f"Cases: {', '.join(CASES)}.",
    )
    add = parser.add_argument
    add("--device", choices=PEERS, default="cpu")
    add("--cases", metavar="NAME,...", help="cases, or kinds of them (step, chain, op)")
    add("--peers", metavar="NAME,...", help="default: torch,autograd,mygrad; on cuda torch,jax")
    add("--rounds", type=int, help="turns of each framework in each case (default 5; quick 2)")
    add("--seconds", type=float, help="measuring time of a turn (default 0.5; quick 0.1)")
    add("--threads", type=int, default=1, help="of every framework (default 1)")
    add("--quick", action="store_true", help="small cases only, two short rounds")
    add(
        "--json", metavar="FILE", help="default benchmarks/results/<device>-<date>.json; - for none"
    )
    add(
        "--python-for",
        metavar="PEER=PATH",
        action="append",
        default=[],
        help="the Python that a peer is installed for",
    )
    options = parser.parse_args(arguments)
    names = [name for name in (options.cases or "").split(",") if name]
    if unknown := [n for n in names if n not in CASES and n not in KINDS]:
        parser.error(f"unknown case {unknown[0]!r}; there are {', '.join([*KINDS, *CASES])}")
    names = names or list(QUICK if options.quick else CASES)
    options.cases = [case for case in CASES.values() if case.name in names or case.kind in names]
    peers = options.peers.split(",") if options.peers is not None else PEERS[options.device]
    options.peers = [peer for peer in peers if peer]
    if unknown := [peer for peer in options.peers if peer not in KNOWN]:
        parser.error(f"unknown peer {unknown[0]!r}; there are {', '.join(KNOWN)}")
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (0.1 if options.quick else 0.5)
    if options.rounds < 1 or options.seconds < 0 or options.threads < 1:
        parser.error("--rounds, --seconds and --threads must be positive")
    if options.json is None:
        name = f"{options.device}-{datetime.date.today().isoformat()}.json"
        options.json = "-" if options.quick else str(HERE / "results" / name)
    own = ROOT / ".venv-bench" / "bin" / "python"
    options.pythons = dict.fromkeys(KNOWN, str(own)) if own.exists() else {}
    for pair in options.python_for:
        peer, equals, path = pair.partition("=")
        if not equals or peer not in (*KNOWN, "gpugrad"):
            parser.error(f"--python-for wants PEER=PATH, got {pair!r}")
        options.pythons[peer] = path
    options.versions = {}
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the cases, print the table, write the file; 1 where something failed."""
    options = parse(arguments)
    about = machine(options)
    print(
        f"{about.get('gpu') or about['processor']}, {options.threads} thread(s), float32, "
        f"{options.rounds} rounds\n"
        "training step: forward, mse_loss, backward, SGD with momentum; the rest: forward and\n"
        "backward. ratio: gpugrad's time over the peer's; target: the most it may be for torch\n",
        flush=True,
    )
    frameworks = ["gpugrad", *options.peers]
    results, missing, failed = [], {}, []
    for case in options.cases:
        result = time_case(case, frameworks, options)
        results.append(result)
        missing.update(result["missing"])
        frameworks = [f for f in frameworks if f not in missing]
        failed += [f"{case.title}: {f}: {why}" for f, why in result["failed"].items()]
        times = ", ".join(f"{f} {shown(t)}" for f, t in result["times"].items())
        print(f"{case.title}: {times or 'nothing measured'}", flush=True)
    print()
    print(table(results, [peer for peer in options.peers if peer not in missing]))
    versions = dict(sorted(options.versions.items()))
    print()
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    for framework, reason in missing.items():
        print(f"left out: {framework} ({reason})")
    for problem in failed:
        print(f"FAILED: {problem}", file=sys.stderr)
    if options.json != "-":
        path = Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", "benchmarks/run.py", *(arguments or sys.argv[1:])]),
            "device": options.device,
            "machine": about,
            "versions": versions,
            "missing": missing,
            "dtype": "float32",
            "unit": "seconds for one step",
            "cases": results,
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written: {path}")
    return 1 if failed or "gpugrad" in missing else 0


if __name__ == "__main__":
    sys.exit(main())
