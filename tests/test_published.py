"""What leaves the machine: no host, no environment, no path."""

import pytest

from vae_jax.errors import ConfigError
from vae_jax.published import published_config, published_manifest


def test_paths_of_the_machine_are_left_out_or_refused():
    manifest = {
        "command": ["/usr/bin/python", "/home/me/scripts/train.py", "--config", "/home/me/configs/a.py:variant=b"],
        "host": "secret",
        "environment": {"XLA_FLAGS": "--xla_dump_to=/home/me", "JAX_ENABLE_X64": "1", "SLURM_JOB_USER": "me"},
        "restarts": [{"step": 3, "changed": {"host": "secret", "code": {"version": "1"}}}],
        "data": {"origin": "https://example.org/digits", "skipped": ["me.png: no picture"]},
    }
    manifest["command"] += ["--workdir=/home/me/run", "--config.seed=3", "--data_dir", "/home/me/data"]
    found = published_manifest(manifest)
    assert found["command"] == ["python", "scripts/train.py", "--config=configs/a.py:variant=b", "--config.seed=3"]
    assert (found["host"], found["environment"]) == (None, {"JAX_ENABLE_X64": "1"})
    assert found["restarts"] == [{"step": 3, "changed": {"code": {"version": "1"}}}]
    assert found["data"] == {"origin": "https://example.org/digits", "skipped": ["1 files"]}
    assert published_manifest(manifest | {"command": ["python", "mine.py", "--token=1"]})["command"] == []
    for path in "/home/me/pets", "~/pets", "../pets":
        with pytest.raises(ConfigError, match=r"data\.dataset='.*' in config\.json is a path of this machine"):
            published_config({"data": {"dataset": path}})
