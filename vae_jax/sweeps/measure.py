"""Measure what a group of runs takes: `python -m vae_jax.sweeps.measure < group.json`; see `estimate`."""

from __future__ import annotations

import contextlib
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
_COPIES = 6  # of the parameters of a member: moments, averages, the best so far, and what is being saved


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


class _Enough(Exception):
    """What was to be measured has been."""


def _together(config: Mapping[str, Any], dataset: Dataset, members: int) -> tuple[float, float]:
    """Return the bytes of all members but those that were measured, and the seconds of a step of all."""
    import jax

    from vae_jax.streams import stream
    from vae_jax.sweeps.group import make_members
    from vae_jax.training.member_group import Callbacks
    from vae_jax.training.member_mesh import one_device_per_core
    from vae_jax.training.members import fit_members

    one_device_per_core()
    short = {**config, "train": {**config["train"], "steps_per_call": _STEPS}}
    model, feeds, some = make_members([short] * min(members, jax.local_device_count()), dataset)
    told = [time.monotonic()]

    def write(*_: Any) -> None:
        told.append(time.monotonic())
        if len(told) == 4:
            raise _Enough

    with contextlib.suppress(_Enough):
        fit_members(model, short, feeds, some, stream(0, "measure"), Callbacks(write=write))
    if len(told) == 1:  # all have diverged at once: as they will, which is not for a measurement to say
        told.append(time.monotonic())
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
    return _COPIES * size * (members - len(some)), (told[-1] - told[-2]) / _STEPS * -(-members // len(some))


if __name__ == "__main__":
    cli.main(main)
