"""The lines of an explanation as LaTeX, for notebooks. Imports nothing.

In the lines each name is one character of a private area of Unicode (`marks`), so that what is
inside a name is never read as mathematics.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["aligned", "marks"]

_FIRST = 0xF0000
_MOST = 0x1FFFD  # characters of the two private planes, without what is no character
_MARK = "[\U000f0000-\U0010fffd]"
_FUNCTIONS = set("sin cos tan sinh cosh tanh exp log det max min arcsin arccos arctan".split())
_RAISED = {raised: plain for plain, raised in zip("0123456789()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾")}
_SIGNS = {
    "·": r"\cdot ", "×": r"\times ", "→": r"\to ", "…": r"\ldots ", "@": r"\mathbin{@}",
    "//": r"\mathbin{//}", "%": r"\bmod ", "∂": r"\partial ", "**": r"\mathbin{**}",
}  # fmt: skip
_ESCAPED = {c: f"\\{c}" for c in "#$%&_{}"} | {
    "\\": r"\backslash ", "^": r"\wedge ", "~": r"\sim ", "<": r"\lt ", ">": r"\gt ",
}  # fmt: skip
_TOKEN = re.compile(
    rf"∂(?P<y>{_MARK})/∂(?P<x>{_MARK})(?P<which>[⁽⁾⁰-⁹¹²³]*)"
    rf"| \*\* (?P<power>{_MARK}|\d[\d.]*)"
    r"|(?P<raised>[⁽⁾⁰-⁹¹²³]+)"
    r"|(?P<words> ?[A-Za-z]+(?: (?:[A-Za-z]+|[\d,]+(?![\d.])))+ ?)"
    r"|(?P<digits>\d[\d.]*)e(?P<exponent>[+-]\d+)"
    r"|(?P<word>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<sign>\*\*|//|[·×→…@%∂])"
    r"|(?P<other>.)"
)


def marks(nodes: Sequence[Any]) -> dict[Any, str] | None:
    """A character for each value, in place of its name; None where there are too many."""
    if len(nodes) > _MOST:
        return None
    codes = (code for code in range(_FIRST, 0x10FFFE) if code & 0xFFFE != 0xFFFE)
    return {node: chr(code) for node, code in zip(nodes, codes)}


def aligned(lines: Iterable[str], names: Mapping[str, str]) -> str:
    """The lines as one formula, each on a line of its own, aligned at its first equals sign.

    ``names`` are the names by their marks.
    """
    rows = [_row(line, names) for line in lines]
    return "$$\\begin{aligned}\n" + "\\\\\n".join(rows) + "\n\\end{aligned}$$"


def _row(line: str, names: Mapping[str, str]) -> str:
    """A line, with the place where it is aligned."""
    if line.startswith("⁽"):  # a note in words
        return rf"&\text{{{''.join(_RAISED.get(c, c) for c in line)}}}"
    if line.startswith(" "):  # a part of a sum
        return ("&" if line.strip().startswith("=") else r"&\quad ") + _latex(line, names)
    left, sign, right = line.partition(" = ")
    return _latex(left, names) + ("&=" if sign else "&") + _latex(right, names)


def _latex(line: str, names: Mapping[str, str]) -> str:
    return _TOKEN.sub(lambda match: _one(match, names), line.strip())


def _one(match: re.Match[str], names: Mapping[str, str]) -> str:
    """A token as LaTeX."""
    kind, found = match.lastgroup or "", match[0]
    if match["y"]:
        y, x = _name(match["y"], names), _name(match["x"], names)
        return rf"\frac{{\partial {y}}}{{\partial {x}}}{_raised(match['which'])}"
    if kind == "power":
        return f"^{{{_name(match['power'], names)}}}"
    if kind == "raised":
        return _raised(found)
    if kind == "words":
        return rf"\text{{{found}}}"
    if kind == "exponent":
        return rf"{match['digits']}\times 10^{{{int(match['exponent'])}}}"
    if kind == "word":
        if found in ("inf", "nan"):
            return r"\infty " if found == "inf" else r"\mathrm{NaN}"
        return f"\\{found} " if found in _FUNCTIONS else rf"\mathrm{{{_escaped(found)}}}"
    return _SIGNS[found] if kind == "sign" else _name(found, names)


def _name(mark: str, names: Mapping[str, str]) -> str:
    """The name of a mark, of several letters upright; a character or a number as it is."""
    name = names.get(mark)
    if name is None:
        return _escaped(mark)
    return name if len(name) == 1 and name.isalpha() else rf"\mathrm{{{_escaped(name)}}}"


def _raised(text: str) -> str:
    return "^{" + "".join(_RAISED[c] for c in text) + "}" if text else ""


def _escaped(text: str) -> str:
    return "".join(_ESCAPED.get(c, "\\ " if c == " " and len(text) > 1 else c) for c in text)
