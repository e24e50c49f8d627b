"""How an engine of a cluster is told to start a follower on every host.

The suite starts nothing on another host itself. Open MPI, Slurm and Horovod's launcher reach hosts
as their site has set them up; under torchrun and under Kubernetes' operators the processes are
there already, one a host, and each finds its own place in its environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from suite.contract.errors import UsageError
from suite.contract.hosts import Host
from suite.launch.across.channel import KEY

LOCAL, TORCHRUN, RAY, SLURM = "local", "torchrun", "ray", "slurm"
# The port at which torchrun's other processes find the harness, unless SUITE_JOIN_PORT names one.
PORT, DEFAULT_PORT = "SUITE_JOIN_PORT", 29777


def mpirun(hosts: Sequence[Host], follower: Sequence[str]) -> list[str]:
    """Returns Open MPI's command: one process a host, not bound to cores, with the key."""
    names = ",".join(f"{host.name}:1" for host in hosts)
    return ["mpirun", "--host", names, "--map-by", "ppr:1:node", "--bind-to", "none",
            "-x", KEY, "-x", "PATH", *follower]


def horovodrun(hosts: Sequence[Host], follower: Sequence[str]) -> list[str]:
    """Returns the command of Horovod's launcher, which uses ssh and passes variables on."""
    names = ",".join(f"{host.name}:1" for host in hosts)
    return ["horovodrun", "--gloo", "-np", str(len(hosts)), "-H", names, *follower]


def srun(hosts: Sequence[Host], follower: Sequence[str]) -> list[str]:
    """Returns Slurm's command: a step with one task a node, inside the job's allocation."""
    count = str(len(hosts))
    named = ["--nodelist", ",".join(host.name for host in hosts)] if hosts[0].name else []
    return ["srun", "--nodes", count, "--ntasks", count, "--ntasks-per-node", "1", *named,
            "--cpu-bind=none", "--kill-on-bad-exit=1", "--export=ALL", "--overlap", *follower]


def ray(hosts: Sequence[Host], follower: Sequence[str]) -> list[str]:
    """Returns Ray's command: a task a node, in a placement group that is spread strictly."""
    named = ",".join(f"{host.name}:{host.devices}" for host in hosts)
    return [*on_ray(), "start", named, *follower]


def on_ray() -> list[str]:
    """Returns the command that speaks to Ray, with this interpreter or that of ``ray`` in PATH.

    So the suite and Ray may have an environment each. The interpreter lies beside ``ray``.
    """
    script = str(Path(__file__).with_name("on_ray.py"))
    program = shutil.which("ray")
    if find_spec("ray") or not program:
        return [sys.executable, script]
    return [str(Path(program).absolute().parent / "python"), script]


@dataclass(frozen=True)
class Engine:
    """An engine: its program, and the command line that starts followers."""

    program: str
    command: Callable[[Sequence[Host], Sequence[str]], list[str]]


ENGINES: Mapping[str, Engine] = {
    "mpirun": Engine("mpirun", mpirun),
    SLURM: Engine("srun", srun),
    "horovodrun": Engine("horovodrun", horovodrun),
    RAY: Engine("ray", ray),
}
LAUNCHERS = (LOCAL, *ENGINES, TORCHRUN)


def check_installed(launcher: str) -> None:
    """Raises :class:`UsageError` where the engine's program is not on this host."""
    engine = ENGINES.get(launcher)
    if engine is None or shutil.which(engine.program) or (launcher == RAY and find_spec("ray")):
        return
    if launcher == RAY:
        raise UsageError("--launcher", RAY, "the package ray in this environment, or ray in PATH",
                         "pip install 'training-split-suite[ray]', the release of the cluster")
    raise UsageError("--launcher", launcher, f"{engine.program} in PATH",
                     "install it, or pick another launcher")


def address_toward(host: str) -> str:
    """Returns this host's address on the way to another one; nothing is sent.

    Raises:
        UsageError: The name does not resolve, or no route leads there.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
    except OSError as error:
        raise UsageError("--hosts", host, "a host that this one can reach",
                         f"correct its name or the route ({error})") from error


@dataclass(frozen=True)
class Started:
    """The place that torchrun or an operator of Kubernetes gave to this process."""

    rank: int
    count: int
    address: str
    port: int

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Started:
        """Reads the group from the variables that torchrun sets.

        Raises:
            UsageError: They are not there, so nobody has started this process as one of several.
        """
        try:
            return cls(
                int(environment["RANK"]), int(environment["WORLD_SIZE"]),
                environment["MASTER_ADDR"], int(environment.get(PORT, DEFAULT_PORT)),
            )
        except (KeyError, ValueError) as error:
            raise UsageError(
                "--launcher", TORCHRUN, "RANK, WORLD_SIZE and MASTER_ADDR in the environment "
                f"({type(error).__name__}: {error})",
                "start it as torchrun --nproc-per-node 1 … -m suite run …",
            ) from error
