"""Memory that changes between forward and backward: caught where it matters, free where not."""

import gc
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from arrays import leaf

import gpugrad as gg

HERE = Path(__file__).name


def same(tensor, values):
    np.testing.assert_allclose(tensor.detach().cpu().numpy(), np.asarray(values), rtol=1e-6)


def raises(text=None):
    return pytest.raises(gg.GradientError, match=text)


# What is caught.


def test_the_saved_tensor_itself(device):
    w = leaf(1.0, 2.0, name="w")
    loss = (w * w).sum()
    with gg.no_grad():
        w += 1
    with raises() as caught:
        loss.backward()
    assert str(caught.value) == (
        "backward: multiply needs its argument 'a' (the tensor 'w'), a float32 array of shape "
        "(2,), at version 0, but it was changed in place and is at version 1. Change a copy, "
        "write `t = t + d` in place of `t += d`, or change it after the backward pass"
    )
    assert w.grad is None


def test_versions_count_the_changes_before_and_after(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    c += 1
    c *= 2
    loss = (x * c).sum()
    c += 1
    c -= 1  # the numbers are as they were, which nobody looks at
    c /= 2
    with raises(r"needs its argument 'b', .* at version 2, .* is at version 5"):
        loss.backward()


CHANGES = {
    "+=": lambda t: t.__iadd__(1.0),
    "@=-like": lambda t: t.__imul__(gg.ones((4, 3))),
    "item": lambda t: t.__setitem__((0, 0), 7.0),
    "slice of itself": lambda t: t.__setitem__(slice(2, None), 7.0),
    "mask": lambda t: t.__setitem__(t > 0, 7.0),
    "index array": lambda t: t.__setitem__(gg.tensor([0, 1], dtype=gg.int64), 7.0),
    "view by a slice": lambda t: t[2:].__iadd__(1.0),
    "view of a view": lambda t: t[2:][:, 1:].__iadd__(1.0),
    "detached": lambda t: t.detach().__iadd__(1.0),
    "reshaped": lambda t: t.reshape(-1).__iadd__(1.0),
    "transposed": lambda t: t.T.__setitem__(0, 1.0),
    "row of a loop": lambda t: [row.__iadd__(1.0) for row in t],
    "out of a ufunc": lambda t: np.multiply(t.detach(), 2.0, out=t.detach()),
    "tensor of its data": lambda t: gg.tensor(t.data).__iadd__(1.0),
    "view of its data": lambda t: gg.tensor(t.data[1:]).__iadd__(1.0),
}


@pytest.mark.parametrize("kind", ["leaf", "constant"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_ways_of_changing(change, kind, device):
    x = gg.ones((4, 3), requires_grad=True)
    t = x if kind == "leaf" else gg.ones((4, 3))
    loss = (x * t).sum()
    with gg.no_grad():
        change(t)
    with raises("multiply needs its argument"):
        loss.backward()
    assert x.grad is None


def test_a_numpy_array_that_shares_the_memory():
    array = np.ones(4, np.float32)
    x = gg.tensor(array, requires_grad=True)
    loss = (x * x).sum()
    other = gg.tensor(array[1:])  # another tensor over the same memory
    other *= 3
    with raises("multiply needs"):
        loss.backward()
    loss = (x * x).sum()
    array_ = array
    array_ += gg.ones(4)  # NumPy asks the tensor
    assert array_ is array
    with raises("multiply needs"):
        loss.backward()
    loss = (x * x).sum()
    np.add(gg.ones(4), 1.0, out=array)
    with raises("multiply needs"):
        loss.backward()


def test_a_saved_output(device):
    x = leaf(1.0, 2.0)
    y = gg.exp(x)
    y.name = "y"
    loss = (y * 3).sum()
    with gg.no_grad():
        y *= 0
    with raises(r"exp needs its output \(the tensor 'y'\), .* at version 0, .* at version 1"):
        loss.backward()


def test_an_argument_in_a_row(device):
    parts = [leaf(1.0), leaf(2.0)]
    made = gg.stack(parts)
    with gg.no_grad():
        parts[0] += 1  # stacking needs no values
    made.sum().backward()
    same(parts[0].grad, [1.0])


def test_an_index_and_class_numbers(device):
    """Changed in place after they were used, they do not send a gradient to other places."""
    x = gg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    places = gg.tensor([0, 1], dtype=gg.int64)
    y = (x[places] ** 2).sum()
    places += 1
    y.backward()
    same(x.grad, [2.0, 4.0, 0.0])

    logits = gg.zeros((2, 3), requires_grad=True)
    classes = gg.tensor([0, 1], dtype=gg.int64)
    loss = gg.nn.functional.cross_entropy(logits, classes)
    classes += 1
    with raises("cross_entropy needs its argument 'target'"):
        loss.backward()


def test_a_condition(device):
    x, c = leaf(1.0, 2.0), gg.tensor([True, False])
    loss = gg.where(c, x * 2, x * 3).sum()
    c[0] = False
    with raises("where needs its argument 'condition', a bool array"):
        loss.backward()


def test_a_step_of_an_optimizer_between_two_passes(device):
    gg.manual_seed(0)
    for name in ("SGD", "Adam", "AdamW"):
        model = gg.nn.MLP(3, [4, 1])
        steps = getattr(gg.optim, name)(model.parameters(), lr=0.1)
        loss = (model(gg.ones((5, 3))) ** 2).mean()
        loss.backward(retain_graph=True)
        steps.step()
        with raises("linear needs its argument .weight., .* at version 1, .* is at version 2"):
            loss.backward()


def test_a_gradient_that_a_graph_uses(device):
    """Accumulation changes ``grad`` in place: a graph that used it notices."""
    x, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * 2).sum().backward()
    loss = (v * x.grad).sum()
    (x * 2).sum().backward()
    with raises("multiply needs its argument 'b'"):
        loss.backward()


def test_clipping_changes_gradients_in_place(device):
    x, v = leaf(3.0, 4.0), leaf(3.0, 4.0)
    (x * x).sum().backward()
    loss = (v * x.grad).sum()
    gg.optim.clip_grad_norm_([x], 1.0)
    with raises("multiply needs its argument 'b'"):
        loss.backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_every_kind_of_walk(create_graph, device):
    x = leaf(1.0, 2.0)
    y = x * x
    with gg.no_grad():
        x += 1
    with raises("multiply needs"):
        gg.gradients(y.sum(), [x], create_graph=create_graph, retain_graph=True)
    with raises("multiply needs"):
        gg.gradients(y.sum(), [x])


def test_the_graph_of_a_derivative(device):
    x = leaf(1.0, 2.0)
    (g,) = gg.gradients((x**3).sum(), [x], create_graph=True)
    with gg.no_grad():
        x += 1
    with raises("version"):
        gg.gradients(g.sum(), [x])


def test_forward_mode_over_a_recorded_graph(device):
    c = gg.tensor([3.0, 4.0])
    value, push = gg.linearize(lambda t: t * c, gg.tensor([1.0, 2.0]))
    same(value, [3.0, 8.0])
    same(push(gg.ones(2)), [3.0, 4.0])
    c += 1
    with raises("multiply needs its argument 'b'"):
        push(gg.ones(2))


def test_after_an_error_the_graph_may_be_used_again(device):
    """Where another output of the graph does not need what changed."""
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    y = x * 2
    bad, good = (y * c).sum(), (y + c).sum()
    c += 1
    with raises("multiply needs its argument 'b'"):
        bad.backward(retain_graph=True)
    assert x.grad is None
    good.backward()
    same(x.grad, [2.0, 2.0])


# What is free.


FREE = {
    "term of a sum": lambda x, c: x + c,
    "term of a difference": lambda x, c: c - x,
    "leaf times a number": lambda x, c: x * 2,
    "leaf over a number": lambda x, c: x / 2,
    "leaf that is summed": lambda x, c: x.sum(),
    "leaf that is reshaped": lambda x, c: x.reshape(1, 2),
    "leaf that is moved": lambda x, c: gg.concat([x, c]),
    "leaf whose exponential is kept": lambda x, c: gg.exp(x),
    "leaf times a constant": lambda x, c: x * gg.tensor([3.0, 4.0]),
    "negated": lambda x, c: -x,
    "mean": lambda x, c: x.mean(),
}


@pytest.mark.parametrize("f", FREE.values(), ids=list(FREE))
def test_what_no_rule_needs_may_change(f, device):
    def gradient(change):
        x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
        y = f(x, c)
        if change:
            with gg.no_grad():
                x += 1
            c += 1
        y.sum().backward()
        return x.grad.cpu().numpy()

    np.testing.assert_array_equal(gradient(True), gradient(False))


def test_an_argument_whose_other_argument_needs_no_gradient(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    loss = (x * c).sum()
    with gg.no_grad():
        x += 1  # only the derivative for c, which nobody asks for, would need it
    loss.backward()
    same(x.grad, [3.0, 4.0])


def test_a_change_before_the_graph_was_made(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    c += 1
    loss = (x * c).sum()
    loss.backward()
    same(x.grad, [4.0, 5.0])


def test_a_change_after_the_backward_pass(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    loss = (x * c).sum()
    loss.backward()
    c += 1
    with gg.no_grad():
        x += 1
    (x * c).sum().backward()
    same(x.grad, [7.0, 9.0])


def test_a_change_of_other_memory(device):
    x, c, d = leaf(1.0, 2.0), gg.tensor([3.0, 4.0]), gg.tensor([5.0, 6.0])
    loss = (x * c).sum()
    d += 1
    copy = c.copy()
    copy += 1
    whole = gg.concat([c, d])
    whole += 1
    loss.backward()
    same(x.grad, [3.0, 4.0])


def test_new_memory_in_the_place_of_old(device):
    """`t.data = array` and `t = t + 1` leave the memory that the graph saved as it was."""
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    x.data = (x.detach() * 10).data
    loss.backward()
    same(x.grad, [2.0, 4.0])


def test_memory_is_known_by_the_array_and_not_by_its_address(device):
    """A freed array's place may be taken by another, which nobody has changed."""
    for _ in range(50):
        c = gg.tensor([3.0, 4.0])
        c += 1
        del c
        gc.collect(0)
        x, d = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
        loss = (x * d).sum()
        other = gg.tensor([1.0])
        other += 1  # something changes, so that stamps are looked at
        loss.backward()
        same(x.grad, [3.0, 4.0])


def test_stamps_of_memory_that_is_gone_are_forgotten():
    from gpugrad.engine import versions

    gc.collect()
    before = len(versions._stamps)
    c = gg.tensor([3.0, 4.0])
    for _ in range(1000):
        c += 1
    ((_, stamps),) = [entry for entry in versions._stamps.values() if entry[0]() is c.data]
    assert len(stamps) <= 64
    del c
    gc.collect()
    assert len(versions._stamps) <= before


def test_many_changes_after_the_graph(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    loss = (x * c).sum()
    for _ in range(1000):
        c += 1
    with raises("multiply needs its argument 'b'"):
        loss.backward()


def test_changes_in_other_threads(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    loss = (x * c).sum()

    def change():
        nonlocal c
        c += 1

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    with raises("multiply needs"):
        loss.backward()


# Debug mode: changes that gpugrad does not see.


RAW = {
    "item of data": lambda t: t.data.__setitem__(0, 9.0),
    "in place": lambda t: t.data.__imul__(3),
    "view": lambda t: t.data[1:].__iadd__(1),
    "reshaped": lambda t: t.data.reshape(2, 1).__setitem__(0, 9.0),
    "exchanged": lambda t: t.data.__setitem__(slice(None), t.data[::-1].copy()),
    "sign of zero": lambda t: t.data[2:].__imul__(-1),  # CuPy assigns 0.0 where -0.0 is asked
}


@pytest.mark.parametrize("change", RAW.values(), ids=list(RAW))
def test_debug_mode_finds_edits_of_data(change, device):
    if change is RAW["reshaped"]:
        w = leaf(1.0, 2.0, name="w")
    else:
        w = leaf(1.0, 2.0, 0.0, name="w")
    with gg.debug_mode():
        loss = (w * w).sum()  # squared
        change(w)
        with raises() as caught:
            loss.backward()
    message = str(caught.value)
    assert message.startswith(
        "backward: multiply needs its argument 'a' (the tensor 'w'), a float32 array of shape "
    )
    assert "as it was when the operation was recorded, but its memory has been changed" in message
    assert re.search(rf"multiply was called at \S*{HERE}:\d+: loss = \(w \* w\).sum\(\)", message)
    assert w.grad is None
    assert gg.is_grad_enabled()


def test_debug_mode_finds_edits_of_the_array_that_a_tensor_was_made_from():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = leaf(1.0, 2.0, 3.0)
    with gg.debug_mode():
        loss = (x * gg.tensor(array.T[:, 1])).sum()  # a view, not contiguous
        array[1, 1] = 100.0
        with raises("multiply needs its argument 'b', a float32 array of shape"):
            loss.backward()
        loss = (x * gg.tensor(array[0])).sum()
        array[1] = -1.0  # another row
        loss.backward()
    same(x.grad, [0.0, 1.0, 2.0])


def test_debug_mode_finds_edits_of_outputs_conditions_and_parameters(device):
    x, c = leaf(1.0, 2.0), gg.tensor([True, False])
    logits, classes = gg.zeros((2, 3), requires_grad=True), gg.tensor([0, 1], dtype=gg.int64)
    with gg.debug_mode():
        y = gg.exp(x)
        y.data[0] = 0.0
        with raises("exp needs its output"):
            y.sum().backward()
        z = gg.where(c, x, 0.0)
        c.data[1] = True
        with raises("where needs its argument 'condition'"):
            z.sum().backward()
        loss = gg.nn.functional.cross_entropy(logits, classes)
        classes.data[0] = 2
        with raises("needs its argument 'target'"):
            loss.backward()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_debug_mode_and_dtypes_and_shapes(dtype, shape, device):
    x = gg.ones(shape, dtype=dtype, requires_grad=True)
    c = gg.full(shape, 2.0, dtype=dtype)
    with gg.debug_mode():
        y = x * c
        y.backward(gg.ones(shape, dtype=dtype), retain_graph=True)
        same(x.grad, np.full(shape, 2.0))
        if shape != (0,):
            c.data[...] = 3.0
            with raises("multiply needs its argument 'b'"):
                y.backward(gg.ones(shape, dtype=dtype))


def test_debug_mode_tells_what_gpugrad_saw_as_such(device):
    x, c = leaf(1.0, 2.0), gg.tensor([3.0, 4.0])
    with gg.debug_mode():
        loss = (x * c).sum()
        c += 1
        with raises("at version 0, but it was changed in place and is at version 1") as caught:
            loss.backward()
    assert f"multiply was called at {Path(__file__)}:" in str(caught.value)


def test_debug_mode_lets_correct_programs_be(device, rng):
    values = rng.standard_normal((3, 4)).astype(np.float32)

    def run():
        gg.manual_seed(0)
        model = gg.nn.MLP(4, [5, 2])
        steps = gg.optim.Adam(model.parameters(), lr=0.1)
        for _ in range(3):
            steps.zero_grad()
            a, b = model(gg.tensor(values).to(device)).split(2, axis=1)
            loss = (gg.tanh(a) * b).mean()
            loss.backward()
            steps.step()
        x = gg.tensor(values, requires_grad=True)
        (g,) = gg.gradients((x**3).sum(), [x], create_graph=True)
        (h,) = gg.gradients((g * g).sum(), [x])
        return [p.detach().cpu().numpy() for p in model.parameters()] + [h.numpy()]

    plain = run()
    with gg.debug_mode():
        watched = run()
    for one, other in zip(plain, watched, strict=True):
        if device.kind == "cuda":  # watched, each op is a kernel of its own, and rounds
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_debug_mode_together_with_detect_anomaly(device):
    for first, second in ((gg.debug_mode, gg.detect_anomaly), (gg.detect_anomaly, gg.debug_mode)):
        x = leaf(1.0, 2.0)
        with first(), second(), first():
            with pytest.raises(gg.AnomalyError, match="divide made inf"):
                x / gg.tensor([1e-45, 1.0])
            loss = (x * x).sum()
            x.data[0] = 5.0
            with raises("multiply needs"):
                loss.backward()
        x / gg.tensor([1e-45, 1.0])


def test_debug_mode_off_is_off():
    from gpugrad.inspect import debug

    gc.collect()
    before = len(debug._checksums)
    x = leaf(1.0, 2.0)
    with gg.debug_mode():
        inside = (x * x).sum()
        assert len(debug._checksums) == before + 2
    loss = (x * x).sum()
    assert len(debug._checksums) == before + 2
    assert not hasattr(loss.grad_fn, "where")
    x.data[0] = 5.0
    loss.backward()  # silently of other numbers: nobody watches
    with gg.debug_mode():
        late = (x * x).sum()
    x.data[0] = 6.0
    late.backward()  # recorded inside, differentiated outside
    with gg.debug_mode(), raises("multiply needs"):
        inside.backward()  # in a later block
    del inside, late
    gc.collect()
    assert len(debug._checksums) == before


def test_debug_mode_keeps_no_memory(device):
    import weakref

    x = leaf(1.0, 2.0)
    with gg.debug_mode():
        y = x * x
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None


def test_debug_mode_as_a_decorator():
    @gg.debug_mode()
    def f(x):
        loss = (x * x).sum()
        x.data[0] += 1
        loss.backward()

    with raises("multiply needs"):
        f(leaf(1.0))


def test_checksums_tell_bits_apart(device, rng):
    from gpugrad.inspect.debug import checksum

    array = device.send(rng.standard_normal((5, 7)))
    first = checksum(array)
    assert bool(checksum(array.copy()) == first)
    for _ in range(200):
        i, j, k, m = rng.integers(0, 5), rng.integers(0, 7), rng.integers(0, 5), rng.integers(0, 7)
        changed = array.copy()
        changed[i, j], changed[k, m] = array[k, m].copy(), array[i, j].copy()
        assert bool(checksum(changed) == first) == ((i, j) == (k, m))
        changed = array.copy()
        changed[i, j] *= 1 + 2e-16
        assert bool(checksum(changed) != first) == bool((changed != array).any())
    assert checksum(2.0) is None
    assert checksum(np.float32(2.0)) is None
