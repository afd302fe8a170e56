"""The ``gpugrad`` command and its subcommands. May import anything of gpugrad."""

import argparse
import os
import sys
from collections.abc import Sequence

from gpugrad.cli import doctor, launch, predict, train
from gpugrad.errors import GpugradError

__all__ = ["main"]

EXAMPLES = """\
examples:
  gpugrad doctor                                     what works here, and what mends the rest
  gpugrad doctor --json                              the same, for a program
  gpugrad train data.csv --target price              a model of a table, into model.safetensors
  gpugrad predict model.safetensors new.csv -o out.csv
  gpugrad launch --processes 4 train.py              a program of gg.parallel in 4 processes

`gpugrad COMMAND --help` lists what a command takes. In Python: import gpugrad as gg; help(gg).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (``sys.argv`` where None); the exit status.

    >>> main([])
    usage: gpugrad [-h] [--version] {doctor,train,predict,launch} ...
    ...
    0
    """
    parser = argparse.ArgumentParser(
        prog="gpugrad",
        description="Derivatives of NumPy and CuPy code.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gpugrad {doctor.own_version()}")
    commands = parser.add_subparsers(title="commands", dest="command")
    for command in (doctor, train, predict, launch):
        command.add_to(commands)
    options = parser.parse_args(argv)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except BrokenPipeError:  # as of `gpugrad doctor | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _failed(options.command, "interrupted", 130)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _failed(options.command, what, 2)
    except (GpugradError, ImportError) as error:
        return _failed(options.command, str(error), 2)
    return status


def _failed(command: str, what: str, status: int) -> int:
    print(f"gpugrad {command}: {what}", file=sys.stderr)
    return status
