"""Which hosts a run may use: those that the user names, or those that the scheduler gave."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence

from suite.config.hosts import parse_hosts
from suite.contract.errors import UsageError
from suite.contract.hosts import Host
from suite.launch.across.channel import join_key
from suite.launch.across.engines import (
    LOCAL,
    RAY,
    SLURM,
    TORCHRUN,
    Started,
    check_installed,
    on_ray,
)

SCONTROL_SECONDS, RAY_SECONDS = 20.0, 60.0


def hosts_of(
    launcher: str, given: Sequence[str], slots: int, environment: Mapping[str, str] = os.environ
) -> tuple[Host, ...]:
    """Returns the hosts of a run with their devices; empty for a run on this machine alone.

    Args:
        launcher: Name of the engine.
        given: Hosts that the user names, or a host file.
        slots: Devices of a host that says nothing of them: as many as this host has.
        environment: Where a scheduler says what it gave.

    Raises:
        UsageError: The engine or its hosts cannot be used.
    """
    if launcher == LOCAL:
        if given:
            raise UsageError("--hosts", ",".join(given), "an engine that starts processes there",
                             "add --launcher mpirun, slurm, horovodrun, ray or torchrun")
        return ()
    check_installed(launcher)
    if launcher == TORCHRUN:
        join_key(environment)  # without it the other hosts would wait in vain
    if given:
        return parse_hosts(given, slots)
    if launcher == TORCHRUN:
        return (Host("", slots),) * Started.read(environment).count
    if launcher == SLURM:
        return tuple(Host(name, slots) for name in _allocated(environment))
    if launcher == RAY:
        return tuple(Host(address, slots) for address in _nodes_of_ray())
    expected = f"the hosts that {launcher} is to use"
    raise UsageError("--hosts", "", expected, "name them: node1,node2")


def _allocated(environment: Mapping[str, str]) -> list[str]:
    """Returns the names of the nodes of Slurm's allocation, in Slurm's order."""
    nodes = environment.get("SLURM_JOB_NODELIST", "")
    if not nodes:
        raise UsageError("--launcher", SLURM, "a Slurm job around the command",
                         "run it inside salloc or sbatch, or name --hosts")
    try:
        told = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True,
            timeout=SCONTROL_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError("--launcher", SLURM, f"the names of the nodes {nodes}",
                         f"see whether scontrol works here ({error})") from error
    return told.stdout.split()


def _nodes_of_ray() -> list[str]:
    """Returns the addresses of the nodes of this host's Ray cluster, its own first."""
    try:
        told = subprocess.run(
            [*on_ray(), "nodes"], capture_output=True, text=True, timeout=RAY_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _no_ray(str(error)) from error
    if told.returncode:
        raise _no_ray((told.stderr.strip().splitlines() or [f"code {told.returncode}"])[-1])
    return [str(address) for address in json.loads(told.stdout.splitlines()[-1])]


def _no_ray(reason: str) -> UsageError:
    return UsageError(
        "--launcher", RAY, "a Ray cluster that this host is a node of",
        f"ray start --head on one host, ray start --address HOST:6379 on the others ({reason})",
    )
