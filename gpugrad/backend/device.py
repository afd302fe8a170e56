"""Devices: names, the default device, copies between devices.

Imports errors, namespace and cuda; CuPy and sim only when a device needs them. The engine and the
ops never use the default device: they ask the array. The default decides where *new* arrays are
created.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from importlib import import_module
from threading import get_ident
from types import FrameType
from typing import Any, Literal, Self

import numpy

from gpugrad.backend import cuda, memory
from gpugrad.backend.blocks import Block, Held, Stack, held, now
from gpugrad.backend.cupy_compat import native
from gpugrad.backend.namespace import NAMESPACES, namespace_of
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


_NAMES = re.compile(r"(cpu|auto)|(cuda|sim)(?::(\d+))?")
_NOTHING = contextlib.nullcontext()

# True during a copy to a device, or a wait, that the program requested: see gpugrad.sync_guard.
sending: ContextVar[bool] = ContextVar("gpugrad_sending", default=False)


@contextlib.contextmanager
def asked_for(asked: bool = True) -> Iterator[None]:
    """Mark copies to a device, and waits, inside the block as requested by the program or not."""
    before = sending.get()
    try:
        sending.set(asked)
        yield
    finally:
        sending.set(before)


@functools.lru_cache(64)
def _parse(name: str) -> tuple[str, int | None] | None:
    """Kind and index of the name of a device; None for another string."""
    match = _NAMES.fullmatch(name)
    if match is None:
        return None
    plain, numbered, index = match.groups()
    return (plain or numbered, None if index is None else int(index))


class Device:
    """Where arrays live: "cpu", "cuda", "cuda:1", "sim", "sim:1" or "auto".

    "cuda" is CuPy's current device, cuda:0 unless changed; "sim" is sim:0, NumPy memory behind
    CuPy's restrictions. "auto" becomes "cuda" where CUDA works, else "cpu", and logs its choice
    once per process to ``logging.getLogger("gpugrad")``. DeviceError for another name, for CUDA
    where it does not work (with the reason and the fix), and for an index that the machine does
    not have.

    Immutable. Equal to an equal Device and to a name of the same device; as a dict key, a Device
    matches Devices and its own ``str``.

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
            _context(kind, index)  # raises for an index that sim does not have
        return _device(kind, index or 0)

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
        """The array on this device: the same object if it is there already.

        Takes arrays of NumPy, CuPy, sim and other registered types; a Python number or a NumPy
        scalar becomes a 0-d array. DTypeError for anything else. ``asked`` says whether the
        program requested the copy: ``gg.sync_guard`` refuses others.

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
        elif not array.flags.c_contiguous:  # CuPy copies no others between devices
            with device_of(array).activate():
                array = native(self.xp, "ascontiguousarray")(array)
        with (
            memory.says_who(f"copy to {self}"),
            asked_for(asked),
            _context(self.kind, self.index),
        ):
            sent = native(self.xp, "asarray")(array)  # where an interrupt leaves the block, too
        return sent

    def fetch(self, array: Any) -> numpy.ndarray:
        """The array as a NumPy array on the host; waits for the device. See ``to_numpy``."""
        return to_numpy(array)

    def activate(self) -> contextlib.AbstractContextManager[Any]:
        """A context in which this is CuPy's (or sim's) current device, in this thread.

        The default device of gpugrad stays as it is: ``with device(...)`` changes both.

        >>> with Device("cpu").activate():
        ...     pass
        """
        return _NOTHING if self.is_current() else _context(self.kind, self.index)

    def around(self, calls: list[Callable[[], Any]]) -> list[Callable[[], Any]]:
        """The calls, with others around them that make this CuPy's (or sim's) current device.

        >>> Device("cpu").around([print])
        [<built-in function print>]
        """
        if self.is_current():
            return calls
        before = _context(self.kind, _current(self.kind))
        return [_context(self.kind, self.index).use, *calls, before.use]

    def is_current(self) -> bool:
        """Whether new arrays of ``xp`` are created on this device: always on a CPU."""
        return self.kind == "cpu" or self.index == _current(self.kind)

    def synchronize(self) -> None:
        """Wait until all work queued on the device is done. A CPU has no queue.

        >>> Device("cpu").synchronize()
        """
        if self.kind == "cuda":
            cuda.synchronize(self.index)
        elif self.kind == "sim":
            _context(self.kind, self.index).synchronize()  # sim counts the wait


_devices: dict[tuple[str, int], Device] = {}  # by kind and index
_in_use: dict[str, None] = {}  # the kinds but "cpu"
if hasattr(os, "register_at_fork"):  # a forked process has no CUDA, and is not asked for its device
    os.register_at_fork(after_in_child=_in_use.clear)


def _device(kind: str, index: int) -> Device:
    """The Device of a kind and index, without a probe: an array on it proves that it works."""
    instance = _devices.get((kind, index))
    if instance is None:
        instance = object.__new__(Device)
        object.__setattr__(instance, "kind", kind)
        object.__setattr__(instance, "index", index)
        instance = _devices.setdefault((kind, index), instance)
        if kind != "cpu":
            _in_use[kind] = None
    return instance


_CPU = _device("cpu", 0)
_unsaid = iter([True])  # exhausted by the first "auto": next() is atomic


def _choose() -> str:
    """The kind of device that "auto" means in this process; logged once."""
    reason = cuda.why_unavailable()
    if next(_unsaid, False):
        import logging  # a good part of the time of an import

        log = logging.getLogger("gpugrad")
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


def _context(kind: str, index: int) -> Any:
    """The device object of CuPy or sim, which is a context manager."""
    return _module(kind).cuda.Device(index)


# ---------------------------------------------------------------- devices of arrays


def device_of(array: Any) -> Device:
    """The device of an array, by its namespace; DTypeError for anything but an array.

    >>> device_of(numpy.zeros(3))
    Device('cpu')
    """
    namespace = NAMESPACES.get(type(array)) or _namespace("device_of", array)
    if namespace is None:
        raise DTypeError(f"device_of: expected an array, got the number {array!r}")
    key = namespace.device_id(array)
    return _devices.get(key) or _device(*key)


def _namespace(who: str, array: Any) -> Any:
    """`namespace_of`, with the name of the function in its error."""
    try:
        return namespace_of(array)
    except DTypeError as error:
        raise DTypeError(f"{who}: {error}") from None


def to_numpy(array: Any) -> numpy.ndarray:
    """The array as a NumPy array on the host: the same object if it is one already.

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
    """A host array converted to the array type and the device of another array.

    ``asked`` as in ``Device.send``.
    """
    device = device_of(like)
    with memory.says_who(f"copy to {device}"), asked_for(asked), device.activate():
        return namespace_of(like).asarray(array)


def check_same_device(op: str, raws: tuple[Any, ...]) -> None:
    """Raise DeviceError where arrays among ``raws`` live on two devices.

    NumPy scalars and Python numbers have no device: they meet arrays of any.

    >>> check_same_device("add", (numpy.ones(2), numpy.ones(2), 3.0))
    """
    first = None
    for raw in raws:
        namespace = None if isinstance(raw, numpy.generic) else NAMESPACES.get(type(raw))
        if namespace is None:
            continue
        device = device_of(raw)
        if first is None:
            first = device
        elif device != first:
            other = device if first.kind == "cpu" else first
            raise DeviceError(
                f"{op}: the operands are on two devices, {first} and {device}. "
                f'Move one of them first, with .to("{other}") or .cpu()'
            )


# ---------------------------------------------------------------- the default device

_scoped: ContextVar[Device | Held | None] = ContextVar("gpugrad_device", default=None)
_process_default: Device | None = None


def default_device() -> Device:
    """The device of new arrays without ``device=``.

    That of the innermost ``with device(...)`` of this thread or task, else that of
    ``set_default_device``, else that of the environment variable GPUGRAD_DEVICE, else the CPU.
    DeviceError if GPUGRAD_DEVICE names no device that works.

    >>> with device("cpu"):
    ...     default_device()
    Device('cpu')
    """
    global _process_default
    default = now(_scoped.get()) or _process_default
    if default is None:
        default = _process_default = _from_environment()
    return default


def _from_environment() -> Device:
    name = os.environ.get("GPUGRAD_DEVICE", "").strip()
    if not name:
        return _CPU
    try:
        return Device(name)
    except DeviceError as error:
        raise DeviceError(f"GPUGRAD_DEVICE: {error}") from None


def set_default_device(spec: str | Device) -> None:
    """Make a device the default of the process, and CuPy's current one in this thread.

    Inside a ``with device(...)`` block the device of that block stays the default.

    >>> set_default_device("cpu")
    """
    global _process_default
    default = Device(spec)
    if not default.is_current():
        _context(default.kind, default.index).use()
    _process_default = default


class _CurrentDevices:
    """CuPy's and sim's current devices, as a variable that a block sets."""

    def get(self) -> tuple[tuple[str, int], ...]:
        """Kind and index of each, where a device of that kind is in use."""
        return tuple([(kind, _current(kind)) for kind in _in_use]) if _in_use else ()

    def set(self, devices: tuple[tuple[str, int], ...]) -> None:
        """Make devices the current ones of this thread."""
        for kind, index in devices:
            if _current(kind) != index:
                _context(kind, index).use()


_CURRENT = _CurrentDevices()


class device(Block):  # noqa: N801 - a block, like no_grad
    """Make a device the default inside a ``with`` block, or a function it decorates.

    It holds for this thread and async task, and ends with the block, after exceptions too.
    "cuda:1" becomes CuPy's current device as well, which CuPy keeps per thread: an async task
    must not await, nor an asynchronous generator yield, inside a block that changes the GPU.
    DeviceError for another name, and where the device does not work, when the block begins.

    >>> with device("cpu") as here:
    ...     here
    Device('cpu')
    """

    stack = Stack("gpugrad_device_blocks", _scoped, _CURRENT)

    def __init__(self, spec: str | Device) -> None:
        self.spec = spec
        # By thread, what its current devices were before the block changed one.
        self._moved: dict[int, tuple[tuple[str, int], ...]] = {}

    def _begin(self, frame: FrameType, before: tuple[Any, ...] | None = None) -> None:
        default = Device(self.spec)
        opened = None
        try:
            opened = self.stack.begin(self, before)
            if not default.is_current():
                self._moved[get_ident()] = opened[1][1]
                _context(default.kind, default.index).use()
            _scoped.set(held(opened, 0, default, frame))
        except BaseException:  # as in Block
            self.stack.end(opened or self.stack.last(self))
            raise

    def __enter__(self) -> Device:
        self._begin(sys._getframe(1))
        return default_device()

    def __exit__(self, *error: object) -> None:
        moved = self._moved.pop(get_ident(), ()) if self._moved else ()
        if moved and self.stack.last(self) is None:  # of another task, in this thread
            _CURRENT.set(moved)
        super().__exit__(*error)

    def _copy(self) -> Self:
        return type(self)(self.spec)


class _DefaultNamespace:
    """The functions of the module of the default device, looked up at each use.

    >>> xp.zeros(3).shape
    (3,)
    """

    def __getattr__(self, name: str) -> Any:
        device = default_device()
        value = getattr(device.xp, name)
        if device.is_current() or not callable(value) or isinstance(value, type):
            return value

        @functools.wraps(value)
        def on_device(*args: Any, **kwargs: Any) -> Any:
            with device.activate():
                return value(*args, **kwargs)

        return on_device

    def __dir__(self) -> list[str]:
        return dir(default_device().xp)

    def __repr__(self) -> str:
        return f"<gpugrad.backend.xp: {default_device().xp.__name__}>"


xp = _DefaultNamespace()
