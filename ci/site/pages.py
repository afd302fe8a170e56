"""Writes the Markdown pages of the documentation's site, as the site's generator wants them.

    python ci/site/pages.py FOLDER

They come from docs/, which can be read in the repository as it stands; from other Markdown files
of the repository (`SOURCES`); from the notebooks; and from docstrings, the op table and the
benchmarks' figures (`api`, `times`). Links between files become links between pages, and formulas
MathML, so that the generator needs no plugin.
"""

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import api
import latex2mathml.converter
import notebook_page
import times

ROOT = Path(__file__).resolve().parents[2]

# Pages that are made of other files of the repository.
SOURCES = {
    "install.md": "README.md",  # its section of that name
    "examples.md": "examples/README.md",
    "benchmarks.md": "benchmarks/README.md",
    "stand-in.md": "ci/fakecuda/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
NOTEBOOKS = {f"notebooks/{p.stem}.md": p for p in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def write(folder: Path) -> None:
    """All pages, and the files beside them, in a folder that is made anew.

    ValueError for a folder that is there and was not made so.
    """
    if folder.exists():
        if not (folder / "reference" / "index.md").exists():
            raise ValueError(f"{folder} is there and has no pages of the site; name another folder")
        shutil.rmtree(folder)
    shutil.copytree(ROOT / "docs", folder)
    for path, text in pages():
        page = folder / path
        page.parent.mkdir(exist_ok=True)
        page.write_text(finished(text, path), encoding="utf-8")


def pages() -> Iterator[tuple[str, str]]:
    """The pages' paths below the folder, and their text as their sources have it."""
    for file in sorted((ROOT / "docs").rglob("*.md")):
        yield file.relative_to(ROOT / "docs").as_posix(), file.read_text(encoding="utf-8")
    for page, source in SOURCES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if page == "install.md":
            text = re.search(r"^#(# Install\n.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)[1]
        if page == "benchmarks.md":  # before the first of its sections
            text = text.replace("\n## ", f"\n{times.tables()}\n## ", 1)
        yield page, text
    for page, notebook in NOTEBOOKS.items():
        yield page, notebook_page.markdown(notebook)
    yield from api.pages()


def finished(text: str, page: str) -> str:
    """A page with its links, mathematics and sessions as the site has them."""
    return rows(sessions(mathematics(linked(text, page))))


# ---------------------------------------------------------------- links

CODE = r"(^```.*?^```$|``.*?``|`[^`]*`)"
LINK = re.compile(CODE + r"|(\]\()([^)\s#]+)([^)\s]*\))", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(
    r"^```math\n(.*?)^```$|" + CODE + r"|\$(\S(?:[^$\n]*\S)?)\$", re.DOTALL | re.MULTILINE
)


def linked(text: str, page: str) -> str:
    """Markdown in which a link to a file of the repository is one to that file's page."""
    source = source_of(page)

    def replaced(match: re.Match[str]) -> str:
        code, opening, target, rest = match.groups()
        if code or re.match(r"[a-z]+:", target):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        return f"{opening}{posixpath.relpath(page_of(file, source), posixpath.dirname(page))}{rest}"

    return LINK.sub(replaced, text)


def source_of(page: str) -> str:
    """The file of the repository that a page is made of, or where it would lie."""
    notebook = NOTEBOOKS.get(page)
    if notebook is not None:
        return notebook.relative_to(ROOT).as_posix()
    return SOURCES.get(page, f"docs/{page}")


def page_of(file: str, source: str) -> str:
    """The page that is made of a file of the repository."""
    made_of = {path: page for page, path in SOURCES.items()}
    if file in made_of:
        return made_of[file]
    if file.endswith(".ipynb"):
        return file.removesuffix("ipynb") + "md"
    if not file.startswith("docs/"):
        raise ValueError(f"{source} links to {file}, which has no page on the site: see SOURCES")
    return file.removeprefix("docs/")


# ---------------------------------------------------------------- code and mathematics


def sessions(text: str) -> str:
    """Python with prompts in the language that colours it as a session; no words to doctest."""
    text = re.sub(r"^((?:>>>|\.\.\.) .*?)  # doctest: .*$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^<BLANKLINE>$", "", text, flags=re.MULTILINE)
    return re.sub(r"^```python\n(?=>>> )", "```pycon\n", text, flags=re.MULTILINE)


def rows(text: str) -> str:
    """Tables whose code has its bars bare, as Python's Markdown wants it, and GitHub's does not."""
    code = re.compile(r"`[^`]*`")
    return "\n".join(
        code.sub(lambda m: m[0].replace("\\|", "|"), line) if line.startswith("|") else line
        for line in text.split("\n")
    )


def mathematics(text: str) -> str:
    """Formulas, written as GitHub reads them, as MathML, which browsers show by themselves."""

    def shown(match: re.Match[str]) -> str:
        block, code, inline = match.groups()
        if code:
            return match[0]
        # The library knows `aligned` under its other name only.
        latex = (block or inline).strip().replace("{aligned}", "{align*}")
        if block is None:  # in a span, since Markdown takes <math> at a line's start for a block
            return f"<span>{latex2mathml.converter.convert(latex)}</span>"
        return f"<div>{latex2mathml.converter.convert(latex, display='block')}</div>"

    return FORMULA.sub(shown, text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
