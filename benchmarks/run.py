#!/usr/bin/env python3
"""Time gpugrad beside PyTorch eager, HIPS autograd and MyGrad.

Each framework runs each case in a process of its own, and the processes are measured in turn
(gpugrad, torch, autograd, mygrad, gpugrad, ...) for several rounds, so that other load of the
machine falls on all of them. All get the same float32 data and initial weights (cases.py) and the
same number of threads, and their first results must agree. A figure is the median of the rounds'
medians; a ratio is gpugrad's figure over the peer's, below 1 where gpugrad is faster.

    .venv/bin/python benchmarks/run.py                    # all cases on the CPU
    .venv/bin/python benchmarks/run.py --quick            # a few, shortly
    .venv/bin/python benchmarks/run.py --compiled --peers jax,torch   # gg.compile beside JAX's jit
    python benchmarks/run.py --device cuda                # on a GPU: see gpu.py

The peers are installed in an environment of their own, .venv-bench, or else in the Python that
runs this file; a missing one is reported and left out::

    python3 -m venv .venv-bench
    .venv-bench/bin/pip install torch==2.13.0 numpy autograd mygrad
    # PyTorch for the CPU alone, some 200 MB in place of several GB:
    # .venv-bench/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

One thread is the default: with more, a small step measures the scheduler. On two cores with
something else running, PyTorch's step of `3-3` took 16 ms with two threads and 0.4 ms with one.
``--threads 8`` for the large cases on a machine that is otherwise idle. On Linux each process keeps
to as many cores, since JAX takes all that it sees.

With --compiled each case runs through ``gg.compile`` too, and a second table has its time over
JAX's, the project's target, and the time of the first call: recording and compiling, with nothing
kept from before. ``--readme`` prints the README's rows.

MyGrad 2.5 takes NumPy 2. Where one peer needs another Python: --python-for mygrad=PATH.
"""

import argparse
import datetime
import sys
import time
from statistics import median
from typing import Any

import gpu
from cases import CASES, COMPILED_TARGETS, QUICK, Case
from conductor import (
    HERE,
    NotInstalledError,
    Worker,
    WorkerError,
    disagreement,
    machine,
    markdown,
    pythons,
    shown,
    write_results,
)

PEERS = ("torch", "autograd", "mygrad")
KNOWN = (*PEERS, "jax", "compiled")
LACKS = {
    ("mygrad", "hvp"), ("mygrad", "derivative"),  # it has only first derivatives
    ("mygrad", "convolution"), ("autograd", "convolution"),
    ("mygrad", "sequence"), ("autograd", "sequence"), ("mygrad", "fit"), ("autograd", "fit"),
    ("mygrad", "batched"), ("autograd", "batched"),
}  # fmt: skip
BY_HAND = ("autograd", "mygrad")  # whose steps, written by hand, are of SGD alone
PAUSE = 0.15  # seconds between turns, for threads of the last one to stop spinning


def time_case(case: Case, frameworks: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """All frameworks' times for one case, as in the JSON file."""
    result: dict[str, Any] = {
        "name": case.name,
        "kind": case.kind,
        "title": case.title,
        "target": case.target,
        "times": {},
        "first": {},
        "rounds": {},
        "ratios": {},
        "missing": {},
        "failed": {},
    }
    workers: list[Worker] = []
    try:
        for framework in frameworks:
            if (framework, case.kind) in LACKS:
                continue
            if framework in BY_HAND and case.optimizer != "sgd":
                continue
            try:
                python = options.pythons.get(framework, sys.executable)
                workers.append(Worker(framework, threads=options.threads, python=python))
                workers[-1].open(case)
            except NotInstalledError as reason:
                result["missing"][framework] = str(reason)
            except WorkerError as reason:
                result["failed"][framework] = str(reason)
                if workers and workers[-1].framework == framework:
                    workers.pop().close()
        if not workers or workers[0].framework != "gpugrad":
            return result  # the peers' times alone say nothing
        for worker in workers:
            options.versions.update(worker.versions)
            result["first"][worker.framework] = worker.first
            if unequal := disagreement(worker, workers[0]):
                result["failed"][worker.framework] = unequal
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


KINDS = {
    "step": "training step",
    "convolution": "training step of a convolution network",
    "sequence": "training step over sequences",
    "chain": "elementwise chain",
    "fit": "fit of a differential equation",
    "hvp": "Hessian times vector",
    "derivative": "higher derivative",
    "batched": "derivatives in batches",
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
    rows = [head]
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
            row.append(target_cell(result["target"], ratios.get("torch")))
        rows.append(row)
    return markdown(rows)


def target_cell(target: float | None, ratio: float | None) -> str:
    """What a table says of a target, and whether a ratio meets it."""
    if target is None:
        return ""
    if ratio is None:
        return f"≤ {target:g}"
    return f"≤ {target:g} {'met' if round(ratio, 2) <= target else 'MISSED'}"


def compiled_table(results: list[dict[str, Any]]) -> str:
    """A Markdown table of compiled cases beside eager ones and JAX's, with first calls."""
    rows = [["case", "compiled", "over eager", "jax", "ratio", "target", "first call", "jax's"]]
    for result in results:
        times, first = result["times"], result["first"]
        if "compiled" not in times:
            continue
        own, target = times["compiled"], COMPILED_TARGETS.get(result["name"])
        row = [result["title"], shown(own), f"{own / times['gpugrad']:.2f}"]
        ratio = own / times["jax"] if "jax" in times else None
        row += ["-", "-"] if ratio is None else [shown(times["jax"]), f"{ratio:.2f}"]
        row.append(target_cell(target, ratio))
        rows.append([*row, *(shown(first[f]) if f in first else "-" for f in ("compiled", "jax"))])
    return markdown(rows)


def readme_table(results: list[dict[str, Any]], peers: list[str]) -> str:
    """The README's table: gpugrad's times, and its times over the peers'; a blank for no figure."""
    rows = [["", "gpugrad", *peers]]
    for result in results:
        if "gpugrad" not in result["times"] or result["kind"] == "op":
            continue
        row = [result["title"], shown(result["times"]["gpugrad"])]
        for peer in peers:
            if peer == "compiled" and peer in result["times"]:
                row.append(shown(result["times"][peer]))
            else:
                ratio = result["ratios"].get(peer)
                row.append("" if ratio is None else f"{ratio:.2f}")
        rows.append(row)
    return markdown(rows)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(
        description="Time gpugrad beside PyTorch, autograd and MyGrad.",
        epilog=f"Cases: {', '.join(CASES)}.",
    )
    add = parser.add_argument
    add("--device", choices=["cpu"], default="cpu", help="cuda and sim: see gpu.py --help")
    add("--cases", metavar="NAME,...", help="cases, or kinds of them (step, hvp, ...)")
    add("--peers", metavar="NAME,...", help="default: torch,autograd,mygrad; jax as well")
    add("--compiled", action="store_true", help="time gg.compile too, as the first of the peers")
    add("--readme", action="store_true", help="print the README's table as well")
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
    peers = options.peers.split(",") if options.peers is not None else PEERS
    options.peers = [peer for peer in peers if peer]
    if options.compiled and "compiled" not in options.peers:
        options.peers.insert(0, "compiled")
    if unknown := [peer for peer in options.peers if peer not in KNOWN]:
        parser.error(f"unknown peer {unknown[0]!r}; there are {', '.join(KNOWN)}")
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (0.1 if options.quick else 0.5)
    if options.rounds < 1 or options.seconds < 0 or options.threads < 1:
        parser.error("--rounds, --seconds and --threads must be positive")
    if options.json is None:
        name = f"{options.device}-{datetime.date.today().isoformat()}.json"
        options.json = "-" if options.quick else str(HERE / "results" / name)
    try:
        options.pythons = pythons(options.python_for, KNOWN)
    except ValueError as error:
        parser.error(str(error))
    options.versions = {}
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the cases, print the table, write the file; 1 where something failed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument.removeprefix("--device=") in ("cuda", "sim") for argument in arguments):
        return gpu.main(arguments)
    options = parse(arguments)
    about = machine(options.device, options.threads)
    print(
        f"{about['processor']}, {options.threads} thread(s), float32, "
        f"{options.rounds} rounds\n"
        "training step: forward, mse_loss, backward, SGD with momentum; Hessian times vector: of\n"
        "mse_loss by all parameters; chain and ops: forward and backward. ratio: gpugrad's time\n"
        "over the peer's; target: the most it may be for torch\n",
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
    peers = [peer for peer in options.peers if peer not in missing]
    print(table(results, peers))
    if "compiled" in peers:
        print(f"\n{compiled_table(results)}")
    if options.readme:
        print(f"\n{readme_table(results, peers)}")
    versions = dict(sorted(options.versions.items()))
    print()
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    for framework, reason in missing.items():
        print(f"left out: {framework} ({reason})")
    for problem in failed:
        print(f"FAILED: {problem}", file=sys.stderr)
    if options.json != "-":
        content = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", "benchmarks/run.py", *arguments]),
            "device": options.device,
            "machine": about,
            "versions": versions,
            "missing": missing,
            "dtype": "float32",
            "unit": "seconds for one step",
            "cases": results,
        }
        write_results(options.json, content)
        print(f"written: {options.json}")
    return 1 if failed or "gpugrad" in missing else 0


if __name__ == "__main__":
    sys.exit(main())
