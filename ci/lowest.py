#!/usr/bin/env python
"""Print the lowest versions that pyproject.toml allows, as constraints for pip.

    python ci/lowest.py >constraints.txt
    pip install -c constraints.txt -e '.[test,examples]'

A bound such as `scipy>=1.13` becomes `scipy~=1.13.0`: the first series, with its corrections. What
the tests alone need, and what is held to a series already, keeps its newest version.
"""

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
# The extras of users; those of developers need what is new.
OF_USERS = "bfloat16 compile examples mpi parquet plot progress special viz".split()
# What no extra has, and gpugrad works with; the tests say so.
BESIDE = ("safetensors", "einops")
# What the lowest versions bring with them where its newest version warns of them.
OF_THEIR_TIME = ("pyparsing<3.2",)  # of matplotlib 3.8


def constraints(project: dict) -> list[str]:
    """The constraints, one for each package of the dependencies and of the users' extras."""
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *(one for name in OF_USERS for one in extras[name])]
    requirements += [one for one in extras["test"] if one.startswith(BESIDE)]
    found = {}
    for requirement in requirements:
        bound = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement)
        if bound is None or bound[1] == "gpugrad":
            continue
        name, parts = bound[1], bound[2].split(".")
        found[name] = f"{name}~={'.'.join([*parts, *'000'][: max(3, len(parts))])}"
    return sorted([*found.values(), *OF_THEIR_TIME])


if __name__ == "__main__":
    content = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    sys.stdout.write("\n".join(constraints(content["project"])) + "\n")
