"""The update formulas: pure functions over one parameter and its state, for every device.

Imports nothing. A rule takes the array module (numpy, cupy or sim), a parameter's array, its
gradient, the state arrays and scratch arrays, all of one shape and dtype, and numbers. It changes
the parameter, the state and the scratch in place, but never the gradient. The arrays may be those
of a parameter, of a block of a large one, or of many small ones concatenated, so a rule is
elementwise. (Those that are not stand in files of their own: `lamb`, `muon`.)

Everything here is done by ufuncs of the module with an output array. Such a rule is recorded once
(see `recorded`), and on a GPU becomes one kernel; another works as well, over copies.

A number is None where its term is absent. A rule never reads the value of another: it may be a
Python float, a 0-d array of the parameter's dtype (quicker on NumPy), or a 0-d array on the device,
as a captured step would need for the numbers that change. In the formulas d is what a step goes
against: the gradient, or minus the gradient where ``ascends`` is not None, plus weight_decay p.
"""

from typing import Any

__all__ = [
    "adadelta", "adagrad", "adam", "adamax", "asgd", "descent", "lion", "moments", "nadam", "radam",
    "rmsprop", "rprop", "sgd", "toward",
]  # fmt: skip

Number = Any
Arrays = tuple[Any, ...]


def descent(xp: Any, p: Any, g: Any, out: Any, weight_decay: Number, ascends: Number, /) -> Any:
    """What a step goes against: g or -g, + weight_decay p. It is g itself, or written to out."""
    if weight_decay is not None:
        xp.multiply(p, weight_decay, out)
        (xp.add if ascends is None else xp.subtract)(out, g, out)
        return out
    if ascends is not None:
        xp.negative(g, out)
        return out
    return g


def moments(
    xp: Any, m: Any, v: Any, d: Any, s: Any,
    beta1: Number, rest1: Number, beta2: Number, rest2: Number,
) -> None:  # fmt: skip
    """Moving averages: m = beta1 m + rest1 d;  v = beta2 v + rest2 d d. ``s`` is scratch."""
    xp.multiply(m, beta1, m)
    xp.multiply(d, rest1, s)
    xp.add(m, s, m)
    _average_squares(xp, v, d, beta2, rest2, s)


def _average_squares(xp: Any, v: Any, d: Any, beta: Number, rest: Number, s: Any) -> None:
    """v = beta v + rest d d."""
    xp.multiply(v, beta, v)
    xp.multiply(d, d, s)
    xp.multiply(s, rest, s)
    xp.add(v, s, v)


def _approach(xp: Any, m: Any, d: Any, share: Number, s: Any) -> None:
    """m += share (d - m)."""
    xp.subtract(d, m, s)
    xp.multiply(s, share, s)
    xp.add(m, s, m)


def _move(xp: Any, p: Any, d: Any, rate: Any, s: Any) -> None:
    """p -= rate d."""
    xp.multiply(d, rate, s)
    xp.subtract(p, s, p)


# ---------------------------------------------------------------- descent


def sgd(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    lr: Number, momentum: Number, keep: Number, weight_decay: Number, look_ahead: Number,
    ascends: Number = None,
) -> None:  # fmt: skip
    """Gradient descent with momentum as PyTorch has it (Sutskever et al. 2013, lr outside).

    b = momentum b + keep d;  p -= lr b, or without momentum p -= lr d.
    Nesterov: p -= lr (d + momentum b), where ``look_ahead`` is lr momentum.
    """
    s = scratch[0]
    d = descent(xp, p, g, s, weight_decay, ascends)
    if momentum is not None:
        b = state[0]
        xp.multiply(b, momentum, b)
        if keep is not None:
            xp.multiply(d, keep, s)
            d = s
        xp.add(b, d, b)
        if look_ahead is not None:
            # Term by term: d occupies the scratch, and b must not change.
            _move(xp, p, d, lr, s)
            _move(xp, p, b, look_ahead, s)
            return
        d = b
    _move(xp, p, d, lr, s)


def asgd(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    shrink: Number, eta: Number, mu: Number, weight_decay: Number, ascends: Number,
) -> None:  # fmt: skip
    """Averaged descent (Polyak and Juditsky 1992), as PyTorch has it.

    p = shrink p - eta d;  a += mu (p - a), or a = p where ``mu`` is None.
    """
    (a,) = state
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    xp.multiply(p, shrink, p)
    _move(xp, p, d, eta, s)
    if mu is None:
        xp.multiply(p, 1.0, a)
    else:
        _approach(xp, a, p, mu, s)


def rprop(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    half: Number, bend: Number, least: Number, most: Number, ascends: Number,
) -> None:  # fmt: skip
    """Steps by the gradient's sign alone (Riedmiller and Braun 1993), as PyTorch has it.

    A step size grows by eta+ where the sign is that of the step before, and shrinks by eta- where
    it has changed; there nothing moves, and the next step counts as a first one. The state keeps
    the sign. ``half`` is (eta+ - eta-) / 2 and ``bend`` (eta+ + eta-) / 2 - 1, so that
    1 + half s + bend s s is eta+, 1 or eta- for the product s of the two signs.
    """
    before, size = state
    s, q, t = scratch
    multiply, add = xp.multiply, xp.add
    xp.sign(descent(xp, p, g, q, None, ascends), q)
    multiply(before, q, s)
    multiply(s, bend, t)
    add(t, half, t)
    multiply(t, s, t)
    add(t, 1.0, t)
    multiply(size, t, size)
    xp.maximum(size, least, out=size)
    xp.minimum(size, most, out=size)
    xp.greater_equal(s, 0.0, t)
    multiply(q, t, q)
    multiply(q, 1.0, before)
    _move(xp, p, q, size, s)


def lion(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    rest1: Number, rest2: Number, lr: Number, shrink: Number, ascends: Number,
) -> None:  # fmt: skip
    """Lion (Chen et al. 2023): steps by the sign of a moving average.

    p *= shrink;  p -= lr sign(m + rest1 (d - m));  m += rest2 (d - m).
    """
    (m,) = state
    s, out = scratch
    d = descent(xp, p, g, out, None, ascends)
    if shrink is not None:
        xp.multiply(p, shrink, p)
    xp.subtract(d, m, s)
    xp.multiply(s, rest1, s)
    xp.add(m, s, s)
    xp.sign(s, s)
    _move(xp, p, s, lr, s)
    _approach(xp, m, d, rest2, s)


def toward(xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays, share: Number) -> None:
    """p += share (g - p): a moving average of what stands in the place of the gradient."""
    _approach(xp, p, g, share, scratch[0])


# ---------------------------------------------------------------- scaled by past gradients


def adagrad(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    lr: Number, eps: Number, weight_decay: Number, ascends: Number,
) -> None:  # fmt: skip
    """Adagrad (Duchi et al. 2011): v += d d;  p -= lr d / (sqrt(v) + eps)."""
    (v,) = state
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    xp.multiply(d, d, s)
    xp.add(v, s, v)
    _scaled_step(xp, p, d, v, s, lr, eps)


def _scaled_step(xp: Any, p: Any, m: Any, v: Any, s: Any, rate: Number, eps: Number) -> None:
    """p -= rate m / (sqrt(v) + eps)."""
    xp.sqrt(v, s)
    xp.add(s, eps, s)
    xp.divide(m, s, s)
    _move(xp, p, s, rate, s)


def rmsprop(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    alpha: Number, rest: Number, eps: Number, lr: Number, momentum: Number, weight_decay: Number,
    ascends: Number,
) -> None:  # fmt: skip
    """RMSprop (Tieleman and Hinton 2012; centered: Graves 2013), as PyTorch has it.

    v = alpha v + rest d d;  p -= lr d / (sqrt(v) + eps), or with a momentum
    b = momentum b + d / (sqrt(v) + eps);  p -= lr b.
    With a state for the mean, a = alpha a + rest d, the root is of v - a a, which is never below 0
    but by rounding.
    """
    v, *more = state
    b = None if momentum is None else more.pop(0)
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    _average_squares(xp, v, d, alpha, rest, s)
    if more:
        (a,) = more
        _approach(xp, a, d, rest, s)
        xp.multiply(a, a, s)
        xp.subtract(v, s, s)
        xp.maximum(s, 0.0, out=s)
        v = s
    if b is None:
        _scaled_step(xp, p, d, v, s, lr, eps)
        return
    xp.sqrt(v, s)
    xp.add(s, eps, s)
    xp.divide(d, s, s)
    xp.multiply(b, momentum, b)
    xp.add(b, s, b)
    _move(xp, p, b, lr, s)


def adadelta(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    rho: Number, rest: Number, eps: Number, lr: Number, weight_decay: Number, ascends: Number,
) -> None:  # fmt: skip
    """Adadelta (Zeiler 2012): v = rho v + rest d d;  u = d sqrt(a + eps) / sqrt(v + eps);
    a = rho a + rest u u;  p -= lr u."""
    v, a = state
    s, out, u = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    _average_squares(xp, v, d, rho, rest, s)
    xp.add(v, eps, s)
    xp.sqrt(s, s)
    xp.add(a, eps, u)
    xp.sqrt(u, u)
    xp.divide(u, s, u)
    xp.multiply(u, d, u)
    _average_squares(xp, a, u, rho, rest, s)
    _move(xp, p, u, lr, u)


def adam(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    beta1: Number, rest1: Number, beta2: Number, rest2: Number, rate: Number, eps: Number,
    weight_decay: Number, shrink: Number, ascends: Number = None,
) -> None:  # fmt: skip
    """Adam (Kingma and Ba 2015, section 2, last paragraph) and AdamW (Loshchilov and Hutter 2019).

    p *= shrink (AdamW);  m and v as in `moments`;  p -= rate m / (sqrt(v) + eps). With a third
    state, the largest v so far takes its place (AMSGrad, Reddi et al. 2018).

    The bias corrections 1 - beta**t are in ``rate`` = lr sqrt(1 - beta2**t) / (1 - beta1**t) and
    in ``eps``, which is the optimizer's times sqrt(1 - beta2**t). This equals PyTorch's formula
    and takes one pass over memory less.
    """
    m, v, *largest = state
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    if shrink is not None:
        xp.multiply(p, shrink, p)
    moments(xp, m, v, d, s, beta1, rest1, beta2, rest2)
    if largest:
        xp.maximum(largest[0], v, out=largest[0])
        v = largest[0]
    _scaled_step(xp, p, m, v, s, rate, eps)


def adamax(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    rest1: Number, beta2: Number, eps: Number, rate: Number, weight_decay: Number, ascends: Number,
) -> None:  # fmt: skip
    """Adam with the norm of infinite order (Kingma and Ba 2015, section 7.1).

    m += rest1 (d - m);  u = max(beta2 u, abs(d) + eps);  p -= rate m / u.
    """
    m, u = state
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    _approach(xp, m, d, rest1, s)
    xp.multiply(u, beta2, u)
    xp.absolute(d, s)
    xp.add(s, eps, s)
    xp.maximum(u, s, out=u)
    xp.divide(m, u, s)
    _move(xp, p, s, rate, s)


def nadam(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    beta1: Number, rest1: Number, beta2: Number, rest2: Number, now: Number, ahead: Number,
    eps: Number, weight_decay: Number, shrink: Number, ascends: Number,
) -> None:  # fmt: skip
    """Adam with Nesterov's momentum (Dozat 2016), as PyTorch has it.

    m and v as in `moments`;  p -= (now d + ahead m) / (sqrt(v) + eps), where ``eps`` is the
    optimizer's times sqrt(1 - beta2**t), and that root is a factor of ``now`` and ``ahead`` too.
    """
    m, v = state
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    if shrink is not None:
        xp.multiply(p, shrink, p)
    moments(xp, m, v, d, s, beta1, rest1, beta2, rest2)
    xp.multiply(d, now, out)
    xp.multiply(m, ahead, s)
    xp.add(out, s, out)
    xp.sqrt(v, s)
    xp.add(s, eps, s)
    xp.divide(out, s, s)
    xp.subtract(p, s, p)


def radam(
    xp: Any, p: Any, g: Any, state: Arrays, scratch: Arrays,
    beta1: Number, rest1: Number, beta2: Number, rest2: Number, rate: Number, eps: Number,
    weight_decay: Number, shrink: Number, ascends: Number,
) -> None:  # fmt: skip
    """Adam whose first steps are those of momentum (Liu et al. 2020), as PyTorch has it.

    m and v as in `moments`;  p -= rate m / (sqrt(v) + eps), or p -= rate m where ``eps`` is None.
    """
    m, v = state
    s, out = scratch
    d = descent(xp, p, g, out, weight_decay, ascends)
    if shrink is not None:
        xp.multiply(p, shrink, p)
    moments(xp, m, v, d, s, beta1, rest1, beta2, rest2)
    if eps is not None:
        _scaled_step(xp, p, m, v, s, rate, eps)
        return
    _move(xp, p, m, rate, s)
