"""Checks what a run needs of this machine, with a fix for each problem; frameworks not included."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.contract import rdma
from suite.machine import devices, gpus, limits, software
from suite.machine.probe import Unknown, run_tool

OK, WARNING, PROBLEM = "ok", "warning", "problem"
GIB = 2**30
BUSY_SHARE, LITTLE_MEMORY, LITTLE_DISK = 0.3, 2 * GIB, GIB
LITTLE_SHARED_MEMORY = GIB // 2
FREE_SHARE = 0.9  # of a GPU's memory, of which driver and display take a little
# Distributions of CUDA's runtime, the newest first, and the driver branch that each release needs
# ("CUDA Toolkit Release Notes", minor version compatibility).
CUDA_WHEELS = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime-cu11")
LEAST_DRIVERS = {11: 450, 12: 525, 13: 580}
CPUS = Path("/sys/devices/system/cpu")
VERBS = Path("/dev/infiniband")
# Link layer of an RDMA port -> what its users call it.
LAYERS = {"Ethernet": "RoCE or iWARP"}


@dataclass(frozen=True)
class Check:
    """The result of one check: ``state`` is ok, warning or problem.

    ``fix`` is empty if all is well.
    """

    name: str
    state: str
    found: str
    fix: str = ""


def machine_checks(out: Path) -> Iterator[Check]:
    """Yields the results of all checks in the order of the table.

    A check that breaks down is reported as unknown.

    Args:
        out: The folder of run folders, for the check of the disk.
    """
    for name, check in CHECKS.items():
        yield _bounded(name, check)
    yield _bounded("disk", lambda: disk(out))


def _bounded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a fact that this machine does not show must not end the command
        return Check(name, WARNING, f"unknown: {type(error).__name__}: {error}", "nothing to do")


def cores() -> Check:
    """Checks how many cores can be busy at once.

    A container's quota counts as well as the affinity.
    """
    count, quota = limits.usable_cores(), limits.cpu_quota()
    limited = "" if quota is None else f" (a quota of {quota:g} on {len(devices.allowed_cores())})"
    if count < 2:
        fix = "a strategy needs two: raise the container's CPU limit"
        return Check("cores", WARNING, f"{count}{limited}", fix)
    return Check("cores", OK, f"{count}{limited}, so up to {count} CPU devices")


def affinity() -> Check:
    """Checks whether processes can be pinned to cores."""
    if not hasattr(os, "sched_setaffinity"):
        fix = "run on Linux for steadier times"
        return Check("affinity", WARNING, "processes cannot be pinned here", fix)
    mine = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(mine)})
    except OSError as error:
        return Check("affinity", WARNING, str(error), "allow sched_setaffinity in the container")
    finally:
        os.sched_setaffinity(0, mine)
    return Check("affinity", OK, f"processes can be pinned; {len(mine)} of {os.cpu_count()} cores")


def memory() -> Check:
    """Checks whether there is enough memory for the ranks."""
    import psutil

    free = psutil.virtual_memory().available
    found = f"{free / GIB:.1f} GiB available"
    if free < LITTLE_MEMORY:
        return Check("memory", WARNING, found, "close other programs: a rank takes about 0.6 GiB")
    return Check("memory", OK, found)


def load() -> Check:
    """Checks whether other programs load the machine."""
    count, now = limits.usable_cores(), os.getloadavg()[0]
    found = f"{now:.2f} over the last minute on {count} cores"
    if now > BUSY_SHARE * count:
        return Check("load", WARNING, found, "end what runs: it takes cores from the measurement")
    return Check("load", OK, found)


def governor(cpus: Path = CPUS) -> Check:
    """Checks the scaling of the cores' frequency; a virtual machine shows none."""
    files = sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_governor"))
    names = {file.read_text(encoding="utf-8").strip() for file in files}
    if not names:
        return Check("frequency governor", OK, "not shown by this system")
    found = ", ".join(sorted(names))
    if names != {"performance"}:
        fix = "cpupower frequency-set -g performance"
        return Check("frequency governor", WARNING, found, fix)
    return Check("frequency governor", OK, found)


def throttling(cpus: Path = CPUS) -> Check:
    """Checks whether cores have been slowed because they were too hot."""
    files = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    count = sum(int(file.read_text(encoding="utf-8")) for file in files)
    if not files:
        return Check("throttling", OK, "not shown by this system")
    if count:
        return Check("throttling", WARNING, f"{count} times since boot", "cool the machine")
    return Check("throttling", OK, "none since boot")


def gpu() -> Check:
    """Reports what the driver says about the GPUs that this process may use."""
    if not gpus.driver_present():
        return Check("GPU driver", OK, "none: CPU devices only")
    _, problem = gpus.ask_driver()
    usable = gpus.usable_gpus()
    if problem or not usable:
        found = problem or "the driver lists no GPU that this process may use"
        return Check("GPU driver", WARNING, found, "load the driver, or see CUDA_VISIBLE_DEVICES")
    models = Counter(each.name for each in usable)
    listed = ", ".join(f"{count} x {name}" for name, count in models.items())
    found = f"{listed}, driver {usable[0].driver}"
    if slowed := [f"{each.index} ({each.throttle})" for each in usable if each.throttle]:
        fix = "cool it, or see its power supply"
        return Check("GPU driver", WARNING, f"{found}; slowed: GPU {', '.join(slowed)}", fix)
    shares = {each.index: (each.free_bytes or 0) / each.memory_bytes for each in usable
              if each.memory_bytes and each.free_bytes is not None}
    if used := [f"{index} ({share:.0%} free)" for index, share in shares.items()
                if share < FREE_SHARE]:
        fix = "end what holds it, or leave it out with CUDA_VISIBLE_DEVICES"
        return Check("GPU driver", WARNING, f"{found}; memory in use: GPU {', '.join(used)}", fix)
    return Check("GPU driver", OK, found)


def driver_and_wheels() -> Check:
    """Checks that the driver is as new as the CUDA that each framework's wheel brings."""
    usable = gpus.usable_gpus()
    if not usable:
        return Check("CUDA of the wheels", OK, "not needed: no GPU")
    wheels = software.installed_version(CUDA_WHEELS)
    if not wheels:
        fix = "install a CUDA build of a framework; CPU builds leave the GPU idle"
        return Check("CUDA of the wheels", WARNING, "no wheel of CUDA's runtime", fix)
    driver, release = usable[0].driver, int(wheels.partition(".")[0])
    runs = f" and runs CUDA {usable[0].cuda} at most" if usable[0].cuda else ""
    found = f"CUDA {wheels}; the driver is {driver or 'unknown'}{runs}"
    newest = int(usable[0].cuda.partition(".")[0] or 0) if usable[0].cuda else release
    least = LEAST_DRIVERS.get(release, 0)
    branch = int(driver.partition(".")[0]) if driver[:1].isdigit() else least
    if newest < release or branch < least:
        needed = f"R{least} or newer" if least else f"one that runs CUDA {release}"
        fix = f"install a driver {needed}, or a build of the framework for an older CUDA"
        return Check("CUDA of the wheels", PROBLEM, found, fix)
    return Check("CUDA of the wheels", OK, found)


def shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Checks the shared memory through which NCCL moves data between the ranks of a host."""
    if not gpus.usable_gpus():
        return Check("shared memory", OK, "not needed: no GPU")
    size = shutil.disk_usage(folder).total
    found = f"{size / GIB:.2f} GiB in {folder}"
    if size < LITTLE_SHARED_MEMORY:
        return Check("shared memory", WARNING, found, "docker run --shm-size=1g, or --ipc=host")
    return Check("shared memory", OK, found)


def locked_memory() -> Check:
    """Checks the limit of locked memory, which RDMA needs for registering its buffers."""
    if not gpus.usable_gpus():
        return Check("locked memory", OK, "not needed: no GPU")
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        found = f"{soft >> 10} KiB may be locked"
        return Check("locked memory", WARNING, found, "docker run --ulimit memlock=-1")
    return Check("locked memory", OK, "no limit")


def host_name(resolve: Callable[..., Any] = socket.getaddrinfo) -> Check:
    """Checks that the host's own name can be resolved, which gloo needs.

    An IPv6 address is enough.
    """
    name = socket.gethostname()
    try:
        addresses = {entry[4][0] for entry in resolve(name, None)}
        return Check("host name", OK, f"{name} is {', '.join(sorted(addresses))}")
    except OSError:
        fix = f"add '127.0.0.1 {name}' to /etc/hosts"
        return Check("host name", PROBLEM, f"{name} does not resolve: gloo cannot start", fix)


def loopback() -> Check:
    """Checks whether processes of this host can connect to each other."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()[:2], timeout=1).close()
    except OSError as error:
        return Check("gloo on loopback", PROBLEM, str(error), "bring the lo interface up")
    return Check("gloo on loopback", OK, "processes can connect")


def nccl() -> Check:
    """Reports which NCCL carries tensors between GPUs."""
    if devices.gpu_count() < 2:
        return Check("NCCL", OK, "not needed: fewer than two GPUs")
    names = ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11")
    version = software.installed_version(names)
    if not version:
        fix = "install a CUDA build of torch, which brings it"
        return Check("NCCL", WARNING, "no distribution found", fix)
    return Check("NCCL", OK, version)


def remote_memory(devices: Path = rdma.DEVICES, verbs: Path = VERBS) -> Check:
    """Reports the RDMA ports, their state and speed, and whether programs can use them.

    Args:
        devices: The kernel's folder of RDMA devices.
        verbs: The folder of the device files through which programs use them.
    """
    ports = rdma.ports(devices)
    if not ports:
        return Check("RDMA", OK, "no device: hosts are connected by TCP")
    found = "; ".join(f"{port.name} {LAYERS.get(port.layer, port.layer)} {port.state}, {port.rate}"
                      for port in ports)
    if not verbs.is_dir():
        return Check("RDMA", WARNING, f"{found}; no {verbs}",
                     f"docker run --device {verbs} --ulimit memlock=-1")
    if not any(port.active for port in ports):
        return Check("RDMA", WARNING, found, "no port is active: see its cable, or use TCP")
    return Check("RDMA", OK, found)


def namespaces() -> Check:
    """Checks for network namespaces, through which tests get links of a chosen speed.

    A run does not need them.
    """
    try:
        run_tool(["unshare", "--user", "--map-root-user", "--net", "true"])
    except Unknown as error:
        fix = "only tests with shaped links need them: allow user namespaces"
        return Check("namespaces", WARNING, f"no network namespaces: {error}", fix)
    return Check("namespaces", OK, "network namespaces can be made")


def disk(out: Path) -> Check:
    """Checks whether run folders can be written and have enough room."""
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free in {place}"
    if not os.access(place, os.W_OK):
        return Check("disk", PROBLEM, f"{place} cannot be written", "choose another --out")
    if free < LITTLE_DISK:
        return Check("disk", WARNING, found, "make room, or choose another --out")
    return Check("disk", OK, found)


CHECKS: dict[str, Callable[[], Check]] = {
    "cores": cores, "affinity": affinity, "memory": memory, "load": load,
    "frequency governor": governor, "throttling": throttling, "GPU driver": gpu,
    "CUDA of the wheels": driver_and_wheels,
    "shared memory": shared_memory, "locked memory": locked_memory, "host name": host_name,
    "gloo on loopback": loopback, "NCCL": nccl, "RDMA": remote_memory, "namespaces": namespaces,
}
