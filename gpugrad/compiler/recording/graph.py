"""The graph behind the results of a compiled function: one node, whose rule is a program.

Imports program and the engine. While the function is recorded, so is the backward pass from its
results; what that reads of the forward pass are outputs of the first program and saved by the node.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from gpugrad.backend.namespace import namespace_of
from gpugrad.compiler.calls.places import Place
from gpugrad.compiler.programs.program import Program, Step, Value
from gpugrad.compiler.recording.recorded import Recorded
from gpugrad.compiler.recording.tape import Tape
from gpugrad.engine.backward import run_backward
from gpugrad.engine.modes import recording
from gpugrad.engine.node import HookedLeaf, HookedNode, Node
from gpugrad.engine.op import Op
from gpugrad.engine.operands import unwrap
from gpugrad.engine.record import attach_node
from gpugrad.errors import GradientError
from gpugrad.tensor import Tensor

__all__ = ["Backward", "Graph", "attached", "is_freed", "recorded_backward"]


class Graph(NamedTuple):
    """The backward pass from some results: by which tensors, and from what.

    ``program`` takes the gradients of the outputs ``roots`` and then what it reads of the forward
    pass, ``reads``: outputs by their number, and inputs by what finds them. It gives the gradients
    of the tensors that ``targets`` find.
    """

    program: Program
    roots: list[int]
    targets: list[Place]
    reads: list[int | Place]


def is_freed(node: Any) -> bool:
    """Whether a backward pass has freed what is behind a node, or a part of it: there is no other.

    As of a loss that is scaled after its backward pass, in order to be shown.
    """
    waiting, seen = [node], {node}
    while waiting:
        one = waiting.pop()
        if isinstance(one, Node):
            if one.values is None:
                return True
            new = {parent for parent in one.parents if parent is not None} - seen
            seen |= new
            waiting += new
    return False


class Backward(NamedTuple):
    """A backward pass that was recorded, before it is known what finds the values that it reads.

    ``seeds`` are the gradients of the outputs ``roots``; ``results`` those of the tensors that
    ``targets`` find.
    """

    roots: list[int]
    seeds: list[Value]
    steps: list[Step]
    targets: list[Place]
    results: list[Value]

    def graph(
        self, finds: dict[Value, Place], constants: dict[Value, Any], outputs: list[Value]
    ) -> Graph:
        """The program of the pass.

        What it reads of the forward pass joins the outputs, but for inputs in ``finds`` and the
        constants.
        """
        own = {value for step in self.steps for value in step.results} | {*self.seeds}
        used = [value for step in self.steps for value in step.values()] + self.results
        foreign = [value for value in dict.fromkeys(used) if value not in own]
        read = [value for value in foreign if value not in constants]
        reads: list[int | Place] = []
        for value in read:
            if value in finds:
                reads.append(finds[value])
            else:
                reads.append(len(outputs))
                outputs.append(value)
        known = {value: constants[value] for value in foreign if value in constants}
        program = Program([*self.seeds, *read], known, self.steps, self.results)
        return Graph(program, self.roots, self.targets, reads)


def recorded_backward(
    tape: Tape, roots: Sequence[tuple[Any, int]], targets: Sequence[tuple[Any, Place]]
) -> Backward:
    """Record the backward pass from Tensors, with the numbers of their outputs, to targets.

    ``targets`` are nodes, and what finds their tensors. The pass may meet arrays of its own, such
    as the masks of what was not chosen.
    """
    start = len(tape.steps)
    seeds = [tape.enter(_ones(tensor._array)) for tensor, _ in roots]
    starts = [(tensor._node, seed) for (tensor, _), seed in zip(roots, seeds)]
    ends = [node for node, _ in targets]
    with _without_hooks(ends):
        gradients = run_backward(starts, targets=ends, retain_graph=True)
    reached = [(gradients[node], find) for node, find in targets if node in gradients]
    results = [tape.lifted(gradient) for gradient, _ in reached]
    steps = tape.steps[start:]
    del tape.steps[start:]
    return Backward(
        [number for _, number in roots],
        [seed.first for seed in seeds],
        steps,
        [find for _, find in reached],
        results,
    )


@contextmanager
def _without_hooks(nodes: Sequence[Any]) -> Iterator[None]:
    """A block in which nodes have no hooks: those of tensors from outside are called outside."""
    hooked: list[tuple[Any, Any]] = [
        (node, type(node)) for node in nodes if isinstance(node, HookedLeaf | HookedNode)
    ]
    try:
        for node, kind in hooked:
            node.__class__ = kind.__base__
        yield
    finally:
        for node, kind in hooked:
            node.__class__ = kind


def _ones(recorded: Recorded) -> Any:
    array = recorded.array
    return namespace_of(array).ones_like(array)


def attached(
    name: str, graph: Graph, run: Callable[[Sequence[Any]], list[Any]]
) -> Callable[[Sequence[Any], Sequence[Any]], dict[int, Tensor]]:
    """What gives the results that have a graph by their number, from leaves and outputs.

    ``run`` runs the program of the backward pass.
    """
    count = len(graph.targets)

    def forward(xp: Any, *arrays: Any) -> Any:
        raise GradientError(f"{name}: a compiled function cannot be differentiated twice, {ADVICE}")

    def joint(xp: Any, g: Any, y: Any, needs: Any, *arrays: Any) -> list[Any]:
        if any(isinstance(one, Tensor) for one in (*g, *arrays)):
            return forward(xp)
        gradients = run([*g, *arrays[count:]])
        return [*gradients, *[None] * (len(arrays) - count)]

    forward.__signature__ = _SIGNATURE  # type: ignore[attr-defined]
    op = Op(name, forward, vjp_all=joint, saves="arrays", outputs=True, public="")

    def attach(leaves: Sequence[Any], arrays: Sequence[Any]) -> dict[int, Tensor]:
        reads = [arrays[r] if isinstance(r, int) else r(leaves) for r in graph.reads]
        raws, nodes, xp = unwrap(op, [*(find(leaves) for find in graph.targets), *reads])
        ys = tuple(arrays[number] for number in graph.roots)
        results = attach_node(op, raws, nodes, xp, None, ys, (), recording.get())
        return dict(zip(graph.roots, results))

    return attach


ADVICE = "nor in forward mode from outside. Compile the derivative: gg.compile(gg.grad(f))"
_SIGNATURE = inspect.signature(lambda xp, *arrays: None)
