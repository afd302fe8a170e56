"""Layers, activations and losses as functions: ``gg.nn.functional``.

Imports the modules beside it that define them. The activations are gpugrad's functions; the op
table says which ones.
"""

from gpugrad.nn.activations import FUNCTIONS
from gpugrad.tensor.hints import explained, homes, members

globals().update(FUNCTIONS)

_LAZY = homes({
    "nn.adaptive_pooling": "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
    "nn.attention": "scaled_dot_product_attention",
    "nn.batch_norm": "batch_norm instance_norm",
    "nn.bilinear": "bilinear",
    "nn.convolution": "conv1d conv2d conv3d",
    "nn.cross_entropy": "binary_cross_entropy_with_logits cross_entropy nll_loss",
    "nn.distances": "cosine_similarity normalize pairwise_distance",
    "nn.dropout": "alpha_dropout dropout dropout1d dropout2d dropout3d feature_alpha_dropout",
    "nn.embedding": "embedding one_hot",
    "nn.folding": "fold pixel_shuffle pixel_unshuffle unfold",
    "nn.gates": "glu gumbel_softmax prelu rrelu softmin",
    "nn.likelihoods": "binary_cross_entropy gaussian_nll_loss kl_div poisson_nll_loss",
    "nn.linear": "linear",
    "nn.losses": "huber_loss l1_loss mse_loss smooth_l1_loss",
    "nn.margins": "cosine_embedding_loss hinge_embedding_loss margin_ranking_loss "
    "multi_margin_loss multilabel_soft_margin_loss soft_margin_loss triplet_margin_loss",
    "nn.normalization": "group_norm layer_norm rms_norm",
    "nn.padding": "pad",
    "nn.pooling": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d",
    "nn.positions": "rotary_embedding sinusoidal_positions",
    "nn.resampling": "interpolate",
    "nn.transposed_convolution": "conv_transpose1d conv_transpose2d conv_transpose3d",
})  # fmt: skip

__all__ = sorted([*FUNCTIONS, *_LAZY])  # noqa: PLE0605
__getattr__, __dir__ = members("nn.functional", __all__, _LAZY, explained)
