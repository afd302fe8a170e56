"""``gpugrad train``: trains a model of a table, and saves it with all that it needs to read one.

What computes is imported where it is needed, so that ``gpugrad doctor`` runs where that fails.
"""

import argparse
import contextlib
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpugrad.cli.table_files import Rows, TableFile
    from gpugrad.cli.table_model import TableModel, Target

__all__ = ["add_to", "names_in", "whole"]

# Fewer rows with a target say nothing.
LEAST_ROWS = 10


def add_to(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "train",
        help="train a model of a CSV or Parquet table",
        description="Train a multilayer perceptron that predicts one column of a table from the "
        "others, and save it, with its preprocessing, in one file for `gpugrad predict`. Numbers "
        "are normalized, text is one-hot encoded, and missing values (empty, NA, ...) are marked. "
        "The model of the best epoch on held-out rows is kept. Ctrl-C stops; --resume goes on.",
    )
    option = parser.add_argument
    option("data", help="a CSV file with a header, or a Parquet file")
    option("--target", required=True, metavar="COLUMN", help="the column to predict")
    option("--output", "-o", default="model.safetensors", metavar="FILE",
           help="the model; a file of that name is replaced (%(default)s)")  # fmt: skip
    option("--task", default="auto", choices=("auto", "classification", "regression"),
           help="auto takes text, and whole numbers of at most 20 values, for classes")  # fmt: skip
    option("--columns", type=names_in, metavar="A,B", help="the inputs (all other columns)")
    option("--exclude", type=names_in, metavar="A,B", default=[], help="columns that are no inputs")
    option("--categories", type=names_in, metavar="A,B", default=[],
           help="columns of numbers that are codes")  # fmt: skip
    option("--delimiter", default=",", help="what is between the values of a CSV (%(default)s)")
    option("--encoding", default="utf-8", help="of a CSV (%(default)s)")
    option("--validation", type=share, default=0.2, metavar="SHARE",
           help="of the rows, which are held out (%(default)s)")  # fmt: skip
    option("--epochs", type=whole, default=200, metavar="N", help="at most so many (%(default)s)")
    option("--patience", type=whole, default=20, metavar="N",
           help="end after so many epochs without an improvement (%(default)s)")  # fmt: skip
    option("--batch-size", type=whole, default=32, metavar="N", help="rows a step (%(default)s)")
    option("--lr", type=positive, default=1e-3, help="learning rate of AdamW (%(default)s)")
    option("--weight-decay", type=not_negative, default=1e-2, help="of AdamW (%(default)s)")
    option("--hidden", type=widths, default=[64, 64], metavar="N,N",
           help="widths of the hidden layers (64,64)")  # fmt: skip
    option("--dropout", type=probability, default=0.1, help="share of values (%(default)s)")
    option("--seed", type=int, default=0, metavar="N",
           help="of the split, the weights and the order of rows (%(default)s)")  # fmt: skip
    option("--device", help="cpu, cuda, cuda:1, auto (GPUGRAD_DEVICE, else cpu)")
    option("--resume", action="store_true", help="go on with a training that was interrupted")
    parser.set_defaults(run=run)


# ---------------------------------------------------------------- options


def names_in(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def whole(text: str) -> int:
    """A whole number of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def widths(text: str) -> list[int]:
    """Whole numbers with commas between them; none for a linear model."""
    return [whole(part) for part in text.split(",") if part.strip()]


def _number(text: str, low: float, high: float, expected: str) -> float:
    number = float(text)
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text} is not {expected}")
    return number


def share(text: str) -> float:
    """A number between 0 and 1, without these."""
    return _number(text, 1e-9, 1 - 1e-9, "between 0 and 1")


def probability(text: str) -> float:
    """A number from 0 to less than 1."""
    return _number(text, 0.0, 1 - 1e-9, "from 0 to less than 1")


def positive(text: str) -> float:
    """A finite number above 0."""
    return _number(text, 1e-300, 1e300, "a finite number above 0")


def not_negative(text: str) -> float:
    """A finite number of 0 or more."""
    return _number(text, 0.0, 1e300, "a finite number of 0 or more")


# ---------------------------------------------------------------- the command


def run(options: argparse.Namespace) -> int:
    """Read, train, save; 0, or 130 after Ctrl-C."""
    import gpugrad as gg
    from gpugrad.cli.table_files import TableFile
    from gpugrad.io.aside import check_replaceable

    check_replaceable(Path(options.output))  # before the work, not after it
    if not Path(options.output).parent.is_dir():
        raise FileNotFoundError(2, "there is no such folder", str(Path(options.output).parent))
    with gg.device(options.device or gg.default_device()):
        file = TableFile(options.data, options.delimiter, options.encoding)
        rows, target = _read(file, options)
        parts = _split(rows, target, options)
        return _train(parts, options)


def _read(file: "TableFile", options: argparse.Namespace) -> "tuple[Rows, Target]":
    """The rows with a target, and what the target is."""
    from gpugrad.cli.table_model import Target
    from gpugrad.data.tables import as_texts
    from gpugrad.errors import ArgumentError

    others = [name for name in file.names if name != options.target]
    columns = others if options.columns is None else options.columns
    file.check([options.target, *columns, *options.exclude, *options.categories])
    columns = [name for name in columns if name not in (options.target, *options.exclude)]
    if not columns:
        raise ArgumentError(f"{file.path}: there is no column to predict {options.target!r} from")
    stray = [name for name in options.categories if name not in columns]
    if stray:
        raise ArgumentError(f"--categories {stray[0]}: it is no input")
    rows = file.read([*columns, options.target])
    present = [i for i, text in enumerate(as_texts(rows.columns[options.target])) if text]
    if len(present) < len(rows.numbers):
        count = len(rows.numbers) - len(present)
        print(f"{count} rows have no {options.target!r} and are left out")
        rows = rows.select(present)
    if len(present) < LEAST_ROWS:
        raise ArgumentError(
            f"{file.path}: {len(present)} rows have a value of {options.target!r}; expected "
            f"{LEAST_ROWS} or more"
        )
    values = rows.columns.pop(options.target)
    target = Target.of(options.target, values, rows.numbers, options.task)
    return rows._replace(columns={**rows.columns, options.target: values}), target


class _Parts:
    """The model before training, and the arrays to train and to check it with."""

    def __init__(self, model: "TableModel", train: Any, validation: Any) -> None:
        self.model, self.train, self.validation = model, train, validation

    def fingerprint(self, options: argparse.Namespace) -> dict[str, Any]:
        """What a training must have in common with one that it goes on with."""
        free = ("command", "data", "device", "epochs", "output", "patience", "resume", "run")
        settings = {name: value for name, value in vars(options).items() if name not in free}
        arrays = (*self.train, *self.validation)
        return settings | {"data": [zlib.crc32(array.tobytes()) for array in arrays]}


def _split(rows: "Rows", target: "Target", options: argparse.Namespace) -> _Parts:
    """Split the rows at random, fit the encoder to those for training, and make the model."""
    import gpugrad as gg
    from gpugrad.cli.table_model import TableModel

    gg.manual_seed(options.seed)
    generator = gg.random.Generator(options.seed)
    count = len(rows.numbers)
    held_out = min(count - 2, max(1, round(count * options.validation)))
    order = generator.permutation(count, device="cpu").numpy().tolist()
    train, validation = rows.select(order[held_out:]), rows.select(order[:held_out])
    arrays = []
    target = target.fitted(train.columns[target.name])
    encoder = gg.data.TableEncoder(options.categories)
    for part in (train, validation):
        values = part.columns.pop(target.name)
        if part is train:
            encoder.fit(part.columns, part.numbers)
        arrays.append((encoder.transform(part.columns, part.numbers), target.encoded(values)))
    _describe(arrays, encoder, target)
    model = TableModel(encoder, target, options.hidden, options.dropout, generator)
    return _Parts(model, *arrays)


def _describe(arrays: list[Any], encoder: Any, target: "Target") -> None:
    for name, why in encoder.left_out.items():
        print(f"column {name!r} is left out: it has {why}")
    kind = "a number" if target.classes is None else f"{len(target.classes)} classes"
    names = [len(part[0]) for part in arrays]
    print(
        f"{names[0]} rows for training, {names[1]} for validation; {len(encoder.columns)} columns, "
        f"{len(encoder.feature_names)} features; {target.name!r} is {kind}",
        flush=True,
    )


def _train(parts: _Parts, options: argparse.Namespace) -> int:
    """Train, report and save; the exit status."""
    import numpy as np

    import gpugrad as gg
    from gpugrad.errors import AnomalyError, ArgumentError
    from gpugrad.training import BestModel, Checkpoints, EarlyStopping, Trainer

    model = parts.model
    has_classes = model.target.classes is not None
    folder = Checkpoints(Path(f"{options.output}.checkpoints"), keep=2)
    _check(folder, parts.fingerprint(options), options.resume)
    optimizer = gg.optim.AdamW(
        model.network.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )
    trainer = Trainer(
        model.network,
        optimizer,
        gg.nn.CrossEntropyLoss() if has_classes else gg.nn.MSELoss(),
        metrics=["accuracy" if has_classes else "r2"],
        callbacks=[EarlyStopping(patience=options.patience), BestModel()],
        checkpoints=folder,
        save_minutes=0.5,
    )
    generator = gg.random.Generator(options.seed)
    train = gg.data.DataLoader(parts.train, options.batch_size, shuffle=True, generator=generator)
    validation = gg.data.DataLoader(parts.validation, 1000)
    try:
        with np.errstate(all="ignore"):  # the trainer looks at the loss, and says more
            trainer.fit(train, validation, options.epochs, resume=options.resume)
        _report(parts, trainer.evaluate(validation), trainer.stop)
        model.save(options.output)
        for path in folder.paths():
            path.unlink()
    except AnomalyError:
        raise ArgumentError(
            f"the loss is infinite or NaN after step {trainer.step}. Take a smaller --lr than "
            f"{options.lr:g}"
        ) from None
    except KeyboardInterrupt:
        # A second Ctrl-C does not wait for the step, after which the state would be saved.
        then = "The same command with --resume goes on" if folder.paths() else "Nothing is saved"
        print(f"stopped after step {trainer.step}. {then}", file=sys.stderr)
        return 130
    finally:
        if not folder.paths():
            _settings_of(folder).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else's files stay
                folder.folder.rmdir()
    print(f"saved in {options.output}; next: gpugrad predict {options.output} DATA")
    return 0


def _report(parts: _Parts, found: dict[str, float], stop: str | None) -> None:
    """How good the model is, beside one that always says the same."""
    import numpy as np

    if stop is not None:
        print(f"stopped: {stop}")
    target, values = parts.model.target, parts.validation[1]
    if target.classes is not None:
        frequent = np.bincount(parts.train[1]).argmax()
        usual = float((values == frequent).mean())
        print(
            f"validation: accuracy {found['accuracy']:.4g} "
            f"(always {target.classes[frequent]!r}: {usual:.4g})"
        )
        return
    error, usual = found["loss"] ** 0.5 * target.std, float((values**2).mean()) ** 0.5 * target.std
    print(
        f"validation: root mean square error {error:.4g} (always the mean: {usual:.4g}), "
        f"R2 {found['r2']:.4g}"
    )


def _settings_of(folder: Any) -> Path:
    return Path(folder.folder / "settings.safetensors")


def _check(folder: Any, settings: dict[str, Any], resume: bool) -> None:
    """ArgumentError where a training cannot go on, or where another one would be lost."""
    import gpugrad as gg
    from gpugrad.errors import ArgumentError

    path = _settings_of(folder)
    if resume:
        if not folder.paths():
            raise ArgumentError(f"--resume: there is no training in {folder.folder}")
        saved = gg.load(path)
        other = [name for name in settings if saved.get(name) != settings[name]]
        if other:
            raise ArgumentError(
                f"--resume: the training in {folder.folder} had another {', '.join(other)}"
            )
    elif folder.paths():
        raise ArgumentError(
            f"{folder.folder} has a training that was interrupted. Go on with --resume, or remove "
            "the folder"
        )
    else:
        folder.folder.mkdir(exist_ok=True)
        gg.save(settings, path)
