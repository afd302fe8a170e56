"""The simulated device against the real CuPy wheel: names, parameters, dtypes, refusals.

The wheel needs no GPU for this: what would compute fails at the driver, so a call that gets as
far as the driver has passed CuPy's checks of its arguments.
"""

import importlib
import importlib.util
import inspect
import itertools
import json

import numpy
import pytest
from repository import ROOT, load_script

import gpugrad.backend.sim as xp
from gpugrad.backend.sim import signatures

cupy = pytest.importorskip("cupy")

SCRIPT = ROOT / "ci" / "cupy_signatures.py"


def version(text):
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


older = pytest.mark.skipif(
    version(cupy.__version__) < version(signatures.CUPY_VERSION)
    or version(numpy.__version__) < (2, 4),  # of which CuPy has functions such as promote_types
    reason=f"CuPy {cupy.__version__} or NumPy {numpy.__version__} is older than what is imitated",
)


@pytest.fixture(scope="module")
def script():
    return load_script("cupy_signatures")


@older
def test_the_tables_are_those_of_the_wheel(script):
    for name, table in script.collect().items():
        kept = getattr(signatures, name)
        table = json.loads(json.dumps(table))  # tuples are lists there
        assert kept == table, f"{name} has changed: run python ci/cupy_signatures.py"


@older
def test_the_file_is_what_the_script_writes(script):
    written = script.source(script.collect(), cupy.__version__)
    if cupy.__version__ == signatures.CUPY_VERSION:
        assert script.TARGET.read_text(encoding="utf-8") == written
    else:
        assert signatures.CUPY_VERSION in script.TARGET.read_text(encoding="utf-8")


# What sim has and cupy has not: the device, which is cupy.cuda.Device there, and the hook.
OWN_NAMES = {"DEVICE_COUNT", "Device", "on_sync", "sync_callbacks"}


def test_no_name_is_offered_that_cupy_lacks():
    assert set(dir(xp)) - set(dir(cupy)) == OWN_NAMES
    assert {n for n in dir(xp.linalg) if n in signatures.LINALG} <= set(dir(cupy.linalg))
    assert not [n for n in dir(xp.ndarray) if n[:1] != "_" and not hasattr(cupy.ndarray, n)]
    protocols = {n for n in dir(xp.ndarray) if n.startswith("__array")}
    assert protocols <= set(dir(cupy.ndarray))


def test_what_of_the_array_is_missing_is_known():
    missing = {n for n in dir(cupy.ndarray) if n[:1] != "_" and not hasattr(xp.ndarray, n)}
    assert missing == {"cstruct", "mdspan", "toDlpack"}


@older
@pytest.mark.parametrize("module", ["", "linalg", "fft"])
def test_parameters_are_those_of_cupy(module, script):
    ours = getattr(xp, module) if module else xp
    theirs = getattr(cupy, module) if module else cupy
    compared = 0
    for name, parameters in script.functions_of(theirs).items():
        if hasattr(ours, name):
            assert script.parameters(getattr(ours, name)) == parameters, name
            compared += 1
    assert compared > {"": 200, "linalg": 20, "fft": 15}[module]


def test_methods_take_the_parameters_of_cupy(script):
    for name, parameters in script.methods_of(cupy.ndarray).items():
        if hasattr(xp.ndarray, name):
            ours = list(inspect.signature(getattr(xp.ndarray, name)).parameters.values())
            wanted = list(
                inspect.signature(eval(f"lambda {parameters[1:-1]}: 0")).parameters.values()
            )
            assert [(p.name, p.kind, p.default) for p in ours] == [
                (p.name, p.kind, p.default) for p in wanted
            ], name


def test_dtypes_and_constants_are_those_of_cupy():
    for name in signatures.OTHERS:
        ours, theirs = getattr(xp, name, None), getattr(cupy, name)
        if isinstance(theirs, float):
            assert str(ours) == str(theirs), name
        elif isinstance(theirs, type) and issubclass(theirs, numpy.generic):
            assert ours is theirs, name


# Loops that CuPy lists only to raise from them, or for kinds that NumPy has no loop for.
DIFFERENT = {
    ("gcd", "??"),
    ("lcm", "??"),
    ("negative", "?"),
    ("positive", "?"),
    ("sign", "?"),
    ("subtract", "??"),
}


@pytest.mark.parametrize("name", [n for n in signatures.UFUNCS if hasattr(xp, n)])
def test_ufuncs_give_the_dtypes_of_cupys_loops(name):
    """CuPy takes the first loop to which all inputs can be cast safely."""
    # With ml_dtypes installed CuPy has loops for bfloat16 too, a dtype that NumPy cannot name.
    loops = [loop.split("->") for loop in getattr(cupy, name).types if "E" not in loop]
    function = getattr(xp, name)
    for kinds in itertools.product("?bBhHilefd", repeat=function.nin):
        if (name, "".join(kinds)) in DIFFERENT:
            continue
        fits = (
            out
            for into, out in loops
            if all(numpy.can_cast(kind, loop) for kind, loop in zip(kinds, into, strict=True))
        )
        wanted = next(fits, None)
        arrays = [xp.ones(1, kind) for kind in kinds]
        if wanted is None:
            with pytest.raises(TypeError):
                function(*arrays)
            continue
        results = function(*arrays)
        results = results if isinstance(results, tuple) else (results,)
        assert [r.dtype for r in results] == [numpy.dtype(c) for c in wanted], (name, kinds)


def required(parameters):
    parts = parameters[1:-1].split(", ")
    plain = [p for p in parts if "=" not in p and not p.startswith(("*", "/"))]
    return plain or (["x"] if parts[0].startswith("*") else [])


# CuPy takes lists here and sim does not: stricter, by way of the checks of NumPy's function.
STRICTER = set(
    """apply_over_axes concat concatenate dstack hstack place resize row_stack tile vstack
    cholesky eigh eigvalsh inv qr solve svd cond""".split()
) | set(signatures.FFT)


@pytest.mark.skipif(cupy.is_available(), reason="a GPU goes on past the checks of arguments")
@pytest.mark.parametrize("module", ["", "linalg", "fft"])
@pytest.mark.filterwarnings("ignore")
def test_lists_are_refused_where_cupy_refuses_them(module):
    ours = getattr(xp, module) if module else xp
    theirs = getattr(cupy, module) if module else cupy
    table = {"": signatures.FUNCTIONS, "linalg": signatures.LINALG, "fft": signatures.FFT}[module]
    different = []
    for name, parameters in table.items():
        arguments = [[1.0, 2.0, 4.0] for _ in required(parameters)]
        if arguments and hasattr(ours, name) and name not in STRICTER:
            wanted = accepts(getattr(theirs, name), arguments)
            if accepts(getattr(ours, name), arguments) != wanted:
                different.append(f"{name}: CuPy {'takes' if wanted else 'refuses'} a list")
    assert not different


def accepts(function, arguments):
    """Whether a call passes the checks of its arguments: it works, or fails at the driver."""
    try:
        function(*arguments)
    except (TypeError, ValueError, AttributeError, BufferError, NotImplementedError):
        return False
    except (RuntimeError, ImportError):
        return True
    return True


def test_ufunc_keywords_are_refused_by_both():
    for keyword in ("where", "order", "subok", "axis"):
        for module in (cupy, xp):
            with pytest.raises(TypeError, match="Wrong arguments"):
                module.add(1, 2, **{keyword: None})
    for module in (cupy, xp):
        for bad in ([1.0], numpy.ones(1), "x", None):
            with pytest.raises((TypeError, RuntimeError)) as error:
                module.exp(bad)
            if module is xp:
                assert f"Unsupported type {type(bad)}" in str(error.value)
        with pytest.raises(NotImplementedError, match="not supported yet"):
            module.maximum.reduce(None)


def test_the_scatters_are_those_of_cupy():
    for name in signatures.UFUNCS:
        if hasattr(xp, name) and getattr(cupy, name)._scatter_op is None:
            with pytest.raises(NotImplementedError, match="at` is not supported yet"):
                getattr(xp, name).at(xp.zeros(1), xp.zeros(1, int), 1)


@pytest.mark.parametrize(
    ("name", "module", "kernel"),
    [
        ("sum", "math", "sum_auto_dtype"),
        ("prod", "math", "prod_auto_dtype"),
        ("nansum", "math", "nansum_auto_dtype"),
        ("max", "statistics", "amax"),
        ("min", "statistics", "amin"),
        ("nanmax", "statistics", "nanmax"),
        ("all", "logic", "all"),
        ("any", "logic", "any"),
    ],
)
def test_reductions_give_the_dtypes_of_cupys_kernels(name, module, kernel):
    private = importlib.import_module(f"cupy._core._routines_{module}")
    if not hasattr(private, kernel):
        pytest.skip(f"this CuPy keeps {kernel} elsewhere")
    loops = [(loop.in_types[0], loop.out_types[0]) for loop in getattr(private, kernel)._ops.ops]
    for kind in "?bBhHilefdFD":
        wanted = next(out for into, out in loops if numpy.can_cast(kind, into))
        assert getattr(xp, name)(xp.ones(2, kind)).dtype == numpy.dtype(wanted), kind
