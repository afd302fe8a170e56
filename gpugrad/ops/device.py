"""The copy from one device to another. Imports engine and backend.device."""

from typing import Any

from gpugrad.backend.device import Device
from gpugrad.engine.op import op
from gpugrad.engine.passes import note_move


def _to_device(xp: Any, x: Any, /, device: str, source: str) -> Any:
    note_move()
    return Device(device).send(x)


op(
    "to_device",
    _to_device,
    vjp=[lambda xp, g, y, x, device, source: xp.to_device(g, device=source, source=device)],
    kind="linear",
    shown="to",
    doc="x on another device; its gradient comes back to where x is.",
)
