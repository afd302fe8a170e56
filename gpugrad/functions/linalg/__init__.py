"""``gpugrad.linalg``: NumPy's and the Array API standard's linear algebra, and some of SciPy's.

The functions take stacks of matrices: the last two axes are the matrix. All of them but
`matrix_rank` have gradients. ``gpugrad/ops/solvers.py`` and ``gpugrad/ops/decompositions.py`` have
the derivatives, their sources, and their values at singular matrices and repeated eigenvalues.

On a CPU, LinAlgError is raised as in NumPy, for a singular matrix, say. On a GPU, CuPy gives NaN or
infinity instead, as a check would make the host wait.
"""

from gpugrad.functions.linalg.decompositions import (
    EighResult,
    EigResult,
    QRResult,
    SVDResult,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    qr,
    svd,
    svdvals,
)
from gpugrad.functions.linalg.norms import cond, matrix_norm, norm, vector_norm
from gpugrad.functions.linalg.products import (
    cross,
    diagonal,
    expm,
    matmul,
    matrix_power,
    multi_dot,
    outer,
    trace,
    vecdot,
)
from gpugrad.functions.linalg.solvers import (
    SlogdetResult,
    det,
    inv,
    lstsq,
    matrix_rank,
    pinv,
    slogdet,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)
from gpugrad.functions.manipulation import matrix_transpose
from gpugrad.functions.tensor_contractions import tensordot

__all__ = [
    "EigResult", "EighResult", "QRResult", "SVDResult", "SlogdetResult", "cholesky", "cond",
    "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "expm", "inv", "lstsq",
    "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot",
    "norm", "outer", "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals",
    "tensordot", "tensorinv", "tensorsolve", "trace", "vecdot", "vector_norm",
]  # fmt: skip
