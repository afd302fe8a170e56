"""Modules, layers, losses and initialization: ``gg.nn``, with PyTorch's names.

Imports tensor, random and below.

>>> import gpugrad as gg
>>> model = gg.nn.Sequential(gg.nn.Linear(2, 8), gg.nn.Tanh(), gg.nn.Linear(8, 1))
>>> loss = gg.nn.functional.mse_loss(model(gg.ones((4, 2))), gg.zeros((4, 1)))
>>> loss.backward()
>>> model[0].weight.grad.shape
(8, 2)
"""

from typing import TYPE_CHECKING, NoReturn

from gpugrad.nn import functional, init, utils
from gpugrad.nn.activations import MODULES as _ACTIVATIONS
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
from gpugrad.nn.summary import summary
from gpugrad.nn.transformer import TransformerEncoder, TransformerEncoderLayer
from gpugrad.nn.transposed_convolution import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gpugrad.tensor.hints import absent

globals().update(_ACTIVATIONS)

__all__ = [  # noqa: PLE0604  names of the table
    "GLU", "GRU", "LSTM", "MLP", "RNN", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d",
    "AlphaDropout", "AvgPool1d", "AvgPool2d", "AvgPool3d", "BCELoss", "BCEWithLogitsLoss",
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Bilinear", "CircularPad1d", "CircularPad2d",
    "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "Conv1d", "Conv2d",
    "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "CosineEmbeddingLoss",
    "CosineSimilarity", "CrossEntropyLoss", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d",
    "Embedding", "FeatureAlphaDropout", "Flatten", "Fold", "GRUCell", "GaussianNLLLoss",
    "GroupNorm", "HingeEmbeddingLoss", "HuberLoss", "Identity", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "KLDivLoss", "L1Loss", "LSTMCell", "LayerNorm", "Linear", "LogSoftmax",
    "MSELoss", "MarginRankingLoss", "MaxPool1d", "MaxPool2d", "MaxPool3d", "Module", "ModuleDict",
    "ModuleList", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "MultiheadAttention", "NLLLoss",
    "PReLU", "PairwiseDistance", "Parameter", "ParameterDict", "ParameterList", "PixelShuffle",
    "PixelUnshuffle", "PoissonNLLLoss", "PositionalEncoding", "RMSNorm", "RNNCell", "RReLU",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "RotaryEmbedding", "Sequential", "SmoothL1Loss", "SoftMarginLoss",
    "Softmax", "Softmax2d", "Softmin", "TransformerEncoder", "TransformerEncoderLayer",
    "TripletMarginLoss", "Unflatten", "Unfold", "Upsample", "UpsamplingBilinear2d",
    "UpsamplingNearest2d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d", "functional", "init", "summary",
    "utils", *_ACTIVATIONS,
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name: str) -> NoReturn:
        raise absent("nn", name)

    def __dir__() -> list[str]:
        return sorted(__all__)
