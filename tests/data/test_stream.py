"""A streamed split gives the batches that it gives in memory, to the bit, and nothing is left of its reading ahead."""

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import tracemalloc

import jax
import numpy as np
import pytest

from tests.processes import python, wait_until
from tests.variants import load
from vae_jax.data import feed as feed_module
from vae_jax.data.feed import gather, make_feed, make_spec
from vae_jax.data.load import load_dataset
from vae_jax.data.order import Order, batch_indices, evenly_spaced, index_pieces, steps_per_epoch
from vae_jax.data.stream import Pieces, Stream, piece_length
from vae_jax.errors import DataError
from vae_jax.parts import put_together
from vae_jax.training.mesh import place
from vae_jax.types import TrainState

BATCH, EPOCHS, LENGTH = 64, 3, 7
SETTINGS = {
    "data__pixels": "dynamic",
    "data__corruption__name": "masking",
    "data__corruption__probability": 0.25,
    "train__batch_size": BATCH,
    "train__epochs": EPOCHS,
    "train__steps_per_call": LENGTH,
}


class Lazy:
    """Pictures that are made when asked for; it notes what was, and some cannot be read."""

    def __init__(self, images, bad=()):
        self.images, self.bad, self.asked = images, set(bad), []
        self.shape, self.dtype, self.sha256 = images.shape, images.dtype, "0" * 64

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        index = np.arange(len(self))[index]
        self.asked.append(index)
        for i in index:
            if int(i) in self.bad:
                raise DataError(f"picture-{i}.png cannot be read")
        return self.images[index]


class Drawn:
    """A million pictures of 100 kB that nobody has in memory."""

    shape, dtype, sha256 = (10**6, 100, 1000, 1), np.dtype(np.uint8), "0" * 64

    def __getitem__(self, index):
        return np.repeat(index.astype(np.uint8), 10**5).reshape(-1, 100, 1000, 1)


def digits(**settings):
    config = load("digits.py:variant=vae", **SETTINGS | settings)
    return config, load_dataset(config, None)


def make_lazy(dataset, **settings):
    """Return the data set with its training pictures lazy, and these."""
    train = dataset.splits["train"]
    lazy = Lazy(np.asarray(train.images), **settings)
    return dataset._replace(splits=dataset.splits | {"train": train._replace(images=lazy)}), lazy


def stream_of(read, size=1297, workers=0, share=(0, 1), put=lambda rows: rows, length=LENGTH, batch=BATCH):
    return Stream(Pieces(read, Order(0, size, batch, share), length), put, workers)


def batches(feed, pieces, start, stop):
    """Return every batch of the steps start..stop-1, made inside a compiled function."""
    per_epoch = steps_per_epoch(feed.size, BATCH)
    make = jax.jit(lambda arrays, row, epoch: feed.batch(arrays, row, epoch))
    made, step = [], start
    for rows, begin, end in pieces(start, stop):
        for i in range(begin, end):
            row = jax.tree.map(lambda values, i=i: values[i], rows)
            made.append(jax.tree.map(np.asarray, make(feed.arrays, row, step // per_epoch)))
            step += 1
    assert step == stop
    return made


def threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("grain")}


@pytest.fixture(autouse=True)
def threads_of_before_have_ended():
    assert wait_until(lambda: not threads())


@pytest.mark.parametrize(
    "workers, lazy", [(0, False), (0, True), *(pytest.param(2, lazy, marks=pytest.mark.long) for lazy in (False, True))]
)
def test_batches_are_those_in_memory_to_the_bit(workers, lazy):
    config, dataset = digits()
    put = place().put_steps
    resident = make_feed(config.data, dataset, "train", place().put)
    expected = batches(resident, index_pieces(Order(0, 1297, BATCH), LENGTH, put), 0, 60)
    streamed = make_feed({**config.data, "memory_mb": 0}, make_lazy(dataset)[0] if lazy else dataset, "train")
    stream = stream_of(streamed.row, workers=workers, put=put)
    assert not resident.streamed and streamed.streamed
    try:
        for start, stop in ((0, 1), (1, 25), (25, 60), (17, 43), (59, 60)):
            made = batches(streamed, stream, start, stop)
            for one, other in zip(made, expected[start:stop], strict=True):
                assert one.keys() == other.keys() == {"image", "input", "label", "index"}
                for name in one:
                    assert one[name].dtype == other[name].dtype
                    np.testing.assert_array_equal(one[name], other[name])
    finally:
        stream.close()
    assert len({batch["image"].tobytes() for batch in expected}) == 60


@pytest.mark.parametrize("megabytes, streamed", [(0.0, True), (0.115, True), (0.116, False), (1024.0, False)])
def test_memory_mb_decides_what_is_streamed(megabytes, streamed):
    config, dataset = digits(data__memory_mb=megabytes)  # 1797 pictures of 64 bytes
    feeds = [make_feed(config.data, dataset, split) for split in dataset.splits]
    assert [feed.streamed for feed in feeds] == [streamed] * 3


def test_workers_are_processes_and_end_with_the_program():
    for workers in (0, 2):
        config, dataset = digits(data__memory_mb=0.0, data__workers=workers)
        parts = put_together(config, dataset)
        parts.program.chunk(TrainState(**parts.start()["state"]), 0, 5)
        assert wait_until(lambda workers=workers: len(multiprocessing.active_children()) == workers)
        assert threads()
        parts.program.close()
        assert wait_until(lambda: not threads() and not multiprocessing.active_children())


@pytest.mark.long
def test_a_run_in_memory_does_not_import_grain():
    python(
        "import sys; from tests.data.test_stream import *; config, dataset = digits(); parts = put_together(config, "
        "dataset); parts.program.chunk(TrainState(**parts.start()['state']), 0, 5); assert 'grain' not in sys.modules"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_picture_that_cannot_be_read_is_the_same_error_here(workers):
    dataset, _ = make_lazy(digits()[1], bad=range(600, 605))
    feed = make_feed({**digits()[0].data, "memory_mb": 0}, dataset, "train")
    stream = stream_of(feed.row, workers=workers)
    with pytest.raises(DataError, match=r"^picture-60\d\.png cannot be read$") as raised:
        list(stream(0, 20))
    assert type(raised.value) is DataError
    stream.close()
    assert wait_until(lambda: not threads() and not multiprocessing.active_children())


def test_shares_are_disjoint_and_each_process_reads_its_own():
    _, dataset = digits()
    shared, asked = [], []
    for process in range(4):
        lazy = Lazy(np.asarray(dataset.splits["train"].images))
        read = functools.partial(gather, {"image": lazy, "label": dataset.splits["train"].labels})
        stream = stream_of(read, share=(process, 4))
        rows = [rows["index"][begin:end] for rows, begin, end in stream(0, 20)]
        stream.close()
        shared.append(np.concatenate(rows))
        asked.append(set(np.concatenate(lazy.asked).tolist()))
        ahead = Order(0, 1297, BATCH, (process, 4)).rows(0, 20 + 15 * LENGTH)
        assert set(shared[-1].ravel().tolist()) <= asked[-1] <= set(ahead.ravel().tolist())
    np.testing.assert_array_equal(np.concatenate(shared, axis=1), batch_indices(0, 0, 20, 1297, BATCH))
    assert len({int(i) for rows in shared for i in rows.ravel()}) == 20 * BATCH


def test_rows_of_a_share_become_one_array_over_the_devices():
    rows = {"image": np.arange(3 * 8 * 2).reshape(3, 8, 2), "index": np.arange(24).reshape(3, 8)}
    placed = place().put_steps(rows)
    assert len(placed["image"].sharding.device_set) == 4
    jax.tree.map(np.testing.assert_array_equal, placed, rows)


def test_a_piece_is_of_16_megabytes_but_at_least_a_step_and_at_most_a_call():
    assert piece_length(128 * 64 * 64 * 3, 200) == 10
    assert piece_length(128 * 784, 100) == 100
    assert piece_length(10**8, 200) == 1


def test_memory_stays_flat():
    read = functools.partial(gather, {"image": Drawn(), "label": np.zeros(10**6, np.int32)})
    piece = 2 * 20 * 10**5  # bytes
    stream, peaks = stream_of(read, size=20 * 200, batch=20, length=2), []
    tracemalloc.start()
    try:
        for epoch in range(EPOCHS):
            tracemalloc.reset_peak()
            for rows, _, _ in stream(epoch * 200, (epoch + 1) * 200):
                assert rows["image"].nbytes == piece
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
        stream.close()
    assert max(peaks) < 16 * piece < 200 * piece  # those read ahead, those being read, and the one in use
    assert peaks[2] < peaks[0] + 2 * piece


def test_workers_do_not_outlive_a_process_that_was_killed(root):
    code = (
        "import multiprocessing, time; from tests.data.test_stream import *; feed = make_feed("
        "{**digits()[0].data, 'memory_mb': 0}, digits()[1], 'train'); stream = stream_of(feed.row, workers=2); "
        "list(stream(0, 15)); "
        "print(*[child.pid for child in multiprocessing.active_children()], flush=True); time.sleep(100)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}  # to be killed leaves warnings
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, **pipes) as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        process.send_signal(signal.SIGKILL)
    assert len(workers) == 2
    assert wait_until(lambda: not any(map(is_running, workers)))


def is_running(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_mean_of_lazy_pictures_is_that_of_evenly_spaced_ones(monkeypatch):
    _, dataset = digits()
    train = dataset.splits["train"].images
    lazy, source = make_lazy(dataset)
    np.testing.assert_allclose(make_spec(lazy, "unit").mean, make_spec(dataset, "unit").mean, rtol=1e-6)
    assert sum(map(len, source.asked)) == len(train)
    monkeypatch.setattr(feed_module, "_MEAN_OF", 500 * 64)
    few, source = make_lazy(dataset)
    asked = evenly_spaced(len(train), 500)
    np.testing.assert_allclose(make_spec(few, "unit").mean, train[asked].mean(0) / dataset.levels, rtol=1e-6)
    np.testing.assert_array_equal(np.concatenate(source.asked), asked)
    assert len(asked) == 500 and set(np.diff(asked)) == {2, 3}
