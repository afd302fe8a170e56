"""The copy from one device to another. Imports engine and backend."""

from typing import Any

from gpugrad.backend.device import Device
from gpugrad.backend.namespace import namespace_of
from gpugrad.engine.follow import note_move
from gpugrad.engine.op import op


def _to_device(xp: Any, x: Any, /, device: str, source: str) -> Any:
    moved = Device(device).send(x)
    # A CPU and a single GPU are no two devices of one kind.
    if not (xp.alone and namespace_of(moved).alone):
        note_move()
    return moved


op("to_device", _to_device,
   vjp=[lambda xp, g, y, x, device, source: xp.to_device(g, device=source, source=device)],
   kind="linear", moves=True, samples=None, public="", shown="to",
   doc="x on another device; its gradient comes back to where x is.")  # fmt: skip
