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
from gpugrad.nn.cross_entropy import BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss
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
from gpugrad.nn.folding import Fold, PixelShuffle, PixelUnshuffle, Unfold
from gpugrad.nn.gates import GLU, PReLU, RReLU, Softmax2d, Softmin
from gpugrad.nn.likelihoods import BCELoss, GaussianNLLLoss, KLDivLoss, PoissonNLLLoss
from gpugrad.nn.linear import Linear
from gpugrad.nn.lists import ModuleDict, ModuleList, ParameterDict, ParameterList
from gpugrad.nn.losses import HuberLoss, L1Loss, MSELoss, SmoothL1Loss
from gpugrad.nn.margins import (
    CosineEmbeddingLoss,
    HingeEmbeddingLoss,
    MarginRankingLoss,
    MultiLabelSoftMarginLoss,
    MultiMarginLoss,
    SoftMarginLoss,
    TripletMarginLoss,
)
from gpugrad.nn.module import Module
from gpugrad.nn.normalization import GroupNorm, LayerNorm, RMSNorm
from gpugrad.nn.padding_layers import (
    CircularPad1d,
    CircularPad2d,
    CircularPad3d,
    ConstantPad1d,
    ConstantPad2d,
    ConstantPad3d,
    ReflectionPad1d,
    ReflectionPad2d,
    ReflectionPad3d,
    ReplicationPad1d,
    ReplicationPad2d,
    ReplicationPad3d,
    ZeroPad1d,
    ZeroPad2d,
    ZeroPad3d,
)
from gpugrad.nn.parameter import Parameter
from gpugrad.nn.pooling import AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d
from gpugrad.nn.positions import PositionalEncoding, RotaryEmbedding
from gpugrad.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from gpugrad.nn.resampling import Upsample, UpsamplingBilinear2d, UpsamplingNearest2d
from gpugrad.nn.summaries import summary
from gpugrad.nn.transformer import TransformerEncoder, TransformerEncoderLayer
from gpugrad.nn.transposed_convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
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

class Sigmoid(Module):
    """1 / (1 + e ** -x), elementwise, for x of any size."""
    def forward(self, x: Any) -> Tensor: ...

class ReLU(Module):
    """x where x > 0 and else 0; its derivative at 0 is 0."""
    def forward(self, x: Any) -> Tensor: ...

class Softplus(Module):
    """log(1 + e ** (beta * x)) / beta, elementwise, for x of any size; x itself where beta *
    x exceeds ``threshold``, by default nowhere (PyTorch's is 20).
    """

    beta: float
    threshold: float | None
    def __init__(self, beta: float = 1.0, threshold: float | None = None) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class SiLU(Module):
    """x * sigmoid(x), elementwise (Elfwing et al., 2018); also named swish."""
    def forward(self, x: Any) -> Tensor: ...

class ELU(Module):
    """x where x > 0 and else alpha * (e ** x - 1) (Clevert et al., 2016)."""

    alpha: float | Tensor
    def __init__(self, alpha: float | Tensor = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class LeakyReLU(Module):
    """x where x > 0 and else negative_slope * x."""

    negative_slope: float | Tensor
    def __init__(self, negative_slope: float | Tensor = 0.01) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class SELU(Module):
    """1.0507 x where x > 0 and else 1.0507 * 1.6733 * (e ** x - 1), with which deep networks
    keep mean 0 and variance 1 (Klambauer et al., 2017).
    """
    def forward(self, x: Any) -> Tensor: ...

class CELU(Module):
    """x where x > 0 and else alpha * (e ** (x / alpha) - 1), without a kink (Barron, 2017)."""

    alpha: float
    def __init__(self, alpha: float = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Mish(Module):
    """x * tanh(softplus(x)), elementwise (Misra, 2019)."""
    def forward(self, x: Any) -> Tensor: ...

class Softsign(Module):
    """x / (1 + |x|), elementwise."""
    def forward(self, x: Any) -> Tensor: ...

class Tanhshrink(Module):
    """x - tanh(x), elementwise."""
    def forward(self, x: Any) -> Tensor: ...

class LogSigmoid(Module):
    """log(sigmoid(x)), elementwise, for x of any size."""
    def forward(self, x: Any) -> Tensor: ...

class ReLU6(Module):
    """x held between 0 and 6; its derivative at both is 0."""
    def forward(self, x: Any) -> Tensor: ...

class Hardtanh(Module):
    """x held between min_val and max_val; its derivative at both is 0."""

    min_val: float | Tensor
    max_val: float | Tensor
    def __init__(self, min_val: float | Tensor = -1.0, max_val: float | Tensor = 1.0) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Hardsigmoid(Module):
    """x / 6 + 1/2 held between 0 and 1 (Howard et al., 2019); its derivative at -3 and 3 is
    0.
    """
    def forward(self, x: Any) -> Tensor: ...

class Hardswish(Module):
    """x * hardsigmoid(x) (Howard et al., 2019); its derivative is 0 at -3 and 1 at 3."""
    def forward(self, x: Any) -> Tensor: ...

class Hardshrink(Module):
    """x where |x| > lambd and else 0; its derivative where |x| <= lambd is 0."""

    lambd: float
    def __init__(self, lambd: float = 0.5) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Softshrink(Module):
    """x moved by lambd towards 0, and 0 where |x| <= lambd; its derivative there is 0."""

    lambd: float
    def __init__(self, lambd: float = 0.5) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Threshold(Module):
    """x where x > threshold and else value; its derivative where x <= threshold is 0."""

    threshold: float
    value: float
    def __init__(self, threshold: float, value: float) -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class GELU(Module):
    """x * Φ(x), Φ the normal distribution function (Hendrycks and Gimpel, 2016);
    approximate="tanh" for their faster form.
    """

    approximate: Literal["none", "tanh"]
    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None: ...
    def forward(self, x: Any) -> Tensor: ...

class Tanh(Module):
    """The hyperbolic tangent: 1 for large x, never an overflow."""
    def forward(self, x: Any) -> Tensor: ...
