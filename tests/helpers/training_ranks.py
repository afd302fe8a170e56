"""What each rank does in test_data_parallel.py: a dict of results, which rank 0 prints as JSON.

``mpiexec -n N python training_ranks.py FOLDER DEVICES CHECKS`` runs some checks in one start.
"""

import copy
import json
import math
import os
import signal
import sys

import numpy as np

import gpugrad as gg
from gpugrad.parallel import buckets
from gpugrad.parallel.agreement import objects_of_all
from gpugrad.parallel.group import group

nn, parallel = gg.nn, gg.parallel
STEPS, FEW, ROWS, HIDDEN = 100, 5, 24, 16
ALONE = 1000  # bytes, so that the small network here has a parameter that travels alone
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
    return np.concatenate([p.detach().cpu().numpy().ravel() for p in model.parameters()])


def trained(
    *, normalized=False, sharded=False, accumulate=1, steps=STEPS, seed=0, clip=None, scaler=None
):
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
    for step in range(steps):
        optimizer.zero_grad()
        if scaler is not None:
            loss = loss_of(model, rows)
            if step == 3:  # a gradient that is not finite, on its owner alone where it is divided
                loss = loss + model.module[2].bias.sum() * np.inf
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
        elif accumulate == 1:
            loss_of(model, rows).backward()
        else:
            middle = (rows.start + rows.stop) // 2
            with model.no_sync():
                (loss_of(model, slice(rows.start, middle)) / 2).backward()
            (loss_of(model, slice(middle, rows.stop)) / 2).backward()
        if clip is not None:
            gg.optim.clip_grad_norm_(model.parameters(), *clip, error_if_nonfinite=scaler is None)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    return model, optimizer


def same_everywhere(array):
    """Whether all ranks have the same bits."""
    all_bits = parallel.all_gather(np.ascontiguousarray(array).view(np.uint8))
    return bool((all_bits == all_bits[0]).all())


def equivalence():
    found = {}
    for name, settings in {
        "plain": {},
        "accumulated": {"accumulate": 2, "steps": FEW},
        "normalized": {"normalized": True, "steps": FEW},
        "sharded": {"sharded": True, "steps": FEW},
        "sharded, accumulated": {"sharded": True, "steps": FEW, "accumulate": 2},
        "clipped": {"steps": FEW, "clip": (0.01,)},
        "sharded, clipped": {"sharded": True, "steps": FEW, "clip": (0.01,)},
        "largest": {"steps": FEW, "clip": (0.01, math.inf)},
        "sharded, largest": {"sharded": True, "steps": FEW, "clip": (0.01, math.inf)},
        "scaled": {"steps": FEW, "clip": (0.01, 1), "scaler": gg.GradScaler(256.0)},
        "sharded, scaled": {
            "sharded": True, "steps": FEW, "clip": (0.01, 1), "scaler": gg.GradScaler(256.0),
        },
    }.items():  # fmt: skip
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
    differ = parallel.size() > 1 and not same_everywhere(model.module[1].running_mean.cpu().numpy())
    loss.backward(retain_graph=True)
    same = same_everywhere(model.module[1].running_mean.cpu().numpy())
    loss.backward()
    return {"differ before": differ or parallel.size() == 1, "same after": same}


def absent():
    """The statistics of a synchronised layer where the first of several ranks has no rows."""
    layer, others = nn.SyncBatchNorm(X.shape[1], dtype="float64"), max(parallel.size() - 1, 1)
    parts = np.array_split(X, others)
    own = X[:0] if parallel.rank() < parallel.size() - others else parts[parallel.rank() - 1]
    x = gg.tensor(own, requires_grad=True)
    (layer(x) ** 3).sum().backward()
    finite = all(np.isfinite(g.cpu().numpy()).all() for g in (x.grad, layer.weight.grad))
    return {
        "statistics": [layer.running_mean.tolist(), layer.running_var.tolist()],
        "finite": finite,
    }


def draws():
    """Dropout differs by rank and by call; what is drawn outside agrees, also after it."""
    gg.manual_seed(parallel.rank())
    drop = parallel.DataParallel(nn.Dropout(0.5))
    ones = gg.ones(64, dtype="float64")
    masks = [drop(ones).cpu().numpy() for _ in range(2)]
    all_masks = parallel.all_gather(np.stack(masks)).reshape(-1, 64)
    outside = gg.random.normal(0, 1, (4,), dtype="float64").cpu().numpy()
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
    optimizer.zero_grad()
    loss_of(model, share()).backward()
    optimizer.step()
    went_on = values(model)
    again = gg.optim.AdamW(model.parameters(), lr=1e-3)
    again = parallel.shard(again)
    again.load_state_dict(state)
    at = 0
    for p in model.parameters():
        with gg.no_grad():
            p[...] = gg.tensor(before[at : at + p.size].reshape(p.shape))
        at += p.size
    again.step()
    return {
        "kept": parallel.all_reduce(kept), "whole": on_first,
        "exact": bool((values(model) == went_on).all()),
        "bytes": parallel.all_reduce(held), "repr": repr(again) == repr(optimizer),
    }  # fmt: skip


class Traffic:
    """The bytes that each process sends, by the ring algorithm, while it is entered."""

    def __init__(self):
        self.shares = dict.fromkeys(("reduce", "reduce_scatter", "all_gather", "broadcast"), 1)
        self.shares["all_reduce"] = 2
        self.bytes = 0.0
        self.names = set()
        self.packed = 0  # how often arrays were copied into a message

    def __enter__(self):
        self._packed = buckets.Bucket._packed

        def counting(bucket, arrays):
            self.packed += 1
            return self._packed(bucket, arrays)

        buckets.Bucket._packed = counting
        self._engine = group().engine(None)
        for name, share in self.shares.items():
            setattr(self._engine, name, self._counting(name, getattr(self._engine, name), share))
        return self

    def _counting(self, name, call, share):
        def counting(array, *args, **kwargs):
            self.names.add(name)
            self.bytes += share * array.nbytes * (group().size - 1) / group().size
            return call(array, *args, **kwargs)

        return counting

    def __exit__(self, *_):
        buckets.Bucket._packed = self._packed
        for name in self.shares:
            delattr(self._engine, name)


def divided():
    """What is seen of gradients that are divided, and what a step sends."""
    found = {"bytes": [], "names": []}
    for sharded in (False, True):
        model, optimizer = trained(sharded=sharded, steps=1)
        optimizer.zero_grad()
        with Traffic() as traffic:
            loss_of(model, share()).backward()
            optimizer.step()
        found["copied"] = found.get("copied", 0) + parallel.all_reduce(traffic.packed)
        found["bytes"].append(traffic.bytes)
        found["names"].append(sorted(traffic.names))
        # Of the same parameters, by both.
        for order in (2, 3, math.inf):
            norm = gg.optim.get_total_norm([p.grad for p in model.parameters()], order)
            found.setdefault(f"norm {order}", []).append(norm.item())
    parameters = dict(model.named_parameters())
    elsewhere = {n: p for n, p in parameters.items() if not is_there(p.grad)}
    found["there"] = parallel.all_reduce(len(parameters) - len(elsewhere))
    found["all"] = len(parameters)

    def refused(name, function):
        try:
            function()
        except gg.errors.GpugradError as error:
            found[name] = f"{type(error).__name__}: {error}"

    for name, p in elsewhere.items():
        refused("read", lambda p=p: p.grad * 2)
        found["shown"] = repr(p.grad)
        found["name"] = name
    refused("twice", lambda: loss_of(model, share()).backward())
    optimizer.zero_grad(set_to_none=False)
    loss_of(model, share()).backward()  # which works after it
    gg.optim.clip_grad_value_(model.parameters(), 1e-3)
    own = [p.grad for p in parameters.values() if is_there(p.grad)]
    found["clipped"] = parallel.all_reduce(max(abs(g.numpy()).max() for g in own), "max")
    optimizer.zero_grad()
    (loss_of(model, share()) + model.module[2].bias.sum() * np.inf).backward()
    refused("not finite", lambda: gg.optim.clip_grad_norm_(
        model.parameters(), 1.0, error_if_nonfinite=True))  # fmt: skip
    found["said"] = objects_of_all(group(), found.get("not finite"))
    again = gg.optim.SGD(model.parameters(), lr=0.1)
    refused("another", again.step)
    return found


def is_there(grad):
    return not repr(grad).startswith("<")


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


def trainer_of(folder=None, *, dropout=0.0, callbacks=(), **settings):
    """A trainer of two classes; 50 rows in batches of 8, so that the last one has 2."""
    gg.manual_seed(parallel.rank() + 3)  # the model and the random numbers become those of rank 0
    layers = [nn.Linear(5, HIDDEN), nn.Tanh(), nn.Dropout(dropout), nn.Linear(HIDDEN, 2)]
    model = nn.Sequential(*layers).double()
    optimizer = gg.optim.AdamW(model.parameters(), lr=0.01)
    trainer = gg.Trainer(
        model, optimizer, nn.CrossEntropyLoss(), metrics=["accuracy", "auc"], progress=None,
        checkpoints=folder, callbacks=callbacks, **{"parallel": True, **settings},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 5))
    data = (x, (x.sum(axis=1) > 0).astype(np.int64))
    train = gg.data.DataLoader(data, 8, shuffle=True, generator=gg.random.Generator(7))
    return trainer, train, gg.data.DataLoader(data, 20)


def result_of(trainer):
    history = [{k: v for k, v in r.items() if "second" not in k} for r in trainer.history]
    return {"history": history, "values": values(trainer.model).tolist()}


class Ends(gg.training.Callback):
    """SIGTERM for one rank, or a stop that one rank alone wants, after a step."""

    def __init__(self, step, stop=None):
        self.step, self.stop = step, stop

    def on_step_end(self, trainer, loss):
        if trainer.step != self.step or parallel.rank() != parallel.size() - 1:
            return
        if self.stop:
            trainer.stop = self.stop
        else:
            os.kill(os.getpid(), signal.SIGTERM)


def training():
    """A Trainer gives the same for any number of ranks, also compiled, accumulated, sharded."""
    found = {}
    for name, settings in {
        "plain": {},
        "compiled": {"compile": True},
        "shard": {"parallel": "shard", "compile": True, "clip_norm": 1e3},
        "accumulated": {"accumulate": 2, "parallel": "shard", "clip_norm": 0.1},
    }.items():
        if parallel.size() == 4 and name != "plain":
            continue
        trainer, train, test = trainer_of(**settings)
        trainer.fit(train, test, 2)
        found[name] = result_of(trainer)
    trainer, train, test = trainer_of(callbacks=[Ends(3, "enough")])
    trainer.fit(train, test, 2)
    found["stopped"] = objects_of_all(group(), [trainer.step, trainer.stop])
    return found


def stopping(folder):
    """SIGTERM on one rank ends all after the step; the training goes on to the same bits."""
    trainer, train, test = trainer_of(dropout=0.5)
    trainer.fit(train, test, 2)
    straight = result_of(trainer)
    codes = []
    for part, dropout in (("exact", 0.5), ("other", 0.0)):
        trainer, train, test = trainer_of(f"{folder}/{part}", dropout=dropout, callbacks=[Ends(4)])
        try:
            trainer.fit(train, test, 2)
        except SystemExit as end:
            codes.append([end.code, trainer.step])
    trainer, train, test = trainer_of(f"{folder}/exact", dropout=0.5, callbacks=[Ends(99)])
    trainer.fit(train, test, 2, resume=True)
    same = objects_of_all(group(), result_of(trainer) == straight)
    return {"codes": objects_of_all(group(), codes), "same": same}


def going_on(folder):
    """What another number of ranks has left after some steps."""
    trainer, train, test = trainer_of(f"{folder}/other", callbacks=[Ends(99)])
    trainer.fit(train, test, 2, resume=True)
    return result_of(trainer)


class Attention(nn.Module):
    """A sum over the positions of words, each of which looks at all."""

    def __init__(self):
        self.embedding = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        words = self.embedding(x)
        return self.out(self.norm(words + self.attention(words, words, words)[0]).mean(axis=1))


class Recurrent(nn.Module):
    def __init__(self):
        self.embedding = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 6, batch_first=True)
        self.out = nn.Linear(6, 1)

    def forward(self, x):
        return self.out(self.lstm(self.embedding(x))[0][:, -1])


def convolutional():
    layers = [nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3, 1))
    return nn.SyncBatchNorm.convert_sync_batchnorm(net)


def models():
    """The parameters of models of several kinds after some steps, also with divided optimizers."""
    random = np.random.default_rng(2)
    words, images = random.integers(0, 11, (ROWS, 4)), random.normal(size=(ROWS, 2, 4, 4))
    kinds = {"attention": (Attention, words), "recurrent": (Recurrent, words)}
    kinds["convolutional"] = (convolutional, images)
    found = {}
    for name, (make, x) in kinds.items():
        for divided in (False, True):
            gg.manual_seed(1)
            model = parallel.DataParallel(make().double())
            optimizer = gg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            optimizer = parallel.shard(optimizer) if divided else optimizer
            for _ in range(FEW):
                optimizer.zero_grad()
                loss = (model(gg.tensor(x[share()])) - gg.tensor(Y[share()])) ** 2
                loss.mean().backward()
                optimizer.step()
            found[f"{name}{', divided' * divided}"] = values(model).tolist()
    return found


def optimizers():
    """How far a divided optimizer of each kind is from one that is not."""
    found = {}
    for name in gg.optim.__all__:
        kind = getattr(gg.optim, name)
        if not (isinstance(kind, type) and issubclass(kind, gg.optim.Optimizer)):
            continue
        if name in ("Optimizer", "LBFGS"):
            continue
        ends = []
        for divided in (False, True):
            gg.manual_seed(1)
            layers = [nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 1, bias=False)]
            model = parallel.DataParallel(nn.Sequential(*layers).double())
            optimizer = kind(model.parameters(), lr=0.01)
            optimizer = parallel.shard(optimizer) if divided else optimizer
            for _ in range(3):
                optimizer.zero_grad()
                loss_of(model, share()).backward()
                optimizer.step()
            ends.append(values(model))
        found[name] = float(abs(ends[0] - ends[1]).max())
    return found


def launched():
    """What a step of a parallel model has the stand-in for a GPU do, without and with sharding."""
    import fakecuda

    found = []
    x = gg.tensor(X)
    for kind in ("alone", "parallel", "divided"):
        model = network()
        model = model if kind == "alone" else parallel.DataParallel(model)
        optimizer = gg.optim.AdamW(model.parameters())
        optimizer = parallel.shard(optimizer) if kind == "divided" else optimizer
        for _ in range(3):
            with fakecuda.count() as counts:
                model(x).sum().backward()
                optimizer.step()
            optimizer.zero_grad()
        calls = {name: n for name, n in counts.library.items() if name.startswith("nccl")}
        found.append([counts.launches, counts.total_copies, calls])
    return found


CHECKS = (
    absent, equivalence, bits, names, buffers, draws, order, states, divided, refusals, training,
    models, optimizers, launched,
)  # fmt: skip
WITH_FOLDER = (stopping, going_on)
ON_ALL_DEVICES = (equivalence, buffers, draws, states, training)


def faults(what):
    """Rank 1 does something else; ends with an error on all ranks."""
    parallel.init("cpu", timeout=5)
    last = parallel.rank() == 1
    model = parallel.DataParallel(nn.Sequential(nn.Linear(5, HIDDEN), nn.Linear(HIDDEN, 1)))
    x = gg.tensor(X, dtype="float32")
    for step in range(3):
        if what == "unused" and step == 1 and last:
            model.module[0](x).sum().backward()
        elif what == "steps" and step == 2 and last:
            break
        elif what == "graph" and step == 1 and last:
            model.module[1](x[:, :1] * gg.ones((1, HIDDEN))).sum().backward()
        else:
            model(x).sum().backward()
        model.zero_grad()
    if what == "steps":
        parallel.barrier()
    print("finished", flush=True)


def main(folder, devices, wanted):
    """All checks on the first device, those that other devices make on the others."""
    first, *others = devices
    parallel.init(first, timeout=60)
    found = {check.__name__: check() for check in CHECKS if check.__name__ in wanted}
    for check in WITH_FOLDER:
        if check.__name__ in wanted:
            found[check.__name__] = check(folder)
    for device in others:
        parallel.init(device)
        found[device] = {check.__name__: check() for check in ON_ALL_DEVICES}
    if parallel.rank() == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    buckets.ALONE = ALONE
    if sys.argv[1] == "faults":
        faults(sys.argv[2])
    else:
        main(sys.argv[1], sys.argv[2].split(","), sys.argv[3:])
