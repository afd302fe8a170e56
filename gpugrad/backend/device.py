"""Devices: their names, the default one, and arrays on their way between them.

Imports errors, namespace and cuda; CuPy and sim only when a device needs them. The
engine and the ops never ask this module which device is the default: they ask the
array. The default decides where *new* arrays are made.
"""

import contextlib
import functools
import logging
import os
import re
from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Literal

import numpy

from gpugrad.backend import cuda, memory
from gpugrad.backend.namespace import NAMESPACES, namespace_of
from gpugrad.backend.natives import native
from gpugrad.errors import DeviceError, DTypeError

__all__ = [
    "Device",
    "beside",
    "check_same_device",
    "copied",
    "default_device",
    "device",
    "device_of",
    "set_default_device",
    "to_numpy",
    "xp",
]

log = logging.getLogger("gpugrad")

_NAMES = re.compile(r"(cpu|auto)|(cuda|sim)(?::(\d+))?")
_NOTHING = contextlib.nullcontext()

# True during a copy to a device, or a wait, that the program asked for: see gpugrad.sync_guard.
sending: ContextVar[bool] = ContextVar("gpugrad_sending", default=False)


@contextlib.contextmanager
def asked_for(asked: bool = True) -> Iterator[None]:
    """Say, during copies to a device or waits for it, whether the program asked for them."""
    before = sending.get()
    sending.set(asked)
    try:
        yield
    finally:
        sending.set(before)


@functools.lru_cache(64)
def _parse(name: str) -> tuple[str, int | None] | None:
    """Kind and index of a device's name; None where it is not one."""
    match = _NAMES.fullmatch(name)
    if match is None:
        return None
    plain, numbered, index = match.groups()
    return (plain or numbered, None if index is None else int(index))


class Device:
    """A place where arrays live: "cpu", "cuda", "cuda:1", "sim", "sim:1" or "auto".

    "cuda" is CuPy's current device, as a rule cuda:0; "sim" is sim:0, NumPy memory behind
    CuPy's restrictions. "auto" becomes "cuda" where CUDA works and else "cpu", and says
    so once per process through ``logging.getLogger("gpugrad")``. DeviceError for a name
    that is not one of these, for CUDA where it does not work (with the reason and what
    mends it) and for an index that the machine does not have.

    Immutable. Equal to an equal Device and to a name that means it; as a key of a dict,
    a Device finds Devices and its own ``str``.

    >>> cpu = Device("cpu")
    >>> cpu == "cpu", cpu.kind, cpu.index, cpu.xp.__name__
    (True, 'cpu', 0, 'numpy')
    >>> Device("sim:1")
    Device('sim:1')
    """

    __slots__ = ("index", "kind")

    kind: Literal["cpu", "cuda", "sim"]
    index: int

    def __new__(cls, spec: "str | Device") -> "Device":
        if isinstance(spec, Device):
            return spec
        parsed = _parse(spec) if isinstance(spec, str) else None
        if parsed is None:
            raise DeviceError(
                f"{spec!r} is not a device: expected "
                '"cpu", "cuda", "cuda:1", "sim", "sim:1" or "auto"'
            )
        kind, index = parsed
        if kind == "auto":
            kind = _choose()
        if kind == "cuda":
            cuda.require(index)
            if index is None:
                index = cuda.current_device()
        if kind == "sim" and index:
            _entered(kind, index)  # refuses a number that sim does not have
        return _known(kind, index or 0)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Device does not change: make another, Device({str(self)!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("a Device does not change")

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    def __repr__(self) -> str:
        return f"Device({str(self)!r})"

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Device):
            return self.kind == other.kind and self.index == other.index
        if not isinstance(other, str):
            return NotImplemented
        kind, index = _parse(other) or ("", None)
        if kind != self.kind:
            return False
        if index is None:
            index = cuda.current_device() if kind == "cuda" else 0
        return self.index == index

    def __reduce__(self) -> tuple[type["Device"], tuple[str]]:
        return Device, (str(self),)

    @property
    def xp(self) -> Any:
        """The module whose functions work on this device's arrays: numpy, cupy or sim."""
        return numpy if self.kind == "cpu" else _module(self.kind)

    def send(self, array: Any, *, asked: bool = True) -> Any:
        """The array on this device: the same object where it is there already.

        Takes arrays of NumPy, CuPy, sim and other registered types; a Python number or a NumPy
        scalar becomes a 0-d array. DTypeError for anything else. ``asked`` says whether the
        program asked for the copy: ``gg.sync_guard`` refuses others.

        >>> x = numpy.ones(3)
        >>> Device("cpu").send(x) is x
        True
        """
        namespace = namespace_of(array)
        if namespace is not None and not isinstance(array, numpy.generic):
            if device_of(array) == self:
                return array
        else:
            array = numpy.asarray(array)
        if self.kind == "cpu":
            return to_numpy(array)
        if not isinstance(array, self.xp.ndarray):
            array = to_numpy(array)
        with (
            memory.says_who(f"copy to {self}"),
            asked_for(asked),
            _entered(self.kind, self.index),
        ):
            return native(self.xp, "asarray")(array)

    def fetch(self, array: Any) -> numpy.ndarray:
        """The array as a NumPy array on the host; waits for the device. See ``to_numpy``."""
        return to_numpy(array)

    def activate(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which this is CuPy's (or sim's) current device, in this thread.

        The default device of gpugrad stays as it is: ``with device(...)`` changes both.

        >>> with Device("cpu").activate():
        ...     pass
        """
        kind = self.kind
        if kind == "cpu" or self.index == _current(kind):
            return _NOTHING
        return _entered(kind, self.index)

    def is_current(self) -> bool:
        """Whether new arrays of ``xp`` arise here: always so on a CPU."""
        return self.kind == "cpu" or self.index == _current(self.kind)

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given; a CPU has.

        >>> Device("cpu").synchronize()
        """
        if self.kind == "cuda":
            cuda.synchronize(self.index)
        elif self.kind == "sim":
            _entered(self.kind, self.index).synchronize()  # for those who count the waits


_devices: dict[tuple[str, int], Device] = {}  # by kind and index


def _known(kind: str, index: int) -> Device:
    """The one Device of a kind and index, unprobed: for arrays, which prove that it works."""
    found = _devices.get((kind, index))
    if found is None:
        found = object.__new__(Device)
        object.__setattr__(found, "kind", kind)
        object.__setattr__(found, "index", index)
        found = _devices.setdefault((kind, index), found)
    return found


_CPU = _known("cpu", 0)
_unsaid = iter([True])  # drained by the first "auto": next() on it is atomic


def _choose() -> str:
    """What "auto" means in this process; says so, once."""
    reason = cuda.why_unavailable()
    if next(_unsaid, False):
        if reason is None:
            log.info('device "auto": CUDA works, using cuda')
        else:
            log.warning('device "auto": using cpu, CUDA does not work here: %s', reason)
    return "cuda" if reason is None else "cpu"


def _module(kind: str) -> Any:
    return import_module("cupy" if kind == "cuda" else "gpugrad.backend.sim")


def _current(kind: str) -> int:
    """The index of CuPy's or sim's current device in this thread."""
    if kind == "cuda":
        return cuda.current_device()
    return int(_module(kind).Device().id)


def _entered(kind: str, index: int) -> Any:
    """CuPy's or sim's own context manager for one of its devices."""
    if kind == "cuda":
        return cuda.on_index(index)
    return _module(kind).Device(index)


# ---------------------------------------------------------------- asking arrays


def device_of(array: Any) -> Device:
    """The device on which an array lives, as its namespace says; DTypeError for what is no array.

    >>> device_of(numpy.zeros(3))
    Device('cpu')
    """
    namespace = NAMESPACES.get(type(array)) or _namespace("device_of", array)
    if namespace is None:
        raise DTypeError(f"device_of: expected an array, got the number {array!r}")
    key = namespace.device_id(array)
    return _devices.get(key) or _known(*key)


def _namespace(who: str, array: Any) -> Any:
    try:
        return namespace_of(array)
    except DTypeError as error:
        raise DTypeError(f"{who}: {error}") from None


def to_numpy(array: Any) -> numpy.ndarray:
    """The array as a NumPy array on the host: the same object where it is one already.

    Takes arrays of NumPy, CuPy, sim and other registered types; a Python number or a NumPy scalar
    becomes a 0-d array. Waits for the device. DTypeError for anything else.

    >>> to_numpy(2.5)
    array(2.5)
    """
    namespace = namespace_of(array)
    return numpy.asarray(array) if namespace is None else namespace.to_numpy(array)


def copied(array: Any) -> Any:
    """A copy of an array, on its device."""
    return namespace_of(array).copy(array)


def beside(array: Any, like: Any, *, asked: bool = False) -> Any:
    """An array of the host as one of the type, and on the device, of another array.

    ``asked`` as in ``Device.send``.
    """
    where = device_of(like)
    with memory.says_who(f"copy to {where}"), asked_for(asked), where.activate():
        return namespace_of(like).asarray(array)


def check_same_device(op: str, raws: tuple[Any, ...]) -> None:
    """Raise DeviceError where arrays among ``raws`` live on two devices.

    NumPy scalars and Python numbers belong nowhere and meet anything.

    >>> check_same_device("add", (numpy.ones(2), numpy.ones(2), 3.0))
    """
    first = None
    for raw in raws:
        namespace = None if isinstance(raw, numpy.generic) else NAMESPACES.get(type(raw))
        if namespace is None:
            continue
        here = device_of(raw)
        if first is None:
            first = here
        elif here != first:
            other = here if first.kind == "cpu" else first
            raise DeviceError(
                f"{op}: the operands are on two devices, {first} and {here}. "
                f'Move one of them first, with .to("{other}") or .cpu()'
            )


# ---------------------------------------------------------------- the default device

_scoped: ContextVar[Device | None] = ContextVar("gpugrad_device", default=None)
_process_default: Device | None = None


def default_device() -> Device:
    """The device of new arrays that name none.

    That of the innermost ``with device(...)`` of this thread or task, else that of
    ``set_default_device``, else that of the environment variable GPUGRAD_DEVICE, else
    the CPU. DeviceError where GPUGRAD_DEVICE names no device that works.

    >>> with device("cpu"):
    ...     default_device()
    Device('cpu')
    """
    global _process_default
    found = _scoped.get() or _process_default
    if found is None:
        found = _process_default = _from_environment()
    return found


def _from_environment() -> Device:
    name = os.environ.get("GPUGRAD_DEVICE", "").strip()
    if not name:
        return _CPU
    try:
        return Device(name)
    except DeviceError as error:
        raise DeviceError(f"GPUGRAD_DEVICE: {error}") from None


def set_default_device(spec: str | Device) -> None:
    """Make a device the default of the whole process, and CuPy's current one in this thread.

    A ``with device(...)`` in force goes on to decide inside its block.

    >>> set_default_device("cpu")
    """
    global _process_default
    found = Device(spec)
    if not found.is_current():
        _entered(found.kind, found.index).use()
    _process_default = found


@contextlib.contextmanager
def device(spec: str | Device) -> Iterator[Device]:
    """Make a device the default inside a ``with`` block, or a function it decorates.

    Holds for this thread and async task, and is undone after exceptions too. For "cuda:1"
    it is also CuPy's current device, which CuPy keeps per thread: an async task must not
    await inside a block that changes from one GPU to another.

    >>> with device("cpu") as here:
    ...     here
    Device('cpu')
    """
    found = Device(spec)
    with found.activate():
        token = _scoped.set(found)
        try:
            yield found
        finally:
            _scoped.reset(token)


class _DefaultNamespace:
    """The functions of the default device's module, looked up anew at each use.

    >>> xp.zeros(3).shape
    (3,)
    """

    def __getattr__(self, name: str) -> Any:
        where = default_device()
        found = getattr(where.xp, name)
        if where.is_current() or not callable(found) or isinstance(found, type):
            return found

        @functools.wraps(found)
        def there(*args: Any, **kwargs: Any) -> Any:
            with where.activate():
                return found(*args, **kwargs)

        return there

    def __dir__(self) -> list[str]:
        return dir(default_device().xp)

    def __repr__(self) -> str:
        return f"<gpugrad.backend.xp: {default_device().xp.__name__}>"


xp = _DefaultNamespace()
