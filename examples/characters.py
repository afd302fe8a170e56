"""A transformer learns to write, character by character, from five sonnets.

    python examples/characters.py --plot characters.png

It sees up to 64 characters and says what comes next, at every place at once: a causal mask keeps
each from the ones after it. The text is small, so it learns it by heart; the picture shows how many
bits a character costs, and what one of its heads looks at. With --checkpoints FOLDER it can be
stopped at any time; the same command goes on.
"""

import math
from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import gpugrad as gg

CONTEXT = 64
# William Shakespeare, 1609: sonnets 18, 29, 73, 116 and 130.
TEXT = """\
Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee.

When, in disgrace with fortune and men's eyes,
I all alone beweep my outcast state,
And trouble deaf heaven with my bootless cries,
And look upon myself and curse my fate,
Wishing me like to one more rich in hope,
Featured like him, like him with friends possess'd,
Desiring this man's art and that man's scope,
With what I most enjoy contented least;
Yet in these thoughts myself almost despising,
Haply I think on thee, and then my state,
Like to the lark at break of day arising
From sullen earth, sings hymns at heaven's gate;
For thy sweet love remember'd such wealth brings
That then I scorn to change my state with kings.

That time of year thou mayst in me behold
When yellow leaves, or none, or few, do hang
Upon those boughs which shake against the cold,
Bare ruin'd choirs, where late the sweet birds sang.
In me thou see'st the twilight of such day
As after sunset fadeth in the west,
Which by and by black night doth take away,
Death's second self, that seals up all in rest.
In me thou see'st the glowing of such fire
That on the ashes of his youth doth lie,
As the death-bed whereon it must expire,
Consumed with that which it was nourish'd by.
This thou perceivest, which makes thy love more strong,
To love that well which thou must leave ere long.

Let me not to the marriage of true minds
Admit impediments. Love is not love
Which alters when it alteration finds,
Or bends with the remover to remove:
O no! it is an ever-fixed mark
That looks on tempests and is never shaken;
It is the star to every wandering bark,
Whose worth's unknown, although his height be taken.
Love's not Time's fool, though rosy lips and cheeks
Within his bending sickle's compass come:
Love alters not with his brief hours and weeks,
But bears it out even to the edge of doom.
If this be error and upon me proved,
I never writ, nor no man ever loved.

My mistress' eyes are nothing like the sun;
Coral is far more red than her lips' red;
If snow be white, why then her breasts are dun;
If hairs be wires, black wires grow on her head.
I have seen roses damask'd, red and white,
But no such roses see I in her cheeks;
And in some perfumes is there more delight
Than in the breath that from my mistress reeks.
I love to hear her speak, yet well I know
That music hath a far more pleasing sound;
I grant I never saw a goddess go;
My mistress, when she walks, treads on the ground:
And yet, by heaven, I think my love as rare
As any she belied with false compare.
"""
LETTERS = sorted(set(TEXT))
NUMBERS = {letter: number for number, letter in enumerate(LETTERS)}


def encoded(text: str) -> np.ndarray:
    """The numbers of the letters of a text."""
    return np.array([NUMBERS[letter] for letter in text])


class Writer(gg.nn.Module):
    """Scores of the next character at every place of a text, (batch, length, letters)."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        self.letters = gg.nn.Embedding(len(LETTERS), width)
        self.positions = gg.nn.PositionalEncoding(width, dropout=0.0, batch_first=True)
        layer = gg.nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = gg.nn.TransformerEncoder(layer, layers, gg.nn.LayerNorm(width))
        self.head = gg.nn.Linear(width, len(LETTERS))

    def forward(self, text: Any) -> gg.Tensor:
        x = self.positions(self.letters(text))
        return self.head(self.layers(x, is_causal=True))

    def attention(self, text: str) -> np.ndarray:
        """How much each place looks at the others in the first layer, (heads, length, length)."""
        with gg.no_grad():
            x = self.letters(gg.tensor(encoded(text)[None], dtype="int64"))
            x = self.positions(x)
            layer = self.layers.layers[0]
            x = layer.norm1(x)
            _, weights = layer.self_attn(x, x, x, average_attn_weights=False, is_causal=True)
        return weights[0].cpu().numpy()

    def write(self, text: str, count: int, temperature: float) -> str:
        """``count`` characters after a text, drawn by their probabilities."""
        for _ in range(count):
            numbers = gg.tensor(encoded(text[-CONTEXT:])[None], dtype="int64")
            with gg.no_grad():
                p = gg.softmax(self(numbers)[0, -1] / temperature)
            u = gg.random.uniform(dtype="float64", device="cpu").item()
            text += LETTERS[min(int((np.cumsum(p.cpu().numpy()) < u).sum()), len(LETTERS) - 1)]
        return text


def per_letter(scores: gg.Tensor, target: gg.Tensor) -> gg.Tensor:
    """The mean cross-entropy of all places, in bits."""
    rows = scores.reshape((-1, len(LETTERS)))
    return gg.nn.functional.cross_entropy(rows, target.reshape(-1)) / math.log(2)


def plot(path: Any, history: list[dict[str, Any]], model: Writer) -> None:
    """Draw the bits for a character, and the head of the first layer that is most certain."""
    picture, (left, right) = common.figure(columns=2)
    gg.plot.curves(history, ax=left).set_yscale("linear")
    left.axhline(math.log2(len(LETTERS)), color="gray", linestyle=":", label="all letters alike")
    left.set_ylabel("bits for a character")
    left.set_ylim(0)
    left.legend()
    left.set_title("a transformer on five sonnets")
    line = TEXT.partition("\n")[0]
    heads = model.attention(line)
    right.imshow(heads[heads.max(axis=2).mean(axis=1).argmax()], cmap="Blues", vmin=0)
    for ticks in (right.set_xticks, right.set_yticks):
        ticks(range(len(line)), list(line), fontsize=7)
    right.set_xlabel("looks at")
    right.set_ylabel("at")
    right.set_title("one head of the first layer")
    common.save_picture(picture, path)
    print(f"picture: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and let it write."""
    flags = common.parser((__doc__ or "").partition("\n")[0], trains=False)
    common.add_trainer_flags(flags, epochs=30)
    flags.add_argument(
        "--temperature", type=common.positive_float, default=0.5, metavar="T",
        help="low ones make it write what is most likely (default: 0.5)",
    )  # fmt: skip
    flags.add_argument(
        "--characters", type=common.positive_int, default=200, metavar="N",
        help="how many to write in the end (default: 200)",
    )  # fmt: skip
    args = flags.parse_args(argv)
    device = common.setup(args)
    rows = np.lib.stride_tricks.sliding_window_view(encoded(TEXT), CONTEXT + 1)[::4]
    data = gg.data.DataLoader((rows[:, :-1], rows[:, 1:]), 32, shuffle=True)
    model = Writer(width=64, heads=4, layers=2)
    optimizer = gg.optim.AdamW(model.parameters(), lr=3e-3)
    steps = args.epochs * len(data)
    trainer = gg.Trainer(
        model,
        optimizer,
        per_letter,
        scheduler=gg.optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps),
        scheduler_every="step",
        clip_norm=1.0,
        callbacks=[common.SameFlags(args)],
        checkpoints=args.checkpoints,
        compile=args.compile,
    )
    print(f"{len(TEXT)} characters, {len(LETTERS)} different ones, on {device}")
    history = trainer.fit(data, epochs=args.epochs, resume=args.checkpoints is not None)
    model.eval()
    print(f"\n{model.write('Shall I', args.characters, args.temperature)}\n")
    if args.plot:
        plot(args.plot, history, model)


if __name__ == "__main__":
    common.run(main)
