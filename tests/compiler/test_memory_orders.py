"""Programs in C read and give arrays in any order of their axes in memory, as NumPy does."""

import itertools

import numpy as np
import pytest
from programs import Writer, evaluated

import gpugrad as gg
from gpugrad import nn
from gpugrad.compiler.c import native
from gpugrad.compiler.c.compiler import find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="there is no C compiler")
RNG = np.random.default_rng(0)
SHAPE = (4, 3, 5)


def lying(shape, how, dtype="f"):
    """An array of a shape that lies in memory in some way."""
    array = RNG.integers(-8, 9, shape).astype(dtype)
    if how == "reversed":
        return array[..., ::-1][::-1]
    if how == "broadcast":
        return np.broadcast_to(array[:, :1], shape)
    if how == "cut":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return np.transpose(np.transpose(array, how).copy(), np.argsort(how))


WAYS = [*itertools.permutations(range(3)), "reversed", "broadcast", "cut"]


def run(writer, outputs, other=None):
    """Run a program in C on its own arrays, and then on others; its results on its own."""
    program = writer.program(outputs)
    compiled = native.build(program)
    assert compiled.counts["NumPy steps"] == 0
    for given in (writer.given(), other or writer.given()):
        results = compiled.run(given)
        for one, expected in zip(results, evaluated(program, given), strict=True):
            np.testing.assert_array_equal(one, expected)
    return compiled.run(writer.given())


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_steps_of_arrays_in_any_order(way):
    place = WAYS.index(way)
    for other in (WAYS[place - 1], WAYS[place - 5]):
        writer = Writer()
        x, y = (writer.input(lying(SHAPE, one)) for one in (way, other))
        row = writer.input(lying((3, 1), (0, 1)))
        made = [
            writer("add", x, y),
            writer("multiply", x, row),
            writer("where", writer("less", x, row), x, y),
            writer("negative", writer("transpose", x, (1, 2, 0))),
        ]
        orders = [np.argsort([-n for n in writer.arrays[v].strides]) for v in made]
        for keepdims, axis in enumerate((0, 1, (0, 2), (1, 2), None)):
            made.append(writer("sum", x, axis=axis, keepdims=keepdims % 2 > 0))
            made.append(writer("max", writer("negative", y), axis=axis))
        made += [
            writer("reshape", x, (6, 10)),
            writer("concatenate", (x, y), axis=1),
            writer("set_item", x, (slice(1, 3),), row),
            writer("pad", y, ((1, 0), (0, 0), (2, 1)), constant_values=-1.5),
            writer("matmul", x, writer("swapaxes", y, 1, 2)),
            writer("subtract", x, writer("sum", x, axis=1, keepdims=True)),
        ]
        results = run(writer, made, [lying(SHAPE, other), lying(SHAPE, way), lying((3, 1), (1, 0))])
        if isinstance(way, str) or isinstance(other, str):
            continue  # read by a copy in C's order
        for one, order in zip(results, orders):
            np.testing.assert_array_equal(np.argsort([-n for n in one.strides]), order)


def test_outputs_in_the_place_of_inputs_in_their_order():
    for way, other in zip(WAYS[:6], WAYS[2:]):
        writer = Writer()
        x, y = writer.input(lying(SHAPE, way)), writer.input(lying(SHAPE, other))
        made = [writer("add", writer("multiply", y, 2), x), writer("subtract", x, y)]
        program = writer.program(made)
        compiled = native.build(program, reuse={0: 0})
        given = [np.copy(one, order="K") for one in writer.given()]
        expected = evaluated(program, writer.given())
        results = compiled.run(given, [given[0], None])
        assert results[0] is given[0]
        for one, array in zip(results, expected):
            np.testing.assert_array_equal(one, array)


def windows_of(rng, axes):
    """The parameters of windows over some axes, and sizes that they fit into."""
    kernel, stride, dilation = (tuple(rng.integers(1, high, axes).tolist()) for high in (4, 4, 3))
    padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (axes, 2)))
    size = tuple(
        int(rng.integers(0, 5)) + max(1, d * (k - 1) + 1 - a - b)
        for k, d, (a, b) in zip(kernel, dilation, padding)
    )
    return size, {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def order_of(seed, axes):
    """Samples and channels first, or channels last, or the first axis of windows first of all."""
    windows = range(2, axes + 2)
    return ((0, 1, *windows), (0, *windows, 1), (2, 0, *windows[1:], 1))[seed % 3]


@pytest.mark.parametrize("seed", range(6))
def test_convolutions_in_c(seed):
    """Forward, and backward by both operands, of random windows, groups and orders of memory."""
    rng = np.random.default_rng(seed)
    axes = 1 + seed % 3
    size, words = windows_of(rng, axes)
    groups, inputs, outputs = ((1, 3, 2), (2, 2, 3), (3, 1, 1), (2, 1, 2))[seed % 4]
    if any(s > 1 < d for s, d in zip(words["stride"], words["dilation"])):
        words["dilation"] = (1,) * axes
    kernel = words.pop("kernel")
    words["groups"] = groups
    writer = Writer()
    x = writer.input(lying((rng.integers(1, 20), groups * inputs, *size), order_of(seed, axes)))
    w = writer.input(lying((groups * outputs, inputs, *kernel), range(axes + 2)))
    bias = writer.input(lying((groups * outputs,), (0,)))
    y = writer("convolution", x, w, bias, **words)
    run(writer, [
        y,
        writer("convolution_transpose", y, w, size=size, **words),
        writer("convolution_weight", x, y, kernel=kernel, **words),
    ])  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_max_pools_in_c(seed):
    rng = np.random.default_rng(seed)
    axes = 1 + seed % 3
    size, words = windows_of(rng, axes)
    writer = Writer()
    array = lying((3, 2, *size), order_of(seed, axes))
    array[0, 0] = np.nan if seed % 2 else -np.inf
    x = writer.input(array)
    y, index = writer("max_pool_and_residuals", x, **words)
    g = writer("add", writer("where", writer("equal", y, y), 0.0, 0.0), 3.0)
    back = writer("at_chosen_elements", writer("multiply", g, 0.5), index, size=size, **words)
    words |= {"counted": words["padding"], "divisor": 4.0}
    if words.pop("dilation") == (1,) * axes:
        spread = writer("avg_spread", g, size=size, **words)
        run(writer, [y, index, back, writer("avg_pool", spread, **words), spread])
    else:
        run(writer, [y, index, back])


def test_results_lie_as_those_of_the_function():
    conv = nn.Conv2d(2, 3, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))
    x = gg.random.normal(size=(5, 2, 4, 4))
    fast = gg.compile(model)
    for _ in range(2):
        with gg.no_grad():
            expected, got = model(x).data, fast(x).data
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        assert got.strides == expected.strides
    weight = gg.tensor(np.ones((3, 5), "f").T.copy().T, requires_grad=True)
    assert not weight.data.flags.c_contiguous

    @gg.compile
    def step():
        loss = (weight**2).sum()
        loss.backward()
        with gg.no_grad():
            weight[...] -= 0.1 * weight.grad
        weight.grad = None
        return loss

    losses = [step().item() for _ in range(3)]
    np.testing.assert_allclose(losses, [15 * 0.64**i for i in range(3)], rtol=1e-5)
    assert not weight.data.flags.c_contiguous
