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
    if how.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if how.startswith("stop"):
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "sleep":
        time.sleep(1000)


def main(how, device, block):
    device = gg.parallel.init(device, timeout=4 if device == "cpu" else 10)
    gg.parallel.barrier()
    for step in range(4):
        odd = step == 2 and gg.parallel.rank() == (0 if how.endswith("rank 0") else 1)
        if odd:
            misbehave(how)
        array = device.send(np.ones(3 + (odd and how in ("differ", "message"))))
        if step == 2 and how == "message":
            rank = gg.parallel.rank()
            gg.parallel.recv(array, 0) if rank else gg.parallel.send(array, 1)
            time.sleep(2)
        group().engine(array).all_reduce(array, block=block).wait()
    print("finished", gg.parallel.rank(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3], "--aside" not in sys.argv)
