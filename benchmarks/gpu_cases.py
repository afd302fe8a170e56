"""The cases for a GPU: ops by size, training steps by precision and optimizer.

Imports NumPy and cases.py. All cases exist in miniature as well, for machines with no GPU.
"""

from dataclasses import replace
from functools import cache
from math import isqrt, prod

import numpy as np
from cases import Case, dtype

OPS = ("exp", "mul", "broadcast", "sum", "softmax", "matmul", "index")
SIZES = (10, 10**3, 10**5, 10**6, 10**7, 10**8)
# Float32 numbers that an op must at least move, forward and backward, for each of its elements.
MOVES = {
    "exp": (2, 3),
    "mul": (3, 3),
    "broadcast": (2, 3),
    "sum": (1, 1),
    "softmax": (2, 3),
    "index": (2, 2),
}
# Numbers that an update moves for each parameter: SGD with momentum reads p, g, v and writes
# p, v; Adam has two moments.
UPDATE = {"sgd": 5, "adam": 7}

SMALL = (784, 256, 128, 10)
LARGE = (1024, 4096, 4096, 1024)
DEEP = (512,) * 65
COPY_TARGET = 1 / 0.9  # 90% of the bandwidth of a copy
TARGETS = {"small": (1.0, "torch"), "large": (1.05, "matmuls"), "memory": (1.1, "torch")}


def rows_of(n: int) -> tuple[int, int]:
    """The shape of a matrix of about n elements, for ops that need one."""
    columns = 10 ** (len(str(n)) // 2)
    return n // columns, columns


def _op(op: str, n: int) -> list[Case]:
    shape = (n,) if op in ("exp", "mul") else rows_of(n)
    if op == "matmul":
        shape = (isqrt(n), isqrt(n))
    target = COPY_TARGET if op in ("exp", "mul") and n == 10**8 else None
    forward = Case(f"{op}-{n}", "forward", f"{op} {n:,}", shape, 0, op, target, "copy")
    return [forward, replace(forward, kind="backward")]


def net(sizes: tuple[int, ...]) -> str:
    """The name of an MLP: its sizes, or the number of equal ones."""
    if len(sizes) > 5 and len(set(sizes)) == 1:
        return f"{len(sizes) - 1}x{sizes[0]}"
    return "-".join(map(str, sizes))


def _step(
    sizes: tuple[int, ...], batch: int, optimizer: str, precision: str, target: str = ""
) -> Case:
    most, against = TARGETS.get(target, (None, "torch"))
    name = f"{net(sizes)}-b{batch}-{optimizer}-{precision}"
    title = f"{net(sizes)}, batch {batch}, {optimizer}, {precision}"
    return Case(name, "step", title, sizes, batch, "", most, against, optimizer, precision)


def _steps() -> list[Case]:
    variants = [("sgd", "float32"), ("adam", "float32"), ("sgd", "tf32"), ("sgd", "float16")]
    return [
        _step(sizes, batch, *variant, "" if variant[1] in unbounded else target)
        for sizes, batches, target, unbounded in (
            (SMALL, (64, 1024), "small", ("tf32", "float16")),
            (LARGE, (256, 4096), "large", ("float16",)),
            (DEEP, (256,), "", ()),
        )
        for batch in batches
        for variant in variants
    ]


def _memory(sizes: tuple[int, ...], batch: int) -> Case:
    case = _step(sizes, batch, "adam", "float32", "memory")
    return replace(case, name=f"memory-{net(sizes)}", title=f"{net(sizes)}, batch {batch}, adam")


def copy(n: int) -> Case:
    """A copy of n float32 numbers in the device's memory."""
    return Case(f"copy-{n}", "copy", f"copy {n:,}", (n,))


FULL = {
    "copy": [copy(2**28)],
    "memory": [_memory(DEEP, 4096)],
    "steps": _steps(),
    "ops": [case for op in OPS for n in SIZES for case in _op(op, n)],
}
MINIATURE = {
    "copy": [copy(2**16)],
    "memory": [_memory((8,) * 9, 16)],
    "steps": [
        _step((16, 8, 4), 4, "sgd", "float32", "small"),
        _step((16, 8, 4), 4, "adam", "float32", "small"),
        _step((8, 16, 8), 8, "sgd", "tf32", "large"),
        _step((8, 16, 8), 8, "sgd", "float16"),
        _step((8,) * 9, 8, "adam", "float32"),
    ],
    "ops": [case for op in OPS for case in _op(op, 10)],
}
# The steps that are compiled as a whole too, which takes minutes in all.
COMPILED = {f"{net(s)}-b{b}-adam-float32" for s in (SMALL, LARGE, DEEP) for b in (64, 256)} | {
    "16-8-4-b4-adam-float32"
}


@cache
def _numbers(n: int) -> np.ndarray:
    return np.random.default_rng(2).random(n, dtype=np.float32) + np.float32(0.5)


def operands(case: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """The operands of a "forward" or "backward" case: float32 between 0.5 and 1.5, or rows."""
    first = _numbers(prod(case.sizes)).reshape(case.sizes)
    if case.op == "index":
        return first, np.random.default_rng(3).integers(0, case.sizes[0], case.sizes[0])
    if case.op == "broadcast":
        return first, _numbers(case.sizes[-1])
    if case.op in ("mul", "matmul"):
        return first, np.float32(2) - first
    return first, None


def gradient(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient of an output, where a backward pass starts."""
    return np.float32(2) - _numbers(prod(shape)).reshape(shape)


# Ops whose two operands both get a gradient.
BOTH = ("broadcast", "matmul")


Shape = tuple[int, ...]


def products(case: Case) -> list[tuple[Shape, Shape, bool, bool]]:
    """The matrix products of a "matmuls" case: two shapes, and which of the two is transposed.

    ``op`` is "forward" or "backward" of a product, or "step": y = x w forward; backward the
    gradients of w and, except in the first layer, of x.
    """
    square = case.sizes
    if case.op == "forward":
        return [(square, square, False, False)]
    if case.op == "backward":
        return [(square, square, False, True), (square, square, True, False)]
    shapes: list[tuple[Shape, Shape, bool, bool]] = []
    for layer, (nin, nout) in enumerate(zip(case.sizes[:-1], case.sizes[1:])):
        shapes.append(((case.batch, nin), (nin, nout), False, False))
        shapes.append(((case.batch, nin), (case.batch, nout), True, False))
        if layer:
            shapes.append(((case.batch, nout), (nin, nout), False, True))
    return shapes


def moved(case: Case) -> float | None:
    """Bytes that a case must move through memory, beside its matrix products; None: unknown.

    For a step: the activations (two passes forward, three backward), and the update.
    """
    if case.kind in ("forward", "backward"):
        if case.op == "matmul":
            return None
        return 4.0 * prod(case.sizes) * MOVES[case.op][case.kind == "backward"]
    if case.kind == "copy":
        return 8.0 * prod(case.sizes)
    weights = sum((nin + 1) * nout for nin, nout in zip(case.sizes[:-1], case.sizes[1:]))
    activations = case.batch * sum(case.sizes[1:-1])
    size = dtype(case).itemsize
    return float(size * (UPDATE[case.optimizer] * weights + 5 * activations))
