"""A compiled function beside the function itself: what both give, and what both leave behind."""

import numpy as np

import gpugrad as gg


def seen(value):
    """All that a value holds, as what can be compared bit by bit."""
    if isinstance(value, gg.Tensor):
        array = value.detach().cpu().numpy()
        return "tensor", str(value.device), value.requires_grad, *_bits(array)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return "array", *_bits(
            value if isinstance(value, np.generic) else gg.asarray(value).cpu().numpy()
        )
    if isinstance(value, dict):
        return {key: seen(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [seen(part) for part in value]
    return type(value), repr(value)


def _bits(array):
    # All NaNs are one: their bits depend on the order of the operands.
    plain = np.where(np.isnan(array), np.nan, array) if array.dtype.kind in "fc" else array
    return str(array.dtype), array.shape, np.ascontiguousarray(plain).tobytes()


def state_of(*parts):
    """Parameters, gradients, buffers, counts and moments of models, optimizers and tensors."""
    states = []
    for part in parts:
        if isinstance(part, gg.Tensor):
            states.append((seen(part), seen(part.grad)))
        elif hasattr(part, "parameters"):
            states.append([(n, seen(p), seen(p.grad)) for n, p in part.named_parameters()])
            states.append(seen(part.state_dict()))
        elif hasattr(part, "get_state"):
            states.append(seen(part.get_state()))
        elif hasattr(part, "state_dict"):
            states.append(seen(part.state_dict()))
        else:
            states.append(seen(part))
    return states
