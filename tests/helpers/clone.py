"""A plugin of pytest, by which the root of the clone is a folder like any other to it.

The root has an ``__init__.py`` (see there). pytest would take the root for a package, and import
gpugrad's modules, whose doctests it runs, as ``CLONE.gpugrad``.
"""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_collect_directory(path, parent):
    """No folder here is a package of tests."""
    return pytest.Dir.from_parent(parent, path=path)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    """A module of gpugrad is imported by its own name."""
    collectors = yield
    if ROOT / "gpugrad" in file_path.parents:
        name = ".".join(file_path.relative_to(ROOT).with_suffix("").parts)
        for collector in collectors:
            collector.obj = importlib.import_module(name.removesuffix(".__init__"))
    return collectors
