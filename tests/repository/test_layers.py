"""Imports point down the layers only, in no circle; files stay short; examples use the public API.

The sources are parsed, not imported, so that imports inside functions and under
``TYPE_CHECKING`` count as well: a cycle of types is a cycle of ideas.
"""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from repository import ROOT

PACKAGE = ROOT / "gpugrad"

# From the bottom to the top. A module may import its own layer and those below.
LAYERS = (
    {"errors"},
    {"backend"},
    {"codegen"},
    {"kernels"},
    {"engine"},
    {"ops"},
    {"tensor"},
    {"functions"},
    {"batching"},
    {"autodiff", "data", "einops", "inspect", "io", "metrics", "nn", "optim", "random"},
    {"compiler", "parallel", "plot", "sklearn", "training"},
    {"cli", "__init__", "__main__"},
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

# These compute on whatever array comes: they ask the array where it lives, never a global.
ASK_THE_ARRAY = ("engine", "ops")
# A kernel stands in for a formula in the namespace of CuPy's arrays; nobody else knows of it. The
# package itself imports `kernels`, which then wait for the first of those arrays.
ONLY_FOR = {"codegen": ("codegen", "compiler", "kernels"), "kernels": ("kernels", "__init__")}
# CuPy is met through a namespace; these alone may name it, and `gpugrad doctor`.
WITH_CUPY = ("backend", "codegen", "kernels", "cli")

MAX_LINES = 500

# Not for examples and benchmarks: what these hold is public under shorter names.
NOT_PUBLIC = ("codegen", "engine", "functions", "kernels", "ops", "tensor")


def imports(module: str, source: str, *, package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that a module imports; ``from a import b`` gives ``a.b``.

    ``module`` is the dotted name of the module, ``package`` says that it is an ``__init__``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                up = parts[: len(parts) - node.level + package]
                base = ".".join([*up, base] if base else up)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            name = ast.unparse(node.func).rpartition(".")[2]
            target = node.args[0]
            if (
                name in ("import_module", "__import__")
                and isinstance(target, ast.Constant)
                and isinstance(target.value, str)
            ):
                yield node.lineno, target.value


def violations(module: str, source: str, *, package: bool = False) -> list[str]:
    """What breaks the layer rule in the source of ``module`` ("gpugrad.nn.linear")."""
    own = [*module.split("."), "__init__"][1]
    if own not in RANK:
        return [f"{module}: '{own}' is in no layer; say in LAYERS where it belongs"]
    found = []
    for line, name in imports(module, source, package=package):
        where = f"{module}:{line}"
        root, *rest = name.split(".")
        if root in ("cupy", "cupyx") and own not in WITH_CUPY:
            found.append(f"{where} imports {root}, which only the backend may")
        if root != "gpugrad":
            continue
        # `from gpugrad import Tensor` takes a name of the top, whose __init__ imports all.
        part = rest[0] if rest and rest[0] in RANK else "__init__"
        if RANK[part] > RANK[own]:
            found.append(f"{where} imports {name}: {own} lies below {part}")
        elif own not in ONLY_FOR.get(part, (own,)):
            found.append(f"{where} imports {name}: {part} is for {', '.join(ONLY_FOR[part])} only")
        if own in ASK_THE_ARRAY and (rest[:2] == ["backend", "xp"] or rest[-1:] == ["xp"]):
            found.append(f"{where} imports the default device's xp; use namespace_of(array)")
    return found


def import_graph(sources: dict[str, str], packages: Collection[str] = ()) -> dict[str, set[str]]:
    """For each module, by dotted name, the others that its source imports.

    ``packages`` names those that are an ``__init__``. Of ``from a import b`` it is a.b where that
    is a module, else a.
    """
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        names = {name for _, name in imports(module, source, package=module in packages)}
        known = {n if n in sources else n.rpartition(".")[0] for n in names}
        graph[module] = {name for name in known if name in sources and name != module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The shortest circle of imports through each module that is in one, each circle once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in graph:
        paths = [[start]]
        seen = set()
        while paths:
            path = paths.pop(0)
            if start in graph[path[-1]]:
                found.setdefault(frozenset(path), path)
                break
            for name in sorted(graph[path[-1]] - seen):
                seen.add(name)
                paths.append([*path, name])
    return list(found.values())


def public_violations(name: str, source: str) -> list[str]:
    """What an example or a benchmark imports of gpugrad's inside."""
    return [
        f"{name}:{line} imports {imported}, which is no public name"
        for line, imported in imports(name, source)
        if imported.split(".")[0] == "gpugrad"
        and any(p in NOT_PUBLIC or p.startswith("_") for p in imported.split(".")[1:])
    ]


def modules() -> list[tuple[str, Path]]:
    """(dotted name, path) of all modules of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def long_files(limit: int = MAX_LINES) -> list[str]:
    """The package's files over the limit."""
    found = []
    for _, path in modules():
        name = path.relative_to(ROOT).as_posix()
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > limit:
            found.append(f"{name} has {lines} lines, more than {limit}: split it by concern")
    return found


def test_imports_point_down() -> None:
    found = modules()
    assert len(found) > 5, "the package was not found"
    wrong = [
        problem
        for module, path in found
        for problem in violations(
            module, path.read_text(encoding="utf-8"), package=path.name == "__init__.py"
        )
    ]
    assert not wrong, "\n".join(wrong)


def test_no_imports_go_in_circles() -> None:
    found = modules()
    graph = import_graph(
        {module: path.read_text(encoding="utf-8") for module, path in found},
        [module for module, path in found if path.name == "__init__.py"],
    )
    # Everything is asked of the package itself, which imports everything.
    wrong = circles({module: names - {"gpugrad"} for module, names in graph.items()})
    assert not wrong, "\n".join(" -> ".join([*circle, circle[0]]) for circle in wrong)


def test_every_folder_is_a_package() -> None:
    # A folder without __init__.py is not found by setuptools: it works here and is missing there.
    for _, path in modules():
        assert (path.parent / "__init__.py").exists(), f"{path.parent} has no __init__.py"


def test_files_are_short() -> None:
    wrong = long_files()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["examples", "benchmarks"])
def test_examples_and_benchmarks_use_the_public_api(folder: str) -> None:
    wrong = [
        problem
        for path in sorted((ROOT / folder).rglob("*.py"))
        for problem in public_violations(
            path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        )
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("gpugrad.errors", "import gpugrad.backend", "errors lies below backend"),
        ("gpugrad.backend.device", "from gpugrad.engine import Node", "backend lies below engine"),
        ("gpugrad.engine.node", "from gpugrad import ops", "engine lies below ops"),
        ("gpugrad.engine.node", "from ..tensor import Tensor", "engine lies below tensor"),
        ("gpugrad.ops.shape", "from gpugrad import Tensor", "ops lies below __init__"),
        ("gpugrad.ops.shape", "import gpugrad", "ops lies below __init__"),
        ("gpugrad.tensor.tensor", "def f():\n    from gpugrad.nn import Module", "below nn"),
        (
            "gpugrad.tensor.tensor",
            "if TYPE_CHECKING:\n    from gpugrad.autodiff import grad",
            "tensor lies below autodiff",
        ),
        ("gpugrad.nn.linear", "from gpugrad.cli import main", "nn lies below cli"),
        ("gpugrad.optim.sgd", "import importlib as i; i.import_module('gpugrad.cli')", "below cli"),
        ("gpugrad.engine.node", "from gpugrad.backend import xp", "use namespace_of"),
        ("gpugrad.ops.shape", "from gpugrad.backend.xp import zeros", "use namespace_of"),
        ("gpugrad.ops.shape", "import cupy as cp", "only the backend may"),
        ("gpugrad.random.philox", "def f():\n    import cupy", "only the backend may"),
        (
            "gpugrad.backend.cuda",
            "def f():\n    import gpugrad.kernels",
            "backend lies below kernels",
        ),
        ("gpugrad.engine.op", "from gpugrad.kernels import rows", "kernels is for kernels"),
        (
            "gpugrad.optim.apply",
            "import gpugrad.codegen.operands",
            "codegen is for codegen, compiler, kernels",
        ),
        ("gpugrad.helpers", "import numpy", "is in no layer"),
    ],
)
def test_checker_finds_violations(module: str, source: str, expected: str) -> None:
    problems = violations(module, source)
    assert len(problems) == 1
    assert expected in problems[0]


@pytest.mark.parametrize(
    ("module", "source", "package"),
    [
        ("gpugrad", "from gpugrad.nn import Module", True),
        ("gpugrad.nn", "from .linear import Linear", True),
        ("gpugrad.nn.linear", "from .module import Module\nfrom ..errors import ShapeError", False),
        ("gpugrad.nn.dropout", "from gpugrad.random import bernoulli", False),
        ("gpugrad.tensor.tensor", "from gpugrad.backend import xp", False),
        ("gpugrad.backend.cuda", "def probe():\n    import cupy", False),
        ("gpugrad.cli.doctor", "import gpugrad as gg", False),
    ],
)
def test_checker_lets_downward_imports_pass(module: str, source: str, package: bool) -> None:
    assert violations(module, source, package=package) == []


def test_checker_finds_circles() -> None:
    sources = {
        "gpugrad.a": "from gpugrad import b",
        "gpugrad.b": "def f():\n    import gpugrad.c.d",
        "gpugrad.c": "",
        "gpugrad.c.d": "if TYPE_CHECKING:\n    from ..a import A",
        "gpugrad.e": "from gpugrad.a import A\nfrom gpugrad.c.d import D",
    }
    graph = import_graph(sources, ["gpugrad.c"])
    assert graph["gpugrad.e"] == {"gpugrad.a", "gpugrad.c.d"}
    assert circles(graph) == [["gpugrad.a", "gpugrad.b", "gpugrad.c.d"]]
    assert circles(graph | {"gpugrad.b": set()}) == []


def test_checker_finds_what_is_not_public() -> None:
    assert public_violations("examples/x.py", "import gpugrad as gg\nfrom gpugrad import nn") == []
    for source in ("from gpugrad.engine import Node", "from gpugrad import _binding"):
        assert len(public_violations("examples/x.py", source)) == 1


def test_checker_finds_long_files() -> None:
    assert long_files(limit=1)


def test_test_files_have_names_of_their_own() -> None:
    """pytest takes two of one name, in two folders, for one module, and runs neither."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
