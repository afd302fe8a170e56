"""What is refused before any message is sent, and what one process alone does."""

import copy
import pickle
import re
from operator import setitem
from types import SimpleNamespace

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn, parallel
from gpugrad.backend import nccl, processes
from gpugrad.data.sharing import Share
from gpugrad.optim.flat import run_of
from gpugrad.parallel import buckets
from gpugrad.parallel.buckets import Bucket


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


def test_an_error_in_a_compiled_pass_is_not_hidden_by_gradients_that_are_missing(joined):
    class Collective(nn.Linear):
        def forward(self, x):
            return parallel.all_reduce(super().forward(x))

    parallel.init("cpu")
    model = Collective(2, 1)
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1)
    made = gg.Trainer(
        model, optimizer, nn.MSELoss(), parallel=True, compile=True, progress=None
    )  # fmt: skip
    data = gg.data.DataLoader((np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)), 2)
    with pytest.raises(gg.CompileError, match=r"all_reduce: processes.* Or leave out compile=True"):
        made.fit(data, epochs=1)


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
    assert run_of([model.weight.grad.data, model.bias.grad.data]) is not None  # one array for both


def test_a_part_of_a_gradient_that_somebody_holds_stays_what_it_was():
    model = parallel.DataParallel(nn.Linear(2, 1))
    model(gg.ones((1, 2))).sum().backward()
    held = model.weight.grad.numpy()[0, :1]
    model.zero_grad()
    model(3 * gg.ones((1, 2))).sum().backward()
    assert held.tolist() == [1.0]


@pytest.fixture
def copies(monkeypatch):
    """A list of what a step copies: of arrays that are put together, or taken apart."""
    found = []
    concatenate, packed = np.concatenate, Bucket._packed
    monkeypatch.setattr(
        np, "concatenate", lambda *args, **kw: found.append("together") or concatenate(*args, **kw)
    )
    monkeypatch.setattr(
        Bucket, "_packed", lambda *args: found.append("into a message") or packed(*args)
    )
    return found


def trained(model, optimizer, steps, between=lambda: None):
    x = gg.tensor(np.linspace(-2, 2, 24, dtype="float32").reshape(6, 4))
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        between()
        optimizer.step()
    return [p.detach().numpy().copy() for p in model.parameters()]


def network():
    gg.manual_seed(0)
    # With one that is too large for what an optimizer updates together.
    return nn.Sequential(nn.Linear(4, 200), nn.ReLU(), nn.Linear(200, 120), nn.Linear(120, 3))


def grouped(parameters):
    """As many do: vectors without weight decay."""
    listed = list(parameters)
    vectors = [p for p in listed if p.ndim < 2]
    return [
        {"params": [p for p in listed if p.ndim > 1]},
        {"params": vectors, "weight_decay": 0.1},
    ]


@pytest.mark.parametrize("groups", [lambda parameters: parameters, grouped])
@pytest.mark.parametrize("divided", [False, True])
@pytest.mark.parametrize("optimizer", [gg.optim.SGD, gg.optim.AdamW])
def test_a_step_copies_nothing(optimizer, divided, groups, copies):
    """Gradients are added up where they are sent from and where the optimizer reads them."""
    model = parallel.DataParallel(network())
    made = optimizer(groups(model.parameters()), lr=0.01)
    made = parallel.shard(made) if divided else made
    trained(model, made, 1)
    copies.clear()
    trained(model, made, 2)
    assert copies == []
    buckets = [bucket for layout in made._layouts for bucket in layout.buckets]
    assert sum(len(bucket.tensors) for bucket in buckets) == 5
    for bucket in buckets:
        assert bucket._p is run_of([p.data for p in bucket.tensors])  # the parameters' own memory
        assert bucket._g is run_of([p.grad.data for p in bucket.tensors])
        assert not any(call.func is setitem for call in bucket._calls)


@pytest.mark.parametrize("optimizer", [gg.optim.SGD, gg.optim.AdamW])
def test_training_without_copies_has_the_same_bits(optimizer):
    plain, model = network(), parallel.DataParallel(network())
    expected = trained(plain, optimizer(plain.parameters(), lr=0.01), 5)
    found = trained(model, optimizer(model.parameters(), lr=0.01), 5)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gradients_and_parameters_that_somebody_replaces_are_used():
    """Each of them ends what lies in one memory, for a step or for good."""
    for what in ("gradient", "data", "held", "frozen", "accumulated"):
        found = []
        for parallelized in (False, True):
            model = network()
            model = parallel.DataParallel(model) if parallelized else model
            p = next(iter(model.parameters()))
            optimizer = gg.optim.AdamW(model.parameters(), lr=0.01)
            held = []

            def between(model=model, p=p, held=held, what=what):
                if what == "gradient":
                    p.grad = gg.ones(p.shape)
                elif what == "data":
                    p.data = p.data * 2
                elif what == "held":
                    held.append(p.grad)
                elif what == "accumulated":
                    model(gg.ones((1, 4))).sum().backward()

            trained(model, optimizer, 2)
            p.requires_grad_(what != "frozen")
            trained(model, optimizer, 3, between)
            p.requires_grad_(True)
            found.append(trained(model, optimizer, 2))
        for a, b in zip(*found, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=what)


def test_parameters_that_share_memory_go_on_sharing_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    whole = np.ones((3, 2), np.float32)
    model[0].weight.data, model[1].weight.data = whole[:2], whole[1:]
    assert np.shares_memory(model[0].weight.data, model[1].weight.data)
    model = parallel.DataParallel(model)
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1)
    model(gg.ones((1, 2))).sum().backward()
    optimizer.step()
    first, second = (layer.weight for layer in model.module)
    assert first[1].tolist() == second[0].tolist() != [1.0, 1.0]


def test_a_copy_of_a_gradient_that_is_divided_is_a_tensor_like_others():
    model = parallel.DataParallel(nn.Linear(2, 1))
    optimizer = parallel.shard(gg.optim.SGD(model.parameters(), lr=0.1))
    model(gg.ones((3, 2))).sum().backward()
    grad = model.weight.grad
    assert repr(grad) == "tensor([[3., 3.]])"
    copies = copy.copy(grad), copy.deepcopy(grad), pickle.loads(pickle.dumps(grad)), grad.detach()
    for one in copies:
        assert type(one) is gg.Tensor
        assert gg.optim.get_total_norm([one]).item() == pytest.approx(18**0.5)
    optimizer.zero_grad()


def test_a_change_of_one_parameter_is_none_of_another():
    """They lie in one memory, and a graph needs the other one."""
    model = parallel.DataParallel(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    first, second = model.module
    y = second(gg.ones((1, 2), requires_grad=True))
    with gg.no_grad():
        first.weight[...] = 0
    with model.no_sync():
        y.sum().backward(retain_graph=True)
    with gg.no_grad():
        second.weight[...] = 0
    with model.no_sync(), pytest.raises(gg.GradientError, match="changed in place"):
        y.sum().backward()


def test_memory_of_a_message_that_may_be_on_its_way_is_left_to_it():
    """As after a pass that has failed when the first bucket had gone."""
    model = parallel.DataParallel(network())
    model(gg.ones((1, 4))).sum().backward()
    before = [p.grad.data for p in model.parameters()]
    model.zero_grad()
    reducer = model._reducer
    reducer._begun, reducer._arrived = [(reducer.buckets[0], None, [], None)], {0, 1, 2, 3, 4, 5}
    model(gg.ones((1, 4))).sum().backward()
    after = [p.grad.data for p in model.parameters()]
    assert not any(np.shares_memory(a, b) for a, b in zip(before, after))


def test_messages_go_while_the_pass_goes_on(monkeypatch):
    """Those of the last layers before the gradient of the first one's output is computed."""
    events = []
    reduce = Bucket.reduce
    monkeypatch.setattr(buckets, "ALONE", 64)
    monkeypatch.setattr(
        Bucket, "reduce", lambda one, *args: events.append(one.members) or reduce(one, *args)
    )

    class Network(nn.Module):
        def __init__(self):
            self.first, self.second, self.third = (nn.Linear(4, 8 - i) for i in (4, 4, 0))

        def forward(self, x):
            hidden = self.first(x)
            hidden.register_hook(lambda g: events.append("first layer"))
            return self.third(self.second(hidden))

    parallel.DataParallel(Network())(gg.ones((2, 4))).sum().backward()
    # Matrices travel alone, the last one first; vectors together, with that of the first layer.
    assert events == [(4,), (2,), "first layer", (1, 3, 5), (0,)]


@pytest.mark.parametrize(
    ("available", "version", "words"),
    [
        (False, 0, "NCCL is missing: run `pip install nvidia-nccl-cu12`"),
        (True, 20908, "NCCL is older than 2.10.*run `pip install --upgrade nvidia-nccl-cu12`"),
        (True, 21000, None),
    ],
)
def test_an_nccl_that_cannot_be_used_is_said(available, version, words, monkeypatch):
    library = SimpleNamespace(available=available, get_version=lambda: version)
    monkeypatch.setattr(nccl, "import_module", lambda name: library)
    said = nccl.why_unavailable()
    assert said is None if words is None else re.search(words, said)
