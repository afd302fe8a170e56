"""The repository: where it is, and the scripts of ci/."""

import importlib.util
import tomllib
from pathlib import Path

__all__ = ["ROOT", "load_script", "project"]

ROOT = Path(__file__).resolve().parents[2]


def load_script(name):
    """A script of ci/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def project():
    """The content of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
