"""``python -m suite doctor``: what a run needs of this machine, each with its fix."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from suite.cli.console import printer
from suite.contract.case import Case
from suite.contract.manifests import manifest
from suite.contract.registry import adapters, engines, load
from suite.machine import description, devices, software
from suite.machine.calibration import gpu_states

OK, WARNING, PROBLEM = "ok", "warning", "problem"
STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "red"}
GIB = 2**30
BUSY_SHARE, LITTLE_MEMORY, LITTLE_DISK = 0.3, 2 * GIB, GIB
CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Check:
    """``state`` is ok, warning or problem; ``fix`` is empty where nothing is to be done."""

    name: str
    state: str
    found: str
    fix: str = ""


def diagnose(as_json: bool, out: Path = Path("results")) -> int:
    """0, or 1 where no framework can run."""
    checks = [*machine_checks(out), *(check for name in adapters() for check in framework(name))]
    able = any(c.state != PROBLEM for c in checks if c.name.startswith("framework "))
    if as_json:
        found = {"environment": description.describe(), "checks": [asdict(c) for c in checks],
                 "can_run": able}
        print(json.dumps(found, indent=1))
        return 0 if able else 1
    table = Table("check", "state", "found", "fix", title="Doctor")
    for check in checks:
        state = Text(check.state, style=STYLES[check.state])
        table.add_row(check.name, state, check.found, check.fix)
    printer().print(table)
    return 0 if able else 1


def machine_checks(out: Path) -> Iterator[Check]:
    for check in (cores, affinity, memory, load_average, governor, throttling, gpu, host_name,
                  loopback, nccl, namespaces):
        yield check()
    yield disk(out)


def cores() -> Check:
    count = len(devices.allowed_cores())
    if count < 2:
        return Check("cores", WARNING, "1", "a strategy needs two: raise the container's CPU limit")
    return Check("cores", OK, f"{count}, so up to {count} CPU devices")


def affinity() -> Check:
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
    import psutil

    free = psutil.virtual_memory().available
    found = f"{free / GIB:.1f} GiB available"
    if free < LITTLE_MEMORY:
        return Check("memory", WARNING, found, "close other programs: a rank takes about 0.6 GiB")
    return Check("memory", OK, found)


def load_average() -> Check:
    count, now = len(devices.allowed_cores()), os.getloadavg()[0]
    found = f"{now:.2f} over the last minute on {count} cores"
    if now > BUSY_SHARE * count:
        return Check("load", WARNING, found, "end what runs: it takes cores from the measurement")
    return Check("load", OK, found)


def governor(cpus: Path = CPUS) -> Check:
    """Frequency scaling; a virtual machine shows none."""
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
    files = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))
    count = sum(int(file.read_text(encoding="utf-8")) for file in files)
    if not files:
        return Check("throttling", OK, "not shown by this system")
    if count:
        return Check("throttling", WARNING, f"{count} times since boot", "cool the machine")
    return Check("throttling", OK, "none since boot")


def gpu() -> Check:
    if shutil.which("nvidia-smi") is None:
        return Check("GPU driver", OK, "no nvidia-smi: CPU devices only")
    states = gpu_states()
    if not states:
        return Check("GPU driver", WARNING, "nvidia-smi lists no GPU", "load the driver")
    slowed = [f"{gpu['name']} ({gpu['throttle']})" for gpu in states if gpu["throttle"]]
    found = f"{len(states)} x {states[0]['name']}"
    if slowed:
        return Check("GPU driver", WARNING, f"{found}; slowed: {', '.join(slowed)}", "cool it")
    return Check("GPU driver", OK, found)


def host_name(resolve: Callable[[str], str] = socket.gethostbyname) -> Check:
    """gloo looks the host's own name up."""
    name = socket.gethostname()
    try:
        return Check("host name", OK, f"{name} is {resolve(name)}")
    except OSError:
        fix = f"add '127.0.0.1 {name}' to /etc/hosts"
        return Check("host name", PROBLEM, f"{name} does not resolve: gloo cannot start", fix)


def loopback() -> Check:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()[:2], timeout=1).close()
    except OSError as error:
        return Check("gloo on loopback", PROBLEM, str(error), "bring the lo interface up")
    return Check("gloo on loopback", OK, "processes can connect")


def nccl() -> Check:
    if devices.gpu_count() < 2:
        return Check("NCCL", OK, "not needed: fewer than two GPUs")
    names = ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11")
    version = software.installed_version(names)
    if not version:
        fix = "install a CUDA build of torch, which brings it"
        return Check("NCCL", WARNING, "no distribution found", fix)
    return Check("NCCL", OK, version)


def namespaces() -> Check:
    """Network namespaces give links of a chosen speed to the tests; a run does without."""
    tool = shutil.which("unshare")
    done = tool and subprocess.run(
        [tool, "--user", "--map-root-user", "--net", "true"], capture_output=True, check=False
    )
    if done and done.returncode == 0:
        return Check("namespaces", OK, "network namespaces can be made")
    fix = "only tests with shaped links need them: allow user namespaces"
    return Check("namespaces", WARNING, "no network namespaces", fix)


def disk(out: Path) -> Check:
    place = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / GIB:.1f} GiB free in {place}"
    if not os.access(place, os.W_OK):
        return Check("disk", PROBLEM, f"{place} cannot be written", "choose another --out")
    if free < LITTLE_DISK:
        return Check("disk", WARNING, found, "make room, or choose another --out")
    return Check("disk", OK, found)


def framework(name: str) -> Iterator[Check]:
    """A check an engine: installed, and fit for what it was built against."""
    problem = load(name).problem
    if problem:
        yield Check(f"framework {name}", PROBLEM, problem, "mend or remove the package behind it")
        return
    adapter = manifest(name)
    own = software.interpreters([name])
    version = software.installed_version(adapter.TRAITS.distributions)
    for engine in engines()[name]:
        label = f"framework {name}" + (f", {engine} engine" if len(engines()[name]) > 1 else "")
        if own:
            yield Check(label, OK, f"in {own[name]}")
            continue
        if not version:
            yield Check(label, PROBLEM, "not installed", "make run, or give --python")
            continue
        case = Case(
            framework=name, engine=engine, strategy="single", variant="", workload="mlp",
            size="tiny", data="synthetic", device="cpu", devices=1,
        )
        misfit = adapter.installation_problem(case)
        on_gpus = devices.gpu_count() and adapter.installation_problem(
            replace(case, device="cuda")
        )
        reason = adapter.unsupported_reason(case)
        if misfit:
            yield Check(label, PROBLEM, f"{version}: {misfit}", "as it says")
        elif reason:
            yield Check(label, PROBLEM, f"{version}: {reason}", "as it says")
        elif on_gpus:
            yield Check(label, WARNING, f"{version}, on CPUs: {on_gpus}", "as it says")
        else:
            yield Check(label, OK, version)
