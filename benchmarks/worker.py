"""One framework, one case, in a process of its own: run.py starts it and asks it for times.

Talks JSON lines. First it says ``{"ready": ..., "check": ..., "versions": ...}`` (or
``{"missing": reason}`` where the framework is not installed); then, for each line
``{"seconds": s}`` that it reads, it measures for about s seconds and answers
``{"time": seconds for one step, "samples": n}``. An empty line or the end of the input ends it.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any

from cases import CASES

CHECKED_STEPS = 3
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


def main() -> None:
    """Serve run.py until it closes the pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("framework")
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    case = CASES[options.case]
    try:
        module = load(options.framework)
        module.prepare(options.device, options.threads)
    except ImportError as error:
        answer(missing=f"{type(error).__name__}: {error}")
        return
    run = getattr(module, case.kind)(case, options.device)
    results = [module.to_numpy(run()) for _ in range(CHECKED_STEPS)]
    timed = timer(run, lambda: module.synchronize(options.device))
    timed(1)
    answer(
        ready=options.framework,
        check=[float(result.mean()) for result in results],
        dtype=str(results[0].dtype),
        versions=module.VERSIONS,
    )
    for line in sys.stdin:
        if not line.strip():
            break
        time, samples = measure(timed, json.loads(line)["seconds"])
        answer(time=time, samples=samples)


if __name__ == "__main__":
    main()
