"""The base class of models and layers. Imports functions and below, and `traversal`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np

from gpugrad.backend.device import Device, device_of
from gpugrad.backend.interrupts import whole
from gpugrad.backend.precision import dtype_named, kind_of
from gpugrad.engine import versions
from gpugrad.engine.modes import tracing
from gpugrad.engine.windows import check_writable
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.dtypes import is_device
from gpugrad.nn.parameter import Parameter
from gpugrad.nn.registration import Registration
from gpugrad.nn.settings import forget_settings
from gpugrad.nn.traversal import direct_parts, is_buffer, is_parameter, parts
from gpugrad.tensor import Tensor, as_tensor
from gpugrad.tensor.hints import OF_MODULES, Foreign, explain
from gpugrad.tensor.lost import check_kept

__all__ = ["Loaded", "Module", "in_mode"]


class Loaded(NamedTuple):
    """The names that ``load_state_dict(strict=False)`` skipped."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Registration):
    """A model, or a part of one: a class with a ``forward`` and tensors to learn.

    A subclass sets its parts as attributes and defines ``forward``, which calling the module
    runs. Nothing is registered, so ``super().__init__()`` is not needed. The parts of a module
    are found by traversing its attributes in the order in which they were set:

    - parameters: `Parameter`, frozen or not, and any other leaf that requires a gradient;
    - buffers: plain Tensors that require none, which belong to the state and are not learned. An
      attribute that was one and is assigned a computed Tensor still is, and is saved by its value;
    - modules, which are traversed in turn;
    - lists, tuples and dicts of these, also nested.

    Raw arrays are private to the module: they are neither moved nor saved. A part that occurs
    twice counts once, under its first name; cycles of modules are allowed.

    >>> import gpugrad as gg
    >>> class Line(gg.nn.Module):
    ...     def __init__(self):
    ...         self.slope = gg.nn.Parameter(2.0)
    ...         self.offset = gg.nn.Parameter(1.0)
    ...
    ...     def forward(self, x):
    ...         return self.slope * x + self.offset
    >>> line = Line()
    >>> line(gg.tensor([0.0, 1.0])).tolist()
    [1.0, 3.0]
    >>> [name for name, _ in line.named_parameters()]
    ['slope', 'offset']
    """

    # Whether the module is in training mode, which Dropout reads. See `train` and `eval`.
    training = True

    # The attributes that `extra_repr` shows.
    _shown: tuple[str, ...] = ()

    # The attributes that were buffers before they were assigned a computed Tensor.
    _computed: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("gpugrad."):
            explain(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        before = vars(self).get(name) if isinstance(value, Tensor) else None
        was_buffer = isinstance(before, Tensor) and is_buffer(before)
        if was_buffer and not value.is_leaf and name not in self._computed:
            object.__setattr__(self, "_computed", (*self._computed, name))
        if isinstance(before, Parameter) and not is_parameter(value):
            raise DTypeError(
                f"{type(self).__name__}.{name} is a Parameter, and a Tensor in its place would "
                f"not be learned. Change it under gg.no_grad() with `{name}[...] = value`, "
                "assign gg.nn.Parameter(value), or `del` the attribute first"
            )
        forget_settings(self)
        object.__setattr__(self, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (session := tracing.get()) is not None:
            session.note(self)
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The function of the module; a subclass defines it."""
        raise NotImplementedError(
            f"{type(self).__name__} has no forward: define `def forward(self, x)`, which "
            "calling the module calls"
        )

    # Parts.

    def _attributes(self) -> Any:
        """The names and values to traverse."""
        return vars(self).items()

    def _named(self, wanted: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
        """The parts that are wanted with their dotted names, each once."""
        return ((n, part) for n, part, entering in parts(self, Module) if entering and wanted(part))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The parameters with their dotted names, in the order of the attributes, each once.

        With ``recurse`` false only those that are directly in this module, not in modules inside.
        ``prefix`` and a dot stand before each name.

        >>> import gpugrad as gg
        >>> model = gg.nn.Sequential(gg.nn.Linear(2, 3), gg.nn.Tanh())
        >>> [(name, p.shape) for name, p in model.named_parameters()]
        [('0.weight', (3, 2)), ('0.bias', (3,))]
        """
        found = self._named(is_parameter) if recurse else self._direct(is_parameter)
        return _prefixed(prefix, found)

    def parameters(self, recurse: bool = True) -> Iterator[Tensor]:
        """The parameters, in the order of the attributes, each once; see `named_parameters`.

        >>> import gpugrad as gg
        >>> sum(p.size for p in gg.nn.MLP(3, [4, 4, 1]).parameters())
        41
        """
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names: tensors that are state but are not learned.

        ``prefix`` and ``recurse`` are those of `named_parameters`.
        """
        direct = {name for name, _ in self._direct(lambda part: isinstance(part, Tensor))}
        found = (*self._named(is_buffer), *self._computed_buffers())
        return _prefixed(prefix, (pair for pair in found if recurse or pair[0] in direct))

    def _direct(self, wanted: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
        """The parts that are wanted and are not in modules inside, with their names."""
        return ((name, part) for name, part in direct_parts(self, Module) if wanted(part))

    def _computed_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in self.named_modules():
            for name in dict.fromkeys(module._computed):
                part = vars(module).get(name)
                if isinstance(part, Tensor) and not part.is_leaf:
                    yield f"{prefix}.{name}" if prefix else name, part

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers: tensors that are state but are not learned."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def named_modules(self) -> Iterator[tuple[str, "Module"]]:
        """This module, under the name "", and all inside it, each once."""
        return self._named(lambda part: isinstance(part, Module))

    def modules(self) -> Iterator["Module"]:
        """This module and all inside it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        """The direct submodules with their names."""
        found = direct_parts(self, Module)
        return ((name, part) for name, part in found if isinstance(part, Module))

    def children(self) -> Iterator["Module"]:
        """The direct submodules."""
        return (module for _, module in self.named_children())

    # State.

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        tensors: dict[str, Tensor] = {}
        for name, part in self._named(lambda part: is_parameter(part) or is_buffer(part)):
            if name in tensors:
                raise ValueError(
                    f"state_dict: {type(self).__name__} holds two tensors under the name "
                    f"{name!r}. Rename an attribute or a key of a dict"
                )
            tensors[name] = part
        tensors.update(self._computed_buffers())
        return tensors

    def _saved(self) -> dict[str, Tensor]:
        """The parameters and buffers that belong to the state."""
        unsaved = self._unsaved_names()
        return {name: part for name, part in self._state().items() if name not in unsaved}

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, as detached Tensors that share their memory.

        A tensor that modules share occurs once, under its first name. Training changes the
        values: ``copy.deepcopy(model.state_dict())`` is a snapshot.

        >>> import gpugrad as gg
        >>> gg.nn.Linear(1, 1).state_dict().keys()
        dict_keys(['weight', 'bias'])
        """
        return {name: part.detach() for name, part in self._saved().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Loaded:
        """Copy values by name into parameters and buffers, in place.

        ``state`` has Tensors or arrays on any device; they are cast to the dtypes of their
        targets. ShapeError where a shape differs, DTypeError where a dtype cannot be cast (a
        float to an integer), ValueError where names are missing or unexpected; with ``strict``
        false such names are skipped and returned. After an error nothing has been copied.

        >>> import gpugrad as gg
        >>> a, b = gg.nn.Linear(2, 1), gg.nn.Linear(2, 1)
        >>> a.load_state_dict(b.state_dict())
        Loaded(missing_keys=[], unexpected_keys=[])
        >>> bool((a.weight == b.weight).all())
        True
        """
        if not isinstance(state, Mapping):
            raise DTypeError(
                "load_state_dict: expected names and values, as state_dict() gives them, got "
                f"{type(state).__name__}"
            )
        tensors = self._saved()
        missing = [name for name in tensors if name not in state]
        unexpected = [name for name in state if name not in tensors]
        for name in tensors:
            check_kept(
                f"load_state_dict: {name}", state.get(name), "Use the tensor itself in the module: "
                "`del` the Parameter first and assign it, or load its .detach()"
            )  # fmt: skip
        raws = {name: _raw(name, state[name]) for name in tensors if name in state}
        shapes = [
            f"{name} has shape {tensors[name].shape}, got {raw.shape}"
            for name, raw in raws.items()
            if raw.shape != tensors[name].shape
        ]
        dtypes = [
            f"{name} has dtype {tensors[name].dtype}, got {raw.dtype}"
            for name, raw in raws.items()
            if not np.can_cast(raw.dtype, tensors[name].dtype, "same_kind")
        ]
        lists = {"wrong shapes": "; ".join(shapes), "wrong dtypes": "; ".join(dtypes)}
        if strict:
            lists["missing"] = ", ".join(missing)
            lists["unexpected"] = ", ".join(map(str, unexpected))
        problems = [f"{problem}: {names}" for problem, names in lists.items() if names]
        if problems:
            hint = "The state belongs to another model"
            if not shapes and not dtypes:
                hint = "Pass strict=False to load only the names that both have"
            raise (ShapeError if shapes else DTypeError if dtypes else ValueError)(
                f"load_state_dict: the state does not fit this {type(self).__name__}, and nothing "
                f"was loaded; {'; '.join(problems)}. {hint}"
            )
        # All are sent before the first is written: if a device is full, the model is unchanged.
        sent = {name: tensors[name].device.send(raw) for name, raw in raws.items()}
        calls: list[Any] = []
        arrays = []
        for name, raw in sent.items():
            target = tensors[name]
            if target.is_leaf:
                check_writable("load_state_dict", target.data)
                calls += versions.writing(target.data, raw)
                arrays.append(target.data)
            else:  # its memory belongs to a graph
                calls += _replacing(target, raw.astype(target.dtype), None)
        versions.change(calls, arrays)
        return Loaded(missing, unexpected)

    # Changing all parts.

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of this module and all inside it."""
        for module in list(self.modules()):
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Leave the training mode, in this module and all inside it: Dropout is the identity."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all parameters; set those that are there to 0 if not to None."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.zero_grad()
            elif type(parameter.grad) is Tensor:
                parameter.grad._write(Ellipsis, 0)
            else:  # none, or one that is divided among processes
                parameter.zero_grad()

    def float(self) -> Self:
        """All floating-point parameters in float32; returns the module itself, as `to` does."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """All floating-point parameters in float64; returns the module itself."""
        return self.to(dtype="float64")

    def half(self) -> Self:
        """All floating-point parameters in float16; `gpugrad.autocast` keeps them in float32."""
        return self.to(dtype="float16")

    def bfloat16(self) -> Self:
        """All floating-point parameters in bfloat16, which needs ml_dtypes."""
        return self.to(dtype="bfloat16")

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Unfreeze or freeze all parameters; returns the module itself."""
        for parameter in list(self.parameters()):
            parameter.requires_grad_(requires_grad)
        return self

    def apply(self, function: Callable[["Module"], Any]) -> Self:
        """Call ``function`` with every module inside and then with this one.

        >>> import gpugrad as gg
        >>> def start(module):
        ...     if isinstance(module, gg.nn.Linear):
        ...         gg.nn.init.zeros_(module.bias)
        >>> gg.nn.MLP(2, [2]).apply(start).layers[0].bias
        Parameter([0., 0.])
        """
        leaving = [part for _, part, entering in parts(self, Module) if not entering]
        for module in leaving:
            function(module)
        return self

    def to(self, target: Any = None, /, *, device: Any = None, dtype: Any = None) -> Self:
        """Move all parameters, their gradients and buffers, or cast them; returns the module.

        ``model.to("cuda")``, ``model.to(gg.float64)`` or by keyword. The parameters stay the
        same objects, so their optimizer remains valid. Integer buffers keep their dtype. After
        an error nothing has been moved. DTypeError for a dtype that is not floating-point,
        DeviceError for a device that does not work.

        >>> import gpugrad as gg
        >>> model = gg.nn.Linear(2, 1)
        >>> weight = model.weight
        >>> model.to(gg.float64).weight is weight, weight.dtype
        (True, dtype('float64'))
        """
        if target is not None:
            where = is_device(target)
            if (device if where else dtype) is not None:
                raise ValueError(f"to: {'device' if where else 'dtype'} was given twice")
            device, dtype = (target, dtype) if where else (device, target)
        if dtype is not None:
            dtype = dtype_named(dtype)
            if kind_of(dtype) != "f":
                raise DTypeError(f"to: a module needs a floating-point dtype, got {dtype}")
        target_device = None if device is None else Device(device)
        moved = []
        for name, part in self._state().items():
            grad = part.grad if part.is_leaf else None
            if grad is not None:
                grad = _moved(grad.data, target_device, dtype)
            array = _moved(part.data, target_device, dtype)
            if array is not part.data:
                check_kept(f"to: {name}", part, "Move or cast what it was computed from")
            moved.append((part, array, grad))
        calls: list[Any] = []
        for part, array, grad in moved:
            if array is part.data:
                continue
            # Of a buffer that was computed only the value moves.
            node = part._node if part.is_leaf else None
            calls += _replacing(part, array, node)
            if node is not None:
                calls.append(partial(setattr, node, "dtype", array.dtype))
            if grad is not None:
                calls.append(partial(setattr, part, "_grad", Tensor(grad)))
        whole(calls)
        return self

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU."""
        return self.to(device="cpu")

    def cuda(self, index: int | None = None) -> Self:
        """Move all parameters and buffers to a CUDA device: CuPy's current one, or ``index``."""
        return self.to(device="cuda" if index is None else f"cuda:{index}")

    # As text.

    def __dir__(self) -> list[str]:
        names = object.__dir__(self)
        return [name for name in names if name not in OF_MODULES or hasattr(self, name)]

    def extra_repr(self) -> str:
        """The text between the parentheses of the module's ``repr``."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._shown)

    def _repr_parts(self) -> Iterator[tuple[str, Any]]:
        """The parts that have a line in ``repr``: tensors and modules."""
        return direct_parts(self, Module)

    def __repr__(self) -> str:
        return "\n".join(_lines(self, "", {}))


@contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """A block in which all modules train, or evaluate; then each is in the mode that it had."""
    before = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _prefixed(prefix: str, pairs: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((f"{prefix}.{name}" if prefix else name, part) for name, part in pairs)


def _raw(name: str, value: Any) -> Any:
    """A value of a state dict as a raw array."""
    try:
        return as_tensor(value).data
    except DTypeError as error:
        raise DTypeError(f"load_state_dict: {name} is no array: {error}") from error


def _replacing(tensor: Tensor, array: Any, node: Any) -> list[Callable[[], Any]]:
    """Calls for `whole` that give a tensor another array, and its place in a graph."""
    return [
        partial(setattr, tensor, "_array", array),
        partial(setattr, tensor, "_node", node),
    ]


def _moved(array: Any, device: Device | None, dtype: Any) -> Any:
    """The array on a device and in a floating-point dtype; itself if nothing changes."""
    if dtype is not None and kind_of(array.dtype) == "f" and array.dtype != dtype:
        with device_of(array).activate():
            array = array.astype(dtype)
    return array if device is None else device.send(array)


def _count(module: Module) -> str:
    """The number of learned numbers as a comment; empty for none."""
    total = frozen = 0
    for parameter in module.parameters():
        total += parameter.size
        frozen += 0 if parameter.requires_grad else parameter.size
    if not total:
        return ""
    comment = f"  # {total:,} parameter{'s' if total > 1 else ''}"
    if not frozen:
        return comment
    return f"{comment}, {f'{frozen:,}' if frozen < total else 'all'} frozen"


def _lines(module: Module, name: str, seen: dict[int, str]) -> list[str]:
    """The lines of a module's ``repr``: one, or one for each part between two."""
    seen[id(module)] = name
    extra = module.extra_repr()
    inside: list[str] = []
    for below, part in module._repr_parts():
        if isinstance(part, Module):
            if id(part) in seen:
                where = repr(seen[id(part)]) if seen[id(part)] else "the whole"
                lines = [f"{type(part).__name__}(...)  # the same as {where}"]
            else:
                lines = _lines(part, f"{name}.{below}" if name else below, seen)
        elif not isinstance(part, Tensor):
            lines = [getattr(part, "__name__", repr(part))]
        elif is_parameter(part) or is_buffer(part):
            if extra:  # which describes them
                continue
            label = "Parameter" if is_parameter(part) else "buffer"
            lines = [f"{label}({part.shape}, {part.dtype})"]
        else:
            continue
        inside += [f"  ({below}): {lines[0]}", *(f"  {line}" for line in lines[1:])]
    head = f"{type(module).__name__}({extra}"
    if not inside:
        return [f"{head}){_count(module)}"]
    return [f"{head}{',' if extra else ''}{_count(module)}", *inside, ")"]


for _name, _text in OF_MODULES.items():
    if not hasattr(Module, _name):
        setattr(Module, _name, Foreign(_name, _text))
