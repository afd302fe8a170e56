"""The errors of an operation that refuses its operands, or has no memory for its result.

Imports only op, errors and backend.
"""

import operator
from collections.abc import Sequence
from types import CodeType
from typing import Any

import numpy
from numpy.linalg import LinAlgError

from gpugrad.backend import memory
from gpugrad.backend.device import device_of
from gpugrad.backend.namespace import NAMESPACES
from gpugrad.engine.op import Op
from gpugrad.errors import (
    BatchError,
    DeviceError,
    DTypeError,
    GpugradError,
    IndexingError,
    ShapeError,
)

__all__ = [
    "check_gradient", "check_real", "explain", "explain_no_memory", "instead_of",
    "instead_of_array", "is_whole", "one_too_many", "type_name", "wrong_operand",
]  # fmt: skip


def is_whole(value: Any, least: int | None = None) -> bool:
    """Whether a value is a whole number of Python or NumPy, no truth value, and at least ``least``.

    >>> is_whole(3), is_whole(3.0), is_whole(True), is_whole(0, least=1)
    (True, False, False, False)
    """
    if isinstance(value, bool):
        return False
    try:
        number = operator.index(value)
    except TypeError:
        return False
    return least is None or number >= least


def type_name(cls: type) -> str:
    """The name of a type, with its module unless that is Python's."""
    name = cls.__qualname__
    return name if cls.__module__ == "builtins" else f"{cls.__module__}.{name}"


def wrong_operand(op: Op, operand: Any) -> DTypeError:
    """The error for an operand other than a Tensor, an array, a number or a list of numbers."""
    return DTypeError(
        f"{op.shown}: expected a Tensor, an array, a number or a list of numbers, got "
        f"{type_name(type(operand))}. {instead_of(operand)}"
    )


def instead_of(value: Any) -> str:
    """What to write for an operand of another library."""
    advice = instead_of_array(value)
    return advice or "Convert it first, for example with gg.tensor(numpy.asarray(...))"


def instead_of_array(value: Any) -> str | None:
    """What to write for an array of another library: by its module, else by what it can do.

    None for a value that is no array.
    """
    if isinstance(value, numpy.ma.MaskedArray):
        return (
            "Write x.filled(0), and give the mask to gg.where, or to where= as in "
            "t.sum(where=~x.mask)"
        )
    module = f"{type(value).__module__}."
    for start, advice in _INSTEAD.items():
        if module.startswith(start):
            return advice
    if isinstance(value, numpy.matrix):
        return "Write numpy.asarray(x)"
    if hasattr(type(value), "__dlpack__"):
        return "Write gg.from_dlpack(x), or numpy.asarray(x)"
    for method in ("toarray", "to_numpy"):
        if hasattr(value, method):
            return f"Write x.{method}()"
    if hasattr(type(value), "__array__") or _is_buffer(value):
        return "Write numpy.asarray(x)"
    return "Write float(x)" if hasattr(type(value), "__float__") else None


def _is_buffer(value: Any) -> bool:
    try:
        memoryview(value)
    except TypeError:
        return False
    return True


_INSTEAD = {
    "scipy.sparse.": "Write x.toarray(), or make the product with it an op with gg.custom_op, "
    "whose derivative multiplies with x.T",
    "torch.": "Write gg.from_dlpack(x.detach())",
    "pandas.": "Write x.to_numpy()",
    "polars.": "Write x.to_numpy()",
}


def check_real(who: str, gradient: Any, data: Any, what: str = "gradient") -> None:
    """DTypeError for a complex gradient of real data: its imaginary part would be lost."""
    if gradient.dtype.kind == "c" and data.dtype.kind != "c":
        raise DTypeError(
            f"{who}: expected a {what} of dtype {data.dtype}, got {gradient.dtype}. Take its real "
            "part"
        )


def check_gradient(who: str, gradient: Any, data: Any) -> None:
    """ShapeError, DeviceError or DTypeError for a raw gradient that does not fit its data."""
    if gradient.shape != data.shape:
        raise ShapeError(
            f"{who}: expected a gradient of shape {tuple(data.shape)}, got {tuple(gradient.shape)}"
        )
    own, device = device_of(gradient), device_of(data)
    if own != device:
        raise DeviceError(
            f"{who}: expected a gradient on {device}, got one on {own}. Move it with "
            f".to({str(device)!r})"
        )
    check_real(who, gradient, data)


def explain(
    op: Op, raws: Sequence[Any], parameters: dict[str, Any] | None, error: Exception
) -> None:
    """Raise a clearer error in place of one that an array library raised, where there is one."""
    for raw in raws:
        if getattr(NAMESPACES.get(type(raw)), "batched", False):
            _explain_batched(op, raws, parameters, error, NAMESPACES[type(raw)])
    if isinstance(error, GpugradError):
        return
    if not isinstance(parameters, dict | None):
        raise one_too_many(op) from error
    shapes = [tuple(getattr(raw, "shape", ())) for raw in raws if raw is not None]
    keywords = "".join(f", {name}={_shown(value)}" for name, value in (parameters or {}).items())
    operands = f". Operands of shape {' and '.join(map(str, shapes))}{keywords}"
    message = str(error).rstrip(". ")
    if isinstance(error, LinAlgError):  # a ValueError too, but of the values
        raise LinAlgError(f"{op.shown}: {message}{operands}") from error
    if no_memory := memory.exhausted(op.shown, error, operands):
        raise no_memory from error
    if op.name == "matmul" and () in shapes:  # CuPy stumbles over a number
        raise ShapeError(_matmul(*shapes)) from error
    if isinstance(error, ValueError):
        if op.name == "matmul" and len(shapes) == 2:
            raise ShapeError(_matmul(*shapes)) from error
        if op.kind == "elementwise" and len(shapes) > 1 and (text := _broadcast(shapes)):
            raise ShapeError(f"{op.shown}: {text}") from error
        raise ShapeError(f"{op.shown}: {message}{operands}") from error
    if isinstance(error, IndexError):
        if "must be of integer" in message:
            message += "; gg.tensor([0, 1]) makes floats of them, gg.asarray([0, 1]) does not"
        raise IndexingError(f"{op.shown}: {message}{operands}") from error
    if isinstance(error, TypeError):
        dtypes = ", ".join(str(getattr(raw, "dtype", type(raw).__name__)) for raw in raws)
        if op.complex == "refused" and any(map(numpy.iscomplexobj, raws)):
            message = "it takes no complex numbers; give it abs(t), t.real or t.imag"
        raise DTypeError(f"{op.shown}: {message}. Operands of dtype {dtypes}{keywords}") from error


def _explain_batched(
    op: Op, raws: Sequence[Any], parameters: dict[str, Any] | None, error: Exception, xp: Any
) -> None:
    """As `explain`, of an op over arrays with a hidden axis: raise what one element raises."""

    def error_of(xp: Any, operands: Sequence[Any]) -> Exception | None:
        try:
            getattr(xp, op.name)(*operands, **(parameters or {}))
        except Exception as own:  # noqa: BLE001  it is raised, or explained
            return own
        return None

    if isinstance(error, BatchError | MemoryError):
        return
    operands, own = xp.failing_element(raws, error_of)
    if own is not None:
        explain(op, operands, parameters, own)
        raise own from error


def one_too_many(op: Op) -> DTypeError:
    """The error for a second operand of an op of one, which stands where its parameters do."""
    return DTypeError(f"{op.shown}() takes 1 positional argument but 2 were given")


def explain_no_memory(error: Exception, walk: CodeType) -> None:
    """Raise OutOfMemoryError, with the operation at which a walk was, if there was no memory."""
    no_memory = memory.exhausted(f"backward of {_visited(walk, error)}", error)
    if no_memory is not None:
        import traceback  # which costs `import gpugrad` a millisecond

        # Free what the walk holds, so that whoever catches the error has memory.
        traceback.clear_frames(error.__traceback__)
        raise no_memory from error


def _visited(walk: CodeType, error: BaseException) -> str:
    """The operation at which a walk was, read from its frame."""
    import traceback

    shown = "a graph"
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is walk:  # the innermost walk, where one is in another
            names = frame.f_locals
            op = getattr(names.get("node"), "op", None)
            shown = shown if op is None else op.shown
            if isinstance(names, dict):  # before Python 3.13, a copy that the frame keeps
                names.clear()
    return shown


def _shown(value: Any) -> str:
    """A parameter in an error; of an array without its values, which may be on a device."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"<{value.dtype} array of shape {tuple(value.shape)}>"
    return repr(value)


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> str | None:
    """The axis that keeps shapes from broadcasting, and a suggestion; None where they do."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    for axis in range(-1, -rank - 1, -1):
        sizes = sorted({shape[axis] for shape in padded} - {1})
        if len(sizes) < 2:
            continue
        text = (
            f"shapes {' and '.join(map(str, shapes))} do not broadcast: axis {axis} has "
            f"{' and '.join(map(str, sizes))}"
        )
        first, second = shapes[0], shapes[-1]
        if first == second[::-1] and len(first) > 1:
            return f"{text}. Did you mean to transpose one of them (`.T`)?"
        for shape, other in ((first, second), (second, first)):
            if len(shape) == 1 and len(other) == 2 and other[0] == shape[0]:
                return f"{text}. Did you mean `[:, None]` on the operand of shape {shape}?"
        return f"{text}. Each axis must have one size, or 1"
    return None


def _matmul(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    if not a or not b:
        return f"matmul: expected operands with axes, got {a} @ {b}. Use * to scale by a number"
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        text = f"matmul: inner sizes differ: {a} @ {b}"
        if len(b) > 1 and a[-1] == b[-1]:
            return f"{text}. Did you mean to transpose the second operand?"
        if len(a) > 1 and a[-2] == inner:
            return f"{text}. Did you mean to transpose the first operand?"
        if len(a) > 1 and len(b) > 1 and b[-1] == a[-2]:
            return f"{text}. Did you mean to swap the operands?"
        return f"{text}. The last axis of the first must match the last but one of the second"
    return f"matmul: the batch axes of {a} @ {b} do not broadcast: {a[:-2]} and {b[:-2]}"
