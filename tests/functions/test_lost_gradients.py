"""No function drops a gradient in silence: what changes smoothly has one, or raises.

Each operand of each function is moved, those in keywords too. Where the result follows smoothly,
the gradient must be the difference quotient, or the call must be refused.
"""

import inspect

import numpy as np
import pytest
from composed import CASES, outputs_of
from devices import in_turn
from optable import PLAIN_CALL, arrays_for, prepared, samples

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.functions import FUNCTIONS

# They read one triangle of a symmetric matrix, and the gradient is shared out between both.
TRIANGLES = {"cholesky", "eigh", "eigvalsh", "linalg.cholesky", "linalg.eigh", "linalg.eigvalsh"}
STEPS = (1e-4, 1e-5)
# What a function may raise for a value that is none of its own.
REFUSALS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError)
# Settings, memory that nobody wrote, and random numbers.
NO_FUNCTIONS = {
    "set_default_dtype", "set_default_device", "manual_seed", "empty_like", "functional.dropout",
}  # fmt: skip


def _number(result):
    """One real number that follows every floating-point output."""
    total = None
    for number, y in enumerate(outputs_of(result)):
        if not isinstance(y, gg.Tensor) or y.dtype.kind not in "fc":
            continue
        weights = np.cos(np.arange(y.size) + number + 1).reshape(y.shape)
        y = y.real + 2 * y.imag if y.dtype.kind == "c" else y
        term = (y * gg.tensor(weights, device=y.device)).sum()
        total = term if total is None else total + term
    return total


def _verdict(function, x, device):
    """Whether a gradient is "right", "refused" or "flat"; the two numbers, where they differ."""
    direction = np.random.default_rng(0).uniform(0.5, 1.5, x.shape)

    def moved(step):
        y = _number(function(gg.tensor(x + step * direction, device=device)))
        return np.nan if y is None else y.item()

    try:
        coarse, fine = ((moved(step) - moved(-step)) / (2 * step) for step in STEPS)
    except REFUSALS:
        return "refused"
    smooth = abs(coarse - fine) <= 1e-3 * max(abs(fine), 1e-6)  # False for NaN
    if not smooth or abs(fine) < 1e-9:
        return "flat"
    leaf = gg.tensor(x.copy(), device=device, requires_grad=True)
    try:
        y = _number(function(leaf))
        if y.requires_grad:
            y.backward()
    except gg.errors.GpugradError:
        return "refused"
    slope = 0.0 if leaf.grad is None else (leaf.grad.cpu().numpy() * direction).sum()
    if np.isnan(slope):  # what raises on a CPU is NaN on a GPU
        return "refused"
    right = abs(slope - fine) <= 1e-4 * abs(fine) + 1e-7
    return "right" if right else f"gradient {slope}, difference quotient {fine}"


# ---------------------------------------------------------------- operands


def _operands():
    """Each function of the table and each composed one, on arrays that it takes."""
    for op in TABLE.values():
        fitting = [s for s in samples(op) if all(np.prod(shape) for shape in s.shapes)]
        if op.name in PLAIN_CALL and fitting and op.name in gg.__all__:
            arrays = prepared(op, arrays_for(op, fitting[0]))
            yield (
                op.name,
                lambda *a, f=FUNCTIONS[op.name], s=fitting[0]: f(*a, **s.parameters),
                arrays,
            )
    for case in CASES:
        if all(map(np.prod, case.shapes)):
            yield repr(case), lambda *a, c=case: c.call(getattr(gg, c.name), *a), case.arrays()


OPERANDS = {name: words for name, *words in _operands()}


@pytest.mark.parametrize("name", [name for name in OPERANDS if name not in TRIANGLES])
def test_an_operand_keeps_its_gradient(name, device):
    call, arrays = OPERANDS[name]
    tensors = [gg.tensor(array, device=device) for array in arrays]
    for place, array in enumerate(arrays):
        if array.dtype.kind == "f":
            found = _verdict(
                lambda t, place=place: call(*tensors[:place], t, *tensors[place + 1 :]),
                array,
                device,
            )
            assert found in ("flat", "refused", "right"), (place, found)


# ---------------------------------------------------------------- every parameter

PUBLIC = {
    f"{prefix}{name}": getattr(module, name)
    for prefix, module in (
        ("", gg), ("linalg.", gg.linalg), ("fft.", gg.fft), ("special.", gg.special),
        ("functional.", gg.nn.functional), ("init.", gg.nn.init),
    )
    for name in getattr(module, "__all__", dir(module))
    if callable(getattr(module, name, None)) and not isinstance(getattr(module, name), type)
}  # fmt: skip
_FIRST = {id(function): name for name, function in reversed(PUBLIC.items())}  # an alias is the same
SWEPT = [name for name in _FIRST.values() if name not in TRIANGLES | NO_FUNCTIONS]
_rng = np.random.default_rng(0)
VECTOR, MATRIX = _rng.uniform(0.2, 0.8, 4), np.eye(3) + _rng.uniform(0.05, 0.2, (3, 3))
VALUES = [
    np.array(0.37), np.array(1.5), np.sort(_rng.uniform(0.2, 0.8, 4)),
    np.sort(_rng.uniform(0.2, 0.8, 3)), _rng.uniform(0.2, 0.8, (3, 3)), np.array([0.3, 0.9]),
]  # fmt: skip


def _takes(call, value, device):
    try:
        with np.errstate(all="ignore"):
            call(gg.tensor(value.copy(), device=device))  # `init` fills memory
    except REFUSALS:
        return False
    return True


def _calls(function, device):
    """For each parameter, and each operand beside it, the function of that parameter."""
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    needed = [p for p in named if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
    for operand in (VECTOR, MATRIX, 3):
        beside = operand if isinstance(operand, int) else gg.tensor(operand.copy(), device=device)
        others = [beside] * len(needed)
        for parameter in named:
            if operand is not VECTOR and not set(needed) - {parameter}:
                continue  # nothing is beside it

            def call(t, parameter=parameter, others=others):
                if parameter not in needed:
                    return function(*others, **{parameter.name: t})
                place = needed.index(parameter)
                return function(*others[:place], t, *others[place + 1 :])

            yield parameter.name, call


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SWEPT)
def test_a_parameter_keeps_its_gradient(name, device):
    for number, (parameter, call) in enumerate(_calls(PUBLIC[name], device)):
        taken = [value for value in VALUES if _takes(call, value, "cpu")]
        for value in in_turn(taken, device, f"{name}{number}"):
            with np.errstate(all="ignore"):
                found = _verdict(call, value, device)
            assert found in ("flat", "refused", "right"), (parameter, value, found)


def test_the_sweep_sees_a_lost_gradient():
    def drops(t):
        return gg.sin(t.detach()) * 2.0

    assert "difference quotient" in _verdict(drops, VECTOR, "cpu")
    assert _verdict(gg.sin, VECTOR, "cpu") == "right"
    assert _verdict(gg.floor, VECTOR, "cpu") == "flat"
    assert _verdict(lambda t: gg.sin(t.item()), np.array(0.3), "cpu") != "right"
    with pytest.raises(AssertionError):
        assert _verdict(lambda t: gg.sin(float(t.item())), np.array(0.3), "cpu") == "right"
