"""What each rank does in test_data_parallel.py: a dict of results, which rank 0 prints as JSON.

``mpiexec -n N python training_ranks.py`` runs all checks in one start.
"""

import copy
import json
import sys

import numpy as np

import gpugrad as gg
from gpugrad.parallel import buckets
from gpugrad.parallel.agreement import objects_of_all
from gpugrad.parallel.group import group

nn, parallel = gg.nn, gg.parallel
STEPS, ROWS, HIDDEN = 100, 24, 16
buckets.ALONE = 1000  # bytes, so that the small network here has a parameter that travels alone
DATA = np.random.default_rng(5)
X = DATA.normal(size=(ROWS, 5))
Y = np.sin(X.sum(axis=1, keepdims=True))


def network(normalized=False):
    """Small parameters, which share a bucket, and one that travels alone."""
    layers = [nn.Linear(5, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh()]
    layers.append(nn.Linear(HIDDEN, 1))
    if normalized:
        # Without a bias, whose gradient would be nothing but rounding, which Adam scales up.
        layers[:1] = [nn.Linear(5, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN)]
    return nn.Sequential(*layers).double()


def share():
    rank, size = parallel.rank(), parallel.size()
    return slice(ROWS * rank // size, ROWS * (rank + 1) // size)


def loss_of(model, rows):
    return ((model(gg.tensor(X[rows])) - gg.tensor(Y[rows])) ** 2).mean()


def values(model):
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def trained(*, normalized=False, sharded=False, accumulate=1, steps=STEPS, seed=0):
    """The parameters after some steps; the model differs by rank until it is parallel."""
    gg.manual_seed(seed + parallel.rank())
    net = network(normalized)
    if normalized:
        nn.SyncBatchNorm.convert_sync_batchnorm(net)
    model = parallel.DataParallel(net)
    gg.manual_seed(0)
    for p in model.parameters():
        with gg.no_grad():
            p[...] = gg.random.normal(0, 0.1, p.shape, dtype="float64")
    optimizer = gg.optim.AdamW(model.parameters(), lr=1e-3)
    if sharded:
        optimizer = parallel.shard(optimizer)
    rows = share()
    for _ in range(steps):
        optimizer.zero_grad()
        if accumulate == 1:
            loss_of(model, rows).backward()
        else:
            middle = (rows.start + rows.stop) // 2
            with model.no_sync():
                (loss_of(model, slice(rows.start, middle)) / 2).backward()
            (loss_of(model, slice(middle, rows.stop)) / 2).backward()
        optimizer.step()
    return model, optimizer


def same_everywhere(array):
    """Whether all ranks have the same bits."""
    all_bits = parallel.all_gather(np.ascontiguousarray(array).view(np.uint8))
    return bool((all_bits == all_bits[0]).all())


def equivalence():
    found = {}
    for name, settings in {
        "plain": {},
        "accumulated": {"accumulate": 2, "steps": 20},
        "normalized": {"normalized": True, "steps": 20},
        "sharded": {"sharded": True, "steps": 20},
    }.items():
        model, _ = trained(**settings)
        found[name] = values(model).tolist()
        found[f"{name} is the same"] = same_everywhere(values(model))
    return found


def bits():
    """Twice the same training, with `gg.deterministic`."""
    with gg.deterministic():
        first, second = (values(trained(steps=5)[0]) for _ in range(2))
    return {"same": first.tobytes() == second.tobytes()}


def names():
    net = network(normalized=True)
    model = parallel.DataParallel(net)
    model.eval()
    return {
        "state": list(model.state_dict()) == list(net.state_dict()),
        "parameters": [n for n, _ in model.named_parameters()]
        == [n for n, _ in net.named_parameters()],
        "modes": [m.training for m in net.modules()],
    }


def buffers():
    """Each rank normalizes its own rows; after the pass the statistics are those of rank 0."""
    net = network(normalized=True)
    net.mask = gg.tensor(np.ones(1))  # a constant that the graph needs
    model = parallel.DataParallel(net)
    loss = (loss_of(model, share()) * net.mask).sum()
    differ = parallel.size() > 1 and not same_everywhere(model.module[1].running_mean.numpy())
    loss.backward(retain_graph=True)
    same = same_everywhere(model.module[1].running_mean.numpy())
    loss.backward()
    return {"differ before": differ or parallel.size() == 1, "same after": same}


def draws():
    """Dropout differs by rank and by call; what is drawn outside agrees, also after it."""
    gg.manual_seed(parallel.rank())
    drop = parallel.DataParallel(nn.Dropout(0.5))
    ones = gg.ones(64, dtype="float64")
    masks = [drop(ones).numpy() for _ in range(2)]
    all_masks = parallel.all_gather(np.stack(masks)).reshape(-1, 64)
    outside = gg.random.normal(0, 1, (4,), dtype="float64").numpy()
    return {
        "different": len(np.unique(all_masks, axis=0)) == len(all_masks),
        "outside": same_everywhere(outside),
    }


def order():
    """Which rows each rank has got in each batch of two epochs, with a resumption in between."""
    loader = gg.data.DataLoader(
        np.arange(14), 4, shuffle=True, parallel=True,
        generator=gg.random.Generator(3 if parallel.rank() == 0 else 4),
    )  # fmt: skip
    batches, weights = [], []
    for _ in range(2):
        for batch in loader:
            batches.append(batch.tolist())
            weights.append(loader.weight)
    iterator = iter(loader)
    next(iterator)
    state = loader.state_dict()
    rest = gg.data.DataLoader(np.arange(14), 4, shuffle=True, parallel=True)
    rest.load_state_dict(state)
    resumed = [batch.tolist() for batch in rest]
    went_on = [batch.tolist() for batch in iterator]
    mine = {"batches": batches, "weights": weights, "state": state, "same": resumed == went_on}
    return {"ranks": objects_of_all(group(), mine)}


def states():
    """A sharded state is whole on rank 0, is loaded, and goes on as if nothing had happened."""
    model, optimizer = trained(sharded=True, steps=3)
    kept = len(optimizer.state)
    before = values(model)
    state = copy.deepcopy(optimizer.state_dict())
    on_first = len(state["state"])
    own = list(optimizer.state.values())
    held = sum(entry["exp_avg"].nbytes for entry in own)
    loss_of(model, share()).backward()
    optimizer.step()
    went_on = values(model)
    again = gg.optim.AdamW(model.parameters(), lr=1e-3)
    again = parallel.shard(again)
    again.load_state_dict(state)
    at = 0
    for p in model.parameters():
        with gg.no_grad():
            p[...] = before[at : at + p.size].reshape(p.shape)
        at += p.size
    again.step()
    return {
        "kept": parallel.all_reduce(kept), "whole": on_first,
        "exact": bool((values(model) == went_on).all()),
        "bytes": parallel.all_reduce(held), "repr": repr(again) == repr(optimizer),
    }  # fmt: skip


def refusals():
    """The sentences of what is refused on all ranks alike."""
    found = {}

    def refused(name, function):
        try:
            function()
        except gg.errors.GpugradError as error:
            found[name] = f"{type(error).__name__}: {error}"

    rank = parallel.rank()
    refused("shape", lambda: parallel.DataParallel(nn.Linear(3, 2 if rank == 0 else 4)))
    refused("dtype", lambda: parallel.DataParallel(
        nn.Linear(3, 2, dtype="float64" if rank else "float32")))  # fmt: skip
    refused("class", lambda: parallel.DataParallel(nn.ReLU() if rank else nn.Tanh()))
    model = parallel.DataParallel(nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2)))
    x = gg.ones((4, 3))
    refused("unused", lambda: model.module[0](x).sum().backward())

    def total():
        return (model.module[0](x) + model.module[1](x)).square().sum()

    refused("recorded", lambda: total().backward(create_graph=True))
    model.zero_grad()
    total().backward()  # which works after both
    found["after"] = model.module[1].bias.grad is not None
    plain = parallel.DataParallel(nn.Linear(3, 2))
    step = gg.compile(lambda x: plain(x).sum().backward())
    refused("compile", lambda: step(x))
    part = gg.compile(lambda x: plain(x).sum().backward())
    plain.zero_grad()
    with plain.no_sync():
        part(x * (rank + 1))
    plain.average_gradients()
    found["compiled"] = plain.weight.grad.tolist()
    return found


CHECKS = (equivalence, bits, names, buffers, draws, order, states, refusals)


def main(wanted):
    parallel.init("cpu", timeout=60)
    found = {check.__name__: check() for check in CHECKS if check.__name__ in wanted or not wanted}
    if parallel.rank() == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
