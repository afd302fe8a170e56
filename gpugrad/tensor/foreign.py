"""Names of PyTorch, JAX and NumPy that gpugrad does not have, and what to write instead.

A row is an advice and the names that it is for, of which `{}` stands for each. What is said of x
holds of a tensor in front of a dot as well. Imports nothing.
"""

__all__ = [
    "COMPILED",
    "METHODS",
    "OF_MODULES",
    "OPERATIONS",
    "SCATTER",
    "SPARSE",
    "UNNEEDED",
    "in_place",
    "rows",
]


def rows(table: dict[str, str]) -> dict[str, str]:
    """The advice for each name."""
    return {
        name: advice.replace("{}", name)
        for advice, names in table.items()
        for name in names.split()
    }


SCATTER = (
    "x.at[index].set(values), or .add, .multiply, .max and .min of it, which give a new tensor"
)
SPARSE = (
    "a dense array, or gg.custom_op around a product with a matrix of scipy.sparse, which is a "
    "constant to it"
)
COMPILED = "it without: nothing is compiled by hand; on CUDA operations are fused by themselves"
UNNEEDED = "nothing: gpugrad needs no such call"

# Functions of a tensor that are its methods in PyTorch: `gg.clamp(x)` and `x.clamp()`.
OPERATIONS = {
    # Shapes and indices.
    "gg.split(x, pieces, axis=0)": "chunk unsafe_chunk",
    "gg.split(x, places, axis=0), at the running sums of the sizes": "split_with_sizes "
    "unsafe_split unsafe_split_with_sizes",
    "gg.array_split(x, pieces, axis=0)": "tensor_split",
    "gg.unstack(x, axis=0)": "unbind",
    "gg.expand_dims(x, axis)": "unsqueeze",
    "gg.transpose(x, axes)": "permute",
    "gg.swapaxes(x, a, b)": "swapdims",
    "gg.moveaxis(x, source, destination)": "movedim",
    "gg.conj(gg.matrix_transpose(x))": "adjoint",
    "gg.reshape(x, shape)": "unflatten",
    "gg.repeat(x, counts, axis)": "repeat_interleave",
    "gg.take_along_axis(x, indices, axis)": "gather take_along_dim",
    "gg.take(x, indices, axis)": "index_select",
    "x[:, start:stop], a slice": "narrow narrow_copy",
    SCATTER: "scatter scatter_reduce index_add index_copy index_fill index_put index_reduce "
    "select_scatter slice_scatter diagonal_scatter masked_scatter put as_strided_scatter",
    "gg.where(mask, value, x)": "masked_fill",
    "x[mask]": "masked_select",
    "gg.argwhere(x)": "nonzero_static",
    "gg.sliding_window_view(x, size, axis)": "as_strided",
    "gg.eye(n) * x[..., None]": "diag_embed",
    "gg.sort(x, axis=0)": "msort",
    "gg.sort(x)[..., k - 1]": "kthvalue",
    "gg.histogram(x, bins, range)": "histc",
    "gg.unique(x), which sorts": "unique_consecutive",
    # Arithmetic and comparisons.
    "gg.subtract(a, b)": "sub",
    "gg.multiply(a, b)": "mul",
    "gg.divide(a, b)": "div",
    "gg.negative(x)": "neg",
    "gg.equal(a, b)": "eq",
    "gg.not_equal(a, b)": "ne",
    "gg.less(a, b)": "lt",
    "gg.less_equal(a, b)": "le",
    "gg.greater(a, b)": "gt",
    "gg.greater_equal(a, b)": "ge",
    "1 / gg.sqrt(x)": "rsqrt",
    "x - gg.trunc(x)": "frac",
    "gg.sign(x), or x / abs(x) where it is complex": "sgn",
    "gg.conj(x)": "conj_physical resolve_conj",
    "gg.clip(x, low, high)": "clamp",
    "gg.clip(x, low, None)": "clamp_min",
    "gg.clip(x, None, high)": "clamp_max",
    "a + t * (b - a)": "lerp",
    "x + value * a * b": "addcmul",
    "x + value * a / b": "addcdiv",
    "x.dtype.kind == 'f'": "is_floating_point",
    "gg.iscomplexobj(x)": "is_complex",
    "x.dtype.kind != 'u'": "is_signed",
    "bool(x)": "is_nonzero",
    "x.shape == y.shape": "is_same_size",
    # Special functions.
    "gg.special.gammaln(x)": "lgamma",
    "gg.special.{}(x)": "digamma erfc erfinv logit",
    "gg.special.polygamma(n, x)": "polygamma",
    "gg.special.multigammaln(x, d)": "mvlgamma",
    "gg.special.gammainc(a, x)": "igamma",
    "gg.special.gammaincc(a, x)": "igammac",
    "gg.special.xlogy(a, b)": "xlogy",
    # Reductions and scans.
    "gg.min(x) and gg.max(x)": "aminmax",
    "gg.linalg.norm(x)": "norm",
    "gg.linalg.norm(a - b)": "dist",
    "x * gg.clip(limit / gg.linalg.norm(x, axis=1, keepdims=True), None, 1)": "renorm",
    "numpy.maximum.accumulate(x)": "cummax",
    "numpy.minimum.accumulate(x)": "cummin",
    "gg.log(gg.cumsum(gg.exp(x - top))) + top, with top = gg.max(x.detach())": "logcumsumexp",
    "gg.unique_counts(x), and the value of the largest count": "mode",
    # Linear algebra.
    "gg.matmul(a, b)": "mm bmm mv",
    "c + a @ b": "addmm addmv baddbmm",
    "c + gg.sum(a @ b, axis=0)": "addbmm",
    "c + gg.outer(a, b)": "addr",
    "gg.outer(a, b)": "ger",
    "gg.linalg.{}(x)": "svd qr eig cholesky det slogdet",
    "gg.linalg.{}(a, b)": "lstsq solve",
    "gg.linalg.matrix_power(x, n)": "matrix_power",
    "gg.linalg.inv(x)": "inverse cholesky_inverse",
    "gg.linalg.pinv(x)": "pinverse",
    "gg.linalg.expm(x)": "matrix_exp",
    "gg.linalg.slogdet(x)[1]": "logdet",
    "gg.linalg.eigh(x)": "symeig",
    "gg.linalg.solve_triangular(a, b)": "triangular_solve",
    "gg.linalg.solve(a, b)": "lu lu_solve cholesky_solve",
    "gg.linalg.qr(x)": "geqrf orgqr ormqr",
    "gg.fft.rfft(gg.sliding_window_view(x, size) * window)": "stft",
    "gg.fft.irfft of the frames, and gg.scatter_add to join them": "istft",
    SPARSE: "smm sspaddmm to_sparse to_sparse_csr to_sparse_csc to_sparse_coo to_sparse_bsr "
    "to_sparse_bsc sparse_mask",
    # Layers.
    "gg.nn.functional.prelu(x, weight)": "prelu",
    # Random numbers.
    "gg.random.bernoulli(p, shape)": "bernoulli",
    "numpy.random.default_rng(seed).choice(len(p), count, p=p)": "multinomial",
    UNNEEDED: "resolve_neg dequantize",
}

# What is a function here and a method in PyTorch or in NumPy.
_ARE_FUNCTIONS = """
absolute acos acosh add allclose amax amin angle arccos arccosh arcsin arcsinh arctan arctan2
arctanh
argwhere asin asinh atan atan2 atanh bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or
bitwise_right_shift bitwise_xor copysign corrcoef count_nonzero cov cross deg2rad diag diagflat diff
divide dsplit equal exp2 fix fliplr flipud float_power floor_divide fmax fmin fmod frexp gcd greater
greater_equal heaviside histogram hsplit hypot i0 inner isclose isneginf isposinf isreal kron lcm
ldexp less less_equal logaddexp logaddexp2 logical_and logical_not logical_or logical_xor maximum
median minimum multiply nan_to_num nanmean nanmedian nanquantile nansum negative nextafter not_equal
positive quantile rad2deg remainder rot90 signbit sinc subtract tril triu true_divide unique vdot
vsplit where
"""

# What PyTorch has in place: `x.clamp_(0, 1)`.
_IN_PLACE = """
abs absolute acos acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2
atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil
clip
copysign cos cosh cumprod cumsum deg2rad divide elu equal erf exp exp2 expm1 fix float_power floor
floor_divide fmod gcd greater greater_equal heaviside hypot i0 lcm ldexp leaky_relu less less_equal
log log10 log1p log2 logical_and logical_not logical_or logical_xor multiply nan_to_num negative
nextafter not_equal rad2deg reciprocal relu remainder round sigmoid sign sin sinc sinh sqrt square
subtract tan tanh tril triu true_divide trunc
"""
_OTHERS_IN_PLACE = {
    "add_": "+= y", "sub_": "-= y", "mul_": "*= y", "div_": "/= y", "neg_": "*= -1",
    "pow_": "**= n", "frac_": "-= gg.trunc(x)", "addcmul_": "+= value * a * b",
    "addcdiv_": "+= value * a / b", "addmm_": "[...] = c + a @ b", "lerp_": "+= t * (y - x)",
    "addmv_": "[...] = c + a @ b", "baddbmm_": "[...] = c + a @ b", "addr_": "+= gg.outer(a, b)",
    "addbmm_": "+= gg.sum(a @ b, axis=0)", "clamp_": "[...] = gg.clip(x, low, high)",
    "clamp_min_": "[...] = gg.clip(x, low, None)", "clamp_max_": "[...] = gg.clip(x, None, high)",
    "rsqrt_": "**= -0.5", "sgn_": "[...] = gg.sign(x)", "eq_": "[...] = x == y",
    "ne_": "[...] = x != y", "lt_": "[...] = x < y", "le_": "[...] = x <= y",
    "gt_": "[...] = x > y", "ge_": "[...] = x >= y", "fill_": "[...] = value", "fill": "[...] = "
    "value",
    "copy_": "[...] = y", "masked_fill_": "[mask] = value", "masked_scatter_": "[mask] = values",
    "index_add_": "[...] = x.at[index].add(values)", "index_copy_": "[index] = values",
    "index_fill_": "[index] = value", "index_put_": "[index] = values", "put_": "[index] = values",
    "index_reduce_": "[...] = x.at[index].max(values)", "scatter_": "[index] = values",
    "scatter_add_": "[...] = x.at[index].add(values)",
    "scatter_reduce_": "[...] = x.at[index].max(values)", "fill_diagonal_": "[...] = "
    "gg.fill_diagonal(x, value)", "renorm_": "*= scale", "conj_physical_": "[...] = gg.conj(x)",
    "uniform_": "[...] = gg.random.uniform(low, high, x.shape)",
    "normal_": "[...] = gg.random.normal(mean, std, x.shape)",
    "bernoulli_": "[...] = gg.random.bernoulli(p, x.shape)",
    "random_": "[...] = gg.random.integers(low, high, x.shape)",
    "exponential_": "[...] = -gg.log(gg.random.uniform(0, 1, x.shape)) / rate",
    "log_normal_": "[...] = gg.exp(gg.random.normal(mean, std, x.shape))",
    "cauchy_": "[...] = gg.tan(gg.pi * gg.random.uniform(-0.5, 0.5, x.shape))",
    "geometric_": "[...] = gg.ceil(gg.log(gg.random.uniform(0, 1, x.shape)) / math.log(1 - p))",
    "digamma_": "[...] = gg.special.digamma(x)", "erfc_": "[...] = gg.special.erfc(x)",
    "erfinv_": "[...] = gg.special.erfinv(x)", "lgamma_": "[...] = gg.special.gammaln(x)",
    "logit_": "[...] = gg.special.logit(x)", "polygamma_": "[...] = gg.special.polygamma(n, x)",
    "mvlgamma_": "[...] = gg.special.multigammaln(x, d)",
    "igamma_": "[...] = gg.special.gammainc(x, y)", "igammac_": "[...] = gg.special.gammaincc(x, "
    "y)",
    "xlogy_": "[...] = gg.special.xlogy(x, y)",
}  # fmt: skip

# Of a Tensor alone: `x.view`.
_METHODS = {
    UNNEEDED: "contiguous coalesce pin_memory share_memory_ record_stream module_load",
    "x.ndim": "dim ndimension",
    "x.size": "numel nelement",
    "gg.scatter_add(x, index, values)": "scatter_add",
    "x.itemsize": "element_size",
    "x.device": "get_device devices sharding",
    "gg.cuda.synchronize()": "block_until_ready",
    "x.cpu()": "copy_to_host_async",
    "`del x`, which frees its memory": "delete is_deleted",
    "x.name, for errors and drawings: axes have no names": "names rename rename_ refine_names "
    "align_to align_as has_names",
    "x.shape and x.dtype": "aval",
    "False: each dtype is promoted as NumPy's arrays are": "weak_type",
    "x itself: it is on one device": "addressable_data addressable_shards global_shards "
    "is_fully_addressable is_fully_replicated committed traceback device_buffer",
    "x.nbytes": "on_device_size_in_bytes",
    "x.detach(), a new tensor over the same memory": "detach_",
    "x.broadcast_to(shape)": "expand",
    "x.broadcast_to(y.shape)": "expand_as",
    "x.reshape(shape)": "view",
    "x.reshape(y.shape)": "view_as reshape_as",
    "x.ravel()": "flat",
    "x.T": "t",
    "gg.conj(x.T)": "H",
    "gg.conj(x.mT)": "mH",
    "x = x.T, or x = x.reshape(shape): a new name for the view": "t_ transpose_ swapaxes_ "
    "swapdims_ squeeze_ unsqueeze_",
    "x[index]": "select",
    "gg.sum(x, axes) of those that were broadcast": "sum_to_size",
    "gg.sliding_window_view(x, size, axis)": "unfold",
    "x.astype(gg.float64)": "double",
    "x.astype(gg.float32)": "float",
    "x.astype(gg.float16)": "half",
    "x.astype(gg.float16): NumPy has no bfloat16": "bfloat16",
    "x.astype(gg.int64)": "long",
    "x.astype(gg.int32)": "int",
    "x.astype(gg.int16)": "short",
    "x.astype(gg.int8)": "char",
    "x.astype(gg.uint8)": "byte",
    "x.astype(gg.bool)": "bool",
    "x.astype(gg.complex128)": "cdouble",
    "x.astype(gg.complex64)": "cfloat chalf",
    "x.astype(dtype)": "type",
    "x.astype(y.dtype)": "type_as",
    "x.numpy(), or x.cpu().numpy() of one on a GPU": "get",
    "x.numpy().{}(...)": "tobytes tofile dump dumps byteswap getfield",
    "x.data.{} of the raw array": "strides base ctypes setfield setflags",
    "x.data.flags": "flags",
    "x.data.flags.c_contiguous": "is_contiguous",
    "x.data.strides, in bytes": "stride",
    "x.data, the raw array": "storage untyped_storage data_ptr storage_offset",
    "x.device.kind == 'cuda'": "is_cuda",
    "x.device.kind == 'cpu'": "is_cpu",
    "x.retain_grad(), after which x.grad has it": "retains_grad",
    "gg.zeros(shape, dtype=x.dtype, device=x.device)": "new_zeros",
    "gg.ones(shape, dtype=x.dtype, device=x.device)": "new_ones",
    "gg.full(shape, value, dtype=x.dtype, device=x.device)": "new_full",
    "gg.empty(shape, dtype=x.dtype, device=x.device)": "new new_empty new_empty_strided",
    "gg.tensor(data, dtype=x.dtype, device=x.device)": "new_tensor",
    "gg.resize(x, shape), which gives a new tensor": "resize resize_ resize_as resize_as_",
    "x.data = array": "set_",
    "gg.array_equal(a, b)": "equal",
    "gg.vectorize(f)(x)": "map_ map2_ apply_",
    "x.zero_grad() to forget the gradient of x, or `x[...] = 0` under gg.no_grad()": "zero_",
    "x itself: all tensors are dense": "to_dense",
    "False, or it without: gpugrad has no such tensors": "is_sparse is_sparse_csr is_quantized "
    "is_nested is_meta is_mkldnn is_mps is_xla is_xpu is_conj is_neg is_pinned is_shared "
    "is_inference is_coalesced layout indices values",
}


def in_place() -> dict[str, str]:
    """The advice for each name of a change in place."""
    changes = {f"{name}_": f"[...] = gg.{name}(x, ...)" for name in _IN_PLACE.split()}
    return {
        name: f"`x{'' if change.startswith('[') else ' '}{change}` under gg.no_grad()"
        for name, change in (changes | _OTHERS_IN_PLACE).items()
    }


METHODS = {
    **rows(OPERATIONS),
    **rows({"gg.{}(x, ...)": _ARE_FUNCTIONS}),
    **in_place(),
    **rows(_METHODS),
}

# Of a Module: `model.bfloat16()`.
OF_MODULES = rows({
    "module.to(dtype='float16')": "bfloat16",
    "module.to(dtype=dtype)": "type",
    "x.register_hook(f) on a tensor, or a Module that calls this one": "register_forward_hook "
    "register_forward_pre_hook register_full_backward_hook register_backward_hook",
    COMPILED: "compile",
    UNNEEDED: "share_memory to_empty",
})  # fmt: skip
