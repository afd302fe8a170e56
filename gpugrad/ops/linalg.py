"""Products of vectors, matrices and tensors; what the other modules on matrices share.

Imports engine.op and dtypes.
"""

import math
from typing import Any

from gpugrad.engine.op import Sample, op
from gpugrad.ops.dtypes import HALF, widened


def turned(xp: Any, x: Any) -> Any:
    """x with its last two axes exchanged: a view."""
    return x.T if len(x.shape) == 2 else xp.swapaxes(x, -1, -2)


def adjoint(xp: Any, x: Any) -> Any:
    """The adjoint of matrices, the conjugate transpose: of real ones, the transpose."""
    return turned(xp, xp.conj(x) if x.dtype.kind == "c" else x)


def lapack(xp: Any, name: str, *arrays: Any, **kwargs: Any) -> Any:
    """A function of the array library's ``linalg``; float16 is computed in float32."""
    wide = [widened(x) for x in arrays]
    result = getattr(xp.linalg, name)(*wide, **kwargs)
    if any(x.dtype != HALF for x in arrays):
        return result
    if isinstance(result, tuple):
        return tuple(y.astype(HALF) for y in result)
    return result.astype(HALF)


# For rules: parts of matrices. Public functions of this kind are in other modules.
op("eye_like", lambda xp, x, /: xp.eye(x.shape[-1], dtype=x.dtype),
   samples=[Sample((2, 3)), Sample((2, 3, 3))], public="",
   doc="The identity matrix for the columns of x, in its dtype. No gradient.")  # fmt: skip


def adds_product(factors: Any) -> Any:
    """Adds a product of two matrices, or stacks of them, to a gradient where a library can.

    ``factors(xp, g, *arrays)`` gives the two; None where the gradient is no such product.
    """

    def add(xp: Any, total: Any, g: Any, *arrays: Any) -> bool:
        if xp.add_product is None:
            return False
        pair = factors(xp, g, *arrays)
        return pair is not None and bool(xp.add_product(total, *pair))

    return add


def _factors_a(xp: Any, g: Any, a: Any, b: Any) -> Any:
    return (g, turned(xp, b)) if min(len(a.shape), len(b.shape)) > 1 else None


def _factors_b(xp: Any, g: Any, a: Any, b: Any) -> Any:
    if min(len(a.shape), len(b.shape)) < 2:
        return None
    if len(b.shape) == 2 and len(a.shape) > 2:
        # One product in place of a batch of them that is summed afterwards.
        rows = math.prod(a.shape[:-1])
        a, g = a.reshape((rows, a.shape[-1])), g.reshape((rows, g.shape[-1]))
    return turned(xp, a), g


def _matmul_a(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(b.shape) == 1:
        return g * b if len(a.shape) == 1 else xp.outer_products(g[..., None], b)
    if len(a.shape) == 1:
        return xp.matmul(b, g[..., None])[..., 0]
    return xp.matmul(*_factors_a(xp, g, a, b))


def _matmul_b(xp: Any, g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(a.shape) == 1:
        return a * g if len(b.shape) == 1 else xp.outer_products(a[:, None], g[..., None, :])
    if len(b.shape) == 1:
        return xp.matmul(turned(xp, a), g[..., None])[..., 0]
    return xp.matmul(*_factors_b(xp, g, a, b))


op("matmul", "a, b, /", vjp=[_matmul_a, _matmul_b],
   adds=[adds_product(_factors_a), adds_product(_factors_b)], saves=("b", "a"),
   kind="multilinear", public="gg linalg", method=True, operator="matmul",
   samples=[Sample((3,), (3,)), Sample((2, 3), (3,)), Sample((3,), (3, 4)), Sample((2, 3), (3, 4)),
            Sample((5, 2, 3), (3, 4)), Sample((2, 3), (5, 3, 4)), Sample((5, 2, 3), (5, 3, 4)),
            Sample((5, 1, 2, 3), (4, 3, 2)), Sample((3,), (5, 3, 4)), Sample((5, 2, 3), (3,))],
   autocast="half",
   doc="The matrix product; stacks of matrices broadcast, vectors act as NumPy's do.")  # fmt: skip


MANY = 65_536  # elements: from so many on an einsum is looked at twice


def _einsum(xp: Any, /, *operands: Any, subscripts: str, optimize: Any = None) -> Any:
    if optimize is None:
        optimize = _in_pairs(subscripts, operands)
    if operands[0].dtype == HALF and _adds(subscripts) and all(x.dtype == HALF for x in operands):
        wide = tuple(widened(x) for x in operands)
        return _einsum(xp, *wide, subscripts=subscripts, optimize=optimize).astype(HALF)
    if any(x.size > MANY for x in operands):
        subscripts, operands = _summed(xp, subscripts, operands)
    return xp.einsum(subscripts, *operands, optimize=optimize)


def _adds(subscripts: str) -> bool:
    """Whether a letter is summed over."""
    inputs, output = subscripts.split("->")
    return not set(output).issuperset(inputs.replace(",", ""))


def _summed(xp: Any, subscripts: str, operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The same with axes summed up that one operand alone has: `sum` keeps digits of long ones."""
    inputs, output = subscripts.split("->")
    terms, arrays = inputs.split(","), list(operands)
    for index, (term, x) in enumerate(zip(terms, operands, strict=True)):
        others = set(output).union(*terms[:index], *terms[index + 1 :])
        lone = tuple(axis for axis, letter in enumerate(term) if letter not in others)
        if lone and x.dtype.kind in "fc":
            arrays[index] = xp.sum(x, axis=lone)
            terms[index] = "".join(letter for letter in term if letter in others)
    return f"{','.join(terms)}->{output}", tuple(arrays)


def _in_pairs(subscripts: str, operands: tuple[Any, ...]) -> bool:
    """Whether products of pairs are worth the search for their order: some 20 microseconds."""
    inputs, output = subscripts.split("->")
    sizes: dict[str, int] = {}
    for term, x in zip(inputs.split(","), operands, strict=True):
        for letter, size in zip(term, x.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return len(operands) > 1 and len(sizes) > len(output) and math.prod(sizes.values()) > MANY


def _einsum_vjp(
    xp: Any, g: Any, y: Any, needs: tuple[bool, ...], *operands: Any, subscripts: str,
    optimize: Any,
) -> list[Any]:  # fmt: skip
    """Each operand's gradient is an einsum of the output's and the others.

    ``subscripts`` is explicit, with no ellipsis and no letter twice in one operand. A path of
    the caller's fits these operands no longer.
    """
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    results: list[Any] = []
    for index, term in enumerate(terms):
        if not needs[index]:
            results.append(None)
            continue
        others = [t for i, t in enumerate(terms) if i != index]
        known = set(output).union(*others)
        reached = "".join(letter for letter in term if letter in known)
        d = xp.einsum_explicit(
            g,
            *(x for i, x in enumerate(operands) if i != index),
            subscripts=f"{','.join([output, *others])}->{reached}",
            optimize=False if optimize is False else None,
        )
        # A letter that stands in this operand alone was summed over: broadcast it back. One of
        # size 1 that another operand has in full was broadcast: the engine sums over it.
        sizes = iter(d.shape)
        results.append(d.reshape(tuple(next(sizes) if c in known else 1 for c in term)))
    return results


op("einsum_explicit", _einsum, vjp_all=_einsum_vjp, saves="operands",
   kind="multilinear", public="", shown="einsum",
   samples=[Sample((2, 3), (3, 4), subscripts="ij,jk->ik"), Sample((2, 3), subscripts="ij->j"),
            Sample((2, 3), (2,), (3, 2), subscripts="ij,i,jk->k"),
            Sample((2, 3), (3, 2), (2, 2), subscripts="ij,jk,kl->il", optimize="optimal")],
   autocast="half", doc="Einstein's summation, its subscripts written out.")  # fmt: skip
