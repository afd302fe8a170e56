"""Writes docs/ops.md and docs/coverage.md from the op table.

    python ci/reference.py            # rewrite them
    python ci/reference.py --check    # say whether they are current, change nothing

The formulas of the derivatives are the rules' own source, without ``xp.``. Coverage is measured
against the names in ci/coverage_names.json.
tests/repository/test_reference.py holds both documents current.
"""

import importlib
import inspect
import json
import operator
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

from generated import write_or_check  # noqa: E402

import gpugrad as gg  # noqa: E402
from gpugrad.backend import sim  # noqa: E402
from gpugrad.backend.namespace import namespace_of  # noqa: E402
from gpugrad.engine.op import TABLE, Op  # noqa: E402
from gpugrad.functions.bind import MEMBERS, NUMPY_FUNCTIONS, PUBLIC  # noqa: E402
from gpugrad.inspect.rules import formula, gradient, is_of_a_mask, named_part  # noqa: E402
from gpugrad.ops.elementwise import zero  # noqa: E402

NAMES = ROOT / "ci" / "coverage_names.json"
# The submodules of gpugrad with functions, in the order of the documents.
PARTS = ("linalg", "fft", "special")

# Functions that gpugrad leaves out, by the reason.
LEFT_OUT = {
    "Files, text and printing; `gg.save` and `gg.load` are gpugrad's own.": (
        "array2string base_repr binary_repr format_float_positional format_float_scientific "
        "fromfile fromregex fromstring genfromtxt get_printoptions info load loadtxt "
        "printoptions save savetxt savez savez_compressed set_printoptions"
    ),
    "The settings of NumPy itself.": (
        "get_include getbufsize geterr geterrcall setbufsize seterr seterrcall show_config "
        "show_runtime test"
    ),
    "The layout of memory, which a Tensor does not show.": (
        "asanyarray asarray_chkfinite ascontiguousarray asfortranarray frombuffer isfortran "
        "may_share_memory nested_iters require shares_memory"
    ),
    "Changes in place of memory: write `t[i] = v`, or `t.at[i]` for a new tensor.": (
        "copyto place put putmask"
    ),
    "Dates, matrices of class `numpy.matrix`, old tables of types.": (
        "asmatrix bmat busday_count busday_offset common_type datetime_as_string datetime_data "
        "is_busday isnat issubdtype mintypecode min_scalar_type typename"
    ),
    "`gg.tensor` and `gg.asarray` make tensors of data, and differ in their dtypes.": "array",
    "Python functions element by element: no derivative can be seen through them.": (
        "frompyfunc fromiter"
    ),
}


# ---------------------------------------------------------------- formulas


def rules(op: Op) -> list[types.FunctionType]:
    own: list[Any] = [r for r in (*(op.vjps or ()), op.joint, op.jvp) if r is not None]
    return [rule.mask if is_of_a_mask(rule) else rule for rule in own]


def written_out(ops: Iterable[Op]) -> list[types.FunctionType]:
    """The functions with a name that are rules of these ops or used there, after their users."""
    functions: list[types.FunctionType] = []
    to_do = [rule for op in ops for rule in rules(op)]
    seen = [zero]
    while to_do:
        function = to_do.pop(0)
        if function in seen or not function.__module__.startswith("gpugrad.ops"):
            continue
        seen.append(function)
        if function.__name__ != "<lambda>":
            functions.append(function)
        names = [*_names(function.__code__)]
        used = [function.__globals__.get(name) for name in names] + [*map(named_part, names)]
        to_do += [f for f in used if isinstance(f, types.FunctionType)]
    return functions


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


# ---------------------------------------------------------------- docs/ops.md


def signature(function: Callable[..., Any]) -> str:
    """A signature without its types; ``...`` for a default that is not a simple value."""
    whole = function if isinstance(function, inspect.Signature) else inspect.signature(function)
    shown = (type(None), bool, int, float, str, tuple)
    return str(
        whole.replace(
            parameters=[
                p.replace(
                    annotation=p.empty,
                    default=p.default
                    if p.default is p.empty or isinstance(p.default, shown)
                    else Ellipsis,
                )
                for p in whole.parameters.values()
            ],
            return_annotation=whole.empty,
        )
    ).replace("Ellipsis", "...")


def sentence(function: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0].split())


def family(ops: Iterable[Op]) -> dict[str, list[Op]]:
    """Ops by their module, in the order of the table."""
    families: dict[str, list[Op]] = {}
    module = ""
    for op in ops:
        own = [f for f in (*rules(op), op.forward) if f is not None and f is not zero]
        if own and own[0].__module__ != module:  # an op without functions belongs to the one before
            module = own[0].__module__
        families.setdefault(module, []).append(op)
    return dict(sorted(families.items()))


def public(name: str) -> tuple[str, Callable[..., Any] | None]:
    """An op's public name and function; None where only rules use it."""
    for module in TABLE[name].public:
        home = gg if module == "gg" else operator.attrgetter(module)(gg)
        return _dotted("gg", module.removeprefix("gg"), name), getattr(home, name)
    return name, None


def orders(op: Op) -> str:
    if not op.differentiable:
        return "none"
    return "every; all are 0" if all(rule is zero for rule in rules(op)) else "every"


def namespaces(op: Op) -> str:
    """The namespaces that have the op, and whether natively."""
    has = {"NumPy": namespace_of(np.ones(1)), "CuPy, sim": namespace_of(sim.ones(1))}
    names = ", ".join(name for name, xp in has.items() if getattr(xp, op.name, None))
    return names if op.native else f"{names} (a formula)"


def notes(op: Op) -> str:
    parts = []
    shown, function = public(op.name)
    if function is None:
        parts.append("used inside of gpugrad")
    if (names := aliases(op.name)) and shown == f"gg.{op.name}":
        parts.append("also " + ", ".join(names))
    if op.name in MEMBERS:
        parts.append("a method too")
    if op.outputs:
        parts.append("several outputs")
    if op.kind != "general":
        parts.append(op.kind)
    if op.jvp is not None:
        parts.append(f"forward mode: {formula(op, op.jvp, 3)}")
    if op.chooses:
        parts.append("chooses")
    if op.differentiable and op.complex != "refused":
        parts.append("complex too" if op.complex == "same" else "complex too, conjugated")
    if op.checks.differs is not None:
        parts.append(f"devices differ: {sentence(op.checks.differs).rstrip('.')}")
    return "; ".join(parts)


def aliases(name: str) -> list[str]:
    """Other names in gpugrad for one of its functions."""
    return sorted(f"`{n}`" for n, f in PUBLIC.items() if f is PUBLIC.get(name) and n != name)


def row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(*titles: str) -> list[str]:
    return [row(*titles), "|" + "---|" * len(titles)]


def title(module: str) -> str:
    """The first sentence of a module's docstring, as the head of its section."""
    return re.split(r"(?<=[^.])\. ", sentence(importlib.import_module(module)))[0].rstrip(".")


def path(module: str) -> str:
    """The file of a module, from the root of the repository."""
    return Path(inspect.getfile(importlib.import_module(module))).relative_to(ROOT).as_posix()


HEAD_OF_OPS = """\
# Functions and their derivatives

Written by `ci/reference.py` from the op table; do not edit.

A rule computes a derivative from `g`, the gradient of the output `y`: the product of `g` with the
Jacobian. `a: g * b` is the rule of the operand `a`. Where operands were broadcast, its result is
summed to their shape. Rules consist of functions of the table, so a derivative can be
differentiated again: "every" order. At a singular point it is infinite or NaN. "chooses": elements
that the op left out have the gradient 0 by choice, and that 0 stays 0 through every op before it.

An op runs on NumPy arrays, on CuPy arrays, and on `sim`, which has CuPy's functions. "(a formula)":
it is composed of their functions, since not all of them have it.

Forward mode of an elementwise or linear op uses the same rule; the rule of any other is transposed,
unless a note gives a forward rule.

"complex too": the rule holds for complex numbers as it is written; "conjugated": over complex
numbers it is applied to the conjugate of `g`, and its result conjugated, which multiplies `g` with
the conjugate of the derivative. All others raise for complex numbers that need a gradient.
"""


def ops_document() -> str:
    lines = [HEAD_OF_OPS]
    helpers = written_out(TABLE.values())
    for module, ops in family(TABLE.values()).items():
        lines += [f"## {title(module)}\n", f"From `{path(module)}`.\n"]
        lines += table("function", "gives", "gradient", "orders", "namespaces", "notes")
        for op in ops:
            name, function = public(op.name)
            shown = signature(op.signature if function is None else function)
            cells = gradient(op), orders(op), namespaces(op), notes(op)
            lines.append(row(f"`{name}{shown}`", " ".join(op.doc.split()), *cells))
        lines.append("")
        written = [f for f in helpers if f.__module__ == module]
        if written:
            source = "\n\n\n".join(inspect.getsource(f).strip() for f in written)
            lines += ["The rules that take more than a line:\n", f"```python\n{source}\n```\n"]
    return "\n".join([*lines, *made_of_ops()]).rstrip() + "\n"


def made_of_ops() -> list[str]:
    """The functions that are written with those of the table."""
    by_module: dict[str, dict[str, Callable[..., Any]]] = {}
    for name, function in PUBLIC.items():
        if name not in TABLE and function.__name__ == name:
            by_module.setdefault(inspect.unwrap(function).__module__, {})[f"gg.{name}"] = function
    for part in PARTS:
        module = getattr(gg, part, None)
        for name in getattr(module, "__all__", ()):
            function = getattr(module, name)
            if name not in TABLE and not isinstance(function, type) and callable(function):
                by_module.setdefault(module.__name__, {})[f"gg.{part}.{name}"] = function
    lines = [
        "## Functions made of these\n",
        "They have no rule of their own, and derivatives of every order from the functions that "
        "they\nare made of, where there are any.\n",
    ]
    for module, functions in sorted(by_module.items()):
        lines += [f"From `{path(module)}`.\n", *table("function", "gives")]
        for name, function in sorted(functions.items()):
            also = ", ".join(aliases(name.removeprefix("gg.")))
            doc = f"{sentence(function)} Also {also}." if also else sentence(function)
            lines.append(row(f"`{name}{signature(function)}`", doc))
        lines.append("")
    return lines


# ---------------------------------------------------------------- docs/coverage.md

HEAD_OF_COVERAGE = """\
# Coverage

Written by `ci/reference.py`; do not edit. The names are those of
{versions},
kept in `ci/coverage_names.json`: the public functions of `numpy` and `jax.numpy`, with their
`linalg` and `fft`, and those to which autograd gives a derivative.

A function is covered where gpugrad has it under the same name, or NumPy's function of that name
takes a Tensor.
"""


def covered(part: str, name: str) -> str:
    """The call of a function in gpugrad: ``gg.name``, ``np.name(tensor)``, or "" for none."""
    home = getattr(gg, part, None) if part else gg
    if callable(getattr(home, name, None)):
        return f"`{_dotted('gg', part, name)}`"
    native = getattr(getattr(np, part) if part else np, name, None)
    if native is not None and not isinstance(native, np.ufunc) and native in NUMPY_FUNCTIONS:
        return f"`{_dotted('np', part, name)}`, of a Tensor"
    return ""


def _dotted(*names: str) -> str:
    return ".".join(name for name in names if name)


def coverage_document() -> str:
    libraries: dict[str, Any] = json.loads(NAMES.read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {one['version']}" for name, one in libraries.items())
    lines = [HEAD_OF_COVERAGE.format(versions=versions)]
    reasons = {name: reason for reason, names in LEFT_OUT.items() for name in names.split()}
    parts = list(next(iter(libraries.values()))["names"])
    everything = {
        part: sorted({name for one in libraries.values() for name in one["names"][part]})
        for part in parts
    }
    state = {
        (part, name): "left out" if name in reasons else covered(part, name) or "**missing**"
        for part, names in everything.items()
        for name in names
    }

    lines += table("library", "functions", "covered", "left out", "missing")
    for library, one in libraries.items():
        for part, names in one["names"].items():
            states = [state[part, name] for name in names]
            out, missing = states.count("left out"), states.count("**missing**")
            known = len(names) - out - missing
            shown = _dotted(library, part)
            lines.append(row(shown, *(str(n) for n in (len(names), known, out, missing))))
    lines += ["", "## Missing\n"]
    lines += table("function", *libraries)
    has = {
        (part, name): ["yes" if name in one["names"][part] else "" for one in libraries.values()]
        for part, name in state
    }
    missing = [key for key, cell in state.items() if cell == "**missing**"]
    lines += [row(f"`{_dotted(*key)}`", *has[key]) for key in missing]
    lines += ["", "## Left out\n"]
    for reason, names in LEFT_OUT.items():
        shown = [f"`{name}`" for name in sorted(names.split())]
        lines.append(f"- {reason} {', '.join(shown)}")
    lines += ["", "## All\n", *table("function", "gpugrad", *libraries)]
    lines += [row(f"`{_dotted(*key)}`", cell, *has[key]) for key, cell in state.items()]
    return "\n".join(lines) + "\n"


DOCUMENTS = {"docs/ops.md": ops_document, "docs/coverage.md": coverage_document}


def main() -> int:
    return write_or_check(ROOT, DOCUMENTS, __doc__, "ci/reference.py")


if __name__ == "__main__":
    sys.exit(main())
