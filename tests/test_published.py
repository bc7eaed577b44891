"""What leaves the machine: no host, no environment, no path."""

import pytest

from vae_jax.errors import ConfigError, DataError
from vae_jax.published import is_run_file, published_config, published_manifest, run_files

SECRET = {"XLA_FLAGS": "--xla_dump_to=/home/me", "JAX_ENABLE_X64": "1", "SLURM_JOB_USER": "me"}


def test_paths_of_the_machine_are_left_out_or_refused():
    manifest = {
        "command": ["/usr/bin/python", "/home/me/scripts/train.py", "--config", "/home/me/configs/a.py:variant=b"],
        "host": "secret",
        "environment": SECRET,
        "restarts": [{"step": 3, "changed": {"host": "secret", "code": {"version": "1"}, "environment": SECRET}}],
        "data": {"origin": "https://example.org/digits", "skipped": ["me.png: no picture"]},
    }
    manifest["command"] += ["--workdir=/home/me/run", "--config.seed=3", "--data_dir", "/home/me/data"]
    found = published_manifest(manifest)
    assert found["command"] == ["python", "scripts/train.py", "--config=configs/a.py:variant=b", "--config.seed=3"]
    assert (found["host"], found["environment"]) == (None, {"JAX_ENABLE_X64": "1"})
    restart = {"step": 3, "changed": {"code": {"version": "1"}, "environment": {"JAX_ENABLE_X64": "1"}}}
    assert found["restarts"] == [restart]
    restart["changed"]["code"]["origin"] = "/home/me"
    with pytest.raises(ConfigError, match=r"restarts\.changed\.code\.origin='/home/me' in manifest\.json is a path"):
        published_manifest(manifest | {"restarts": [restart]})
    assert found["data"] == {"origin": "https://example.org/digits", "skipped": ["1 files"]}
    assert published_manifest(manifest | {"command": ["python", "mine.py", "--token=1"]})["command"] == []
    for path in "/home/me/pets", "~/pets", "../pets":
        with pytest.raises(ConfigError, match=r"data\.dataset='.*' in config\.json is a path of this machine"):
            published_config({"data": {"dataset": path}})


FOREIGN = [
    *("../evil.txt", "/etc/evil", "checkpoints/../../evil", "pictures/../../evil.png", "pictures/a/b.png", "evil.py"),
    *("checkpoints/40/state/d/evil.pkl", "checkpoints/40/state/evil.npy", "pictures/evil.svg", "config.json/x"),
    *("checkpoints/40/state/d/\u0661", "config.json\n", "STOP", ".lock"),
]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_file_of_a_run(name):
    assert not is_run_file(name)


def test_files_of_a_folder_are_plain_ones(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_text("")
    (tmp_path / "config.json").write_text("")
    assert run_files(tmp_path) == ["config.json", "pictures/a.png"]
    (tmp_path / "results.json").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match=r"'results\.json' is no file of a run"):
        run_files(tmp_path)
