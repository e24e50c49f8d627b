"""What an adapter provides: a manifest (no framework import) and a session (in a rank)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from suite.contract.case import Case, Rank
from suite.contract.traits import Traits
from suite.contract.workloads import Weights


@dataclass(frozen=True)
class CommEvent:
    """One communication as one device sees it: payload bytes, seconds on the clock of its trace.

    ``kind`` is all_reduce, all_gather, reduce_scatter, broadcast or send_recv; ``device`` counts
    the devices of a process that drives several. ``key`` names the communication alike on every
    device that takes part, and only once a step. ``role`` is ``member`` of a collective, or
    ``recv`` or ``send`` of a hop. ``start_s`` is when the device was ready for it: a member
    arrives, a receiver has nothing else to do, a sender has the tensor. ``end_s`` is when the
    result can be used there (a sender's own end is not used).
    """

    kind: str
    payload_bytes: int
    start_s: float
    end_s: float
    device: int = 0
    key: str = ""
    role: str = "member"


Busy = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class StepTrace:
    """What probes saw of one step, in seconds.

    ``busy[d]`` is the compute clock of device ``d`` of this process: rising points (time, compute
    seconds so far), from the step's start to its end and at least at both ends of every event.
    Time waited or spent communicating does not advance it; two threads of one device that compute
    at once advance it twice as fast. Empty where the framework gives no honest figure; ``missing``
    then says why, beginning with what is missing (``T_i: …``). ``seconds`` is the wall time of the
    step itself, without attaching the probes and reading them.
    """

    events: Sequence[CommEvent] = ()
    busy: Sequence[Busy] = ()
    missing: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class LaunchPlan:
    """How a group starts: worker processes, variables per rank, and an optional helper process.

    The helper is a command that writes ``{"name": "value"}`` JSON to ``helper_output`` once ready;
    those variables are given to every worker, and the helper is ended with the group. ``scratch``
    is a folder of what a launch compiles, which no other launch must find: removed at its end.
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


@dataclass
class RankRecord:
    """What one rank writes as ``rank-N.json``: raw samples only, seconds and bytes.

    Four passes, each with its steps' wall times: clean (``step_seconds``), timed with probes,
    traced under the profiler, silent with communication off. The last three are empty in a launch
    without probes.
    """

    rank: int
    step_seconds: list[float] = field(default_factory=list)
    timed_step_seconds: list[float] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    traced_step_seconds: list[float] = field(default_factory=list)
    profiles: list[dict[str, Any]] = field(default_factory=list)
    silent_step_seconds: list[float] = field(default_factory=list)
    warmup_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    open_seconds: float = 0.0
    peak_memory_bytes: int = 0
    device_memory_bytes: int = 0
    matmul_flops_s: float = 0.0  # 0: not measured
    steady: bool = False
    affinity: list[int] = field(default_factory=list)
    ledger: dict[str, str] = field(default_factory=dict)
