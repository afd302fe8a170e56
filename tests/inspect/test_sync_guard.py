"""sync_guard: waits for the device and implicit copies raise, with the line."""

import copy
import pickle
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.backend import sim
from gpugrad.backend.namespace import NAMESPACES

HERE = Path(__file__).name


def line_of(marker):
    """What an error says of the line of this file that ends in a comment with the marker."""
    lines = Path(__file__).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return f"{HERE}:{found}: "


@pytest.fixture
def matrix():
    return gg.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), device="sim")


@pytest.fixture
def number():
    return gg.tensor(2.0, device="sim")


def _if(t):
    return 1 if t > 0 else 0


WAITS = {
    "float": float,
    "int": int,
    "complex": complex,
    "bool": bool,
    "if": _if,
    "while": lambda t: [1 for _ in iter(lambda: bool(t < 0), False)],
    "item": lambda t: t.item(),
    "tolist": lambda t: t.tolist(),
    "numpy": lambda t: t.numpy(),
    "cpu": lambda t: t.cpu(),
    "to": lambda t: t.to("cpu"),
    "fetch": lambda t: gg.Device("sim").fetch(t.data),
    "repr": repr,
    "str": str,
    "print": print,
    "format": lambda t: f"{t}",
    "format with a specification": lambda t: f"{t:.2f}",
    "index": lambda t: [1, 2, 3][t.astype(gg.int64)],
    "slice": lambda t: [1, 2, 3][: t.astype(gg.int64)],
    "contains": lambda t: 1.0 in t,
    "pickle": pickle.dumps,
    "raw float": lambda t: float(t.data),
    "raw get": lambda t: t.data.get(),
    "raw condition": lambda t: 1 if t.data > 0 else 0,
    "raw print": lambda t: str(t.data),
    "raw unique": lambda t: sim.unique(t.data),
    "raw nonzero": lambda t: sim.nonzero(t.data.reshape(1)),
    "raw copy": lambda t: sim.asnumpy(t.data),
    "synchronize": lambda t: gg.Device("sim").synchronize(),
    "explain": lambda t: gg.explain(t.detach().requires_grad_() * 2),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_a_wait_raises(wait, number):
    with gg.sync_guard(), pytest.raises(gg.SyncError, match="the host waits") as caught:
        wait(number)
    assert HERE in str(caught.value)
    wait(number)  # and does not outside


MASKED = {
    "mask": lambda t: t[t > 2],
    "mask of one axis": lambda t: t[:, gg.tensor([True, False, True], device="sim")],
    "raw mask": lambda t: t.data[t.data > 2],
}


@pytest.mark.parametrize("wait", MASKED.values(), ids=list(MASKED))
def test_selecting_by_a_mask_waits_for_the_number_of_elements(wait, matrix):
    with gg.sync_guard(), pytest.raises(gg.SyncError, match=r"waits .*\(boolean mask\)"):
        wait(matrix)
    wait(matrix)


STEALTH = {
    "list as index": lambda t: t[[0, 1]],
    "array as index": lambda t: t[np.array([0, 1])],
    "array among indices": lambda t: t[:, np.array([0, 1])],
    "assignment by a list": lambda t: t.__setitem__([0], 1.0),
    "assignment of a list": lambda t: t.__setitem__(0, [1.0, 2.0, 3.0]),
    "list as operand": lambda t: t * [1.0, 2.0, 3.0],
    "list as gradient": lambda t: t[0].requires_grad_().backward([1.0, 2.0, 3.0]),
    "raw set": lambda t: t.data.set(np.zeros((2, 3), np.float32)),
    "raw copy": lambda t: sim.asarray(np.ones(3)) + t.data,
}


@pytest.mark.parametrize("send", STEALTH.values(), ids=list(STEALTH))
def test_a_copy_to_the_device_by_stealth_raises(send, matrix):
    with gg.sync_guard(), pytest.raises(gg.SyncError) as caught:
        send(matrix)
    assert "a host array is copied to the device implicitly here" in str(caught.value)
    assert HERE in str(caught.value)
    send(matrix)


REFUSED = {
    "asarray": (lambda t: np.asarray(t), gg.DTypeError),
    "array as operand": (lambda t: t + np.ones(3, np.float32), gg.DeviceError),
    "tensor of the host": (lambda t: t + gg.ones(3, device="cpu"), gg.DeviceError),
}


@pytest.mark.parametrize(("use", "error"), REFUSED.values(), ids=list(REFUSED))
def test_what_no_device_does_keeps_its_own_error(use, error, matrix):
    with pytest.raises(error):
        use(matrix)
    with gg.sync_guard(), pytest.raises(error):
        use(matrix)


def test_an_error_about_shapes_fetches_nothing_to_say_so(matrix):
    places = gg.tensor([0, 1], dtype=gg.int64, device="sim")
    with gg.sync_guard(), pytest.raises((gg.ShapeError, IndexError)):
        matrix[0, 0, places]
    with gg.sync_guard(), pytest.raises(gg.ShapeError, match="do not broadcast"):
        matrix + gg.ones(2, device="sim")
    host = gg.ones((2, 3), device="cpu")
    with gg.sync_guard(), pytest.raises(gg.DeviceError, match="on two devices, cpu and sim"):
        host[places]


def test_the_line(number):
    with gg.sync_guard(), pytest.raises(gg.SyncError) as caught:
        float(number)  # a number is fetched
    assert str(caught.value).startswith("sync_guard: the host waits for the device here (item). ")
    assert line_of("a number is fetched") + "float(number)" in str(caught.value)


def test_the_line_of_a_wait_in_a_hook(number):
    x = number.detach().requires_grad_()
    x.register_hook(lambda g: print(g))  # printed in a hook
    with gg.sync_guard(), pytest.raises(gg.SyncError) as caught:
        (x * x).backward()
    assert line_of("printed in a hook") in str(caught.value)
    assert x.grad is None
    assert gg.is_grad_enabled()


ALLOWED = {
    "made of a list": lambda t: gg.tensor([1.0, 2.0], device="sim"),
    "made of an array": lambda t: gg.tensor(np.ones(3, np.float32), device="sim"),
    "sent": lambda t: gg.ones(3, device="cpu").to("sim"),
    "sent raw": lambda t: gg.Device("sim").send(np.ones(3)),
    "to another device": lambda t: t.to("sim:1"),
    "created": lambda t: (gg.zeros(3, device="sim"), gg.arange(5, device="sim")),
    "filled": lambda t: gg.full((2, 2), 1.5, device="sim"),
    "scalars": lambda t: (t * 2 + 1.5) ** np.float32(2),
    "where with numbers": lambda t: gg.where(t > 1, t, 0.0),
    "indexed by numbers and slices": lambda t: (t[0, 1], t[:, ::2], t[..., None]),
    "indexed by a tensor": lambda t: t[gg.tensor([0], dtype=gg.int64, device="sim")],
    "assigned": lambda t: t.__setitem__((0, slice(None)), 7.0),
    "assigned by a mask": lambda t: t.__setitem__(t > 2, 0.0),
    "iterated": lambda t: [row.sum() for row in t],
    "shape": lambda t: (len(t), t.shape, t.dtype, t.device, t.size, t.nbytes),
    "copied": lambda t: (copy.copy(t), copy.deepcopy(t), t.clone(), t.detach()),
    "hashed": lambda t: {t: 1},
    "random": lambda t: gg.random.normal(0.0, 1.0, (3, 3), device="sim"),
    "einsum": lambda t: gg.einsum("ij,kj->ik", t, t),
    "repeated": lambda t: gg.repeat(t, 2, axis=0),
}


@pytest.mark.parametrize("use", ALLOWED.values(), ids=list(ALLOWED))
def test_what_costs_no_wait_is_allowed(use, matrix):
    with gg.sync_guard():
        use(matrix)


DIFFERENTIATED = {
    "mean": lambda t: t.mean(),
    "std": lambda t: t.std(axis=0),
    "max": lambda t: t.max(axis=1),
    "prod": lambda t: t.prod(axis=0),
    "softmax": lambda t: gg.softmax(t, axis=-1),
    "logsumexp": lambda t: gg.logsumexp(t, axis=0),
    "cumsum": lambda t: gg.cumsum(t, axis=1),
    "power": lambda t: t**2.5,
    "power of a tensor": lambda t: t**t,
    "clip": lambda t: gg.clip(t, 1.0, 3.0),
    "where": lambda t: gg.where(t > 2, t, -t),
    "split": lambda t: t.split(3, axis=1)[1],
    "slice": lambda t: t[:, 1:],
    "take": lambda t: t[:, gg.tensor([0, 0, 2], dtype=gg.int64, device="sim")],
    "concat": lambda t: gg.concat([t, t], axis=0),
    "matmul": lambda t: t @ t.T,
    "pad": lambda t: gg.broadcast_to(t, (4, 2, 3)),
    "log": lambda t: gg.log(t + 1),
    "sqrt": lambda t: gg.sqrt(t),
    "gelu": lambda t: t.gelu(),
}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("f", DIFFERENTIATED.values(), ids=list(DIFFERENTIATED))
def test_derivatives_wait_for_nothing(f, create_graph, matrix):
    x = matrix.requires_grad_()
    with gg.sync_guard():
        (g,) = gg.gradients(f(x).sum(), [x], create_graph=create_graph)
        if g.requires_grad:
            gg.gradients((g * g).sum(), [x])
        x.register_hook(lambda g: g * 2)
        f(x).sum().backward()


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_a_whole_training_loop_is_free_of_waits(optimizer, rng):
    inputs = rng.standard_normal((24, 4)).astype(np.float32)
    targets = rng.integers(0, 3, 24)
    with gg.device("sim"):
        gg.manual_seed(1)
        model = gg.nn.MLP(4, [8, 3])
    p = model.parameters()
    steps = getattr(gg.optim, optimizer)(p, lr=0.5 if optimizer == "SGD" else 0.05)
    schedule = gg.optim.CosineAnnealingLR(steps, T_max=20)
    loader = gg.data.DataLoader(gg.data.TensorDataset(inputs, targets), batch_size=8, shuffle=True)
    losses = []
    with gg.sync_guard():
        for _ in range(20):
            total = gg.zeros((), device="sim")
            for x, y in loader:
                x, y = gg.tensor(x).to("sim"), gg.tensor(y).to("sim")
                loss = gg.nn.functional.cross_entropy(model(x), y)
                steps.zero_grad()
                loss.backward()
                gg.optim.clip_grad_norm_(model.parameters(), 1.0)
                steps.step()
                total += loss.detach()
            schedule.step()
            losses.append(total)
    first, last = losses[0].item(), losses[-1].item()
    assert last < 0.9 * first


def test_a_loop_that_waits_is_caught():
    with gg.device("sim"):
        w = gg.ones(3, requires_grad=True)
        steps = gg.optim.SGD([w], lr=0.1)

        def train():
            for _ in range(3):
                loss = (w * w).sum()
                loss.backward()
                steps.step()
                if loss.detach() < 1e-3:  # the loss is looked at
                    break

        with gg.sync_guard(), pytest.raises(gg.SyncError) as caught:
            train()
    assert line_of("the loss is looked at") in str(caught.value)


def test_arrays_of_the_host_never_wait():
    x = gg.ones(3, device="cpu", requires_grad=True)
    with gg.sync_guard():
        assert (x * 2).sum().item() == 6.0
        assert repr(x)
        assert x.detach()[[0, 1]].tolist() == [1.0, 1.0]


def test_other_threads_are_not_guarded(number):
    found = []
    with gg.sync_guard():
        thread = threading.Thread(target=lambda: found.append(number.item()))
        thread.start()
        thread.join()
        with pytest.raises(gg.SyncError):
            number.item()
    assert found == [2.0]


def test_guards_in_several_threads_do_not_end_one_another(number):
    entered, left, failures = threading.Event(), threading.Event(), []

    def work():
        try:
            with gg.sync_guard():
                entered.set()
                assert left.wait(10)
                with pytest.raises(gg.SyncError):
                    number.item()
        except BaseException as error:  # noqa: BLE001  reported below
            failures.append(error)

    thread = threading.Thread(target=work)
    with gg.sync_guard():
        thread.start()
        assert entered.wait(10)
    number.item()
    left.set()
    thread.join()
    assert failures == []
    assert sim.sync_callbacks == []


def test_nested_guards_and_exceptions(number):
    guard = gg.sync_guard()
    with guard:
        with guard, gg.sync_guard():
            pass
        with pytest.raises(KeyError), guard:
            raise KeyError
        with pytest.raises(gg.SyncError):
            number.item()
    number.item()
    with pytest.raises(gg.SyncError), gg.sync_guard():
        number.item()
    number.item()
    assert sim.sync_callbacks == []


def test_as_a_decorator(number):
    @gg.sync_guard()
    def f(t):
        return t * 2

    @gg.sync_guard()
    def g(t):
        return t.item()

    assert f(number).item() == 4.0
    with pytest.raises(gg.SyncError):
        g(number)
    number.item()


# CuPy itself: its class is patched while a guard is on. That needs no GPU to be seen.


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")


def fetching(cupy):
    from gpugrad.backend.cupy_waits import FETCHING

    return {name: getattr(cupy.ndarray, name) for name in FETCHING}, dict(vars(cupy.ndarray))


def test_the_methods_of_cupy_that_fetch_are_replaced_inside_and_restored_after(cupy):
    methods, members = fetching(cupy)

    def look_and_fail():
        for name, method in methods.items():
            replaced = getattr(cupy.ndarray, name)
            assert replaced is not method, name
            with pytest.raises(gg.SyncError, match=f"\\({name}\\)") as caught:
                replaced(None)
            assert HERE in str(caught.value)
        raise KeyError

    with pytest.raises(KeyError), gg.sync_guard(), gg.sync_guard():
        look_and_fail()
    assert fetching(cupy) == (methods, members)


COPIES = {
    "array": lambda cupy: cupy.array(np.ones(2)),
    "asarray": lambda cupy: cupy.asarray([1.0, 2.0]),
    "asarray of lists": lambda cupy: cupy.asarray([[1.0], [2.0]]),
    "asarray of rows": lambda cupy: cupy.asarray([np.ones(2)]),
    "ascontiguousarray": lambda cupy: cupy.ascontiguousarray(np.ones((2, 2))),
    "set": lambda cupy: cupy.ndarray.set(None, np.ones(2)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=list(COPIES))
def test_copies_to_cupy_by_stealth_raise(copy, cupy):
    with gg.sync_guard(), pytest.raises(gg.SyncError, match="copied to the device implicitly"):
        copy(cupy)


WAITING = {
    "deviceSynchronize": lambda cupy: cupy.cuda.runtime.deviceSynchronize(),
    "streamSynchronize": lambda cupy: cupy.cuda.runtime.streamSynchronize(0),
    "Stream.synchronize": lambda cupy: cupy.cuda.Stream.null.synchronize(),
    "Event.synchronize": lambda cupy: cupy.cuda.Event.synchronize(None),
}


@pytest.mark.parametrize(("name", "wait"), WAITING.items(), ids=list(WAITING))
def test_waits_of_cupy_raise(name, wait, cupy):
    with gg.sync_guard(), pytest.raises(gg.SyncError, match=f"the host waits .*[(]{name}[)]"):
        wait(cupy)


def test_what_cupy_need_not_copy_is_let_through(cupy):
    from gpugrad.backend.cupy_waits import is_on_host
    from gpugrad.backend.device import asked_for

    assert not is_on_host(cupy, 2.0)
    assert not is_on_host(cupy, np.ones(()))  # becomes an argument of a kernel
    assert not is_on_host(SimpleNamespace(ndarray=set), [set()])  # arrays of the device in a list
    assert not is_on_host(cupy, [])
    calls = []
    with gg.sync_guard(), asked_for():
        try:
            cupy.asarray(np.ones(3))
        except RuntimeError as error:  # on a machine without a GPU it came as far as CUDA
            calls.append(type(error))
    assert gg.SyncError not in calls


def test_functions_of_cupy_are_what_they_were_after_a_guard(cupy):
    def functions():
        runtime = cupy.cuda.runtime
        return [
            *(getattr(cupy, name) for name in ("array", "asarray", "asanyarray")),
            *(getattr(runtime, name) for name in ("deviceSynchronize", "streamSynchronize")),
            cupy.cuda.Stream.synchronize,
            cupy.cuda.Event.synchronize,
            cupy.ndarray.set,
        ]

    before, members = functions(), dict(vars(cupy.cuda.Stream))
    with gg.sync_guard():
        assert all(now is not then for now, then in zip(functions(), before))
    assert functions() == before
    assert dict(vars(cupy.cuda.Stream)) == members


def test_other_threads_reach_the_methods_of_cupy():
    cupy = pytest.importorskip("cupy")
    calls = []

    class Array:
        def item(self, *args):
            calls.append(args)

    original = cupy.ndarray.item
    with gg.sync_guard():
        item = cupy.ndarray.item
        # An instance needs a GPU: the original refuses what is none, which shows it was reached.
        failures = []

        def work():
            try:
                item(Array())
            except TypeError as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(failures) == 1
    assert "item" in str(failures[0])
    assert calls == []
    assert cupy.ndarray.item is original or cupy.ndarray.item == original


def test_a_guard_sees_cupy_that_was_imported_while_another_was_on(cupy, monkeypatch):
    methods, members = fetching(cupy)
    with monkeypatch.context() as patch, gg.sync_guard():
        patch.delitem(sys.modules, "cupy")
        with gg.sync_guard():
            pass
    assert fetching(cupy) == (methods, members)
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "cupy")
        patch.delitem(NAMESPACES, cupy.ndarray, raising=False)
        with gg.sync_guard():
            assert cupy.ndarray.item == methods["item"]
            sys.modules["cupy"] = cupy
            with gg.sync_guard():
                assert cupy.ndarray.item != methods["item"]
    assert fetching(cupy) == (methods, members)
