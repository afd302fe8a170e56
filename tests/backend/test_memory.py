"""Memory: the peak of a GPU's pool, what is said when there is none left, what a step holds."""

import gc
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from cuda_errors import OutOfMemoryError
from gpu import needs_gpu, needs_two_gpus

import gpugrad as gg
from gpugrad.backend import namespace, sim
from gpugrad.backend.memory import count_peaks, exhausted

# The peak.


@pytest.fixture
def cupy():
    """CuPy, whose allocator is what it was after the test."""
    import cupy

    before = cupy.cuda.get_allocator()
    yield cupy
    cupy.cuda.set_allocator(before)


def used():
    gc.collect()  # what an earlier test left in a cycle is not freed later then
    return gg.cuda.memory_stats()["used"]


@needs_gpu
def test_the_peak_is_the_most_that_was_in_use_since_the_reset(cupy):
    start = used()
    gg.cuda.reset_peak()
    held = [cupy.cuda.alloc(1024) for _ in range(3)]
    del held[1:]
    more = cupy.cuda.alloc(512)
    stats = gg.cuda.memory_stats()
    assert stats["used"] == start + 1536
    assert stats["peak"] == start + 3072
    gg.cuda.reset_peak()
    assert gg.cuda.memory_stats()["peak"] == start + 1536
    del held, more
    assert used() == start
    assert gg.cuda.memory_stats()["peak"] == start + 1536


@needs_two_gpus
def test_each_device_has_a_peak_of_its_own(cupy):
    gg.cuda.reset_peak(0)
    gg.cuda.reset_peak(1)
    start = [gg.cuda.memory_stats(device)["used"] for device in (0, 1)]
    cupy.cuda.alloc(1024)
    with cupy.cuda.Device(1):
        cupy.cuda.alloc(2048)
    assert gg.cuda.memory_stats(0)["peak"] == start[0] + 1024
    assert gg.cuda.memory_stats("cuda:1")["peak"] == start[1] + 2048
    gg.cuda.reset_peak("cuda:1")
    assert gg.cuda.memory_stats(0)["peak"] == start[0] + 1024
    assert gg.cuda.memory_stats(1)["peak"] == start[1]


@needs_gpu
def test_counting_begins_when_it_is_asked_for_and_once(cupy):
    usual = cupy.get_default_memory_pool().malloc
    cupy.cuda.set_allocator(usual)
    gg.cuda.is_available()
    gg.cuda.device_count()
    assert cupy.cuda.get_allocator() == usual
    gg.cuda.memory_stats()
    counting = cupy.cuda.get_allocator()
    assert counting != usual
    gg.cuda.reset_peak()
    gg.cuda.memory_stats()
    assert cupy.cuda.get_allocator() is counting
    cupy.cuda.set_allocator(usual)  # as programs do that set it back: counting begins anew
    start = used()
    gg.cuda.reset_peak()
    cupy.cuda.alloc(1024)
    assert gg.cuda.memory_stats()["peak"] == start + 1024


@needs_gpu
def test_another_allocator_is_left_alone(cupy):
    sizes = []

    def own(size):
        sizes.append(size)
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)

    start = used()
    cupy.cuda.set_allocator(own)
    gg.cuda.reset_peak()
    cupy.cuda.alloc(512)
    assert sizes == [512]
    assert cupy.cuda.get_allocator() is own
    assert count_peaks(cupy) == {}
    assert gg.cuda.memory_stats()["peak"] == used() == start


@needs_gpu
def test_allocations_of_all_threads_count(cupy):
    gg.cuda.reset_peak()
    start, rounds, threads = used(), 200, 8
    together = threading.Barrier(threads)
    failures = []

    def work():
        try:
            together.wait(10)
            held = [cupy.cuda.alloc(512) for _ in range(rounds)]
            together.wait(10)  # all that all threads hold is in use here
            del held
        except BaseException as error:  # noqa: BLE001  reported below
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert gg.cuda.memory_stats()["peak"] == start + 512 * rounds * threads


@needs_gpu
def test_an_allocation_that_fails_passes_through(cupy):
    start = used()
    gg.cuda.reset_peak()
    with pytest.raises(cupy.cuda.memory.OutOfMemoryError):
        cupy.cuda.alloc(1 << 50)
    assert gg.cuda.memory_stats()["peak"] == start


def test_the_allocator_of_the_real_cupy_is_one_that_can_be_counted():
    cupy = pytest.importorskip("cupy")
    allocator, pool = cupy.cuda.get_allocator(), cupy.get_default_memory_pool()
    assert getattr(allocator, "peaks", None) is not None or allocator.__self__ is pool
    for name in ("malloc", "used_bytes", "total_bytes", "free_all_blocks"):
        assert callable(getattr(pool, name))
    assert callable(cupy.cuda.device.get_device_id)
    assert callable(cupy.cuda.set_allocator)
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert cupy.cuda.memory.OutOfMemoryError.__module__.startswith("cupy")


# None left.


def used_up():
    return OutOfMemoryError("Out of memory allocating 4,096 bytes (allocated so far: 512 bytes).")


HELD = (
    "Of 8 GiB on cuda:0, 6 GiB are free, 100 bytes in living arrays, 412 bytes in the cache of "
    "CuPy's pool"
)


@pytest.fixture
def fail_at(monkeypatch):
    """Lets the nth call of a function of sim from now on fail as CuPy's for want of memory."""
    monkeypatch.setattr("gpugrad.backend.memory._held", lambda cupy: HELD)
    monkeypatch.setitem(sys.modules, "cupy", sys.modules.get("cupy"))

    def arrange(name, count, error=used_up):
        original = getattr(sim, name)
        calls = []

        def function(*args, **kwargs):
            calls.append(name)
            if len(calls) == count:
                raise error()
            return original(*args, **kwargs)

        xp = namespace.namespace_of(sim.zeros(1))
        monkeypatch.setattr(sim, name, function)
        monkeypatch.setitem(xp.__dict__, name, function)

    return arrange


def test_forward_says_op_size_use_and_what_to_try(fail_at):
    x = gg.ones((4, 3), device="sim", requires_grad=True)
    fail_at("exp", 1)
    with pytest.raises(gg.OutOfMemoryError) as caught:
        gg.exp(x)
    assert isinstance(caught.value, MemoryError)
    assert str(caught.value) == (
        f"exp: Out of memory allocating 4,096 bytes (allocated so far: 512 bytes). {HELD}. "
        "Try a smaller batch (the gradients of several add up), gg.checkpoint, which "
        "computes values again in place of keeping them, or gg.no_grad() where no gradient is "
        "wanted. Operands of shape (4, 3)"
    )
    gg.exp(x).sum().backward()
    assert x.grad is not None


def test_a_library_without_memory_is_told_to_empty_the_cache(fail_at):
    class CUBLASError(RuntimeError):
        __module__ = "cupy_backends.cuda.libs.cublas"

    a = gg.ones((2, 2), device="sim")
    fail_at("matmul", 1, lambda: CUBLASError("CUBLAS_STATUS_ALLOC_FAILED"))
    with pytest.raises(gg.OutOfMemoryError, match=r"^matmul: CUBLAS.*gg\.cuda\.empty_cache\(\)"):
        a @ a
    fail_at("matmul", 1, lambda: CUBLASError("CUBLAS_STATUS_EXECUTION_FAILED"))
    with pytest.raises(CUBLASError, match="EXECUTION"):
        a @ a


def test_on_the_cpu_too():
    x = gg.zeros((1, 1), device="cpu")
    with pytest.raises(gg.OutOfMemoryError, match=r"^\w+: Unable to allocate .*gg\.checkpoint"):
        gg.broadcast_to(x, (1 << 30, 1 << 30)) + 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_backward_pass_that_fails_leaves_gradients_as_they_were(fail_at, count):
    with gg.device("sim"):
        gg.manual_seed(0)
        model = gg.nn.MLP(3, [4, 4, 2], activation="tanh")
        x = gg.ones((5, 3))
    parameters = list(model.parameters())
    optimizer = gg.optim.SGD(parameters, lr=0.1)
    (model(x) ** 2).sum().backward()
    before = [p.grad.numpy().copy() for p in parameters]
    loss = (model(x) ** 2).sum()
    fail_at("matmul", count)
    with pytest.raises(gg.OutOfMemoryError, match=r"^backward of linear(_tanh)?: Out of memory"):
        loss.backward()
    for p, grad in zip(parameters, before):
        np.testing.assert_array_equal(p.grad.numpy(), grad)
    assert gg.is_grad_enabled()
    with pytest.raises(gg.GradientError, match="freed"):
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    (model(x) ** 2).sum().backward()  # the next step works
    optimizer.step()


def test_gradients_are_given_to_all_leaves_or_to_none(monkeypatch):
    from gpugrad.tensor import delivery

    first, second = gg.ones(3, requires_grad=True), gg.ones(3, requires_grad=True)
    first.grad = gg.ones(3)

    def fail(gradients, key):
        raise MemoryError("no room for a copy")

    monkeypatch.setattr(delivery, "steal_or_copy", fail)
    with pytest.raises(MemoryError, match="no room"):
        (first + second).sum().backward()
    assert first.grad.tolist() == [1.0, 1.0, 1.0]
    assert second.grad is None


def test_in_a_recorded_pass_the_inner_operation_is_named_once(fail_at):
    x = gg.tensor([1.0, 2.0], device="sim", requires_grad=True)
    y = gg.sin(x).sum()
    fail_at("cos", 1)
    with pytest.raises(gg.OutOfMemoryError, match=r"^cos: Out of memory"):
        gg.gradients(y, x, create_graph=True)


def test_what_the_walk_held_is_free_while_the_error_is_looked_at(fail_at, make_op):
    kept = []

    def rule(xp, g, y, x):
        d = g * 2
        kept.append(weakref.ref(d))
        return d

    double = make_op(lambda xp, x, /: x * 2, [rule])
    x = gg.ones(3, device="sim", requires_grad=True)
    y = double(gg.exp(double(gg.sin(x)))).sum()
    fail_at("cos", 1)
    with pytest.raises(gg.OutOfMemoryError) as caught:
        y.backward()
    assert "backward of sin" in str(caught.value)
    gc.collect()
    assert len(kept) == 2
    assert all(reference() is None for reference in kept)


def test_other_errors_of_a_walk_stay_what_they_are(make_op):
    def rule(xp, g, y, x):
        raise RuntimeError("something else")

    f = make_op(lambda xp, x, /: x * 2, [rule])
    x = gg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="^something else$"):
        f(x).sum().backward()


def test_words_for_an_error_without_any():
    assert str(exhausted("op", MemoryError())).startswith("op: out of memory. Try a smaller batch")
    assert exhausted("op", RuntimeError("cudaErrorLaunchFailure")) is None
    assert exhausted("op", gg.OutOfMemoryError("said already")) is None


def test_an_optimizer_whose_state_does_not_fit_goes_on_when_there_is_room(fail_at):
    w = gg.ones(3, device="sim", requires_grad=True)
    optimizer = gg.optim.Adam([w], lr=0.1)
    (w * w).sum().backward()
    fail_at("zeros_like", 2)
    with pytest.raises(gg.OutOfMemoryError, match=r"^Adam: exp_avg_sq: Out of memory"):
        optimizer.step()
    assert w.tolist() == [1.0, 1.0, 1.0]
    optimizer.step()
    np.testing.assert_allclose(w.detach().numpy(), [0.9, 0.9, 0.9], rtol=1e-6)


def test_a_copy_that_does_not_fit(fail_at):
    fail_at("asarray", 1)
    with pytest.raises(gg.OutOfMemoryError, match=r"^copy to sim:0: Out of memory"):
        gg.ones(3, device="cpu").to("sim")


# What a training step holds.


@needs_gpu
def test_the_peak_of_a_gpu():
    import cupy

    gg.cuda.reset_peak()
    start = gg.cuda.memory_stats()["used"]
    cupy.zeros(1 << 20, cupy.uint8)
    held = cupy.zeros(1 << 18, cupy.uint8)
    stats = gg.cuda.memory_stats()
    assert stats["peak"] - start == 1 << 20
    assert stats["used"] - start == held.nbytes
    gg.cuda.reset_peak()
    assert gg.cuda.memory_stats()["peak"] == stats["used"]


@needs_gpu
def test_a_gpu_whose_memory_is_used_up():
    import cupy

    pool = cupy.get_default_memory_pool()
    x = gg.ones((1 << 20,), device="cuda", requires_grad=True)
    gg.exp(x).sum().backward()
    before = x.grad.numpy()
    pool.set_limit(size=pool.used_bytes() + (1 << 26))
    try:
        with pytest.raises(gg.OutOfMemoryError, match=r"^exp: .*268,435,456.*living arrays.*Try"):
            gg.exp(gg.broadcast_to(x, (64, 1 << 20)))
        y = gg.exp(gg.tanh(x)).sum()
        pool.free_all_blocks()  # what is in the cache counts for no limit
        pool.set_limit(size=pool.total_bytes() + 1024)
        with pytest.raises(gg.OutOfMemoryError, match=r"^backward of \w+: "):
            y.backward()
    finally:
        pool.set_limit(size=0)
    np.testing.assert_array_equal(x.grad.numpy(), before)
    gg.exp(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * before)


DEPTH, WIDTH, BATCH = 64, 64, 256


def test_a_step_of_a_deep_mlp_holds_what_theory_says():
    """Forward keeps one array a layer, relu's output, which is the next layer's input. Backward
    frees them as it comes past and adds a few layers' worth at its beginning."""
    gg.manual_seed(0)
    model = gg.nn.MLP(WIDTH, [WIDTH] * DEPTH, activation="relu")
    x = gg.random.normal(0.0, 1.0, (BATCH, WIDTH))
    layer = BATCH * WIDTH * 4
    weights = sum(p.data.nbytes for p in model.parameters())
    gg.sum(model(x) ** 2).backward()  # what is made once is made
    for p in model.parameters():
        p.grad = None
    gc.collect()
    tracemalloc.start()
    try:
        loss = gg.sum(model(x) ** 2)
        forward = tracemalloc.get_traced_memory()[0]
        loss.backward()
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert DEPTH * layer < forward < (DEPTH + 2) * layer
    assert most < (DEPTH + 4) * layer  # though the gradients take 16 layers' worth at the end
    assert weights <= left < weights + 2 * layer


@needs_gpu
def test_a_step_of_a_deep_mlp_holds_within_a_tenth_of_what_pytorch_does():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch is here without CUDA")
    width, batch = 512, 1024
    with gg.device("cuda"):
        model = gg.nn.MLP(width, [width] * DEPTH, activation="relu")
        x = gg.random.normal(0.0, 1.0, (batch, width))
        for p in model.parameters():
            p.grad = None
        start = gg.cuda.memory_stats()["used"]
        gg.cuda.reset_peak()
        gg.sum(model(x) ** 2).backward()
        own = gg.cuda.memory_stats()["peak"] - start
    layers = []
    for index in range(DEPTH):
        layers += [torch.nn.Linear(width, width), torch.nn.ReLU()][: 1 + (index < DEPTH - 1)]
    theirs = torch.nn.Sequential(*layers).cuda()
    x = torch.randn(batch, width, device="cuda")
    start = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    (theirs(x) ** 2).sum().backward()
    other = torch.cuda.max_memory_allocated() - start
    assert own < 1.1 * other, f"{own / 2**20:.1f} MiB, PyTorch {other / 2**20:.1f} MiB"


def test_activations_are_freed_as_the_walk_comes_past(make_op):
    alive, seen = [], []

    def rule(xp, g, y, x):
        seen.append(sum(reference() is not None for reference in alive))
        return g * y

    def forward(xp, x, /):
        y = xp.exp(x)
        alive.append(weakref.ref(y))
        return y

    f = make_op(forward, [rule], saves="y")
    h = gg.zeros(4, requires_grad=True)
    for _ in range(6):
        h = f(h * 0.1)
    loss = h.sum()
    del h
    loss.backward()
    assert seen == [6, 5, 4, 3, 2, 1]
