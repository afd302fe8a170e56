"""Derivatives of functions, as functions, with JAX's signatures.

Imports tensor, engine and the modules beside it. `gpugrad.autodiff.run` says how they work,
`gpugrad.autodiff.matrices` has the full Jacobian and Hessian.

Differentiated arguments may be Tensors, raw NumPy or CuPy arrays, numbers, and nested dicts,
lists, tuples and dataclasses of these. A gradient has the structure and the types of its
argument: a Tensor's gradient is a Tensor, a NumPy array's is a NumPy array. The outputs of ``f``
are raw where all differentiated arguments were raw. In two cases a result is a Tensor that is
part of a graph, so that it can be differentiated again: where an argument is, and where ``f``
uses a recorded tensor of a transform around this one. Recorded tensors from elsewhere (a
module's parameters) are followed as well if some argument is a Tensor; if all arguments are
raw, they are constants. Under ``gg.no_grad()`` nothing is recorded.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.autodiff import tree
from gpugrad.autodiff.leaves import restored
from gpugrad.autodiff.run import Run, check_function, like
from gpugrad.autodiff.transformed import transformed
from gpugrad.backend.namespace import namespace_of
from gpugrad.errors import DTypeError
from gpugrad.tensor import Tensor

__all__ = ["grad", "hvp", "jvp", "linearize", "value_and_grad", "vjp"]

Function = Callable[..., Any]


def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """A function that returns the value of ``f`` and its gradient.

    ``f`` returns one number. ``argnums`` says which positional arguments to differentiate by:
    one gives its gradient, several a tuple. With ``has_aux``, ``f`` returns a pair of its
    number and anything else, and so does the new function: ``((value, aux), gradient)``.
    GradientError where ``f`` returns more than one number, DTypeError for an argument without
    floating-point numbers.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.value_and_grad(lambda x: (x**2).sum())(np.array([1.0, 2.0]))
    (array(5.), array([2., 4.]))
    """
    return _value_and_grad("value_and_grad", f, argnums, has_aux)


def _value_and_grad(who: str, f: Function, argnums: int | Sequence[int], has_aux: bool) -> Function:
    check_function(who, f)

    @transformed(value_and_grad, f, argnums=argnums, has_aux=has_aux)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        run = Run(who, f, args, kwargs, argnums, has_aux)
        output = run.scalar()
        with run.device():
            seed = Tensor(namespace_of(output._array).ones_like(output.data))
        gradients = map(restored, run.leaf_types, run.pull([seed], ones=True))
        value = run.values()
        return (value, run.aux) if has_aux else value, run.input_structure(gradients)

    return differentiated


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of ``f``, which returns one number.

    ``argnums`` says which positional arguments to differentiate by: one gives its gradient,
    several a tuple. With ``has_aux``, ``f`` returns a pair of its number and anything else,
    and the new function ``(gradient, aux)``. GradientError where ``f`` returns more than one
    number, DTypeError for an argument without floating-point numbers.

    >>> import gpugrad as gg
    >>> cube = lambda x: x**3
    >>> gg.grad(cube)(2.0), gg.grad(gg.grad(cube))(2.0)
    (12.0, 12.0)
    >>> gg.grad(lambda p: p["a"] * p["b"])({"a": 2.0, "b": 5.0})
    {'a': 5.0, 'b': 2.0}
    """
    return _gradient("grad", f, argnums, has_aux)


def _gradient(who: str, f: Function, argnums: int | Sequence[int], has_aux: bool) -> Function:
    both = _value_and_grad(who, f, argnums, has_aux)

    @transformed(grad, f, argnums=argnums, has_aux=has_aux)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return differentiated


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``f(*primals)``, and its pull-back: from the value's gradient to the primals'.

    The pull-back takes one argument, with the structure and shapes of the value, and returns
    a tuple with the gradient of each primal; it may be called many times. With
    ``has_aux``, ``f`` returns a pair, and the second part comes as a third result.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> value, pull_back = gg.vjp(lambda x, y: x * y, np.array([1.0, 2.0]), 3.0)
    >>> value
    array([3., 6.])
    >>> pull_back(np.array([1.0, 0.0]))
    (array([3., 0.]), 1.0)
    """
    return _vjp("vjp", "a gradient", f, primals, has_aux)


def _vjp(who: str, what: str, f: Function, primals: Sequence[Any], has_aux: bool) -> Any:
    check_function(who, f)
    run = Run(who, f, primals, None, range(len(primals)), has_aux)
    shapes = [output.shape for output in run.outputs]

    def pull_back(cotangent: Any) -> tuple[Any, ...]:
        """The gradients of the primals, given that of the output."""
        leaves = tree.matching(who, what, cotangent, run.structure, shapes)
        seeds = [like(who, output, leaf) for output, leaf in zip(run.outputs, leaves)]
        return run.input_structure(map(restored, run.leaf_types, run.pull(seeds, keep=True)))

    return (run.values(), pull_back, run.aux) if has_aux else (run.values(), pull_back)


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """The value of ``f(*primals)``, and its derivative along ``tangents``: forward mode.

    ``primals`` and ``tangents`` are tuples or lists, alike in structure and shapes. With
    ``has_aux``, ``f`` returns a pair, and the second part comes as a third result. ShapeError
    where a tangent does not fit its primal.

    >>> import gpugrad as gg
    >>> gg.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    check_function("jvp", f)
    run = _forward_run("jvp", f, primals, has_aux)
    result = run.values(), _pushed("jvp", run, primals, tangents)
    return (*result, run.aux) if has_aux else result


def linearize(f: Function, *primals: Any) -> tuple[Any, Function]:
    """The value of ``f(*primals)``, and ``jvp`` at this point as a function of the tangents.

    ``f`` runs once, however often the function is called.

    >>> import gpugrad as gg
    >>> value, slope = gg.linearize(lambda x: x**2, 3.0)
    >>> value, slope(1.0), slope(10.0)
    (9.0, 6.0, 60.0)
    """
    check_function("linearize", f)
    run = _forward_run("linearize", f, primals, False)

    def push_forward(*tangents: Any) -> Any:
        """The tangent of the output, given those of the primals."""
        return _pushed("linearize", run, primals, tangents)

    return run.values(), push_forward


def _forward_run(who: str, f: Function, primals: Sequence[Any], has_aux: bool) -> Run:
    if not isinstance(primals, tuple | list):
        raise DTypeError(
            f"{who}: expected primals and tangents as tuples, one entry for each argument of the "
            f"function, got {type(primals).__name__}. Write {who}(f, (x,), (v,))"
        )
    return Run(who, f, primals, None, range(len(primals)), has_aux)


def _pushed(who: str, run: Run, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    if not isinstance(tangents, tuple | list) or len(tangents) != len(primals):
        got = len(tangents) if isinstance(tangents, tuple | list) else type(tangents).__name__
        raise DTypeError(f"{who}: expected a tangent for each of {len(primals)} primals, got {got}")
    leaves: list[Any] = []
    for number, structure in enumerate(run.inputs.children):
        shapes = [fresh.shape for fresh in run.fresh[len(leaves) :]]
        what = f"tangent {number}"
        leaves += tree.matching(who, what, tangents[number], structure, shapes)
    seeds = [like(who, fresh, leaf) for fresh, leaf in zip(run.fresh, leaves)]
    pushed = run.push(seeds)
    return run.output_structure(
        tangent if tangent._node is not None else run.returned(tangent) for tangent in pushed
    )


def hvp(f: Function, x: Any, v: Any) -> Any:
    """The Hessian of ``f`` at ``x`` times ``v``, without the Hessian: two reverse passes.

    ``f`` takes one argument and returns one number; ``x`` and ``v`` are alike in structure and
    shapes. `scipy.optimize.minimize` takes it as ``hessp=lambda x, v: hvp(f, x, v)``.

    >>> import numpy as np
    >>> import gpugrad as gg
    >>> gg.hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 0.5]))
    array([6., 6.])
    """
    # The Hessian is symmetric, so the pull-back of the gradient multiplies by it.
    _, pull_back = _vjp("hvp", "v", _gradient("hvp", f, 0, False), (x,), False)
    return pull_back(v)[0]
