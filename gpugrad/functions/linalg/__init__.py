"""``gpugrad.linalg``: NumPy's and the Array API standard's linear algebra, and some of SciPy's.

The functions take stacks of matrices: the last two axes are the matrix. All of them but
`matrix_rank` have gradients. ``gpugrad/ops/solvers.py`` and ``gpugrad/ops/decompositions.py`` have
the derivatives, their sources, and their values at singular matrices and repeated eigenvalues.

On a CPU, LinAlgError is raised as in NumPy, for a singular matrix, say. On a GPU, CuPy gives NaN or
infinity instead, as a check would make the host wait.
"""

from typing import TYPE_CHECKING

from gpugrad.functions.linalg import decompositions, matrix_functions, norms, products, solvers
from gpugrad.functions.linalg.decompositions import *  # noqa: F403
from gpugrad.functions.linalg.matrix_functions import *  # noqa: F403
from gpugrad.functions.linalg.norms import *  # noqa: F403
from gpugrad.functions.linalg.products import *  # noqa: F403
from gpugrad.functions.linalg.solvers import *  # noqa: F403
from gpugrad.functions.manipulation import matrix_transpose
from gpugrad.functions.tensor_contractions import tensordot
from gpugrad.tensor.hints import members

__all__ = ["matrix_transpose", "tensordot"]
__all__ += decompositions.__all__
__all__ += matrix_functions.__all__
__all__ += norms.__all__
__all__ += products.__all__
__all__ += solvers.__all__


if not TYPE_CHECKING:  # a checker then reports names that are not there
    __getattr__, __dir__ = members("linalg", __all__)
