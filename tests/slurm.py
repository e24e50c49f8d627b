"""A real Slurm on two hosts of ``tests.cluster``: a controller, and a node daemon on each host."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster import NAMES, Cluster, end_all

DAEMONS = ("slurmctld", "slurmd", "srun", "salloc", "sbatch", "scontrol")
READY_SECONDS = 40
# ``ip netns exec`` mounts a new /sys without control groups, and slurmd looks for some.
CGROUPS = "mount -t tmpfs none /sys/fs/cgroup"
# Of one machine and one user: nobody has to be told from anybody else.
CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={first}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
# A requeued job waits for as long as its first credentials are valid, by default two minutes.
AuthInfo=cred_expire=5
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdParameters=config_overrides
# Otherwise a job that is queued again waits half a minute for the next look at the queue.
SchedulerParameters=sched_interval=2,bf_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_no_slurm() -> str:
    """Empty where Slurm's daemons and commands are installed."""
    paths = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    missing = [name for name in DAEMONS if shutil.which(name, path=paths) is None]
    return f"{', '.join(missing)} missing (slurmctld, slurmd, slurm-client)" if missing else ""


@contextmanager
def slurm(hosts: Cluster, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of commands that talk to a Slurm which runs for as long as the context."""
    (folder / "state").mkdir(parents=True)
    path = folder / "slurm.conf"
    nodes = "\n".join(f"NodeName={name} NodeAddr=10.200.0.{number} CPUs=1 State=UNKNOWN"
                      for number, name in enumerate(NAMES, 1))
    path.write_text(CONFIGURATION.format(first=NAMES[0], folder=folder, nodes=nodes))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    environment = hosts.environment() | {
        "SLURM_CONF": str(path), "PATH": f"{os.environ['PATH']}:/usr/sbin",
    }
    with ExitStack() as stack:
        log = stack.enter_context((folder / "daemons.log").open("wb"))
        daemons = [(0, "exec slurmctld -D"), *(
            (number, f"{CGROUPS}; mkdir {folder}/spool-{name}; exec slurmd -D -N {name}")
            for number, name in enumerate(NAMES)
        )]
        for number, line in daemons:
            command = [*hosts.prefixes[number], "sh", "-c", line]
            started = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(started.wait)
            stack.callback(end_all, hosts)
        _await_nodes(hosts, environment, folder)
        yield environment


def _await_nodes(hosts: Cluster, environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        told = subprocess.run([*hosts.prefixes[0], "sinfo", "-h", "-o", "%D %t"], env=environment,
                              capture_output=True, text=True)
        if told.stdout.strip() == f"{len(NAMES)} idle":
            return
        time.sleep(0.5)
    logs = "\n".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
    raise AssertionError(f"Slurm's nodes are not ready: {told.stdout}{told.stderr}\n{logs}")
