"""What ``run`` and ``link`` need of a cluster: its hosts, and what launches on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from suite.config.model import ClusterConfig
from suite.contract.hosts import Host
from suite.launch.across import allocation
from suite.launch.across.engines import TORCHRUN, Started
from suite.launch.across.fleet import Fleet
from suite.launch.across.follower import serve_until_told
from suite.launch.group import Launcher
from suite.launch.nurseries import Nurseries
from suite.machine import devices

LOG = "cluster.log"


def joins_another(launcher: str) -> bool:
    """Whether this process is one of torchrun's that serve the harness on another host."""
    return launcher == TORCHRUN and Started.read().rank > 0


def follow() -> int:
    """Starts ranks for the harness on the first host until it ends; returns the exit code."""
    started = Started.read()
    serve_until_told(started.address, started.port)
    return 0


def hosts_of(config: ClusterConfig) -> tuple[Host, ...]:
    """The hosts of a run with the devices of each; empty for this machine alone.

    A host that says nothing of its devices is taken to have as many as this one: its GPUs, or its
    cores where it has none.

    Raises:
        UsageError: The engine or its hosts cannot be used.
    """
    slots = devices.gpu_count() or len(devices.allowed_cores())
    return allocation.hosts_of(config.launcher, config.hosts, slots)


@contextmanager
def launching(launcher: str, hosts: Sequence[Host], folder: Path) -> Iterator[Launcher]:
    """What starts the groups of a run: processes and forks here, or followers on the hosts."""
    if not hosts:
        here = Nurseries()
        try:
            yield here
        finally:
            here.renew()
        return
    fleet = Fleet(launcher, hosts, folder / LOG)
    try:
        yield fleet
    finally:
        fleet.close()
