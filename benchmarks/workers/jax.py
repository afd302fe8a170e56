"""JAX's side of the benchmark, compiled as its users compile: one ``jit`` for a whole step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import (
    ADAM_LR,
    BETAS,
    CHAIN_ROUNDS,
    EPS,
    LR,
    MOMENTUM,
    Case,
    data,
    images,
    kernels,
    operand,
    parameters,
    pendulum,
    pooled,
    sequences,
    weights,
)
from cases import fit as fit_data
from derivatives import problem

VERSIONS = {"jax": jax.__version__}

_pending: list[Any] = []  # the last result: JAX is waited for by waiting for an array


def prepare(device: str, threads: int) -> None:
    """One device; the threads are those of the cores that the process may use."""
    if device == "sim":
        raise ImportError("JAX has no device sim")
    try:
        found = jax.devices("gpu" if device == "cuda" else "cpu")
    except RuntimeError as error:
        raise ImportError(f"this JAX has no {device}") from error
    jax.config.update("jax_default_device", found[0])


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    jax.block_until_ready(_pending)


def to_numpy(result: Any) -> np.ndarray:
    """What a step returned, on the host."""
    return np.asarray(result)


def _loss(case: Case) -> Callable[[Any], Any]:
    """The mean squared error of the network of a case, as a function of its parameters."""
    # Full float32 products, as the others compute them (JAX's default on a GPU is TF32).
    precision = "tensorfloat32" if case.precision == "tf32" else "highest"
    jax.config.update("jax_default_matmul_precision", precision)
    x, y = (jnp.asarray(array) for array in data(case))

    def loss_of(parameters: Any) -> Any:
        h = x
        for i, (w, b) in enumerate(parameters):
            h = h @ w + b
            if i != len(parameters) - 1:
                h = jnp.tanh(h)
        return jnp.mean((h - y) ** 2)

    return loss_of


def step(case: Case, device: str) -> Callable[[], Any]:
    """A training step: forward, mean squared error, backward, the optimizer."""
    parameters = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights(case)]
    return _training(case, _loss(case), parameters)


def _training(case: Case, loss_of: Callable[[Any], Any], parameters: Any) -> Callable[[], Any]:
    """A step that lowers a loss, by the optimizer of a case."""

    def sgd(parameters: Any, state: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        state = jax.tree.map(lambda v, g: MOMENTUM * v + g, state, gradients)
        return loss, jax.tree.map(lambda p, v: p - LR * v, parameters, state), state

    def adam(parameters: Any, state: Any) -> Any:
        count, first, second = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        count = count + 1
        b1, b2 = BETAS
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
        c1, c2 = 1 - b1**count, 1 - b2**count

        def moved(p: Any, m: Any, v: Any) -> Any:
            return p - ADAM_LR * (m / c1) / (jnp.sqrt(v / c2) + EPS)

        return loss, jax.tree.map(moved, parameters, first, second), (count, first, second)

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, parameters)

    state = (jnp.float32(0), zeros(), zeros()) if case.optimizer == "adam" else zeros()
    compiled = jax.jit(adam if case.optimizer == "adam" else sgd, donate_argnums=(0, 1))

    def run() -> Any:
        nonlocal parameters, state
        loss, parameters, state = compiled(parameters, state)
        _pending[:] = [loss]
        return loss

    return run


def convolution(case: Case, device: str) -> Callable[[], Any]:
    """A training step of a network of two convolutions. Returns the loss."""
    jax.config.update("jax_default_matmul_precision", "highest")
    x, y = (jnp.asarray(array) for array in images(case))

    def convolved(x: Any, w: Any, b: Any) -> Any:
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME")
        return jax.nn.relu(y + b[:, None, None])

    def halved(x: Any) -> Any:
        window = (1, 1, 2, 2)
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")

    def loss_of(parameters: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = parameters
        h = convolved(x, w1, b1)
        h = halved(convolved(halved(h) if pooled(case) > 1 else h, w2, b2))
        scores = jax.nn.log_softmax(h.reshape(len(h), -1) @ w3.T + b3)
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    return _training(case, loss_of, [jnp.asarray(array) for array in kernels(case)])


def sequence(case: Case, device: str) -> Callable[[], Any]:
    """A training step of an LSTM or a transformer, with PyTorch's parameters. Returns the loss."""
    jax.config.update("jax_default_matmul_precision", "highest")
    x, y = (jnp.asarray(array) for array in sequences(case))
    _, inputs, hidden, *layers = case.sizes
    if case.op == "lstm":
        network: Callable[[Any, Any], Any] = _lstm
        shapes = {
            "weight_ih_l0": (4 * hidden, inputs), "weight_hh_l0": (4 * hidden, hidden),
            "bias_ih_l0": (4 * hidden,), "bias_hh_l0": (4 * hidden,),
        }  # fmt: skip
    else:
        network = _transformer
        layer = {
            "self_attn.in_proj_weight": (3 * hidden, hidden),
            "self_attn.in_proj_bias": (3 * hidden,),
            "self_attn.out_proj.weight": (hidden, hidden), "self_attn.out_proj.bias": (hidden,),
            "linear1.weight": (4 * hidden, hidden), "linear1.bias": (4 * hidden,),
            "linear2.weight": (hidden, 4 * hidden), "linear2.bias": (hidden,),
            "norm1.weight": (hidden,), "norm1.bias": (hidden,),
            "norm2.weight": (hidden,), "norm2.bias": (hidden,),
        }  # fmt: skip
        shapes = {
            f"layers.{i}.{name}": shape for i in range(layers[0]) for name, shape in layer.items()
        }
    values = {name: jnp.asarray(array) for name, array in parameters(shapes).items()}
    return _training(case, lambda p: jnp.mean((network(p, x) - y) ** 2), values)


def _lstm(p: Any, x: Any) -> Any:
    """The states of all times, (batch, length, hidden)."""
    gates_of_inputs = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + p["bias_hh_l0"]

    def advance(state: Any, gates: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(gates + h @ p["weight_hh_l0"].T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[0], p["weight_hh_l0"].shape[1]), x.dtype)
    _, states = jax.lax.scan(advance, (zeros, zeros), gates_of_inputs.swapaxes(0, 1))
    return states.swapaxes(0, 1)


def _transformer(p: Any, x: Any) -> Any:
    """An encoder with causal attention of four heads, normalized behind each part."""
    batch, length, width = x.shape
    mask = jnp.tril(jnp.ones((length, length), bool))

    def normalized(x: Any, name: str) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5)
        return centered * scale * p[f"{name}.weight"] + p[f"{name}.bias"]

    for i in range(sum(name.endswith("norm1.bias") for name in p)):
        at = f"layers.{i}"
        mixed = x @ p[f"{at}.self_attn.in_proj_weight"].T + p[f"{at}.self_attn.in_proj_bias"]
        q, k, v = (
            part.reshape(batch, length, 4, width // 4).swapaxes(1, 2)
            for part in jnp.split(mixed, 3, axis=-1)
        )
        scores = jnp.where(mask, q @ k.swapaxes(2, 3) / (width // 4) ** 0.5, -jnp.inf)
        seen = (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(x.shape)
        out = seen @ p[f"{at}.self_attn.out_proj.weight"].T + p[f"{at}.self_attn.out_proj.bias"]
        x = normalized(x + out, f"{at}.norm1")
        h = jax.nn.relu(x @ p[f"{at}.linear1.weight"].T + p[f"{at}.linear1.bias"])
        x = normalized(x + h @ p[f"{at}.linear2.weight"].T + p[f"{at}.linear2.bias"], f"{at}.norm2")
    return x


def fit(case: Case, device: str) -> Callable[[], Any]:
    """The normal equations of a fit: JᵀJ and Jᵀr of a Runge-Kutta solution, stacked."""
    jax.config.update("jax_default_matmul_precision", "highest")
    p, angles = (jnp.asarray(array) for array in fit_data(case))

    def residuals(p: Any) -> Any:
        def advance(state: Any, _: Any) -> Any:
            state = pendulum(jnp.sin, p, *state)
            return state, state[0]

        start = (jnp.float32(1), jnp.float32(0))
        return jax.lax.scan(advance, start, length=case.sizes[0])[1] - angles

    def equations(p: Any) -> Any:
        r, j = residuals(p), jax.jacfwd(residuals)(p)
        return jnp.concatenate([j.T @ j, (j.T @ r)[None]])

    return _compiled(equations, p)


def _compiled(function: Callable[[Any], Any], given: Any) -> Callable[[], Any]:
    compiled = jax.jit(function)

    def run() -> Any:
        result = compiled(given)
        _pending[:] = [result]
        return result

    return run


def hvp(case: Case, device: str) -> Callable[[], Any]:
    """The Hessian of the loss by all parameters, times them. Returns what it gives first."""
    gradient = jax.grad(_loss(case))

    def product(given: Any) -> Any:
        parameters, vectors = given
        return jax.jvp(gradient, (parameters,), (vectors,))[1][0][0]

    # Two arguments: of one that is both, XLA would compute ten products instead of fifteen.
    pairs = [[(jnp.asarray(w), jnp.asarray(b)) for w, b in weights(case)] for _ in range(2)]
    return _compiled(product, pairs)


BATCHED: dict[str, Callable[[Any], Any]] = {
    "samples": lambda f: jax.vmap(jax.grad(f), in_axes=(None, 0, 0)),
    "gradient": jax.grad,
    "reverse": jax.jacrev,
    "forward": jax.jacfwd,
    "hessian": jax.hessian,
}


def batched(case: Case, device: str) -> Callable[[], Any]:
    """A derivative that is computed for many samples, rows or columns. Returns all arrays of it."""
    jax.config.update("jax_default_matmul_precision", "highest")
    f, arguments = problem(case, jnp, jnp.asarray)
    derivative = BATCHED[case.op](f)

    def leaves(arguments: Any) -> tuple[Any, ...]:
        return tuple(jax.tree.leaves(derivative(*arguments)))

    return _compiled(leaves, arguments)


def derivative(case: Case, device: str) -> Callable[[], Any]:
    """A derivative of higher order, elementwise."""

    def function(x: Any) -> Any:
        return jnp.tanh(x) * jnp.exp(-(x * x))

    for _ in range(case.order):
        function = jax.grad(lambda x, function=function: function(x).sum())
    return _compiled(function, jnp.asarray(operand(case)))


def _vjp(function: Callable[[Any], Any], case: Case) -> Callable[[], Any]:
    jax.config.update("jax_default_matmul_precision", "highest")

    def pulled(x: Any) -> Any:
        y, pull = jax.vjp(function, x)
        return pull(jnp.ones_like(y))[0]

    return _compiled(pulled, jnp.asarray(operand(case)))


def chain(case: Case, device: str) -> Callable[[], Any]:
    """Elementwise ops forward and backward. Returns the gradient."""

    def function(x: Any) -> Any:
        y = x
        for _ in range(CHAIN_ROUNDS):
            y = jnp.tanh(y * x) + 0.5
        return y

    return _vjp(function, case)


def op(case: Case, device: str) -> Callable[[], Any]:
    """One op forward and backward. Returns the gradient."""
    function: Callable[[Any], Any] = {
        "add": lambda x: x + x,
        "mul": lambda x: x * x,
        "tanh": jnp.tanh,
        "sum": jnp.sum,
        "matmul": lambda x: x @ x,
    }[case.op]
    return _vjp(function, case)
