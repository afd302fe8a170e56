"""Full Jacobians and Hessians. Imports tensor, engine and the modules beside it.

In reverse mode each row is one walk through the graph of a single run of ``f``; in forward
mode each column is one push. What a row needs is let go before the next, so beside the result
and that graph no more memory is held than ``chunk_size`` rows take.

A complex number that comes out of real ones, or goes into a function with real results, has two
parts, and so a row of two walks, a column of two pushes. From complex numbers to complex ones
a derivative is one number only if the function is analytic: the caller says that it is, and one
more walk looks whether that holds.
"""

import functools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.autodiff.run import Run, restored
from gpugrad.autodiff.transforms import grad
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import is_grad_enabled, no_grad
from gpugrad.errors import DTypeError, GradientError
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import TENSORS, Tensor

__all__ = ["hessian", "jacobian"]

Function = Callable[..., Any]
Progress = bool | Callable[[int, int], Any]

MODES = ("auto", "reverse", "forward")
_GOLDEN = 2.399963  # an angle whose multiples are spread evenly
CHUNK_BYTES = 2**24  # what the rows of one chunk take, unless chunk_size says otherwise


def jacobian(
    f: Function,
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    holomorphic: bool = False,
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

    Complex results of real arguments have complex derivatives; real results of complex arguments
    have the gradients that `grad` gives, dy/da + i dy/db by a + bi. Where both are complex, ``f``
    has to be analytic and ``holomorphic=True`` says so, as in JAX: the result is f', and all
    arguments and results are complex. DTypeError where that is not so; GradientError (on a GPU:
    NaN) where ``f`` turns out not to be analytic.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.jacobian(lambda x: x**2)(np.array([1.0, 2.0, 3.0]))
    array([[2., 0., 0.],
           [0., 4., 0.],
           [0., 0., 6.]])
    >>> gg.jacobian(lambda z: z**2, holomorphic=True)(1 + 2j)
    (2+4j)
    """
    return _jacobian("jacobian", f, argnums, mode, holomorphic, chunk_size, progress)


def hessian(
    f: Function,
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "reverse",
    holomorphic: bool = False,
    chunk_size: int | None = None,
    progress: Progress = False,
) -> Function:
    """A function that returns the second derivatives of ``f``, which returns one number.

    The result has the shape ``input.shape + input.shape``, and for structures of arguments it
    is a structure of structures: `jacobian` of `grad`, whose options these are. Rows are
    computed on their own, so the result is symmetric to rounding. Arguments are real, or with
    ``holomorphic=True`` complex, ``f`` an analytic function of them.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.hessian(lambda x: x[0] * x[1] ** 2)(np.array([1.0, 3.0]))
    array([[0., 6.],
           [6., 2.]])
    """
    if holomorphic:
        slope = _jacobian("hessian", f, argnums, "reverse", True, None, False, alone=True)
    else:
        slope = grad(f, argnums)
    return _jacobian("hessian", slope, argnums, mode, holomorphic, chunk_size, progress)


def _jacobian(
    who: str,
    f: Function,
    argnums: int | Sequence[int],
    mode: str,
    holomorphic: bool,
    chunk_size: int | None,
    progress: Progress,
    *,
    alone: bool = False,
) -> Function:
    """``alone``: the function returns one number, and the result has the shape of the input."""
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
        if alone:
            run.number()
        _check_kinds(run, holomorphic)
        rows, columns = (
            sum(tensor.size * len(_units(tensor, holomorphic)) for tensor in tensors)
            for tensors in (run.outputs, run.fresh)
        )
        forward = mode == "forward" or (mode == "auto" and rows > columns)
        total = sum(tensor.size for tensor in (run.fresh if forward else run.outputs))
        with run.place(), _Reporter(who, progress, total) as report:
            fill = _by_columns if forward else _by_rows
            blocks = fill(run, holomorphic, chunk_size, report)
            if holomorphic:
                blocks = _analytic(run, blocks)
        results = []
        for output, row in zip(run.outputs, blocks):
            lead = () if alone else output.shape
            parts = [
                restored(kind, block.reshape(lead + fresh.shape))
                for kind, fresh, block in zip(run.kinds, run.fresh, row)
            ]
            results.append(run.input_structure(parts))
        return run.output_structure(results)

    return differentiated


def _check_kinds(run: Run, holomorphic: bool) -> None:
    """DTypeError for arguments and results that have no derivative of this kind together."""
    kinds = [[tensor.dtype.kind == "c" for tensor in side] for side in (run.fresh, run.outputs)]
    if holomorphic:
        for name, side, tensors in zip(
            ("argument", "result"), kinds, (run.fresh, run.outputs), strict=True
        ):
            if not all(side):
                raise DTypeError(
                    f"{run.who}: holomorphic=True is for functions of complex numbers that return "
                    f"complex ones, got {'an' if name[0] == 'a' else 'a'} {name} of dtype "
                    f"{tensors[side.index(False)].dtype}. Cast it with .astype, or leave "
                    "holomorphic out"
                )
    elif any(kinds[0]) and any(kinds[1]):
        raise DTypeError(
            f"{run.who}: the derivatives of complex numbers by complex numbers are one number each "
            "only if the function is analytic. Pass holomorphic=True if it is; if not, let it take "
            "and give real and imaginary parts, or use gg.vjp, gg.jvp or gg.hvp"
        )


def _units(tensor: Tensor, holomorphic: bool) -> tuple[complex, ...]:
    """What to vary a number of an output or an input by, to have all its derivatives."""
    return (1.0, 1j) if tensor.dtype.kind == "c" and not holomorphic else (1.0,)


def _joined(parts: Sequence[Any]) -> Any:
    """Derivatives by a number's two parts, or of them, as one complex number; None is zero."""
    first, *rest = parts
    for other in rest:
        if other is not None:
            first = 1j * other if first is None else first + 1j * other
    return first


def _kind(fresh: Tensor, output: Tensor) -> Any:
    """The dtype of a derivative: the precision of the input, complex if either of the two is."""
    if output.dtype.kind != "c":
        return fresh.dtype
    return np.result_type(fresh.dtype, np.complex64)


def _analytic(run: Run, blocks: list[list[Tensor]]) -> list[list[Tensor]]:
    """The derivatives, unless the function is not analytic.

    A gradient that comes back is then the incoming one times the conjugate of the derivative,
    for any phases of the incoming one; of other functions it is not.
    """
    with no_grad():
        counts = [TENSORS.ones_like(y.detach()).reshape(-1).cumsum() for y in run.outputs]
        seeds = [
            FUNCTIONS["exp"](1j * _GOLDEN * count).reshape(output.shape)
            for count, output in zip(counts, run.outputs)
        ]
        wrong = []
        for place, pulled in enumerate(run.pull(seeds, keep=True)):
            expected: Any = 0.0
            size: Any = 0.0
            for seed, row in zip(seeds, blocks):
                block = row[place].detach()
                expected = expected + seed.to(block.device).reshape(-1) @ block.conj()
                size = size + abs(block).sum(axis=0)
            apart = abs(pulled.reshape(-1) - expected)
            least = float(np.finfo(pulled.dtype).eps) ** 0.5
            wrong.append((apart > least * size.max()).any() if pulled.size else None)
    said = (
        f"{run.who}: the function is not analytic, though holomorphic=True says so: abs, conj, "
        "real, imag and comparisons are not. Let it take and give real and imaginary parts, or "
        "use gg.vjp or gg.jvp"
    )
    return [
        [
            block if bad is None else FUNCTIONS["unless"](block, bad, said=said)
            for block, bad in zip(row, wrong)
        ]
        for row in blocks
    ]


def _by_rows(
    run: Run, holomorphic: bool, chunk_size: int | None, report: Callable[[], None]
) -> list[list[Tensor]]:
    """For each output and each input a matrix, row by row: reverse mode."""
    recorded = run.watched and is_grad_enabled()
    chunk = _count(chunk_size, sum(fresh.nbytes for fresh in run.fresh))
    result = []
    for output in run.outputs:
        sinks = [
            _Sink(f, _kind(f, output), 0, f.size, output.size, chunk, recorded) for f in run.fresh
        ]
        xp = namespace_of(output._array)
        seeds = [(unit, xp.zeros_like(output.data)) for unit in _units(output, holomorphic)]
        for index in range(output.size):
            pulled: list[Sequence[Any]] = []
            for unit, seed in seeds:
                if recorded:
                    one = xp.zeros_like(seed)
                    one.reshape(-1)[index] = unit
                    pulled.append(
                        run.pull(
                            [Tensor(one) if o is output else None for o in run.outputs],
                            by_choice=True,
                        )
                    )
                elif output._node is None:
                    pulled.append([None] * len(sinks))
                else:
                    # Rows are copied before the next is begun, so one seed serves all.
                    seed.reshape(-1)[index] = unit
                    found = run.pull_raw([(output._node, seed)], keep=True, by_choice=True)
                    pulled.append([found.get(fresh._node) for fresh in run.fresh])
                    del found
            for sink, *gradients in zip(sinks, *pulled):
                gradient = _joined(gradients)
                if holomorphic and gradient is not None:
                    gradient = gradient.conj()
                sink.take(gradient)
            for _, seed in seeds:
                seed.reshape(-1)[index] = 0
            report()
        result.append([sink.matrix() for sink in sinks])
    return result


def _by_columns(
    run: Run, holomorphic: bool, chunk_size: int | None, report: Callable[[], None]
) -> list[list[Tensor]]:
    """For each output and each input a matrix, column by column: forward mode."""
    recorded = run.watched and is_grad_enabled()
    chunk = _count(chunk_size, sum(output.nbytes for output in run.outputs))
    zeros = [Tensor(namespace_of(f._array).zeros_like(f.data)) for f in run.fresh]
    columns: list[list[Tensor]] = []
    for place, fresh in enumerate(run.fresh):
        sinks = [
            _Sink(fresh, _kind(fresh, output), 1, output.size, fresh.size, chunk, recorded)
            for output in run.outputs
        ]
        for index in range(fresh.size):
            pushed = []
            for unit in _units(fresh, holomorphic):
                one = namespace_of(fresh._array).zeros_like(fresh.data)
                one.reshape(-1)[index] = unit
                tangents = [Tensor(one) if k == place else zero for k, zero in enumerate(zeros)]
                pushed.append(run.push(tangents, by_choice=True))
            for sink, *tangents in zip(sinks, *pushed):
                sink.take(_joined([tangent.to(fresh.device) for tangent in tangents]))
            report()
        columns.append([sink.matrix() for sink in sinks])
    return [list(row) for row in zip(*columns)]


def _count(chunk_size: int | None, nbytes: int) -> int:
    return chunk_size or max(1, min(256, CHUNK_BYTES // max(nbytes, 1)))


class _Sink:
    """A matrix that comes row by row (axis 0) or column by column (axis 1), in chunks.

    ``recorded`` says that rows are Tensors, and part of a graph
    that the matrix is to be part of as well; else they are raw, or None where they are zero.
    """

    def __init__(
        self,
        fresh: Tensor,
        dtype: Any,
        axis: int,
        length: int,
        count: int,
        chunk: int,
        recorded: bool,
    ) -> None:
        self.fresh, self.axis, self.chunk, self.recorded = fresh, axis, chunk, recorded
        self.dtype = dtype
        self.done = 0
        self.waiting: list[Any] = []
        self.pieces: list[Tensor] = []
        self.xp = namespace_of(fresh._array)
        shape = (count, length) if axis == 0 else (length, count)
        # Where there are no rows there is nothing to be recorded.
        self.result: Any = None if recorded and count else self.xp.empty(shape, dtype=dtype)

    def take(self, row: Any) -> None:
        """One more row or column."""
        if self.recorded:
            row = FUNCTIONS["reshape"](row, -1)
            self.waiting.append(row if row.dtype == self.dtype else row.astype(self.dtype))
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
        block = self.xp.stack(rows, axis=self.axis)
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
