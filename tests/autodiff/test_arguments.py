"""Arguments that are no arrays: labelled ones get their labels back, all others are refused."""

import array
import collections
import copy
import decimal
import fractions
import pickle
import types
from dataclasses import dataclass

import numpy as np
import pytest

import gpugrad as gg


def square(x):
    return (x * x).sum() / 2


# Each transform as a function of an argument; a gradient of `square`, where it gives one.
TRANSFORMS = {
    "grad": lambda x: gg.grad(square)(x),
    "value_and_grad": lambda x: gg.value_and_grad(square)(x)[1],
    "vjp": lambda x: gg.vjp(square, x)[1](1.0)[0],
    "jvp": lambda x: gg.jvp(square, (x,), (x,)),
    "linearize": lambda x: gg.linearize(square, x),
    "jacobian": lambda x: gg.jacobian(square)(x),
    "hessian": lambda x: gg.hessian(square)(x),
    "hvp": lambda x: gg.hvp(square, x, x),
    "gradcheck": lambda x: gg.gradcheck(square, x),
    "gradgradcheck": lambda x: gg.gradgradcheck(square, x),
}
GRADIENTS = ("grad", "value_and_grad", "vjp", "jacobian", "hvp")  # hvp: the Hessian is 1


# ---------------------------------------------------------------- labelled arrays


class _Stand:
    """What pandas and xarray offer, so that CI sees their kind of object without them."""

    def __init__(self, data, **labels):
        self.data = np.asarray(data)
        self.labels = labels
        self.ndim, self.shape, self.dtype = self.data.ndim, self.data.shape, self.data.dtype

    def __getattr__(self, name):
        if name not in self.__dict__.get("labels", ()):
            raise AttributeError(name)
        return self.labels[name]

    @property
    def _constructor(self):
        return type(self)

    @property
    def dtypes(self):
        return [self.dtype]

    def to_numpy(self):
        return self.data

    def __array__(self, dtype=None, copy=None):
        return self.data

    def copy(self, data):
        return type(self)(data, **self.labels)

    def __mul__(self, other):  # the function would run on it, unrecorded
        return self.copy(self.data * other.data)

    def sum(self):
        return self.data.sum()

    def __eq__(self, other):
        return self.data == other

    __hash__ = None


class Series(_Stand):
    __module__ = "pandas.core.series"


class DataFrame(_Stand):
    __module__ = "pandas"


class DataArray(_Stand):
    __module__ = "xarray.core.dataarray"


class OwnSeries(Series):
    """A subclass, which keeps its type."""

    __module__ = "geopandas"


STANDS = {
    "Series": Series([1.0, 2.0, 3.0], index=list("abc"), name="price"),
    "DataFrame": DataFrame([[1.0, 2.0], [3.0, 4.0]], index=[5, 6], columns=list("ab")),
    "DataArray": DataArray([[1.0, 2.0, 4.0]], dims=("t", "x"), coords={"x": [1, 2, 3]}),
    "subclass": OwnSeries(np.float32([1.0, 2.0]), index=[0, 1], name=None),
}


@pytest.mark.parametrize("transform", GRADIENTS)
@pytest.mark.parametrize("name", STANDS)
def test_a_labelled_array_gets_its_type_and_labels_back(name, transform):
    x = STANDS[name]
    gradient = TRANSFORMS[transform](x)
    assert type(gradient) is type(x)
    assert gradient.labels == x.labels
    assert gradient.dtype == x.dtype
    np.testing.assert_array_equal(gradient.data, x.data)


@pytest.mark.parametrize("name", STANDS)
def test_values_of_labelled_arrays_are_raw(name):
    x = STANDS[name]
    value, tangent = gg.jvp(square, (x,), (x,))
    assert (value, tangent) == ((x.data**2).sum() / 2, (x.data**2).sum())
    assert type(value) is np.ndarray
    hessian = gg.hessian(square)(x)
    assert type(hessian) is np.ndarray
    assert hessian.shape == x.shape * 2
    assert gg.gradcheck(square, x)


def test_labelled_arrays_in_structures():
    x = STANDS["Series"]
    gradient = gg.grad(lambda p: square(p["a"]) + square(p["b"][0]))({"a": x, "b": [x.data]})
    assert type(gradient["a"]) is Series
    assert type(gradient["b"][0]) is np.ndarray
    first, second = gg.grad(lambda a, b: square(a * b), argnums=(0, 1))(x, x)
    assert type(first) is type(second) is Series


def test_a_function_may_return_a_labelled_constant():
    _, pull_back = gg.vjp(lambda x: (x, STANDS["Series"]), np.ones(3))
    assert pull_back((np.ones(3), STANDS["Series"]))[0].tolist() == [1.0, 1.0, 1.0]


def test_pandas():
    pd = pytest.importorskip("pandas")
    series = pd.Series([1.0, 2.0, 3.0], index=list("abc"), name="price")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, index=[7, 8])
    for transform in GRADIENTS:
        pd.testing.assert_series_equal(TRANSFORMS[transform](series), series)
        pd.testing.assert_frame_equal(TRANSFORMS[transform](frame), frame)
    mixed = pd.DataFrame({"a": [1.0], "b": ["x"]})
    for table in (mixed, mixed["b"], pd.Series([1.0, None], dtype="Float64")):
        with pytest.raises(gg.DTypeError, match=r"^grad: argument 0: a pandas.*\.astype"):
            gg.grad(square)(table)
    with pytest.raises(gg.DTypeError, match=r"pandas.*Index.*x\.to_numpy\(\)"):
        gg.grad(square)(pd.Index([1.0]))


def test_xarray():
    xr = pytest.importorskip("xarray")
    x = xr.DataArray([1.0, 2.0], dims="t", coords={"t": [5, 6]}, name="heat", attrs={"unit": "K"})
    for transform in GRADIENTS:
        xr.testing.assert_identical(TRANSFORMS[transform](x), x)
    with pytest.raises(gg.DTypeError, match=r"Dataset.*dict\(x\)"):
        gg.grad(square)(xr.Dataset({"x": x}))


# ---------------------------------------------------------------- what is refused


class Torch:
    """A tensor of another library, with DLPack."""

    shape, dtype = (2,), "float32"

    def __dlpack__(self, **keywords):
        return None

    def __mul__(self, other):
        return self

    def sum(self):
        return 0.0

    __truediv__ = __mul__


class Sparse:
    """A sparse matrix, which has no protocol."""

    shape, dtype = (2, 2), "float64"

    def toarray(self):
        return np.eye(2)


class Model(gg.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = gg.nn.Linear(2, 2)


class Opaque:
    """An object of the user's."""

    def __mul__(self, other):
        return 1.0


REFUSED = {
    "masked": (np.ma.array([1.0, 2.0], mask=[0, 1]), r"numpy\.ma\.MaskedArray.*x\.filled"),
    "matrix": (np.ones((1, 2)).view(np.matrix), r"numpy\.matrix.*numpy\.asarray\(x\)"),
    "dlpack": (Torch(), r"Torch.*gg\.from_dlpack\(x\)"),
    "sparse": (Sparse(), r"Sparse.*x\.toarray\(\)"),
    "buffer": (array.array("d", [1.0]), r"array\.array.*numpy\.asarray\(x\)"),
    "decimal": (decimal.Decimal("1.5"), r"decimal\.Decimal.*float\(x\)"),
    "fraction": (fractions.Fraction(1, 2), r"fractions\.Fraction.*float\(x\)"),
    "set": ({1.0, 2.0}, r"set.*list\(x\)"),
    "deque": (collections.deque([np.ones(2)]), r"collections\.deque.*list\(x\)"),
    "list class": (type("Rows", (list,), {})([np.ones(2)]), r"Rows.*list\(x\)"),
    "mapping": (types.MappingProxyType({"a": np.ones(2)}), r"mappingproxy.*dict\(x\)"),
    "module": (Model(), r"Model.*model\.parameters\(\)"),
    "namespace": (types.SimpleNamespace(w=np.ones(2)), r"SimpleNamespace.*dataclass"),
}  # fmt: skip
ALONE = {  # these are constants inside of a structure, but no argument
    "object": (Opaque(), r"Opaque.*lambda x: f\(x, constant\)"),
    "generator": ((x for x in [1.0]), r"generator.*list\(x\)"),
    "none": (None, "nothing to differentiate by: argument 0 is None"),
    "string": ("mean", "nothing to differentiate by: argument 0 is 'mean'"),
    "empty list": ([], r"nothing to differentiate by: argument 0 is \[\]"),
    "names": ({"a": "b"}, r"nothing to differentiate by: argument 0 is \{'a': 'b'\}"),
    "truth": (True, "nothing to differentiate by: argument 0 is True"),
}
OF_CHECKS = ("gradcheck", "gradgradcheck")


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", [*REFUSED, *ALONE])
def test_what_is_no_array_is_refused(name, transform):
    value, text = (REFUSED | ALONE)[name]
    who = {"hvp": "(hvp|grad)", "hessian": "(hessian|grad)"}.get(transform, transform)
    if transform in OF_CHECKS and name == "list class":
        value = (value,)  # a list of arguments, else
    if transform in OF_CHECKS:
        text = text if name in REFUSED else "expected an input of floating-point numbers"
    with pytest.raises(gg.DTypeError, match=f"^{who}: .*{text}"):
        TRANSFORMS[transform](value)


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_hidden_in_a_structure_are_refused(name):
    value, text = REFUSED[name]
    with pytest.raises(gg.DTypeError, match=rf"argument 0\['b'\] is a .*{text}"):
        gg.grad(lambda p: square(p["a"]))({"a": np.ones(2), "b": value})


def test_constants_in_a_structure_stay():
    @dataclass
    class Setting:
        w: np.ndarray
        mode: str

    constants = {"f": np.sin, "dtype": np.dtype("f4"), "none": None, "yes": True, "own": Opaque()}
    gradient = gg.grad(lambda p: square(p["x"].w))({"x": Setting(np.ones(2), "sum"), **constants})
    assert gradient["x"].mode == "sum"
    assert {key: gradient[key] for key in constants} == constants
    value, _ = gg.vjp(lambda x, axis: x.sum(axis), np.ones((2, 3)), None)
    assert value == 6.0


def test_a_call_without_arguments_has_nothing_to_differentiate():
    for call in (lambda: gg.vjp(lambda: 1.0), lambda: gg.jvp(lambda: 1.0, (), ())):
        with pytest.raises(gg.DTypeError, match="nothing to differentiate by: no argument"):
            call()


@pytest.mark.parametrize("transform", [t for t in TRANSFORMS if t not in OF_CHECKS])
def test_a_function_that_returns_no_array(transform):
    results = {
        "None": (None, r"expected a function that returns arrays or numbers, got None.*`return`"),
        "masked": (np.ma.array([1.0]), r"no array: its result is a numpy\.ma\.MaskedArray"),
    }
    for result, text in results.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(globals(), "square", lambda x, result=result: result)
            with pytest.raises(gg.DTypeError, match=text):
                TRANSFORMS[transform](np.ones(2))


def test_gradients_takes_tensors():
    x = gg.tensor([1.0, 2.0], requires_grad=True)
    for inputs, text in {
        "list": ([], "expected inputs to be a Tensor or Tensors, got none"),
        "array": (np.ones(2), r"inputs is a numpy\.ndarray.*requires_grad=True"),
        "series": (STANDS["Series"], "inputs is a pandas"),
        "second": ([x, 2.0], r"inputs\[1\] is a float"),
    }.values():
        with pytest.raises(gg.DTypeError, match=text):
            gg.gradients(square(x), inputs)
    with pytest.raises(gg.DTypeError, match="expected outputs"):
        gg.gradients(3.0, x)
    assert gg.gradients(square(x), iter([x]))[0].tolist() == [1.0, 2.0]


# ---------------------------------------------------------------- Python's numbers


@pytest.mark.parametrize("transform", ["grad", "vjp", "jacobian", "hvp"])
def test_a_python_float_keeps_its_digits(transform, device):
    made = {
        "grad": lambda: gg.grad(lambda x: x * x)(1.1),
        "vjp": lambda: gg.vjp(lambda x: x * x, 1.1)[1](1.0)[0],
        "jacobian": lambda: gg.jacobian(lambda x: x * x)(1.1),
        "hvp": lambda: gg.hvp(lambda x: x * x, 1.1, 1.1),
    }[transform]()
    assert made == 2.2
    assert type(made) is float


def test_numbers_beside_arrays_have_their_dtype(device):
    seen = []

    def f(a, x):
        seen.append(a.dtype)
        return (a * gg.asarray(x)).sum()

    for dtype in ("float32", "float64", "float16"):
        x = device.send(np.ones(2, dtype))
        assert gg.grad(f)(1.1, x) == np.asarray(2, dtype)
        assert gg.grad(f, argnums=(0, 1))(2.0, x)[1].dtype == dtype
        assert seen[-2:] == [dtype, dtype]
    gg.grad(f)(1.1, np.arange(2)) if device == "cpu" else None
    assert gg.jvp(lambda z: z * z, (1.1 + 1j,), (1.0,))[1] == 2 * (1.1 + 1j)


# ---------------------------------------------------------------- copies inside the function

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda t: pickle.loads(pickle.dumps(t)),
    "list": lambda t: copy.deepcopy([t])[0],
    "np.copy": np.copy,
    "t.copy": lambda t: t.copy(),
    "t.clone": lambda t: t.clone(),
    "positive": lambda t: copy.copy(+t),
}
REFUSED_COPIES = ("deepcopy", "pickle", "list")


@pytest.mark.parametrize("way", ["grad", "jvp", "jacobian", "nested", "checkpoint", "hooked"])
@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_an_argument_keeps_its_gradient_or_is_refused(name, way, device):
    make = COPIES[name]

    def f(t):
        return (make(t) ** 2).sum()

    def hooked(t):
        t.register_hook(lambda g: g)
        return f(t)

    x = device.send(np.array([1.0, 2.0]))
    slope = {
        "grad": lambda: gg.grad(f)(x),
        "jvp": lambda: gg.jvp(f, (x,), (x / x,))[1],
        "jacobian": lambda: gg.jacobian(f)(x),
        "nested": lambda: gg.grad(lambda t: (gg.grad(f)(t) * t).sum() / 2)(x),
        "checkpoint": lambda: gg.grad(gg.checkpoint(f))(x),
        "hooked": lambda: gg.grad(hooked)(x),
    }[way]
    if name in REFUSED_COPIES:
        with pytest.raises(gg.GradientError, match=r"argument of a function.*its \.detach\(\)"):
            slope()
    else:
        expected = 6.0 if way == "jvp" else [2.0, 4.0]
        assert gg.asarray(slope()).tolist() == expected


def test_copies_of_leaves_are_leaves_of_their_own():
    leaf = gg.tensor([1.0], requires_grad=True)
    for make in (copy.copy, copy.deepcopy):
        (make(leaf) * 2.0).sum().backward()
        assert leaf.grad is None


def test_numbers_lie_beside_the_arrays_of_the_call():
    x = gg.tensor(np.array([1.0, 2.0]), device="sim:1")
    for number in (2.0, np.float64(2.0), np.array(2.0)):
        for there in (x, x.data, {"x": [x]}):
            gradient = gg.grad(lambda a, p: (a * _first(p)).sum())(number, there)
            assert float(gradient) == 3.0
            value, slope = gg.jvp(lambda a, p: a * _first(p), (number, there), (1.0, there))
            assert gg.asarray(value).device == gg.asarray(slope).device == "sim:1"


def _first(part):
    return part["x"][0] if isinstance(part, dict) else part
