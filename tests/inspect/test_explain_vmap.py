"""gg.explain of graphs with vmap inside: what lies between has values for each element."""

import numpy as np
import pytest

import gpugrad as gg

ROWS = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]])


def leaf(value, name="w"):
    return gg.tensor(value, dtype="float64", requires_grad=True, name=name)


def elements(w):
    return gg.vmap(lambda x: gg.tanh(x * w).sum() ** 2)(ROWS).sum()


def levels(w):
    return gg.vmap(lambda x: gg.vmap(lambda a: gg.tanh(a * w).sum())(x).sum() ** 2)(ROWS).sum()


def slopes(w):
    def loss(v, x):
        return gg.vmap(lambda v, a: gg.tanh(a * v))(v, x).sum() ** 2

    rows = w * gg.ones((3, 2), dtype="float64")
    return gg.vmap(gg.grad(loss))(rows, ROWS).sum()


@pytest.mark.parametrize("value", [0.3, [0.3, -0.2]], ids=["a number", "a vector"])
@pytest.mark.parametrize("f", [elements, levels, slopes])
def test_the_derivative_is_the_sum_over_the_paths(f, value):
    w = leaf(value)
    explained = gg.explain(f(w))
    f(w).backward()
    own, parts = explained.derivatives["w"], [path.value for path in explained.paths["w"]]
    for found in (own, sum(parts[1:], parts[0])):
        np.testing.assert_allclose(np.asarray(getattr(found, "data", found)), w.grad.numpy())
    assert "level" not in str(explained)


def test_the_values_of_each_element():
    w = leaf(2.0)

    def f(x):
        s = gg.sin(x * w)
        s.name = "s"
        y = s.sum() * x[0]
        y.name = "y"
        return y

    lines = str(gg.explain(gg.vmap(f)(ROWS).sum(), wrt=["w", "y"])).splitlines()
    assert lines[1] == "s = sin([3×2]·vmap(w, size=3)) = (2,) float64"
    assert any(line.startswith("∂sum/∂y = ") and line.endswith("= [1, 1, 1]") for line in lines)


def test_inside_of_vmap():
    texts = []

    def f(x):
        texts.append(str(gg.explain((x * leaf(2.0)).sum())))
        return x

    gg.vmap(f)(ROWS)
    assert "sum = sum(multiply) = [6, 4, 9], for each of 3" in texts[0]
    assert texts[0].endswith("= [3, 2, 4.5]")
    texts.clear()
    gg.vmap(gg.vmap(f))(ROWS)
    assert "for each of 3 × 2" in texts[0]
