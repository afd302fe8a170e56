"""Custom ops: rules of every form, second derivatives or their refusal, and wrong rules caught."""

import gc
import re
import threading

import numpy as np
import pytest
from devices import DEVICES

import gpugrad as gg
from gpugrad.autodiff import CustomOp
from gpugrad.backend.namespace import namespace_of


def on(device, *values, requires_grad=True):
    made = [gg.tensor(np.asarray(v, float), dtype="float64", device=device) for v in values]
    made = [t.requires_grad_(requires_grad) for t in made]
    return made[0] if len(made) == 1 else made


def same(tensor, expected, **tolerance):
    if not isinstance(tensor, gg.Tensor):
        tensor = gg.asarray(tensor)
    np.testing.assert_allclose(
        tensor.detach().cpu().numpy(), expected, **{"rtol": 1e-10, "atol": 1e-15} | tolerance
    )


def foreign(function):
    """A NumPy function that takes arrays of NumPy alone, as a compiled extension would."""

    def call(*arrays):
        for array in arrays:
            if type(array) is not np.ndarray:
                raise TypeError(f"expected numpy.ndarray, got {type(array).__name__}")
        return function(*arrays)

    return call


fsin, fcos = foreign(np.sin), foreign(np.cos)

cube = gg.custom_op(lambda xp, x: x * x * x, lambda xp, g, y, x: 3 * g * xp.square(x), name="cube")
# The same in every form that the rules may have.
product_forms = {
    "joint": gg.custom_op(
        lambda xp, a, b: a * xp.exp(b), lambda xp, g, y, a, b: (g * xp.exp(b), g * y)
    ),
    "list": gg.custom_op(
        lambda xp, a, b: a * xp.exp(b),
        [lambda xp, g, y, a, b: g * xp.exp(b), lambda xp, g, y, a, b: g * y],
    ),
    "saves": gg.custom_op(
        lambda xp, a, b: a * xp.exp(b),
        [lambda xp, g, y, a, b: g * xp.exp(b), lambda xp, g, y, a, b: g * y],
        saves=("b", "y"),
    ),
    "jvp": gg.custom_op(
        lambda xp, a, b: a * xp.exp(b), jvp=lambda xp, t, y, a, b: t[0] * xp.exp(b) + t[1] * y
    ),
    "elementwise jvp": gg.custom_op(
        lambda xp, a, b: a * xp.exp(b),
        jvp=lambda xp, t, y, a, b: t[0] * xp.exp(b) + t[1] * y,
        kind="elementwise",
    ),
    "both": gg.custom_op(
        lambda xp, a, b: a * xp.exp(b),
        lambda xp, g, y, a, b: (g * xp.exp(b), g * y),
        lambda xp, t, y, a, b: t[0] * xp.exp(b) + t[1] * y,
    ),
    "saved": gg.custom_op(
        lambda xp, a, b: gg.saved(a * (e := xp.exp(b)), e=e),
        lambda xp, g, y, a, b, e: (g * e, g * a * e),
        saves="a b",
    ),
    "saved jvp": gg.custom_op(
        lambda xp, a, b: gg.saved(a * (e := xp.exp(b)), e=e),
        jvp=lambda xp, t, y, a, b, e: t[0] * e + t[1] * a * e,
    ),
}  # fmt: skip
forms = pytest.mark.parametrize("op", product_forms.values(), ids=list(product_forms))


# ---------------------------------------------------------------- every form of rule


@forms
def test_value_and_gradients(device, op):
    a, b = on(device, [1.0, -2.0, 0.5], 0.3)
    y = op(a, b)
    same(y, a.detach().cpu().numpy() * np.exp(0.3))
    assert y.device == device
    (y * y).sum().backward()
    expected = 2 * np.exp(0.6) * np.array([1.0, -2.0, 0.5])
    same(a.grad, expected)
    same(b.grad, (expected * [1.0, -2.0, 0.5]).sum())


@forms
def test_gradcheck_of_both_orders(device, op):
    inputs = on(device, [[1.0, -2.0, 0.5], [0.2, 0.4, 1.1]], [0.3, 0.1, -0.4], requires_grad=False)
    assert gg.gradcheck(op, inputs)
    assert gg.gradgradcheck(op, inputs)


@forms
def test_third_order_and_forward_mode_agree_with_the_table(device, op):
    a, b = on(device, [1.0, -2.0], [0.3, 0.7], requires_grad=False)
    t = on(device, [0.4, -1.0], requires_grad=False)

    def third(f):
        return gg.grad(lambda b: (gg.hvp(lambda b: (f(a, b) ** 2).sum(), b, t) * t).sum())(b)

    def twice(f):  # forward over forward, by both arguments
        return gg.jvp(lambda a, b: gg.jvp(f, (a, b), (t, t))[1], (a, b), (t, t))[1]

    def table(a, b):
        return a * gg.exp(b)

    same(third(op), third(table).numpy())
    same(twice(op), twice(table).numpy())
    same(gg.jvp(op, (a, b), (t, t))[1], gg.jvp(table, (a, b), (t, t))[1].numpy())
    same(gg.jvp(lambda b: op(a, b), (b,), (t,))[1], (a * gg.exp(b) * t).numpy())


@forms
def test_an_argument_that_another_one_comes_from(device, op):
    """What is differentiated through the forward again must end at the arguments."""
    x = on(device, 0.7, requires_grad=False)

    def nested(f):
        once = gg.grad(lambda x: f(x, gg.sin(x)) ** 2)
        return gg.grad(gg.grad(once))(x)

    same(nested(op), nested(lambda a, b: a * gg.exp(b)).item())
    twice = nested(lambda a, b: op(b, b))
    same(twice, nested(lambda a, b: b * gg.exp(b)).item())


def test_a_rule_of_an_elementwise_op_gets_a_tangent_of_the_outputs_shape(device):
    shapes = []

    def vjp(xp, g, y, a, b):
        shapes.append((g.shape, y.shape))
        return g * b, g * a

    op = gg.custom_op(lambda xp, a, b: a * b, vjp, kind="elementwise")
    a, b = on(device, [[1.0], [2.0]], [3.0, 4.0, 5.0], requires_grad=False)
    _, tangent = gg.jvp(lambda a: op(a, b), (a,), (a,))
    same(tangent, [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]])
    assert set(shapes) == {((2, 3), (2, 3))}


def test_as_a_decorator(device):
    @gg.custom_op
    def half(xp, x):
        """x / 2."""
        return x / 2

    @half.defvjp
    def rule(xp, g, y, x):
        return g / 2

    @half.defjvp
    def tangent(xp, t, y, x):
        return t[0] / 2

    assert half.__name__ == "half"
    assert half.__doc__ == "x / 2."
    assert repr(half) == "<custom op half(x)>"
    assert callable(rule)
    assert callable(tangent)
    x = on(device, [2.0])
    half(x).backward()
    same(x.grad, [0.5])
    same(gg.jvp(half, (x.detach(),), (x.detach(),))[1], [1.0])

    @gg.custom_op(name="third", saves="")
    def f(xp, x):
        return x / 3

    f.defvjp(lambda xp, g, y, x: g / 3)
    assert isinstance(f, CustomOp)
    assert repr(f(x)).endswith("grad_fn=<third>)")


def test_rules_for_each_argument_given_apart():
    op = gg.custom_op(lambda xp, a, b: a * b)
    op.defvjp(lambda xp, g, y, a, b: g * b, lambda xp, g, y, a, b: g * a)
    assert gg.grad(op, argnums=(0, 1))(2.0, 3.0) == (3.0, 2.0)


def test_numbers_lists_and_raw_arrays_are_operands(device):
    x = on(device, [1.0, 2.0])
    add = gg.custom_op(lambda xp, a, b: a + b, lambda xp, g, y, a, b: (g, g), name="plus")
    same(add(x, 1), [2.0, 3.0])
    same(add([1.0, 1.0], x), [2.0, 3.0])
    same(add(x.data, x), [2.0, 4.0])
    assert add(1.0, 2.0).dtype == np.float32
    assert type(add(x.data, x.data)) is gg.Tensor
    with pytest.raises(gg.DTypeError, match="^plus: expected a Tensor, an array, .* got str"):
        add(x, "one")


def test_broadcast_gradients_are_reduced(device):
    a, b = on(device, np.ones((2, 1)), np.ones(3))
    op = gg.custom_op(lambda xp, a, b: a * b, lambda xp, g, y, a, b: (g * b, g * a))
    op(a, b).sum().backward()
    same(a.grad, np.full((2, 1), 3.0))
    same(b.grad, np.full(3, 2.0))


# ---------------------------------------------------------------- arguments without a derivative


def scaled(xp, x, mask, n=2, *, mode="sum", weights=None):
    y = xp.where(mask, x**n, xp.zeros_like(x))
    if weights is not None:
        y = y * weights
    return xp.sum(y) if mode == "sum" else y


def scaled_vjp(xp, g, y, x, mask, n, mode, weights):
    d = xp.where(mask, g * n * x ** (n - 1), xp.zeros_like(x))
    return (d if weights is None else d * weights), None


def test_masks_integers_and_parameters(device):
    op = gg.custom_op(scaled, scaled_vjp)
    x = on(device, [1.0, 2.0, 3.0])
    mask = device.send(np.array([True, False, True]))
    op(x, mask).backward()
    same(x.grad, [2.0, 0.0, 6.0])
    x.grad = None
    op(x, mask, 3, mode="none").sum().backward()
    same(x.grad, [3.0, 0.0, 27.0])
    x.grad = None
    weights = on(device, [10.0, 1.0, 1.0], requires_grad=False)
    op(x=x, mask=mask, n=1, weights=weights).backward()
    same(x.grad, [10.0, 0.0, 1.0])
    assert gg.gradgradcheck(lambda x: op(x, mask, 3), x.detach())


def test_none_in_the_list_makes_an_argument_a_constant():
    op = gg.custom_op(lambda xp, a, b: a * b, [lambda xp, g, y, a, b: g * b, None])
    a, b = gg.tensor([2.0, 3.0], requires_grad=True), gg.tensor([5.0, 7.0], requires_grad=True)
    op(a, b).sum().backward()
    same(a.grad, [5.0, 7.0])
    assert b.grad is None
    assert not op(a.detach(), b).requires_grad


def test_none_from_a_joint_vjp_is_zero(device):
    for zero in (None, 0, 0.0):
        step = gg.custom_op(lambda xp, x: xp.floor(x), lambda xp, g, y, x, zero=zero: zero)
        x = on(device, [1.5, 2.5])
        (d,) = gg.gradients((step(x) * x * x).sum(), [x], create_graph=True)
        same(d, [3.0, 10.0])
        (d,) = gg.gradients(d.sum(), [x])
        same(d, [2.0, 4.0])
    assert gg.jvp(step, (x.detach(),), (x.detach(),))[1].tolist() == [0.0, 0.0]


def test_a_parameter_that_requires_a_gradient_is_refused():
    op = gg.custom_op(
        lambda xp, x, scale=1.0: x * scale, lambda xp, g, y, x, scale: g * scale, name="s"
    )
    x, w = gg.tensor([1.0], requires_grad=True), gg.tensor([2.0], requires_grad=True)
    for scale in (w, [1.0, w]):
        with pytest.raises(
            gg.GradientError, match="'s': its parameter 'scale' is a tensor that requires"
        ):
            op(x, scale=scale)
    op(x, scale=w.detach()).backward()
    same(x.grad, [2.0])


def test_optional_arrays_stand_before_the_slash(device):
    def forward(xp, x, bias=None, /, power=1):
        return x**power if bias is None else x**power + bias

    def vjp(xp, g, y, x, bias, power):
        return g * power * x ** (power - 1), None if bias is None else g

    op = gg.custom_op(forward, vjp)
    x, b = on(device, [1.0, 2.0], [0.0, 0.0])
    op(x).sum().backward()
    op(x, b, power=2).sum().backward()
    same(x.grad, [3.0, 5.0])
    same(b.grad, [1.0, 1.0])


def test_any_number_of_arrays(device):
    def total(xp, first, *rest, factor=1.0):
        for other in rest:
            first = first + other * other
        return first * factor

    def vjp(xp, g, y, first, *rest, factor):
        return (g * factor, *(2 * g * other * factor for other in rest))

    for saves in (None, "rest"):
        op = gg.custom_op(total, vjp, saves=saves)
        inputs = on(device, [1.0, 2.0], [3.0, 4.0], [5.0, 6.0], requires_grad=False)
        assert gg.gradcheck(lambda *a, op=op: op(*a, factor=2.0), inputs)
        assert gg.gradgradcheck(lambda *a, op=op: op(*a, factor=2.0), inputs)
        same(op(inputs[0]), [1.0, 2.0])


def test_twelve_arguments():
    names = ", ".join(f"x{i}" for i in range(12))
    forward = eval(f"lambda xp, {names}: sum([{names}])")
    op = gg.custom_op(forward, eval(f"lambda xp, g, y, {names}: [g] * 12"))
    xs = [gg.tensor(float(i), requires_grad=True) for i in range(12)]
    op(*xs).backward()
    assert [x.grad.item() for x in xs] == [1.0] * 12


# ---------------------------------------------------------------- several outputs


def polar(xp, x, y):
    r = xp.sqrt(x * x + y * y)
    return r, xp.arctan2(y, x)


def polar_vjp(xp, g, out, x, y):
    (gr, ga), (r, _) = g, out
    return gr * x / r - ga * y / r**2, gr * y / r + ga * x / r**2


def test_several_outputs(device):
    op = (
        gg.custom_op(polar, polar_vjp, saves="x y y", name="polar")
        if False
        else gg.custom_op(polar, polar_vjp, name="polar")
    )
    inputs = on(device, [1.0, -2.0], [0.5, 3.0], requires_grad=False)
    assert gg.gradcheck(op, inputs)
    assert gg.gradgradcheck(op, inputs)
    x, y = on(device, [1.0, -2.0], [0.5, 3.0])
    r, _ = op(x, y)
    assert "grad_fn=<polar>" in repr(r)
    r.sum().backward()  # one output alone
    same(x.grad, np.array([1.0, -2.0]) / np.hypot([1.0, -2.0], [0.5, 3.0]))
    (_, angle), (dr, da) = gg.jvp(op, tuple(inputs), (inputs[0], inputs[1]))
    same(dr, np.hypot([1.0, -2.0], [0.5, 3.0]))
    same(da, [0.0, 0.0], atol=1e-12)
    same(angle, np.arctan2([0.5, 3.0], [1.0, -2.0]))


def test_the_number_of_outputs_may_depend_on_the_call(device):
    def powers(xp, x, count=1):
        return x if count == 0 else tuple(x ** (i + 1) for i in range(count))

    def vjp(xp, g, y, x, count):
        if count == 0:
            return g
        return sum(part * (i + 1) * x**i for i, part in enumerate(g))

    op = gg.custom_op(powers, vjp)
    x = on(device, [2.0, 3.0], requires_grad=False)
    assert isinstance(op(x, count=0), gg.Tensor)
    for count in (1, 2, 4):
        assert len(op(x, count=count)) == count
        assert gg.gradcheck(lambda x, n=count: op(x, count=n), x)
        assert gg.gradgradcheck(lambda x, n=count: op(x, count=n), x)


def test_integer_outputs_have_no_gradient(device):
    def peak(xp, x):
        index = xp.argmax(x)
        return gg.saved((xp.max(x), index), index=index)

    def vjp(xp, g, y, x, index):
        return g[0] * xp.where(xp.asarray(_steps(x)) == index, 1.0, 0.0)

    def _steps(x):
        raw = x.data if isinstance(x, gg.Tensor) else x
        return namespace_of(raw).arange(raw.shape[0])

    op = gg.custom_op(peak, vjp)
    x = on(device, [1.0, 5.0, 2.0])
    top, index = op(x)
    assert not index.requires_grad
    top.backward()
    same(x.grad, [0.0, 1.0, 0.0])


# ---------------------------------------------------------------- saved values


def test_saved_values_are_computed_once(device):
    calls = []

    def forward(xp, x):
        calls.append(xp)
        return gg.saved(xp.sin(x), c=xp.cos(x))

    op = gg.custom_op(forward, lambda xp, g, y, x, c: g * c, saves="")
    x = on(device, [0.3, 0.4])
    op(x).sum().backward()
    same(x.grad, np.cos([0.3, 0.4]))
    assert len(calls) == 1


def test_what_is_not_saved_is_not_kept(device):
    seen = []

    def vjp(xp, g, y, x, c):
        seen.append((hasattr(x, "ndim"), hasattr(y, "ndim"), x.shape, y.dtype))
        return g * c

    op = gg.custom_op(lambda xp, x: gg.saved(xp.sin(x), c=xp.cos(x)), vjp, saves="")
    x = on(device, [0.3])
    op(x).sum().backward()
    assert seen == [(False, False, (1,), np.float64)]


@pytest.mark.parametrize("what", ["x", "y", "c", "mask"])
def test_a_change_of_what_was_saved_raises(device, what):
    kept = {}

    def forward(xp, x, mask=None):
        kept["c"] = xp.cos(x)
        return gg.saved(xp.sin(x) * mask, c=kept["c"])

    op = gg.custom_op(forward, lambda xp, g, y, x, c, mask: g * c * mask, name="wave")
    x, mask = on(device, [0.3, 0.4]), on(device, [1.0, 2.0], requires_grad=False)
    y = op(x, mask=mask)
    target = {"x": x, "y": y.detach(), "mask": mask}.get(what)
    with gg.no_grad():
        if what == "c":
            target = gg.asarray(kept["c"])
        target += 1
    said = {
        "x": "its argument 'x'", "y": "its output", "c": "its saved value 'c'",
        "mask": "its argument 'mask'",
    }[what]  # fmt: skip
    with pytest.raises(gg.GradientError, match=f"wave needs {said}.* was changed in place"):
        y.sum().backward()


@pytest.mark.parametrize("saves", ["x", "y", ""])
def test_what_was_not_saved_may_change(device, saves):
    op = gg.custom_op(lambda xp, x: 2 * x, lambda xp, g, y, x: 2 * g, saves=saves)
    x = on(device, [0.3])
    y = op(x)
    with gg.no_grad():
        if saves != "x":
            x += 1
        if saves != "y":
            y.detach()[...] = 0
    y.backward()
    same(x.grad, [2.0])


def test_the_derivative_of_a_saved_value_needs_a_forward_written_with_xp():
    op = gg.custom_op(
        lambda xp, x: gg.saved(fsin(x), c=fcos(x)), lambda xp, g, y, x, c: g * c, name="wave"
    )
    x = gg.tensor([0.3], requires_grad=True)
    (d,) = gg.gradients(op(x).sum(), [x], create_graph=True)
    same(d, np.cos([0.3]), rtol=1e-6)
    with pytest.raises(
        gg.GradientError,
        match="second derivative of custom op 'wave': its vjp uses the saved 'c', and its forward"
        r".* not written with xp.*\(TypeError: expected numpy.ndarray, got Tensor\)",
    ):
        d.backward()


def test_forward_mode_to_a_saved_value_needs_it_too():
    op = gg.custom_op(
        lambda xp, x: gg.saved(xp.sin(x), c=gg.tensor(fcos(gg.asarray(x).detach().data))),
        lambda xp, g, y, x, c: g * c,
        name="wave",
    )
    assert gg.jvp(op, (0.3,), (1.0,))[1] == pytest.approx(np.cos(0.3))
    with pytest.raises(gg.GradientError, match="'wave': its vjp uses the saved 'c'"):
        gg.jvp(gg.grad(op), (0.3,), (1.0,))


def test_saved_values_have_names_of_their_own():
    op = gg.custom_op(lambda xp, x, n=1: gg.saved(x, n=x), name="twice")
    with pytest.raises(ValueError, match="'twice': its forward saved 'n', which is the name of a"):
        op(gg.tensor([1.0]))


# ---------------------------------------------------------------- rules not written with xp


def test_a_foreign_vjp_is_never_differentiated_silently():
    op = gg.custom_op(lambda xp, x: fsin(x), lambda xp, g, y, x: g * fcos(x), name="foreign")
    x = gg.tensor([0.3], requires_grad=True, dtype="float64")
    (d,) = gg.gradients(op(x), [x], create_graph=True)
    same(d, np.cos([0.3]))
    with pytest.raises(
        gg.GradientError,
        match=r"^second derivative of custom op 'foreign': its vjp is not written with xp "
        r"\(TypeError: expected numpy.ndarray, got Tensor\), so it cannot be differentiated "
        "itself. Write it with the functions of xp, or wrap what it calls in a gg.custom_op of "
        "its own$",
    ):
        d.backward()


def unboxed(x):
    return x.detach().data if isinstance(x, gg.Tensor) else x


LEAKS = {
    "raw array": lambda xp, g, y, x: unboxed(g) * fcos(unboxed(x)),
    "tensor apart": lambda xp, g, y, x: gg.tensor(unboxed(g) * fcos(unboxed(x))),
    "float": lambda xp, g, y, x: g * np.cos(float(x)),
    "item": lambda xp, g, y, x: g * np.cos(x.item()),
    "tolist": lambda xp, g, y, x: g * np.cos(x.tolist()),
    "math": lambda xp, g, y, x: g * __import__("math").cos((x + 0)[()]),
    "asarray": lambda xp, g, y, x: g * np.cos(np.asarray(x)),
    "out": lambda xp, g, y, x: np.multiply(g, np.cos(x), out=np.empty(x.shape)),
}


@pytest.mark.parametrize("vjp", LEAKS.values(), ids=list(LEAKS))
@pytest.mark.parametrize("seeded", [False, True])
def test_a_constant_in_disguise_is_caught(vjp, seeded):
    """Rules that are right to first order, and would give a second derivative of zero."""
    op = gg.custom_op(lambda xp, x: xp.sin(x), vjp, name="sine")
    x = gg.tensor(0.3, requires_grad=True, dtype="float64")
    y = op(x)
    if seeded:  # the gradient that comes in depends on x as well
        y = y * gg.exp(x)
    (d,) = gg.gradients(y, [x], create_graph=True)
    same(d, np.exp(0.3) * (np.cos(0.3) + np.sin(0.3)) if seeded else np.cos(0.3))
    with pytest.raises(gg.GradientError, match="second derivative of custom op 'sine'.*with xp"):
        d.backward()


def test_the_error_says_what_a_rule_gave():
    for leak, said in {
        "raw array": "the gradient of 'x' is a numpy.float64",
        "tensor apart": "the gradient of 'x' does not depend on g; where it is zero, return None",
    }.items():
        op = gg.custom_op(lambda xp, x: xp.sin(x), LEAKS[leak])
        with pytest.raises(gg.GradientError, match=re.escape(f"with xp ({said}), so it cannot")):
            gg.grad(gg.grad(op))(0.3)


def test_numpy_protocols_are_xp_enough(device):
    op = gg.custom_op(lambda xp, x: xp.sin(x), lambda xp, g, y, x: g * np.cos(x))
    if device.kind == "cpu":
        assert gg.gradgradcheck(op, on(device, [0.3, 2.0], requires_grad=False))


def test_the_way_out_is_an_op_for_the_derivative(device):
    sine = gg.custom_op(lambda xp, x: fsin(x), name="sine", host=True)
    cosine = gg.custom_op(lambda xp, x: fcos(x), lambda xp, g, y, x: -g * sine(x), host=True)
    sine.defvjp(lambda xp, g, y, x: g * cosine(x))
    x = on(device, [0.3, 2.0], requires_grad=False)
    assert gg.gradgradcheck(sine, x)
    same(gg.grad(gg.grad(gg.grad(sine)))(x[0]), -np.cos(0.3))
    same(gg.jvp(lambda x: gg.jvp(sine, (x,), (x,))[1], (x,), (x,))[1],
         (lambda x: -np.sin(x) * x * x + np.cos(x) * x)(np.array([0.3, 2.0])))  # fmt: skip


def test_a_linear_op_has_derivatives_of_any_order(device):
    def blur(xp, x):
        return np.convolve(x, [0.25, 0.5, 0.3], mode="same")

    def back(xp, g, y, x):
        return np.correlate(g, [0.25, 0.5, 0.3], mode="same")

    op = gg.custom_op(blur, back, kind="linear", host=True)
    x = on(device, [1.0, 3.0, -2.0, 0.5], requires_grad=False)
    assert gg.gradcheck(op, x)
    assert gg.gradgradcheck(lambda x: op(x) ** 3, x)
    matrix = np.stack([np.convolve(e, [0.25, 0.5, 0.3], mode="same") for e in np.eye(4)], 1)
    same(gg.jacobian(op, mode="forward")(x), matrix)
    same(gg.jacobian(op, mode="reverse")(x), matrix)
    y = matrix @ x.cpu().numpy()
    same(gg.hessian(lambda x: (op(x) ** 3).sum())(x), matrix.T @ np.diag(6 * y) @ matrix)


def test_a_linear_op_with_parameters_and_saved_values(device):
    def mix(xp, x, *, weights, shift=0):
        return gg.saved(np.roll(x * weights, shift), kernel=weights * 1.0)

    def back(xp, g, y, x, kernel, weights, shift):
        assert type(kernel) is np.ndarray
        return np.roll(g, -shift) * kernel

    op = gg.custom_op(mix, back, kind="linear", host=True)
    x, w = on(device, [1.0, 3.0, -2.0], [2.0, 0.5, -1.0], requires_grad=False)
    assert gg.gradgradcheck(lambda x: op(x, weights=w, shift=1) ** 3, x)
    table = lambda x: gg.roll(x * w, 1) ** 3  # noqa: E731
    expected = gg.hessian(lambda x: table(x).sum())(x)
    same(gg.hessian(lambda x: (op(x, weights=w, shift=1) ** 3).sum())(x), expected.cpu().numpy())


def test_forward_mode_of_foreign_rules(device):
    x, t = on(device, [0.3, 2.0], [1.0, -1.0], requires_grad=False)
    expected = np.cos([0.3, 2.0]) * [1.0, -1.0]
    by = {
        "vjp": gg.custom_op(
            lambda xp, x: fsin(x), lambda xp, g, y, x: g * fcos(x), kind="elementwise", host=True
        ),
        "jvp": gg.custom_op(
            lambda xp, x: fsin(x), jvp=lambda xp, t, y, x: t[0] * fcos(x), host=True
        ),
    }
    for op in by.values():
        same(gg.jvp(op, (x,), (t,))[1], expected)
    with pytest.raises(gg.GradientError, match="derivative of the jvp of custom op.*not written"):
        gg.grad(lambda x: gg.jvp(by["jvp"], (x,), (t,))[1].sum())(x)
    pulled = gg.custom_op(lambda xp, x: fsin(x), lambda xp, g, y, x: g * fcos(x), host=True)
    if device.kind == "cpu":  # the constant is an array to the rule, the gradient a Tensor
        same(gg.jvp(pulled, (x,), (t,))[1], expected)
    else:
        with pytest.raises(gg.GradientError, match='forward mode of custom op.*kind="elementwise"'):
            gg.jvp(pulled, (x,), (t,))


def test_a_foreign_jvp_gives_the_vjp_of_an_elementwise_op_alone():
    rule = {"jvp": lambda xp, t, y, x: fcos(x) * t[0], "name": "sine"}
    x = gg.tensor([0.3], requires_grad=True, dtype="float64")
    gg.custom_op(lambda xp, x: fsin(x), **rule, kind="elementwise")(x).backward()
    same(x.grad, np.cos([0.3]))
    with pytest.raises(
        gg.GradientError,
        match=r"'sine': it has no vjp, and none can be had from its jvp, which is not written "
        r"with xp \(TypeError: expected numpy.ndarray, got Tensor\). Write it so, or give a vjp",
    ):
        gg.custom_op(lambda xp, x: fsin(x), **rule)(x).backward()
    lost = gg.custom_op(lambda xp, x: x, jvp=lambda xp, t, y, x: gg.tensor([1.0]), name="lost")
    with pytest.raises(gg.GradientError, match="result does not depend on the tangents"):
        lost(x).backward()


def test_without_rules_only_a_derivative_raises(device):
    op = gg.custom_op(lambda xp, x: xp.sin(x), name="bare")
    x = on(device, [0.3])
    y = op(x)
    same(y, np.sin([0.3]))
    assert y.requires_grad
    message = (
        "^custom op 'bare': its derivative is asked for, and it has none. Give it a vjp, as in "
        r"gg.custom_op\(forward, vjp=...\), or a jvp$"
    )
    with pytest.raises(gg.GradientError, match=message):
        y.backward(retain_graph=True)
    with pytest.raises(gg.GradientError, match=message):
        y.backward(create_graph=True)
    with pytest.raises(gg.GradientError, match=message):
        gg.jvp(op, (x.detach(),), (x.detach(),))
    with gg.no_grad():
        assert not op(x).requires_grad
    op.defvjp(lambda xp, g, y, x: g * xp.cos(x))
    y.backward()  # a rule that came later serves
    same(x.grad, np.cos([0.3]))


# ---------------------------------------------------------------- wrong rules


def broken(vjp, **options):
    return gg.custom_op(lambda xp, a, b: a * b, vjp, name="broken", **options)


@pytest.mark.parametrize(
    ("vjp", "said"),
    [
        (lambda xp, g, y, a, b: g, "'broken': its vjp gave one ndarray; expected a tuple of 2 "),
        (lambda xp, g, y, a, b: (g, g, g), "vjp gave 3; expected a tuple of 2 gradients, one for "),
        (lambda xp, g, y, a, b: None, "vjp gave one NoneType; expected a tuple of 2 gradients"),
    ],
)
def test_the_number_of_gradients_is_checked(device, vjp, said):
    a, b = on(device, [1.0, 2.0], [3.0, 4.0])
    with pytest.raises(gg.GradientError, match=said):
        broken(vjp)(a, b).sum().backward()


def test_the_shape_of_a_gradient_is_checked(device):
    a, b = on(device, [1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    op = broken(lambda xp, g, y, a, b: (g * b, (g * a)[:2]))
    said = (
        "custom op 'broken': its vjp gave a gradient of shape (2,) for its argument 'b' of shape "
        "(3,): expected that shape, or one that broadcasting leads to from it"
    )
    for create_graph in (False, True):
        with pytest.raises(gg.ShapeError, match=re.escape(said)):
            op(a, b).sum().backward(create_graph=create_graph)
    each = broken([None, lambda xp, g, y, a, b: xp.stack([g, g], axis=1)])
    with pytest.raises(gg.ShapeError, match=r"of shape \(3, 2\) for its argument 'b'"):
        each(a, b).sum().backward()


@pytest.mark.parametrize(
    ("d", "error", "said"),
    [
        ("text", gg.DTypeError, "for its argument 'a', gave str; expected an array or a number"),
        ([1.0, 2.0], gg.DTypeError, "for its argument 'a', gave list; expected an array"),
        (np.array([1j, 2j]), gg.DTypeError, "a complex gradient for its argument 'a', which is re"),
        (np.array(["a", "b"]), gg.DTypeError, "gave an array of dtype <U1; expected numbers"),
    ],
)
def test_a_gradient_is_a_real_array(d, error, said):
    a, b = on("cpu", [1.0, 2.0], [3.0, 4.0])
    with pytest.raises(error, match=said):
        broken(lambda xp, g, y, a, b: (d, g))(a, b).sum().backward()


@pytest.mark.parametrize(
    ("result", "error", "said"),
    [
        (None, gg.DTypeError, "custom op 'odd': its forward gave NoneType; expected an array or a"),
        ({"a": 1}, gg.DTypeError, "its forward gave dict"),
        (np.array([None]), gg.DTypeError, "an array of dtype object; expected numbers"),
        ((), gg.ShapeError, "its forward gave no output; expected an array, or a tuple of arrays"),
        (gg.saved(1.0, bad="x"), gg.DTypeError, "its forward, to be saved as 'bad', gave str"),
    ],
)
def test_what_forward_returns_is_checked(result, error, said):
    op = gg.custom_op(lambda xp, x: result, name="odd")
    with pytest.raises(error, match=said):
        op(gg.tensor([1.0]))


def test_numbers_become_arrays(device):
    x = on(device, [1.0, 2.0])
    for value, dtype in (
        (2.5, "float64"),
        (3, "int64"),
        (True, "bool"),
        (np.float32(2), "float32"),
    ):
        y = gg.custom_op(lambda xp, x, v=value: v)(x)
        assert (y.shape, y.dtype, y.device) == ((), np.dtype(dtype), device)
    half = gg.custom_op(lambda xp, x: 0.5, lambda xp, g, y, x: 2.0)
    x32 = gg.tensor([1.0, 2.0], device=device, requires_grad=True)
    assert half(x32).dtype == np.float32
    half(x32).backward()  # a gradient that is a number
    assert x32.grad.dtype == np.float32
    same(x32.grad, [2.0, 2.0])


@pytest.mark.parametrize("name", [d for d in DEVICES if d != "cpu"])
def test_results_stay_on_the_device(name):
    x = on(name, [1.0, 2.0])
    op = gg.custom_op(lambda xp, x: np.ones(2), name="astray")
    with pytest.raises(
        gg.DeviceError,
        match=rf"'astray': its forward gave an array on cpu, but its arguments are on {x.device}. "
        "Compute with the functions of xp; for a function that knows only NumPy pass host=True",
    ):
        op(x)
    op = gg.custom_op(lambda xp, x: x, lambda xp, g, y, x: np.ones(2), name="astray")
    with pytest.raises(gg.DeviceError, match="its vjp, for its argument 'x', gave an array on cpu"):
        op(x).sum().backward()
    with pytest.raises(gg.DeviceError, match="^mixed: (the )?operands are on two devices"):
        gg.custom_op(lambda xp, a, b: a, name="mixed")(x, np.ones(2))


def test_the_host_gets_numpy_arrays(device):
    seen = []

    def forward(xp, x, table=None):
        seen.append((xp.module.__name__, type(x), type(table)))
        return gg.saved(np.sin(x) * table, c=np.cos(x))

    def vjp(xp, g, y, x, c, table):
        seen.append((xp.module.__name__, *map(type, (g, y, x, c, table))))
        return g * c * table

    op = gg.custom_op(forward, vjp, host=True)
    x, table = on(device, [0.3, 0.4]), on(device, [2.0, 3.0], requires_grad=False)
    y = op(x, table=table)
    y.sum().backward()
    assert y.device == x.grad.device == device
    same(x.grad, np.cos([0.3, 0.4]) * [2.0, 3.0])
    assert seen == [("numpy", *[np.ndarray] * 2), ("numpy", *[np.ndarray] * 5)]


def test_a_wrong_derivative_is_found_by_gradcheck(device):
    wrong = gg.custom_op(lambda xp, x: x * x * x, lambda xp, g, y, x: 2 * g * x * x, name="wrong")
    with pytest.raises(gg.GradientError, match="wrong"):
        gg.gradcheck(wrong, on(device, [0.3, 2.0], requires_grad=False))
    # Right to first order; the gradient's own derivative by g is left out.
    second = gg.custom_op(lambda xp, x: x * x, lambda xp, g, y, x: 2 * xp.asarray(g) * x.detach()
                          if isinstance(x, gg.Tensor) else 2 * g * x)  # fmt: skip
    x = on(device, [0.3, 2.0], requires_grad=False)
    assert gg.gradcheck(second, x)
    with pytest.raises(gg.GradientError):
        gg.gradgradcheck(second, x)


def test_a_wrong_tangent_is_refused(device):
    x = on(device, [0.3, 2.0], requires_grad=False)
    op = gg.custom_op(lambda xp, x: x, jvp=lambda xp, t, y, x: xp.stack([t[0]] * 3), name="wide")
    with pytest.raises(
        gg.ShapeError, match=r"'wide': its jvp gave a tangent of shape \(3, 2\) for an output of "
    ):
        gg.jvp(op, (x,), (x,))
    two = gg.custom_op(lambda xp, x: (x, x), jvp=lambda xp, t, y, x: t[0], name="two")
    with pytest.raises(gg.GradientError, match="'two': its jvp must give a tuple of 2 tangents"):
        gg.jvp(two, (x,), (x,))


def identity(vjp=None, jvp=None):
    return gg.custom_op(lambda xp, x: x, vjp, jvp, name="f")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: gg.custom_op(3), r"expected a function forward\(xp, \*arrays\), got int"),
        (lambda: gg.custom_op(lambda: 1), "'custom_op': forward must take the namespace first"),
        (lambda: gg.custom_op(lambda *a: 1), "'custom_op': forward must take the namespace first"),
        (lambda: gg.custom_op(lambda xp: 1), "forward takes no arrays; got .* unless a / follows"),
        (lambda: gg.custom_op(lambda xp, x=1: 1), "forward takes no arrays"),
        (lambda: gg.custom_op(max), "arguments of <built-in function max> cannot be read. Wrap it"),
        (lambda: identity(3), "'f': expected a function as vjp, got int"),
        (lambda: identity(jvp=3), "'f': expected a function as jvp, got int"),
        (
            lambda: gg.custom_op(lambda xp, a, b: a, [None]),
            r"a vjp for each of its 2 array arguments \(a, b\), got 1; None where",
        ),
        (lambda: gg.custom_op(lambda xp, *a: a, [None]), "vjp must be one function that returns"),
        (
            lambda: gg.custom_op(lambda xp, x, n=1: x, lambda xp, g, y, x: g, name="f"),
            r"'f': its vjp is called as vjp\(xp, g, y, x, n=n\), but takes \(xp, g, y, x\): got "
            "an unexpected keyword argument 'n'",
        ),
        (
            lambda: identity(lambda xp, g, x: g),
            r"vjp\(xp, g, y, x\), but takes \(xp, g, x\): too many positional arguments",
        ),
        (lambda: identity(jvp=lambda xp, t: t), r"jvp\(xp, tangents, y, x\), but takes \(xp, t\)"),
        (lambda: identity()(1, 2), r"^f\(x\): too many positional arguments"),
        (lambda: identity()(), r"^f\(x\): missing a required argument"),
    ],
)
def test_misuse_gets_a_sentence(make, said):
    with pytest.raises(TypeError, match=said):
        make()


def test_options_are_checked():
    with pytest.raises(ValueError, match="kind must be 'general', 'elementwise' or 'linear', got"):
        gg.custom_op(lambda xp, x: x, kind="affine")
    with pytest.raises(ValueError, match="saves"):
        gg.custom_op(lambda xp, x: x, saves="z")


# ---------------------------------------------------------------- errors and modes


class Boom(Exception):  # noqa: N818
    pass


def boom(*args, **kwargs):
    gg.set_grad_enabled(False)
    raise Boom("mine")


@pytest.mark.parametrize("create_graph", [False, True])
def test_exceptions_pass_unchanged_with_a_note(device, create_graph):
    x = on(device, [1.0])
    with pytest.raises(Boom, match="^mine\n") as caught:
        gg.custom_op(lambda xp, x: boom(), name="b")(x)
    assert caught.value.__notes__ == ["in the forward of custom op 'b'"]
    assert gg.is_grad_enabled()
    y = gg.custom_op(lambda xp, x: x, lambda xp, g, y, x: boom(), name="b")(x)
    with pytest.raises(Boom, match="^mine\n") as caught:
        y.backward(create_graph=create_graph)
    assert caught.value.__notes__ == ["in the vjp of custom op 'b'"]
    assert gg.is_grad_enabled()
    with gg.no_grad(), pytest.raises(Boom):
        gg.custom_op(lambda xp, x: boom(), name="b")(x)
    op = gg.custom_op(lambda xp, x: x, jvp=lambda xp, t, y, x: boom(), name="b")
    with pytest.raises(Boom) as caught:
        gg.jvp(op, (x.detach(),), (x.detach(),))
    assert caught.value.__notes__ == ["in the jvp of custom op 'b'"]
    assert gg.is_grad_enabled()
    (x * x).backward()
    same(x.grad, [2.0])


def test_an_array_librarys_error_passes_unchanged(device):
    a, b = on(device, [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="broadcast") as caught:
        gg.custom_op(lambda xp, a, b: a + b, name="plus")(a, b)
    assert caught.value.__notes__ == ["in the forward of custom op 'plus'"]


def test_nothing_is_recorded_inside_the_functions(device):
    modes = []

    def forward(xp, x):
        modes.append(gg.is_grad_enabled())
        return gg.exp(x)  # gpugrad's own functions take raw arrays too

    op = gg.custom_op(forward, lambda xp, g, y, x: g * y)
    x = on(device, [0.5])
    with gg.enable_grad():
        op(x).backward()
    assert modes == [False]
    same(x.grad, np.exp([0.5]))


def test_custom_ops_inside_others(device):
    outer = gg.custom_op(
        lambda xp, x: cube(x) * 2, lambda xp, g, y, x: g * 6 * xp.square(x), name="outer"
    )
    x = on(device, [0.5, 2.0], requires_grad=False)
    assert gg.gradgradcheck(outer, x)
    assert gg.gradgradcheck(lambda x: cube(outer(x)) + cube(x), x)


def test_threads_have_calls_of_their_own():
    found = {}

    def work(number):
        for _ in range(20):
            x = gg.tensor(float(number), requires_grad=True)
            product_forms["saved"](x, 0.0).backward()
            cube(x).backward()
            found[number] = x.grad.item()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: 1.0 + 3.0 * n * n for n in range(1, 5)}


# ---------------------------------------------------------------- in the rest of gpugrad


def test_drawn_and_explained_by_name(device):
    x = on(device, [1.0, 2.0])
    x.name = "x"
    saved = gg.custom_op(
        lambda xp, x, n=1: gg.saved(xp.sin(x) * n, c=xp.cos(x)),
        lambda xp, g, y, x, c, n: g * c * n,
        name="wave",
        saves="",
    )
    two = gg.custom_op(
        lambda xp, x: (x + 1, x * x),
        lambda xp, g, y, x: g[0] + 2 * g[1] * x,
        name="pair",
        saves="x",
    )
    a, b = two(cube(saved(x, n=2)))
    loss = (a * b).sum()
    text = str(gg.explain(loss))
    assert "wave = wave(x, n=2)" in text
    assert "cube = cube(wave)" in text
    assert "pair(cube)[0]" in text
    assert "pair(cube)[1]" in text
    picture = str(gg.draw(loss))
    for name in ("wave", "cube", "pair"):
        assert picture.count(f'[label="{name}", shape=ellipse') == 1
    w = 2 * np.sin([1.0, 2.0])
    same(gg.explain(a.sum()).values["cube"], w**3)
    found = gg.explain(loss).derivatives["x"]
    loss.backward()
    same(found, x.grad.cpu().numpy())


def test_values_are_recomputed_for_drawings_where_they_were_not_kept(device):
    op = gg.custom_op(
        lambda xp, x: gg.saved((x + 1, 3 * x), d=x), lambda xp, g, y, x, d: g[0] + 3 * g[1],
        saves="", name="pair",
    )  # fmt: skip
    x = on(device, [1.0])
    a, _ = op(x)
    middle = a + 0
    assert gg.explain(middle.sum()).values["pair"] == 2.0


def test_anomaly_names_the_op():
    op = gg.custom_op(lambda xp, x: xp.sqrt(x), lambda xp, g, y, x: g / (x - x), name="bad_slope")
    x = gg.tensor([1.0], requires_grad=True)
    with np.errstate(divide="ignore"), gg.detect_anomaly():
        y = op(x)
        with pytest.raises(gg.errors.AnomalyError, match="bad_slope"):
            y.backward()
    poles = gg.custom_op(lambda xp, x: 1 / (x - x), lambda xp, g, y, x: g, name="poles")
    named = pytest.raises(gg.errors.AnomalyError, match="poles")
    with np.errstate(divide="ignore"), gg.detect_anomaly(), named:
        poles(x)


def test_graphs_are_freed_without_the_garbage_collector(device):
    def differentiate():
        for op in (*product_forms.values(), cube):
            a, b = on(device, [1.0], [2.0])
            arguments = (a,) if op is cube else (a, b)
            y = op(*arguments).sum()
            ds = gg.gradients(y, [a], create_graph=True)
            ds[0].backward()
        x = on(device, [1.0, 2.0])
        linear = gg.custom_op(
            lambda xp, x: np.flip(x), lambda xp, g, y, x: np.flip(g), kind="linear", host=True
        )
        linear.adjoint  # made once for each op
        gc.collect()
        (d,) = gg.gradients((linear(x) ** 3).sum(), [x], create_graph=True)
        d.sum().backward()
        return linear

    kept = [differentiate()]  # a GPU's kernels are compiled
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        kept.append(differentiate())
        assert gc.collect() == 0
        assert len(gc.get_objects()) - before < 400
    finally:
        gc.enable()


def test_freed_graphs_say_so(device):
    x = on(device, [1.0])
    y = product_forms["saved"](x, x)
    y.backward()
    with pytest.raises(gg.GradientError, match="freed by an earlier backward pass"):
        y.backward()


def test_leaves_do_not_share_a_gradient(device):
    op = gg.custom_op(lambda xp, a, b: a + b, lambda xp, g, y, a, b: (g, g))
    a, b = on(device, [1.0], [2.0])
    op(a, b).backward()
    a.grad += 1
    same(b.grad, [1.0])


def test_checkpoint_and_hooks(device):
    x = on(device, [1.0, 2.0])
    gg.checkpoint(lambda x: cube(x).sum())(x).backward()
    same(x.grad, [3.0, 12.0])
    x.grad = None
    y = cube(x)
    y.register_hook(lambda g: g * 2)
    y.sum().backward()
    same(x.grad, [6.0, 24.0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_have_the_dtype_of_their_argument(device, dtype):
    op = gg.custom_op(lambda xp, x: x * x, lambda xp, g, y, x: (g * x).astype("float64") * 2)
    x = gg.tensor([1.0, 2.0], dtype=dtype, device=device, requires_grad=True)
    op(x).sum().backward()
    assert x.grad.dtype == dtype
    same(x.grad, [2.0, 4.0])


# ---------------------------------------------------------------- values kept outside


class Keeper:
    """The forward and the vjp of exp, which keep its value somewhere outside of the op."""

    def __init__(self, keep):
        self.kept = None
        self.keep = keep

    def forward(self, xp, x):
        y = xp.exp(x)
        self.kept = self.keep(y)
        return y

    def vjp(self, xp, g, y, x):
        return g * self.kept


OUTSIDE = {}


def kept_in(place, keep):
    """The forward and the vjp of exp, which reads what the forward has put into a place."""
    box, items, cell, pair = {}, [None], None, None

    def nonlocal_forward(xp, x):
        nonlocal cell
        y = xp.exp(x)
        cell = keep(y)
        return y

    def tuple_forward(xp, x):
        nonlocal pair
        y = xp.exp(x)
        pair = keep(y), "name"
        return y

    def dict_forward(xp, x):
        y = xp.exp(x)
        box["e"] = keep(y)
        return y

    def list_forward(xp, x):
        y = xp.exp(x)
        items[0] = keep(y)
        return y

    def global_forward(xp, x):
        y = xp.exp(x)
        OUTSIDE["e"] = keep(y)
        return y

    keeper = Keeper(keep)
    return {
        "variable": (nonlocal_forward, lambda xp, g, y, x: g * cell),
        "tuple": (tuple_forward, lambda xp, g, y, x: g * pair[0]),
        "dict": (dict_forward, lambda xp, g, y, x: g * box["e"]),
        "list": (list_forward, [lambda xp, g, y, x: g * items[0]]),
        "global": (global_forward, lambda xp, g, y, x: g * OUTSIDE["e"]),
        "object": (keeper.forward, keeper.vjp),
    }[place]


KEEP = {
    "array": lambda y: y,
    "number": lambda y: float(y.reshape(-1)[0]),
    "item": lambda y: y.reshape(-1)[0].item(),
}
places = pytest.mark.parametrize("place", ["variable", "tuple", "dict", "list", "global", "object"])
kept = pytest.mark.parametrize("keep", KEEP.values(), ids=list(KEEP))


def of_one(device, value=0.5):
    return gg.tensor([value], dtype="float64", device=device, requires_grad=True)


@kept
@places
def test_a_value_that_is_kept_outside_has_no_second_derivative(place, keep, device):
    f = gg.custom_op(*kept_in(place, keep))
    x = of_one(device)
    g = gg.gradients(f(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(g.detach().cpu().numpy(), np.exp([0.5]), rtol=1e-12)
    with pytest.raises(gg.GradientError, match=r"keeps outside; return it by gg\.saved"):
        gg.gradients(g.sum(), x)
    with pytest.raises(gg.GradientError, match="keeps outside"):
        gg.hvp(lambda x: f(x).sum(), x.detach(), gg.ones(1, device=device))


@kept
@places
def test_a_value_of_a_later_call_gives_no_gradient(place, keep, device):
    """It would be that of the other call."""
    f = gg.custom_op(*kept_in(place, keep))
    x, other = of_one(device), of_one(device, 1.5)
    y, z = f(x), f(other)
    for create_graph in (False, True):
        with pytest.raises(gg.GradientError, match=r"custom op .*: its vjp reads a value .* gg\.s"):
            gg.gradients(y.sum(), x, retain_graph=True, create_graph=create_graph)
    np.testing.assert_allclose(
        gg.gradients(z.sum(), other).cpu().numpy(), np.exp([1.5]), rtol=1e-12
    )
    y, _ = f(x), f(x)  # the same value twice
    assert gg.gradients(y.sum(), x).tolist() == pytest.approx([np.exp(0.5)])


@kept
def test_a_jvp_that_reads_a_value_of_a_later_call(keep, device):
    forward, _ = kept_in("variable", keep)
    cell = dict(zip(forward.__code__.co_freevars, forward.__closure__))["cell"]
    f = gg.custom_op(forward, jvp=lambda xp, ts, y, x: ts[0] * cell.cell_contents)
    one = gg.ones(1, dtype="float64", device=device)
    x = of_one(device).detach()
    _, tangent = gg.jvp(f, (x,), (one,))
    assert tangent.tolist() == pytest.approx([np.exp(0.5)])


def test_kept_values_of_another_shape_are_refused(device):
    """A rule may fail with them; whatever it says, this is the reason."""
    f = gg.custom_op(*kept_in("variable", KEEP["array"]))
    x = gg.ones(2, requires_grad=True, device=device)
    y = f(x)
    f(gg.ones(3, requires_grad=True, device=device))
    with pytest.raises(gg.GradientError, match="a later call has put another in its place"):
        gg.gradients(y.sum(), x)


def test_counters_timers_and_notes_are_no_values_of_the_forward(device):
    """They are written by the forward and read where the rule is, and no gradient needs them."""
    calls, seconds, log, names = 0, 0.0, [], {}
    last = {"index": 0}

    def forward(xp, x):
        nonlocal calls, seconds
        calls += 1
        seconds += 0.125 * calls
        log.append(f"forward {calls}")
        names["forward"] = x.shape
        last["index"] = int(calls % 2)
        return x * x * x

    def vjp(xp, g, y, x):
        nonlocal calls, seconds
        calls += 1
        seconds += 0.25
        log.append(f"vjp {names['forward']} {last['index']}")
        return 3 * g * x * x

    f = gg.custom_op(forward, vjp)
    x = gg.tensor([0.5, 1.0], dtype="float64", device=device, requires_grad=True)
    y, z = f(x), f(2 * x)
    assert gg.gradients(y.sum(), x).tolist() == [0.75, 3.0]
    assert gg.gradients(z.sum(), x).tolist() == [6.0, 24.0]
    g = gg.gradients(f(x).sum(), x, create_graph=True)
    assert gg.gradients(g.sum(), x).tolist() == [3.0, 6.0]


def test_numbers_that_others_set_are_read_as_they_are(device):
    """A setting that is changed between calls is the rule's when it runs, as in any function."""
    settings = {"scale": 1.0}
    f = gg.custom_op(lambda xp, x: x * x, lambda xp, g, y, x: 2 * g * x * settings["scale"])
    x = of_one(device)
    y = f(x)
    settings["scale"] = 3.0
    assert gg.gradients(y.sum(), x).tolist() == [3.0]


def test_numbers_are_as_before_once_they_were_tried(device):
    forward, vjp = kept_in("dict", KEEP["number"])
    (box,) = [c.cell_contents for c in vjp.__closure__ if isinstance(c.cell_contents, dict)]
    f = gg.custom_op(forward, vjp)
    x = of_one(device)
    g = gg.gradients(f(x).sum(), x, create_graph=True)
    assert box == {"e": pytest.approx(np.exp(0.5))}
    del g


def test_a_constant_outside_is_none_of_the_forward_s(device):
    matrix = device.send(np.array([2.0, 3.0]))
    table = {"scale": matrix}

    def forward(xp, x):
        table["calls"] = table.get("calls", 0) + 1
        return matrix * x * x

    f = gg.custom_op(forward, lambda xp, g, y, x: 2 * g * x * table["scale"])
    x = gg.tensor([0.5, 1.0], dtype="float64", device=device, requires_grad=True)
    g = gg.gradients(f(x).sum(), x, create_graph=True)
    assert gg.gradients(g.sum(), x).tolist() == [4.0, 6.0]
