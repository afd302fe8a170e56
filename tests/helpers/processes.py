"""Programs in processes of their own."""

import os
import subprocess
import sys

from repository import ROOT


def run_python(code, **environment):
    """The standard output of a fresh Python that has gpugrad on its path."""
    kept = {name: value for name, value in os.environ.items() if name != "GPUGRAD_DEVICE"}
    before = os.environ.get("PYTHONPATH", "")
    env = kept | {"PYTHONPATH": f"{ROOT}{os.pathsep}{before}"} | environment
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
