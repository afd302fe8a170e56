"""Numbers, arrays and operations as short text. Imports the modules beside it and the engine."""

import inspect
import math
from typing import Any

import numpy as np

from gpugrad.backend.device import to_numpy
from gpugrad.batching.batched import Batched
from gpugrad.engine.outputs import ShapeDtype
from gpugrad.inspect.graph import op_name, printable, source_of
from gpugrad.ops.index import joined

__all__ = [
    "array_text",
    "elements_text",
    "expression",
    "norm",
    "number",
    "one",
    "shape_text",
    "short",
    "unbatched",
]

# Operators: the sign between operands and its precedence.
_INFIX = {
    "add": (" + ", 1), "subtract": (" - ", 1), "multiply": ("·", 2), "divide": (" / ", 2),
    "floor_divide": (" // ", 2), "remainder": (" % ", 2), "matmul": (" @ ", 2),
    "power": (" ** ", 4),
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("0123456789()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾")
ATOM = 5


def number(x: Any) -> str:
    """A number to about four digits: 1.4512, 0.06194, 3, 1.2e-07."""
    if isinstance(x, complex):
        return f"{x:.4g}"
    if isinstance(x, bool | int | np.bool_ | np.integer):
        return str(x)
    x = float(x)
    if x == 0:
        return "0"
    if not np.isfinite(x):
        return str(x)
    if x == round(x) and abs(x) < 1e9:
        return str(round(x))
    if 0.1 <= abs(x) < 1e6:
        return f"{x:.4f}".rstrip("0").rstrip(".")
    return f"{x:.4g}"


def one(raw: Any) -> Any:
    """The one element of an array, as a float or a complex number."""
    value = raw.item()
    return value if isinstance(value, complex) else float(value)


def superscript(text: str) -> str:
    """Digits and parentheses as superscripts: ² or ⁽¹⁾."""
    return text.translate(_SUPERSCRIPTS)


def short(text: str, width: int = 24) -> str:
    """A text of at most ``width`` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def shape_text(node: Any) -> str:
    """``(3, 4) float32``."""
    return f"{tuple(node.shape)} {np.dtype(node.dtype)}"


def norm(raw: Any) -> float:
    """The square root of the sum of squares, in float64 on the host."""
    array = np.abs(to_numpy(unbatched(raw))).astype(np.float64)
    return float(np.linalg.norm(array.ravel()))


def unbatched(raw: Any) -> Any:
    """An array inside of `vmap` with its hidden axis, for all elements of the batch; others too."""
    while isinstance(raw, Batched):
        raw = raw.array
    return raw


def elements_text(raw: Any) -> str:
    """Of an array inside of `vmap`, ", for each of 4" or "4 × 3" elements; "" of others."""
    sizes = []
    while isinstance(raw, Batched):
        raw = raw.array
        sizes.append(str(raw.shape[0]))
    return f", for each of {' × '.join(sizes[::-1])}" if sizes else ""


def array_text(raw: Any, small: int = 6) -> str | None:
    """A number, the elements of a small array, or None for a larger one."""
    array = to_numpy(unbatched(raw))
    if array.size == 1:
        return number(array.item())
    if array.size > small or array.ndim > 2:
        return None
    if array.ndim == 1:
        return f"[{', '.join(number(x) for x in array.tolist())}]"
    rows = (", ".join(number(x) for x in row) for row in array.tolist())
    return f"[{', '.join(f'[{row}]' for row in rows)}]"


def constant(value: Any) -> str:
    """A constant operand: its number, or its shape."""
    if value is None:
        return "None"
    if isinstance(value, bool | int | complex):
        return number(value)
    if isinstance(value, float):
        return f"{value:.8g}"
    shape = tuple(unbatched(value).shape)
    if math.prod(shape) == 1:
        return constant(to_numpy(unbatched(value)).item())
    return f"[{'×'.join(map(str, shape))}]"


def expression(node: Any, names: dict[Any, str], inner: dict[Any, tuple[str, int]]) -> Any:
    """The text and the precedence of the operation behind a value, as in ``("k·x + b", 1)``.

    Operands in ``inner`` are replaced by their texts there, the others by their names.
    """
    source = source_of(node)
    parts = []
    for value, parent in zip(source.values, source.parents):
        if parent is not None:
            parts.append(inner.get(parent) or (names[parent], ATOM))
        else:
            text = constant(value)
            parts.append((text, 3 if text.startswith("-") else ATOM))
    name = source.op.name
    if name == "square":
        return _enclosed(parts[0], ATOM) + "²", 4
    if name == "power":
        exponent = source.values[1]
        if source.parents[1] is None and isinstance(exponent, int) and exponent >= 0:
            return _enclosed(parts[0], ATOM) + superscript(str(exponent)), 4
        return f"{_enclosed(parts[0], ATOM)} ** {_enclosed(parts[1], 4)}", 4
    if name == "negative":
        return "-" + _enclosed(parts[0], 3), 3
    if name in _INFIX:
        sign, strength = _INFIX[name]
        left, right = parts
        closed = ATOM + 1 if right[0].startswith("-") else strength + 1
        return f"{_enclosed(left, strength)}{sign}{_enclosed(right, closed)}", strength
    if name == "getitem":
        index = joined(source.parameters["index"], source.values[1:])
        return f"{_enclosed(parts[0], ATOM)}[{_index(index)}]", ATOM
    operands = [text for text, _ in parts]
    if source.op.optional:
        while operands and operands[-1] == "None":
            operands.pop()
    operands += _parameters(source)
    text = f"{op_name(node)}({', '.join(operands)})"
    if source is not node and sum(type(part) is ShapeDtype for part in source.shape) > 1:
        text += f"[{node.parameters['index']}]"
    return text, ATOM


def _enclosed(part: tuple[str, int], strength: int) -> str:
    return part[0] if part[1] >= strength else f"({part[0]})"


def _parameters(node: Any) -> list[str]:
    """The parameters that differ from their defaults: ``axis=0``."""
    changed = []
    for name, value in (node.parameters or {}).items():
        declared = node.op.parameters.get(name)
        default = inspect.Parameter.empty if declared is None else declared.default
        if name == "level":  # a number of vmap's, which counts its calls
            continue
        if value is default or (type(value) is type(default) and value == default):
            continue
        if hasattr(value, "shape") and value.shape:
            text = constant(value)
        else:
            text = short(printable(repr(value)), 40)
        changed.append(f"{name}={text}")
    return changed


def _index(index: Any) -> str:
    return ", ".join(_place(part) for part in (index if isinstance(index, tuple) else (index,)))


def _place(part: Any) -> str:
    if isinstance(part, slice):
        ends = ["" if end is None else str(end) for end in (part.start, part.stop, part.step)]
        return ":".join(ends[:2] if part.step is None else ends)
    if part is Ellipsis:
        return "…"
    return constant(part) if getattr(part, "ndim", 0) else str(part)
