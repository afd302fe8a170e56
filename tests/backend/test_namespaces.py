"""Every name that formulas use is there on NumPy, on the simulated device and on the real CuPy.

The sources are parsed: a name that only one device's branch uses is found as well. CuPy's wheel
needs no GPU for this.
"""

import ast
from functools import cache

import numpy as np
import pytest
from repository import ROOT

import gpugrad.backend.sim as sim
from gpugrad.backend import cuda
from gpugrad.backend.namespace import namespace_of
from gpugrad.codegen.expression import EXPRESSIONS
from gpugrad.engine.op import TABLE

PACKAGE = ROOT / "gpugrad"
FOLDERS = ("ops", "tensor", "functions", "optim", "random", "autodiff")
# What holds a namespace or its module, as the sources call it.
BASES = ("xp", "module", "place.xp", "self.xp", "namespace_of()", "xp_of()")
# Of a namespace itself, and of the numbers and arrays that are called so elsewhere.
OTHERS = {"checks", "multi_tensor", "rules", "ndim", "shape", "size", "dtype", "data"}
MISSING = object()  # None says that a namespace has no such kernel, which a rule may ask


def names(source):
    """(name, line) of what is taken of a namespace: ``xp.linalg.svd`` gives "linalg.svd"."""
    tree = ast.parse(source)
    inner = {n.value for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node in inner:
            continue
        line, parts = node.lineno, []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        base = f"{node.func.id}()" if called else ast.unparse(node)
        parts.reverse()
        while parts and base not in BASES:
            base = f"{base}.{parts.pop(0)}"
        if parts and parts[0] not in OTHERS:
            yield ".".join(parts), line


@cache
def used(folders=FOLDERS):
    found = {}
    for folder in folders:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            for name, line in names(path.read_text(encoding="utf-8")):
                found.setdefault(name, f"{folder}/{path.name}:{line}")
    return found


def lacking(namespace):
    missing = []
    for name, where in used().items():
        value = namespace
        for part in name.split("."):
            value = getattr(value, part, MISSING)
        if value is MISSING:
            missing.append(f"{name} ({where})")
    return missing


def namespace(kind):
    if kind == "cupy":
        cupy = pytest.importorskip("cupy")
        cuda.register_arrays()
        from gpugrad.backend.namespace import NAMESPACES

        return NAMESPACES[cupy.ndarray]
    return namespace_of((np if kind == "numpy" else sim).ones(1))


@pytest.mark.parametrize("kind", ["numpy", "sim", "cupy"])
def test_every_name_that_is_used_is_there(kind):
    assert not lacking(namespace(kind))


@pytest.mark.parametrize("kind", ["numpy", "sim", "cupy"])
def test_every_op_of_the_table_is_there(kind):
    xp = namespace(kind)
    assert [name for name in TABLE if not callable(getattr(xp, name, None))] == []


@pytest.mark.parametrize("kind", ["numpy", "sim", "cupy", "kernels"])
def test_who_looks_at_a_namespace_as_at_any_object_finds_nothing(kind):
    """Such as doctest, which asks every object of a module for what it wraps."""
    xp = EXPRESSIONS if kind == "kernels" else namespace(kind)
    for looked_at in (xp, xp.special):
        assert not hasattr(looked_at, "__wrapped__")


def test_no_rule_reaches_behind_its_namespace():
    assert not [name for name in used(("ops",)) if name.partition(".")[0] == "module"]


def test_names_are_found():
    assert len(used()) > 130
    assert {"where", "add_at", "special.zeta", "searchsorted"} <= set(used())
    source = "def f(xp, x): return xp.a(xp.b.c(x).d, namespace_of(x).e.f(g=module.h)) + y.i"
    assert {name for name, _ in names(source)} == {"a", "b.c", "e.f", "h"}
    assert [name for name, _ in names("x = place.xp.asarray(1); place.send(x)")] == ["asarray"]


def test_what_is_lacking_is_named():
    class Few:
        module = np

    missing = lacking(Few())
    assert any(line.startswith("where (ops/") for line in missing)
    assert not any(line.startswith("module.add.at") for line in missing)
