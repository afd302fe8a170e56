"""The page that gg.draw(t).show() opens: what is in it, and what a reader can do in a browser."""

import json
import re
import webbrowser

import numpy as np
import pytest
from chromium import Chromium

import gpugrad as gg
from gpugrad.engine.op import TABLE
from gpugrad.inspect import page
from gpugrad.inspect.rules import rule_text

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


def leaf(value, name=None, device="cpu"):
    return gg.tensor(value, dtype="float64", requires_grad=True, name=name, device=device)


def loss_of(name="w", turns=80, device="cpu"):
    w, h = leaf(np.full((2, 4), 0.3), name, device), leaf(np.ones(4), "h", device)
    with gg.debug_mode():
        for _ in range(turns):
            h = gg.concatenate([gg.tanh(w @ h), h[:2]]) * 0.9
        loss = (h * h).sum()
    loss.name = f"loss of {name}"
    return loss


def data_of(text):
    """The data of a page, as its script reads them."""
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.S)[1])


def test_a_page_has_the_facts_of_every_value(device):
    text = gg.draw(loss_of(turns=20, device=device)).picture("html").decode()
    data = data_of(text)
    facts = {value[0]: value for value in data["values"].values()}
    w, product = facts["w"], facts["matmul_1"]
    assert w[2] == "[[0.3, 0.3, 0.3, 0.3, …\n(8 elements)"
    assert w[3].startswith("‖∂loss of w/∂w‖ = ")
    assert w[4:7] == ["(2, 4)", "float64", str(device)]
    assert product[1] == "w @ h"
    assert product[2] == "[1.2, 1.2]"
    assert product[7].startswith(__file__)
    assert product[7].endswith("h = gg.concatenate([gg.tanh(w @ h), h[:2]]) * 0.9")
    assert product[8] == "matmul"
    assert [data["values"][str(n)][0] for n in product[9]] == ["w", "h"]
    assert data["rules"]["multiply"] == "a: g * b; b: g * a"
    assert set(re.findall('[a-z]+://[^"]*', text)) == {"http://www.w3.org/2000/svg"}


def test_every_value_is_in_a_box_of_one_scene():
    data = data_of(gg.draw(loss_of()).picture("html").decode())
    boxes = [(box[0], box[1]) for scene in data["scenes"] for box in scene["boxes"]]
    values = [key for kind, key in boxes if kind in ("value", "leaf", "result")]
    assert sorted(values) == sorted(map(int, data["values"]))
    groups = [key for kind, key in boxes if kind == "group"]
    assert sorted(groups) == list(range(1, len(data["scenes"])))


def test_the_page_after_the_graph_was_freed():
    loss = loss_of()
    loss.backward()
    data = data_of(gg.draw(loss).picture("html").decode())
    assert "retain_graph=True" in data["notes"][0]
    assert {value[1] for value in data["values"].values()} == {""}


def test_names_cannot_leave_the_data_of_a_page():
    text = gg.draw(loss_of(EVIL, turns=2)).picture("html").decode()
    assert text.count("<script") == text.count("</script>") == 2
    assert any(value[0] == EVIL for value in data_of(text)["values"].values())


def test_the_rule_of_a_complex_number_says_that_it_is_conjugated():
    z = gg.tensor(1 + 2j, requires_grad=True, name="z")
    data = data_of(gg.draw(gg.abs(z * z)).picture("html").decode())
    assert data["rules"]["multiply"].endswith("conjugate of g:\na: g * b; b: g * a")


def test_every_op_has_its_rule_as_text():
    for op in TABLE.values():
        assert rule_text(op)
        assert "not at hand" not in rule_text(op)
    assert rule_text(TABLE["exp"]) == "g * y"
    assert "return (g - sum(g * y, axis=axis, keepdims=True)) * y" in rule_text(TABLE["softmax"])


def test_show_opens_a_browser_where_there_is_a_screen(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(page.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(page, "_has_screen", lambda: True)
    path = gg.draw(loss_of(turns=2)).show()
    assert opened == [path.as_uri()]
    assert [file.name for file in path.parent.iterdir()] == ["graph.html"]
    assert data_of(path.read_text(encoding="utf-8"))["title"] == "loss of w"
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(page, "_has_screen", lambda: False)
    other = gg.draw(loss_of(turns=2)).show()
    assert len(opened) == 1
    assert capsys.readouterr().out == f"The drawing is in {other}\n"
    assert tmp_path in other.parents


# ---------------------------------------------------------------- in a browser

PRESS = """(key) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}))"""
CLICK = """(name) => [...document.querySelectorAll(".gg-box")].find(
    box => box.getAttribute("aria-label")?.startsWith(name)
).dispatchEvent(new MouseEvent("click", {bubbles: true}))"""
# Boxes whose text is wider than they are, and boxes that overlap others which are not around them.
FAULTS = """(() => {
    const faults = [], boxes = [...document.querySelectorAll(".gg-box")];
    const areas = boxes.map(box => box.querySelector("rect:last-of-type").getBoundingClientRect());
    boxes.forEach((box, i) => {
        const area = areas[i];
        for (const text of box.querySelectorAll(":scope > text")) {
            const ink = text.getBoundingClientRect();
            if (ink.left < area.left || ink.right > area.right || ink.bottom > area.bottom + 1)
                faults.push(`text: ${text.textContent}`);
        }
        boxes.forEach((other, j) => {
            const one = areas[j];
            if (i < j && !box.contains(other) && area.left < one.right && one.left < area.right
                && area.top < one.bottom && one.top < area.bottom)
                faults.push(`${box.textContent} | ${other.textContent}`);
            if (box !== other && box.contains(other) && !(area.left < one.left
                && one.right < area.right && area.top < one.top && one.bottom < area.bottom))
                faults.push(`not inside: ${other.textContent}`);
        });
    });
    return faults;
})()"""


def details(browser):
    """The panel of a page: its heading, and its texts by their terms."""
    terms = browser.evaluate(
        "[...document.querySelectorAll('dt')].map(dt => "
        "[dt.textContent, dt.nextElementSibling.textContent])"
    )
    return browser.evaluate("document.getElementById('name').textContent"), dict(terms)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("rankdir", ["LR", "BT"])
def test_a_reader_opens_boxes_and_reads_values(browser, tmp_path, rankdir):
    path = tmp_path / "graph.html"
    gg.draw(loss_of(), path, rankdir=rankdir)
    browser.window(1300, 800)
    browser.open(path.as_uri())
    closed = browser.evaluate("document.querySelectorAll('.gg-box').length")
    browser.evaluate(f"({CLICK})('matmul, tanh')")
    assert browser.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    browser.evaluate(f"({CLICK})('blocks 1 to')")
    browser.evaluate(f"({CLICK})('block 2')")
    browser.evaluate(f"({CLICK})('block 4')")
    assert browser.evaluate("document.querySelectorAll('.gg-box').length") > closed + 20
    assert browser.evaluate(FAULTS) == []
    browser.evaluate(f"({CLICK})('operation tanh')")
    name, facts = details(browser)
    assert name == "tanh_2"
    assert facts["formula"] == "tanh(matmul_2)"
    assert facts["rule of tanh: g is the gradient of the result y"] == rule_text(TABLE["tanh"])
    assert facts["line"].startswith(__file__)
    assert facts["computed from"] == "matmul_2"
    browser.evaluate("document.querySelector('dd button').click()")
    assert details(browser)[0] == "matmul_2"
    browser.evaluate(
        "document.getElementById('find').value = 'tanh_70';"
        "document.getElementById('find').dispatchEvent(new Event('change'))"
    )
    assert details(browser)[0] == "tanh_70"
    assert browser.evaluate(FAULTS) == []
    assert browser.problems == []
    assert browser.requests[-1] == path.as_uri()


def test_keys_do_what_a_click_does(browser, tmp_path):
    path = tmp_path / "graph.html"
    gg.draw(loss_of(), path)
    browser.open(path.as_uri())
    browser.evaluate("document.querySelector('.gg-box[tabindex=\"0\"]').focus()")
    label = "document.activeElement.getAttribute('aria-label')"
    for _ in range(20):
        if browser.evaluate("document.activeElement.getAttribute('aria-expanded')") is not None:
            break
        browser.evaluate(f"({PRESS})('ArrowRight')")
    group = browser.evaluate(label)
    browser.evaluate(f"({PRESS})('Enter')")
    assert browser.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    browser.evaluate(f"({PRESS})('ArrowDown')")
    assert browser.evaluate(label) != group
    browser.evaluate(f"({PRESS})('Escape')")
    assert browser.evaluate(label) == group
    assert browser.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"
    assert browser.evaluate("document.querySelectorAll('[tabindex=\"0\"]').length") == 1


def test_a_name_is_text_in_a_browser_and_a_dark_page_is_dark(browser, tmp_path):
    path = tmp_path / "graph.html"
    gg.draw(loss_of(EVIL, turns=2), path)
    browser.window(600, 800, dark=True)
    browser.open(path.as_uri())
    browser.evaluate("document.querySelector('.gg-box').dispatchEvent(new MouseEvent('click'))")
    assert details(browser)[0] == EVIL
    assert browser.evaluate("document.title") == "gpugrad: graph"
    assert browser.evaluate("document.images.length") == 0
    color = "getComputedStyle(document.body).backgroundColor"
    assert browser.evaluate(color) == "rgb(13, 17, 23)"
    browser.window(1300, 800)
    assert browser.evaluate(color) == "rgb(255, 255, 255)"
    assert browser.problems == []


LEAF = "getComputedStyle(document.querySelector('rect.gg-leaf')).fill"
LIGHT, DARK = "rgb(227, 241, 227)", "rgb(30, 51, 37)"
# What a page says of itself, and the color of a leaf on a light screen and on a dark one.
PAGES = (
    ("", LIGHT, LIGHT),
    ("color-scheme: light dark", LIGHT, DARK),
    ("color-scheme: light", LIGHT, LIGHT),
    ("color-scheme: dark", DARK, DARK),
)


@pytest.mark.parametrize("dark", [False, True])
def test_a_picture_is_dark_where_its_page_is(browser, tmp_path, dark):
    browser.window(1300, 800, dark=dark)
    picture = gg.draw(leaf(2.0, "x") * 3)
    path = picture.save(tmp_path / "graph.svg")
    browser.open(path.as_uri())
    assert browser.evaluate(LEAF) == (DARK if dark else LIGHT)
    path = tmp_path / "page.html"
    path.write_text(f"<div>{picture._repr_svg_()}</div>", encoding="utf-8")
    browser.open(path.as_uri())
    for style, *colors in PAGES:
        browser.evaluate(f"document.querySelector('div').style = {style!r}")
        assert browser.evaluate(LEAF) == colors[dark], style
    browser.evaluate("document.querySelector('div').style = ''")
    for attribute, value in (("data-jp-theme-light", "false"), ("class", "vscode-dark")):
        browser.evaluate(f"document.body.setAttribute({attribute!r}, {value!r})")
        assert browser.evaluate(LEAF) == DARK
        browser.evaluate(f"document.body.removeAttribute({attribute!r})")
    assert browser.evaluate(LEAF) == LIGHT


def test_the_text_of_a_picture_fits_in_a_browser(browser, tmp_path):
    path = tmp_path / "graph.svg"
    gg.draw(loss_of("größe 数 ∂", turns=3), path)
    browser.open(path.as_uri())
    assert browser.evaluate(FAULTS) == []


def test_rules_for_complex_numbers_are_those_of_real_ones_with_conjugates():
    z = gg.tensor([1 + 2j], requires_grad=True)
    text = rule_text(gg.sin(z).grad_fn.op)
    assert text == "the conjugate of this rule for the conjugate of g:\n" + rule_text(TABLE["sin"])
