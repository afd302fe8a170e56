"""LAMB and Muon, whose rules look at a whole parameter: its norm, its products.

A rule that is not elementwise runs over one parameter after the other, on every device by the
functions of its array module, and nothing in it waits. What is elementwise between norms and
products is a part (`gpugrad.ops.steps`), one kernel on cuda. Imports backend and those beside it.
"""

import math
from collections.abc import Iterable
from typing import Any, ClassVar

from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.optim.algorithms import MOMENTS, ascends
from gpugrad.optim.apply import Numbers
from gpugrad.optim.optimizer import Group, Optimizer
from gpugrad.optim.parameters import named
from gpugrad.optim.rules import descent
from gpugrad.optim.settings import choice, settings_of

__all__ = ["LAMB", "Muon"]

Number = Any
Arrays = tuple[Any, ...]


def lamb(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    beta1: Number, rest1: Number, beta2: Number, rest2: Number, scale: Number, eps: Number,
    lr: Number, weight_decay: Number, ascends: Number,
) -> None:  # fmt: skip
    """LAMB (You et al. 2020, algorithm 2): Adam's direction, as long as the parameter.

    m and v as in `moments`;  u = scale m / (sqrt(v) + eps) + weight_decay p;
    p -= lr u norm(p) / norm(u), where that ratio is 1 if one of the norms is 0. The bias
    corrections are in ``scale`` and ``eps``, as in `gpugrad.optim.rules.adam`.
    """
    (m, v), parts = state, namespace_of(p)
    d = descent(xp, p, g, scratch[0], None, ascends)
    m[...] = parts.optim_average(m, d, beta1, rest1)
    v[...] = parts.optim_average_squares(v, d, beta2, rest2)
    u = parts.optim_direction(m, v, p, scale, eps, 0.0 if weight_decay is None else weight_decay)
    p[...] = parts.optim_lamb(p, u, *_norm(xp, p), *_norm(xp, u), lr)


def _norm(xp: Any, array: Any) -> tuple[Any, Any]:
    """The largest absolute value, and the sum of squares of the array divided by its `unit`.

    So squares are of moderate size; the Euclidean norm is the unit times the root of the sum.
    """
    if not array.size:
        return xp.zeros((), array.dtype), xp.zeros((), array.dtype)
    largest = xp.max(xp.absolute(array))
    flat = namespace_of(array).optim_scaled(array, largest).reshape(-1)
    return largest, xp.vdot(flat, flat)


class LAMB(Optimizer):
    """Adam whose step is in proportion to the parameter's norm: for large batches.

    The formulas are those of You et al. 2020; see `gpugrad.optim.matrices.lamb`. Each parameter
    moves by ``lr`` times its own norm. ``weight_decay`` times the parameter is part of the
    direction; put biases and what belongs to normalization into a group with 0. ``maximize`` and
    ``master_weights`` as in `gpugrad.optim.SGD`. The norms stay on the device.
    ValueError for betas outside [0, 1) and other settings below 0, DTypeError for complex
    parameters.

    >>> import gpugrad as gg
    >>> w = gg.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = gg.optim.LAMB([w], lr=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # by a tenth of the norm, which is 5
    >>> [round(x, 4) for x in w.tolist()]
    [2.6464, 3.6464]
    """

    rule = staticmethod(lamb)
    scratch = 1
    names = MOMENTS
    elementwise = False

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6, weight_decay: float = 0.01, *, maximize: bool = False,
        master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _check_parameter(self, index: int, p: Any) -> None:
        super()._check_parameter(index, p)
        _check_real(self._who(), index, p)

    def _values(self, group: Group, t: int) -> Numbers:
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**t)
        return (
            beta1, 1 - beta1, beta2, 1 - beta2, root / (1 - beta1**t), group["eps"] * root,
            group["lr"], group["weight_decay"] or None, ascends(group),
        )  # fmt: skip


def _check_real(who: str, index: int, p: Any) -> None:
    if p.dtype.kind == "c":
        raise DTypeError(f"{who}: {named(index, p)} is complex; expected real parameters")


# ---------------------------------------------------------------- Muon


def muon(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    lr: Number, rate: Number, momentum: Number, look_ahead: Number, decay: Number, eps: Number,
    ascends: Number, steps: int, *coefficients: float,
) -> None:  # fmt: skip
    """Muon (Jordan et al. 2024), as PyTorch has it: a step along the orthogonal matrix next to b.

    b = b + (1 - momentum) (d - b);  u = b, or Nesterov's d + momentum (b - d);
    p -= lr decay p;  p -= r orthogonal(u). The rate r is lr sqrt(max(1, rows / columns)), or
    ``rate`` sqrt(max(rows, columns)) where that is not None.
    """
    (b,) = state
    (s,) = scratch
    d = descent(xp, p, g, s, None, ascends)
    parts = namespace_of(p)
    b[...] = parts.optim_average(b, d, momentum, 1 - momentum)
    update = b
    if look_ahead is not None:
        update = parts.optim_average(b, d, look_ahead, 1 - look_ahead)
    direction = orthogonal(xp, update, coefficients, int(steps), eps)
    rows, columns = p.shape
    if rate is None:
        rate = lr * math.sqrt(max(1.0, rows / max(columns, 1)))
    else:
        rate = rate * math.sqrt(max(rows, columns))
    kept = 1.0 if decay is None else 1 - lr * decay
    p[...] = parts.optim_average(p, direction, kept, -rate)


def orthogonal(
    xp: Any, matrix: Any, coefficients: tuple[float, ...], steps: int, eps: float
) -> Any:
    """About the orthogonal factor of a matrix, by Newton and Schulz's iteration of fifth order.

    With a, b, c the coefficients, x = a x + (b x x' + c (x x')**2) x takes each singular value
    between 0 and 1 to about 1: with the usual ones, which rise steeply at 0, to 0.7 .. 1.2.
    """
    (a, b, c), parts = coefficients, namespace_of(matrix)
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = parts.optim_normal(x, *_norm(xp, x), eps)
    for _ in range(steps):
        gram = xp.matmul(x, x.T)
        polynomial = parts.optim_average(gram, xp.matmul(gram, gram), b, c)
        x = parts.optim_average(x, xp.matmul(polynomial, x), a, 1.0)
    return x.T if tall else x


class Muon(Optimizer):
    """Momentum made orthogonal: for the weight matrices of hidden layers.

    Names, settings and formulas are PyTorch's; see `gpugrad.optim.matrices.muon`. For matrices
    alone: train biases, embeddings and the last layer by `gpugrad.optim.AdamW`. A matrix shrinks
    by 1 - lr weight_decay and moves along the orthogonal matrix next to its ``momentum``, found by
    ``ns_steps`` products. ``adjust_lr_fn="match_rms_adamw"`` scales the step as Liu et al. 2025,
    so that a rate for AdamW fits; "original" (and None) as Jordan et al. 2024. The products are of
    the parameter's dtype, and of float32 for half precisions, where PyTorch's are of bfloat16.
    ``maximize`` and ``master_weights`` as in `gpugrad.optim.SGD`.
    ShapeError for anything but matrices, DTypeError for complex ones, ValueError for settings out
    of range.

    >>> import gpugrad as gg
    >>> w = gg.tensor([[3.0, 0.0], [0.0, 0.1]], requires_grad=True)
    >>> optimizer = gg.optim.Muon([w], lr=0.1, weight_decay=0.0, ns_steps=20)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # about as far in all directions, however small the gradient
    >>> [[round(x, 1) for x in row] for row in w.tolist()]
    [[2.9, 0.0], [0.0, 0.0]]
    """

    rule = staticmethod(muon)
    names = ("momentum_buffer",)
    elementwise = False
    ranges: ClassVar = {"ns_coefficients": (-math.inf, math.inf)}

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.1,
        momentum: float = 0.95, nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315), eps: float = 1e-7,
        ns_steps: int = 5, adjust_lr_fn: str | None = None, *, maximize: bool = False,
        master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, settings_of(locals()))

    def _check_parameter(self, index: int, p: Any) -> None:
        super()._check_parameter(index, p)
        _check_real(self._who(), index, p)
        if p.ndim != 2:
            raise ShapeError(
                f"Muon: {named(index, p)} is no matrix. Train it by another optimizer, as AdamW"
            )

    def _check(self, group: Group) -> None:
        super()._check(group)
        who = self._who()
        if group["ns_steps"] >= 100:
            raise ValueError(f"{who}: ns_steps must be below 100, got {group['ns_steps']}")
        if group["adjust_lr_fn"] is not None:
            name = f"{who}: adjust_lr_fn"
            choice(name, group["adjust_lr_fn"], "original", "match_rms_adamw")

    def _values(self, group: Group, t: int) -> Numbers:
        lr, momentum = group["lr"], group["momentum"]
        return (
            lr,
            0.2 * lr if group["adjust_lr_fn"] == "match_rms_adamw" else None,
            momentum,
            momentum if group["nesterov"] else None,
            group["weight_decay"] or None,
            group["eps"],
            ascends(group),
            group["ns_steps"],
            *group["ns_coefficients"],
        )
