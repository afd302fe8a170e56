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
    operand,
    weights,
)

VERSIONS = {"jax": jax.__version__}

_pending: list[Any] = []  # the last result: JAX is waited for by waiting for an array


def prepare(device: str, threads: int) -> None:
    """One device: JAX takes the threads that it likes."""
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
    loss_of = _loss(case)

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

    parameters = [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights(case)]

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

    def product(parameters: Any) -> Any:
        return jax.jvp(gradient, (parameters,), (parameters,))[1][0][0]

    return _compiled(product, [(jnp.asarray(w), jnp.asarray(b)) for w, b in weights(case)])


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
