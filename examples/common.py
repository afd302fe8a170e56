"""Shared by the examples: flags, progress, checkpoints, plots, and errors in one sentence.

Uses the public API of gpugrad only. tqdm, matplotlib and scikit-learn are imported when they
are needed, so an example that needs none of them runs without.
"""

import argparse
import functools
import importlib
import io
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

# These matrices are too small for threads of the BLAS to help; where other programs use the
# cores, threads wait for each other: ten times slower. NumPy reads this when it is imported.
if "numpy" not in sys.modules:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import gpugrad as gg
from gpugrad.io import aside

# Learning rates where neither --lr nor the example says another.
RATES = {
    "sgd": 0.1, "momentum": 0.02, "adam": 1e-3, "adamw": 1e-3, "adagrad": 0.05, "rmsprop": 1e-3,
    "adadelta": 1.0, "adamax": 2e-3, "nadam": 1e-3, "radam": 2e-3, "lion": 3e-4, "lamb": 5e-3,
    "rprop": 1e-2, "asgd": 0.1,
}  # fmt: skip


class DivergedError(gg.errors.GpugradError):
    """A figure of the training is infinite or not a number."""


# ---------------------------------------------------------------- flags


def parser(
    description: str,
    *,
    trains: bool,
    dtype: str = "float32",
    epochs: int | None = None,
    optimizer: str = "sgd",
    rates: Mapping[str, float] = MappingProxyType({}),
) -> argparse.ArgumentParser:
    """The flags of every example, and with ``trains`` those of training.

    ``epochs`` and ``rates`` (learning rates of optimizers, before those of `RATES`) are the
    example's defaults.
    """
    flags = argparse.ArgumentParser(description=description)
    flags.add_argument(
        "--device",
        type=_device,
        metavar="{auto,cpu,cuda,cuda:N,sim}",
        help="where the arrays live (default: GPUGRAD_DEVICE, else cpu; auto: CUDA where it works)",
    )
    flags.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of all random numbers (default: 0)"
    )
    flags.add_argument(
        "--dtype",
        choices=["float32", "float64"],
        default=dtype,
        help="of all floating-point numbers (default: %(default)s)",
    )
    if trains:
        training = flags.add_argument_group("training")
        training.add_argument(
            "--epochs",
            type=positive_int,
            default=epochs,
            metavar="N",
            help="passes over the data"
            + (f" (default: {epochs})" if epochs else "")
            + "; after --resume, so many more",
        )
        _add_optimizer(training, optimizer, rates, "; after --resume, the earlier one")
        add_plot(training, "the loss curve")
        add_saving(training)
        add_compile(training)
    return flags


def add_saving(flags: Any) -> None:
    """The flags --save and --resume, for `save` and `resume`."""
    flags.add_argument(
        "--save", type=_new_file, metavar="FILE", help="save the state while it runs, for --resume"
    )
    flags.add_argument(
        "--resume", type=_old_file, metavar="FILE", help="continue from a file of --save"
    )


def add_checkpoints(flags: Any, when: str) -> None:
    """The flag --checkpoints, for a `gg.Trainer`."""
    flags.add_argument(
        "--checkpoints",
        type=_folder,
        metavar="FOLDER",
        help=f"save the state here {when} and on Ctrl-C, and go on from the last one",
    )


def add_compile(flags: Any) -> None:
    """The flag --compile, for `compiled` or a `gg.Trainer`."""
    flags.add_argument(
        "--compile", action="store_true", help="run each step as one program: see gg.compile"
    )


def add_parallel(flags: Any) -> None:
    """The flag --parallel, for `setup` and a `gg.Trainer`."""
    flags.add_argument(
        "--parallel",
        action="store_true",
        help="train with all processes that mpiexec or `gpugrad launch` has started",
    )


def add_plot(flags: Any, what: str = "the result") -> None:
    """The flag --plot, for a program that draws a picture."""
    flags.add_argument("--plot", type=picture, metavar="FILE.png", help=f"draw {what} into a file")


def compiled(args: argparse.Namespace, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function, compiled where --compile says so."""
    return gg.compile(function) if args.compile else function


def add_trainer_flags(
    flags: argparse.ArgumentParser,
    epochs: int,
    optimizer: str | None = None,
    rates: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """The flags of a program that trains by `gg.Trainer`, with its default of epochs.

    With ``optimizer``, the default one, those of `optimizer` too.
    """
    training = flags.add_argument_group("training")
    training.add_argument(
        "--epochs",
        type=positive_int,
        default=epochs,
        metavar="N",
        help=f"passes over the data (default: {epochs})",
    )
    if optimizer is not None:
        _add_optimizer(training, optimizer, rates)
    add_checkpoints(training, "after each epoch")
    add_plot(training)
    add_compile(training)


def _add_optimizer(training: Any, default: str, rates: Mapping[str, float], note: str = "") -> None:
    training.set_defaults(rates=rates)
    training.add_argument(
        "--lr",
        type=positive_float,
        metavar="RATE",
        help=f"learning rate (default: {_rates(rates)}{note})",
    )
    training.add_argument(
        "--optimizer",
        choices=RATES,
        default=default,
        help="the update rule (default: %(default)s)",
    )


def _rates(rates: Mapping[str, float]) -> str:
    known = {**RATES, **rates}
    names: dict[float, list[str]] = {}
    for name, rate in known.items():
        names.setdefault(rate, []).append(name)
    return "; ".join(f"{rate:g} for {' and '.join(these)}" for rate, these in names.items())


def setup(args: argparse.Namespace) -> gg.Device:
    """Set the defaults of the process by the flags: device, dtype, seed; returns the device.

    With --parallel it joins the other processes, of which the first one prints and draws.
    """
    device: gg.Device = args.device or gg.default_device()
    if getattr(args, "parallel", False):
        own = "auto" if args.device is None and device.kind == "cpu" else device
        device = gg.parallel.init("cuda" if device.kind == "cuda" else own)
        if gg.parallel.rank():
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  until the end
            args.plot = None
    gg.set_default_device(device)
    gg.set_default_dtype(args.dtype)
    gg.manual_seed(args.seed)
    return device


def positive_int(text: str) -> int:
    """A whole number from 1, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """A number above 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def from_zero(text: str) -> float:
    """A number from 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number from 0, got {text!r}")
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < 2**64:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2**64-1, got {text!r}")
    return value


def _device(text: str) -> gg.Device:
    try:
        return gg.Device(text)
    except gg.DeviceError as error:
        raise argparse.ArgumentTypeError(sentence(error)) from error


def _old_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text!r}")
    return path


def _new_file(text: str) -> Path:
    """A path that can be written, checked before the training."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; expected a file's name")
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}; make it first")
    _check_writable(path.parent, text)
    return path


def _folder(text: str) -> Path:
    """A folder that can be written to, there or to be made, checked before the training."""
    path = Path(text)
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    if not there.is_dir():
        raise argparse.ArgumentTypeError(f"{str(there)!r} is a file; expected a folder")
    _check_writable(there, text)
    return path


def _check_writable(folder: Path, text: str) -> None:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {error.strerror}") from error


def picture(text: str) -> Path:
    """A new file for a picture, for argparse."""
    formats = need("matplotlib.backend_bases", "matplotlib").FigureCanvasBase.filetypes
    path = Path(text)
    if path.suffix.lower().lstrip(".") not in formats:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not end in a picture format: png, svg, pdf, … "
            f"(matplotlib has {', '.join(sorted(formats))})"
        )
    return _new_file(text)


# ---------------------------------------------------------------- errors


def run(main: Callable[[Sequence[str] | None], None], argv: Sequence[str] | None = None) -> None:
    """Run an example and exit: with code 2 and one sentence for an expected error.

    Expected are gpugrad's own errors, files that cannot be read or written, and missing optional
    packages. Anything else is a bug and keeps its traceback.
    """
    try:
        main(argv)
        sys.stdout.flush()
    except KeyboardInterrupt as error:  # a Trainer says where it has saved
        print(f"\n{str(error) or 'interrupted'}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (gg.errors.GpugradError, OSError, ImportError) as error:
        print(f"error: {sentence(error)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def sentence(error: BaseException) -> str:
    """An error's text in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def need(module: str, package: str) -> Any:
    """Import a module of another package; ImportError with the command where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs {package}, which cannot be imported ({error}); "
            f"install it with: pip install {package}"
        ) from error


def leave_without(package: str, distribution: str, error: ImportError) -> NoReturn:
    """Exit a program that needs a package: one sentence, exit code 2."""
    print(
        f"error: this needs {package}, which cannot be imported ({error}); "
        f"install it with: pip install {distribution}",
        file=sys.stderr,
    )
    raise SystemExit(2) from error


# ---------------------------------------------------------------- progress


class Progress:
    """Counts epochs: a bar where stderr is a terminal with tqdm installed, else lines on stdout.

        with Progress(range(1, 101), every=10) as progress:
            for epoch in progress:
                ...
                progress.report(loss=loss)

    ``report`` reads its tensors, and so waits for the device, only in every ``every``-th epoch,
    the first and the last. Then it calls ``save()``, which returns a path or None. DivergedError
    where a figure is not finite.
    """

    def __init__(
        self, epochs: range, every: int = 1, save: Callable[[], Path | None] = lambda: None
    ) -> None:
        self._epochs = epochs
        self._every = every
        self._save = save
        self._saved = ""
        self._now = epochs.start
        self._bar: Any = None
        if sys.stderr.isatty():
            try:
                self._bar = importlib.import_module("tqdm").tqdm(total=len(epochs), unit="epoch")
            except ImportError:
                pass  # lines instead

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        self.close()
        if isinstance(error, KeyboardInterrupt) and self._saved:
            error.args = (f"interrupted; {self._saved}",)

    def __iter__(self) -> Iterator[int]:
        for epoch in self._epochs:
            self._now = epoch
            yield epoch
            if self._bar is not None:
                self._bar.update()

    def step(self, epoch: int, **figures: Any) -> None:
        """Report the figures of an epoch that is over."""
        self._now = epoch
        self.report(**figures)
        if self._bar is not None:
            self._bar.update()

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()

    @property
    def due(self) -> bool:
        """Whether this epoch's figures are shown."""
        ends = (self._epochs[0], self._epochs[-1])
        return self._now % self._every == 0 or self._now in ends

    def report(self, **figures: Any) -> None:
        """Show figures by name: numbers, or tensors with one element."""
        if not self.due:
            return
        values = {
            name: value.item() if isinstance(value, gg.Tensor) else float(value)
            for name, value in figures.items()
        }
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"the {name} is {value} in epoch {self._now}: the training diverged; "
                    "take a lower --lr"
                )
        shown = {name: f"{value:.4g}" for name, value in values.items()}
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
        else:
            text = "  ".join(f"{name} {value}" for name, value in shown.items())
            print(f"epoch {self._now:{len(str(self._epochs[-1]))}d}  {text}", flush=True)
        if path := self._save():
            self._saved = f"epoch {self._now} is saved: go on with --resume {path}"


class ShowEpochs(gg.training.Callback):
    """Shows the loss of a `gg.Trainer` whose epochs are short, as `Progress` does."""

    def __init__(self, epochs: int, every: int) -> None:
        self._epochs, self._every = epochs, every

    def on_fit_begin(self, trainer: gg.Trainer) -> None:
        self._progress = Progress(range(trainer.epoch + 1, self._epochs + 1), self._every)

    def on_epoch_end(self, trainer: gg.Trainer, record: dict[str, Any]) -> None:
        self._progress.step(record["epoch"], loss=record["loss"])

    def on_fit_end(self, trainer: gg.Trainer) -> None:
        self._progress.close()


def numbers(tensors: Iterable[Any]) -> list[float]:
    """The values of many one-element tensors, copied from the device at once."""
    detached = [gg.asarray(tensor).detach() for tensor in tensors]
    return [float(value) for value in gg.stack(detached).tolist()] if detached else []


# ---------------------------------------------------------------- optimizers, checkpoints


def optimizer(args: argparse.Namespace, parameters: Iterable[Any], decay: float = 0.01) -> Any:
    """The optimizer of the flags; ``decay`` is AdamW's weight decay."""
    lr, parameters = rate(args), list(parameters)
    if args.optimizer == "sgd":
        return gg.optim.SGD(parameters, lr=lr)
    if args.optimizer == "momentum":
        return gg.optim.SGD(parameters, lr=lr, momentum=0.9)
    if args.optimizer == "adamw":
        return gg.optim.AdamW(parameters, lr=lr, weight_decay=decay)
    names = {name.lower(): name for name in gg.optim.__all__}
    return getattr(gg.optim, names[args.optimizer])(parameters, lr=lr)


def rate(args: argparse.Namespace) -> float:
    """The learning rate of the flags: --lr, or the example's default for its optimizer."""
    default = args.rates.get(args.optimizer, RATES[args.optimizer])
    return float(default if args.lr is None else args.lr)


def save(args: argparse.Namespace, example: str, **state: Any) -> Path | None:
    """Save to --save, if given: ``state`` by name, the flags, and the generator; the path."""
    if args.save is None:
        return None
    generator = gg.random.default_generator()
    fixed = {"example": example, "flags": fixed_flags(args), "generator": generator}
    gg.save({**fixed, **state}, args.save)
    path: Path = args.save
    return path


def resume(args: argparse.Namespace, example: str, **parts: Any) -> dict[str, Any]:
    """Load ``parts``, by name, from the file of --resume; returns its content, or {} without one.

    Call it last, since it sets the generator too, from which initial weights are drawn.
    FileFormatError for a file of another example, or one saved with other flags.
    """
    if args.resume is None:
        return {}
    state = gg.load(args.resume)
    if not isinstance(state, dict) or state.get("example") != example:
        raise gg.FileFormatError(f"{args.resume} was not saved by --save of examples/{example}.py")
    try:
        _compare_flags(args, args.resume, state["flags"])
        for name, part in {**parts, "generator": gg.random.default_generator()}.items():
            part.load_state_dict(state[name])
            if name == "optimizer" and args.lr is not None:
                for group in part.param_groups:
                    group["lr"] = args.lr
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, gg.errors.GpugradError):
            raise
        raise gg.FileFormatError(
            f"{args.resume} does not fit examples/{example}.py: {sentence(error)}"
        ) from error
    return state


class SameFlags(gg.training.Callback):
    """Keeps the flags in the checkpoints of a `gg.Trainer`: going on with others is refused."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    def state_dict(self) -> dict[str, Any]:
        return fixed_flags(self._args)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        _compare_flags(self._args, self._args.checkpoints, state_dict)


def fixed_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Those of the flags that a training must go on with."""
    return {name: getattr(args, name) for name in _FIXED if hasattr(args, name)}


def _compare_flags(args: argparse.Namespace, path: Path, flags: Mapping[str, Any]) -> None:
    for name, before in flags.items():
        if (now := getattr(args, name, None)) != before:
            flag = "--" + name.replace("_", "-")
            raise gg.FileFormatError(
                f"{path} was saved with {flag} {before}, but now it is {flag} {now}; "
                f"resume with {flag} {before}"
            )


# The flags that determine the data and the steps: a resume with others is refused.
_FIXED = (
    "atoms", "batch_size", "clip", "dtype", "evaluations", "length", "noise", "optimizer",
    "penalty", "rate", "seed",
)  # fmt: skip


# ---------------------------------------------------------------- plots


@functools.cache
def _figure_class() -> Any:
    return need("matplotlib.figure", "matplotlib").Figure


def figure(columns: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure without a window, and its panels side by side."""
    new = _figure_class()(figsize=(6 * columns, 4.5), dpi=120, layout="constrained")
    return new, new.subplots(1, columns)


def save_picture(drawn: Any, path: Path) -> None:
    """Write a figure in the format of the file's name. An old file is replaced whole or stays."""
    picture = io.BytesIO()
    drawn.savefig(picture, format=path.suffix[1:].lower())
    aside.write(path, picture.getvalue())


def plot_losses(path: Path, history: Any, title: str, ylabel: str = "loss") -> None:
    """Draw loss curves into a picture: a history as of `gg.plot.curves`, or a dict by name."""
    drawn, panel = figure()
    gg.plot.curves(history, ax=panel)
    panel.set_ylabel(ylabel)
    panel.set_title(title)
    save_picture(drawn, path)
    print(f"loss curve: {path}")
