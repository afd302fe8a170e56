"""`SyncBatchNorm`: batch normalization over the batches of all processes. Imports nn and below."""

from typing import Any

from gpugrad.backend.precision import is_half
from gpugrad.engine.modes import no_grad
from gpugrad.errors import DTypeError, ShapeError
from gpugrad.functions import FUNCTIONS
from gpugrad.nn.batch_norm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, follow
from gpugrad.nn.module import Module
from gpugrad.parallel.collectives import all_gather
from gpugrad.parallel.group import group
from gpugrad.tensor import OPS, Tensor, as_tensor
from gpugrad.tensor.creation import full_like

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(BatchNorm):
    """`BatchNorm1d` to `BatchNorm3d` by the mean and variance of the batches of all processes.

    x is (batch, channels, ...), of any number of axes and with a batch of any length on each
    process. Each gives its mean, its sum of squared deviations and its count, which all combine
    (Chan, Golub and LeVeque, 1979): one `gpugrad.parallel.all_gather` a pass, and in the backward
    pass one sum. So all processes call it, and alike. After ``eval()`` and in a single process it
    is the ordinary layer; arguments and names of parameters are those of `BatchNorm1d`.

    >>> import gpugrad as gg
    >>> layer = gg.nn.SyncBatchNorm(1)
    >>> layer(gg.tensor([[1.0], [3.0]])).round(3).tolist()
    [[-1.0], [1.0]]
    """

    _layout = "(batch, channels, ...)"

    @classmethod
    def convert_sync_batchnorm(cls, module: Module) -> Module:
        """Make all `BatchNorm1d` to `BatchNorm3d` in a module synchronised; returns the module.

        The layers stay the same objects with the same parameters, so an optimizer stays valid.

        >>> import gpugrad as gg
        >>> model = gg.nn.Sequential(gg.nn.Linear(2, 3), gg.nn.BatchNorm1d(3))
        >>> type(gg.nn.SyncBatchNorm.convert_sync_batchnorm(model)[1]).__name__
        'SyncBatchNorm'
        """
        if not isinstance(module, Module):
            raise DTypeError(
                f"convert_sync_batchnorm: expected a Module, got {type(module).__name__}"
            )
        for layer in list(module.modules()):
            if type(layer) in (BatchNorm1d, BatchNorm2d, BatchNorm3d):
                layer.__class__ = cls
        return module

    def _checked(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ShapeError(
                f"SyncBatchNorm: expected {self._layout} with {self.num_features} channels, got "
                f"shape {x.shape}"
            )
        return x

    def forward(self, x: Any) -> Tensor:
        training = self.training or self.running_mean is None
        if not training or group().size == 1:
            return super().forward(x)
        x = self._checked(x)
        axes = (0, *range(2, x.ndim))
        column = (1, -1, *(1,) * (x.ndim - 2))
        wide = x.astype("float32") if is_half(x.dtype) else x
        rows = x.size // x.shape[1]
        own = wide.sum(axis=axes) / max(rows, 1)  # a process may have none
        deviations = ((wide - own.reshape(column)) ** 2).sum(axis=axes)
        length = full_like(own[:1], rows)
        parts = all_gather(FUNCTIONS["concatenate"]([own, deviations, length]))
        channels, counts = self.num_features, parts[:, -1:]
        means, squares = parts[:, :channels], parts[:, channels:-1]
        count = counts.sum()
        mean = (counts * means).sum(axis=0) / count
        variance = (squares + counts * (means - mean) ** 2).sum(axis=0) / count
        with no_grad():
            unbiased = variance.detach() * (count / (count - 1.0))
        follow((self.running_mean, self.running_var), mean, unbiased, 1.0, self._share())
        y = (wide - mean.reshape(column)) / OPS["sqrt"](variance + self.eps).reshape(column)
        if self.weight is not None and self.bias is not None:
            y = y * self.weight.reshape(column) + self.bias.reshape(column)
        return y if y.dtype == x.dtype else y.astype(x.dtype)
