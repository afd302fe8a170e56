"""The documentation's site: what its pages are made of, and the built pages in a browser."""

import functools
import html.parser
import http.server
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import urllib.parse

import pytest
from chromium import Chromium
from repository import ROOT

import gpugrad as gg

sys.path.append(str(ROOT / "ci" / "site"))

LIBRARIES = ("latex2mathml", "material", "mkdocs", "sklearn")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


# ---------------------------------------------------------------- Markdown, as GitHub shows it


def markdown_files():
    """All Markdown files of the repository that a reader is sent to."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    beside = [ROOT / name for name in ("examples", "benchmarks", "ci/fakecuda")]
    below = [file for folder in beside for file in folder.glob("*.md")]
    return [*top, *below, *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(text):
    """GitHub's anchors of a file's headings."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower().strip()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{i}" if i else slug for slug, count in found.items() for i in range(count + 1)}


def test_links_between_files_lead_somewhere():
    dead = []
    texts = {file: file.read_text(encoding="utf-8") for file in markdown_files()}
    for file, text in texts.items():
        prose = re.sub(r"`[^`]*`", "`", FENCE.sub("", text))
        links = [
            *re.findall(r"\]\(([^)\s]+)\)", prose),
            *re.findall(r'(?:src|href)="(.*?)"', prose),
        ]
        for link in links:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            known = texts.get(target)
            if not target.exists() or (anchor and anchor not in anchors(known or "")):
                dead.append(f"{file.relative_to(ROOT)}: {link}")
    assert dead == []


def test_navigation_has_every_page_of_docs():
    named = re.findall(r"([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert len(named) == len({*named})
    docs = {file.relative_to(ROOT / "docs").as_posix() for file in (ROOT / "docs").rglob("*.md")}
    notebooks = {f"notebooks/{file.stem}.md" for file in (ROOT / "notebooks").glob("*.ipynb")}
    assert docs | notebooks <= {*named}


def test_site_has_the_projects_addresses():
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert f"site_url: {urls['Documentation']}\n" in text
    assert f"link: {urls['Repository']}," in text


# ---------------------------------------------------------------- the reference


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of Markdown that the site is built from."""
    lacks = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if lacks:
        pytest.skip(f"no {', '.join(lacks)}: install gpugrad's extras docs and examples")
    import pages

    folder = tmp_path_factory.mktemp("site") / "pages"
    pages.write(folder)
    return folder


@pytest.fixture(scope="module")
def api(pages):
    import api

    return api


def test_reference_has_every_public_name_once(pages, api):
    files = [file for file in (pages / "reference").glob("*.md") if file.stem != "index"]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    heads = re.findall(r"^## (gg\.\S+) \{ #\1 \}$", text, re.MULTILINE)
    assert len(heads) == len({*heads})
    shown = {id(api.attribute(name)) for name in heads}
    for name in gg.__all__:
        thing = getattr(gg, name)
        assert id(thing) in shown or not api.is_documented(thing), name
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [f.name for f in files if f" reference/{f.name}\n" not in navigation] == []


def test_entries_of_the_reference(api):
    sin = api.entry("gg.sin")
    assert "```python\ngg.sin(x, /)\n```" in sin
    assert "Gradient: `g * cos(x)`" in sin
    assert "Gradient: `g * sign(x)`" in api.entry("gg.absolute"), "under an op's other name too"
    assert "| `step(closure=None)` |" in api.entry("gg.optim.Optimizer")
    grad = api.entry("gg.grad")
    assert "```pycon\n>>> import gpugrad as gg\n" in grad
    assert "[`gpugrad.tensor`](tensors.md#gg.tensor)" in api.entry("gg.Tensor")


def test_text_of_docstrings_means_itself(api):
    assert api.docstring("p *= 2 * q, x**2 < <b>\n\n- *kernel of `a*b`") == (
        "p \\*= 2 \\* q, x\\*\\*2 &lt; &lt;b>\n\n- \\*kernel of `a*b`"
    )
    assert (
        api.docstring("Words:\n>>> 1\n1\n\nMore.") == "Words:\n\n```pycon\n>>> 1\n1\n```\n\nMore."
    )


def test_no_other_folder_is_written_over(pages, tmp_path):
    from pages import write

    (tmp_path / "mine.md").touch()
    with pytest.raises(ValueError, match="has no pages of the site; name another folder"):
        write(tmp_path)
    assert (tmp_path / "mine.md").exists()


def test_pages_are_written_as_the_site_wants_them(pages):
    from pages import finished

    links = (
        "[a](../CONTRIBUTING.md) `[b](../c)` [d](ops.md#e) [f](https://g) [h](../notebooks/i.ipynb)"
    )
    assert finished(links, "x.md") == (
        "[a](contributing.md) `[b](../c)` [d](ops.md#e) [f](https://g) [h](notebooks/i.md)"
    )
    with pytest.raises(ValueError, match=r"docs/x.md links to setup.py, which has no page"):
        finished("[a](../setup.py)", "x.md")
    assert finished("| `a \\| b` | c \\| d |", "x.md") == "| `a | b` | c \\| d |"
    session = "```python\n>>> f()  # doctest: +ELLIPSIS\na\n<BLANKLINE>\nb\n```"
    assert finished(session, "x.md") == "```pycon\n>>> f()\na\n\nb\n```"
    formulas = finished("$x^2$ `$y$`, $5\n```math\nz\n```", "x.md")
    assert formulas.startswith("<span><math ")
    assert "</span> `$y$`, $5\n<div><math " in formulas


# ---------------------------------------------------------------- the built pages


@pytest.fixture(scope="module")
def built(pages):
    """The site, built strictly."""
    site = pages.parent / "built"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT,
        env={**os.environ, "GPUGRAD_PAGES": str(pages), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return site


class Links(html.parser.HTMLParser):
    """The anchors of a page, and what it refers to."""

    def __init__(self, file):
        super().__init__()
        self.anchors, self.targets = set(), set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[key] for key in ("id", "name") if found.get(key)}
        self.targets |= {found[key] for key in ("href", "src") if found.get(key)}


def test_built_pages_refer_only_to_what_is_there(built):
    found = {file: Links(file) for file in built.rglob("*.html") if file.name != "404.html"}
    dead, elsewhere = set(), set()
    for file, links in found.items():
        for target in links.targets:
            path, _, anchor = urllib.parse.unquote(target).partition("#")
            if re.match("[a-z]+:", path):
                elsewhere.add(path)
                continue
            there = (file.parent / path).resolve() if path else file
            if not there.exists() or (anchor and anchor not in found[there].anchors):
                dead.add(f"{file.relative_to(built)}: {target}")
    assert dead == set()
    # Links that a reader may follow; a picture or script from elsewhere is found in the browser.
    assert {e for e in elsewhere if not e.startswith(("https:", "data:"))} == set()


@pytest.fixture(scope="module")
def address(built):
    """Where a server on this machine has the site."""
    handler = functools.partial(Quiet, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


# What a reader would not see on a page, and what is there.
FOUND = """({
  unseen: [...document.querySelectorAll('article img, article math, article .output svg')]
    .filter(e => !e.getBoundingClientRect().height || e.tagName == 'IMG' && !e.naturalWidth
                 || e.matches('article > math') || e.textContent.includes('&'))
    .map(e => e.outerHTML.slice(0, 200)),
  formulas: document.querySelectorAll('article math').length,
  pictures: document.querySelectorAll('article img, article .output svg').length,
  wide: document.documentElement.scrollWidth - window.innerWidth,
})"""

# The links that the search finds for a word, once its index has been loaded.
SEARCH = """new Promise(resolve => {
  const field = document.querySelector('input[name=query]');
  field.focus();
  field.value = 'hessian';
  field.dispatchEvent(new Event('input', {bubbles: true}));
  const look = left => {
    const found = [...document.querySelectorAll('.md-search-result__item a')].map(a => a.href);
    found.length || !left ? resolve(found) : setTimeout(() => look(left - 1), 100);
  };
  look(100);
})"""

# To dark pages, or back, and the color of a leaf in a drawing.
TOGGLE = "document.querySelector('[data-md-component=palette] label:not([hidden])').click()"
LEAF = "getComputedStyle(document.querySelector('.output rect.gg-leaf')).fill"


def test_built_pages_in_a_browser(address, built, tmp_path):
    files = sorted(file.relative_to(built).as_posix() for file in built.rglob("*.html"))
    files.remove("404.html")
    # The pages of the reference are made alike: one stands for all.
    files = [f for f in files if not f.startswith("reference/") or f == "reference/transforms.html"]
    found = {}
    with Chromium(tmp_path) as browser:
        for turn, file in enumerate(files):
            browser.window(390, 800, dark=bool(turn % 2))  # a phone, where a page is too wide first
            browser.open(f"{address}/{file}")
            found[file] = browser.evaluate(FOUND)
        browser.window(1280, 900)
        browser.open(f"{address}/index.html")
        results = browser.evaluate(SEARCH)
        browser.open(f"{address}/notebooks/first_gradient.html")
        colors = [browser.evaluate(f"{toggle}; {LEAF}") for toggle in ("0", TOGGLE, TOGGLE)]
    assert browser.problems == []
    assert [r for r in browser.requests if not r.startswith((address, "data:", "blob:"))] == []
    assert {file: one["unseen"] for file, one in found.items() if one["unseen"]} == {}
    assert {file: one["wide"] for file, one in found.items() if one["wide"] > 0} == {}
    assert found["tutorial.html"]["formulas"] > 3
    assert any("hessian" in link for link in results)
    light, dark, again = colors
    assert light == again != dark


def test_times_have_their_date_and_command(pages):
    text = (pages / "benchmarks.md").read_text(encoding="utf-8")
    assert re.search(r"^### \d{4}-\d\d-\d\d, one thread, beside PyTorch", text, re.MULTILINE)
    commands = re.findall(r"^python benchmarks/run.py --compiled .*$", text, re.MULTILINE)
    assert commands
    assert not any(re.search(r"--(python-for|json)|=/", command) for command in commands)
    assert text.index("### ") < text.index("## The host's time")


def test_browser_is_found_on_the_path_or_refused(tmp_path):
    if sys.platform == "win32":
        pytest.skip("ci/chromium is for Linux and macOS")

    def find(**environment):
        return subprocess.run(
            [shutil.which("bash"), ROOT / "ci" / "chromium", tmp_path / "new"],
            env={"PATH": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert find().returncode == 1
    assert find(GPUGRAD_CHROMIUM="/some/browser").stdout == "/some/browser\n"
    browser = tmp_path / "google-chrome"
    browser.write_text("#!/bin/sh\n", encoding="utf-8")
    browser.chmod(0o755)
    assert find().stdout == f"{browser}\n"
