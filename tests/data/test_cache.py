"""Prepared sets come back to the byte; damage is found, attempts that fail leave nothing, two processes do it once."""

import errno
import json
import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest

from tests.refusals import files, flipped_anywhere
from vae_jax.data import cache
from vae_jax.data.cache import Place, Stored, blocks, cached, default_cache_dir
from vae_jax.data.dataset import Dataset, Split, array_sha256, sha256
from vae_jax.errors import DataError, OutputError, StorageError

RNG = np.random.default_rng(0)


def dataset(name="toy", **more):
    splits = {
        split: Split(
            RNG.integers(0, 256, (size, 5, 4, 3), np.uint8),
            RNG.integers(0, 3, size).astype(np.int32),
            RNG.integers(0, 2, (size, 2)).astype(np.int32),
        )
        for split, size in (("train", 50), ("validation", 7), ("test", 9))
    }
    return Dataset(name, splits, 255, 3, "made up", {"a": 2, "b": 2}, **more)


def same(found, made):
    return sha256(found) == sha256(made) and found._replace(splits=None) == made._replace(splits=None)


def fail(*_):
    raise AssertionError("it is prepared already")


def test_what_is_stored_comes_back_to_the_byte(place):
    made = dataset(skipped=("x.png: unreadable",))
    for found in cached(place, "toy", lambda: made), cached(place, "toy", fail):
        assert same(found, made)
        for split, content in made.splits.items():
            for a, b in zip(content, found.splits[split], strict=True):
                np.testing.assert_array_equal(a, b[:])
                assert a.dtype == b.dtype


def test_a_set_without_labels_and_factors_stays_without(place):
    made = dataset()
    bare = made._replace(splits={name: Split(split.images) for name, split in made.splits.items()}, num_classes=0)
    assert cached(place, "bare", lambda: bare).splits["test"][1:] == (None, None)


def test_stored_pictures_are_read_by_index_and_travel_as_a_path(place):
    made = dataset()
    stored = cached(place, "toy", lambda: made).splits["train"].images
    stored[3]  # opens the file
    assert len(pickle.dumps(stored)) < 1000
    again = pickle.loads(pickle.dumps(stored))
    for images in stored, again:
        assert isinstance(images, Stored) and len(images) == 50 and images.shape == (50, 5, 4, 3)
        np.testing.assert_array_equal(images[np.array([4, 0, 4])], made.splits["train"].images[[4, 0, 4]])
        assert images.sha256 == array_sha256(made.splits["train"].images)


def test_blocks_are_all_there_in_order(monkeypatch):
    monkeypatch.setattr(cache, "_BLOCK", 60 * 7)
    images = dataset().splits["train"].images
    parts = list(blocks(images))
    assert [len(part) for part in parts] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(parts), images)
    assert [len(part) for part in blocks(np.zeros((3, 1000)))] == [1, 1, 1]


def test_no_flipped_bit_and_no_truncation_is_read(place):
    made = dataset()
    cached(place, "toy", lambda: made)
    folder = place.cache_dir / "data" / "toy"
    for path in sorted(folder.iterdir()):
        sound = path.read_bytes()
        for _ in range(12):
            path.write_bytes(flipped_anywhere(sound, RNG))
            assert same(cached(place, "toy", lambda: made), made)
        for content in b"", sound[:-1], sound[: len(sound) // 2]:
            path.write_bytes(content)
            assert same(cached(place, "toy", lambda: made), made)
        path.unlink()
        assert same(cached(place, "toy", lambda: made), made)
    assert any("is damaged" in line for line in place.said)


class Lazy:
    """Pictures of which some cannot be read, or whose reading does something first."""

    shape, dtype = (200, 64, 64, 3), np.dtype(np.uint8)

    def __init__(self, before=print):
        self.before = before

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        self.before(index.start)
        return np.zeros((len(range(200)[index]), 64, 64, 3), np.uint8)


def of(images):
    return Dataset("lazy", dict.fromkeys(("train", "validation", "test"), Split(images)), 255, 0, "")


@pytest.mark.parametrize(
    "error, kind, told",
    [
        (DataError("x.png cannot be read"), DataError, r"x\.png"),
        (OSError(errno.ENOSPC, "No space left"), StorageError, r"writing .*toy\.part failed: No space left"),
    ],
)
def test_a_picture_that_cannot_be_read_and_a_disk_that_fills_up_leave_nothing(place, monkeypatch, error, kind, told):
    monkeypatch.setattr(cache, "_BLOCK", 1e6)

    def fail_late(start):
        if start > 100:
            raise error

    with pytest.raises(kind, match=told):
        cached(place, "toy", lambda: of(Lazy(fail_late)))
    assert not files(place.cache_dir) and not (place.cache_dir / "data" / "toy.part").exists()


def test_a_set_that_cannot_fit_is_refused_before_it_is_decoded(place):
    class Huge(Lazy):
        shape = (10**9, 1024, 1024, 3)

    with pytest.raises(StorageError, match=r"takes 9437184000 MB decoded, and .* MB left; set VAE_JAX_CACHE_DIR"):
        cached(place, "toy", lambda: of(Huge(fail)))


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="set VAE_JAX_CACHE_DIR to another"):
        cached(Place(None, tmp_path / "file", print), "toy", dataset)


def prepare(cache_dir, log, kill_at, results):
    """Prepare a set in a process of its own; note each block; die at one of them, if asked to."""
    cache._BLOCK = 1e6

    def note(start):
        with open(log, "a") as file:
            file.write(f"{start}\n")
        time.sleep(0.02)
        if start and start >= kill_at:
            os.kill(os.getpid(), 9)

    results.put(sha256(cached(Place(None, cache_dir, print), "toy", lambda: of(Lazy(note)))))


@pytest.fixture
def start():
    """Start a process that runs `prepare`."""
    context = multiprocessing.get_context("spawn")
    results, running = context.Queue(), []

    def start(cache_dir, log, kill_at=10**9):
        running.append(context.Process(target=prepare, args=(cache_dir, log, kill_at, results)))
        running[-1].start()
        return running[-1], results

    yield start
    for process in running:
        process.kill()
        process.join()
        process.close()
    results.close()


def test_two_processes_at_once_prepare_it_once(place, tmp_path, start):
    (one, results), (two, _) = (start(place.cache_dir, tmp_path / "log") for _ in range(2))
    assert results.get(timeout=60) == results.get(timeout=60)
    one.join()
    two.join()
    assert (tmp_path / "log").read_text().split().count("0") == 3  # the first block of three splits, once each


def test_after_kill_9_it_is_prepared_anew(place, tmp_path, start):
    process, _ = start(place.cache_dir, tmp_path / "log", kill_at=100)
    process.join()
    assert process.exitcode == -9
    assert (place.cache_dir / "data" / "toy.part").exists()
    found = cached(place, "toy", lambda: of(np.ones((5, 2, 2, 1), np.uint8)))
    assert found.sizes["train"] == 5
    assert not (place.cache_dir / "data" / "toy.part").exists()


def test_meta_is_plain_json(place):
    cached(place, "toy", dataset)
    written = json.loads((place.cache_dir / "data" / "toy" / "meta.json").read_text())
    assert written["meta"]["splits"]["train"].keys() == {"images", "labels", "factors"}


def test_a_cache_that_cannot_be_looked_at_and_a_user_without_a_home_are_one_line(place, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as changed:
        changed.setattr(cache.pathlib.Path, "is_file", refuse)
        with pytest.raises(OutputError, match=r"cannot be written \(Permission denied\); set VAE_JAX_CACHE_DIR"):
            cached(place, "key", lambda: None)
    for name in "VAE_JAX_CACHE_DIR", "XDG_CACHE_HOME":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cache.pathlib.Path, "expanduser", lambda _: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(OutputError, match=r"there is no cache folder \(no home\); set VAE_JAX_CACHE_DIR"):
        default_cache_dir()


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("VAE_JAX_CACHE_DIR", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("VAE_JAX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "vae_jax"
