"""Diagonals and triangles of matrices. Imports engine.op."""

from typing import Any

from gpugrad.engine.op import Checks, Sample, op

MATRICES = (Sample((3, 3)), Sample((2, 3), k=1), Sample((2, 3, 2), k=-1))

# fmt: off
op("tril", "x, /, k=0", vjp=[lambda xp, g, y, x, k: xp.tril(g, k=k)],
   kind="linear", moves=True, chooses=True, samples=MATRICES,
   doc="Matrices with zeros above their diagonal ``k``.")
op("triu", "x, /, k=0", vjp=[lambda xp, g, y, x, k: xp.triu(g, k=k)],
   kind="linear", moves=True, chooses=True, samples=MATRICES,
   doc="Matrices with zeros below their diagonal ``k``.")
op("diagonal", "x, /, offset=0, axis1=0, axis2=1",
   vjp=[lambda xp, g, y, x, offset, axis1, axis2: xp.from_diagonal(
            g, offset=offset, axis1=axis1, axis2=axis2, shape=x.shape)],
   kind="linear", moves=True, chooses=True, public="gg linalg", method=True,
   samples=[Sample((3, 3)), Sample((2, 3), offset=1),
            Sample((2, 3, 4), offset=-1, axis1=2, axis2=0), Sample((2, 2), offset=3)],
   doc="The elements on a diagonal of the matrices that two axes make, along a last axis.")
# fmt: on


def _from_diagonal(
    xp: Any, d: Any, /, offset: int, axis1: int, axis2: int, shape: tuple[int, ...]
) -> Any:
    out = xp.full_like(d, 0, shape=shape)
    places = xp.arange(d.shape[-1])
    matrices = xp.moveaxis(out, (axis1, axis2), (-2, -1))  # a view
    matrices[..., places + max(-offset, 0), places + max(offset, 0)] = d
    return out


op("from_diagonal", _from_diagonal,
   vjp=[lambda xp, g, y, d, offset, axis1, axis2, shape: xp.diagonal(
            g, offset=offset, axis1=axis1, axis2=axis2)],
   kind="linear", moves=True, fills=True,
   samples=[Sample((2,), offset=1, axis1=0, axis2=1, shape=(2, 3)),
            Sample((3, 2), offset=-1, axis1=2, axis2=0, shape=(2, 3, 4))],
   checks=Checks(fixed="offset"), public="",
   doc="Zeros of a shape with d on a diagonal: the transpose of ``diagonal``.")  # fmt: skip
