"""Arrays in another size along their last axes: `interpolate` and `Upsample`. Imports `sliding`."""

import math
from typing import Any

from gpugrad.errors import ArgumentError, ShapeError
from gpugrad.nn.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from gpugrad.nn.module import Module
from gpugrad.nn.sliding import per_axis, refuse_whole
from gpugrad.tensor import OPS, Tensor, as_tensor

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d", "interpolate"]

# The op's mode, and the number of axes that PyTorch has it for; None for any.
MODES: dict[str, tuple[str, int | None]] = {
    "nearest": ("nearest", None), "nearest-exact": ("nearest-exact", None),
    "linear": ("linear", 1), "bilinear": ("linear", 2), "trilinear": ("linear", 3),
    "bicubic": ("cubic", 2), "area": ("area", None),
}  # fmt: skip
_AREAS = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:  # fmt: skip
    """``input`` in another size along its last one to three axes.

    ``input`` is (samples, channels, *sizes). The new sizes are ``size``, or the old ones times
    ``scale_factor``, rounded down; one number for all axes or one for each. ``mode`` is "nearest",
    "nearest-exact" (by the centres, as images are), "linear" for one axis, "bilinear" for two,
    "trilinear" for three, "bicubic" for two (Keys' kernel with -0.75), or "area", the means of as
    many windows. With ``align_corners`` the first and last elements keep their place, otherwise
    the outer edges do. Places are computed from ``scale_factor`` itself, unless
    ``recompute_scale_factor``. ShapeError where sizes do not fit, ArgumentError for another mode,
    and for ``antialias``, which there is not.

    >>> import gpugrad as gg
    >>> x = gg.tensor([[[1.0, 3.0]]])
    >>> gg.nn.functional.interpolate(x, scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    >>> gg.nn.functional.interpolate(x, size=3, mode="linear", align_corners=True)
    tensor([[[1., 2., 3.]]])
    """
    x = as_tensor(input)
    axes = x.ndim - 2
    if not 1 <= axes <= 3 or 0 in x.shape[2:]:
        raise ShapeError(
            "interpolate: expected (samples, channels, *sizes) with one to three sizes of 1 or "
            f"more, got shape {x.shape}"
        )
    if mode not in MODES:
        raise ArgumentError(
            f"interpolate: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}"
        )
    own, of_axes = MODES[mode]
    if of_axes not in (None, axes):
        raise ShapeError(
            f"interpolate: mode {mode!r} is for {of_axes + 2} axes, (samples, channels and "
            f"{of_axes}), got shape {x.shape}"
        )
    if align_corners is not None and own not in ("linear", "cubic"):
        raise ArgumentError(
            "interpolate: align_corners is for the modes linear, bilinear, trilinear and bicubic, "
            f"not for {mode!r}"
        )
    if antialias:
        raise ArgumentError(
            "interpolate: there is no antialias here. Use mode='area' to reduce an array"
        )
    counts, factors = _sizes(x, size, scale_factor)
    if own != "nearest" and own != "nearest-exact":
        refuse_whole("interpolate", x)
    if own == "area":
        return _AREAS[axes - 1](x, counts)
    if recompute_scale_factor:
        factors = None
    scale = _scales(x.shape[2:], counts, factors, bool(align_corners))
    y: Tensor = OPS["resampled"](
        x, size=counts, scale=scale, mode=own, align_corners=bool(align_corners)
    )
    return y


def _sizes(
    x: Tensor, size: Any, scale_factor: Any
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """The new sizes, and the factors where these were given."""
    axes = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ArgumentError(
            f"interpolate: expected size or scale_factor, one of them, got size={size!r} and "
            f"scale_factor={scale_factor!r}"
        )
    if scale_factor is None:
        return per_axis("interpolate", "size", size, axes), None
    listed = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * axes
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in listed)
    if len(listed) != axes or not numbers or not all(0 < n < math.inf for n in listed):
        raise ArgumentError(
            f"interpolate: scale_factor must be a positive number, or one for each of {axes} "
            f"axes, got {scale_factor!r}"
        )
    counts = tuple([math.floor(n * factor) for n, factor in zip(x.shape[2:], listed)])
    if 0 in counts:
        raise ShapeError(
            f"interpolate: nothing is left of shape {x.shape} with scale_factor={scale_factor!r}"
        )
    return counts, tuple([float(factor) for factor in listed])


def _scales(
    size: tuple[int, ...], counts: tuple[int, ...], factors: Any, align_corners: bool
) -> tuple[float, ...]:
    """The distance, in elements of the input, of two elements of the result."""
    if align_corners:
        return tuple([(n - 1) / (m - 1) if m > 1 else 0.0 for n, m in zip(size, counts)])
    if factors is not None:
        return tuple([1.0 / factor for factor in factors])
    return tuple([n / m for n, m in zip(size, counts)])


class Upsample(Module):
    """`gpugrad.nn.functional.interpolate` with its arguments, as a layer.

    >>> import gpugrad as gg
    >>> layer = gg.nn.Upsample(scale_factor=2, mode="bilinear")
    >>> layer
    Upsample(scale_factor=2, mode='bilinear')
    >>> layer(gg.ones((5, 8, 7, 7))).shape
    (5, 8, 14, 14)
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ) -> None:  # fmt: skip
        self.size = size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Any) -> Tensor:
        return interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        name = "scale_factor" if self.size is None else "size"
        return f"{name}={getattr(self, name)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images by their nearest elements.

    >>> import gpugrad as gg
    >>> gg.nn.UpsamplingNearest2d(scale_factor=2)(gg.ones((5, 8, 7, 7))).shape
    (5, 8, 14, 14)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images by linear interpolation, with their corners aligned.

    >>> import gpugrad as gg
    >>> gg.nn.UpsamplingBilinear2d(size=(14, 10))(gg.ones((5, 8, 7, 7))).shape
    (5, 8, 14, 10)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)
