#!/usr/bin/env python3
"""Data parallel training: what communication costs beside the computation, and how that grows.

    python benchmarks/parallel.py                       # 1 and 2 processes on this machine's cores
    python benchmarks/parallel.py --processes 1,2,4
    python benchmarks/parallel.py --arithmetic --bandwidth 50 --compute 120 --parameters 1e9

The first form trains an MLP with a constant batch for each process (weak scaling), one thread each,
and measures the step without communication, the messages alone, and both together. Overlap is the
share of the messages' time that the backward pass hides. The second form is arithmetic for 8 to
1,024 GPUs; its bandwidth (GB/s of a GPU's link, per direction), latency and time of computation are
parameters, and its bytes are those of the measured messages: 4 for each parameter.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import gpugrad as gg

WIDTHS = (256, 1024, 1024, 1024, 256)
BATCH = 128  # rows of each process
GPUS = (8, 64, 256, 1024)
MEMORY = 80e9  # bytes of a GPU
BACKWARD = 2 / 3  # of the computation: what messages can hide behind


def median(function: Callable[[], Any], rounds: int) -> float:
    """The median of the seconds of some calls, which begin together on all ranks."""
    times = []
    for _ in range(rounds):
        gg.parallel.barrier()
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def measure(rounds: int) -> dict[str, float]:
    """The parts of a step on this rank, in seconds, and the bytes of its messages."""
    gg.manual_seed(0)
    model = gg.parallel.DataParallel(gg.nn.MLP(WIDTHS[0], WIDTHS[1:]))
    optimizer = gg.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    rng = np.random.default_rng(gg.parallel.rank())
    x = gg.tensor(rng.normal(size=(BATCH, WIDTHS[0])).astype("float32"))

    def computed() -> None:
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()

    def alone() -> None:
        with model.no_sync():
            computed()

    computed()  # allocates
    alone()
    found = {"compute": median(alone, rounds)}
    found["messages"] = median(model.average_gradients, rounds)
    found["step"] = median(computed, rounds)
    found["bytes"] = sum(p.data.nbytes for p in model.parameters())
    small = np.zeros(1, np.float32)
    found["latency"] = median(lambda: gg.parallel.all_reduce(small), rounds)
    return found


def started(processes: int, rounds: int) -> dict[str, float]:
    """What rank 0 of so many processes measures."""
    command = [sys.executable, str(Path(__file__)), "--worker", "--rounds", str(rounds)]
    if processes > 1:
        beside = Path(sys.executable).with_name("mpiexec")
        mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
        if mpiexec is None:
            raise SystemExit("error: this needs MPI: pip install gpugrad[mpi]")
        command = [mpiexec, "-n", str(processes), *command]
    # A core for each process: with more threads than cores BLAS's wait for each other.
    one = {"OMP_NUM_THREADS": "1", "GPUGRAD_NUM_THREADS": "1"}
    output = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **one}
    ).stdout
    values: dict[str, float] = json.loads(output.splitlines()[-1])
    return values


def print_measured(counts: list[int], rounds: int) -> None:
    """Measure each number of processes, and print a table."""
    print(
        "| processes | MB a step | computation | messages alone | step | overlap | weak scaling |"
    )
    print("|---|---|---|---|---|---|---|")
    first = None
    for count in counts:
        found = started(count, rounds)
        first = first or found["step"]
        hidden = found["compute"] + found["messages"] - found["step"]
        overlap = "-" if count == 1 else f"{min(max(hidden / found['messages'], 0), 1):.0%}"
        print(
            f"| {count} | {found['bytes'] / 1e6 if count > 1 else 0:.1f} "
            f"| {found['compute'] * 1e3:.1f} ms | {found['messages'] * 1e3:.1f} ms "
            f"| {found['step'] * 1e3:.1f} ms | {overlap} | {first / found['step']:.0%} |"
        )
    print(f"an empty message of {counts[-1]} processes: {found['latency'] * 1e6:.0f} us")


def reduction(gpus: int, size: float, bandwidth: float, latency: float) -> float:
    """Seconds of an all-reduce: 2 (n - 1) / n of the bytes over each link, by a ring or a tree."""
    return 2 * (gpus - 1) / gpus * size / bandwidth + 2 * math.ceil(math.log2(gpus)) * latency


def print_arithmetic(options: argparse.Namespace) -> None:
    """What more GPUs bring, by the time of computation and the links."""
    size, bandwidth = 4 * options.parameters, options.bandwidth * 1e9
    compute, latency = options.compute / 1e3, options.latency / 1e6
    print(
        f"{options.parameters:.3g} parameters in float32, {options.compute:g} ms of computation, "
        f"{options.bandwidth:g} GB/s, {options.latency:g} us\n"
    )
    print("| GPUs | messages | not hidden | efficiency | sharded: not hidden | efficiency "
          "| GB a GPU, Adam | sharded |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for gpus in GPUS:
        messages = reduction(gpus, size, bandwidth, latency)
        exposed = max(messages - BACKWARD * compute, latency)
        # The gradients' half of the messages goes during the backward pass; the parameters' half
        # after the step, when nothing is computed.
        half = messages / 2
        sharded = max(half - BACKWARD * compute, latency) + half
        whole, divided = 4 * size, (2 + 2 / gpus) * size
        print(
            f"| {gpus} | {messages * 1e3:.1f} ms | {exposed * 1e3:.1f} ms "
            f"| {compute / (compute + exposed):.0%} | {sharded * 1e3:.1f} ms "
            f"| {compute / (compute + sharded):.0%} | {whole / 1e9:.1f} | {divided / 1e9:.1f} |"
        )
    print(
        f"\nParameters, gradients and Adam's two averages fill {MEMORY / 1e9:.0f} GB at "
        f"{MEMORY / 16:.2g} parameters, and with the averages divided at {MEMORY / 8:.2g}: there "
        "this design stops, before activations. Larger models need their parameters divided as "
        "well: ZeRO stage 3 (PyTorch's FSDP, DeepSpeed), or tensor and pipeline parallelism "
        "(Megatron-LM)."
    )


def main() -> None:
    """Measure, or compute."""
    flags = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    flags.add_argument("--processes", default="1,2", help="numbers of them (default: %(default)s)")
    flags.add_argument("--rounds", type=int, default=15, help="of each measurement")
    flags.add_argument("--arithmetic", action="store_true", help="compute for 8 to 1,024 GPUs")
    flags.add_argument("--parameters", type=float, default=1e9)
    flags.add_argument("--compute", type=float, default=200.0, help="ms of a step on one GPU")
    flags.add_argument("--bandwidth", type=float, default=50.0, help="GB/s of a GPU's link")
    flags.add_argument("--latency", type=float, default=10.0, help="us of a message")
    flags.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = flags.parse_args()
    if options.worker:
        gg.parallel.init("cpu")
        found = measure(options.rounds)
        if gg.parallel.rank() == 0:
            print(json.dumps(found))
    elif options.arithmetic:
        print_arithmetic(options)
    else:
        print_measured([int(n) for n in options.processes.split(",")], options.rounds)


if __name__ == "__main__":
    main()
