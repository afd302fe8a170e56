"""What is refused before any message is sent, and what one process alone does."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn, parallel
from gpugrad.backend import processes
from gpugrad.data.sharing import Share


@pytest.fixture
def joined(monkeypatch):
    """A function: as if this were one of so many processes; None for no `init`."""

    def join(rank, size):
        group = None if rank is None else SimpleNamespace(rank=rank, size=size)
        monkeypatch.setattr(processes, "joined", group)

    return join


def adam(model):
    return gg.optim.Adam(model.parameters())


def trainer(optimizer=gg.optim.Adam, **settings):
    model = nn.Linear(2, 1)
    return gg.Trainer(model, optimizer(model.parameters()), nn.MSELoss(), **settings)


class Stream(gg.data.IterableDataset):
    def __iter__(self):
        yield 1.0


MODEL = nn.Linear(2, 1)
REFUSED = {
    "no model": (lambda: parallel.DataParallel(len), gg.DTypeError, "expected a gg.nn.Module"),
    "twice": (
        lambda: parallel.DataParallel(parallel.DataParallel(MODEL)), gg.DTypeError,
        "which is parallel already",
    ),
    "pickled": (
        lambda: pickle.dumps(parallel.DataParallel(MODEL)), gg.ParallelError, "model.module",
    ),
    "no optimizer": (lambda: parallel.shard(MODEL), gg.DTypeError, "expected an optimizer"),
    "divided": (
        lambda: parallel.shard(parallel.shard(adam(MODEL))), gg.ArgumentError, "divided already",
    ),
    "LBFGS": (
        lambda: parallel.shard(gg.optim.LBFGS(MODEL.parameters())), gg.ArgumentError,
        "all gradients at once",
    ),
    "channels": (
        lambda: nn.SyncBatchNorm(3)(gg.ones((2, 4))), gg.ShapeError, "with 3 channels.*\\(2, 4\\)",
    ),
    "no module": (
        lambda: nn.SyncBatchNorm.convert_sync_batchnorm(3), gg.DTypeError, "expected a Module",
    ),
    "stream": (
        lambda: gg.data.DataLoader(Stream(), parallel=True), gg.ArgumentError, "gg.parallel.rank",
    ),
    "parallel": (lambda: trainer(parallel="yes"), gg.ArgumentError, "False, True or 'shard'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_said_in_a_sentence(case):
    call, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        call()


def test_processes_must_have_met(joined):
    joined(None, None)
    for call in (
        lambda: trainer(parallel=True),
        lambda: iter(gg.data.DataLoader(np.arange(4), parallel=True)),
    ):
        with pytest.raises(gg.ArgumentError, match=r"gg.parallel.init\(\) first"):
            call()


def test_a_batch_has_a_row_for_each_process(joined):
    joined(0, 4)
    with pytest.raises(gg.ArgumentError, match="of all 4 processes together.*got 2"):
        iter(gg.data.DataLoader(np.arange(8), 2, parallel=True))


def test_an_optimizer_that_needs_the_loss_again_is_not_for_several_processes(joined):
    parallel.init("cpu")
    with pytest.raises(gg.ArgumentError, match="parallel cannot be used"):
        trainer(gg.optim.LBFGS, parallel=True)


def test_the_step_of_a_divided_optimizer_is_not_compiled():
    optimizer = parallel.shard(adam(model := nn.Linear(2, 1)))
    model(gg.ones((1, 2))).sum().backward()
    with pytest.raises(gg.CompileError, match="that is divided"):
        gg.compile(optimizer.step)()


def test_shares_are_all_rows_once_and_weights_have_the_mean_1():
    for count in range(1, 12):
        shares = [Share(rank, 4) for rank in range(4)]
        weights = [share.weight(count) for share in shares]
        rows = [list(range(20))[share.rows(5, count)] for share in shares]
        assert [row for own, w in zip(rows, weights) if w for row in own] == [*range(5, 5 + count)]
        assert all(rows)
        assert np.isclose(sum(weights), 4)


def test_a_sampler_takes_rank_and_size_of_the_processes(joined):
    joined(1, 3)
    assert list(gg.data.DistributedSampler(range(6), shuffle=False)) == [1, 4]


def test_a_deep_copy_is_of_the_model_alone():
    model = parallel.DataParallel(nn.Sequential(nn.Linear(2, 1)))
    twin = copy.deepcopy(model)
    assert type(twin) is nn.Sequential
    assert twin[0].weight is not model.module[0].weight
    twin(gg.ones((1, 2))).sum().backward()
    assert model.module[0].weight.grad is None


def test_frozen_and_thawed_parameters_are_found_anew():
    model = parallel.DataParallel(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)))
    first = model.module[0].requires_grad_(False)
    model(gg.ones((1, 2))).sum().backward()
    assert first.weight.grad is None
    first.requires_grad_(True)
    model(gg.ones((1, 2))).sum().backward()
    assert first.weight.grad is not None


def test_gradients_that_somebody_holds_stay_what_they_were():
    """The flat array of a bucket is not used again while a part of it is in use."""
    model = parallel.DataParallel(nn.Linear(2, 1))
    model(gg.ones((1, 2))).sum().backward()
    held = model.weight.grad
    model.zero_grad()
    model(3 * gg.ones((1, 2))).sum().backward()
    assert held.tolist() == [[1.0, 1.0]]
    assert model.weight.grad.tolist() == [[3.0, 3.0]]
    assert model.weight.grad.data.base is model.bias.grad.data.base  # one array for both
