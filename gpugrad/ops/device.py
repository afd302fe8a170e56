"""The copy from one device to another. Imports engine.op and backend.device."""

from gpugrad.backend.device import Device
from gpugrad.engine.op import op

op(
    "to_device",
    lambda xp, x, /, device, source: Device(device).send(x),
    vjp=[lambda xp, g, y, x, device, source: xp.to_device(g, device=source, source=device)],
    kind="linear",
    doc="x on another device; its gradient comes back to where x is.",
)
