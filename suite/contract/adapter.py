"""What an adapter provides: a manifest, which imports no framework, and a session in each rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from suite.contract.case import Case, Rank
from suite.contract.records import Busy as Busy
from suite.contract.records import CommEvent as CommEvent
from suite.contract.records import RankRecord as RankRecord
from suite.contract.records import StepTrace as StepTrace
from suite.contract.traits import Traits
from suite.contract.workloads import Weights


@dataclass(frozen=True)
class LaunchPlan:
    """How the worker processes of a case are started.

    Attributes:
        processes: Number of worker processes.
        environment: Variables of each worker, in the order of the ranks.
        helper: Command of a process that the workers need, if there is one. It writes JSON,
            ``{"name": "value"}``, to ``helper_output`` once it is ready; every worker gets these
            variables, and the helper is ended together with the workers.
        helper_output: The file that the helper writes.
        scratch: Folder for what the launch compiles. It is removed at the end, or kept for the
            next launch of the same case.
    """

    processes: int
    environment: Sequence[dict[str, str]]
    helper: Sequence[str] = ()
    helper_output: Path | None = None
    scratch: Path | None = None


class Manifest(Protocol):
    """What the module ``adapters.<framework>`` answers, without importing the framework."""

    TRAITS: Traits

    def unsupported_reason(self, case: Case) -> str:
        """Returns why the framework cannot run the case by design; empty if it can."""

    def installation_problem(self, case: Case) -> str:
        """Returns why the installed packages cannot run the case, and the fix; empty if they can.
        """

    def launch_plan(self, case: Case, folder: Path, python: str) -> LaunchPlan:
        """Plans the processes of one launch.

        Args:
            case: The case to launch.
            folder: Folder of the launch's files.
            python: Path of the interpreter that runs the workers.
        """


@dataclass(frozen=True)
class Inputs:
    """The training data, cut into global batches that are used in turn, again and again.

    Attributes:
        features: (samples, …), the features of all batches.
        targets: (samples, …), the target of every sample.
        batch: Samples in a global batch.
    """

    features: np.ndarray
    targets: np.ndarray
    batch: int

    @property
    def count(self) -> int:
        """The number of whole global batches."""
        return len(self.features) // self.batch

    def at(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns features and targets of a global batch.

        Args:
            index: Number of the batch, modulo the number of whole batches.
        """
        start = (index % self.count) * self.batch
        window = slice(start, start + self.batch)
        return self.features[window], self.targets[window]


class Session(Protocol):
    """A case that is built and ready to train in one rank.

    ``adapters.<framework>.session.open_session`` returns it.
    """

    def step(self, index: int) -> Any:
        """Trains one step on global batch ``index``.

        Returns:
            A handle from which ``loss`` gets the step's loss. The call does not wait for the
            device.
        """

    def synchronize(self) -> None:
        """Returns once all work that this rank has started is finished."""

    def loss(self, handle: Any) -> float:
        """Returns the mean loss of the global batch, the same on every rank; a collective call.

        Args:
            handle: What ``step`` returned.
        """

    def gradients(self) -> Weights:
        """Returns the full gradients of the first update; a collective call.

        They have canonical names and layout. The harness asks once: after the first step and
        before the next.
        """

    def parameters(self) -> Weights:
        """Returns the full parameters, canonical names and layout; a collective call."""

    def agree(self, ready: bool) -> bool:
        """Returns True if ``ready`` is true on every rank; a collective call."""

    def timed_step(self, index: int) -> StepTrace:
        """Trains one step with the suite's probes attached, and detaches them before it returns."""

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """Trains one step under the framework's profiler.

        Args:
            index: Which global batch to train on.
            timeline: Where to write the profile as Chrome-trace JSON; None writes nothing.

        Returns:
            What the profile says of the step. It stands in where ``timed_step`` has no compute
            clock.
        """

    def silent_step(self, index: int) -> Any:
        """Runs one step with communication switched off: each device computes on what it has.

        Such a step trains nothing sensible, so the harness takes silent steps last.
        """

    def reset_peak_memory(self) -> None:
        """Starts the measurement of peak memory anew.

        What was held before, such as the whole arrays of the proof, is no part of the peak.
        """

    def peak_memory_bytes(self) -> int:
        """Returns peak memory since the last reset.

        On CPUs it is the process's resident set, on GPUs what the allocator of its device held.
        """

    def device_memory_bytes(self) -> int:
        """Returns the memory in use on the rank's GPU; 0 on a CPU or if the framework does not
        tell.

        It includes contexts, communication buffers and what the allocator keeps.
        """

    def matmul_flops_s(self) -> float:
        """Measures matrix products on a device of this rank, in the case's number format.

        Returns:
            FLOP/s. The harness asks for it at the end of a launch with probes.
        """

    def describe(self) -> dict[str, str]:
        """Returns this rank's entries of the fairness ledger: versions, backend and switches.

        All adapters share the names ``threads_per_device``, ``dtype`` and ``mode``, and ``tf32``,
        ``determinism`` and ``onednn``, which are written by ``switch``. Rows that differ in an
        entry of ``suite/analysis/ledger.py:MUST_EQUAL`` are not compared.
        """

    def close(self) -> None:
        """Leaves the process group."""


def switch(on: bool) -> str:
    """Writes a switch as the ledger has it: ``on`` or ``off``."""
    return "on" if on else "off"


class OpenSession(Protocol):
    """The signature of an adapter's ``open_session``."""

    def __call__(self, case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session: ...


class TellsBusy(Protocol):
    """A session whose devices tell one another how long they were busy in each step."""

    def tell_busy(self, on: bool) -> None:
        """Makes steps exchange their devices' busy seconds from now on, or no longer.

        Args:
            on: Whether they do.
        """

    def busy_seconds(self) -> Sequence[Sequence[float]]:
        """Returns how long each device was busy in the steps that are told of now, oldest first.

        Busy is what a device computes and what it waits for a core, but not what it waits for
        others. A replica's seconds count until its own gradients are there, because its update
        does not depend on its share; a stage's count to the end of its update. The figures of
        several steps travel at once and while something else is done. It is called after each step
        and returns the same on every rank, which may be nothing; no step is left out.
        """


@runtime_checkable
class TakesShares(TellsBusy, Protocol):
    """A data-parallel session whose replicas' shares of the batch may change between steps."""

    def take_shares(self, shares: Sequence[int]) -> None:
        """Trains on other shares from the next step on.

        Args:
            shares: Samples of each replica; the shares lie side by side in the global batch.
        """


@runtime_checkable
class TakesCuts(TellsBusy, Protocol):
    """A session of a pipeline whose layers may move between stages, from one step to the next."""

    def take_cut(self, cut: Sequence[int]) -> None:
        """Moves layers, and trains on another cut from the next step on; a collective call.

        Parameters move with their optimiser's states, bit by bit. It is called after a step, and
        not within one.

        Args:
            cut: Number of units of each stage.
        """


@runtime_checkable
class Exchanges(Protocol):
    """A session whose ranks tell one another what they saw, by which they may time more steps.

    A session without it times as many steps as ``--probe-steps`` says.
    """

    def exchange(self, told: Any) -> Sequence[Any]:
        """Returns what every rank tells, in the order of the ranks; a collective call.

        It is never called while a step is measured.

        Args:
            told: What this rank tells: lists, numbers and texts, as JSON has them.
        """


@runtime_checkable
class ReportsFigures(Protocol):
    """A session that measures more than the harness asks every session for."""

    def figures(self) -> dict[str, float]:
        """Returns figures of this rank by the name of their column, at the end of a launch.

        The column in ``suite.contract.row`` says how the figures of ranks and launches are
        reduced.
        """
