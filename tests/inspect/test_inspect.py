"""Drawing and explaining a graph: what the text says, that it is true, and that nothing changes."""

import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from optable import apply, case_id, cases, tensors_for

import gpugrad as gg
from gpugrad.inspect import Drawing, Explanation
from gpugrad.inspect.graph import Values, reachable
from gpugrad.inspect.text import number

HAS_DOT = shutil.which("dot") is not None
HAS_GRAPHVIZ = importlib.util.find_spec("graphviz") is not None
needs_graphviz = pytest.mark.skipif(not HAS_GRAPHVIZ, reason="graphviz is not installed")
needs_dot = pytest.mark.skipif(
    not (HAS_DOT and HAS_GRAPHVIZ), reason="graphviz, or its program dot, is not installed"
)


def leaf(value, name=None, dtype="float64"):
    return gg.tensor(value, dtype=dtype, requires_grad=True, name=name)


def named(tensor, name):
    tensor.name = name
    return tensor


def product():
    """L = (a·b + c)·f, all of it named."""
    a, b, c, f = leaf(2.0, "a"), leaf(-3.0, "b"), leaf(10.0, "c"), leaf(-2.0, "f")
    e = named(a * b, "e")
    d = named(e + c, "d")
    return named(d * f, "L"), (a, b, c, f, e, d)


def sigmoid_loss():
    """Linear, sigmoid, squared error; the steps between the named values have no names."""
    x, b = leaf(3.0, "x"), leaf(0.3737660632429008, "b")
    k, y = leaf(0.35915077292816744, "k"), leaf(0.6087876106387002, "y")
    linear = named(k * x + b, "linear")
    sigmoid = named(gg.sigmoid(linear), "sigmoid")
    return named(((y - sigmoid) ** 2).mean(), "loss"), (x, b, k, y, linear, sigmoid)


def labels(drawing):
    """The label of each node of a drawing, by its identifier."""
    return dict(re.findall(r'^  (\w+) \[.*?label="((?:[^"\\]|\\.)*)"', drawing.source, re.M))


def edges(drawing):
    return re.findall(r"^  (\w+) -> (\w+);$", drawing.source, re.M)


# ---------------------------------------------------------------- draw: the source


def test_draw_has_a_record_for_each_value_and_a_node_for_each_operation(device):
    L, _ = product()
    drawing = gg.draw(L)
    assert isinstance(drawing, Drawing)
    assert str(drawing) == drawing.source
    assert repr(drawing) == "<Drawing of 7 values and 3 operations>"
    assert list(labels(drawing).values()) == [
        "a | 2 | ∂L/∂a = 6",
        "b | -3 | ∂L/∂b = -4",
        "c | 10 | ∂L/∂c = -2",
        "f | -2 | ∂L/∂f = 4",
        "e | -6 | ∂L/∂e = -2",
        "×",
        "d | 4 | ∂L/∂d = -2",
        "+",
        "L | -8 | ∂L/∂L = 1",
        "×",
    ]
    assert edges(drawing) == [
        ("v1", "o5"), ("v2", "o5"), ("o5", "v5"),
        ("v5", "o6"), ("v3", "o6"), ("o6", "v6"),
        ("v6", "o7"), ("v4", "o7"), ("o7", "v7"),
    ]  # fmt: skip
    assert drawing.notes == ()


def test_draw_touches_no_grad_and_leaves_the_graph_usable():
    L, (a, *_) = product()
    gg.draw(L)
    assert a.grad is None
    L.backward()
    assert a.grad.item() == 6


def test_draw_shows_the_accumulated_grad_of_a_leaf():
    L, (a, *_) = product()
    L.backward(retain_graph=True)
    L.backward(retain_graph=True)
    found = labels(gg.draw(L))
    assert found["v1"] == "a | 2 | grad = 12"
    assert found["v5"] == "e | -6 | ∂L/∂e = -2"
    assert a.grad.item() == 12


def test_draw_after_the_graph_was_freed():
    L, _ = product()
    L.backward()
    drawing = gg.draw(L)
    found = labels(drawing)
    assert found["v1"] == "a | 2 | grad = 6"
    assert found["v5"] == "e | () float64"
    assert found["v7"] == "L | -8"
    assert len(edges(drawing)) == 9
    assert "retain_graph=True" in drawing.notes[0]
    assert "retain_graph=True" in drawing.source


def test_draw_shows_constants():
    x = leaf(3.0, "x")
    data = gg.tensor([[1.0, 2.0], [3.0, 4.0]])
    big = gg.ones((4, 5))
    y = (2 * x * data + 0.5).sum() * big
    found = list(labels(gg.draw(y, gradients=False)).values())
    assert "2" in found
    assert "0.5" in found
    assert "constant | [[1, 2],\\n[3, 4]]" in found
    assert "constant | (4, 5) float32" in found


def test_draw_gives_shape_and_dtype_of_larger_arrays_and_the_norm_of_their_gradient():
    w = leaf(np.full((3, 4), 2.0), "w", dtype="float32")
    y = named((w * w).sum(), "y")
    found = labels(gg.draw(y))
    assert found["v1"] == "w | (3, 4) float32 | ‖∂y/∂w‖ = 13.8564"  # 4·sqrt(12)
    y.backward()
    assert labels(gg.draw(y))["v1"] == "w | (3, 4) float32 | ‖grad‖ = 13.8564"


def test_draw_without_values_and_gradients():
    L, _ = product()
    L.backward(retain_graph=True)
    assert labels(gg.draw(L, values=False))["v1"] == "a | () float64 | grad = 6"
    assert labels(gg.draw(L, gradients=False))["v1"] == "a | 2"


def test_draw_of_an_array_has_no_derivatives_and_says_so():
    w = leaf([1.0, 2.0], "w")
    drawing = gg.draw(w * 2)
    assert drawing.notes == (
        "no derivatives: they are those of one number, and this has shape (2,)",
    )
    assert labels(drawing)["v1"] == "w | [1, 2]"


def test_draw_of_a_leaf_and_of_a_tensor_without_a_graph():
    assert labels(gg.draw(leaf(2.0, "a"))) == {"v1": "a | 2 | ∂a/∂a = 1"}
    assert labels(gg.draw(gg.tensor(2.0))) == {"v1": "tensor | 2"}
    assert labels(gg.draw(gg.ones((3, 3)), values=False)) == {"v1": "tensor | (3, 3) float32"}


def test_draw_recomputes_values_that_no_derivative_keeps(device):
    a, b = leaf(1.5), leaf(2.5)
    y = gg.maximum(a + b, 1.0) + (a - b)  # the operands of the last addition are not kept
    y._node.values = tuple(y._node.parents)
    found = list(labels(gg.draw(y)).values())
    assert any(text.startswith("maximum | 4 |") for text in found)
    assert any(text.startswith("subtract | -1 |") for text in found)


def test_draw_of_an_operation_with_several_outputs():
    x = leaf([1.0, 2.0, 3.0, 4.0], "x")
    p, q = gg.split(x, 2)
    drawing = gg.draw(named((p * q).sum(), "y"))
    found = labels(drawing)
    assert list(found.values()).count("split") == 1
    assert "split_1 | [1, 2] | ∂y/∂split_1 =\\n[3, 4]" in found.values()
    assert "split_2 | [3, 4] | ∂y/∂split_2 =\\n[1, 2]" in found.values()


def test_draw_keeps_two_operations_with_several_outputs_apart():
    x = leaf([1.0, 2.0, 3.0, 4.0], "x")
    (a, b), (c, d) = gg.split(x, 2), gg.split(x * 2, 2)
    drawing = gg.draw((a * b * c * d).sum())
    found = labels(drawing)
    splits = [key for key, label in found.items() if label == "split"]
    assert len(splits) == 2
    inputs = [source for source, target in edges(drawing) if target in splits]
    assert {found[source].split(" | ")[0] for source in inputs} == {"x", "multiply_1"}
    for split in splits:
        assert sum(source == split for source, _ in edges(drawing)) == 2


def test_draw_gives_a_value_that_is_left_out_one_place():
    a = leaf(1.0, "a")
    y = a
    for _ in range(6):
        y = y * a
    lines = gg.draw(y, max_nodes=4).source.splitlines()
    assert len(set(lines)) == len(lines)
    assert sum("a …" in line for line in lines) == 1


def test_draw_says_that_a_leaf_was_changed_since():
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    y = a + b
    with gg.no_grad():
        a += 1
    assert "changed in place" in gg.draw(y).notes[0]
    with gg.no_grad():
        a -= 1
    assert gg.draw(y).notes == ()


def test_draw_shows_the_rest_where_a_needed_value_was_changed():
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    y = named(a * b, "y")
    with gg.no_grad():
        a += 1
    drawing = gg.draw(y)
    assert drawing.notes[0].startswith("no derivatives: backward: multiply needs")
    assert labels(drawing)["v2"] == "b | 3"


def test_draw_where_the_tensor_of_a_leaf_is_gone():
    y = leaf(2.0) + leaf(3.0)
    assert labels(gg.draw(y))["v1"] == "leaf_1 | () float64 | ∂add/∂leaf_1 = 1"


def test_draw_is_deterministic():
    script = (
        "import gpugrad as gg\n"
        "a = gg.tensor(2.0, requires_grad=True)\n"
        "y = (a * 3 + gg.exp(a)) / gg.sum(gg.tensor([1.0, 2.0]) * a)\n"
        "print(gg.draw(y))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            check=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert "leaf_1" in runs[0]


def test_draw_a_long_chain_shows_the_last_values():
    a = leaf(1.0, "a")
    y = a
    for _ in range(100_000):
        y = y + 1.0
    drawing = gg.draw(y, max_nodes=10)
    assert drawing.notes == ("the last 10 of 100,001 values; 99,991 earlier ones are left out",)
    found = labels(drawing)
    assert sum(key.startswith("v") for key in found) == 10
    assert found["v100001"].startswith("add_100000 | 100001 | ")
    assert found["m99991"] == "add_99990 …"
    assert ("m99991", "o99992") in edges(drawing)


def test_names_of_values_are_unique():
    a, b = leaf(1.0, "w"), leaf(2.0, "w")
    y = gg.tanh(a) + gg.tanh(b)
    found = [text.split(" | ")[0] for key, text in labels(gg.draw(y)).items() if key[0] == "v"]
    assert found == ["w", "w_2", "tanh_1", "tanh_2", "add"]


ODD = [
    'say "hi"', "a|b", "{a}", "<port> x", "back\\slash", "ends in \\", "two\nlines", "a  b   c",
    "&amp; & &lt;", "\x00\x07", "\ud800", "größe ∂ 数", "\\N \\G \\l", "->; //", "--", "]",
]  # fmt: skip


@needs_dot
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("rankdir", ["LR", "TB"])
def test_any_name_comes_out_of_graphviz_as_it_went_in(name, rankdir):
    drawing = gg.draw(named(leaf(1.0, name) * 2, f"{name}!"), rankdir=rankdir)
    parsed = json.loads(drawing.picture("json"))
    shown = [
        op["text"].replace("\xa0", " ")
        for o in parsed["objects"]
        for op in o.get("_ldraw_", ())
        if "text" in op
    ]
    expected = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )
    assert expected in shown
    assert f"{expected}!" in shown
    assert len(shown) == 2 * 3 + 2  # no name divides a record


@pytest.mark.parametrize("name", ODD)
def test_any_name_makes_source_that_can_be_written(name, tmp_path):
    path = tmp_path / "graph.dot"
    drawing = gg.draw(leaf(1.0, name) * 2, file=path)
    assert path.read_text(encoding="utf-8") == drawing.source
    assert len(drawing.source.splitlines()) == 13


# ---------------------------------------------------------------- draw: files


@pytest.mark.parametrize("ending", ["dot", "gv"])
def test_draw_writes_the_source(tmp_path, ending):
    path = tmp_path / f"graph.{ending}"
    drawing = gg.draw(leaf(1.0) * 2, file=str(path))
    assert path.read_text(encoding="utf-8") == drawing.source
    other = tmp_path / "other"
    assert drawing.save(other, format="dot") == other
    assert other.read_text(encoding="utf-8") == drawing.source


@needs_dot
def test_draw_writes_pictures(tmp_path):
    L, _ = product()
    gg.draw(L, file=tmp_path / "graph.png")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert gg.draw(L).render(tmp_path / "graph.pdf") == tmp_path / "graph.pdf"


def test_draw_without_the_package_graphviz(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    L, _ = product()
    with pytest.raises(gg.GpugradError, match='pip install "graphviz>=0.20"'):
        gg.draw(L, file=tmp_path / "graph.png")
    assert not (tmp_path / "graph.png").exists()
    gg.draw(L, file=tmp_path / "graph.svg")
    gg.draw(L, file=tmp_path / "graph.dot")


@needs_graphviz
def test_draw_without_the_program_dot(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    L, _ = product()
    with pytest.raises(gg.GpugradError, match="apt install graphviz"):
        gg.draw(L, file=tmp_path / "graph.png")


@needs_graphviz
def test_draw_where_dot_fails(monkeypatch):
    graphviz = importlib.import_module("graphviz")

    def fail(*args, **kwargs):
        raise graphviz.CalledProcessError(1, ["dot"], b"", b"syntax error in line 1")

    monkeypatch.setattr(graphviz.Source, "pipe", fail)
    with pytest.raises(gg.GpugradError, match="'png': syntax error in line 1"):
        gg.draw(leaf(1.0)).picture("png")


def test_errors_of_draw(tmp_path):
    a = leaf(1.0)
    with pytest.raises(gg.DTypeError, match=r"draw: expected a Tensor, got float.*gg\.tensor"):
        gg.draw(1.0)
    with pytest.raises(ValueError, match="draw: rankdir must be one of .* got 'up'"):
        gg.draw(a, rankdir="up")
    with pytest.raises(ValueError, match="draw: max_nodes must be a whole number from 1, got 0"):
        gg.draw(a, max_nodes=0)
    with pytest.raises(ValueError, match="draw: format='png' .* pass file= too"):
        gg.draw(a, format="png")
    with pytest.raises(gg.GpugradError, match="has no suffix that names a format"):
        gg.draw(a, file=tmp_path / "graph")


@needs_graphviz
def test_draw_names_the_formats_that_graphviz_knows(tmp_path):
    with pytest.raises(gg.GpugradError, match="expected a format that graphviz knows .* 'doc'"):
        gg.draw(leaf(1.0), file=tmp_path / "graph.doc")


# ---------------------------------------------------------------- explain: scalars


def test_explain_writes_the_chain_rule(device):
    loss, _ = sigmoid_loss()
    explanation = gg.explain(loss)
    assert isinstance(explanation, Explanation)
    assert str(explanation).splitlines() == [
        "x = 3",
        "b = 0.3738",
        "k = 0.3592",
        "y = 0.6088",
        "linear = k·x + b = 1.4512",
        "sigmoid = sigmoid(linear) = 0.8102",
        "loss = mean((y - sigmoid)²) = 0.04056",
        "",
        "∂loss/∂x = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂x"
        " = 0.4028 · 0.1538 · 0.3592 = 0.02225",
        "∂loss/∂b = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂b = 0.4028 · 0.1538 · 1 = 0.06194",
        "∂loss/∂k = ∂loss/∂sigmoid · ∂sigmoid/∂linear · ∂linear/∂k = 0.4028 · 0.1538 · 3 = 0.1858",
        "∂loss/∂y = -0.4028",
    ]  # fmt: skip
    assert repr(explanation) == str(explanation)


def test_explain_gives_the_numbers():
    loss, (x, b, k, y, _, _) = sigmoid_loss()
    explanation = gg.explain(loss)
    loss.backward()
    for tensor in (x, b, k, y):
        assert explanation.derivatives[tensor.name] == tensor.grad.item()
        assert explanation.counts[tensor.name] == 1
    (path,) = explanation.paths["k"]
    assert path.names == ("loss", "sigmoid", "linear", "k")
    np.testing.assert_allclose(
        path.factors, (0.402796525409167, 0.8101858733432837 * (1 - 0.8101858733432837), 3)
    )
    assert path.value == pytest.approx(0.18583185743835806, rel=1e-14)
    assert explanation.values["linear"] == 1.4512183820274032
    assert explanation.expressions == {
        "linear": "k·x + b",
        "sigmoid": "sigmoid(linear)",
        "loss": "mean((y - sigmoid)²)",
    }
    assert explanation.title == "loss"


def test_explain_wrt_takes_tensors_and_names_of_any_value():
    loss, (_, _, k, _, _, sigmoid) = sigmoid_loss()
    explanation = gg.explain(loss, wrt=[sigmoid, "linear", k])
    assert list(explanation.derivatives) == ["sigmoid", "linear", "k"]
    assert "∂loss/∂linear = ∂loss/∂sigmoid · ∂sigmoid/∂linear = 0.4028 · 0.1538 = 0.06194" in str(
        explanation
    )
    assert "∂loss/∂x" not in str(explanation)
    assert list(gg.explain(loss, wrt=k).derivatives) == ["k"]
    assert gg.explain(loss, wrt=loss).derivatives == {"loss": 1.0}


def test_explain_leaves_no_trace():
    L, (a, *_) = product()
    gg.explain(L)
    assert a.grad is None
    L.backward(retain_graph=True)
    gg.explain(L)
    assert a.grad.item() == 6
    L.backward()
    assert a.grad.item() == 12


def test_draw_and_explain_are_not_observed():
    x = gg.tensor(0.0, requires_grad=True, name="x")
    with gg.detect_anomaly():
        y = gg.sqrt(x)
        assert gg.explain(y).derivatives["x"] == np.inf
        assert "∂sqrt/∂x = inf" in str(gg.draw(y))
        with pytest.raises(gg.AnomalyError):  # as the user's own pass is
            y.backward()


def test_draw_and_explain_call_no_hooks():
    L, (a, _, _, _, e, d) = product()
    calls = []
    a.register_hook(calls.append)
    d.register_hook(calls.append)
    e.retain_grad()
    assert "a | 2 | ∂L/∂a = 6" in labels(gg.draw(L)).values()
    assert gg.explain(L).derivatives["a"] == 6
    assert calls == []
    assert e.grad is None
    L.backward()
    assert len(calls) == 2
    assert e.grad.item() == -2


def test_an_explanation_is_a_snapshot():
    w = leaf([1.0, 2.0], "w")
    explanation = gg.explain(named((w * w).sum(), "y"))
    with gg.no_grad():
        w += 1
    np.testing.assert_array_equal(explanation.values["w"].numpy(), [1.0, 2.0])


def test_explain_names_the_steps_where_nothing_between_has_a_name():
    a, b, c = leaf(2.0, "a"), leaf(-3.0, "b"), leaf(10.0, "c")
    text = str(gg.explain((a * b + c) * a))
    assert "multiply_1 = a·b = -6" in text
    assert "add = multiply_1 + c = 4" in text
    assert "multiply_2 = add·a = 8" in text


def test_explain_keeps_an_unnamed_step_that_is_used_twice():
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    shared = a * b
    s = named(shared + 1, "s")
    explanation = gg.explain(named(s * shared, "y"))
    assert explanation.expressions == {"multiply": "a·b", "s": "multiply + 1", "y": "s·multiply"}
    assert explanation.counts == {"a": 2, "b": 2}


def test_explain_writes_no_endless_expressions():
    x = leaf(1.0, "x")
    y = named(x * 2, "start")
    for _ in range(100):
        y = y + 1
    expressions = gg.explain(named(y, "end")).expressions
    assert max(len(text) for text in expressions.values()) < 80
    assert 8 < len(expressions) < 15


def test_explain_follows_no_path_that_leads_elsewhere():
    x, z = leaf(2.0, "x"), leaf(1.0, "z")
    y = z
    for _ in range(60):
        y = y * 0.5 + y * 0.5  # 2**60 ways to z, none to x
    explanation = gg.explain(named(y + x, "y"), wrt="x")
    assert str(explanation).endswith("∂y/∂x = 1")


def test_explain_sums_over_paths():
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    c = named(a * b, "c")
    y = named(c + a, "y")
    explanation = gg.explain(y)
    line = "∂y/∂a = (∂y/∂c · ∂c/∂a) + ∂y/∂a⁽¹⁾ = (1 · 3) + 1 = 4"
    assert line in str(explanation).splitlines()
    assert [path.value for path in explanation.paths["a"]] == [3, 1]


def test_explain_counts_an_operand_that_stands_twice_as_two_paths():
    a = leaf(2.0, "a")
    assert "∂c/∂a = ∂c/∂a⁽¹⁾ + ∂c/∂a⁽²⁾ = 1 + 1 = 2" in str(gg.explain(named(a + a, "c")))
    x = leaf(3.0, "x")
    s = named(x * x - 5 / x, "s")
    y = named(gg.exp(s * 0), "y")
    text = str(gg.explain(y, wrt="x"))
    assert "s = x·x - 5 / x = 7.3333" in text
    assert "∂s/∂x⁽³⁾" in text


def test_explain_the_sum_of_the_paths_is_the_derivative(rng):
    """On random graphs that share values, against the reverse pass and a second way to count."""
    for _ in range(20):
        values = [leaf(float(v), f"x{i}") for i, v in enumerate(rng.uniform(0.5, 1.5, 3))]
        leaves = list(values)
        ways = {t.name: {t.name: 1} for t in values}
        for step in range(8):
            i, j = rng.integers(len(values), size=2)
            kind = [gg.add, gg.multiply, gg.subtract, gg.maximum][rng.integers(4)]
            made = named(kind(values[i], values[j]), f"t{step}")
            ways[made.name] = {
                t.name: ways[values[i].name].get(t.name, 0) + ways[values[j].name].get(t.name, 0)
                for t in leaves
            }
            values.append(made)
        y = values[-1]
        explanation = gg.explain(y, max_paths=100_000)
        y.backward()
        for t in leaves:
            count = ways[y.name][t.name]
            if t.name not in explanation.paths:
                assert count == 0
                continue
            assert explanation.counts[t.name] == count == len(explanation.paths[t.name])
            assert len({p.names for p in explanation.paths[t.name]}) <= count
            total = math.fsum(path.value for path in explanation.paths[t.name])
            assert total == pytest.approx(t.grad.item(), rel=1e-9, abs=1e-9)


def test_explain_sums_up_a_million_paths():
    y = leaf(1.0, "x")
    for i in range(20):
        y = named(y + y, f"y{i}")
    explanation = gg.explain(y, max_paths=16)
    assert explanation.counts == {"x": 1_048_576}
    assert len(explanation.paths["x"]) == 16
    text = str(explanation)
    assert "∂y19/∂x = the sum over 1,048,576 paths:" in text
    assert "… and 1,048,560 more paths, together 1048560" in text
    assert text.splitlines()[-3].strip() == "= 1048576"


def test_explain_stops_counting_paths_at_ten_to_the_fifteen():
    y = leaf(0.0, "x", dtype="float64")
    for _ in range(300):
        y = y + y
    explanation = gg.explain(y, max_paths=1)
    assert explanation.counts["x"] == 10**15
    assert "the sum over over 10¹⁵ paths" not in str(explanation)
    assert "the sum over more than 10¹⁵ paths" in str(explanation)


def test_explain_a_deep_chain():
    x = y = leaf(2.0, "x")
    for _ in range(100_000):
        y = y + 1.0
    explanation = gg.explain(y, max_paths=3)
    assert len(explanation.paths["x"][0].factors) == 100_000
    assert explanation.derivatives == {"x": 1.0}
    text = str(explanation)
    assert len(text.splitlines()) < 60
    assert "… 99,961 more values …" in text
    assert "(99,996 more factors)" in text
    assert x.grad is None


def test_explain_a_deep_ladder_of_paths_in_bounded_time():
    x = leaf(1.0, "x")
    y = x
    for _ in range(3000):
        y = y + x
    explanation = gg.explain(y, max_paths=1000)
    assert explanation.counts["x"] == 3001
    assert sum(len(p.factors) for p in explanation.paths["x"]) < 1_100_000


def test_explain_lists_some_of_many_leaves():
    leaves = [leaf(float(i), f"x{i}") for i in range(50)]
    total = leaves[0]
    for one in leaves[1:]:
        total = total + one
    explanation = gg.explain(total)
    assert len(explanation.derivatives) == 50
    assert len(explanation.paths) == 20
    assert "… and 30 more leaves" in str(explanation)
    assert len(gg.explain(total, wrt=leaves).paths) == 50


def test_explain_constants_and_detached_tensors_are_no_leaves():
    x = leaf(2.0, "x")
    n = gg.tensor(3, name="n")
    explanation = gg.explain(named(x * n + x.detach() - gg.tensor(5.0), "y"))
    assert list(explanation.derivatives) == ["x"]
    assert explanation.counts == {"x": 1}


def test_explain_follows_the_engine_where_a_derivative_is_infinite():
    x = leaf(0.0, "x")
    root = named(gg.sqrt(x), "root")
    y = named(root * 0.0, "y")
    explanation = gg.explain(y)
    assert explanation.paths["x"][0].factors == (0, math.inf)
    assert math.isnan(explanation.paths["x"][0].value)  # 0 times infinity, as in the engine
    assert math.isnan(explanation.derivatives["x"])
    chosen = named(gg.where(x > 0, root, 1.0), "y")
    explanation = gg.explain(chosen)
    assert explanation.paths["x"][0].factors == (0, math.inf)
    assert explanation.paths["x"][0].value == explanation.derivatives["x"] == 0


def test_explain_of_a_leaf():
    assert str(gg.explain(leaf(2.0, "a"))) == "a = 2\n\n∂a/∂a = 1"


def test_explain_of_a_leaf_whose_tensor_is_gone():
    explanation = gg.explain(leaf(2.0) + leaf(3.0))
    assert explanation.values["leaf_1"] is None
    assert explanation.derivatives == {"leaf_1": 1.0, "leaf_2": 1.0}


# ---------------------------------------------------------------- explain: arrays


def test_explain_arrays_by_shape_and_norm(device):
    x = gg.ones((4, 3), dtype="float64")
    w, b = leaf([[0.5, 0.5]] * 3, "w"), leaf([1.0, -1.0], "b")
    h = named(x @ w + b, "h")
    loss = named((h * h).sum(), "loss")
    explanation = gg.explain(loss)
    loss.backward()
    text = str(explanation)
    assert "h = [4×3] @ w + b = (4, 2) float64 of norm 5.099" in text
    assert "Jacobian (4, 2)→() · Jacobian (3, 2)→(4, 2)" in text
    for tensor in (w, b):
        np.testing.assert_array_equal(
            explanation.derivatives[tensor.name].cpu().numpy(), tensor.grad.cpu().numpy()
        )
        total = sum(path.value.cpu().numpy() for path in explanation.paths[tensor.name])
        np.testing.assert_allclose(total, tensor.grad.cpu().numpy())
        assert explanation.paths[tensor.name][0].factors == (None, None)
    big = gg.explain(named(gg.sum(gg.exp(leaf(np.zeros((5, 5)), "m"))), "s"))
    assert "Jacobian (5, 5)→() = " not in str(big)
    assert "= (5, 5) float64 of norm 5" in str(big)


def test_explain_sums_up_the_paths_of_arrays():
    x = leaf([1.0, 2.0], "x")
    y = x
    for _ in range(5):
        y = y + y
    text = str(gg.explain(named(y.sum(), "s"), max_paths=2))
    assert "… and 30 more paths, together [30, 30]" in text


def test_explain_of_an_array_has_jacobians_and_no_numbers():
    w = leaf([1.0, 2.0], "w")
    explanation = gg.explain(named(gg.exp(w) * 2, "y"))
    assert explanation.derivatives == {"w": None}
    assert explanation.paths["w"][0].value is None
    assert "= Jacobian (2,)→(2,) · Jacobian (2,)→(2,) = Jacobian (2,)→(2,)" in str(explanation)


def test_explain_an_operation_with_several_outputs():
    x = leaf([1.0, 2.0, 3.0, 4.0], "x")
    p, q = gg.split(x, 2)
    explanation = gg.explain(named((p * q).sum(), "y"))
    x_grad = explanation.derivatives["x"].numpy()
    np.testing.assert_array_equal(x_grad, [3.0, 4.0, 1.0, 2.0])
    np.testing.assert_array_equal(explanation.paths["x"][0].value.numpy(), [3.0, 4.0, 0.0, 0.0])
    assert "split(x, indices_or_sections=2)[1]" in str(explanation)


def test_explain_a_fused_layer():
    model = gg.nn.Sequential(gg.nn.Linear(3, 2), gg.nn.Tanh(), gg.nn.Linear(2, 1))
    loss = named(gg.nn.functional.mse_loss(model(gg.ones((4, 3))), gg.zeros((4, 1))), "loss")
    explanation = gg.explain(loss)
    loss.backward()
    found = list(explanation.derivatives.values())
    for g, parameter in zip(found, model.parameters(), strict=True):
        if isinstance(g, float):
            assert g == pytest.approx(parameter.grad.item())
        else:
            np.testing.assert_allclose(g.numpy(), parameter.grad.numpy())


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda a, b: a - (b - a), "a - (b - a)"),
        (lambda a, b: a - b - a, "a - b - a"),
        (lambda a, b: (a + b) * a, "(a + b)·a"),
        (lambda a, b: a / (b * a), "a / (b·a)"),
        (lambda a, b: -(a + b), "-(a + b)"),
        (lambda a, b: (-a) ** 2, "(-a)²"),
        (lambda a, b: a * -b, "a·(-b)"),
        (lambda a, b: -3.0 * a, "-3·a"),
        (lambda a, b: a * -3.5, "a·(-3.5)"),
        (lambda a, b: a + 1.00001, "a + 1.00001"),
        (lambda a, b: (a * b) ** 3, "(a·b)³"),
        (lambda a, b: 2**a, "2 ** a"),
        (lambda a, b: (-2.5) ** a, "(-2.5) ** a"),
        (lambda a, b: gg.square(a + b), "(a + b)²"),
        (lambda a, b: gg.clip(a, None, 2.0), "clip(a, None, 2)"),
        (lambda a, b: gg.sum(gg.reshape(a, (1,)), axis=0), "sum(reshape(a, shape=(1,)), axis=0)"),
        (lambda a, b: gg.stack([a, b])[1], "stack(a, b)[1]"),
        (lambda a, b: gg.stack([a, b])[None, :1, ...], "stack(a, b)[None, :1, …]"),
        (lambda a, b: gg.stack([a, b])[[0, 1, 1]], "stack(a, b)[[3]]"),
        (lambda a, b: gg.log(a, ), "log(a)"),
    ],
)  # fmt: skip
def test_expressions_read_as_they_were_written(make, expected):
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    value = named(make(a, b), "value")
    assert gg.explain(value * 1.0).expressions["value"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.4512183820274032, "1.4512"),
        (0.06194395247945269, "0.06194"),
        (3.0, "3"),
        (-0.5, "-0.5"),
        (0.0, "0"),
        (1.2345678e-7, "1.235e-07"),
        (123456789.25, "1.235e+08"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (True, "True"),
        (7, "7"),
        (1.5 + 2j, "1.5+2j"),
    ],
)
def test_numbers_have_four_digits(value, expected):
    assert number(value) == expected


def test_errors_of_explain():
    a = leaf(1.0, "a")
    y = a * 2
    with pytest.raises(gg.DTypeError, match="explain: expected a Tensor, got list"):
        gg.explain([y])
    with pytest.raises(gg.GradientError, match="explain: this tensor requires no gradient"):
        gg.explain(gg.tensor(1.0))
    with pytest.raises(ValueError, match="explain: max_paths must be a whole number from 1, got 0"):
        gg.explain(y, max_paths=0)
    with pytest.raises(gg.GradientError, match="no value of this graph is named 'q'.* a, multiply"):
        gg.explain(y, wrt="q")
    with pytest.raises(gg.GradientError, match="the tensor 'c' of wrt is no part of this graph"):
        gg.explain(y, wrt=leaf(1.0, "c"))
    with pytest.raises(gg.GradientError, match="is no part of this graph: it requires no gradient"):
        gg.explain(y, wrt=[a.detach()])
    with pytest.raises(gg.DTypeError, match="expected tensors or names in wrt, got int"):
        gg.explain(y, wrt=[0])


def test_explain_after_the_graph_was_freed():
    L, _ = product()
    L.backward()
    with pytest.raises(gg.GradientError, match="explain: the graph was freed .* retain_graph=True"):
        gg.explain(L)


def test_explain_after_a_leaf_was_changed():
    a, b = leaf(2.0, "a"), leaf(3.0, "b")
    y = a + b
    with gg.no_grad():
        a += 1
    with pytest.raises(gg.GradientError, match="explain: a leaf was changed in place"):
        gg.explain(y)


# ---------------------------------------------------------------- every op of the table


@pytest.mark.parametrize(("op", "sample"), cases(differentiable=True), ids=case_id)
def test_every_op_is_drawn_and_explained(op, sample, device):
    tensors = tensors_for(op, sample, device)
    for i, tensor in enumerate(tensors):
        tensor.name = f"x{i}"
    result = apply(op, sample, tensors)
    outputs = result if isinstance(result, tuple) else (result,)
    total = sum(gg.sum(output * output) for output in outputs)
    if not any(output.requires_grad for output in outputs):
        pytest.fail(f"{op.name} is differentiable and records nothing")
    again = Values(reachable([total.grad_fn]), total, from_leaves=True)[total.grad_fn]
    np.testing.assert_array_equal(plain(gg.tensor(again)), plain(total.detach()))
    assert gg.draw(total).notes == ()
    explanation = gg.explain(total, max_paths=1000)
    total.backward()
    for tensor in tensors:
        if not tensor.requires_grad:
            continue
        found = explanation.derivatives[tensor.name]
        np.testing.assert_allclose(plain(found), plain(tensor.grad), rtol=1e-12, err_msg=op.name)
        paths = sum(plain(path.value) for path in explanation.paths[tensor.name])
        np.testing.assert_allclose(paths, plain(tensor.grad), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(
            plain(explanation.values[tensor.name]), plain(tensor.detach())
        )


def plain(value):
    return value if isinstance(value, float | complex) else np.asarray(value.cpu().numpy())
