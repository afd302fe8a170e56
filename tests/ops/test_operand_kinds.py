"""Numbers of every kind in each operand's place: what runs on the CPU runs on every device.

A Python number, a NumPy scalar, a 0-d NumPy array or a 0-d tensor stands in turn for each operand
of every public function of the op table and of each that is made of others, beside tensors.
Values, dtypes and shapes of the results and of the first and second derivatives are those on the
CPU, or the error is of the same class. The default device is the CPU: what is made of numbers alone
on the way has to go where the arrays are.
"""

import operator

import composed
import numpy as np
import optable
import pytest
from devices import DEVICES

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.tensor import Tensor

OTHERS = [device for device in DEVICES if device != "cpu"]
RELATIVE = {"float16": 1e-2, "float32": 2e-4, "float64": 1e-9, "complex64": 2e-4}
DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64", "bool",
)  # fmt: skip


def tensor_of(dtype):
    return lambda value, device: gg.tensor(np.asarray(value, dtype), device=device)


def scalar_of(dtype):
    return lambda value, device: np.dtype(dtype).type(value)


def array_of(dtype):
    return lambda value, device: np.asarray(value, dtype)


# By name, what makes a number of that kind of a float.
KINDS = {
    "float": lambda value, device: float(value),
    "int": lambda value, device: int(value),
    "bool": lambda value, device: bool(value),
    **{f"numpy.{dtype}": scalar_of(dtype) for dtype in DTYPES},
    **{f"0-d {dtype} array": array_of(dtype) for dtype in ("float32", "float64", "int64", "bool")},
    **{f"0-d {dtype} tensor": tensor_of(dtype) for dtype in ("float32", "float64", "int64")},
}
# Those that derivatives are taken beside, and that are tried on functions of one array or made of
# others, which reach few places of their own: a kernel is compiled for each.
FEW = (
    "float", "int", "numpy.float32", "numpy.float64", "numpy.int64", "0-d float64 array",
    "0-d float32 tensor",
)  # fmt: skip
assert set(FEW) <= set(KINDS)


def public(op):
    """The public function of an op; None for those that only rules and other functions use."""
    if not op.public:
        return None
    home = gg if "gg" in op.public else operator.attrgetter(op.public[0])(gg)
    return getattr(home, op.name)


class OfTable:
    """An op on the first of its samples."""

    def __init__(self, op):
        self.op, self.name = op, op.name
        self.sample = optable.samples(op)[0]
        self.arrays = optable.arrays_for(op, self.sample, np.float32)
        self.kinds = KINDS if len(self.arrays) > 1 and op.kind == "elementwise" else FEW

    def __call__(self, operands, device):
        if self.op.prepare is not None:
            operands = self.op.prepare(optable.TENSORS, *operands)
        results = optable.outputs_of(public(self.op)(*operands, **self.sample.parameters))
        return (
            results
            if self.op.observe is None
            else optable.outputs_of(self.op.observe(optable.TENSORS, *results))
        )


class Composed:
    """A case of `composed.py`."""

    kinds = FEW

    def __init__(self, case):
        self.case, self.name = case, case.name
        self.arrays = case.arrays(np.float32)

    def __call__(self, operands, device):
        return self.case.apply(operands)


def cases():
    """Each function with the place of the operand that is to be a number."""
    calls = {op.name: OfTable(op) for op in TABLE.values() if public(op) is not None}
    forms = set()
    for case in composed.CASES:
        form = case.name, len(case.shapes), () in case.shapes
        if form not in forms:  # one case for each number of operands, with one that is 0-d
            calls[repr(case)] = Composed(case)
            forms.add(form)
    return [
        pytest.param(call, place, id=f"{name}-{place}")
        for name, call in calls.items()
        for place, array in enumerate(call.arrays)
        if array.size
    ]


def told(results):
    """Device, dtype, shape and values of results; what is no tensor as it is."""
    return [
        (str(one.dtype), one.shape, one.detach().cpu().numpy()) if isinstance(one, Tensor) else one
        for one in results
    ]


def squares(results):
    """One number of all floats among the results that are in a graph; None for none."""
    total = None
    for one in results:
        if isinstance(one, Tensor) and one.requires_grad:
            real = one.real + one.imag if one.dtype.kind == "c" else one
            term = (real * (real + 0.5)).sum()
            total = term if total is None else total + term
    return total


def outcome(call, place, kind, device):
    """What comes of a call, step by step: results, both derivatives, or the class of an error."""
    operands = [
        gg.tensor(array, device=device, requires_grad=array.dtype.kind == "f")
        for array in call.arrays
    ]
    value = call.arrays[place].reshape(-1)[0]
    if "int" in kind:
        value = int(abs(value)) + 1
    operands[place] = KINDS[kind](value, device)
    steps = []
    try:
        with np.errstate(all="ignore"):
            results = call(operands, device)
            steps.append(told(results))
            leaves = [x for x in operands if isinstance(x, Tensor) and x.requires_grad]
            for again in (True, False) if kind in FEW else ():
                total = squares(results)
                if total is None:
                    break
                results = gg.gradients(total, leaves, create_graph=again, allow_unused=True)
                steps.append(told(results))
    except Exception as error:  # noqa: BLE001  its class is what is compared
        steps.append(type(error))
    return steps


def difference(got, wanted):
    """How two results differ, in words; None where they do not."""
    if not isinstance(wanted, tuple):
        return None if type(got) is type(wanted) and got == wanted else f"{got}, not {wanted}"
    if got[:2] != wanted[:2]:
        return f"{got[:2]}, not {wanted[:2]}"
    near = RELATIVE.get(wanted[0], 1e-9)
    if not np.allclose(got[2], wanted[2], rtol=near, atol=near, equal_nan=True):
        return f"{got[2]}, not {wanted[2]}"
    return None


@pytest.mark.parametrize("device", OTHERS)
@pytest.mark.parametrize(("call", "place"), cases())
@pytest.mark.filterwarnings("ignore")
def test_a_number_in_an_operand_s_place_does_what_it_does_on_the_cpu(call, place, device):
    different = []
    for kind in call.kinds:
        wanted = outcome(call, place, kind, "cpu")
        got = outcome(call, place, kind, device)
        for number, (one, other) in enumerate(zip(got, wanted)):
            if isinstance(one, type) or isinstance(other, type):
                found = None if one == other else f"{one}, not {other}"
            else:
                found = next(filter(None, map(difference, one, other)), None)
            if found is not None:
                step = ("result", "first derivative", "second derivative")[number]
                different.append(f"{kind}: {step}: {found}")
                break
        else:
            assert len(got) == len(wanted)
    assert not different, "\n".join(different)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value", [2, 2.5, np.float64(2.5), np.int8(2), np.array(2.5), np.array(2)])
def test_a_number_is_assigned(value, device):
    t = gg.zeros((2, 2), device=device)
    t[0, 1] = value
    t[[1]] = value
    assert t.tolist() == [[0, value], [value, value]]
