"""The pictures of gg.draw: what is where in them, and what a long graph folds into."""

import itertools
import os
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from repository import ROOT, load_script

import gpugrad as gg
from gpugrad.inspect.layout import layered

SVG = "{http://www.w3.org/2000/svg}"


def leaf(value, name=None):
    return gg.tensor(value, dtype="float64", requires_grad=True, name=name)


def product():
    a, b, c = leaf(2.0, "a"), leaf(-3.0, "b"), leaf(10.0, "c")
    loss = (a * b + c) * a
    loss.name = "loss"
    return loss


def parallels():
    x = leaf([[1.0, 2.0], [3.0, 4.0]], "größe 数")
    return (x * x + x @ x - x * 3).sum()


def outputs():
    p, q, r = gg.split(leaf(np.arange(6.0), "x"), 3)
    return (p * q + r).sum()


def tangle():
    """Values of random earlier ones, all used at the end: many edges over many layers."""
    rng = np.random.default_rng(0)
    values = [leaf(0.3, "a"), leaf(0.7, "b")]
    for _ in range(22):
        i, j = rng.integers(max(0, len(values) - 9), len(values), 2)
        values.append(values[i] * values[j] if rng.random() < 0.6 else gg.sin(values[i]))
    return gg.stack(values).sum()


def recurrent(turns=40):
    w, h = leaf(np.eye(2) * 0.5, "w"), leaf(np.ones(2), "h")
    for _ in range(turns):
        h = gg.tanh(w @ h) + 0.1
    return (h * h).sum()


GRAPHS = {f.__name__: f for f in (product, parallels, outputs, tangle, recurrent)}


class Picture:
    """The boxes, texts and edges of an SVG."""

    def __init__(self, svg):
        root = ElementTree.fromstring(svg)
        self.size = tuple(map(float, root.get("viewBox").split()))
        self.boxes, self.texts = [], []
        for group in root.iter(f"{SVG}g"):
            rect = group.findall(f"{SVG}rect")[-1]
            x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
            self.boxes.append((x, y, x + w, y + h))
            self.texts.append(["".join(t.itertext()) for t in group.findall(f"{SVG}text")])
        self.edges = [
            [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.get("d"))]
            for path in root.iter(f"{SVG}path")
        ]
        self.paths = [path.get("d") for path in root.iter(f"{SVG}path")]
        self.notes = ["".join(t.itertext()) for t in root.findall(f"{SVG}text")]


def points_of(path):
    """Points along a path of lines and cubic curves."""
    at = None
    for command, numbers in re.findall(r"([MLC])([^MLC]*)", path):
        ends = [tuple(map(float, pair.split(","))) for pair in numbers.split()]
        if command == "M":
            (at,) = ends
            continue
        control = [at, *ends] if command == "C" else [at, at, *ends, *ends]
        for t in np.linspace(0, 1, 9):
            weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            yield tuple(sum(w * p[k] for w, p in zip(weights, control)) for k in (0, 1))
        at = ends[-1]


def is_inside(point, box, by=1.0):
    return box[0] + by < point[0] < box[2] - by and box[1] + by < point[1] < box[3] - by


@pytest.mark.parametrize("rankdir", ["LR", "RL", "TB", "BT"])
@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_in_a_picture_overlaps(name, rankdir):
    picture = Picture(gg.draw(GRAPHS[name](), rankdir=rankdir).picture())
    x, y, w, h = picture.size
    for box in picture.boxes:
        assert x <= box[0] < box[2] <= x + w
        assert y <= box[1] < box[3] <= y + h
    for a, b in itertools.combinations(picture.boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    for points, path in zip(picture.edges, picture.paths):
        starts, ends = (
            [box for box in picture.boxes if touches(point, box)]
            for point in (points[0], points[-1])
        )
        assert len(starts) == len(ends) == 1
        assert starts != ends
        along = list(points_of(path))
        for box in picture.boxes:
            assert not any(is_inside(point, box) for point in along)
    for box, lines in zip(picture.boxes, picture.texts):
        assert len(lines) * 16 <= box[3] - box[1]
        for line in lines:
            wide = len(re.findall("[\u3000-\u9fff]", line))
            assert (len(line) + wide) * 7.2 <= box[2] - box[0]


def touches(point, box):
    """Whether a point is on the border of a box."""
    x, y = point
    across = box[0] - 0.2 <= x <= box[2] + 0.2
    along = box[1] - 0.2 <= y <= box[3] + 0.2
    return (across and min(abs(y - box[1]), abs(y - box[3])) < 0.2) or (
        along and min(abs(x - box[0]), abs(x - box[2])) < 0.2
    )


def test_edges_go_the_way_of_rankdir():
    for rankdir, (axis, sign) in {"LR": (0, 1), "RL": (0, -1), "TB": (1, 1), "BT": (1, -1)}.items():
        for points in Picture(gg.draw(product(), rankdir=rankdir).picture()).edges:
            assert sign * (points[-1][axis] - points[0][axis]) > 0


def test_a_picture_shows_values_gradients_operations_and_constants():
    picture = Picture(gg.draw(parallels()).picture())
    assert ["größe 数", "[[1, 2],", "[3, 4]]", "∂sum/∂größe 数 =", "[[6, 12],", "[12, 18]]"] in (
        picture.texts
    )
    assert picture.texts.count(["×"]) == 2
    assert ["3"] in picture.texts
    assert len(picture.edges) == 17  # both operands of x * x and x @ x


def test_a_picture_needs_no_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    monkeypatch.setenv("PATH", "")
    drawing = gg.draw(product(), file=tmp_path / "graph.svg")
    text = (tmp_path / "graph.svg").read_text(encoding="utf-8")
    assert drawing._repr_svg_() == text
    assert drawing.render(tmp_path / "again", format="svg").read_text(encoding="utf-8") == text
    assert "∂loss/∂a" in text


@pytest.mark.skipif(os.name == "nt", reason="Windows allows few users to make links")
@pytest.mark.parametrize("name", ["graph.svg", "graph.html", "graph.dot"])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, name):
    path, link = tmp_path / name, tmp_path / f"link-{name}"
    drawing = gg.draw(product())
    link.symlink_to(path)
    drawing.save(link)
    assert link.is_symlink()
    before = path.read_bytes()

    def full(*names):
        raise OSError("no space left on the disk")

    other = gg.draw(leaf(2.0, "other"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            other.save(path)
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {path.name, link.name}
    with pytest.raises(IsADirectoryError, match="is a folder"):
        drawing.save(tmp_path, format="svg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_picture_goes_into_a_pipe(tmp_path):
    path = tmp_path / "pipe.svg"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        drawing = gg.draw(product(), path)
        assert os.read(reader, 1 << 16) == drawing.picture("svg")
    finally:
        os.close(reader)
    assert path.is_fifo()


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "\"&'", "]]>", "<!--", "\x00\x07", "\ud800", "a  b"]
)
def test_any_name_comes_out_of_a_picture_as_it_went_in(name):
    x = leaf(1.0, name)
    picture = Picture(gg.draw(x * 2).picture())
    expected = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name
    )
    assert expected in [lines[0] for lines in picture.texts]


def test_the_pictures_in_the_docs_are_what_is_drawn_today():
    """After a change of how pictures or pages look: python ci/pictures.py."""
    pictures = load_script("pictures")
    assert pictures.stale(pictures.transformer().picture("html").decode()) == []
    used = set(re.findall(r"\(pictures/([\w.]+)\)", "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")
    )))  # fmt: skip
    assert used == {*pictures.DRAWINGS, "page.png"}
    assert used == {path.name for path in pictures.FOLDER.iterdir()}


def test_notes_are_below_the_picture():
    loss = product()
    loss.backward()
    notes = Picture(gg.draw(loss).picture()).notes
    assert " ".join(notes).startswith("Note: the graph was freed by backward(): pass retain_graph")


def test_a_tensor_without_a_graph_is_one_box():
    assert Picture(gg.draw(gg.tensor(2.0)).picture()).texts == [["tensor", "2"]]
    assert Picture(gg.draw(leaf(2.0, "a")).picture()).texts == [["a", "2", "∂a/∂a = 1"]]


# ---------------------------------------------------------------- what folds


def test_blocks_that_repeat_are_one_box():
    texts = Picture(gg.draw(recurrent(400)).picture()).texts
    assert ["matmul, tanh, add ×400", "1,200 operations"] in texts
    assert len(texts) < 10
    flat = Picture(gg.draw(recurrent(400), fold=False, max_nodes=30).picture())
    assert ["tanh"] in flat.texts
    assert flat.notes == ["Note: the last 30 of 1,204 values; 1,174 earlier ones are left out"]


def test_a_long_graph_without_repetition_is_divided():
    rng = np.random.default_rng(0)
    x = leaf(0.5, "x")
    for choice in rng.integers(0, 4, 3000):
        x = [gg.sin, gg.cos, gg.tanh, lambda t: t * 0.5][choice](x)
    drawing = gg.draw(x)
    texts = Picture(drawing.picture()).texts
    assert 2 < len(texts) < 40
    groups = [lines[1] for lines in texts if lines[1:] and "operations" in lines[1]]
    counts = [int(line.split()[0].replace(",", "")) for line in groups]
    assert sum(counts) == 3000


def test_many_leaves_are_one_box():
    total = gg.stack([leaf(float(i), f"x{i}") for i in range(70)]).sum()
    texts = Picture(gg.draw(total).picture()).texts
    assert ["70 leaves"] in texts
    assert len(texts) == 5
    assert len(Picture(gg.draw(total, fold=False).picture()).texts) == 74


def test_a_small_graph_is_not_folded():
    texts = Picture(gg.draw(recurrent(15)).picture()).texts
    assert texts.count(["tanh"]) == 15


def test_leaves_stand_where_they_are_used():
    """A leaf that one block alone uses is inside of it, one that all use outside."""
    shared, h = leaf(0.5, "shared"), leaf(1.0, "h")
    for i in range(30):
        h = gg.tanh(h * shared + leaf(float(i), f"own{i}"))
    texts = Picture(gg.draw(h.sum()).picture()).texts
    assert not any(lines[0].startswith("own") for lines in texts)


def test_modules_are_boxes():
    gg.manual_seed(0)
    layer = gg.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = gg.nn.Sequential(
        gg.nn.Linear(4, 8), gg.nn.TransformerEncoder(layer, 3), gg.nn.Linear(8, 1)
    )
    texts = Picture(gg.draw(model(gg.ones((2, 5, 4))).sum(), model=model).picture()).texts
    assert ["1.layers.0 to 1.layers.2 ×3", "45 operations"] in texts
    assert [
        part.split(" = ")[0] for lines in texts if lines[0] == "0.weight" for part in lines
    ] == ["0.weight", "(8, 4) float32", "‖∂sum/∂0.weight‖"]


def test_draw_refuses_what_is_no_module():
    with pytest.raises(TypeError, match=r"draw: expected a gg\.nn\.Module in model, got int"):
        gg.draw(leaf(1.0), model=3)


# ---------------------------------------------------------------- the layout


def test_a_long_chain_is_straight():
    layout = layered(dict.fromkeys(range(200), (10.0, 10.0)), list(itertools.pairwise(range(200))))
    assert {y for _, y in layout.centres.values()} == {5.0}
    assert layout.size[1] == 10.0


def test_edges_do_not_cross_where_they_need_not():
    sizes = dict.fromkeys("abcABC", (10.0, 10.0))
    layout = layered(sizes, [("a", "C"), ("b", "B"), ("c", "A")])
    y = {name: centre[1] for name, centre in layout.centres.items()}
    assert [y["a"], y["b"], y["c"]] == pytest.approx([y["C"], y["B"], y["A"]])


def test_gradients_inside_of_vmap_are_those_of_the_whole_batch():
    b = leaf([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "b")
    drawing = gg.draw(gg.vmap(lambda v: (v * v).sum())(b).sum())
    texts = Picture(drawing.picture()).texts
    assert ["sum_1", "() float64", "∂sum_2/∂sum_1 =", "[1, 1, 1]"] in texts
    assert drawing.picture("html")


def test_of_a_very_long_graph_the_last_values_are_drawn():
    x = leaf(1.0, "x")
    for _ in range(20_500):
        x = x + 1.0
    drawing = gg.draw(x)
    note = "the last 20,000 of 20,501 values; 501 earlier ones are left out"
    assert drawing.notes == (note,)
    assert "the last 200 of 20,501 values" in drawing.source
    assert note not in drawing.source
