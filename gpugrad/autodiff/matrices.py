"""Full Jacobians and Hessians. Imports tensor, engine and the modules beside it.

In reverse mode a chunk of rows is one walk through the graph of a single run of ``f``, over arrays
with a hidden axis, as in `vmap`; in forward mode a chunk of columns is one push. Beside the result
and the graph, the gradients of ``chunk_size`` rows take memory.

A complex output of real inputs, or a complex input of a function with real outputs, has two
parts: its row takes two walks, its column two pushes. From complex numbers to complex ones
a derivative is one number only if the function is analytic: the caller says that it is, and one
more walk checks it.
"""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff.leaves import restored
from gpugrad.autodiff.levels import Level, left, running, taken_out
from gpugrad.autodiff.run import Run, check_function
from gpugrad.autodiff.transformed import transformed
from gpugrad.autodiff.transforms import grad
from gpugrad.backend.namespace import namespace_of
from gpugrad.batching import enter, innermost
from gpugrad.engine.backward import reachable
from gpugrad.engine.messages import is_whole
from gpugrad.engine.modes import is_grad_enabled, no_grad, watching
from gpugrad.engine.outputs import OutputsNode
from gpugrad.errors import BatchError, CompileError, DTypeError
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import TENSORS, Tensor

__all__ = ["hessian", "jacobian", "rows_at_once"]

Function = Callable[..., Any]
Progress = bool | Callable[[int, int], Any]

MODES = ("auto", "reverse", "forward")
_GOLDEN = 2.399963  # an angle whose multiples are spread evenly
CHUNK_BYTES = 2**24  # the size of one array of all rows of a chunk, where chunk_size is None


def jacobian(
    f: Function, argnums: int | Sequence[int] = 0, *, mode: str = "auto", holomorphic: bool = False,
    chunk_size: int | None = None, progress: Progress = False,
) -> Function:  # fmt: skip
    """A function that returns the derivative of every number that ``f`` returns.

    Its result has the shape ``output.shape + input.shape``. Where ``f`` returns a structure,
    or the arguments are structures, it is a structure of those, outputs outside. ``argnums``
    is as in `grad`.

    ``mode`` is ``"reverse"`` (a row for each output element), ``"forward"`` (a column for each
    input element) or ``"auto"``: the smaller count. ``chunk_size`` rows, or columns, are computed
    in one pass, as by `vmap`, which takes as many times the memory of a pass; None stands for as
    many as take 16 MiB of the largest array in the graph. ``progress`` is True for a bar of tqdm,
    if it is installed, else lines on the standard error; or a function that is called with the
    number of rows done and their total.

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
    """For each output and each input a matrix, by columns in forward mode, else by rows.

    A user's rule that takes plain arrays alone gets them row by row.
    """
    varied, others = (run.fresh, run.outputs) if forward else (run.outputs, run.fresh)
    chunk = rows_at_once(run, chunk_size)
    blocks = []
    for position, tensor in enumerate(varied):
        pairs = [(tensor, other) if forward else (other, tensor) for other in others]
        sinks = [_Sink(fresh, output, forward) for fresh, output in pairs]
        start = 0
        while start < tensor.size:
            count = min(chunk, tensor.size - start)
            try:
                rows = _rows(run, forward, holomorphic, position, range(start, start + count))
            except (BatchError, CompileError):
                if count == 1:
                    raise
                chunk = 1
                continue
            for sink, derivative in zip(sinks, rows):
                sink.take(derivative.conj() if holomorphic and not forward else derivative)
            start += count
            for _ in range(count):
                report()
        blocks.append([sink.matrix() for sink in sinks])
    return [list(row) for row in zip(*blocks)] if forward else blocks


def rows_at_once(run: Run, chunk_size: int | None = None) -> int:
    """How many rows fit into `CHUNK_BYTES`, by the largest array of the graph, unless it is given.

    One where a checkpoint is recorded: what runs again is no older than the level of the rows.
    """
    roots = [output._node for output in run.outputs if output._node is not None]
    since = min((node.serial for node in run.targets), default=0)
    nodes = reachable(roots, since)
    if run.watched and any(node.op is not None and node.op.expand for node in nodes):
        return 1
    if chunk_size is not None:
        return chunk_size
    shapes = [node.shape for node in nodes if not isinstance(node, OutputsNode)]
    most = max((math.prod(shape) for shape in shapes), default=1)
    item = max((tensor.dtype.itemsize for tensor in (*run.outputs, *run.fresh)), default=1)
    return max(1, CHUNK_BYTES // max(most * item, 1))


def _rows(run: Run, forward: bool, holomorphic: bool, position: int, places: range) -> list[Tensor]:
    """The derivatives in, or by, some elements of one output or input, along a new first axis.

    In one pass: a level of `vmap` has the rows, so that each op runs once for all of them.
    """
    varied = run.fresh if forward else run.outputs
    tensor, count = varied[position], len(places)
    recorded = run.watched and is_grad_enabled()
    walk = run.push if forward else partial(run.pull, keep=True)
    plain = all(
        type(one._array) is np.ndarray and one.dtype.kind == "f"
        for one in (*run.outputs, *run.fresh)
    )
    if plain and not recorded and watching() is None:  # an observer sees what masks take out
        walk = partial(_walked, walk, None if forward else False)
    else:
        walk = partial(walk, by_choice=True)
    parts: list[list[Tensor]] = []
    for unit in _units(tensor, holomorphic):
        seed = _unit_rows(tensor, unit, places)
        seeds: list[Tensor | None] = [None] * len(varied)
        if count == 1:
            seeds[position] = Tensor(seed[0])
            ones = walk(seeds)
            parts.append([FUNCTIONS["expand_dims"](one, 0) for one in ones])
            continue
        with running(count) if recorded else nullcontext(Level(count)) as level:
            seeds[position] = Tensor(enter(seed, level.number, 0))
            several = walk(seeds)
            leave = taken_out if recorded else left
            parts.append([leave(one, level.number, 0, count) for one in several])
    if len(parts) == 1:
        return parts[0]
    # Of, or by, the imaginary part of a complex number.
    return [real + 1j * imaginary for real, imaginary in zip(*parts, strict=True)]


def _walked(
    walk: Callable[..., list[Tensor]], unmasked: bool | None, seeds: list[Tensor | None]
) -> list[Tensor]:
    """The derivatives, where the zeros of the seeds are by choice, of real arrays of the host.

    What is not chosen is masked only if need be: zero times what is not finite is NaN, which
    reaches the result. Without one there was nothing to mask, and masks cost as much as all else.
    Zeros are positive, as masks make them.
    """
    found = walk(seeds, by_choice=unmasked)
    if all(np.isfinite(innermost(one._array)).all() for one in found):
        return [Tensor(one._array + one.dtype.type(0)) for one in found]
    return walk(seeds, by_choice=True)


def _unit_rows(tensor: Tensor, unit: complex, places: range) -> Any:
    """For each of the places an array of a tensor's shape, with a number there and zeros else."""
    xp, count = namespace_of(tensor._array), len(places)
    if xp.lifts is not None and not xp.batched:  # of an array that records: zeros that record
        rows = xp.full_like(tensor.data, 0, shape=(count, tensor.size))
    else:
        rows = xp.zeros((count, tensor.size), dtype=tensor.dtype)
    rows[xp.arange(count), xp.arange(places.start, places.stop)] = unit
    return rows.reshape((count, *tensor.shape))


class _Sink:
    """The derivative of an output by an input, a matrix that comes by rows or by columns.

    Where it is part of a graph, or batched itself, it is joined in the end.
    """

    def __init__(self, fresh: Tensor, output: Tensor, by_columns: bool) -> None:
        self.axis = int(by_columns)
        self.device = fresh.device
        # The precision of the input; complex if either of the two is.
        is_complex = output.dtype.kind == "c"
        self.dtype = np.result_type(fresh.dtype, np.complex64) if is_complex else fresh.dtype
        self.done = 0
        self.pieces: list[Tensor] = []
        self.xp = namespace_of(fresh._array)
        self.shape = (output.size, fresh.size)
        self.result: Any = None

    def take(self, rows: Tensor) -> None:
        """More rows or columns, along the first axis."""
        if self.axis:
            rows = rows.to(self.device)  # a column comes from where the output is
        rows = FUNCTIONS["reshape"](rows, (rows.shape[0], -1))
        rows = rows.T if self.axis else rows
        if rows._node is not None or namespace_of(rows._array).batched:
            self.pieces.append(rows.to(self.dtype))
            return
        if self.result is None:
            self.result = self.xp.empty(self.shape, dtype=self.dtype)
        written = slice(self.done, self.done + rows.shape[self.axis])
        self.result[(slice(None), written) if self.axis else written] = rows._array
        self.done = written.stop

    def matrix(self) -> Tensor:
        """The whole, once all rows have come."""
        if self.pieces:
            return FUNCTIONS["concat"](self.pieces, axis=self.axis)
        if self.result is None:
            self.result = self.xp.empty(self.shape, dtype=self.dtype)
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
