"""The reference: every public name with its signature, docstring and gradient, as Markdown pages.

Names are bound at import from the op table and from tables of names, so the pages are made by
asking the objects, not by reading their source.
"""

import functools
import importlib
import inspect
import operator
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "ci")]

import reference  # noqa: E402

import gpugrad as gg  # noqa: E402
from gpugrad.engine.op import TABLE, Op  # noqa: E402
from gpugrad.functions.bind import PUBLIC  # noqa: E402

__all__ = ["entries", "pages"]


class Part(NamedTuple):
    """One page: what it is called, what it is about, and its names, from ``gg`` on."""

    title: str
    about: str
    names: list[str]


# Public modules with a page of their own, by the titles of the pages.
MODULES = {
    "linalg": "Linear algebra", "fft": "Fourier transforms", "special": "Special functions",
    "random": "Random numbers", "nn": "Layers and losses", "nn.functional": "Layers as functions",
    "nn.init": "Initialization", "nn.utils": "Utilities for parameters", "optim": "Optimizers",
    "optim.lr_scheduler": "Learning rates", "optim.swa_utils": "Averages of weights",
    "data": "Data sets and batches", "training": "The training loop", "metrics": "Metrics",
    "inspect": "Inspecting", "io": "Saving and loading", "plot": "Pictures",
    "sklearn": "Estimators for scikit-learn", "backend": "Devices and namespaces",
    "parallel": "Several processes",
    "errors": "Errors",
}  # fmt: skip
TRANSFORMS = ("vmap", "compile", "functional_call", "stack_parameters")


@functools.cache
def parts() -> dict[str, Part]:
    """The pages by their names; a public object is on one page, under its shortest name."""
    at_the_top = [name for name in gg.__all__ if is_documented(getattr(gg, name))]
    functions = sorted(name for name in at_the_top if name in PUBLIC)
    transforms = sorted({*gg.autodiff.__all__, *TRANSFORMS} & {*at_the_top})
    made: dict[str, Part] = {}
    shown = {id(getattr(gg, name)) for name in (*functions, *transforms)}
    for module in sorted(MODULES, key=lambda name: -name.count(".")):  # the innermost first
        home = attribute(f"gg.{module}")
        own = [n for n in home.__all__ if is_documented(getattr(home, n))]
        own = [n for n in own if id(getattr(home, n)) not in shown]
        shown |= {id(getattr(home, n)) for n in own}
        names = [
            f"gg.{n}" if getattr(gg, n, None) is getattr(home, n) else f"gg.{module}.{n}"
            for n in sorted(own, key=str.lower)
        ]
        about = re.sub(r" (This module imports|Imports) .*", "", reference.sentence(home))
        made[module] = Part(MODULES[module], about, names)
    rest = sorted(name for name in at_the_top if id(getattr(gg, name)) not in shown)
    first = {
        "tensors": Part(
            "Tensors and modes",
            "The array that remembers how it was computed, ways to make one, and what holds within "
            "a `with` block.",
            [f"gg.{name}" for name in rest],
        ),
        "functions": Part(
            "Functions of arrays",
            "Under the names of NumPy and of the Array API standard; most are methods too.",
            [f"gg.{name}" for name in functions],
        ),
        "transforms": Part(
            "Function transforms",
            "Functions in, functions out, under JAX's names.",
            [f"gg.{name}" for name in transforms],
        ),
    }
    return first | {module: made[module] for module in MODULES}


def is_documented(thing: Any) -> bool:
    """Whether a public name is gpugrad's own: no module, no dtype or constant of NumPy."""
    home = getattr(inspect.unwrap(thing) if callable(thing) else thing, "__module__", None) or ""
    return not isinstance(thing, ModuleType) and home.startswith("gpugrad")


def attribute(name: str) -> Any:
    """What has a name such as ``gg.nn.Linear``."""
    name = name.removeprefix("gg.")
    try:
        return operator.attrgetter(name)(gg)
    except AttributeError:
        return importlib.import_module(f"gpugrad.{name}")


@functools.cache
def entries() -> dict[str, str]:
    """The page of every name."""
    return {name: page for page, part in parts().items() for name in part.names}


def pages() -> Iterator[tuple[str, str]]:
    """The pages' paths and Markdown."""
    rows = reference.table("page", "names", "about")
    for page, part in parts().items():
        link = f"[{part.title}]({page}.md)"
        rows.append(reference.row(link, str(len(part.names)), linked(prose(part.about), "")))
        body = "\n\n".join(entry(name) for name in part.names)
        yield f"reference/{page}.md", f"# {part.title}\n\n{prose(part.about)}\n\n{body}\n"
    head = "# Reference\n\nEvery public name, with what it takes, returns and raises.\n\n"
    also = "\n\nThe [table of ops](../ops.md) has all derivatives on one page.\n"
    yield "reference/index.md", head + "\n".join(rows) + also


def entry(name: str) -> str:
    """One name: its signature, docstring, gradient and members."""
    thing = attribute(name)
    parts = [f"## {name} {{ #{name} }}"]
    if callable(thing):
        call = textwrap.fill(name + signature(thing), 84, subsequent_indent="    ")
        parts.append(f"```python\n{call}\n```")
    parts.append(linked(docstring(inspect.getdoc(thing) or ""), name))
    op = op_of(thing)
    if op is not None and op.differentiable:
        gradient = reference.gradient(op).replace(", below", " ([written out](../ops.md))")
        parts.append(f"Gradient: {gradient}")
    if isinstance(thing, type):
        parts.append(members(thing))
    return "\n\n".join(filter(None, parts))


def op_of(thing: Any) -> Op | None:
    """The op whose public function something is."""
    name = getattr(thing, "__name__", None)
    return TABLE.get(name) if name in PUBLIC and PUBLIC[name] is thing else None


def signature(thing: Any) -> str:
    """A signature without types, or none where Python knows none."""
    try:
        return reference.signature(thing)
    except ValueError:
        return "(...)"


def signature_of_method(function: Any) -> str:
    """A method's signature as a caller writes it, without the object."""
    whole = inspect.signature(function)
    _, *rest = whole.parameters.values()
    return signature(whole.replace(parameters=rest))


@functools.cache
def public_classes() -> set[type]:
    """All classes of the reference."""
    return {thing for thing in map(attribute, entries()) if isinstance(thing, type)}


def members(cls: type) -> str:
    """The methods and attributes that a class does not have from another public one."""
    own: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is not cls and (base in public_classes() or not is_documented(base)):
            break
        own = {n: m for n, m in vars(base).items() if not n.startswith("_")} | own
    rows = []
    for name, member in sorted(own.items()):
        if isinstance(member, property):
            shown = name
        elif isinstance(member, staticmethod):
            shown = name + signature(member)
        elif inspect.isfunction(member) or isinstance(member, classmethod):
            shown = name + signature_of_method(getattr(member, "__func__", member))
        else:
            continue
        if does := reference.sentence(member):
            rows.append(reference.row(f"`{shown}`", linked(prose(does), "")))
    return "\n".join([*reference.table("member", "does"), *rows]) if rows else ""


# ---------------------------------------------------------------- docstrings as Markdown


def docstring(text: str) -> str:
    """A docstring as Markdown: its sessions in fences, its prose without accidental markup."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        start = next((i for i, line in enumerate(lines) if line.lstrip().startswith(">>>")), None)
        if start is None:
            blocks.append(prose(block))
            continue
        if start:
            blocks.append(prose("\n".join(lines[:start])))
        session = inspect.cleandoc("\n".join(["", *lines[start:]]))
        blocks.append(f"```pycon\n{session}\n```")
    return "\n\n".join(blocks)


def prose(text: str) -> str:
    """Text whose asterisks and angle brackets mean themselves, but for those in code and lists."""
    pieces = re.split(r"(``.*?``|`[^`]*`)", text, flags=re.DOTALL)
    for i in range(0, len(pieces), 2):
        escaped = re.sub(r"(?<!\n)\*(?! \w)|(?<=\S )\*", r"\\*", pieces[i])
        pieces[i] = escaped.replace("<", "&lt;")
    return "".join(pieces)


def linked(text: str, name: str) -> str:
    """Markdown in which a name of the reference in single backticks is a link to its entry."""
    known, home = entries(), name.rpartition(".")[0]

    def link(match: re.Match[str]) -> str:
        words = match[1].replace("gpugrad.", "gg.", 1)
        target = next((n for n in (words, f"{home}.{words}", f"gg.{words}") if n in known), None)
        if match[0].startswith("```") or target is None or target == name:
            return match[0]
        return f"[`{match[1]}`]({known[target]}.md#{target})"

    # Fences and double backticks come first, so that single ones within them are not seen.
    return re.sub(r"```.*?```|``.*?``|`([\w.]+)`", lambda m: link(m) if m[1] else m[0], text,
                  flags=re.DOTALL)  # fmt: skip
