"""Collectives over Tensors, raw arrays, numbers and trees, with derivatives. Imports autodiff.

Each is a linear op whose vjp is another of them (a sum everybody has: a sum; parts that are
gathered: a sum that is scattered; a broadcast: a sum at its root), so that derivatives of any order
and both modes come from these. A backward pass computes the gradient of the sum of all processes'
losses. All processes take part in it as in the forward pass: they agree on what is recorded.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.custom import CustomOp, custom_op
from gpugrad.autodiff.foreign import check_constant
from gpugrad.autodiff.leaves import leaf_type, restored
from gpugrad.autodiff.run import is_recorded
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.modes import recording, tracing
from gpugrad.errors import ArgumentError, BatchError, CompileError, DTypeError
from gpugrad.parallel.engine import OPS
from gpugrad.parallel.group import group
from gpugrad.tensor import Tensor

__all__ = ["all_gather", "all_reduce", "any_rank", "broadcast", "recv", "reduce_scatter", "send"]


def all_reduce(x: Any, op: str = "sum") -> Any:
    """The sum, mean, maximum or minimum of all processes' arrays, elementwise, on each of them.

    ``x`` is a Tensor, an array, a number or a bool, or a tree of them (dicts, lists, tuples,
    dataclasses), with the same shapes and dtypes on all processes; the result is made like it, on
    its device. Strings and None in a tree stay what they are on each process.

    ``op`` is "sum", "mean", "max" or "min". float16 and bfloat16 are added in float32 by MPI.

    The gradient is the same reduction of the processes' gradients; of a maximum it goes to the
    elements that are it, in equal parts.

    >>> import gpugrad as gg
    >>> gg.parallel.all_reduce({"loss": 0.5, "count": 32})
    {'loss': 0.5, 'count': 32}
    """
    if op not in OPS:
        raise ArgumentError(f"all_reduce: expected op to be one of {', '.join(OPS)}, got {op!r}")
    return _over_leaves("all_reduce", x, lambda leaf, note: _all_reduce(leaf, op=op, note=note))


def all_gather(x: Any) -> Any:
    """The arrays of all processes, stacked along a new first axis in the order of their ranks.

    ``x`` as in `all_reduce`; of an array of shape ``s`` the result has shape ``(size(), *s)``. Its
    gradient is `reduce_scatter`.

    >>> import gpugrad as gg
    >>> gg.parallel.all_gather(gg.tensor([1.0, 2.0]))
    tensor([[1., 2.]])
    """
    return _over_leaves("all_gather", x, lambda leaf, note: _all_gather(leaf, note=note))


def reduce_scatter(x: Any, op: str = "sum") -> Any:
    """Of a reduction over all processes, the part with the index of this process's rank.

    ``x`` as in `all_reduce`, of arrays of shape ``(size(), *s)``; the result has shape ``s``: it
    is ``all_reduce(x, op)[rank()]``, for less communication. Its gradient is `all_gather`.

    >>> import gpugrad as gg
    >>> gg.parallel.reduce_scatter(gg.tensor([[1.0, 2.0]]))
    tensor([1., 2.])
    """
    if op not in OPS:
        raise ArgumentError(
            f"reduce_scatter: expected op to be one of {', '.join(OPS)}, got {op!r}"
        )
    size = group().size
    for leaf in tree.flatten(x)[0]:
        if np.shape(leaf)[:1] != (size,):
            raise ArgumentError(
                f"reduce_scatter: expected arrays of shape ({size}, ...), one part for each of "
                f"{size} processes, got shape {tuple(np.shape(leaf))}"
            )
    return _over_leaves(
        "reduce_scatter", x, lambda leaf, note: _reduce_scatter(leaf, op=op, note=note)
    )


def broadcast(x: Any, root: int = 0) -> Any:
    """The array of process ``root``, on all of them.

    ``x`` as in `all_reduce`; those of the other processes say shape, dtype and device. Its
    gradient is the sum of all processes' gradients at the root, and zero elsewhere.

    >>> import gpugrad as gg
    >>> gg.parallel.broadcast([gg.tensor([1.0, 2.0]), 3])
    [tensor([1., 2.]), 3]
    """
    _check_rank("broadcast", "root", root, alone=True)
    return _over_leaves("broadcast", x, lambda leaf, note: _broadcast(leaf, root=root, note=note))


def send(x: Any, to: int) -> Any:
    """Send an array to process ``to``, which calls `recv` meanwhile; returns the array.

    ``x`` as in `all_reduce`. The receiver's gradient is added to that of the result: compute on
    with it, so that the backward pass comes here.
    """
    _check_rank("send", "to", to)
    return _over_leaves("send", x, lambda leaf, note: _send(leaf, to=to, note=note))


def recv(like: Any, source: int) -> Any:
    """The array that process ``source`` sends to this one.

    ``like`` is a tree, as in `all_reduce`, of what says shape, dtype and device: the sender's
    arrays must have them. Where a Tensor in it requires a gradient, so does the result, and the
    backward pass sends its gradient to the sender; that of ``like`` is zero.
    """
    _check_rank("recv", "source", source)
    return _over_leaves("recv", like, lambda leaf, note: _recv(leaf, source=source, note=note))


def any_rank(flag: bool) -> bool:
    """Whether the flag is true on any of the processes: all of them learn the same.

    So that they stop together where one of them has to:

    >>> import gpugrad as gg
    >>> gg.parallel.any_rank(False)
    False
    """
    answer = np.array([bool(flag)], np.uint8)
    group().engine(answer).all_reduce(answer, "max", note="any_rank")
    return bool(answer[0])


# ---------------------------------------------------------------- over trees


def _over_leaves(who: str, x: Any, apply: Callable[[Any, str], Any]) -> Any:
    leaves, structure = tree.flatten(x, flags=True)
    for path, value in structure.constants("x"):
        check_constant(who, path, value)
    if tracing.get() is not None:
        raise CompileError(
            f"{who}: processes cannot talk to each other inside of a compiled function. Compile "
            "what is between two messages"
        )
    return tree.unflatten(structure, [_applied(who, leaf, apply) for leaf in leaves])


def _applied(who: str, leaf: Any, apply: Callable[[Any, str], Any]) -> Any:
    kind = leaf_type(leaf)
    tensor = leaf
    if not isinstance(leaf, Tensor):
        tensor = Tensor(leaf if kind == "array" else np.asarray(leaf))
    if tensor.dtype.kind in "OSUmM":
        raise DTypeError(f"{who}: expected numbers, got an array of {tensor.dtype}")
    if getattr(namespace_of(tensor.data), "batched", False):
        raise BatchError(
            f"{who}: processes cannot talk to each other inside of vmap. Call {who} outside of "
            "it, on the whole batch"
        )
    note = "recorded" if is_recorded(tensor) and recording.get() else ""
    return restored(kind, apply(tensor, note))


def _check_rank(who: str, name: str, rank: Any, alone: bool = False) -> None:
    own, size = group().rank, group().size
    if not isinstance(rank, int | np.integer) or not 0 <= rank < size:
        raise ArgumentError(
            f"{who}: expected {name} to be the rank of one of the {size} processes, 0 to "
            f"{size - 1}, got {rank!r}"
        )
    if rank == own and not alone:
        raise ArgumentError(f"{who}: {name} is {rank}, which is this process itself")


# ---------------------------------------------------------------- the ops, over raw arrays
#
# A rule runs over raw arrays and over Tensors. In rules no note says whether derivatives are
# recorded: all processes differentiate alike if they have computed alike.


def _like(function: CustomOp, x: Any, /, **parameters: Any) -> Any:
    """An op on a Tensor, or on a raw array, which gives a raw array."""
    y = function(x, **parameters)
    return y if isinstance(x, Tensor) else y.data


def _reduced(xp: Any, x: Any, *, op: str, note: str = "") -> Any:
    y = x.copy()
    group().engine(y).all_reduce(y, op, note=note)
    return y


def _reduced_vjp(xp: Any, g: Any, y: Any, x: Any, *, op: str, note: str = "") -> Any:
    if op in ("sum", "mean"):
        return _like(_all_reduce, g, op=op)
    return _at_extreme(xp, _like(_all_reduce, g, op="sum"), y, x)


def _scattered(xp: Any, x: Any, *, op: str, note: str = "") -> Any:
    work = x.copy()
    group().engine(work).reduce_scatter(work, op, note=note)
    return work[group().rank].copy()


def _scattered_vjp(xp: Any, g: Any, y: Any, x: Any, *, op: str, note: str = "") -> Any:
    whole = _like(_all_gather, g)
    if op in ("sum", "mean"):
        return whole / group().size if op == "mean" else whole
    return _at_extreme(xp, whole, _like(_all_gather, y), x)


def _at_extreme(xp: Any, g: Any, y: Any, x: Any) -> Any:
    """The gradient of a maximum or minimum over the processes: equal parts where x is it."""
    mask = xp.astype(xp.equal(x, y), g.dtype)
    return g * mask / _like(_all_reduce, mask, op="sum")


def _gathered(xp: Any, x: Any, *, note: str = "") -> Any:
    y = namespace_of(x).empty((group().size, *x.shape), x.dtype)
    y[group().rank] = x
    group().engine(y).all_gather(y, note=note)
    return y


def _from_root(xp: Any, x: Any, *, root: int, note: str = "") -> Any:
    y = x.copy()
    group().engine(y).broadcast(y, root, note=note)
    return y


def _to_root(xp: Any, x: Any, *, root: int) -> Any:
    y = x.copy()
    group().engine(y).reduce(y, root)
    return y if group().rank == root else namespace_of(y).zeros_like(y)


def _sent(xp: Any, x: Any, *, to: int, note: str = "") -> Any:
    y = x.copy()
    group().engine(y).send(y, to, note=note)
    return y


def _received(xp: Any, x: Any, *, source: int, note: str = "") -> Any:
    y = namespace_of(x).empty(x.shape, x.dtype)
    group().engine(y).recv(y, source, note=note)
    return y


def _returned(xp: Any, g: Any, y: Any, x: Any, *, source: int, note: str = "") -> Any:
    sent = _like(_send, g, to=source)
    # Over Tensors a second derivative comes back from the sender, through what was sent.
    return 0 * sent if isinstance(g, Tensor) else None


_LINEAR: dict[str, Any] = {"saves": "", "kind": "linear"}
_all_reduce: CustomOp = custom_op(_reduced, _reduced_vjp, name="all_reduce")
_reduce_scatter: CustomOp = custom_op(_scattered, _scattered_vjp, name="reduce_scatter")
_all_gather: CustomOp = custom_op(
    _gathered, lambda xp, g, y, x, note: _like(_reduce_scatter, g, op="sum"),
    name="all_gather", **_LINEAR,
)  # fmt: skip
_broadcast: CustomOp = custom_op(
    _from_root, lambda xp, g, y, x, root, note: _like(_reduce, g, root=root),
    name="broadcast", **_LINEAR,
)  # fmt: skip
_reduce: CustomOp = custom_op(
    _to_root, lambda xp, g, y, x, root: _like(_broadcast, g, root=root),
    name="reduce", **_LINEAR,
)  # fmt: skip
_send: CustomOp = custom_op(
    _sent, lambda xp, g, y, x, to, note: g + _like(_recv, g, source=to),
    name="send", **_LINEAR,
)  # fmt: skip
_recv: CustomOp = custom_op(_received, _returned, name="recv", **_LINEAR)
