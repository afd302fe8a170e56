"""Checks of gradients by finite differences, for tests. Imports tensor, engine and beside it.

`gpugrad.autodiff.differences` compares the numbers. This module gives it functions, and single
operations of their graphs, and words the result.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.differences import Map, Mismatch, Tolerance, cause, compare
from gpugrad.autodiff.foreign import check_constant, unlabelled
from gpugrad.autodiff.matrices import rows_at_once
from gpugrad.autodiff.run import Run, check_function, inside_since
from gpugrad.autodiff.transforms import vjp
from gpugrad.backend.device import Device, device_of, to_numpy
from gpugrad.backend.precision import kind_of
from gpugrad.engine.again import compute_again, gradient_by
from gpugrad.engine.modes import enable_grad, no_grad
from gpugrad.engine.node import Leaf, next_serial
from gpugrad.engine.outputs import PICK, OutputsNode
from gpugrad.errors import BatchError, CompileError, DTypeError, GradientError
from gpugrad.ops.linalg import adjoint
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["gradcheck", "gradgradcheck"]

Function = Callable[..., Any]
MAX_OPS = 300  # operations of a graph that are checked one by one after a failure

# Beginnings of causes that lie in no rule, and explain a failure where every rule is right.
OUTSIDE = ("no gradient arrives", "the function")

# The ops that ``UPLO="U"`` and ``upper=True`` put before one that reads the lower triangle.
TURNS = ("transpose", "conj")

# What a function may raise for complex numbers, or an op for other values.
REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)


def gradcheck(
    f: Function,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of ``f`` agree with finite differences.

    ``inputs`` are its arguments, in a tuple or list, or one alone: Tensors, arrays, numbers and
    structures of these. Floating-point ones are copied to float64, complex ones, whose parts are
    moved one by one, to complex128, and checked; others are passed on. ``f`` returns Tensors, of
    any shapes, and the same ones when it is called again.

    Each element is moved by ``eps`` to both sides; with more than 200 of them, all at once in
    random directions. Where that disagrees by more than ``atol + rtol * abs(slope)``, a complex
    step decides if the function takes complex numbers and the step agrees with the differences.
    True if the gradients are right; else GradientError, which names the operation, the worst
    element with both values and the likely cause, or False with ``raise_exception=False``.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.gradcheck(lambda x, y: gg.sin(x) * y, (np.array([0.1, 0.2]), 3.0))
    True
    >>> gg.gradcheck(lambda x: x * x.detach(), 3.0, raise_exception=False)
    False
    """
    return _check("gradcheck", f, inputs, Tolerance(eps, atol, rtol), raise_exception)


def gradgradcheck(
    f: Function,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the second derivatives of ``f`` agree with finite differences.

    `gradcheck` of the gradient: of ``u @ f(*inputs)``, for a random ``u`` that is an input too.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.gradgradcheck(lambda x, y: gg.sin(x) * y, (np.array([0.1, 0.2]), 3.0))
    True
    """
    call = _Arguments("gradgradcheck", f, inputs)
    with no_grad():
        outputs = call.outputs(call.tensors)
    random = np.random.default_rng(1)
    gradients = [_sent(random.normal(size=_parts_shape(output)), output) for output in outputs]
    count = len(call.tensors)

    def gradient(*values: Tensor) -> Any:
        _, pull_back = vjp(lambda *leaves: call.outputs(leaves), *values[:count])
        return pull_back(list(values[count:]))

    tolerance = Tolerance(eps, atol, rtol)
    inputs = (*call.tensors, *gradients)
    return _check("gradgradcheck", gradient, inputs, tolerance, raise_exception, call.paths)


class _Arguments:
    """Arguments of a function, with their floating-point leaves in float64 or complex128."""

    def __init__(self, who: str, f: Function, inputs: Any) -> None:
        check_function(who, f)
        self.f = f
        alone = not isinstance(inputs, tuple | list)
        inputs = (inputs,) if alone else tuple(inputs)
        self.leaves, self.tree = tree.flatten(inputs, labelled=True)
        skip = len("[0]") if alone else 0
        self.tensors: list[Tensor] = []
        self.positions: list[int] = []
        self.paths: list[str] = []
        for path, value in self.tree.constants():
            check_constant(who, f"input{path[skip:]}", value)
        for position, (leaf, path) in enumerate(zip(self.leaves, self.tree.paths())):
            value = as_tensor(unlabelled(f"{who}: input{path[skip:]}", leaf))
            if kind_of(value.dtype) in "fc" or isinstance(leaf, int | float):
                dtype = np.complex128 if value.dtype.kind == "c" else np.float64
                raw = value.detach().data.astype(dtype, copy=True)
                if isinstance(leaf, float | complex):  # not rounded to the default dtype
                    raw = value.device.send(np.array(leaf, dtype=dtype))
                self.tensors.append(Tensor(raw))
                self.positions.append(position)
                self.paths.append(f"input{path[skip:]}")
        if not self.tensors:
            raise DTypeError(f"{who}: expected an input of floating-point numbers, got none")

    def outputs(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The floating-point outputs for other values of the leaves."""
        leaves = list(self.leaves)
        for position, value in zip(self.positions, tensors):
            leaves[position] = value
        outputs, _ = tree.flatten(self.f(*tree.unflatten(self.tree, leaves)))
        return [y for y in map(as_tensor, outputs) if kind_of(y.dtype) in "fc"]


def _check(
    who: str,
    f: Function,
    inputs: Any,
    tolerance: Tolerance,
    raise_exception: bool,
    paths: list[str] | None = None,
) -> bool:
    call = _Arguments(who, f, inputs)

    def forward(values: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [_sent(value, tensor) for value, tensor in zip(values, call.tensors)]
        with no_grad(), np.errstate(all="ignore"):
            ys = call.outputs(tensors)
        return [_parts(to_numpy(y.data), like) for y, like in zip(ys, run.outputs)]

    start = next_serial()
    with enable_grad(), np.errstate(all="ignore"):
        every = range(len(call.tensors))
        run = Run(who, lambda *leaves: call.outputs(leaves), call.tensors, argnums=every)

    def pull(gradients: list[np.ndarray]) -> list[np.ndarray]:
        seeds = [_sent(g, output).astype(output.dtype) for g, output in zip(gradients, run.outputs)]
        with no_grad():
            pulled = run.pull(seeds, keep=True)
        return [_parts(to_numpy(d.data), leaf) for d, leaf in zip(pulled, run.fresh)]

    def pull_rows(gradients: list[np.ndarray]) -> list[np.ndarray] | None:
        chunk, parts = rows_at_once(run), []
        for start in range(0, len(gradients[0]), chunk):
            rows = [g[start : start + chunk] for g in gradients]
            seeds = [_sent(g, output).astype(output.dtype) for g, output in zip(rows, run.outputs)]
            try:
                with no_grad(), run.device():
                    pulled = run.pull_rows(seeds)
            except (BatchError, CompileError):  # a rule of the user's that takes plain arrays alone
                return None
            parts.append([_parts(to_numpy(d.data), leaf) for d, leaf in zip(pulled, run.fresh)])
        return [np.concatenate(part) for part in zip(*parts)]

    values = [_parts(to_numpy(leaf.data), leaf) for leaf in call.tensors]
    both = Map(values, forward, pull, pull_rows)
    if not np.array_equal(both.y, both.f(both.x), equal_nan=True):
        text = (
            "the function gives other values when it is called again with the same inputs, so "
            "there is nothing to compare. Give it a fixed seed, or turn dropout off"
        )
    else:
        mismatch = compare(both, tolerance, _complex)
        if mismatch is None:
            return True
        names = (paths or call.paths) + [
            f"the gradient of output {k}" for k in range(len(call.paths) - len(paths or call.paths))
        ]
        text = _report(mismatch, tolerance, names, run, start)
    if raise_exception:
        raise GradientError(f"{who}: {text}")
    return False


# Differences are of real numbers: the parts of a complex one lie along a last axis.


def _parts_shape(like: Any) -> tuple[int, ...]:
    return (*like.shape, 2) if like.dtype.kind == "c" else tuple(like.shape)


def _parts(values: np.ndarray, like: Any) -> np.ndarray:
    """Real numbers as they are, complex ones as their parts."""
    if like.dtype.kind != "c":
        return values
    return np.stack([values.real, values.imag], axis=-1)


def _whole(values: np.ndarray, like: Any) -> np.ndarray:
    """The inverse of `_parts`; TypeError for the complex numbers of a complex step."""
    if like.dtype.kind != "c":
        return values
    if values.dtype.kind == "c":
        raise TypeError("a complex step is for real numbers")
    return np.asarray(values[..., 0] + 1j * values[..., 1])


def _sent(values: np.ndarray, like: Tensor) -> Tensor:
    """The numbers whose parts ``values`` are, on the device of a tensor."""
    return Tensor(like.device.send(_whole(values, like)))


def _complex(step: Callable[[], Any]) -> Any:
    """A complex step, or None where the function refuses complex numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return step()
        except (*REFUSALS, Warning):
            return None


# ---------------------------------------------------------------- the message


def _report(
    mismatch: Mismatch, tolerance: Tolerance, names: list[str], run: Run, start: int
) -> str:
    inputs, outputs = run.fresh, run.outputs
    row, column = mismatch.worst
    which, index = mismatch.map.input_element(int(mismatch.columns[column]))
    shape = inputs[which].shape
    if mismatch.projected:
        of = "of a random sum of the outputs"
    else:
        number, element = mismatch.map.output_element(row)
        which_one = f" {number}" if len(mismatch.map.output_shapes) > 1 else ""
        of = f"of output{which_one}{_brackets(element, outputs[number])}"
    own, difference = mismatch.a[row, column], mismatch.n[row, column]
    lines = [
        f"the gradient by {names[which]}, of shape {shape}, is wrong",
        f"  worst element: {names[which]}{_brackets(index, inputs[which])}, {of}",
        f"  the gradient there: {own:.10g}; by {mismatch.method}: {difference:.10g}",
    ]
    coarse = sorted({str(output.dtype) for output in outputs if np.finfo(output.dtype).bits < 64})
    roots = [output._node for output in outputs if output._node is not None]
    nodes, _ = inside_since(roots, start, run.targets)
    ops = [node for node in nodes if not isinstance(node, Leaf) and node.op is not PICK]
    alone = not coarse and len(ops) <= MAX_OPS  # each op can be looked at by itself
    with np.errstate(all="ignore"):
        guilty = _guilty(nodes, tolerance) if alone else None
    if guilty is not None:
        node, argument, local = guilty
        lines.append(f"  op: {node.op.shown}, its derivative by argument {argument}")
        why = cause(local, tolerance)
    else:
        checked = " (each op's own rule agrees with differences)" if alone else ""
        last = f"the last one is {ops[-1].op.shown}{checked}" if ops else "none was recorded"
        lines.append(f"  op: {last}")
        why = cause(mismatch, tolerance)
        half = next((node.op.shown for node in ops if _reads_one_triangle(node)), None)
        if alone and half:
            lines[0] = lines[0].replace("is wrong", "is not what differences give")
            why = (
                f"{half} reads one triangle of its matrix, and its gradient, right for Hermitian "
                "matrices, is spread over both. Differences move one element alone. Check lambda "
                "x: f((x + x.mT.conj()) / 2)"
            )
        elif alone and ops and not why.startswith(OUTSIDE):
            why = (
                "part of the computation left the graph (.detach(), .data, .item(), float(), a "
                "NumPy function of the raw array), since each op's own rule is right"
            )
    if coarse:
        why = (
            f"precision: the result is {' and '.join(coarse)} though the inputs are float64, too "
            "coarse for differences. Let the function keep the dtype of its inputs"
        )
    lines.append(f"  likely cause: {why}")
    return "\n".join(lines)


def _reads_one_triangle(node: Any) -> bool:
    """Whether a matrix comes from an input as it is to an op that takes it for Hermitian."""
    if not node.op.hermitian:
        return False
    source = node.parents[0]
    while source is not None and source.op is not None and source.op.name in TURNS:
        source = source.parents[0]
    return isinstance(source, Leaf)


def _brackets(index: tuple[int, ...], like: Tensor) -> str:
    part = ""
    if like.dtype.kind == "c":
        part = (".real", ".imag")[index[-1]]
        index = index[:-1]
    return (f"[{', '.join(map(str, index))}]" if index else "") + part


# ---------------------------------------------------------------- op by op


def _guilty(nodes: list[Any], tolerance: Tolerance) -> tuple[Any, Any, Mismatch] | None:
    """The first operation whose own rule disagrees with differences, and by which argument."""
    known: dict[Any, Any] = {}
    for node in nodes:
        if isinstance(node, Leaf):
            tensor = node.tensor()
            if tensor is not None:
                known[node] = tensor.data
            continue
        try:
            arguments = [
                value if parent is None else known[parent] if parent in known else _saved(value)
                for parent, value in zip(node.parents, node.values)
            ]
            known[node] = compute_again(node, arguments)
            if node.op is PICK:
                continue
            for index, parent in enumerate(node.parents):
                if parent is None or parent.dtype not in (np.float64, np.complex128):
                    continue
                mismatch = compare(_local(node, arguments, index), tolerance, _complex)
                if mismatch is None or not np.isfinite(mismatch.n).all():
                    continue
                # On a device NaN stands for an error: of vectors up to a phase, say.
                if not node.op.partial or np.isfinite(mismatch.a).all():
                    return node, _argument(node, index), mismatch
        except REFUSALS:
            continue  # it cannot be computed by itself
    return None


def _saved(value: Any) -> Any:
    if hasattr(value, "parents"):
        raise LookupError("the value was not saved")
    return value


def _argument(node: Any, index: int) -> str:
    names = node.op.arrays
    return f"{index}" if node.op.variadic else f"{index} ({names[index]})"


def _local(node: Any, arguments: list[Any], index: int) -> Map:
    """One operation as a function of one of its arguments, with the gradient of its own rule."""
    source = arguments[index]
    device: Device = device_of(source)
    several = isinstance(node, OutputsNode)

    def symmetrized(x: Any) -> Any:
        """A matrix of which one triangle is read, as both: its elements are moved in pairs."""
        half = node.op.hermitian and index == 0
        return (x + adjoint(node.xp, x)) / 2 if half else x

    def forward(values: list[np.ndarray]) -> list[np.ndarray]:
        moved = list(arguments)
        moved[index] = symmetrized(device.send(_whole(values[0], source)))
        y = compute_again(node, moved)
        return [_parts(to_numpy(part), part) for part in (y if several else (y,))]

    def pull(gradients: list[np.ndarray]) -> list[np.ndarray]:
        outputs = node.shape if several else (node,)
        sent = tuple(device.send(_whole(g, y).astype(y.dtype)) for g, y in zip(gradients, outputs))
        with device.activate():
            d = symmetrized(gradient_by(node, index, sent if several else sent[0]))
        return [_parts(to_numpy(d), node.parents[index])]

    return Map([_parts(to_numpy(source), source)], forward, pull)
