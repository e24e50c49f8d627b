"""The hosts that a launch spans, and which rank is on which of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from suite.contract.adapter import LaunchPlan
from suite.contract.case import Case


@dataclass(frozen=True)
class Host:
    """One host's part in a launch.

    Attributes:
        name: What the cluster's engine calls it.
        devices: How many of the case's devices are on it; each has a rank of its own.
        address: IP address at which the other hosts reach it.
        interface: Network interface that has this address.
        ports: TCP ports that were free there just before the launch.
    """

    name: str
    devices: int
    address: str = ""
    interface: str = ""
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a rank is: the number of its host, and its own number on that host."""

    host: int
    local: int


def places(hosts: Sequence[Host]) -> list[Place]:
    """Places every rank; the ranks of a host follow each other, as with every launcher."""
    return [
        Place(number, local) for number, host in enumerate(hosts) for local in range(host.devices)
    ]


def dealt(devices: int, slots: Sequence[int]) -> list[int]:
    """Says how many devices of each host take part, as evenly as the hosts' slots allow.

    Args:
        devices: Devices of the case.
        slots: Devices of each host that takes part.

    Returns:
        Devices by host; a remainder goes to the first hosts.

    Raises:
        ValueError: There are fewer slots than devices.
    """
    if sum(slots) < devices:
        raise ValueError(f"{devices} devices do not fit into {sum(slots)} slots")
    shares = [0] * len(slots)
    for _ in range(devices):
        free = [number for number, share in enumerate(shares) if share < slots[number]]
        shares[min(free, key=lambda number: (shares[number], number))] += 1
    return shares


def hosts_needed(devices: int, slots: Sequence[int]) -> int:
    """Counts how many of the first hosts are needed for that many devices.

    Raises:
        ValueError: All of them together do not.
    """
    room = 0
    for number, slot in enumerate(slots, 1):
        room += slot
        if room >= devices:
            return number
    raise ValueError(f"{devices} devices do not fit into {room} slots")


def crowding(devices: int, hosts: int, slots: Sequence[int]) -> int:
    """Returns the most devices of a case on one host; on a single host it is all of them."""
    return max(dealt(devices, slots[:hosts])) if hosts > 1 else devices


def spans(case: Case, host_of_rank: Sequence[object]) -> dict[str, set[int]]:
    """On how many hosts the groups of a case's ranks lie, by the axis of its mesh.

    A pipeline's groups are pairs: neighbouring stages, and the first with the last, which may share
    a parameter. Groups of one axis may lie on different numbers of hosts: of four stages on two
    hosts, some hops stay inside a host and others leave it.

    Args:
        case: The case.
        host_of_rank: Something that names the host of each rank.
    """
    return {axis: {len({host_of_rank[rank] for rank in group}) for group in _groups(case, axis)}
            for axis in case.axes.names}


def _groups(case: Case, axis: str) -> Iterator[Sequence[int]]:
    for group in case.axes.groups(axis):
        if axis == "inter_layer":
            yield from zip(group, [*group[1:], group[0]], strict=True)
        else:
            yield group


@runtime_checkable
class SpansHosts(Protocol):
    """A manifest that can also start a case on several hosts; it is optional for adapters."""

    def launch_plan_on(
        self, case: Case, folder: Path, python: str, hosts: Sequence[Host]
    ) -> LaunchPlan:
        """Processes and environment of a launch over hosts.

        Every host asks for the plan and starts its own ranks of it; the first host starts the
        helper. ``folder`` and ``python`` are those of the host that asks.

        Args:
            case: The case.
            folder: The launch's files on this host.
            python: Interpreter of the workers.
            hosts: The hosts that take part, in the order of the ranks.

        Raises:
            UsageError: The host that asks cannot take part; the text says what is wrong there.
        """
