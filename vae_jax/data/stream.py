"""Training batches of a set that is too large for the devices, read ahead by threads or processes.

Which examples a step sees is known beforehand (data/order.py), so all that is left to grain is to read pieces of steps
ahead of their use and to hand them over in order.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Any

import numpy as np

from vae_jax.data.order import Order, Piece

_PIECE = 16e6  # bytes, at most, unless one batch has more
_THREADS = 4  # each reads a piece
_AHEAD = 2  # pieces that wait in each process


class Pieces:
    """A sequence whose item i is what the steps i * length .. (i + 1) * length - 1 train on: {name: [length, B, ...]}.

    It can be pickled if `read` can, and then a process that gets a copy of it reads the same.
    """

    def __init__(self, read: Callable[[np.ndarray, np.ndarray], dict[str, np.ndarray]], order: Order, length: int):
        """Take `read(index [N], epoch [N]) -> {name: [N, ...]}`, the order of examples, and the steps in a piece."""
        self.read, self.order, self.length = read, order, length

    def __len__(self) -> int:
        """Return the number of pieces of a run without end: grain does not let go of what it reads last."""
        return 2**31 // self.length

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        """Read a piece."""
        steps = i * self.length, (i + 1) * self.length
        index = self.order.rows(*steps)
        read = self.read(index.ravel(), np.repeat(self.order.epochs(*steps), index.shape[1]))
        return {name: rows.reshape(*index.shape, *rows.shape[1:]) for name, rows in read.items()}


def piece_length(batch_bytes: int, most: int) -> int:
    """Return the number of steps in a piece: 16 MB of them, but at least 1 and at most `most`."""
    return max(1, min(most, int(_PIECE // batch_bytes)))


class Stream:
    """Pieces in order, each read before it is asked for. The threads and processes that do it end with `close`."""

    def __init__(self, pieces: Pieces, put: Callable[[Any], Any], workers: int = 0):
        """Take the pieces, what places one on the devices, and the number of processes; 0 for threads."""
        self._pieces, self._put, self._workers = pieces, put, workers
        self._iterator: Any = None
        self._held: tuple[int, Any] = (-1, None)  # the piece that was asked for last, with its number

    def __call__(self, start: int, stop: int) -> Iterator[Piece]:
        """Yield the pieces with the steps start..stop-1."""
        length = self._pieces.length
        for number in range(start // length, (stop - 1) // length + 1):
            first = number * length
            yield self._piece(number), max(start - first, 0), min(stop - first, length)

    def close(self) -> None:
        """End the threads and processes. The stream can still be read: it starts them anew."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator, self._held = None, (-1, None)

    def _piece(self, number: int) -> Any:
        held, piece = self._held
        if number == held:
            return piece
        starts = self._iterator is None or number != held + 1
        if starts:
            self.close()
            self._iterator = _read_ahead(self._pieces, number, self._workers)
        # Workers inherit what is held: a request to stop is for this process, which needs them to finish its chunk.
        with _signals_held() if starts and self._workers else contextlib.nullcontext():
            rows = next(self._iterator)
        if self._workers:  # then rows are in shared memory; what of it is in use at exit is reported as leaked
            rows = {name: np.array(values) for name, values in rows.items()}
        self._held = number, self._put(rows)
        return self._held[1]


def _read_ahead(pieces: Pieces, first: int, workers: int) -> Any:
    """Return an iterator over the pieces from number `first` on, which has to be closed."""
    import grain  # 1.2 s, which runs in memory need not pay
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain reads its options there; our command lines have none of them
        flags.FLAGS.mark_as_parsed()
    grain.config.update("py_traceback_filtering", "off")  # errors come as they are, without notes of grain's
    source = grain.MapDataset.source(pieces)[first:]
    if not workers:
        return iter(source.to_iter_dataset(grain.ReadOptions(_THREADS, prefetch_buffer_size=_THREADS + _AHEAD)))
    alone = source.to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    return iter(alone.mp_prefetch(grain.MultiprocessingOptions(workers, _AHEAD), worker_init_fn=_end_with_parent))


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    resource_tracker.ensure_running()  # to start it later would let the signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(worker: int, workers: int) -> None:
    """End this process when the one that started it is gone, even if it was killed; grain's would read on."""
    del worker, workers

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
