"""What changes between the calls of a compiled function, beside the function itself.

A case is a generator of results: it gets what compiles, and yields what is compared.
"""

from contextlib import suppress

import numpy as np
import pytest
from twins import seen

import gpugrad as gg
from gpugrad import optim
from gpugrad.compiler.c import products
from gpugrad.compiler.schedule.layout import contiguous
from gpugrad.errors import CompileError


def tensor(seed=0, shape=(3,), **kwargs):
    """Small whole numbers, with which all computes exactly."""
    numbers = np.random.default_rng(seed).integers(-4, 5, shape)
    return gg.tensor(numbers.astype("f"), **kwargs)


def an_argument_is_in_the_closure(backward, order):
    def case(compile):
        w, other = tensor(1, requires_grad=True), tensor(2, requires_grad=True)

        def product(x):
            result = (x * x * w).sum()
            if backward:
                result.backward()
            return result.detach()

        f = compile(product)
        for which in order:
            yield f((w, other)[which])
            yield w.grad, other.grad

    return case


def an_argument_is_stepped(compile):
    """By an optimizer that the function has from elsewhere."""
    weights = [tensor(i, requires_grad=True) for i in range(2)]
    optimizer = optim.SGD(weights, lr=0.5, momentum=0.5)

    def step(w, x):
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    f = compile(step)
    for turn in range(6):
        yield f(weights[turn // 3], tensor(turn + 5))
        yield weights, [w.grad for w in weights]


def groups_are_changed_by_hand(change):
    """Parameters of an optimizer, as many as before: from then on others are stepped."""

    def case(compile):
        weights = [tensor(i, requires_grad=True) for i in range(3)]
        optimizer = optim.SGD([{"params": [w], "lr": 0.5} for w in weights[:2]], momentum=0.5)

        def step(x):
            for w in weights:
                w.grad = None
            (x * weights[0] * weights[1] * weights[2]).sum().backward()
            optimizer.step()

        f = compile(step)
        for turn in range(6):
            if turn == 3:
                change(optimizer.param_groups, weights[2])
            yield f(tensor(turn + 5))
            yield weights, len(optimizer.state)

    return case


def random_numbers_of_an_argument_that_needs_a_gradient(compile):
    def noisy(x):
        return gg.random.uniform(size=(3,)) + (x * 0).detach()

    gg.manual_seed(1)
    f, given = compile(noisy), [tensor(i, requires_grad=True) for i in range(3)]
    for x in (*given, *given):
        yield f(x)
    yield gg.random.uniform(size=(2,))


def a_loss_is_scaled_after_its_backward_pass(compile):
    w = tensor(1, requires_grad=True)

    def step(x):
        w.grad = None
        loss = (w * x).sum()
        loss.backward()
        return loss * 100, {"loss": loss.detach() / 2}

    f = compile(step)
    for turn in range(3):
        scaled, others = f(tensor(turn))
        yield scaled.detach(), others, w.grad


def the_order_of_bytes_changes(compile):
    f = compile(lambda x, y: (x * 2 + y, x.sum(), x[::-1], x.reshape(3, 1)))
    for first in ("<f4", ">f4", ">i8", "<f4", "<i8", ">f8", ">u2"):
        yield f(np.arange(3).astype(first), np.ones(3, ">f4"))


def arrays_are_tied(tie, turns=3):
    """Arrays of tensors from elsewhere share memory from some call on, and no more later."""

    def case(compile):
        a, b, c = (tensor(i, (4,)) for i in range(3))

        def change(x):
            with gg.no_grad():
                a[...] += x
                b[...] += a
            return a * b * c

        f = compile(change)
        for turn in range(4):
            if turn == 2:
                tie(a, b, c)
            for i in range(turns):
                yield lambda i=i: f(tensor(i, (4,)))
                yield a, b, c
            for one in (a, b, c):
                one.data = one.data / 8
            a[...], b[...] = 1, 2

    return case


def _one_array(a, b, c):
    b.data = a.data


def _views_that_overlap(a, b, c):
    memory = np.arange(8, dtype="f")
    a.data, b.data = memory[:4], memory[2:6]


def _interleaved_views(a, b, c):
    memory = np.arange(8, dtype="f")
    a.data, b.data = memory[::2], memory[1::2]


def _one_that_is_read(a, b, c):
    memory = np.arange(4, dtype="f")
    b.data, c.data = memory, memory[::-1]


def _neighbours(a, b, c):
    memory = np.arange(12, dtype="f")
    a.data, b.data, c.data = memory[:4], memory[4:8], memory[8:]


def the_dtype_goes_there_and_back(make):
    """That of the weight under an optimizer with states, whose program of before fits again."""

    def case(compile):
        model = gg.nn.Linear(3, 1, bias=False)
        model.weight.data[...] = tensor(1, (1, 3)).data
        optimizer = make(model.parameters())

        def step(x):
            optimizer.zero_grad()
            (model(x) * x.sum()).sum().backward()
            optimizer.step()

        f = compile(step)
        for turn, dtype in enumerate(["float32", "float32", "float64", "float64"] * 2):
            model.to(dtype)
            f(tensor(turn + 5, (2, 3)))
            yield model.weight
        yield optimizer.state_dict()["state"]  # not before: it lets the next call look for states

    return case


CASES = {
    "dtype: momentum": the_dtype_goes_there_and_back(
        lambda params: optim.SGD(params, lr=0.5, momentum=0.5)
    ),
    "dtype: step sizes": the_dtype_goes_there_and_back(
        lambda params: optim.Rprop(params, lr=0.5, etas=(0.5, 2.0))
    ),
    "groups: another parameter": groups_are_changed_by_hand(
        lambda groups, w: groups[0]["params"].__setitem__(0, w)
    ),
    "groups: another list": groups_are_changed_by_hand(
        lambda groups, w: groups[1].update(params=[w])
    ),
    "groups: another group": groups_are_changed_by_hand(
        lambda groups, w: groups.__setitem__(0, {**groups[0], "params": [w]})
    ),
    "groups: one more": groups_are_changed_by_hand(
        lambda groups, w: groups.append({**groups[0], "params": [w]})
    ),
    "tied: one array": arrays_are_tied(_one_array),
    "tied: views that overlap": arrays_are_tied(_views_that_overlap),
    "tied: views that overlap, once": arrays_are_tied(_views_that_overlap, 1),
    "tied: interleaved views": arrays_are_tied(_interleaved_views),
    "tied: one that is read": arrays_are_tied(_one_that_is_read),
    "tied: neighbours": arrays_are_tied(_neighbours),
    "an argument is in the closure, first": an_argument_is_in_the_closure(False, [0, 1, 0, 1, 1]),
    "the same with a backward pass": an_argument_is_in_the_closure(True, [0, 1, 1, 0, 1]),
    "an argument is in the closure, later": an_argument_is_in_the_closure(False, [1, 1, 0, 1]),
    "later, with a backward pass": an_argument_is_in_the_closure(True, [1, 1, 0, 0, 1, 0]),
    "an argument is stepped": an_argument_is_stepped,
    "random numbers": random_numbers_of_an_argument_that_needs_a_gradient,
    "a loss is scaled after its backward pass": a_loss_is_scaled_after_its_backward_pass,
    "the order of bytes changes": the_order_of_bytes_changes,
}  # fmt: skip


@pytest.mark.usefixtures("by_each")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_results_are_those_without_compile(name, strict):
    case = CASES[name]
    expected = results_of(case, lambda f: f)
    got = results_of(case, lambda f: gg.compile(f, strict=strict))
    assert strict or REFUSED not in got
    if got[-1] == REFUSED:
        del expected[len(got) - 1 :], got[-1]
    for number, (one, other) in enumerate(zip(expected, got, strict=True)):
        assert one == other, number


REFUSED = "refused"


def results_of(case, compile):
    """What a case gives, up to where compile refuses it, which it may where arrays are tied."""
    results = []
    with suppress(CompileError):
        results += (seen(one() if callable(one) else one) for one in case(compile))
        return results
    return [*results, REFUSED]


FILLS = [float("nan"), float("inf"), -float("inf"), 1e20, -1.0, 3.7, 300.0, 255, True]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.usefixtures("by_each")
@pytest.mark.parametrize("size", [3, 5000])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool", "float16", "float32"])
def test_arrays_full_of_numbers_of_another_dtype(dtype, size):
    """They were cast while a program was simplified, where NaN raised."""
    fills = [one for one in FILLS if dtype != "uint8" or one >= 0]
    fills = [one for one in fills if type(one) is float or one < 128 or dtype != "int8"]

    def filled(x):
        return [np.full_like(x, one) for one in fills], [x + np.full_like(x, one) for one in fills]

    x = np.arange(size) % 5
    f = gg.compile(filled)
    for _ in range(2):
        assert seen(f(x.astype(dtype))) == seen(filled(x.astype(dtype)))


def test_a_program_is_not_made_without_its_products(monkeypatch):
    """There was a call of address 0."""
    a = contiguous((300, 300))
    if not products.are_faster(a, a, 4):
        pytest.skip("products are those of BLAS here")
    monkeypatch.setattr(products, "_library", lambda itemsize: None)
    with pytest.raises(CompileError, match="has no function s_product"):
        products.address("s_product")
