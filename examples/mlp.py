"""A first network: MLP(3, [4, 4, 1]) learns four samples by plain gradient descent.

The loss is the sum of squared errors. Run it with: python examples/mlp.py --plot loss.png
"""

from collections.abc import Sequence

import common

import gpugrad as gg

SAMPLES = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [[1.0], [-1.0], [-1.0], [1.0]]
RATES = {"sgd": 0.1, "momentum": 0.02, "adam": 0.02, "adamw": 0.02}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print the loss and the predictions."""
    args = common.parser(
        "Train MLP(3, [4, 4, 1]) on four samples.", trains=True, epochs=100, rates=RATES
    ).parse_args(argv)
    device = common.setup(args)

    model = gg.nn.MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh")
    optimizer = common.optimizer(args, model.parameters())
    x, y = gg.tensor(SAMPLES), gg.tensor(TARGETS)
    parameters = sum(p.size for p in model.parameters())
    print(f"MLP(3, [4, 4, 1]): {parameters} parameters, {args.dtype} on {device}")

    losses = common.resume(args, "mlp", model=model, optimizer=optimizer).get("losses", [])
    done = len(losses)
    with common.Progress(range(done + 1, done + args.epochs + 1), every=10) as progress:
        for _ in progress:
            loss = ((model(x) - y) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            progress.report(loss=loss)

    losses = common.numbers(losses)
    with gg.no_grad():
        predictions = model(x)
        final = ((predictions - y) ** 2).sum().item()
    for sample, target, prediction in zip(SAMPLES, TARGETS, predictions.tolist()):
        print(f"{sample!s:17}  target {target[0]:4.1f}  prediction {prediction[0]:7.4f}")
    print(f"final loss: {final:.6f}")

    common.save(args, "mlp", model=model, optimizer=optimizer, losses=losses)
    if args.plot:
        common.plot_losses(args.plot, {"loss": losses}, "MLP(3, [4, 4, 1]) on four samples")


if __name__ == "__main__":
    common.run(main)
