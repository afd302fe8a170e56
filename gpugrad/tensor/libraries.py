"""Which library asks a recorded tensor for a NumPy array, and what to write there. Imports errors.

NumPy passes on no name; the frames of the stack tell it.
"""

import sys
from typing import Any, NoReturn

from gpugrad.errors import DTypeError

__all__ = ["CARRIES_NONE", "NOT_KEPT", "NO_ARRAY", "NO_NUMBER", "advice_for_caller", "no_fraction"]

CARRIES_NONE = "this tensor requires a gradient, which a NumPy array cannot carry. "
NO_ARRAY = (
    "Use the functions of gpugrad (or NumPy's own on the tensor), or .detach().numpy(). For "
    "np.array([t, u]) write gg.stack([t, u]), for np.r_ gg.r_; put `array[i] = t` into gg.zeros; "
    "multiply with the .to_numpy() of a pandas table; write t[rng.permutation(len(t))] for a draw"
)
NO_NUMBER = (
    "Write gg.sin(t) for a function of it, or t.item() for the value alone, as in "
    "[t.item() for t in tensors]"
)
NOT_KEPT = (
    "grad: this tensor was computed, and a backward pass keeps the gradients of leaves alone. Call "
    "t.retain_grad() before backward(), or write gg.gradients(loss, t)"
)

# By the beginning of the module's name; the first that fits counts.
LIBRARIES = {
    "matplotlib": "To plot its values give matplotlib t.detach().cpu().numpy()",
    "seaborn": "To plot its values write t.detach().cpu().numpy()",
    "scipy.sparse": "Write matrix.toarray() for a dense product, which has a gradient; or make the "
    "product an op with gg.custom_op, whose derivative multiplies with matrix.T",
    "scipy.special": "SciPy's {name} makes an array of it: write gg.special.{name}",
    "scipy.fft": "Write gg.fft.{name}",
    "scipy.linalg": "Write gg.linalg.{name}, where there is one, or an op with gg.custom_op",
    "scipy.optimize": "Give it numbers: minimize(gg.value_and_grad(f), x0, jac=True), or .item() "
    "of a function that it does not differentiate",
    "scipy": "SciPy's {name} makes an array of it: write it with gg's functions, or make it an op "
    "with gg.custom_op, which gets arrays and says its derivative",
    "sklearn": "Give it t.detach().numpy(): it has no derivative",
    "statistics": "Write gg.mean(gg.stack(tensors)), which has a gradient, or give it numbers, "
    "[t.item() for t in tensors]",
    "pandas": "Give it t.detach().numpy()",
    "torch": "Give it torch.from_numpy(t.detach().numpy()), or torch.from_dlpack(t.detach())",
    "numpy.ma": "A masked array has no gradient: write gg.where(mask, 0, t), or where= in sums",
}


def advice_for_caller(otherwise: str) -> str:
    """What to write in place of the call that asks for an array; ``otherwise`` for the user's."""
    frame: Any = sys._getframe(2)
    found = name = ""
    while frame is not None:
        home = frame.f_globals.get("__name__", "")
        own = home.partition(".")[0] in ("gpugrad", "numpy") and not home.startswith("numpy.ma")
        library = next((one for one in LIBRARIES if f"{home}.".startswith(f"{one}.")), None)
        if library is None and not own:
            break  # the user's code
        called = frame.f_code.co_name
        if called in ("__init__", "__call__") and "self" in frame.f_locals:
            called = type(frame.f_locals["self"]).__name__
        if library is not None and (not found or not called.startswith("_")):
            found, name = library, called
        frame = frame.f_back
    return LIBRARIES[found].format(name=name) if found else otherwise


def no_fraction(tensor: Any) -> NoReturn:
    """Refused: the modules ``statistics`` and ``fractions`` would compute with the number."""
    raise DTypeError(f"a tensor is no fraction. {advice_for_caller(NO_NUMBER)}")
