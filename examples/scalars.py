"""Derivatives of small scalar expressions, node by node.

A product of sums, a neuron (with tanh, and again with exp), numbers on either side of every
operator, a value that is used twice, and each derivative beside a finite difference. Run it with:
python examples/scalars.py --plot neuron.dot
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import common

import gpugrad as gg

DIGITS = {"float32": 6, "float64": 12}
STEPS = {"float32": 2.0**-8, "float64": 2.0**-20}

# Functions of one argument, as text and as code, and the points to differentiate them at.
EXPRESSIONS: list[tuple[str, Callable[[gg.Tensor], gg.Tensor], float]] = [
    ("a + 2", lambda a: a + 2, -4.0),
    ("2 + a", lambda a: 2 + a, -4.0),
    ("a - 2.5", lambda a: a - 2.5, -4.0),
    ("2.5 - a", lambda a: 2.5 - a, -4.0),
    ("a * 3", lambda a: a * 3, -4.0),
    ("3 * a", lambda a: 3 * a, -4.0),
    ("a / 4", lambda a: a / 4, -4.0),
    ("4 / a", lambda a: 4 / a, -4.0),
    ("-a", lambda a: -a, -4.0),
    ("a ** 3", lambda a: a**3, -4.0),
    ("a ** -2", lambda a: a**-2, -4.0),
    ("a ** 0.5", lambda a: a**0.5, 4.0),
    ("2 ** a", lambda a: 2**a, 4.0),
    ("relu(a)", gg.relu, 4.0),
    ("relu(a)", gg.relu, -4.0),
    ("tanh(a)", gg.tanh, 0.5),
    ("tanh(a)", gg.tanh, 1000.0),
    ("a + a", lambda a: a + a, 3.0),
    ("3*a**2 - 4*a + 5", lambda a: 3 * a**2 - 4 * a + 5, -3.0),
    ("2 * -3 + a", lambda a: 2.0 * -3.0 + a, 10.0),
]


def leaf(value: float, name: str) -> gg.Tensor:
    """A number that requires a gradient."""
    return gg.tensor(value, requires_grad=True, name=name)


def named(tensor: gg.Tensor, name: str) -> gg.Tensor:
    """The tensor itself, with a name for the tables and the drawing."""
    tensor.name = name
    return tensor


def show(title: str, nodes: Sequence[gg.Tensor], digits: int) -> None:
    """Print each node's value and gradient, before and after the backward pass of the last.

    ``backward`` keeps the gradients of leaves, in ``grad``; ``gg.gradients`` gives those of
    the values in between.
    """
    result = nodes[-1]
    before = [node.grad if node.is_leaf else None for node in nodes]
    inner = [node for node in nodes if not node.is_leaf]
    gradients = dict(zip(inner, gg.gradients(result, inner, retain_graph=True)))
    result.backward(retain_graph=True)
    print(f"\n{title}")
    print(f"  {'':6} {'value':>20} {'before':>8} {'gradient':>20}")
    for node, grad in zip(nodes, before):
        first = "none" if grad is None else grad.item()
        after = node.grad if node.is_leaf else gradients[node]
        print(f"  {node.name:6} {node.item():20.{digits}g} {first:>8} {after.item():20.{digits}g}")


def addition() -> list[gg.Tensor]:
    """c = a + b."""
    a, b = leaf(-4.0, "a"), leaf(2.0, "b")
    return [a, b, named(a + b, "c")]


def product() -> list[gg.Tensor]:
    """L = (a·b + c)·f."""
    a, b, c, f = leaf(2.0, "a"), leaf(-3.0, "b"), leaf(10.0, "c"), leaf(-2.0, "f")
    e = named(a * b, "e")
    d = named(e + c, "d")
    return [a, b, c, f, e, d, named(d * f, "L")]


def neuron(activation: Callable[[gg.Tensor], gg.Tensor]) -> list[gg.Tensor]:
    """o = activation(x1·w1 + x2·w2 + b)."""
    x1, x2 = leaf(2.0, "x1"), leaf(0.0, "x2")
    w1, w2 = leaf(-3.0, "w1"), leaf(1.0, "w2")
    b = leaf(6.8813735870195432, "b")
    x1w1 = named(x1 * w1, "x1w1")
    x2w2 = named(x2 * w2, "x2w2")
    n = named(x1w1 + x2w2 + b, "n")
    return [x1, x2, w1, w2, b, x1w1, x2w2, n, named(activation(n), "o")]


def tanh_by_exp(n: gg.Tensor) -> gg.Tensor:
    """tanh spelled out; it overflows where gg.tanh does not."""
    e = gg.exp(2 * n)
    return (e - 1) / (e + 1)


@gg.no_grad()
def slope(f: Callable[[gg.Tensor], gg.Tensor], at: float, step: float) -> float:
    """The derivative by a small step to either side."""
    high, low = f(gg.tensor(at + step)), f(gg.tensor(at - step))
    return (high - low).item() / (2 * step)


def compare(digits: int, step: float) -> None:
    """Print exact derivatives beside numeric ones."""
    print("\nexact and numeric derivatives")
    print(f"  {'':17} {'a':>5} {'value':>20} {'exact':>20} {'numeric':>20}")
    for text, f, at in EXPRESSIONS:
        a = leaf(at, "a")
        value = f(a)
        value.backward()
        print(
            f"  {text:17} {at:5g} {value.item():20.{digits}g} {a.grad.item():20.{digits}g}"
            f" {slope(f, at, step):20.6g}"
        )


def drawing_path(text: str) -> Path:
    """A file for the drawing, for argparse, with a suffix."""
    path = Path(text)
    if not path.suffix:
        raise argparse.ArgumentTypeError(
            f"{text!r} has no suffix: .svg is a picture, .dot the source; .png and others need "
            "graphviz"
        )
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}; make it first")
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, and draw the neuron."""
    parser = common.parser("Derivatives of scalar expressions.", trains=False, dtype="float64")
    parser.add_argument(
        "--plot",
        type=drawing_path,
        metavar="FILE",
        help="draw the neuron's graph: .svg, .dot, and .png, … where graphviz is",
    )
    args = parser.parse_args(argv)
    device = common.setup(args)
    digits = DIGITS[args.dtype]
    print(f"scalars in {args.dtype} on {device}")

    show("c = a + b", addition(), digits)
    show("e = a*b; d = e + c; L = d*f", product(), digits)
    nodes = neuron(gg.tanh)
    show("a neuron: o = tanh(x1*w1 + x2*w2 + b)", nodes, digits)
    show("the same with e = exp(2*n); o = (e - 1)/(e + 1)", neuron(tanh_by_exp), digits)
    compare(digits, STEPS[args.dtype])

    if args.plot:
        gg.draw(nodes[-1], file=args.plot)
        print(f"\ndrawing of the neuron: {args.plot}")


if __name__ == "__main__":
    common.run(main)
