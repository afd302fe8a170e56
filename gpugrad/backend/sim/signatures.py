"""The names and signatures of CuPy, which the simulated device has. Imports nothing.

ci/cupy_signatures.py writes signatures.json from the real wheel. ``UFUNCS`` maps a name to CuPy's
own name of the ufunc, its inputs, its outputs and the scatter that its ``at`` performs, ``SPECIAL``
likewise those of ``cupyx.scipy.special``; the other dicts map a name to a parameter list.
"""

import json
from pathlib import Path

_TABLES = json.loads(Path(__file__).with_name("signatures.json").read_text("utf-8"))

CUPY_VERSION: str = _TABLES["CUPY_VERSION"]
UFUNCS: dict[str, tuple[str, int, int, str | None]] = _TABLES["UFUNCS"]
SPECIAL: dict[str, tuple[str, int, int, str | None]] = _TABLES["SPECIAL"]
FUNCTIONS: dict[str, str] = _TABLES["FUNCTIONS"]
LINALG: dict[str, str] = _TABLES["LINALG"]
FFT: dict[str, str] = _TABLES["FFT"]
METHODS: dict[str, str] = _TABLES["METHODS"]
OTHERS: list[str] = _TABLES["OTHERS"]
