"""One run, from a config and its data to a finished run folder."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import ml_collections

from vae_jax import config as configs
from vae_jax import results
from vae_jax.data.dataset import Dataset, described, sha256
from vae_jax.data.load import load_dataset
from vae_jax.first_nan import first_nan
from vae_jax.parts import Parts, put_together
from vae_jax.reporting.log import MetricLog
from vae_jax.reporting.progress import Progress, say
from vae_jax.storage import write_json
from vae_jax.training import manifest
from vae_jax.training.checkpoint import Checkpoints, marks_of, newest_step, restore
from vae_jax.training.failure import explained
from vae_jax.training.folder import open_folder, read_manifest, read_results
from vae_jax.training.hosts import ALONE, Hosts
from vae_jax.training.loop import Clock, Outlet, fit
from vae_jax.training.stop import StopRequest
from vae_jax.types import Tree


def train(
    config: Mapping[str, Any],
    workdir: str | pathlib.Path,
    data_dir: str | pathlib.Path | None = None,
    trackers: Sequence[str] = ("tensorboard",),
) -> dict[str, Any]:
    """Train the model of a resolved config, evaluate it once on test, and return what results.json holds.

    The same call on the same folder resumes an interrupted run, and returns the results of a finished one.

    Args:
        config: from `vae_jax.config.load`, or a config that is still to be resolved.
        workdir: the run folder.
        data_dir: the folder of the data files, where the data need one.
        trackers: names in vae_jax/reporting/trackers, which are told what metrics.jsonl is told.

    Raises:
        UserError: see `vae_jax.errors`.
    """
    if not isinstance(config, ml_collections.FrozenConfigDict):
        config = configs.resolve(config)
    dataset = load_dataset(config, data_dir)
    with open_folder(pathlib.Path(workdir), config) as folder:
        return run(config, dataset, folder, trackers=trackers)


def run(
    config: Mapping[str, Any],
    dataset: Dataset,
    folder: pathlib.Path,
    started_at: float | None = None,
    hosts: Hosts = ALONE,
    trackers: Sequence[str] = ("tensorboard",),
) -> dict[str, Any]:
    """Train in a folder that is held open; see `train`.

    `started_at` is time.time() at the start of the process. Of several processes, `hosts`, each calls this.
    """
    started_at = started_at or time.time()
    if hosts.agree((folder / "results.json").exists()):
        results.check_data(read_manifest(folder), sha256(dataset))
        figures = read_results(folder)
        say(f"{folder} holds this run, finished")
        return figures
    if hosts.count > 1:
        hosts.check_same("data", sha256(dataset))

    def search(step: int) -> str | None:
        stopping.from_now_on_at_once()  # all that is to be kept is on disk
        return first_nan(parts, config, folder / "checkpoints", _identity(config, folder), step)

    with (
        StopRequest() as stopping,
        explained(config, dataset.sizes["train"], folder, hosts, search),
        contextlib.ExitStack() as stack,
    ):
        parts, clock = put_together(config, dataset), Clock()
        tree = _begin(config, dataset, parts, folder, hosts)
        log = None
        if hosts.first:
            step = int(tree["state"]["step"])
            marks = marks_of(folder / "checkpoints", step) if step else ()
            log = stack.enter_context(MetricLog(folder, step, trackers, marks))
            log.settings(config)
        tree = _train(config, parts, tree, folder, log, stopping, clock, hosts)
        speed = _speed(clock, config, started_at)
        stopping.from_now_on_at_once()
        parts, tree = parts.on_this_process(tree)
        figures = None
        if log:
            figures, pictures = _finish(config, dataset, parts, tree, folder)
            figures |= speed | {"seconds_total": time.time() - started_at}
            write_json(folder / "results.json", figures)
            log.results(figures["steps"], figures, pictures)
        return hosts.agree(figures)


def use_compilation_cache() -> None:
    """Keep compiled programs between processes, in $JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    jax.config.update(
        "jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(home / "vae_jax" / "xla"))
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _begin(config: Mapping[str, Any], dataset: Dataset, parts: Parts, folder: pathlib.Path, hosts: Hosts) -> Tree:
    """Return the checkpoint tree to train from: that of the folder's newest checkpoint, or that of the start."""
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        compiled = other.submit(parts.compile)  # meanwhile: it takes about as long as what is done here
        found = restore(folder / "checkpoints", parts.abstract, say, hosts, _identity(config, folder))
        if hosts.first:
            _record(config, dataset, folder, found[0] if found else 0)
        if found:
            say(f"resuming at step {found[0]}")
        tree = found[1] if found else jax.block_until_ready(parts.start())
        compiled.result()
    return tree


def _train(
    config: Mapping[str, Any],
    parts: Parts,
    tree: Tree,
    folder: pathlib.Path,
    log: MetricLog | None,
    stopping: StopRequest,
    clock: Clock,
    hosts: Hosts,
) -> Tree:
    """Train to the end and return the final checkpoint tree."""
    step = int(tree["state"]["step"])
    total = config["train"]["epochs"] * parts.program.steps_per_epoch
    unit = "" if parts.model.log_weights is None else " nats"
    with (
        contextlib.closing(parts.program),
        Checkpoints(folder / "checkpoints", config["checkpoint"]["keep"], _identity(config, folder)) as checkpoints,
        Progress(total, step, config["train"]["batch_size"]) as progress,
    ):

        def save(step, tree):
            checkpoints.save(step, tree, log.mark(step) if log else ())

        def wait():
            checkpoints.wait()
            hosts.agree()  # lest one of them ends the others before they are done

        newest = functools.partial(newest_step, folder / "checkpoints")
        ended = functools.partial(asked_to_stop, folder, hosts)
        write = log.write if log else _write_nothing
        outlet = Outlet(save, wait, newest, write, progress.update, say, unit, hosts.stop, ended)
        return fit(parts.program, tree, outlet, config["train"], config["checkpoint"]["every_seconds"], stopping, clock)


def asked_to_stop(folder: pathlib.Path, hosts: Hosts = ALONE) -> bool:
    """Tell whether someone has put a file STOP into the run folder, to end training at the next validation."""
    return hosts.agree((folder / "STOP").exists())


def _identity(config: Mapping[str, Any], folder: pathlib.Path) -> str:
    """Return what the checkpoints of a run have in common, also if a later version adds fields to its config."""
    begun = (folder / "manifest.json").exists()
    return read_manifest(folder).get("config_sha256", "") if begun else configs.fingerprint(config)


def _write_nothing(*_: Any) -> None:
    pass


def _speed(clock: Clock, config: Mapping[str, Any], started_at: float) -> dict[str, float | None]:
    return {
        "images_per_second": clock.steps_per_second() * config["train"]["batch_size"] if clock.steps else None,
        "seconds_to_first_step": clock.first_step_at - started_at if clock.first_step_at else None,
    }


def _finish(
    config: Mapping[str, Any], dataset: Dataset, parts: Parts, tree: Tree, folder: pathlib.Path
) -> tuple[dict[str, Any], list[pathlib.Path]]:
    """Evaluate the trained parameters, draw their pictures and return the figures and the files."""
    say("evaluating on the test split")
    evaluate, pca = results.make_evaluate(config, dataset, parts.spec, parts.model, parts.feeds)
    figures = evaluate(tree)
    pictures = results.draw(config, parts, tree, pca, folder)
    say("pictures: " + ", ".join(os.path.relpath(p) for p in pictures))
    return figures | results.of_state(config, dataset, tree, folder), pictures


def _record(config: Mapping[str, Any], dataset: Dataset, folder: pathlib.Path, step: int) -> None:
    """Write manifest.json before the first step, or add a restart to it; other data than at the start are refused."""
    if step:
        begun = read_manifest(folder)
        results.check_data(begun, sha256(dataset))
        write_json(folder / "manifest.json", manifest.note_restart(begun, step))
        return
    write_json(folder / "manifest.json", manifest.make_manifest(config, described(dataset)))
