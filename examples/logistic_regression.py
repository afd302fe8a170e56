"""Logistic regression of handwritten digits by L-BFGS, beside gradient descent and Adam.

    python examples/logistic_regression.py --plot logistic.png

The mean cross-entropy of ten scores, linear in 64 pixels, plus a penalty on their weights, is
convex: there is one minimum, and where no gradient is left it is found. L-BFGS, which estimates the
curvature from past gradients, gets there in some hundred evaluations of all the data. The picture
shows what is left of the gradient, and the weights of each digit.

The loop is written out: it compares what each evaluation leaves of the gradient, and gg.Trainer
knows steps. With --save FILE the fits are saved one by one, and --resume FILE makes the others.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import common
import numpy as np
from digits import Data, load

import gpugrad as gg
import gpugrad.nn.functional as F

RIVALS = {
    "gradient descent": lambda params: gg.optim.SGD(params, lr=0.5),
    "Adam": lambda params: gg.optim.Adam(params, lr=0.05),
}


def objective(model: gg.nn.Module, data: Data, penalty: float) -> gg.Tensor:
    """The mean cross-entropy of the training pictures, plus half the penalty on squared weights."""
    squares = (model.weight**2).sum()
    return F.cross_entropy(model(data.x), data.y) + penalty / 2 * squares


def gradient_norm(model: gg.nn.Module) -> gg.Tensor:
    """The largest element of the gradient, still on the device."""
    return gg.optim.get_total_norm([p.grad for p in model.parameters()], float("inf"))


def closure_of(
    model: gg.nn.Module, optimizer: Any, data: Data, penalty: float, norms: list[gg.Tensor],
    is_compiled: bool = False,
) -> Callable[[], gg.Tensor]:  # fmt: skip
    """The function that an optimizer calls for the loss and its gradients; notes their size."""

    def evaluate() -> tuple[gg.Tensor, gg.Tensor]:
        optimizer.zero_grad()
        loss = objective(model, data, penalty)
        loss.backward()
        return loss.detach(), gradient_norm(model)

    evaluate = gg.compile(evaluate) if is_compiled else evaluate

    def closure() -> gg.Tensor:
        loss, norm = evaluate()
        norms.append(norm)
        return loss

    return closure


def newton(
    data: Data, penalty: float, evaluations: int, is_compiled: bool = False
) -> tuple[gg.nn.Module, list[float]]:
    """A fit by L-BFGS until the gradient is gone, and its size at each evaluation."""
    model = start()
    optimizer = gg.optim.LBFGS(
        model.parameters(),
        max_iter=evaluations,
        max_eval=evaluations,
        tolerance_grad=1e-6,
        tolerance_change=0.0,
        history_size=20,
        line_search_fn="strong_wolfe",
    )
    norms: list[gg.Tensor] = []
    optimizer.step(closure_of(model, optimizer, data, penalty, norms, is_compiled))
    return model, common.numbers(norms)


def descent(
    make: Callable[[Any], Any],
    data: Data,
    penalty: float,
    evaluations: int,
    is_compiled: bool = False,
) -> tuple[gg.nn.Module, list[float]]:
    """A fit by steps of an optimizer, an evaluation each."""
    model = start()
    optimizer = make(list(model.parameters()))
    norms: list[gg.Tensor] = []
    closure = closure_of(model, optimizer, data, penalty, norms, is_compiled)
    for _ in range(evaluations):
        optimizer.step(closure)
    return model, common.numbers(norms)


def start() -> gg.nn.Module:
    """64 pixels in, ten scores out, all of them 0."""
    model = gg.nn.Linear(64, 10)
    gg.nn.init.zeros_(model.weight)
    gg.nn.init.zeros_(model.bias)
    return model


def accuracy(model: gg.nn.Module, data: Data) -> float:
    """The share of the held-out pictures whose digit has the highest score."""
    with gg.no_grad():
        return (model(data.test_x).argmax(1) == data.test_y).mean(dtype="float32").item()


def plot(path: Any, model: gg.nn.Module, curves: dict[str, list[float]]) -> None:
    """Draw the size of the gradients by evaluation, and the weights of each digit."""
    picture, (left, right) = common.figure(columns=2)
    for name, norms in curves.items():
        left.semilogy(range(1, len(norms) + 1), norms, label=name, linewidth=1.5)
    left.set_xlabel("evaluation of all the data")
    left.set_ylabel("largest element of the gradient")
    left.grid(alpha=0.3)
    left.legend()
    left.set_title("logistic regression of digits")
    weights = model.weight.detach().cpu().numpy().reshape(2, 5, 8, 8)
    tiles = np.pad(weights, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    most = np.abs(weights).max()
    shown = right.imshow(
        tiles.transpose(0, 2, 1, 3).reshape(20, 50), cmap="RdBu_r", vmin=-most, vmax=most
    )
    for digit in range(10):
        right.text(10 * (digit % 5) + 0.6, 10 * (digit // 5) + 1.6, str(digit), va="top")
    right.axis("off")
    right.set_title("ink that speaks for a digit (red), and against it (blue)")
    picture.colorbar(shown, ax=right, shrink=0.6)
    common.save_picture(picture, path)
    print(f"picture: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit by L-BFGS and its rivals; print what is left of the gradient, and the accuracy."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False, dtype="float64")
    flags.add_argument(
        "--evaluations",
        type=common.positive_int,
        default=200,
        metavar="N",
        help="the most evaluations of the loss for each fit (default: 200)",
    )
    flags.add_argument(
        "--penalty",
        type=common.positive_float,
        default=1e-3,
        metavar="C",
        help="on the squared weights (default: 0.001)",
    )
    common.add_plot(flags, "the fits")
    common.add_saving(flags)
    common.add_compile(flags)
    args = flags.parse_args(argv)
    device = common.setup(args)
    data = load(args.seed, args.dtype, device)
    print(
        f"{len(data.x)} pictures to learn, {len(data.test_x)} held out, {args.dtype} on {device}\n"
    )
    print(f"{'':18}{'evaluations':>12}{'loss':>10}{'gradient':>12}{'accuracy':>10}")
    settings = (data, args.penalty, args.evaluations, args.compile)
    makers = {"L-BFGS": newton, **{name: partial(descent, make) for name, make in RIVALS.items()}}
    fits = common.resume(args, "logistic_regression").get("fits", {})
    for name, make in makers.items():
        if name not in fits:
            model, norms = make(*settings)
            fits[name] = {"model": model.state_dict(), "norms": norms}
            common.save(args, "logistic_regression", fits=fits)
        model, norms = start(), fits[name]["norms"]
        model.load_state_dict(fits[name]["model"])
        with gg.no_grad():
            loss = objective(model, data, args.penalty).item()
        print(f"{name:18}{len(norms):12}{loss:10.6f}{norms[-1]:12.1e}{accuracy(model, data):10.2%}")
    if args.plot:
        best = start()
        best.load_state_dict(fits["L-BFGS"]["model"])
        plot(args.plot, best, {name: fit["norms"] for name, fit in fits.items()})


if __name__ == "__main__":
    common.run(main)
