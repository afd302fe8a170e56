"""Random functions of two matrices over Tensors, of 5 to 30 operations.

A function is a number: what it does is drawn as it runs, and depends on shapes alone.
"""

from random import Random

import gpugrad as gg

__all__ = ["BINARY", "UNARY", "changed", "program"]

UNARY = (
    gg.sin, gg.tanh, gg.abs, gg.special.erf,
    lambda a: -a, lambda a: a * 1, lambda a: 1 - a, lambda a: a.detach() * a,
    lambda a: gg.exp(-a * a), lambda a: gg.log1p(a * a), lambda a: gg.sqrt(a * a + 0.5),
    lambda a: gg.nn.functional.relu(a) + 0.1, lambda a: gg.clip(a, -1.0, 0.8),
)  # fmt: skip
BINARY = (
    lambda a, b: a + b, lambda a, b: a - b, lambda a, b: gg.tanh(a) * b, gg.maximum, gg.hypot,
    lambda a, b: a / (b * b + 1), lambda a, b: gg.where(a > b, a, b * 0.5),
    lambda a, b: gg.where(b > 0, a, 0) + b.sum(), gg.logaddexp,
)  # fmt: skip
MATRIX = (
    lambda a: a.T @ a / 8, lambda a: a.sum(axis=0), lambda a: a.mean(axis=1, keepdims=True) + a,
    lambda a: a.max(axis=0), lambda a: a[:, ::-1], lambda a: a[1:], lambda a: a.reshape(-1),
    lambda a: gg.softmax(a, axis=1), lambda a: gg.concat([a, a * 2], axis=1), lambda a: a.T,
    lambda a: gg.cumsum(a, axis=0) / 4, lambda a: a[:, [1, 0]], lambda a: a - a.sum(axis=0),
)  # fmt: skip

# Of matrices as well, for `gg.vmap`: products, linear algebra and indices that depend on values.
OF_BATCHES = (
    lambda a: gg.sort(a, axis=0), lambda a: a[gg.argsort(a[:, 0])], lambda a: gg.tril(a) + a,
    lambda a: gg.take_along_axis(a, gg.argsort(a, axis=1), axis=1) * a,
    lambda a: a.at[gg.argmax(a, axis=0), gg.arange(a.shape[1])].add(a[0] * 2),
    lambda a: a.at[gg.argmax(a[:, 0])].set(a[0]), lambda a: a[gg.argmin(a[:, 1])],
    lambda a: gg.linalg.solve(a @ a.T + 2 * gg.eye(len(a), dtype="float64"), a),
    lambda a: gg.einsum("ij,kj->ik", a, gg.tanh(a)), lambda a: gg.einsum("ij->j", a * a),
    lambda a: gg.outer(a[0], a[:, 0]), lambda a: a[:, :1] * a[:1], lambda a: a[:, :1] @ a[:1],
    lambda a: gg.logsumexp(a, axis=1), lambda a: gg.var(a, axis=0), lambda a: gg.roll(a, 1, axis=1),
    lambda a: gg.pad(a, ((1, 0), (0, 1))), lambda a: gg.stack([a[0], a[-1] * 2], axis=1),
    lambda a: a @ a[0], lambda a: a[:, 0] @ a, lambda a: gg.cumprod(gg.tanh(a), axis=1),
    lambda a: gg.prod(gg.tanh(a) + 1, axis=0), lambda a: gg.where(a > a.mean(axis=0), a, 0.1),
    lambda a: gg.linalg.inv(a @ a.T + gg.eye(len(a), dtype="float64")),
    lambda a: gg.diagonal(a), lambda a: gg.median(a, axis=1), lambda a: gg.linalg.norm(a, axis=1),
)  # fmt: skip


def changed(rng, a, b, is_apart=False):
    """A copy of a, changed in place by an element of b: whole, in a part, or by a view."""
    number = b.reshape(-1)[0]
    own = a + number * 0 if is_apart else a * 1.0
    way = rng.randrange(4)
    if way == 0:
        own += number
    elif way == 1:
        own[0] = number
    elif way == 2:
        own[..., -1] *= number
    else:
        part = own[:1]
        part -= number
    return own


def program(number, x, w, most=30, is_apart=False):
    """The value of a program, from two matrices: one number.

    ``is_apart`` says that x and w may have axes, by `gg.vmap`, that the other one lacks: then what
    is changed in place is made to have those of the values it gets.
    """
    rng = Random(number)
    values = [x, w]
    for _ in range(rng.randint(5, most)):
        a, b = rng.choice(values[-4:]), rng.choice(values)
        kind = rng.randrange(6 if is_apart else 5)
        if kind in (0, 5) and a.ndim == 2 and min(a.shape) > 1 and a.size < 100:
            a = rng.choice(OF_BATCHES if kind else MATRIX)(a)
        elif kind == 1:
            a = changed(rng, a if a.ndim else a.reshape(1), b, is_apart)
        elif kind == 2:
            a = rng.choice(UNARY)(a)
        else:
            fits = [v for v in values if v.shape == a.shape or not v.ndim] or [a]
            a = rng.choice(BINARY)(a, rng.choice(fits))
        values.append(a)
    return sum(((v * (i + 1)).mean() for i, v in enumerate(values[-3:])), (x * w).mean())
