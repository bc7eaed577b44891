"""Requests to stop: who notes them, and how a run that is at once ended says so."""

import os
import signal

import pytest

from vae_jax.errors import Preempted
from vae_jax.training.stop import StopRequest


def ask(number):
    os.kill(os.getpid(), number)


def test_one_that_is_noted_ends_what_has_nothing_to_save():
    with pytest.raises(Preempted, match=r"^SIGTERM: all is saved$"), StopRequest() as stopping:
        ask(signal.SIGTERM)
        assert stopping.signal_name == "SIGTERM"
        stopping.from_now_on_at_once("all is saved")


def test_a_second_ctrl_c_within_another_request_is_an_interruption():
    with pytest.raises(KeyboardInterrupt), StopRequest() as outer:
        outer.from_now_on_at_once("all is saved")
        with StopRequest() as training:
            ask(signal.SIGINT)
            assert training.signal_name == "SIGINT"
            ask(signal.SIGINT)
