"""The ``gpugrad`` command and its subcommands. May import anything of gpugrad."""

import argparse
import os
import sys
from collections.abc import Sequence

from gpugrad.cli import doctor

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with ``argv`` (``sys.argv`` where None); the exit status.

    >>> main([])
    usage: gpugrad [-h] [--version] {doctor} ...
    ...
    0
    """
    parser = argparse.ArgumentParser(
        prog="gpugrad", description="Derivatives of NumPy and CuPy code."
    )
    parser.add_argument("--version", action="version", version=f"gpugrad {doctor.own_version()}")
    commands = parser.add_subparsers(title="commands", dest="command")
    doctor.add_to(commands)
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
    return status
