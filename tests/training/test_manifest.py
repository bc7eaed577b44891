"""What a run notes down of the code that it is run with."""

import subprocess
import sys

from tests.variants import load
from vae_jax.training.manifest import _git, _packages, make_manifest, note_restart


def test_of_a_package_that_is_there_twice_the_one_that_is_imported_is_noted(tmp_path, monkeypatch):
    for folder, version in ("first", "1.0"), ("second", "2.0"):
        (tmp_path / folder / "twice-1.dist-info").mkdir(parents=True)
        (tmp_path / folder / "twice-1.dist-info" / "METADATA").write_text(f"Name: twice\nVersion: {version}\n")
    (tmp_path / "first" / "half_removed-1.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), *sys.path])
    found = _packages()
    assert found["twice"] == "1.0"
    assert found["jax"] and all(isinstance(name, str) for name in found)


def test_changes_of_code_are_noted_and_those_of_docs_are_not(tmp_path):
    def git(*words):
        who = "-c", "user.name=a", "-c", "user.email=a@b"
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert _git(tmp_path) == {"commit": None, "dirty": None, "diff_sha256": None}
    for folder in "docs", "package":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    clean = {"commit": git("rev-parse", "HEAD").strip(), "dirty": False, "diff_sha256": None}
    assert _git(tmp_path / "package") == clean
    (tmp_path / "docs" / "file").write_text("2")
    (tmp_path / "docs" / "new").touch()
    assert _git(tmp_path / "package") == clean
    (tmp_path / "package" / "file").write_bytes(b"\xe9 is no UTF-8")
    changed = _git(tmp_path / "package")
    assert changed["dirty"] and changed["diff_sha256"]
    git("checkout", "package")
    (tmp_path / "new").touch()
    assert _git(tmp_path / "package")["dirty"]


def test_what_has_changed_since_the_start_is_noted_at_a_restart(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--first")
    begun = make_manifest(load("digits.py"), {})
    assert note_restart(begun, 20)["restarts"][0]["changed"] == {}
    monkeypatch.setenv("XLA_FLAGS", "--second")
    (restart,) = note_restart(begun, 20)["restarts"]
    assert restart["step"] == 20 and restart["changed"].keys() == {"environment"}
    assert restart["changed"]["environment"]["XLA_FLAGS"] == "--second"
