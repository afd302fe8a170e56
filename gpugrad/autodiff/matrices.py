"""Full Jacobians and Hessians. Imports tensor, engine and the modules beside it.

In reverse mode each row is one walk through the graph of a single run of ``f``; in forward
mode each column is one push. What a row needs is let go before the next, so beside the result
and that graph no more memory is held than ``chunk_size`` rows take.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.autodiff.run import Run, like, restored
from gpugrad.autodiff.transforms import grad
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import is_grad_enabled
from gpugrad.errors import DTypeError, GradientError
from gpugrad.tensor import FUNCTIONS, Tensor

__all__ = ["hessian", "jacobian"]

Function = Callable[..., Any]
Progress = bool | Callable[[int, int], Any]

MODES = ("auto", "reverse", "forward")
CHUNK_BYTES = 2**24  # what the rows of one chunk take, unless chunk_size says otherwise


def jacobian(
    f: Function,
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    chunk_size: int | None = None,
    progress: Progress = False,
) -> Function:
    """A function that returns the derivative of every number that ``f`` returns.

    Its result has the shape ``output.shape + input.shape``. Where ``f`` returns a structure,
    or the arguments are structures, it is a structure of those, outputs outside. ``argnums``
    is as in `grad`.

    ``mode`` is ``"reverse"`` (a pass for each number that comes out), ``"forward"`` (one for
    each that goes in) or ``"auto"``: the smaller count. ``chunk_size`` rows (columns, in forward
    mode) are gathered before they are written to the result; as many as take 16 MiB where it is
    None. ``progress`` is True for a bar of tqdm, if it is installed, else lines on the standard
    error; or a function that is called with how many are done, and of how many.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.jacobian(lambda x: x**2)(np.array([1.0, 2.0, 3.0]))
    array([[2., 0., 0.],
           [0., 4., 0.],
           [0., 0., 6.]])
    """
    return _jacobian("jacobian", f, argnums, mode, chunk_size, progress)


def hessian(
    f: Function,
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "reverse",
    chunk_size: int | None = None,
    progress: Progress = False,
) -> Function:
    """A function that returns the second derivatives of ``f``, which returns one number.

    The result has the shape ``input.shape + input.shape``, and for structures of arguments it
    is a structure of structures: `jacobian` of `grad`, whose options these are. Rows are
    computed on their own, so the result is symmetric to rounding.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.hessian(lambda x: x[0] * x[1] ** 2)(np.array([1.0, 3.0]))
    array([[0., 6.],
           [6., 2.]])
    """
    return _jacobian("hessian", grad(f, argnums), argnums, mode, chunk_size, progress)


def _jacobian(
    who: str,
    f: Function,
    argnums: int | Sequence[int],
    mode: str,
    chunk_size: int | None,
    progress: Progress,
) -> Function:
    if mode not in MODES:
        raise ValueError(f"{who}: expected mode to be one of {', '.join(MODES)}, got {mode!r}")
    if chunk_size is not None and (not isinstance(chunk_size, int) or chunk_size < 1):
        raise ValueError(
            f"{who}: expected chunk_size to be a positive whole number or None, got {chunk_size!r}"
        )
    if not callable(f):
        raise GradientError(
            f"{who}: expected a function as the first argument, got {type(f).__name__}"
        )

    @functools.wraps(f, updated=())
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        run = Run(who, f, args, kwargs, argnums)
        for name, tensors in (("argument", run.fresh), ("result", run.outputs)):
            if any(tensor.dtype.kind == "c" for tensor in tensors):
                raise DTypeError(
                    f"{who}: expected real numbers, got a complex {name}: a derivative by two "
                    "parts is no one number. Let the function take and give real and imaginary "
                    "parts, or use gg.grad, gg.vjp or gg.jvp"
                )
        rows = sum(output.size for output in run.outputs)
        columns = sum(fresh.size for fresh in run.fresh)
        forward = mode == "forward" or (mode == "auto" and rows > columns)
        total = columns if forward else rows
        with run.place(), _Reporter(who, progress, total) as report:
            fill = _by_columns if forward else _by_rows
            blocks = fill(run, chunk_size, report)
        results = []
        for output, row in zip(run.outputs, blocks):
            parts = [
                restored(kind, block.reshape(output.shape + fresh.shape))
                for kind, fresh, block in zip(run.kinds, run.fresh, row)
            ]
            results.append(run.input_structure(parts))
        return run.output_structure(results)

    return differentiated


def _by_rows(run: Run, chunk_size: int | None, report: Callable[[], None]) -> list[list[Tensor]]:
    """For each output and each input a matrix, row by row: reverse mode."""
    recorded = run.watched and is_grad_enabled()
    chunk = _count(chunk_size, sum(fresh.nbytes for fresh in run.fresh))
    result = []
    for output in run.outputs:
        sinks = [_Sink(f, 0, f.size, output.size, chunk, recorded) for f in run.fresh]
        xp = namespace_of(output._array)
        seed = xp.zeros_like(output.data)
        flat = seed.reshape(-1)
        for index in range(output.size):
            gradients: list[Any]
            if recorded:
                one = xp.zeros_like(seed)
                one.reshape(-1)[index] = 1
                gradients = run.pull([Tensor(one) if o is output else None for o in run.outputs])
            elif output._node is None:
                gradients = [None] * len(sinks)
            else:
                # Rows are copied before the next is begun, so one seed serves all.
                flat[index] = 1
                found = run.pull_raw([(output._node, seed)], keep=True)
                gradients = [found.get(fresh._node) for fresh in run.fresh]
                del found
            for sink, gradient in zip(sinks, gradients):
                sink.take(gradient)
            flat[index] = 0
            report()
        result.append([sink.matrix() for sink in sinks])
    return result


def _by_columns(run: Run, chunk_size: int | None, report: Callable[[], None]) -> list[list[Tensor]]:
    """For each output and each input a matrix, column by column: forward mode."""
    recorded = run.watched and is_grad_enabled()
    chunk = _count(chunk_size, sum(output.nbytes for output in run.outputs))
    zeros = [Tensor(namespace_of(f._array).zeros_like(f.data)) for f in run.fresh]
    columns: list[list[Tensor]] = []
    for place, fresh in enumerate(run.fresh):
        sinks = [
            _Sink(fresh, 1, output.size, fresh.size, chunk, recorded) for output in run.outputs
        ]
        for index in range(fresh.size):
            one = namespace_of(fresh._array).zeros_like(fresh.data)
            one.reshape(-1)[index] = 1
            tangents = [Tensor(one) if k == place else zero for k, zero in enumerate(zeros)]
            for sink, tangent in zip(sinks, run.push(tangents)):
                sink.take(like(run.who, fresh, tangent))
            report()
        columns.append([sink.matrix() for sink in sinks])
    return [list(row) for row in zip(*columns)]


def _count(chunk_size: int | None, nbytes: int) -> int:
    return chunk_size or max(1, min(256, CHUNK_BYTES // max(nbytes, 1)))


class _Sink:
    """A matrix that comes row by row (axis 0) or column by column (axis 1), in chunks.

    It has the dtype of the input. ``recorded`` says that rows are Tensors, and part of a graph
    that the matrix is to be part of as well; else they are raw, or None where they are zero.
    """

    def __init__(
        self, fresh: Tensor, axis: int, length: int, count: int, chunk: int, recorded: bool
    ) -> None:
        self.fresh, self.axis, self.chunk, self.recorded = fresh, axis, chunk, recorded
        self.done = 0
        self.waiting: list[Any] = []
        self.pieces: list[Tensor] = []
        self.xp = namespace_of(fresh._array)
        shape = (count, length) if axis == 0 else (length, count)
        # Where there are no rows there is nothing to be recorded.
        self.result: Any = (
            None if recorded and count else self.xp.module.empty(shape, dtype=fresh.dtype)
        )

    def take(self, row: Any) -> None:
        """One more row or column."""
        if self.recorded:
            self.waiting.append(FUNCTIONS["reshape"](row, -1))
        elif row is None:
            self.waiting.append(self.xp.zeros_like(self.fresh.data).reshape(-1))
        else:
            # A copy: a gradient may be the seed itself, or share memory with it.
            row = row._array if isinstance(row, Tensor) else row
            self.waiting.append(row.reshape(-1).copy())
        if len(self.waiting) >= self.chunk:
            self._write()

    def _write(self) -> None:
        rows, self.waiting = self.waiting, []
        if not rows:
            return
        if self.recorded:
            self.pieces.append(FUNCTIONS["stack"](rows, axis=self.axis))
            return
        place = slice(self.done, self.done + len(rows))
        block = self.xp.module.stack(rows, axis=self.axis)
        self.result[place if self.axis == 0 else (slice(None), place)] = block
        self.done += len(rows)

    def matrix(self) -> Tensor:
        """The whole, once all rows have come."""
        self._write()
        if self.pieces:
            return FUNCTIONS["concat"](self.pieces, axis=self.axis)
        return Tensor(self.result)


class _Reporter:
    """Tells how far a computation is: by tqdm, by lines, by the caller's function or not at all."""

    def __init__(self, who: str, progress: Progress, total: int) -> None:
        self.who, self.total = who, total
        self.done = 0
        self.tell = progress if callable(progress) else None
        self.bar: Any = None
        self.last = time.monotonic()
        self.lines = False
        if progress is True:
            try:
                from tqdm import tqdm
            except ImportError:
                self.lines = True
            else:
                self.bar = tqdm(total=total, desc=who)

    def __enter__(self) -> Callable[[], None]:
        return self.step

    def __exit__(self, *error: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self) -> None:
        """One row or column more."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
        elif self.tell is not None:
            self.tell(self.done, self.total)
        elif self.lines:
            now = time.monotonic()
            if self.done == self.total or now - self.last > 1:
                self.last = now
                print(f"{self.who}: {self.done} of {self.total}", file=sys.stderr)  # noqa: T201
