"""Numbers at which special functions are looked at."""

import math

import numpy as np
import scipy.special

from gpugrad import special

EXTREMES = [
    -math.inf, -1e4, -40.0, -10.0, -1.0, -1e-3, -1e-300, -0.0, 0.0, 1e-300, 1e-3, 0.5, 1.0, 1.5,
    10.0, 40.0, 171.0, 1e4, 1e10, math.inf, math.nan,
]  # fmt: skip

# Their first argument is a whole number, the order.
ORDERED = "hankel1 hankel2 iv ive jn jv kn kv kve yn yv".split()
UFUNCS = sorted(
    name
    for name in special.__all__
    if isinstance(getattr(scipy.special, name), np.ufunc) and name not in ORDERED
)
