"""jacobian and hessian: shapes, modes, structures, chunks, memory, progress."""

import sys
import tracemalloc

import numpy as np
import pytest
from arrays import raw

import gpugrad as gg
from gpugrad.backend.device import to_numpy


def close(value, expected, **kwargs):
    value = value.detach().data if isinstance(value, gg.Tensor) else value
    np.testing.assert_allclose(to_numpy(value), expected, **{"rtol": 1e-7, "atol": 1e-9, **kwargs})


def numeric(f, x, eps=1e-6):
    """The Jacobian by central differences."""
    columns = []
    for index in range(x.size):
        step = np.zeros(x.size)
        step[index] = eps
        step = step.reshape(x.shape)
        columns.append((f(x + step) - f(x - step)) / (2 * eps))
    shape = columns[0].shape
    return np.stack([c.reshape(-1) for c in columns], axis=-1).reshape(shape + x.shape)


def f(x):
    return gg.stack([gg.sin(x).sum(axis=0), (x * x).prod(axis=0), x[0] * x[-1]])


@pytest.mark.parametrize("mode", ["auto", "reverse", "forward"])
@pytest.mark.parametrize("chunk_size", [None, 1, 4, 1000])
def test_every_mode_and_chunk_gives_the_same(device, rng, mode, chunk_size):
    x = rng.uniform(0.5, 1.5, size=(4, 2))
    j = gg.jacobian(f, mode=mode, chunk_size=chunk_size)(raw(device, x))
    assert type(j) is type(raw(device, x))
    assert j.shape == (3, 2, 4, 2)
    close(j, numeric(lambda x: f(gg.tensor(x)).numpy(), x), rtol=1e-6, atol=1e-8)


def test_the_mode_is_chosen_by_shape(monkeypatch):
    from gpugrad.autodiff.run import Run

    pushes, pulls = [], []
    push, pull = Run.push, Run.pull
    monkeypatch.setattr(Run, "push", lambda self, *a, **k: pushes.append(1) or push(self, *a, **k))
    monkeypatch.setattr(Run, "pull", lambda self, *a, **k: pulls.append(1) or pull(self, *a, **k))
    gg.jacobian(lambda x: x[:2] * 2)(np.ones(3))
    assert (len(pushes), len(pulls)) == (0, 1)
    gg.jacobian(lambda x: gg.concat([x, x]))(np.ones(3))
    assert (len(pushes), len(pulls)) == (1, 1)
    gg.jacobian(lambda x: x * 2)(np.ones(3))
    assert (len(pushes), len(pulls)) == (1, 2)
    gg.jacobian(lambda x: x * 2, mode="forward")(np.ones(3))
    assert (len(pushes), len(pulls)) == (2, 2)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_structures_of_arguments_and_outputs(device, mode):
    args = {"a": raw(device, [1.0, 2.0]), "b": 3.0}, raw(device, [[1.0, 2.0]])

    def g(p, q):
        return {"y": p["a"] * p["b"], "z": [q.sum() * p["b"]], "constant": 5.0}

    j = gg.jacobian(g, argnums=(0, 1), mode=mode)(*args)
    assert list(j) == ["y", "z", "constant"]
    by_p, by_q = j["y"]
    close(by_p["a"], np.diag([3.0, 3.0]))
    close(by_p["b"], [1, 2])
    assert by_q.shape == (2, 1, 2)
    close(by_q, np.zeros((2, 1, 2)))
    by_p, by_q = j["z"][0]
    assert by_p["b"] == 3.0
    assert type(by_p["b"]) is float
    close(by_q, [[3, 3]])
    assert j["constant"][0]["b"] == 0.0


def test_kinds_and_dtypes(device):
    x = gg.tensor([1.0, 2.0])
    j = gg.jacobian(lambda x: x * x)(x)
    assert isinstance(j, gg.Tensor)
    assert not j.requires_grad
    assert j.dtype == np.float32
    assert gg.jacobian(lambda x: x**3)(2.0) == 12.0
    assert gg.hessian(lambda x: x**3)(2.0) == 12.0


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_function_that_changes_the_device(mode):
    x = gg.Device("sim").send(np.array([1.0, 2.0]))
    j = gg.jacobian(lambda x: (x * x).to("cpu") * 3, mode=mode)(x)
    assert type(j) is type(x)
    close(j, np.diag([6.0, 12.0]))
    close(
        gg.grad(lambda x: gg.jacobian(lambda x: (x**3).to("cpu"), mode=mode)(x).sum())(x), [6, 12]
    )


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_empty_outputs_and_inputs(device, mode):
    assert gg.jacobian(lambda x: x[:0], mode=mode)(raw(device, [1.0, 2.0])).shape == (0, 2)
    j = gg.jacobian(lambda x: x.sum() + gg.zeros(2), mode=mode)(raw(device, []))
    assert j.shape == (2, 0)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_rows_that_are_the_seed_itself(device, mode):
    x = raw(device, [[1.0, 2.0], [3.0, 4.0]])
    for f in (lambda x: x, lambda x: x.T.T, lambda x: (x, x + 0)[1]):
        close(gg.jacobian(f, mode=mode)(x), np.eye(4).reshape(2, 2, 2, 2))


def test_hessian(device, rng):
    x = rng.uniform(0.5, 1.5, size=(2, 3))
    g = lambda x: (gg.exp(x[0]) * x[1] ** 2).sum() * x.prod()  # noqa: E731
    h = gg.hessian(g)(raw(device, x))
    assert h.shape == (2, 3, 2, 3)
    close(h, numeric(lambda x: gg.grad(g)(x), x), rtol=1e-5, atol=1e-6)
    matrix = to_numpy(h).reshape(6, 6)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    close(gg.hessian(g, mode="forward")(raw(device, x)), to_numpy(h), rtol=1e-12)
    close(gg.jacobian(gg.jacobian(g))(raw(device, x)), to_numpy(h), rtol=1e-12)


def test_hessian_of_structures(device):
    p = {"a": raw(device, [1.0, 2.0]), "b": 3.0}
    h = gg.hessian(lambda p: (p["a"] ** 2).sum() * p["b"])(p)
    close(h["a"]["a"], np.diag([6.0, 6.0]))
    close(h["a"]["b"], [2, 4])
    close(h["b"]["a"], [2, 4])
    assert h["b"]["b"] == 0.0
    h = gg.hessian(lambda x, y: x * y * y, argnums=(0, 1))(2.0, 3.0)
    assert h == ((0.0, 6.0), (6.0, 4.0))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("chunk_size", [1, 3])
def test_a_jacobian_can_be_differentiated(device, mode, chunk_size):
    x = raw(device, [1.0, 2.0, 3.0, 4.0])

    def trace(x):
        j = gg.jacobian(lambda x: x**3 * x[0], mode=mode, chunk_size=chunk_size)(x)
        return (j * np.eye(4)).sum() if device.kind == "cpu" else (j * gg.eye(4)).sum()

    # The diagonal: 4 x0**3, and 3 xi**2 x0.
    a = np.array([1.0, 2.0, 3.0, 4.0])
    expected = 6 * a * a[0]
    expected[0] = 12 * a[0] ** 2 + 3 * (a[1:] ** 2).sum()
    close(gg.grad(trace)(x), expected)
    t = gg.tensor(x, requires_grad=True)
    trace(t).backward()
    close(t.grad, expected)


def test_some_rows_may_be_recorded_and_others_not():
    """Only the second output has a second derivative that is not constant."""
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    j = gg.jacobian(lambda x: gg.stack([x[0] * 2, x[1] ** 3]), chunk_size=1)(x)
    close(j, [[2, 0], [0, 12]])
    j.sum().backward()
    close(x.grad, [0, 12])


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("check", [gg.jacobian, gg.gradcheck], ids=["jacobian", "gradcheck"])
def test_chunks_fit_into_a_bound_if_no_size_is_given(check):
    """Of 50 rows two have the gradients of 8 MB at a time."""
    grid = gg.tensor(np.linspace(0.0, 1.0, 20_000))

    def f(x):
        return gg.sin(x[:, None] * grid).sum(axis=1)

    x = np.linspace(0.1, 1.0, 50)
    tracemalloc.start()
    try:
        check(f)(x) if check is gg.jacobian else check(f, x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 50 * grid.nbytes


def test_thousands_of_outputs_in_bounded_memory():
    n = 2000
    x = np.linspace(0.1, 1.0, n)
    gg.jacobian(lambda x: gg.sin(x) * x)(x[:10])
    tracemalloc.start()
    try:
        j = gg.jacobian(lambda x: gg.sin(x) * x, chunk_size=50)(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(j, np.diag(np.cos(x) * x + np.sin(x)))
    # The result, a few arrays of a chunk of rows, and a few vectors.
    assert peak < j.nbytes + (8 * 50 + 40) * x.nbytes


def test_tall_jacobians_of_thousands_of_outputs(device):
    m = device.send(np.arange(15000.0).reshape(5000, 3))
    j = gg.jacobian(lambda x: gg.tanh(gg.tensor(m) @ x * 1e-4))(raw(device, [0.1, 0.2, 0.3]))
    a = to_numpy(m) * 1e-4
    close(j, a / np.cosh(a @ [0.1, 0.2, 0.3])[:, None] ** 2)


# ---------------------------------------------------------------- rows in one pass


def test_what_takes_plain_arrays_alone_gets_them_row_by_row():
    shapes = []

    def vjp(xp, g, y, x):
        shapes.append(np.asarray(g).shape)
        return np.flip(np.cumsum(np.flip(g)))

    total = gg.custom_op(lambda xp, x: np.cumsum(x), vjp, name="total")
    x = np.array([1.0, 2.0, 3.0])
    close(gg.jacobian(lambda x: total(x) * x, mode="reverse")(x), [[2, 0, 0], [2, 5, 0], [3, 3, 9]])
    assert shapes == [(3,)] * 3


def test_a_checkpoint_and_levels_around():
    f = lambda x: gg.tanh(x * x[0])  # noqa: E731
    saving, x = gg.checkpoint(f), np.linspace(0.2, 1.0, 3)
    close(gg.jacobian(saving)(x), gg.jacobian(f)(x))
    twice = [gg.hessian(lambda x, g=g: gg.jacobian(g)(x).sum())(x) for g in (saving, f)]
    close(*twice)
    xs = np.stack([x, -x])
    close(gg.vmap(gg.jacobian(f))(xs), [gg.jacobian(f)(one) for one in xs])
    close(gg.vmap(gg.hessian(lambda x: f(x).sum()))(xs), [
        gg.hessian(lambda x: f(x).sum())(one) for one in xs
    ])  # fmt: skip


# ---------------------------------------------------------------- progress, errors


def test_progress_calls_a_function():
    seen = []
    gg.jacobian(lambda x: x * 2, progress=lambda done, total: seen.append((done, total)))(
        np.ones(3)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    seen.clear()
    gg.hessian(lambda x: (x**3).sum(), progress=lambda *now: seen.append(now))(np.ones(2))
    assert seen == [(1, 2), (2, 2)]


def test_progress_shows_a_bar(capsys):
    pytest.importorskip("tqdm")
    gg.jacobian(lambda x: x * 2, progress=True)(np.ones(3))
    assert "jacobian: 100%" in capsys.readouterr().err
    gg.jacobian(lambda x: x * 2)(np.ones(3))
    assert capsys.readouterr().err == ""


def test_progress_writes_lines_without_tqdm(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    gg.hessian(lambda x: (x**3).sum(), progress=True)(np.ones(3))
    assert capsys.readouterr().err == "hessian: 3 of 3\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "both"}, "expected mode to be one of auto, reverse, forward, got 'both'"),
        ({"chunk_size": 0}, "expected chunk_size to be a positive whole number or None, got 0"),
        ({"chunk_size": 2.5}, "got 2.5"),
    ],
)
def test_bad_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        gg.jacobian(lambda x: x, **options)
    with pytest.raises(ValueError, match="^hessian: "):
        gg.hessian(lambda x: x, **options)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_rows_are_masked_only_where_something_is_not_finite(monkeypatch, mode):
    from gpugrad.engine.support import Support

    masks, mask = [], Support.mask
    monkeypatch.setattr(Support, "mask", lambda self: masks.append(1) or mask(self))
    jacobian = gg.jacobian(lambda x: 4 * gg.sqrt(x), mode=mode)
    assert np.isfinite(jacobian(np.array([4.0, 1.0, 9.0]))).all()
    assert not masks
    expected = np.diag([1.0, np.inf, 0.5])
    np.testing.assert_array_equal(jacobian(np.array([4.0, 0.0, 16.0])), expected)
    assert masks
    with gg.detect_anomaly():  # which would find what a mask takes out
        masks.clear()
        jacobian(np.array([4.0, 1.0, 9.0]))
    assert masks


def test_rows_add_in_place_to_the_gradient_of_an_argument_that_is_used_in_parts(rng, monkeypatch):
    from gpugrad.backend.namespace import namespace_of
    from gpugrad.batching import batched_type

    def f(x):
        parts = [x[0] * x[1], x[2:] * x[1:, None][0], x[..., -1] * gg.ones(3), x[2] ** 2, x[:1]]
        return gg.concat([part.reshape(-1) for part in parts])

    xp, scattered = batched_type(namespace_of(np.ones(1))).xp, []
    scatter = xp.scatter
    monkeypatch.setattr(
        xp, "scatter", lambda *args, **kwargs: scattered.append(1) or scatter(*args, **kwargs)
    )
    x = rng.uniform(0.5, 1.5, size=5)
    rows = gg.jacobian(f, mode="reverse")(x)
    assert len(scattered) == 3  # one within a part; the second sum of x is what others add to
    close(rows, gg.jacobian(f, mode="forward")(x))
    several = gg.vmap(gg.jacobian(f, mode="reverse"))(np.stack([x, x + 1]))
    close(several[0], rows)


def test_tangents_are_masked_only_where_one_is_not_finite(monkeypatch):
    from gpugrad.engine import forward

    asked, push_support = [], forward.push_support
    monkeypatch.setattr(
        forward, "push_support", lambda *given: asked.append(1) or push_support(*given)
    )

    def f(x):
        chosen = gg.sqrt(gg.where(x > 0, x, 0.0))
        return gg.stack([chosen.sum(), x[0] * x[1], chosen[1] * x[0]])

    x = np.array([4.0, 1.0, 9.0])
    columns = gg.jacobian(f, mode="forward")(x)
    assert not asked
    close(columns, gg.jacobian(f, mode="reverse")(x))
    columns = gg.jacobian(f, mode="forward")(np.array([4.0, 0.0, 9.0]))
    assert asked
    close(columns, [[0.25, 0, 1 / 6], [0, 4, 0], [0, 0, 0]])
