"""CuPy's kernel classes over memory of the host, for `sim_as_cupy`: as strict as CuPy 14.2 is.

They take what CuPy takes and refuse what it refuses, in its words (cupy/_core/_kernel.pyx, raw.pyx,
_scalar.pyx, cupy/cuda/function.pyx). Kernels are compiled as C++: an ElementwiseKernel is one
loop, whose text is put together as CuPy does it; a RawKernel runs as `host_cuda` runs it.
"""

import functools
import math
import operator
import re
from typing import Any, NamedTuple

import cupy
import numpy as np
from compilers import for_host
from host_math import MATH, for_the_host

__all__ = ["ElementwiseKernel", "RawKernel", "RawModule"]

TYPES = {
    "?": "bool", "b": "signed char", "B": "unsigned char", "h": "short", "H": "unsigned short",
    "i": "int", "I": "unsigned int", "l": "long long", "L": "unsigned long long", "q": "long long",
    "Q": "unsigned long long", "e": "float16", "f": "float", "d": "double",
}  # fmt: skip

# What CuPy's headers have of it. An array's address, size, dimensions, lengths and strides are
# whole numbers one behind the other.
HEADERS = r"""
struct float16 {
    __half half;
    float16() {}
    float16(float x) : half(__float2half(x)) {}
    operator float() const { return __half2float(half); }
};
template <typename T> class CArray {
    const ptrdiff_t* words;
public:
    CArray(const void* words) : words((const ptrdiff_t*)words) {}
    ptrdiff_t size() const { return words[1]; }
    const ptrdiff_t* shape() const { return words + 3; }
    const ptrdiff_t* strides() const { return shape() + words[2]; }
    const T& operator[](ptrdiff_t i) const
    {
        const char* address = (const char*)words[0];
        for (ptrdiff_t axis = words[2]; axis-- > 0; i /= shape()[axis])
            address += i % shape()[axis] * strides()[axis];
        return *(const T*)address;
    }
    T& operator[](ptrdiff_t i) { return const_cast<T&>(const_cast<const CArray&>(*this)[i]); }
};
struct CIndexer {
    ptrdiff_t count, at;
    ptrdiff_t size() const { return count; }
    ptrdiff_t get() const { return at; }
    void set(ptrdiff_t i) { at = i; }
};
#define CUPY_FOR(i, n) for (ptrdiff_t i = 0; i < (n); ++i)
"""


# As a GPU rounds, with GPUGRAD_GPU_ROUNDING=1: a product and a sum once, what functions give one
# unit in the last place off, but for numbers of few bits. See `sim_as_cupy.ROUNDING`.
NEAR = r"""
static float near(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    if (isfinite(x) && bits & 1023u) bits += bits * 2654435761u >> 12 & 1 ? 1 : -1;
    memcpy(&x, &bits, 4);
    return x;
}
static double near(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    if (isfinite(x) && bits & 0x3fffffffull) bits += bits * 2654435761ull >> 12 & 1 ? 1 : -1;
    memcpy(&x, &bits, 8);
    return x;
}
""" + "".join(
    f"#define {name}{end}(...) near(({name}{end})(__VA_ARGS__))\n"
    for name in (
        "exp exp2 expm1 log log10 log1p log2 sin cos tan asin acos atan atan2 sinh cosh tanh asinh "
        "acosh atanh cbrt hypot pow erf erfc lgamma tgamma"
    ).split()
    for end in ("", "f")
)
CONTRACTED = ("-mfma", "-ffp-contract=fast", "-fexpensive-optimizations")
ROUNDING = (NEAR, *CONTRACTED) if cupy.rounding.ON else ("",)


class CScalar:
    """A number with a dtype: Python's have int64, uint64 where they must, float64, bool."""

    def __init__(self, value: Any) -> None:
        kinds = {bool: "?", float: "d", complex: "D"}
        if type(value) in kinds:
            self.dtype = np.dtype(kinds[type(value)])
        elif type(value) is int:
            self.dtype = np.dtype("Q" if value >= 2**63 else "q")
        elif isinstance(value, np.generic):
            self.dtype = value.dtype
        else:
            raise TypeError(f"Unsupported type {type(value)}")
        self.value = value
        self.apply_dtype(self.dtype)

    def apply_dtype(self, dtype: Any) -> None:
        """Assignment decides what fits: 300 is no int8 (OverflowError), NaN no int (ValueError)."""
        self.dtype = np.dtype(dtype)
        self.stored = np.empty((), self.dtype)
        self.stored[()] = self.value


class Parameter(NamedTuple):
    """One of a kernel's parameters: its type is a dtype, or a letter that arrays decide."""

    name: str
    dtype: Any
    letter: str | None
    raw: bool
    constant: bool

    @property
    def ctype(self) -> str:
        return self.letter or TYPES[self.dtype.char]


@functools.cache
def parameters(text: str, constant: bool) -> tuple[Parameter, ...]:
    """What a list such as "T x, raw float32 y" says."""
    found = []
    for part in text.strip().split(",") if text else []:
        pieces = part.split()
        if len(pieces) < 2:
            raise Exception(f"Syntax error: {part}")
        *more, kind, name = pieces
        for word in more:
            if word not in ("raw", "_non_const"):
                raise Exception(f'Unknown keyword "{word}"')
        letter = kind if len(kind) == 1 else None
        dtype = None if letter else np.dtype(kind)
        fixed = constant and "_non_const" not in more
        found.append(Parameter(name, dtype, letter, "raw" in more, fixed))
    return tuple(found)


class ElementwiseKernel:
    """As `cupy.ElementwiseKernel`: a body that runs for every element of what broadcasts."""

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        reduce_dims: bool = True,
        preamble: str = "",
        no_return: bool = False,
        return_tuple: bool = False,
        *,
        loop_prep: str = "",
        after_loop: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        if not re.match("^[a-zA-Z_][a-zA-Z_0-9]*$", name):
            raise ValueError(f'Invalid kernel name: "{name}"')
        assert type(options) is tuple
        self.in_params = parameters(in_params, True)
        self.out_params = parameters(out_params, False)
        self.nin, self.nout = len(self.in_params), len(self.out_params)
        self.nargs = self.nin + self.nout
        self.params = self.in_params + self.out_params
        if "i" in [p.name for p in self.params]:
            raise ValueError("Can not use 'i' as a parameter name")
        self.operation, self.name, self.reduce_dims = operation, name, reduce_dims
        self.preamble, self.loop_prep, self.after_loop = preamble, loop_prep, after_loop
        self.no_return, self.return_tuple = no_return, return_tuple
        self.__name__ = name
        self._loops: dict[Any, Any] = {}

    def __call__(
        self, *args: Any, size: int = -1, stream: Any = None, block_size: int = 128
    ) -> Any:
        if block_size <= 0:
            raise ValueError("block_size must be greater than zero")
        if len(args) not in (self.nin, self.nargs):
            raise TypeError(
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {len(args)}."
            )
        for arg in args:
            if hasattr(arg, "__cupy_override_elementwise_kernel__"):
                words = {"size": size} if size != -1 else {}
                return arg.__cupy_override_elementwise_kernel__(self, *args, **words)
        given = [arg if isinstance(arg, cupy.ndarray) else CScalar(arg) for arg in args]
        shape = self._broadcast(given, size)
        inputs, outputs = given[: self.nin], given[self.nin :]
        types, letters = self._types(inputs, outputs)
        if not outputs:
            if size == -1 and any(p.raw for p in self.out_params):
                raise ValueError("Output array size is Undecided")
            outputs = [cupy.ndarray(shape, dtype) for dtype in types[self.nin :]]
        for param, array in zip(self.out_params, outputs, strict=True):
            if not isinstance(array, cupy.ndarray):
                raise TypeError("Output arguments type must be cupy.ndarray")
            if not param.raw and array.shape != shape:
                raise ValueError("Out shape is mismatched")
        found = outputs[0] if self.nout == 1 and not self.return_tuple else tuple(outputs)
        if 0 not in shape:
            for number, dtype in zip(inputs, types, strict=False):
                if type(number) is CScalar:
                    number.apply_dtype(dtype)
            self._run([*inputs, *outputs], letters, shape)
        return None if self.no_return else found

    def _broadcast(self, given: list[Any], size: int) -> tuple[int, ...]:
        """The shape of the loop; arrays that are not raw are broadcast to it in place."""
        loops = [
            index
            for index, (param, value) in enumerate(zip(self.params, given, strict=False))
            if not param.raw and isinstance(value, cupy.ndarray)
        ]
        if size != -1:
            if loops:
                raise ValueError(
                    "Specified 'size' can be used only if all of the ndarray are 'raw'."
                )
            return (operator.index(size),)
        if not loops:
            raise ValueError("Loop size is undecided.")
        wide = cupy.broadcast_arrays(*[given[index] for index in loops])
        for index, array in zip(loops, wide, strict=True):
            # Outputs stay what they are: their shape is looked at.
            if index < self.nin:
                given[index] = array
        return wide[0].shape

    def _types(self, inputs: list[Any], outputs: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The dtype of every parameter, and what the letters mean: arrays decide, not numbers."""
        letters: dict[str, Any] = {}
        pairs = [*zip(self.out_params, outputs, strict=False)]
        pairs += [
            (param, value)
            for param, value in zip(self.in_params, inputs, strict=True)
            if isinstance(value, cupy.ndarray)
        ]
        for param, value in pairs:
            wanted = letters.setdefault(param.letter, value.dtype) if param.letter else param.dtype
            if wanted != value.dtype:
                raise TypeError(f"Type is mismatched. {param.name} {value.dtype} {wanted}")
        return [letters[p.letter] if p.letter else p.dtype for p in self.params], letters

    def _run(self, values: list[Any], letters: dict[str, Any], shape: tuple[int, ...]) -> None:
        kinds = tuple((isinstance(value, cupy.ndarray), value.dtype) for value in values)
        key = (kinds, tuple(sorted(letters.items())))
        loop = self._loops.get(key)
        if loop is None:
            source = self._source(kinds, letters)
            loop = self._loops[key] = for_host(source, *ROUNDING[1:]).run
        memory = [_words(v) if isinstance(v, cupy.ndarray) else v.stored for v in values]
        addresses = np.array([m.ctypes.data for m in memory], np.intp)
        loop(_pointer(addresses), _long(math.prod(shape)))

    def _source(self, kinds: tuple[Any, ...], letters: dict[str, Any]) -> str:
        from host_cuda import HALF

        arguments, loads = [], []
        for place, (param, (is_array, dtype)) in enumerate(zip(self.params, kinds, strict=True)):
            constant = "const " if param.constant else ""
            kind = TYPES[dtype.char]
            if is_array:
                name = param.name if param.raw else f"_raw_{param.name}"
                arguments.append(f"{constant}CArray<{kind}> {name}(_a[{place}]);")
                if not param.raw:
                    loads.append(f"{constant}{param.ctype} &{param.name} = {name}[_ind.get()];")
            else:
                arguments.append(f"{constant}{kind} {param.name} = *(const {kind}*)_a[{place}];")
        typedefs = [f"typedef {TYPES[np.dtype(d).char]} {n};" for n, d in sorted(letters.items())]
        lines = [
            "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>",
            MATH if self.preamble else "", HALF, HEADERS, *typedefs, for_the_host(self.preamble),
            ROUNDING[0],
            'extern "C" void run(const void* const* _a, long long _n) {', *arguments,
            "CIndexer _ind = {_n, 0};", f"{self.loop_prep};",
            "CUPY_FOR(i, _ind.size()) { _ind.set(i);", *loads, f"{self.operation};", "}",
            f"{self.after_loop};", "}\n",
        ]  # fmt: skip
        return "\n".join(lines)


def _words(array: Any) -> Any:
    """What `CArray` is made of."""
    head = (array.data.ptr, array.size, array.ndim)
    return np.array([*head, *array.shape, *array.strides], np.int64)


def _pointer(array: Any) -> Any:
    return np.ctypeslib.ctypes.c_void_p(array.ctypes.data)


_long = np.ctypeslib.ctypes.c_longlong


class RawKernel:
    """As `cupy.RawKernel`: compiled at its first launch."""

    def __init__(
        self,
        code: str,
        name: str,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        *,
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        jitify: Any = None,
    ) -> None:
        for value, kind in ((code, str), (name, str), (options, tuple), (backend, str)):
            if type(value) is not kind:
                raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
        self.code, self.name, self.options, self.backend = code, name, options, backend
        self.__name__ = name
        self.expressions: tuple[str, ...] = ()

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        for value in (grid, block):
            if type(value) is not tuple:
                raise TypeError(f"expected tuple, got {type(value).__name__}")
        if shared_mem:
            raise NotImplementedError("shared memory of a size that is given at the launch")
        if "globaltimer" in self.code:  # `held.py`: nothing runs beside it here, it holds the queue
            address, _ = args
            if not np.ctypeslib.ctypes.c_int.from_address(int(address)).value:
                cupy.cuda.hold()
            return
        rounding = ROUNDING if "--fmad=false" not in self.options else ROUNDING[:1]
        kernel = _host_kernels()(self.code, self.name, self.expressions, *rounding)
        kernel(*(tuple(map(operator.index, shape)) for shape in (grid, block)), args)


@functools.cache
def _host_kernels() -> Any:
    from host_cuda import HostKernel  # which asks whether there is a GPU: this is a part of that

    class Kernel(HostKernel):
        launches = 0  # the tests count those of sim

    return functools.cache(Kernel)


class RawModule:
    """As `cupy.RawModule`, of a source: kernels by name, templates by their expressions."""

    def __init__(
        self,
        *,
        code: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        name_expressions: Any = None,
    ) -> None:
        if type(code) is not str:
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        self.code, self.options, self.backend = code, options, backend
        self.name_expressions = tuple(name_expressions or ())

    def get_function(self, name: str) -> RawKernel:
        """The kernel of that name."""
        kernel = RawKernel(self.code, name, self.options, self.backend)
        kernel.expressions = self.name_expressions
        return kernel
