"""Runs on the Hub: what is pushed, that it comes back to the bit, and that nothing else comes in."""

import functools
import json
import pathlib
import shutil
import socket
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from tests import hub_server
from tests.refusals import flipped
from tests.script import output_of
from tests.variants import load as load_config
from vae_jax import hub, run
from vae_jax.data.dataset import described
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, DataError, OutputError, StorageError
from vae_jax.parts import put_together
from vae_jax.reporting.log import MetricLog
from vae_jax.storage import write_json
from vae_jax.trained import load
from vae_jax.training.checkpoint import Checkpoints
from vae_jax.training.folder import open_folder
from vae_jax.training.manifest import make_manifest

pytest.importorskip("huggingface_hub", reason="needs the extra [hub]")

REPO = "somebody/digits"
CONFIG = load_config("digits.py:variant=vae", model__encoder__hidden=(16,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a finished run leaves, but for the training."""
    dataset = load_dataset(CONFIG, None)
    tree = put_together(CONFIG, dataset).start()
    with open_folder(tmp_path_factory.mktemp("hub") / "run", CONFIG) as path:
        write_json(path / "manifest.json", make_manifest(CONFIG, described(dataset)))
        with Checkpoints(path / "checkpoints", keep=2) as checkpoints:
            checkpoints.save(20, tree)
            checkpoints.save(40, tree)
        with MetricLog(path, 0) as log:
            log.write(40, "train", {"loss": 20.5})
        (path / "pictures").mkdir()
        for name in "samples.png", "loss.png":
            Image.new("L", (8, 8)).save(path / "pictures" / name)
        (path / "wandb.id").write_text("secret")
        write_json(path / "evaluation-test-k1.json", {})
        figures = {"neg_elbo_nats": 20.25, "neg_elbo_nats_standard_error": 0.125}
        write_json(path / "results.json", {"test": figures, "baselines": {}, "steps": 40, "num_parameters": 7000})
    return path


@pytest.fixture
def server(monkeypatch):
    with hub_server.serving() as (server, address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        # The library has read the variable if another test has imported it.
        monkeypatch.setattr("huggingface_hub.constants.HF_URL_HOSTS", frozenset({"127.0.0.1"}))
        monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
        yield server


@pytest.fixture
def pushed(server, folder):
    """The files of the repository after a push, to be changed at will."""
    hub.push_run(folder, REPO)
    return server.repos[REPO]


def array_file(files):
    return max((name for name in files if name.startswith("checkpoints/")), key=lambda name: len(files[name]))


def steps_of(files):
    return {name.split("/")[1] for name in files if name.startswith("checkpoints/")}


@pytest.mark.usefixtures("pushed")
def test_a_pulled_run_is_the_pushed_one_to_the_bit(folder, tmp_path):
    assert len(hub.pull_run(REPO, tmp_path / "pulled")) == 40  # the commit
    ours, theirs = (load(path) for path in (folder, tmp_path / "pulled"))
    for name in "params", "stats":
        jax.tree.map(np.testing.assert_array_equal, getattr(ours, name), getattr(theirs, name))
    for name in "config.json", "results.json", "metrics.jsonl", "pictures/samples.png":
        assert (tmp_path / "pulled" / name).read_bytes() == (folder / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["pulled"]
    assert run.train(CONFIG, tmp_path / "pulled") == json.loads((folder / "results.json").read_text())


def test_what_is_pushed_tells_nothing_of_the_machine(pushed, folder):
    kinds = {name.split("/")[0] for name in pushed}
    records = {"config.json", "manifest.json", "results.json", "metrics.jsonl", "README.md"}
    assert kinds == records | {"pictures", "checkpoints", ".gitattributes"}
    assert steps_of(pushed) == {"40"}
    everything = b"\n".join(content for name, content in pushed.items() if not name.endswith(".png"))
    host, home = f'"{socket.gethostname()}"', f"{pathlib.Path.home()}/"
    for secret in str(folder), home, sys.executable, hub_server.TOKEN, host:
        assert secret.encode() not in everything


def test_the_card_says_what_it_is(server, folder):
    hub.push_run(folder, REPO, licence="mit")
    card = server.repos[REPO]["README.md"].decode()
    assert card.startswith('---\nlibrary_name: vae_jax\ntags: ["jax", "autoencoder", "vae"]\nlicense: "mit"\n---\n')
    for words in "Model `vae` of", "neg_elbo_nats  20.25 ± 0.12", "](pictures/samples.png)", f"pull {REPO}":
        assert words in card


def test_a_second_push_replaces_the_first_in_one_commit(server, folder):
    hub.push_run(folder, REPO)
    server.repos[REPO]["checkpoints/7/_CHECKPOINT_METADATA"] = b"of another run"
    server.repos[REPO]["results.json"] = b"{}"
    hub.push_run(folder, REPO)
    assert server.commits == 2
    assert "checkpoints/7/_CHECKPOINT_METADATA" not in server.repos[REPO]
    assert server.repos[REPO]["results.json"] == (folder / "results.json").read_bytes()


def test_a_repository_of_something_else_or_for_other_eyes_is_left_alone(server, folder):
    hub.push_run(folder, "somebody/secret", private=True)
    assert server.private == {"somebody/secret"}
    server.repos[REPO] = {"model.safetensors": b"a year of work"}
    with pytest.raises(ConfigError, match=r"holds 'model\.safetensors', which is no file of a run"):
        hub.push_run(folder, REPO)
    with pytest.raises(ConfigError, match="exists and is public, so nothing was pushed"):
        hub.push_run(folder, REPO, private=True)
    assert server.repos[REPO] == {"model.safetensors": b"a year of work"}


def test_a_damaged_checkpoint_is_not_published(server, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "run")
    steps = sorted((copy / "checkpoints").iterdir(), key=lambda path: int(path.name))
    arrays = max(steps[-1].rglob("d/*"), key=lambda path: path.stat().st_size)
    arrays.write_bytes(arrays.read_bytes()[: arrays.stat().st_size // 2])
    hub.push_run(copy, REPO)
    assert steps_of(server.repos[REPO]) == {steps[-2].name}


def test_a_flipped_byte_never_gives_another_parameter(pushed, folder, tmp_path):
    name = array_file(pushed)
    sound, ours = pushed[name], load(folder)
    for number in range(6):
        pushed[name] = flipped(sound, number * len(sound) // 6 + 8)
        try:
            hub.pull_run(REPO, tmp_path / "pulled")
        except DataError:
            assert not list(tmp_path.iterdir())
        else:  # it was of the optimizer's state, which nobody reads
            theirs = load(tmp_path / "pulled")
            assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), ours.params, theirs.params))
            shutil.rmtree(tmp_path / "pulled")


def test_a_file_that_no_run_has_is_refused_before_anything_comes(pushed, tmp_path):
    for name in "../evil.txt", "/etc/evil", "checkpoints/40/../../../evil", "sitecustomize.py", "checkpoints/40/a.pkl":
        pushed[name] = b"import os"
        with pytest.raises(DataError, match=f"holds '{name}', which is no file of a run; nothing of it was kept"):
            hub.pull_run(REPO, tmp_path / "pulled")
        assert not list(tmp_path.iterdir())
        del pushed[name]


def damages(files):
    """Yield a name for each damage and the files with it."""
    arrays, config = array_file(files), json.loads(files["config.json"])
    yield "flipped bytes", {arrays: functools.reduce(flipped, range(8, len(files[arrays]), 500), files[arrays])}
    yield "half the arrays", {arrays: files[arrays][: len(files[arrays]) // 2]}
    yield "a link", {arrays: b"/etc/passwd"}  # as git keeps one
    yield "another config", {"config.json": json.dumps(config | {"seed": 1}).encode()}
    yield "a config of code", {"config.json": b"__import__('os').abort()"}
    yield "a pickle for results", {"results.json": b"cos\nabort\n(tR."}
    yield "an odd manifest", {"manifest.json": b'{"data": {"shape": 3, "num_classes": 0, "sha256": 0}}'}
    yield "torn metrics", {"metrics.jsonl": b"[1\n" + files["metrics.jsonl"]}


def test_damage_is_found_and_nothing_is_kept(pushed, tmp_path):
    sound = dict(pushed)
    for name, change in damages(sound):
        pushed.update(sound | change)
        with pytest.raises(DataError, match=REPO):
            hub.pull_run(REPO, tmp_path / "pulled")
        assert not list(tmp_path.iterdir()), name


def test_a_transfer_that_breaks_off_leaves_nothing(server, pushed, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the library's attempts
    server.truncated.add(array_file(pushed))
    with pytest.raises(StorageError, match="cannot be reached, or failed: peer closed"):
        hub.pull_run(REPO, tmp_path / "pulled")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("server")
def test_mistakes_have_a_line_each(folder, tmp_path, monkeypatch):
    hub.push_run(folder, REPO)
    new, no_names = tmp_path / "new", ("digits", "a/b/c", "../b", "a/..", "http://a/b", "")
    for given, error, message in (
        *(((name, new), ConfigError, "expected user/name") for name in no_names),
        (("nobody/nothing", new), DataError, "there is no repository nobody/nothing that you may read"),
        ((REPO, new, "v2"), DataError, f"{REPO} has no revision 'v2'"),
        ((REPO, folder), OutputError, "exists and is not empty"),
    ):
        with pytest.raises(error, match=message):
            hub.pull_run(*given)
    with pytest.raises(ConfigError, match=r"no results\.json"):
        hub.push_run(tmp_path, REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    with pytest.raises(DataError, match="that you may write: check the name, and your login"):
        hub.push_run(folder, REPO)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(ConfigError, match="nobody is logged in"):
        hub.push_run(folder, REPO)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'vae_jax\[hub\]'"):
        hub.push_run(folder, REPO)
    assert not list(tmp_path.iterdir())


def test_without_network_it_is_said(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    for act in lambda: hub.pull_run(REPO, tmp_path / "new"), lambda: hub.push_run(folder, REPO):
        with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
            act()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("pushed")
def test_the_script_and_one_that_follows(tmp_path):
    out = output_of("hub", "pull", REPO, f"--workdir={tmp_path / 'run'}")
    assert f"vae on digits, from {REPO} at " in out
    assert "neg_elbo_nats" in out
    flags = f"--workdir={tmp_path / 'run'}", "--num=4", f"--out={tmp_path / 'a.png'}"
    assert "4 pictures" in output_of("sample", *flags)
