"""Settings of PyTorch's optimizers and schedules that are not needed here: what to write.

Imports nothing.
"""

__all__ = ["OF_OPTIMIZERS", "OF_SCHEDULES"]

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
