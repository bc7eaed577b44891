"""The one line of an error, whoever else writes and whoever reads."""

import os
import socket
import subprocess
import sys

import pytest

FAILS = """
from vae_jax import cli, errors
def script(_): raise errors.ConfigError("two\\nlines")
cli.main(script)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_error_is_written_in_one_piece_lest_other_threads_write_into_it(unbuffered, root):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps writes apart
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with ours, theirs:
        subprocess.run([sys.executable, "-c", FAILS], cwd=root, env=environment, stderr=theirs, timeout=60)
        assert ours.recv(1000) == b"error: two lines\n"


def test_the_exit_code_is_the_error_s_where_nobody_reads_it(root):
    read, write = os.pipe()
    os.close(read)
    try:
        assert subprocess.run([sys.executable, "-c", FAILS], cwd=root, stderr=write, timeout=60).returncode == 2
    finally:
        os.close(write)
