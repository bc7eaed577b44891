"""What a run says when there is no memory left."""

import pytest

from vae_jax.errors import OutOfMemory
from vae_jax.training.failure import explained
from vae_jax.training.hosts import ALONE


@pytest.mark.parametrize("error", [MemoryError("1 GB"), RuntimeError("RESOURCE_EXHAUSTED: 1 GB")])
def test_no_memory_is_told_with_the_batch_sizes(tmp_path, error):
    config = {"train": {"batch_size": 64}, "evaluate": {"batch_size": 500}}
    words = r"out of memory with train\.batch_size=64 and evaluate\.batch_size=500 .*1 GB"
    with pytest.raises(OutOfMemory, match=words), explained(config, 100, tmp_path, ALONE, None):
        raise error
