"""The dtypes of real floating-point numbers, by their precision. Imports NumPy only.

NumPy has one object for each, so that ``is`` tells them: a tenth of the cost of a look at the kind.
"""

import numpy as np

__all__ = ["DOUBLE", "HALF", "SINGLE"]

HALF, SINGLE, DOUBLE = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
