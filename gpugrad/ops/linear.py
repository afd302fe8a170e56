"""The affine map of a layer, alone and with an activation after it. Imports engine and ops.

One op in place of three or four makes small networks quick. Each rule consists of table functions
and of parts that a namespace may have kernels for, so the derivative of a derivative follows as
everywhere.
"""

import inspect
import math
from typing import Any

from gpugrad.engine.op import TABLE, Op, Sample, op, part
from gpugrad.engine.pull import pull_back
from gpugrad.ops import activations, elementwise  # noqa: F401  the activations are theirs
from gpugrad.ops.linalg import adds_product


def _rows(x: Any) -> Any:
    """x with all axes but the last made one: a product of two matrices beats a batch of them."""
    return x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def _linear(xp: Any, x: Any, weight: Any, bias: Any = None, /) -> Any:
    y = xp.matmul(x if 0 < len(x.shape) < 3 else _rows(x), weight.T)
    if bias is not None:
        if y.dtype == bias.dtype:
            y += bias  # y is new memory
        else:
            y = y + bias
    return y if len(x.shape) < 3 else y.reshape((*x.shape[:-1], y.shape[-1]))


def _product(xp: Any, need: Any, a: Any, b: Any, turn_a: bool = False) -> Any:
    """a @ b or a.T @ b, a gradient; None where it is not needed, or was added to what is there."""
    if not need:
        return None
    if need is not True and xp.add_product and xp.add_product(need.total, a.T if turn_a else a, b):
        return None
    return xp.transposed_matmul(a, b) if turn_a else xp.matmul(a, b)


def _linear_vjp(
    xp: Any, g: Any, needs: tuple[Any, ...], x: Any, weight: Any, bias: Any
) -> tuple[Any, Any, Any]:
    rows = g if len(g.shape) == 2 else _rows(g)
    d_x = _product(xp, needs[0], rows, weight)
    if d_x is not None and len(x.shape) != 2:
        d_x = d_x.reshape(x.shape)
    d_weight = None
    if needs[1]:
        d_weight = _product(xp, needs[1], rows, x if len(x.shape) == 2 else _rows(x), True)
    d_bias = None
    if needs[2]:
        d_bias = xp.sum_of_rows(rows) if len(bias.shape) == 1 else g
    return d_x, d_weight, d_bias


def _linear_jvp(xp: Any, tangents: Any, y: Any, x: Any, weight: Any, bias: Any) -> Any:
    of_x, of_weight, of_bias = tangents
    terms = [] if of_x is None else [xp.linear(of_x, weight)]
    if of_weight is not None:
        terms.append(xp.linear(x, of_weight))
    if of_bias is not None:
        terms.append(xp.broadcast_to(of_bias, (*x.shape[:-1], weight.shape[0])))
    return sum(terms[1:], terms[0])


SAMPLES = (
    Sample((4, 3), (2, 3), (2,)),
    Sample((3,), (2, 3), (2,)),
    Sample((2, 4, 3), (2, 3), (2,)),
)
# fmt: off
part("sum_of_rows", lambda xp, x: xp.sum(x, axis=0))
part("linear_vjp", _linear_vjp)
linear = op("linear", _linear,
            vjp_all=lambda xp, g, y, needs, x, weight, bias: xp.linear_vjp(
                g, needs, x, weight, bias),
            jvp=_linear_jvp, adds=True, saves=("weight", "x", ""),
            complex="conjugate", samples=SAMPLES, public="nn.functional", autocast="half",
            doc="x @ weight.T + bias: the affine map of a layer; weight is (outputs, inputs).")
# As one operation its derivatives need no transpose, and their elements lie as its operands' do.
op("transposed_matmul", lambda xp, a, b, /: xp.matmul(a.T, b),
   vjp=[lambda xp, g, y, a, b: xp.linear(b, g), lambda xp, g, y, a, b: xp.matmul(a, g)],
   adds=[adds_product(lambda xp, g, a, b: (b, g.T)), adds_product(lambda xp, g, a, b: (a, g))],
   saves=("b", "a"), kind="multilinear", samples=[Sample((4, 3), (4, 2))], public="",
   autocast="half", doc="a.T @ b for two matrices: the gradient of a layer's weight.")
# fmt: on


# ---------------------------------------------------------------- with an activation

# ``name`` is that of an activation's op, ``settings`` are its parameters, ``between`` is what it is
# applied to, which a kernel need not give where it is not to be kept.


def _linear_activation(
    xp: Any, name: str, settings: dict[str, Any], x: Any, weight: Any, bias: Any, keep: bool
) -> tuple[Any, Any]:
    between = xp.linear(x, weight, bias)
    return getattr(xp, name)(between, **settings), between


def _linear_activation_vjp(
    xp: Any, name: str, settings: dict[str, Any], g: Any, needs: tuple[Any, ...], y: Any,
    between: Any, x: Any, weight: Any, bias: Any,
) -> tuple[Any, Any, Any]:  # fmt: skip
    (d,) = pull_back(TABLE[name], xp, g, y, (True,), (between,), settings)
    gradients: tuple[Any, Any, Any] = xp.linear_vjp(d, needs, x, weight, bias)
    return gradients


def _linear_activation_jvp(
    xp: Any, name: str, settings: dict[str, Any], tangents: Any, y: Any, between: Any, x: Any,
    weight: Any, bias: Any,
) -> Any:  # fmt: skip
    # The Jacobian of an activation is diagonal, so it pulls back as it pushes.
    tangent = _linear_jvp(xp, tangents, y, x, weight, bias)
    return pull_back(TABLE[name], xp, tangent, y, (True,), (between,), settings)[0]


part("linear_activation", _linear_activation)
part("linear_activation_vjp", _linear_activation_vjp)


def _with_activation(activation: Op) -> None:
    """Enter ``linear_relu`` and the like: the activation of `linear`, as one op."""
    name = activation.name
    (keep,), keep_y = activation.keeps((True,))

    def forward(xp: Any, x: Any, weight: Any, bias: Any = None, /, **settings: Any) -> Any:
        results = xp.linear_activation(name, settings, x, weight, bias, keep)
        return results if keep else results[0]

    def alone(xp: Any, x: Any, weight: Any, bias: Any = None, /, **settings: Any) -> Any:
        return xp.linear_activation(name, settings, x, weight, bias, False)[0]

    own = " ".join(["between"] * keep + ["y"] * keep_y)
    whole = inspect.signature(forward)
    leading = list(whole.parameters.values())[:-1]
    forward.__signature__ = whole.replace(  # type: ignore[attr-defined]
        parameters=[*leading, *activation.parameters.values()]
    )
    settings = activation.samples[-1].parameters if activation.samples else {}
    op(
        f"linear_{name}",
        forward,
        alone=alone,
        # Where the rule does not look at what came before the activation, y stands for its shape.
        vjp_all=lambda xp, g, y, needs, x, weight, bias, *between, **settings: (
            xp.linear_activation_vjp(name, settings, g, needs, y, (*between, y)[0], x, weight, bias)
        ),
        jvp=lambda xp, tangents, y, x, weight, bias, *between, **settings: _linear_activation_jvp(
            xp, name, settings, tangents, y, (*between, y)[0], x, weight, bias
        ),
        adds=True,
        residuals={"between": linear} if keep else None,
        saves=(f"weight {own}", f"x {own}", own),
        complex="conjugate" if activation.complex == "conjugate" else "refused",
        smooth=" ".join(activation.smooth),
        samples=[SAMPLES[0], Sample(*SAMPLES[2].shapes, **settings)],
        public="",
        autocast="half",
        doc=f"{name}(x @ weight.T + bias): a layer and its activation.",
    )


# Those that usually stand behind a layer; any other one is an operation of its own.
for _activation in ("relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "softplus", "tanh"):
    _with_activation(TABLE[_activation])
