"""Modules, layers, losses and initialization: ``gg.nn``, with PyTorch's names.

Written by ci/stubs.py from the op table; do not edit.
"""

from typing import Any, Literal

from gpugrad.nn import functional, init, utils
from gpugrad.nn.activations import Identity, LogSoftmax, Softmax
from gpugrad.nn.adaptive_pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
)
from gpugrad.nn.attention import MultiheadAttention
from gpugrad.nn.batch_norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from gpugrad.nn.bilinear import Bilinear
from gpugrad.nn.containers import MLP, Flatten, Sequential, Unflatten
from gpugrad.nn.convolution import Conv1d, Conv2d, Conv3d
from gpugrad.nn.distances import CosineSimilarity, PairwiseDistance
from gpugrad.nn.dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    FeatureAlphaDropout,
)
from gpugrad.nn.embedding import Embedding
from gpugrad.nn.folding import PixelShuffle, PixelUnshuffle
from gpugrad.nn.gates import GLU, PReLU, RReLU, Softmax2d, Softmin
from gpugrad.nn.likelihoods import GaussianNLLLoss
from gpugrad.nn.linear import Linear
from gpugrad.nn.lists import ModuleDict, ModuleList, ParameterDict, ParameterList
from gpugrad.nn.module import Module
from gpugrad.nn.normalization import GroupNorm, LayerNorm, RMSNorm
from gpugrad.nn.parameter import Parameter
from gpugrad.nn.pooling import AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d
from gpugrad.nn.positions import PositionalEncoding, RotaryEmbedding
from gpugrad.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from gpugrad.nn.resampling import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
from gpugrad.nn.summaries import summary
from gpugrad.nn.transformer import TransformerEncoder, TransformerEncoderLayer
from gpugrad.nn.transposed_convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gpugrad.parallel.batch_norm import SyncBatchNorm
from gpugrad.tensor import Tensor

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "SELU",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AlphaDropout",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bilinear",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "FeatureAlphaDropout",
    "Flatten",
    "Fold",
    "GRUCell",
    "GaussianNLLLoss",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "Identity",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KLDivLoss",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MarginRankingLoss",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "MultiheadAttention",
    "NLLLoss",
    "PReLU",
    "PairwiseDistance",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "PixelShuffle",
    "PixelUnshuffle",
    "PoissonNLLLoss",
    "PositionalEncoding",
    "RMSNorm",
    "RNNCell",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "RotaryEmbedding",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "SyncBatchNorm",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "Unflatten",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "functional",
    "init",
    "summary",
    "utils",
]

class BCELoss(Module):
    """``binary_cross_entropy`` of probabilities; a ``weight`` that is a Tensor is a buffer."""

    weight: Any
    reduction: str
    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None: ...
    def forward(self, probabilities: Any, target: Any) -> Tensor: ...

class BCEWithLogitsLoss(Module):
    """``binary_cross_entropy_with_logits``; weights that are Tensors are buffers."""

    weight: Any
    pos_weight: Any
    reduction: str
    def __init__(
        self, weight: Any = None, *, pos_weight: Any = None, reduction: str = "mean"
    ) -> None: ...
    def forward(self, logits: Any, target: Any) -> Tensor: ...

class CELU(Module):
    """x where x > 0 and else alpha * (e ** (x / alpha) - 1), without a kink (Barron, 2017)."""

    alpha: float
    def __init__(self, alpha: float = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class CircularPad1d(Module):
    """The last axis padded with its elements, repeated: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class CircularPad2d(Module):
    """The last two axes padded with their elements, repeated: see
    `gpugrad.nn.functional.pad`.
    """

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class CircularPad3d(Module):
    """The last three axes padded with their elements, repeated: see
    `gpugrad.nn.functional.pad`.
    """

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ConstantPad1d(Module):
    """The last axis padded with a number: see `gpugrad.nn.functional.pad`."""

    padding: Any
    value: float
    def __init__(self, padding: Any, value: float) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ConstantPad2d(Module):
    """The last two axes padded with a number: see `gpugrad.nn.functional.pad`."""

    padding: Any
    value: float
    def __init__(self, padding: Any, value: float) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ConstantPad3d(Module):
    """The last three axes padded with a number: see `gpugrad.nn.functional.pad`."""

    padding: Any
    value: float
    def __init__(self, padding: Any, value: float) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class CosineEmbeddingLoss(Module):
    """``cosine_embedding_loss`` of vectors that are alike, 1, or not, -1."""

    margin: float
    reduction: str
    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None: ...
    def forward(self, a: Any, b: Any, target: Any) -> Tensor: ...

class CrossEntropyLoss(Module):
    """``cross_entropy``: -log softmax of the target's class; a ``weight`` Tensor is a buffer."""

    weight: Any
    ignore_index: int | None
    reduction: str
    label_smoothing: float | Tensor
    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float | Tensor = 0.0,
    ) -> None: ...
    def forward(self, logits: Any, target: Any) -> Tensor: ...

class ELU(Module):
    """x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016)."""

    alpha: float | Tensor
    def __init__(self, alpha: float | Tensor = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Fold(Module):
    """Columns added up where their windows lie: see `gpugrad.nn.functional.fold`."""

    output_size: Any
    kernel_size: Any
    dilation: Any
    padding: Any
    stride: Any
    def __init__(
        self,
        output_size: Any,
        kernel_size: Any,
        dilation: Any = 1,
        padding: Any = 0,
        stride: Any = 1,
    ) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class GELU(Module):
    """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016);
    approximate="tanh" for their faster form.
    """

    approximate: Literal["none", "tanh"]
    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Hardshrink(Module):
    """x where |x| > lambd and else 0; its derivative where |x| <= lambd is 0."""

    lambd: float
    def __init__(self, lambd: float = 0.5) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Hardsigmoid(Module):
    """x / 6 + 1/2 held between 0 and 1 (Howard et al., 2019); its derivative at -3 and 3 is
    0.
    """
    def forward(self, x: Any) -> Tensor: ...

class Hardswish(Module):
    """x * hardsigmoid(x) (Howard et al., 2019); its derivative is 0 at -3 and 1 at 3."""
    def forward(self, x: Any) -> Tensor: ...

class Hardtanh(Module):
    """x held between min_val and max_val; its derivative at both is 0."""

    min_val: float | Tensor
    max_val: float | Tensor
    def __init__(self, min_val: float | Tensor = -1.0, max_val: float | Tensor = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class HingeEmbeddingLoss(Module):
    """``hinge_embedding_loss`` of distances, of pairs that are alike, 1, or not, -1."""

    margin: float
    reduction: str
    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None: ...
    def forward(self, x: Any, target: Any) -> Tensor: ...

class HuberLoss(Module):
    """``huber_loss``: squared up to ``delta``, and linear beyond."""

    reduction: str
    delta: float
    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None: ...
    def forward(self, prediction: Any, target: Any) -> Tensor: ...

class KLDivLoss(Module):
    """``kl_div``: a divergence of Kullback and Leibler, of logarithms of probabilities."""

    reduction: str
    log_target: bool
    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None: ...
    def forward(self, log_probabilities: Any, target: Any) -> Tensor: ...

class L1Loss(Module):
    """``l1_loss``: the absolute error."""

    reduction: str
    def __init__(self, reduction: str = "mean") -> None: ...
    def forward(self, prediction: Any, target: Any) -> Tensor: ...

class LeakyReLU(Module):
    """x where x > 0 and else negative_slope * x."""

    negative_slope: float | Tensor
    def __init__(self, negative_slope: float | Tensor = 0.01) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class LogSigmoid(Module):
    """log(sigmoid(x)), elementwise, for x of any size."""
    def forward(self, x: Any) -> Tensor: ...

class MSELoss(Module):
    """``mse_loss``: the squared error."""

    reduction: str
    def __init__(self, reduction: str = "mean") -> None: ...
    def forward(self, prediction: Any, target: Any) -> Tensor: ...

class MarginRankingLoss(Module):
    """``margin_ranking_loss``: called with two scores and which is to be larger, 1 or -1."""

    margin: float
    reduction: str
    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None: ...
    def forward(self, a: Any, b: Any, target: Any) -> Tensor: ...

class Mish(Module):
    """x * tanh(softplus(x)), elementwise (Misra, 2019)."""
    def forward(self, x: Any) -> Tensor: ...

class MultiLabelSoftMarginLoss(Module):
    """``multilabel_soft_margin_loss`` of logits; a ``weight`` that is a Tensor is a buffer."""

    weight: Any
    reduction: str
    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None: ...
    def forward(self, x: Any, target: Any) -> Tensor: ...

class MultiMarginLoss(Module):
    """``multi_margin_loss``: the hinge loss of several classes; a ``weight`` Tensor is a
    buffer.
    """

    p: int
    margin: float
    weight: Any
    reduction: str
    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
    ) -> None: ...
    def forward(self, x: Any, target: Any) -> Tensor: ...

class NLLLoss(Module):
    """``nll_loss``: -log probabilities of the target's class."""

    weight: Any
    ignore_index: int | None
    reduction: str
    def __init__(
        self, weight: Any = None, *, ignore_index: int | None = None, reduction: str = "mean"
    ) -> None: ...
    def forward(self, log_probabilities: Any, target: Any) -> Tensor: ...

class PoissonNLLLoss(Module):
    """``poisson_nll_loss``: the negative log-likelihood of counts."""

    log_input: bool
    full: bool
    eps: float
    reduction: str
    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        *,
        eps: float = 1e-08,
        reduction: str = "mean",
    ) -> None: ...
    def forward(self, prediction: Any, target: Any) -> Tensor: ...

class ReLU(Module):
    """x where x > 0 and else 0; its derivative at 0 is 0."""
    def forward(self, x: Any) -> Tensor: ...

class ReLU6(Module):
    """x held between 0 and 6; its derivative at both is 0."""
    def forward(self, x: Any) -> Tensor: ...

class ReflectionPad1d(Module):
    """The last axis padded with its mirror image: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ReflectionPad2d(Module):
    """The last two axes padded with their mirror image: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ReflectionPad3d(Module):
    """The last three axes padded with their mirror image: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ReplicationPad1d(Module):
    """The last axis padded with the elements at its ends: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ReplicationPad2d(Module):
    """The last two axes padded with the elements at their ends: see
    `gpugrad.nn.functional.pad`.
    """

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ReplicationPad3d(Module):
    """The last three axes padded with the elements at their ends: see
    `gpugrad.nn.functional.pad`.
    """

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class SELU(Module):
    """1.0507 x where x > 0 and else 1.0507 * 1.6733 * (e ** x - 1), with which deep networks
    keep mean 0 and variance 1 (Klambauer et al., 2017).
    """
    def forward(self, x: Any) -> Tensor: ...

class SiLU(Module):
    """x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish."""
    def forward(self, x: Any) -> Tensor: ...

class Sigmoid(Module):
    """1 / (1 + e ** -x), elementwise, for x of any size."""
    def forward(self, x: Any) -> Tensor: ...

class SmoothL1Loss(Module):
    """``smooth_l1_loss``: a parabola below ``beta``, and the absolute error beyond."""

    reduction: str
    beta: float
    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None: ...
    def forward(self, prediction: Any, target: Any) -> Tensor: ...

class SoftMarginLoss(Module):
    """``soft_margin_loss``: the logistic loss of two classes, 1 and -1."""

    reduction: str
    def __init__(self, *, reduction: str = "mean") -> None: ...
    def forward(self, x: Any, target: Any) -> Tensor: ...

class Softplus(Module):
    """log(1 + e ** (beta * x)) / beta, elementwise, for x of any size; x itself where beta *
    x exceeds ``threshold``, by default nowhere (PyTorch's is 20).
    """

    beta: float
    threshold: float | None
    def __init__(self, beta: float = 1.0, threshold: float | None = None) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Softshrink(Module):
    """x moved by lambd towards 0, and 0 where |x| <= lambd; its derivative there is 0."""

    lambd: float
    def __init__(self, lambd: float = 0.5) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Softsign(Module):
    """x / (1 + |x|), elementwise."""
    def forward(self, x: Any) -> Tensor: ...

class Tanh(Module):
    """The hyperbolic tangent: 1 for large x, never an overflow."""
    def forward(self, x: Any) -> Tensor: ...

class Tanhshrink(Module):
    """x - tanh(x), elementwise."""
    def forward(self, x: Any) -> Tensor: ...

class Threshold(Module):
    """x where x > threshold and else value; its derivative where x <= threshold is 0."""

    threshold: float
    value: float
    def __init__(self, threshold: float, value: float) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class TripletMarginLoss(Module):
    """``triplet_margin_loss``: called with anchors, what is like them, and what is not."""

    margin: float
    p: float
    eps: float
    swap: bool
    reduction: str
    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-06,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None: ...
    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor: ...

class Unfold(Module):
    """The elements under each window as columns: see `gpugrad.nn.functional.unfold`."""

    kernel_size: Any
    dilation: Any
    padding: Any
    stride: Any
    def __init__(
        self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ZeroPad1d(Module):
    """The last axis padded with zeros: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ZeroPad2d(Module):
    """The last two axes padded with zeros: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...

class ZeroPad3d(Module):
    """The last three axes padded with zeros: see `gpugrad.nn.functional.pad`."""

    padding: Any
    def __init__(self, padding: Any) -> None: ...
    def forward(self, input: Any) -> Tensor: ...
