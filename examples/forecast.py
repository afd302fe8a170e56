"""An LSTM forecasts a chaotic series, and its errors grow as chaos lets them.

    python examples/forecast.py --plot forecast.png

The Mackey-Glass equation (1977), x' = 0.2 x(t - 17) / (1 + x(t - 17)**10) - 0.1 x, makes a series
that never repeats. An LSTM learns the next value from those before. Then it goes on by itself, from
its own forecasts. The picture shows them beside the series, for the values it has never seen.
With --checkpoints FOLDER it can be stopped at any time; the same command goes on.
"""

from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg

WINDOW, AHEAD = 50, 120


def mackey_glass(length: int, seed: int) -> np.ndarray:
    """The series, one value for each unit of time, by Euler's method with steps of 0.1."""
    delay, steps = 170, 10
    x = np.empty(delay + (length + 200) * steps)
    x[: delay + 1] = 1.2 + 0.1 * np.random.default_rng(seed).normal(size=delay + 1)
    for t in range(delay, len(x) - 1):
        late = x[t - delay]
        x[t + 1] = x[t] + 0.1 * (0.2 * late / (1 + late**10) - 0.1 * x[t])
    return x[delay + 200 * steps :: steps][:length]  # without the beginning, which is not typical


class Forecaster(gg.nn.Module):
    """An LSTM and a linear map from its state to the change of the value."""

    def __init__(self, hidden: int) -> None:
        self.lstm = gg.nn.LSTM(1, hidden, batch_first=True)
        self.head = gg.nn.Linear(hidden, 1)

    def forward(self, x: Any) -> gg.Tensor:
        states, _ = self.lstm(x)
        return x + self.head(states)

    def go_on(self, start: gg.Tensor, count: int) -> gg.Tensor:
        """``count`` values after a window, (count,), each from the forecasts before it."""
        values = []
        with gg.no_grad():
            x, states = start[None, :, None], None
            for _ in range(count):
                y, states = self.lstm(x, states)
                x = x[:, -1:] + self.head(y[:, -1:])
                values.append(x[0, 0, 0])
        return gg.stack(values)


def windows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All windows of the series, and each moved on by one: what comes next at every place."""
    rows = np.lib.stride_tricks.sliding_window_view(series, WINDOW + 1)[..., None]
    return rows[:, :-1], rows[:, 1:]


def plot(path: Any, history: list[dict[str, Any]], true: np.ndarray, found: np.ndarray) -> None:
    """Draw the losses, the forecast beside the series, and its error."""
    picture, (left, right) = common.figure(columns=2)
    gg.plot.curves(history, ax=left)
    left.set_ylabel("mean squared error of the next value")
    left.set_title("LSTM on the Mackey-Glass series")
    time = np.arange(len(true)) - WINDOW
    right.plot(time, true, color="black", linewidth=1, label="series")
    right.plot(time[WINDOW:], found, color="tab:red", linewidth=2, label="forecast")
    right.axvspan(-WINDOW, -1, color="tab:blue", alpha=0.1, label="what it was given")
    right.set_xlabel("time")
    right.legend(loc="upper center")
    right.set_title(f"{len(found)} values from its own forecasts")
    right.grid(alpha=0.3)
    common.save_picture(picture, path)
    print(f"picture: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print how far off the forecasts are."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False)
    common.add_trainer_flags(flags, epochs=40)
    flags.add_argument(
        "--length", type=common.positive_int, default=1500, metavar="N",
        help="values of the series; the last fifth is not learned from (default: 1500)",
    )  # fmt: skip
    args = flags.parse_args(argv)
    device = common.setup(args)
    if args.length < 10 * WINDOW:
        flags.error(f"--length must be at least {10 * WINDOW}, got {args.length}")
    series = mackey_glass(args.length, args.seed).astype(args.dtype)
    series -= series.mean()
    held_out = args.length * 4 // 5
    train = gg.data.DataLoader(windows(series[:held_out]), 32, shuffle=True)
    test = gg.data.DataLoader(windows(series[held_out:]), 256)
    model = Forecaster(32)
    optimizer = gg.optim.Adam(model.parameters(), lr=1e-2)
    trainer = gg.Trainer(
        model,
        optimizer,
        gg.nn.MSELoss(),
        scheduler=gg.optim.CosineAnnealingLR(optimizer, args.epochs),
        clip_norm=1.0,
        callbacks=[common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
    )
    print(f"{held_out} values to learn from, {args.length - held_out} held out, on {device}")
    history = trainer.fit(train, test, args.epochs, resume=args.checkpoints is not None)
    part = series[held_out : held_out + WINDOW + AHEAD]
    start = gg.tensor(part[:WINDOW])
    found = model.go_on(start, len(part) - WINDOW).cpu().numpy()
    error = np.abs(found - part[WINDOW:])
    off = np.sqrt(history[-1]["val_loss"])
    print(f"next value: off by {off:.4f}; the series varies by {part.std():.2f}")
    print(f"on its own: off by {error[:20].mean():.4f} over 20 values, {error.mean():.4f} over all")
    if args.plot:
        plot(args.plot, history, part, found)


if __name__ == "__main__":
    common.run(main)
