"""The random number generator: a seed, a position, and draws that return Tensors.

Imports tensor, backend, errors, `arguments` and `philox`, which has the formulas. This module
advances the position, and makes Tensors on a device.
"""

import copy
import math
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy

from gpugrad.backend.device import Device, default_device, device_of
from gpugrad.batching.batched import wrapped
from gpugrad.engine.modes import levels, tracing
from gpugrad.errors import BatchError, CompileError, DTypeError, ShapeError
from gpugrad.random import philox
from gpugrad.random.arguments import (
    END,
    check_below_end,
    check_dtype,
    check_float_dtype,
    check_integer,
    check_number,
    check_shape,
)
from gpugrad.tensor import Tensor, as_tensor

__all__ = ["Generator", "draws", "replayed"]

State = tuple[int, int, int]
Size = int | tuple[int, ...] | None
DeviceLike = str | Device | None


# The generators used inside `draws`, with their states before.
_noted: ContextVar["dict[Generator, State] | None"] = ContextVar("gpugrad_draws", default=None)


@contextmanager
def draws() -> Iterator["dict[Generator, State]"]:
    """Record which generators this thread uses in the block, and their states before."""
    noted: dict[Generator, State] = {}
    outer = _noted.get()
    try:
        _noted.set(noted)
        yield noted
    finally:
        _noted.set(outer)
        if outer is not None:
            for generator, state in noted.items():
                outer.setdefault(generator, state)


@contextmanager
def replayed(states: "dict[Generator, State]") -> Iterator[None]:
    """Repeat the recorded draws in the block; afterwards the generators have their states back."""
    before = [(generator, generator.get_state()) for generator in states]
    try:
        for generator, state in states.items():
            generator.set_state(state)
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)


class Generator:
    """A stream of random numbers, from a seed and a position in it.

    ``seed`` is a whole number in [0, 2**64), None for one from the operating system; it is
    the key of Philox4x32-10. ``device`` is the device of draws without ``device=``, None for
    the default device at the time of the draw. DTypeError for a seed that is not a whole
    number, ValueError for one out of range.

    The bits depend on the seed and the position alone, neither on the device, nor on the
    thread, nor on other generators. The position is counted in blocks of four 32-bit words.
    Each draw takes whole blocks, so draws of 8 and 12 float32 values equal one draw of 20,
    and after a draw of 10 the last two words of its third block are never used. The module
    `philox` lists the words of each kind of value.

    Threads may share a generator and never get the same blocks, but the assignment depends
    on timing. For reproducible results give each thread its own, with ``spawn``. The same
    holds for processes made by ``os.fork``: they start as copies.

    >>> import gpugrad as gg
    >>> g = gg.random.Generator(0)
    >>> [hex(word) for word in g.bits(4).numpy().tolist()]  # the published known answer
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    >>> g
    Generator(seed=0, counter=1)
    """

    def __init__(self, seed: int | None = None, device: DeviceLike = None) -> None:
        self._lock = threading.Lock()
        try:
            self._seed = secrets.randbits(64) if seed is None else check_below_end("seed", seed)
        except BatchError:
            raise BatchError(
                "vmap: the seed of a generator is the same for all elements. Draw from one that is "
                'made outside: by vmap(f, randomness="different") each element has its own numbers'
            ) from None
        self._counter = 0
        self._children = 0
        self._device = None if device is None else Device(device)

    # ------------------------------------------------------------ state

    @property
    def seed(self) -> int:
        """The seed; ``Generator(g.seed)`` starts the same stream."""
        return self._seed

    @property
    def counter(self) -> int:
        """The position: the number of blocks that were drawn or skipped."""
        return self._counter

    @property
    def device(self) -> Device | None:
        """The device of draws without ``device=``; None for the default device."""
        return self._device

    def get_state(self) -> State:
        """Seed, position and number of children, for ``set_state``; costs next to nothing.

        >>> import gpugrad as gg
        >>> g = gg.random.Generator(7)
        >>> before = g.get_state()
        >>> first = g.uniform(size=3).numpy()
        >>> g.set_state(before)
        >>> bool((g.uniform(size=3).numpy() == first).all())
        True
        """
        with self._lock:
            return self._seed, self._counter, self._children

    def set_state(self, state: State) -> None:
        """Restore a state of ``get_state``; ValueError and DTypeError for anything else."""
        if not isinstance(state, tuple | list) or len(state) != 3:
            raise ValueError(
                "set_state: expected the three whole numbers of get_state "
                f"(seed, counter, children), got {state!r}"
            )
        names = ("seed", "counter", "children")
        checked = [
            check_below_end(f"set_state: {name}", value) for name, value in zip(names, state)
        ]
        with self._lock:
            self._seed, self._counter, self._children = checked

    def state_dict(self) -> dict[str, int]:
        """The state as plain numbers by name, for ``gg.save``.

        >>> import gpugrad as gg
        >>> gg.random.Generator(7).state_dict()
        {'seed': 7, 'counter': 0, 'children': 0}
        """
        return dict(zip(("seed", "counter", "children"), self.get_state()))

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Load a ``state_dict``; after an error nothing has been changed.

        ValueError where keys are missing or unexpected, or numbers out of range; DTypeError for
        other types.
        """
        expected = {"seed", "counter", "children"}
        if not isinstance(state, Mapping) or set(state) != expected:
            keys = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(
                f"load_state_dict: a generator's state has the keys {sorted(expected)}, got {keys}"
            )
        self.set_state((state["seed"], state["counter"], state["children"]))

    def advance(self, blocks: int) -> None:
        """Skip blocks of four 32-bit words in constant time; ValueError out of the stream.

        >>> import gpugrad as gg
        >>> g = gg.random.Generator(7)
        >>> g.advance(1000)
        >>> g.counter
        1000
        """
        self.take(check_below_end("advance: blocks", blocks))

    def take(self, blocks: int) -> tuple[int, int]:
        """Reserve blocks; returns the seed and the position of the first.

        For formulas that draw in pieces: nobody else gets these blocks.

        >>> import gpugrad as gg
        >>> g = gg.random.Generator(7)
        >>> g.take(10), g.take(1)
        ((7, 0), (7, 10))
        """
        if tracing.get() is not None:
            raise CompileError(
                "compile: a position in the stream of a generator cannot be recorded. Call advance "
                "and take outside of the compiled function"
            )
        if _levels_with_draws() is not None:
            raise BatchError(
                "vmap: a position in the stream of a generator is the same for all elements. Pass "
                'randomness="same" to vmap, or call advance and take outside'
            )
        return self._take(blocks)

    def _take(self, blocks: int) -> tuple[int, int]:
        with self._lock:
            self._note()
            first = self._counter
            if first + blocks >= END:
                raise ValueError(
                    f"the generator has {END - 1 - first} of its 2**64 blocks left, {blocks} were "
                    "requested; use another seed"
                )
            self._counter = first + blocks
            return self._seed, first

    def _note(self) -> None:
        noted = _noted.get()
        if noted is not None and self not in noted:
            noted[self] = self._seed, self._counter, self._children

    def spawn(self, n: int) -> list["Generator"]:
        """``n`` new generators with streams of their own, on the same device.

        Their seeds depend on this generator's seed and its number of children, and not on its
        position, which does not change. Two of N children have the same seed with a
        probability of N**2 / 2**65.

        >>> import gpugrad as gg
        >>> a, b = gg.random.Generator(7).spawn(2)
        >>> a.seed == b.seed
        False
        """
        count = check_below_end("spawn: n", n)
        with self._lock:
            self._note()
            seed, first = self._seed, self._children
            self._children = first + count
        return [
            Generator(philox.child_key(seed, index), self._device)
            for index in range(first, first + count)
        ]

    def split(self) -> "Generator":
        """One new generator with a stream of its own: ``spawn(1)[0]``.

        >>> import gpugrad as gg
        >>> g = gg.random.Generator(7)
        >>> g.split().seed == g.split().seed
        False
        """
        return self.spawn(1)[0]

    def __repr__(self) -> str:
        where = "" if self._device is None else f", device={str(self._device)!r}"
        return f"Generator(seed={self._seed}, counter={self._counter}{where})"

    def __getstate__(self) -> dict[str, Any]:
        return {"state": self.get_state(), "device": self._device}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        self._lock = threading.Lock()
        self._device = saved["device"]
        self.set_state(saved["state"])

    def __deepcopy__(self, memo: dict[int, Any]) -> "Generator":
        return copy.copy(self)

    # ------------------------------------------------------------ draws

    def draw(self, formula: Any, device: DeviceLike, size: tuple[int, ...], *, reserve: int) -> Any:
        """The raw array of a formula that draws in pieces, from blocks that nobody else gets.

        ``formula(xp, key, first, size)`` has ``reserve`` blocks from ``first`` on. Under `vmap` the
        elements of a batch come first in size, with as many blocks each.
        """
        return self._draw(formula, device, size, 0, reserve=reserve)

    def _draw(
        self, formula: Any, device: DeviceLike, size: tuple[int, ...], words: int, *arguments: Any,
        reserve: int | None = None,
    ) -> Any:  # fmt: skip
        """The raw array of a formula of `philox` at the next free position, on a device.

        A device that is not named is the generator's, or else the default one.
        """
        chosen = self._device if device is None else device
        where = default_device() if chosen is None else Device(chosen)
        several = _levels_with_draws() or ()
        batch = tuple(level.size for level in several)
        count = philox.blocks(math.prod(batch + size), words)
        size = batch + size
        if several:
            count = 1  # of however many elements, so that the next draw begins at the same place
        elif reserve is not None:
            count = reserve

        def drawn() -> Any:
            key, first = self._take(count)
            if several:
                key, first = philox.batch_key(key, first), 0
            with where.activate():
                return formula(where.xp, key, first, size, *arguments)

        session = tracing.get()
        raw = drawn() if session is None else session.draw(drawn)
        for level in several:
            raw = wrapped(raw, level.number)
        return raw

    def bits(self, size: Size = None, *, device: DeviceLike = None) -> Tensor:
        """The raw 32-bit words of the stream, uint32.

        >>> import gpugrad as gg
        >>> gg.random.Generator(7).bits((2, 3)).shape
        (2, 3)
        """
        return Tensor(self._draw(philox.bits, device, check_shape("bits", size), 1))

    def uniform(
        self, low: float = 0.0, high: float = 1.0, size: Size = None, *, dtype: Any = None,
        device: DeviceLike = None, requires_grad: bool = False,
    ) -> Tensor:  # fmt: skip
        """Uniform on [low, high), in float16, float32 or float64 (None: the default dtype).

        A multiple of 2**-11, 2**-24 or 2**-53 on [0, 1); the same numbers on every device.
        ValueError where low >= high or one is not finite, ShapeError for a bad size,
        DTypeError for another dtype.

        >>> import gpugrad as gg
        >>> x = gg.random.Generator(7).uniform(-1, 1, size=(2, 3))
        >>> x.shape, bool((x.numpy() >= -1).all() and (x.numpy() < 1).all())
        ((2, 3), True)
        """
        shape, chosen = check_shape("uniform", size), check_float_dtype("uniform", dtype)
        low, high = check_number("uniform: low", low), check_number("uniform: high", high)
        if low >= high:
            raise ValueError(f"uniform: low must be below high, got low={low}, high={high}")
        largest = float(numpy.finfo(chosen).max)
        if max(-low, high, high - low) > largest:
            raise ValueError(
                f"uniform: low={low}, high={high} and their difference must fit {chosen}, "
                f"whose largest number is {largest}"
            )
        words = philox.value_words(chosen)
        raw = self._draw(philox.uniform, device, shape, words, chosen, low, high)
        return Tensor(raw).requires_grad_(requires_grad)

    def normal(
        self, loc: float = 0.0, scale: float = 1.0, size: Size = None, *, dtype: Any = None,
        device: DeviceLike = None, requires_grad: bool = False,
    ) -> Tensor:  # fmt: skip
        """Normal with mean ``loc`` and standard deviation ``scale``, by Box and Muller.

        In float16, float32 or float64 (None: the default dtype). The bits are the same on every
        device, but log, sin and cos are rounded differently: expect differences of up to
        ``scale`` times 1e-5 (float32), 1e-13 (float64). ValueError for a negative scale or
        numbers that are not finite, ShapeError for a bad size, DTypeError for another dtype.

        >>> import gpugrad as gg
        >>> x = gg.random.Generator(7).normal(10.0, 0.1, size=1000)
        >>> round(float(x.numpy().mean()), 1)
        10.0
        """
        shape, chosen = check_shape("normal", size), check_float_dtype("normal", dtype)
        loc, scale = check_number("normal: loc", loc), check_number("normal: scale", scale)
        if scale < 0:
            raise ValueError(f"normal: scale must not be negative, got {scale}")
        words = philox.value_words(chosen)
        raw = self._draw(philox.normal, device, shape, words, chosen, loc, scale)
        return Tensor(raw).requires_grad_(requires_grad)

    def integers(
        self, low: int, high: int | None = None, size: Size = None, *, dtype: Any = numpy.int64,
        device: DeviceLike = None,
    ) -> Tensor:  # fmt: skip
        """Integers in [low, high), or in [0, low) where ``high`` is None; any integer dtype.

        All have the same probability, to a relative error of at most 2**-32 (see
        `philox.integers`), and are the same on every device. ValueError where low >= high or
        the dtype cannot hold them, ShapeError for a bad size, DTypeError for another dtype.

        >>> import gpugrad as gg
        >>> x = gg.random.Generator(7).integers(1, 7, size=1000).numpy()
        >>> int(x.min()), int(x.max())
        (1, 6)
        """
        shape, chosen = check_shape("integers", size), check_dtype("integers", dtype)
        if chosen.kind not in "iu":
            raise DTypeError(f"integers: dtype must be an integer type, got {chosen}")
        low, high = (low, high) if high is not None else (0, low)
        low, high = check_integer("integers: low", low), check_integer("integers: high", high)
        if low >= high:
            raise ValueError(f"integers: low must be below high, got low={low}, high={high}")
        span = numpy.iinfo(chosen)
        if low < span.min or high - 1 > span.max:
            raise ValueError(
                f"integers: {chosen} holds {span.min} to {span.max}, got low={low}, high={high}"
            )
        words = philox.integer_words(low, high)
        return Tensor(self._draw(philox.integers, device, shape, words, low, high, chosen))

    def bernoulli(
        self, p: float = 0.5, size: Size = None, *, dtype: Any = bool, device: DeviceLike = None
    ) -> Tensor:
        """True (or 1, in the requested dtype) with probability ``p``, else False.

        ``p`` is rounded to a multiple of 2**-32 and compared with integers, so a mask is the
        same on every device. ValueError for p outside [0, 1], ShapeError for a bad size,
        DTypeError for a dtype that is not bool, integer or float.

        >>> import gpugrad as gg
        >>> gg.random.Generator(7).bernoulli(1.0, size=3).numpy().tolist()
        [True, True, True]
        """
        shape, chosen = check_shape("bernoulli", size), check_dtype("bernoulli", dtype)
        if chosen.kind not in "biuf":
            raise DTypeError(f"bernoulli: dtype must be bool, integer or float, got {chosen}")
        p = check_number("bernoulli: p", p)
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"bernoulli: p is a probability, from 0 to 1, got {p}")
        raw = self._draw(philox.bernoulli, device, shape, 1, p)
        return Tensor(raw if chosen.kind == "b" else raw.astype(chosen))

    def permutation(self, x: Any, *, device: DeviceLike = None) -> Tensor:
        """The numbers 0 to x - 1 in random order (int64), or an array's rows in random order.

        An array is permuted along its first axis on its device; the gradient of a Tensor's row
        goes to its origin. The order is the same on every device. ValueError for a negative
        number and for ``device=`` with an array, ShapeError for a 0-d array.

        >>> import gpugrad as gg
        >>> sorted(gg.random.Generator(7).permutation(5).numpy().tolist())
        [0, 1, 2, 3, 4]
        """
        if isinstance(x, int | numpy.integer) and not isinstance(x, bool):
            n = check_below_end("permutation: x", x)
            return Tensor(self._draw(philox.permutation, device, (n,), 2))
        if device is not None:
            raise ValueError(
                "permutation: device= goes with a number; an array is permuted where it lives, "
                "move it first, with .to(device)"
            )
        rows: Any = x if isinstance(x, Tensor) else as_tensor(x)
        if rows.ndim == 0:
            raise ShapeError(
                "permutation: expected a whole number or an array with at least one axis, "
                f"got a 0-d array of {rows.dtype}"
            )
        return rows[self._draw(philox.permutation, device_of(rows.data), rows.shape[:1], 2)]


def _levels_with_draws() -> list[Any] | None:
    """The levels of `vmap` in which each element has numbers of its own; None outside of any."""
    running = levels.get()
    if any(level.randomness == "error" for level in running):
        raise BatchError(
            "vmap: random numbers are drawn inside. Say whether all elements get other ones, by "
            'vmap(f, randomness="different"), or the "same"; or draw them outside'
        )
    return [level for level in running if level.randomness == "different"] or None
