"""What to install for what is missing, as a command that works as printed. Imports nothing.

The command names the packages and not an extra of gpugrad: so it works for a clone, for a wheel and
for a folder on PYTHONPATH, where no index has a distribution called gpugrad.
"""

__all__ = ["EXTRAS", "pip_install"]

# The extras of pyproject.toml that errors name; a test holds both equal.
EXTRAS = {
    "bfloat16": ("ml_dtypes>=0.5",),
    "compile": ("ziglang>=0.13",),
    "cuda12": ("cupy-cuda12x[ctk]>=14", "ml_dtypes>=0.5"),
    "cuda13": ("cupy-cuda13x[ctk]>=14", "ml_dtypes>=0.5"),
    "mpi": ("mpi4py>=4.1", "mpich>=4.2"),
    "parquet": ("pyarrow>=17",),
    "plot": ("matplotlib>=3.8",),
    "progress": ("tqdm>=4.60",),
    "special": ("scipy>=1.13",),
    "viz": ("graphviz>=0.20",),
}


def pip_install(*extras: str) -> str:
    """The command that installs what some extras need.

    >>> pip_install("cuda12")
    'pip install "cupy-cuda12x[ctk]>=14" "ml_dtypes>=0.5"'
    """
    packages = dict.fromkeys(package for extra in extras for package in EXTRAS[extra])
    return "pip install " + " ".join(f'"{package}"' for package in packages)
