"""The names of PyTorch, NumPy and JAX that users of arrays type: there, or with advice."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import gpugrad as gg
from gpugrad.nn import activations
from gpugrad.tensor.foreign import METHODS, OF_MODULES
from gpugrad.tensor.foreign_functions import FUNCTIONS, MODULES, SETTINGS
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
NAMES["torch.nn (more)"] = """
Container LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d LazyInstanceNorm2d
LazyInstanceNorm3d LazyLinear LinearCrossEntropyLoss LinearCrossEntropyOptions NLLLoss2d RNNBase
RNNCellBase rnn
"""
NAMES["torch.nn.functional (more)"] = """
fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices grouped_mm
linear_cross_entropy native_channel_shuffle scaled_grouped_mm scaled_mm
"""
NAMES["losses by their short names"] = (
    "bce bce_with_logits cross_entropy hinge huber kl_div l1 mse nll smooth_l1 triplet"
)
NAMES["torch.nn.utils"] = """
clip_grad clip_grad_norm clip_grad_norm_ clip_grad_value_ clip_grads_with_norm_
convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format convert_parameters
fuse_conv_bn_eval fuse_conv_bn_weights fuse_linear_bn_eval fuse_linear_bn_weights fusion
get_total_norm memory_format pack_padded_sequence pack_sequence pad_packed_sequence pad_sequence
PackedSequence parameters_to_vector parametrizations parametrize prune remove_spectral_norm
remove_weight_norm rnn skip_init spectral_norm stateless unpack_sequence unpad_sequence
vector_to_parameters weight_norm
"""
NAMES["torch.nn.Module (more)"] = """
flatten_parameters get_extra_state register_full_backward_pre_hook
register_load_state_dict_post_hook register_load_state_dict_pre_hook
register_state_dict_post_hook register_state_dict_pre_hook set_extra_state set_submodule
"""
NAMES["torch.optim (more)"] = "swap_in_optimizer_params_and_state"
NAMES["torch.utils.data (more)"] = """
DataChunk DFIterDataPipe IterDataPipe MapDataPipe functional_datapipe
"""
NAMES["torch.cuda"] = """
CUDAGraph Event ExternalStream FloatTensor OutOfMemoryError Stream amp current_device
current_stream default_stream device device_count device_of empty_cache get_arch_list
get_device_capability get_device_name get_device_properties get_rng_state get_rng_state_all graph
init ipc_collect is_available is_bf16_supported is_initialized make_graphed_callables manual_seed
manual_seed_all max_memory_allocated max_memory_reserved mem_get_info memory_allocated
memory_reserved memory_stats memory_summary nvtx profiler reset_max_memory_allocated
reset_peak_memory_stats seed seed_all set_device set_rng_state set_stream stream synchronize
"""
NAMES["torch.amp"] = "GradScaler amp autocast custom_bwd custom_fwd is_autocast_available"
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
    "torch.nn.Module (more)": gg.nn.LSTM(1, 1), "torch.optim (more)": gg.optim,
    "torch.nn (more)": gg.nn, "torch.nn.functional (more)": gg.nn.functional,
    "losses by their short names": gg.nn.functional,
    "torch.nn.utils": gg.nn.utils, "torch.utils.data (more)": gg.data, "torch.cuda": gg.cuda,
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
        "gg": FUNCTIONS, "layers": SETTINGS, "t": METHODS, "np": NUMPY, "module": OF_MODULES,
        **{f"gg.{module}": table for module, table in MODULES.items()},
    }.items()
    for name, advice in table.items()
}  # fmt: skip


def resolve(path, root):
    for part in path.split("."):
        root = getattr(root, part)
    return root


CLASSES = {
    f"{where.__name__}.{name}": value
    for where in (gg.nn, gg.optim)
    for name in where.__all__
    if isinstance(value := getattr(where, name), type)
    and name not in ("Identity", "Module", "Parameter", "Softmax2d", "Optimizer", "LRScheduler")
}


@pytest.mark.parametrize("path", CLASSES)
def test_a_class_says_by_its_own_name_what_it_takes(path):
    made = CLASSES[path]
    with pytest.raises(gg.DTypeError) as raised:
        made(nonsense=1)
    message = str(raised.value)
    assert message.startswith(f"{made.__name__}: got an unexpected keyword argument 'nonsense'. ")
    assert " It takes " in message
    assert not re.search(r"\b_[A-Z]", message)


OF_OPS = set(activations.FUNCTIONS)  # these are `gg`'s own, at every nanosecond of a call


@pytest.mark.parametrize("name", [n for n in gg.nn.functional.__all__ if n not in OF_OPS])
def test_a_function_says_what_it_takes(name):
    function = getattr(gg.nn.functional, name)
    takes = rf"{name}: got an unexpected keyword argument 'nonsense'\. It takes \w+"
    with pytest.raises(gg.DTypeError, match=takes):
        function(nonsense=1)
    with pytest.raises(gg.DTypeError, match=f"{name}: missing a required argument: .* It takes"):
        function()
    if "input" not in inspect.signature(function).parameters:
        with pytest.raises(gg.DTypeError, match=f"{name}: input= is not supported. Write the"):
            function(input=SQUARE)


def test_autocast_says_what_it_takes():
    for args, words in (((), {"device_type": "cuda"}), (("cuda",), {"dtype": "float16"})):
        with pytest.raises(gg.DTypeError, match=r"autocast: got .*Write gg.autocast\('float16'\)"):
            gg.autocast(*args, **words)
    with gg.autocast(dtype="float16", enabled=False):
        assert not gg.is_autocast_enabled()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_pytorch_s_layers_says_what_to_write(name):
    for layer in (gg.nn.ReLU, gg.nn.LSTM, gg.nn.RNN, gg.nn.MSELoss):  # in each of three ways
        with pytest.raises(gg.DTypeError, match=f"{layer.__name__}: {name} is no setting of it: "):
            layer(*[3, 4][: 2 * (layer in (gg.nn.LSTM, gg.nn.RNN))], **{name: 1})


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
