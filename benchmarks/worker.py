"""One framework in a process of its own: conductor.py starts it, gives it cases, asks for times.

Talks JSON lines. First it says ``{"ready": ..., "versions": ...}``, or ``{"missing": reason}``
where the framework is not installed. Then it answers each line that it reads:

- ``{"case": the fields of a Case}`` with ``{"check": first results, "dtype": ...}``;
- ``{"seconds": s}`` with ``{"time": seconds for one step, "samples": n}``, after about s seconds;
- ``{"each": s}`` with ``{"time": seconds, "samples": n}``: the tenth percentile of single steps'
  times, of the host alone where the framework has an ``idle()`` in which a device does nothing;
- ``{"counted": steps}`` with what each of so many steps asks of the device;
- ``{"peak": steps}`` with ``{"peak": bytes}``, the most memory in use during so many steps;
- ``{"profile": steps}`` with ``{"profile": text}``, where the time of a step goes.

What cannot be done is answered with ``{"failed": reason}``. The end of the input ends it.
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

CHECKED = {"step": 3}  # results, of one else
ELEMENTS = 1000  # of a result, that are compared
SAMPLE_SECONDS = 0.02  # long beside the clock's and the interpreter's jitter


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
    """Seconds for n steps, the device's work included."""

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
    """A framework, ready to answer; ``case`` and its functions are set by a first question."""

    def __init__(self, module: ModuleType, device: str) -> None:
        self.module, self.device = module, device
        self.run: Callable[[], Any] | None = None

    def case(self, fields: dict[str, Any]) -> dict[str, Any]:
        self.run = None  # what it holds is given back before more is taken
        if hasattr(self.module, "release"):
            self.module.release(self.device)
        self.given = case = Case(**fields)
        run = getattr(self.module, case.kind)(case, self.device)
        results = [
            self.module.to_numpy(run()).reshape(-1)[:ELEMENTS]
            for _ in range(CHECKED.get(case.kind, 1))
        ]
        self.timed = timer(run, lambda: self.module.synchronize(self.device))
        self.timed(1)
        self.run = run
        return {
            "check": [float(abs(result).mean(dtype=float)) for result in results],
            "dtype": str(results[0].dtype),
        }

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
        found: list[dict[str, Any]] = [self.module.counted(run) for _ in range(steps)]
        if any(other != found[0] for other in found):
            raise RuntimeError(f"steps differ in what they ask of the device: {found}")
        return found[0]

    def ready(self) -> Callable[[], Any]:
        if self.run is None:
            raise RuntimeError("no case was set")
        return self.run

    def peak(self, steps: int) -> dict[str, Any]:
        return {"peak": self.module.peak(self.run, self.device, steps)}

    def profile(self, steps: int) -> dict[str, Any]:
        return {"profile": self.module.profile(self.given, self.device, steps)}


def main() -> None:
    """Serve until the other side closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework", help="with a way of using it: torch-graphs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # What a library prints must not get between the answers.
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
            found = getattr(served, question)(value)
        except Exception as error:  # noqa: BLE001  whoever asks shall know
            traceback.print_exc()
            found = {"failed": f"{type(error).__name__}: {error}"}
        answer(**found)


if __name__ == "__main__":
    main()
