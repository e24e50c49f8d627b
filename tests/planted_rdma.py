"""A planted /sys/class/infiniband and a planted NCCL log, in the forms of kernel and library."""

from __future__ import annotations

from pathlib import Path


def plant_port(
    devices: Path, name: str = "mlx5_0", number: int = 1, state: str = "4: ACTIVE",
    rate: str = "100 Gb/sec (4X EDR)", layer: str = "InfiniBand", received: int = 0, sent: int = 0,
) -> None:
    """Writes the files of a port; counters are in units of four octets, as the kernel's are."""
    folder = devices / name / "ports" / str(number)
    (folder / "counters").mkdir(parents=True, exist_ok=True)
    for file, text in (("state", state), ("rate", rate), ("link_layer", layer),
                       ("counters/port_rcv_data", received), ("counters/port_xmit_data", sent)):
        (folder / file).write_text(f"{text}\n", encoding="ascii")


PREFIX = "node1:4711:4713 [0] NCCL INFO "
GRAPH = PREFIX + ("Pattern 4, crossNic 0, nChannels 2, bw 20.000000/20.000000, type {}/PIX, "
                  "sameChannels 1\n")
INFINIBAND = PREFIX + "NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/IB [RO]; OOB eth0:10.0.0.1<0>\n"
ROCE = PREFIX + "NET/IB : Using [0]mlx5_0:1/RoCE [RO]; OOB eth0:10.0.0.1<0>\n"
SOCKET = PREFIX + "NET/Socket : Using [0]eth0:10.0.0.1<0>\n"


def line(connection: str, send: str = "") -> str:
    """A line of a channel between two ranks."""
    return f"{PREFIX}Channel 00/0 : 0[0] -> 1[1]{send} via {connection}\n"
