"""The Tensor: an array and its node in the graph. Imports engine and backend.

Operators and methods that come from the op table are bound in `gpugrad.functions.bind`.
"""

import sys
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from gpugrad.backend.device import Device, beside, copied, device_of, to_numpy
from gpugrad.backend.lines import warn
from gpugrad.backend.namespace import NAMESPACES, Namespace, namespace_of, register
from gpugrad.engine import versions
from gpugrad.engine.backward import GraphMode, run_backward
from gpugrad.engine.messages import check_gradient
from gpugrad.engine.modes import outermost, recording, strict, tracing
from gpugrad.engine.node import Leaf, Node, retains
from gpugrad.engine.windows import check_writable
from gpugrad.errors import DTypeError, GradientError, ShapeError
from gpugrad.tensor import libraries
from gpugrad.tensor.conversion import data_for, raw_array, weak_array
from gpugrad.tensor.delivery import deliver
from gpugrad.tensor.hints import REFUSED
from gpugrad.tensor.instructions import searches, shows_value
from gpugrad.tensor.lost import check_raw
from gpugrad.tensor.members import Members
from gpugrad.tensor.printing import formatted, text, values

__all__ = ["GRAPH_MODE", "TENSORS", "Tensor"]


class Tensor(Members):
    """An array of NumPy or CuPy that remembers how it was computed.

    Made with `gpugrad.tensor` and by operations on other tensors. It has the operators, attributes
    and methods of an array; ``backward()`` computes the gradients of those it was computed from.

    >>> import gpugrad as gg
    >>> x = gg.tensor([1.0, 2.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    # An empty slot costs nothing: most tensors have no gradient and no name.
    __slots__ = ("__weakref__", "_array", "_grad", "_name", "_node")

    # Above any array's, so that `array * tensor` calls the tensor's operator.
    __array_priority__ = 1000.0

    def __init__(self, array: Any, node: Any = None) -> None:
        self._array = array
        self._node = node

    # The array.

    @property
    def data(self) -> Any:
        """The raw NumPy or CuPy array, not a copy. What is computed from it has no gradient."""
        if (session := tracing.get()) is not None:
            session.meet(self)
        array = self._array
        if isinstance(array, np.generic):
            array = self._array = np.asarray(array)
        return array

    @data.setter
    def data(self, array: Any) -> None:
        if isinstance(self._node, Node):
            raise GradientError(
                "data: this tensor was computed by an operation; set the data of a leaf, or "
                "of its detach()"
            )
        self._array = data_for(self, array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        return self._array.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        if isinstance(self._node, Leaf):
            raise GradientError(
                "shape: a leaf that requires a gradient keeps its shape. Write "
                "`t = t.reshape(shape)`"
            )
        result, xp = TENSORS.reshape(self, shape), namespace_of(self.data)
        if self._node is None and xp.owner_of(result.data) is not xp.owner_of(self.data):
            raise ShapeError(
                f"shape: {shape} takes a copy of this tensor's memory. Write `t = t.reshape(shape)`"
            )
        self._array, self._node = result._array, result._node

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        return self._array.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self._array.size * self._array.dtype.itemsize

    @property
    def device(self) -> Device:
        """The device of the array."""
        return device_of(self._array)

    # The graph.

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass computes a gradient for this tensor, or passes through it."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Record operations on this tensor, or stop; returns the tensor itself.

        DTypeError for integers and booleans, GradientError where the tensor was computed
        from others that require a gradient.
        """
        if requires_grad and self._node is None:
            if self._array.dtype.kind in "biu":
                raise DTypeError(
                    f"requires_grad: a gradient needs floating-point numbers, got dtype "
                    f"{self._array.dtype}. Make the tensor with dtype=gg.float32, or cast it "
                    "with .astype"
                )
            self._node = Leaf(self, self.shape, self.dtype)
            if (name := getattr(self, "_name", None)) is not None:
                self._node.name = name
        elif not requires_grad and self._node is not None:
            if not isinstance(self._node, Leaf):
                raise GradientError(
                    "requires_grad: this tensor was computed from others that require a "
                    "gradient. Use .detach() for one that does not"
                )
            self._node = None
        return self

    @property
    def is_leaf(self) -> bool:
        """True for a tensor that no recorded operation computed."""
        return not isinstance(self._node, Node)

    @property
    def grad_fn(self) -> Node | None:
        """The graph's node that computed this tensor; None for a leaf."""
        return self._node if isinstance(self._node, Node) else None

    @property
    def grad(self) -> "Tensor | None":
        """The gradient accumulated by backward passes; None before the first.

        An assigned gradient is copied, since later passes add to it in place.
        """
        if (session := tracing.get()) is not None:
            session.look_at_grad(self)
        grad = getattr(self, "_grad", None)
        if grad is None and isinstance(self._node, Node) and not retains(self._node):
            warn(libraries.NOT_KEPT, UserWarning)
        return grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if (session := tracing.get()) is not None:
            session.clear((self,))
        if value is not None:
            if not isinstance(value, Tensor):
                value = Tensor(value if type(value) in NAMESPACES else np.asarray(value))
            check_gradient("grad", value._array, self._array)
            if value.dtype != self.dtype:
                value = value.astype(self.dtype)
            elif value._node is None:
                value = Tensor(copied(value.data))
        self._grad = value

    @property
    def name(self) -> str | None:
        """A name for drawings, explanations and errors."""
        return getattr(self, "_name", None)

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value
        if self._node is not None:
            self._node.name = value

    def zero_grad(self) -> None:
        """Clear the gradient: ``grad`` is None until the next backward pass."""
        if (session := tracing.get()) is not None:
            session.clear((self,))
        self._grad = None

    def detach(self) -> "Tensor":
        """A tensor over the same memory that is no part of any graph."""
        if (session := tracing.get()) is not None:
            session.meet(self)
        return Tensor(self._array)

    def backward(
        self,
        gradient: Any = None,
        *,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to ``grad`` of every leaf it was computed from.

        ``gradient`` is the cotangent of this tensor, of its shape; a tensor with one element
        needs none. The graph is freed unless ``retain_graph``. With ``create_graph`` the
        gradients are recorded and can be differentiated again. Gradients of several passes
        add up.

        GradientError for a tensor that requires no gradient, a graph that was freed, or a
        value that changed since; ShapeError for a gradient of another shape.
        """
        node = self._node
        if node is None:
            raise GradientError(
                "backward: this tensor requires no gradient and was not computed from one that "
                "does. Make a leaf with requires_grad=True, and compute outside no_grad"
            )
        seeds = [(node, self._seed(gradient, create_graph))]
        gradients = run_backward(
            seeds,
            retain_graph=retain_graph,
            graph=GRAPH_MODE if create_graph else None,
            deliver=_to_leaves,
            ones=gradient is None,
        )
        del seeds  # or it would share the gradient of a leaf
        _to_leaves(gradients, *gradients)

    def _seed(self, gradient: Any, create_graph: bool) -> Any:
        """The cotangent to start from: raw, or a Tensor for ``create_graph``."""
        array = self._array
        if gradient is None:
            if array.size != 1:
                raise GradientError(
                    f"backward: only a scalar has a gradient of its own, this tensor has shape "
                    f"{self.shape}. Reduce it, as in t.sum().backward(), or pass gradient="
                )
            if array.dtype.kind == "c":
                raise GradientError(
                    "backward: only a real number has a gradient of its own, this one is "
                    "complex. Make it real, as with abs(t) or t.real, or pass gradient="
                )
            if isinstance(array, np.generic):
                one: Any = type(array)(1)
            else:
                with device_of(array).activate():
                    one = namespace_of(array).ones_like(array)
            return Tensor(one) if create_graph else one
        seed = gradient if isinstance(gradient, Tensor) else self._like(gradient)
        device, own = device_of(seed._array), device_of(array)
        if device is not own and device != own:
            seed = seed.to(own)
        check_gradient("backward", seed._array, array)
        if seed.dtype != self.dtype:
            seed = seed.astype(self.dtype)
        return seed if create_graph else seed.data  # which a recording meets

    def _like(self, data: Any, dtype: Any = None) -> "Tensor":
        """A tensor of numbers or lists, of this one's array type and on its device."""
        if dtype is None and isinstance(data, list | tuple | int | float | complex):
            raw = data if isinstance(data, np.generic) else weak_array(data, [self.dtype])
        else:
            raw = raw_array(data, dtype, "cpu")
        return Tensor(raw if raw is data else beside(raw, self._array))

    # Conversion.

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array on the host; on a CPU it shares the memory.

        GradientError for a tensor that requires a gradient: use ``.detach().numpy()``.
        """
        if self._node is not None:
            raise GradientError(
                "numpy: this tensor requires a gradient, which a NumPy array cannot carry. "
                "Write .detach().numpy()"
            )
        return to_numpy(self.data)

    def item(self) -> Any:
        """The one element, as a Python number, a constant to derivatives; waits for the device."""
        self._not_strict("item")
        if self._array.size != 1:
            raise ShapeError(
                f"item: expected a tensor with one element, got shape {self.shape}. "
                "Use .tolist() for all elements"
            )
        return self.data.item()

    def tolist(self) -> Any:
        """The elements as (nested) lists of Python numbers, constants as those of `item`."""
        self._not_strict("tolist")
        return values(self).tolist()

    def _not_strict(self, who: str) -> None:
        if self._node is not None and strict.get():
            raise GradientError(
                f"{who}: a number taken out of this tensor is a constant to the derivative that "
                "is being computed. Use the functions of xp on the tensor"
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._node is not None and not (
            not self.shape and outermost.get() is None and shows_value(sys._getframe(1))
        ):  # np.float64(t) is a number
            advice = libraries.advice_for_caller(libraries.NO_ARRAY)
            raise GradientError(libraries.CARRIES_NONE + advice)
        if self.device.kind != "cpu":
            raise DTypeError(
                f"a tensor on {self.device} does not become a NumPy array by itself. Write "
                ".cpu().numpy(), which copies and waits for the device"
            )
        return np.array(to_numpy(self.data), dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self._number("float"))

    def __int__(self) -> int:
        return int(self._number("int"))

    def __complex__(self) -> complex:
        return complex(self._number("complex"))

    def _number(self, who: str) -> Any:
        """The one element, for a Python number; GradientError where a graph would end in it."""
        if self._node is not None and not (
            outermost.get() is None and shows_value(sys._getframe(2), who)  # the caller of `float`
        ):
            raise GradientError(
                f"{who}: a Python number cannot carry the gradient that this tensor requires "
                f"(math.sin(t) needs one, too). {libraries.advice_for_caller(libraries.NO_NUMBER)}"
            )
        return self.item()

    as_integer_ratio = libraries.no_fraction  # for the modules statistics and fractions

    def __bool__(self) -> bool:
        if self._array.size != 1:
            if searches(sys._getframe(1)):  # `t in tensors`, which knows t itself by its identity
                return False
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: use .any() or .all()"
            )
        return bool(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "biu" or self._array.size != 1:
            raise DTypeError(
                f"only a tensor with one integer is an index, got shape {self.shape} and dtype "
                f"{self.dtype}. Write int(t.item()) where a whole number is meant"
            )
        return int(self.data.item())

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("len: a tensor with no axes has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Tensor"]:
        if not self.shape:
            raise DTypeError("iteration over a tensor with no axes. Write t.reshape(-1)")
        return (self[index] for index in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self.detach() == value).any())

    # Equality is elementwise, so dicts and sets compare by identity.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return text(self)

    def __format__(self, spec: str) -> str:
        return formatted(self, spec) if spec else repr(self)

    def __dir__(self) -> list[str]:
        return [name for name in object.__dir__(self) if name not in REFUSED]

    # Copies.

    def __copy__(self) -> Self:
        copy: Self = object.__new__(type(self))
        if self._in_graph():  # the same value at the same place in the graph
            Tensor.__init__(copy, self._array, self._node)
            return copy
        Tensor.__init__(copy, self.data)
        copy.name = self.name
        return copy.requires_grad_(self.requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        self._check_leaf("deepcopy", "copied", "Write t.copy(), which has a gradient, or copy")
        grad = None if self.grad is None else copied(self.grad.data)
        array = copied(self.data)
        copy = _rebuilt(type(self), array, self.device, self.requires_grad, self.name, grad)
        memo[id(self)] = copy
        return copy

    def __reduce__(self) -> Any:
        self._check_leaf("pickle", "pickled", "Pickle")
        grad = None if self.grad is None else to_numpy(self.grad.data)
        array, device = to_numpy(self.data), str(self.device)
        return _rebuilt, (type(self), array, device, self.requires_grad, self.name, grad)

    def _in_graph(self) -> bool:
        """Whether a copy that is a leaf of its own would lose a gradient."""
        return isinstance(self._node, Node) or getattr(self._node, "argument", False)

    def _check_leaf(self, who: str, done: str, do: str) -> None:
        if self._in_graph():
            raise GradientError(
                f"{who}: a tensor that was computed in a graph, or an argument of a function that "
                f"is being differentiated, cannot be {done} without the graph. {do} its .detach()"
            )

    # In place.

    def _changeable(self, other: Any, who: str) -> bool:
        """Whether an in-place form changes memory (True) or is recorded (False)."""
        if not recording.get():
            return True
        if isinstance(self._node, Leaf):
            raise GradientError(
                f"{who}: a leaf that requires a gradient cannot be changed in place while "
                "operations are recorded. Use `with gg.no_grad():` for an update, or "
                "`t = t + d` for a new tensor"
            )
        return self._node is None and not (isinstance(other, Tensor) and other._node is not None)

    def _write(self, index: Any, value: Any) -> None:
        """Change the memory, outside any graph."""
        raw = value.data if isinstance(value, Tensor) else value
        if isinstance(raw, list | tuple):
            raw = self._like(raw)._array
        array = self.data
        if (checks := namespace_of(array).checks) is not None:
            checks("setitem", (array, raw))
        check_writable("in-place change", array)
        array[index] = raw
        versions.changed(array)


def _to_leaves(gradients: dict[Any, Any], *leaves: Leaf) -> None:
    """Add gradients of leaves to ``grad`` of their tensors, where these still exist."""
    pairs = [(tensor, leaf) for leaf in leaves if (tensor := leaf.tensor()) is not None]
    deliver(Tensor, gradients, pairs)
    for leaf in leaves:
        gradients.pop(leaf, None)


def _rebuilt(
    cls: type[Tensor], array: Any, device: Any, requires_grad: bool, name: Any, grad: Any
) -> Tensor:
    """A leaf of a class, for copies and pickles; arrays of the host are sent to the device."""
    tensor = object.__new__(cls)
    Tensor.__init__(tensor, Device(device).send(array))
    tensor.requires_grad_(requires_grad)
    tensor.name = name
    if grad is not None:
        tensor._grad = Tensor(Device(device).send(grad))
    return tensor


class _Functions:
    """gpugrad's functions as a namespace: rules that run over it are recorded themselves."""

    __name__ = "gpugrad"


TENSORS: Namespace = Namespace(_Functions(), checks=check_raw)
GRAPH_MODE = GraphMode(TENSORS, Tensor)
register(Tensor, TENSORS)
