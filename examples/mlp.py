"""A first network: MLP(3, [4, 4, 1]) learns four samples by plain gradient descent.

The loss is the sum of squared errors. Run it with: python examples/mlp.py --plot loss.png
All four samples are one batch, so each epoch is one step.
"""

from collections.abc import Sequence

import common

import gpugrad as gg

SAMPLES = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [[1.0], [-1.0], [-1.0], [1.0]]
RATES = {"sgd": 0.1, "momentum": 0.02, "adam": 0.02, "adamw": 0.02}


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print the loss and the predictions."""
    flags = common.parser("Train MLP(3, [4, 4, 1]) on four samples.", trains=False)
    common.add_trainer_flags(flags, 100, "sgd", RATES)
    args = flags.parse_args(argv)
    device = common.setup(args)

    model = gg.nn.MLP(3, [4, 4, 1], activation="tanh", output_activation="tanh")
    x, y = gg.tensor(SAMPLES), gg.tensor(TARGETS)
    parameters = sum(p.size for p in model.parameters())
    print(f"MLP(3, [4, 4, 1]): {parameters} parameters, {args.dtype} on {device}")

    trainer = gg.Trainer(
        model,
        common.optimizer(args, model.parameters()),
        gg.nn.MSELoss(reduction="sum"),
        callbacks=[common.SameFlags(args), common.ShowEpochs(args.epochs, every=10)],
        checkpoints=args.checkpoints,
        compile=args.compile,
        progress=None,
    )
    history = trainer.fit([(x, y)], epochs=args.epochs, resume=args.checkpoints is not None)

    with gg.no_grad():
        predictions = model(x)
        final = ((predictions - y) ** 2).sum().item()
    for sample, target, prediction in zip(SAMPLES, TARGETS, predictions.tolist()):
        print(f"{sample!s:17}  target {target[0]:4.1f}  prediction {prediction[0]:7.4f}")
    print(f"final loss: {final:.6f}")

    if args.plot:
        losses = [record["loss"] for record in history]
        common.plot_losses(args.plot, {"loss": losses}, "MLP(3, [4, 4, 1]) on four samples")


if __name__ == "__main__":
    common.run(main)
