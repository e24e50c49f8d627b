"""Starts the launches of a run: chooses their input file, interpreter and cores."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from suite.config.model import RunConfig
from suite.contract.case import Case
from suite.contract.errors import worded
from suite.contract.secrets import masked
from suite.launch.bounds import Bounds
from suite.launch.group import TRAIN, Guard, Launcher, LaunchRequest, Outcome, launch
from suite.launch.inputs import load_data
from suite.launch.nurseries import prepare, renew
from suite.machine import devices, gpus, limits, memory
from suite.machine.topology import cores_beside, physical_cores, physical_first

BY_KERNEL = ": the kernel ended it, since the machine or its container had no memory left"


class Starter:
    """Launches cases of the run in ``folder``.

    ``launcher`` is the function that starts a group, which tests replace. ``settings`` are
    variables that the workers get on top of their environment.
    """

    def __init__(self, config: RunConfig, folder: Path, launcher: Launcher = launch) -> None:
        self.config, self.folder, self.launcher = config, folder, launcher
        self.settings: Mapping[str, str] = {}
        self.cores = physical_first(devices.allowed_cores())
        self.bounds = Bounds(self.cores, config.timeout)
        self._inputs: dict[str, Path] = {}

    @property
    def usable_cores(self) -> int:
        """Returns how many of the run's cores the container's quota allows to be busy at once."""
        return min(len(self.cores), limits.usable_cores())

    def begin_block(self, cases: Iterable[Case] = (), launched: bool = True) -> None:
        """Launches of another block share nothing that a process gets by chance.

        Args:
            cases: Those of the block.
            launched: Whether any row has a launch yet. Before that, only the sweep of the links and
                the references have forked, and what they have imported serves the first block too.
        """
        if launched:
            renew(self.launcher)
        prepare(self.launcher, cases, self.config.python, self.settings)

    def unset(self) -> Starter:
        """Returns a starter without settings, for the references that cases are compared with."""
        other = copy.copy(self)
        other.settings = {}
        return other

    def start(
        self, case: Case, folder: Path, block: int = 0, worker: str = TRAIN,
        guard: Guard | None = None, seconds: float | None = None, kept: Path | None = None,
    ) -> Outcome:
        """Launches a case and waits for its end.

        Args:
            case: The case.
            folder: The folder of the launch.
            block: The number of the block, which decides how cores are rotated.
            worker: The module that each rank runs.
            guard: Ends the launch if it uses too much memory.
            seconds: How long it may take; None for the run's timeout, or for what a large model
                needs.
            kept: Folder in which what the case compiles is kept for its next launch.

        Returns:
            How it ended; an error on the way becomes the outcome, too.
        """
        try:
            inputs = self._prepared(case)
            folder.mkdir(parents=True, exist_ok=True)
            case.write(folder / "case.json")
        except MemoryError as error:
            return Outcome("oom", f"the batches do not fit in memory: {error}", 0.0, [])
        except OSError as error:  # such as a full disk, or a folder that was removed
            return Outcome("failed", worded(error), 0.0, [])
        killed = memory.kernel_kills()
        outcome = self.launcher(LaunchRequest(
            case, folder / "case.json", inputs, folder, self.cores_of(case, block),
            seconds or self.bounds.launch_seconds(case),
            python=self.config.python.get(case.framework, sys.executable),
            worker=worker, guard=guard, settings=self.settings,
            dealt=cores_of_devices(case, self.cores), kept=kept,
        ))
        outcome = replace(outcome, reason=masked(outcome.reason))
        if outcome.status == "failed" and "SIGKILL" in outcome.reason \
                and memory.kernel_kills() > killed:
            return replace(outcome, status="oom", reason=outcome.reason + BY_KERNEL)
        return outcome

    def probe(self, case: Case, of: Case, folder: Path, guard: Guard) -> Outcome:
        """Launches a probe of memory, which proves nothing.

        Args:
            case: The case to launch, with the batch that is tried.
            of: The case that is searched, whose samples the probe uses.
            folder: The folder of the launch.
            guard: Ends the launch if it uses too much memory.

        Returns:
            How it ended.
        """
        self._inputs[case.workload_id] = self._prepared(of)
        return self.start(case, folder, worker="suite.ranks.batch_probe", guard=guard)

    def _prepared(self, case: Case) -> Path:
        """Returns the file with the global batches of a case.

        It is written once for each workload.
        """
        if case.workload_id not in self._inputs:
            features, targets = load_data(case.spec, case.data, case.seed)
            path = self.folder / "cases" / f"inputs-{case.workload_id}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, features=features, targets=targets)
            self._inputs[case.workload_id] = path
        return self._inputs[case.workload_id]

    def cores_of(self, case: Case, block: int) -> list[int]:
        """Returns the cores of a launch.

        Cores differ in speed, so they are rotated from block to block: no slow core always meets
        the same rank. If the plan was made for the speeds of certain cores, they stay where they
        are.
        """
        if case.hosts > 1:  # every host deals out its own cores
            return []
        if case.device == "cuda":  # one host thread drives the device, others compile and copy
            dealt = cores_of_devices(case, self.cores)
            return [core for own in dealt for core in own] or self.cores
        if case.device_speeds:
            return self.cores[: case.devices]
        # Threads of one physical core slow each other: they are taken where there is no other.
        single = self.cores[: len(physical_cores(self.cores))]
        cores = single if case.devices <= len(single) else self.cores
        turned = cores[block % len(cores) :] + cores[: block % len(cores)]
        return turned[: case.devices]


def cores_of_devices(case: Case, cores: Sequence[int]) -> list[list[int]]:
    """Returns the cores beside each GPU of a case; empty for CPU devices, which are cores."""
    if case.device != "cuda" or case.hosts > 1:
        return []
    seen = gpus.usable_gpus()
    return cores_beside([seen[rank % len(seen)] for rank in range(case.devices)] if seen else [],
                        cores)
