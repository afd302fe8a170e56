"""Less memory for more time: a function runs again in the backward pass.

Imports random, tensor, engine and the modules beside it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.levels import as_before, begun_anew, shared
from gpugrad.autodiff.rules import zeros
from gpugrad.autodiff.run import check_function, connect, inside_since, is_recorded
from gpugrad.autodiff.transformed import transformed
from gpugrad.backend.device import default_device, device, to_numpy
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine import autocast
from gpugrad.engine.backward import run_backward
from gpugrad.engine.hooks import silenced
from gpugrad.engine.modes import (
    enable_grad,
    in_rules,
    is_debugging,
    levels,
    recording,
    running_again,
)
from gpugrad.engine.node import Leaf, Node, next_serial
from gpugrad.engine.op import Op
from gpugrad.engine.outputs import OutputsNode, pick
from gpugrad.engine.support import asks_within
from gpugrad.errors import GradientError
from gpugrad.random.generator import draws, replayed
from gpugrad.tensor import Tensor
from gpugrad.tensor.views import changes_of_older

__all__ = ["arrays_of", "checkpoint"]

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
        self.levels = levels.get()  # of `vmap`: each run shares what is used in them
        self.leaves: list[Any] = []  # None for those that are in a graph
        self.nodes: list[Any] = []
        self.arrays: list[Any] = []
        self.constants: list[Any] = []
        for leaf in leaves:
            if is_recorded(leaf):
                self.leaves.append(None)
                leaf = shared(leaf)
                self.nodes.append(leaf._node)
                self.arrays.append(leaf.data)
                continue
            self.leaves.append(leaf)
            raw = leaf.data if isinstance(leaf, Tensor) else leaf
            if namespace_of(raw) is not None:
                self.constants.append(raw)
        self.device = default_device()
        self.autocast = autocast.state()
        self.older: list[Any] = []  # the nodes of recorded tensors from outside of f
        self.states: Any = {}
        self.outputs: list[tuple[Any, Any]] = []
        self.seen: list[np.ndarray] = []  # in debug_mode the values of the outputs

    def run(self, inputs: Sequence[Tensor], start: int) -> "_Result":
        """Run f on new tensors in the place of those in a graph."""
        rest = iter(inputs)
        leaves = [next(rest) if leaf is None else leaf for leaf in self.leaves]
        args, kwargs = tree.unflatten(self.tree, leaves)
        # A weight that is cast here is cast again in a later run.
        again = autocast.state_again(self.autocast)
        with enable_grad(), again, begun_anew(self.levels):
            result, structure = tree.flatten(self.f(*args, **kwargs))
        recorded = [leaf for leaf in result if is_recorded(leaf)]
        nodes = [value._node for value in inputs]
        inside, older = inside_since([leaf._node for leaf in recorded], start, dict.fromkeys(nodes))
        return _Result(nodes, structure, result, recorded, inside, older)

    def recorded(self, mode: Any) -> Any:
        """The first run, with one node in place of all that it recorded."""
        start = next_serial()
        # Held by the node alone, so that they are freed with the graph.
        arrays, self.arrays = self.arrays, []
        inputs = [connect(Tensor(array)) for array in arrays]
        with draws() as self.states:
            done = self.run(inputs, start)
        self.older = done.older
        values = [*arrays, *arrays_of(done.inside, done.older), *self.constants]
        ys = tuple(leaf.data for leaf in done.recorded)
        if not ys:
            return tree.unflatten(done.structure, done.leaves)
        self.outputs = _shapes(done)
        if is_debugging():
            self.seen = [np.array(to_numpy(y)) for y in ys]
        asks = asks_within([leaf._node for leaf in done.recorded], self.older)
        whole = OutputsNode(
            ASKING_CHECKPOINT if asks else CHECKPOINT,
            (*self.nodes, *self.older, *[None] * len(self.constants)),
            tuple(values),
            ys,
            namespace_of(ys[0]),
            {"call": self},
        )
        if mode is not True:
            mode(whole, values, ys)
        tensors = iter([Tensor(y, pick(whole, index, y)) for index, y in enumerate(ys)])
        leaves = [next(tensors) if is_recorded(leaf) else leaf for leaf in done.leaves]
        return tree.unflatten(done.structure, leaves)

    def again(self, arrays: Sequence[Any], parents: Sequence[Any]) -> "_Result":
        """A second run, on the arrays of the arguments, as children of the nodes ``parents``.

        Where that is None, an argument is a leaf.
        """
        done = self._run_again(arrays, parents)
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
        return done

    def forward(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The raw outputs, computed a second time for tools that show the graph's values."""
        return tuple(
            leaf.data for leaf in self._run_again(arrays, [None] * len(self.nodes)).recorded
        )

    def _run_again(self, arrays: Sequence[Any], parents: Sequence[Any]) -> "_Result":
        """A later run: on the device of the first one, with its random numbers."""
        start = next_serial()
        inputs = [connect(Tensor(*pair)) for pair in zip(arrays, parents[: len(self.nodes)])]
        again, rules = running_again.get(), in_rules.get()
        try:
            running_again.set(True)
            try:  # apart, so that no interrupt comes between the ends of the two
                in_rules.set(False)
                with device(self.device), replayed(self.states):
                    done = self.run(inputs, start)
            finally:
                in_rules.set(rules)
        finally:
            running_again.set(again)
        return done


class _Result(NamedTuple):
    """The result of one run, and its graph."""

    inputs: list[Any]  # the nodes of the arguments
    structure: tree.Tree
    leaves: list[Any]
    recorded: list[Tensor]  # the leaves that are part of a graph
    inside: list[Any]  # the nodes of this run
    older: list[Any]  # the nodes of recorded tensors from outside of f


def arrays_of(inside: Sequence[Any], older: Sequence[Any]) -> list[Any]:
    """The arrays of tensors from outside, to notice changes of them; else the nodes.

    ``inside`` are the nodes of a run, ``older`` those of tensors from outside.
    """
    arrays: dict[Any, Any] = {}
    for node in inside:
        if isinstance(node, Node):
            arrays.update(
                (parent, value)
                for parent, value in zip(node.parents, node.values or ())
                if parent is not None and value is not parent
            )
    for node in older:
        tensor = node.tensor() if isinstance(node, Leaf) else None
        if tensor is not None:
            arrays[node] = tensor.data
    return [arrays.get(node, node) for node in older]


def _shapes(done: _Result) -> list[tuple[Any, Any]]:
    return [(y.shape, y.dtype) for y in done.recorded]


def _is_close(seen: np.ndarray, again: Any) -> bool:
    """Whether values are the same, but for a GPU's order of sums."""
    most = float(np.max(np.abs(seen), initial=0.0, where=np.isfinite(seen)))
    return np.allclose(to_numpy(again), seen, rtol=1e-2, atol=1e-3 * most, equal_nan=True)


def _described(outputs: list[tuple[Any, Any]], older: list[Any]) -> str:
    shapes = ", ".join(f"{dtype} of shape {tuple(shape)}" for shape, dtype in outputs)
    return f"outputs {shapes or 'none'} from {len(older)} recorded tensors from outside"


def _expand(node: Any) -> list[Any]:
    """The nodes of a call's outputs in a graph that begins at its arguments."""
    with as_before(node.serial):
        done: _Result = node.parameters["call"].again(node.values, node.parents)
    return [output._node for output in done.recorded]


def _pull(xp: Any, g: Any, y: Any, needs: Any, *values: Any, call: _Call) -> list[Any]:
    """The gradient of each argument by itself, for tools that show or check a graph."""
    with silenced():
        done = call.again(values, [None] * len(call.nodes))
        seeds = [(out._node, d) for out, d in zip(done.recorded, g) if d is not None]
        sources = [*done.inputs, *call.older]
        targets = [node for node, need in zip(sources, needs) if need]
        gradients = run_backward(seeds, retain_graph=True, targets=targets)
    some = seeds[0][1]
    ds = [
        None if not need else gradients[node] if node in gradients else zeros(xp, some, node)
        for node, need in zip(sources, needs)
    ]
    return ds + [None] * len(call.constants)


def _checkpoint_op(finite: bool) -> Op:
    # Not an op of the table: its parameter is the function to run.
    return Op(
        "checkpoint",
        lambda xp, /, *arrays, call: call.forward(arrays),
        vjp_all=_pull,
        expand=_expand,
        finite=finite,
        saves="arrays",
        outputs=True,
        partial=True,
        doc="A function that runs again in the backward pass.",
    )


CHECKPOINT, ASKING_CHECKPOINT = _checkpoint_op(finite=True), _checkpoint_op(finite=False)
