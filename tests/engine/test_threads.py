"""Threads that change memory, and add gradients, at the same time; stopped where that matters."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.engine import versions
from gpugrad.tensor import delivery

WAIT = 0.2  # s, for a thread that cannot go on


@pytest.fixture
def switching():
    """Threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(*functions):
    """Run functions in threads of their own; raise what they raise."""
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result()


def test_a_stamp_drawn_first_and_entered_last_hides_no_other(device, monkeypatch):
    x = gg.tensor([1.0, 2.0], requires_grad=True, device=device)
    early, late = gg.tensor([3.0, 4.0], device=device), gg.tensor([5.0, 6.0], device=device)
    drawn, entered = threading.Event(), threading.Event()
    draw = versions.next_serial
    losses = []

    def pausing():
        stamp = draw()
        if threading.current_thread().name == "early":
            drawn.set()
            entered.wait(WAIT)
        return stamp

    def change_early():
        threading.current_thread().name = "early"
        early.__iadd__(1.0)

    def record_and_change_late():
        assert drawn.wait(10)
        losses.append((x * late).sum())  # a graph between the two stamps
        late.__iadd__(1.0)
        entered.set()

    monkeypatch.setattr(versions, "next_serial", pausing)
    in_threads(change_early, record_and_change_late)
    monkeypatch.undo()
    with pytest.raises(gg.GradientError, match="changed in place"):
        losses[0].backward()


def test_two_first_changes_of_one_memory_are_both_noted(monkeypatch):
    t = gg.tensor([3.0, 4.0])
    watch = versions._watch
    waiting = threading.Barrier(2)

    def slow(owner, key):
        try:
            waiting.wait(WAIT)
        except threading.BrokenBarrierError:
            pass
        return watch(owner, key)

    monkeypatch.setattr(versions, "_watch", slow)
    in_threads(lambda: t.__iadd__(1.0), lambda: t[:1].__iadd__(1.0))
    ((_, stamps),) = [e for e in versions._stamps.values() if e[0]() is t.data]
    assert len(stamps) == 2


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("value", [[1.0, 2.0], 1.0], ids=["array", "number"])
def test_two_passes_into_one_leaf_add_up(first, value, device, monkeypatch):
    x = gg.tensor(value, requires_grad=True, device=device)
    if not first:
        x.grad = gg.zeros_like(x.detach())
    following = delivery._next_grad
    waiting = threading.Barrier(2)

    def slow(*args):
        grad = following(*args)
        try:
            waiting.wait(WAIT)  # both have read what is there, if they can
        except threading.BrokenBarrierError:
            pass
        return grad

    monkeypatch.setattr(delivery, "_next_grad", slow)
    in_threads(*[(x * c).sum().backward for c in (3.0, 4.0)])
    assert x.grad.tolist() == gg.full_like(x.detach(), 7).tolist()


def test_gradients_of_eight_threads(device, switching):
    x = gg.tensor(np.ones(4), requires_grad=True, device=device)
    passes = 5 if device.kind == "cuda" else 40

    def work():
        for _ in range(passes):
            (x * 2.0).sum().backward()

    in_threads(*[work] * 8)
    assert x.grad.tolist() == [2.0 * 8 * passes] * 4


def test_changes_in_eight_threads_are_all_noticed(device, switching):
    passes = 5 if device.kind == "cuda" else 60

    def work():
        x = gg.tensor(np.ones(2), requires_grad=True, device=device)
        c = gg.tensor(np.ones(2), device=device)
        for _ in range(passes):
            loss = (x * c).sum()
            c.__iadd__(1.0)
            with pytest.raises(gg.GradientError, match="changed in place"):
                loss.backward()

    in_threads(*[work] * 8)
