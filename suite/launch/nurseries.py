"""Starts ranks as forks of processes that have imported their framework once.

Importing a framework takes most of a short launch. A nursery imports it, starts no thread, and is
forked for each rank. Every block of a run has nurseries of its own, because launches that share one
also share what a process gets by chance, such as the places of its libraries in memory: between
blocks that chance is drawn anew, as it is between new processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO

import psutil

from suite.contract.case import FORKED, Case
from suite.contract.faults import WORKER as FAULTY
from suite.contract.manifests import manifest
from suite.contract.registry import traits_of
from suite.launch.environment import worker_environment
from suite.launch.group import (
    SWEEP,
    TRAIN,
    Launcher,
    LaunchRequest,
    Outcome,
    bounded,
    launch,
    run_here,
)
from suite.launch.nursery import NotReady, Nursery
from suite.launch.processes import ProcessGroup, RankProcess
from suite.launch.signals import undisturbed
from suite.machine.memory import available_bytes
from suite.ranks.entry import NOT_FORKED

# Modules of ranks that a nursery may run; others measure what a new process does.
FORKABLE = (TRAIN, SWEEP, FAULTY)
# With less than this, nurseries do not wait for their next launch: together they hold two or three.
SCARCE_BYTES = 6 << 30
# Variables that differ from launch to launch and that nothing reads while it is imported: the
# suite's own, and where temporary files go.
OF_A_LAUNCH = ("TMPDIR", "SUITE_*")


class ForkedGroup(ProcessGroup):
    """A group whose ranks are forked from nurseries and whose helpers are new processes."""

    def __init__(
        self, nurseries: Nurseries, request: LaunchRequest, log: IO[bytes],
        environment: dict[str, str], folder: Path,
    ) -> None:
        super().__init__(log, environment, folder)
        self.nurseries, self.request = nurseries, request
        self.used: list[Nursery] = []

    def start(self, command: Sequence[str], extra: dict[str, str]) -> RankProcess:
        """Starts a process: forks it if it is a rank. The parameters are those of the group's."""
        python, _, worker, *arguments = command
        if (python, worker) != (self.request.python, self.request.worker):
            return super().start(command, extra)
        environment = self.environment | extra
        nursery = self.nurseries.nursery_of(self.request.case, python, environment)
        self.used.append(nursery)
        try:
            rank = nursery.fork(
                worker, arguments, environment, self.folder, Path(self.log.name))
        except NotReady as error:
            self.nurseries.refuse(nursery, str(error))
            raise
        self.leaders.append(rank)
        return rank

    def _alive(self) -> list[psutil.Process]:
        """Adds forks, which show the variables of their nursery and not the launch's mark."""
        found = {process.pid: process for process in super()._alive()}
        for nursery in set(self.used):
            found |= {process.pid: process for process in nursery.strays()}
        return list(found.values())


def renew(launcher: Launcher) -> None:
    """Makes a launcher import anew what it forks, if it forks anything."""
    if isinstance(launcher, Nurseries):
        launcher.renew()


def prepare(
    launcher: Launcher, cases: Iterable[Case], python: Mapping[str, str],
    settings: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Makes a launcher that forks ranks import what those of these cases need, all at once.

    Args:
        launcher: Starts the groups.
        cases: What it will launch next.
        python: The interpreters of frameworks that have an environment of their own.
        settings: Variables that the workers get on top of their environment.
    """
    if isinstance(launcher, Nurseries):
        launcher.prepare(cases, python, settings)


@dataclass(frozen=True)
class Key:
    """What two ranks must have in common to be forked from one process."""

    python: str
    modules: tuple[str, ...]
    environment: frozenset[tuple[str, str]]


class Nurseries:
    """A launcher that forks the ranks of those cases that say so, and starts the others anew."""

    def __init__(self) -> None:
        self.found: dict[Key, Nursery] = {}
        self.refused: dict[Key, str] = {}

    def __call__(self, request: LaunchRequest) -> Outcome:
        """Runs a group to its end."""
        if request.worker not in FORKABLE or available_bytes() < SCARCE_BYTES:
            self.renew()  # what is idle gives its memory back
        if request.case.start != FORKED or request.worker not in FORKABLE or request.prefixes:
            return launch(request)
        group = partial(ForkedGroup, self, request)
        try:
            outcome = bounded(request, partial(run_here, group=group))
        except NotReady as error:
            return launch(replace(request, settings={**request.settings, NOT_FORKED: str(error)}))
        if outcome.status != "ok":
            self.renew()
        return outcome

    def prepare(
        self, cases: Iterable[Case], python: Mapping[str, str], settings: Mapping[str, str]
    ) -> None:
        """Imports what the ranks of these cases are forked from, and waits for the last import.

        An import keeps one core busy. One after another, each before its first launch, they leave
        the other cores idle; beside a launch they would disturb what it measures.
        """
        if available_bytes() < SCARCE_BYTES:
            return
        for case in cases:
            if case.start == FORKED:
                interpreter = python.get(case.framework, sys.executable)
                with suppress(NotReady):  # refused before: its ranks are new processes
                    self.nursery_of(case, interpreter, _environment_of(case, interpreter, settings))
        for nursery in list(self.found.values()):
            try:
                nursery.await_ready()
            except NotReady as error:
                self.refuse(nursery, str(error))

    def nursery_of(self, case: Case, python: str, environment: Mapping[str, str]) -> Nursery:
        """Returns the nursery of a rank, and starts it if there is none.

        Args:
            case: What the rank will run.
            python: Its interpreter.
            environment: All of its variables.

        Raises:
            NotReady: What it needs cannot be forked.
        """
        traits = traits_of(case.framework)
        late = (*OF_A_LAUNCH, *traits.late)
        early = {name: value for name, value in environment.items()
                 if not any(fnmatchcase(name, pattern) for pattern in late)}
        modules = tuple(traits.preloaded[case.engine])
        key = Key(python, modules, frozenset(early.items()))
        if key in self.refused:
            raise NotReady(self.refused[key])
        if key not in self.found:
            self.found[key] = Nursery(python, modules, early)
        return self.found[key]

    def refuse(self, nursery: Nursery, why: str) -> None:
        """Ends a nursery that cannot be forked; what asks for the same has new processes."""
        for key in [key for key, other in self.found.items() if other is nursery]:
            self.refused[key] = why
            self.found.pop(key).end()

    def renew(self) -> None:
        """Ends all nurseries: what is launched next imports anew."""
        for key in list(self.found):
            with undisturbed():
                self.found.pop(key).end()


def _environment_of(case: Case, python: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The variables of a launch's first rank, but for those that only the launch will know."""
    nowhere = Path()
    plan = manifest(case.framework).launch_plan(case, nowhere, python)
    traits = traits_of(case.framework)
    return {**worker_environment(traits, nowhere), **settings, **plan.environment[0]}
