"""Normalization of channels over a batch: `BatchNorm1d` to `3d` and `InstanceNorm1d` to `3d`.

Imports `linear`, `module`, `normalization` and `parameter`.
"""

import math
from typing import Any

import numpy as np

from gpugrad.engine.modes import no_grad, running_again
from gpugrad.errors import BatchError, DTypeError, ShapeError
from gpugrad.functions.operands import floating, without_lists
from gpugrad.nn.linear import check_size
from gpugrad.nn.module import Module
from gpugrad.nn.normalization import by_channel, check_channels
from gpugrad.nn.parameter import Parameter
from gpugrad.tensor import OPS, Tensor, as_tensor, asarray, ones, zeros

__all__ = [
    "BatchNorm", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d",
    "InstanceNorm3d", "batch_norm", "follow", "instance_norm",
]  # fmt: skip


def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float | Tensor = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel normalized over the batch, times weight plus bias (Ioffe and Szegedy, 2015).

    x is (batch, channels, ...). In ``training`` the means and variances are those of the batch,
    and ``running_mean`` and ``running_var``, where they are not None, move towards them in place:
    to ``(1 - momentum) * running + momentum * new``, the new variance with n - 1 in the
    denominator. Else they are the running ones. The running ones are no part of the graph, and a
    `gg.checkpoint` changes them once. weight and bias have one number for each channel, or are
    None. ShapeError where shapes do not fit, ValueError for one value a channel in training.

    >>> import gpugrad as gg
    >>> mean, variance = gg.zeros(1), gg.ones(1)
    >>> x = gg.tensor([[1.0], [3.0]])
    >>> gg.nn.functional.batch_norm(x, mean, variance, training=True, eps=0.0).tolist()
    [[-1.0], [1.0]]
    >>> mean.item(), variance.item()  # 0.9 * 0 + 0.1 * 2, 0.9 * 1 + 0.1 * 2
    (0.20000000298023224, 1.100000023841858)
    """
    who = "batch_norm"
    x, weight, bias = without_lists(x, weight, bias)
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"{who}: expected (batch, channels, ...), got shape {x.shape}")
    running = _running(who, running_mean, running_var, x)
    for label, array in (("weight", weight), ("bias", bias)):
        check_channels(who, label, array, x)
    if not training:
        return _by_running(who, x, running, weight, bias, eps)
    count = math.prod(x.shape) // max(x.shape[1], 1)
    if not count:  # nothing to normalize, and no statistics to follow
        return by_channel(who, floating(x), weight, bias)
    if count == 1:
        raise ValueError(
            f"{who}: expected more than 1 value per channel in training, got shape {x.shape}. Take "
            "a larger batch, or call .eval()"
        )
    y, mean, variance = OPS["batch_norm"](x, weight, bias, eps=eps)
    follow(running, mean, variance, count / (count - 1), momentum)
    return y


def _running(who: str, mean: Any, variance: Any, x: Tensor) -> tuple[Any, Any]:
    """The running statistics as Tensors over the same memory, or None for both."""
    if (mean is None) != (variance is None):
        raise ValueError(f"{who}: running_mean and running_var go together; pass both or none")
    for label, array in (("running_mean", mean), ("running_var", variance)):
        if isinstance(array, list | tuple | int | float):
            raise DTypeError(
                f"{who}: {label} is changed in place, so it must be a Tensor or an array, got "
                f"{type(array).__name__}"
            )
        check_channels(who, label, array, x)
    return (None, None) if mean is None else (as_tensor(mean), as_tensor(variance))


def _by_running(
    who: str, x: Tensor, running: tuple[Any, Any], weight: Any, bias: Any, eps: Any
) -> Tensor:
    """x normalized by statistics that are there."""
    mean, variance = running
    if mean is None:
        raise ValueError(
            f"{who}: without training it needs running_mean and running_var. Pass them, or "
            "training=True"
        )
    column = (x.shape[1], *(1,) * (x.ndim - 2))
    x = floating(x)
    given = [array.dtype for array in (weight, bias) if array is not None]
    scale = 1.0 / OPS["sqrt"](variance.detach() + eps)
    if weight is not None:
        scale = scale * weight
    y = (x - mean.detach().reshape(column)) * scale.reshape(column)
    if bias is not None:
        y = y + as_tensor(bias).reshape(column)
    # The dtype is that of training, in which the statistics have no say.
    dtype = np.result_type(x.dtype, *given)
    return y if y.dtype == dtype else y.astype(dtype)


def follow(
    running: tuple[Any, Any], mean: Tensor, variance: Tensor, factor: float, momentum: Any
) -> None:
    """Move the running statistics towards those of a batch, in place and outside any graph.

    The variance times ``factor`` is that of a sample, with n - 1 in the denominator.
    """
    if running[0] is None or running_again.get():
        return
    with no_grad():
        for old, new, times in (
            (running[0], mean.detach(), 1.0),
            (running[1], variance.detach(), factor),
        ):
            moved = OPS["moving_average"](old, new, momentum, factor=times)
            try:
                old._write(Ellipsis, moved)
            except BatchError as error:
                raise BatchError(
                    "batch_norm: in training inside of vmap the running statistics, which are the "
                    "same for all elements, would become other ones for each. Call .eval(), which "
                    "takes those that there are, make the layer with track_running_stats=False, or "
                    "take a GroupNorm in its place"
                ) from error


def instance_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float | Tensor = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel of each sample normalized over its positions, times weight plus bias.

    x is (batch, channels, positions, ...) (Ulyanov et al., 2016). With ``use_input_stats`` false
    the running statistics are used in place of the samples' own, as in `batch_norm`; else they,
    where they are given, move towards the mean of the samples' own. ShapeError where shapes do not
    fit, ValueError for one position.

    >>> import gpugrad as gg
    >>> gg.nn.functional.instance_norm(gg.tensor([[[1.0, 3.0], [10.0, 20.0]]]), eps=0.0).tolist()
    [[[-1.0, 1.0], [-1.0, 1.0]]]
    """
    who = "instance_norm"
    x, weight, bias = without_lists(x, weight, bias)
    x = as_tensor(x)
    if x.ndim < 3:
        raise ShapeError(f"{who}: expected (batch, channels, positions, ...), got shape {x.shape}")
    running = _running(who, running_mean, running_var, x)
    if not use_input_stats:
        for label, array in (("weight", weight), ("bias", bias)):
            check_channels(who, label, array, x)
        return _by_running(who, x, running, weight, bias, eps)
    samples, channels = x.shape[:2]
    count = math.prod(x.shape[2:])
    if count == 1:
        raise ValueError(f"{who}: expected more than 1 position, got shape {x.shape}")
    rows = floating(x).reshape((1, samples * channels, *x.shape[2:]))
    y, *statistics = OPS["batch_norm"](rows, eps=eps)
    if running[0] is not None and samples * count:
        mean, variance = (
            one.detach().reshape((samples, channels)).mean(axis=0) for one in statistics
        )
        follow(running, mean, variance, count / (count - 1), momentum)
    return by_channel(who, y.reshape(x.shape), weight, bias)


class _OfChannels(Module):
    """What layers with running statistics share: their tensors, and the shapes that they take."""

    _axes: tuple[int, ...] = ()
    _layout = ""

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool,
        track_running_stats: bool, dtype: Any, device: Any,
    ) -> None:  # fmt: skip
        self.num_features = check_size(type(self).__name__, "num_features", num_features)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        shape, kwargs = (self.num_features,), {"dtype": dtype, "device": device}
        self.weight = Parameter(ones(shape, **kwargs)) if affine else None
        self.bias = Parameter(zeros(shape, **kwargs)) if affine else None
        tracked = track_running_stats
        self.running_mean = zeros(shape, **kwargs) if tracked else None
        self.running_var = ones(shape, **kwargs) if tracked else None
        self.num_batches_tracked = asarray(0, dtype="int64", device=device) if tracked else None

    def reset_running_stats(self) -> None:
        """Set the running means to 0, the variances to 1, and the number of batches to 0."""
        for tensor, value in (
            (self.running_mean, 0),
            (self.running_var, 1),
            (self.num_batches_tracked, 0),
        ):
            if tensor is not None:
                tensor._write(Ellipsis, value)

    def reset_parameters(self) -> None:
        """The running statistics as at the start, weights of 1 and biases of 0."""
        self.reset_running_stats()
        for tensor, value in ((self.weight, 1), (self.bias, 0)):
            if tensor is not None:
                tensor._write(Ellipsis, value)

    def _checked(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in self._axes or x.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expected {self._layout} with {self.num_features} "
                f"channels, got shape {x.shape}"
            )
        return x

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        return f"{text}, affine={self.affine}, track_running_stats={self.track_running_stats}"


class BatchNorm(_OfChannels):
    """The layers of `batch_norm`."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, *, dtype: Any = None,
        device: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, device)

    def _share(self) -> Any:
        """Count the batch, and return what it counts in the running statistics.

        It stays on the device, so nobody waits for it.
        """
        counter = self.num_batches_tracked
        if counter is None or not self.training or running_again.get():
            return 0.0 if self.momentum is None else self.momentum
        with no_grad():
            counter._write(Ellipsis, counter + 1)
            return 1.0 / counter.astype("float32") if self.momentum is None else self.momentum

    def forward(self, x: Any) -> Tensor:
        x = self._checked(x)
        training = self.training or self.running_mean is None
        return batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            self._share(),
            self.eps,
        )


class BatchNorm1d(BatchNorm):
    """Each channel normalized over the batch, of (batch, channels) or (batch, channels, length).

    In training by the batch's own mean and variance, which ``running_mean`` and ``running_var``
    follow: they are averaged with the share ``momentum`` of the new ones, or all batches alike
    where it is None (``num_batches_tracked`` counts them). After ``eval()`` by the running ones.
    ``weight`` of ones and ``bias`` of zeros, None without ``affine``, have one number for each of
    the ``num_features`` channels. Without ``track_running_stats`` there are no running ones, and
    the batch's are always used. The names are those of PyTorch's ``state_dict``. The running
    statistics are no part of the graph, are updated without waiting for the device, and once in a
    `gg.checkpoint`. ShapeError for other numbers of axes or channels, ValueError for a single
    value a channel in training (Ioffe and Szegedy, 2015).

    >>> import gpugrad as gg
    >>> layer = gg.nn.BatchNorm1d(1)
    >>> layer(gg.tensor([[1.0], [3.0]])).round(3).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean, layer.num_batches_tracked.item()
    (tensor([0.2]), 1)
    >>> list(layer.state_dict())
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """

    _axes = (2, 3)
    _layout = "(batch, channels) or (batch, channels, length)"


class BatchNorm2d(BatchNorm):
    """`BatchNorm1d` for images: (batch, channels, height, width).

    >>> import gpugrad as gg
    >>> gg.nn.BatchNorm2d(3)(gg.random.normal(0, 1, (8, 3, 4, 4))).shape
    (8, 3, 4, 4)
    """

    _axes = (4,)
    _layout = "(batch, channels, height, width)"


class BatchNorm3d(BatchNorm):
    """`BatchNorm1d` for volumes: (batch, channels, depth, height, width)."""

    _axes = (5,)
    _layout = "(batch, channels, depth, height, width)"


class _InstanceNorm(_OfChannels):
    """The layers of `instance_norm`."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = False, track_running_stats: bool = False, *, dtype: Any = None,
        device: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, device)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim == self._axes[0] - 1:  # one sample
            return self.forward(x[None])[0]
        x = self._checked(x)
        return instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample normalized over its positions: (batch, channels, length).

    A single sample may come without the axis of the batch. ``weight`` and ``bias`` are there with
    ``affine``; with ``track_running_stats`` running means and variances are kept as by
    `BatchNorm1d`, and used after ``eval()``; as in PyTorch the batches are not counted, and stay
    without effect where ``momentum`` is None. ShapeError for other numbers of axes or channels,
    ValueError for a single position (Ulyanov et al., 2016).

    >>> import gpugrad as gg
    >>> gg.nn.InstanceNorm1d(1)(gg.tensor([[[1.0, 3.0]]])).round(3).tolist()
    [[[-1.0, 1.0]]]
    """

    _axes = (3,)
    _layout = "(batch, channels, length)"


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for images: (batch, channels, height, width)."""

    _axes = (4,)
    _layout = "(batch, channels, height, width)"


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for volumes: (batch, channels, depth, height, width)."""

    _axes = (5,)
    _layout = "(batch, channels, depth, height, width)"
