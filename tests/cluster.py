"""Two hosts on one machine: network namespaces with host names and cores of their own.

A shaped veth joins them (``tests.shaped``). Open MPI reaches the second one through a script that
stands in for ssh, so that everything else is as it is between two machines.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from tests.shaped import HOSTS, ShapedLink, shaped_link, why_not

NAMES = ("host-a", "host-b")
# How far the steady clock of each host is ahead of the machine's, seconds.
AHEAD_SECONDS = (0, 1000)


@cache
def why_no_cluster() -> str:
    """Empty where two hosts can be made here and Open MPI is installed."""
    if shutil.which("mpirun") is None:
        return "mpirun is missing (openmpi-bin)"
    if why := why_not():
        return why
    made = subprocess.run(["unshare", "--uts", "--time", "--fork", "true"], capture_output=True)
    return "" if made.returncode == 0 else "no time namespaces here"


@dataclass(frozen=True)
class Cluster:
    """Two hosts; ``prefixes[i]`` starts a command on host ``i``."""

    link: ShapedLink
    prefixes: tuple[tuple[str, ...], ...]
    agent: Path

    def cut(self, off: bool) -> None:
        """Pulls the cable between the hosts, or plugs it in again."""
        space = self.link.prefixes[1][-1]
        subprocess.run(
            ["ip", "-n", space, "link", "set", self.link.interface, "down" if off else "up"],
            check=True,
        )

    def environment(self) -> dict[str, str]:
        """What Open MPI needs to start processes here: as root, and through the script."""
        return dict(os.environ) | {
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_plm_rsh_agent": str(self.agent),
        }


def processes_of(hosts: Cluster) -> list[int]:
    """The ids of all processes on the hosts."""
    spaces = [prefix[-1] for prefix in hosts.link.prefixes]
    told = [subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True)
            for space in spaces]
    return [int(pid) for one in told for pid in one.stdout.split()]


def phases(out: Path, place: str) -> list[str]:
    """The phases that ranks are in, by their files; a launch that begins removes older ones."""
    found = []
    for path in out.glob(place):
        with suppress(FileNotFoundError):
            found.append(path.read_text(encoding="utf-8"))
    return found


def end_all(hosts: Cluster) -> None:
    """Ends whatever runs on the hosts: daemons and their jobs outlive what started them, and
    ``unshare``, through which commands start there, passes no SIGTERM on.
    """
    processes = []
    for pid in processes_of(hosts):
        with suppress(psutil.Error):
            processes.append(psutil.Process(pid))
            processes[-1].kill()
    psutil.wait_procs(processes, timeout=10)


@contextmanager
def cluster(rate_mbit: int, folder: Path) -> Iterator[Cluster]:
    """Two hosts for as long as the context lasts; needs root.

    Args:
        rate_mbit: What their link lets through each way.
        folder: Where the script that stands in for ssh is written.
    """
    with shaped_link(rate_mbit) as link:
        prefixes = tuple(_on_host(link, number) for number in range(len(NAMES)))
        agent = folder / "agent.sh"
        agent.write_text(
            "#!/bin/sh\n# Called as ssh is: HOST COMMAND…\nhost=$1; shift\n"
            'case "$host" in\n'
            + "".join(f"{name}) exec {shlex.join(prefix)} sh -c \"$*\" ;;\n"
                      for name, prefix in zip(NAMES, prefixes, strict=True))
            + "esac\necho no host $host >&2; exit 1\n"
        )
        agent.chmod(agent.stat().st_mode | stat.S_IXUSR)
        yield Cluster(link, prefixes, agent)


def _on_host(link: ShapedLink, number: int) -> tuple[str, ...]:
    """In the namespace, with a host name, a core and a clock of its own."""
    space = link.prefixes[number][-1]
    lines = ["127.0.0.1 localhost", *(f"10.200.0.{n} {name}" for n, name in enumerate(NAMES, 1))]
    (HOSTS / space / "hosts").write_text("\n".join(lines) + "\n")
    cores = sorted(os.sched_getaffinity(0))
    named = f'hostname {NAMES[number]}; exec "$@"'
    return (*link.prefixes[number], "taskset", "-c", str(cores[number % len(cores)]),
            "unshare", "--uts", "--time", "--monotonic", str(AHEAD_SECONDS[number]), "--fork",
            "--kill-child", "sh", "-c", named, "sh")
