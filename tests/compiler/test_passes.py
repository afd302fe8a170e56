"""Simplified programs: the same results to the last bit, and the steps that are left."""

import numpy as np
import pytest
from programs import Writer, evaluated, on, random_program, same, sent

from gpugrad.compiler.programs.liveness import peak_bytes
from gpugrad.compiler.programs.passes import simplified

X = np.array([[0.0, -0.0, 1.5], [np.inf, np.nan, -2.0]])


def names(program):
    return [step.name for step in program.steps]


@pytest.mark.parametrize("seed", range(60))
def test_a_simplified_program_has_the_same_results(seed):
    for number in range(5 * seed, 5 * seed + 5):
        program, inputs = random_program(number)
        shorter = simplified(program)
        # Elsewhere than at an index a sum of slices' gradients keeps -0.0.
        zeros = "add_item" not in names(shorter)
        for a, b in zip(evaluated(shorter, inputs), evaluated(program, inputs), strict=True):
            assert same(a, b, zeros), f"{program}\n\n{shorter}"
        assert len(shorter.steps) <= len(program.steps)
        assert peak_bytes(shorter) <= peak_bytes(program)
        assert names(simplified(shorter)) == names(shorter)


def test_on_each_device(device):
    for seed in range(400, 406 if device.kind == "cuda" else 430):
        program, inputs = random_program(seed)
        program, inputs = on(device, program), sent(device, inputs)
        try:
            expected = evaluated(program, inputs)
        except (AttributeError, TypeError, ValueError):  # CuPy lacks that step
            continue
        shorter = simplified(program)
        for a, b in zip(evaluated(shorter, inputs), expected, strict=True):
            assert same(a, b, zeros=False), f"{program}\n\n{shorter}"


def shortened(write, *arrays):
    """The names of the steps that are left of those that ``write`` writes, and the operands."""
    writer = Writer()
    made = write(writer, *map(writer.input, arrays))
    program = writer.program(made if isinstance(made, list) else [made])
    shorter = simplified(program)
    for a, b in zip(evaluated(shorter, arrays), evaluated(program, arrays), strict=True):
        assert same(a, b), f"{program}\n\n{shorter}"
    return names(shorter)


# What is left of steps of a function w that adds one, and of an input x.
LEFT = [
    ("exp(x * 1)", lambda w, x: w("exp", w("multiply", x, 1)), ["exp"]),
    ("exp(x * 1.0)", lambda w, x: w("exp", w("multiply", 1.0, x)), ["exp"]),
    ("exp(x / 1)", lambda w, x: w("exp", w("divide", x, 1)), ["exp"]),
    ("exp(x + 0.0)", lambda w, x: w("exp", w("add", x, 0.0)), ["add", "exp"]),  # of -0.0
    ("exp(x + -0.0)", lambda w, x: w("exp", w("add", x, -0.0)), ["exp"]),
    ("exp(x - 0)", lambda w, x: w("exp", w("subtract", x, 0)), ["exp"]),
    ("exp(x - -0.0)", lambda w, x: w("exp", w("subtract", x, -0.0)), ["subtract", "exp"]),
    ("x * x + 0", lambda w, x: w("sign", w("add", w("square", x), 0)), ["square", "sign"]),
    ("exp(-(-x))", lambda w, x: w("exp", w("negative", w("negative", x))), ["exp"]),
    ("x + -exp(x)", lambda w, x: w("add", x, w("negative", w("exp", x))), ["exp", "subtract"]),
    ("x * -1", lambda w, x: w("multiply", x, -1), ["negative"]),
    ("x / 4", lambda w, x: w("divide", x, 4.0), ["multiply"]),
    ("x / 3", lambda w, x: w("divide", x, 3.0), ["divide"]),
    ("x ** 2", lambda w, x: w("power", x, 2), ["square"]),
    ("x * 0", lambda w, x: w("multiply", x, 0), ["multiply"]),  # NaN of infinity
    ("x * ones", lambda w, x: w("exp", w("multiply", x, w("ones_like", x))), ["exp"]),
    ("ones / 6, broadcast",
     lambda w, x: w("multiply", w("broadcast_to", w("divide", w("ones", ()), 4.0), (2, 3)), x),
     ["multiply"]),
    ("two transposes", lambda w, x: w("exp", w("transpose", w("transpose", x))), ["exp"]),
    ("transposes composed",
     lambda w, x: w("exp", w("transpose", w("moveaxis", w("reshape", x, (1, 2, 3)), 0, 1))),
     ["reshape", "transpose", "exp"]),
    ("reshapes", lambda w, x: w("exp", w("reshape", w("ravel", x), (2, 3))), ["exp"]),
    ("reshape to the same", lambda w, x: w("exp", w("reshape", x, (2, 3))), ["exp"]),
    ("astype to the same", lambda w, x: w("exp", w("astype", x, np.dtype("d"))), ["exp"]),
    ("there and back",
     lambda w, x: w("exp", w("astype", w("astype", x, np.dtype("g")), np.dtype("d"))), ["exp"]),
    ("back and there",
     lambda w, x: w("exp", w("astype", w("astype", x, np.dtype("f")), np.dtype("d"))),
     ["astype", "astype", "exp"]),
    ("transposed product", lambda w, x: w("matmul", w("transpose", x), x), ["transposed_matmul"]),
    ("broadcast operand",
     lambda w, x: w("add", x, w("broadcast_to", w("exp", w("get_item", x, 0)), (2, 3))),
     ["get_item", "exp", "add"]),
    ("broadcast before",
     lambda w, x: w("add", x, w("exp", w("broadcast_to", w("get_item", x, 0), (2, 3)))),
     ["get_item", "exp", "add"]),
    ("a sum along one", lambda w, x: w("exp", w("max", w("expand_dims", x, 1), axis=1)), ["exp"]),
    ("the same twice", lambda w, x: w("add", w("exp", x), w("exp", x)), ["exp", "add"]),
    ("turned around",
     lambda w, x: w("subtract", w("add", x, 2.0), w("add", 2.0, x)), ["add", "subtract"]),
    ("2 is not 2.0, nor True 1",
     lambda w, x: [w("multiply", w("isnan", x), 2), w("multiply", w("isnan", x), 2.0)],
     ["isnan", "multiply", "multiply"]),
    ("0.0 is not -0.0",
     lambda w, x: w("where", w("isnan", w("divide", x, 0.0)), x, w("divide", x, -0.0)),
     ["divide", "isnan", "divide", "where"]),
    ("not not", lambda w, x: w("where", w("logical_not", w("isnan", x)), x, 1.0),
     ["isnan", "where"]),
    ("nobody reads it", lambda w, x: [w("exp", x), w("tanh", x)][0], ["exp"]),
    ("a slice's gradient",
     lambda w, x: w("add", w("exp", x), w("set_item", w("zeros", (2, 3)), 1, w("get_item", x, 0))),
     ["exp", "get_item", "add_item"]),
    ("what the caller gets is a copy", lambda w, x: w("multiply", x, 1), ["copy"]),
    ("what the caller gets was made for it", lambda w, x: w("copy", w("exp", x)), ["exp"]),
    ("and each has its own", lambda w, x: [w("exp", x), w("exp", x)], ["exp", "copy"]),
    ("a view stays one", lambda w, x: w("reshape", w("reshape", x, (6,)), (2, 3)), []),
    ("a copy of what may be a view", lambda w, x: w("exp", w("own", w("tril", x))),
     ["tril", "own", "exp"]),
    ("a copy inside", lambda w, x: w("exp", w("copy", x)), ["exp"]),
]  # fmt: skip


@pytest.mark.parametrize(("case", "write", "left"), LEFT, ids=[case for case, *_ in LEFT])
def test_what_is_left(case, write, left):
    assert shortened(write, X) == left


def test_integers_lose_a_zero_and_keep_their_dtype():
    whole = np.arange(3)
    assert shortened(lambda w, x: w("negative", w("add", x, 0)), whole) == ["negative"]
    assert shortened(lambda w, x: w("multiply", x, 1.0), whole) == ["multiply"]  # float64
    assert shortened(lambda w, x: w("divide", x, 1), whole) == ["divide"]


def test_constants_are_computed_once():
    writer = Writer()
    x, c = writer.input(X), writer.constant(np.array([1.0, 2.0, 3.0]))
    y = writer("multiply", x, writer("exp", writer("negative", c)))
    program = writer.program([y, writer("exp", c)])
    shorter = simplified(program)
    assert names(shorter) == ["multiply", "copy"]
    assert len(shorter.constants) == 2
    expected = [writer.arrays[value] for value in program.outputs]
    assert all(map(same, evaluated(shorter, [X]), expected))


def test_python_numbers_stay_python_numbers():
    writer = Writer()
    x, rate = writer.input(np.ones(3, "f")), writer.input(0.1)
    y = writer("multiply", x, writer("multiply", rate, 2.0))
    shorter = simplified(writer.program([y]))
    assert names(shorter) == ["multiply", "multiply"]
    assert evaluated(shorter, [np.ones(3, "f"), 0.5])[0].dtype == np.float32


def test_a_second_forward_is_not_merged_with_the_first():
    """It is there to save memory, as that of a checkpoint."""
    large = np.ones(1000)

    def forward(w, x):
        ys = [x]
        for _ in range(5):
            ys.append(w("exp", ys[-1]))
        return ys

    writer = Writer()
    x = writer.input(large)
    end = forward(writer, x)[-1]
    g = writer("tanh", end)
    for y in reversed(forward(writer, x)):
        g = writer("multiply", g, y)
    program = writer.program([g])
    assert peak_bytes(simplified(program)) <= peak_bytes(program)


def test_programs_of_many_steps():
    writer = Writer()
    x = y = writer.input(np.ones(2))
    for _ in range(2000):
        y = writer("multiply", writer("tanh", y), writer("add", x, 0.0))
    shorter = simplified(writer.program([y]))
    assert len(shorter.steps) == 4001
