"""How many bytes this host's network interfaces and RDMA ports have received."""

from __future__ import annotations

from pathlib import Path

from suite.contract.rdma import DEVICES, ports

# A line for each interface of this network namespace (proc(5)).
INTERFACES = Path("/proc/net/dev")


def received_bytes(interfaces: Path = INTERFACES, devices: Path = DEVICES) -> dict[str, int]:
    """Returns what each interface and each RDMA port has received so far, in bytes.

    An RDMA card's own traffic passes the network interface of the same card by, so both are read.

    Args:
        interfaces: The kernel's table of network interfaces.
        devices: The kernel's folder of RDMA devices.
    """
    found = {port.name: port.received_bytes for port in ports(devices)}
    known = {name: count for name, count in found.items() if count is not None}
    return _interfaces(interfaces) | known


def _interfaces(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()[2:]
    except OSError:
        return {}
    return {name.strip(): int(counts.split()[0])
            for name, _, counts in (line.partition(":") for line in lines) if counts.split()}


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Returns what was received in between, of those that received anything."""
    return {name: count - before[name] for name, count in after.items()
            if name in before and count > before[name]}
