"""Passes over blocks as functions of C: one for all passes that do the same. Imports nothing.

In an unrolled loop the same few operations come again and again, on other arrays. As functions of
these they are compiled once.
"""

import re
from collections.abc import Mapping, Sequence

__all__ = ["pass_call", "passes_text"]

_ARRAYS = re.compile(r"\b([acp]\d\w*)(?=\[)")
_WRITTEN = re.compile(r"(\w+)\[[^\]]*\] = ")
_INDICES = re.compile(r"\bi\d+\b")


def pass_call(
    lines: Sequence[str], types: Mapping[str, str], inner: str, functions: dict[str, str],
    size: int | None = None,
) -> str:  # fmt: skip
    """The call of a function that does what lines do for the elements from ``b`` to ``end``.

    ``types`` has the types of arrays by name, ``inner`` is the index that the lines count, and
    ``functions`` the names of functions by their text, to which that of a new one is added. With a
    ``size`` these are all elements, so that the function is made for their number.

    >>> functions = {}
    >>> loop = ["for (index_t i0 = b; i0 < end; i0++) {0}[i0] = {1}[i0] + 1;"]
    >>> for names in (("c1", "a0"), ("c2", "c1")):
    ...     types = dict.fromkeys(names, "float")
    ...     print(pass_call([loop[0].format(*names)], types, "i0", functions))
    pass_0(c1, a0, b, end);
    pass_0(c2, c1, b, end);
    """
    text = "\n".join(f"    {line}" for line in lines)
    names = {name: f"x{i}" for i, name in enumerate(dict.fromkeys(_ARRAYS.findall(text)))}
    written = set(_WRITTEN.findall(text))
    indices = sorted({*_INDICES.findall(text)} - {inner})
    if size is None:
        indices = ["b", "end", *indices]
    else:
        text = f"    const index_t b = 0, end = {size};\n{text}"
    parameters = [
        f"{'' if name in written else 'const '}{types[name]} *restrict {own}"
        for name, own in names.items()
    ]
    parameters += [f"index_t {index}" for index in indices]
    body = _ARRAYS.sub(lambda match: names[match[1]], text)
    own = functions.setdefault(
        f"({', '.join(parameters)})\n{{\n{body}\n}}\n", f"pass_{len(functions)}"
    )
    return f"{own}({', '.join([*names, *indices])});"


def passes_text(functions: Mapping[str, str]) -> str:
    """The text of functions."""
    return "\n".join(f"static NOINLINE void {name}{text}" for text, name in functions.items())
