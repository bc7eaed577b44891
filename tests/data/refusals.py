"""What the tests of bad data share."""

import pytest

from vae_jax.errors import DataError


def refusal(read, *args, **kwargs):
    """Return the one line with which a call is refused."""
    with pytest.raises(DataError) as caught:
        read(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)
