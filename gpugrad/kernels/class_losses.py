"""Losses of class numbers, one kernel each: a warp or a block a sample, and one for the mean.

The methods of `ClassLosses` replace the formulas of `gpugrad.ops.losses` in the namespace of CuPy.
The formula runs where there is no kernel. Imports `rows` and `source`.
"""

from functools import cache
from math import prod
from typing import Any

from gpugrad.backend.namespace import namespace_of
from gpugrad.kernels.rows import ENOUGH_ROWS, LONGEST, ROW
from gpugrad.kernels.source import FLOATS, SHORT, WIDE, Kernels, launch_shape, prelude

__all__ = ["ClassLosses", "loss_source"]

FEW_ROWS = 128  # the most rows whose losses one block computes and sums


@cache
def loss_source(dtype: Any, target: Any) -> str:
    """The kernels of the losses, for class numbers of the dtype ``target``."""
    sign = "unsigned " if target.kind == "u" else "signed "
    whole = {1: "char", 2: "short", 4: "int", 8: "long long"}[target.itemsize]
    return f"{prelude(dtype)}typedef {sign}{whole} I;\n{ROW}{LOSSES}"


# `plain` says that x are log-probabilities already; `ignoring`, that samples of the class `ignored`
# do not count.
LOSSES = """
__device__ inline bool is_class(I target, long long length)
{
    return (unsigned long long)(long long)target < (unsigned long long)length;
}

// The loss of a sample whose class number is out of range, and its gradient.
__device__ inline W not_a_number()
{
    const W zero = 0;
    return zero / zero;
}

// The loss of a row; writes the log-probabilities where `scores` is not 0.
__device__ inline W loss_of(const T* x, I target, T* scores, long long length, int plain)
{
    W top = 0, rest = 0;
    if (!plain) {
        top = largest(x, length);
        rest = log(sum_of_exp(x, top, length));
    }
    if (scores)
        EACH(i) scores[i] = narrow(widen(x[i]) - top - rest);
    return is_class(target, length) ? rest - (widen(x[(long long)target]) - top) : not_a_number();
}

extern "C" __global__ void losses_of_classes(
    const T* x, const I* target, T* losses, T* scores, long long rows, long long length, int plain,
    int ignoring, long long ignored)
{
    EACH_ROW(row) {
        const long long first = row * length;
        const W loss = loss_of(x + first, target[row], scores ? scores + first : 0, length, plain);
        if (threadIdx.x == 0)
            losses[row] = narrow(ignoring && (long long)target[row] == ignored ? (W)0 : loss);
    }
}

// factor times the sum of all losses, or their mean, by one block whose warps take rows in turn.
extern "C" __global__ void losses_of_few(
    const T* x, const I* target, T* y, T* scores, long long rows, long long length, int plain,
    int ignoring, long long ignored, int averaging, double factor)
{
    __shared__ W parts[32], counts[32];
    W sum = 0, count = 0;
    EACH_ROW(row) {
        const long long first = row * length;
        const W loss = loss_of(x + first, target[row], scores ? scores + first : 0, length, plain);
        if (!ignoring || (long long)target[row] != ignored) {
            sum += loss;
            count += 1;
        }
    }
    if (threadIdx.x == 0) {
        parts[threadIdx.y] = sum;
        counts[threadIdx.y] = count;
    }
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        sum = count = 0;
        for (unsigned int i = 0; i < blockDim.y; ++i) {
            sum += parts[i];
            count += counts[i];
        }
        y[0] = narrow(averaging ? sum / count : sum * (W)factor);
    }
}

// factor times the sum of the losses, or their mean, by one block.
extern "C" __global__ void total(
    const T* losses, const I* target, T* y, long long length, int averaging, long long ignored,
    double factor)
{
    W sum = 0, count = 0;
    EACH(i) {
        sum += widen(losses[i]);
        if (averaging)
            count += (long long)target[i] != ignored;
    }
    sum = sum_of_all(sum);
    if (averaging)
        count = sum_of_all(count);
    if (threadIdx.x == 0)
        y[0] = narrow(averaging ? sum / count : sum * (W)factor);
}

// One over the number of samples that count, by one block.
extern "C" __global__ void share_of_each(
    const I* target, W* share, long long length, long long ignored)
{
    W count = 0;
    EACH(i) count += (long long)target[i] != ignored;
    count = sum_of_all(count);
    if (threadIdx.x == 0)
        share[0] = (W)1 / count;
}

// g has one element for each row (stride 1) or one for all (stride 0). The pointer of shares may be
// 0; scores are not read where `plain`.
extern "C" __global__ void losses_vjp(
    const T* g, const T* scores, const I* target, const W* shares, T* d, long long rows,
    long long length, int plain, int ignoring, long long ignored, long long stride, double share)
{
    EACH_ROW(row) {
        const bool known = is_class(target[row], length);
        const bool counts = !ignoring || (long long)target[row] != ignored;
        const W factor = known
            ? widen(g[row * stride]) * (shares ? shares[0] : (W)share) : not_a_number();
        const long long chosen = known ? (long long)target[row] : -1;
        EACH(i) {
            const long long at = row * length + i;
            W value = 0;
            if (counts && !plain)
                value = (exp(widen(scores[at])) - (i == chosen)) * factor;
            else if (counts && (i == chosen || !known))
                value = -factor;
            d[at] = narrow(value);
        }
    }
}
"""


class ClassLosses(Kernels):
    """The cross-entropy of class numbers, with and without the softmax, on arrays of CuPy."""

    def class_cross_entropy(self, logits: Any, target: Any, reduction: str = "mean") -> Any:
        """The formula of this name in `gpugrad.ops.losses`, as the others are."""
        if not self._loss_fits(logits, target, reduction):
            return self._formula("class_cross_entropy", logits, target, reduction)
        return self._loss(logits, target, reduction, None)[0]

    def class_cross_entropy_and_residuals(
        self, logits: Any, target: Any, reduction: str = "mean"
    ) -> Any:
        """The loss and the log-probabilities."""
        if not self._loss_fits(logits, target, reduction):
            return self._formula("class_cross_entropy_and_residuals", logits, target, reduction)
        return self._loss(logits, target, reduction, None, keep=True)

    def class_cross_entropy_vjp(
        self, g: Any, target: Any, scores: Any, reduction: str, ignored: int | None = None
    ) -> Any:
        """The gradient of the logits, from their log-probabilities."""
        d = self._vjp(g, target, scores, reduction, ignored)
        if d is not None:
            return d
        return self._formula("class_cross_entropy_vjp", g, target, scores, reduction, ignored)

    def cross_entropy_ignoring(
        self, logits: Any, target: Any, ignored: int, reduction: str = "mean"
    ) -> Any:
        """The loss of the samples that count."""
        if not self._loss_fits(logits, target, reduction):
            return self._formula("cross_entropy_ignoring", logits, target, ignored, reduction)
        return self._loss(logits, target, reduction, ignored)[0]

    def cross_entropy_ignoring_and_residuals(
        self, logits: Any, target: Any, ignored: int, reduction: str = "mean"
    ) -> Any:
        """The same, and the log-probabilities."""
        if not self._loss_fits(logits, target, reduction):
            name = "cross_entropy_ignoring_and_residuals"
            return self._formula(name, logits, target, ignored, reduction)
        return self._loss(logits, target, reduction, ignored, keep=True)

    def class_nll(
        self, logs: Any, target: Any, reduction: str = "mean", ignored: int | None = None
    ) -> Any:
        """The loss of log-probabilities."""
        if not self._loss_fits(logs, target, reduction):
            return self._formula("class_nll", logs, target, reduction, ignored)
        return self._loss(logs, target, reduction, ignored, plain=True)[0]

    def class_nll_vjp(
        self, g: Any, target: Any, like: Any, reduction: str, ignored: int | None = None
    ) -> Any:
        """The gradient of log-probabilities, which are like these."""
        d = self._vjp(g, target, like, reduction, ignored, plain=True)
        if d is not None:
            return d
        return self._formula("class_nll_vjp", g, target, like, reduction, ignored)

    def _loss_fits(self, logits: Any, target: Any, reduction: str) -> bool:
        """Whether there is a kernel; of the operand, shape and dtype are enough."""
        shape = logits.shape
        return (
            reduction in ("mean", "sum", "none")
            and isinstance(target, self._array)
            and target.dtype.kind in "iu"
            and len(shape) > 0
            and target.shape == shape[:-1]
            and logits.dtype in FLOATS
            and prod(shape) > 0
            and (shape[-1] <= LONGEST or target.size >= ENOUGH_ROWS)
        )

    def _loss(
        self, logits: Any, target: Any, reduction: str, ignored: int | None, keep: bool = False,
        plain: bool = False,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The loss, and with ``keep`` the log-probabilities."""
        dtype = logits.dtype
        source = loss_source(dtype, target.dtype)
        shape, length, rows = target.shape, logits.shape[-1], target.size
        logits, target = self._dense(logits), self._dense(target)
        scores = self._array(logits.shape, dtype) if keep else None
        rule = (int(plain), *_number(ignored))
        averaging = int(ignored is not None and reduction == "mean")
        share = 1.0 / rows if reduction == "mean" else 1.0
        if reduction != "none" and rows <= FEW_ROWS and length <= SHORT:
            y = self._array((), dtype)
            few = (logits, target, y, scores, rows, length, *rule, averaging, share)
            self._get(source, "losses_of_few")((1,), (32, min(32, rows)), few)
            return y, scores
        losses = self._array(shape, dtype)
        arguments = (logits, target, losses, scores, rows, length, *rule)
        self._launch(source, "losses_of_classes", rows, length, *arguments)
        if reduction == "none":
            return losses, scores
        if rows > LONGEST and not averaging:
            return getattr(namespace_of(losses), reduction)(losses), scores
        y = self._array((), dtype)
        threads = launch_shape(1, rows)[1][0]
        every = (losses, target, y, rows, averaging, rule[2], share)
        self._get(source, "total")((1,), (threads,), every)
        return y, scores

    def _vjp(
        self, g: Any, target: Any, scores: Any, reduction: str, ignored: int | None,
        plain: bool = False,
    ) -> Any:  # fmt: skip
        """The gradient of the operand of a loss; None where there is no kernel."""
        every = reduction == "none"
        fits = g.dtype == scores.dtype and g.shape == (target.shape if every else ())
        if not fits or not self._loss_fits(scores, target, reduction):
            return None
        dtype, rows, length = scores.dtype, target.size, scores.shape[-1]
        source, shares = loss_source(dtype, target.dtype), None
        shape, g, target = scores.shape, self._dense(g), self._dense(target)
        scores = None if plain else self._dense(scores)
        rule = (int(plain), *_number(ignored))
        if ignored is not None and reduction == "mean":
            shares = self._array((), WIDE[dtype.char])
            threads = launch_shape(1, rows)[1][0]
            of_all = (target, shares, rows, rule[2])
            self._get(source, "share_of_each")((1,), (threads,), of_all)
        d, share = self._array(shape, dtype), 1.0 / rows if reduction == "mean" else 1.0
        arguments = (g, scores, target, shares, d, rows, length, *rule, int(every), share)
        self._launch(source, "losses_vjp", rows, length, *arguments)
        return d


def _number(ignored: int | None) -> tuple[int, int]:
    """Whether a class is ignored, and which."""
    return (0, 0) if ignored is None else (1, ignored)
