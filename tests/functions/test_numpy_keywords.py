"""NumPy's keywords and defaults on tensors: its values, and gradients against differences."""

import inspect
from copy import deepcopy

import numpy as np
import pytest
from arrays import host

import gpugrad as gg
from gpugrad.functions import FUNCTIONS
from gpugrad.functions.bind import NUMPY_FUNCTIONS, PUBLIC
from gpugrad.functions.ufunc_methods import ASSOCIATIVE

A, B = np.arange(1.0, 4.0), np.arange(6.0).reshape(2, 3) / 7

JOINED = {
    "r_ of a vector, a number and a slice": lambda r, c, a, b: r[a, 0, 3:5],
    "r_ of one": lambda r, c, a, b: r[a],
    "r_ of matrices": lambda r, c, a, b: r[b, b],
    "r_ along an axis": lambda r, c, a, b: r["-1", b, b],
    "r_ with more axes": lambda r, c, a, b: r["0,2", a, a],
    "r_ of columns": lambda r, c, a, b: r["1,2,0", a, a],
    "r_ of a list": lambda r, c, a, b: r[[1, 2], a],
    "r_ of a grid": lambda r, c, a, b: r[0:1:5j, a],
    "c_ of vectors": lambda r, c, a, b: c[a, a],
    "c_ of matrices": lambda r, c, a, b: c[b, b],
}


def check(f, arrays, expected, device):
    """The values are NumPy's, and the gradients those of differences."""
    tensors = [gg.tensor(a, device=device) for a in arrays]
    y = f(*tensors)
    assert y.device == gg.Device(device)
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y.cpu().numpy(), expected, rtol=1e-12)
    if expected.dtype.kind == "f":
        weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
        weights = gg.tensor(weights, device=device).data
        eps = 1e-6 if expected.dtype == np.float64 else 1e-2  # far enough for float32's digits
        assert gg.gradcheck(lambda *args: (f(*args) ** 2 * weights).sum(), tensors, eps=eps)


@pytest.mark.parametrize("name", JOINED)
def test_what_stands_in_brackets_is_joined(name, device):
    write = JOINED[name]
    expected = write(np.r_, np.c_, A, B)
    check(
        lambda a, b: write(gg.r_, gg.c_, a, b) + 0 * (b.sum() + a.sum()), (A, B), expected, device
    )


# What NumPy takes by itself may be written out.

TRIES = [(A,), (B,), (A, A), (A, 1), ([A, A],), (B, B), (A, np.array([0, 1])), (A, A, A), (1.0, A)]


def simple_defaults(function):
    """The keywords of a function, with defaults that can be written out."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {
        one.name: one.default
        for one in parameters
        if one.kind not in (one.POSITIONAL_ONLY, one.VAR_KEYWORD)
        and isinstance(one.default, bool | int | float | str | None)
    }


def by_position(function):
    """The defaults that can be written out in brackets, without names, from the first on."""
    defaults = []
    for one in inspect.signature(function).parameters.values() if simple_defaults(function) else ():
        simple = isinstance(one.default, bool | int | float | str | None)
        missing = one.default is one.empty and not any(defaults)
        if one.kind is not one.POSITIONAL_OR_KEYWORD or not (simple or missing):
            break
        defaults.append(one.default)
    return defaults


def flat(result):
    if isinstance(result, tuple | list):
        return [flat(part) for part in result]
    return result.tolist() if isinstance(result, gg.Tensor) else result


def tensors_of(args):
    return [
        gg.tensor(a) if isinstance(a, np.ndarray) else [gg.tensor(b) for b in a]
        if isinstance(a, list) else a
        for a in args
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", NUMPY_FUNCTIONS, ids=lambda f: f.__name__)
def test_numpy_s_own_defaults_may_be_written_out(function):
    defaults = simple_defaults(function)
    refused = []
    for args in TRIES:
        try:
            function(*deepcopy(args))  # copyto and the like change their first
            expected = function(*tensors_of(deepcopy(args)))
        except Exception:  # noqa: BLE001  no operands for this function
            continue
        given = list(defaults)[len(args) :] if function is not np.where else []
        for keyword in given:
            one = {keyword: defaults[keyword]}
            try:
                function(*deepcopy(args), **one)
            except TypeError:  # NumPy does not take it
                continue
            try:
                result = function(*tensors_of(deepcopy(args)), **one)
            except TypeError as error:
                refused.append(f"{one}: {error}")
                continue
            np.testing.assert_equal(flat(result), flat(expected), str(one))
        for count in range(1, len(by_position(function)) - len(args) + 1):
            listed = by_position(function)[len(args) :][:count]
            try:
                function(*deepcopy(args), *listed)
            except TypeError:
                continue
            result = function(*tensors_of(deepcopy(args)), *listed)
            np.testing.assert_equal(flat(result), flat(expected), str(listed))
    assert not refused


SIZE_AXES = (0, -1) if np.lib.NumpyVersion(np.__version__) >= "2.4.0" else 0  # of np.size
POSITIONAL = {
    "mean": lambda t: np.mean(t, 0, "float32"),
    "sum": lambda t: np.sum(t, 0, None, None, True),
    "prod": lambda t: np.prod(t, 0, "float32", None, True, 2.0),
    "max": lambda t: np.max(t, 0, None, True, 0.5),
    "std": lambda t: np.std(t, 0, None, None, 1),
    "nanvar": lambda t: np.nanvar(t, 0, None, None, 1, True),
    "clip": lambda t: np.clip(t, 0.2, 0.5, None),
    "cumsum": lambda t: np.cumsum(t, 0, "float32"),
    "zeros_like": lambda t: np.zeros_like(t, "float32"),
    "full_like": lambda t: np.full_like(t, 3, "float32"),
    "take": lambda t: np.take(t, [5], 0, None, "wrap"),
    "median": lambda t: np.median(t, 0, None, False, True),
    "quantile": lambda t: np.quantile(t, 0.5, 0, None, False, "lower", True),
    "size": lambda t: np.asarray(np.size(t, SIZE_AXES)),
    "no observations": lambda t: np.cov(t[:0], rowvar=False),
}


@pytest.mark.parametrize("name", POSITIONAL)
@pytest.mark.filterwarnings("ignore")
def test_numpy_s_order_of_arguments_holds_in_its_functions(name, device):
    """The third argument of np.mean is dtype, that of gg.mean is keepdims."""
    wanted = POSITIONAL[name](B)
    got = POSITIONAL[name](gg.tensor(B, device=device))
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    values = got if isinstance(got, np.ndarray) else host(got)
    np.testing.assert_allclose(values, wanted, rtol=1e-6)


@pytest.mark.parametrize("function", [gg.var, gg.std, gg.nanvar, gg.nanstd, np.var, np.nanstd])
def test_ddof_and_correction_are_one_parameter(function):
    x = gg.tensor([1.0, 2.0, 4.0])
    assert function(x, ddof=0, correction=1).item() == function(x, ddof=1).item()
    with pytest.raises(gg.ArgumentError, match="correction and ddof are the same parameter"):
        function(x, ddof=1, correction=1)
    mask = np.array([True, True, False])
    if function in (gg.var, gg.std):
        with pytest.raises(gg.ArgumentError, match="are the same parameter"):
            function(x, where=mask, ddof=1, correction=1)


# where=, initial= and dtype= of reductions.

MASK = np.array([[True, False, True], [True, True, False]])
SAMPLES = {
    "all": {"where": MASK},
    "columns": {"where": MASK, "axis": 0},
    "rows": {"where": MASK, "axis": -1, "keepdims": True},
    "a row of the mask": {"where": MASK[0], "axis": (0, 1)},
    "a list": {"where": [True, False, True], "axis": 1},
    "everything": {"where": True, "axis": 1},
}
PLAIN = ("sum", "prod", "max", "min", "any", "all", "nansum", "nanprod", "nanmax", "nanmin")


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", [*PLAIN, "mean", "var", "std", "nanmean", "nanvar", "nanstd"])
def test_a_reduction_of_what_a_mask_holds(name, sample, device):
    words = dict(SAMPLES[sample])
    values = np.random.default_rng(3).normal(size=(2, 3))
    if name.startswith("nan"):
        values[0, 1] = values[1, 2] = np.nan  # the mask leaves out one of them
    if name.removeprefix("nan") in ("max", "min"):
        words["initial"] = -3.0 if name.endswith("max") else 3.0
    if isinstance(words["where"], list):
        expected = getattr(np, name)(values, **words | {"where": np.array(words["where"])})
    else:
        expected = getattr(np, name)(values, **words)
    t = gg.tensor(values, device=device)
    if isinstance(words["where"], np.ndarray):
        words["where"] = gg.tensor(words["where"], device=device)
    for result in (
        getattr(np, name)(t, **words),
        getattr(gg, name)(t, **words),
        *([getattr(t, name)(**words)] if hasattr(t, name) else []),
    ):
        np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-12)
        assert result.shape == np.shape(expected)
        assert result.dtype == expected.dtype
    if name not in ("any", "all") and not name.startswith("nan"):
        assert gg.gradcheck(lambda x: (getattr(np, name)(x, **words) ** 2).sum(), t)


def test_what_a_mask_leaves_out_has_no_gradient(device):
    x = gg.tensor(np.array([1.0, 0.0, np.nan, 3.0]), device=device, requires_grad=True)
    mask = gg.asarray([True, False, False, True], device=device)
    for name in ("sum", "mean", "var", "std", "prod"):
        gradient = gg.gradients(getattr(np, name)(x, where=mask), x).tolist()
        assert gradient[1:3] == [0.0, 0.0]
        assert all(np.isfinite(gradient))


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_a_reduction_starts_from_an_initial_value(name, device):
    reduce = getattr(np, name)
    values = np.random.default_rng(5).normal(size=(2, 3))
    for array, words in (
        (values, {"initial": 0.5}),
        (values, {"initial": 0.25, "axis": 1, "keepdims": True}),
        (np.zeros((0, 3)), {"initial": 2.0, "axis": 0}),
        (np.arange(4), {"initial": 7}),
    ):
        check(lambda x: reduce(x, **words), (array,), reduce(array, **words), device)  # noqa: B023


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "cumsum", "cumprod",
                                  "nansum", "nanmean", "trace"])  # fmt: skip
@pytest.mark.parametrize("dtype", [None, np.float32, "float64"])
def test_a_dtype_of_the_result(name, dtype, device):
    values = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
    expected = getattr(np, name)(values, dtype=dtype)
    made = [getattr(module, name)(gg.tensor(values, device=device), dtype=dtype)
            for module in (np, gg)]  # fmt: skip
    for result in made:
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-6)


def test_masks_that_do_not_fit(device):
    t = gg.ones((2, 3), device=device)
    with pytest.raises(gg.ShapeError, match=r"sum: where= of shape \(2,\) does not broadcast"):
        np.sum(t, where=[True, False])
    with pytest.raises(gg.DTypeError, match="sum: expected where= to be a mask of dtype bool"):
        t.sum(where=gg.ones(3, device=device))
    with pytest.raises(gg.ArgumentError, match=r"max: with where= .*Pass initial="):
        t.max(where=[True, False, True])
    with pytest.raises(gg.DeviceError, match="sum: operands are on two devices"):
        t.sum(where=gg.asarray(MASK, device="sim:1"))


# Ufuncs.

UFUNCS = sorted(
    name for name, ufunc in vars(np).items()
    if isinstance(ufunc, np.ufunc) and name in FUNCTIONS
    and ufunc.nout == 1 and ufunc.signature is None
)  # fmt: skip


def operands_of(ufunc):
    """Arrays that a ufunc takes: floats, or whole numbers."""
    for kind in (np.float64, np.int64):
        scale = 1 if kind is np.float64 else 9
        arrays = [((B + 0.1 * i + 0.1) * scale).astype(kind) for i in range(ufunc.nin)]
        try:
            ufunc(*arrays)
        except TypeError:
            continue
        return arrays
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UFUNCS)
def test_a_ufunc_where_a_mask_holds(name, device):
    ufunc = getattr(np, name)
    arrays = operands_of(ufunc)
    if arrays is None:
        return
    whole = ufunc(*arrays)
    expected = ufunc(*arrays, where=MASK, out=np.full(B.shape, 1, whole.dtype))
    tensors = [gg.tensor(a, device=device) for a in arrays]
    target = gg.full(B.shape, 1, dtype=whole.dtype, device=device)
    mask = gg.tensor(MASK, device=device)
    result = ufunc(*tensors, where=mask, out=target)
    assert result is target
    np.testing.assert_allclose(target.cpu().numpy(), expected, rtol=1e-12)
    alone = ufunc(*tensors, where=mask)
    np.testing.assert_allclose(alone.cpu().numpy(), np.where(MASK, expected, 0), rtol=1e-12)
    for words in ({"dtype": None}, {"casting": "same_kind"}, {"order": "K"}, {"where": True},
                  {"subok": True}, {"out": None}):  # fmt: skip
        same = ufunc(*tensors, **words)
        assert same.dtype == whole.dtype
        np.testing.assert_allclose(same.cpu().numpy(), whole, rtol=1e-12)


def test_a_division_where_it_is_possible_has_a_gradient(device):
    """The usual way around a division by zero."""
    values = np.array([1.0, 0.0, 4.0])

    def inverse(x):
        return np.divide(1.0, x, out=np.zeros_like(x), where=x != 0)

    check(inverse, (values[::2],), inverse(values[::2]), device)
    x = gg.tensor(values, device=device, requires_grad=True)
    y = inverse(x)
    assert y.tolist() == [1.0, 0.0, 0.25]
    assert gg.gradients(y.sum(), x).tolist() == [-1.0, 0.0, -0.0625]
    y = np.sqrt(x - 1, where=x > 1)
    assert gg.gradients(y.sum(), x).tolist() == [0.0, 0.0, 0.5 / np.sqrt(3)]


def test_out_is_recorded(device):
    x = gg.tensor(A, device=device, requires_grad=True)
    out = gg.zeros(3, dtype="float64", device=device)
    assert np.exp(x, out=out) is out
    assert gg.gradients(out.sum(), x).tolist() == out.tolist()
    with pytest.raises(gg.GradientError, match="leaf"):
        np.exp(x, out=x)
    with pytest.raises(gg.ShapeError, match="out="):
        np.exp(x, out=gg.zeros(2, dtype="float64", device=device))


@pytest.mark.parametrize("name", sorted(ASSOCIATIVE | {"add", "multiply"}))
def test_what_can_be_joined_is_reduced_and_accumulated(name, device):
    ufunc = getattr(np, name)
    real = name not in ("gcd", "lcm") and not name.startswith("bitwise")
    array = np.random.default_rng(7).normal(size=(5, 3)) if real else np.arange(15).reshape(5, 3)
    for axis in (0, 1, -1):
        for method in ("reduce", "accumulate"):
            expected = getattr(ufunc, method)(array, axis=axis)
            check(lambda x: getattr(ufunc, method)(x, axis=axis), (array,), expected, device)  # noqa: B023
    assert ufunc.reduce(gg.tensor(array), keepdims=True).shape == (1, 3)


# Other keywords.

CALLS = {
    "transpose of a vector": lambda x: np.transpose(x[0], 0),
    "transpose by a method": lambda x: x[0].transpose(0),
    "concatenate to a dtype": lambda x: np.concatenate([x, x], dtype=np.float32),
    "stack to a dtype": lambda x: np.stack([x, x], axis=1, dtype="float32", casting="same_kind"),
    "vstack to a dtype": lambda x: np.vstack([x, x], dtype=np.float32),
    "take, out of range is an error": lambda x: np.take(x, [0, 1], axis=1, mode="raise"),
    "take, wrapped": lambda x: np.take(x, [0, 4, -5], axis=1, mode="wrap"),
    "take, clipped": lambda x: np.take(x, [0, 9, -5], axis=1, mode="clip"),
    "take, of all": lambda x: np.take(x, [0, 9, -5], mode="wrap"),
    "clip from below": lambda x: np.clip(x, a_min=0.2, a_max=None),
    "clip from above": lambda x: np.clip(x, a_min=None, a_max=0.3),
    "clip": lambda x: np.clip(a=x, a_min=0.2, a_max=0.3),
}


@pytest.mark.parametrize("name", CALLS)
def test_other_keywords(name, device):
    call = CALLS[name]
    check(call, (B,), call(B), device)


def test_keywords_of_numpy_in_gpugrad_s_functions():
    t = gg.tensor(B)
    assert gg.clip(t, a_min=0.2).tolist() == t.clip(0.2).tolist()
    assert t.clip(a_max=0.3).tolist() == np.clip(B, None, 0.3).tolist()
    assert gg.concat([t, t], dtype="float32").dtype == np.float32
    assert t.mean(dtype=None, out=None).item() == B.mean()


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda t: t.sum(dim=1), "sum: dim= .*Write axis="),
        (lambda t: gg.mean(t, axis=1, keepdim=True), "mean: keepdim= .*Write keepdims="),
        (lambda t: gg.concat([t, t], dim=1), "concat: dim= .*Write axis="),
        (lambda t: t.std(unbiased=False), "std: unbiased= .*Write correction="),
        (lambda t: gg.special.softmax(t, dim=1), "softmax: dim= .*Write axis="),
        (lambda t: gg.softmax(t, 0, dim=1), "softmax: axis and dim are the same parameter"),
        (lambda t: gg.flip(t, dims=(0,)), "flip: dims= .*Write axis="),
        (lambda t: gg.transpose(t, 0, 1), r"transpose.*Write gg\.swapaxes"),
        (lambda t: gg.reshape(t, 3, 2, 1), r"reshape.*Write reshape\(\(2, 3\)\)"),
        (lambda t: gg.zeros(2, 3), r"zeros.*Write zeros\(\(2, 3\)\)"),
        (lambda t: gg.ones(2, 3), r"ones.*Write ones\(\(2, 3\)\)"),
        (lambda t: gg.empty(2, 3), r"empty.*Write empty\(\(2, 3\)\)"),
        (lambda t: gg.full(2, 3, 1.0), r"full.*Write full\(\(2, 3\), value\)"),
    ],
)  # fmt: skip
def test_keywords_of_pytorch_say_what_to_write(call, advice):
    with pytest.raises((gg.DTypeError, gg.ArgumentError), match=advice):
        call(gg.tensor(B))


OF_LAYERS = ("softmax", "log_softmax")  # functions of `nn.functional`, which take dim= as well


@pytest.mark.parametrize("name", OF_LAYERS)
def test_dim_is_the_axis_of_a_function_of_layers(name, device):
    t = gg.tensor(B, device=device)
    function = getattr(gg.nn.functional, name)
    for dim in (0, -1, None):
        expected = function(t, -1 if dim is None else dim)
        for made in (
            function(t, dim=dim),
            getattr(gg, name)(t, dim=dim),
            getattr(t, name)(dim=dim),
        ):
            np.testing.assert_array_equal(made.numpy(), expected.numpy())
    single = function(t, dim=0, dtype="float32")
    assert single.dtype == np.float32


MODULES = {"": gg, "linalg.": gg.linalg, "fft.": gg.fft, "special.": gg.special}
AXES = [
    f"{module}{name}"
    for module, where in MODULES.items()
    for name in (PUBLIC if where is gg else where.__all__)
    if inspect.isfunction(function := getattr(where, name))
    and "axis" in (parameters := inspect.signature(function).parameters)
    and not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    and not (where is gg and name in OF_LAYERS)
]


@pytest.mark.parametrize("name", AXES)
def test_every_axis_is_named_where_dim_is_written(name):
    module, _, last = name.rpartition(".")
    function = getattr(MODULES[module + "." if module else ""], last)
    required = [
        p for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL and p.name != "axis"
    ]  # fmt: skip
    with pytest.raises(gg.DTypeError, match=f"{function.__name__}: dim= .*Write axis="):
        function(*[gg.ones((2, 2))] * len(required), dim=0)
