"""What groups of runs are going to take. They are measured in a process of its own: the driver stays free of JAX."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vae_jax import config as configs
from vae_jax.errors import ConfigError
from vae_jax.sweeps.plan import static

Shape = tuple[Mapping[str, Any], int]  # the config of a run of a group, and how many runs the group has


def estimates(groups: Sequence[Shape], data_dir: pathlib.Path | None) -> list[dict[str, Any]]:
    """Return what each group takes: `memory_mb`, of the whole process, and `seconds`, from start to end of training.

    A group is compiled and trained for a few steps, so the figures are of this machine.

    Raises:
        ConfigError: a group cannot be trained; the message is that of the run.
    """
    asked = [{"config": json.loads(configs.to_json(config)), "members": members} for config, members in groups]
    found = []
    for group in asked:
        command = [sys.executable, "-m", "vae_jax.sweeps.measure", *([f"--data_dir={data_dir}"] if data_dir else [])]
        # In a session of its own, so that Ctrl-C is for the driver alone, which knows what is to be saved.
        ended = subprocess.run(command, input=json.dumps(group), capture_output=True, text=True, start_new_session=True)
        if ended.returncode:
            silent = (
                f"what is to measure {group['members']} runs ended with code {ended.returncode} and said nothing (-9: "
                "Linux ends what asks for more memory than there is); lower --members or train.batch_size"
            )
            last = (ended.stderr.strip().splitlines() or [silent])[-1]
            raise ConfigError(last.removeprefix("error: "))
        found.append(json.loads(ended.stdout.splitlines()[-1]))
    return found


def remembered(
    data_dir: pathlib.Path | None, say: Callable[[str], None]
) -> Callable[[Sequence[Shape]], list[dict[str, Any]]]:
    """Return what estimates groups, time and again, and says so; what was not among the first is taken to be as the
    largest of these, for a search must not wait for its measurement.
    """
    known: dict[tuple[str, int], dict[str, Any]] = {}

    def of(groups: Sequence[Shape]) -> list[dict[str, Any]]:
        keys = [(static(config), members) for config, members in groups]
        if not known:
            distinct = dict(zip(keys, groups, strict=True))
            known.update(zip(distinct, estimates(list(distinct.values()), data_dir), strict=True))
        largest = max(known.values(), key=lambda estimate: estimate["memory_mb"])
        found = [known.get(key, largest) for key in keys]
        say(total_text(groups, found))
        return found

    return of


def total_text(groups: Sequence[Shape], found: Sequence[Mapping[str, Any]]) -> str:
    """Return a line for each group, and one for all."""
    lines = []
    for (config, members), estimate in zip(groups, found, strict=True):
        what = f"{members} runs in one program" if members > 1 else "1 run"
        lines.append(
            f"  {what}: {config['model']['name']} on {config['data']['name']}, {config['train']['epochs']} epochs; "
            f"about {estimate['memory_mb']:,.0f} MB, {_time(estimate['seconds'])} of training"
        )
    runs, seconds = sum(members for _, members in groups), sum(estimate["seconds"] for estimate in found)
    total = f"{runs} runs in {len(groups)} {'program' if len(groups) == 1 else 'programs'}, about {_time(seconds)}"
    return "\n".join([f"{total}, one program after another", *lines])


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
