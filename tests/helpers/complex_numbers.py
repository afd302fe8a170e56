"""Complex operands, inner products and differences in both directions."""

import itertools

import numpy as np

import gpugrad as gg


def weights_for(results, seed=11):
    rng = np.random.default_rng(seed)
    made = []
    for result in results:
        weight = rng.uniform(0.5, 1.5, result.shape)
        if result.dtype.kind == "c":
            weight = weight + 1j * rng.uniform(-1, 1, result.shape)
        made.append(np.asarray(weight))
    return made


def product(left, right):
    """The real inner product, of Tensors or arrays."""
    if left.dtype.kind == "c":
        return (left.real * right.real).sum() + (left.imag * right.imag).sum()
    return (left * (right.real if right.dtype.kind == "c" else right)).sum()


def total(results, weights):
    return sum(product(y, gg.tensor(w, device=y.device)) for y, w in zip(results, weights))


def differences(f, arrays, step=1e-6):
    """Central differences in the real and the imaginary direction of every element."""
    slopes = []
    for index, array in enumerate(arrays):
        if array.dtype.kind not in "fc":
            slopes.append(None)
            continue
        slope = np.zeros_like(array)
        for place, unit in itertools.product(
            np.ndindex(array.shape), (1, 1j) if array.dtype.kind == "c" else (1,)
        ):
            moved = [a.copy() for a in arrays]
            moved[index][place] += step * unit
            up = f(*moved)
            moved[index][place] -= 2 * step * unit
            slope[place] += unit * (up - f(*moved)) / (2 * step)
        slopes.append(slope)
    return slopes
