"""What an adapter provides: a manifest (no framework import) and a session (in a rank)."""

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
    """How a group starts: worker processes, variables per rank, and an optional helper process.

    The helper is a command that writes ``{"name": "value"}`` JSON to ``helper_output`` once ready;
    those variables are given to every worker, and the helper is ended with the group. ``scratch``
    is a folder of what a launch compiles: removed at its end, or kept for the case's next launch.
    """

    processes: int
    environment: Sequence[dict[str, str]]
    helper: Sequence[str] = ()
    helper_output: Path | None = None
    scratch: Path | None = None


class Manifest(Protocol):
    """Module ``adapters.<framework>``: answers about cases without importing the framework."""

    TRAITS: Traits

    def unsupported_reason(self, case: Case) -> str:
        """Empty when the framework can run the case, else why not."""

    def installation_problem(self, case: Case) -> str:
        """Empty when what this interpreter has installed can run the case, else why not, and
        what mends it.
        """

    def launch_plan(self, case: Case, folder: Path, python: str) -> LaunchPlan:
        """Processes and environment of one launch whose files live in ``folder``."""


@dataclass(frozen=True)
class Inputs:
    """Global batches: ``features[i]`` is ``(batch, …)``, ``targets[i]`` matches; both cycle."""

    features: np.ndarray
    targets: np.ndarray
    batch: int

    @property
    def count(self) -> int:
        """Number of whole global batches."""
        return len(self.features) // self.batch

    def at(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Global batch ``index`` (modulo the number of whole batches)."""
        start = (index % self.count) * self.batch
        window = slice(start, start + self.batch)
        return self.features[window], self.targets[window]


class Session(Protocol):
    """A built case in one rank (``adapters.<framework>.session.open_session``)."""

    def step(self, index: int) -> Any:
        """One training step on global batch ``index``; a handle of the loss, not synchronised."""

    def synchronize(self) -> None:
        """Returns when the work of this rank's steps is finished."""

    def loss(self, handle: Any) -> float:
        """Mean loss of the global batch; a collective call, same value on every rank."""

    def gradients(self) -> Weights:
        """Full gradients that the first update was made from, canonical names and layout.

        Called once, after the first step and before the next; a collective call.
        """

    def parameters(self) -> Weights:
        """Full parameters, canonical names and layout; a collective call."""

    def agree(self, ready: bool) -> bool:
        """True when every rank says so; a collective call."""

    def timed_step(self, index: int) -> StepTrace:
        """A step with probes attached; detached again when it returns."""

    def traced_step(self, index: int, timeline: Path | None) -> StepTrace:
        """A step under the framework's profiler, read as a trace where ``timed_step`` lacks one.

        Writes Chrome-trace JSON to ``timeline`` unless that is None.
        """

    def silent_step(self, index: int) -> Any:
        """A step with communication switched off: each device computes its part on what it has.

        It trains nothing sensible, so it is the last thing done with a session.
        """

    def reset_peak_memory(self) -> None:
        """What was held before is no part of the peak: the proof's whole arrays."""

    def peak_memory_bytes(self) -> int:
        """Peak of this process (CPU: resident set) or of its device's allocator since then."""

    def device_memory_bytes(self) -> int:
        """What is in use on the rank's GPU, with contexts, communication buffers and what the
        allocator keeps; 0 on a CPU or where the framework does not tell.
        """

    def matmul_flops_s(self) -> float:
        """Matrix-product rate of a device of this rank in the case's number format, FLOP/s.

        Asked at the end of a launch with probes.
        """

    def describe(self) -> dict[str, str]:
        """Versions, backend, threads and switches: this row's fairness ledger.

        Under the names that all adapters share: ``threads_per_device``, ``dtype``, ``mode``, and
        ``tf32``, ``determinism`` and ``onednn`` as ``switch`` writes them. Rows that differ in
        what ``suite/analysis/ledger.py`` calls ``MUST_EQUAL`` are not compared.
        """

    def close(self) -> None:
        """Leaves the process group."""


def switch(on: bool) -> str:
    """How a ledger writes a switch."""
    return "on" if on else "off"


class OpenSession(Protocol):
    """Signature of ``open_session``."""

    def __call__(self, case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session: ...


@runtime_checkable
class ReportsFigures(Protocol):
    """A session that measures more than the harness asks every session for."""

    def figures(self) -> dict[str, float]:
        """Figures of this rank by the name of their column, asked for at the end of a launch.

        A column of that name in ``suite.contract.row`` says how ranks and launches are reduced.
        """
