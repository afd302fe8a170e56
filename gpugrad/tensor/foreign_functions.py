"""Functions of PyTorch, JAX and NumPy that gpugrad does not have: the advice of `foreign`.

Loaded by the first error that needs it.
"""

from gpugrad.tensor.foreign import IN_PLACE, OPERATIONS, tables

__all__ = ["FUNCTIONS", "MODULES"]

<<<<<<< HEAD
MODULES = tables("foreign_functions.txt")
_LAYERS = MODULES.pop("activations") | MODULES.pop("layers")
FUNCTIONS = OPERATIONS | IN_PLACE | _LAYERS | MODULES.pop("gg")  # of gpugrad itself: `gg.cat`
MODULES["nn.functional"] = _LAYERS | MODULES["nn.functional"]
=======
_HOST = "numpy.{} itself, of arrays on the host: it has no derivative"
_ONE_PROCESS = "it without: gpugrad computes in one process; gg.device('cuda:1') chooses a GPU"
_LOOP = "a loop of Python: what it does is recorded"
_POOLS = "gg.sliding_window_view(x, sizes, axes) and .max or .mean over the windows"
_NORMALIZED = "gg.nn.BatchNorm2d(channels) or gg.nn.GroupNorm(groups, channels)"
_LOSS = "its formula with gg's functions, and .mean()"
_CTC = "a gg.custom_op around another library's: gpugrad has no loss over alignments of sequences"
_HALF = "x.astype(gg.float16) where half precision is enough"
_STEPS = "gg.random.uniform(0, 1, shape)"

_ACTIVATIONS = {
    "gg.logsigmoid(x)": "log_sigmoid",
    "gg.hardsigmoid(x)": "hard_sigmoid",
    "gg.hardswish(x)": "hard_swish hard_silu",
    "gg.hardtanh(x)": "hard_tanh",
    "gg.silu(x)": "swish",
    "gg.softsign(x)": "soft_sign",
    "(x + gg.sqrt(x**2 + 4)) / 2": "squareplus",
    "gg.where(x < -1, 0, gg.where(x < 1, (x + 1)**2 / 4, x))": "sparse_plus",
    "gg.clip((x + 1) / 2, 0, 1)": "sparse_sigmoid",
    "gg.log(-gg.expm1(-x))": "log1mexp",
    "gg.logsumexp(x) - math.log(x.size)": "logmeanexp",
    "(x - gg.mean(x, -1, keepdims=True)) / gg.std(x, -1, keepdims=True)": "standardize",
    "gg.nn.functional.scaled_dot_product_attention(q, k, v)": "dot_product_attention "
    "multi_head_attention_forward",
}

_LAYERS = {
    "gg.nn.functional.conv1d(x, weight), or that of more axes": "conv_tbc convolution",
    _POOLS: "lp_pool1d lp_pool2d lp_pool3d max_pool1d_with_indices max_pool2d_with_indices "
    "max_pool3d_with_indices adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices "
    "adaptive_max_pool3d_with_indices fractional_max_pool2d fractional_max_pool3d max_unpool1d "
    "max_unpool2d max_unpool3d",
    _NORMALIZED: "local_response_norm",
    "gg.nn.functional.dropout2d(x, p)": "feature_dropout",
    "gg.linalg.norm(a[:, None] - b, axis=-1)": "cdist pdist",
    "x.reshape and x.transpose": "channel_shuffle",
    "gg.nn.functional.interpolate(x, size)": "upsample upsample_nearest upsample_bilinear",
    "x[:, :, rows, columns], with arrays of indices": "grid_sample affine_grid grid_sampler",
    "gg.sum(weight[numbers], axis=1)": "embedding_bag",
    _CTC: "ctc_loss",
    _LOSS: "multilabel_margin_loss triplet_margin_with_distance_loss",
}

# Of gpugrad itself: `gg.cat`.
FUNCTIONS = {
    **rows(OPERATIONS),
    **in_place(),
    **rows(_ACTIVATIONS),
    **rows(_LAYERS),
    **rows({
        # Creation and random numbers.
        "gg.tensor(...), or gg.asarray(...), which keeps whole numbers whole": "array as_tensor "
        "asanyarray ascontiguousarray asfortranarray asarray_chkfinite require scalar_tensor "
        "ndarray Array",
        "gg.tensor(array), which does not copy": "from_numpy frombuffer",
        "gg.tensor(x, dtype=gg.float32), or another dtype": "FloatTensor DoubleTensor HalfTensor "
        "LongTensor IntTensor ShortTensor ByteTensor CharTensor BoolTensor BFloat16Tensor",
        "gg.tensor(numpy.{}(...))": "fromiter fromfile fromstring fromregex genfromtxt loadtxt "
        "memmap bmat asmatrix matrix recarray record",
        "gg.tensor(numpy.fromfile(path))": "from_file",
        _STEPS: "rand rng_uniform",
        "gg.random.uniform(0, 1, x.shape)": "rand_like",
        "gg.random.normal(0, 1, shape)": "randn",
        "gg.random.normal(0, 1, x.shape)": "randn_like",
        "gg.random.normal(mean, std, shape)": "normal",
        "gg.random.integers(low, high, shape)": "randint",
        "gg.random.integers(low, high, x.shape)": "randint_like",
        "gg.random.permutation(n)": "randperm",
        "numpy.random.default_rng(seed).{}(...)": "binomial poisson",
        "gg.random.Generator(seed)": "Generator",
        "gg.random.default_generator()": "default_generator",
        "gg.manual_seed(seed)": "seed initial_seed",
        "gg.random.get_state()": "get_rng_state",
        "gg.random.set_state(state)": "set_rng_state",
        "gg.arange(start, stop, step)": "range iota",
        "gg.broadcast_to(gg.arange(n), shape)": "broadcasted_iota",
        "gg.empty(shape)": "empty_strided empty_permuted",
        "gg.meshgrid(gg.arange(n), gg.arange(m), indexing='ij')": "mgrid ogrid",
        "gg.hanning(n + 1)[:-1]": "hann_window",
        "gg.hamming(n + 1)[:-1]": "hamming_window",
        "gg.blackman(n + 1)[:-1]": "blackman_window",
        "gg.bartlett(n + 1)[:-1]": "bartlett_window",
        "gg.kaiser(n + 1, beta)[:-1]": "kaiser_window",
        # Dtypes, and what is asked of tensors.
        "gg.float64": "double float_",
        "gg.float32": "float single",
        "gg.float16": "half",
        "gg.float16: NumPy has no such dtype": "bfloat16 chalf complex32 float8_e4m3fn "
        "float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz",
        "gg.float64: it is the widest": "longdouble float128",
        "gg.complex128: it is the widest": "clongdouble complex256",
        "gg.complex128": "cdouble complex_",
        "gg.complex64": "cfloat csingle",
        "gg.int64": "long longlong int_ intp",
        "gg.int32": "int intc",
        "gg.int16": "short",
        "gg.int8": "char",
        "gg.uint64": "uint uintp ulong ulonglong",
        "gg.uint32": "uintc",
        "gg.uint16": "ushort",
        "gg.uint8": "byte ubyte",
        "x.dtype, which is a numpy.dtype": "dtype",
        "numpy.{}, as in numpy.issubdtype(x.dtype, numpy.{})": "floating integer inexact number "
        "generic complexfloating signedinteger unsignedinteger character flexible",
        "gg.isdtype(x.dtype, 'real floating')": "issubdtype",
        "isinstance(x, gg.Tensor)": "is_tensor",
        "x.size": "numel",
        "x.ndim": "ndim",
        "a tuple": "Size",
        "x.data, the raw array": "Storage",
        "gg.scatter_add(x, index, values)": "scatter_add_",
        "True": "True_",
        "False": "False_",
        "x.size, or x.shape[axis]": "size",
        "numbers: a tensor has no other elements": "object_ str_ bytes_ void strings",
        "x.detach()": "detach_",
        "gg.resize(x, shape)": "resize_as_",
        "x.shape": "shape typeof",
        "x.shape and x.dtype": "ShapeDtypeStruct eval_shape",
        "x.device": "get_device",
        "x.device, and .to(device)": "sharding",
        "x.copy()": "copy clone",
        "False: a tensor is an array and no view of another kind": "is_conj is_neg is_inference",
        "x.detach(), which is no part of the graph": "stop_gradient detach",
        "x.astype(dtype)": "convert_element_type cast",
        "x.data.view(dtype), of the raw array": "bitcast_convert_type",
        "x.to(device)": "device_put",
        "x.numpy()": "device_get",
        "gg.default_device()": "get_default_device default_backend",
        "gg.set_default_dtype(dtype)": "set_default_tensor_type enable_x64",
        "gg.cuda.device_count()": "device_count local_device_count",
        "gg.Device('cuda:0'), of gg.cuda.device_count()": "devices local_devices",
        "gg.cuda.synchronize()": "block_until_ready",
        "gg.device('cuda'): CUDA and the CPU are the devices": "mps xpu mtia cpu accelerator",
        "gg.from_dlpack(x); a tensor has __dlpack__ itself": "to_dlpack dlpack",
        "numpy.set_printoptions(...), which holds for tensors, too": "set_printoptions "
        "printoptions "
        "get_printoptions",
        "repr(x), or numpy.{}(x)": "array_str array_repr",
        "repr(x), or numpy.array2string(x.numpy())": "array2string",
        "numpy.shares_memory(x.data, y.data)": "shares_memory may_share_memory",
        "gg.result_type(x)": "min_scalar_type",
        "gg.result_type(x, y)": "common_type",
        # Shapes and indices.
        "gg.concat(tensors, axis=0)": "cat",
        "x.T": "t",
        "gg.reshape(x, shape)": "collapse",
        "gg.broadcast_to(x, shape)": "broadcast_in_dim broadcast_like",
        "gg.broadcast_arrays(*tensors)": "broadcast_tensors",
        "gg.broadcast_to(x, sizes + x.shape), or numpy.broadcast of arrays": "broadcast",
        "gg.flip(x, axis)": "rev",
        "gg.pad(x, widths)": "constant_pad_nd",
        "gg.take(x, indices, axis)": "index_take",
        "x[index]": "index_in_dim dynamic_index_in_dim",
        "x[:, start:stop], a slice": "slice slice_in_dim dynamic_slice dynamic_slice_in_dim",
        SCATTER: "scatter_max scatter_min scatter_mul scatter_apply scatter_sub "
        "dynamic_update_slice dynamic_update_slice_in_dim dynamic_update_index_in_dim fill "
        "place putmask",
        "gg.where(mask, x, y)": "select_n",
        "a slice in brackets, x[1:, None]; numpy.{} is one that has a name": "s_ index_exp",
        "gg.sort(x), and gg.take_along_axis(y, gg.argsort(x), axis)": "sort_key_val",
        "gg.topk(x, k)": "top_k approx_max_k",
        "gg.topk(-x, k)": "approx_min_k",
        "gg.searchsorted(boundaries, x)": "bucketize",
        "x[list(itertools.combinations(range(len(x)), 2))]": "combinations",
        "gg.stack([a.ravel() for a in gg.meshgrid(x, y, indexing='ij')], axis=1)": "cartesian_prod",
        "gg.block, of blocks and gg.zeros": "block_diag",
        "for index in numpy.{}(x.shape), or the values of x.numpy()": "ndindex ndenumerate nditer "
        "nested_iters flatiter",
        # Arithmetic and special functions.
        "gg.subtract(b, a)": "rsub",
        "gg.fmod(a, b)": "rem",
        "x ** n": "integer_pow",
        "a + 1j * b": "complex",
        "r * gg.exp(1j * angle)": "polar",
        "gg.stack([x.real, x.imag], axis=-1)": "view_as_real",
        "x[..., 0] + 1j * x[..., 1]": "view_as_complex",
        "gg.sqrt(x + 0j), and the like": "emath",
        "gg.isfinite(x)": "is_finite",
        "gg.left_shift(a, b)": "shift_left",
        "gg.right_shift(a, b)": "shift_right_arithmetic shift_right_logical",
        "gg.bitwise_count(x)": "population_count",
        "gg.special.gammaln(x)": "gammaln",
        "gg.special.betainc(a, b, x)": "betainc",
        "gg.special.erfinv(x)": "erf_inv",
        "gg.special.i0e(x)": "bessel_i0e",
        "gg.special.i1e(x)": "bessel_i1e",
        "gg.sigmoid(x)": "logistic",
        "scipy.special.zeta of x.detach().numpy(): it has no derivative here": "zeta",
        "0.5772156649015329": "euler_gamma",
        # Reductions, scans and linear algebra.
        "gg.sum(x, axis)": "reduce_sum",
        "gg.prod(x, axis)": "reduce_prod",
        "gg.max(x, axis)": "reduce_max",
        "gg.min(x, axis)": "reduce_min",
        "gg.any(x, axis)": "reduce_or",
        "gg.all(x, axis)": "reduce_and",
        "gg.std(x, axis) and gg.mean(x, axis)": "std_mean",
        "gg.var(x, axis) and gg.mean(x, axis)": "var_mean",
        "gg.linalg.norm(x)": "frobenius_norm",
        "gg.linalg.norm(x, 'nuc')": "nuclear_norm",
        "gg.log(gg.cumsum(gg.exp(x - top))) + top, with top = gg.max(x.detach())": "cumlogsumexp",
        "gg.trapezoid(y, x)": "trapz",
        "gg.cumsum((y[1:] + y[:-1]) / 2 * gg.diff(x))": "cumulative_trapezoid",
        "gg.segment_sum(x, segments, count)": "segment_reduce",
        "gg.linalg.multi_dot(matrices)": "chain_matmul",
        "gg.matmul(a, b)": "batch_matmul",
        "gg.einsum('ij,jk->ik', a, b), or gg.tensordot": "dot_general ragged_dot "
        "ragged_dot_general",
        "gg.linalg.eigh(a)": "lobpcg",
        "gg.linalg.svd(a, full_matrices=False)": "svd_lowrank pca_lowrank",
        "gg.linalg.matrix_rank(a)": "matrix_rank",
        "gg.linalg.solve(a, b)": "lu_unpack custom_linear_solve",
        "gg.linalg.{}(...)": "eigh eigvals eigvalsh solve inv pinv expm multi_dot svdvals "
        "matrix_norm vector_norm",
        SPARSE: "sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor "
        "sparse_bsc_tensor sparse_compressed_tensor spmm hspmm hsmm dsmm saddmm sparse",
        # Layers.
        "gg.nn.functional.{}(...)": "binary_cross_entropy_with_logits layer_norm dropout linear "
        "alpha_dropout feature_alpha_dropout "
        "cosine_embedding_loss hinge_embedding_loss kl_div margin_ranking_loss poisson_nll_loss "
        "triplet_margin_loss "
        "rrelu softmin glu gumbel_softmax embedding bilinear cosine_similarity pairwise_distance "
        "batch_norm group_norm instance_norm rms_norm "
        "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d unfold fold "
        "interpolate pixel_shuffle pixel_unshuffle max_pool1d max_pool2d max_pool3d avg_pool1d "
        "avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
        "gg.nn.LSTM, gg.nn.GRU or gg.nn.RNN, or a cell such as gg.nn.LSTMCell": "lstm lstm_cell "
        "gru gru_cell rnn_tanh rnn_tanh_cell rnn_relu rnn_relu_cell",
        "gg.nn.functional.conv2d(x, weight), or that of other axes": "conv conv_general_dilated "
        "conv_general_dilated_local conv_with_general_padding",
        "gg.nn.functional.conv_transpose2d(x, weight)": "conv_transpose",
        "gg.nn.functional.unfold(x, size)": "conv_general_dilated_patches",
        _POOLS: "reduce_window",
        # Derivatives, modes and programs.
        "gg.gradients(output, inputs), which gives a tuple where inputs is a list, and the "
        "gradient itself where it is one tensor; gg.grad(f) for a function": "autograd",
        "gg.grad(lambda x: f(x).sum())": "elementwise_grad",
        "gg.jacobian(f, mode='forward')": "jacfwd",
        "gg.jacobian(f, mode='reverse')": "jacrev",
        "gg.vjp(f, x), as f is linear": "linear_transpose",
        "gg.custom_op": "Function custom_jvp custom_vjp custom_gradient custom_derivatives "
        "custom_root",
        "gg.checkpoint(f)": "remat",
        "gg.no_grad()": "inference_mode",
        "gg.detect_anomaly()": "set_detect_anomaly set_anomaly_enabled debug_nans debug_infs",
        "gg.debug_mode(), or print: values are there while a function runs": "debug check_tracer_"
        "leaks checking_leaks pure_callback",
        "gg.explain(y), or gg.draw(y)": "make_jaxpr fx",
        "f itself, over one axis more, or gg.vectorize(f)": "vmap custom_batching",
        "it without: memory is in the order that NumPy and CuPy choose": "channels_last "
        "channels_last_3d contiguous_format preserve_format memory_format strided layout",
        "cProfile, or nsys on a GPU; benchmarks/run.py shows how to time": "profiler",
        "`x[...] = value` under gg.no_grad()": "dropout_ zero_ celu_ selu_ rrelu_ threshold_",
        COMPILED: "jit compile compiler disable_jit clear_caches named_call named_scope",
        _ONE_PROCESS: "pmap shard_map psum pmean pmax pmin all_gather all_to_all ppermute "
        "psum_scatter P NamedSharding reshard set_mesh smap axis_index axis_size process_count "
        "process_index distributed make_mesh "
        "multiprocessing",
        _LOOP: "scan while_loop fori_loop cond switch map associative_scan reduce",
        "gg.deterministic()": "use_deterministic_algorithms",
        "numpy.linalg.LinAlgError": "LinAlgError",
        "loss.backward(): what is computed from x with requires_grad=True is recorded":
        "GradientTape",
        "gg.tensor(x, requires_grad=True)": "Variable variable",
        "gg.tensor(x)": "constant convert_to_tensor placeholder",
        "gg.mean(x, axis)": "reduce_mean",
        "gg.nn, whose Module holds layers": "keras models layers",
        "a function of Python": "function Session",
        "gg.value_and_grad(f)": "grad_and_value",
        "module(x), after module.load_state_dict(state)": "functional_call make_functional",
        "gg.random, and a formula for the logarithm of a density": "distributions",
        "gg.hanning and the like": "signal",
        "gg.save and gg.load": "storage serialization export hub package",
        "nothing: a program of gpugrad is a program of Python": "futures monitor overrides library "
        "classes types return_types math quasirandom",
        "x.numpy(), or x.cpu().numpy() of one on a GPU": "asnumpy",
        "the functions of gg, which take arrays of both": "get_array_module",
        "a gg.custom_op around a kernel of CuPy": "RawKernel RawModule ElementwiseKernel "
        "ReductionKernel fuse memoize cublas cusolver prof",
        "cupy.{} itself": "get_default_memory_pool get_default_pinned_memory_pool "
        "using_allocator set_allocator",
        "gg.cuda.is_available()": "is_available",
        "gg.is_deterministic()": "are_deterministic_algorithms_enabled",
        "gg.autocast('float16') and gg.GradScaler()": "amp",
        _HALF: "quantization ao set_float32_matmul_precision "
        "get_float32_matmul_precision default_matmul_precision",
        "threadpoolctl.threadpool_limits(n), or OMP_NUM_THREADS: the threads are NumPy's":
        "set_num_"
        "threads get_num_threads set_num_interop_threads get_num_interop_threads",
        "lists and dicts as they are: gg.grad takes them": "tree tree_util tree_map",
        "the functions of gg itself": "numpy lax func functional",
        "gg.special": "scipy",
        "gg.nn.utils and gg.data": "utils",

        "gg.data.TensorDataset and gg.data.DataLoader": "datasets",
        UNNEEDED: "optimization_barrier ensure_compile_time_eval copy_to_host_async config "
        "effects_barrier backends",
        # NumPy's, which are about no tensors.
        _HOST: "errstate seterr geterr typename base_repr binary_repr format_float_positional "
        "format_float_scientific show_config testing typing lib rec polynomial ctypeslib "
        "busday_count busday_offset busdaycalendar is_busday datetime64 timedelta64 "
        "datetime_as_string datetime_data isnat mintypecode",
        "gg.vectorize(f)": "frompyfunc",
        "gg.save(path, {'name': x})": "savez savez_compressed",
        "numpy.savetxt(path, x.numpy())": "savetxt",
        "`x[...] = values` under gg.no_grad()": "copyto",
        "numpy.isfortran(x.data)": "isfortran",
        "gg.polyval, gg.polyfit and the like, of coefficients": "poly1d",
        "gg.where(mask, x, value), and sums over the mask": "ma masked",
        "a gg.custom_op, or gg's functions": "ufunc",
    }),
}  # fmt: skip

# Of the modules: `gg.nn.Embedding`.
MODULES = {
    "nn": rows({
        _NORMALIZED: "SyncBatchNorm LocalResponseNorm CrossMapLRN2d",
        _POOLS: "FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d LPPool3d MaxUnpool1d "
        "MaxUnpool2d MaxUnpool3d",
        "gg.nn.Embedding(count, width), and .sum or .mean of its rows": "EmbeddingBag",
        "gg.nn.MultiheadAttention(features, heads) in a Module of your own, or "
        "gg.nn.TransformerEncoder": "Transformer TransformerDecoder TransformerDecoderLayer",
        "gg.nn.Linear(inputs, outputs), with both sizes": "LazyLinear",
        _CTC: "CTCLoss",
        _LOSS + " in a Module of your own": "MultiLabelMarginLoss TripletMarginWithDistanceLoss "
        "AdaptiveLogSoftmaxWithLoss",
        "x.reshape(shape) in a Module of your own": "ChannelShuffle",
        "`self.name = tensor`: a Tensor that requires no gradient is a buffer": "Buffer",
        _ONE_PROCESS: "DataParallel parallel",
        _HALF: "qat quantized quantizable intrinsic",
        "gg.nn itself": "modules common_types factory_kwargs",
        "gg.grad and gg.gradients": "grad",
        "gg.empty(shape)": "UninitializedParameter UninitializedBuffer",
    }),
    "nn.utils": rows({
        "clip_grad_norm_": "clip_grad_norm clip_grads_with_norm_",
        "its formula in a Module of your own": "spectral_norm weight_norm remove_spectral_norm "
        "remove_weight_norm skip_init parametrizations parametrize prune",
        "module(x) in evaluation: what is not fused has the same value": "fuse_conv_bn_eval "
        "fuse_linear_bn_eval fuse_conv_bn_weights fuse_linear_bn_weights",
        "it without: memory is in the order that NumPy and CuPy choose": "convert_conv2d_weight_"
        "memory_format convert_conv3d_weight_memory_format",
    }),
    "nn.init": rows({
        "gg.nn.init.{}_(tensor)": "constant kaiming_normal kaiming_uniform normal xavier_normal "
        "xavier_uniform uniform",
        "`tensor[...] = gg.eye(n)` under gg.no_grad()": "eye_ eye dirac_ dirac",
        "`tensor[...] = gg.linalg.qr(gg.random.normal(0, 1, shape))[0]` under gg.no_grad()":
        "orthogonal_ orthogonal",
        "gg.nn.init.normal_(tensor, std=std), and 0 where a mask says so": "sparse_ sparse",
        "gg.nn.init.normal_(tensor, std=std), and gg.clip of it": "trunc_normal_",
    }),
    "nn.functional": {
        **rows(_ACTIVATIONS),
        **rows(_LAYERS),
        **rows({
            "gg.logsumexp(x, axis)": "logsumexp",
            "gg.nn.Identity(), or x itself": "identity",
            "gg.nn.init": "initializers",
            "`x[...] = {}(x)` under gg.no_grad(), without the last _": "celu_ elu_ hardtanh_ "
            "leaky_relu_ relu_ rrelu_ selu_ threshold_",
        }),
    },
    "linalg": rows({
        "gg.linalg.expm(x)": "matrix_exp",
        "gg.linalg.solve(a, b)": "lu lu_factor lu_solve cho_solve ldl_factor ldl_solve solve_ex "
        "lu_factor_ex ldl_factor_ex",
        "gg.linalg.inv(x)": "inv_ex",
        "gg.linalg.cholesky(x)": "cho_factor cholesky_ex",
        "gg.vander(x)": "vander",
        "gg.linalg.qr(x)": "householder_product",
        # SciPy's.
        "gg.linalg.funm(x, f), of Hermitian matrices": "cosm sinm tanm coshm sinhm tanhm signm "
        "fractional_matrix_power",
        "gg.linalg.pinv(x)": "pinvh",
        "the rows of gg.linalg.svd(x).Vh whose singular values are 0": "null_space",
        "the columns of gg.linalg.svd(x).U whose singular values are not 0": "orth",
        "a gg.custom_op around SciPy's, which says its derivative": "schur hessenberg",
        "gg.linalg.solve, of a matrix made by gg.kron": "solve_sylvester solve_continuous_lyapunov "
        "solve_discrete_lyapunov",
        "gg.block([[a, zeros], [zeros, b]])": "block_diag",
        "x[gg.abs(gg.arange(n)[:, None] - gg.arange(n))]": "toeplitz",
        "x[gg.arange(n)[:, None] - gg.arange(n)]": "circulant",
    }),
    "data": rows({
        "gg.data itself": "dataloader datapipes sampler",
        "a class with __len__ and __getitem__, or a gg.data.TensorDataset": "ConcatDataset "
        "ChainDataset StackDataset",
        "gg.data.random_split(dataset, lengths), or a TensorDataset of x[rows], y[rows]": "Subset",
        "any iterable of row numbers, as DataLoader(data, batch_size, sampler=...)": "Sampler "
        "BatchSampler",
        "gg.data.collate": "default_collate default_convert",
        "gg.data.DistributedSampler": "distributed",
    }),
    "special": rows({
        "gg.special.gammaln(x)": "loggamma",
        "gg.special.expit(x)": "sigmoid",
        "gg.special.jv(n, x)": "jve",
        "gg.special.j0(x)": "bessel_j0",
        "gg.special.j1(x)": "bessel_j1",
        "gg.special.y0(x)": "bessel_y0",
        "gg.special.y1(x)": "bessel_y1",
        "gg.special.i0(x)": "modified_bessel_i0",
        "gg.special.i1(x)": "modified_bessel_i1",
        "gg.special.k0(x)": "modified_bessel_k0",
        "gg.special.k1(x)": "modified_bessel_k1",
        "gg.special.k0e(x)": "scaled_modified_bessel_k0",
        "gg.special.k1e(x)": "scaled_modified_bessel_k1",
        "gg.sin(x) / x": "spherical_bessel_j0",
        "gg.polyval(coefficients, x), with those of numpy.polynomial": "chebyshev_polynomial_t "
        "chebyshev_polynomial_u chebyshev_polynomial_v chebyshev_polynomial_w "
        "hermite_polynomial_h hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p "
        "shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u "
        "shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w",
        "a gg.custom_op around SciPy's, which says its derivative": "airy_ai",
        "gg.{}(x)": "log2 round sign",
    }),
    "fft": rows({
        "gg.fft.irfft2 of gg.conj(x), and times the size": "hfft2",
        "gg.fft.irfftn of gg.conj(x), and times the size": "hfftn",
        "gg.conj(gg.fft.rfft2(x)), divided by the size": "ihfft2",
        "gg.conj(gg.fft.rfftn(x)), divided by the size": "ihfftn",
    }),
    "optim": rows({
        "gg.optim.Adam, or a subclass of gg.optim.Optimizer": "Adafactor SparseAdam Lookahead SAM "
        "Sophia AdaBelief Ranger AdamP Novograd Prodigy Shampoo",
        # Of optax.
        "a gg.optim.Optimizer, whose step() writes the parameters": "chain apply_updates sgd adam "
        "adamw lion rmsprop adagrad GradientTransformation",
        "gg.optim.LAMB": "Lamb lamb",
        "gg.optim.clip_grad_norm_": "clip_by_global_norm global_norm scale",
        "gg.optim.CosineAnnealingLR and the like": "warmup_cosine_decay_schedule "
        "cosine_decay_schedule exponential_decay",
    }),
    "random": rows({
        "x[gg.random.integers(0, len(x), count)]": "choice",
        "gg.random.Generator(seed)": "default_rng RandomState PRNGKey key SeedSequence MT19937 "
        "Philox PCG64 PCG64DXSM SFC64 BitGenerator",
        _STEPS: "rand random random_sample sample ranf",
        "gg.random.integers(low, high, shape)": "randint random_integers",
        "gg.random.normal(0, 1, shape)": "randn standard_normal",
        "gg.manual_seed(seed)": "seed",
        "x[gg.random.permutation(len(x))]": "shuffle",
        "a gg.random.Generator(seed) for each use": "split fold_in",
        "-gg.log(gg.random.uniform(0, 1, shape)) * scale": "exponential standard_exponential",
        "gg.exp(gg.random.normal(mean, sigma, shape))": "lognormal",
        "gg.random.bernoulli(p, shape)": "binomial",
        "2 * gg.random.bernoulli(0.5, shape) - 1": "rademacher",
        "gg.linalg.qr(gg.random.normal(0, 1, shape))[0]": "orthogonal",
        "gg.clip(gg.random.normal(0, 1, shape), low, high), or draw again": "truncated_normal",
        "gg.tan(gg.pi * gg.random.uniform(-0.5, 0.5, shape))": "cauchy",
        "generator.get_state() and .set_state(state)": "clone",
        "-gg.log(-gg.log(gg.random.uniform(0, 1, shape)))": "gumbel",
        "gg.argmax(logits - gg.log(-gg.log(gg.random.uniform(0, 1, logits.shape))), -1)":
        "categorical",
        "mean + gg.linalg.cholesky(cov) @ gg.random.normal(0, 1, mean.shape)":
        "multivariate_normal",
        "gg.tensor(numpy.random.default_rng(seed).{}(...))": "beta chisquare dirichlet f gamma "
        "geometric hypergeometric laplace logistic logseries multinomial negative_binomial "
        "ball double_sided_maxwell generalized_normal loggamma maxwell t weibull_min "
        "noncentral_chisquare noncentral_f pareto poisson power rayleigh standard_cauchy "
        "standard_gamma standard_t triangular vonmises wald weibull zipf bytes",
    }),
}  # fmt: skip
>>>>>>> a70cc93 (Add GradScaler, whose steps a device skips without a wait of the host, and test autocast over the table)
