"""Functions that scan: an RNN, a Kalman filter, Runge and Kutta's method, and corners.

Each takes `gpugrad.scan`, or a loop of Python, and arrays of float64, of `inputs`; it
returns Tensors.
"""

import numpy as np

import gpugrad as gg

__all__ = ["CASES", "by_hand", "inputs"]


def by_hand(f, init, xs=None, length=None, reverse=False, checkpoint=None):
    """A scan as one would write it without `gpugrad.scan`, of one array xs, or a dict of them."""
    if isinstance(xs, dict):
        length = len(next(iter(xs.values())))
    elif xs is not None:
        length = len(xs)
    carry, ys = init, [None] * length
    for i in reversed(range(length)) if reverse else range(length):
        x = {key: value[i] for key, value in xs.items()} if isinstance(xs, dict) else xs
        carry, ys[i] = f(carry, x if isinstance(xs, dict) or xs is None else xs[i])
    if isinstance(ys[0], tuple):
        return carry, tuple(map(gg.stack, zip(*ys)))
    return carry, None if ys[0] is None else gg.stack(ys)


def rnn(scan, x, w, **kwargs):
    def step(h, one):
        h = gg.tanh(h @ w + one)
        return h, h.sum()

    h, ys = scan(step, gg.zeros_like(x[0]), x, **kwargs)
    return h.sum() + (ys * ys).sum()


def kalman(scan, x, w, **kwargs):
    a = w + w.T
    noise = gg.eye(3, dtype="float64", device=w.device)

    def step(state, seen):
        mean, p = a @ state[0] * 0.3, a @ state[1] @ a.T * 0.1 + noise
        gain = p / (p[0, 0] + 2.0)
        mean = mean + gain[:, 0] * (seen[0] - mean[0])
        p = p - gain[:, :1] @ p[:1]
        return (mean, p), (mean, p[0, 0])

    _, (means, variances) = scan(step, (x[0], noise), x, **kwargs)
    return (means * means).sum() + gg.log(variances).sum()


def runge_kutta(scan, x, w, **kwargs):
    def slope(y):
        return gg.stack([y[1], w[0, 0] * (1 - y[0] * y[0]) * y[1] - y[0], -y[2]])

    def step(y, _):
        h = 0.05
        a = slope(y)
        b = slope(y + h / 2 * a)
        c = slope(y + h / 2 * b)
        return y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c)), None

    y, _ = scan(step, x[0], None, 9, **kwargs)
    return (y * y).sum()


def counted(scan, x, w, **kwargs):
    """A whole number among the carry, a dict of arrays, of which one needs no gradient."""

    def step(carry, one):
        n, total = carry
        total = total + gg.where(one["mask"] > 0, one["x"] * total, gg.sin(one["x"])) / (n + 1)
        return (n + 1, total), (total[0] * w[0], n)

    xs = {"x": x, "mask": x.detach()}
    start = gg.zeros((), dtype="int64", device=x.device), gg.ones_like(x[0])
    (n, total), (ys, _) = scan(step, start, xs, **kwargs)
    return (total * n).sum() + ys.sum()


def nested(scan, x, w, **kwargs):
    def step(total, one):
        def inner(c, row):
            return c * 0.5 + gg.sin(row * one), None

        c, _ = scan(inner, total, w, **kwargs)
        return c, c[0] * one

    total, ys = scan(step, x[0] * 0, x, **kwargs)
    return total.sum() + (ys * ys).sum()


def unused(scan, x, w, **kwargs):
    """A carry and ys of which nothing depends on x, and one that passes through."""
    (same, total), ys = scan(lambda c, one: ((c[0], c[1] + w[0]), c[1]), (x[0], w[1]), x, **kwargs)
    return (same * total).sum() + ys.sum()


CASES = {f.__name__: f for f in (rnn, kalman, runge_kutta, counted, nested, unused)}


def inputs(device, seed=0):
    """The arrays x, of five steps, and w."""
    rng = np.random.default_rng(seed)
    arrays = rng.normal(size=(5, 3)), rng.normal(size=(3, 3)) / 2
    return [gg.tensor(device.send(array)) for array in arrays]
