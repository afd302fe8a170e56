"""Every command that a message or a page tells a user to run works as it is printed."""

import re
import shlex

import pytest
from repository import ROOT, project

from gpugrad.backend.requirements import EXTRAS

OPTIONAL = project()["project"]["optional-dependencies"]
NAME = re.compile(r"[A-Za-z0-9._-]+")
COMMAND = re.compile(r"pip install ((?:\"[^\"\n]+\" ?|'[^'\n]+' ?|[^\s`'\"()#,;:]+ ?)+)")
PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "examples/*", "gpugrad/**/*.py")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file()
]


def requirements(extra):
    """The packages of an extra, those of other extras of gpugrad among them, without markers."""
    for requirement in OPTIONAL[extra]:
        if other := re.fullmatch(r"gpugrad\[(.+)\]", requirement):
            for name in other[1].split(","):
                yield from requirements(name)
        else:
            yield requirement.partition(";")[0]


@pytest.mark.parametrize("extra", EXTRAS)
def test_what_messages_install_is_what_the_extra_has(extra):
    assert EXTRAS[extra] == tuple(requirements(extra))


def test_commands_name_packages_that_an_index_has():
    """No index has gpugrad yet: a command names a folder or a wheel of it, or other packages."""
    known = {NAME.match(each)[0].lower() for extra in OPTIONAL for each in requirements(extra)}
    known |= {"cupy-cuda13x", "nvidia-nccl-cu12", "torch", "numpy", "jax", "xarray", "pandas"}
    commands = {}
    for path in PAGES:
        for command in COMMAND.findall(path.read_text(encoding="utf-8")):
            if "{" not in command:
                commands[path.relative_to(ROOT).as_posix(), command.strip()] = shlex.split(command)
    assert len(commands) > 10
    wrong = [
        (where, command)
        for (where, command), words in commands.items()
        for word in words
        if not word.startswith(("-", ".", "./")) and NAME.match(word)[0].lower() not in known
    ]
    assert wrong == []
