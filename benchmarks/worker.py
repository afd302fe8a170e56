"""One framework in a process of its own: conductor.py starts it, gives it cases, asks for times.

It writes JSON lines: first ``{"ready": ..., "versions": ...}``, or ``{"missing": reason}``
where the framework is not installed, then an answer to each line that it reads:

- ``{"case": the fields of a Case}`` with ``{"check": first results, "dtype": ..., "first":
  seconds}``, the time of the first step, which compiles where a framework does;
- ``{"seconds": s}`` with ``{"time": seconds for one step, "samples": n}``, after about s seconds;
- ``{"each": s}`` with ``{"time": seconds, "samples": n}``: the tenth percentile of single steps'
  times, of the host alone where the framework has an ``idle()`` in which a device does nothing;
- ``{"counted": steps}`` with the counts of launches, copies and waits of a step;
- ``{"peak": steps}`` with ``{"peak": bytes}``, the peak memory of so many steps;
- ``{"profile": steps}`` with ``{"profile": text}``, a profile of a step.

The answer to a failure is ``{"failed": reason}``. The end of the input ends the process.
"""

import argparse
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

from cases import Case

CHECKED = {"step": 3}  # number of compared results; 1 for other cases
ELEMENTS = 1000  # of a result, that are compared
SAMPLE_SECONDS = 0.02  # far above the jitter of the clock and the interpreter


def load(framework: str) -> ModuleType:
    """workers/<framework>.py, under a name that does not hide the framework itself."""
    path = Path(__file__).parent / "workers" / f"{framework}.py"
    spec = importlib.util.spec_from_file_location(f"worker_of_{framework}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timer(run: Callable[[], Any], wait: Callable[[], None]) -> Callable[[int], float]:
    """A function that times n steps in seconds, with the device's work."""

    def timed(n: int) -> float:
        wait()
        start = perf_counter()
        for _ in range(n):
            run()
        wait()
        return perf_counter() - start

    return timed


def measure(timed: Callable[[int], float], seconds: float) -> tuple[float, int]:
    """(median seconds for one step, samples), from samples of many steps each."""
    n = 1
    while (once := timed(n)) < SAMPLE_SECONDS:
        n = max(n + 1, min(10 * n, int(1.2 * n * SAMPLE_SECONDS / once)))
    samples = []
    end = perf_counter() + seconds
    while len(samples) < 3 or perf_counter() < end:
        samples.append(timed(n) / n)
    return median(samples), len(samples)


def measure_each(run: Callable[[], Any], seconds: float) -> tuple[float, int]:
    """(tenth percentile of the seconds for one step, samples), each step timed by itself."""
    samples = []
    end = perf_counter() + seconds
    while len(samples) < 10 or perf_counter() < end:
        start = perf_counter()
        run()
        samples.append(perf_counter() - start)
    return sorted(samples)[len(samples) // 10], len(samples)


class Served:
    """A framework, with a method for each question; ``case`` comes first."""

    def __init__(self, module: ModuleType, device: str) -> None:
        self.module, self.device = module, device
        self.run: Callable[[], Any] | None = None

    def case(self, fields: dict[str, Any]) -> dict[str, Any]:
        self.run = None  # frees its memory before the next case takes more
        if hasattr(self.module, "release"):
            self.module.release(self.device)
        self.current = case = Case(**fields)
        run = getattr(self.module, case.kind)(case, self.device)
        start = perf_counter()
        results = [self.compared(run())]
        first = perf_counter() - start
        results += [self.compared(run()) for _ in range(1, CHECKED.get(case.kind, 1))]
        self.timed = timer(run, lambda: self.module.synchronize(self.device))
        self.timed(1)
        self.run = run
        return {
            "check": [float(abs(result).mean(dtype=float)) for result in results],
            "dtype": str(results[0].dtype),
            "first": first,
        }

    def compared(self, result: Any) -> Any:
        """Some elements of a result; of several results, of the first."""
        first = result[0] if isinstance(result, tuple) else result
        return self.module.to_numpy(first).reshape(-1)[:ELEMENTS]

    def seconds(self, seconds: float) -> dict[str, Any]:
        time, samples = measure(self.timed, seconds)
        return {"time": time, "samples": samples}

    def each(self, seconds: float) -> dict[str, Any]:
        idle = getattr(self.module, "idle", None)
        with nullcontext() if idle is None else idle(self.device):
            time, samples = measure_each(self.ready(), seconds)
        return {"time": time, "samples": samples}

    def counted(self, steps: int) -> dict[str, Any]:
        run = self.ready()
        counts: list[dict[str, Any]] = [self.module.counted(run) for _ in range(steps)]
        if any(other != counts[0] for other in counts):
            raise RuntimeError(f"steps differ in their counts: {counts}")
        return counts[0]

    def ready(self) -> Callable[[], Any]:
        if self.run is None:
            raise RuntimeError("no case was set")
        return self.run

    def peak(self, steps: int) -> dict[str, Any]:
        return {"peak": self.module.peak(self.run, self.device, steps)}

    def profile(self, steps: int) -> dict[str, Any]:
        return {"profile": self.module.profile(self.current, self.device, steps)}


def take_cores(count: int) -> None:
    """Keep to so many cores, before a framework counts them: JAX would take them all."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    if count == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()


def main() -> None:
    """Serve until the other side closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework", help="with a way of using it: torch-graphs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    if options.device == "cpu":
        take_cores(options.threads)
    # Output of libraries must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    framework, _, way = options.framework.partition("-")
    try:
        module = load(framework)
        module.prepare(options.device, options.threads, *([way] if way else []))
    except ImportError as error:
        answer(missing=f"{type(error).__name__}: {error}")
        return
    served = Served(module, options.device)
    answer(ready=framework, versions=module.VERSIONS)
    for line in sys.stdin:
        ((question, value),) = json.loads(line).items()
        try:
            reply = getattr(served, question)(value)
        except Exception as error:  # noqa: BLE001  it is reported to the other side
            traceback.print_exc()
            reply = {"failed": f"{type(error).__name__}: {error}"}
        answer(**reply)


if __name__ == "__main__":
    main()
