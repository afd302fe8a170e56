"""Writes gpugrad/backend/sim/signatures.json from the installed CuPy wheel; needs no GPU.

    python ci/cupy_signatures.py            # rewrite the file
    python ci/cupy_signatures.py --check    # say whether it is current, change nothing

tests/backend/sim/test_sim_matches_cupy.py runs the same comparison, so that the simulated device
cannot drift away from the CuPy that it stands for.
"""

import argparse
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

from generated import replace_text  # noqa: E402

TARGET = ROOT / "gpugrad" / "backend" / "sim" / "signatures.json"


def parameters(function: Any) -> str | None:
    """The parameter list of a CuPy callable as Python source, None where it has none.

    Functions compiled by Cython have it only in the first line of the docstring, with C types
    before the names.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return from_docstring(function)
    if "self" in signature.parameters:  # Python 3.14's guess for a compiled function
        return from_docstring(function)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    text = str(inspect.Signature(plain))
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)


def from_docstring(function: Any) -> str | None:
    first = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
    match = re.fullmatch(r"[\w.]+(\(.*\))(?: -> .*)?", first)
    if not match:
        return None
    parts = []
    for part in match[1][1:-1].split(", "):
        name, equals, default = part.partition("=")
        parts.append(name.split(" ")[-1] + equals + default)
    return "(" + ", ".join(parts) + ")"


def functions_of(module: Any) -> dict[str, str]:
    table = {}
    for name in sorted(vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or isinstance(value, type) or not callable(value):
            continue
        if type(value).__name__ not in ("ufunc", "CClass", "RClass", "nd_grid"):
            text = parameters(value)
            if text is not None:
                table[name] = text
    return table


def ufuncs_of(module: Any) -> dict[str, tuple[str, int, int, str | None]]:
    return {
        name: (value.name, value.nin, value.nout, value._scatter_op)
        for name, value in sorted(vars(module).items())
        if type(value).__name__ == "ufunc"
    }


def methods_of(cls: type) -> dict[str, str]:
    table = {}
    for name in sorted(dir(cls)):
        value = getattr(cls, name)
        if name.startswith("_") or not callable(value):
            continue
        text = parameters(value)
        if text is not None:
            table[name] = text
    return table


LATER = {"cublas"}  # modules that are members of cupy only after an import


def collect() -> dict[str, Any]:
    """All tables, by the name of the variable that holds them in signatures.py."""
    import cupy
    import cupyx.scipy.special

    ufuncs = ufuncs_of(cupy)
    functions = functions_of(cupy)
    rest = [
        name
        for name in sorted(vars(cupy))
        if not name.startswith("_") and name not in {*ufuncs, *functions, *LATER}
    ]
    return {
        "UFUNCS": ufuncs,
        "SPECIAL": ufuncs_of(cupyx.scipy.special),
        "FUNCTIONS": functions,
        "LINALG": functions_of(cupy.linalg),
        "FFT": functions_of(cupy.fft),
        "METHODS": methods_of(cupy.ndarray),
        "OTHERS": rest,
    }


def source(tables: dict[str, Any], version: str) -> str:
    """The text of signatures.json: a line for each name."""
    parts = [f'"CUPY_VERSION": "{version}"']
    for title, table in tables.items():
        if isinstance(table, list):
            parts.append(f'"{title}": {json.dumps(table)}')
        else:
            entries = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in table.items()]
            parts.append(f'"{title}": {{\n' + ",\n".join(entries) + "\n }")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    arguments = parser.parse_args()
    import cupy

    text = source(collect(), cupy.__version__)
    if not arguments.check:
        replace_text(TARGET, text)
        return 0
    current = TARGET.read_text(encoding="utf-8") == text
    print(f"{TARGET.name} {'matches' if current else 'differs from'} CuPy {cupy.__version__}")
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main())
