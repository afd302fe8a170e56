"""The benchmarks' figures as tables, from benchmarks/results/, with their dates and commands."""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import run  # noqa: E402

__all__ = ["tables"]

TITLES = {"torch": "PyTorch", "autograd": "autograd", "mygrad": "MyGrad", "jax": "JAX"}
# Options that say where on one machine something is.
LOCAL = re.compile(r" --(python-for|json) \S+")


def tables() -> str:
    """The newest figures of each set of cases, on the CPU, as Markdown."""
    sections = [section(json.loads(file.read_text(encoding="utf-8")), file) for file in newest()]
    return "\n".join(["## Figures\n", *sections])


def newest() -> list[Path]:
    """The newest file of each set of cases, cpu-DATE.json or cpu-DATE-SET.json."""
    files = sorted((ROOT / "benchmarks" / "results").glob("cpu-*.json"))
    sets = {re.fullmatch(r"cpu-\d{4}-\d\d-\d\d(.*)", file.stem)[1]: file for file in files}
    return [file for _, file in sorted(sets.items(), key=lambda item: len(item[0]))]


def section(content: dict[str, Any], file: Path) -> str:
    """One file of figures: when, where and by what command, and the table."""
    machine, versions = content["machine"], content["versions"]
    threads = "one thread" if machine["threads"] == 1 else f"{machine['threads']} threads"
    libraries = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    cases = content["cases"]
    peers = [p for p in ("compiled", *run.PEERS, "jax") if any(p in c["times"] for c in cases)]
    return f"""\
### {content["date"][:10]}, {threads}, beside {", ".join(TITLES[p] for p in peers if p in TITLES)}

{machine["processor"]}, {machine["cores"]} cores, {machine["system"]}, Python {machine["python"]};
{libraries}; {content["dtype"]}. Times are gpugrad's and its compiled program's, for one step; the
other columns are gpugrad's time over theirs. Written to `benchmarks/results/{file.name}` by:

```sh
{LOCAL.sub("", content["command"])}
```

{run.readme_table(cases, peers)}
"""
