"""Programs by chance, and their results step by step."""

import numpy as np

from gpugrad.compiler.programs.program import Program, Step, Value, function_of, values_in

__all__ = ["Writer", "evaluated", "on", "random_program", "same", "sent"]

SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan, 0.5)


def with_arrays(operand, arrays):
    if isinstance(operand, Value):
        return arrays[operand]
    if isinstance(operand, tuple | list):
        return type(operand)(with_arrays(part, arrays) for part in operand)
    return operand


def evaluated(program, inputs):
    """The outputs of a program, step by step, by the functions of the arrays' namespace."""
    arrays = dict(zip(program.inputs, inputs, strict=True)) | program.constants
    an_array = next((x for x in arrays.values() if hasattr(x, "dtype")), np.empty(0))
    with np.errstate(all="ignore"):
        for step in program.steps:
            first = next((arrays[v] for v in step.values() if not v.weak), an_array)
            function = function_of(first, step.name)
            made = function(*with_arrays(step.operands, arrays), **step.parameters)
            for value, array in zip(step.results, made if len(step.results) > 1 else [made]):
                arrays[value] = array.item() if value.weak and hasattr(array, "item") else array
    return [arrays[value] for value in program.outputs]


def sent(device, arrays):
    """Arrays on a device; Python numbers stay."""
    return [device.send(x) if isinstance(x, np.ndarray | np.generic) else x for x in arrays]


def on(device, program):
    """The program with its constants on a device."""
    constants = dict(zip(program.constants, sent(device, program.constants.values())))
    return Program(program.inputs, constants, program.steps, program.outputs)


class Writer:
    """Writes a program by running its steps on NumPy arrays, so that shapes and dtypes are right.

    >>> writer = Writer()
    >>> x = writer.input(np.ones(3))
    >>> y = writer("exp", x)
    >>> writer.program([y]).outputs
    [float64[3]]
    """

    def __init__(self):
        self.inputs = []
        self.constants = {}
        self.steps = []
        self.arrays = {}

    def input(self, array):
        weak = isinstance(array, float)
        value = Value(np.shape(array), np.asarray(array).dtype, weak)
        if not np.asarray(array).flags.c_contiguous:
            value.strides = array.strides
        self.inputs.append(value)
        self.arrays[value] = array
        return value

    def constant(self, array):
        value = Value(array.shape, array.dtype)
        self.constants[value] = self.arrays[value] = array
        return value

    def __call__(self, name, *operands, **parameters):
        array = next((self.arrays[v] for v in values_in(operands) if not v.weak), np.empty(0))
        with np.errstate(all="ignore"):
            made = function_of(array, name)(*with_arrays(operands, self.arrays), **parameters)
        many = made if isinstance(made, tuple) else (made,)
        weak = all(v.weak for v in values_in(operands)) and any(values_in(operands))
        values = [Value(np.shape(one), np.asarray(one).dtype, weak) for one in many]
        for value, one in zip(values, many):
            self.arrays[value] = one.item() if weak and isinstance(one, np.generic) else one
        self.steps.append(Step(name, operands, parameters, values))
        return values[0] if made is many[0] else values

    def program(self, outputs):
        return Program(self.inputs, self.constants, self.steps, outputs)

    def given(self):
        """The arrays of the inputs."""
        return [self.arrays[value] for value in self.inputs]


UNARY = ("negative", "exp", "tanh", "absolute", "square", "positive", "sqrt", "isnan", "sign")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "greater", "equal")
NUMBERS = (0, 1, 2, -1, 0.0, -0.0, 1.0, 0.5, -1.0, 4.0, float("nan"), float("inf"), 3.7)
SHAPES = ((), (1,), (3,), (2, 3), (3, 1), (1, 3), (2, 1, 3), (0, 3), (4, 3))
DTYPES = "fffdddei?"


def random_array(rng, shape, dtype):
    """Small numbers with many special ones among them; whole, or truths, of such a dtype."""
    values = rng.choice([*SPECIAL, *rng.normal(size=6)], size=shape)
    if dtype in "i?":
        values = np.nan_to_num(values, posinf=3, neginf=-3)
    return np.asarray(values).astype(dtype)


class _Chance:
    """Adds steps of all kinds to a program."""

    def __init__(self, rng, device=None):
        self.rng = rng
        self.writer = Writer()
        self.values = []

    def pick(self, of=None):
        found = [value for value in self.values if not value.weak and (of is None or of(value))]
        if not found:
            return None
        recent = found[-6:] if self.rng.random() < 0.7 else found
        return recent[self.rng.integers(len(recent))]

    def fitting(self, x):
        """A value that broadcasts with another."""

        def fits(y):
            try:
                return np.prod(np.broadcast_shapes(x.shape, y.shape)) < 200
            except ValueError:
                return False

        return self.pick(fits)

    def add(self):
        kinds = (
            self.unary, self.unary, self.binary, self.binary, self.binary, self.number, self.number,
            self.view, self.view, self.reduction, self.product, self.choice, self.item, self.cast,
            self.filled, self.again, self.of_item, self.weak,
        )  # fmt: skip
        made = kinds[self.rng.integers(len(kinds))]()
        if made is not None:
            self.values.append(made)

    def unary(self):
        x = self.pick()
        name = self.rng.choice(UNARY)
        if x.dtype.kind == "b":
            name = "logical_not"
        return self.writer(str(name), x)

    def binary(self):
        x = self.pick()
        y = self.fitting(x)
        name = str(self.rng.choice(BINARY))
        if y is None or (name == "subtract" and x.dtype.kind == y.dtype.kind == "b"):
            return None
        return self.writer(name, x, y)

    def number(self):
        x, number = self.pick(), NUMBERS[self.rng.integers(len(NUMBERS))]
        name = str(self.rng.choice([*BINARY, "power"]))
        if x.dtype.kind == "b" or (x.dtype.kind == "i" and (name == "power" or number != number)):
            return None
        if name == "divide" and number == 0 and x.dtype.kind == "i":
            return None
        turned = name != "power" and self.rng.random() < 0.4
        return self.writer(name, *((number, x) if turned else (x, number)))

    def weak(self):
        numbers = [value for value in self.values if value.weak]
        if not numbers:
            return None
        number = numbers[self.rng.integers(len(numbers))]
        if self.rng.random() < 0.3:
            return self.writer("multiply", number, 2.0)
        x = self.pick()
        return self.writer("multiply", x, number) if x.dtype.kind == "f" else None

    def view(self):
        x = self.pick()
        calls = [
            ("reshape", x, (-1,)), ("reshape", x, x.shape), ("transpose", x), ("ravel", x),
            ("broadcast_to", x, (2, *x.shape)), ("expand", x, (2, *x.shape)), ("expand_dims", x, 0),
            ("flip", x), ("squeeze", x), ("broadcast_to", x, x.shape),
        ]  # fmt: skip
        if x.ndim:
            calls += [
                ("get_item", x, (Ellipsis, slice(1, None))), ("get_item", x, slice(0, 1)),
                ("moveaxis", x, 0, -1), ("swapaxes", x, 0, -1), ("copy", x),
            ]  # fmt: skip
        if x.ndim == 2:
            calls += [("transpose", x, (1, 0)), ("transpose", x, (-1, 0))]
        name, *operands = calls[self.rng.integers(len(calls))]
        if np.prod(x.shape) > 200 and name in ("broadcast_to", "expand"):
            return None
        return self.writer(name, *operands)

    def reduction(self):
        x = self.pick(lambda value: value.ndim and 0 not in value.shape)
        if x is None:
            return None
        name = str(self.rng.choice(["sum", "max", "sum"]))
        axis = [None, 0, -1, tuple(range(x.ndim))][self.rng.integers(4)]
        return self.writer(name, x, axis=axis, keepdims=bool(self.rng.integers(2)))

    def product(self):
        a = self.pick(lambda value: value.ndim == 2 and value.dtype.kind == "f")
        if a is None:
            return None
        b = self.pick(lambda v: v.ndim == 2 and v.dtype == a.dtype and v.shape[0] == a.shape[1])
        if b is not None and self.rng.random() < 0.5:
            return self.writer("matmul", a, b)
        self.values.append(self.writer("transpose", a))
        return self.writer("matmul", self.values[-1], a)

    def choice(self):
        mask, x = self.pick(lambda value: value.dtype.kind == "b"), self.pick()
        if mask is None or self.fitting(mask) is None:
            return None
        x = self.fitting(mask)
        return self.writer("where", mask, x, [0, x, 1.5][self.rng.integers(3)])

    def item(self):
        """A change in place, of an array that is read no more, or is."""
        x = self.pick(lambda value: value.ndim > 0 and value.shape[0] > 0)
        if x is None:
            return None
        value = self.pick(lambda v: v.dtype == x.dtype and v.shape == x.shape[1:])
        index = int(self.rng.integers(x.shape[0]))
        name = "set_item" if x.dtype.kind != "f" or self.rng.random() < 0.7 else "add_item"
        return self.writer(name, x, index, 0 if value is None else value)

    def of_item(self):
        """The gradient of an index, added to another."""
        total = self.pick(lambda value: value.ndim > 0 and value.shape[0] > 0)
        if total is None or total.dtype.kind != "f":
            return None
        value = self.pick(lambda v: v.dtype == total.dtype and v.shape == total.shape[1:])
        if value is None:
            return None
        zeros = self.writer("zeros_like", total)
        return self.writer("add", total, self.writer("set_item", zeros, 0, value))

    def cast(self):
        return self.writer("astype", self.pick(), np.dtype(str(self.rng.choice(["f", "d", "?"]))))

    def filled(self):
        x = self.pick()
        name = str(self.rng.choice(["zeros_like", "ones_like"]))
        made = self.writer(name, x)
        if self.rng.random() < 0.3:
            made = self.writer("zeros", (2, 3), dtype="float32")
        return made

    def again(self):
        """A step once more."""
        steps = self.writer.steps
        if not steps:
            return None
        step = steps[self.rng.integers(len(steps))]
        return self.writer(step.name, *step.operands, **step.parameters)


def random_program(seed, steps=25):
    """A program and the arrays for its inputs."""
    rng = np.random.default_rng(seed)
    chance = _Chance(rng)
    for _ in range(4):
        shape = SHAPES[rng.integers(len(SHAPES))]
        array = random_array(rng, shape, DTYPES[rng.integers(len(DTYPES))])
        chance.values.append(chance.writer.input(array))
    chance.values.append(chance.writer.input(float(rng.normal())))
    for _ in range(2):
        shape = SHAPES[rng.integers(len(SHAPES))]
        chance.values.append(chance.writer.constant(random_array(rng, shape, "f")))
    while len(chance.writer.steps) < steps:
        chance.add()
    arrays = [value for value in chance.values if not value.weak]
    outputs = [arrays[i] for i in rng.integers(len(arrays), size=4)]
    return chance.writer.program(outputs), chance.writer.given()


def same(a, b, zeros=True):
    """Whether two arrays are one in shape, dtype and values, and in the signs of zeros."""
    a, b = (np.asarray(x.get() if hasattr(x, "get") else x) for x in (a, b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fc":
        return bool(np.array_equal(a, b))
    signs = not zeros or np.array_equal(np.signbit(a) & (a == 0), np.signbit(b) & (b == 0))
    return bool(signs and np.array_equal(a, b, equal_nan=True))
