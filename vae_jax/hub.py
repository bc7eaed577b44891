"""Run folders on the Hugging Face Hub: the extra [hub].

A repository holds what a finished run is: config.json, manifest.json, results.json, metrics.jsonl, its pictures, its
newest undamaged checkpoint and a model card, README.md. It is data and nothing else: what is pulled is read as JSON,
PNG and arrays, none of which can carry code, and files of other names are refused. Fingerprints tell damage, not
malice: who wrote a repository, the Hub says.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from vae_jax.errors import ConfigError, DataError, OutputError, StorageError, UserError
from vae_jax.published import is_run_file, published_config, published_manifest, run_files
from vae_jax.reporting.card import model_card
from vae_jax.reporting.log import read_rows
from vae_jax.reporting.table import results_table
from vae_jax.training.folder import read_config, read_manifest, read_results

_TEXTS = ("metrics.jsonl", "results.json")  # copied as they are
_THEIRS = (".gitattributes",)  # files that the Hub adds by itself


def push_run(workdir: str | pathlib.Path, repo: str, private: bool = False, licence: str | None = None) -> str:
    """Upload a finished run in one commit, which replaces what the repository held, and return its address.

    Left out: the host, the environment but for JAX_* and XLA_*, paths and file names of this machine (see
    `vae_jax.published`), trackers' files, older checkpoints.

    Args:
        workdir: the run folder.
        repo: user/name; it is created if need be.
        private: whether only its owner may see it; one that others see is refused.
        licence: of the parameters, by its identifier on the Hub, for the card.

    Raises:
        ConfigError: the run is not finished, its config holds a path, nobody is logged in, or the repository holds
            something else.
        DataError: the repository may not be written.
        StorageError: it has no undamaged checkpoint, or there is no network.
    """
    folder = pathlib.Path(workdir).expanduser()
    read_results(folder)
    api = _api(repo)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, get_token

    if get_token() is None:
        raise ConfigError("nobody is logged in to the Hub: type `hf auth login`, or set HF_TOKEN")
    with tempfile.TemporaryDirectory(prefix="vae_jax-hub-") as temporary:
        staged = pathlib.Path(temporary)
        _stage(folder, staged, repo, licence)
        names = run_files(staged)
        stale = _stale(api, repo, private, names)
        with _explained(repo, "write"):
            changes: list[Any] = [CommitOperationAdd(name, staged / name) for name in names]
            changes += [CommitOperationDelete(name) for name in stale]
            api.create_commit(repo, changes, commit_message="Run folder of vae_jax")
    return f"{api.endpoint}/{repo}"


def pull_run(repo: str, workdir: str | pathlib.Path, revision: str | None = None) -> str:
    """Download a run into a new folder, which appears when all of it is there and has been checked.

    Args:
        repo: user/name.
        workdir: the run folder to make.
        revision: branch, tag or commit; None for the newest.

    Returns the commit.

    Raises:
        OutputError: the folder exists, or cannot be made.
        DataError: there is no such repository or revision, or it holds something else than a sound run.
        StorageError: there is no network, or the disk is full.
    """
    folder = pathlib.Path(workdir).expanduser().resolve()
    api = _api(repo)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder} exists and is not empty; choose another --workdir")
        part.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"--workdir={folder} cannot be written: {error.strerror}") from error
    try:
        commit = _download(api, repo, revision, part)
        _check(part, repo)
        part.rename(folder)
    except OSError as error:
        raise StorageError(f"writing {part} failed: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return commit


def _api(repo: str) -> Any:
    """Return what talks to the Hub, after checking the name of a repository.

    Raises:
        ConfigError: it is not user/name, or the extra is not installed.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo, re.ASCII) or ".." in repo or "--" in repo:
        raise ConfigError(f"{repo!r} is no name of a repository: expected user/name")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("the Hugging Face Hub needs the package huggingface_hub: pip install 'vae_jax[hub]'")
    from huggingface_hub import HfApi
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # not a line for every attempt; what fails in the end is raised
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


def _stale(api: Any, repo: str, private: bool, names: list[str]) -> list[str]:
    """Make the repository if need be, and return its files that are to go when it gets those of `names`.

    Raises:
        ConfigError: it holds something else than a run, or others see it and should not.
    """
    with _explained(repo, "write"):
        api.create_repo(repo, private=private, exist_ok=True)
        public = not api.model_info(repo).private
        stale = sorted(set(api.list_repo_files(repo)) - set(names) - set(_THEIRS))
    if private and public:
        raise ConfigError(
            f"{repo} exists and is public, so nothing was pushed; make it private, or leave --private out"
        )
    for name in stale:
        if not is_run_file(name):
            raise ConfigError(f"{repo} holds {name!r}, which is no file of a run; choose another --repo")
    return stale


def _stage(folder: pathlib.Path, staged: pathlib.Path, repo: str, licence: str | None) -> None:
    """Copy what is to be published."""
    config, manifest = published_config(read_config(folder)), published_manifest(read_manifest(folder))
    (staged / "config.json").write_bytes((folder / "config.json").read_bytes())
    (staged / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for name in _TEXTS:
        shutil.copyfile(folder / name, staged / name)
    (staged / "pictures").mkdir()
    pictures = [path for path in sorted((folder / "pictures").glob("*.png")) if is_run_file(f"pictures/{path.name}")]
    for path in pictures:
        shutil.copyfile(path, staged / "pictures" / path.name)
    _stage_checkpoint(folder / "checkpoints", staged / "checkpoints")
    card = model_card(repo, config, manifest, read_results(folder), [path.name for path in pictures], licence)
    (staged / "README.md").write_text(card)


def _stage_checkpoint(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy the newest checkpoint whose copy is undamaged."""
    from vae_jax.training.checkpoint import load_newest

    steps = sorted((int(path.name) for path in source.glob("*") if path.name.isdigit()), reverse=True)
    for number, step in enumerate(steps):
        shutil.copytree(source / str(step), target / str(step))
        try:
            load_newest(target)
            break
        except StorageError:
            shutil.rmtree(target)
            if number + 1 == len(steps):
                raise
    else:
        raise StorageError(f"no checkpoint in {source}: the run has not saved one")
    for note in target.rglob("commit_success.txt"):  # it holds the path of the folder; nobody reads it
        note.write_text("Checkpoint commit was successful\n")


def _download(api: Any, repo: str, revision: str | None, part: pathlib.Path) -> str:
    """Fetch the files of a repository, whose names are checked first, and return the commit they are of."""
    with _explained(repo, "read", revision):
        info = api.model_info(repo, revision=revision)
    names = [file.rfilename for file in info.siblings if file.rfilename not in _THEIRS]
    for name in names:
        if not is_run_file(name):
            raise DataError(f"{repo} holds {name!r}, which is no file of a run; nothing of it was kept")
    for needed in "config.json", "manifest.json":
        if needed not in names:
            raise DataError(f"{repo} is no run of vae_jax: it has no {needed}")
    with _explained(repo, "read", revision):
        for name in names:
            api.hf_hub_download(repo, name, revision=info.sha, local_dir=part)
    shutil.rmtree(part / ".cache", ignore_errors=True)  # the library's notes
    if run_files(part) != sorted(names):
        raise DataError(f"{repo} did not come as it was announced; try again")
    return info.sha


def _check(part: pathlib.Path, repo: str) -> None:
    """Load what was pulled.

    Raises:
        DataError: it is no run, or a damaged one.
    """
    from vae_jax.trained import load

    try:
        read_manifest(part)  # without which a config is one that is still to be run
        load(part)
        read_rows(part / "metrics.jsonl")
        if (part / "results.json").exists():
            results_table(read_results(part))
    except UserError as error:
        raise DataError(f"{repo} is damaged: {str(error).replace(f'{part}/', '').replace(str(part), 'it')}") from error
    except Exception as error:  # whatever another config than ours may set off
        raise DataError(f"{repo} is no sound run: {type(error).__name__}: {str(error).splitlines()[:1]}") from error


@contextlib.contextmanager
def _explained(repo: str, verb: str, revision: str | None = None) -> Iterator[None]:
    """Turn whatever the Hub's library raises into one line."""
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{repo} has no revision {revision!r}") from error
    except (AttributeError, TypeError):
        raise  # a bug
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403, 404):
            raise DataError(
                f"there is no repository {repo} that you may {verb}: check the name, and your login (`hf auth login` "
                "or HF_TOKEN)"
            ) from error
        text = " ".join(str(error).split()) or type(error).__name__
        where = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        raise StorageError(f"{where} cannot be reached, or failed: {text[:200]}") from error
