"""The methods, properties and operators of `Tensor` from the op table.

Written by ci/stubs.py from the op table; do not edit.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias

from gpugrad.engine.node import Handle
from gpugrad.tensor.assign import At
from gpugrad.tensor.core import Tensor

_Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None

class Members:
    """The methods, properties and operators of Tensor that come from the op table."""
    def __abs__(self, /) -> Tensor:
        """The absolute value, elementwise; its derivative at 0 is 0."""
    def __matmul__(self, b: Any, /) -> Tensor:
        """The matrix product; stacks of matrices broadcast, vectors act as NumPy's do."""
    def __rmatmul__(self, other: Any) -> Tensor: ...
    def __imatmul__(self, other: Any) -> Tensor: ...
    def __add__(self, b: Any, /) -> Tensor:
        """a + b, elementwise."""
    def __radd__(self, other: Any) -> Tensor: ...
    def __iadd__(self, other: Any) -> Tensor: ...
    def __sub__(self, b: Any, /) -> Tensor:
        """a - b, elementwise."""
    def __rsub__(self, other: Any) -> Tensor: ...
    def __isub__(self, other: Any) -> Tensor: ...
    def __mul__(self, b: Any, /) -> Tensor:
        """a * b, elementwise."""
    def __rmul__(self, other: Any) -> Tensor: ...
    def __imul__(self, other: Any) -> Tensor: ...
    def __truediv__(self, b: Any, /) -> Tensor:
        """a / b, elementwise."""
    def __rtruediv__(self, other: Any) -> Tensor: ...
    def __itruediv__(self, other: Any) -> Tensor: ...
    def __neg__(self, /) -> Tensor:
        """-x, elementwise."""
    def __pos__(self, /) -> Tensor:
        """+x: the values of x."""
    def __pow__(self, b: Any, /) -> Tensor:
        """a ** b, elementwise; at a = 0 the derivative by b is 0."""
    def __rpow__(self, other: Any) -> Tensor: ...
    def __ipow__(self, other: Any) -> Tensor: ...
    def __floordiv__(self, b: Any, /) -> Tensor:
        """The largest integer not above a / b, elementwise; its derivative is 0."""
    def __rfloordiv__(self, other: Any) -> Tensor: ...
    def __ifloordiv__(self, other: Any) -> Tensor: ...
    def __mod__(self, b: Any, /) -> Tensor:
        """a - b * floor(a / b), elementwise: Python's %."""
    def __rmod__(self, other: Any) -> Tensor: ...
    def __imod__(self, other: Any) -> Tensor: ...
    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        """Elementwise equality; `t in tensors` looks for t itself."""
    def __ne__(self, b: Any, /) -> Tensor:  # type: ignore[override]
        """a != b, elementwise. No gradient."""
    def __lt__(self, b: Any, /) -> Tensor:
        """a < b, elementwise. No gradient."""
    def __le__(self, b: Any, /) -> Tensor:
        """a <= b, elementwise. No gradient."""
    def __gt__(self, b: Any, /) -> Tensor:
        """a > b, elementwise. No gradient."""
    def __ge__(self, b: Any, /) -> Tensor:
        """a >= b, elementwise. No gradient."""
    def __and__(self, b: Any, /) -> Tensor:
        """a & b, elementwise. No gradient."""
    def __rand__(self, other: Any) -> Tensor: ...
    def __iand__(self, other: Any) -> Tensor: ...
    def __or__(self, b: Any, /) -> Tensor:
        """a | b, elementwise. No gradient."""
    def __ror__(self, other: Any) -> Tensor: ...
    def __ior__(self, other: Any) -> Tensor: ...
    def __xor__(self, b: Any, /) -> Tensor:
        """a ^ b, elementwise. No gradient."""
    def __rxor__(self, other: Any) -> Tensor: ...
    def __ixor__(self, other: Any) -> Tensor: ...
    def __lshift__(self, b: Any, /) -> Tensor:
        """a << b, of integers, elementwise. No gradient."""
    def __rlshift__(self, other: Any) -> Tensor: ...
    def __ilshift__(self, other: Any) -> Tensor: ...
    def __rshift__(self, b: Any, /) -> Tensor:
        """a >> b, of integers, elementwise. No gradient."""
    def __rrshift__(self, other: Any) -> Tensor: ...
    def __irshift__(self, other: Any) -> Tensor: ...
    def __invert__(self, /) -> Tensor:
        """~x, elementwise. No gradient."""
    def __divmod__(self, b: Any, /) -> tuple[Tensor, Tensor]:
        """a // b and a % b, elementwise."""
    def __rdivmod__(self, other: Any) -> Tensor: ...
    def __getitem__(self, /, index: Any) -> Tensor:
        """x[index], for every index that NumPy takes; gradients of repeated elements add up."""
    def __setitem__(self, index: Any, value: Any) -> None:
        """``t[index] = value``: changes memory, or in recorded code binds t to a new value."""
    @property
    def at(self) -> At:
        """Elements to change in a copy: ``x.at[index].set(v)``, ``.add``, ``.multiply``, ..."""
    def sigmoid(self, /) -> Tensor:
        """1 / (1 + e ** -x), elementwise, for x of any size."""
    def relu(self, /) -> Tensor:
        """x where x > 0 and else 0; its derivative at 0 is 0."""
    def softplus(self, /, beta: float = 1.0, threshold: float | None = None) -> Tensor:
        """log(1 + e ** (beta * x)) / beta, elementwise, for x of any size; x itself where beta *
        x exceeds ``threshold``, by default nowhere (PyTorch's is 20).
        """
    def silu(self, /) -> Tensor:
        """x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish."""
    def elu(self, /, alpha: float | Tensor = 1.0) -> Tensor:
        """x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016)."""
    def leaky_relu(self, /, negative_slope: float | Tensor = 0.01) -> Tensor:
        """x where x > 0 and else negative_slope * x."""
    def hardshrink(self, /, lambd: float = 0.5) -> Tensor:
        """x where |x| > lambd and else 0; its derivative where |x| <= lambd is 0."""
    def erf(self, /) -> Tensor:
        """The error function, elementwise (W. J. Cody's approximation, 1969)."""
    def gelu(self, /, approximate: Literal["none", "tanh"] = "none") -> Tensor:
        """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016);
        approximate="tanh" for their faster form.
        """
    def sum(
        self,
        /,
        axis: SupportsIndex | tuple[SupportsIndex, ...] | None = None,
        keepdims: bool = False,
        *,
        dtype: Any = None,
    ) -> Tensor:
        """The sum along axes; float16 is accumulated in float32."""
    def mean(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """The arithmetic mean along axes; NaN for no elements."""
    def prod(
        self,
        /,
        axis: SupportsIndex | tuple[SupportsIndex, ...] | None = None,
        keepdims: bool = False,
        *,
        dtype: Any = None,
    ) -> Tensor:
        """The product along axes; its derivatives are exact where elements are 0."""
    def max(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """The largest element along axes; those that tie share the gradient equally."""
    def min(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest element along axes; those that tie share the gradient equally."""
    def var(
        self,
        /,
        axis: Any = None,
        keepdims: bool = False,
        *,
        correction: float | Tensor = 0,
        ddof: float | Tensor | None = None,
    ) -> Tensor:
        """The variance along axes, with n - correction in the denominator (NumPy's ``ddof``)."""
    def std(
        self,
        /,
        axis: Any = None,
        keepdims: bool = False,
        *,
        correction: float | Tensor = 0,
        ddof: float | Tensor | None = None,
    ) -> Tensor:
        """The standard deviation along axes, with n - correction in the denominator (NumPy's
        ``ddof``).
        """
    def logsumexp(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """log(sum(exp(x))) along axes, for x of any size; -inf for no probability at all."""
    def softmax(self, /, axis: _Axis = -1, *, dim: _Axis = None) -> Tensor:
        """exp(x) divided by its sum along axis, or dim, for x of any size."""
    def log_softmax(self, /, axis: _Axis = -1, *, dim: _Axis = None) -> Tensor:
        """The logarithm of softmax along axis, or dim."""
    def cumsum(self, /, axis: _Axis = None) -> Tensor:
        """The running sum along an axis; of the raveled x where axis is None."""
    def argmax(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """The index of the first of the largest elements. No gradient."""
    def argmin(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """The index of the first of the smallest elements. No gradient."""
    def any(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """Whether any element along axes is not zero. No gradient."""
    def all(self, /, axis: _Axis = None, keepdims: bool = False) -> Tensor:
        """Whether all elements along axes are not zero. No gradient."""
    def conj(self, /) -> Tensor:
        """The complex conjugate, elementwise; x for real numbers."""
    conjugate = conj
    def abs(self, /) -> Tensor:
        """The absolute value, elementwise; its derivative at 0 is 0."""
    def sign(self, /) -> Tensor:
        """-1, 0 or 1, as x is negative, zero or positive, elementwise; its derivative is 0. Of
        complex x, x / abs(x), and 0 at 0.
        """
    def matmul(self, b: Any, /) -> Tensor:
        """The matrix product; stacks of matrices broadcast, vectors act as NumPy's do."""
    def diagonal(self, /, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """The elements on a diagonal of the matrices that two axes make, along a last axis."""
    def square(self, /) -> Tensor:
        """x * x, elementwise."""
    def sqrt(self, /) -> Tensor:
        """The square root, elementwise."""
    def reciprocal(self, /) -> Tensor:
        """1 / x, elementwise."""
    def power(self, b: Any, /) -> Tensor:
        """a ** b, elementwise; at a = 0 the derivative by b is 0."""
    pow = power
    def exp(self, /) -> Tensor:
        """e ** x, elementwise."""
    def expm1(self, /) -> Tensor:
        """e ** x - 1, elementwise, accurate near 0."""
    def log(self, /) -> Tensor:
        """The natural logarithm, elementwise."""
    def log1p(self, /) -> Tensor:
        """log(1 + x), elementwise, accurate near 0."""
    def log2(self, /) -> Tensor:
        """The logarithm to base 2, elementwise."""
    def log10(self, /) -> Tensor:
        """The logarithm to base 10, elementwise."""
    def sin(self, /) -> Tensor:
        """The sine of an angle in radians."""
    def cos(self, /) -> Tensor:
        """The cosine of an angle in radians."""
    def tan(self, /) -> Tensor:
        """The tangent of an angle in radians."""
    def sinh(self, /) -> Tensor:
        """The hyperbolic sine."""
    def cosh(self, /) -> Tensor:
        """The hyperbolic cosine."""
    def tanh(self, /) -> Tensor:
        """The hyperbolic tangent: 1 for large x, never an overflow."""
    def clip(self, /, min: Any = None, max: Any = None) -> Tensor:
        """x clipped to [``min``, ``max``], numbers or arrays, either of which may be None."""
    def floor(self, /) -> Tensor:
        """The largest integer not above x, elementwise; its derivative is 0."""
    def ceil(self, /) -> Tensor:
        """The smallest integer not below x, elementwise; its derivative is 0."""
    def trunc(self, /) -> Tensor:
        """x without what follows the point, elementwise; its derivative is 0."""
    def round(self, /, decimals: int = 0) -> Tensor:
        """x rounded to ``decimals`` places, to even at a tie; its derivative is 0."""
    def isnan(self, /) -> Tensor:
        """Whether x is not a number, elementwise. No gradient."""
    def isinf(self, /) -> Tensor:
        """Whether x is infinite, elementwise. No gradient."""
    def isfinite(self, /) -> Tensor:
        """Whether x is a finite number, elementwise. No gradient."""
    def cumprod(self, /, axis: _Axis = None) -> Tensor:
        """The running product along an axis; its derivatives are exact where elements are 0."""
    def broadcast_to(self, /, shape: SupportsIndex | Sequence[SupportsIndex]) -> Tensor:
        """x repeated along new axes and those of size 1 until it has a shape."""
    def split(self, /, indices_or_sections: Any, axis: _Axis = 0) -> tuple[Tensor, ...]:
        """x cut along an axis: into that many equal pieces, or at the given indices."""
    def flip(self, /, axis: _Axis = None) -> Tensor:
        """The elements in reverse order along axes."""
    def roll(self, /, shift: Any, axis: _Axis = None) -> Tensor:
        """The elements moved along axes; those that leave at one end enter at the other."""
    def astype(self, /, dtype: Any, *, copy: bool = True, device: Any = None) -> Tensor:
        """x in another dtype (and on another device): a copy, or x itself if ``copy`` is False."""
    def argsort(
        self,
        /,
        axis: int | None = -1,
        kind: str | None = None,
        *,
        descending: bool = False,
        stable: bool = True,
    ) -> Tensor:
        """The indices that sort x along an axis, or the raveled x for None. No gradient."""
    def expand_dims(self, /, axis: Any = 0) -> Tensor:
        """New axes of size 1 at the positions ``axis`` of the result (PyTorch's ``unsqueeze``)."""
    def flatten(
        self, /, start_dim: int | Literal["C", "F"] = 0, end_dim: int = -1, order: str = "C"
    ) -> Tensor:
        """The axes from ``start_dim`` to ``end_dim``, both included, merged into one."""
    def moveaxis(self, /, source: Any, destination: Any) -> Tensor:
        """Axes moved to other positions; the others keep their order."""
    def ravel(self, /, order: str = "C") -> Tensor:
        """The elements along one axis, the last axis varying fastest; with ``order="F"`` the
        first.
        """
    def repeat(self, /, repeats: Any, axis: int | None = None) -> Tensor:
        """Each element repeated along an axis; ``repeats`` is a number, or one for each element."""
    def squeeze(self, /, axis: Any = None) -> Tensor:
        """Without axes of size 1: all of them, or those in ``axis``."""
    def swapaxes(self, /, axis1: int, axis2: int) -> Tensor:
        """Two axes exchanged."""
    def tile(self, /, reps: int | Sequence[int]) -> Tensor:
        """Copies of x joined, ``reps`` along each axis."""
    def unstack(self, /, axis: int = 0) -> tuple[Tensor, ...]:
        """The pieces of x along an axis, without that axis."""
    def trace(
        self, /, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None
    ) -> Tensor:
        """The sum of a diagonal of the matrices that two axes make."""
    def choose(self, choices: Sequence[Any], mode: str = "raise") -> Tensor:
        """For each whole number in ``a`` the element of that choice, all of them broadcast."""
    def nonzero(self, /) -> tuple[Tensor, ...]:
        """For each axis, the indices of the elements that are not zero. Waits for the device."""
    def take(self, /, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Tensor:
        """The elements at ``indices`` along an axis; along the raveled x where axis is None."""
    def argpartition(self, /, kth: Any, axis: int | None = -1) -> Tensor:
        """Indices that put the element ``kth`` where sorting would, and smaller ones before it."""
    def partition(self, /, kth: Any, axis: int | None = -1) -> Tensor:
        """x with its element ``kth`` where sorting would put it, smaller ones before it."""
    def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Tensor:
        """The indices that insert ``v`` into a sorted vector ``a``, before or after equal
        elements.
        """
    def sort(
        self,
        /,
        axis: int | None = -1,
        kind: str | None = None,
        *,
        descending: bool = False,
        stable: bool = True,
    ) -> Tensor:
        """x sorted along an axis, the raveled x for None; NaN last. A new tensor, as a method
        too.
        """
    def topk(self, /, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
        """The ``k`` largest elements along an axis, or smallest, in order, and their indices."""
    def dot(self, b: Any, /) -> Tensor:
        """NumPy's dot: a product of numbers, vectors or matrices; of more axes, a tensordot."""
    def outer(self, b: Any, /) -> Tensor:
        """Every element of a times every element of b, as a matrix."""
    def to(self, target: Any = None, /, *, device: Any = None, dtype: Any = None) -> Tensor:
        """x on another device, in another dtype, or both; x itself if nothing changes."""
    def register_hook(self, hook: Callable[[Tensor], Any]) -> Handle:
        """Call ``hook(gradient)`` in every backward pass, once this tensor's gradient is
        complete.
        """
    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], Any]) -> Handle:
        """Call ``hook(tensor)`` during a backward pass, once ``grad`` of this leaf is complete."""
    def retain_grad(self) -> Tensor:
        """Let backward passes fill ``grad`` of this tensor although it is no leaf; returns it."""
    def compress(self, condition: Any, axis: int | None = None) -> Tensor:
        """The elements along an axis where a vector of conditions holds. Waits for the device."""
    def reshape(self, *shape: Any, order: str = "C") -> Tensor:
        """The same elements in another shape: ``t.reshape(2, -1)`` or ``t.reshape((2, -1))``."""
    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order: reversed, ``t.transpose(1, 0)`` or ``t.transpose((1, 0))``."""
    def __round__(self, ndigits: int | None = None) -> Tensor:
        """``round(t, 2)``: a Tensor, like ``gg.round(t, 2)``."""
    def copy(self) -> Tensor:
        """A copy of the tensor, recorded in the graph; NumPy's method makes it a contiguous one."""
    def clone(self) -> Tensor:
        """A copy of the tensor, recorded in the graph."""
    def cpu(self) -> Tensor:
        """The tensor on the CPU; itself if it is there."""
    def cuda(self, index: int | None = None) -> Tensor:
        """The tensor on a CUDA device: CuPy's current one, or that of ``index``."""
    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """The tensor on a device; itself if it is there. The Array API standard's name of `to`."""
    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[Any, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule over the tensor's memory, for the ``from_dlpack`` of another library."""
    def __dlpack_device__(self, /) -> tuple[Any, int]:
        """DLPack's device type and the device's number."""
    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        """The functions for this array, by the Array API standard: the module ``gpugrad``."""
    @property
    def real(self) -> Tensor:
        """The real parts."""
    @property
    def imag(self) -> Tensor:
        """The imaginary parts."""
    @property
    def T(self) -> Tensor:  # noqa: N802
        """The axes reversed."""
    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The last two axes exchanged."""
    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any: ...
    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any: ...
    def __cupy_override_elementwise_kernel__(self, kernel: Any, *args: Any, **kwargs: Any) -> Any:
        """Called by CuPy for a ufunc or an elementwise kernel with a Tensor among its arguments."""
    def __cupy_override_reduction_kernel__(
        self, kernel: Any, axis: Any, dtype: Any, out: Any, keepdims: bool
    ) -> Any:
        """Called by CuPy for a reduction kernel over a Tensor."""
