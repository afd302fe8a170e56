"""PyTorch's names for setting and finding the parts of a module. Imports parameter, settings
and traversal.

Nothing is registered: the parts of a module are its attributes. These methods set attributes, and
find parts by their dotted names.
"""

from typing import Any, Self

from gpugrad.errors import DTypeError
from gpugrad.nn.parameter import Parameter
from gpugrad.nn.settings import Settings, forget_settings
from gpugrad.nn.traversal import items, parts
from gpugrad.tensor import Tensor

__all__ = ["Registration"]


class Registration:
    """The part of `Module` that has PyTorch's names for its attributes."""

    # The buffers that are not saved, see `register_buffer`.
    _unsaved: tuple[str, ...] = ()

    # What compiled functions compare; None after a change: see `gpugrad.nn.settings`.
    _settings: Settings | None = None

    def __delattr__(self, name: str) -> None:
        forget_settings(self)
        object.__delattr__(self, name)

    def add_module(self, name: str, module: Any) -> None:
        """Set a submodule as an attribute; None for none.

        >>> import gpugrad as gg
        >>> model = gg.nn.Module()
        >>> model.add_module("first", gg.nn.Linear(2, 1))
        >>> model.first.out_features
        1
        """
        self._set_part(name, module, Registration, "a Module")

    register_module = add_module

    def register_parameter(self, name: str, param: Any) -> None:
        """Set a `Parameter` as an attribute; None for none."""
        self._set_part(name, param, Parameter, "a Parameter, as gg.nn.Parameter(data) makes one")

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Set a tensor that is state and is not learned as an attribute; None for none.

        ``self.name = tensor`` does the same for a Tensor that requires no gradient. A buffer that
        is not ``persistent`` moves with the module and is not part of its ``state_dict``.

        >>> import gpugrad as gg
        >>> model = gg.nn.Module()
        >>> model.register_buffer("scale", gg.ones(2))
        >>> model.register_buffer("table", gg.zeros(2), persistent=False)
        >>> list(model.state_dict()), [name for name, _ in model.named_buffers()]
        (['scale'], ['scale', 'table'])
        """
        if isinstance(tensor, Tensor) and (tensor.requires_grad or isinstance(tensor, Parameter)):
            raise DTypeError(
                f"register_buffer: {name} requires a gradient, and a buffer has none. Register "
                "tensor.detach(), or take register_parameter"
            )
        self._set_part(name, tensor, Tensor, "a Tensor, as gg.tensor(data) makes one")
        others = tuple(other for other in self._unsaved if other != name)
        object.__setattr__(self, "_unsaved", others if persistent else (*others, name))

    def _set_part(self, name: str, part: Any, wanted: type[Any], described: str) -> None:
        if not isinstance(name, str) or "." in name or not name:
            raise ValueError(
                f"{type(self).__name__}: a name of a part is a text without dots, got {name!r}"
            )
        if part is not None and not isinstance(part, wanted):
            raise DTypeError(
                f"{type(self).__name__}: {name} must be {described}, got {type(part).__name__}"
            )
        if name not in vars(self) and hasattr(self, name):
            raise ValueError(
                f"{type(self).__name__}: {name!r} is a method or attribute of the class; choose "
                "another name"
            )
        setattr(self, name, part)

    def get_submodule(self, target: str) -> Any:
        """The module of a dotted name, this one for ""; AttributeError where there is none.

        >>> import gpugrad as gg
        >>> gg.nn.Sequential(gg.nn.Linear(2, 1)).get_submodule("0").out_features
        1
        """
        return self._find_part(target, Registration, "module")

    def get_parameter(self, target: str) -> Any:
        """The parameter of a dotted name, such as "0.weight"; AttributeError for none."""
        return self._find_part(target, Parameter, "parameter")

    def get_buffer(self, target: str) -> Any:
        """The buffer of a dotted name; AttributeError where there is none."""
        found = self._find_part(target, Tensor, "buffer")
        if isinstance(found, Parameter):
            raise AttributeError(
                f"{type(self).__name__}: {target!r} is a parameter; take get_parameter"
            )
        return found

    def _find_part(self, target: str, wanted: type[Any], described: str) -> Any:
        part: Any = self
        for key in target.split(".") if target else ():
            inside = items(part, Registration)
            part = {str(name): value for name, value in inside or ()}.get(key)
        if not isinstance(part, wanted):
            raise AttributeError(f"{type(self).__name__} has no {described} {target!r}")
        return part

    def _unsaved_names(self) -> set[str]:
        """The dotted names of the buffers that are not saved, of all modules inside."""
        modules = [(n, m) for n, m, entering in parts(self, Registration) if entering]
        return {
            f"{prefix}.{name}" if prefix else name
            for prefix, module in modules
            if isinstance(module, Registration)
            for name in module._unsaved
        }

    # Casts. They are last: inside this class `float` is the method from here on.

    def to(self, target: Any = None, /, *, device: Any = None, dtype: Any = None) -> Self:
        """Defined by `Module`."""
        raise NotImplementedError

    def half(self) -> Self:
        """Cast all floating-point parameters and buffers to float16."""
        return self.to(dtype="float16")

    def double(self) -> Self:
        """Cast all floating-point parameters and buffers to float64."""
        return self.to(dtype="float64")

    def float(self) -> Self:
        """Cast all floating-point parameters and buffers to float32."""
        return self.to(dtype="float32")
