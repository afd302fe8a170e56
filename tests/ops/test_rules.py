"""What holds for every rule of the table: which names it uses, what it needs, what it saves."""

from itertools import zip_longest

import numpy as np
import optable
import pytest
from optable import outputs_of

import gpugrad as gg
from gpugrad.backend.namespace import FORMULAS, NAMESPACES, Namespace, namespace_of
from gpugrad.engine import record as recording
from gpugrad.engine.backward import run_backward, unbroadcast
from gpugrad.engine.node import new_node
from gpugrad.engine.op import TABLE, Op, Sample
from gpugrad.engine.op import op as enter
from gpugrad.engine.outputs import ShapeDtype
from gpugrad.engine.record import bind
from gpugrad.functions import FUNCTIONS
from gpugrad.tensor import TENSORS

DIFFERENTIABLE = pytest.mark.parametrize(
    ("op", "sample"), optable.cases(differentiable=True), ids=optable.case_id
)


# (a) Names.

# What a rule may use of a namespace: the table and the public functions.
TABLE_NAMES = {*TABLE, *FORMULAS, *FUNCTIONS, "zeros_like", "ones_like", "full_like", "arange"}
# What a forward formula, which never runs over Tensors, may use of an array library beside them.
LIBRARY = {
    "argpartition", "array", "convolve", "einsum", "eye", "fft", "full", "linalg", "native_argsort",
    "native_cumprod", "native_cumsum", "native_prod", "pad", "zeros",
}  # fmt: skip


class Restricted(Namespace):
    """NumPy's namespace without the names that the table and gpugrad do not have."""

    names = TABLE_NAMES

    def __getattr__(self, name):
        if name not in self.names:
            raise AttributeError(f"{name} is neither in the table nor a function of gpugrad")
        if name in TABLE:  # whose own formula has a test of its own
            return getattr(NAMESPACES[np.ndarray], name)
        return super().__getattr__(name)


class Forward(Restricted):
    """The same, with the names that formulas of forwards may use."""

    names = TABLE_NAMES | LIBRARY


SPECIAL = {"special": NAMESPACES[np.ndarray].special}
RESTRICTED, FORWARD = Restricted(np, SPECIAL), Forward(np, SPECIAL)


@pytest.mark.parametrize(("op", "sample"), optable.cases(), ids=optable.case_id)
def test_forward_formulas_use_only_names_of_the_table(op, sample):
    arrays = optable.prepared(op, optable.arrays_for(op, sample))
    if op.forward is None:
        assert hasattr(np, op.name) or op.name in TABLE_NAMES
        ys = getattr(namespace_of(arrays[0]), op.name)(*arrays, **sample.parameters)
    else:
        ys = op.forward(FORWARD, *arrays, **parameters_of(op, sample))
    assert all(hasattr(y, "dtype") for y in outputs_of(ys))


def parameters_of(op, sample):
    """The sample's parameters and the defaults of the others, as the walk passes them."""
    defaults = {
        name: parameter.default
        for name, parameter in op.parameters.items()
        if parameter.default is not parameter.empty
    }
    return {**defaults, **sample.parameters}


def test_arrays_are_operands_and_no_parameters():
    """So that whoever follows the operands, such as a recorder, sees all arrays."""
    for _, sample in optable.cases():
        for value in sample.parameters.values():
            parts = value if isinstance(value, tuple | list) else (value,)
            assert not any(hasattr(part, "__array__") for part in parts)


def ones(y):
    """The gradient of the sum of y, or of both its parts where it is complex."""
    return np.full_like(y, 1 + 1j if y.dtype.kind == "c" else 1)


def seeded(op, ys):
    """A loss of the outputs and its gradients: their sum, or what is unique of complex ones."""
    if op.observe is None or not any(y.dtype.kind == "c" for y in ys):
        weights = [gg.ones_like(gg.tensor(y.real)) for y in ys]
        return lambda *results: optable.scalar(results, weights), tuple(map(ones, ys))
    weights = optable.weights_for(op.observe(TENSORS, *map(gg.tensor, ys)))

    def loss(*results):
        return optable.scalar(op.observe(TENSORS, *results), weights)

    leaves = [gg.tensor(y, requires_grad=True) for y in ys]
    return loss, tuple(g.numpy() for g in gg.gradients(loss(*leaves), leaves))


@DIFFERENTIABLE
def test_rules_use_only_names_of_the_table(op, sample):
    """Over a namespace that has nothing else, every rule gives what the walk gives."""
    arrays = optable.prepared(op, optable.arrays_for(op, sample))
    parameters = parameters_of(op, sample)
    y = getattr(NAMESPACES[np.ndarray], op.recorded)(*arrays, **parameters)
    residuals = []
    if op.residuals:
        y, *residuals = y
    loss, gs = seeded(op, outputs_of(y))
    g = gs if op.outputs else gs[0]
    floats = [array.dtype.kind == "f" for array in arrays]
    values = (*arrays, *residuals)
    if op.joint is not None:
        pulled = op.joint(RESTRICTED, g, y, tuple(floats), *values, **parameters)
    else:
        pulled = [
            op.vjps[index](RESTRICTED, g, y, *values, **parameters)
            if need and not op.is_constant(index)
            else None
            for index, need in enumerate(floats)
        ]
    tensors = [gg.tensor(a, requires_grad=need) for a, need in zip(arrays, floats, strict=True)]
    loss(*outputs_of(bind(op)(*tensors, **sample.parameters))).backward()
    for array, tensor, d in zip(arrays, tensors, pulled, strict=True):
        if d is None:
            assert tensor.grad is None
        else:
            fitted = unbroadcast(NAMESPACES[np.ndarray], np.asarray(d), array.shape, array.dtype)
            np.testing.assert_allclose(tensor.grad.numpy(), fitted, rtol=1e-13, atol=1e-13)


def test_the_restricted_namespace_restricts():
    with pytest.raises(AttributeError, match="asanyarray is neither"):
        RESTRICTED.asanyarray
    bad = Op("bad", "x, /", vjp=[lambda xp, g, y, x: xp.putmask(g, g)])
    with pytest.raises(AttributeError, match="putmask is neither"):
        bad.vjps[0](RESTRICTED, np.ones(2), np.ones(2), np.ones(2))


# (b) Needs.


def several():
    """Samples of ops with more than one argument that has a derivative."""
    return [
        (op, sample)
        for op, sample in optable.cases(differentiable=True)
        if sum(array.dtype.kind == "f" for array in optable.arrays_for(op, sample)) > 1
    ]


@pytest.mark.parametrize(("op", "sample"), several(), ids=optable.case_id)
def test_each_argument_alone_has_the_gradient_it_has_among_others(op, sample, device):
    def gradients(chosen):
        tensors = optable.tensors_for(op, sample, device, requires_grad=False)
        for index in chosen:
            tensors[index].requires_grad_()
        result = optable.apply(op, sample, tensors)
        optable.scalar(result, optable.weights_for(result)).backward()
        return [None if t.grad is None else t.grad.cpu().numpy() for t in tensors]

    arrays = optable.arrays_for(op, sample)
    floats = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    together = gradients(floats)
    for index in floats:
        alone = gradients([index])
        np.testing.assert_allclose(alone[index], together[index], rtol=1e-13, atol=1e-15)
        assert [d is not None for d in alone] == [i == index for i in range(len(arrays))]


# (c) Places.


@pytest.mark.parametrize(("op", "sample"), optable.cases(), ids=optable.case_id)
def test_results_and_gradients_are_where_the_operands_are(op, sample):
    """Also on a device that is not the current one, where CuPy makes what nobody places."""
    tensors = optable.tensors_for(op, sample, "sim:1")
    results = outputs_of(optable.apply(op, sample, tensors))
    assert {str(result.device) for result in results} == {"sim:1"}
    if op.differentiable and any(result.requires_grad for result in results):
        weights = [gg.ones_like(result) for result in results]
        for create_graph in (False, True):
            total = optable.scalar(optable.apply(op, sample, tensors), weights)
            total.backward(create_graph=create_graph)
            assert {str(t.grad.device) for t in tensors if t.requires_grad} == {"sim:1"}


# (d) Saves.


def declared():
    """One sample of each op that declares what it saves (constants are kept in any case)."""
    seen = {}
    for op, sample in optable.cases(differentiable=True):
        constants = {name for i, name in enumerate(op.arrays) if op.is_constant(i)}
        if any(saved - constants for saved in op.saves):
            seen.setdefault(op.name, (op, sample))
    return list(seen.values())


@pytest.mark.parametrize(("op", "sample"), declared(), ids=optable.case_id)
def test_a_rule_that_saves_too_little_fails(op, sample):
    """Each declaration is needed: with nothing saved, some derivative cannot be computed."""
    entry = {"vjp_all": op.joint} if op.vjps is None else {"vjp": op.vjps}
    forward = FORMULAS[op.recorded] if op.residuals else op.forward
    forgetful = Op(
        op.name,
        forward or str(op.signature)[1:-1],
        complex=op.complex,
        saves="" if op.vjps is None or op.variadic else [""] * len(op.arrays),
        outputs=op.outputs,
        residuals=op.residuals,
        kind=op.kind,
        **entry,
    )
    arrays = optable.prepared(op, optable.arrays_for(op, sample))
    if op.kind == "elementwise" and op.complex == "same":  # of real ones, some are only steps
        arrays = [a + 0.5j if a.dtype.kind == "f" else a for a in arrays]
    tensors = [gg.tensor(a, requires_grad=a.dtype.kind in "fc") for a in arrays]
    result = bind(forgetful)(*tensors, **sample.parameters)
    total = optable.scalar(result, optable.weights_for(result))
    with pytest.raises((TypeError, AttributeError, ValueError)):
        total.backward()


def test_a_declaration_is_what_is_kept(monkeypatch):
    """Every op keeps the arrays and residuals that its `saves` names and no others."""
    kept = {}

    def watched(op, parents, values, y, *rest):
        arrays = [
            i
            for i, (value, parent) in enumerate(zip_longest(values, parents))
            if value is not parent and not isinstance(value, ShapeDtype)
        ]
        kept[op.name] = (tuple(arrays), y is not None)
        return new_node(op, parents, values, y, *rest)

    monkeypatch.setattr(recording, "new_node", watched)
    for op, sample in optable.cases(differentiable=True):
        if op.outputs:
            continue
        tensors = optable.tensors_for(op, sample)
        optable.apply(op, sample, tensors)
        needs = tuple(tensor.requires_grad for tensor in tensors)
        if any(needs) and len(needs) == len(tensors) and op.name in kept:
            keep, y = op.keeps(needs)
            arrays = tuple(i for i, k in enumerate(keep) if k or needs[i : i + 1] == (False,))
            assert kept.pop(op.name) == (arrays, y), op.name


def test_an_argument_without_a_rule_is_a_constant():
    x = gg.ones(3, requires_grad=True)
    y = gg.where(gg.tensor(np.array([True, False, True])), x, 2.0)
    node = y._node
    assert node.parents[0] is None
    found = run_backward([(node, np.ones(3, np.float32))], targets=[x._node])
    assert found[x._node].tolist() == [1.0, 0.0, 1.0]


def test_an_entry_of_the_table_is_checked():
    with pytest.raises(ValueError, match="op bad: saves .*'z'"):
        Op("bad", "x, /", vjp=[lambda xp, g, y, x: g], saves="z")
    with pytest.raises(ValueError, match="op bad: kind must be one of .*'curved'"):
        Op("bad", "x, /", kind="curved")
    with pytest.raises(ValueError, match="op exp is in the table already"):
        enter("exp", "x, /")
    assert repr(Sample((2,), axis=0)) == "Sample((2,), axis=0)"


# (e) A rule for operands that are the same.


@pytest.mark.parametrize("name", [name for name, op in TABLE.items() if op.same])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("create_graph", [False, True])
def test_the_same_operand_twice_gets_the_sum_of_the_gradients(name, dtype, create_graph, device):
    values = np.array([[0.5, -2.0], [3.0, 0.0]]).astype(dtype)
    values = values + 0.25j if dtype == "complex128" else values
    g = gg.tensor(values[::-1] - 1, device=device)
    v = gg.tensor(values + 2, device=device)
    x, a, b = (gg.tensor(values, device=device, requires_grad=True) for _ in range(3))
    one = gg.gradients(FUNCTIONS[name](x, x), x, g, create_graph=create_graph)
    two = sum(gg.gradients(FUNCTIONS[name](a, b), (a, b), g, create_graph=create_graph))
    assert one.dtype == x.dtype
    np.testing.assert_allclose(one.detach().cpu().numpy(), two.detach().cpu().numpy(), rtol=1e-6)
    if create_graph:
        one, two = gg.gradients(one, x, v), sum(gg.gradients(two, (a, b), v))
        np.testing.assert_allclose(one.cpu().numpy(), two.cpu().numpy(), rtol=1e-6)
