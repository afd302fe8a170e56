"""detect_anomaly: the first NaN or infinity of a pass, its operation and its line."""

import inspect
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from arrays import host, leaf

import gpugrad as gg

HERE = Path(__file__).name

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def line_of(marker):
    """The number of the line of this file that ends in a comment with the marker."""
    lines = Path(__file__).read_text().splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return found


def at(marker):
    """What an error says of that line."""
    return f"{HERE}:{line_of(marker)}: "


# Forward.


@pytest.mark.parametrize(
    ("make", "name", "text"),
    [
        (lambda x: gg.log(x - 1), "log", "log made -inf at element (0,) of its result"),
        (lambda x: gg.sqrt(x - 2), "sqrt", "sqrt made nan at element (0,) of its result"),
        (lambda x: 1 / (x - 1), "divide", "divide made inf at element (0,) of its result"),
        (lambda x: gg.exp(x * 100), "exp", "exp made inf at element (0,) of its result"),
        (lambda x: gg.sum(x * 3e38), "sum", "sum made inf at element () of its result"),
        (lambda x: (x * 3e38).mean(), "mean", "made inf at element () of its result"),
    ],
    ids=["log", "sqrt", "divide", "exp", "sum", "mean"],
)
def test_the_operation_and_the_line_of_a_forward_pass(make, name, text, device):
    x = leaf(1.0, 2.0)
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        make(x)
    message = str(caught.value)
    assert text in message
    line = inspect.getsourcelines(make)[1]  # the lambda's
    assert re.search(rf"Called at \S*{re.escape(HERE)}:{line}: ", message)


def test_which_element(device):
    x = gg.tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with gg.no_grad():
        x[1, 2] = 0.0
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match=r"element \(1, 2\)"):
        gg.log(x)


def helper(x):
    return gg.log(x)  # in a helper


def test_the_innermost_line_of_nested_functions(device):
    def outer(x):
        return helper(x) + 1

    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        outer(leaf(0.0))
    assert at("in a helper") + "return gg.log(x)" in str(caught.value)


class Model(gg.nn.Module):
    def __init__(self):
        self.layer = gg.nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(x).log()  # in a module


def test_the_line_in_a_module_and_that_of_the_call_of_a_module_of_gpugrad(device):
    model = Model()
    x = gg.tensor([[1.0, 1.0]])
    with gg.no_grad():
        model.layer.weight[...] = 0.0
        model.layer.bias[...] = 0.0
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        model(x)
    assert "log made -inf" in str(caught.value)
    assert at("in a module") in str(caught.value)
    layer = gg.nn.Linear(2, 2)
    with gg.no_grad():
        layer.weight[...] = 3e38
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        layer(x * 2)  # a layer
    assert at("a layer") in str(caught.value)


@pytest.mark.parametrize("call", [np.log, lambda x: np.sum(np.log(x))], ids=["ufunc", "function"])
def test_the_line_of_a_call_through_numpy(call):
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        call(leaf(0.0))  # through NumPy
    assert "log made -inf" in str(caught.value)
    assert HERE in str(caught.value)


def test_an_operation_with_parameters_is_not_called_in_a_file_that_does_not_exist():
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        gg.sum(leaf(3e38, 3e38), axis=0, keepdims=True)  # with parameters
    assert at("with parameters") in str(caught.value)


def test_several_outputs(device):
    x = leaf(1.0, 2.0, np.inf, 4.0)
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        x.split(2)
    assert "split made inf at element (0,) of output 1" in str(caught.value)
    assert "argument 0 was not finite when it came" in str(caught.value)


def test_arguments_that_were_not_finite_when_they_came(device):
    x = leaf(1.0, np.nan, name="measured")
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        x * 2
    assert "argument 0 ('measured') was not finite when it came" in str(caught.value)
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match="argument 1 was not finite"):
        leaf(1.0) * float("inf")
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match="argument 1 was not finite"):
        leaf(1.0) * gg.tensor([np.inf])
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        gg.exp(leaf(1e5))
    assert "was not finite" not in str(caught.value)


MASKED = {
    "add": lambda x, mask: gg.softmax(x + mask, axis=-1),
    "where": lambda x, mask: gg.softmax(gg.where(mask == 0, x, -np.inf), axis=-1),
    "set": lambda x, mask: gg.softmax(x.at[0, 1].set(-np.inf), axis=-1),
    "scaled": lambda x, mask: gg.log_softmax((x + mask) * 0.5, axis=-1)[:, 0],
    "logsumexp": lambda x, mask: gg.logsumexp(x + mask, axis=-1),
    "max": lambda x, mask: gg.max(x + mask, axis=-1),
    "exp": lambda x, mask: gg.exp(x + mask),
    "cross_entropy": lambda x, mask: gg.nn.functional.cross_entropy(x + mask, [0, 0]),
}


@pytest.mark.parametrize("name", MASKED)
def test_a_mask_of_minus_infinity_is_no_anomaly(name, device):
    x = gg.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], requires_grad=True)
    mask = gg.tensor([[0.0, 0.0, -np.inf], [0.0, -np.inf, -np.inf]])
    with gg.detect_anomaly():
        MASKED[name](x, mask).sum().backward()
    assert np.isfinite(host(x.grad)).all()


def test_what_a_mask_makes_of_itself_is_one(device):
    mask = gg.tensor([[-np.inf, -np.inf], [0.0, 1.0]])
    for f, words in (
        (lambda x: gg.softmax(x + mask, axis=-1), "softmax made nan at element [(]0, 0[)]"),
        (lambda x: x + mask - mask, "subtract made nan"),
        (lambda x: x - mask, "subtract made inf"),
    ):
        x = gg.ones((2, 2), requires_grad=True)
        with gg.detect_anomaly(), pytest.raises(gg.AnomalyError, match=words):
            f(x)


# Backward.


def inverted(x):
    return 1 / x  # one over x


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_operation_and_the_line_of_a_backward_pass(create_graph, device):
    x = leaf(1.0, 1e-25, name="x")
    with gg.detect_anomaly():
        loss = inverted(x).sum()  # finite, in contrast to -1/x**2
        with pytest.raises(gg.AnomalyError) as caught:
            loss.backward(create_graph=create_graph)  # the backward pass
    message = str(caught.value)
    assert "inf at element (1,)" in message
    if create_graph:  # the operations of the derivative are called by the backward pass
        assert at("the backward pass") in message
    else:
        assert message.startswith(
            "the derivative of divide for argument 1 ('x') made -inf at element (1,) of the "
            "gradient. divide was called at "
        )
        assert message.endswith(at("one over x") + "return 1 / x  # one over x")
    assert x.grad is None


def test_the_same_argument_twice():
    x = leaf(3e38)
    with gg.detect_anomaly():
        y = x * 1e-38
        z = (y * y).sum()
        with pytest.raises(gg.AnomalyError, match="for argument 0 or argument 1 made inf"):
            z.backward(np.float32(3e38))


def test_a_gradient_that_no_derivative_made(device):
    x = leaf(1.0, 2.0, name="x")
    with gg.detect_anomaly():
        y = x * 2  # multiplied
        with pytest.raises(gg.AnomalyError) as caught:
            y.backward(gg.tensor([1.0, np.nan]), retain_graph=True)
        message = str(caught.value)
        assert "the gradient of multiply, called at" in message
        assert at("multiplied") in message
        assert "is nan at element (1,). No derivative made it" in message
        with y.register_hook(lambda g: g * np.inf), pytest.raises(gg.AnomalyError) as caught:
            y.sum().backward(retain_graph=True)
        assert "a hook returned it" in str(caught.value)
        with x.register_hook(lambda g: g * np.inf), pytest.raises(gg.AnomalyError) as caught:
            y.sum().backward(retain_graph=True)
        assert "the gradient of 'x', a leaf of shape (2,), is inf" in str(caught.value)
    assert x.grad is None


@pytest.mark.parametrize("told", [False, True])
def test_a_sum_of_finite_gradients(told, device):
    x = leaf(1.0)
    if told:
        x.register_post_accumulate_grad_hook(lambda t: None)
    with gg.detect_anomaly():
        y = x * 1 + x * 1
        with pytest.raises(gg.AnomalyError, match="a leaf of shape .*sum of gradients"):
            y.backward(gg.tensor([3e38]))
    assert x.grad is None


def test_a_backward_pass_of_several_outputs(device):
    x = leaf(1e-25, 1.0)
    with gg.detect_anomaly():
        a, b = x.split(2)
        loss = (1 / a + b).sum()
        with pytest.raises(gg.AnomalyError, match="the derivative of divide"):
            loss.backward()


def test_a_graph_made_outside_is_watched_without_its_lines(device):
    x = leaf(1e-25)
    loss = (1 / x).sum()
    with gg.detect_anomaly(), pytest.raises(gg.AnomalyError) as caught:
        loss.backward()
    assert "divide was called outside the block that watches" in str(caught.value)


def test_a_second_derivative(device):
    x = leaf(1e-15)
    with gg.detect_anomaly():
        (g,) = gg.gradients((1 / x).sum(), [x], create_graph=True)  # -1e30
        with pytest.raises(gg.AnomalyError, match="the derivative of"):
            gg.gradients(g.sum(), [x])  # 2e45


# Where it is on.


def test_nothing_happens_when_it_is_off(device):
    x = leaf(1e-25)
    loss = (1 / x).sum()
    loss.backward()
    assert not np.isfinite(x.grad.cpu().numpy()).any()
    assert not hasattr(loss.grad_fn, "where")
    with gg.detect_anomaly():
        pass
    gg.log(x * 0)
    assert gg.engine.modes.recording.get() is True
    assert gg.engine.modes.watching() is None


def test_other_threads_are_not_watched():
    results = []

    def work():
        x = leaf(1e-25)
        (1 / x).sum().backward()
        results.append(x.grad.item())

    with gg.detect_anomaly():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert results == [-np.inf]


def test_as_a_decorator():
    @gg.detect_anomaly()
    def f(x):
        """Its doc."""
        return gg.log(x)

    assert (f.__name__, f.__doc__) == ("f", "Its doc.")
    for _ in range(2):
        with pytest.raises(gg.AnomalyError):
            f(leaf(0.0))
        gg.log(leaf(0.0))
    assert f(leaf(1.0)).item() == 0.0


def test_as_a_decorator_of_a_generator_function_it_is_on_in_its_steps_alone():
    @gg.detect_anomaly()
    def steps(x):
        yield gg.log(x + 1)
        yield gg.log(x)

    made = steps(leaf(0.0))
    next(made)
    gg.log(leaf(0.0))
    with pytest.raises(gg.AnomalyError):
        next(made)


def test_within_no_grad_nothing_is_recorded_and_so_nothing_watched():
    x = leaf(0.0)
    with gg.detect_anomaly():
        with gg.no_grad():
            assert not gg.log(x).requires_grad
            with gg.enable_grad(), pytest.raises(gg.AnomalyError):
                gg.log(x)
            assert not gg.is_grad_enabled()
        with pytest.raises(gg.AnomalyError):
            gg.log(x)
    with gg.no_grad(), gg.detect_anomaly():
        assert not gg.is_grad_enabled()
        assert not gg.log(x).requires_grad
        with gg.enable_grad(), pytest.raises(gg.AnomalyError):
            gg.log(x)


def test_nested_blocks_and_modes_after_the_error():
    x = leaf(0.0)
    with pytest.raises(gg.AnomalyError), gg.detect_anomaly(), gg.detect_anomaly():
        gg.log(x)
    assert gg.is_grad_enabled()
    gg.log(x)
    block = gg.detect_anomaly()
    with block:
        observer = gg.engine.modes.watching()
        with block, gg.detect_anomaly():  # which look at nothing twice
            assert gg.engine.modes.watching() is observer
    with pytest.raises(gg.AnomalyError), block:
        gg.log(x)
    gg.log(x)


def test_numbers_stay_as_they_are(device, rng):
    """Watching changes no result."""
    values = rng.standard_normal((3, 4)).astype(np.float32)

    def run():
        x = gg.tensor(values, requires_grad=True)
        a, b = gg.tanh(x).split(2, axis=1)
        (gg.softmax(a @ b.T, axis=-1) * 3).sum().backward()
        return x.grad.cpu().numpy()

    plain = run()
    with gg.detect_anomaly():
        watched = run()
    np.testing.assert_array_equal(plain, watched)


def test_integers_and_booleans_are_always_finite():
    with gg.detect_anomaly():
        x = leaf(1.0, 2.0)
        x[gg.tensor([0, 1], dtype=gg.int64)].argmax()
        gg.where(x > 1, x, 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]


def test_the_line_is_that_of_the_innermost_code_that_is_no_library():
    from gpugrad.backend.lines import user_line

    assert at("just here") in user_line()  # just here
    # A package whose name begins like gpugrad's is the user's.
    name = str(Path(gg.__file__).parent) + "_of_mine/model.py"
    scope = {"user_line": user_line}
    exec(compile("def f():\n    return user_line()", name, "exec"), scope)
    assert scope["f"]() == f"{name}:2"
    # Python's own library and installed packages are not.
    library = str(Path(inspect.getsourcefile(inspect)).parent / "runs.py")
    for other in (library, "/venv/lib/site-packages/other/module.py", "<frozen runs>"):
        exec(compile("def f():\n    return user_line()", other, "exec"), scope)
        assert at("and here") in scope["f"]()  # and here
