"""The steps of recurrent layers: each is a product of cuBLAS and one kernel, in both directions.

The methods of `Recurrent` replace the formulas of `gpugrad.ops.recurrent` in the namespace of CuPy.
The product of a step is added to what its kernel reads. Imports `source`.
"""

from functools import cache
from typing import Any

from gpugrad.backend.namespace import FORMULAS, namespace_of
from gpugrad.backend.products import Products
from gpugrad.kernels.source import Get, Kernels, cupy_kernel, prelude

__all__ = ["Recurrent", "recurrent_source"]

THREADS = 256

Needs = tuple[bool, ...]


@cache
def recurrent_source(dtype: Any) -> str:
    """The kernels of the steps of LSTM, GRU and RNN, forward and backward."""
    return prelude(dtype) + STEPS + ELMAN


# `t` is the number of the step, `starts` are the states before the first one. Each thread has one
# element of a state. The pointer of the mask may be 0: all steps count.
STEPS = """
#define EACH_ELEMENT \\
    const long long count = batch * hidden; \\
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; \\
    if (i >= count) \\
        return; \\
    const long long row = i / hidden, column = i % hidden; \\
    const bool counts = !mask || mask[t * batch + row];

__device__ inline W sigmoid(W x) { return (W)1 / ((W)1 + exp(-x)); }

// `gates` has the pre-activations of i, f, g and o, in whose place come the gates g, i, f and o.
extern "C" __global__ void lstm_step(
    T* gates, T* h, T* c, const T* start_h, const T* start_c, const bool* mask, long long t,
    long long batch, long long hidden)
{
    EACH_ELEMENT
    T* const own = gates + (t * batch + row) * 4 * hidden + column;
    const W in = sigmoid(widen(own[0])), forget = sigmoid(widen(own[hidden]));
    const W candidate = tanh(widen(own[2 * hidden])), out = sigmoid(widen(own[3 * hidden]));
    own[0] = narrow(candidate);
    own[hidden] = narrow(in);
    own[2 * hidden] = narrow(forget);
    own[3 * hidden] = narrow(out);
    const long long to = t * count + i;
    const T before = t ? c[to - count] : start_c[i];
    const W state = forget * widen(before) + in * candidate;
    c[to] = counts ? narrow(state) : before;
    h[to] = counts ? narrow(out * tanh(state)) : t ? h[to - count] : start_h[i];
}

// The pointers of g_h and g_c may be 0. d_h and d_c have the gradients of the states after the step
// that came from later ones, and get those of the states before it, d_h without the product.
extern "C" __global__ void lstm_step_vjp(
    const T* g_h, const T* g_c, const T* gates, const T* c, const T* start_c, T* d, T* d_h, T* d_c,
    const bool* mask, long long t, long long batch, long long hidden)
{
    EACH_ELEMENT
    const long long from = t * count + i, first = (t * batch + row) * 4 * hidden + column;
    W of_h = widen(d_h[i]) + (g_h ? widen(g_h[from]) : (W)0);
    W of_c = widen(d_c[i]) + (g_c ? widen(g_c[from]) : (W)0);
    d_h[i] = narrow(counts ? (W)0 : of_h);
    W d_in = 0, d_forget = 0, d_candidate = 0, d_out = 0;
    if (counts) {
        const T* const own = gates + first;
        const W candidate = widen(own[0]), in = widen(own[hidden]);
        const W forget = widen(own[2 * hidden]), out = widen(own[3 * hidden]);
        const W squashed = tanh(widen(c[from]));
        of_c += of_h * out * ((W)1 - squashed * squashed);
        d_in = of_c * candidate * (in - in * in);
        d_forget = of_c * widen(t ? c[from - count] : start_c[i]) * (forget - forget * forget);
        d_candidate = of_c * in * ((W)1 - candidate * candidate);
        d_out = of_h * squashed * (out - out * out);
        of_c *= forget;
    }
    d_c[i] = narrow(of_c);
    d[first] = narrow(d_in);
    d[first + hidden] = narrow(d_forget);
    d[first + 2 * hidden] = narrow(d_candidate);
    d[first + 3 * hidden] = narrow(d_out);
}

// `kept` gets r, z, n and q, the state's share of the candidate n.
extern "C" __global__ void gru_step(
    const T* x, const T* product, const T* bias, T* kept, T* h, const T* start_h, const bool* mask,
    long long t, long long batch, long long hidden)
{
    EACH_ELEMENT
    const T* const of_x = x + (t * batch + row) * 3 * hidden + column;
    const T* const of_h = product + row * 3 * hidden + column;
    T* const own = kept + (t * batch + row) * 4 * hidden + column;
    const W r = sigmoid(widen(of_h[0]) + widen(of_x[0]));
    const W z = sigmoid(widen(of_h[hidden]) + widen(of_x[hidden]));
    const W q = widen(of_h[2 * hidden]) + widen(bias[column]);
    const W n = tanh(widen(of_x[2 * hidden]) + r * q);
    own[0] = narrow(r);
    own[hidden] = narrow(z);
    own[2 * hidden] = narrow(n);
    own[3 * hidden] = narrow(q);
    const long long to = t * count + i;
    const T before = t ? h[to - count] : start_h[i];
    h[to] = counts ? narrow(n + z * (widen(before) - n)) : before;
}

// d_x gets the gradient of the input's share, d_product that of the state's.
extern "C" __global__ void gru_step_vjp(
    const T* g, const T* kept, const T* h, const T* start_h, T* d_x, T* d_product, T* d_h,
    const bool* mask, long long t, long long batch, long long hidden)
{
    EACH_ELEMENT
    const long long from = t * count + i, first = (t * batch + row) * 3 * hidden + column;
    const W of_h = widen(d_h[i]) + (g ? widen(g[from]) : (W)0);
    W d_r = 0, d_z = 0, d_n = 0, d_q = 0, direct = of_h;
    if (counts) {
        const T* const own = kept + (t * batch + row) * 4 * hidden + column;
        const W r = widen(own[0]), z = widen(own[hidden]);
        const W n = widen(own[2 * hidden]), q = widen(own[3 * hidden]);
        const W before = widen(t ? h[from - count] : start_h[i]);
        d_z = of_h * (before - n) * (z - z * z);
        direct = of_h * z;
        d_n = (of_h - direct) * ((W)1 - n * n);
        d_q = d_n * r;
        d_r = d_n * q * (r - r * r);
    }
    d_h[i] = narrow(direct);
    d_x[first] = d_product[first] = narrow(d_r);
    d_x[first + hidden] = d_product[first + hidden] = narrow(d_z);
    d_x[first + 2 * hidden] = narrow(d_n);
    d_product[first + 2 * hidden] = narrow(d_q);
}
"""


# `h` has the pre-activations of all steps, which the states replace.
ELMAN = """
extern "C" __global__ void elman_step(
    T* h, const T* start, const bool* mask, int relu, long long t, long long batch,
    long long hidden)
{
    EACH_ELEMENT
    const long long to = t * count + i;
    const W x = widen(h[to]);
    const W state = relu ? (x <= 0 ? (W)0 : x) : tanh(x);  // a NaN stays one
    h[to] = counts ? narrow(state) : t ? h[to - count] : start[i];
}

extern "C" __global__ void elman_step_vjp(
    const T* g, const T* h, T* d, T* d_h, const bool* mask, int relu, long long t, long long batch,
    long long hidden)
{
    EACH_ELEMENT
    const long long from = t * count + i;
    const W of_h = widen(d_h[i]) + widen(g[from]), y = widen(h[from]);
    d_h[i] = narrow(counts ? (W)0 : of_h);
    const W slope = relu ? (y <= 0 ? (W)0 : (W)1) : (W)1 - y * y;
    d[from] = narrow(counts ? of_h * slope : (W)0);
}
"""


class Recurrent(Kernels):
    """The steps of recurrent layers on arrays of CuPy."""

    brain = True

    def __init__(self, module: Any, products: Products, get: Get = cupy_kernel) -> None:
        super().__init__(module, get)
        self._products = products

    def lstm_steps(self, x: Any, h: Any, c: Any, weight: Any, mask: Any) -> Any:
        """The formula of this name in `gpugrad.ops.recurrent`."""
        if not self._fit(x, h, c, weight) or not h.size:
            return self._formula("lstm_steps", x, h, c, weight, mask)
        h, c, weight, mask = map(self._dense, (h, c, weight, mask))
        kept = x.copy(order="C")  # to which the products are added
        after_h, after_c = (self._array((len(x), *h.shape), x.dtype) for _ in range(2))
        turned = weight.T
        for t in range(len(x)):
            self._products.add_product(kept[t], after_h[t - 1] if t else h, turned)
            self._step("lstm_step", h.shape, kept, after_h, after_c, h, c, mask, t)
        return (after_h, after_c), kept.reshape((*after_h.shape[:2], 4, -1))

    def lstm_steps_vjp(
        self, gs: Any, of_kept: Any, needs: Needs, h: Any, c: Any, weight: Any, mask: Any,
        after: Any, kept: Any,
    ) -> Any:  # fmt: skip
        """The formula of this name in `gpugrad.ops.recurrent`."""
        given = [g for g in gs if g is not None]
        if of_kept is not None or not self._fit(kept, h, c, weight, *given, *after) or not h.size:
            arguments = (of_kept, needs, h, c, weight, mask, after, kept)
            return self._formula_of(kept, "lstm_steps_vjp", gs, *arguments)
        g_h, g_c, h, c, weight, mask, after_h, after_c, kept = map(
            self._dense, (*gs, h, c, weight, mask, *after, kept)
        )
        d = self._array((*kept.shape[:2], len(weight)), kept.dtype)
        d_h, d_c = (self._module.zeros_like(h) for _ in range(2))
        for t in reversed(range(len(kept))):
            arrays = (g_h, g_c, kept, after_c, c, d, d_h, d_c, mask)
            self._step("lstm_step_vjp", h.shape, *arrays, t)
            self._products.add_product(d_h, d[t], weight)
        return d, d_h, d_c, self._of_weight(d, h, after_h) if needs[3] else None, None

    def gru_steps(self, x: Any, h: Any, weight: Any, bias: Any, mask: Any) -> Any:
        """The formula of this name in `gpugrad.ops.recurrent`."""
        if not self._fit(x, h, weight, bias) or not h.size:
            return self._formula("gru_steps", x, h, weight, bias, mask)
        x, h, weight, bias, mask = map(self._dense, (x, h, weight, bias, mask))
        batch, hidden = h.shape
        kept = self._array((len(x), batch, 4 * hidden), x.dtype)
        after = self._array((len(x), batch, hidden), x.dtype)
        for t in range(len(x)):
            product = self._products.multiply(after[t - 1] if t else h, weight, turn_b=True)
            self._step("gru_step", h.shape, x, product, bias, kept, after, h, mask, t)
        return after, kept

    def gru_steps_vjp(
        self, g: Any, of_kept: Any, needs: Needs, h: Any, weight: Any, mask: Any, after: Any,
        kept: Any,
    ) -> Any:  # fmt: skip
        """The formula of this name in `gpugrad.ops.recurrent`."""
        given = [] if g is None else [g]
        if of_kept is not None or not self._fit(kept, h, weight, after, *given) or not h.size:
            arguments = (of_kept, needs, h, weight, mask, after, kept)
            return self._formula_of(kept, "gru_steps_vjp", g, *arguments)
        g, h, weight, mask, after, kept = map(self._dense, (g, h, weight, mask, after, kept))
        hidden = h.shape[1]
        d_x, d_product = (self._array((*after.shape[:2], 3 * hidden), kept.dtype) for _ in range(2))
        d_h = self._module.zeros_like(h)
        for t in reversed(range(len(kept))):
            self._step("gru_step_vjp", h.shape, g, kept, after, h, d_x, d_product, d_h, mask, t)
            self._products.add_product(d_h, d_product[t], weight)
        d_weight = self._of_weight(d_product, h, after) if needs[2] else None
        d_bias = d_product[..., 2 * hidden :].sum(axis=(0, 1)) if needs[3] else None
        return d_x, d_h, d_weight, d_bias, None

    def elman(
        self, x: Any, h: Any, weight: Any, mask: Any = None, nonlinearity: str = "tanh"
    ) -> Any:
        """The formula of this name in `gpugrad.ops.recurrent`."""
        if not self._fit(x, h, weight) or not h.size:
            return self._formula("elman", x, h, weight, mask, nonlinearity)
        h, mask, turned = self._dense(h), self._dense(mask), self._dense(weight).T
        after, relu = x.copy(order="C"), int(nonlinearity == "relu")
        for t in range(len(x)):
            self._products.add_product(after[t], after[t - 1] if t else h, turned)
            self._step("elman_step", h.shape, after, h, mask, relu, t)
        return after

    def elman_vjp(
        self, g: Any, needs: Needs, h: Any, weight: Any, mask: Any, after: Any, nonlinearity: str
    ) -> Any:
        """The formula of this name in `gpugrad.ops.recurrent`."""
        if not self._fit(after, g, h, weight) or not h.size:
            return self._formula("elman_vjp", g, needs, h, weight, mask, after, nonlinearity)
        g, h, weight, mask, after = map(self._dense, (g, h, weight, mask, after))
        d, d_h = self._array(after.shape, after.dtype), self._module.zeros_like(h)
        relu = int(nonlinearity == "relu")
        for t in reversed(range(len(after))):
            self._step("elman_step_vjp", h.shape, g, after, d, d_h, mask, relu, t)
            self._products.add_product(d_h, d[t], weight)
        return d, d_h, self._of_weight(d, h, after) if needs[2] else None, None

    def _step(self, name: str, shape: tuple[int, int], *arguments: Any) -> None:
        source = recurrent_source(next(a.dtype for a in arguments if a is not None))
        grid = (-(-shape[0] * shape[1] // THREADS),)
        self._get(source, name)(grid, (THREADS,), (*arguments, *shape))

    def _of_weight(self, d: Any, start: Any, after: Any) -> Any:
        """The gradient of the weight: the products of all steps with the states before them."""
        total = self._products.multiply(d[0], start, turn_a=True)
        rows, states = d[1:].reshape((-1, d.shape[2])), after[:-1].reshape((-1, after.shape[2]))
        if len(rows):
            self._products.add_product(total, rows.T, states)
        return total

    def _formula_of(self, beside: Any, name: str, *arguments: Any) -> Any:
        """What the formula returns where its first argument may be no array."""
        return FORMULAS[name](namespace_of(beside), *arguments)
