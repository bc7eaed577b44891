"""A finished run, done again in another folder and compared with what it was."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from vae_jax.data.dataset import Dataset, described, sha256
from vae_jax.errors import ConfigError, NotReproduced, StorageError
from vae_jax.reporting.log import read_rows
from vae_jax.reproduction import compare
from vae_jax.reproduction.original import Original
from vae_jax.reproduction.surroundings import Difference, at_the_end, differences, members
from vae_jax.results import check_data
from vae_jax.run import run
from vae_jax.storage import write_json
from vae_jax.training.checkpoint import load_newest
from vae_jax.training.fingerprint import raw_keys
from vae_jax.training.folder import open_folder, read_manifest, read_results
from vae_jax.training.manifest import make_manifest


def run_again(
    original: Original,
    dataset: Dataset,
    workdir: pathlib.Path,
    tolerance: float,
    started_at: float,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Do a run again in `workdir`, which is resumed if it was interrupted, and compare; return what was found.

    Nothing is written into the folder of the original. What was found stands in workdir/reproduction.json too.

    Raises:
        ConfigError: `workdir` holds a copy of the run, or what was done again under other conditions than now.
        DataError: the data are not those of the run.
        NotReproduced: a figure differs that must not.
        UserError: see `vae_jax.run.train`.
    """
    check_data(original.manifest, sha256(dataset))
    params = _arrays(original.folder, say)  # before the work: they may be on a disk that fails
    now = make_manifest(original.config, described(dataset))
    foreseen = _unlike(original, now, say)
    say(f"in {workdir}; {_promise(original, foreseen, tolerance)}")
    with open_folder(workdir, original.config) as folder:
        _refuse_old(original, folder, now)
        run(original.config, dataset, folder, started_at)
        found = _unlike(original, read_manifest(folder), say, told=foreseen)
        exact = _exact(original, found)
        compared = _compare(original, folder, params, None if exact else tolerance, say)
        report = {
            "of": str(original.folder),
            "differences": [one._asdict() for one in found],
            "tolerance": None if exact else tolerance,
            "compared": compared.count,
            "largest_relative_difference": compared.largest,
            "gaps": [gap._asdict() for gap in compared.gaps],
        }
        write_json(folder / "reproduction.json", report)
    if compared.gaps:
        say(compare.table(compared.gaps))
        raise NotReproduced(
            f"{original.folder} is not reproduced: {len(compared.gaps)} of {compared.count} figures and arrays are not "
            f"equal {'to the bit' if exact else f'within {tolerance:g}'}; the first is {compared.gaps[0].figure}"
        )
    return report


def _refuse_old(original: Original, folder: pathlib.Path, now: Mapping[str, Any]) -> None:
    """A run that was done again already is not trained once more, so it must be of the code and the machine at hand."""
    if not (folder / "results.json").exists():
        return
    done, how = read_manifest(folder), "delete it, or give another --workdir"
    if done["started_utc"] == original.manifest["started_utc"]:
        raise ConfigError(f"{folder} is a copy of the run, which nothing has done again; {how}")
    if other := [one for one in differences(at_the_end(done), now) if one.decides]:
        raise ConfigError(f"{folder} was done again under other conditions than now ({other[0]}); {how}")


def summary(report: Mapping[str, Any]) -> str:
    """Return what `run_again` found, in words."""
    if report["tolerance"] is None:
        return f"to the bit: {report['compared']} figures and arrays"
    largest = report["largest_relative_difference"]
    most = f"the largest relative difference is {largest:.2g}" if largest else "and all are equal to the bit"
    return f"within {report['tolerance']:g}: {report['compared']} figures, {most}; parameters are not compared"


def _unlike(
    original: Original, now: Mapping[str, Any], say: Callable[[str], None], told: list[Difference] | None = None
) -> list[Difference]:
    """Return in what the surroundings differ, and tell of what was not told yet."""
    found = original.changed + differences(original.manifest, now)
    new = [one for one in found if one not in (told or [])]
    if new:
        say("\n".join(["what differs from the run:", *(f"  {one}" for one in new)]))
    return found


def _exact(original: Original, found: list[Difference]) -> bool:
    return members(original.manifest) == 1 and not any(one.decides for one in found)


def _promise(original: Original, found: list[Difference], tolerance: float) -> str:
    if _exact(original, found):
        return "code, versions, data and machine are those of the run: it must come back to the bit"
    if members(original.manifest) > 1:
        return f"it was one of {members(original.manifest)} members of a program: within {tolerance:g}, not to the bit"
    return f"other conditions than the run's: it must come back within {tolerance:g}, not to the bit"


def _compare(
    original: Original,
    folder: pathlib.Path,
    params: dict[str, np.ndarray] | None,
    tolerance: float | None,
    say: Callable[[str], None],
) -> compare.Compared:
    rows = (read_rows(of / "metrics.jsonl") for of in (original.folder, folder))
    results = (read_results(of) for of in (original.folder, folder))
    found = compare.compare_rows(*rows, tolerance) + compare.compare_results(*results, tolerance)
    if params is None or tolerance is not None:  # rounding leads parameters elsewhere, to figures that are the same
        return found
    return found + compare.compare_trees(params, _arrays(folder, say) or {}, tolerance)


def _arrays(folder: pathlib.Path, say: Callable[[str], None]) -> dict[str, np.ndarray] | None:
    """Return all arrays of the final checkpoint by path; None where it is gone or damaged, and that is said."""
    try:
        step, tree = load_newest(folder / "checkpoints")
    except StorageError as error:
        say(f"{error}; its parameters are known by state_sha256 alone")
        return None
    last = read_results(folder).get("steps")
    if step != last:
        say(f"{folder}: checkpoint {last} is gone or damaged; its parameters are known by state_sha256 alone")
        return None
    leaves = jax.tree_util.tree_leaves_with_path(raw_keys(tree))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
