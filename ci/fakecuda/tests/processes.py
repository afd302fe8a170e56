"""Python in a process of its own: a fault leaves a device of no use, and a process has one mode."""

import os
import subprocess
import sys
import textwrap


def run(source: str, mode: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Runs Python code with FAKECUDA_MODE=mode; its output, both streams together."""
    return _start([sys.executable, "-c", textwrap.dedent(source)], mode, environment)


def output(source: str, mode: str = "", **environment: str) -> str:
    """The same for code that must not fail."""
    done = run(source, mode, **environment)
    assert done.returncode == 0, done.stdout
    return done.stdout


def rerun(file: str, mode: str) -> None:
    """Runs the tests of a file in a mode."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = _start(words, mode, {})
    assert done.returncode == 0, done.stdout


def _start(words, mode, environment):
    return subprocess.run(
        words,
        env={**os.environ, "FAKECUDA_MODE": mode, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
