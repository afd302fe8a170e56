"""The C math functions: errors against long double, special values, what their source holds."""

import re
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from host_math_loops import COMPILER, DTYPES, LONG, NATIVE, Loops, arguments, errors, reference

from gpugrad.codegen.expression import NotFusibleError
from gpugrad.codegen.host_math import ERRORS, FUNCTIONS, source

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is on the path")
needs_long_double = pytest.mark.skipif(
    np.finfo(LONG).nmant < 60, reason="long double has no more digits than double here"
)


CPU = Path("/proc/cpuinfo")
# Without fused multiply-adds where the processor may have them, and quickly compiled.
PLAIN = ("-O1",)
compiled = cache(partial(Loops, tuple(FUNCTIONS)))


@needs_compiler
@needs_long_double
@pytest.mark.parametrize("flags", [NATIVE, PLAIN], ids=["native", "plain"])
def test_errors_are_at_most_two_units_and_special_values_exact(flags: tuple[str, ...]) -> None:
    loops = compiled(flags)
    assert "warning" not in loops.messages
    rng = np.random.default_rng(14)
    for name in FUNCTIONS:
        for dtype, stated in zip(DTYPES, ERRORS[name]):
            operands = arguments(name, dtype, 12_000, rng)
            error = errors(name, operands, loops(name, *operands), reference(name, operands, loops))
            worst = int(error.argmax())
            where = [float(x[worst]).hex() for x in operands]
            assert error[worst] <= min(stated + 0.1, 2.0), (name, dtype, where)


@needs_compiler
def test_loops_vectorise() -> None:
    if not CPU.exists() or "avx2" not in CPU.read_text():
        pytest.skip("this processor has no AVX2, whose gathers sine, cosine and tangent need")
    loops = compiled(NATIVE)
    if "loop vectorized" not in loops.messages:
        pytest.skip("the C compiler does not say which loops it vectorised; gcc does")
    scalar = [
        (name, dtype) for name in FUNCTIONS for dtype in DTYPES if not loops.vectorised(name, dtype)
    ]
    assert scalar == []


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_source_holds_what_a_function_needs_in_order_and_nothing_else(
    name: str, dtype: str
) -> None:
    text = re.sub(r"/\*.*?\*/", "", source([(name, dtype)]), flags=re.DOTALL)
    order = list(dict.fromkeys(re.findall(r"\bgg_\w+", text)))
    defined = re.findall(r"^(?:static [\w ]+ |\} )(gg_\w+)", text, re.MULTILINE)
    assert sorted(order) == sorted(set(defined)) == sorted(defined)
    assert defined[-1] == FUNCTIONS[name][dtype]
    for one in defined[:-1]:
        assert len(re.findall(rf"\b{one}\b", text)) > 1, f"{one} is not used"
    # Nothing is used above its definition: the first mention of a name is where it is defined.
    heads = [re.search(rf"\b{one}\b", text).start() for one in defined]
    assert heads == sorted(heads)


def test_source_has_a_function_once() -> None:
    text = source([("exp", "float32"), ("exp", np.float32), ("tanh", np.dtype("float32"))])
    assert text.count("float gg_exp_tail_f32(") == 1


def test_a_function_that_is_not_there() -> None:
    with pytest.raises(NotFusibleError, match="no C function computes exp of float16"):
        source([("exp", np.float16)])
    with pytest.raises(NotFusibleError, match="no C function computes gamma of float32"):
        source([("gamma", "float32")])
