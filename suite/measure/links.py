"""Measures links: a sweep for each framework, engine and number of devices, saved one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.analysis.link_fit import FIT_COLUMNS, SAMPLE_COLUMNS, LinkFit, fit_links
from suite.contract.case import FORKED, FRESH, Case
from suite.contract.hosts import dealt, spans
from suite.contract.registry import label, traits_of
from suite.contract.sweep import Sweep, payload_sizes
from suite.contract.threads import preferred_event_loops
from suite.contract.traits import LOGICAL_DEVICES
from suite.contract.workloads import parameter_count
from suite.launch.group import SWEEP, Launcher, LaunchRequest, Outcome, launch
from suite.launch.nurseries import prepare
from suite.launch.starter import cores_of_devices
from suite.machine import devices
from suite.machine.topology import physical_first
from suite.measure.availability import adapter_problem
from suite.runfolder import files

# The sweep of a run is short, and its messages are no larger than what a step may send at once.
RUN_SECONDS, RUN_REPETITIONS, RUN_FACTOR = 1.5, 20, 4
RUN_AT_LEAST_BYTES, RUN_AT_MOST_BYTES = 1 << 20, 64 << 20


def link_case(
    framework: str, engine: str, device: str, devices: int, interface: str = "lo",
    hosts: int = 1,
) -> Case:
    """Returns a case for a sweep of links, which trains nothing; its workload is only a
    placeholder.

    Its strategy only says which processes there are: where one process drives all devices, over
    hosts it does so in intra-layer and inter-layer alone.

    Args:
        framework: The framework whose transport is measured.
        engine: Its engine.
        device: ``cpu`` or ``cuda``.
        devices: How many devices take part.
        interface: The network interface.
        hosts: On how many hosts the devices are.
    """
    placed = hosts > 1 and traits_of(framework).placement == LOGICAL_DEVICES
    return Case(
        framework=framework, engine=engine, strategy="intra_layer" if placed else "data",
        variant="", workload="mlp", size="tiny", data="synthetic", device=device,
        devices=devices, interface=interface, hosts=hosts,
    )


@dataclass(frozen=True)
class Plan:
    """A sweep that is to be made: on which link, with which calls."""

    case: Case
    sweep: Sweep

    @property
    def name(self) -> str:
        """The name of the sweep, of its folder, and of its line in the progress."""
        case = self.case
        whose = label(case.framework, case.engine).replace("/", "-")
        beside = ".loaded" if self.sweep.load_s else ""
        across = f".hosts{case.hosts}" if case.hosts > 1 else ""
        return f"link.{whose}.{case.device}{case.devices}{across}{beside}"


@dataclass
class LinkResults:
    """What has been measured so far, and the folder in which it is saved."""

    folder: Path
    samples: list[dict[str, Any]] = field(default_factory=list)
    fits: list[LinkFit] = field(default_factory=list)

    def save(self) -> None:
        """Writes ``link.csv`` and ``link_fit.csv``, each as a whole."""
        files.write_table(self.folder / "link.csv", SAMPLE_COLUMNS, self.samples)
        rows = [asdict(fit) for fit in self.fits]
        files.write_table(self.folder / "link_fit.csv", FIT_COLUMNS, rows)


def measure_all(
    plans: Sequence[Plan], results: LinkResults, python: Mapping[str, str], timeout_s: float,
    show: Callable[[str, int, int], None], launcher: Launcher = launch,
) -> None:
    """Makes the planned sweeps one after another and saves the results after each.

    A sweep that cannot run or fails is stored with its reason.

    Args:
        plans: The sweeps.
        results: Collects what they measure.
        python: The interpreters of frameworks that have an environment of their own.
        timeout_s: How long a sweep may take, in seconds.
        show: Is called with a text and the numbers of finished and of all sweeps.
        launcher: Starts a group of processes.
    """
    problems = [adapter_problem(plan.case, python) for plan in plans]
    prepare(launcher, [plan.case for plan, reason in zip(plans, problems, strict=True)
                       if not reason], python)
    for number, (plan, reason) in enumerate(zip(plans, problems, strict=True)):
        show(plan.name, number, len(plans))
        if reason:
            results.fits += _without(plan, "unsupported", reason)
        else:
            interpreter = python.get(plan.case.framework, sys.executable)
            samples, outcome = measure(plan, results.folder, timeout_s, interpreter, launcher)
            results.samples += samples
            results.fits += fit_links(samples)
            if outcome.status != "ok":
                results.fits += _without(plan, outcome.status, outcome.reason)
        results.save()


def measure(
    plan: Plan, folder: Path, timeout_s: float, python: str = sys.executable,
    launcher: Launcher = launch, prefixes: Sequence[Sequence[str]] = (),
) -> tuple[list[dict[str, Any]], Outcome]:
    """Makes one sweep in processes of its own.

    Args:
        plan: The sweep.
        folder: The folder of the launch.
        timeout_s: How long it may take, in seconds.
        python: The interpreter of the ranks.
        launcher: Starts a group of processes.
        prefixes: For each rank, the command through which it is started.

    Returns:
        The raw samples, and how the launch ended.
    """
    mine = folder / "cases" / plan.name
    mine.mkdir(parents=True, exist_ok=True)
    case_path, sweep_path = mine / "case.json", mine / "sweep.json"
    plan.case.write(case_path)
    plan.sweep.write(sweep_path)
    every = physical_first(devices.allowed_cores())
    # A GPU's rank gets what it gets in a run: its share of the cores, those beside it.
    dealt = cores_of_devices(plan.case, every)
    cores = [core for own in dealt for core in own] or every[: plan.case.devices]
    outcome = launcher(LaunchRequest(
        plan.case, case_path, sweep_path, mine / "launch-0", cores, timeout_s, python=python,
        worker=SWEEP, prefixes=prefixes, dealt=dealt,
    ))
    records = outcome.records if outcome.status == "ok" else []
    return [row for record in records for row in _rows(plan.case, record)], outcome


def _rows(case: Case, record: dict[str, Any]) -> list[dict[str, Any]]:
    whose = {
        "framework": case.framework, "engine": case.engine,
        "backend": record["backend"], "transport": record["transport"], "hosts": case.hosts,
    }
    return [
        whose | {"devices": record["participants"][sample["collective"]]} | sample
        for sample in record["samples"]
    ]


def _without(plan: Plan, status: str, reason: str) -> list[LinkFit]:
    case = plan.case
    return [
        LinkFit(case.framework, case.engine, name, "", "", case.devices,
                status=status, reason=reason, load_s=plan.sweep.load_s, hosts=case.hosts)
        for name in plan.sweep.names
    ]


def plans_for_run(cases: Sequence[Case], slots: Sequence[int] = ()) -> list[Plan]:
    """Plans short sweeps of what the parallel strategies of these cases call.

    Sizes reach the parameters' bytes, which no gradient exceeds. The devices are those of an axis
    of a mesh: its groups are who communicates. A pipeline's stages do so two by two. Groups that
    lie on several hosts are swept across hosts; where some of an axis's groups do and others do
    not, both links are swept. The ranks of a sweep start as its cases' do.

    Args:
        cases: The cases of the run.
        slots: Devices of each host that the run may use; empty for this host alone.
    """
    columns: dict[tuple[str, str, str, int, int], list[tuple[Case, str]]] = {}
    for case in cases:
        across = spans(case, _host_of_rank(case, slots))
        for axis, size in case.axes.axes:
            among = 2 if axis == "inter_layer" else size
            for hosts in sorted(across[axis]):
                key = case.framework, case.engine, case.device, among, hosts
                if size > 1 and not case.oversubscribe and _collectives(case, axis, hosts):
                    columns.setdefault(key, []).append((case, axis))
    return [
        Plan(replace(link_case(*key[:-1], hosts=key[-1]), start=_start_of(mine)),
             _run_sweep(mine, *key[-2:]))
        for key, mine in columns.items()
    ]


def _start_of(users: Sequence[tuple[Case, str]]) -> str:
    """How the ranks of a sweep start: forked if those of all its cases may be."""
    return FORKED if all(case.start == FORKED for case, _ in users) else FRESH


def _host_of_rank(case: Case, slots: Sequence[int]) -> list[int]:
    """The number of the host of each device."""
    if case.hosts == 1:
        return [0] * case.devices
    shares = dealt(case.devices, slots[: case.hosts])
    return [number for number, share in enumerate(shares) for _ in range(share)]


def _collectives(case: Case, axis: str, hosts: int) -> Sequence[str]:
    traits = traits_of(case.framework)
    if hosts == 1 and case.placed and case.hosts > 1:
        return []  # a copy inside a process, which such a case does not make
    unswept = traits.unswept_across if hosts > 1 else {}
    return [name for name in traits.collectives_of(axis, case.variant) if name not in unswept]


def _run_sweep(users: Sequence[tuple[Case, str]], devices: int, hosts: int) -> Sweep:
    largest = max(4 * parameter_count(case.spec) for case, _ in users)
    bounded = min(max(largest, RUN_AT_LEAST_BYTES), RUN_AT_MOST_BYTES)
    high = 1 << (bounded - 1).bit_length()

    def sizes(pipelined: bool) -> dict[str, list[int]]:
        names = dict.fromkeys(
            name for case, axis in users if _schedules_apart(case) == pipelined
            for name in _collectives(case, axis, hosts)
        )
        return {name: payload_sizes(name, devices, 4, high, RUN_FACTOR) for name in names}

    return Sweep(sizes(False), RUN_REPETITIONS, RUN_SECONDS, pipelined=sizes(True))


def _schedules_apart(case: Case) -> bool:
    """Whether a case's event loops are scheduled otherwise than those of a sweep are at first."""
    own = preferred_event_loops(case.device, case.axes.names)
    return own != preferred_event_loops(case.device)
