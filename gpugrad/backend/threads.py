"""How many threads work may take, and threads that share it in blocks. Imports blas and errors.

NumPy's functions run on the thread that calls them, without Python's lock where arrays are large,
and only the products of its BLAS take more threads. So what composite operations do in blocks that
stay in the cache (`gpugrad.backend.convolution` and others) is shared by threads of Python, block
by block, while each of them has products of one thread. What is added up together depends on shapes
alone, so that results are the same with any number of threads.
"""

import atexit
import os
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import cache, partial
from operator import call, setitem
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from gpugrad.backend.blas import blas
from gpugrad.errors import ArgumentError

__all__ = ["SMALL", "VARIABLES", "own_cores", "share", "thread_count", "with_small_products"]

T = TypeVar("T")
R = TypeVar("R")

# By each of these a user says how many threads there are to be; the last one is for all libraries.
VARIABLES = (
    "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS",
)  # fmt: skip
SMALL = 1 << 22  # multiplications of a product: for fewer, to wake a thread takes longer
OWN_LIMIT = 1 << 18  # OpenBLAS itself computes so many on one thread
PATIENCE = 1.0  # s, for a thread to end

# ---------------------------------------------------------------- how many


def thread_count() -> int:
    """The number of threads that work may take: what decides it for the whole package.

    $GPUGRAD_NUM_THREADS, if it is set. Else what NumPy's BLAS has, which reads variables such as
    $OPENBLAS_NUM_THREADS and $OMP_NUM_THREADS when NumPy is imported; where that does not tell, the
    first of `VARIABLES` that is set; but no more than there are processors for this process, by its
    affinity and by the limit of its control group. ArgumentError for a number that is none.
    """
    asked = os.environ.get("GPUGRAD_NUM_THREADS", "").strip()
    if asked:
        if not (asked.isdecimal() and int(asked)):
            raise ArgumentError(
                f"GPUGRAD_NUM_THREADS is {asked!r}: set it to a number of threads, from 1"
            )
        return int(asked)
    library = blas()
    own = _before[0] or (library.threads() if library is not None else 0) or _from_variables()
    return min(own or processors(), processors())


def _from_variables() -> int:
    for name in VARIABLES:
        known = os.environ.get(name, "").split(",")[0].strip()
        if known.isdecimal() and int(known):
            return int(known)
    return 0


def own_cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def processors() -> int:
    """The processors that this process may use, from 1."""
    count = len(own_cores())
    return min(count, quota() or count)


@cache
def quota(root: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> int:
    """The processors that the control groups' limits of time make up, rounded up; 0 for none.

    As it was at first: a limit seldom changes while a process runs.
    """
    counts = [0]
    for line in _read(Path(own)).splitlines():  # 0::/a/b, or of version 1 4:cpu,cpuacct:/a/b
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        above = Path(root, "cpu") if controllers else Path(root)
        inside = above / path.lstrip("/")
        for folder in (inside, *inside.parents)[: len(inside.parts) - len(above.parts) + 1]:
            limit = _read(folder / "cpu.max").split() or [
                _read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
            ]
            if len(limit) == 2 and all(text.isdecimal() and int(text) for text in limit):
                counts.append(-(-int(limit[0]) // int(limit[1])))
    return min(counts[1:], default=0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


# ---------------------------------------------------------------- sharing


def share(
    work: Callable[[T], R], items: Sequence[T], multiplications: float, least: int = SMALL
) -> list[R]:
    """``[work(item) for item in items]``, on several threads where there are any.

    ``work`` calls NumPy alone, and writes only where no other item does. For fewer than ``least``
    ``multiplications`` of all items together one thread takes less time. An error of one item is
    raised when the others are done. One call at a time has the threads: others, and those inside
    ``work``, run on their own.
    """
    if multiplications <= OWN_LIMIT:
        return [*map(work, items)]
    if multiplications < SMALL:
        return with_small_products(partial(list, map(work, items)), multiplications)
    helpers = min(thread_count(), len(items)) - 1
    if helpers < 1 or multiplications < least:
        return [*map(work, items)]
    return _with_lock(partial(_shared, work, items, helpers), partial(list, map(work, items)))


def with_small_products(run: Callable[[], R], multiplications: float) -> R:
    """``run()``, while BLAS has one thread if two would take longer for so many multiplications."""
    if not OWN_LIMIT < multiplications < SMALL:
        return run()
    return _with_lock(run, run)


_busy = allocate_lock()  # held while threads share work
_before = [0]  # the threads of BLAS before it was given one; 0 while it has all
_WITHOUT_WAITING = (False,)


def _with_lock(run: Callable[[], R], otherwise: Callable[[], R]) -> R:
    """``run()`` while BLAS has one thread; ``otherwise()`` where another call has set that.

    So it is where BLAS cannot. An interrupt leaves nothing behind: one function in C takes the lock
    and notes it, and one restores all that was changed.
    """
    library = blas()
    if library is None or library.set_threads is None:
        return otherwise()
    held: list[bool] = []
    ends: list[Callable[[], Any]] = [_busy.release]
    restore: partial[Any] = partial(deque, map(call, ends), 0)
    try:
        held.extend(map(_busy.acquire, _WITHOUT_WAITING))
        count = library.threads() if held[0] else 0
        if count > 1:
            ends[:0] = [partial(library.set_threads, count), partial(setitem, _before, 0, 0)]
            _before[0] = count
            library.set_threads(1)
        result = run() if held[0] else otherwise()
    finally:
        if held == [True]:
            restore()
    return result


Left = deque[tuple[int, Any]]


def _shared(work: Callable[[T], R], items: Sequence[T], helpers: int) -> list[R]:
    """The results of all items, some of them from helpers.

    A helper that wakes late takes nothing, and is not waited for.
    """
    results: list[Any] = [None] * len(items)
    left, done, errors, own = deque(enumerate(items)), SimpleQueue[Any](), [], 0
    for helper in _started(helpers):
        helper.orders.put(partial(copy_context().run, _help, work, left, done))
    try:
        while (claimed := _claim(left)) is not None:
            own += 1
            results[claimed[0]] = work(claimed[1])
    finally:
        left.clear()  # after an error, or an interrupt, helpers begin no more
    for _ in range(len(items) - own):
        index, results[index], error = done.get()
        errors += [] if error is None else [error]
    if errors:
        raise errors.pop()
    return results


def _claim(left: Left) -> tuple[int, Any] | None:
    try:
        return left.popleft()
    except IndexError:
        return None


def _help(work: Callable[[Any], Any], left: Left, done: SimpleQueue[Any]) -> None:
    while (claimed := _claim(left)) is not None:
        index, item = claimed
        try:
            done.put((index, work(item), None))
        except BaseException as error:  # noqa: BLE001  for the thread that waits to raise
            done.put((index, None, error))


class _Helper:
    """A thread that waits for orders. `threading` does not know of it, as of none of BLAS's."""

    def __init__(self) -> None:
        self.orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.runs = allocate_lock()
        self.runs.acquire()

    def run(self) -> None:
        try:
            while (order := self.orders.get()) is not None:
                order()
                del order  # and with it the arrays
        finally:
            self.runs.release()


_helpers: list[_Helper] = []


def _started(count: int) -> list[_Helper]:
    """Helpers: so many, or fewer where no thread can be started."""
    while len(_helpers) < count:
        helper = _Helper()
        calls: list[partial[Any]] = [
            partial(start_new_thread, helper.run, ()), partial(_helpers.append, helper)
        ]  # fmt: skip
        try:
            deque(map(call, calls), 0)
        except RuntimeError:
            break
    return _helpers[:count]


def _end() -> None:
    """End the helpers and wait for that: none runs when the process forks, or ends."""
    while _helpers:
        helper = _helpers.pop()
        helper.orders.put(None)
        helper.runs.acquire(timeout=PATIENCE)


def _in_child() -> None:
    """Take back what a thread of the parent has set, which the child does not have."""
    global _busy
    _busy = allocate_lock()
    library = blas() if _before[0] else None
    if library is not None and library.set_threads is not None:
        library.set_threads(_before[0])
    _before[0] = 0


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_end, after_in_child=_in_child)
