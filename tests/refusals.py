"""What the tests of bad input share: the one line of a refusal, bits that are flipped, and what a cache still holds."""

import pytest

from tests.script import run_script
from vae_jax.errors import DataError


def refusal(call, *args, error=DataError, **kwargs):
    """Return the one line with which a call is refused."""
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def script_refusal(code, name, *flags, **settings):
    """Return the one line with which scripts/NAME.py is refused, with this exit code; see `run_script`."""
    done = run_script(f"{name}.py", *flags, **settings)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.find("\n") == len(done.stderr) - 1, done.stderr
    return done.stderr


def flipped(content, at, bit=0):
    """Return bytes with a bit flipped."""
    content = bytearray(content)
    content[at] ^= 1 << bit
    return bytes(content)


def flipped_anywhere(content, rng):
    """Return bytes with a bit flipped wherever a generator says."""
    return flipped(content, rng.integers(len(content)), int(rng.integers(8)))


def files(folder):
    """Return the files that are kept in a folder, but for locks."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
