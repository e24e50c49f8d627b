"""Which cores belong together: threads of one physical core, cores beside a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suite.machine.gpus import Gpu
from suite.machine.probe import known

SYSTEM = Path("/sys")


def physical_cores(cores: Sequence[int], system: Path = SYSTEM) -> list[list[int]]:
    """Groups cores that are hardware threads of one physical core.

    Args:
        cores: The cores that may be used, in order.
        system: Where sysfs is mounted.

    Returns:
        A list of each physical core's threads; every core alone where the system does not tell.
    """
    groups: dict[str, list[int]] = {}
    for core in cores:
        groups.setdefault(_siblings(core, system), []).append(core)
    return list(groups.values())


def _siblings(core: int, system: Path) -> str:
    path = system / f"devices/system/cpu/cpu{core}/topology/thread_siblings_list"
    return known(lambda: path.read_text(encoding="ascii").strip(), str(core))


def physical_first(cores: Sequence[int], system: Path = SYSTEM) -> list[int]:
    """Orders threads: one of each physical core, then the second ones; neighbours share no core."""
    groups = physical_cores(cores, system)
    deepest = max(map(len, groups), default=0)
    return [group[depth] for depth in range(deepest) for group in groups if depth < len(group)]


def cores_beside(
    gpus: Sequence[Gpu], cores: Sequence[int], system: Path = SYSTEM
) -> list[list[int]]:
    """Deals whole physical cores to GPUs, each those of its own NUMA node.

    A rank whose cores are on another socket reaches its GPU, and pins its memory, through the link
    between the sockets. GPUs of one node get equal shares of its cores.

    Args:
        gpus: A GPU of each rank; ranks may share one.
        cores: The cores that may be used.
        system: Where sysfs is mounted.

    Returns:
        The cores of each rank. Where a GPU's node is unknown, or has none of ``cores``, all of them
        count as beside it; where a node has fewer physical cores than ranks they share them.
    """
    groups = physical_cores(cores, system)
    near = [_near(gpu, groups, system) for gpu in gpus]
    dealt = []
    for rank, mine in enumerate(near):
        place, ranks = near[:rank].count(mine), near.count(mine)
        share = len(mine) // ranks
        chosen = mine[place * share : (place + 1) * share] or [mine[place % len(mine)]]
        dealt.append(sorted(groups[number][thread] for number in chosen
                            for thread in range(len(groups[number]))))
    return dealt


def _near(gpu: Gpu, groups: Sequence[Sequence[int]], system: Path) -> list[int]:
    """Numbers of the physical cores on the GPU's node."""
    path = system / f"bus/pci/devices/{gpu.pci}/local_cpulist"
    local = known(lambda: cpu_list(path.read_text(encoding="ascii")), set[int]()) if gpu.pci else ()
    found = [number for number, group in enumerate(groups) if group[0] in local]
    return found or list(range(len(groups)))


def cpu_list(text: str) -> set[int]:
    """Reads a list of cores as the kernel writes it: ``0-3,8``."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def share_of_cores(cores: Sequence[int], rank: int, processes: int) -> list[int]:
    """Returns the cores of one rank: an equal share, or a single core if there are too few.

    Args:
        cores: The numbers of the cores of all ranks.
        rank: The number of the rank.
        processes: How many ranks there are.
    """
    share = len(cores) // processes
    return list(cores[rank * share : (rank + 1) * share]) or [cores[rank % len(cores)]]
