"""Shared by run.py, gpu.py and host.py: the processes that they time, and facts of the machine.

A worker is a process of one framework (worker.py) that takes cases and answers with times, in
lines of JSON.
"""

import json
import os
import platform
import select
import subprocess
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cases import Case

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# The relative difference of the first results that a precision explains.
SAME = {"float32": 1e-3, "tf32": 2e-2, "float16": 5e-2}


class WorkerError(Exception):
    """A worker that ended or failed."""


class NotInstalledError(Exception):
    """A framework that is not installed or does not support the device."""


class Worker:
    """The process of one framework; ``framework`` may name a way of using it: torch-graphs.

    ``sources`` is the folder of another gpugrad than the one of this checkout.
    """

    check: list[float]
    dtype: str
    first: float  # seconds of the first step, which compiles where a framework does

    def __init__(
        self,
        framework: str,
        device: str = "cpu",
        threads: int = 1,
        python: str = "python3",
        environment: dict[str, str] | None = None,
        patience: float = 600,
        sources: Path | None = None,
    ) -> None:
        self.framework = framework
        self.patience = patience
        full = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
            str(threads),
        )
        full["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        full |= environment or {}
        self.folder = None
        if framework == "compiled":  # its first calls compile, rather than find what was kept
            self.folder = TemporaryDirectory()
            full["XDG_CACHE_HOME"] = self.folder.name
        if framework in ("gpugrad", "compiled"):
            # This checkout, whichever gpugrad is installed.
            own = str((sources or ROOT).resolve())
            path = full.get("PYTHONPATH")
            full["PYTHONPATH"] = f"{own}{os.pathsep}{path}" if path else own
        command = [python, str(HERE / "worker.py"), framework]
        command += ["--device", device, "--threads", str(threads)]
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=full
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
        self.versions: dict[str, str] = greeting["versions"]

    def _read(self) -> dict[str, Any]:
        out = self.process.stdout
        if out is None or not select.select([out], [], [], self.patience)[0]:
            self.process.kill()
            raise WorkerError(f"{self.framework} gave no answer for {self.patience:.0f} s")
        line = out.readline()
        if not line:
            raise WorkerError(
                f"{self.framework} ended with status {self.process.wait()}; see above"
            )
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise WorkerError(f"{self.framework} failed: {answer['failed']}")
        return answer

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer to one question; WorkerError if there is none."""
        if self.process.stdin is None:
            raise WorkerError(f"{self.framework} has no input")
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise WorkerError(f"{self.framework} ended while it was measured") from error
        return self._read()

    def open(self, case: Case) -> None:
        """Set the case, and compute its first results."""
        answer = self.ask(case=asdict(case))
        self.check, self.dtype, self.first = answer["check"], answer["dtype"], answer["first"]

    def measure(self, seconds: float) -> float:
        """Seconds for one step of the case, from about ``seconds`` of measuring."""
        time: float = self.ask(seconds=seconds)["time"]
        return time

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self.process.poll() is None

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
        if self.folder is not None:
            self.folder.cleanup()


def agree(mine: list[float], theirs: list[float], precision: str = "float32") -> bool:
    """Whether the results of two workers agree within a precision."""
    same = SAME[precision]
    return all(abs(a - b) <= same * max(abs(a), abs(b)) for a, b in zip(mine, theirs))


def disagreement(worker: Worker, first: Worker, precision: str = "float32") -> str | None:
    """The difference of the first results of two workers, as a text; None where they agree."""
    if worker.dtype != first.dtype:
        return f"its result is {worker.dtype}, {first.framework}'s is {first.dtype}"
    if not agree(worker.check, first.check, precision):
        return f"its first results {worker.check} are not {first.framework}'s: {first.check}"
    return None


def shown(seconds: float) -> str:
    """A time with three digits and a fitting unit."""
    unit, size = next(
        (unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 0.0)) if seconds >= size
    )
    value = seconds / (size or 1e-6)
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def markdown(rows: list[list[str]]) -> str:
    """Rows of equal length as a Markdown table, the first as its head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        f"| {row[0].ljust(widths[0])} | "
        + " | ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        + " |"
        for row in [rows[0], rule, *rows[1:]]
    )


def pythons(pairs: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """The Python of each peer: that of .venv-bench if it exists, or as PEER=PATH says.

    ValueError for an argument of another form.
    """
    own = ROOT / ".venv-bench" / "bin" / "python"
    paths = dict.fromkeys(known, str(own)) if own.exists() else {}
    for pair in pairs:
        peer, equals, path = pair.partition("=")
        if not equals or peer not in (*known, "gpugrad"):
            raise ValueError(f"--python-for wants PEER=PATH, got {pair!r}")
        paths[peer] = path
    return paths


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu() -> str | None:
    """The GPU's name and driver by nvidia-smi, or None."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def write_results(name: str, content: dict[str, Any]) -> None:
    """The file of a run's results, whole or as it was: hours may be in it."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)


def machine(device: str, threads: int) -> dict[str, Any]:
    """Facts of the machine that the figures depend on."""
    facts: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "threads": threads,
    }
    if device == "cuda":
        facts["gpu"] = gpu()
    if hasattr(os, "getloadavg"):
        facts["load_before"] = os.getloadavg()[0]
    return facts
