"""The CUDA C of every kernel of gpugrad, which `kernels.py` beside this assembles.

Elementwise kernels are written for every formula and rule of the op table, with the parameters of
all samples, and in float32 with numbers in place of an array. CuPy adds its own text around their
bodies. float16 is computed in float32, so it has sources only where threads move several elements
at once, and for the kernels written by hand.
"""

import itertools
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

import optable  # noqa: E402

import gpugrad as gg  # noqa: E402
from gpugrad.codegen.operands import signature  # noqa: E402
from gpugrad.codegen.operations import NotFusibleError  # noqa: E402
from gpugrad.engine.op import TABLE  # noqa: E402
from gpugrad.kernels import elementwise, multi_tensor, wide  # noqa: E402
from gpugrad.kernels.attention import attention_source, heads_source  # noqa: E402
from gpugrad.kernels.batch_norm import batch_norm_source, rms_norm_source  # noqa: E402
from gpugrad.kernels.class_losses import loss_source  # noqa: E402
from gpugrad.kernels.dropout import dropout_source  # noqa: E402
from gpugrad.kernels.epilogue import (  # noqa: E402
    epilogue_source,
    epilogue_vjp_source,
    sums_source,
)
from gpugrad.kernels.layer_norm import layer_norm_source  # noqa: E402
from gpugrad.kernels.ones import ones_source  # noqa: E402
from gpugrad.kernels.philox import philox_kernel  # noqa: E402
from gpugrad.kernels.recurrent import recurrent_source  # noqa: E402
from gpugrad.kernels.resampling import resampling_source  # noqa: E402
from gpugrad.kernels.rows import rows_source  # noqa: E402
from gpugrad.kernels.source import FLOATS  # noqa: E402
from gpugrad.kernels.squares import squares_source  # noqa: E402
from gpugrad.kernels.windows import pools_source, windows_source  # noqa: E402
from gpugrad.optim import clip, rules  # noqa: E402
from gpugrad.optim.apply import working_dtype  # noqa: E402

__all__ = ["Source", "sources"]

STD = ("--std=c++17",)
# The families of elementwise kernels.
FORMULAS = "elementwise formulas and rules"
SPECIAL = "those with special functions"
LARGE = "those for large arrays, 16 bytes a thread"


class Source(NamedTuple):
    """A text with one or more kernels: their family and dtype, a label for messages.

    ``moves`` are the bytes that a thread reads of each array, and those that it writes.
    """

    family: str
    dtype: str
    label: str
    text: str
    options: tuple[str, ...] = STD
    moves: tuple[tuple[int, ...], int] | None = None


# ---------------------------------------------------------------- elementwise kernels


def _cupy_text(kernel: Any, numbers: tuple[bool, ...]) -> str:
    """CuPy's text of an ElementwiseKernel for contiguous arrays, or numbers where ``numbers``."""
    import cupy
    from cupy._core import _kernel
    from cupy._core._carray import Indexer
    from cupy._core._scalar import CScalar

    array, indexer, scalar = 1, 2, 3  # CuPy's ARG_KIND
    infos = [
        _kernel._ArgInfo(scalar, CScalar, np.dtype(p.dtype), 0, True, True)
        if number
        else _kernel._ArgInfo(array, cupy.ndarray, np.dtype(p.dtype), 1, True, True)
        for p, number in zip(kernel.params, (*numbers, False), strict=False)
    ]
    infos.append(_kernel._ArgInfo(indexer, Indexer, None, 1, True, True))
    headers = ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h")
    types = _kernel._TypeMap(())
    code = _kernel._get_elementwise_kernel_code(
        tuple(infos), types, kernel.params, kernel.operation, kernel.name, kernel.preamble
    )
    return "".join(f"#include <cupy/{name}>\n" for name in headers) + code


def _formulas() -> Iterator[tuple[str, Any, tuple[Any, ...], dict[str, Any]]]:
    """Name, formula, operands and parameters of every elementwise op and rule."""
    for op in TABLE.values():
        if op.kind != "elementwise":
            continue
        rules = [(f"{op.name}_vjp{i}", rule) for i, rule in enumerate(op.vjps or ()) if rule]
        for sample in optable.samples(op):
            kwargs = {n: p.default for n, p in op.parameters.items()} | sample.parameters
            for dtype in FLOATS:
                arrays = optable.arrays_for(op, sample, dtype)
                # The output, and the cotangent.
                y = np.ones(1, np.result_type(*(a for a in arrays if a.dtype.kind != "b")))
                numbers = (0.37,) if len(arrays) == 2 and dtype == np.float32 else ()
                for last in (arrays[-1], *numbers):
                    operands = (*arrays[:-1], last)
                    if op.forward is not None:
                        yield op.name, op.forward, operands, kwargs
                    for name, rule in rules:
                        yield name, rule, (y, y, *operands), kwargs


def _elementwise() -> Iterator[Source]:
    kernels: dict[Any, None] = {}
    for name, formula, operands, kwargs in _formulas():
        try:
            kernel = elementwise.write(name, formula, signature(operands, kwargs))
        except NotFusibleError:
            continue
        if not isinstance(kernel, int):  # the position of an operand that the formula returns
            kernels[kernel] = None
    for kernel in kernels:
        compiled = elementwise.cupy_kernel(kernel)
        large = isinstance(compiled, wide.Wide)
        family = SPECIAL if kernel.functions else FORMULAS
        label = f"{kernel.name} of {', '.join(dtype for _, dtype in kernel.inputs)}"
        if "float16" not in (kernel.output, *(dtype for _, dtype in kernel.inputs)):
            text = _cupy_text(compiled.plain if large else compiled, kernel.numbers)
            yield Source(family, kernel.output, label, text)
        if large and not all(kernel.numbers):
            count = wide.width(kernel, kernel.numbers)
            reads = tuple(
                count * np.dtype(dtype).itemsize
                for (_, dtype), number in zip(kernel.inputs, kernel.numbers, strict=True)
                if not number
            )
            writes = count * np.dtype(kernel.output).itemsize
            text = wide.wide_source(kernel, kernel.numbers)
            yield Source(LARGE, kernel.output, f"{label}, wide", text, moves=(reads, writes))


# ---------------------------------------------------------------- the others


def _steps() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Optimizers, with keyword arguments that change the arguments of the rule."""
    for decay in (0.0, 0.1):
        for kwargs in ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}):
            yield "SGD", gg.optim.SGD, {"lr": 0.1, "weight_decay": decay, **kwargs}
        yield "SGD", gg.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
        yield "Adam", gg.optim.Adam, {"weight_decay": decay}
        yield "AdamW", gg.optim.AdamW, {"weight_decay": decay}
        for name in ("Adagrad", "RMSprop", "Adadelta", "Adamax", "NAdam", "RAdam", "Lion", "ASGD"):
            yield name, getattr(gg.optim, name), {"weight_decay": decay, "maximize": decay > 0}
    yield "Adam", gg.optim.Adam, {"amsgrad": True}
    yield "RMSprop", gg.optim.RMSprop, {"centered": True, "momentum": 0.9}
    yield "Rprop", gg.optim.Rprop, {}
    yield "AdamW", gg.optim.AdamW, {"master_weights": True}


def _multi_tensor() -> Iterator[Source]:
    for dtype in FLOATS:
        for name, cls, kwargs in _steps():
            optimizer = cls([gg.zeros(1, requires_grad=True)], **kwargs)
            (group,) = optimizer.param_groups
            states = len(optimizer._names(group))
            clock, presences = optimizer._start(group), {}
            for _ in range(10):  # the first steps have other numbers than later ones
                clock, values = optimizer._advance(group, clock)
                presences[tuple(value is not None for value in values)] = None
            master = group["master_weights"] and working_dtype(dtype) != dtype
            options = (*STD, *multi_tensor.STEP_OPTIONS)
            # One that a GradScaler skips differs by a branch: some of them stand for all.
            kinds = itertools.product(presences, (False, True) if name == "AdamW" else (False,))
            for present, skips in kinds:
                text = multi_tensor.update_source(
                    cls.rule, dtype, states, cls.scratch, present, master, skips
                )
                label = f"{name} {kwargs}{' or none' * skips}"
                yield Source(f"a step of {name}", dtype.name, label, text, options)
        limit = multi_tensor.update_source(clip._limit, dtype, 0, 0, (True, True))
        yield Source("clip_grad_value_", dtype.name, "clip_grad_value_", limit, options)
        yield Source(
            "unscaling of gradients", dtype.name, "unscale", multi_tensor.unscale_source(dtype)
        )
        average = multi_tensor.update_source(rules.toward, dtype, 0, 1, (True,))
        yield Source("an average of weights", dtype.name, "toward", average, options)
        for norm in multi_tensor.NORMS:
            text = multi_tensor.clip_source(dtype, norm)
            yield Source("clip_grad_norm_", dtype.name, f"clip_grad_norm_ {norm}", text)
    yield Source("the next scale", "", "rescale", multi_tensor.RESCALE_SOURCE)
    text = multi_tensor.clear_source()
    yield Source("zero_grad", "", "zeros", text, moves=((), 16))


def _by_hand() -> Iterator[Source]:
    for dtype in FLOATS:
        for family, text in {
            "softmax": rows_source(dtype),
            "mse_loss": squares_source(dtype),
            "layer_norm": layer_norm_source(dtype),
            "batch_norm": batch_norm_source(dtype),
            "rms_norm": rms_norm_source(dtype),
            "steps of recurrent layers": recurrent_source(dtype),
            "heads of attention": heads_source(dtype),
            "dropout": dropout_source(dtype),
            "bias": epilogue_source(dtype, None),
            "gradient of a bias": sums_source(dtype),
            "the first cotangent": ones_source(dtype),
            "convolution and average pools": windows_source(dtype),
            "interpolation, nearest": resampling_source(dtype, "nearest"),
            "interpolation, linear": resampling_source(dtype, "linear"),
            "interpolation, cubic": resampling_source(dtype, "cubic"),
            "max pools": pools_source(dtype, small=True),
            "max pools of large windows": pools_source(dtype, small=False),
        }.items():
            yield Source(family, dtype.name, family, text)
        if dtype != np.float16:  # which is computed in float32
            yield Source("attention", dtype.name, "attention", attention_source(dtype))
        for target in ("u1", "i4", "i8"):
            text = loss_source(dtype, np.dtype(target))
            yield Source("losses of classes", dtype.name, f"losses of classes {target}", text)
        for name in (op.name for op in TABLE.values() if f"linear_{op.name}" in TABLE):
            kwargs = {key: p.default for key, p in TABLE[name].parameters.items()}
            known = signature((), kwargs)
            (saves_x,), _ = TABLE[name].keeps((True,))
            text = epilogue_source(dtype, name, known, saves_x)
            yield Source("bias and activation", dtype.name, f"bias and {name}", text)
            text = epilogue_vjp_source(dtype, name, known)
            yield Source("gradients of both", dtype.name, f"gradients of bias and {name}", text)
    text = _cupy_text(philox_kernel(import_module("cupy")), (True, True, True))
    yield Source("random bits", "", "philox", text)


def sources() -> list[Source]:
    """Every kernel of gpugrad."""
    return [*_elementwise(), *_by_hand(), *_multi_tensor()]
