"""What tests of processes share: Python that runs a text, and waiting for what another process or thread does."""

import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parent.parent  # not of tests.conftest, which gives a process four devices


def python(code, **environment):
    """Run code in a process of its own, in the folder of the repository; return what it prints when it succeeds."""
    command = [sys.executable, "-c", code]
    settings = {"cwd": ROOT, "env": os.environ | environment, "capture_output": True, "text": True, "timeout": 250}
    done = subprocess.run(command, check=False, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(condition, seconds=20):
    """Wait until a condition holds; return whether it does."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()
