"""Inputs for every function that is made of others: `test_composed.py` tries each on them.

An entry says on which shapes a function is called and how; NumPy's function of that name, or a
reference, says what comes out. A call gets the function first, so that it serves for both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpugrad as gg
from gpugrad.functions import FUNCTIONS


@dataclass
class Case:
    name: str
    shapes: tuple[tuple[int, ...], ...]
    call: Callable[..., Any]
    reference: Callable[..., Any] | None
    domain: tuple[float, float]
    words: str
    gradient: bool
    # Over complex numbers: "refused", "valued" (a value and no gradient), "more" than NumPy takes.
    complex: str = ""
    # Whether NumPy's function of the name takes tensors and returns what this one does.
    numpy: bool = True
    # The dtype of the results, where it is not that of the arrays.
    dtype: type | None = None

    def arrays(self, dtype=np.float64, seed=3):
        """Arrays from the domain, with no two elements near a tie."""
        rng = np.random.default_rng(seed)
        low, high = self.domain
        made = []
        for index, shape in enumerate(self.shapes):
            size = int(np.prod(shape))
            steps = (rng.permutation(size) + rng.uniform(0.2, 0.8, size)) / max(size, 1)
            array = (low + (high - low) * steps).reshape(shape) + 0.013 * index
            made.append(np.asarray(array.astype(dtype)))
        return made

    def apply(self, tensors):
        return outputs_of(self.call(getattr(gg, self.name), *tensors))

    def expected(self, arrays):
        own = self.reference or getattr(np, self.name)
        return outputs_of(self.call(own, *arrays))

    def __repr__(self):
        return f"{self.name}-{self.words}"


def outputs_of(result):
    """What a function gives, as one tuple: also what lies in lists and tuples inside."""
    if not isinstance(result, tuple | list):
        return (result,)
    return tuple(part for one in result for part in outputs_of(one))


CASES: list[Case] = []


def case(name, *shapes, call=None, reference=None, domain=(-2.0, 2.0), gradient=True, **words):
    """One more case: ``words`` are keywords of the call, unless ``call`` makes it."""
    number = sum(one.name == name for one in CASES)
    text = ", ".join([*map(str, shapes), *(f"{k}={v}" for k, v in words.items())])
    text = f"{number}-{text}" if call else text

    def plain(f, *arrays):
        return f(*arrays, **words)

    CASES.append(Case(name, shapes, call or plain, reference, domain, text, gradient))


def about(*names, mode="", **facts):
    """What holds of the cases of some functions so far, or of those with this mode."""
    for one in CASES:
        if one.name in names and (not mode or f"mode={mode}" in one.words):
            for fact, value in facts.items():
                setattr(one, fact, value)


def none(name, *shapes, **words):
    """A case of a function that has no gradient."""
    case(name, *shapes, gradient=False, **words)


def holes(x):
    """x with NaN in two places, for NumPy arrays and Tensors."""
    flat = x.reshape(-1)
    bad = (flat == flat[0]) | (flat == flat[4])
    where = np.where if isinstance(x, np.ndarray) else FUNCTIONS["where"]
    return where(bad, np.nan, flat).reshape(x.shape)


# Joining and cutting.
for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    case(_name, ())
    case(_name, (3,), (2, 3))
    case(_name, (2, 1, 3))
for _name in ("hstack", "vstack", "dstack", "column_stack"):
    case(_name, (3,), (3,), call=lambda f, a, b: f([a, b]))
    case(_name, (2, 3), (2, 3), call=lambda f, a, b: f((a, b)))
case("column_stack", (3,), (3, 2), call=lambda f, a, b: f((a, b)))
case("array_split", (7, 2), call=lambda f, a: f(a, 3))
case("array_split", (2, 5), call=lambda f, a: f(a, [1, 3], axis=-1))
case("hsplit", (2, 4), call=lambda f, a: f(a, 2))
case("hsplit", (4,), call=lambda f, a: f(a, [1]))
case("vsplit", (4, 2), call=lambda f, a: f(a, 2))
case("dsplit", (1, 2, 4), call=lambda f, a: f(a, [3]))
case("fliplr", (2, 3))
case("flipud", (2, 3))
for _k in range(-1, 4):
    case("rot90", (2, 3), k=_k)
_slid = np.lib.stride_tricks.sliding_window_view
case("sliding_window_view", (5,), window_shape=3, reference=_slid)
case("sliding_window_view", (2, 4, 3), window_shape=(2, 2), axis=(2, 1), reference=_slid)
case("sliding_window_view", (2, 4), window_shape=(1, 4), reference=_slid)
case("rot90", (2, 3, 2), axes=(2, 0))
case("rollaxis", (2, 3, 4), axis=2)
case("rollaxis", (2, 3, 4), axis=0, start=2)
case("meshgrid", (3,), (2,))
case("meshgrid", (3,), (2,), (4,), indexing="ij", sparse=True)
case("meshgrid", (3,), ())
case("append", (2, 3), (3,))
case("append", (2, 3), (1, 3), axis=0)
case("delete", (5,), call=lambda f, a: f(a, [1, -1]))
case("delete", (2, 5), call=lambda f, a: f(a, slice(1, None, 2), axis=1))
case("delete", (3, 2), call=lambda f, a: f(a, 1, 0))
case("insert", (3,), (2,), call=lambda f, a, b: f(a, [0, 2], b))
case("insert", (3,), (), call=lambda f, a, b: f(a, -1, b))
case("insert", (3,), (2,), call=lambda f, a, b: f(a, 1, b))
case("insert", (2, 3), (2,), call=lambda f, a, b: f(a, 1, b, axis=1))
case("insert", (2, 3), (2, 1), call=lambda f, a, b: f(a, [1], b, axis=1))
case("insert", (2, 3), (3,), call=lambda f, a, b: f(a, 2, b, axis=0))
case("insert", (2, 3), (2, 2), call=lambda f, a, b: f(a, slice(0, 3, 2), b, axis=1))
case("block", (2, 2), (2,), call=lambda f, a, b: f([[a, b[:, None]], [b, 3.0]]))
case("block", (2,), (), call=lambda f, a, b: f([a, b, a]))
case("block", (2, 1), call=lambda f, a: f(a))
case("block", (1, 2, 2), (2, 2), call=lambda f, a, b: f([[[a], [b]]]))
case("trim_zeros", (5,), call=lambda f, a: f(a * (numbers(a) != 0)))
case("trim_zeros", (5,), call=lambda f, a: f(a * (numbers(a) != 0), "b"))
case("trim_zeros", (3, 4), call=lambda f, a: f(a * (numbers(a) != 0)[:, None], "f"))
case("trim_zeros", (3, 4), call=lambda f, a: f(a * 0.0))
case("trim_zeros", (3, 4), call=lambda f, a: f(a * (numbers(a) == 1)[:, None], axis=0))
case("resize", (2, 3), new_shape=(2, 4))
case("resize", (3,), new_shape=2)

# Padding.
for _mode in ("constant", "edge", "reflect", "symmetric", "wrap", "mean", "median", "maximum",
              "minimum", "linear_ramp"):  # fmt: skip
    case("pad", (4,), pad_width=2, mode=_mode)
    case("pad", (2, 3), pad_width=((1, 0), (2, 4)), mode=_mode)
case("pad", (3,), pad_width=(2, 1), mode="constant", constant_values=3.0)
case("pad", (2, 2), pad_width=1, mode="constant", constant_values=((1.0, 2.0), (3.0, 4.0)))
case("pad", (3,), pad_width=(2, 3), mode="linear_ramp", end_values=(5.0, -4.0))
case("pad", (5,), pad_width=2, mode="mean", stat_length=2)
case("pad", (2, 5), pad_width=1, mode="maximum", stat_length=((1, 2), (3, 4)))
for _mode in ("reflect", "symmetric"):
    case("pad", (3,), pad_width=(7, 8), mode=_mode)
    case("pad", (4,), pad_width=(2, 1), mode=_mode, reflect_type="odd")
    case("pad", (3,), pad_width=(8, 7), mode=_mode, reflect_type="odd")
    case("pad", (1,), pad_width=(2, 1), mode=_mode)
case("pad", (3,), pad_width=(7, 8), mode="wrap")
about("pad", mode="median", complex="refused")
about("pad", mode="maximum", complex="valued")
about("pad", mode="minimum", complex="valued")

# Vectors and matrices.
case("diag", (3,), k=1)
case("diag", (2, 3), k=-1)
case("diag", (3, 3))
case("diagflat", (2, 2))
for _words in ({}, {"offset": 1, "axis1": -1}, {"offset": -2, "axis1": 2, "axis2": 0}):
    case("make_diagonal", (2, 3), reference=lambda d, **words: spread(d, **words), **_words)
case("trace", (3, 3))
case("trace", (2, 3, 4), offset=1, axis1=2, axis2=0)
case("inner", (3,), (3,))
case("inner", (2, 3), (4, 3))
case("inner", (), (2, 3))
case("vdot", (2, 3), (6,))
case("vecdot", (2, 3), (3,))
case("vecdot", (3, 2), (3, 2), axis=0)
case("matvec", (2, 3), (3,))
case("matvec", (2, 3, 2), (2, 2))
case("vecmat", (2,), (2, 3))
case("vecmat", (2, 2), (3, 1, 2, 3))
case("kron", (2, 3), (2,))
case("kron", (2, 1), (2, 2))
case("cross", (2, 3), (3,))
case("cross", (3, 2), (3, 2), axis=0)
case("cross", (4, 3), (3, 4), axisb=0, axisc=0)
case("vander", (3,), domain=(0.5, 2.0))
case("vander", (3,), call=lambda f, a: f(a, 2, increasing=True), domain=(0.5, 2.0))

# Sampled functions.
case("diff", (5,), n=2)
case("diff", (2, 3), axis=0)
case("diff", (2, 3), (2, 1), call=lambda f, a, b: f(a, prepend=b, append=1.5))
case("ediff1d", (2, 3))
case("ediff1d", (3,), (2,), call=lambda f, a, b: f(a, to_begin=b, to_end=0.5))
case("gradient", (5,))
case("gradient", (3, 4), edge_order=2)
case("gradient", (3, 4), call=lambda f, a: f(a, 0.5, axis=1))
case("gradient", (3, 4), call=lambda f, a: f(a, 0.5, 2.0))
case("gradient", (5,), (5,), call=lambda f, a, b: f(a, rising(b)))
case("gradient", (2, 5), (5,), call=lambda f, a, b: f(a, 1.0, rising(b), edge_order=1, axis=(0, 1)))
case("gradient", (5,), (5,), call=lambda f, a, b: f(a, rising(b), edge_order=2))
case("trapezoid", (5,))
case("trapezoid", (2, 3), dx=0.5, axis=0)
case("trapezoid", (2, 4), (4,))
case("trapezoid", (2, 4), (2, 4))
case("cumulative_sum", (4,))
case("cumulative_sum", (2, 3), axis=1, include_initial=True)
case("cumulative_prod", (4,))
case("cumulative_prod", (2, 3), axis=0, include_initial=True)
case("interp", (7,), (4,), (4,), call=lambda f, x, a, b: f(x, rising(a) - 2.2, b))
case("interp", (2, 2), (3,), (3,), call=lambda f, x, a, b: f(x, rising(a), b, left=0.5, right=7.0))
case("interp", (5,), (3,), (3,), call=lambda f, x, a, b: f(x, a, b, period=1.7))
case("interp", (), (4,), (4,), call=lambda f, x, a, b: f(x, rising(a) - 1.5, b))
for _mode in ("full", "same", "valid"):
    for _shapes in (((5,), (3,)), ((2,), (5,)), ((4,), (4,)), ((5,), (2,)), ((3,), (6,))):
        case("convolve", *_shapes, mode=_mode)
        case("correlate", *_shapes, mode=_mode)
case("unwrap", (6,), call=lambda f, a: f(a * 4.1))
case("unwrap", (2, 4), call=lambda f, a: f(a * 3, axis=0, period=4.0))
case("unwrap", (5,), call=lambda f, a: f(a * 3, 2.5))


# Ramps: NumPy's take tensors where an end is one.
for _name in ("linspace", "geomspace", "logspace"):
    for _words in ({}, {"endpoint": False}, {"num": 1}):
        case(_name, (), (), domain=(0.5, 3.0), call=lambda f, a, b, w=_words: (
            f(a, b, **{"num": 5, **w})))  # fmt: skip
    case(_name, (2, 1), (3,), domain=(0.5, 3.0), call=lambda f, a, b: f(a, b, 4, axis=-1))
    case(_name, (2,), domain=(0.5, 3.0), call=lambda f, a: f(a, 4.0, 3))
    case(_name, (2,), domain=(0.5, 3.0), call=lambda f, a: f(4, a, num=3, axis=1))
case("geomspace", (2,), domain=(0.5, 3.0), call=lambda f, a: f(-a, -7.0, 4))
case("logspace", (2,), (2,), domain=(0.5, 3.0), call=lambda f, a, b: f(1.0, a, 3, base=b))

# Polynomials.
case("polyval", (4,), (2, 3))
case("polyval", (1,), ())
case("polyval", (3,), call=lambda f, p: f(p, 2.0))
for _name in ("polyadd", "polysub", "polymul"):
    case(_name, (3,), (3,))
    case(_name, (2,), (4,))
    case(_name, (), (2,))
case("polymul", (3,), (2,), call=lambda f, a, b: f(a * (numbers(a) != 0), b))
case("polymul", (3,), (2,), call=lambda f, a, b: f(a * 0.0, b))
case("polydiv", (5,), (3,), domain=(0.4, 2.0))
case("polydiv", (2,), (3,), domain=(0.4, 2.0))
case("polydiv", (4,), (2,), domain=(0.4, 2.0), call=lambda f, a, b: f(
    a[:3] * 1.0, a[:3] * 2.0)[0])  # fmt: skip
case("polyder", (4,))
case("polyder", (4,), m=2)
case("polyder", (4,), m=0)
case("polyint", (3,))
case("polyint", (3,), m=2, k=[0.5, 2.0])
case("polyint", (3,), (), call=lambda f, p, k: f(p, 2, k))
case("poly", (3,))
case("poly", (1,))
case("poly", (3, 3), call=lambda f, a: f(a @ a.T))
case("roots", (3,), call=lambda f, a: f([1.0, 0.5, -3.0] + a * 0.1))
none("roots", (4,), call=lambda f, a: parts(f([1.0, 0.3, 2.0, 0.7] + a * 0.1)))
none("roots", (6,), call=lambda f, a: parts(f(a * (numbers(a) == 1))))
case("roots", (2,), call=lambda f, a: f(a * 0.0))
case("roots", (1,))
case("polyfit", (6,), (6,), deg=2)
case("polyfit", (6,), (6, 2), deg=1)
case("polyfit", (6,), (6,), (6,), call=lambda f, x, y, w: f(x, y, 2, w=w * w + 0.5))
case("polyfit", (6,), (6,), call=lambda f, x, y: f(x, y, 1, cov=True))
case("polyfit", (6,), (6, 2), call=lambda f, x, y: f(x, y, 1, cov="unscaled"))
case("polyfit", (6,), (6,), call=lambda f, x, y: [*f(x, y, 1, full=True)[:2]])


def spread(d, offset=0, axis1=0, axis2=1):
    """The array of zeros that NumPy's `diagonal` takes d out of."""
    made = np.stack([np.diag(row, offset) for row in d])
    return np.moveaxis(made, (1, 2), (axis1, axis2))


def rising(x):
    """Coordinates that rise: small steps that depend on x, added to 0, 1, 2..."""
    ramp = np.arange(float(x.shape[0]))
    return x * 0.1 + (ramp if isinstance(x, np.ndarray) else x.device.send(ramp))


# Order statistics.
for _name in ("median", "nanmedian", "ptp"):
    case(_name, (5,))
    case(_name, (2, 4))
    case(_name, (3, 4), axis=0)
    case(_name, (2, 3, 2), axis=(0, -1), keepdims=True)
case("nanmedian", (3, 4), call=lambda f, a: f(holes(a), axis=1))
about("median", "nanmedian", complex="refused")
about("ptp", complex="valued")
for _method in ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf",
                "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf",
                "hazen", "weibull", "median_unbiased", "normal_unbiased"):  # fmt: skip
    case("quantile", (7,), q=[0.0, 0.3, 0.5, 0.9, 1.0], method=_method)
    case("nanquantile", (3, 6), method=_method, call=lambda f, a, m=_method: f(
        holes(a), 0.4, axis=1, method=m))  # fmt: skip
case("quantile", (3, 4), q=0.25, axis=0, keepdims=True)
case("quantile", (3, 4), q=[[0.25], [0.5]], axis=1)
case("percentile", (3, 4), q=30, axis=(0, 1))
case("nanquantile", (2, 5), call=lambda f, a: f(holes(a), [0.1, 0.6], axis=1, keepdims=True))
case("nanpercentile", (7,), call=lambda f, a: f(holes(a), 37.0))
case("average", (2, 3))
case("average", (2, 3), (3,), call=lambda f, a, w: f(a, axis=1, weights=w * w + 0.5))
case("average", (2, 3), (2, 3), call=lambda f, a, w: f(a, weights=w * w + 0.5, returned=True))
case("average", (2, 3), (2, 3), call=lambda f, a, w: f(a, 0, w * w + 0.5, keepdims=True))
case("average", (4,), call=lambda f, a: f(a, returned=True)[0])
case("cov", (3, 5))
case("cov", (5,))
case("cov", (5, 2), rowvar=False, bias=True)
case("cov", (2, 5), (5,))
case("cov", (2, 5), (5,), call=lambda f, a, w: f(a, aweights=w * w + 0.5))
case("cov", (2, 4), call=lambda f, a: f(a, fweights=[1, 2, 1, 3]))
case("cov", (2, 4), call=lambda f, a: f(a, ddof=2))
about("cov", complex="more")
case("corrcoef", (3, 5))
case("corrcoef", (5,), (5,))

# NaN left out.
for _name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"):
    case(_name, (2, 3, 2), call=lambda f, a: f(holes(a)))
    case(_name, (2, 3), call=lambda f, a: f(holes(a), axis=1))
    case(_name, (3, 4), call=lambda f, a: f(holes(a), axis=(0, 1), keepdims=True))
case("nanvar", (3, 3), call=lambda f, a: f(holes(a), axis=0, ddof=1))
case("nanstd", (3, 4), call=lambda f, a: f(holes(a), axis=1, ddof=1))
about("nanmax", "nanmin", complex="valued")
for _name in ("nancumsum", "nancumprod"):
    case(_name, (2, 3), call=lambda f, a: f(holes(a)))
    case(_name, (2, 3), call=lambda f, a: f(holes(a), axis=1))
for _name in ("nanargmax", "nanargmin"):
    none(_name, (2, 3), call=lambda f, a: f(holes(a), axis=1))
    none(_name, (2, 3))
case("nan_to_num", (6,), call=lambda f, a: f(holes(a), nan=0.5))
case("nan_to_num", (3,))

# Orders and counts.
case("sort", (5,))
case("sort", (2, 3), axis=0)
case("sort", (2, 3), axis=None)
case("partition", (5,), call=lambda f, a: f(a, 2)[2])
case("partition", (3, 4), call=lambda f, a: f(a, (1, 3), axis=1)[:, 1:])
case("topk", (2, 4), k=2, reference=lambda a, k: (
    -np.sort(-a, axis=-1)[..., :k], np.argsort(-a, axis=-1)[..., :k]))  # fmt: skip
case("topk", (4, 2), call=lambda f, a: f(a, 3, axis=0, largest=False), reference=(
    lambda a, k, axis, largest: (np.sort(a, axis=0)[:k], np.argsort(a, axis=0)[:k])))  # fmt: skip
none("sort_complex", (2, 4))
none("real_if_close", (3,))
none("argsort", (2, 4), axis=0)
none("argpartition", (5,), call=lambda f, a: f(a, 2)[2])
none("searchsorted", (5,), (2, 3), call=lambda f, a, v: f(rising(a), v))
none("searchsorted", (4,), (), call=lambda f, a, v: f(rising(a), v, side="right"))
none("digitize", (5,), (3,), call=lambda f, x, b: f(x, rising(b)))
none("digitize", (5,), (3,), call=lambda f, x, b: f(x, -rising(b), right=True))
none("flatnonzero", (5,), call=lambda f, a: f(a > 0))
for _name in ("diag_indices_from", "tril_indices_from", "triu_indices_from"):
    none(_name, (3, 3))
none("tril_indices_from", (2, 4), k=1)
none("triu_indices_from", (4, 2), k=-1)
none("ix_", (3,), (2,), call=lambda f, a, b: f(a > 0, numbers(b)))
none("ravel_multi_index", (3,), call=lambda f, a: f((numbers(a), numbers(a)), (3, 4)))
none("ravel_multi_index", (3,), call=lambda f, a: (
    f((numbers(a) - 5, numbers(a)), (3, 2), ("wrap", "clip"), "F")))  # fmt: skip
none("unravel_index", (4,), call=lambda f, a: f(numbers(a) + 3, (2, 3)))
none("unravel_index", (4,), call=lambda f, a: f(numbers(a) + 3, (2, 1, 3), order="F"))
for _order in ("big", "little"):
    none("packbits", (11,), call=lambda f, a, o=_order: f(a > 0, bitorder=o))
    none("packbits", (3, 5), call=lambda f, a, o=_order: f(a > 0, axis=0, bitorder=o))
    none("unpackbits", (3,), call=lambda f, a, o=_order: f(octets(a), bitorder=o))
    none("unpackbits", (3, 2), call=lambda f, a, o=_order: f(octets(a), 1, 11, o))
none("unpackbits", (3, 2), call=lambda f, a: f(octets(a), axis=0, count=-3))
none("unpackbits", (3,), call=lambda f, a: f(octets(a), count=30))
none("argwhere", (2, 3), call=lambda f, a: f(a > 0))
none("lexsort", (4,), (4,), call=lambda f, a, b: f((a, b > 0)))
none("unique", (2, 3), call=lambda f, a: f(a > 0, return_counts=True, return_inverse=True))
none("unique_all", (4,), call=lambda f, a: f(a))
none("unique_counts", (4,), call=lambda f, a: f(a))
none("unique_inverse", (4,), call=lambda f, a: f(a))
none("unique_values", (4,), call=lambda f, a: f(a))
none("isin", (2, 3), call=lambda f, a: f(a, a[0]))
none("isin", (2, 3), call=lambda f, a: f(a, a[0], invert=True))
for _name in ("intersect1d", "setdiff1d", "setxor1d", "union1d"):
    none(_name, (4,), (2,), call=lambda f, a, b: f(a, a[1:3]))
none("histogram", (9,), bins=4)
none("histogram", (9,), (9,), call=lambda f, a, w: f(a, 3, (-1.0, 1.0), weights=w, density=False))
none("histogram", (9,), call=lambda f, a: f(a, [-2.0, 0.0, 1.0]))
none("histogram_bin_edges", (9,))
none("histogram_bin_edges", (9,), bins=3, range=(-1.0, 1.5))
none("histogram_bin_edges", (9,), call=lambda f, a: f(a, [-2.0, 0.0, 1.0]))
none("histogram_bin_edges", (3,), call=lambda f, a: f(a * 0.0))
none("histogramdd", (9, 2), bins=3)
none("histogramdd", (9, 2), bins=(2, 4), density=True)
none("histogramdd", (9, 3), call=lambda f, a: f(a, bins=2, range=[(-1, 1), (-2, 2), (0, 2)]))
none("histogramdd", (9, 2), (9,), call=lambda f, a, w: f(a, [2, edges(a)], weights=w))
none("histogram2d", (9,), (9,))
none("histogram2d", (9,), (9,), call=lambda f, a, b: f(a, b, bins=edges(a)))
none("histogram2d", (9,), (9,), call=lambda f, a, b: f(a, b, [3, edges(a)], density=True))
case("bincount", (5,), call=lambda f, w: f(numbers(w), weights=w, minlength=6))
none("bincount", (5,), call=lambda f, w: f(numbers(w)))
about("bincount", complex="more")
about("histogram", "histogram_bin_edges", "histogram2d", "histogramdd", complex="refused")


def parts(z):
    """The real and the imaginary parts, in an order that all devices have."""
    order = np.argsort(z.imag) if isinstance(z, np.ndarray) else gg.argsort(z.imag)
    return z.real[order], z.imag[order]


def octets(x):
    return abs(x * 90).astype("uint8")


def edges(x):
    """Edges of bins, beside x."""
    found = np.array([-1.5, -0.2, 0.3, 2.0])
    return found if isinstance(x, np.ndarray) else x.device.send(found)


def numbers(x):
    """Whole numbers, some of them more than once."""
    found = np.arange(x.shape[0]) % 3
    return found if isinstance(x, np.ndarray) else gg.tensor(found, device=x.device)


def summed(data, ids, count=None):
    out = np.zeros((count or ids.max() + 1, *data.shape[1:]), data.dtype)
    np.add.at(out, ids, data)
    return out


def added(x, index, values):
    out = x.copy()
    np.add.at(out, index, values)
    return out


case("segment_sum", (5, 2), call=lambda f, a: f(a, numbers(a), 4), reference=summed)
case("segment_sum", (5,), call=lambda f, a: f(a, numbers(a)), reference=summed)
case("scatter_add", (4,), (3,), call=lambda f, a, b: f(a, [1, 3, 1], b), reference=added)

# Choices.
case("select", (3,), (3,), call=lambda f, a, b: f([a > 0.5, b > 0], [a, a * b], 1.5))
case("choose", (5,), (5,), call=lambda f, a, b: f(numbers(a), [a, b, a * b]))
case("choose", (5,), call=lambda f, a: f(numbers(a) - 1, [a, 2 * a], mode="wrap"))
case("choose", (5,), call=lambda f, a: f(numbers(a), [a, 2 * a], mode="clip"))
case("piecewise", (5,), call=lambda f, a: f(a, [a < -1, a > 0], [lambda x: -x, abs, 2.0]))
case("piecewise", (5,), call=lambda f, a: f(a, [a > 0], [lambda x, p: x**p], 2))
case("compress", (2, 3), call=lambda f, a: f([True, False, True], a, axis=1))
case("extract", (2, 3), call=lambda f, a: f(a > 0, a))
case("put_along_axis", (2, 3), (2, 1), call=lambda f, a, v: f(a, first(a), v, 1),
     reference=lambda a, i, v, axis: _put(a, i, v, axis))  # fmt: skip
case("fill_diagonal", (2, 3), call=lambda f, a: f(a, 2.5), reference=lambda *a: filled(*a))
case("fill_diagonal", (5, 2), (3,), call=lambda f, a, v: f(a, v, wrap=True),
     reference=lambda *a, **words: filled(*a, **words))  # fmt: skip
case("fill_diagonal", (5, 2), (1,), call=lambda f, a, v: f(a, v),
     reference=lambda *a: filled(*a))  # fmt: skip
case("fill_diagonal", (2, 2, 2), (2,), reference=lambda *a: filled(*a))
case("apply_over_axes", (2, 3, 4), call=lambda f, a: f(summing(a), a, [0, 2]))
case("apply_over_axes", (2, 3), call=lambda f, a: f(lambda x, i: x * x, a, 1))
case("apply_along_axis", (2, 3), call=lambda f, a: f(lambda v: v[0] * v, 0, a))
case("apply_along_axis", (2, 3), call=lambda f, a: f(lambda v: v.sum() ** 2, 1, a))
case("apply_along_axis", (2, 3), call=lambda f, a: f(lambda v: v[:, None] * v, 1, a))
case("vectorize", (2, 3), (3,), call=lambda f, a, b: f(lambda x, y: x * y if x > 0 else y)(a, b),
     reference=np.vectorize)  # fmt: skip
about("vectorize", complex="more", numpy=False)  # a class
about("put_along_axis", "fill_diagonal", numpy=False)  # NumPy's change their array
case("divmod", (3,), (3,), domain=(0.4, 3.0))
case("modf", (2, 3))
case("frexp", (2, 3), domain=(0.3, 3.1))
case("float_power", (3,), (3,), domain=(0.4, 2.0))
about("float_power", dtype=np.float64)
for _name in ("isposinf", "isneginf"):
    none(_name, (6,), call=lambda f, a: f(holes(a * np.inf)))
none("isclose", (3,), call=lambda f, a: f(a, a * 1.00001))
none("isclose", (6,), call=lambda f, a: f(holes(a), holes(a) + 1e-9, equal_nan=True))
none("allclose", (3,), call=lambda f, a: f(a, a + 1e-12))
none("array_equal", (3,), call=lambda f, a: f(a, a))
none("array_equiv", (3,), call=lambda f, a: f(a, a[None]))


def filled(a, val, wrap=False):
    out = a.copy()
    np.fill_diagonal(out, val, wrap)
    return out


def summing(x):
    return np.sum if isinstance(x, np.ndarray) else gg.sum


def first(x):
    """An index of one element in each row."""
    found = np.array([[2], [0]])
    return found if isinstance(x, np.ndarray) else x.device.send(found)


def _put(a, indices, values, axis):
    out = a.copy()
    np.put_along_axis(out, indices, values, axis)
    return out
