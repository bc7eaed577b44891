"""Asked to stop: finish what is compiled, save, leave with a code of its own."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

from vae_jax.errors import Preempted


class StopRequest:
    """While entered, SIGTERM, SIGINT and SIGUSR1 are noted in `signal_name`; a second Ctrl-C interrupts at once.

    After `from_now_on_at_once`, when there is nothing left to save, any of them ends the run: it leaves as `Preempted`,
    but on its way it is a KeyboardInterrupt, which no `except Exception` of a library takes for its own.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._at_once, self._told = False, ""
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if kind is KeyboardInterrupt and self._at_once and self.signal_name is not None:
            raise Preempted(f"{self.signal_name}: {self._told}") from error

    def from_now_on_at_once(self, told: str = "training is saved; the same command finishes the run") -> None:
        """End the run for a signal noted already, and at the next one, and tell this."""
        self._at_once, self._told = True, told
        self._raise_if_noted()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.signal_name is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        if self._at_once:
            self._raise_if_noted()

    def _raise_if_noted(self) -> None:
        if self.signal_name is not None:
            raise KeyboardInterrupt
