"""The chain rule in symbols and numbers: linear, sigmoid, squared error, on named scalars.

It prints the values; then each derivative as a product of partial derivatives, in symbols and in
numbers; then it trains until the loss is near zero, by a loop that is written out. Run it with:
python examples/chain_rule.py
With --save FILE it can be stopped at any time, and --resume FILE goes on.
"""

from collections.abc import Sequence
from pathlib import Path

import common

import gpugrad as gg

X, K, B, Y = 3.0, 0.35915077292816744, 0.3737660632429008, 0.6087876106387002
DIGITS = {"float32": 6, "float64": 12}
RATES = {"sgd": 0.5, "momentum": 0.1, "adam": 0.05, "adamw": 0.05}


def forward(
    x: gg.Tensor, k: gg.Tensor, b: gg.Tensor, y: gg.Tensor
) -> tuple[gg.Tensor, gg.Tensor, gg.Tensor]:
    """linear, sigmoid and loss, with their names."""
    linear = k * x + b
    linear.name = "linear"
    sigmoid = gg.sigmoid(linear)
    sigmoid.name = "sigmoid"
    loss = ((y - sigmoid) ** 2).mean()
    loss.name = "loss"
    return linear, sigmoid, loss


def explain(x: gg.Tensor, k: gg.Tensor, b: gg.Tensor, y: gg.Tensor, digits: int) -> None:
    """Print the values, and the derivatives by all of them, backward from the loss."""
    linear, sigmoid, loss = forward(x, k, b, y)
    explanation = gg.explain(loss, wrt=[y, sigmoid, linear, x, k, b])

    print("\nforward")
    for name, value in explanation.values.items():
        how = explanation.expressions.get(name, "")
        print(f"  {name:8} {how:22} {value:.{digits}g}")

    print("\nbackward, in symbols")
    for name, (path,) in explanation.paths.items():
        factors = [f"∂{f}/∂{by}" for f, by in zip(path.names, path.names[1:])]
        chain = f" = {' · '.join(factors)}" if len(factors) > 1 else ""
        print(f"  ∂loss/∂{name:8}{chain}".rstrip())

    print("\nbackward, in numbers")
    for name, (path,) in explanation.paths.items():
        product = " · ".join(f"{factor:.5g}" for factor in path.factors)
        chain = f" = {product}" if len(path.factors) > 1 else ""
        print(f"  ∂loss/∂{name:8}{chain:31} = {explanation.derivatives[name]:.{digits}g}")

    print("\nthe same, as gg.explain(loss) writes it")
    print("  " + str(gg.explain(loss)).replace("\n", "\n  "))


def main(argv: Sequence[str] | None = None) -> None:
    """Explain the first step, then train k and b."""
    args = common.parser(
        "The chain rule on named scalars, then training.",
        trains=True,
        dtype="float64",
        epochs=100,
        rates=RATES,
    ).parse_args(argv)
    device = common.setup(args)
    print(f"linear → sigmoid → squared error, {args.dtype} on {device}")

    x, k, b, y = (
        gg.tensor(value, requires_grad=True, name=name)
        for name, value in {"x": X, "k": K, "b": B, "y": Y}.items()
    )
    explain(x, k, b, y, DIGITS[args.dtype])

    # From here on x and y are data, k and b are learned.
    x, y = x.detach(), y.detach()
    optimizer = common.optimizer(args, [k, b])
    before = common.resume(args, "chain_rule", optimizer=optimizer)
    if before:
        with gg.no_grad():
            k[...], b[...] = before["k"], before["b"]

    def step() -> gg.Tensor:
        *_, loss = forward(x, k, b, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = common.compiled(args, step)
    losses = list(before.get("losses", []))
    done = len(losses)

    def save() -> Path | None:
        state = {"k": k.detach(), "b": b.detach(), "losses": common.numbers(losses)}
        return common.save(args, "chain_rule", optimizer=optimizer, **state)

    print("\ntraining")
    epochs = range(done + 1, done + args.epochs + 1)
    with common.Progress(epochs, every=10, save=save) as progress:
        for _ in progress:
            losses.append(step())
            progress.report(loss=losses[-1])

    with gg.no_grad():
        _, sigmoid, loss = forward(x, k, b, y)
    print(f"k = {k.item():.6f}, b = {b.item():.6f}: sigmoid {sigmoid.item():.6f}, wanted {Y:.6f}")
    print(f"final loss: {loss.item():.3g}")

    losses = common.numbers(losses)
    if path := save():
        print(f"saved: {path}")
    if args.plot:
        common.plot_losses(args.plot, {"loss": losses}, "linear → sigmoid → squared error")


if __name__ == "__main__":
    common.run(main)
