#!/usr/bin/env python3
"""Time gpugrad on a GPU beside PyTorch, JAX and the floor, the device's own time.

    python benchmarks/run.py --device cuda                  # all parts, some 8 minutes
    python benchmarks/gpu.py --only ops --budget 200        # one part, for at most 200 s
    python benchmarks/gpu.py --profile 784-256-128-10-b64-sgd-float32
    python benchmarks/gpu.py --device cpu --quick           # in miniature, to test the script

Each framework is a process of its own, and they are measured in turn, for several rounds: gpugrad,
PyTorch eager; for some steps also gpugrad compiled (``gg.compile``: one CUDA graph), PyTorch with
CUDA graphs (``torch.compile`` with mode="reduce-overhead") and JAX's jit. All get the same
data and initial weights, and their first results must agree. Times are taken warm, over many steps
between two waits for the device; a figure is the median of the rounds' medians. The parts:

- ops: one op of 10 to 10^8 elements, forward and backward;
- steps: a training step of an MLP with tanh: forward, mse_loss, backward, the optimizer;
- memory: the most memory in use during a step.

The floor of an op is the bytes that it must move over the bandwidth of a copy, measured here; that
of a step is its matrix products alone (``cupy.matmul`` with ``out=``, in a loop), plus the bytes
of activations and update. Below some 20 MB the data stay in the cache of the GPU, and a copy's
bandwidth is not a bound. The figures are written after every case, so that an interrupted run
keeps them. A worker whose process dies is started again.
"""

import argparse
import datetime
import sys
import time
from dataclasses import replace
from math import log10
from statistics import median
from typing import Any

from cases import Case
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
from gpu_cases import COMPILED, FULL, MINIATURE, moved

EAGER = ("gpugrad", "torch")
WHOLE = ("compiled", "torch-graphs", "jax")  # compile a whole step
KNOWN = ("torch", *WHOLE)
PARTS = ("memory", "steps", "ops")
PATIENCE = 100.0  # seconds until a worker must answer: compiling a step is slow


class Desk:
    """The processes, started when they are first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.workers: dict[tuple[str, bool], Worker] = {}
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def worker(self, framework: str, case: Case) -> Worker:
        """The process of a framework; NotInstalledError if it cannot start."""
        # CuPy reads its setting for TF32 once.
        own = framework in ("gpugrad", "compiled")
        tf32 = own and case.precision == "tf32"
        worker = self.workers.get((framework, tf32))
        if worker is None or not worker.alive:
            if framework in self.missing:
                raise NotInstalledError(self.missing[framework])
            options = self.options
            python = options.pythons.get(framework.partition("-")[0], sys.executable)
            environment = {"CUPY_TF32": "1" if tf32 else "0"} if own else None
            try:
                worker = Worker(
                    framework, options.device, options.threads, python, environment, PATIENCE
                )
            except NotInstalledError as reason:
                self.missing[framework] = str(reason)
                raise
            self.workers[framework, tf32] = worker
            self.versions.update(worker.versions)
        return worker

    def close(self) -> None:
        """End all processes."""
        for worker in self.workers.values():
            worker.close()


def time_case(case: Case, frameworks: tuple[str, ...], desk: Desk) -> dict[str, Any]:
    """The times of one case, as in the JSON file."""
    result: dict[str, Any] = {
        "name": case.name,
        "kind": case.kind,
        "title": case.title,
        "op": case.op,
        "precision": case.precision,
        "target": case.target,
        "against": case.against,
        "moved": moved(case),
        "times": {},
        "rounds": {},
        "failed": {},
        "unequal": {},
    }
    ready: list[Worker] = []
    for framework in frameworks:
        try:
            worker = desk.worker(framework, case)
            worker.open(case)
        except NotInstalledError:
            continue
        except WorkerError as reason:
            result["failed"][framework] = str(reason)
            continue
        ready.append(worker)
        if unequal := disagreement(worker, ready[0], case.precision):
            result["unequal"][framework] = unequal
    for worker in ready * desk.options.rounds:
        if worker.framework in result["failed"]:
            continue
        rounds = result["rounds"].setdefault(worker.framework, [])
        try:
            rounds.append(worker.measure(desk.options.seconds))
        except WorkerError as reason:
            result["failed"][worker.framework] = str(reason)
    result["times"] = {name: median(rounds) for name, rounds in result["rounds"].items() if rounds}
    return result


def floor_of(case: Case, desk: Desk) -> dict[str, float]:
    """The time of the bare matrix products of a case, under the name matmuls; {} for none."""
    if case.kind != "step" and case.op != "matmul":
        return {}
    worker = desk.worker("gpugrad", case)
    worker.open(replace(case, kind="matmuls", op=case.kind))
    return {"matmuls": median(worker.measure(desk.options.seconds) for _ in range(3))}


def peak_of(case: Case, desk: Desk) -> dict[str, Any]:
    """The peak memory of a training step in each framework."""
    result: dict[str, Any] = {
        "name": case.name,
        "kind": "memory",
        "title": case.title,
        "op": "",
        "target": case.target,
        "against": case.against,
        "peaks": {},
        "failed": {},
        "unequal": {},
    }
    for framework in EAGER:
        try:
            worker = desk.worker(framework, case)
            worker.open(case)
            result["peaks"][framework] = worker.ask(peak=3)["peak"]
        except NotInstalledError:
            continue
        except WorkerError as reason:
            result["failed"][framework] = str(reason)
    return result


# ---------------------------------------------------------------- the report


def reference(result: dict[str, Any], bandwidth: float | None) -> float | None:
    """The figure to compare with: a peer's, or the floor; None: not measured."""
    against = result["against"]
    if result["kind"] == "memory":
        return result["peaks"].get(against)
    if against == "copy":
        return None if bandwidth is None else result["moved"] / bandwidth
    return result["times"].get(against)


def ratio(result: dict[str, Any], bandwidth: float | None) -> float | None:
    """A case's own figure over its reference; None where one of them is missing."""
    own = result.get("times", result.get("peaks", {})).get("gpugrad")
    other = reference(result, bandwidth)
    return None if own is None or not other else own / other


REFERENCES = {
    "copy": "the copy's time",
    "matmuls": "the matrix products' time",
    "torch": "PyTorch's",
}


def verdicts(results: list[dict[str, Any]], bandwidth: float | None) -> list[str]:
    """A line for each case that has a target: held, MISSED or not measured."""
    lines = []
    for result in results:
        if result["target"] is None:
            continue
        measured = ratio(result, bandwidth)
        what = REFERENCES[result["against"]] + (" memory" if result["kind"] == "memory" else "")
        direction = f" {result['kind']}" if result["op"] else ""
        text = f"{result['title']}{direction}: at most {result['target']:.2f} of {what}"
        if measured is None:
            lines.append(f"not measured  {text}")
        else:
            verdict = "held  " if measured <= result["target"] else "MISSED"
            lines.append(f"{verdict}  {text}: {measured:.2f}")
    return lines


def steps_table(results: list[dict[str, Any]], bandwidth: float | None) -> str:
    """Training steps beside the peers and the floor."""
    rows = [["training step", *EAGER, "ratio", *WHOLE, "matmuls", "of it", "floor"]]
    for result in results:
        times = result["times"]
        own, floor, peer = (times.get(name) for name in ("gpugrad", "matmuls", "torch"))
        row = [result["title"], *(shown(times[n]) if n in times else "-" for n in EAGER)]
        row.append(f"{own / peer:.2f}" if own and peer else "-")
        row += [shown(times[n]) if n in times else "-" for n in (*WHOLE, "matmuls")]
        row.append(f"{own / floor:.2f}" if own and floor else "-")
        row.append(shown(floor + result["moved"] / bandwidth) if floor and bandwidth else "-")
        rows.append(row)
    return markdown(rows)


def ops_table(results: list[dict[str, Any]], bandwidth: float | None) -> str:
    """Ops by size, forward and backward: the times, the ratio, and the floor over the time."""
    side = [*EAGER, "ratio", "floor"]
    rows = [["op, elements", *side, *(f"{name} back" for name in side)]]
    for forward, backward in zip(results[::2], results[1::2]):
        row = [forward["title"]]
        for result in (forward, backward):
            times = result["times"]
            own, peer, floor = (times.get(name) for name in ("gpugrad", "torch", "matmuls"))
            if result["moved"] is not None and bandwidth is not None:
                floor = result["moved"] / bandwidth
            row += [shown(times[n]) if n in times else "-" for n in EAGER]
            row.append(f"{own / peer:.2f}" if own and peer else "-")
            row.append(f"{100 * floor / own:.0f}%" if own and floor else "-")
        rows.append(row)
    return markdown(rows)


def report(results: list[dict[str, Any]], bandwidth: float | None) -> str:
    """All tables, and the verdicts on the targets."""
    by_kind = {
        part: [r for r in results if r["kind"] in kinds]
        for part, kinds in (
            ("memory", ("memory",)),
            ("steps", ("step",)),
            ("ops", ("forward", "backward")),
        )
    }
    parts = []
    if bandwidth is not None:
        parts.append(f"copy: {bandwidth / 1e9:.0f} GB/s, bytes read and written counted")
    for result in by_kind["memory"]:
        peaks = ", ".join(
            f"{name} {most / 2**20:.1f} MiB" for name, most in result["peaks"].items() if most
        )
        parts.append(f"most memory in a step of {result['title']}: {peaks or 'not measured'}")
    if by_kind["steps"]:
        parts.append(steps_table(by_kind["steps"], bandwidth))
    if by_kind["ops"]:
        parts.append(
            ops_table(by_kind["ops"], bandwidth)
            + "\nfloor: the least time by bytes (of matmul: the bare product) over gpugrad's"
        )
    return "\n\n".join([*parts, "\n".join(verdicts(results, bandwidth))])


# ---------------------------------------------------------------- the command


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu", "sim"], default="cuda")
    add("--only", choices=PARTS, action="append", help="a part; may be repeated")
    add("--cases", metavar="WORD", help="only cases with this in their names")
    add("--quick", action="store_true", help="in miniature")
    add("--peers", metavar="NAME,...", help=f"default: {','.join(KNOWN)}")
    add("--rounds", type=int, default=3, help="turns of each framework in a case (default 3)")
    add("--seconds", type=float, default=0.1, help="measuring time of a turn (default 0.1)")
    add("--budget", type=float, default=1e9, help="seconds after which no case is begun")
    add("--threads", type=int, default=1, help="of the host, for every framework (default 1)")
    add("--profile", metavar="CASE", help="say where the time of this training step goes")
    add("--json", metavar="FILE", help="default benchmarks/results/<device>-<date>.json; - none")
    add(
        "--python-for",
        metavar="PEER=PATH",
        action="append",
        default=[],
        help="the Python that a peer is installed for",
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds < 0 or options.threads < 1:
        parser.error("--rounds, --seconds and --threads must be positive")
    cases = MINIATURE if options.quick else FULL
    chosen = {part: cases[part] for part in options.only or PARTS}
    if options.cases:
        chosen = {p: [c for c in some if options.cases in c.name] for p, some in chosen.items()}
        if not any(chosen.values()):
            parser.error(f"no case has {options.cases!r} in its name")
    options.chosen = chosen
    options.copy = cases["copy"]
    if options.profile is not None:
        steps = {case.name: case for case in cases["steps"]}
        if options.profile not in steps:
            parser.error(f"unknown step {options.profile!r}; there are {', '.join(steps)}")
        options.profile = steps[options.profile]
    peers = KNOWN if options.peers is None else [p for p in options.peers.split(",") if p]
    if unknown := [peer for peer in peers if peer not in KNOWN]:
        parser.error(f"unknown peer {unknown[0]!r}; there are {', '.join(KNOWN)}")
    options.frameworks = ("gpugrad", *peers)
    try:
        options.pythons = pythons(options.python_for, ("torch", "jax"))
    except ValueError as error:
        parser.error(str(error))
    if options.json is None:
        name = f"{options.device}-{datetime.date.today().isoformat()}.json"
        options.json = "-" if options.quick else str(HERE / "results" / name)
    return options


def jobs(options: argparse.Namespace) -> list[tuple[Case, tuple[str, ...]]]:
    """The cases with their frameworks, in the order of measuring.

    Time may not suffice: cases with a target come first, compiled steps last.
    """
    eager, whole = (tuple(n for n in some if n in options.frameworks) for some in (EAGER, WHOLE))
    ranked = [(-1.0, case, eager) for case in options.chosen.get("memory", ())]
    for case in (*options.chosen.get("steps", ()), *options.chosen.get("ops", ())):
        size = log10(max(case.sizes)) / 100  # the host's share is seen in small ones
        ranked.append((0 if case.target else 1 if case.kind == "step" else 2 + size, case, eager))
        if whole and case.name in COMPILED:
            ranked.append((3, case, ("gpugrad", *whole)))
    return [(case, names) for _, case, names in sorted(ranked, key=lambda job: job[0])]


def measure(options: argparse.Namespace, desk: Desk, content: dict[str, Any]) -> list[str]:
    """Fill ``content`` with the figures; returns the cases for which no time was left."""
    end = time.monotonic() + options.budget
    copied = [time_case(case, ("gpugrad",), desk) for case in options.copy]
    if "gpugrad" in copied[0]["times"]:
        content["bandwidth"] = copied[0]["moved"] / copied[0]["times"]["gpugrad"]
    content["failed"] += [f"copy: gpugrad: {why}" for why in copied[0]["failed"].values()]
    in_order = [case for part in PARTS for case in options.chosen.get(part, ())]
    results: dict[Case, dict[str, Any]] = {}
    left = []
    for case, names in jobs(options):
        title = f"{case.title} {case.kind}" if case.op else case.title
        compiles = not set(WHOLE).isdisjoint(names)
        if time.monotonic() + compiles * PATIENCE > end:
            left.append(f"{title}, compiled" if case in results else title)
            continue
        if case in options.chosen.get("memory", ()):
            title = f"memory, {title}"
            result = results[case] = peak_of(case, desk)
            figures = ", ".join(f"{name} {most} bytes" for name, most in result["peaks"].items())
        else:
            result = time_case(case, names, desk)
            if case in results:
                result["times"].pop("gpugrad", None)  # it was there for its first results
                results[case]["times"] |= result["times"]
                results[case]["rounds"] |= {n: result["rounds"][n] for n in result["times"]}
                results[case]["failed"] |= result["failed"]
                results[case]["unequal"] |= result["unequal"]
            else:
                try:
                    result["times"] |= floor_of(case, desk)
                except WorkerError as reason:
                    result["failed"]["gpugrad"] = f"matmuls: {reason}"
                results[case] = result
            figures = ", ".join(f"{name} {shown(t)}" for name, t in result["times"].items())
        print(f"{title}: {figures or 'nothing measured'}", flush=True)
        for problem in ("failed", "unequal"):
            content[problem] += [f"{title}: {name}: {why}" for name, why in result[problem].items()]
        content["cases"] = [results[case] for case in in_order if case in results]
        content["versions"] |= sorted(desk.versions.items())
        if options.json != "-":
            write_results(options.json, content)
    return left


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables, write the file; 1 where gpugrad failed or results differ."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    about = machine(options.device, options.threads)
    print(about.get("gpu") or f"{about['processor']}, {options.device}", flush=True)
    desk = Desk(options)
    content: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "benchmarks/gpu.py", *arguments]),
        "device": options.device,
        "machine": about,
        "unit": "seconds for one step; bytes",
        "bandwidth": None,
        "versions": {},
        "failed": [],
        "unequal": [],
        "cases": [],
    }
    try:
        if options.profile is not None:
            worker = desk.worker("gpugrad", options.profile)
            worker.open(options.profile)
            print(f"{options.profile.title}\n\n{worker.ask(profile=10)['profile']}")
            return 0
        left = measure(options, desk, content)
    except NotInstalledError as reason:
        print(f"FAILED: gpugrad: {reason}", file=sys.stderr)
        return 1
    finally:
        desk.close()
    print(f"\n{report(content['cases'], content['bandwidth'])}\n")
    print(", ".join(f"{name} {version}" for name, version in content["versions"].items()))
    for framework, reason in desk.missing.items():
        print(f"left out: {framework} ({reason})")
    if left:
        print(f"no time was left for: {', '.join(left)}")
    for kind in ("failed", "unequal"):
        for problem in content[kind]:
            print(f"{kind.upper()}: {problem}", file=sys.stderr)
    if options.json != "-":
        print(f"written: {options.json}")
    # A peer's failure is printed, and does not fail the run.
    own = [problem for problem in content["failed"] if ": gpugrad: " in problem]
    return 1 if own or content["unequal"] or "gpugrad" in desk.missing else 0


if __name__ == "__main__":
    sys.exit(main())
