"""A program in which rank 1 does what it should not at its third call: see tests/parallel."""

import os
import signal
import sys
import time

import numpy as np

import gpugrad as gg
from gpugrad.parallel.group import group


def misbehave(how):
    if how == "raise":
        raise ValueError("bad value")
    if how == "exit":
        sys.exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "sleep":
        time.sleep(1000)


def main(how, block):
    gg.parallel.init("cpu", timeout=2)
    gg.parallel.barrier()
    for step in range(4):
        if step == 2 and gg.parallel.rank() == 1:
            misbehave(how)
        engine = group().engine()
        engine.all_reduce(np.ones(3), block=block).wait()
    print("finished", gg.parallel.rank(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], "--aside" not in sys.argv)
