"""What the tests share. Four simulated devices, set before JAX starts, serve the tests of device counts."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiling takes most of the time of the tests; so it takes half as long. For the rest see `environment_of_users`.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"

import fcntl
import functools
import hashlib
import itertools
import pathlib
import random
import shutil
import tempfile

import jax
import numpy as np
import pytest

from vae_jax.data.cache import Place

# Compile each program in one piece, since both cores are busy; without AVX, which is quicker, and no bit depends on the
# AVX that a processor has; and emit kernels in the quicker way. JAX 0.11 ends at a flag that it lacks.
QUICK = "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_max_isa=SSE4_2 --xla_cpu_use_fusion_emitters=false"
QUICK = QUICK if jax.__version_info__ < (0, 11) else ""
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=4 {QUICK} {os.environ.get('XLA_FLAGS', '')}"
jax.devices()  # all four are there from now on; processes that tests start have one, as a user has
os.environ["XLA_FLAGS"] = QUICK
ROOT = pathlib.Path(__file__).parent.parent


def environment_of_users() -> dict[str, str]:
    """Return the environment for processes that are compiled as users have it, for tests of the bits that they get."""
    ours = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "XLA_FLAGS")
    return {name: value for name, value in os.environ.items() if name not in ours}


def pytest_addoption(parser):
    """Add --faults and --order."""
    text = "which faults to inject: a few, or all, which also writes docs/faults.jsonl and docs/faults.md"
    parser.addoption("--faults", choices=("short", "full"), default="short", help=text)
    parser.addoption("--order", type=int, metavar="SEED", help="shuffle the files, and the tests of each file")


def pytest_configure(config):
    """Set the caches. The test processes keep compiled programs in .pytest_cache between sessions.

    The processes that tests start use a cache of the session: when one is killed, it leaves a truncated entry there.
    """
    config.addinivalue_line("markers", "long: run by `make test-all` only, see docs/testing.md")
    kept = ROOT / ".pytest_cache" / "xla"
    if not hasattr(config, "workerinput"):
        os.environ["VAE_JAX_CACHE_DIR"] = tempfile.mkdtemp(prefix="vae_jax-tests-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(os.environ["VAE_JAX_CACHE_DIR"], "xla")
        _limit_size(kept, jax.__version__)
    jax.config.update("jax_compilation_cache_dir", str(kept / jax.__version__))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    from tests.faults.record import Record

    config.pluginmanager.register(Record(config))


def _limit_size(folder, version, megabytes=1000):
    """Delete the compiled programs of other versions of JAX, and the oldest ones beyond a total size."""
    files = [(path.parent.name != version, -path.stat().st_mtime, path) for path in folder.glob("*/*")]
    total = 0
    for other, _, path in sorted(files):
        total += path.stat().st_size
        if other or total > megabytes * 1e6:
            path.unlink(missing_ok=True)


LONGEST = ("test_notebook.py", "test_slurm.py", "test_hosts.py", "test_members.py", "test_member_keep.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Keep the tests of a file in one process, because they share fixtures, unless they are in a group.

    The longest files come first, and last the file whose tests are in many groups: otherwise one process works alone at
    the end.
    """
    items.sort(key=lambda item: (item.path.name == "test_conformance.py", item.path.name not in LONGEST))
    if (seed := config.getoption("order")) is not None:
        rng = random.Random(seed)
        places = {path: rng.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: (places[item.path], rng.random()))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


def pytest_unconfigure(config):
    """Remove it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["VAE_JAX_CACHE_DIR"], ignore_errors=True)


_MAPS, _TESTS = pathlib.Path("/proc/self/maps"), itertools.count(1)


@pytest.fixture(autouse=True)
def room_for_programs():
    """Drop all compiled programs when they fill the table of mapped memory: Linux ends a process at 65530 entries.

    Reading the table takes up to 0.1 s, so not after every test.
    """
    yield
    if next(_TESTS) % 50 == 0 and _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


def _process_state():
    """Return what of this process decides what other tests see: the environment and JAX's settings."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(("JAX", "XLA", "VAE_JAX"))}
    names = (
        "disable_most_optimizations",
        "enable_x64",
        "compilation_cache_dir",
        "persistent_cache_min_compile_time_secs",
    )
    return environment, {name: jax.config.values[f"jax_{name}"] for name in names}


@pytest.fixture(scope="module", autouse=True)
def unchanged_process():
    """Check that a file leaves the process as it found it, so that no test depends on which ran before it."""
    before = _process_state()
    yield
    assert _process_state() == before


@pytest.fixture(autouse=True)
def fresh_numbers(request):
    """Reset the `RNG` of the module, so that what a test draws depends on no other test."""
    rng = getattr(request.module, "RNG", np.random.default_rng(0))
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state
    yield
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state  # for fixtures of the module


@pytest.fixture(scope="session", autouse=True)
def one_device():
    """Train on one device, as most users do: programs for four take twice as long. See `all_devices`."""
    from vae_jax.training import mesh

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_jax.parts.place", lambda: mesh.place(1))
        yield


@pytest.fixture
def all_devices(monkeypatch):
    """Train on all four devices."""
    from vae_jax.training import mesh

    monkeypatch.setattr("vae_jax.parts.place", mesh.place)


@pytest.fixture(scope="module")
def optimised():
    """Compile with the optimisations that users have; the tests do without them, see the head of this file."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """The folder with the original data files; a test that needs it is skipped where there is none."""
    folder = os.environ.get("VAE_JAX_DATA_DIR")
    if not folder or not pathlib.Path(folder).is_dir():
        pytest.skip("needs the original data files: set VAE_JAX_DATA_DIR")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """Return (key, make) -> a copy of the folder that make(path) fills, which is called once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "shared"
    shared.mkdir(exist_ok=True)

    def folder(key, make):
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        with open(shared / f"{name}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not lock.tell():  # else it has been made
                make(shared / name)
                lock.write("made")
        return pathlib.Path(shutil.copytree(shared / name, tmp_path_factory.mktemp("copy") / name))

    return folder


@pytest.fixture(scope="session")
def saved_run(made_once):
    """Return (config spec, data_dir, **overrides) -> the folder of a finished run, which may be written to.

    Overrides are written a__b=value for a.b. By default the likelihood is estimated from 5 importance samples.
    """
    from tests.variants import load
    from vae_jax import run

    @functools.cache
    def folder(spec, data_dir=None, evaluate__num_importance_samples=5, **overrides):
        overrides |= {"evaluate__num_importance_samples": evaluate__num_importance_samples}
        key = repr((spec, data_dir, sorted(overrides.items())))
        return made_once(key, lambda path: run.train(load(spec, **overrides), path, data_dir))

    return folder


@pytest.fixture
def place(tmp_path) -> Place:
    """An empty place: a data folder, a cache folder, and a list that keeps what is said, as `place.said`."""
    (tmp_path / "data").mkdir()
    return RecordingPlace(tmp_path / "data", tmp_path / "cache", [].append)


@pytest.fixture(scope="session")
def real_place(data_dir) -> Place:
    """The original files, and the cache of the session."""
    return Place(data_dir, pathlib.Path(os.environ["VAE_JAX_CACHE_DIR"]), print)


class RecordingPlace(Place):
    """A place that remembers what it was told."""

    @property
    def said(self) -> list[str]:
        """All lines so far."""
        return self.say.__self__
