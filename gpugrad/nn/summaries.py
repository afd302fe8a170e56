"""A table of a model's layers: shapes, parameters, multiply-adds and memory.

One forward pass is observed: the ``forward`` of each module is replaced for as long as it runs, and
products are counted where the engine computes them, recorded or not, so a model of one's own is
counted as well.
Imports `module`, engine and tensor.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import detours
from gpugrad.engine import record as calls
from gpugrad.engine.modes import enable_grad, observed
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.nn.module import Module, in_mode
from gpugrad.tensor import Tensor, as_tensor, zeros

__all__ = ["Row", "Summary", "summary"]

LAST = 3  # rank among detours: behind all others, so that what they make of an op is counted


@dataclass(frozen=True)
class Row:
    """One module of a `Summary`."""

    name: str  # dotted, "" for the model itself
    layer: str  # its class
    output_shape: Any  # of its first call; a list of shapes for several outputs
    parameters: int  # of its own, without those of modules inside
    multiply_adds: int  # with those of modules inside, over all calls
    calls: int


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` found: ``rows``, one for each module that was called, and totals.

    ``parameters`` and ``trainable`` count numbers, ``multiply_adds`` multiplications with an
    addition in products of matrices, convolutions, attention and recurrent layers; the others are
    in bytes. ``str()`` is the table.
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    parameter_bytes: int  # of parameters and buffers
    activation_bytes: int  # that the graph keeps for the backward pass
    input_bytes: int

    def __repr__(self) -> str:
        cells = [("layer", "output shape", "parameters", "multiply-adds")]
        for row in self.rows:
            depth = row.name.count(".") + bool(row.name)
            label = f"{row.name.rpartition('.')[2]}: {row.layer}" if row.name else row.layer
            times = f" (called {row.calls} times)" if row.calls > 1 else ""
            cells.append(
                (
                    f"{'  ' * depth}{label}{times}",
                    str(row.output_shape),
                    f"{row.parameters:,}" if row.parameters else "-",
                    f"{row.multiply_adds:,}" if row.multiply_adds else "-",
                )
            )
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            f"{a:{widths[0]}}  {b:{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}".rstrip()
            for a, b, c, d in cells
        ]
        rule = "-" * (sum(widths) + 6)
        frozen = self.parameters - self.trainable
        note = f", {frozen:,} of them frozen" if frozen else ""
        return "\n".join([
            lines[0], rule, *lines[1:], rule,
            f"parameters: {self.parameters:,}{note}, {_size(self.parameter_bytes)} with buffers",
            f"multiply-adds: {self.multiply_adds:,}",
            f"activations kept for the backward pass: {_size(self.activation_bytes)}, "
            f"input: {_size(self.input_bytes)}",
        ])  # fmt: skip


def _size(count: int) -> str:
    """A number of bytes as text."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count} B"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"


def summary(model: Module, input_shape: Any, *, dtype: Any = None, device: Any = None) -> Summary:
    """A table of the layers of a model, from one forward pass over zeros of ``input_shape``.

    ``input_shape`` is a shape with the axis of the batch, such as (64, 3, 32, 32), a list of shapes
    for several inputs, or the inputs themselves as Tensors. ``dtype`` and ``device`` are those of
    the zeros: by default those of the model's first parameter; an `Embedding` needs "int64". The
    model runs in eval mode and is the same afterwards. The memory is that which the graph keeps for
    the backward pass when all parameters are trained, without parameters and inputs.

    DTypeError for what is no Module, ShapeError for what is no shape; errors of the model pass.

    >>> import gpugrad as gg
    >>> model = gg.nn.Sequential(gg.nn.Linear(3, 8), gg.nn.ReLU(), gg.nn.Linear(8, 2))
    >>> gg.nn.summary(model, (64, 3))
    layer        output shape  parameters  multiply-adds
    ----------------------------------------------------
    Sequential   (64, 2)                -          2,560
      0: Linear  (64, 8)               32          1,536
      1: ReLU    (64, 8)                -              -
      2: Linear  (64, 2)               18          1,024
    ----------------------------------------------------
    parameters: 50, 200 B with buffers
    multiply-adds: 2,560
    activations kept for the backward pass: 2.05 kB, input: 768 B
    """
    if not isinstance(model, Module):
        raise DTypeError(f"summary: expected a Module first, got {type(model).__name__}")
    parameters = list(model.parameters())
    first = next((p for p in parameters), None)
    inputs = _inputs(
        input_shape,
        dtype if dtype is not None or first is None else first.dtype,
        device if device is not None or first is None else first.device,
    )
    watch = _Watch()
    prepared = in_mode(model, training=False), _all_trained(parameters), _watched(model, watch)
    with prepared[0], prepared[1], prepared[2], enable_grad(), observed(watch), _counted(watch):
        model(*inputs)
    rows = tuple(watch.row(name, module) for name, module in model.named_modules()
                 if id(module) in watch.calls)  # fmt: skip
    state = [*parameters, *model.buffers()]
    return Summary(
        rows=rows,
        parameters=sum(p.size for p in parameters),
        trainable=sum(p.size for p in parameters if p.requires_grad),
        multiply_adds=watch.total,
        parameter_bytes=sum(tensor.nbytes for tensor in state),
        activation_bytes=watch.kept_bytes([*state, *inputs]),
        input_bytes=sum(x.nbytes for x in inputs),
    )


def _inputs(given: Any, dtype: Any, device: Any) -> list[Tensor]:
    """The inputs: zeros of one shape or of several, or Tensors as they are."""
    if hasattr(given, "dtype"):
        return [as_tensor(given)]
    if not isinstance(given, list | tuple) or not given:
        raise ShapeError(
            "summary: input_shape must be a shape such as (64, 3), a list of shapes, or Tensors; "
            f"got {given!r}"
        )
    if all(hasattr(n, "__index__") and not hasattr(n, "shape") for n in given):
        if min(n.__index__() for n in given) < 0:
            raise ShapeError(f"summary: a size must not be negative, got {given!r}")
        return [zeros(tuple(given), dtype=dtype, device=device)]
    return [x for one in given for x in _inputs(one, dtype, device)]


@contextmanager
def _all_trained(parameters: Sequence[Tensor]) -> Iterator[None]:
    """A block in which frozen parameters are recorded as well."""
    frozen = [p for p in parameters if not p.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_()
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


@contextmanager
def _watched(model: Module, watch: "_Watch") -> Iterator[None]:
    """A block in which the ``forward`` of each module reports its calls.

    A layer whose forward is replaced on the instance is not fused with its activation.
    """
    modules = list(model.modules())
    before = [vars(module).get("forward") for module in modules]
    try:
        for module in modules:
            vars(module)["forward"] = watch.reporting(module, module.forward)
        yield
    finally:
        for module, forward in zip(modules, before, strict=True):
            if forward is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = forward


@contextmanager
def _counted(watch: "_Watch") -> Iterator[None]:
    """A block in which all operations of this thread are counted, also those that none records."""
    thread = get_ident()

    def counted(op: Any, operands: Sequence[Any], parameters: Any) -> Any:
        if get_ident() != thread:
            return None
        y = calls.directly(op, operands, parameters)
        watch.count(_multiply_adds(op.name, parameters, operands, y))
        return y

    detours.use(counted, True, LAST)
    try:
        yield
    finally:
        detours.use(counted, False)


class _Watch:
    """Observes what is recorded, and the modules that are running."""

    def __init__(self) -> None:
        self.running: list[int] = []
        # By the identity of a module, which the model keeps alive.
        self.calls: dict[int, int] = {}
        self.shapes: dict[int, Any] = {}
        self.counts: dict[int, int] = {}
        self.total = 0
        self.nodes: list[Any] = []

    def reporting(self, module: Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The forward of a module, which is counted."""
        key = id(module)

        def reported(*args: Any, **kwargs: Any) -> Any:
            self.running.append(key)
            try:
                y = forward(*args, **kwargs)
            finally:
                self.running.pop()
            self.calls[key] = self.calls.get(key, 0) + 1
            self.shapes.setdefault(key, _shape(y))
            return y

        return reported

    def __call__(self, node: Any, raws: Sequence[Any], y: Any) -> None:
        self.nodes.append(node)

    def count(self, count: int) -> None:
        """So many multiply-adds more, of the modules that are running."""
        self.total += count
        for key in dict.fromkeys(self.running):
            self.counts[key] = self.counts.get(key, 0) + count

    def row(self, name: str, module: Module) -> Row:
        key = id(module)
        inside = {id(p) for child in module.children() for p in child.parameters()}
        own = sum(p.size for p in module.parameters() if id(p) not in inside)
        return Row(
            name, type(module).__name__, self.shapes[key], own, self.counts.get(key, 0),
            self.calls[key],
        )  # fmt: skip

    def kept_bytes(self, others: Sequence[Tensor]) -> int:
        """The bytes of the arrays that the nodes keep, each once, without those of ``others``."""
        seen = {id(_owner(tensor.data)) for tensor in others}
        total = 0
        for node in self.nodes:
            ys = node.y if isinstance(node.y, tuple) else (node.y,)
            for value in (*(node.values or ()), *ys):
                if not getattr(value, "ndim", 0) or not hasattr(value, "nbytes"):
                    continue  # a number, or the shape of an array that is not kept
                owner = _owner(value)
                if id(owner) not in seen:
                    seen.add(id(owner))
                    total += getattr(owner, "nbytes", value.nbytes)
        return total


def _owner(array: Any) -> Any:
    """The array whose memory a view looks at."""
    return namespace_of(array).owner_of(array)


def _shape(y: Any) -> Any:
    """The shape of an output, or the shapes of several as a list; their types for others."""
    if isinstance(y, dict):
        return [_shape(part) for part in y.values()]
    if isinstance(y, list | tuple):
        return [_shape(part) for part in y]
    return tuple(y.shape) if hasattr(y, "shape") else type(y).__name__


# ---------------------------------------------------------------- multiply-adds


def _of_product(raws: Any, y: Any) -> int:
    inner = raws[0].shape[-1]
    return math.prod(y.shape) * inner


def _of_linear(raws: Any, y: Any) -> int:
    return math.prod(raws[0].shape) * raws[1].shape[0]


def _of_convolution(raws: Any, y: Any) -> int:
    return math.prod(y.shape) * math.prod(raws[1].shape[1:])


def _of_transposed(raws: Any, y: Any) -> int:
    return math.prod(raws[0].shape) * math.prod(raws[1].shape[1:])


def _of_attention(raws: Any, y: Any) -> int:
    """The scores of all queries and keys, and the sums of the values."""
    q, k, v = raws[:3]
    return math.prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


def _of_steps(*weights: int) -> Callable[[Any, Any], int]:
    """Of the products with the input and the state at each step; ``weights`` are operands."""

    def count(raws: Any, y: Any) -> int:
        steps, samples = raws[0].shape[:2]
        return steps * samples * sum(math.prod(raws[index].shape) for index in weights)

    return count


PRODUCTS: dict[str, Callable[[Any, Any], int]] = {
    "matmul": _of_product,
    "linear": _of_linear,
    "attention_heads": _of_linear,
    "convolution": _of_convolution,
    "convolution_transpose": _of_transposed,
    "attention": _of_attention,
    "lstm": _of_steps(3, 4),
    "gru": _of_steps(2),
    "elman": _of_steps(2),
}


def _multiply_adds(name: str, parameters: Any, raws: Sequence[Any], y: Any) -> int:
    """The multiply-adds of one operation; 0 for those that are no products."""
    if name == "einsum_explicit":
        return _of_einsum(parameters["subscripts"], raws)
    rule = PRODUCTS.get("linear" if name.startswith("linear_") else name)
    return 0 if rule is None else rule(raws, y)


def _of_einsum(subscripts: str, raws: Sequence[Any]) -> int:
    """The size of all letters together, for each operand but the first."""
    sizes: dict[str, int] = {}
    for letters, raw in zip(subscripts.split("->")[0].split(","), raws, strict=True):
        sizes.update(zip(letters, raw.shape, strict=True))
    return math.prod(sizes.values()) * (len(raws) - 1)
