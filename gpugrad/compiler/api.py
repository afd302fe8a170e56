"""``gg.compile``: a function that is recorded once and then runs as a program.

Imports session, entry and the modules beside it.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.autodiff import tree
from gpugrad.autodiff.levels import are_running
from gpugrad.backend.lines import warn
from gpugrad.compiler.calls.call import MISSED, built_in, is_ready, make
from gpugrad.compiler.calls.modes import aliases, modes
from gpugrad.compiler.calls.places import StaleError
from gpugrad.compiler.entry import Entry
from gpugrad.compiler.garbage import uncollected
from gpugrad.compiler.pieces import Programs
from gpugrad.compiler.recording import namespaces as _types  # noqa: F401  the types that record
from gpugrad.compiler.recording.record import record, record_lock
from gpugrad.engine.modes import tracing
from gpugrad.errors import DTypeError, GpugradError
from gpugrad.random.generator import draws
from gpugrad.tensor import Tensor

__all__ = ["Compiled", "compile"]

LIMIT = 32  # programs of one function
# What a recording raises, or a program with operands of another one's case.
ERRORS = (GpugradError, TypeError, ValueError, AttributeError, ArithmeticError, LookupError)


class Compiled:
    """A function that `compile` has made; it is called as the original is."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        functools.update_wrapper(self, function, updated=())
        self._entries: dict[Any, list[Entry]] = {}
        self._built_in: tuple[Any, ...] = ()  # what is tried first
        self._count = 0
        self._is_over = False

    def _say_so(self) -> None:
        """Warn, once, that calls of another kind are not recorded any more."""
        if not self._is_over:
            self._is_over = True
            warn(
                f"{self!r} has {LIMIT} programs, for other shapes, dtypes, numbers or modes; "
                "what is new runs as without compile. Pad arrays to a few shapes, and pass "
                "changing numbers as floats",
                RuntimeWarning,
            )

    def _signature(self, args: Any, kwargs: Any) -> tuple[list[Any], tree.Tree, Any] | None:
        """The leaves of arguments, their structure, and what else a program depends on.

        None inside of a recording and of `vmap`, and where operations are observed.
        """
        state = modes()
        if tracing.get() is not None or state is None or are_running():
            return None
        if kwargs or not _PLAIN.issuperset(map(type, args)):
            leaves, structure = tree.flatten((args, kwargs))
        else:  # as mostly
            leaves, structure = list(args), _structure(len(args))
        return leaves, structure, (state, aliases(leaves), *map(_kind, leaves))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for function in self._built_in:
            result = function(args, kwargs)
            if result is not MISSED:
                return result
        return self._in_python(args, kwargs)

    def _run(self, entry: Entry, key: Any, leaves: Sequence[Any], drawn: Any = None) -> Any:
        """The result of a program, which is right for some leaves.

        The first run, from which on there is what makes built-in functions, makes one for it.
        """
        if not entry.is_built_in and entry.native is not None:
            if not is_ready():
                try:
                    return entry(leaves, drawn)
                finally:
                    make()
            entry.is_built_in = True
            function = built_in(entry, key[0], leaves) if key[1] is None else None
            if function is not None:
                others = [one for one in self._built_in if one is not entry.built_in]
                self._built_in, entry.built_in = (function, *others), function
        return entry(leaves, drawn)

    def _in_python(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        done = self._found(args, kwargs)
        if done is None:
            with record_lock:  # in which another thread may have recorded, too
                done = self._found(args, kwargs) or (self._recorded(args, kwargs),)
        return done[0]

    def _found(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any] | None:
        """The result of the program that there is, in a tuple."""
        signature = self._signature(args, kwargs)
        if signature is None:
            return (self._function(*args, **kwargs),)
        leaves, structure, key = signature
        for entry in self._entries.get(key, ()):
            if (entry.structure is structure or entry.structure == structure) and entry.holds(
                leaves
            ):
                try:
                    return (self._run(entry, key, leaves),)
                except StaleError:
                    continue
        return None

    def _recorded(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of a new program."""
        if self._count >= LIMIT:
            self._say_so()
            return self._function(*args, **kwargs)
        signature = self._signature(args, kwargs)
        if signature is None:
            return self._function(*args, **kwargs)
        leaves, structure, key = signature
        with uncollected():
            recorded = record(self._function, leaves, structure)
            entry, drawn = self._entry(structure, key, leaves, recorded)
        try:
            return self._run(entry, key, leaves, drawn)
        except StaleError:  # it keeps what it has made
            return self._function(*args, **kwargs)

    def _entry(
        self, structure: tree.Tree, key: Any, leaves: Sequence[Any], recorded: Any
    ) -> tuple[Entry, Any]:
        """The program of a recording, and its random numbers.

        It is one that there is already, if the recording has shown that it is right.
        """
        entries = self._entries.setdefault(key, [])
        for entry in [one for one in entries if one.alone and one.structure == structure]:
            if (drawn := entry.learn(leaves, recorded)) is not None:
                return entry, drawn
        entry = Entry(structure, recorded, leaves)
        if recorded.told is None:
            entries.insert(0, entry)  # the likeliest next time
            self._count += 1
        return entry, recorded.drawn

    def report(self, source: bool = False, times: bool = False) -> str:
        """What has been recorded, a paragraph for each program.

        With ``times`` it says how long each loop, product or call takes: the programs run once
        more, over arrays of their shapes. With ``source`` it has their code.

        >>> import gpugrad as gg
        >>> f = gg.compile(lambda x: gg.exp(x * 1) + gg.exp(x))
        >>> f.report()
        'nothing recorded yet: call the function'
        >>> y = f(gg.ones(3))
        >>> f.report().splitlines()[0]
        'program 1: 4 steps recorded, 2 after simplification'
        """
        entries = [entry for several in self._entries.values() for entry in several]
        if not entries:
            return "nothing recorded yet: call the function"
        return "\n".join(entry.report(i, source, times) for i, entry in enumerate(entries, 1))

    def __getattr__(self, name: str) -> Any:
        # What a compiled model is asked for, as parameters(), train() and state_dict().
        if name.startswith("__") or name == "_function":
            raise AttributeError(f"a compiled function has no attribute {name!r}")
        return getattr(self._function, name)

    def __reduce__(self) -> Any:
        # A copy has no programs yet. A decorated function is found by its name.
        module = sys.modules.get(getattr(self, "__module__", ""))
        name = getattr(self, "__qualname__", "")
        return name if getattr(module, name, None) is self else (type(self), (self._function,))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}>"


class _Reason:
    """Why there is no program for a signature, and those of its pieces, if they pay."""

    def __init__(self, structure: tree.Tree, error: Exception) -> None:
        self.structure = structure
        self.error = error
        self.programs: Programs | None = None

    def how(self) -> str:
        return "runs without compile" if self.programs is None else self.programs.report()


class Lenient(Compiled):
    """A compiled function that runs as usual where it cannot be recorded.

    There are several programs for one signature, where Python has asked for the truth of a tensor
    or for a whole number: each is right for the answers that it was recorded with.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._reasons: dict[Any, list[_Reason]] = {}

    def _in_python(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        signature = self._signature(args, kwargs)
        if signature is None:
            return self._function(*args, **kwargs)
        leaves, structure, key = signature
        entries = self._entries.setdefault(key, [])
        for entry in [one for one in entries if one.structure == structure and one.holds(leaves)]:
            if (done := self._tried(entry, key, leaves)) is not None:
                entries.remove(entry)
                entries.insert(0, entry)  # the likeliest next time
                return done[0]
        with record_lock:
            return self._recorded_or_run(args, kwargs, leaves, structure, key)

    def _recorded_or_run(
        self, args: Any, kwargs: Any, leaves: list[Any], structure: tree.Tree, key: Any
    ) -> Any:
        """The result of a new program, or of the function where it cannot be recorded."""
        reasons = self._reasons.setdefault(key, [])
        for reason in reasons:
            if reason.structure == structure:
                return self._in_pieces(reason, args, kwargs, leaves)
        if self._count >= LIMIT:
            self._say_so()
            return self._function(*args, **kwargs)
        with draws() as states:
            try:
                recorded = record(self._function, leaves, structure, is_lenient=True)
                entry, drawn = self._entry(structure, key, leaves, recorded)
            except ERRORS as error:  # the user's own are raised again
                _set_back(states)
                result = self._function(*args, **kwargs)
                reasons.append(_Reason(structure, error))
                return result
        if recorded.told is not None:
            reasons.append(_Reason(structure, recorded.told))
            if not recorded.keeps and not recorded.graph:
                reasons[-1].programs = Programs.of(recorded.program, recorded.namespaces)
        # A graph of one call has derivatives of every order: the function makes it.
        is_right = recorded.told is None or recorded.graph is None
        done = self._tried(entry, key, leaves, drawn) if is_right else None
        if done is None:
            _set_back(states)
        return self._function(*args, **kwargs) if done is None else done[0]

    def _in_pieces(self, reason: _Reason, args: Any, kwargs: Any, leaves: list[Any]) -> Any:
        """The result where values are asked for: in pieces, if there are such."""
        programs = reason.programs
        if programs is None or not programs.may_run():
            return self._function(*args, **kwargs)
        done = None
        with draws() as states:
            try:
                recorded = record(self._function, leaves, reason.structure, True, programs)
                if not recorded.keeps and not recorded.graph:
                    done = (Entry(reason.structure, recorded)(leaves, recorded.drawn),)
            except (StaleError, *ERRORS):  # the user's own are raised again
                pass
        if done is None or programs.is_over:
            reason.programs = None
        if done is None:
            _set_back(states)
        return self._function(*args, **kwargs) if done is None else done[0]

    def _tried(self, entry: Entry, key: Any, leaves: Any, drawn: Any = None) -> tuple[Any] | None:
        """The result of a program, in a tuple; None, and all as before, where it is not right."""
        with draws() as states:
            try:
                return (self._run(entry, key, leaves, drawn),)
            except StaleError:
                _set_back(states)
            except ERRORS:
                if not entry.recorded.guards:
                    raise
                _set_back(states)  # it was another program's case
        return None

    def report(self, source: bool = False, times: bool = False) -> str:
        lines = (
            [super().report(source, times)]
            if self._count or not any(self._reasons.values())
            else []
        )
        for several in self._reasons.values():
            lines += [f"{one.how()} for {one.structure}: {one.error}" for one in several]
        return "\n".join(lines)


def _set_back(states: dict[Any, Any]) -> None:
    """Let generators draw again what they have drawn."""
    for generator, state in states.items():
        generator.set_state(state)


_PLAIN = {Tensor, np.ndarray, float}


@functools.cache
def _structure(count: int) -> tree.Tree:
    """The structure of so many leaves as arguments."""
    return tree.flatten(((0.0,) * count, {}))[1]


def _kind(leaf: Any) -> Any:
    """What a program depends on, of an argument."""
    cls = type(leaf)
    if isinstance(leaf, Tensor):
        array = leaf._array
        owner = np.ndarray if isinstance(array, np.generic) else type(array)
        return cls, owner, array.shape, array.dtype, type(leaf._node)
    if cls is float:
        return cls
    if isinstance(leaf, np.generic):
        return cls
    array = getattr(leaf, "shape", None)
    return (cls, leaf) if array is None else (cls, array, leaf.dtype)


# The flags of code whose calls compute nothing yet: generators and coroutines.
_LATER = 0x20 | 0x80 | 0x200


def compile(function: Callable[..., Any], strict: bool = True) -> Compiled:
    """A function that runs as one program. Its first call records it.

    ``function`` may be a model: the result has its attributes, such as ``parameters()``.

    What would make the program right for one set of values alone raises CompileError, with the
    user's line. With ``strict=False`` it does not: where Python asks for the truth of a tensor or
    for a whole number, there is a program for each set of answers, checked at each call before
    anything is changed; and a signature that cannot be recorded at all runs as without compile, as
    `Compiled.report` says.

    >>> import gpugrad as gg
    >>> slope = gg.compile(gg.grad(lambda x: x**3))
    >>> slope(2.0), slope(3.0)
    (12.0, 27.0)
    >>> clipped = gg.compile(lambda x: x if x.sum() > 0 else -x, strict=False)
    >>> clipped(gg.tensor([1.0, 2.0])), clipped(gg.tensor([-1.0, -2.0]))
    (tensor([1., 2.]), tensor([1., 2.]))
    """
    if not callable(function) or isinstance(function, type):
        what = f"the class {function.__name__}" if isinstance(function, type) else repr(function)
        raise DTypeError(f"compile: expected a function or a model, got {what:.80}")
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & _LATER:
        raise DTypeError(
            f"compile: {function.__qualname__} is a generator or a coroutine, of which a call "
            "computes nothing yet. Compile the functions that it calls"
        )
    return Compiled(function) if strict else Lenient(function)
