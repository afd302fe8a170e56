"""A function called while it is recorded. Imports session."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.autodiff import tree
from gpugrad.compiler.pieces import Programs
from gpugrad.compiler.recording.containers import check_arguments
from gpugrad.compiler.recording.recorded_call import RecordedCall
from gpugrad.compiler.recording.session import Session
from gpugrad.engine import detours
from gpugrad.engine.modes import tracing
from gpugrad.tensor import Tensor

__all__ = ["record", "record_lock"]


def _meet_operands(op: Any, operands: Sequence[Any], parameters: Any) -> None:
    """The detour of all ops, which computes nothing: their operands begin to record."""
    session = tracing.get()
    if session is None:
        return detours.settle()
    for operand in operands:
        if isinstance(operand, Tensor):
            session.meet(operand)


# Held while a function is recorded: its tensors are not what other threads take them for.
record_lock = threading.RLock()


def record(
    function: Callable[..., Any],
    leaves: Sequence[Any],
    structure: Any,
    is_lenient: bool = False,
    programs: Programs | None = None,
) -> RecordedCall:
    """Call a function on arguments, and record it. Then all is as it was before.

    So the first call is one of the program too, and gives the same bits as all others. With
    ``is_lenient`` Python is told the truth, or the whole number, of what is recorded; with
    ``programs`` also all other values, which these have computed: see `gpugrad.compiler.pieces`.
    """
    session = Session(is_lenient, programs)
    with record_lock:
        call = _recorded_call(function, leaves, structure, session)
    return call._replace(keeps=session.forget())


def _recorded_call(
    function: Callable[..., Any], leaves: Sequence[Any], structure: Any, session: Session
) -> RecordedCall:
    try:
        detours.hold(_meet_operands, session, rank=-1)
        tracing.set(session)
        given = [session.argument(index, leaf, leaves) for index, leaf in enumerate(leaves)]
        args, kwargs = tree.unflatten(structure, given)
        holder = [function(*args, **kwargs)]
        check_arguments(tree.flatten((args, kwargs)), given, structure)
        call = session.finished(holder, leaves)
    finally:
        tracing.set(None)
        session.tape.is_open = False
        session.restore()
        detours.release(_meet_operands, session)
    return call
