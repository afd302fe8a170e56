"""Runs at the start of each Python under ci/fakecuda/run: what follows an import of CuPy is in
fakecuda/loader.py. A sitecustomize.py that stands further on in sys.path runs as well."""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

_here = os.path.dirname(os.path.abspath(__file__))


def _run_the_other_one() -> None:
    elsewhere = [entry for entry in sys.path if os.path.abspath(entry or ".") != _here]
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if "FAKECUDA" in os.environ:
    from fakecuda import loader

    loader.install()
_run_the_other_one()
