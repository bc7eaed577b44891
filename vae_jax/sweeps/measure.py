"""Measure what a group of runs takes: `python -m vae_jax.sweeps.measure < group.json`; see `estimate`."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from vae_jax import cli
from vae_jax import config as configs
from vae_jax.data.dataset import Dataset, is_streamed
from vae_jax.data.load import load_dataset

_STEPS = 20


def main(argv: Sequence[str]) -> None:
    """Read a group from standard input, and print what it takes as JSON."""
    started_at = time.monotonic()
    flags = cli.parser(__doc__)
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    group = json.load(sys.stdin)
    config = configs.from_json(json.dumps(group["config"]))
    dataset = load_dataset(config, args.data_dir)
    # JAX is imported from here on.
    from vae_jax.run import use_compilation_cache

    use_compilation_cache()
    members = group["members"]
    together = members > 1 and not is_streamed(config["data"], dataset)
    bytes_of_others, seconds = _together(config, dataset, members) if together else _alone(config, dataset, members)
    steps = config["train"]["epochs"] * (dataset.sizes["train"] // config["train"]["batch_size"])
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 + bytes_of_others / 1e6
    print(json.dumps({"memory_mb": memory_mb, "seconds": time.monotonic() - started_at + steps * seconds}))


def _alone(config: Mapping[str, Any], dataset: Dataset, members: int) -> tuple[float, float]:
    """Return 0, for each run is over before the next begins, and the seconds of a step of all runs."""
    from vae_jax.parts import put_together
    from vae_jax.types import TrainState

    parts = put_together(config, dataset)
    state, _ = parts.program.chunk(TrainState(**parts.start()["state"]), 0, _STEPS)
    begun = time.monotonic()
    parts.program.chunk(state, _STEPS, 2 * _STEPS)
    return 0.0, members * (time.monotonic() - begun) / _STEPS


def _together(config: Mapping[str, Any], dataset: Dataset, members: int) -> tuple[float, float]:
    """Return the bytes of all members but those that were measured, and the seconds of a step of all."""
    from vae_jax.training.member_mesh import one_device_per_core
    from vae_jax.sweeps.group import measure_members

    one_device_per_core()
    return measure_members(config, dataset, members, _STEPS)


if __name__ == "__main__":
    cli.main(main)
