"""What NCCL is told of its network, and what it says of the transports that it picked.

At the level INFO of its subsystems INIT and GRAPH, NCCL writes a line for each connection that it
makes, and nothing afterwards: a step costs no more than without. The lines go to a file of the
launch (``NCCL_DEBUG_FILE``). Their forms are those of NCCL (src/transport/p2p.cc,
shm.cc, net.cc, coll_net.cc, net_ib, and ``ncclTopoPrintGraph`` in src/graph/search.cc).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from suite.contract.case import RDMA, TCP, Case

# Variables by which a user asks NCCL for messages; if one is set, NCCL writes as the user asked.
LISTENED = ("NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS")
# What makes NCCL use sockets, or InfiniBand's verbs and nothing else, between hosts.
NETWORKS: Mapping[str, Mapping[str, str]] = {
    TCP: {"NCCL_NET": "Socket", "NCCL_IB_DISABLE": "1"},
    RDMA: {"NCCL_NET": "IB", "NCCL_IB_DISABLE": "0"},
}
CONNECTION = re.compile(r" via ((?:P2P|SHM|NET|COLLNET)/.*\S)")
PATHS = re.compile(r"Pattern \d+, .*\btype ([A-Z0-9]+)/")
PORTS = re.compile(r"NET/IB : Using(.*)")
PORT = re.compile(r"\[\d+\]([^\s/]+/\w+)")
# A network's name and number, as in IB/0(3)/GDRDMA(PCI)/Shared; names of plugins may have spaces.
NETWORK = re.compile(r"(NET|COLLNET)/([^/]+)/\d+(?:\(\d+\))?(/GDRDMA)?")
NVLINKS, LOCAL_PATHS = {"NVL", "NVB"}, {"LOC", "DIS"}
LAYERS = {"RoCE": "RoCE", "IB": "InfiniBand"}


def variables(
    case: Case, folder: Path, outer: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Returns the variables of a launch in which NCCL connects GPUs; none for other launches.

    Args:
        case: The case.
        folder: Folder of the launch's files on this host.
        outer: Variables of the user.
    """
    if case.device != "cuda" or case.devices < 2:
        return {}
    forced = dict(NETWORKS.get(case.transport, {}))
    if any(name in outer for name in LISTENED):
        return forced
    return forced | {
        "NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,GRAPH",
        "NCCL_DEBUG_FILE": str(folder.resolve() / "nccl.%h.%p.log"),
    }


def heard(folder: Path, process: int) -> list[str]:
    """Reads what NCCL has said so far in a process; empty if it was not asked or said nothing.

    Args:
        folder: Folder of the launch's files.
        process: Id of the process.
    """
    texts = [path.read_text(encoding="utf-8", errors="replace")
             for path in folder.glob(f"nccl.*.{process}.log")]
    return words("\n".join(texts))


def words(log: str) -> list[str]:
    """Returns each kind of connection once, such as ``P2P/CUMEM`` or ``NET/IB/GDRDMA``.

    With them stand the kind of path between GPUs (``path NVL``) and the ports of network cards
    (``port mlx5_0:1/RoCE``), without which a connection's kind is not known.

    Args:
        log: What NCCL has written.
    """
    found: dict[str, None] = {}
    for line in log.splitlines():
        if connection := CONNECTION.search(line):
            found[_kind(connection[1])] = None
        elif path := PATHS.search(line):
            found[f"path {path[1]}"] = None
        elif ports := PORTS.search(line):
            found |= {f"port {port}": None for port in PORT.findall(ports[1])}
    return sorted(found)


def _kind(connection: str) -> str:
    if network := NETWORK.match(connection):
        return f"{network[1]}/{network[2]}{network[3] or ''}"
    return "/".join(connection.split(" ")[0].split("/")[:2])


def transports(said: Sequence[str]) -> list[str]:
    """Names the transports in words of the field: NVLink, PCIe, shared memory, TCP, RoCE, …

    Args:
        said: What ``words`` returned.
    """
    return list(dict.fromkeys(name for one in said if (name := _named(one, said))))


def _named(word: str, said: Sequence[str]) -> str:
    kind, _, rest = word.partition("/")
    if kind == "P2P":
        return "NVLink between hosts" if rest == "MNNVL" else _peers(said)
    if kind == "SHM":
        return "shared memory"
    if kind == "COLLNET":
        return f"{rest.partition('/')[0]} (reduced in the network)"
    if kind != "NET":
        return ""
    network, _, direct = rest.partition("/")
    name = {"Socket": "TCP", "IB": _layer(said)}.get(network, network)
    return f"{name} with GPUDirect" if direct else name


def _peers(said: Sequence[str]) -> str:
    """What lies between GPUs that reach each other's memory, as far as NCCL's search says."""
    paths = {one.removeprefix("path ") for one in said if one.startswith("path ")} - LOCAL_PATHS
    if not paths:
        return "peer to peer"
    return "NVLink" if paths <= NVLINKS else "C2C" if paths == {"C2C"} else "PCIe peer to peer"


def _layer(said: Sequence[str]) -> str:
    layers = {one.rpartition("/")[2] for one in said if one.startswith("port ")}
    names = {LAYERS.get(layer, "RDMA") for layer in layers}
    return names.pop() if len(names) == 1 else "RDMA"


def network(said: Sequence[str]) -> str:
    """Returns ``tcp`` or ``rdma`` as NCCL's network between hosts; empty if it used none or both.

    A plugin other than NCCL's own is neither: only its vendor knows what it does.
    """
    found = {one.split("/")[1] for one in said if one.startswith("NET/")}
    return {"Socket": TCP, "IB": RDMA}.get(found.pop(), "") if len(found) == 1 else ""
