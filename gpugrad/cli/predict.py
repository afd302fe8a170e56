"""``gpugrad predict``: applies a model of ``gpugrad train`` to a table, and writes a CSV file."""

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gpugrad.cli.train import names_in

if TYPE_CHECKING:
    from gpugrad.cli.table_files import TableFile
    from gpugrad.cli.table_model import TableModel

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "predict",
        help="apply a model of `gpugrad train` to a table",
        description="Predict the target for each row of a table, and write a CSV: the prediction, "
        "and for classes the probability of each. A category that was not there in training counts "
        "as the rare ones, if there were any.",
    )
    option = parser.add_argument
    option("model", help="a file that `gpugrad train` has saved")
    option("data", help="a CSV or Parquet file with the columns of the training")
    option("--output", "-o", metavar="FILE", help="the predictions (default: standard output)")
    option("--keep", type=names_in, metavar="A,B", default=[],
           help="columns of the table to write beside the predictions")  # fmt: skip
    option(
        "--delimiter", default=",", help="what is between the values of the CSV file (%(default)s)"
    )
    option("--encoding", default="utf-8", help="of the CSV file (%(default)s)")
    option("--device", help="cpu, cuda, cuda:1, auto (default: GPUGRAD_DEVICE, else cpu)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Predict and write; 0."""
    import gpugrad as gg
    from gpugrad.cli.table_files import TableFile
    from gpugrad.cli.table_model import TableModel
    from gpugrad.io import aside

    with gg.device(options.device or gg.default_device()):
        model = TableModel.load(options.model)
        file = TableFile(options.data, options.delimiter, options.encoding)
        file.check([*model.encoder.columns, *options.keep])
        lines = _lines(model, file, options.keep)
        if options.output in (None, "-"):
            csv.writer(sys.stdout, lineterminator="\n").writerows(lines)
            return 0

        def write(binary: BinaryIO) -> None:
            text = io.TextIOWrapper(binary, encoding="utf-8", newline="")
            csv.writer(text, lineterminator="\n").writerows(lines)
            text.flush()
            text.detach()

        path = Path(options.output)
        aside.check_replaceable(path)
        aside.replace(path, write)  # the whole file, or none
    return 0


def _lines(model: "TableModel", file: "TableFile", keep: list[str]) -> Iterator[list[Any]]:
    """The lines of the CSV, the header first."""
    target = model.target
    classes = [f"probability_{label}" for label in target.classes or ()]
    yield [*keep, f"predicted_{target.name}", *classes]
    wanted = list(dict.fromkeys([*model.encoder.columns, *keep]))
    for rows in file.chunks(wanted):
        found = model.predict(rows.columns, rows.numbers)
        kept = [rows.columns[name] for name in keep]
        for i in range(len(found)):
            row = [values[i] for values in kept]
            if target.classes is None:
                yield [*row, f"{found[i]:.7g}"]
            else:
                label = target.classes[found[i].argmax()]
                yield [*row, label, *(f"{p:.6g}" for p in found[i])]
