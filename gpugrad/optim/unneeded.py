"""Settings of PyTorch's optimizers and schedules that are not needed here: what to write.

Imports errors and `tensor.hints`.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from gpugrad.errors import DTypeError
from gpugrad.tensor.hints import watched

__all__ = ["OF_OPTIMIZERS", "OF_SCHEDULES", "explain"]

_TOGETHER = "a step takes all parameters together, on a GPU in one kernel. Leave it out"
OF_OPTIMIZERS = {
    "foreach": _TOGETHER,
    "fused": _TOGETHER,
    "capturable": "nothing in a step waits for a GPU. Leave it out",
    "differentiable": "a step changes parameters in place, outside of any graph. Write the update "
    "as a formula of gg.gradients(loss, p, create_graph=True)",
}
OF_SCHEDULES = {
    "last_epoch": "a schedule goes on where schedule.load_state_dict(state) puts it. Leave it out",
    "verbose": "print(schedule) shows the step and the rates. Leave it out",
}


def explain(cls: type, advice: Mapping[str, str]) -> None:
    """Let a class raise DTypeError with ``advice`` for keywords that it does not take."""
    if "__init__" not in vars(cls):
        return

    def otherwise(error: TypeError, args: Any, kwargs: Any) -> NoReturn:
        for name in kwargs:
            if name in advice:
                what = f"{cls.__name__}: {name} is no setting of it: {advice[name]}"
                raise DTypeError(what) from None
        raise error

    setattr(cls, "__init__", watched(vars(cls)["__init__"], otherwise))  # noqa: B010
