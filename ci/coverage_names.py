"""Writes the names of the functions that docs/coverage.md compares gpugrad with.

    pip install numpy autograd jax       # into an environment of their own
    python ci/coverage_names.py          # rewrites ci/coverage_names.json

The names are those of the public functions of NumPy and jax.numpy, and of the functions to which
HIPS autograd gives a derivative. ci/reference.py reads the file.
"""

import importlib
import importlib.metadata
import json
import sys
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

from generated import replace_text  # noqa: E402

FILE = Path(__file__).with_suffix(".json")

# Endings of public names in autograd that are for its own use.
HELPERS = ("_args", "_pad", "_boxes_inside", "_intdtype", "_namespace")

# The modules compared, by the name of their part of gpugrad: "" is gpugrad itself.
PARTS = {"": "", "linalg": ".linalg", "fft": ".fft"}


def public(module: types.ModuleType) -> list[str]:
    """The names of a module's public functions: neither classes, dtypes, modules nor constants."""
    return sorted(
        name
        for name in dir(module)
        if not name.startswith("_") and is_function(getattr(module, name))
    )


def is_function(value: Any) -> bool:
    """Whether a value is a function: jax.numpy's dtypes are callable, but only convert."""
    if isinstance(value, type | types.ModuleType) or not callable(value):
        return False
    return not hasattr(value, "dtype")


def differentiated(module: types.ModuleType) -> list[str]:
    """The functions of autograd with a derivative: in its table, or made of such functions."""
    table = importlib.import_module("autograd.core").primitive_vjps
    known = {primitive.__name__ for primitive in table}  # by name: some are wrapped once more
    return [
        name
        for name in public(module)
        if not name.endswith(HELPERS)
        and (
            {name, getattr(module, name).__name__} & known
            or getattr(module, name).__module__ == "autograd.numpy.numpy_wrapper"
        )
    ]


LIBRARIES = {
    "NumPy": ("numpy", "numpy", public),
    "autograd": ("autograd", "autograd.numpy", differentiated),
    "JAX": ("jax", "jax.numpy", public),
}


def main() -> None:
    libraries = {}
    for library, (package, root, names) in LIBRARIES.items():
        libraries[library] = {
            "version": importlib.metadata.version(package),
            "names": {
                part: names(importlib.import_module(root + suffix))
                for part, suffix in PARTS.items()
            },
        }
    replace_text(FILE, json.dumps(libraries, indent=1) + "\n")


if __name__ == "__main__":
    main()
