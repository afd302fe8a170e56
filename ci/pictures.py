#!/usr/bin/env python
"""Draws the pictures of docs/pictures.

    python ci/pictures.py            # draw them anew; page.png needs Chromium or Chrome
    python ci/pictures.py --check    # say whether they are current, change nothing

A photograph differs between browsers, so page.png holds a digest of the page that it was taken of.
tests/inspect/test_drawing.py holds all of them current.
"""

import argparse
import hashlib
import json
import linecache
import re
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import gpugrad as gg  # noqa: E402
from gpugrad.io import aside  # noqa: E402

FOLDER = ROOT / "docs" / "pictures"
KEY = b"gpugrad-page"
# In double precision, so that all machines agree in the digits shown.
TRAIN = """\
import gpugrad as gg

gg.manual_seed(0)
encoder = gg.nn.TransformerEncoderLayer(
    16, nhead=2, dim_feedforward=32, batch_first=True, dropout=0.0, dtype="float64"
)
model = gg.nn.Sequential(
    gg.nn.Linear(4, 16, dtype="float64"),
    gg.nn.TransformerEncoder(encoder, num_layers=12),
    gg.nn.Linear(16, 1, dtype="float64"),
)

with gg.debug_mode():
    x = gg.linspace(-1, 1, 40, dtype="float64").reshape(2, 5, 4)
    loss = (model(x) ** 2).mean()
loss.name = "loss"
"""
# What is clicked in the page, in this order, and the value that is looked at then.
CLICKS, SHOWN, RULE = (
    ("1.layers.0 to", "1.layers.0,", "layer_norm_1,"),
    "layer_norm_1",
    "layer_norm",
)
CLICK = """(name) => { const box = [...document.querySelectorAll(".gg-box")].find(
    box => box.getAttribute("aria-label")?.startsWith(name));
    box.dispatchEvent(new MouseEvent("click", {bubbles: true})); box.scrollIntoView({
    block: "center", inline: "center"}); }"""


def leaves(**values: float) -> list[Any]:
    """Leaves with these names."""
    return [gg.tensor(v, requires_grad=True, name=name) for name, v in values.items()]


def product() -> Any:
    """The graph of docs/debugging.md."""
    a, b, c = leaves(a=2.0, b=-3.0, c=10.0)
    d = a * b + c
    loss = d * a
    d.name, loss.name = "d", "loss"
    return gg.draw(loss)


def neuron() -> Any:
    """The graph of docs/tutorial.md."""
    x1, x2, w1, w2, b = leaves(x1=2.0, x2=0.0, w1=-3.0, w2=1.0, b=6.8813735870195432)
    n = x1 * w1 + x2 * w2 + b
    o = gg.tanh(n)
    n.name, o.name = "n", "o"
    return gg.draw(o)


def transformer() -> Any:
    """The graph of the program above, whose lines the page shows."""
    names: dict[str, Any] = {"__name__": "train"}
    linecache.cache["train.py"] = (len(TRAIN), None, TRAIN.splitlines(keepends=True), "train.py")
    exec(compile(TRAIN, "train.py", "exec"), names)
    return gg.draw(names["loss"], model=names["model"])


DRAWINGS: dict[str, Callable[[], Any]] = {
    "graph.svg": product,
    "neuron.svg": neuron,
    "layers.svg": transformer,
}


def digest(page: str) -> bytes:
    """What of a page can be seen in its picture: all but the rules of other operations."""
    script = re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert script is not None
    data = json.loads(script[1])
    data["rules"] = data["rules"][RULE]
    seen = page.replace(script[1], json.dumps(data))
    return hashlib.sha256(seen.encode()).hexdigest().encode()


def photographed(page: str) -> bytes:
    """A PNG of the page, an open box and what is known of a value, with the page's digest."""
    from chromium import NAMES, Chromium, find_chromium

    if find_chromium() is None:
        sys.exit(
            f"page.png needs a browser: {NAMES[0]} on the path, or its file in GPUGRAD_CHROMIUM, "
            "which `ci/chromium FOLDER` prints"
        )
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder, "profile")) as browser:
        file, picture = Path(folder, "page.html"), Path(folder, "page.png")
        file.write_text(page, encoding="utf-8")
        browser.window(1160, 540)
        browser.open(file.as_uri())
        for name in CLICKS:
            browser.evaluate(f"({CLICK})({name!r})")
        assert browser.evaluate("document.getElementById('name').textContent") == SHOWN
        browser.screenshot(picture)
        png = picture.read_bytes()
    text = b"tEXt" + KEY + b"\0" + digest(page)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    end_of_header = 8 + 25
    return png[:end_of_header] + chunk + png[end_of_header:]


def stale(page: str) -> list[str]:
    """The pictures that are not what is drawn today."""
    found = []
    for name, draw in DRAWINGS.items():
        if (FOLDER / name).read_text(encoding="utf-8") != draw().picture("svg").decode():
            found.append(name)
    if KEY + b"\0" + digest(page) not in (FOLDER / "page.png").read_bytes():
        found.append("page.png")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    page = transformer().picture("html").decode()
    if not check:
        for name, draw in DRAWINGS.items():
            draw().save(FOLDER / name)
        if "page.png" in stale(page):
            aside.write(FOLDER / "page.png", photographed(page))
    found = stale(page)
    for name in found:
        print(f"docs/pictures/{name} is not what is drawn today: run python ci/pictures.py")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
