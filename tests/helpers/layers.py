"""Every layer and loss of ``gg.nn``, with what it takes: `test_no_waits` misses none of them."""

import numpy as np

import gpugrad as gg
from gpugrad import nn
from gpugrad.nn import activations

LAYERS = {
    **activations.MODULES,
    "Identity": nn.Identity,
    "Softmax": lambda: nn.Softmax(axis=-1),
    "LogSoftmax": lambda: nn.LogSoftmax(axis=-1),
    "Dropout": lambda: nn.Dropout(0.5),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "Flatten": nn.Flatten,
    "Linear": lambda: nn.Linear(4, 3),
    "MLP": lambda: nn.MLP(4, [8, 3]),
    "Sequential": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)),
    "Threshold": lambda: nn.Threshold(0.1, 20.0),
    **{name: getattr(nn, name) for name in (
        "GLU", "PReLU", "RReLU", "Softmin", "Softmax2d", "Dropout1d", "AlphaDropout",
        "FeatureAlphaDropout",
    )},
    "BatchNorm1d": lambda: nn.BatchNorm1d(2, momentum=None),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(2, track_running_stats=True),
    "GroupNorm": lambda: nn.GroupNorm(1, 2),
    "RMSNorm": lambda: nn.RMSNorm(4),
    "Unflatten": lambda: nn.Unflatten(-1, (2, 2)),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(4, 2, 8),
    "TransformerEncoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2),
    "PositionalEncoding": lambda: nn.PositionalEncoding(4),
}  # fmt: skip
# Those that slide windows, with the number of axes of their input.
WINDOWED = {
    **{f"{kind}{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}{n}d")(2, 2, 2), axes)
       for kind in ("Conv", "ConvTranspose") for axes in (1, 2, 3)},
    **{f"{kind}Pool{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}Pool{n}d")(3), axes)
       for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg") for axes in (1, 2, 3)},
    **{f"{kind}{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}{n}d")(2), axes)
       for kind in ("BatchNorm", "InstanceNorm") for axes in (2, 3)},
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(2), 2),
    **{f"Dropout{axes}d": (lambda n=axes: getattr(nn, f"Dropout{n}d")(0.5), axes)
       for axes in (2, 3)},
    "Upsample": (lambda: nn.Upsample(scale_factor=1.5, mode="bilinear"), 2),
    "UpsamplingNearest2d": (lambda: nn.UpsamplingNearest2d(7), 2),
    "UpsamplingBilinear2d": (lambda: nn.UpsamplingBilinear2d(7), 2),
    **{f"{kind}Pad{axes}d": (lambda k=kind, n=axes: getattr(nn, f"{k}Pad{n}d")(1), axes)
       for kind in ("Zero", "Reflection", "Replication", "Circular") for axes in (1, 2, 3)},
    **{f"ConstantPad{axes}d": (lambda n=axes: getattr(nn, f"ConstantPad{n}d")(1, 0.5), axes)
       for axes in (1, 2, 3)},
    "Unfold": (lambda: nn.Unfold(2), 2),
    "Fold": (lambda: nn.Sequential(nn.Unfold(2, stride=2), nn.Fold(4, 2, stride=2)), 2),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), 2),
    "PixelShuffle": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.PixelShuffle(2)), 2),
}  # fmt: skip
# Those with other inputs, and the shapes of these; "whole" is for numbers of rows.
OTHERS = {
    "Embedding": (lambda: nn.Embedding(4, 3, padding_idx=0), "whole"),
    "Bilinear": (lambda: nn.Bilinear(4, 3, 2), (5, 4), (5, 3)),
    "CosineSimilarity": (nn.CosineSimilarity, (5, 4), (5, 4)),
    "PairwiseDistance": (nn.PairwiseDistance, (5, 4), (5, 4)),
    "MultiheadAttention": (lambda: nn.MultiheadAttention(4, 2), *[(3, 5, 4)] * 3),
    "RotaryEmbedding": (lambda: nn.RotaryEmbedding(4), (5, 2, 4)),
    **{name: (lambda name=name: getattr(nn, name)(4, 3), (3, 5, 4))
       for name in ("RNN", "LSTM", "GRU")},
    **{name: (lambda name=name: getattr(nn, name)(4, 3), (5, 4))
       for name in ("RNNCell", "LSTMCell", "GRUCell")},
    **{name: (getattr(nn, name), (5, 4), (5, 4))
       for name in ("HingeEmbeddingLoss", "KLDivLoss", "MultiLabelSoftMarginLoss",
                    "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss")},
    "BCELoss": (lambda: nn.Sequential(nn.Sigmoid(), lambda p: nn.BCELoss()(p, p)), (5, 4)),
    "GaussianNLLLoss": (lambda: lambda x, t: nn.GaussianNLLLoss()(x, t, t * t), (5, 4), (5, 4)),
    "MarginRankingLoss": (nn.MarginRankingLoss, *[(5, 4)] * 3),
    "TripletMarginLoss": (nn.TripletMarginLoss, *[(5, 4)] * 3),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, (5, 4), (5, 4), (5,)),
}  # fmt: skip
VALUES = ("MSELoss", "L1Loss", "HuberLoss", "BCEWithLogitsLoss")
CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
# The maker of each, and the shapes of what it takes; "whole" stands for class numbers.
CASES = {
    **{name: (make, (5, 2, 4)) for name, make in LAYERS.items()},
    **{name: (make, (3, 2, *(4,) * axes)) for name, (make, axes) in WINDOWED.items()},
    **OTHERS,
    **{name: (getattr(nn, name), (6, 4), (6, 4)) for name in VALUES},
    **{name: (getattr(nn, name), (6, 4), "whole") for name in CLASSES},
}
BATCH_SECOND = {"RNN", "LSTM", "GRU", "MultiheadAttention", "PositionalEncoding"}


def arrays_for(name, batch=None):
    """What a layer takes, from (0.1, 1) where losses need it; whole numbers from 0 to 3."""
    rng = np.random.default_rng(7)
    for shape in CASES[name][1:]:
        if shape == "whole":
            yield rng.integers(0, 4, 6 if batch is None else batch)
            continue
        if batch is not None:
            axis = 1 if name in BATCH_SECOND else 0
            shape = (*shape[:axis], batch, *shape[axis + 1 :])
        yield rng.uniform(0.1, 1.0, shape) if "Loss" in name else rng.normal(0.0, 1.0, shape)


def start(name, device, dtype="float64"):
    """The layer, with the same parameters on every device."""
    gg.manual_seed(3)
    with gg.device("cpu"):
        layer = CASES[name][0]()
    return layer.to(dtype).to(device) if isinstance(layer, nn.Module) else layer
