"""Make a published table again: run what is not finished of it, and keep what every row gave as a line of JSON."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from vae_jax import config as configs
from vae_jax.data.load import load_dataset
from vae_jax.reproduction import tables
from vae_jax.reproduction.record import Run, record, write_record
from vae_jax.run import train
from vae_jax.storage import write_json
from vae_jax.tasks.anomaly import one_class
from vae_jax.tasks.compression.report import evaluate
from vae_jax.tasks.saved import open_saved
from vae_jax.training.folder import open_folder, read_config, read_results
from vae_jax.training.member_mesh import one_device_per_core
from vae_jax.training.stop import StopRequest

Say = Callable[[str], None]


class Task(NamedTuple):
    """How the figures of a row come about."""

    run: Callable[[Mapping[str, Any], pathlib.Path, pathlib.Path | None, Say], Any]  # config, run folder, data folder
    file: str  # in the run folder, when it is done


def make(
    table: tables.Table,
    rows: Iterable[tables.Row],
    seeds: Iterable[int],
    root: pathlib.Path,
    workdir: pathlib.Path,
    out: pathlib.Path,
    data_dir: pathlib.Path | None,
    say: Say,
) -> pathlib.Path:
    """Run the rows with every seed, write out/TABLE.jsonl after each run, and return its path.

    What is finished in `workdir` is not run again; what is interrupted goes on, but a one-class run starts again. The
    lines of the file are of all that is finished there, with seeds and rows that were not asked for now; a line with
    nothing there stays as it is.

    Args:
        table: of which the rows are.
        rows: to run.
        seeds: to run each with.
        root: of the repository.
        workdir: for the run folders.
        out: for TABLE.jsonl.
        data_dir: the folder of the data files.
        say: is told of progress.

    Raises:
        Preempted: it was asked to stop; the same command goes on.
        UserError: see `vae_jax.run.train`.
    """
    task = TASKS[table.task]
    if table.task == "one_class":
        one_device_per_core()
    with StopRequest() as stopping:
        # Training notes the signal itself, and saves first; but the models of a one-class row are trained at once.
        stopping.from_now_on_at_once("what is finished is saved; the same command goes on")
        for seed in seeds:
            # Rows of one run need it once.
            for name, row in {tables.folder_name(row, seed): row for row in rows}.items():
                folder = workdir / name
                say(f"{table.name}, seed {seed}: {folder}")
                task.run(tables.load(row, root, seed), folder, data_dir, say)
                if not _is_finished(task, folder):
                    say(f"{folder} was stopped before its end (STOP): it gives no row; delete it to run it again")
                done = {one: _finished(task, one, root, workdir) for one in table.rows}
                lines = [record(table, one, runs, root) for one, runs in done.items() if runs]
                write_record(out / f"{table.name}.jsonl", table, lines)
    return out / f"{table.name}.jsonl"


def _finished(task: Task, row: tables.Row, root: pathlib.Path, workdir: pathlib.Path) -> list[Run]:
    """Return what is done of a row with any seed; a folder of another config is none of it."""
    done = [folder for folder in workdir.glob(tables.folder_name(row, "*")) if _is_finished(task, folder)]
    seeds = {int(text): folder for folder in done if (text := folder.name.rpartition("-seed")[2]).isdigit()}
    return [
        Run(seed, folder, json.loads((folder / task.file).read_text()))
        for seed, folder in sorted(seeds.items())
        if not configs.differences(read_config(folder), tables.load(row, root, seed))
    ]


def _is_finished(task: Task, folder: pathlib.Path) -> bool:
    """Tell whether a run is done, and not because someone has put a file STOP into its folder."""
    stopped = (folder / "results.json").exists() and read_results(folder).get("stopped")
    return (folder / task.file).exists() and not stopped


def _train(settings: Mapping[str, Any], folder: pathlib.Path, data_dir: pathlib.Path | None, _: Say) -> None:
    train(settings, folder, data_dir)


def _compress(settings: Mapping[str, Any], folder: pathlib.Path, data_dir: pathlib.Path | None, say: Say) -> None:
    train(settings, folder, data_dir)
    if not (folder / "compression.json").exists():
        say("coding the test split")
        write_json(folder / "compression.json", evaluate(open_saved(folder, data_dir)))


def _one_class(settings: Mapping[str, Any], folder: pathlib.Path, data_dir: pathlib.Path | None, say: Say) -> None:
    dataset = load_dataset(settings, data_dir)
    with open_folder(folder, settings) as opened:
        one_class.run(settings, dataset, opened, False, say)


TASKS = {
    "train": Task(_train, "results.json"),
    "compress": Task(_compress, "compression.json"),
    "one_class": Task(_one_class, one_class.RESULTS),
}
