"""Functions compiled and as usual, call by call: results, arguments and what they change."""

import dataclasses
import threading

import numpy as np
import pytest
from twins import seen, state_of

import gpugrad as gg

pytestmark = pytest.mark.usefixtures("by_numpy")

CASES = {}
REFUSED = {}  # for what is not recorded, what the error says


def case(make):
    """A function that makes, each time anew, a function, its calls' arguments, and what changes."""
    CASES[make.__name__] = make
    return make


def refused(words):
    def add(make):
        REFUSED[make.__name__] = words
        return case(make)

    return add


def raw(seed=0, shape=3, dtype="f"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def tensor(seed=0, shape=3, dtype="f"):
    return gg.tensor(raw(seed, shape, dtype))


def each(make):
    return [(make(seed),) for seed in range(3)]


def check(make):
    """Call twins, one of them compiled, and compare; returns the compiled one."""
    (usual, calls, state), (other, same_calls, same_state) = make(), make()
    compiled = gg.compile(other)
    for number, (args, same_args) in enumerate(zip(calls, same_calls, strict=True)):
        expected = error = None
        try:
            expected = usual(*args)
        except (ValueError, TypeError, ArithmeticError) as raised:
            error = type(raised)
        if error is None:
            got = compiled(*same_args)
            assert seen(got) == seen(expected), f"call {number}: {got}, not {expected}"
        else:
            with pytest.raises(error):
                compiled(*same_args)
        assert seen(list(same_args)) == seen(list(args)), f"the arguments of call {number}"
        assert state_of(*same_state) == state_of(*state), f"the state after call {number}"
    return compiled


@case
def zeros_iadd():
    def f(x):
        b = gg.zeros(3)
        b += x
        return b

    return f, each(tensor), []


@refused("add writes into an array .*test_functions")
def np_zeros_iadd():
    def f(x):
        b = np.zeros(3, "f")
        b += x
        return b

    return f, each(raw), []


@case
def tensor_of_np():
    def f(x):
        b = gg.Tensor(np.zeros(3, "f"))
        b += x
        return b

    return f, each(tensor), []


@case
def captured_np_changed():
    W = raw(9)
    n = [0]

    def f(x):
        return gg.Tensor(W) * x

    def args():
        for i in range(3):
            W[0] = n[0]
            n[0] += 1
            yield (tensor(i),)

    return f, args(), []


@case
def captured_np_raw_changed():
    W = raw(9)
    n = [0]

    def f(x):
        return W * x

    def args():
        for i in range(3):
            W[0] = n[0]
            n[0] += 1
            yield (raw(i),)

    return f, args(), []


@refused("add writes into an array")
def captured_np_iadd():
    W = raw(9)

    def f(x):
        nonlocal W
        W += x
        return W * 2

    return f, each(raw), [W]


@case
def captured_tensor_iadd():
    W = tensor(9)

    def f(x):
        nonlocal W
        W += x
        return W * 2

    return f, each(tensor), [W]


@case
def argument_changed():
    def f(x):
        x *= 2
        return x.sum()

    xs = [tensor(i) for i in range(3)]
    return f, [(x,) for x in xs], xs


@case
def argument_np_changed():
    def f(x):
        x *= 2
        return x.sum()

    xs = [raw(i) for i in range(3)]
    return f, [(x,) for x in xs], xs


@case
def argument_np_item():
    def f(x):
        x[0] = 5.0
        v = x[1:]
        v += 1
        return x * 1

    xs = [raw(i) for i in range(3)]
    return f, [(x,) for x in xs], xs


@case
def same_twice():
    def f(x, y):
        return x * y + x

    a, b, c = tensor(0), tensor(1), tensor(2)
    return f, [(a, a), (a, b), (b, a), (c, c), (a, c)], []


@case
def same_twice_np_inplace():
    def f(x, y):
        x += 1
        return x * y

    a, b, c = raw(0), raw(1), raw(2)
    return f, [(a, b), (a, a), (b, a), (c, c), (a, c)], [a, b, c]


@refused("shares its memory")
def overlap_np_inplace_recorded():
    def f(x, y):
        x += 1
        return x * y

    a = raw(0, (6,))
    b = raw(1)
    return f, [(a[:3], a[1:4]), (a[:3], a[3:]), (a[:3], b)], [a, b]


@case
def closure_rebound():
    W = tensor(5)

    def f(x):
        return W * x

    def args():
        nonlocal W
        for i in range(4):
            W = tensor(10 + i) if i != 3 else tensor(3, (1,))
            yield (tensor(i),)

    return f, args(), []


@case
def closure_data_rebound():
    W = tensor(5)

    def f(x):
        return W * x

    def args():
        for i in range(4):
            W.data = raw(10 + i)
            yield (tensor(i),)

    return f, args(), []


@case
def detach_closure_data_rebound():
    W = tensor(5).requires_grad_()

    def f(x):
        return W.detach() * x

    def args():
        for i in range(4):
            W.data = raw(10 + i)
            yield (tensor(i),)

    return f, args(), []


@case
def returns_argument():
    def f(x):
        return x, x * 2

    return f, each(tensor), []


@case
def returns_argument_np():
    def f(x):
        return x, x * 2, [x]

    return f, each(raw), []


@case
def returns_constant():
    def f(x):
        return gg.ones(3), np.ones(3), 3, "a", None, x + 1

    return f, each(tensor), []


@case
def float_args():
    def f(x, a, n, s, o=None):
        return x * a + n if s == "y" else x - a * n

    return (
        f,
        [(tensor(i), 0.5 * i, 2, "y") for i in range(3)]
        + [
            (tensor(1), 0.5, 3, "y"),
            (tensor(1), 0.5, 3, "n"),
            (tensor(1), 1, 3, "n"),
            (tensor(1), True, 3, "n"),
        ],
        [],
    )


@case
def float_result():
    def f(a, b):
        return a * b, a, a + 1

    return f, [(0.5 * i, 2.5) for i in range(3)], []


@case
def np_scalar():
    def f(x, a):
        return x * a, a * 2

    return (
        f,
        [(raw(i), np.float64(i)) for i in range(3)]
        + [(raw(1), np.float32(2)), (raw(1), np.int64(2))],
        [],
    )


@case
def zero_d():
    def f(x):
        return x * 2, x + x, x.sum()

    return f, [(np.array(float(i)),) for i in range(3)] + [(np.zeros((0, 3)),), (np.zeros(()),)], []


@case
def views_np():
    def f(x):
        y = x * 1
        v = y[0]
        v += 1
        y[1] = x[2]
        y[:, 0] *= 2
        w = y.T
        w[0, 1] = 7.0
        return y, v, w

    return (
        f,
        [(raw(i, (3, 4)),) for i in range(3)]
        + [(raw(1, (4, 3)).T,), (np.asfortranarray(raw(2, (3, 4))),), (raw(3, (6, 8))[::2, ::2],)],
        [],
    )


@case
def views_tensor():
    def f(x):
        y = x * 1
        v = y[0]
        v += 1
        y[1] = x[2]
        y[:, 0] *= 2
        w = y.T
        w[0, 1] = 7.0
        return y, v, w

    return f, [(tensor(i, (3, 4)),) for i in range(3)] + [(tensor(1, (4, 3)).T,)], []


@case
def leaf_args():
    def f(p, x):
        loss = (p * x).sum()
        loss.backward()
        return loss.detach()

    ps = [tensor(i).requires_grad_() for i in range(2)]
    return f, [(ps[0], tensor(3)), (ps[0], tensor(3)), (ps[1], tensor(4)), (ps[1], tensor(5))], ps


@case
def grad_given():
    def f(p, x):
        p.grad = x * 2
        return None

    ps = [tensor(i).requires_grad_() for i in range(2)]
    return f, [(ps[0], tensor(3)), (ps[0], tensor(3)), (ps[1], tensor(4)), (ps[1], tensor(5))], ps


@case
def gradient_to_start_from():
    p, seed = tensor(1).requires_grad_(), tensor(2)
    other = raw(3)

    def f(x):
        (p + p).backward(seed)
        (p + x + p).backward(other)

    return f, each(tensor), [p, seed]


@case
def data_given():
    def f(p, x):
        p.data = (x * 2).data
        return None

    ps = [tensor(i).requires_grad_() for i in range(2)]
    return f, [(ps[0], tensor(3)), (ps[0], tensor(3)), (ps[1], tensor(4)), (ps[1], tensor(5))], ps


@case
def setitem_captured():
    W = tensor(5)

    def f(x):
        y = x * 1
        y[0] = W[1]
        y[1:] = W[1:]
        return y

    def args():
        for i in range(4):
            W.data = raw(10 + i)
            yield (tensor(i),)

    return f, args(), []


@case
def setitem_captured_whole():
    W = tensor(5, (2,))

    def f(x):
        y = x * 1
        y[1:] = W
        return y

    def args():
        for i in range(4):
            W.data = raw(10 + i, (2,))
            yield (tensor(i),)

    return f, args(), []


@case
def captured_setitem():
    W = tensor(5)

    def f(x):
        W[0] = x[1]
        W[1] = 3.0
        return W + 1

    return f, each(tensor), [W]


@refused("shares its memory")
def captured_view_change():
    W = tensor(5)
    V = W[1:]

    def f(x):
        V[0] = x[1]
        return W + 1

    return f, each(tensor), [W, V]


@refused("shares its memory")
def captured_view_change2():
    W = tensor(5)
    V = W[1:]

    def f(x):
        W[...] = x
        return V + 1

    return f, each(tensor), [W, V]


@case
def ints():
    def f(i, x):
        return i * 2, x[i], i.sum(), i // 2, i > 1

    return f, [(np.array([0, 2, k]), raw(k)) for k in range(3)], []


@case
def bools():
    def f(m, x):
        return gg.where(m, x, 0.0), ~m, m & m

    return f, [(tensor(k) > 0, tensor(k)) for k in range(3)], []


@dataclasses.dataclass
class Pair:
    a: object
    b: object


@case
def trees():
    def f(d):
        return {"s": d["x"][0] + d["y"].a, "p": Pair(d["y"].b * 2, (1, d["x"][1]))}

    return (
        f,
        [({"x": [tensor(i), raw(i)], "y": Pair(tensor(i + 1), raw(2))},) for i in range(3)],
        [],
    )


@case
def kwargs():
    def f(x, *, y=None, z=1.0):
        return x * z if y is None else x * y * z

    return f, [(tensor(1),)] * 2, []


@case
def random():
    g = gg.random.Generator(3)

    def f(x):
        return x + g.normal(size=3), g.uniform(size=2)

    return f, [(tensor(i),) for i in range(4)], [g]


@case
def item_result():
    def f(x):
        return x.sum().item()

    return f, each(tensor), []


@case
def dtype_default():
    def f(x):
        return x + gg.tensor([1.0, 2.0, 3.0]), gg.ones(2)

    def args():
        for d in "float32", "float64", "float32", "float64":
            gg.set_default_dtype(d)
            yield (raw(1),)
        gg.set_default_dtype("float32")

    return f, args(), []


@case
def read_only():
    def f(x):
        return x * 2

    def args():
        for i in range(3):
            a = raw(i)
            a.flags.writeable = False
            yield (a,)

    return f, args(), []


@case
def read_only_written():
    def f(x):
        x += 1
        return x * 2

    def args():
        yield (raw(1),)
        yield (raw(1),)
        a = raw(2)
        a.flags.writeable = False
        yield (a,)

    return f, args(), []


@case
def tensor_default_arg():
    def f(x, w=tensor(4)):  # noqa: B008
        return x * w

    return f, each(tensor), []


@case
def list_of_tensors_kept():
    keep = []

    def f(x):
        keep.append(x * 2)
        return x * 3

    return f, each(tensor), []


@case
def loop_unrolled():
    def f(x, n):
        for i in range(n):
            x = gg.sin(x) * i
        return x

    return f, [(tensor(i), i % 2 + 2) for i in range(4)], []


@case
def argmax_index():
    def f(x):
        return x[x.argmax()], gg.take(x, gg.argsort(x))

    return f, each(tensor), []


@case
def out_kw():
    def f(x):
        y = np.empty_like(x)
        np.add(x, x, out=y)
        np.multiply(y, x, out=y)
        return y

    return f, each(raw), []


@case
def linspace_consts():
    t = np.linspace(0, 1, 3)

    def f(x):
        return np.exp(-t * x) + np.arange(3)

    return f, each(raw), []


@case
def closed_arg_alias():
    W = tensor(0)
    B = tensor(1)

    def f(x):
        return W * x + W

    return f, [(W,), (B,), (W,)], []


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_what_a_function_gives_and_changes(name):
    check(CASES[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_leaves_all_as_it_was(name):
    function, calls, state = CASES[name]()
    args = next(iter(calls))
    before = seen(list(args)), state_of(*state)
    with pytest.raises(gg.CompileError, match=REFUSED[name]):
        gg.compile(function)(*args)
    assert (seen(list(args)), state_of(*state)) == before


def cube(x):
    return (gg.tanh(x) * x**3).sum()


TRANSFORMS = {
    "grad": gg.grad(cube),
    "value_and_grad": gg.value_and_grad(cube),
    "second": gg.grad(lambda x: (gg.grad(cube)(x) ** 2).sum()),
    "third": gg.grad(lambda x: gg.grad(lambda z: gg.grad(cube)(z).sum())(x).sum()),
    "vjp": lambda x: gg.vjp(lambda z: z * gg.sin(z), x)[1](x),
    "jvp": lambda x: gg.jvp(cube, (x,), (x,)),
    "hvp": lambda x: gg.hvp(cube, (x,), (x,)),
    "jacobian": gg.jacobian(lambda x: x * gg.sin(x)),
    "hessian": gg.hessian(cube),
    "checkpoint": gg.grad(lambda x: gg.checkpoint(cube, x)),
    "no_grad": gg.no_grad()(cube),
    "compiled": gg.grad(gg.compile(cube)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", ["f", "d"])
def test_transforms(name, dtype):
    function = TRANSFORMS[name]
    for make in (raw, tensor):
        check(lambda make=make: (function, [(make(s, 3, dtype),) for s in range(3)], []))


def test_an_error_leaves_all_as_it_was():
    w = gg.ones(3, requires_grad=True)
    optimizer = gg.optim.Adam([w])

    @gg.compile
    def step(x):
        (w * x).sum().backward()
        optimizer.step()
        x += 1
        return gg.linalg.cholesky(x[0] * gg.eye(2))

    step(gg.ones(3))
    for _ in range(2):
        x = gg.full(3, -4.0)
        before = state_of(w, optimizer, x)
        with pytest.raises(np.linalg.LinAlgError):
            step(x)
        assert state_of(w, optimizer, x) == before


def test_threads():
    compiled = gg.compile(lambda x: gg.exp(x).sum() * x)
    expected = [seen(gg.exp(tensor(i)).sum() * tensor(i)) for i in range(8)]
    wrong = []

    def work(i):
        results = [seen(compiled(tensor(i))) for _ in range(20)]
        wrong.extend([i] * (results != [expected[i]] * 20))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_modes_belong_to_a_recording():
    a, b = tensor(1, (3, 3)), tensor(2, (3, 3))
    compiled = gg.compile(lambda x, y: x @ y)
    for mode in (
        None,
        gg.autocast("float16"),
        gg.no_grad(),
        gg.deterministic(True),
        gg.debug_mode(),
    ):
        for _ in range(2):
            if mode is None:
                assert seen(compiled(a, b)) == seen(a @ b)
            else:
                with mode:
                    assert seen(compiled(a, b)) == seen(a @ b)
    with gg.detect_anomaly():
        assert seen(compiled(a, b)) == seen(a @ b)


class Counter:
    def __init__(self):
        self.total = gg.zeros(3)

    @gg.compile
    def add(self, x):
        self.total += x
        return self.total * 2


def test_methods_know_their_object():
    one, two = Counter(), Counter()
    for i in range(3):
        one.add(tensor(i))
        two.add(2 * tensor(i))
    total = tensor(0) + tensor(1) + tensor(2)
    assert one.total.tolist() == pytest.approx(total.tolist())
    assert two.total.tolist() == pytest.approx((2 * total).tolist())


@pytest.mark.parametrize("number", [np.float32(2), np.float64(2), np.int32(3)], ids=repr)
def test_a_numpy_scalar_meets_tensors_of_any_device(device, number):
    def f(x, s):
        return x * s + s * 2

    x = gg.tensor([1.0, 2.0], device=device)
    compiled = gg.compile(f)
    for value in (number, type(number)(5), number):
        assert seen(compiled(x, value)) == seen(f(x, value))
    assert compiled.report().count("program ") == 1
