"""Policy gradient: a network learns to balance a pole on a cart, by trial and error.

    python examples/cartpole.py --plot cartpole.png

The cart-pole of Barto, Sutton and Anderson (1983), written in NumPy, many at once. Each step a
network that sees position, speed, angle and angular speed pushes the cart to the left or to the
right; a game is lost when the pole falls or the cart leaves the track. REINFORCE (Williams, 1992)
makes pushes more probable that were followed by more steps than was usual.
With --checkpoints FOLDER it can be stopped at any time; the same command goes on.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg
import gpugrad.nn.functional as F

STEPS = 200  # after so many a game is won
GRAVITY, CART, POLE, HALF, FORCE, TIME = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # SI units
TRACK, FALLEN = 2.4, np.radians(12)
DISCOUNT = 0.98


def pushed(state: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The states (n, 4) after a step of time in which the carts were pushed."""
    _, speed, angle, turning = state.T
    force = np.where(right, FORCE, -FORCE)
    sine, cosine = np.sin(angle), np.cos(angle)
    mass = CART + POLE
    thrust = (force + POLE * HALF * turning**2 * sine) / mass
    turn = (GRAVITY * sine - cosine * thrust) / (HALF * (4 / 3 - POLE * cosine**2 / mass))
    pull = thrust - POLE * HALF * turn * cosine / mass
    return state + TIME * np.stack([speed, pull, turning, turn], axis=1)


def play(policy: gg.nn.Module, games: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States (STEPS, games, 4), pushes and which games were still on (STEPS, games)."""
    state = 0.1 * gg.random.uniform(size=(games, 4), dtype="float64", device="cpu").numpy() - 0.05
    draws = gg.random.uniform(size=(STEPS, games), device="cpu").numpy()
    on = np.ones(games, dtype=bool)
    states, pushes, alive = [], [], []
    for draw in draws:
        with gg.no_grad():
            seen = gg.tensor(state, dtype=gg.get_default_dtype())
            right = gg.softmax(policy(seen))[:, 1].cpu().numpy() > draw
        states.append(state)
        pushes.append(right)
        alive.append(on)
        state = pushed(state, right)
        on = on & (np.abs(state[:, 0]) < TRACK) & (np.abs(state[:, 2]) < FALLEN)
    return np.array(states), np.array(pushes), np.array(alive)


class Games(gg.data.IterableDataset):
    """Batches of what the policy did, each of new games that it plays as it is at that time."""

    def __init__(self, policy: gg.nn.Module, games: int, batches: int) -> None:
        self.policy, self.games, self.batches = policy, games, batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self.batches):
            states, pushes, on = play(self.policy, self.games)
            returns = np.zeros((STEPS + 1, self.games))
            for step in range(STEPS - 1, -1, -1):  # the steps to come, later ones count less
                returns[step] = on[step] * (1 + DISCOUNT * returns[step + 1])
            gains = returns[:-1] - returns[:-1][on].mean()
            gains *= on / (returns[:-1][on].std() + 1e-6) / on.sum()  # nothing for games that ended
            dtype = gg.get_default_dtype()
            target = (pushes.astype("int64").ravel(), gains.astype(dtype).ravel(), on.sum(axis=0))
            yield states.astype(dtype).reshape(-1, 4), target


def policy_loss(scores: gg.Tensor, target: tuple[gg.Tensor, gg.Tensor, Any]) -> gg.Tensor:
    """What has the policy gradient as its gradient; its value says little.

    All batches have one shape, so that --compile makes one program of them.
    """
    pushes, gains, _ = target
    return (F.cross_entropy(scores, pushes, reduction="none") * gains).sum()


class Length(gg.metrics.Metric):
    """How many steps a game lasts, on average."""

    name, sums = "steps", ("total", "games")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.total = self.games = 0

    def update(self, prediction: Any, target: Any) -> None:
        lengths = target[2]
        self.total, self.games = self.total + lengths.sum(), self.games + len(lengths)

    def compute(self) -> float:
        return float(self.total) / self.games


def draw_game(panel: Any, states: np.ndarray, color: str, row: float) -> None:
    """A game of one cart, from left to right: the pole's lean and the cart's place, magnified."""
    time = TIME * np.arange(len(states))
    panel.plot(time, row + states[:, 0], color="gray", linewidth=0.8)
    for moment, (x, _, angle, _) in list(zip(time, states, strict=True))[::4]:
        top = (moment + 0.8 * np.sin(angle), row + x + 0.8 * np.cos(angle))
        panel.plot([moment, top[0]], [row + x, top[1]], color=color, linewidth=1.5, alpha=0.7)


def plot(path: Any, history: list[dict[str, Any]], policies: Sequence[gg.nn.Module]) -> None:
    """Draw the length of the games by epoch, and games before and after the training."""
    picture, (left, right) = common.figure(columns=2)
    gg.plot.curves(history, "steps", ax=left)
    left.set_ylabel("steps until a game is lost")
    left.axhline(STEPS, color="gray", linestyle=":")
    left.set_title("REINFORCE on a cart-pole")
    for policy, color, top in zip(policies, ("tab:red", "tab:blue"), (6, 2), strict=True):
        states, _, on = play(policy, 2)
        for game in range(2):
            draw_game(right, states[on[:, game], game], color, top - 2 * game)
    right.set_xlim(-0.3, STEPS * TIME + 0.3)
    right.set_xlabel("time (s)")
    right.set_yticks([6, 4, 2, 0], ["untrained", "untrained", "trained", "trained"])
    right.set_title("place of the cart, and its pole")
    common.save_picture(picture, path)
    print(f"picture: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and print how long it balances the pole."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False)
    common.add_trainer_flags(flags, epochs=20)
    flags.add_argument(
        "--games", type=common.positive_int, default=32, metavar="N",
        help="played at once, for each step of the optimizer (default: 32)",
    )  # fmt: skip
    args = flags.parse_args(argv)
    device = common.setup(args)
    policy, untrained = gg.nn.MLP(4, [32, 2]), gg.nn.MLP(4, [32, 2])
    optimizer = gg.optim.Adam(policy.parameters(), lr=2e-2)
    trainer = gg.Trainer(
        policy,
        optimizer,
        policy_loss,
        scheduler=gg.optim.CosineAnnealingLR(optimizer, args.epochs),
        metrics=[Length()],
        callbacks=[common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
    )
    print(f"{args.games} games at once, {args.dtype} on {device}")
    games = Games(policy, args.games, batches=5)
    history = trainer.fit(games, epochs=args.epochs, resume=args.checkpoints is not None)
    lasted = play(policy, 200)[2].sum(axis=0)
    print(
        f"200 new games: {lasted.mean():.0f} steps on average, {np.mean(lasted == STEPS):.0%} won"
    )
    if args.plot:
        plot(args.plot, history, (untrained, policy))


if __name__ == "__main__":
    common.run(main)
