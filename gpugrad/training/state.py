"""All that a training needs to go on bit by bit. Imports nn, random and below."""

import random as python_random
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpugrad.nn import Module
from gpugrad.random import Generator, default_generator

__all__ = ["random_state", "restore_random", "used_generators"]


def used_generators(*things: Any) -> list[Generator]:
    """Those of models, loaders, their samplers and data sets, each once, in a fixed order."""
    found: dict[int, Generator] = {}
    for thing in things:
        owners = thing.modules() if isinstance(thing, Module) else [thing]
        for owner in owners:
            parts = list(getattr(owner, "__dict__", {}).values())
            for name in ("sampler", "dataset"):
                parts += getattr(getattr(owner, name, None), "__dict__", {}).values()
            for part in parts:
                if isinstance(part, Generator):
                    found.setdefault(id(part), part)
    return list(found.values())


def random_state(generators: list[Generator]) -> dict[str, Any]:
    """The states of gpugrad's generators, NumPy's global one and Python's."""
    version, numbers, gauss = python_random.getstate()
    return {
        "gpugrad": default_generator().state_dict(),
        "generators": [generator.state_dict() for generator in generators],
        "numpy": np.random.get_state(legacy=False),
        "python": [version, np.array(numbers, dtype=np.uint32), gauss],
    }


def restore_random(state: Mapping[str, Any], generators: list[Generator]) -> None:
    """Set all generators to a state of as many."""
    default_generator().load_state_dict(state["gpugrad"])
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.load_state_dict(saved)
    numpy_state = dict(state["numpy"])
    numpy_state["state"] = {k: _on_host(v) for k, v in numpy_state["state"].items()}
    np.random.set_state(numpy_state)
    version, numbers, gauss = state["python"]
    python_random.setstate((version, tuple(_on_host(numbers).tolist()), gauss))


def _on_host(value: Any) -> Any:
    """An array of a checkpoint, which may have been loaded to a GPU."""
    return value.get() if hasattr(value, "get") else value
