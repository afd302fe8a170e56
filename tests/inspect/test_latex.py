"""Explanations as mathematics, for notebooks."""

import numpy as np
import pytest

import gpugrad as gg


def leaf(value, name=None):
    return gg.tensor(value, dtype="float64", requires_grad=True, name=name)


def latex_of(t, **options):
    return gg.explain(t, **options)._repr_latex_()


def test_an_explanation_is_mathematics_in_a_notebook():
    x = leaf(2.0, "x")
    s = 3 * x
    s.name = "s_1"
    y = s**2 * 1e-9
    y.name = "loss"
    assert latex_of(y).splitlines() == [
        r"$$\begin{aligned}",
        r"x&=2\\",
        r"\mathrm{s\_1}&=3\cdot x = 6\\",
        r"\mathrm{loss}&=\mathrm{s\_1}^{2}\cdot 1\times 10^{-9} = 3.6\times 10^{-8}\\",
        r"&\\",
        r"\frac{\partial \mathrm{loss}}{\partial x}&="
        r"\frac{\partial \mathrm{loss}}{\partial \mathrm{s\_1}} \cdot  "
        r"\frac{\partial \mathrm{s\_1}}{\partial x} = "
        r"1.2\times 10^{-8} \cdot  3 = 3.6\times 10^{-8}",
        r"\end{aligned}$$",
    ]


def several():
    x = leaf(0.5, "x")
    for _ in range(6):
        x = gg.tanh(x) * x
    return x


def arrays():
    w = leaf(np.ones((3, 4)), "W")
    return (w @ w.T).sum() + (w[0] % 2 // 1).sum() + gg.exp(w).max()


def odd_names():
    a, b = leaf(2.0, "</script> & $x$ {%} ~^#\\_"), leaf(3.0, "∂y/∂x = 3 · the sum")
    return gg.sigmoid(a) ** 0.5 * b**a / a


def infinite():
    return gg.sqrt(leaf(0.0, "x")) * np.inf


@pytest.mark.parametrize("graph", [several, arrays, odd_names, infinite])
def test_the_mathematics_of_any_explanation_can_be_read(graph):
    with np.errstate(all="ignore"):
        latex = latex_of(graph())
    assert "<" not in latex
    plain = latex.replace(r"\{", "").replace(r"\}", "")
    depth = 0
    for c in plain:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert depth == 0
    for row in latex.splitlines()[1:-1]:
        assert row.replace(r"\&", "").count("&") == 1
    converter = pytest.importorskip("latex2mathml.converter")
    assert "<mfrac>" in converter.convert(latex.strip("$"))


def test_names_are_not_read_as_mathematics():
    latex = latex_of(odd_names())
    assert r"\mathrm{\lt /script\gt \ \&\ \$x\$\ \{\%\}\ \sim \wedge \#\backslash \_}" in latex
    assert r"\mathrm{∂y/∂x\ =\ 3\ ·\ the\ sum}" in latex
