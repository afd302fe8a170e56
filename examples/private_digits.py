"""Differentially private learning: digits by gradients that are clipped one by one, and noise.

A step takes the gradient of each picture's loss, all of them at once by gg.vmap, scales each down
to a norm of at most --clip, adds them up, and adds normal noise of --noise times that norm: what
one picture can change is bounded, and hidden by the noise (Abadi and others, "Deep learning with
differential privacy", 2016). The last line is the accuracy on pictures that it has not seen.

gg.Trainer has a gradient for each batch, not one for each picture, so the loop is written out.
With --save FILE it can be stopped at any time, and --resume FILE goes on.

    python examples/private_digits.py
    python examples/private_digits.py --noise 0        # clipped alone: no privacy
    python examples/private_digits.py --device cuda
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common
import digits

import gpugrad as gg

Parameters = dict[str, gg.Tensor]


def loss(model: gg.nn.Module, parameters: Parameters, x: gg.Tensor, y: gg.Tensor) -> gg.Tensor:
    """The loss of one picture."""
    return gg.nn.functional.cross_entropy(gg.functional_call(model, parameters, x), y)


def private_sum(slopes: Parameters, clip: float, noise: float) -> Parameters:
    """The sum of the gradients of a batch, each of a norm of at most ``clip``, plus noise."""
    squares = [(g * g).reshape(len(g), -1).sum(axis=1) for g in slopes.values()]
    norms = gg.sqrt(sum(squares[1:], squares[0]))
    scales = clip / gg.maximum(norms, clip)
    sums = {name: gg.tensordot(scales, g, axes=1) for name, g in slopes.items()}
    return {
        name: total + noise * clip * gg.random.normal(size=total.shape, device=total.device)
        for name, total in sums.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and end with the accuracy on the held-out quarter."""
    flags = common.parser("Learn digits with differential privacy.", trains=False)
    flags.add_argument("--epochs", type=common.positive_int, default=20, metavar="N")
    flags.add_argument("--batch-size", type=common.positive_int, default=128, metavar="N")
    flags.add_argument("--rate", type=common.positive_float, default=0.5, help="learning rate")
    flags.add_argument("--clip", type=common.positive_float, default=1.0, help="of a gradient")
    flags.add_argument("--noise", type=common.from_zero, default=1.0, help="in units of --clip")
    common.add_saving(flags)
    args: argparse.Namespace = flags.parse_args(argv)
    device = common.setup(args)
    data = digits.load(args.seed, args.dtype, device)
    model = gg.nn.Sequential(gg.nn.Linear(64, 64), gg.nn.Tanh(), gg.nn.Linear(64, 10))
    parameters: Parameters = {name: p.detach() for name, p in model.named_parameters()}
    slopes: Any = gg.vmap(gg.grad(lambda p, x, y: loss(model, p, x, y)), in_axes=(None, 0, 0))
    print(
        f"{len(data.x)} pictures, {sum(p.size for p in parameters.values())} parameters, {device}"
    )

    before = common.resume(args, "private_digits")
    parameters, done = before.get("parameters", parameters), before.get("epoch", 0)

    def save() -> Path | None:
        return common.save(args, "private_digits", parameters=parameters, epoch=done)

    epochs = range(done + 1, done + args.epochs + 1)
    with common.Progress(epochs, every=5, save=save) as progress:
        for epoch in progress:
            order = gg.random.permutation(len(data.x), device=device)
            for start in range(0, len(data.x), args.batch_size):
                batch = order[start : start + args.batch_size]
                sums = private_sum(
                    slopes(parameters, data.x[batch], data.y[batch]), args.clip, args.noise
                )
                step = args.rate / len(batch)
                parameters = {name: p - step * sums[name] for name, p in parameters.items()}
            done = epoch
            if progress.due:
                progress.report(loss=loss(model, parameters, data.x, data.y))
    if path := save():
        print(f"saved: {path}")

    scores = gg.functional_call(model, parameters, data.test_x)
    right = (scores.argmax(axis=1) == data.test_y).astype(args.dtype).mean().item()
    print(f"test accuracy: {100 * right:.1f}%")


if __name__ == "__main__":
    common.run(main)
