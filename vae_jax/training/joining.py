"""How processes that train together find each other, before JAX is imported: process 0 listens, the others connect.

So who does not come, and who comes with another config, is told in one line; JAX aborts the process in such a case.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vae_jax.errors import ConfigError
from vae_jax.training.folder import open_folder
from vae_jax.training.hosts import ALONE, MOMENT, Hosts

JOIN_SECONDS = 120.0  # for everyone to come


class Standing(NamedTuple):
    """Where this process stands among those that train together."""

    host: str  # of process 0
    port: int
    count: int
    index: int

    @property
    def flag(self) -> str:
        """How process 0 is reached, as a flag."""
        return f"--coordinator={self.host}:{self.port}"


def standing(
    coordinator: str | None, num_processes: int | None, process_id: int | None, environ: Mapping[str, str]
) -> Standing | None:
    """Return what the flags say, else what `srun` says in the environment; None for a process alone.

    Raises:
        ConfigError: some flags are given and others are not, or a value is impossible.
    """
    given = {"--coordinator": coordinator, "--num_processes": num_processes, "--process_id": process_id}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return _of_slurm(environ)
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not given: {', '.join(given)} go together, or srun sets them all")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"--coordinator={coordinator} is not allowed: expected host:port, such as node1:9876")
    if num_processes < 1:
        raise ConfigError(f"--num_processes={num_processes} is not allowed: expected 1 or more")
    if not 0 <= process_id < num_processes:
        raise ConfigError(f"--process_id={process_id} is not allowed: expected 0..{num_processes - 1}")
    return Standing(host.strip("[]"), int(port), num_processes, process_id) if num_processes > 1 else None


@contextlib.contextmanager
def joined(place: Standing | None, fingerprint: str) -> Iterator[Hosts]:
    """Join the others, start JAX on all, and at the end let them know how this process ended.

    Only process 0 prints to standard output.

    Raises:
        ConfigError: not everyone has come with this `fingerprint` of the config, or JAX cannot start.
    """
    if place is None:
        yield ALONE
        return
    hosts = Hosts(place.count, place.index, (_connect if place.index else _listen)(place, fingerprint))
    if not hosts.first:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what C++ prints too
    try:
        _start_jax(place, hosts)
        yield hosts
    except BaseException as error:
        time.sleep(MOMENT)  # a process that is gone shows in many ways: let the link say so first
        hosts.leave(error)
        raise
    hosts.leave()


@contextlib.contextmanager
def open_shared(hosts: Hosts, path: pathlib.Path, config: Mapping[str, Any]) -> Iterator[pathlib.Path]:
    """Open the run folder in process 0, which holds it for all; see `open_folder`.

    Raises:
        ConfigError: another process does not see it.
    """
    if hosts.first:
        with open_folder(path, config) as folder:
            hosts.agree(str(folder))
            yield folder
        return
    folder = pathlib.Path(hosts.agree())
    for _ in range(50):  # a file system on a network takes a while to show what is new
        if (folder / "config.json").exists():
            yield folder
            return
        time.sleep(0.2)
    raise ConfigError(f"process {hosts.index} does not see {folder}: the run folder must be on storage that all share")


def _of_slurm(environ: Mapping[str, str]) -> Standing | None:
    count, nodes = int(environ.get("SLURM_STEP_NUM_TASKS") or 1), environ.get("SLURM_STEP_NODELIST")
    if count < 2 or not nodes:
        return None
    first = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\])?([^,\[]*)", nodes)  # of gpu[03-05,9],x1
    port = 61440 + (int(environ["SLURM_JOB_ID"]) + int(environ.get("SLURM_STEP_ID") or 0)) % 4096
    return Standing("".join(part or "" for part in first.groups()), port, count, int(environ["SLURM_PROCID"]))


def _start_jax(place: Standing, hosts: Hosts) -> None:
    with socket.create_server(("", 0)) as free:
        port = hosts.agree(free.getsockname()[1])
    import jax

    address = f"[{place.host}]:{port}" if ":" in place.host else f"{place.host}:{port}"
    try:
        jax.distributed.initialize(address, place.count, place.index)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"JAX cannot join {place.count} processes at {address}: {error}") from error


def _listen(place: Standing, fingerprint: str) -> dict[int, socket.socket]:
    """Return the sockets to all others, by number, when all have come."""
    peers: dict[int, socket.socket] = {}
    deadline = time.monotonic() + JOIN_SECONDS
    try:
        with _server(place) as server:
            while len(peers) < place.count - 1:
                server.settimeout(max(deadline - time.monotonic(), 0.01))
                _welcome(server.accept()[0], peers, place, fingerprint)
    except TimeoutError as error:
        missing = ", ".join(str(index) for index in range(1, place.count) if index not in peers)
        problem = f"of {place.count} processes, {missing} did not come within {JOIN_SECONDS:.0f} s"
        raise _dismiss(peers, f"{problem}; start each of them with {place.flag}, or all by srun") from error
    _send(peers, {})
    return peers


def _server(place: Standing) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", place.port), family=family, backlog=place.count, dualstack_ipv6=both)
    except OSError as error:
        raise ConfigError(f"{place.flag} cannot be listened at: {error.strerror or error}; try another port") from error


def _welcome(peer: socket.socket, peers: dict[int, socket.socket], place: Standing, fingerprint: str) -> None:
    """Add a process to `peers`, if it is one that is waited for; whoever else connects is ignored."""
    try:
        hello = _receive(peer)
        index, count, theirs = (hello[name] for name in ("index", "count", "fingerprint"))
    except (OSError, ValueError, KeyError, TypeError):
        peer.close()
        return
    others = {**peers, index: peer}
    if count != place.count:
        raise _dismiss(
            others, f"process {index} was started with --num_processes={count}, process 0 with {place.count}"
        )
    if index in (0, *peers):
        raise _dismiss({**peers, -1: peer}, f"two processes have been started with --process_id={index}")
    if theirs != fingerprint:
        raise _dismiss(others, f"process {index} has another config than process 0, or another version of vae_jax")
    peers[index] = peer


def _connect(place: Standing, fingerprint: str) -> dict[int, socket.socket]:
    """Return the socket to process 0, when all have come."""
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            peer = socket.create_connection((place.host, place.port), timeout=5)
            break
        except OSError as error:
            if time.monotonic() > deadline or getattr(error, "errno", None) == socket.EAI_NONAME:
                raise ConfigError(
                    f"{place.flag} cannot be reached ({error.strerror or error}): process 0 must have been started "
                    "there, with the same flag"
                ) from error
        time.sleep(0.2)
    _send({0: peer}, {"index": place.index, "count": place.count, "fingerprint": fingerprint})
    try:
        answer = _receive(peer, JOIN_SECONDS + 10)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{place.flag} does not answer as process 0 of such a run: {error}") from error
    if "refused" in answer:
        raise ConfigError(answer["refused"])
    return {0: peer}


def _dismiss(peers: Mapping[int, socket.socket], problem: str) -> ConfigError:
    """Send those away who have come, and return what to raise."""
    _send(peers, {"refused": problem})
    return ConfigError(problem)


def _send(peers: Mapping[int, socket.socket], message: Any) -> None:
    for peer in peers.values():
        with contextlib.suppress(OSError):
            peer.sendall(json.dumps(message).encode() + b"\n")


def _receive(peer: socket.socket, seconds: float = 10.0) -> Any:
    """Return the next line: byte by byte, so that nothing of what follows is taken."""
    peer.settimeout(seconds)
    line = b""
    while not line.endswith(b"\n"):
        byte = peer.recv(1)
        if not byte or len(line) > 1000:
            raise ValueError("the connection was closed")
        line += byte
    peer.settimeout(None)
    return json.loads(line)
