"""Hooks: called with gradients, in the middle of a walk, removed, raising, changing."""

import gc
import threading
import weakref

import numpy as np
import pytest
from arrays import leaf

import gpugrad as gg
from gpugrad.engine.node import COMPLETES, LENDS, add_hook


def same(tensor, values):
    assert isinstance(tensor, gg.Tensor)
    np.testing.assert_allclose(tensor.detach().cpu().numpy(), np.asarray(values), rtol=1e-6)


# Hooks on tensors.


def test_a_hook_sees_the_whole_gradient_of_a_leaf_used_several_times(device):
    x = leaf(1.0, 2.0)
    seen = []
    x.register_hook(lambda g: seen.append(g))
    (x * x + 3 * x).sum().backward()
    assert len(seen) == 1
    same(seen[0], [5.0, 7.0])
    assert seen[0].device == device
    same(x.grad, [5.0, 7.0])


def test_a_hook_on_a_tensor_in_between_changes_all_that_follows(device):
    x = leaf(1.0, 2.0)
    y = x * 3
    y.register_hook(lambda g: g * 10)
    (y * y).sum().backward()
    same(x.grad, [180.0, 360.0])


def test_hooks_are_called_in_order_and_each_gets_what_the_one_before_returned():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: seen.append(("a", g.item())))
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: seen.append(("c", g.item())))
    x.register_hook(lambda g: g * 10)
    (x * 5).sum().backward()
    assert seen == [("a", 5.0), ("c", 6.0)]
    same(x.grad, [60.0])


def test_a_hook_may_return_a_raw_array(device):
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.data * 2)
    x.sum().backward()
    same(x.grad, [2.0, 2.0])


@pytest.mark.parametrize("kind", ["leaf", "inner"])
def test_a_removed_hook_is_not_called(kind):
    x = leaf(1.0)
    y = x * 1
    hooked = x if kind == "leaf" else y
    one = hooked.register_hook(lambda g: g * 2)
    two = hooked.register_hook(lambda g: g * 3)
    one.remove()
    one.remove()  # nothing happens
    y.sum().backward(retain_graph=True)
    same(x.grad, [3.0])
    two.remove()
    x.grad = None
    y.sum().backward(retain_graph=True)
    same(x.grad, [1.0])
    hooked.register_hook(lambda g: g * 7)  # hooks again, after there were none
    x.grad = None
    y.sum().backward()
    same(x.grad, [7.0])


def test_a_handle_as_a_block_removes_the_hook_after_exceptions_too():
    x = leaf(1.0)
    with x.register_hook(lambda g: g * 2):
        (x * 1).sum().backward()
    with pytest.raises(KeyError), x.register_hook(lambda g: g * 100):
        raise KeyError
    (x * 1).sum().backward()
    same(x.grad, [3.0])


def test_a_hook_may_remove_itself_and_those_after_it():
    x = leaf(1.0)
    handles = []

    def first(g):
        for handle in handles:
            handle.remove()
        return g * 2

    handles.append(x.register_hook(first))
    handles.append(x.register_hook(lambda g: g * 100))
    (x * 1).sum().backward()
    same(x.grad, [2.0])
    (x * 1).sum().backward()
    same(x.grad, [3.0])


def test_a_hook_may_take_the_hooks_of_a_leaf_that_waits_for_more_gradients(device):
    """The leaf has one of its two gradients, and waits in the walk, when it loses its hooks."""
    x = leaf(1.0, 2.0)
    told = []
    handles = [
        x.register_hook(lambda g: g * 100),
        x.register_post_accumulate_grad_hook(told.append),
    ]
    y = x * 3
    z = x * y
    y.register_hook(lambda g: [handle.remove() for handle in handles] and None)
    z.sum().backward()
    same(x.grad, [6.0, 12.0])
    assert told == []


def test_a_hook_that_raises_leaves_gradients_and_the_engine_as_they_were(device):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * w).sum().backward()
    before = x.grad, w.grad
    x.register_hook(lambda g: g * 2)  # a leaf with a hook is no exception

    def fail(g):
        raise KeyError("lost")

    y = x * 1
    handle = y.register_hook(fail)
    loss = (y * (w * 2)).sum() + (x * 5).sum()
    with pytest.raises(KeyError, match="lost"):
        loss.backward(retain_graph=True)
    assert gg.is_grad_enabled()
    assert (x.grad, w.grad) == before
    same(x.grad, [3.0, 4.0])
    same(w.grad, [1.0, 2.0])
    handle.remove()
    loss.backward()
    same(x.grad, [3 + 2 * (6 + 5), 4 + 2 * (8 + 5)])
    same(w.grad, [3.0, 6.0])


def test_a_hooked_leaf_that_was_visited_before_another_hook_raised_is_as_it_was(device):
    y = leaf(1.0, 2.0) * 1
    w = leaf(3.0, 4.0)  # younger than y, and so visited before it
    seen = []
    w.register_hook(seen.append)
    y.register_hook(lambda g: {}["lost"])
    with pytest.raises(KeyError, match="lost"):
        (y * w).sum().backward()
    assert len(seen) == 1
    assert w.grad is None


def test_what_a_hook_returns_is_checked(device):
    x = leaf(1.0, 2.0)
    cases = [
        (lambda g: g.sum(), gg.ShapeError, r"expected a gradient of shape \(2,\), got \(\)"),
        (lambda g: 2.0, gg.DTypeError, "expected a gradient .* or None to be returned, got float"),
        (lambda g: "no", gg.DTypeError, "got str"),
        (
            lambda g: g.astype(gg.complex64),
            gg.DTypeError,
            "expected a gradient of dtype float32, got complex64. Take its real part",
        ),
    ]
    for hook, error, text in cases:
        with x.register_hook(hook), pytest.raises(error, match=text) as caught:
            (x * 1).sum().backward()
        assert "hook test_what_a_hook_returns_is_checked" in str(caught.value)  # which one
        assert x.grad is None
    with x.register_hook(lambda g: g.astype(gg.float64)):
        (x * 1).sum().backward()
    assert x.grad.dtype == gg.float32


def test_a_gradient_on_another_device_is_refused():
    x = leaf(1.0, device="sim")
    x.register_hook(lambda g: np.ones(1, np.float32))
    with pytest.raises(gg.DeviceError, match="expected a gradient on sim:0, got one on cpu"):
        (x * 1).sum().backward()


def test_a_change_in_place_counts_for_this_gradient_and_for_no_other(device):
    """A rule such as that of add hands the same memory to both arguments."""
    x, z = leaf(1.0, 2.0), leaf(1.0, 2.0)
    s = gg.tensor([1.0, 1.0])

    def ten(g):
        g *= 10

    x.register_hook(ten)
    (x + z).backward(s)
    same(x.grad, [10.0, 10.0])
    same(z.grad, [1.0, 1.0])
    same(s, [1.0, 1.0])


def test_gradients_that_a_hook_keeps_do_not_change_later(device):
    x = leaf(1.0, 2.0)
    y = x * 1
    kept = []
    for tensor in (x, y):
        tensor.register_hook(kept.append)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    with gg.no_grad():
        x.grad *= 100
    assert len(kept) == 4
    for g in kept:
        same(g, [1.0, 1.0])


def test_hooks_run_with_recording_off_unless_the_walk_is_recorded():
    x = leaf(2.0)
    modes = []
    x.register_hook(lambda g: modes.append((gg.is_grad_enabled(), g.requires_grad)))
    (x**3).sum().backward()
    (x**3).sum().backward(create_graph=True)
    assert modes == [(False, False), (True, True)]
    assert gg.is_grad_enabled()


def test_with_create_graph_the_second_derivative_sees_the_change(device):
    x = leaf(2.0, 3.0)
    y = x * 1
    handle = y.register_hook(lambda g: g * x)
    (first,) = gg.gradients((y**3).sum(), [x], create_graph=True)
    same(first, [3 * 2.0**3, 3 * 3.0**3])  # 3 y^2 x
    (again,) = gg.gradients(first.sum(), [x], retain_graph=True)
    same(again, [6 * 2.0**3 + 3 * 2.0**2, 6 * 3.0**3 + 3 * 3.0**2])  # through y, hooked: 6 y x x
    handle.remove()
    (second,) = gg.gradients(first.sum(), [x])
    same(second, [9 * 2.0**2, 9 * 3.0**2])


def test_hooks_and_gradients_of_targets(device):
    x, w = leaf(2.0), leaf(5.0)
    calls = []
    x.register_hook(lambda g: calls.append("x") or g * 2)
    w.register_hook(lambda g: calls.append("w"))
    x.register_post_accumulate_grad_hook(lambda t: calls.append("accumulated"))
    y = x * w
    y.register_hook(lambda g: g * 10)
    loss = (y * y).sum()
    (gx,) = gg.gradients(loss, [x], retain_graph=True)
    same(gx, [2 * 10 * 2 * 2 * 25.0])
    assert calls == ["x"]  # neither w, which nobody asked for, nor what tells of x.grad
    assert x.grad is None
    (gy,) = gg.gradients(loss, [y])
    same(gy, [200.0])  # as the hook returned it
    assert calls == ["x"]


def test_a_hook_on_the_output_itself(device):
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    loss.register_hook(lambda g: g * 3)
    loss.backward()
    same(x.grad, [6.0, 12.0])
    y = leaf(1.0)
    y.register_hook(lambda g: g * 3)
    y.backward()
    same(y.grad, [3.0])


def test_hooks_on_one_of_several_outputs(device):
    x = leaf(1.0, 2.0, 3.0, 4.0)
    a, b = x.split(2)
    a.register_hook(lambda g: g * 10)
    a.grad_fn.register_prehook(lambda g: g + 1)
    b.retain_grad()
    (a * b).sum().backward()
    same(x.grad, [31.0, 41.0, 1.0, 2.0])
    same(b.grad, [1.0, 2.0])
    with pytest.raises(gg.GradientError, match="split gives several outputs, .*register_prehook"):
        a.grad_fn.register_hook(print)
    with pytest.raises(gg.GradientError, match="split gives several outputs; each of them takes"):
        a.grad_fn.parents[0].register_prehook(print)


def test_what_takes_no_hook_says_so():
    constant = gg.tensor([1.0])
    for name in ("register_hook", "register_post_accumulate_grad_hook"):
        with pytest.raises(gg.GradientError, match=f"{name}: this tensor requires no gradient"):
            getattr(constant, name)(print)
    with pytest.raises(gg.GradientError, match="retain_grad: this tensor requires no gradient"):
        constant.retain_grad()
    with pytest.raises(gg.GradientError, match="expected a function, got int"):
        leaf(1.0).register_hook(3)
    with pytest.raises(gg.GradientError, match="only a leaf accumulates"):
        (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)


# Hooks on nodes.


def test_hooks_on_nodes_see_what_comes_in_and_what_goes_on(device):
    x, c = leaf(1.0, 2.0), leaf(3.0)
    y = x * c  # broadcast: the gradient of c is shown in the shape of c
    seen = []
    y.grad_fn.register_prehook(lambda g: g * 2)
    handle = y.grad_fn.register_hook(lambda gs, g: seen.append((gs, g)))
    y.sum().backward(retain_graph=True)
    ((gx, gc_), g) = seen.pop()
    same(g, [2.0, 2.0])
    same(gx, [6.0, 6.0])
    same(gc_, [6.0])
    same(x.grad, [6.0, 6.0])
    same(c.grad, [6.0])
    handle.remove()
    y.sum().backward()
    assert seen == []


def test_a_hook_on_a_node_gets_none_for_a_constant_and_cannot_change_what_goes_on(device):
    x = leaf(1.0, 2.0)
    y = x * gg.tensor([3.0, 4.0])
    seen = []

    def look(gs, g):
        seen.append([d is None for d in gs])
        with gg.no_grad():
            gs[0][...] = 100.0
            g[...] = 100.0

    y.grad_fn.register_hook(look)
    y.sum().backward()
    assert seen == [[False, True]]
    same(x.grad, [3.0, 4.0])


def test_a_hook_on_a_node_with_one_rule_for_all_arguments_and_with_create_graph(device):
    model = gg.nn.Linear(2, 1)
    y = model(gg.tensor([[1.0, 2.0]]))
    seen = []
    y.grad_fn.register_hook(lambda gs, g: seen.append(gs))
    (gw,) = gg.gradients((y * y).sum(), [model.weight], create_graph=True)
    assert seen[0][0] is None  # the input
    assert seen[0][1].requires_grad
    same(seen[0][1], gw.detach().cpu().numpy())


# Gradients of tensors in between.


def test_retain_grad(device):
    x = leaf(1.0, 2.0)
    y = (x * 3).retain_grad()
    assert y.retain_grad() is y  # a second time makes no difference
    (y * y).sum().backward(retain_graph=True)
    same(y.grad, [6.0, 12.0])
    (y * y).sum().backward()
    same(y.grad, [12.0, 24.0])  # accumulated, as those of leaves are
    with gg.no_grad():
        y.grad[...] = 0.0
    same(x.grad, [36.0, 72.0])
    assert x.retain_grad() is x


def test_retain_grad_has_what_the_hooks_made_of_the_gradient():
    x = leaf(1.0)
    y = x * 1
    y.retain_grad()
    y.register_hook(lambda g: g * 5)  # registered later, called before
    y.sum().backward()
    same(y.grad, [5.0])


def test_retain_grad_of_a_tensor_that_is_gone_keeps_nothing():
    x = leaf(1.0)
    y = (x * 3).retain_grad()
    loss = y.sum()
    gone = weakref.ref(y)
    del y
    assert gone() is None
    loss.backward()
    same(x.grad, [3.0])


def test_retain_grad_with_create_graph():
    x = leaf(2.0)
    y = (x * x).retain_grad()
    (y**2).sum().backward(create_graph=True)
    assert y.grad.requires_grad
    (g,) = gg.gradients(y.grad.sum(), [x])
    same(g, [8.0])  # d(2 x^2)/dx


# When the gradient of a leaf is complete.


def test_a_leaf_is_told_before_the_layers_before_it_are_visited(device):
    events = []
    weights = [leaf(float(i + 2), name=f"w{i}") for i in range(4)]
    y = gg.tensor([1.0])
    for i, w in enumerate(weights):
        y = y * w
        y.grad_fn.register_prehook(lambda g, i=i: events.append(f"layer {i}"))
        w.register_post_accumulate_grad_hook(lambda t: events.append((t.name, t.grad.item())))
    y.sum().backward()
    assert events == [
        "layer 3",
        ("w3", 24.0),
        "layer 2",
        ("w2", 30.0),
        "layer 1",
        ("w1", 40.0),
        "layer 0",
        ("w0", 60.0),
    ]


@pytest.mark.parametrize("order", [(0, 3), (3, 0), (0, 1, 2, 3), (1, 1)])
def test_a_leaf_used_at_several_depths_is_told_once_when_all_uses_are_visited(order, device):
    shared = leaf(3.0)
    events = []
    y = leaf(1.0)
    for i in range(4):
        y = y * 1.0
        for _ in range(order.count(i)):
            y = y * shared
        y.grad_fn.register_prehook(lambda g, i=i: events.append(i))
    shared.register_post_accumulate_grad_hook(lambda t: events.append(t.grad.item()))
    y.sum().backward()
    complete = len(order) * 3.0 ** (len(order) - 1)
    assert events.count(complete) == 1
    # After the first layer that uses it was visited, and before any that comes before.
    assert events == [*range(3, min(order) - 1, -1), complete, *range(min(order) - 1, -1, -1)]


def test_a_leaf_used_apart_from_the_chain_is_complete_when_it_is_told(device):
    w = leaf(2.0)
    side = w * w  # the earliest use, which is visited last
    y = gg.tensor([1.0])
    for _ in range(3):
        y = y * w
    told = []
    w.register_post_accumulate_grad_hook(lambda t: told.append(t.grad.item()))
    (y + side).sum().backward()
    assert told == [12.0 + 4.0]


def test_two_leaves_of_one_operation_are_both_told(device):
    model = gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.ReLU(), gg.nn.Linear(4, 2))
    told = []
    for name, p in model.named_parameters():
        p.register_post_accumulate_grad_hook(lambda t, name=name: told.append(name))
    model(gg.ones((5, 3))).sum().backward()
    expected = {name for name, _ in model.named_parameters()}
    assert len(told) == 4
    assert set(told[:2]) == {name for name in expected if name.startswith("2")}
    assert set(told[2:]) == {name for name in expected if name.startswith("0")}


def test_gradients_of_told_leaves_are_those_of_others(device, rng):
    first = rng.standard_normal((3, 4)).astype(np.float32)
    second = rng.standard_normal((4, 4)).astype(np.float32)

    def gradients(told):
        a, b = gg.tensor(first, requires_grad=True), gg.tensor(second, requires_grad=True)
        if told:
            for t in (a, b):
                t.register_post_accumulate_grad_hook(lambda t: None)
        for _ in range(2):
            (gg.tanh(a @ b) @ b + a).sum().backward()
        return [t.grad.cpu().numpy() for t in (a, b)]

    for plain, told in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_array_equal(plain, told)


def test_an_update_in_the_hook(device):
    """The optimizer's step in the middle of the backward pass, with the gradient freed at once."""
    w, v = leaf(1.0), leaf(2.0)

    def step(t):
        t -= 0.5 * t.grad
        t.grad = None

    for t in (w, v):
        t.register_post_accumulate_grad_hook(step)
    ((w * 3) * v).sum().backward()
    same(v, [0.5])
    assert v.grad is None
    same(w, [1 - 0.5 * 6])


def test_an_update_in_the_hook_of_what_a_later_derivative_needs_raises(device):
    v = leaf(2.0, name="v")
    y = leaf(1.0) * v.detach()  # needs the memory of v, whose first use as a leaf comes later

    def step(t):
        t -= 0.5

    v.register_post_accumulate_grad_hook(step)
    with pytest.raises(gg.GradientError, match="multiply needs its argument 'b'"):
        (y * v).sum().backward()


def test_a_hook_that_raises_when_told_leaves_the_engine_usable(device):
    w, v = leaf(1.0), leaf(2.0)
    handle = v.register_post_accumulate_grad_hook(lambda t: {}["lost"])
    loss = (w * v).sum()
    with pytest.raises(KeyError, match="lost"):
        loss.backward(retain_graph=True)
    same(v.grad, [1.0])  # it was told because it was complete
    assert w.grad is None
    handle.remove()
    v.grad = None
    loss.backward()
    same(v.grad, [1.0])
    same(w.grad, [2.0])


def test_told_with_create_graph(device):
    x = leaf(2.0)
    told = []
    x.register_post_accumulate_grad_hook(lambda t: told.append(t.grad.requires_grad))
    (x**3).sum().backward(create_graph=True)
    assert told == [True]
    (g,) = gg.gradients(x.grad.sum(), [x])
    same(g, [12.0])


# Nothing leaks.


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_hooks_keep_no_graph_and_no_tensor(no_collector, device):
    x = leaf(1.0, 2.0)
    y = (x * 3).retain_grad()
    handles = [
        y.register_hook(lambda g: g),
        y.grad_fn.register_hook(lambda gs, g: None),
        x.register_post_accumulate_grad_hook(lambda t: None),
    ]
    loss = (y * y).sum()
    loss.backward()
    nodes = [weakref.ref(t.grad_fn) for t in (y, loss)]
    tensors = [weakref.ref(t) for t in (x, y, loss)]
    del x, y, loss
    assert [r() for r in nodes + tensors] == [None] * 5
    for handle in handles:
        handle.remove()  # of what is gone


def test_leaves_that_are_gone_cost_later_walks_nothing():
    from gpugrad.engine import hooks

    before = len(hooks.eager)
    x = leaf(1.0)
    handle = x.register_post_accumulate_grad_hook(lambda t: None)
    again = x.register_post_accumulate_grad_hook(lambda t: None)
    assert len(hooks.eager) == before + 1
    handle.remove()
    assert len(hooks.eager) == before + 1
    again.remove()
    assert len(hooks.eager) == before
    x.register_post_accumulate_grad_hook(lambda t: None)
    del x
    gc.collect()
    assert len(hooks.eager) == before


# Threads.


def test_hooks_in_threads(device):
    failures = []

    def work(number):
        try:
            with gg.device(device):
                for _ in range(30):
                    x = leaf(float(number))
                    told = []
                    with (
                        x.register_hook(lambda g: g * number),
                        x.register_post_accumulate_grad_hook(
                            lambda t, s=told: s.append(t.grad.item())
                        ),
                    ):
                        (x * x).sum().backward()
                    assert told == [2.0 * number * number]
                    assert gg.is_grad_enabled()
        except BaseException as error:  # noqa: BLE001  reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_hook_is_called_in_the_thread_of_the_walk():
    x = leaf(1.0)
    names = []
    x.register_hook(lambda g: names.append(threading.current_thread().name))
    loss = (x * 1).sum()
    thread = threading.Thread(target=loss.backward, name="walker")
    thread.start()
    thread.join()
    assert names == ["walker"]


def test_a_function_that_hooks_return_is_called_once_at_the_end_of_the_walk():
    events = []
    a, b = (leaf(float(n)) for n in (2, 3))

    def end():
        events.append((a.grad.item(), b.grad.item()))

    for t in (a, b):
        add_hook(t._node, COMPLETES, lambda: end)
    (a * b * b).backward()
    assert events == [(9.0, 12.0)]
    (a * b * b).backward()
    assert events == [(9.0, 12.0), (18.0, 24.0)]


# ---------------------------------------------------------------- memory for the gradient of a leaf


def lent(shape, dtype="float64", change=None):
    """A leaf whose first gradient is added up in memory, the memory, and the names of what came."""
    w = gg.tensor(
        np.arange(1.0, 1 + np.prod(shape)).reshape(shape).astype(dtype), requires_grad=True
    )
    memory, seen = np.full(shape, np.nan, dtype), []
    handles = [
        add_hook(w._node, COMPLETES, lambda: seen.append("complete")),
        add_hook(w._node, LENDS, lambda: memory if w.grad is None else None),
    ]
    if change is not None:
        handles.append(w.register_hook(change))
    return w, memory, seen, handles


X = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 2.0]])
LOSSES = {
    "once": lambda w: (w * 3).sum(),
    "twice": lambda w: (w * w * w).sum() + w.sum(),
    "product": lambda w: (gg.tensor(X) @ w).sum(),
    "layer": lambda w: gg.nn.functional.linear(gg.tensor(X), w).square().sum(),
    "layers": lambda w: gg.tanh(
        gg.nn.functional.linear(gg.tanh(gg.nn.functional.linear(gg.tensor(X), w)), w)
    ).sum(),
    "row": lambda w: (w[0] * 2).sum() + w[:, 1].sum(),
    "chosen": lambda w: gg.maximum(w, 2.5).sum(),
    "checkpoint": lambda w: gg.checkpoint(lambda v: (v * v).sum())(w) + w.sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_added_up_in_memory_that_is_lent(name):
    w, memory, seen, _ = lent((2, 2))
    other = w.detach().copy().requires_grad_()
    LOSSES[name](w).backward()
    LOSSES[name](other).backward()
    assert w.grad.data is memory
    assert seen == ["complete"]
    np.testing.assert_array_equal(memory, other.grad.numpy())
    LOSSES[name](w).backward()  # to what is there
    LOSSES[name](other).backward()
    assert w.grad.data is memory
    np.testing.assert_array_equal(memory, other.grad.numpy())


def test_memory_that_is_lent_is_for_backward_alone():
    w, memory, _, _ = lent((2, 2))
    (g,) = gg.gradients((w * w).sum(), [w])
    assert w.grad is None
    (w * w).sum().backward(create_graph=True)
    assert g.data is not memory
    assert w.grad.data is not memory
    assert np.isnan(memory).all()


def test_what_a_hook_gives_in_place_of_a_gradient_is_not_in_the_memory():
    w, memory, _, _ = lent((2, 2), change=lambda g: g * 2)
    (w * 3).sum().backward()
    assert w.grad.data is not memory
    assert w.grad.tolist() == [[6.0, 6.0], [6.0, 6.0]]


def test_halves_are_not_added_up_in_memory_that_is_lent():
    w, memory, seen, _ = lent((2, 2), "float16")
    (w * w + w + w).sum().backward()
    assert w.grad.data is not memory
    assert seen == ["complete"]


def test_a_pass_that_fails_leaves_no_gradient_in_memory_that_is_lent():
    w, _, seen, _ = lent((2, 2))

    def fail(g):
        raise ValueError("bad")

    y = w * 2
    y.register_hook(fail)
    with pytest.raises(ValueError, match="bad"):
        (y.sum() + w.sum()).backward()
    assert w.grad is None
    assert not seen
