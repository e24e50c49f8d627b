"""What an adapter provides: a manifest (no framework import) and a session (in a rank)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from suite.spec.case import Case, Rank
from suite.spec.workloads import Weights


@dataclass(frozen=True)
class CommEvent:
    """One communication of this rank: payload bytes and the host-clock interval in seconds.

    ``kind`` is all_reduce, all_gather, reduce_scatter, broadcast or send_recv; ``device`` counts
    the devices of a process that drives several. A hop is an event of its receiver alone.
    """

    kind: str
    payload_bytes: int
    start_s: float
    end_s: float
    device: int = 0


@dataclass(frozen=True)
class StepTrace:
    """A timed step: its communications and, per device this process drives, busy compute seconds.

    Collectives are listed in an order that is the same on every device.

    ``compute_s`` is empty where the framework gives no honest figure; ``missing`` says why.
    """

    events: Sequence[CommEvent] = ()
    compute_s: Sequence[float] = ()
    missing: str = ""


@dataclass(frozen=True)
class LaunchPlan:
    """How a group starts: worker processes, variables per rank, and an optional helper process.

    The helper is a command that writes ``{"name": "value"}`` JSON to ``helper_output`` once ready;
    those variables are given to every worker, and the helper is ended with the group.
    """

    processes: int
    environment: Sequence[dict[str, str]]
    helper: Sequence[str] = ()
    helper_output: Path | None = None


class Manifest(Protocol):
    """Module ``adapters.<framework>``: answers without importing the framework."""

    ENGINES: Sequence[str]
    DISTRIBUTIONS: Sequence[str]

    def unsupported_reason(self, case: Case) -> str:
        """Empty when the framework can run the case, else why not."""

    def installation_problem(self, case: Case) -> str:
        """Empty when what this interpreter has installed can run the case, else why not."""

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

    def gradients(self, index: int) -> Weights:
        """Full gradients of global batch ``index`` without an update, canonical names, layout."""

    def parameters(self) -> Weights:
        """Full parameters, canonical names and layout; a collective call."""

    def timed_step(self, index: int) -> StepTrace:
        """A step with probes attached; detached again when it returns."""

    def peak_memory_bytes(self) -> int:
        """Peak of this process (CPU: resident set) or of its device's allocator."""

    def describe(self) -> dict[str, str]:
        """Versions, backend, threads and switches: this row's fairness ledger."""

    def close(self) -> None:
        """Leaves the process group."""


class OpenSession(Protocol):
    """Signature of ``open_session``."""

    def __call__(self, case: Case, rank: Rank, weights: Weights, inputs: Inputs) -> Session: ...


@dataclass
class RankRecord:
    """What one rank writes as ``rank-N.json``: raw samples only, seconds and bytes."""

    rank: int
    step_seconds: list[float] = field(default_factory=list)
    timed_step_seconds: list[float] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    warmup_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    open_seconds: float = 0.0
    peak_memory_bytes: int = 0
    steady: bool = False
    affinity: list[int] = field(default_factory=list)
    ledger: dict[str, str] = field(default_factory=dict)
