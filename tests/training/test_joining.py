"""How processes find each other and agree: here as threads, each with an end of a real connection."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from vae_jax.errors import ConfigError
from vae_jax.training import joining
from vae_jax.training.hosts import ALONE, Hosts
from vae_jax.training.joining import Standing, standing


@pytest.fixture
def port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def join(port, *others, count=2):
    """Return what process 0 and the others, each (index, count, fingerprint), find or are told."""

    def outcome(call, *args):
        try:
            return call(*args)
        except ConfigError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(outcome, joining._listen, Standing("localhost", port, count, 0), "a")
        rest = []
        for index, of, fingerprint in others:
            rest.append(pool.submit(outcome, joining._connect, Standing("localhost", port, of, index), fingerprint))
            time.sleep(0.1)
        return first.result(), *(other.result() for other in rest)


def test_flags_go_together_and_are_checked():
    assert standing(None, None, None, {}) is None
    assert standing("node1:80", 1, 0, {}) is None
    assert standing("node1:80", 4, 3, {}) == Standing("node1", 80, 4, 3)
    assert standing("[::1]:80", 4, 0, {}).host == "::1"
    for flags, said in (
        (("node1:80", 2, None), "--process_id not given"),
        ((None, 2, None), "--coordinator and --process_id not given"),
        (("node1", 2, 0), "expected host:port"),
        (("node1:0", 2, 0), "expected host:port"),
        (("node1:80000", 2, 0), "expected host:port"),
        (("node1:80", 0, 0), "--num_processes=0 is not allowed"),
        (("node1:80", 2, 2), r"--process_id=2 is not allowed: expected 0\.\.1"),
        (("node1:80", 2, -1), "--process_id=-1"),
    ):
        with pytest.raises(ConfigError, match=said):
            standing(*flags, {})


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("node7", "node7"), ("gpu[03-05,9],x1", "gpu03"), ("a-1,b[1-2]", "a-1"), ("n[1,4]-ib", "n1-ib")],
)
def test_slurm_says_who_is_first(nodes, first):
    step = {"SLURM_STEP_NODELIST": nodes, "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2", "SLURM_JOB_ID": "70000001"}
    found = standing(None, None, None, step)
    assert found[0::2] == (first, 3)
    assert found.index == 2
    assert found.port == standing(None, None, None, step | {"SLURM_PROCID": "0"}).port
    assert standing("node1:80", 2, 1, step) == Standing("node1", 80, 2, 1)  # flags come first
    assert standing(None, None, None, step | {"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_all_meet_and_agree_whatever_else_connects(port):
    with ThreadPoolExecutor() as pool:
        met = pool.submit(join, port, (2, 3, "a"), count=3)
        while True:  # until process 0 listens
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("localhost", port)) as stranger:
                stranger.sendall(b"GET / HTTP/1.1\n")
                break
        third = joining._connect(Standing("localhost", port, 3, 1), "a")
        first, second = met.result()
        assert sorted(first) == [1, 2]
        hosts = [Hosts(3, 0, first), Hosts(3, 2, second), Hosts(3, 1, third)]
        for choose, expected in (sum, 30), (max, 20):
            calls = [pool.submit(each.agree, 10 * each.index, choose) for each in hosts]
            assert [call.result(5) for call in calls] == [expected] * 3
        stops = [("SIGTERM" if each.index == 2 else None, each.first) for each in hosts]
        calls = [pool.submit(each.stop, *stop) for each, stop in zip(hosts, stops, strict=True)]
        assert [call.result(5) for call in calls] == [("SIGTERM", True)] * 3
        calls = [pool.submit(each.check_same, "data", each.index // 2) for each in hosts]
        with pytest.raises(ConfigError, match="process 2 has other data than process 0: 1, not 0"):
            calls[0].result(5)
        for each in hosts:
            each._ending.acquire()  # or the threads of the two that wait would end this process with the first
        for peer in first.values():
            peer.shutdown(socket.SHUT_RDWR)
        for each in hosts[1:]:
            each._inbox[0].put(None)


def test_a_process_alone_agrees_with_itself():
    assert ALONE.agree([1, 2]) == [1, 2]
    assert ALONE.agree(3, max) == 3
    assert ALONE.stop("SIGINT", False) == ("SIGINT", False)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([(1, 3, "a")], "process 1 was started with --num_processes=3, process 0 with 2"),
        ([(1, 2, "b")], "process 1 has another config than process 0"),
    ],
)
def test_who_does_not_fit_is_told_on_both_sides(port, others, said):
    for told in join(port, *others):
        assert said in told


def test_a_number_is_taken_once_and_who_is_missing_is_named(port, monkeypatch):
    for told in join(port, (1, 3, "a"), (1, 3, "a"), count=3):
        assert "two processes have been started with --process_id=1" in told
    monkeypatch.setattr(joining, "JOIN_SECONDS", 2.0)
    first, other = join(port, (1, 4, "a"), count=4)
    assert "of 4 processes, 2, 3 did not come within 2 s" in first
    assert "of 4 processes, 2, 3 did not come within 2 s" in other


def test_a_coordinator_that_is_not_there_is_named(port, monkeypatch):
    monkeypatch.setattr(joining, "JOIN_SECONDS", 0.5)
    with pytest.raises(ConfigError, match=rf"--coordinator=localhost:{port} cannot be reached \(Connection refused\)"):
        joining._connect(Standing("localhost", port, 2, 1), "a")
    with pytest.raises(ConfigError, match=r"--coordinator=no\.such\.host:80 cannot be reached"):
        joining._connect(Standing("no.such.host", 80, 2, 1), "a")
    with (
        socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True),
        pytest.raises(ConfigError, match="cannot be listened at: Address already in use"),
    ):
        joining._listen(Standing("localhost", port, 2, 0), "a")


def test_a_silent_process_counts_as_gone(monkeypatch, capfd):
    ended = threading.Event()
    monkeypatch.setattr("vae_jax.training.hosts.SILENCE", 0.5)
    monkeypatch.setattr("vae_jax.training.hosts.os._exit", lambda code: ended.set() if code == 75 else None)
    ours, theirs = socket.socketpair()
    Hosts(2, 0, {1: ours})
    assert ended.wait(5)
    assert "process 1 of 2 has been silent for 0 s; start all of them again" in capfd.readouterr().err
    ours.close()
    theirs.close()
