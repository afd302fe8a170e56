"""Every op on every device beside the CPU, on the numbers on which functions come to differ.

NaN, infinities, zeros of both signs, subnormal, smallest and largest numbers, whole numbers of all
widths and truth values, in the place of each operand, forward and in the first derivative, with the
kernels for small arrays and with those for large ones. What differs with a reason stands in the
`checks` of an op, and nowhere else.
"""

import itertools

import numpy as np
import optable
import pytest

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.functions import FUNCTIONS
from gpugrad.kernels import wide

FLOATS, WHOLE = "efd", "?bhilBHIL"
ELEMENTWISE = [op for op in TABLE.values() if op.kind == "elementwise" and not op.checks.slow]


def special_numbers(char, few=False):
    """The numbers of a dtype that are tried in all combinations, fewer for many operands."""
    dtype = np.dtype(char)
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        chosen = [info.min, 0, 1, 3, info.max] + ([-1, -3] if info.min else [])
        if not few:
            chosen += [info.min + 1, 2, 7, info.max - 1] + ([-2, -7] if info.min else [])
        return np.array(chosen, dtype)
    info = np.finfo(dtype)
    most, tiny, least = float(info.max), float(info.tiny), float(info.smallest_subnormal)
    chosen = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5, 0.5, most, tiny]
    if not few:
        chosen += [-1.0, -0.5, 2.0, -2.0, 3.0, -3.0, 0.1, 10.0, 1e-3, -37.5, 7.25, 150.0, -150.0]
        chosen += [-most, -tiny, least, -least, 1 + float(info.eps), 1 - float(info.epsneg)]
    return np.array(chosen).astype(dtype)


def operands_of(op, char):
    numbers = special_numbers(char, few=len(op.arrays) > 2)
    grid = np.array(list(itertools.product(numbers, repeat=len(op.arrays))), char).T
    arrays = [np.ascontiguousarray(row) for row in grid]
    return [a > 0 if optable.drawn(op, i) == "mask" else a for i, a in enumerate(arrays)]


def words_of(op):
    defaults = {n: p.default for n, p in op.parameters.items()}
    return [{**defaults, **s.parameters} for s in op.samples] if op.parameters else [{}]


def function_of(op):
    return FUNCTIONS[op.name] if op.name in optable.PLAIN_CALL else optable.bound(op)


def outcome(op, words, operands, device):
    """The result and the gradients of arrays; None where the operands are refused."""
    tensors = [
        gg.tensor(x, device=device, requires_grad=x.dtype.kind == "f")
        if isinstance(x, np.ndarray)
        else x
        for x in operands
    ]
    with np.errstate(all="ignore"), gg.device(device):
        try:
            y = function_of(op)(*tensors, **words)
        except gg.GpugradError:
            return None
        found = [y]
        if y.requires_grad:
            slopes = np.resize([1.0, -2.5, 0.25], y.shape).astype(y.dtype)
            y.backward(gg.tensor(slopes, device=device))
            found += [t.grad for t in tensors if isinstance(t, gg.Tensor) and t.requires_grad]
        return [t.detach().cpu().numpy() for t in found]


# ---------------------------------------------------------------- what differs


def either_zero(op):
    """Whether 0.0 or -0.0 is open, as it is of SciPy's functions at zeros and poles."""
    return op.checks.either_zero or "special" in op.public


RELATIVE = {"e": 2e-3, "f": 5e-5, "d": 1e-10}
ABSOLUTE = {"e": 1e-3, "f": 1e-6, "d": 1e-14}  # of derivatives, and of what cancels


def flushed(x):
    """CuPy takes subnormal numbers of float32 for 0, as operands and as results."""
    if x.dtype != np.float32:
        return x
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x).astype(x.dtype), x)


def agree(op, got, wanted, exactly):
    """Where two arrays are the same number, to rounding."""
    if wanted.dtype.kind != "f":
        return got == wanted
    char = wanted.dtype.char
    tolerance = 1e-36 if char == "f" else 0.0  # products of what was flushed on the way
    if char == "e" or not exactly:
        tolerance = ABSOLUTE[char]
    got, wanted = flushed(got).astype("d"), flushed(wanted).astype("d")
    with np.errstate(all="ignore"):
        near = np.abs(got - wanted) <= RELATIVE[char] * np.abs(wanted) + tolerance
    near |= (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    if exactly and not either_zero(op):
        near &= (got != 0) | (wanted != 0) | (np.signbit(got) == np.signbit(wanted))
    return near


def references(op, words, operands):
    """What the CPU makes of the operands as they are, and as a kernel takes them.

    float16 is computed in float32 there and rounded once, subnormal numbers of float32 are 0.
    """
    yield outcome(op, words, operands, "cpu")
    taken = [taken_by_a_kernel(x) for x in operands]
    found = outcome(op, words, taken, "cpu")
    if found is not None and any(getattr(x, "dtype", None) == np.float16 for x in operands):
        with np.errstate(over="ignore"):
            found = [x.astype(np.float16) if x.dtype == np.float32 else x for x in found]
    yield found


def taken_by_a_kernel(x):
    if not isinstance(x, np.ndarray):
        return x
    return x.astype(np.float32) if x.dtype == np.float16 else flushed(x)


def differences(op, words, operands, device, char):
    """Lines that say on which operands the device and the CPU differ, and in what."""
    got = outcome(op, words, operands, device)
    first, second = references(op, words, operands)
    if got is None or first is None:
        refused = got is None and first is None
        return (
            [] if refused or (first is None and char in op.checks.refused) else ["refused by one"]
        )
    lines = []
    shape = got[0].shape
    with np.errstate(over="ignore"):
        arrays = [x if isinstance(x, np.ndarray) else np.float64(x).astype(char) for x in operands]
    arrays = np.broadcast_arrays(*arrays)
    known = op.checks.differs(*arrays) if op.checks.differs else np.zeros(shape, bool)
    for place, one in enumerate(got):
        if one.dtype != first[place].dtype:
            lines.append(f"{one.dtype} for {first[place].dtype}")
            continue
        exactly = place == 0 and not op.checks.cancels
        fine = known | agree(op, one, first[place], exactly)
        fine |= agree(op, one, second[place].astype(one.dtype), exactly)
        if char == "e":  # where rounding decides
            fine |= ~agree(op, first[place], second[place].astype(one.dtype), exactly)
        for index in np.flatnonzero(~fine)[:4]:
            at = ", ".join(str(x[index] if isinstance(x, np.ndarray) else x) for x in operands)
            what = "result" if place == 0 else f"gradient {place - 1}"
            wanted = first[place][index]
            lines.append(f"{op.name}({at}, {words}) {char}: {what} {one[index]}, not {wanted}")
    return lines


# ---------------------------------------------------------------- the sweep


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch):
    """Whether arrays go to the kernels for small arrays or to those for large ones."""
    if request.param == "large":
        monkeypatch.setattr(wide, "LARGE", 1)
    return request.param


@pytest.mark.parametrize("op", ELEMENTWISE, ids=optable.case_id)
def test_special_numbers_give_what_they_give_on_the_cpu(op, size, device):
    lines = []
    # Kernels for large arrays are for floating-point numbers, and pieces of rules for no others.
    for char in FLOATS + (WHOLE if size == "small" and op.public else ""):
        for words in words_of(op):
            lines += differences(op, words, operands_of(op, char), device, char)
    assert not lines, "\n".join(lines)


NUMBERS = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5, 3, -1, 1e-3, 1e39, 2**31 + 1,
           np.float32(-0.0), np.float32(2.5), np.float64(1e300)]  # fmt: skip


@pytest.mark.parametrize(
    ("op", "place"),
    [
        pytest.param(op, place, id=f"{op.name}-{place}")
        for op in ELEMENTWISE
        if len(op.arrays) == 2 and op.public and not optable.is_integer(op)
        for place in (0, 1)
    ],
)
def test_special_numbers_in_place_of_an_array(op, place, size, device):
    lines = []
    for number in NUMBERS:  # those that float32 does not hold are infinite beside it
        operands = [special_numbers("f")] * 2
        operands[place] = number
        lines += differences(op, {}, operands, device, "f")
    assert not lines, "\n".join(lines)


ROWS = [
    "sum", "mean", "prod", "max", "min", "var", "std", "logsumexp", "softmax", "log_softmax",
    "cumsum", "cumprod", "argmax", "argmin", "any", "all", "count_nonzero", "argsort",
]  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_special_numbers_in_rows(name, device):
    """One or two of them among usual numbers, in rows and alone."""
    op, lines = TABLE[name], []
    for char in "fd":
        numbers = special_numbers(char, few=True)
        if name in ("prod", "cumprod"):  # whose order decides where a product leaves the range
            numbers = numbers[(numbers == 0) | np.isin(np.abs(numbers), (0.5, 1, 2.5, np.inf))]
        pairs = np.array(list(itertools.product(numbers, repeat=2)), char)
        usual = np.linspace(-1.5, 2.0, 3, dtype=char)
        rows = np.concatenate([pairs[:, :1], np.tile(usual, (len(pairs), 1)), pairs[:, 1:]], axis=1)
        for row in (rows, rows[:, ::-1], pairs[:, :1]):
            lines += differences_of_rows(op, np.ascontiguousarray(row), device)
    assert not lines, "\n".join(lines)


def differences_of_rows(op, rows, device):
    got, wanted = (outcome(op, {"axis": -1}, [rows], where) for where in (device, "cpu"))
    taken = outcome(op, {"axis": -1}, [flushed(rows)], "cpu")
    lines = []
    for what, one, other, third in zip(("result", "gradient"), got, wanted, taken, strict=False):
        fine = agree(op, one, other, exactly=False) | agree(op, one, third, exactly=False)
        fine = fine.reshape(len(rows), -1).all(axis=1)
        lines += [
            f"{op.name} of {rows[index]}: {what} {one[index]}, not {other[index]}"
            for index in np.flatnonzero(~fine)[:4]
        ]
    return lines
