"""Write foreign_names.json: the names of other libraries that users of arrays type.

Run it with a Python that has PyTorch and NumPy, and a folder with JAX's sources, whose imports are
read, not run. None of them is a dependency of the tests, but NumPy::

    pip install --no-deps --target /tmp/jax jax
    .venv-bench/bin/python tests/data/foreign_names.py /tmp/jax/jax

The file holds the public names of each module and class, as one string. Names that are no
functions of arrays are left out: they belong to compilers, other devices, quantization and layouts
of memory, are modules that were imported, or forms of another name that programs call.
"""

import ast
import fnmatch
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional

LEFT_OUT = """
*_p *_copy *_notes *_config *_cell *_shape_tuple *_grad_a *_permutations *_numbers *_associative_*
sym_* *quant* q_* qint* fbgemm* fused_* per_* cudnn_* miopen_* mkldnn_* mtia* native_*
batch_norm_* autocast_* embedding_renorm_ sparse_* *_dim_order dim_order to_mkldnn
to_padded_tensor *_indices dense_dim is_distributed is_ipu is_maia is_mtia is_vulkan* is_set_to
is_storage is_warn_* is_*_enabled is_deterministic_* *autocast_* *_debug_mode set_warn_always
clear_* get_file_path get_device_module import_ir* parse_* merge_type* unify_type* has_* init_num*
register_* compiled_with* int[0-9]*_* int[0-9] uint[0-9] bit bits* float4* float6* float8_e3*
float8_e4m3 float8_e4m3b* float8_e8* jagged hash_tensor slice_inverse int_repr host_*
process_indices debug_key* array_garbage* enable_* explain_* remove_size* threefry*
transfer_guard* make_array* make_user* numpy_* checkpoint_* softmax_custom* rng_bit* random_gamma*
ragged_all* select_and* reduce_precision reduce_xor create_token empty_ref free_ref new_ref
grid_sampler_* affine_grid_* thread_* no_execution no_tracing live_arrays print_env* log_compiles
*scaled_* grouped_mm handle_torch* assert_int* boolean_dispatch linear_cross_entropy
norm_except_dim alias_copy wait fork as_subclass as_strided_ const_data_ptr data_ptr grad_dtype
ipu output_nr reinforce *_as_sparse_ storage_type volatile untyped_storage after_all
approx_top_k_p broadcast_to_rank clz composite dce_sink mulhi padtype_to_pads pbroadcast pcast
platform_dependent precv psend pshuffle pswapaxes scaled_dot shape_as_value stage
with_sharding_constraint ad allow_* auto_pcast batching closure_convert default_prng* ds dtypes
export ffi float0 freeze fwd_and_bwd legacy_* mlir monitoring partial_eval pxla stages xla image
api_util get_include getbufsize geterrcall info little_endian sctypeDict setbufsize seterrcall
show_runtime test typecodes f2py core bmat_* typename set_flush_denormal legacy_contiguous_format
classproperty alpha_dropout_ feature_*dropout_ celu_ *_elemt unsafe_* nonzero_static conv_tbc
index_in_dim *_in_dim conv_general_dilated_* approx_* gradient_* channels_last_3d resolve_neg
module_load index xpu qscheme *qparams* quint* prepare_* profiler_* call_super_init dump_patches
*_extra_state set_submodule *_bit_generator key_* wrap_key_*
""".split()
# Modules whose names are asked for like functions.
SUBMODULES = {
    "torch": "accelerator ao cpu distributions export futures hub library monitor mtia overrides "
    "package quantization quasirandom serialization signal storage types classes",
    "torch.nn": "common_types grad intrinsic modules parallel qat quantizable quantized",
    "torch.optim": "lr_scheduler swa_utils",
    "torch.utils.data": "dataloader datapipes dataset sampler",
}
# Arguments of docstrings, and what is about tensors of subclasses.
NOT_PUBLIC = """
*common_args multi_dim_common common_notes Callable Tensor TypeVar debug_unwrap functionalize
rearrange Literal ParamSpec
replace_all_batch_norm_modules_ stack_module_state
""".split()
INTERNAL = ("Lazy", "Container", "RNNBase", "RNNCellBase", "LinearCrossEntropy", "NLLLoss2d")
KEPT = "Array Generator GradScaler Size Storage PRNGKey ShapeDtypeStruct".split()


def asked(name: str, value: object = None) -> bool:
    """Whether a name is that of a function, a dtype or an attribute that users of arrays type."""
    if name.startswith("_") or isinstance(value, ModuleType):
        return False
    if name[0].isupper() and not (name in KEPT or (name.endswith("Tensor") and name != "Tensor")):
        return False
    return not any(fnmatch.fnmatchcase(name, pattern) for pattern in LEFT_OUT)


def functions(where: ModuleType) -> str:
    """The names of a small module, all of them but modules."""
    names = {n for n in dir(where) if not n.startswith("_")}
    names = {n for n in names if not isinstance(getattr(where, n), ModuleType)}
    names -= {n for pattern in NOT_PUBLIC for n in fnmatch.filter(names, pattern)}
    return " ".join(sorted(names))


def members(where: object) -> str:
    return " ".join(name for name in dir(where) if asked(name, getattr(where, name, None)))


def imported(file: Path) -> str:
    """The names that a module of JAX imports, as its public ones."""
    tree = ast.parse(file.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {alias.asname or alias.name for node in nodes for alias in node.names}
    return " ".join(sorted(filter(asked, names)))


if __name__ == "__main__":
    jax = Path(sys.argv[1])
    found = {
        "torch.Tensor": members(torch.Tensor),
        "torch": members(torch),
        "torch.nn.functional": members(torch.nn.functional),
        "torch.nn": " ".join(n for n in torch.nn.modules.__all__ if not n.startswith(INTERNAL)),
        "torch.nn.Module": members(torch.nn.Module),
        "torch.optim": " ".join(n for n in torch.optim.__all__ if n[0].isupper()),
        "torch.optim.lr_scheduler": " ".join(torch.optim.lr_scheduler.__all__),
        **{f"{name} (modules)": names for name, names in SUBMODULES.items()},
        **{
            f"torch.{name}": functions(getattr(torch, name))
            for name in ("fft", "func", "linalg", "special")
        },
        "torch.nn.init": functions(torch.nn.init),
        "numpy": members(np),
        "numpy.ndarray": members(np.ndarray),
        "numpy.random": members(np.random),
        "jax": imported(jax / "__init__.py"),
        "jax.numpy": imported(jax / "numpy" / "__init__.py"),
        "jax.lax": imported(jax / "lax" / "__init__.py"),
        "jax.nn": imported(jax / "nn" / "__init__.py"),
        "jax.random": imported(jax / "random.py"),
    }
    text = json.dumps(found, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n")
