"""Random programs over tensors that share memory, against memory in which each number has a slope.

`Dual` is the whole theory: values and their slopes by every input, in two NumPy arrays. A view is a
view of both, a change in place is one of both. So it is known of every element of every tensor what
its value and its gradient are, and nothing is refused.
"""

import numpy as np
import pytest
from arrays import host

import gpugrad as gg

# ---------------------------------------------------------------- values with slopes

INPUTS = 6


class Dual:
    """NumPy's values, and along one more axis their slopes by the inputs."""

    def __init__(self, value, slope=None):
        self.value = np.asarray(value)
        self.slope = np.zeros((*self.value.shape, INPUTS)) if slope is None else slope

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)

    def view(self, of):
        """``of`` of both, where the axis of slopes is the last; a view of both, or of neither."""
        value, slope = of(self.value, ()), of(self.slope, (INPUTS,))
        assert np.shares_memory(value, self.value) == np.shares_memory(slope, self.slope)
        return Dual(value, slope)

    def __getitem__(self, index):
        parts = index if isinstance(index, tuple) else (index,)
        if not any(part is Ellipsis for part in parts):
            parts = (*parts, Ellipsis)  # a view, also of one element
        return self.view(lambda a, more: a[(*parts, *[slice(None)] * len(more))])

    @property
    def T(self):  # noqa: N802
        axes = tuple(range(self.ndim))[::-1]
        return self.view(lambda a, more: a.transpose((*axes, *range(self.ndim, a.ndim))))

    def reshape(self, shape):
        return self.view(lambda a, more: a.reshape((*shape, *more)))

    def __iter__(self):
        return (self[i] for i in range(self.shape[0]))

    def copy(self):
        return Dual(self.value.copy(), self.slope.copy())

    def detach(self):
        return Dual(self.value)

    def sum(self):
        axes = tuple(range(self.ndim))
        return Dual(self.value.sum(), self.slope.sum(axis=axes))

    def __add__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other):
        other = other if isinstance(other, Dual) else Dual(other)
        a, b = self.value[..., None], other.value[..., None]
        return Dual(self.value * other.value, self.slope * b + a * other.slope)

    __radd__, __rmul__ = __add__, __mul__

    def change(self, new):
        self.value[...] = new.value
        self.slope[...] = new.slope
        return self

    def __iadd__(self, other):
        return self.change(self + other)

    def __imul__(self, other):
        return self.change(self * other)

    def __setitem__(self, index, new):
        self[index].change(new if isinstance(new, Dual) else Dual(new))


# ---------------------------------------------------------------- programs

BASES = {
    "constant": lambda w, constant: constant.copy(),
    "transposed constant": lambda w, constant: constant.copy().T,
    "recorded": lambda w, constant: w * 2.0,
    "part of a constant": lambda w, constant: constant.copy()[:, 1:],
    "parts of a constant": lambda w, constant: constant.copy()[1:],
}
VIEWS = {
    "row": lambda t: [t[0]] if t.shape[0] else [],
    "last": lambda t: [t[-1]] if t.shape[0] else [],
    "rest": lambda t: [t[1:]],
    "column": lambda t: [t[..., 0]] if t.shape[-1] else [],
    "backwards": lambda t: [t[::-1]],
    "every second": lambda t: [t[..., ::2]],
    "new axis": lambda t: [t[None]],
    "whole": lambda t: [t[...]],
    "T": lambda t: [t.T],
    "flat": lambda t: [t.reshape((-1,))],
    "as a column": lambda t: [t.reshape((-1, 1))],
    "unpacked": list,
    "indexed": lambda t: [t[i] for i in range(t.shape[0])],
    "columns": lambda t: [t[..., i] for i in range(t.shape[-1])],
    "halves": lambda t: [t[: t.shape[0] // 2], t[t.shape[0] // 2 :]],
}


def add(t, v, number):
    t += v


def multiply(t, v, number):
    t *= v


def set_first(t, v, number):
    t[:1] = v


def set_all(t, v, number):
    t[...] = v * number


def add_to_slice(t, v, number):
    t[1:] += v


def reverse(t, v, number):
    t[:] = t[::-1] * number


def rows(t, v, number):
    for row in t if t.ndim > 1 else ():
        row *= v


def exchange(t, v, number):
    t[:1] = t[-1:] * number
    t *= t


def constant(t, v, number):
    t[:1] = number


CHANGES = [
    add, multiply, set_first, set_all, add_to_slice, reverse, rows, exchange, constant,
]  # fmt: skip


def program(seed):
    """Steps: what is done, to which of the tensors, and two numbers."""
    rng = np.random.default_rng(seed)
    sorts = ["view"] * 4 + ["change"] * 5 + ["read", "drop", "no_grad", "detach"]
    steps = []
    for _ in range(9):
        sort = sorts[rng.integers(len(sorts))]
        name = [*VIEWS][rng.integers(len(VIEWS))] if sort in ("view", "no_grad") else ""
        change = CHANGES[rng.integers(len(CHANGES))]
        which, number = int(rng.integers(100)), float(rng.integers(1, 5)) / 4
        steps.append((sort, name, change, which, number))
    return steps


def run(steps, make, w, recorded, detached, is_flat):
    """Carry out a program: the tensors over the memory, what was computed of them, detached views.

    ``recorded`` says that all of the memory is in a graph from the start, ``detached(view,
    t)`` gives views without one. Where ``is_flat`` says no of a tensor it is not reshaped: it
    depends on its layout then whether that is a view.
    """
    tensors, reads, outside = [make()], [], []
    for sort, name, change, which, number in steps:
        t = tensors[which % len(tensors)]
        if name in ("flat", "as a column") and not is_flat(t):
            pass
        elif sort == "drop" and len(tensors) > 1:
            del tensors[which % len(tensors)]
        elif sort == "view" and len(tensors) < 20:
            tensors += [one for one in VIEWS[name](t) if one.ndim]  # an element is a value
        elif sort == "change":
            change(t, w[which % 2, which % 3] * number, number)
        elif sort == "read":
            reads.append(t * t * w[1, which % 3])
        elif sort == "no_grad" and recorded:
            outside += [one for one in detached(VIEWS[name], t) if one.ndim]
        elif sort == "detach" and recorded:
            outside.append(t.detach())
            reads.append(outside[-1] * w[0, which % 3])  # which saves it
        del t
    return tensors, reads, outside


def without_graph(view, t):
    with gg.no_grad():
        return view(t)


def without_slopes(view, t):
    return [one.detach() for one in view(t)]


@pytest.mark.parametrize("first", range(0, 30, 10))
@pytest.mark.parametrize("name", BASES)
def test_programs_over_one_memory(name, first, device):
    for seed in range(first, first + 10):
        check(name, seed, device)


def check(name, seed, device):
    steps = program(seed)
    words = f"{name}, {seed}: {steps}"
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.5, 1.5, (2, 3))
    constant = rng.uniform(0.5, 1.5, (2, 4) if name == "part of a constant" else (4, 3))
    constant = constant[:2, :4]
    leaf = gg.tensor(w, device=device, requires_grad=True)
    layouts = []

    def is_flat(t):
        layouts.append(t.value.flags.c_contiguous)
        return layouts[-1]

    inputs = Dual(w, np.eye(INPUTS).reshape(2, 3, INPUTS))
    recorded = name == "recorded"
    base = lambda: BASES[name](inputs, Dual(constant))  # noqa: E731
    expected = run(steps, base, inputs, recorded, without_slopes, is_flat)
    known = iter(layouts)
    base = lambda: BASES[name](leaf, gg.tensor(constant, device=device))  # noqa: E731
    found = run(steps, base, leaf, recorded, without_graph, lambda t: next(known))

    loss, slope = leaf.sum() * 0.0, np.zeros(INPUTS)
    for some, others in zip(found, expected, strict=True):
        for one, other in zip(some, others, strict=True):
            np.testing.assert_allclose(host(one), other.value, rtol=1e-10, err_msg=words)
            weights = rng.uniform(-1.0, 1.0, one.shape)
            loss = loss + (one * gg.tensor(weights, device=device)).sum()
            slope += (other.slope * weights[..., None]).reshape(-1, INPUTS).sum(0)
    assert not any(one.requires_grad for one in found[2])
    (gradient,) = gg.gradients(loss, [leaf], create_graph=seed % 2 == 0)
    wanted = slope.reshape(2, 3)
    near = {"rtol": 1e-9, "atol": 1e-9 * abs(wanted).max(), "err_msg": words}
    np.testing.assert_allclose(host(gradient), wanted, **near)
