"""Attention: products of cuBLAS, and one kernel between them, in both directions.

The methods of `Attention` replace the formulas of `gpugrad.ops.attention` in the namespace of CuPy.
They take whole rows of scores, for as many queries at once as four blocks have scores, so that
memory does not grow with the square of the length. Imports backend and the modules beside it.
"""

from collections.abc import Iterator
from functools import cache
from math import prod
from typing import Any

import numpy as np

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.precision import SINGLE, is_half
from gpugrad.backend.products import Products
from gpugrad.kernels.dropout import drawn
from gpugrad.kernels.philox import RANDOM
from gpugrad.kernels.rows import ROW
from gpugrad.kernels.source import Get, Kernels, cupy_kernel, prelude

__all__ = ["Attention", "attention_source", "heads_source"]


@cache
def attention_source(dtype: Any) -> str:
    """The kernels between the products, forward and backward."""
    return prelude(dtype) + ROW + RANDOM + ATTENTION


@cache
def heads_source(dtype: Any) -> str:
    """The kernels that bring the heads of query, key and value in order, and back."""
    return prelude(dtype) + ROW + HEADS


# A row are the scores of a query, of which there are `queries` for each matrix, from `first` on, of
# `total`. The pointer of the bias may be 0. Dropout is in blocks of `block` queries and keys, each
# with `words` blocks of random numbers; where `threshold` is 2**32 or more there is none.
ATTENTION = """
#define SETTINGS \\
    long long total, const T* bias, long long rows, long long length, long long queries, \\
    long long first, long long inner, long long outer, long long bias_rows, \\
    long long bias_columns, double scale, int causal, long long keys, long long block, \\
    long long words, unsigned long long key, unsigned long long start, unsigned long long high, \\
    unsigned long long threshold, double factor

#define EACH_QUERY \\
    const W infinity = (W)1 / (W)0; \\
    EACH_ROW(row) { \\
        const long long matrix = row / queries, query = first + row % queries; \\
        const T* const own = bias ? bias + (matrix / inner % outer * bias_rows \\
            + (bias_rows > 1 ? query : 0)) * bias_columns : bias; \\
        const Place place = place_of(matrix, query, total, keys, block);

#define SCORE(j) (scores[row * length + j] * (W)scale \\
    + (own ? own[bias_columns > 1 ? j : 0] : (W)0) + (causal && j > query ? -infinity : (W)0))

#define KEPT(j) \\
    (threshold >> 32 || word_of(place, j, keys, block, key, start, high, words) < threshold)

struct Place { long long line, block; };  // of a query: in its blocks, and the number of the first

__device__ inline Place place_of(
    long long matrix, long long query, long long total, long long keys, long long block)
{
    const long long strip = query / block, below = total - strip * block;
    return {matrix * (below < block ? below : block) + query % block,
            strip * ((keys + block - 1) / block)};
}

// The random word of a query and key j.
__device__ inline unsigned int word_of(
    Place of, long long j, long long keys, long long block, unsigned long long key,
    unsigned long long start, unsigned long long high, long long words)
{
    const long long column = j / block, behind = keys - column * block;
    return random_word(
        key, start + (of.block + column) * words, high,
        of.line * (behind < block ? behind : block) + j % block);
}

extern "C" __global__ void attention(T* scores, T* lse, SETTINGS)
{
    EACH_QUERY
        W top = -infinity;
        EACH(j) top = larger(top, SCORE(j));
        top = largest_of_all(top);
        if (top - top != 0)  // infinite or NaN: a shift by it would make inf - inf
            top = 0;
        W sum = 0;
        EACH(j) {
            const W weight = exp(SCORE(j) - top);
            scores[row * length + j] = weight;
            sum += weight;
        }
        sum = sum_of_all(sum);
        const W share = sum == 0 ? (W)0 : (W)1 / sum;  // a query without keys gets zeros
        EACH(j)
            scores[row * length + j] = KEPT(j)
                ? scores[row * length + j] * (share * (W)factor) : (W)0;
        if (threadIdx.x == 0)
            lse[matrix * total + query] = sum == 0 ? -infinity : log(sum) + top;
    }
}

// `scores` becomes the weights after dropout, `d`, the gradient of these, that of the products, and
// `d_bias` that of the scores. The pointers of d and d_bias may be 0.
extern "C" __global__ void attention_vjp(
    T* scores, T* d, T* d_bias, const T* lse, SETTINGS)
{
    EACH_QUERY
        const W shift = lse[matrix * total + query];
        W slope = 0;
        EACH(j) {
            const long long at = row * length + j;
            const W weight = exp(SCORE(j) - (shift == -infinity ? (W)0 : shift));
            const bool kept = KEPT(j);
            scores[at] = kept ? weight : -weight;  // no weight is below 0: the sign says it
            if (d) {
                d[at] = kept ? d[at] * (W)factor : (W)0;
                slope += weight * d[at];
            }
        }
        slope = d ? sum_of_all(slope) : (W)0;
        EACH(j) {
            const long long at = row * length + j;
            const W weight = fabs(scores[at]);
            scores[at] = signbit(scores[at]) ? (W)0 : weight * (W)factor;
            if (d) {
                const W pulled = weight * (d[at] - slope);
                if (d_bias)
                    d_bias[(matrix * total + query) * keys + j] = pulled;
                d[at] = pulled * (W)scale;
            }
        }
    }
}
"""

# A row are the `length` numbers of a head at a place of a sequence.
# The pointer of the bias may be 0.
HEADS = """
#define EACH_HEAD \\
    EACH_ROW(row) { \\
        const long long place = row % places, head = row / places % heads; \\
        const long long sample = row / places / heads % batch; \\
        const long long part = row / places / heads / batch; \\
        const long long line = batch_first ? sample * places + place : place * batch + sample; \\
        const long long joined = ((line * parts + part) * heads + head) * length;

extern "C" __global__ void split_heads(
    const T* x, const T* bias, T* y, long long rows, long long length, long long batch,
    long long heads, long long places, long long parts, int batch_first)
{
    EACH_HEAD
        const T* const own = bias ? bias + (part * heads + head) * length : bias;
        EACH(i) {
            const T value = x[joined + i];
            y[row * length + i] = own ? narrow(widen(value) + widen(own[i])) : value;
        }
    }
}

extern "C" __global__ void join_heads(
    const T* q, const T* k, const T* v, T* y, long long rows, long long length, long long batch,
    long long heads, long long places, long long parts, int batch_first)
{
    const long long each = rows / parts;
    EACH_HEAD
        const T* const from = (part == 0 ? q : part == 1 ? k : v) + row % each * length;
        EACH(i) y[joined + i] = from[i];
    }
}
"""


class _Settings:
    """What the kernels are told besides the arrays, for a block of queries."""

    def __init__(
        self, module: Any, bias: Any, scores: tuple[int, ...], scale: float, causal: bool,
        draws: Any, block: int,
    ) -> None:  # fmt: skip
        self.batch, (self.queries, self.keys) = scores[:-2], scores[-2:]
        self.scale, self.causal, self.block = float(scale), int(causal), block
        self.bias, self.inner, self.outer = _over_matrices(module, bias, self.batch)
        self.bias_shape = (1, 1) if bias is None else self.bias.shape[-2:]
        key, start, words, p = draws or (0, 0, 0, 0.0)
        self.random = (words, *drawn(key, start, p))

    def blocks(self) -> Iterator[tuple[slice, int]]:
        """Queries that are taken at once, from the last on, and how many keys these look at."""
        at_once = max(1, 4 * self.block**2 // self.keys)
        for first in reversed(range(0, self.queries, at_once)):
            rows = slice(first, min(first + at_once, self.queries))
            yield rows, min(rows.stop, self.keys) if self.causal else self.keys

    def arguments(self, rows: slice, length: int) -> tuple[Any, ...]:
        """The arguments of a kernel behind its own arrays."""
        queries = rows.stop - rows.start
        return (
            self.queries, self.bias, prod(self.batch) * queries, length, queries, rows.start,
            self.inner, self.outer, *self.bias_shape, self.scale, self.causal, self.keys,
            self.block, *self.random,
        )  # fmt: skip


def _over_matrices(module: Any, bias: Any, batch: tuple[int, ...]) -> tuple[Any, int, int]:
    """The bias in C order, and by what number a matrix's own is found: n // inner % outer.

    Its axes in front that are not of size 1 must be neighbours: otherwise it is repeated.
    """
    if bias is None:
        return None, 1, 1
    sizes = (1,) * (len(batch) + 2 - bias.ndim) + bias.shape[:-2]
    own = [axis for axis, size in enumerate(sizes) if size > 1]
    span = slice(own[0], own[-1] + 1) if own else slice(0, 0)
    if sizes[span] != batch[span]:
        bias = module.broadcast_to(bias, (*batch, *bias.shape[-2:]))
        sizes, span = batch, slice(0, len(batch))
    inner = prod(batch[span.stop :]) if own else 1
    return module.ascontiguousarray(bias), inner, prod(sizes[span])


class Attention(Kernels):
    """Attention on arrays of CuPy."""

    def __init__(self, module: Any, products: Products, get: Get = cupy_kernel) -> None:
        super().__init__(module, get)
        self._products = products

    def attention(
        self, q: Any, k: Any, v: Any, bias: Any = None, scale: float = 1.0, causal: bool = False,
        keep: Any = None, block: int = 1,
    ) -> Any:  # fmt: skip
        """The formula of this name in `gpugrad.ops.attention`."""
        return self.attention_and_residuals(q, k, v, bias, scale, causal, keep, block)[0]

    def attention_and_residuals(
        self, q: Any, k: Any, v: Any, bias: Any = None, scale: float = 1.0, causal: bool = False,
        keep: Any = None, block: int = 1,
    ) -> Any:  # fmt: skip
        """The same, with the logarithm of each query's sum of exponentials."""
        ready = self._ready(keep, bias, q, k, v)
        if ready is None:
            return self._formula(
                "attention_and_residuals", q, k, v, bias, scale, causal, keep, block
            )
        dtype, (bias, q, k, v) = q.dtype, ready
        settings = self._settings(q, k, v, bias, scale, causal, keep, block)
        lse = self._array((*settings.batch, settings.queries, 1), _wide(q))
        parts = []
        for rows, length in settings.blocks():
            scores = self._scores(q, k, rows, length)
            self._rows("attention", settings, rows, length, scores, lse)
            parts.append(self._products.matmul(_as(v, scores), v[..., :length, :]))
        y = parts[0] if len(parts) == 1 else self._module.concatenate(parts[::-1], axis=-2)
        return y.astype(dtype, copy=False), lse

    def attention_vjp(
        self, g: Any, y: Any, needs: tuple[bool, ...], q: Any, k: Any, v: Any, bias: Any, lse: Any,
        scale: float, causal: bool, keep: Any, block: int,
    ) -> Any:  # fmt: skip
        """The formula of this name in `gpugrad.ops.attention`."""
        ready = self._ready(keep, bias, q, k, v, g)
        if ready is None:
            return self._formula(
                "attention_vjp", g, y, needs, q, k, v, bias, lse, scale, causal, keep, block
            )
        bias, q, k, v, g = ready
        settings = self._settings(q, k, v, bias, scale, causal, keep, block)
        multiply, shape = self._products.widely, (*settings.batch, settings.queries, settings.keys)
        d_bias = self._module.zeros(shape, _wide(g)) if needs[3] else None
        others = needs[0] or needs[1] or needs[3]
        of_q, d_k, d_v, lse = [], None, None, self._dense(lse)
        for rows, length in settings.blocks():
            weights, part = self._scores(q, k, rows, length), g[..., rows, :]
            d = multiply(part, _turned(v[..., :length, :])) if others else None
            self._rows("attention_vjp", settings, rows, length, weights, d, d_bias, lse)
            if needs[2]:
                d_v = self._added(d_v, settings.keys, _turned(_as(g, weights)), part)
            d = None if d is None else _as(g, d)
            if needs[0]:
                of_q.append(multiply(d, k[..., :length, :]))
            if needs[1]:
                d_k = self._added(d_k, settings.keys, _turned(d), q[..., rows, :])
        d_q = None
        if needs[0]:
            d_q = of_q[0] if len(of_q) == 1 else self._module.concatenate(of_q[::-1], axis=-2)
        return d_q, d_k, d_v, d_bias

    def _ready(self, keep: Any, bias: Any, *arrays: Any) -> tuple[Any, ...] | None:
        """The bias as the kernels take it, the arrays in an order that products take.

        Half precisions stay as they are where all are of one: the products then add up in single,
        and the kernels have single alone. None where there is no kernel for them, or the dropout.
        Of values that were not saved there are only shape and dtype.
        """
        if keep is not None and not hasattr(keep, "draws"):
            return None
        if not all(prod(a.shape) for a in (bias, *arrays) if a is not None):
            return None
        halves = len({a.dtype for a in arrays}) == 1 and is_half(arrays[0].dtype)
        ready = [self._even(a, halves) if isinstance(a, self._array) else a for a in arrays]
        if isinstance(bias, self._array) and is_half(bias.dtype):
            bias = bias.astype(SINGLE)
        wide = [a for a in (bias, *ready) if isinstance(a, self._array) and not is_half(a.dtype)]
        fit = all(a.dtype == SINGLE for a in wide) if halves else self._fit(*wide)
        return (bias, *ready) if fit else None

    def _even(self, x: Any, halves: bool) -> Any:
        """x, copied where its matrices do not follow each other at one distance."""
        if is_half(x.dtype) and not halves:
            return x.astype(SINGLE, order="C")
        return x if sum(size > 1 for size in x.shape[:-2]) < 2 else self._dense(x)

    def _settings(
        self, q: Any, k: Any, v: Any, bias: Any, scale: float, causal: bool, keep: Any, block: int
    ) -> _Settings:
        batch = np.broadcast_shapes(*(array.shape[:-2] for array in (q, k, v)))
        scores = (*batch, q.shape[-2], k.shape[-2])
        draws = None if keep is None else keep.draws
        return _Settings(self._module, bias, scores, scale, causal, draws, block)

    def _scores(self, q: Any, k: Any, rows: slice, length: int) -> Any:
        """The products of some queries and the first keys, in new memory."""
        return self._products.widely(q[..., rows, :], _turned(k[..., :length, :]))

    def _rows(self, name: str, settings: _Settings, rows: slice, length: int, *arrays: Any) -> None:
        """Launch a kernel, in which a warp or a block has the scores of a query."""
        arguments = settings.arguments(rows, length)
        source = attention_source(arrays[0].dtype)
        self._launch(source, name, arguments[2], length, *arrays, *arguments)

    def _added(self, total: Any, keys: int, a: Any, b: Any) -> Any:
        """total + a @ b, whose rows are the first of ``keys``."""
        if total is None and a.shape[-2] == keys:
            return self._products.widely(a, b)
        if total is None:
            shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), keys, b.shape[-1])
            total = self._module.zeros(shape, _wide(a))
        part = total[..., : a.shape[-2], :]
        if not self._products.add_product(part, a, b):
            part += self._products.widely(a, b)
        return total

    # Heads.

    def split_heads(self, x: Any, heads: int, parts: int = 1, batch_first: bool = True) -> Any:
        """The formula of this name, in C order: products then need no copies."""
        if not self._fit(x):
            return self._formula("split_heads", x, heads, parts, batch_first)
        return self._split(x, None, heads, parts, batch_first)

    def attention_heads(
        self, x: Any, weight: Any, bias: Any = None, heads: int = 1, parts: int = 1,
        batch_first: bool = True,
    ) -> Any:  # fmt: skip
        """The formula of this name: a product, and one kernel that adds the bias."""
        given = (weight,) if bias is None else (weight, bias)
        whole = bias is None or bias.shape == weight.shape[:1]
        if not self._fit(x, *given) or x.ndim != 3 or not (weight.size and whole):
            return self._formula("attention_heads", x, weight, bias, heads, parts, batch_first)
        rows = x.reshape((-1, x.shape[2]))
        product = self._products.multiply(rows, weight, turn_b=True)
        y = product.reshape((*x.shape[:2], weight.shape[0]))
        return self._split(y, bias, heads, parts, batch_first)

    def _split(self, x: Any, bias: Any, heads: int, parts: int, batch_first: bool) -> Any:
        """The parts of x, or of x plus a bias, by head."""
        first, second, features = x.shape
        batch, places = (first, second) if batch_first else (second, first)
        shape = (parts, batch, heads, places, features // (parts * heads))
        y, bias = self._array(shape, x.dtype), self._dense(bias)
        self._heads("split_heads", shape, batch_first, self._dense(x), bias, y)
        return tuple(y[part] for part in range(parts))

    def join_heads(self, *arrays: Any, batch_first: bool = True) -> Any:
        """The formula of this name in one kernel, where there are three parts."""
        if len(arrays) != 3 or not self._fit(*arrays):
            return FORMULAS["join_heads"](namespace_of(arrays[0]), *arrays, batch_first=batch_first)
        batch, heads, places, size = arrays[0].shape
        order = (batch, places) if batch_first else (places, batch)
        y = self._array((*order, 3 * heads * size), arrays[0].dtype)
        shape = (3, batch, heads, places, size)
        self._heads("join_heads", shape, batch_first, *map(self._dense, arrays), y)
        return y

    def _heads(self, name: str, shape: tuple[int, ...], batch_first: bool, *arrays: Any) -> None:
        parts, batch, heads, places, size = shape
        sizes = (parts * batch * heads * places, size)
        arguments = (*arrays, *sizes, batch, heads, places, parts, int(batch_first))
        self._launch(heads_source(arrays[0].dtype), name, *sizes, *arguments)


def _wide(x: Any) -> Any:
    """The dtype in which sums over x are kept."""
    return SINGLE if is_half(x.dtype) else x.dtype


def _as(like: Any, x: Any) -> Any:
    """x for a product with an array, which is of one dtype."""
    return x.astype(like.dtype, copy=False)


def _turned(x: Any) -> Any:
    return x.swapaxes(-1, -2)
