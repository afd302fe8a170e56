"""Regression: a linear map, learnt by updates that are written by hand.

    python examples/regression.py --plot loss.png

The data are 100 x 3 normal numbers x and y = x * coef - 3; ``x @ w + b`` learns them, so w becomes
diag(coef) and b becomes -3. The loop is what this example shows; digits.py leaves it to gg.Trainer.
With --save FILE it can be stopped at any time, and --resume FILE goes on.
"""

from collections.abc import Sequence
from pathlib import Path

import common

import gpugrad as gg

COEF = [-1.0, 3.0, -2.0]
RATES = {"sgd": 3e-4, "momentum": 3e-5, "adam": 0.1, "adamw": 0.1}


def main(argv: Sequence[str] | None = None) -> None:
    """Fit ``x @ w + b`` to ``x * coef - 3``."""
    args = common.parser(
        "Fit a linear map by hand-written updates.", trains=True, epochs=101, rates=RATES
    ).parse_args(argv)
    device = common.setup(args)
    x = gg.random.normal(size=(100, 3))
    y = x * gg.tensor(COEF) - 3
    w = gg.random.normal(size=(3, 3)).requires_grad_()
    b = gg.random.normal(size=3).requires_grad_()
    lr = common.rate(args)
    # Plain descent is written out below; the other optimizers come from gg.optim.
    optimizer = None if args.optimizer == "sgd" else common.optimizer(args, [w, b])
    print(f"x @ w + b: {w.size + b.size} parameters, {args.dtype} on {device}")

    parts = {} if optimizer is None else {"optimizer": optimizer}
    state = common.resume(args, "regression", **parts)
    losses = state.get("losses", [])
    with gg.no_grad():
        if state:
            w[...], b[...] = state["w"], state["b"]

    def step(w: gg.Tensor, b: gg.Tensor) -> gg.Tensor:
        predicted = x @ w + b
        loss = ((predicted - y) ** 2).sum()
        loss.backward()
        if optimizer is None:
            with gg.no_grad():
                w -= lr * w.grad
                b -= lr * b.grad
        else:
            optimizer.step()
        w.zero_grad()
        b.zero_grad()
        return loss.detach()

    step = common.compiled(args, step)
    done = len(losses)

    def save() -> Path | None:
        state = {"w": w.detach(), "b": b.detach(), "losses": common.numbers(losses)}
        return common.save(args, "regression", **state, **parts)

    with common.Progress(range(done, done + args.epochs), every=10, save=save) as progress:
        for _ in progress:
            losses.append(step(w, b))
            progress.report(loss=losses[-1])

    losses = common.numbers(losses)
    print("w (to learn: diag" + str(tuple(COEF)) + ")")
    for row in w.detach().tolist():
        print("   ", "  ".join(f"{value:8.4f}" for value in row))
    print("b (to learn: -3)")
    print("   ", "  ".join(f"{value:8.4f}" for value in b.detach().tolist()))
    print(f"final loss: {losses[-1]:.6f}")
    if path := save():
        print(f"saved: {path}")
    if args.plot:
        history = [{"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses)]
        common.plot_losses(args.plot, history, "x @ w + b", "sum of squared errors")


if __name__ == "__main__":
    common.run(main)
