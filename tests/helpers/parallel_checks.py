"""What several processes check together: the program that tests/parallel starts with mpiexec.

    mpiexec -n 2 python tests/helpers/parallel_checks.py FOLDER cpu,sim

Each check is a function of a `World`; each process writes what they said to FOLDER/RANK.json. A
check that fails on one process only ends all of them: they no longer make the same calls.
"""

import dataclasses
import importlib.util
import json
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.parallel.group import group

__all__ = ["BY_MPI", "CHECKS", "checks", "main"]

CHECKS = {}
parallel = gg.parallel


def check(function):
    CHECKS[function.__name__] = function
    return function


# These go on after calls that differed, as MPI can and NCCL cannot.
AFTER_AN_ERROR = ("calls_that_differ_raise_on_all", "a_message_of_another_shape_is_refused")


# As if MPI were CUDA-aware, which it need not be for the memory of the stand-in for CUDA.
BY_MPI = "-by-mpi"


def checks(device):
    """The names of the checks for a device."""
    return [name for name in CHECKS if device != "cuda" or name not in AFTER_AN_ERROR]


@dataclasses.dataclass
class World:
    """This process and its device; numbers that all processes know."""

    device: str

    def __post_init__(self):
        self.rank, self.size = parallel.rank(), parallel.size()

    def all(self, *shape, seed=0, dtype="float64"):
        """All processes' arrays of a shape, stacked, on the host."""
        random = np.random.default_rng(seed)
        values = random.integers(-8, 8, (self.size, *shape))
        if np.dtype(dtype).kind == "c":
            values = values + 1j * random.integers(-8, 8, (self.size, *shape))
        return values.astype(dtype)

    def tensor(self, array, **options):
        return gg.tensor(array, device=self.device, **options)

    def raw(self, array):
        return gg.Device(self.device).send(array)


def equal(got, expected):
    got = got.numpy() if isinstance(got, gg.Tensor) else gg.backend.to_numpy(got)
    assert got.dtype == np.asarray(expected).dtype, (got.dtype, np.asarray(expected).dtype)
    np.testing.assert_array_equal(got, expected)


def reductions(values):
    found = {"sum": values.sum(0, dtype=values.dtype)}
    if values.dtype.kind != "c":
        found |= {"max": values.max(0), "min": values.min(0)}
    if values.dtype.kind in "fcV":
        found["mean"] = (values.sum(0) / len(values)).astype(values.dtype)
    return found


DTYPES = "float16 float32 float64 int8 int32 int64 uint8 complex64 complex128".split()
HALVES = [gg.bfloat16] if importlib.util.find_spec("ml_dtypes") else []


@check
def all_reduce_is_the_reduction(world):
    for dtype in [*DTYPES, *HALVES]:
        for shape in ((3, 2), (), (0,)):
            values = world.all(*shape, dtype=dtype)
            for op, expected in reductions(values).items():
                got = parallel.all_reduce(world.tensor(values[world.rank]), op)
                assert isinstance(got, gg.Tensor)
                assert got.device == gg.Device(world.device)
                equal(got, expected)
    flags = np.arange(world.size) == 1
    equal(parallel.all_reduce(world.raw(flags[world.rank : world.rank + 1]), "max"), [True])


@check
def all_gather_stacks_and_reduce_scatter_takes_a_part(world):
    for dtype in [*DTYPES, bool, *HALVES]:
        values = world.all(2, 3, dtype=dtype)
        equal(parallel.all_gather(world.raw(values[world.rank])), values)
    for dtype in DTYPES:
        values = world.all(world.size, 5, dtype=dtype)
        for op, expected in reductions(values).items():
            got = parallel.reduce_scatter(world.raw(values[world.rank]), op)
            equal(got, expected[world.rank])


@check
def broadcast_and_messages(world):
    values = world.all(4, dtype="float32")
    for root in range(world.size):
        equal(parallel.broadcast(world.tensor(values[world.rank]), root), values[root])
    # A ring, in which rank 0 sends first.
    after, before = (world.rank + 1) % world.size, (world.rank - 1) % world.size
    mine = world.raw(values[world.rank])
    if world.rank == 0:
        parallel.send(mine, after)
    equal(parallel.recv(mine, before), values[before])
    if world.rank != 0:
        parallel.send(mine, after)


@check
def arrays_that_are_not_contiguous(world):
    values = world.all(4, 6)
    mine = world.tensor(values[world.rank])
    equal(parallel.all_reduce(mine.T), values.sum(0).T)
    equal(parallel.all_gather(mine[::2, ::3]), values[:, ::2, ::3])
    swapped = values.astype(">f8")
    np.testing.assert_array_equal(parallel.all_reduce(swapped[world.rank]), values.sum(0))


@check
def trees_come_back_as_they_are(world):
    @dataclasses.dataclass
    class Batch:
        x: object
        name: str

    rank, size = world.rank, world.size
    tree = {"loss": float(rank), "count": 3, "batch": [Batch(world.raw(np.ones(2)), "b"), None]}
    got = parallel.all_reduce(tree)
    assert got["loss"] == sum(range(size))
    assert type(got["loss"]) is float
    assert got["count"] == 3 * size
    assert type(got["count"]) is int
    assert got["batch"][0].name == "b"
    assert got["batch"][1] is None
    assert type(got["batch"][0].x) is type(tree["batch"][0].x)
    equal(got["batch"][0].x, np.full(2, float(size)))
    flags = {"own": rank == 1, "all": [True]}
    assert parallel.all_reduce(flags, "max") == {"own": True, "all": [True]}
    assert parallel.all_reduce(flags, "min") == {"own": False, "all": [True]}
    assert parallel.broadcast(rank == 1, 1) is True


# By its name: the collective, and what each process's result is of all their arrays.
DIFFERENTIABLE = {
    "sum": (lambda x: parallel.all_reduce(x), lambda xs, rank: xs.sum(0)),
    "mean": (lambda x: parallel.all_reduce(x, "mean"), lambda xs, rank: xs.mean(0)),
    "max": (lambda x: parallel.all_reduce(x, "max"), lambda xs, rank: xs.max(0)),
    "all_gather": (lambda x: parallel.all_gather(x), lambda xs, rank: xs),
    "broadcast": (lambda x: parallel.broadcast(x, 1), lambda xs, rank: xs[1]),
    "reduce_scatter": (
        lambda x: parallel.reduce_scatter(parallel.all_gather(x), "mean"),
        lambda xs, rank: xs[rank],
    ),
    "ring": (lambda x: ring(x), lambda xs, rank: xs[(rank - 1) % len(xs)] + 0 * xs[rank]),
}


def ring(x):
    """What the process before this one has; ranks send in the order that needs no memory."""
    after, before = (parallel.rank() + 1) % parallel.size(), (parallel.rank() - 1) % parallel.size()
    if parallel.rank() == 0:
        sent = parallel.send(x, after)
        return parallel.recv(x, before) + 0 * sent
    got = parallel.recv(x, before)
    return got + 0 * parallel.send(x, after)


@check
def derivatives_are_those_of_all_processes_losses_together(world):
    values = np.random.default_rng(3).normal(size=(world.size, 3))
    for name, (collective, whole) in DIFFERENTIABLE.items():
        x = world.tensor(values[world.rank], requires_grad=True)
        (first,) = gg.gradients(loss(collective(x), world.rank), [x], create_graph=True)
        (second,) = gg.gradients((first**3).sum(), [x])
        xs = gg.tensor(values, requires_grad=True)
        total = sum(loss(whole(xs, rank), rank) for rank in range(world.size))
        (expected,) = gg.gradients(total, [xs], create_graph=True)
        (curvature,) = gg.gradients((expected**3).sum(), [xs])
        for got, right in ((first, expected), (second, curvature)):
            right = right.detach().numpy()[world.rank]
            np.testing.assert_allclose(got.detach().numpy(), right, 1e-12, 1e-12, err_msg=name)


def loss(y, rank):
    return ((rank + 1) * y**3 + y).sum()


@check
def forward_mode_and_transforms(world):
    values = world.all(3)
    mine, tangent = world.raw(values[world.rank]), world.raw(np.full(3, 1.0 + world.rank))
    y, dy = gg.jvp(lambda x: parallel.all_reduce(x * x), (mine,), (tangent,))
    equal(y, (values**2).sum(0))
    weights = np.arange(1.0, world.size + 1)[:, None]
    equal(dy, (2 * values * weights).sum(0))
    slope = gg.grad(lambda x: parallel.all_reduce(x**2).sum())(mine)
    equal(slope, 2 * world.size * values[world.rank])


@check
def batch_normalization_is_that_of_all_batches_together(world):
    """Also with batches of several lengths: values, and derivatives of two orders."""
    lengths = [2 * rank + 1 for rank in range(world.size)]
    values = np.random.default_rng(4).normal(size=(sum(lengths), 3, 2))
    mine = slice(sum(lengths[: world.rank]), sum(lengths[: world.rank + 1]))
    weight = np.arange(1.0, values.size + 1).reshape(values.shape) / values.size
    found = []
    for kind, part in ((gg.nn.SyncBatchNorm, mine), (gg.nn.BatchNorm1d, slice(None))):
        layer = kind(3).double().to(world.device)
        x = world.tensor(values[part], requires_grad=True)
        y = layer(x)
        own = (y**3 * world.tensor(weight[part])).sum()
        first = gg.gradients(own, [x, *layer.parameters()], create_graph=True)
        (second,) = gg.gradients((first[0] ** 2).sum(), [x])
        whole = [g if kind is gg.nn.BatchNorm1d else parallel.all_reduce(g) for g in first[1:]]
        found.append([y, first[0], second, *whole, layer.running_mean, layer.running_var])
    for place, (got, right) in enumerate(zip(*found, strict=True)):
        right = right.detach().numpy()
        right = right[mine] if place < 3 else right
        np.testing.assert_allclose(got.detach().numpy(), right, 1e-9, 1e-11)


@check
def equal_maxima_share_the_gradient(world):
    x = world.tensor(np.ones(2), requires_grad=True)
    parallel.all_reduce(x, "max").sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.ones(2), 1e-12)


@check
def calls_that_do_not_block_keep_their_order(world):
    values = [world.all(1000 * world.size, seed=seed, dtype="float32") for seed in range(6)]
    buffers = [world.raw(value[world.rank].copy()) for value in values]
    engine = group().engine(buffers[0])
    part = slice(1000 * world.rank, 1000 * (world.rank + 1))
    handles = [engine.all_reduce(buffers[0], "mean", block=False)]
    handles.append(engine.reduce_scatter(buffers[1], block=False))
    equal(parallel.all_reduce(world.raw(np.ones(2))), np.full(2, float(world.size)))
    handles.append(engine.all_gather(buffers[2], block=False))
    handles.append(engine.broadcast(buffers[3], 1, block=False))
    handles.append(engine.reduce(buffers[4], 0, block=False))
    for handle in handles:
        handle.wait()
        handle.wait()
    equal(buffers[0], values[0].mean(0, dtype="float32"))
    equal(buffers[1][part], values[1].sum(0)[part])
    equal(
        buffers[2], np.concatenate([v.reshape(world.size, -1)[r] for r, v in enumerate(values[2])])
    )
    equal(buffers[3], values[3][1])
    equal(buffers[4], values[4].sum(0) if world.rank == 0 else values[4][world.rank])


@check
def parts_may_have_several_lengths(world):
    """Also none at all, and of several axes, of which the first one is cut."""
    lengths = [3 * rank for rank in range(world.size)]
    part = slice(sum(lengths[: world.rank]), sum(lengths[: world.rank + 1]))
    for shape in ((sum(lengths),), (sum(lengths), 2)):
        values = world.all(*shape)
        engine = group().engine(world.raw(values[0]))
        for op in ("sum", "mean"):
            buffer = world.raw(values[world.rank].copy())
            engine.reduce_scatter(buffer, op, lengths=lengths, block=False).wait()
            equal(buffer[part], reductions(values)[op][part])
            buffer = world.raw(values[world.rank].copy())
            engine.reduce(buffer, 1, op, block=False).wait()
            if world.rank == 1:
                equal(buffer, reductions(values)[op])
        buffer = world.raw(values[world.rank].copy())
        engine.all_gather(buffer, lengths=lengths, block=False).wait()
        owners = np.repeat(np.arange(world.size), lengths)
        equal(buffer, values[owners, np.arange(len(owners))])


@check
def all_learn_of_any(world):
    assert parallel.any_rank(world.rank == 1) is True
    assert parallel.any_rank(False) is False
    parallel.barrier()
    names = group().engine().exchange({"rank": world.rank})
    assert names == [{"rank": rank} for rank in range(world.size)]


@check
def no_grad_records_nothing(world):
    x = world.tensor(np.ones(2), requires_grad=True)
    with gg.no_grad():
        assert not parallel.all_reduce(x).requires_grad
    assert parallel.all_reduce(x).requires_grad


def differing(world, call, *words):
    """All processes raise, each with the same sentence, and can go on afterwards."""
    with pytest.raises(gg.errors.ParallelError) as raised:
        call()
    for word in words:
        assert word in str(raised.value), f"{word!r} is not in {raised.value}"
    assert parallel.any_rank(True)


@check
def calls_that_differ_raise_on_all(world):
    odd, raw = world.rank == 1, world.raw
    others = "rank 0: " if world.size == 2 else "ranks 0, 2, 3: "
    differing(
        world, lambda: parallel.all_reduce(raw(np.ones(3 + odd))),
        others + "all_reduce 'sum' of float64 (3,)", "rank 1: all_reduce 'sum' of float64 (4,)",
    )  # fmt: skip
    dtype = "float32" if odd else "float64"
    differing(
        world, lambda: parallel.all_gather(raw(np.ones(3, dtype))),
        f"{others}all_gather of float64 ({world.size}, 3)", "float32",
    )  # fmt: skip
    differing(
        world, lambda: parallel.all_reduce(raw(np.ones(3)), "max" if odd else "sum"),
        "rank 1: all_reduce 'max'",
    )  # fmt: skip
    x = world.tensor(np.ones(2), requires_grad=odd)
    differing(world, lambda: parallel.all_reduce(x), "rank 1: all_reduce 'sum'", "recorded")
    differing(
        world, lambda: parallel.barrier() if odd else parallel.broadcast(raw(np.ones(1))),
        "rank 1: barrier", "at call", "of gg.parallel",
    )  # fmt: skip


@check
def a_message_of_another_shape_is_refused(world):
    raw = world.raw
    if world.rank == 0:
        parallel.send(raw(np.ones(3)), 1)
    if world.rank == 1:
        with pytest.raises(gg.errors.ParallelError, match=r"rank 0 sends float64 \(3,\)"):
            parallel.recv(raw(np.ones(4)), 0)
    parallel.barrier()


def main(folder, devices):
    parallel.init("cuda" if "cuda" in devices else "cpu", timeout=120)
    said = {}
    for device in devices:
        world = World(device.removesuffix(BY_MPI))
        if device.endswith(BY_MPI):
            group()._device = group()._host
        for name in checks(device):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    CHECKS[name](world)
                said[f"{name}-{device}"] = ""
            except BaseException:
                said[f"{name}-{device}"] = traceback.format_exc()
                Path(folder, f"{world.rank}.json").write_text(json.dumps(said))
                raise
    Path(folder, f"{parallel.rank()}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","))
