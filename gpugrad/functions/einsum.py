"""Einstein's summation: parses subscripts in both of NumPy's forms into explicit ones for the op.

Imports manipulation, operands and tensor.
"""

from typing import Any

import numpy as np

from gpugrad.engine.op import TABLE
from gpugrad.engine.record import record
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions.manipulation import squeeze, transpose
from gpugrad.functions.operands import arange_beside, together
from gpugrad.tensor import Tensor, as_tensor, getitem

__all__ = ["einsum", "einsum_path"]


def einsum_path(subscripts: str, /, *operands: Any, optimize: Any = "greedy") -> tuple[Any, str]:
    """The cheapest order in which `einsum` contracts its operands, computed by NumPy from shapes.

    Returns the path, and a text with the cost of each step.
    """
    if not isinstance(subscripts, str):
        raise DTypeError(
            f"einsum_path: expected subscripts such as 'ij,jk->ik', got {type(subscripts).__name__}"
        )
    # One element broadcast to each shape: the search needs shapes only.
    one = np.zeros(())
    shaped = [np.broadcast_to(one, as_tensor(x).shape) for x in operands]
    path: tuple[Any, str] = np.einsum_path(subscripts, *shaped, optimize=optimize)
    return path


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def einsum(subscripts: Any, /, *operands: Any, optimize: Any = None) -> Tensor:
    """Einstein's summation over any number of operands, with ``...`` for broadcast axes.

    Subscripts are text, or lists of axis numbers after each operand, as in NumPy. ``optimize``
    is NumPy's: False sums over all letters at once; True, "greedy", "optimal" or a path of
    `einsum_path` contracts operands two by two, by matrix products where possible. By default
    the cheaper way is taken; the results differ by rounding alone.

    >>> import gpugrad as gg
    >>> gg.einsum("ij,ij->i", gg.ones((2, 3)), gg.ones((2, 3)))
    tensor([3., 3.])
    >>> gg.einsum(gg.ones((2, 3)), [0, 1], gg.ones((3, 4)), [1, 2], [0, 2]).shape
    (2, 4)
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _spelled(subscripts, *operands)
    tensors = together(*operands)
    terms, output = _subscripts(subscripts, tensors)
    for index, term in enumerate(terms):
        terms[index], tensors[index] = _diagonals(term, tensors[index])
    parameters = {"subscripts": f"{','.join(terms)}->{output}", "optimize": optimize}
    result: Tensor = record(TABLE["einsum_explicit"], tensors, parameters)
    return result


def _spelled(*args: Any) -> tuple[str, tuple[Any, ...]]:
    """The subscripts as text, and the operands, of ``a, [0, 1], b, [1, 2], [0, 2]``."""
    lists, output = list(args[1::2]), []
    if len(args) % 2:
        output = [args[-1]]
    for numbers in (*lists, *output):
        if not isinstance(numbers, list | tuple) or not all(
            n is Ellipsis or (isinstance(n, int) and 0 <= n < len(_LETTERS)) for n in numbers
        ):
            raise DTypeError(
                "einsum: expected subscripts such as 'ij,jk->ik' before the operands, or a list "
                f"of axis numbers from 0 to {len(_LETTERS) - 1} after each, got {numbers!r:.60}"
            )
    texts = [
        "".join("..." if n is Ellipsis else _LETTERS[n] for n in numbers)
        for numbers in (*lists, *output)
    ]
    inputs = ",".join(texts[: len(lists)])
    return (f"{inputs}->{texts[-1]}" if output else inputs), args[: 2 * len(lists) : 2]


def _subscripts(subscripts: str, tensors: list[Tensor]) -> tuple[list[str], str]:
    """The letters of each operand and of the output, all explicit."""
    text = subscripts.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(tensors):
        raise ShapeError(f"einsum: {subscripts!r} names {len(terms)} operands, got {len(tensors)}")
    spare = [c for c in _LETTERS if c not in text]
    widths = [x.ndim - len(t.replace("...", "")) for t, x in zip(terms, tensors, strict=True)]
    most = max([w for t, w in zip(terms, widths, strict=True) if "..." in t], default=0)
    dots = "".join(spare[:most])
    for index, (term, width, x) in enumerate(zip(terms, widths, tensors, strict=True)):
        if width < 0 or (width and "..." not in term):
            raise ShapeError(f"einsum: {term!r} does not fit an operand of shape {x.shape}")
        if "..." not in term:
            continue
        # Broadcast axes of size 1 are dropped here, since a letter has one size.
        letters = dots[most - width :]
        start = term.index("...")
        keep = [
            x.shape[start + i] != 1
            or all(
                o.shape[t.index("...") + w - (width - i)] == 1
                for t, w, o in zip(terms, widths, tensors, strict=True)
                if "..." in t and w >= width - i
            )
            for i in range(width)
        ]
        tensors[index] = squeeze(x, tuple(start + i for i in range(width) if not keep[i]))
        terms[index] = term.replace(
            "...", "".join(letter for letter, wanted in zip(letters, keep, strict=True) if wanted)
        )
    if arrow:
        if dots and "..." not in output:
            raise ShapeError(
                f"einsum: {subscripts!r} leaves the axes of '...' out of the result. Write '...' "
                "there too, or name the axes to be summed"
            )
        return terms, output.replace("...", dots)
    once = sorted(c for c in set("".join(terms)) - set(dots) if "".join(terms).count(c) == 1)
    return terms, dots + "".join(once)


def _diagonals(term: str, x: Tensor) -> tuple[str, Tensor]:
    """The diagonals of an operand along axes with one letter, so that no letter is repeated."""
    for letter in dict.fromkeys(term):
        axes = [i for i, c in enumerate(term) if c == letter]
        if len(axes) == 1:
            continue
        sizes = {x.shape[i] for i in axes}
        if len(sizes) > 1:
            raise ShapeError(f"einsum: the axes {letter!r} of shape {x.shape} differ in size")
        order = axes + [i for i in range(x.ndim) if i not in axes]
        along = arange_beside(sizes.pop(), x._array)
        x = getitem(transpose(x, order), (along,) * len(axes))
        term = letter + term.replace(letter, "")
    return term, x
