"""Ufuncs with the methods and keywords of CuPy's.

Imports binding, core, creation, indexing and signatures.

CuPy's ufuncs take ``out``, ``dtype`` and ``casting``. ``reduce`` and ``accumulate`` exist for add
and multiply, ``reduceat`` for add, ``at`` where there is an atomic operation.
"""

from typing import Any

import numpy

from gpugrad.backend.sim import creation
from gpugrad.backend.sim.binding import call_numpy
from gpugrad.backend.sim.core import SCALARS, ndarray, same_device, unsupported, wrap
from gpugrad.backend.sim.indexing import scatter_at
from gpugrad.backend.sim.signatures import UFUNCS

__all__ = ["ufunc", "ufunc_named"]

_SCALAR_TYPES = frozenset(SCALARS)
_BOOL = numpy.dtype(bool)


def _fix(x: Any) -> Any:
    """``numpy.fix``, which NumPy 2.5 deprecates; a function, as in NumPy."""
    return numpy.trunc(x)


class ufunc:  # noqa: N801
    """An elementwise function over simulated arrays and scalars, as ``cupy.ufunc``.

    >>> import gpugrad.backend.sim as xp
    >>> xp.add(xp.ones(2), 1.5)
    array([2.5, 2.5])
    """

    __slots__ = (
        "__name__",
        "_plain",
        "_public",
        "_run",
        "_scatter",
        "name",
        "nargs",
        "nin",
        "nout",
    )

    def __init__(self, public: str, table: dict[str, Any], module: Any) -> None:
        self.name, self.nin, self.nout, self._scatter = table[public]
        self.__name__ = self.name
        self._public = public
        self._run: Any = _fix if public == "fix" else getattr(module, public)
        self.nargs = self.nin + self.nout
        # Whether NumPy checks operands as CuPy does.
        self._plain = isinstance(self._run, numpy.ufunc) and not public.startswith("logical_")

    def __repr__(self) -> str:
        return f"<ufunc {self.name!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        seen: list[ndarray] = []
        inputs = []
        for arg in args[: self.nin]:
            if isinstance(arg, ndarray):
                seen.append(arg)
                inputs.append(arg._data)
            elif type(arg) in _SCALAR_TYPES or isinstance(arg, numpy.generic):
                inputs.append(arg)
            elif (override := getattr(arg, "__cupy_override_elementwise_kernel__", None)) is None:
                raise unsupported(arg, self._public)
            else:
                return override(self, *args, **kwargs)
        if self._plain and not kwargs and len(args) == self.nin:
            # The usual call, with operands only.
            device = seen[0]._device if len(seen) == 1 else same_device(seen, self._public)
            with numpy.errstate(all="ignore"):
                return wrap(self._run(*inputs), device)
        options = {k: kwargs.pop(k) for k in ("dtype", "casting") if kwargs.get(k) is not None}
        outputs = self._outputs(args, kwargs, seen)
        device = seen[0]._device if len(seen) == 1 else same_device(seen, self._public)
        if self._public.startswith("logical_"):
            for value in inputs:
                if getattr(value, "dtype", _BOOL).kind == "c":
                    raise TypeError(f"Wrong type ({value.dtype}) of arguments for {self.name}")
        with numpy.errstate(all="ignore"):
            result = self._compute(inputs, outputs, options)
        return wrap(result, device, seen[len(seen) - len(outputs) :])

    def _outputs(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], seen: list[ndarray]
    ) -> tuple[Any, ...]:
        """The output arrays of the call as NumPy memory; () if there are none."""
        out = kwargs.pop("out", None)
        for option in ("dtype", "casting"):
            kwargs.pop(option, None)
        if kwargs:
            raise TypeError(
                f"Wrong arguments {kwargs}: ufuncs of CuPy take only out, dtype and casting"
            )
        count = len(args)
        if not self.nin <= count <= self.nargs:
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {count}."
            )
        outputs = args[self.nin :]
        if out is not None:
            if outputs:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            outputs = out if isinstance(out, tuple) else (out,)
            if len(outputs) != self.nout:
                raise ValueError(
                    "The 'out' tuple must have exactly one entry per ufunc output"
                    if isinstance(out, tuple)
                    else "'out' must be a tuple of arrays"
                )
        for array in outputs:
            if array is not None and not isinstance(array, ndarray):
                raise unsupported(array, f"{self._public}: out")
        arrays = [array for array in outputs if array is not None]
        seen += arrays
        raws = tuple(None if array is None else array._data for array in outputs)
        return raws if arrays else ()

    def _compute(self, inputs: list[Any], outputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if isinstance(self._run, numpy.ufunc):
            if not outputs:
                return self._run(*inputs, **options)
            return self._run(*inputs, out=outputs, **options)
        # fix, sinc and i0 are ufuncs in CuPy and plain functions in NumPy.
        result = numpy.asarray(self._run(*inputs))
        dtype = options.get("dtype")
        input_dtype = getattr(inputs[0], "dtype", result.dtype)
        if dtype is None and input_dtype.kind in "biu":
            integer = self._public == "fix"
            dtype = input_dtype if integer else numpy.result_type(input_dtype, numpy.float16)
        if dtype is not None:
            result = result.astype(dtype)
        if not outputs:
            return result
        numpy.copyto(outputs[0], result, casting=options.get("casting", "same_kind"))
        return outputs[0]

    @property
    def types(self) -> list[str]:
        """The loops, written as ``"dd->d"``: NumPy's, without those for dtypes CuPy lacks."""
        loops = self._run.types if isinstance(self._run, numpy.ufunc) else []
        return [loop for loop in loops if not set(loop) & set("gGOMmSU")]

    def _only(self, method: str, **names: str) -> str:
        """What this ufunc does in a method that CuPy has for few of them."""
        name = names.get(self.name.removeprefix("cupy_"))
        if name is None:
            raise NotImplementedError(f"`{self.name}.{method}` is not supported yet by CuPy")
        return name

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        name = self._only("reduce", add="sum", multiply="prod")
        return getattr(array, name)(axis, dtype, out, keepdims)

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        name = self._only("accumulate", add="cumsum", multiply="cumprod")
        return getattr(array, name)(axis, dtype, out)

    def reduceat(
        self, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None
    ) -> Any:
        name = self._only("reduceat", add="add.reduceat")
        if not isinstance(array, ndarray):
            raise unsupported(array, name)
        return call_numpy(name, numpy.add.reduceat, (array, indices, axis, dtype, out), {})

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        first, second = creation.array(A), creation.array(B)
        return self(
            first.reshape(first.shape + (1,) * second.ndim),
            second.reshape((1,) * first.ndim + second.shape),
            **kwargs,
        )

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        if self._scatter is None:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet by CuPy")
        scatter_at(self._run, self._public, self._scatter, a, indices, b)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return ufunc_named, (self._public,)


_ufuncs: dict[str, ufunc] = {}  # by CuPy's own name


def ufunc_named(name: str, table: dict[str, Any] = UFUNCS, module: Any = numpy) -> ufunc:
    """The ufunc of a name; aliases in CuPy are one object here as well."""
    own = table[name][0]
    if own not in _ufuncs:
        short = own.removeprefix("cupy_")
        is_public = short in table and table[short][0] == own
        _ufuncs[own] = ufunc(short if is_public else name, table, module)
    return _ufuncs[own]
