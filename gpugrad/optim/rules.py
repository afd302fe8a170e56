"""The update formulas: pure functions over one parameter and its state, for every device.

Imports nothing. A rule takes the array module (numpy, cupy or sim), a parameter's array, its
gradient, the state arrays and scratch arrays, all of one shape and dtype, and numbers. It changes
the parameter, the state and the scratch in place, but never the gradient. The arrays may be those
of a parameter, of a block of a large one, or of many small ones concatenated, so a rule is
elementwise.

A number is None where its term is absent. A rule never reads the value of another: it may be a
Python float, a 0-d array of the parameter's dtype (quicker on NumPy), or a 0-d array on the device,
as a captured step would need for the numbers that change.
"""

from typing import Any

__all__ = ["adam", "sgd"]

Number = Any


def sgd(
    xp: Any,
    p: Any,
    g: Any,
    state: tuple[Any, ...],
    scratch: tuple[Any, ...],
    lr: Number,
    momentum: Number,
    keep: Number,
    weight_decay: Number,
    look_ahead: Number,
) -> None:
    """Gradient descent with momentum as PyTorch has it (Sutskever et al. 2013, lr outside).

    d = g + weight_decay p;  b = momentum b + keep d;  p -= lr b, or without momentum p -= lr d.
    Nesterov: p -= lr (d + momentum b), where ``look_ahead`` is lr momentum.
    """
    s = scratch[0]
    multiply = xp.multiply
    d = g
    if weight_decay is not None:
        multiply(p, weight_decay, s)
        xp.add(s, g, s)
        d = s
    if momentum is not None:
        b = state[0]
        multiply(b, momentum, b)
        if keep is not None:
            multiply(d, keep, s)
            d = s
        xp.add(b, d, b)
        if look_ahead is not None:
            # Term by term: d occupies the scratch, and b must not change.
            multiply(d, lr, s)
            xp.subtract(p, s, p)
            multiply(b, look_ahead, s)
            xp.subtract(p, s, p)
            return
        d = b
    multiply(d, lr, s)
    xp.subtract(p, s, p)


def adam(
    xp: Any,
    p: Any,
    g: Any,
    state: tuple[Any, ...],
    scratch: tuple[Any, ...],
    beta1: Number,
    rest1: Number,
    beta2: Number,
    rest2: Number,
    rate: Number,
    eps: Number,
    weight_decay: Number,
    shrink: Number,
) -> None:
    """Adam (Kingma and Ba 2015, section 2, last paragraph) and AdamW (Loshchilov and Hutter 2019).

    p *= shrink (AdamW);  d = g + weight_decay p (Adam);  m = beta1 m + rest1 d;
    v = beta2 v + rest2 d d;  p -= rate m / (sqrt(v) + eps).

    The bias corrections 1 - beta**t are in ``rate`` = lr sqrt(1 - beta2**t) / (1 - beta1**t) and
    in ``eps``, which is the optimizer's times sqrt(1 - beta2**t). This equals PyTorch's formula
    and takes one pass over memory less.
    """
    m, v = state
    s = scratch[0]
    multiply, add = xp.multiply, xp.add
    if shrink is not None:
        multiply(p, shrink, p)
    if weight_decay is not None:
        d = scratch[1]
        multiply(p, weight_decay, d)
        add(d, g, d)
        g = d
    multiply(m, beta1, m)
    multiply(g, rest1, s)
    add(m, s, m)
    multiply(v, beta2, v)
    multiply(g, g, s)
    multiply(s, rest2, s)
    add(v, s, v)
    xp.sqrt(v, s)
    add(s, eps, s)
    xp.divide(m, s, s)
    multiply(s, rate, s)
    xp.subtract(p, s, p)
