"""Parameters of ops: another value gives another result, whichever kernels there are already."""

import numpy as np
import optable
import pytest

import gpugrad as gg
from gpugrad import nn
from gpugrad.engine.op import TABLE, Sample
from gpugrad.nn import functional as F

SLOPES = [5, 7, 0, -3, 1000, 0.25, 1.5, -0.0, True, np.float32(3), np.float32(9), np.float64(4),
          np.float16(0.5), np.int64(6), np.int8(-6), np.uint8(7), np.bool_(False)]  # fmt: skip


# The activations with a number as parameter.
WITH_SLOPE = [
    (op, word)
    for op in TABLE.values()
    for word, parameter in op.parameters.items()
    if op.layer and type(parameter.default) is float
]

# Those that are divided by.
DIVIDED = {("celu", "alpha"), ("softplus", "beta")}


def values_for(op, word, values):
    return [value for value in values if value or (op.name, word) not in DIVIDED]


@pytest.mark.parametrize(("op", "word"), WITH_SLOPE, ids=optable.case_id)
def test_a_number_of_any_type_is_the_one_that_was_given(op, word, device):
    function = getattr(F, op.name)

    def results(device, value):
        x = gg.tensor([-1.5, 2.0], device=device, requires_grad=True)
        y = function(x, **{word: value})
        y.sum().backward()
        return y.dtype, y.tolist(), x.grad.tolist()

    for value in values_for(op, word, [*SLOPES, *SLOPES[::-1]]):
        kind, *numbers = results(device, value)
        wanted_kind, *wanted = results("cpu", value)
        assert kind == wanted_kind
        np.testing.assert_allclose(numbers, wanted, rtol=1e-6)


needs_cuda = pytest.mark.skipif(not gg.cuda.is_available(), reason="kernels are CUDA's")


@pytest.fixture
def made(monkeypatch):
    """The names of the kernels that are made from here on."""
    import cupy

    names = []

    def counted(kind, name_of):
        def make(*args, **words):
            names.append(name_of(args))
            return kind(*args, **words)

        return make

    for kind, name_of in (("ElementwiseKernel", lambda a: a[3]), ("RawKernel", lambda a: a[1])):
        monkeypatch.setattr(cupy, kind, counted(getattr(cupy, kind), name_of))
    return names


@needs_cuda
def test_a_training_run_with_schedules_makes_kernels_in_its_first_step_alone(made):
    gg.manual_seed(0)
    with gg.device("cuda"):
        activation = nn.LeakyReLU(0.3)
        model = nn.Sequential(nn.Linear(3, 8), activation, nn.Linear(8, 2))
        optimizer = gg.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
        x, target = gg.ones((4, 3)), gg.zeros((4, 2))
        counts = []
        for step in range(5):
            activation.negative_slope = 0.3 / (step + 1.5)
            optimizer.param_groups[0]["lr"] = 0.1 * 0.7**step
            optimizer.param_groups[0]["weight_decay"] = 0.3 * 0.9**step
            y = F.elu(model(x), 0.4 + 0.01 * step) * (0.7 + step * 0.01)
            loss = ((y - target) ** 2).sum() + F.mse_loss(y, target)
            optimizer.zero_grad()
            loss.backward()
            gg.optim.clip_grad_norm_(model.parameters(), 0.37 + 0.1 * step)
            optimizer.step()
            counts.append(len(made))
    assert counts[0] > 0
    assert counts == counts[:1] * 5, made[counts[0] :]


SLOPES_OF_LAYERS = (0.0, -0.0, 0.3, 0.7, 5, 7, 1, 1.0)


@pytest.mark.parametrize(("op", "word"), WITH_SLOPE, ids=optable.case_id)
def test_layers_use_the_slope_that_they_have_now(op, word, device):
    x = np.array([[-1.5, 2.0, 0.5], [0.25, -3.0, 1.0]])
    activation = getattr(nn, op.layer)(**{word: 0.1})

    def results(device, value):
        gg.manual_seed(4)
        setattr(activation, word, value)
        with gg.device(device):
            model = nn.Sequential(nn.Linear(3, 4, dtype="float64"), activation)
            y = model(gg.tensor(x, device=device))
            y.sum().backward()
            found = [y, *(p.grad for p in model.parameters())]
            return [t.detach().cpu().numpy() for t in found]

    for value in values_for(op, word, [*SLOPES_OF_LAYERS, *SLOPES_OF_LAYERS[::-1]]):
        for got, wanted in zip(results(device, value), results("cpu", value), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12)
            np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


# ---------------------------------------------------------------- every parameter of the table


def values_near(value):
    """Numbers of several types to give in the place of one, the usual ones among them."""
    if isinstance(value, bool):
        return [True, False, 1, 0, np.True_, np.False_]
    if isinstance(value, int):
        steps = [value + step for step in (1, 2, 5, 6, 7)]
        return [*steps, -value - 1, -2, np.int64(value + 3), np.int16(value + 4), True, value]
    more = [2 * value + 1, 5, 7, -3, 0, 1000, -value, -0.0, 0.5, True, np.int64(6), np.uint8(9)]
    return [*more, np.float32(value), np.float64(3 * value), np.float64(4), np.float16(0.5), value]


def parameter_cases():
    """Each number among the parameters of an op, once, with the sample that it is varied in."""
    found = {}
    for op, sample in optable.cases():
        for word, parameter in op.parameters.items():
            value = sample.parameters.get(word, parameter.default)
            if type(value) in (bool, int, float) and word not in op.checks.fixed.split():
                found.setdefault((op.name, word), (op, sample, word, value))
    return found.values()


def outcome(device, op, sample, words):
    """The outputs and derivatives of both orders as arrays; the type of what was raised instead."""
    sample = Sample(*sample.shapes, **{**sample.parameters, **words})
    tensors = optable.tensors_for(op, sample, device)
    inputs = [t for t in tensors if t.requires_grad]
    with gg.device(device), np.errstate(all="ignore"):
        try:
            ys = optable.outputs_of(optable.apply(op, sample, tensors))
        except (ArithmeticError, LookupError, TypeError, ValueError, gg.GpugradError) as error:
            return type(error)
        found = list(ys)
        if op.checks.slow:
            return [y.detach().cpu().numpy() for y in found]
        total = optable.scalar(tuple(y * y for y in ys), optable.weights_for(ys))
        if total.requires_grad:
            first = gg.gradients(total, inputs, create_graph=True)
            found += first
            total = sum((g * g).sum() for g in first)
            if total.requires_grad:
                found += gg.gradients(total, inputs, allow_unused=True)
    return [None if y is None else y.detach().cpu().numpy() for y in found]


@pytest.mark.parametrize(
    ("op", "sample", "word", "value"),
    [pytest.param(*case, id=f"{case[0].name}-{case[2]}") for case in parameter_cases()],
)
@pytest.mark.filterwarnings(  # errors since NumPy 2.3
    "ignore:In future, it will be an error for 'np.bool' scalars:DeprecationWarning",
    "ignore:Passing booleans as partition index:DeprecationWarning",
)
def test_another_value_gives_another_result(op, sample, word, value, device):
    values = [1, True] if op.checks.slow else values_near(value)
    for number in (*values, *values[::-1]):
        wanted = outcome("cpu", op, sample, {word: number})
        if isinstance(wanted, list):  # what NumPy refuses, such as an axis True, CuPy may take
            got = outcome(device, op, sample, {word: number})
            assert isinstance(got, list), (number, got)
            for one, other in zip(got, wanted, strict=True):
                assert (one is None) == (other is None)
                if other is not None:
                    assert one.dtype == other.dtype, number
                    # Second derivatives grow with the square of a factor and are rounded with it,
                    # and elements of which terms cancel as those are of which none do.
                    least = 1e-12 * max(1.0, abs(number)) ** 2 if np.isfinite(number) else 1e-12
                    least *= max(1.0, np.abs(other[np.isfinite(other)]).max(initial=0.0))
                    np.testing.assert_allclose(
                        one, other, rtol=1e-9, atol=least, err_msg=repr(number)
                    )
