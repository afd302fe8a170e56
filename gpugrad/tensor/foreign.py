"""Names of PyTorch, JAX and NumPy that gpugrad does not have, and what to write instead.

The tables are in foreign_methods.txt and, of functions, in foreign_functions.txt, which is read by
the first error that needs it. Imports nothing.
"""

from pathlib import Path

__all__ = ["IN_PLACE", "METHODS", "OF_MODULES", "OPERATIONS", "tables"]

Table = dict[str, str]


def tables(file: str) -> dict[str, Table]:
    """The advice for each name, in each section of a file."""
    sections: dict[str, Table] = {}
    section: Table = {}
    text = Path(__file__).with_name(file).read_text("utf-8").replace("\n    ", " ")
    for line in text.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            names, _, advice = line.partition(": ")
            section.update({name: advice.replace("{}", name) for name in names.split()})
    return sections


def _in_place() -> Table:
    """The advice for each name of a change in place."""
    changes = {f"{name}_": change for name, change in _TABLES["in place"].items()}
    return {
        name: f"`x{'' if change.startswith('[') else ' '}{change}` under gg.no_grad()"
        for name, change in (changes | _TABLES["others in place"]).items()
    }


_TABLES = tables("foreign_methods.txt")
# Functions of a tensor that are its methods in PyTorch: `gg.clamp(x)` and `x.clamp()`.
OPERATIONS = _TABLES["operations"]
IN_PLACE = _in_place()
METHODS = {**OPERATIONS, **_TABLES["functions"], **IN_PLACE, **_TABLES["methods"]}
OF_MODULES = _TABLES["modules"]
