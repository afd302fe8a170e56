"""Less memory for more time: a function runs again in the backward pass.

Imports random, tensor, engine and the modules beside it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.rules import zeros
from gpugrad.autodiff.run import check_function, connect, inside_since, is_recorded
from gpugrad.autodiff.transformed import transformed
from gpugrad.backend.device import default_device, device, to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.backward import run_backward
from gpugrad.engine.forward import push
from gpugrad.engine.modes import enable_grad, is_debugging, recording, running_again
from gpugrad.engine.node import Leaf, Node, next_serial
from gpugrad.engine.op import TABLE, Op
from gpugrad.engine.outputs import OutputsNode, pick
from gpugrad.errors import GradientError
from gpugrad.random.generator import draws, replayed
from gpugrad.tensor import GRAPH_MODE, TENSORS, Tensor
from gpugrad.tensor.views import changes_of_older

__all__ = ["checkpoint"]

Function = Callable[..., Any]


def checkpoint(f: Function) -> Function:
    """A function that computes the same as ``f`` and saves only its arguments for the gradient.

    The backward pass runs ``f`` again, with the same random numbers of gpugrad's generators, so
    results and gradients are the same to the bit. Parameters and other tensors that ``f`` uses
    without taking them as arguments get their gradients too. A chain of n layers, cut into pieces
    of √n layers with a checkpoint each, needs memory in proportion to √n. Derivatives of any
    order and forward mode go through it.

    ``f`` must do the same when it runs again. GradientError where an argument was changed in
    place since, where ``f`` is seen to do something else, and where it changes a tensor from
    outside in place with what it computed; in `debug_mode` also where it gives other values, since
    it draws from NumPy's generator, say.

    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> block = gg.checkpoint(lambda x: x * x * x)
    >>> block(x).sum().backward()
    >>> x.grad
    tensor([ 3., 12.])
    """
    check_function("checkpoint", f)

    @transformed(checkpoint, f)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        mode = recording.get()
        if not mode:
            return f(*args, **kwargs)
        with changes_of_older() as changed:
            result = _Call(f, args, kwargs).recorded(mode)
        if changed:
            raise GradientError(
                f"checkpoint: the function changes a tensor of shape {changed[0].shape} from "
                "outside in place. Its gradient would be lost, and the second run would change it "
                "again. Return the new value (`t.at[index].set(value)`, `t + d`)"
            )
        return result

    return checkpointed


class _Call:
    """One call of a checkpointed function: all that is needed to run it again."""

    def __init__(self, f: Function, args: Any, kwargs: Any) -> None:
        self.f = f
        leaves, self.tree = tree.flatten((args, kwargs))
        self.leaves: list[Any] = []  # None for those that are in a graph
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.constants: list[Any] = []
        for leaf in leaves:
            if is_recorded(leaf):
                self.leaves.append(None)
                self.nodes.append(leaf._node)
                self.arrays.append(leaf.data)
                continue
            self.leaves.append(leaf)
            raw = leaf.data if isinstance(leaf, Tensor) else leaf
            if namespace_of(raw) is not None:
                self.constants.append(raw)
        self.device = default_device()
        self.older: list[Any] = []  # the nodes of recorded tensors from outside of f
        self.states: Any = {}
        self.outputs: list[tuple[Any, Any]] = []
        self.seen: list[np.ndarray] = []  # in debug_mode the values of the outputs
        self.xp: Any = None

    def run(self, inputs: Sequence[Tensor], start: int) -> "_Result":
        """Run f on new tensors in the place of those in a graph."""
        rest = iter(inputs)
        leaves = [next(rest) if leaf is None else leaf for leaf in self.leaves]
        args, kwargs = tree.unflatten(self.tree, leaves)
        with enable_grad():
            result, structure = tree.flatten(self.f(*args, **kwargs))
        recorded = [leaf for leaf in result if is_recorded(leaf)]
        stop = dict.fromkeys(value._node for value in inputs)
        inside, older = inside_since([leaf._node for leaf in recorded], start, stop)
        return _Result(structure, result, recorded, inside, older)

    def recorded(self, mode: Any) -> Any:
        """The first run, with one node in place of all that it recorded."""
        start = next_serial()
        # Held by the node alone, so that they are freed with the graph.
        arrays, self.arrays = self.arrays, []
        inputs = [connect(Tensor(array)) for array in arrays]
        with draws() as self.states:
            done = self.run(inputs, start)
        self.older = done.older
        values = [*arrays, *_arrays_of(done), *self.constants]
        ys = tuple(leaf.data for leaf in done.recorded)
        if not ys:
            return tree.unflatten(done.structure, done.leaves)
        self.outputs, self.xp = _shapes(done), namespace_of(ys[0])
        if is_debugging():
            self.seen = [np.array(to_numpy(y)) for y in ys]
        whole = OutputsNode(
            CHECKPOINT,
            (*self.nodes, *self.older, *[None] * len(self.constants)),
            tuple(values),
            ys,
            self.xp,
            {"call": self},
        )
        if mode is not True:
            mode(whole, values, ys)
        tensors = iter([Tensor(y, pick(whole, index, y)) for index, y in enumerate(ys)])
        leaves = [next(tensors) if is_recorded(leaf) else leaf for leaf in done.leaves]
        return tree.unflatten(done.structure, leaves)

    def again(self, values: Sequence[Any], recorded: bool) -> tuple[list[Any], list[Any]]:
        """The nodes of the outputs, computed a second time, and those that they came from.

        ``values`` are the arguments: raw, or Tensors where the walk is recorded.
        Nodes from outside of f are replaced by new ones. So a walk down to them neither calls
        the hooks of the caller's tensors nor frees their graph: the outer walk does both.
        """
        start = next_serial()
        inputs = [
            connect(value if isinstance(value, Tensor) else Tensor(value))
            for value in values[: len(self.nodes)]
        ]
        ends = {node: self._end(node, recorded) for node in self.older}
        done = self._run_again(inputs, start)
        outputs = _shapes(done)
        if done.older != self.older or outputs != self.outputs:
            raise GradientError(
                "checkpoint: the function did something else when it ran again for the gradient: "
                f"expected {_described(self.outputs, self.older)}, got "
                f"{_described(outputs, done.older)}. "
                "It must not depend on what changes between the two runs"
            )
        if not all(map(_is_close, self.seen, [y.data for y in done.recorded])):
            raise GradientError(
                "checkpoint: the function gave other values when it ran again for the gradient, "
                "which is therefore wrong. It may not draw from NumPy's generators, nor from one "
                "of its own that goes on between the runs: draw with gg.random, or take the "
                "numbers as arguments"
            )
        for node in done.inside:
            if isinstance(node, Node) and any(parent in ends for parent in node.parents):
                parents = tuple(ends.get(parent, parent) for parent in node.parents)
                node.values = tuple(
                    new if value is old else value  # the parent stands for an array not saved
                    for old, new, value in zip(node.parents, parents, node.values or ())
                )
                node.parents = parents
        roots = [ends.get(output._node, output._node) for output in done.recorded]
        return roots, [*(value._node for value in inputs), *ends.values()]

    def _end(self, node: Any, recorded: bool) -> Any:
        if not recorded:
            return Leaf(Tensor(None), node.shape, node.dtype)
        # A child of the node it replaces, so that the recorded walk leads there.
        return Node(
            TABLE["positive"], (node,), (node,), None, self.xp, node.shape, node.dtype, None
        )

    def forward(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The raw outputs, computed a second time for tools that show the graph's values."""
        inputs = [connect(Tensor(array)) for array in arrays[: len(self.nodes)]]
        return tuple(leaf.data for leaf in self._run_again(inputs, next_serial()).recorded)

    def _run_again(self, inputs: Sequence[Tensor], start: int) -> "_Result":
        """A later run: on the device of the first one, with its random numbers."""
        token = running_again.set(True)
        try:
            with device(self.device), replayed(self.states):
                return self.run(inputs, start)
        finally:
            running_again.reset(token)


class _Result(NamedTuple):
    """The result of one run, and its graph."""

    structure: tree.Tree
    leaves: list[Any]
    recorded: list[Tensor]  # the leaves that are part of a graph
    inside: list[Any]  # the nodes of this run
    older: list[Any]  # the nodes of recorded tensors from outside of f


def _arrays_of(done: _Result) -> list[Any]:
    """The arrays of tensors from outside of f, to notice changes of them; else the nodes."""
    arrays: dict[Any, Any] = {}
    for node in done.inside:
        if isinstance(node, Node):
            arrays.update(
                (parent, value)
                for parent, value in zip(node.parents, node.values or ())
                if parent is not None and value is not parent
            )
    for node in done.older:
        tensor = node.tensor() if isinstance(node, Leaf) else None
        if tensor is not None:
            arrays[node] = tensor.data
    return [arrays.get(node, node) for node in done.older]


def _shapes(done: _Result) -> list[tuple[Any, Any]]:
    return [(y.shape, y.dtype) for y in done.recorded]


def _is_close(seen: np.ndarray, again: Any) -> bool:
    """Whether values are the same, but for a GPU's order of sums."""
    most = float(np.max(np.abs(seen), initial=0.0, where=np.isfinite(seen)))
    return np.allclose(to_numpy(again), seen, rtol=1e-2, atol=1e-3 * most, equal_nan=True)


def _described(outputs: list[tuple[Any, Any]], older: list[Any]) -> str:
    shapes = ", ".join(f"{dtype} of shape {tuple(shape)}" for shape, dtype in outputs)
    return f"outputs {shapes or 'none'} from {len(older)} recorded tensors from outside"


def _pull(xp: Any, g: Any, y: Any, needs: Any, *values: Any, call: _Call) -> list[Any]:
    recorded = xp is TENSORS
    roots, sources = call.again(values, recorded)
    seeds = list(zip(roots, g))
    targets = [node for node, need in zip(sources, needs) if need]
    gradients = run_backward(seeds, graph=GRAPH_MODE if recorded else None, targets=targets)
    ds = [
        None if not need else gradients[node] if node in gradients else zeros(xp, g[0], node)
        for node, need in zip(sources, needs)
    ]
    return ds + [None] * len(call.constants)


def _push(xp: Any, tangents: Any, y: Any, *values: Any, call: _Call) -> tuple[Any, ...]:
    nodes, sources = call.again(values, True)
    known = {node: t for node, t in zip(sources, tangents) if t is not None}
    some = next(iter(known.values()))
    with enable_grad():
        pushed = push(known, nodes, GRAPH_MODE)
    return tuple(
        zeros(xp, some, node) if tangent is None else tangent
        for node, tangent in zip(nodes, pushed)
    )


# Not an op of the table: its parameter is the function to run.
CHECKPOINT = Op(
    "checkpoint",
    lambda xp, /, *arrays, call: call.forward(arrays),
    vjp_all=_pull,
    jvp=_push,
    saves="arrays",
    outputs=True,
    doc="A function that runs again in the backward pass.",
)
