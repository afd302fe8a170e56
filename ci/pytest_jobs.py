#!/usr/bin/env python
"""Run pytest in several processes, which share the tests: tests/helpers/turns.py.

    python ci/pytest_jobs.py JOBS ARGUMENTS-OF-PYTEST...

What the first process says is printed as it comes, what the others say when all are done. The exit
status is the first one that is neither 0 nor pytest's 5 ("no tests"), else the first process's.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def main(jobs: int, arguments: list[str]) -> int:
    """Run the processes, print what they say and give their common exit status."""
    command = [sys.executable, "-m", "pytest", *arguments]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of `finally`
    with tempfile.TemporaryDirectory(prefix="gpugrad-tests-") as folder:
        turns = Path(folder, "turns")
        turns.touch()
        environment = {**os.environ, "GPUGRAD_TEST_TURNS": str(turns)}
        processes = [subprocess.Popen(command, env=environment)]
        logs = [Path(folder, f"{number}.log") for number in range(1, jobs)]
        try:
            for log in logs:
                with log.open("wb") as file:
                    processes.append(
                        subprocess.Popen(command, env=environment, stdout=file, stderr=file)
                    )
            statuses = [process.wait() for process in processes]
        finally:
            for process in processes:
                process.terminate()  # nothing, where it is done
        for log in logs:
            print(log.read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    return next((status for status in statuses if status not in (0, 5)), statuses[0])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
