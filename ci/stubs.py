"""Writes the type stubs of names made at run time, from the op table.

    python ci/stubs.py            # rewrite the stubs
    python ci/stubs.py --check    # say whether they are current, change nothing

``gpugrad/__init__.pyi`` has the functions and every other public name,
``gpugrad/tensor/members.pyi`` the methods, properties and operators of Tensor,
``gpugrad/nn/__init__.pyi`` and ``functional.pyi`` the activations, they and
``gpugrad/optim/__init__.pyi`` the names that are imported when they are used,
``gpugrad/random/__init__.pyi`` the draws, and
``gpugrad/functions/special_ops.pyi`` the special functions. Run it after a new op or signature;
tests/repository/test_stubs.py holds the stubs current.
"""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

from generated import write_or_check  # noqa: E402

import gpugrad as gg  # noqa: E402
from gpugrad.engine.op import TABLE, Op  # noqa: E402
from gpugrad.functions import special_ops  # noqa: E402
from gpugrad.functions.bind import MEMBERS, PUBLIC  # noqa: E402
from gpugrad.nn import activations  # noqa: E402
from gpugrad.nn.activations import Activation  # noqa: E402
from gpugrad.nn.layer import Layer  # noqa: E402
from gpugrad.nn.padding_layers import Pad  # noqa: E402
from gpugrad.tensor import members  # noqa: E402

HEAD = '''"""{doc}

Written by ci/stubs.py from the op table; do not edit.
"""
'''

# Defaults that a stub can show.
PLAIN = bool | int | float | str

# The types of an op's parameters: by the name, else by the type of a plain default.
PARAMETERS = {
    "axis": "_Axis",
    "dtype": "numpy.typing.DTypeLike",
    "shape": "typing.SupportsIndex | collections.abc.Sequence[typing.SupportsIndex]",
}
AXIS = "_Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None\n"

# A dotted name in an annotation: the part before the last dot is imported.
DOTTED = re.compile(r"\b(\w+(?:\.\w+)*)\.(\w+)")

# The one built-in type whose name means something else in the Array API standard.
SHADOWED = re.compile(r"(?<![\w.])(bool)\b")


class Stub:
    """The source of a stub file, and its imports."""

    def __init__(self, doc: str, own: Sequence[str] = ()) -> None:
        self.doc = doc
        self.own = own  # names that mean something else in this file than in Python
        self.imports: dict[str, str] = {}  # name: module
        self.body: list[str] = []

    def text(self) -> str:
        """The whole file, linted and formatted."""
        alias = AXIS if any("_Axis" in part for part in self.body) else ""
        if alias:
            self.imports |= {"SupportsIndex": "typing", "TypeAlias": "typing"}
        lines = [f"from {module} import {name}\n" for name, module in self.imports.items()]
        if any(f"builtins.{name}" in part for name in self.own for part in self.body):
            lines.append("import builtins\n")
        text = HEAD.format(doc=self.doc) + "".join(lines) + alias + "".join(self.body)
        return ruff("format", ruff("check", text, "--fix-only", "--select", "I,RUF022"))

    def reexport(self, path: str, names: Sequence[str]) -> None:
        """Import these names from the modules that the file at ``path`` imports them from."""
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module = importlib.import_module(node.module or "")
                    own = module.__all__ if alias.name == "*" else [alias.name]
                    self.imports |= {name: module.__name__ for name in own if name in names}

    def function(self, name: str, function: Callable[..., Any], method: bool = False) -> str:
        """A function's declaration; as a method, its first parameter is ``self``."""
        signature = inspect.signature(function)
        parameters = [
            p.replace(annotation=self.hint(p, op_of(function)), default=default(p))
            for p in signature.parameters.values()
        ]
        op = op_of(function)
        if op is not None and "nn.functional" in op.public and "axis" in op.parameters:
            axis = self.source(PARAMETERS["axis"])
            parameters.append(
                inspect.Parameter(
                    "dim", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=axis
                )
            )
        if method:
            parameters[0] = parameters[0].replace(name="self", annotation=inspect.Parameter.empty)
        signature = inspect.Signature(parameters, return_annotation=self.returned(name, function))
        # Tensors are compared element by element; `object` promises one bool.
        ignored = "  # type: ignore[override]" if name in ("__eq__", "__ne__") else ""
        return f"def {name}{signature}:{ignored}\n{documented(function)}"

    def hint(self, parameter: inspect.Parameter, op: Op | None) -> "Source":
        """The type of a parameter; Any for an op's operand."""
        if op is None or parameter.annotation not in (parameter.empty, Any):
            return self.source(parameter.annotation)
        if parameter.name in op.arrays:
            return self.source(Any)
        if parameter.name in op.smooth:  # a number, or an operand
            return self.source(float | gg.Tensor)
        if parameter.name in PARAMETERS:
            return self.source(PARAMETERS[parameter.name])
        return self.source(type(parameter.default) if isinstance(parameter.default, PLAIN) else Any)

    def returned(self, name: str, function: Callable[..., Any]) -> "Source":
        op = op_of(function)
        if op is not None:
            return self.source(tuple[gg.Tensor, ...] if op.outputs else gg.Tensor)
        annotation = inspect.signature(function).return_annotation
        if annotation is inspect.Signature.empty:
            raise TypeError(f"{name}: expected a function with a return annotation")
        return self.source(annotation)

    def source(self, annotation: Any) -> "Source":
        """An annotation as source, with its names imported."""
        if annotation is None:
            annotation = "None"
        elif type(annotation) is type:
            annotation = f"{annotation.__module__}.{annotation.__qualname__}"
        text = annotation if isinstance(annotation, str) else repr(annotation)

        def imported(match: re.Match[str]) -> str:
            if match[1] != "builtins":
                self.imports.setdefault(match[2], match[1])
            return match[2]

        text = DOTTED.sub(imported, text)
        return Source(SHADOWED.sub(r"builtins.\1", text) if "bool" in self.own else text)


class Source(str):
    """Source text that prints as it is in a signature."""

    __repr__ = str.__str__


def default(parameter: inspect.Parameter) -> Any:
    """A parameter's default; ``...`` for a value that a stub cannot show."""
    value = parameter.default
    shown = value is None or value is parameter.empty or isinstance(value, PLAIN)
    return value if shown else Source("...")


def op_of(function: Callable[..., Any]) -> Op | None:
    """The op that a function was bound from; None for an ordinary function."""
    own = function.__module__ == "gpugrad" and not hasattr(function, "__wrapped__")
    return TABLE[function.__name__] if own else None


def documented(function: Any) -> str:
    """A stub's body: the first paragraph of the docstring."""
    summary = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
    if not summary:
        return "    ...\n"
    quotes = 'r"""' if "\\" in summary else '"""'
    text = "\n".join(textwrap.wrap(quotes + summary, 90))
    apart = "\n" if "\n" in text or text.endswith('"') else ""
    return textwrap.indent(f'{text}{apart}"""\n', "    ")


def ruff(command: str, text: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", command, *options, "--stdin-filename", "stub.pyi", "-"],
        input=text, cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    if done.returncode:
        wanted = "`ci/test --only lint` makes .venv with ruff in it"
        raise SystemExit(f"ruff {command}: {done.stderr.strip()}; {wanted}")
    return done.stdout


def members_stub() -> str:
    """gpugrad/tensor/members.pyi."""
    stub = Stub("The methods, properties and operators of `Tensor` from the op table.")
    methods = {}
    stub.body.append(f"class Members:\n    {documented(members.Members).strip()}\n")
    for name, member in MEMBERS.items():
        if isinstance(member, property):
            returned = stub.returned(name, member.fget)
            noqa = "" if name.islower() else "  # noqa: N802"
            text = f"@property\ndef {name}(self) -> {returned}:{noqa}\n{documented(member)}"
        elif member in methods and not name.startswith("__"):
            text = f"{name} = {methods[member]}\n"
        else:
            text = stub.function(name, member, method=True)
            if not name.startswith("__"):
                methods[member] = name
        stub.body.append(textwrap.indent(text, "    "))
    return stub.text()


def package_stub() -> str:
    """gpugrad/__init__.pyi."""
    stub = Stub((gg.__doc__ or "").partition("\n")[0], own=gg.__all__)
    exported = [name for name in gg.__all__ if is_available(name)]
    stub.reexport("gpugrad/__init__.py", exported)
    for name, where in gg._LAZY.items():
        if name in exported:
            stub.imports[name] = "gpugrad" if where == f"gpugrad.{name}" else where
    stub.body.append(f"__all__ = {exported}\n__version__: str\n__array_api_version__: str\n")
    stub.body.append("bfloat16: type[Any]  # of ml_dtypes, where that is installed\n\n")
    named: dict[Any, str] = {}
    aliases_last = sorted(PUBLIC.items(), key=lambda item: item[0] != item[1].__name__)
    for name, function in aliases_last:
        if function in named:
            stub.body.append(f"{name} = {named[function]}\n")
        else:
            stub.body.append(stub.function(name, function))
            named[function] = name
    return stub.text()


def nn_stub() -> str:
    """gpugrad/nn/__init__.pyi."""
    stub = Stub((gg.nn.__doc__ or "").partition("\n")[0])
    stub.imports |= {**gg.nn._LAZY, "Any": "typing", "Tensor": "gpugrad.tensor"}
    stub.imports["Module"] = "gpugrad.nn.module"
    stub.body.append(f"__all__ = {gg.nn.__all__}\n")
    for name in gg.nn.__all__:
        module = getattr(gg.nn, name)
        if not inspect.isclass(module) or not issubclass(module, Activation | Layer | Pad):
            continue
        stub.imports.pop(name, None)
        lines = [documented(module)]
        own, *parameters = inspect.signature(module.__init__).parameters.values()
        op = module.op if issubclass(module, Activation) else None
        parameters = [p.replace(annotation=stub.hint(p, op)) for p in parameters]
        lines += [f"    {p.name}: {p.annotation}\n" for p in parameters]
        if parameters:
            init = inspect.Signature([own, *parameters], return_annotation=None)
            lines.append(f"    def __init__{init}: ...\n")
        own, *inputs = inspect.signature(module.forward).parameters.values()
        called = inspect.Signature([own.replace(annotation=own.empty), *inputs])
        lines.append(f"    def forward{str(called).replace('typing.', '')} -> Tensor: ...\n")
        stub.body.append(f"class {name}(Module):\n{''.join(lines)}")
    return stub.text()


def functional_stub() -> str:
    """gpugrad/nn/functional.pyi."""
    functional = gg.nn.functional
    stub = Stub((functional.__doc__ or "").partition("\n")[0])
    stub.imports |= {**functional._LAZY, **dict.fromkeys(activations.FUNCTIONS, "gpugrad")}
    stub.body.append(f"__all__ = {functional.__all__}\n")
    return stub.text()


def optim_stub() -> str:
    """gpugrad/optim/__init__.pyi."""
    stub = Stub((gg.optim.__doc__ or "").partition("\n")[0])
    stub.imports |= {**gg.optim._LAZY, "Optimizer": "gpugrad.optim.optimizer"}
    stub.body.append(f"__all__ = {gg.optim.__all__}\n")
    return stub.text()


def random_stub() -> str:
    """gpugrad/random/__init__.pyi."""
    stub = Stub((gg.random.__doc__ or "").partition("\n")[0])
    stub.imports["Generator"] = "gpugrad.random.generator"
    stub.body.append(f"__all__ = {gg.random.__all__}\n")
    for name in gg.random.__all__:
        if name != "Generator":
            stub.body.append(stub.function(name, getattr(gg.random, name)))
    return stub.text()


def special_stub() -> str:
    """gpugrad/functions/special_ops.pyi."""
    stub = Stub("The functions of `gpugrad.special` that are ops of the table as they stand.")
    stub.body.append(f"__all__ = {special_ops.__all__}\n")
    for name in special_ops.__all__:
        stub.body.append(stub.function(name, getattr(special_ops, name)))
    return stub.text()


def is_available(name: str) -> bool:
    """Whether a public name can be imported; a lazy one may need a package that is missing."""
    try:
        getattr(gg, name)
    except (AttributeError, ImportError) as error:
        print(f"left out: gpugrad.{name} ({error})", file=sys.stderr)
        return False
    return True


STUBS = {
    "gpugrad/__init__.pyi": package_stub,
    "gpugrad/functions/special_ops.pyi": special_stub,
    "gpugrad/nn/__init__.pyi": nn_stub,
    "gpugrad/nn/functional.pyi": functional_stub,
    "gpugrad/optim/__init__.pyi": optim_stub,
    "gpugrad/random/__init__.pyi": random_stub,
    "gpugrad/tensor/members.pyi": members_stub,
}


def main() -> int:
    return write_or_check(ROOT, STUBS, __doc__, "ci/stubs.py")


if __name__ == "__main__":
    sys.exit(main())
