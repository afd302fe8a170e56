"""What entries of the op table say of names: gpugrad has those functions, methods, operators."""

import operator

import optable
import pytest

import gpugrad as gg
from gpugrad.engine.op import TABLE, Op

PLACES = ("gg", "fft", "linalg", "nn.functional", "special")
OPS = pytest.mark.parametrize("op", TABLE.values(), ids=optable.case_id)


def module_of(place):
    return gg if place == "gg" else operator.attrgetter(place)(gg)


# PyTorch's loss has the name of SciPy's elementwise function.
OTHERS = {("kl_div", "nn.functional")}


@OPS
def test_the_function_is_public_where_the_entry_says(op):
    found = {place for place in PLACES if op.name in module_of(place).__all__}
    assert found - {place for name, place in OTHERS if name == op.name} == {*op.public}


@OPS
def test_aliases_methods_and_operators_are_there(op):
    for alias in op.aliases:
        assert getattr(gg, alias) is getattr(gg, op.name)
    for method in op.methods:
        assert method in (op.name, *op.aliases)
        assert callable(getattr(gg.Tensor, method))
    if op.operator:
        assert hasattr(gg.Tensor, f"__{op.operator}__")
    if op.layer:
        assert op.layer in gg.nn.__all__


def test_comparisons_have_no_form_in_place():
    assert not hasattr(gg.Tensor, "__ieq__")
    assert not hasattr(gg.Tensor, "__rlt__")
    assert hasattr(gg.Tensor, "__ipow__")
    assert hasattr(gg.Tensor, "__rlshift__")


@OPS
def test_an_op_without_samples_has_the_usual_number_of_arrays(op):
    assert op.samples or op.samples is None or len(op.arrays) in (1, 2, 3)


def test_operands_are_checked():
    with pytest.raises(ValueError, match="op bad: operands 'real' for arrays .*'a', 'b'"):
        Op("bad", "a, b, /", operands="real")
    with pytest.raises(ValueError, match="op bad: operands 'round'"):
        Op("bad", "x, /", operands="round")
