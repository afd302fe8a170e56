"""What is asked of CuPy is there: every name that code takes from it, and every call's arguments.

The sources are read, not run: `cupy.cuda.Stream(non_blocking=True)` is looked up in the wheel,
which needs no GPU for that, and what it is called with is held to its parameters.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from repository import ROOT, load_script

pytest.importorskip("cupy")

FILES = sorted(
    path
    for folder in ("gpugrad", "tests", "benchmarks", "examples", "ci")
    for path in (ROOT / folder).rglob("*.py")
    if "sim" not in path.parts and "cupy" in path.read_text("utf-8")
)

# What a call gives an instance of whose members are asked for.
GIVES = {
    "cupy.cuda.Event": "cupy.cuda.Event",
    "cupy.cuda.Stream": "cupy.cuda.Stream",
    "cupy.cuda.Stream.from_external": "cupy.cuda.Stream",
    "cupy.cuda.get_current_stream": "cupy.cuda.Stream",
    "cupy.get_default_memory_pool": "cupy.cuda.MemoryPool",
    "cupy.get_default_pinned_memory_pool": "cupy.cuda.PinnedMemoryPool",
    "cupy.ElementwiseKernel": "cupy.ElementwiseKernel",
    "cupy.RawKernel": "cupy.RawKernel",
    "cupy.RawModule": "cupy.RawModule",
    **{f"cupy.{n}": "cupy.ndarray" for n in ("asarray", "empty", "ones", "zeros", "from_dlpack")},
}


# What an instance has and its class does not tell of.
OF_INSTANCES = {
    "cupy.cuda.Event().ptr", "cupy.cuda.Stream().ptr", "cupy.cuda.Stream().device_id",
}  # fmt: skip


class Uses(ast.NodeVisitor):
    """The dotted names that a file takes from CuPy, with the calls among them and their lines.

    CuPy is what is imported by that name, looked up by it, or named so as a parameter. A variable
    stands for what was assigned to it last.
    """

    def __init__(self, tree):
        self.known = [{"cupy": "cupy", "cupyx": "cupyx"}]
        self.found = []  # (dotted name, call or None, line)
        self.visit(tree)

    def visit_FunctionDef(self, node):
        self.known.append(dict(self.known[-1]))
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            if argument.arg != "cupy":
                self.known[-1].pop(argument.arg, None)
        self.generic_visit(node)
        self.known.pop()

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.partition(".")[0] in ("cupy", "cupyx"):
                bound = alias.asname or alias.name.partition(".")[0]
                self.known[-1][bound] = alias.name if alias.asname else bound

    def visit_Assign(self, node):
        self.generic_visit(node)
        pairs = [(node.targets[0], node.value)]
        if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(node.targets[0].elts, node.value.elts, strict=False))
        for target, value in pairs:
            if isinstance(target, ast.Name):
                name = self.name_of(value)
                if name is None:
                    self.known[-1].pop(target.id, None)
                else:
                    self.known[-1][target.id] = name

    def visit_Attribute(self, node):
        name = self.name_of(node)
        if name is not None:
            self.found.append((name, None, node.lineno))
        self.generic_visit(node)

    def visit_Call(self, node):
        name = self.name_of(node.func)
        if name is not None and "." in name:
            self.found.append((name, node, node.lineno))
        self.generic_visit(node)

    def name_of(self, node):
        """The dotted name of what an expression gives, if that is of CuPy."""
        if isinstance(node, ast.Name):
            return self.known[-1].get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.name_of(node.value)
            return None if base is None else f"{base}.{node.attr}"
        if isinstance(node, ast.Subscript):  # state["cupy"], sys.modules["cupy"]
            key = getattr(node.slice, "value", None)
            return key if key in ("cupy", "cupyx") else None
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "importorskip"):
                name = getattr(node.args[0], "value", None)
                return name if str(name).partition(".")[0] in ("cupy", "cupyx") else None
            if called == "_cupy":
                return "cupy"
            given = GIVES.get(self.name_of(node.func))
            return None if given is None else f"{given}()"
        return None


class Library:
    """A module that loads only where NVIDIA's libraries are: its names lie in its file."""

    def __init__(self, *paths):
        self.text = b"".join(path.read_bytes() for path in paths)

    def __getattr__(self, name):
        if not re.search(rb"\b%s\b" % name.encode(), self.text):
            raise AttributeError(f"it has no {name}")
        said = re.search(rb"\b%s\([^()\n]*\)" % name.encode(), self.text)
        return SimpleNamespace(__doc__=said and said[0].decode())


def look_up(name):
    """The object of a dotted name; None where it is a member of a value that is not known here.

    AttributeError with what is missing. "cupy.cuda.Stream()" is an instance of the class.
    """
    first, *rest = name.split(".")
    found = importlib.import_module(first)
    for index, part in enumerate(rest):
        a_value = not inspect.ismodule(found) and not isinstance(found, type | Library)
        if a_value and not callable(getattr(found, part, None)):
            return None
        part = part.removesuffix("()")
        path = ".".join([first, *rest[:index], part])
        if path in OF_INSTANCES:
            return None
        try:
            if not hasattr(found, part) and inspect.ismodule(found):
                package = hasattr(found, "__path__")
                if not package or importlib.util.find_spec(path) is None:
                    raise AttributeError(f"{path} does not exist: it has no {part}")
                importlib.import_module(path)
            found = getattr(found, part)
        except (ImportError, UserWarning):  # a warning where CuPy goes without NCCL
            spec = importlib.util.find_spec(path)
            backends = Path(importlib.util.find_spec("cupy_backends.cuda").origin).parent
            own = [Path(spec.origin)] if spec else []
            found = Library(*own, *backends.glob(f"libs/{part}.*"))
    return found


@functools.cache
def script():
    return load_script("cupy_signatures")


def parameters(function):
    """The signature of a function of CuPy's, also of one that tells it in its docstring alone."""
    text = script().parameters(function)
    if text is None:
        return None
    plain = [part.partition("=")[0] + "=None" * ("=" in part) for part in text[1:-1].split(", ")]
    try:
        return inspect.signature(eval(f"lambda {', '.join(plain)}: 0"))
    except SyntaxError:  # a default with a comma in it
        return None


def mistakes(source):
    """What is wrong with what a source takes from CuPy, a line for each."""
    wrong = []
    for name, call, line in Uses(ast.parse(source)).found:
        try:
            found = look_up(name)
        except AttributeError as error:
            wrong.append(f"line {line}: {name}: {error}")
            continue
        known = call is not None and found is not None and not name.endswith("()")
        if not known or any(isinstance(a, ast.Starred) for a in call.args):
            continue
        signature = parameters(found)
        words = [word.arg for word in call.keywords]
        if signature is None or None in words:
            continue
        unbound = ["self"] * name.rpartition(".")[0].endswith("()")
        try:
            signature.bind(*unbound, *call.args, **dict.fromkeys(words))
        except TypeError as error:
            wrong.append(f"line {line}: {name}{signature}: {error}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_and_arguments_are_cupy_s(path):
    assert mistakes(path.read_text("utf-8")) == []


def test_enough_is_found():
    names = {n for path in FILES for n, _, _ in Uses(ast.parse(path.read_text("utf-8"))).found}
    assert {
        "cupy.RawKernel", "cupy.ElementwiseKernel", "cupy.cuda.runtime.deviceSynchronize",
        "cupy.cuda.MemoryPool().used_bytes", "cupy.cuda.Stream.from_external", "cupy.ndarray",
        "cupy._core._routines_linalg.compute_type_to_str", "cupyx.empty_pinned",
        "cupy.cuda.cublas.gemmStridedBatchedEx",
    } <= names  # fmt: skip


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import cupy\ncupy.cuda.Streem()", "line 2: cupy.cuda.Streem: "),
        ("def f(cupy):\n    pool = cupy.get_default_memory_pool()\n    pool.use()", "use"),
        ("import cupy\ncupy.asarray([1], device=0)", "unexpected keyword argument 'device'"),
        ("import cupy as c\nc.cuda.Event(blocking=True)", "unexpected keyword argument 'blocking'"),
        ("import cupyx\ncupyx.scipy.nothing", "cupyx.scipy.nothing does not exist"),
        ("import cupy\ncupy.cuda.cublas.gemmBatched", "it has no gemmBatched"),
        ("import cupy\ncupy.cuda.cublas.create(3)", "too many positional arguments"),
    ],
)
def test_a_mistake_is_found(source, said):
    assert said in mistakes(source)[0]
