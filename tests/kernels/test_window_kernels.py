"""The kernels of windows and interpolation beside the formulas, and how many a layer launches."""

import numpy as np
import pytest
from gpu import STAND_IN, launches, needs_gpu, needs_stand_in, send

import gpugrad as gg
from gpugrad.backend.namespace import FORMULAS, NAMESPACES, namespace_of
from gpugrad.backend.windows import Windows
from gpugrad.kernels.source import FLOATS

if STAND_IN:
    import fakecuda

pytestmark = needs_gpu

DTYPES = pytest.mark.parametrize("dtype", FLOATS, ids=str)
NEAR = {2: 2e-3, 4: 1e-5, 8: 1e-12}

# Sizes and windows of one, two and three axes: padded, apart and dilated.
CASES = (
    ((9,), {"kernel": (3,), "stride": (2,), "padding": ((1, 2),), "dilation": (1,)}),
    ((6, 4), {"kernel": (2, 2), "stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1)}),
    ((5, 7), {"kernel": (3, 2), "stride": (1, 2), "padding": ((1, 0), (1, 1)),
              "dilation": (1, 3)}),
    ((3, 4, 5), {"kernel": (2, 1, 3), "stride": (1, 3, 2), "padding": ((1, 1), (0, 0), (0, 2)),
                 "dilation": (2, 1, 1)}),
)  # fmt: skip


def compare(name, arrays, words, most=1):
    """A kernel's result, which is the formula's; ``most`` launches give it."""
    raws = send(*arrays)
    found, count = launches(getattr(namespace_of(raws[0]), name), *raws, **words)
    assert count == most
    arrays = [a.astype(np.float32) if a.dtype == np.float16 else a for a in arrays]
    wanted = FORMULAS[name](NAMESPACES[np.ndarray], *arrays, **words)
    pairs = zip(found, wanted, strict=True) if isinstance(found, tuple) else [(found, wanted)]
    for one, other in pairs:
        assert one.shape == other.shape
        near = NEAR[arrays[0].itemsize] if one.dtype != np.float16 else NEAR[2]
        np.testing.assert_allclose(one.get(), other, rtol=near, atol=near)
    return found


@DTYPES
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_give_what_the_formulas_give(case, dtype, rng):
    sizes, words = case
    x = rng.standard_normal((2, 3, *sizes)).astype(dtype)
    columns = compare("im2col", [x], words)
    assert columns.dtype == dtype
    others = {name: value for name, value in words.items() if name != "kernel"}
    compare("col2im", [columns.get()], {"size": sizes, **others})

    x[0, 0].flat[1] = np.nan
    y, numbers = compare("max_pool_and_residuals", [x], words)
    assert y.dtype == dtype
    compare("max_pool", [x], words)
    x[0, 0].flat[1] = 0.0
    chosen = compare("chosen_elements", [x, numbers.get()], words)
    compare("at_chosen_elements", [chosen.get(), numbers.get()], {"size": sizes, **words})

    means = {name: value for name, value in words.items() if name != "dilation"}
    for counted, divisor in ((means["padding"], None), (((0, 0),) * len(sizes), None), ((), 3.0)):
        means |= {"counted": counted or means["padding"], "divisor": divisor}
        y = compare("avg_pool", [x], means)
        compare("avg_spread", [y.get()], {"size": sizes, **means})


def test_columns_of_all_samples_stand_side_by_side(rng):
    words = CASES[2][1]
    x = rng.standard_normal((2, 4, 5, 7))
    windows = Windows(**words)
    compare("columns_together", [x], {"windows": windows, "groups": 2})


def test_what_no_kernel_takes_goes_to_the_formula(rng):
    whole = rng.integers(-9, 9, (2, 3, 9))
    compare("im2col", [whole], CASES[0][1], most=0)
    compare("max_pool", [whole], CASES[0][1], most=0)
    x = rng.standard_normal((1, 1, 2, 3, 2, 3))
    four = {
        "kernel": (2,) * 4, "stride": (1,) * 4, "padding": ((0, 1),) * 4, "dilation": (1,) * 4,
    }  # fmt: skip
    columns = compare("im2col", [x], four, most=0)
    del four["kernel"]
    compare("col2im", [columns.get()], {"size": (2, 3, 2, 3), **four}, most=0)


def test_windows_of_many_elements_have_their_numbers_in_an_int(rng):
    words = {"kernel": (300,), "stride": (7,), "padding": ((0, 0),), "dilation": (1,)}
    x = rng.standard_normal((1, 2, 400))
    _, numbers = compare("max_pool_and_residuals", [x], words)
    assert numbers.dtype == np.int32
    compare("at_chosen_elements", [x[..., :15], numbers.get()], {"size": (400,), **words})


@DTYPES
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear", "cubic", "corners"])
def test_interpolation_is_one_kernel_each_way(mode, dtype, rng):
    """Of sizes that grow, shrink, stay and are 1; with the edges, where taps are cut off."""
    corners = mode == "corners"
    for size, count in (((5,), (9,)), ((3, 7), (8, 2)), ((1, 4), (3, 1)), ((2, 3, 5), (4, 3, 3))):
        scale = tuple(
            (n - 1) / max(m - 1, 1) if corners else n / m for n, m in zip(size, count, strict=True)
        )
        words = {
            "scale": scale, "mode": "linear" if corners else mode, "align_corners": corners,
        }  # fmt: skip
        x = rng.standard_normal((2, 3, *size)).astype(dtype)
        y = compare("resampled", [x], {"size": count, **words})
        assert y.dtype == dtype
        compare("resampled_back", [y.get()], {"size": size, **words})


def totals(counts):
    return counts.total_launches, counts.total_library


# PyTorch's own convolution without cuDNN, aten/src/ATen/native/cuda/ConvolutionMM2d.cu of 2.13,
# launches for each sample im2col and a product forward, and as much by each of x and the weight.
@needs_stand_in
def test_a_layer_launches_no_more_than_pytorch_s_sequence():
    layer = gg.nn.Conv2d(3, 4, 3, padding=1, device="cuda")
    pool = gg.nn.MaxPool2d(2)
    x = gg.ones((8, 3, 8, 8), device="cuda", requires_grad=True)

    def step():
        y = layer(x)
        pool(y).backward(gg.ones((8, 4, 4, 4), device="cuda"))

    step()
    with fakecuda.count() as counts:
        y = layer(x)
    assert totals(counts) == (2, 1)  # gather, product, bias
    g = gg.ones_like(y)
    with fakecuda.count() as counts:
        gg.gradients(y, [x, layer.weight, layer.bias], g)
    # By x a product and a scatter; by the weight a gather, a copy of g and a product; a sum.
    assert totals(counts) == (4, 2)
    x = gg.ones((8, 4, 8, 8), device="cuda", requires_grad=True)
    for layer in (pool, gg.nn.AvgPool2d(3, padding=1)):
        y, g = layer(x), gg.ones_like(layer(x))
        with fakecuda.count() as counts:
            gg.gradients(layer(x), [x], g)
        assert totals(counts) == (2, 0)
    layer = gg.nn.Upsample(scale_factor=2, mode="bilinear")
    g = gg.ones_like(layer(x))
    with fakecuda.count() as counts:
        gg.gradients(layer(x), [x], g)
    assert totals(counts) == (2, 0)
