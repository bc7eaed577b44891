"""Nothing that is read can carry code or choose where it is written: held by the source, and by hostile archives."""

import ast
import io
import tarfile
import zipfile

import numpy as np
import pytest

from tests.conftest import ROOT
from vae_jax.data.formats import read_cifar, read_dsprites, read_omniglot
from vae_jax.errors import DataError

MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "runpy"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "exec_module", "import_module"),
    *("extractall", "extract", "unpack_archive", "Unzip", "Untar", "read_pickle"),
}
ALLOWED = {
    ("vae_jax/config_file.py", "exec_module"),  # a config file is code, and the user's own
    # Modules of vae_jax, by names that are looked up among its files.
    *((f"vae_jax/{file}.py", "import_module") for file in ("build", "data/catalog", "reporting/tracking")),
    ("vae_jax/benchmark/settings.py", "import_module"),
}


def findings(source):
    """Yield the names of the constructs that can run what they read, or write where an archive says."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            yield from (module for module in modules if module.split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            owner, name = getattr(node.func, "value", None), getattr(node.func, "attr", getattr(node.func, "id", ""))
            # `x.eval()`, `x.compile()` are methods, of a network or a jitted function
            if name in CALLS and not (owner is not None and name in ("eval", "compile")):
                yield name
            if name == "load" and getattr(owner, "id", "") == "torch":
                yield "torch.load"
            for keyword in node.keywords:
                if (
                    keyword.arg in ("allow_pickle", "trust_remote_code")
                    and getattr(keyword.value, "value", 1) is not False
                ):
                    yield keyword.arg


def test_nothing_unpickles_or_runs_what_it_reads():
    files = [*(ROOT / "vae_jax").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]
    found = {(file.relative_to(ROOT).as_posix(), name) for file in files for name in findings(file.read_text())}
    assert found <= ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "from joblib import load", "import dill as d", "eval(text)", "exec(text)"),
        *("np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=flag)", "torch.load(path)"),
        *("archive.extractall(folder)", "importlib.import_module(name)", "load_dataset(n, trust_remote_code=True)"),
    ],
)
def test_what_is_forbidden_would_be_found(line):
    assert list(findings(f"def function():\n    {line}"))


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was run')",)


@pytest.mark.parametrize("name", ["../evil.bin", "/tmp/vae_jax-evil.bin", "a/../../evil.bin"])
def test_archives_write_nothing(name, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    with tarfile.open(inside / "a.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        member = tarfile.TarInfo(name)
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    with zipfile.ZipFile(inside / "a.zip", "w") as archive:
        archive.writestr(name.replace(".bin", ".txt"), "abc")
    np.savez(inside / "a.npz", imgs=np.array([Bomb()], object), latents_classes=np.zeros((1, 6)))
    with pytest.raises(DataError, match="holds no data_batch_1"):
        read_cifar(inside / "a.tar.gz")
    with pytest.raises(DataError, match="holds no pictures"):
        read_omniglot([inside / "a.zip"], 28)
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        read_dsprites(inside / "a.npz", {"x": 1})
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.npz", "a.tar.gz", "a.zip", "inside"]
