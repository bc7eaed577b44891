"""Several processes, on one host or many, that train one model together: what they agree on, and how they end.

A link of plain sockets joins them. It carries decisions, each taken by process 0 for all, and tells a process that
another is gone: as soon as the kernel does, or after a silence where a host has lost its power or its network. JAX
alone would wait longer and then abort the process from C++.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from vae_jax.errors import ConfigError, Preempted, complain

MOMENT = 1.0  # seconds in which the news of a cause overtake its consequences
SILENCE = 45.0  # seconds without a word after which a process counts as gone

_broken = False


class Hosts:
    """This process, `index`, among `count` of them; process 0 decides and writes."""

    def __init__(self, count: int = 1, index: int = 0, peers: Mapping[int, socket.socket] | None = None):
        """Take the sockets to the others by their numbers: all of them for process 0, for another that to 0."""
        self.count, self.index, self.first = count, index, index == 0
        self._peers = dict(peers or {})
        self._inbox = {peer: queue.SimpleQueue() for peer in self._peers}
        self._sending, self._ending = threading.Lock(), threading.Lock()
        self._watches = [threading.Thread(target=self._watch, args=(peer,), daemon=True) for peer in self._peers]
        for thread in [*self._watches, threading.Thread(target=self._ping, daemon=True)] if peers else ():
            thread.start()

    def agree(self, value: Any = None, choose: Callable[[list], Any] = lambda values: values[0]) -> Any:
        """Return choose(values of all by number), as process 0 computes it. All have to call this, in one order.

        Values are what JSON can hold. Without `choose` all have the word of process 0, however long it takes.
        """
        if not self.first:
            self._send(0, value=value)
            return self._inbox[0].get()
        chosen = choose([value, *(self._inbox[peer].get() for peer in sorted(self._peers))])
        for peer in self._peers:
            self._send(peer, value=chosen)
        return chosen

    def check_same(self, what: str, value: Any) -> None:
        """Compare a value with those of the others.

        Raises:
            ConfigError: one has another value.
        """

        def compare(values: list) -> None:
            for index, other in enumerate(values):
                if other != values[0]:
                    raise ConfigError(f"process {index} has other {what} than process 0: {other}, not {values[0]}")

        self.agree(value, compare)

    def stop(self, signal_name: str | None, due: bool) -> tuple[str | None, bool]:
        """Return the signal that has reached any process, if one has, and whether process 0 finds a save due."""

        def choose(values: list) -> list:
            return [next((name for name, _ in values if name), None), values[0][1]]

        return tuple(self.agree([signal_name, due], choose))

    def leave(self, error: BaseException | None = None) -> None:
        """Tell the others that this process ends, and with which error: that ends them too, with its exit code."""
        global _broken
        if error is None:
            self._tell(0, "")
            return
        _broken = True
        self._ending.acquire()  # for good: this error is what this process reports
        code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        self._tell(code, f"process {self.index} of {self.count} ended: {error or type(error).__name__}")

    def _tell(self, code: int, text: str, wait: float = MOMENT / 2) -> None:
        """Tell all of an end; process 0 outlives the others, for JAX aborts whoever loses it."""
        for peer in self._peers:
            self._send(peer, end=code, text=text, wait=wait)
        deadline = time.monotonic() + 10 * MOMENT
        for watch in self._watches if self.first and code else ():
            if watch is not threading.current_thread():
                watch.join(max(deadline - time.monotonic(), 0))

    def _send(self, peer: int, **message: Any) -> None:
        with self._sending, contextlib.suppress(OSError):  # who is gone is the watch's business
            self._peers[peer].sendall(json.dumps(message).encode() + b"\n")

    def _ping(self) -> None:
        while True:
            time.sleep(SILENCE / 5)
            for peer in self._peers:
                self._send(peer)

    def _watch(self, peer: int) -> None:
        told, problem = False, "is gone"
        self._peers[peer].settimeout(SILENCE)
        try:
            for line in self._peers[peer].makefile():
                message = json.loads(line)
                if "value" in message:
                    self._inbox[peer].put(message["value"])
                told |= "end" in message
                if message.get("end"):
                    time.sleep(message["wait"])  # where all came upon the same error, each reports it by itself
                    self._end(message["end"], message["text"])
        except TimeoutError:
            problem = f"has been silent for {SILENCE:.0f} s"
        except (OSError, ValueError):  # of a connection that is reset, perhaps within a line
            pass
        if not told:
            text = f"process {peer} of {self.count} {problem}; start all of them again: the run resumes"
            self._end(Preempted.exit_code, f"{text} from its newest checkpoint", wait=0)

    def _end(self, code: int, text: str, wait: float = MOMENT / 2) -> None:
        """End this process, whose main thread may wait for ever, unless it reports an error already."""
        if self._ending.acquire(blocking=False):
            complain(f"error: {text}")
            self._tell(code, text, wait)
            os._exit(code)


ALONE = Hosts()


def end_process(code: int, at_once: bool = False) -> NoReturn:
    """Exit; after an error among several processes without JAX's shutdown, which waits for all of them.

    `at_once`: without what any library wants to do at the exit.
    """
    if _broken or at_once:
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
