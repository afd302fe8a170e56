"""Full Jacobians and Hessians. Imports tensor, engine and the modules beside it.

In reverse mode each row is one walk through the graph of a single run of ``f``; in forward
mode each column is one push. Temporary arrays are freed after each row, so that beside the result
and the graph only ``chunk_size`` rows take memory.

A complex output of real inputs, or a complex input of a function with real outputs, has two
parts: its row takes two walks, its column two pushes. From complex numbers to complex ones
a derivative is one number only if the function is analytic: the caller says that it is, and one
more walk checks it.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff.leaves import restored
from gpugrad.autodiff.run import Run, check_function
from gpugrad.autodiff.transformed import transformed
from gpugrad.autodiff.transforms import grad
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.messages import is_whole
from gpugrad.engine.modes import is_grad_enabled, no_grad
from gpugrad.errors import DTypeError
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import TENSORS, Tensor

__all__ = ["hessian", "jacobian"]

Function = Callable[..., Any]
Progress = bool | Callable[[int, int], Any]

MODES = ("auto", "reverse", "forward")
_GOLDEN = 2.399963  # an angle whose multiples are spread evenly
CHUNK_BYTES = 2**24  # the size of the rows of one chunk, where chunk_size is None


def jacobian(
    f: Function, argnums: int | Sequence[int] = 0, *, mode: str = "auto", holomorphic: bool = False,
    chunk_size: int | None = None, progress: Progress = False,
) -> Function:  # fmt: skip
    """A function that returns the derivative of every number that ``f`` returns.

    Its result has the shape ``output.shape + input.shape``. Where ``f`` returns a structure,
    or the arguments are structures, it is a structure of those, outputs outside. ``argnums``
    is as in `grad`.

    ``mode`` is ``"reverse"`` (a pass for each output element), ``"forward"`` (one for each input
    element) or ``"auto"``: the smaller count. ``chunk_size`` rows (columns, in forward mode) are
    gathered before they are written to the result; as many as take 16 MiB where it is None.
    ``progress`` is True for a bar of tqdm, if it is installed, else lines on the standard error;
    or a function that is called with the number of passes done and their total.

    Complex results of real arguments have complex derivatives; real results of complex arguments
    have the gradients that `grad` gives, dy/da + i dy/db by a + bi. Where both are complex, ``f``
    has to be analytic and ``holomorphic=True`` says so, as in JAX: the result is f', and all
    arguments and results are complex, or DTypeError is raised. GradientError (on a GPU: NaN) where
    ``f`` turns out not to be analytic.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.jacobian(lambda x: x**2)(np.array([1.0, 2.0, 3.0]))
    array([[2., 0., 0.],
           [0., 4., 0.],
           [0., 0., 6.]])
    >>> gg.jacobian(lambda z: z**2, holomorphic=True)(1 + 2j)
    (2+4j)
    """
    options = _Options(argnums, mode, holomorphic, chunk_size, progress)
    return _jacobian("jacobian", f, f, options)


def hessian(
    f: Function, argnums: int | Sequence[int] = 0, *, mode: str = "reverse",
    holomorphic: bool = False, chunk_size: int | None = None, progress: Progress = False,
) -> Function:  # fmt: skip
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
        alone = _Options(argnums, "reverse", holomorphic=True)
        slope = _jacobian("hessian", f, f, alone, alone=True)
    else:
        slope = grad(f, argnums)
    options = _Options(argnums, mode, holomorphic, chunk_size, progress)
    return _jacobian("hessian", f, slope, options)


class _Options(NamedTuple):
    """The options of `jacobian` and `hessian`."""

    argnums: int | Sequence[int]
    mode: str
    holomorphic: bool
    chunk_size: int | None = None
    progress: Progress = False


def _jacobian(
    who: str, of: Function, f: Function, options: _Options, *, alone: bool = False
) -> Function:
    """The Jacobian of ``f``, which was made of the caller's function ``of``.

    ``alone``: the function returns one number, and the result has the shape of the input.
    """
    argnums, mode, holomorphic, chunk_size, progress = options
    if mode not in MODES:
        raise ValueError(f"{who}: expected mode to be one of {', '.join(MODES)}, got {mode!r}")
    if chunk_size is not None and not is_whole(chunk_size, 1):
        raise ValueError(
            f"{who}: expected chunk_size to be a positive whole number or None, got {chunk_size!r}"
        )
    check_function(who, f)

    @transformed({"jacobian": jacobian, "hessian": hessian}[who], of, **options._asdict())
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        run = Run(who, f, args, kwargs, argnums)
        if alone:
            run.number()
        _check_dtypes(run, holomorphic)
        rows, columns = (
            sum(tensor.size * len(_units(tensor, holomorphic)) for tensor in tensors)
            for tensors in (run.outputs, run.fresh)
        )
        forward = mode == "forward" or (mode == "auto" and rows > columns)
        total = sum(tensor.size for tensor in (run.fresh if forward else run.outputs))
        with run.device(), _reporting(who, progress, total) as report:
            blocks = _blocks(run, forward, holomorphic, chunk_size, report)
            if holomorphic:
                blocks = _analytic(run, blocks)
        results = []
        for output, row in zip(run.outputs, blocks):
            lead = () if alone else output.shape
            parts = [
                restored(leaf_type, block.reshape(lead + fresh.shape))
                for leaf_type, fresh, block in zip(run.leaf_types, run.fresh, row)
            ]
            results.append(run.input_structure(parts))
        return run.output_structure(results)

    return differentiated


def _check_dtypes(run: Run, holomorphic: bool) -> None:
    """DTypeError where real and complex arguments and results do not go with ``holomorphic``."""
    sides = {"an argument": run.fresh, "a result": run.outputs}
    for name, tensors in sides.items():
        real = [str(tensor.dtype) for tensor in tensors if tensor.dtype.kind != "c"]
        if holomorphic and real:
            raise DTypeError(
                f"{run.who}: holomorphic=True is for functions of complex numbers that return "
                f"complex ones, got {name} of dtype {real[0]}. Cast it with .astype, or leave "
                "holomorphic out"
            )
    if not holomorphic and all(
        any(tensor.dtype.kind == "c" for tensor in tensors) for tensors in sides.values()
    ):
        raise DTypeError(
            f"{run.who}: the derivatives of complex numbers by complex numbers are one number each "
            "only if the function is analytic. Pass holomorphic=True if it is; if not, let it take "
            "and give real and imaginary parts, or use gg.vjp, gg.jvp or gg.hvp"
        )


def _units(tensor: Tensor, holomorphic: bool) -> tuple[complex, ...]:
    """The directions in which to vary an element of an output or an input."""
    return (1.0, 1j) if tensor.dtype.kind == "c" and not holomorphic else (1.0,)


def _analytic(run: Run, blocks: list[list[Tensor]]) -> list[list[Tensor]]:
    """The derivatives, unless the function is not analytic.

    The pull-back of an analytic function multiplies by the conjugate of the derivative, whatever
    the phases of the cotangent are.
    """
    with no_grad():
        counts = [TENSORS.ones_like(y.detach()).reshape(-1).cumsum() for y in run.outputs]
        seeds = [
            FUNCTIONS["exp"](1j * _GOLDEN * count).reshape(output.shape)
            for count, output in zip(counts, run.outputs)
        ]
        wrong = []
        for index, pulled in enumerate(run.pull(seeds, keep=True)):
            expected: Any = 0.0
            size: Any = 0.0
            for seed, row in zip(seeds, blocks):
                block = row[index].detach()
                expected = expected + seed.to(block.device).reshape(-1) @ block.conj()
                size = size + abs(block).sum(axis=0)
            error = abs(pulled.reshape(-1) - expected)
            tolerance = float(np.finfo(pulled.dtype).eps) ** 0.5
            wrong.append((error > tolerance * size.max()).any() if pulled.size else None)
    message = (
        f"{run.who}: the function is not analytic, though holomorphic=True says so: abs, conj, "
        "real, imag and comparisons are not. Let it take and give real and imaginary parts, or "
        "use gg.vjp or gg.jvp"
    )
    return [
        [
            block if bad is None else FUNCTIONS["unless"](block, bad, message=message)
            for block, bad in zip(row, wrong)
        ]
        for row in blocks
    ]


def _blocks(
    run: Run, forward: bool, holomorphic: bool, chunk_size: int | None, report: Callable[[], Any]
) -> list[list[Tensor]]:
    """For each output and each input a matrix, by columns in forward mode, else row by row."""
    varied, others = (run.fresh, run.outputs) if forward else (run.outputs, run.fresh)
    recorded = run.watched and is_grad_enabled()
    nbytes = sum(other.nbytes for other in others)
    chunk = chunk_size or max(1, min(256, CHUNK_BYTES // max(nbytes, 1)))
    blocks = []
    for position, tensor in enumerate(varied):
        sinks = [
            _Sink(*((tensor, other) if forward else (other, tensor)), forward, chunk, recorded)
            for other in others
        ]
        for index in range(tensor.size):
            parts = []
            for unit in _units(tensor, holomorphic):
                one = namespace_of(tensor._array).zeros_like(tensor.data)
                one.reshape(-1)[index] = unit
                seeds = [Tensor(one) if k == position else None for k in range(len(varied))]
                if forward:
                    parts.append(run.push(seeds, by_choice=True))
                else:
                    parts.append(run.pull(seeds, keep=True, by_choice=True))
            for sink, derivative, *imaginary in zip(sinks, *parts):
                if imaginary:  # of, or by, the imaginary part of a complex number
                    derivative = derivative + 1j * imaginary[0]
                sink.take(derivative.conj() if holomorphic and not forward else derivative)
            report()
        blocks.append([sink.matrix() for sink in sinks])
    return [list(row) for row in zip(*blocks)] if forward else blocks


class _Sink:
    """The derivative of an output by an input, a matrix that comes by rows or by columns.

    They are gathered in chunks. ``recorded`` says that they are part of a graph, and so is the
    matrix.
    """

    def __init__(
        self, fresh: Tensor, output: Tensor, by_columns: bool, chunk: int, recorded: bool
    ) -> None:
        self.axis, self.chunk, self.recorded = int(by_columns), chunk, recorded
        self.device = fresh.device
        # The precision of the input; complex if either of the two is.
        is_complex = output.dtype.kind == "c"
        self.dtype = np.result_type(fresh.dtype, np.complex64) if is_complex else fresh.dtype
        self.done = 0
        self.waiting: list[Any] = []
        self.pieces: list[Tensor] = []
        self.xp = namespace_of(fresh._array)
        shape = (output.size, fresh.size)
        # Without rows there is nothing to record.
        empty = not (recorded and shape[self.axis])
        self.result: Any = self.xp.empty(shape, dtype=self.dtype) if empty else None

    def take(self, row: Tensor) -> None:
        """One more row or column."""
        if self.axis:
            row = row.to(self.device)  # a column comes from where the output is
        if self.recorded:
            self.waiting.append(FUNCTIONS["reshape"](row, -1).to(self.dtype))
        else:
            self.waiting.append(row.data.reshape(-1))
        if len(self.waiting) >= self.chunk:
            self._write()

    def _write(self) -> None:
        rows, self.waiting = self.waiting, []
        if not rows:
            return
        if self.recorded:
            self.pieces.append(FUNCTIONS["stack"](rows, axis=self.axis))
            return
        written = slice(self.done, self.done + len(rows))
        block = self.xp.stack(rows, axis=self.axis)
        self.result[(slice(None), written) if self.axis else written] = block
        self.done += len(rows)

    def matrix(self) -> Tensor:
        """The whole, once all rows have come."""
        self._write()
        if self.pieces:
            return FUNCTIONS["concat"](self.pieces, axis=self.axis)
        return Tensor(self.result)


@contextmanager
def _reporting(who: str, progress: Progress, total: int) -> Iterator[Callable[[], Any]]:
    """A function to call after each row or column: of tqdm, for lines, the caller's or none."""
    done = itertools.count(1)
    if callable(progress):
        yield lambda: progress(next(done), total)
        return
    if progress is not True:
        yield lambda: None
        return
    last = time.monotonic()

    def line() -> None:
        nonlocal last
        count, now = next(done), time.monotonic()
        if count == total or now - last > 1:
            last = now
            print(f"{who}: {count} of {total}", file=sys.stderr)  # noqa: T201

    try:
        from tqdm import tqdm
    except ImportError:
        yield line
        return
    with tqdm(total=total, desc=who) as bar:
        yield bar.update
