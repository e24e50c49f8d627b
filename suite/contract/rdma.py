"""RDMA ports of this host, as Linux shows them under /sys/class/infiniband.

The files are described in the kernel's Documentation/ABI/stable/sysfs-class-infiniband; RoCE and
iWARP cards, and the software devices rxe and siw, appear there as InfiniBand's do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEVICES = Path("/sys/class/infiniband")
# port_rcv_data and port_xmit_data count in units of four octets.
OCTETS = 4


@dataclass(frozen=True)
class Port:
    """A port of an RDMA device.

    Attributes:
        name: Device and port, such as ``mlx5_0/1``.
        state: Such as ``ACTIVE`` or ``DOWN``; empty if unknown.
        rate: Its speed in words, such as ``100 Gb/sec (4X EDR)``; empty if unknown.
        layer: ``InfiniBand`` or ``Ethernet``, which means RoCE or iWARP; empty if unknown.
        received_bytes: Bytes that it has received so far; None if it does not count.
        sent_bytes: Bytes that it has sent so far; None if it does not count.
    """

    name: str
    state: str
    rate: str
    layer: str
    received_bytes: int | None
    sent_bytes: int | None

    @property
    def active(self) -> bool:
        """Whether it carries data."""
        return self.state == "ACTIVE"


def ports(devices: Path = DEVICES) -> list[Port]:
    """Returns every port of every RDMA device; none where there is no such device.

    Args:
        devices: The kernel's folder of devices.
    """
    return list(_ports(devices)) if devices.is_dir() else []


def _ports(devices: Path) -> Iterator[Port]:
    for folder in sorted(devices.glob("*/ports/*")):
        counters = folder / "counters"
        yield Port(
            name=f"{folder.parents[1].name}/{folder.name}",
            state=_text(folder / "state").rpartition(":")[2].strip(),
            rate=_text(folder / "rate"), layer=_text(folder / "link_layer"),
            received_bytes=_bytes(counters / "port_rcv_data"),
            sent_bytes=_bytes(counters / "port_xmit_data"),
        )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # a port may vanish, and software devices lack some files
        return ""


def _bytes(path: Path) -> int | None:
    text = _text(path)
    return OCTETS * int(text) if text.isdecimal() else None
