"""One run, from a config and its data to a finished run folder: here the parts are put together."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.data.dataset import Dataset, sha256
from vae_jax.data.feed import arrays, make_batch_of, make_spec
from vae_jax.data.load import load_dataset
from vae_jax.data.order import batch_indices, steps_per_epoch
from vae_jax.errors import DataError
from vae_jax.evaluation.baselines import Pca, fit_pca
from vae_jax.evaluation.conditional import conditional_accuracy
from vae_jax.evaluation.splits import mean, per_example
from vae_jax.evaluation.summary import evaluate_baselines, evaluate_test, make_evaluate
from vae_jax.pictures import save_pictures
from vae_jax.reporting.log import MetricLog, read_rows
from vae_jax.reporting.progress import Progress, say
from vae_jax.trained import Trained, load, make_model
from vae_jax.training import manifest
from vae_jax.training.checkpoint import Checkpoints, newest_step, restore
from vae_jax.training.fingerprint import state_sha256
from vae_jax.training.folder import open_folder, read_manifest, write_json
from vae_jax.training.loop import Clock, Outlet, Program, fit, with_best
from vae_jax.training.mesh import check_batch_size, place
from vae_jax.training.optim import make_hypers, make_optimizer
from vae_jax.training.step import init_state, make_chunk, make_step
from vae_jax.training.stop import StopRequest
from vae_jax.types import Model, Spec, Tree


class Parts(NamedTuple):
    """A run, put together but not started."""

    spec: Spec
    model: Model
    program: Program
    start: Callable[[], Tree]  # the checkpoint tree before the first step
    batches: Mapping[str, Callable[..., Any]]  # split -> batch_of(arrays, index, epoch)
    arrays: Mapping[str, Tree]  # split -> arrays on the devices


def train(
    config: Mapping[str, Any], workdir: str | pathlib.Path, data_dir: str | pathlib.Path | None = None
) -> dict[str, Any]:
    """Train the model of a resolved config, evaluate it once on test, and return what results.json holds.

    The same call on the same folder resumes an interrupted run, and returns the results of a finished one.

    Raises:
        UserError: see `vae_jax.errors`.
    """
    dataset = load_dataset(config, data_dir)
    with open_folder(pathlib.Path(workdir), config) as folder:
        return run(config, dataset, folder)


def run(config: Mapping[str, Any], dataset: Dataset, folder: pathlib.Path, started_at: float | None = None) -> dict:
    """Train in a folder that is held open; see `train`. `started_at`: time.time() at the start of the process."""
    started_at = started_at or time.time()
    if (folder / "results.json").exists():
        say(f"{folder} holds this run, finished")
        return json.loads((folder / "results.json").read_text())
    with StopRequest() as stopping:
        parts = put_together(config, dataset)
        clock = Clock()
        tree = _train(config, dataset, parts, folder, stopping, clock)
        speed = clock.steps_per_second()
        stopping.nothing_to_save = True
        say("evaluating on the test split")
        results, pca = _evaluate(config, dataset, parts, tree)
        results |= {
            "best_step": int(tree["best"]["step"]),
            "steps": int(tree["state"]["step"]),
            "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(tree["state"]["params"])),
            "state_sha256": state_sha256(tree["state"]),
            "images_per_second": speed * config["train"]["batch_size"] if clock.steps else None,
            "seconds_to_first_step": clock.first_step_at - started_at if clock.first_step_at else None,
        }
        pictures = _draw(config, parts, tree, pca, folder)
        results["seconds_total"] = time.time() - started_at
        write_json(folder / "results.json", results)
    say("pictures: " + ", ".join(os.path.relpath(p) for p in pictures))
    return results


def put_together(config: Mapping[str, Any], dataset: Dataset, num_devices: int | None = None) -> Parts:
    """Build model, compiled program and data on the devices for a resolved config."""
    placement = place(num_devices)
    batch_size = config["train"]["batch_size"]
    check_batch_size(batch_size, placement.num_devices)
    spec = make_spec(dataset)
    model = make_model(config, spec)
    per_epoch = steps_per_epoch(dataset.sizes["train"], batch_size)
    optimizer = make_optimizer(config, config["train"]["epochs"] * per_epoch, per_epoch)
    hypers = make_hypers(config["hypers"], per_epoch)
    stored = {name: jax.device_put(arrays(split), placement.everywhere) for name, split in dataset.splits.items()}
    batches = {name: make_batch_of(config["data"], name, dataset.levels) for name in dataset.splits}

    def of_step(source, index, step):
        return batches["train"](source, index, step // per_epoch)

    chunk = jax.jit(
        make_chunk(make_step(model, optimizer), of_step), donate_argnums=0, out_shardings=placement.everywhere
    )
    init = jax.jit(functools.partial(init_state, model, optimizer), out_shardings=placement.everywhere)
    evaluate = make_evaluate(model, batches["validation"])

    def run_chunk(state, indices, num_steps):
        return chunk(state, stored["train"], jax.device_put(indices, placement.steps_of_batches), num_steps)

    def validate(params, stats, hypers):
        size = min(config["evaluate"]["batch_size"], dataset.sizes["validation"])
        one_batch = functools.partial(evaluate, params, stats, hypers, stored["validation"])
        return mean(per_example(one_batch, dataset.sizes["validation"], size))

    def indices(start, stop):
        return batch_indices(config["data"]["seed"], start, stop, dataset.sizes["train"], batch_size)

    program = Program(run_chunk, indices, validate, per_epoch)
    return Parts(spec, model, program, lambda: with_best(init(jax.random.key(config["seed"]), hypers)), batches, stored)


def evaluate_split(
    folder: pathlib.Path, dataset: Dataset, split: str, num_samples: int, num_images: int | None = None
) -> dict[str, Any]:
    """Return the figures of a trained run on a split of its data, or on the first `num_images` of it.

    Raises:
        DataError: the data are not those of the run.
        StorageError: the run has no undamaged checkpoint.
    """
    trained = load(folder)
    _check_data(read_manifest(folder), sha256(dataset))
    config = trained.config
    stored = {name: jax.device_put(value[:num_images]) for name, value in arrays(dataset.splits[split]).items()}
    hypers = make_hypers(config["hypers"], steps_per_epoch(dataset.sizes["train"], config["train"]["batch_size"]))
    settings = {**config["evaluate"], "num_importance_samples": num_samples}
    batch_of = make_batch_of(config["data"], split, dataset.levels)
    return evaluate_test(trained.model, trained.params, trained.stats, hypers, batch_of, stored, settings)


def use_compilation_cache() -> None:
    """Keep compiled programs between processes, in $JAX_COMPILATION_CACHE_DIR or the user's cache folder."""
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    jax.config.update(
        "jax_compilation_cache_dir", os.environ.get("JAX_COMPILATION_CACHE_DIR", str(home / "vae_jax" / "xla"))
    )
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _train(
    config: Mapping[str, Any],
    dataset: Dataset,
    parts: Parts,
    folder: pathlib.Path,
    stopping: StopRequest,
    clock: Clock,
) -> Tree:
    """Train from where the folder's newest checkpoint is, or from the start, and return the final checkpoint tree."""
    tree, step = parts.start(), 0
    found = restore(folder / "checkpoints", _abstract(tree), say)
    if found is not None:
        step, tree = found
        say(f"resuming at step {step}")
    _record(config, dataset, folder, step)
    total = config["train"]["epochs"] * parts.program.steps_per_epoch
    unit = "" if parts.model.log_weights is None else " nats"
    with (
        Checkpoints(folder / "checkpoints", config["checkpoint"]["keep"]) as checkpoints,
        MetricLog(folder, step) as log,
        Progress(total, step, config["train"]["batch_size"]) as progress,
    ):
        newest = functools.partial(newest_step, folder / "checkpoints")
        outlet = Outlet(checkpoints.save, checkpoints.wait, newest, log.write, progress.update, unit)
        seconds = config["checkpoint"]["every_seconds"]
        return fit(parts.program, tree, outlet, config["train"], seconds, stopping, clock)


def _record(config: Mapping[str, Any], dataset: Dataset, folder: pathlib.Path, step: int) -> None:
    """Write manifest.json before the first step, or add a restart to it; other data than at the start are refused."""
    found = sha256(dataset)
    if step:
        begun = read_manifest(folder)
        _check_data(begun, found)
        write_json(folder / "manifest.json", manifest.note_restart(begun, step))
        return
    data = {
        "name": dataset.name,
        "origin": dataset.origin,
        "sha256": found,
        "sizes": dataset.sizes,
        "shape": list(dataset.shape),
        "num_classes": dataset.num_classes,
    }
    write_json(folder / "manifest.json", manifest.make_manifest(config, data))


def _check_data(begun: Mapping[str, Any], found: str) -> None:
    recorded = begun["data"]["sha256"]
    if recorded != found:
        raise DataError(f"these are not the data of the run: SHA-256 {found[:12]}..., trained on {recorded[:12]}...")


def _abstract(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree)


def _seen(parts: Parts, split: str, limit: int | None = None) -> dict[str, np.ndarray]:
    """Return pictures of a split as the model sees them: image, input, label."""
    one_batch = jax.jit(functools.partial(parts.batches[split], parts.arrays[split]), static_argnums=1)
    size = min(limit or 2**31, len(parts.arrays[split]["image"]))
    return per_example(lambda index: one_batch(index, 0), size, min(size, 1000))


def _evaluate(config: Mapping[str, Any], dataset: Dataset, parts: Parts, tree: Tree) -> tuple[dict[str, Any], Pca]:
    """Return the figures of the test split, the baselines', and the fitted baseline."""
    train, test = _seen(parts, "train")["image"], _seen(parts, "test")
    pca = fit_pca(train, config["model"]["latent"])
    best, hypers = tree["best"], tree["state"]["hypers"]
    figures = evaluate_test(
        parts.model,
        best["params"],
        best["stats"],
        hypers,
        parts.batches["test"],
        parts.arrays["test"],
        config["evaluate"],
    )
    trained = Trained(config, parts.spec, parts.model, best["params"], best["stats"])
    if trained.conditional:
        asked = np.arange(1000) % parts.spec.num_classes
        figures |= conditional_accuracy(trained.sample(len(asked)), asked, *map(dataset.pictures, ("train", "test")))
    baselines = evaluate_baselines(pca, train, test["image"], test["input"])
    return {"test": figures, "baselines": baselines}, pca


def _draw(config: Mapping[str, Any], parts: Parts, tree: Tree, pca: Pca, folder: pathlib.Path) -> list[pathlib.Path]:
    trained = Trained(config, parts.spec, parts.model, tree["best"]["params"], tree["best"]["stats"])
    unit = "" if parts.model.log_weights is None else " nats"
    rows = read_rows(folder / "metrics.jsonl")
    test = _seen(parts, "test", limit=2000)
    return save_pictures(folder / "pictures", trained, pca, test, parts.spec.num_classes > 0, rows, unit)
