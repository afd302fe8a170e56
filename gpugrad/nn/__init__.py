"""Modules, layers, losses and initialization: ``gg.nn``, with PyTorch's names.

Imports tensor, random and below.

>>> import gpugrad as gg
>>> model = gg.nn.Sequential(gg.nn.Linear(2, 8), gg.nn.Tanh(), gg.nn.Linear(8, 1))
>>> loss = gg.nn.functional.mse_loss(model(gg.ones((4, 2))), gg.zeros((4, 1)))
>>> loss.backward()
>>> model[0].weight.grad.shape
(8, 2)
"""

from gpugrad.nn.activations import MODULES as _ACTIVATIONS
from gpugrad.tensor.hints import homes, members

globals().update(_ACTIVATIONS)

_LAZY = homes({
    "nn": "functional init utils",
    "nn.activations": "Identity LogSoftmax Softmax",
    "nn.adaptive_pooling": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d "
    "AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d",
    "nn.attention": "MultiheadAttention",
    "nn.batch_norm": "BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d "
    "InstanceNorm3d",
    "nn.bilinear": "Bilinear",
    "nn.containers": "MLP Flatten Sequential Unflatten",
    "nn.convolution": "Conv1d Conv2d Conv3d",
    "nn.cross_entropy": "BCEWithLogitsLoss CrossEntropyLoss NLLLoss",
    "nn.distances": "CosineSimilarity PairwiseDistance",
    "nn.dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "nn.embedding": "Embedding",
    "nn.folding": "Fold PixelShuffle PixelUnshuffle Unfold",
    "nn.gates": "GLU PReLU RReLU Softmax2d Softmin",
    "nn.likelihoods": "BCELoss GaussianNLLLoss KLDivLoss PoissonNLLLoss",
    "nn.linear": "Linear",
    "nn.lists": "ModuleDict ModuleList ParameterDict ParameterList",
    "nn.losses": "HuberLoss L1Loss MSELoss SmoothL1Loss",
    "nn.margins": "CosineEmbeddingLoss HingeEmbeddingLoss MarginRankingLoss "
    "MultiLabelSoftMarginLoss MultiMarginLoss SoftMarginLoss TripletMarginLoss",
    "nn.module": "Module",
    "nn.normalization": "GroupNorm LayerNorm RMSNorm",
    "nn.padding_layers": "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d "
    "ConstantPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d "
    "ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d",
    "nn.parameter": "Parameter",
    "nn.pooling": "AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d",
    "nn.positions": "PositionalEncoding RotaryEmbedding",
    "nn.recurrent": "GRU LSTM RNN GRUCell LSTMCell RNNCell",
    "nn.resampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
    "nn.summaries": "summary",
    "nn.transformer": "TransformerEncoder TransformerEncoderLayer",
    "parallel.batch_norm": "SyncBatchNorm",
    "nn.transposed_convolution": "ConvTranspose1d ConvTranspose2d ConvTranspose3d",
})  # fmt: skip

__all__ = sorted([*_ACTIVATIONS, *_LAZY])  # noqa: PLE0605
__getattr__, __dir__ = members("nn", __all__, _LAZY)
