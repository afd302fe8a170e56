"""The names of PyTorch, NumPy and JAX that users of arrays type: there, or with advice."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import gpugrad as gg
from gpugrad.tensor.foreign import METHODS, OF_MODULES
from gpugrad.tensor.foreign_functions import FUNCTIONS, MODULES
from gpugrad.tensor.hints import NUMPY

NAMES = json.loads((Path(__file__).parent / "data" / "foreign_names.json").read_text())
SQUARE = gg.ones((2, 2))
# Where users look up what another library has in a module or class of this name.
HOMES = {
    "torch.Tensor": SQUARE,
    "torch.nn": gg.nn,
    "torch.nn.Module": gg.nn.Linear(1, 1),
    "torch.nn.functional": gg.nn.functional,
    "torch.optim": gg.optim,
    "torch.optim.lr_scheduler": gg.optim,
    "numpy.ndarray": SQUARE,
    "numpy.random": gg.random,
    "jax.nn": gg.nn.functional,
    "jax.random": gg.random,
}
# What foreign_names.py does not read: small modules, and functions of matrices.
NAMES["torch.utils.data"] = """
BatchSampler ChainDataset ConcatDataset DataLoader Dataset DistributedSampler IterableDataset
RandomSampler Sampler SequentialSampler StackDataset Subset SubsetRandomSampler TensorDataset
WeightedRandomSampler default_collate default_convert get_worker_info random_split
"""
NAMES["scipy.linalg"] = """
block_diag cho_factor cho_solve circulant cosm coshm expm fractional_matrix_power funm hessenberg
logm lu lu_factor null_space orth pinvh polar schur signm sinhm sinm solve_sylvester sqrtm tanm
toeplitz
"""
NAMES["jax.Array"] = """
addressable_data addressable_shards at aval block_until_ready clone committed copy_to_host_async
delete device devices global_shards is_deleted is_fully_addressable is_fully_replicated nbytes
on_device_size_in_bytes sharding traceback weak_type
"""
NAMES["cupy"] = """
ElementwiseKernel RawKernel RawModule ReductionKernel asnumpy cublas cusolver fuse
get_array_module get_default_memory_pool get_default_pinned_memory_pool is_available memoize
using_allocator
"""
NAMES["optax"] = """
adagrad adam adamw apply_updates chain clip_by_global_norm cosine_decay_schedule exponential_decay
global_norm lamb lion rmsprop sgd warmup_cosine_decay_schedule
"""
NAMES["tensorflow"] = "GradientTape Variable cast constant convert_to_tensor function keras"
# Another module's, or a tensor's.
NAMES["elsewhere"] = (
    "Adam Linear Sequential backward contiguous dim expand expm item relu6 tolist view"
)
NAMES["scipy.special"] = " ".join(scipy.special.__all__)
NAMES["scipy.linalg all"] = " ".join(scipy.linalg.__all__)
NAMES["numpy.linalg"] = " ".join(np.linalg.__all__)
NAMES["numpy.fft"] = " ".join(np.fft.__all__)
HOMES |= {
    "torch.utils.data": gg.data, "torch.utils.data (modules)": gg.data, "jax.Array": SQUARE,
    "scipy.linalg": gg.linalg, "scipy.linalg all": gg.linalg, "scipy.special": gg.special,
    "torch.nn (modules)": gg.nn, "torch.optim (modules)": gg.optim, "torch.nn.init": gg.nn.init,
    "torch.linalg": gg.linalg, "torch.fft": gg.fft, "torch.special": gg.special,
    "numpy.linalg": gg.linalg, "numpy.fft": gg.fft, "optax": gg.optim,
}  # fmt: skip


@pytest.mark.parametrize("library", NAMES)
def test_each_name_is_there_or_says_what_to_write(library):
    home = HOMES.get(library, gg)
    bare, listed = [], dir(home)
    for name in NAMES[library].split():
        try:
            getattr(home, name)
        except AttributeError as error:
            if f"{name!r}. Write " not in str(error):
                bare.append(name)
            assert name not in listed
            assert not hasattr(home, name)
    assert not bare


ADVICE = {
    f"{where}.{name}": advice
    for where, table in {
        "gg": FUNCTIONS, "t": METHODS, "np": NUMPY, "module": OF_MODULES,
        **{f"gg.{module}": table for module, table in MODULES.items()},
    }.items()
    for name, advice in table.items()
}  # fmt: skip


def resolve(path, root):
    for part in path.split("."):
        root = getattr(root, part)
    return root


@pytest.mark.parametrize("advice", sorted(set(ADVICE.values())))
def test_what_is_advised_is_there(advice):
    """What stands behind `gg.`, `numpy.`, `scipy.special.` and the dot of a tensor exists."""
    for root, where in (("gg", gg), ("numpy", np), ("scipy.special", scipy.special)):
        for path in re.findall(rf"(?<![\w.]){re.escape(root)}\.([A-Za-z_][\w.]*\w)", advice):
            resolve(path, where)
    for path in re.findall(r"(?<![\w.])[xtab]\.([A-Za-z_]\w*)", advice):
        assert hasattr(SQUARE, path), path


def test_advice_for_a_name_that_has_arrived_is_not_read(monkeypatch):
    """So nobody has to take the entry of a new function out of the tables."""
    for table, home in ((FUNCTIONS, gg), (MODULES["nn"], gg.nn), (METHODS, SQUARE)):
        name = next(name for name in table if not hasattr(home, name))
        assert name not in dir(home)
        owner = type(home) if home is SQUARE else home
        monkeypatch.setattr(owner, name, "arrived", raising=False)
        assert getattr(home, name) == "arrived"


@pytest.mark.parametrize(
    "name",
    ["", "nn", "nn.functional", "nn.init", "optim", "random", "data", "io", "inspect", "autodiff",
     "linalg", "special", "fft", "cuda", "errors"],
)  # fmt: skip
def test_dir_shows_what_works(name):
    module = resolve(name, gg) if name else gg
    shown = {member for member in dir(module) if not member.startswith("__")}
    assert shown == {member for member in module.__all__ if not member.startswith("__")}
    assert all(hasattr(module, member) for member in shown)


def test_dir_of_objects_shows_what_works():
    for thing in (SQUARE, gg.nn.Linear(1, 1)):
        for name in dir(thing):
            assert name.startswith("_") or hasattr(thing, name), name
